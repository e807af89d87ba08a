//! The clients of AWS: the SDK's own, built by hand from region, credentials and endpoint.
//!
//! The SDK's default chain would look for regions, profiles, metadata services and system certificates at every cold
//! start; the Lambda service tells region and credentials in the environment, and its endpoints chain to Amazon's own
//! roots, which are compiled in (docs/decisions/0003-hand-built-sdk-clients.md).

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction, RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{AppName, BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_types::SdkConfig;

use crate::config::AwsEnvironment;

/// The roots that AWS endpoints chain to; see `data/README.md`.
const AMAZON_ROOTS: &[u8] = include_bytes!("../data/amazon-roots.pem");

/// Attempts of a call in all.
const MAX_ATTEMPTS: u32 = 4;
/// How long it may take until a connection is open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one attempt to invoke a function may take, which may have to start first.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a call may take, with all its attempts and the pauses between them.
const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// Region, credentials, endpoints, and one pool of connections.
#[derive(Clone, Debug)]
pub struct Aws {
    /// What the clients have in common.
    config: SdkConfig,
    credentials: Credentials,
    /// Whose quota retries are taken from; `None`: the one that a process has for each service.
    retry_partition: Option<RetryPartition>,
    dynamodb_endpoint: Option<String>,
    eventbridge_endpoint: Option<String>,
    lambda_endpoint: Option<String>,
    ses_endpoint: Option<String>,
}

impl Aws {
    /// AWS as the Lambda service describes it.
    ///
    /// # Panics
    /// When the certificates, those that are compiled in or the given ones, cannot be read.
    pub fn new(environment: AwsEnvironment) -> Self {
        let (key_id, secret, token) = environment.credentials;
        let credentials = Credentials::new(key_id, secret, token, None, "environment");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .app_name(app_name())
            .region(Region::new(environment.region))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .http_client(http_client(environment.ca_bundle.as_deref()))
            .retry_config(retries())
            .timeout_config(timeouts(ATTEMPT_TIMEOUT))
            .build();
        Self {
            config,
            credentials,
            retry_partition: None,
            dynamodb_endpoint: environment.dynamodb_endpoint,
            eventbridge_endpoint: environment.eventbridge_endpoint,
            lambda_endpoint: environment.lambda_endpoint,
            ses_endpoint: environment.ses_endpoint,
        }
    }

    /// The same with another access key id.
    #[must_use]
    pub fn with_access_key_id(mut self, access_key_id: &str) -> Self {
        let secret = self.credentials.secret_access_key().to_owned();
        let token = self.credentials.session_token().map(str::to_owned);
        self.credentials = Credentials::new(access_key_id, secret, token, None, "environment");
        let provider = SharedCredentialsProvider::new(self.credentials.clone());
        self.config = self.config.into_builder().credentials_provider(provider).build();
        self
    }

    /// The same over other connections, and with as many retries as calls are worth: for tests that let calls fail all the
    /// time, where a process would soon have spent what it may retry.
    #[must_use]
    pub fn over(mut self, http_client: SharedHttpClient) -> Self {
        self.config = self.config.into_builder().http_client(http_client).build();
        let unlimited = RetryPartition::custom("unlimited").token_bucket(TokenBucket::unlimited());
        self.retry_partition = Some(unlimited.build());
        self
    }

    /// The same with credentials that are asked for again when they end, of whoever is no function.
    #[must_use]
    pub fn with_credentials_provider(mut self, provider: SharedCredentialsProvider) -> Self {
        self.config = self.config.into_builder().credentials_provider(provider).build();
        self
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config).retry_classifier(TransactionConflict);
        config.set_endpoint_url(self.dynamodb_endpoint.clone()).set_retry_partition(self.retry_partition.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of `EventBridge`.
    pub fn eventbridge(&self) -> aws_sdk_eventbridge::Client {
        let mut config = aws_sdk_eventbridge::config::Builder::from(&self.config);
        config.set_endpoint_url(self.eventbridge_endpoint.clone()).set_retry_partition(self.retry_partition.clone());
        aws_sdk_eventbridge::Client::from_conf(config.build())
    }

    /// A client of the Lambda service.
    pub fn lambda(&self) -> aws_sdk_lambda::Client {
        let mut config =
            aws_sdk_lambda::config::Builder::from(&self.config).timeout_config(timeouts(INVOCATION_TIMEOUT));
        config.set_endpoint_url(self.lambda_endpoint.clone()).set_retry_partition(self.retry_partition.clone());
        aws_sdk_lambda::Client::from_conf(config.build())
    }

    /// A client of SES.
    pub fn ses(&self) -> aws_sdk_sesv2::Client {
        let mut config = aws_sdk_sesv2::config::Builder::from(&self.config);
        config.set_endpoint_url(self.ses_endpoint.clone()).set_retry_partition(self.retry_partition.clone());
        aws_sdk_sesv2::Client::from_conf(config.build())
    }
}

/// What the user agent names, for whoever reads the logs of AWS.
fn app_name() -> AppName {
    AppName::new("latchkey").expect("letters")
}

/// Someone waits for the answer: short pauses between attempts, and an end within an API call's patience.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500))
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// Connections over rustls on AWS-LC, which trust these certificates alone; without any, Amazon's roots.
///
/// # Panics
/// When the certificates cannot be read.
pub fn http_client(ca_bundle: Option<&[u8]>) -> SharedHttpClient {
    let roots = TrustStore::empty().with_pem_certificate(ca_bundle.unwrap_or(AMAZON_ROOTS));
    let tls = TlsContext::builder().with_trust_store(roots).build().expect("certificates in PEM");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https()
}

/// Has the SDK retry what another transaction in flight stopped, which it takes for final by itself: nothing was
/// written then, and the other one is over in milliseconds.
#[derive(Debug)]
struct TransactionConflict;

impl ClassifyRetry for TransactionConflict {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let Some(error) = error else { return RetryAction::NoActionIndicated };
        let code = error
            .downcast_ref::<PutItemError>()
            .map(ProvideErrorMetadata::code)
            .or_else(|| error.downcast_ref::<UpdateItemError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<DeleteItemError>().map(ProvideErrorMetadata::code))
            .flatten();
        // With global tables a write in another region conflicts likewise.
        let is_conflict = matches!(code, Some("TransactionConflictException" | "ReplicatedWriteConflictException"));
        let was_cancelled = error.downcast_ref::<TransactWriteItemsError>().is_some_and(was_cancelled_by_another);
        if is_conflict || was_cancelled { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "transaction conflict"
    }
}

/// Whether a transaction was cancelled for reasons that pass, and for none that would stay.
fn was_cancelled_by_another(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return false };
    let mut codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    let passing = ["None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    let all_pass = codes.clone().all(|code| passing.contains(&code));
    all_pass && codes.any(|code| code != "None")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use aws_sdk_dynamodb::error::SdkError;
    use aws_sdk_dynamodb::operation::get_item::{GetItemError, GetItemOutput};
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;
    use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem};

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    const INTERNAL_ERROR: &str =
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

    impl Aws {
        /// Endpoints on this machine, with credentials that open nothing.
        pub(crate) fn at(endpoint: &str) -> Self {
            Self::new(AwsEnvironment {
                region: "us-east-1".to_owned(),
                credentials: ("local".to_owned(), "local".to_owned(), None),
                dynamodb_endpoint: Some(endpoint.to_owned()),
                eventbridge_endpoint: Some(endpoint.to_owned()),
                lambda_endpoint: Some(endpoint.to_owned()),
                ses_endpoint: Some(endpoint.to_owned()),
                ca_bundle: None,
            })
        }
    }

    /// A server that gives these answers, one for each connection, and brings the requests' heads in lower case, their
    /// bodies behind them.
    pub(crate) fn serve(answers: &'static [&'static str]) -> (Aws, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let answered = move |answer: &&str| {
            let mut stream = BufReader::new(listener.accept().expect("a connection").0);
            let request = read_request(&mut stream);
            stream.get_mut().write_all(answer.as_bytes()).expect("an open connection");
            request
        };
        let aws = Aws::new(AwsEnvironment {
            region: "eu-central-1".to_owned(),
            credentials: ("key".to_owned(), "secret".to_owned(), Some("temporary".to_owned())),
            dynamodb_endpoint: Some(endpoint.clone()),
            eventbridge_endpoint: Some(endpoint.clone()),
            lambda_endpoint: Some(endpoint.clone()),
            ses_endpoint: Some(endpoint),
            ca_bundle: None,
        });
        (aws, std::thread::spawn(move || answers.iter().map(answered).collect()))
    }

    fn read_request(stream: &mut impl BufRead) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            stream.read_line(&mut head).expect("a line");
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        stream.read_exact(&mut body).expect("a body");
        head + &String::from_utf8(body).expect("JSON")
    }

    async fn get_item(client: &aws_sdk_dynamodb::Client) -> Result<GetItemOutput, SdkError<GetItemError>> {
        client.get_item().table_name("table").set_key(Some([].into())).send().await
    }

    #[tokio::test]
    async fn calls_are_signed_for_their_service_with_the_session_token_and_name_this_program() {
        let (aws, requests) = serve(&[OK, OK]);
        get_item(&aws.dynamodb()).await.expect("an answer");
        aws.ses().get_account().send().await.expect("an answer");
        for (request, service) in requests.join().expect("two calls").into_iter().zip(["dynamodb", "ses"]) {
            assert!(request.contains("app/latchkey"), "{request}");
            assert!(request.contains(&format!("/eu-central-1/{service}/aws4_request")), "{request}");
            assert!(request.contains("x-amz-security-token: temporary"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_wrong_clock_is_corrected() {
        const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ndate: Fri, 01 Jan 2100 00:00:00 GMT\r\ncontent-length: 38\r\n\
                       connection: close\r\n\r\n{\"__type\":\"InvalidSignatureException\"}";
        let (aws, requests) = serve(&[REFUSAL, OK]);
        get_item(&aws.dynamodb()).await.expect("an answer to the second attempt");
        let requests = requests.join().expect("two attempts");
        let corrected: Vec<bool> = requests.iter().map(|request| request.contains("x-amz-date: 21000101t")).collect();
        assert_eq!(corrected, [false, true], "{requests:?}");
    }

    #[tokio::test]
    async fn transient_errors_are_retried_and_others_are_not() {
        const THROTTLED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"ThrottlingException\"}";
        const CUT: &str = "";
        const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"ValidationException\"}";
        let (aws, requests) = serve(&[INTERNAL_ERROR, OK, THROTTLED, OK, CUT, OK, REFUSAL, OK]);
        let client = aws.dynamodb();
        for failure in ["internal error", "throttled", "connection cut"] {
            get_item(&client).await.unwrap_or_else(|error| panic!("{failure}: {error:?}"));
        }
        let refused = get_item(&client).await.expect_err("a refusal");
        assert_eq!(refused.code(), Some("ValidationException"));
        get_item(&client).await.expect("an answer, which no second attempt has taken before");
        requests.join().expect("eight attempts");
    }

    #[tokio::test]
    async fn a_conflicting_transaction_is_retried_with_the_same_token() {
        const CONFLICT: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 41\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"TransactionConflictException\"}";
        const CANCELLED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 96\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"TransactionCanceledException\",\"CancellationReasons\":[{\"Code\":\"TransactionConflict\"}]}";
        let (aws, requests) = serve(&[CONFLICT, OK, CANCELLED, OK]);
        let client = aws.dynamodb();
        let put = || client.put_item().table_name("table").set_item(Some([].into()));
        put().send().await.expect("an answer to the second attempt");
        let put = Put::builder().table_name("table").set_item(Some([].into())).build().expect("a put");
        let transaction = client.transact_write_items().transact_items(TransactWriteItem::builder().put(put).build());
        transaction.send().await.expect("an answer to the second attempt");
        let requests = requests.join().expect("four attempts");
        let token = |request: &String| {
            let (_, rest) = request.split_once("\"ClientRequestToken\":\"").expect("a token");
            rest.split('"').next().expect("its end").to_owned()
        };
        assert_eq!(token(&requests[2]), token(&requests[3]));
    }

    #[tokio::test]
    async fn after_four_attempts_the_last_refusal_is_the_answer() {
        const UNAVAILABLE: &str = "HTTP/1.1 503 Slow Down\r\ncontent-length: 26\r\n\
                       connection: close\r\n\r\n{\"__type\":\"InternalError\"}";
        let (aws, requests) = serve(&[UNAVAILABLE; 4]);
        let refused = get_item(&aws.dynamodb()).await.expect_err("a refusal");
        assert_eq!(refused.code(), Some("InternalError"));
        requests.join().expect("four attempts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_answer_times_out() {
        // The kernel takes the connections.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let started = tokio::time::Instant::now();
        let error = get_item(&Aws::at(&endpoint).dynamodb()).await.expect_err("no answer");
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
        assert!((ATTEMPT_TIMEOUT * 2..=CALL_TIMEOUT).contains(&started.elapsed()), "{:?}", started.elapsed());
    }

    #[test]
    fn a_transaction_is_retried_if_all_that_stopped_it_passes() {
        for (codes, may_pass) in [
            (&["None", "TransactionConflict"][..], true),
            (&["ThrottlingError", "ProvisionedThroughputExceeded"], true),
            (&["TransactionConflict", "ConditionalCheckFailed"], false),
            (&["ConditionalCheckFailed", "None"], false),
            (&["None", "None"], false),
            (&[], false),
        ] {
            let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
            let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
            let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
            assert_eq!(was_cancelled_by_another(&error), may_pass, "{codes:?}");
        }
    }
}
