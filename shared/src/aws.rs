//! The clients of AWS, built by hand.
//!
//! The SDK's default chain would look for regions, profiles, metadata services and system certificates at every cold
//! start; the Lambda service tells region and credentials in the environment, and its endpoints chain to Amazon's own
//! roots, which are baked in (docs/decisions/0003-hand-built-sdk-clients.md).

use std::net::ToSocketAddrs;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::service_clock_skew::ServiceClockSkewInterceptor;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, IdentityCache, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut, InterceptorContext,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, disable_interceptor, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::config::AwsEnvironment;

/// The roots that AWS endpoints chain to; see `data/README.md`.
const AMAZON_ROOTS: &[u8] = include_bytes!("../data/amazon-roots.pem");

/// What calls of AWS name as their sender.
const USER_AGENT: &str = concat!("latchkey/", env!("CARGO_PKG_VERSION"));

/// How often a call is made in all.
const ATTEMPTS: u32 = 4;

/// Region, credentials, endpoints, and one pool of connections.
#[derive(Clone, Debug)]
pub struct Aws {
    region: Region,
    credentials: Credentials,
    dynamodb_endpoint: Option<String>,
    ses_endpoint: Option<String>,
    http_client: SharedHttpClient,
}

impl Aws {
    /// AWS as the Lambda service describes it.
    ///
    /// # Panics
    /// When the certificates, those that are baked in or the given ones, cannot be read.
    pub fn new(environment: AwsEnvironment) -> Self {
        let (key_id, secret, token) = environment.credentials;
        Self {
            region: Region::new(environment.region),
            credentials: Credentials::new(key_id, secret, token, None, "environment"),
            dynamodb_endpoint: environment.dynamodb_endpoint,
            ses_endpoint: environment.ses_endpoint,
            http_client: http_client(environment.ca_bundle.as_deref()),
        }
    }

    /// Endpoints on this machine, with credentials that open nothing. Nothing ever looks for real ones.
    pub fn local(dynamodb_endpoint: &str, ses_endpoint: &str) -> Self {
        Self::new(AwsEnvironment {
            region: "us-east-1".to_owned(),
            credentials: ("local".to_owned(), "local".to_owned(), None),
            dynamodb_endpoint: Some(dynamodb_endpoint.to_owned()),
            ses_endpoint: Some(ses_endpoint.to_owned()),
            ca_bundle: None,
        })
    }

    /// The same with another name for whoever asks.
    #[must_use]
    pub fn with_access_key_id(mut self, access_key_id: &str) -> Self {
        let secret = self.credentials.secret_access_key().to_owned();
        let token = self.credentials.session_token().map(str::to_owned);
        self.credentials = Credentials::new(access_key_id, secret, token, None, "environment");
        self
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .identity_cache(IdentityCache::no_cache())
            .http_client(self.http_client.clone())
            .retry_config(retries())
            .retry_classifier(TransactionConflict)
            .timeout_config(timeouts())
            .interceptor(LeanCalls)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of SES.
    pub fn ses(&self) -> aws_sdk_sesv2::Client {
        let mut config = aws_sdk_sesv2::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .identity_cache(IdentityCache::no_cache())
            .http_client(self.http_client.clone())
            .retry_config(retries())
            .timeout_config(timeouts())
            .interceptor(LeanCalls)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.ses_endpoint.clone());
        aws_sdk_sesv2::Client::from_conf(config.build())
    }
}

/// Someone waits for the answer: short steps between attempts, and an end within an API call's patience.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(6))
        .build()
}

fn http_client(ca_bundle: Option<&[u8]>) -> SharedHttpClient {
    let roots = TrustStore::empty().with_pem_certificate(ca_bundle.unwrap_or(AMAZON_ROOTS));
    let tls = TlsContext::builder().with_trust_store(roots).build().expect("certificates in PEM");
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_with_resolver(InPlaceResolver)
}

/// Looks names up on the calling thread, as the only request that an instance serves has nothing else to do: a thread
/// for it, the default, costs more than the answer. The local stack has addresses, not names.
#[derive(Clone, Debug)]
struct InPlaceResolver;

impl ResolveDns for InPlaceResolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let found = (name, 0).to_socket_addrs().map(|addresses| addresses.map(|address| address.ip()).collect());
        DnsFuture::ready(found.map_err(ResolveDnsError::new))
    }
}

/// Has calls say no more of themselves than the name of this program, for whoever reads the logs of AWS. The SDK would put
/// the same long words about itself together anew for each call, number its calls and attempts, compare clocks for nobody,
/// and sign all that: a twentieth of what a refresh costs.
#[derive(Debug)]
struct LeanCalls;

#[dyn_dispatch_hint]
impl Intercept for LeanCalls {
    fn name(&self) -> &'static str {
        "lean calls"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let state = config.interceptor_state();
        state.store_put(disable_interceptor::<UserAgentInterceptor>("a short one is sent"));
        state.store_put(disable_interceptor::<InvocationIdInterceptor>("nobody asks for it"));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>("nobody asks for it"));
        state.store_put(disable_interceptor::<ServiceClockSkewInterceptor>("nothing here reads it"));
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("user-agent", USER_AGENT);
        Ok(())
    }
}

/// Has the SDK retry what another transaction in flight stopped, which it takes for final by itself: nothing was
/// written then, and the other one is over in milliseconds.
#[derive(Debug)]
struct TransactionConflict;

impl ClassifyRetry for TransactionConflict {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else { return RetryAction::NoActionIndicated };
        let Some(error) = error.as_operation_error() else { return RetryAction::NoActionIndicated };
        let conflict = match (
            error.downcast_ref::<PutItemError>(),
            error.downcast_ref::<UpdateItemError>(),
            error.downcast_ref::<DeleteItemError>(),
            error.downcast_ref::<TransactWriteItemsError>(),
        ) {
            (Some(error), ..) => error.is_transaction_conflict_exception(),
            (_, Some(error), ..) => error.is_transaction_conflict_exception(),
            (.., Some(error), _) => error.is_transaction_conflict_exception(),
            (.., Some(error)) => was_cancelled_by_another(error),
            _ => false,
        };
        if conflict { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
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
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// The heads of two calls, in small letters, one to each of two clients.
    fn heads_of_calls() -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            (0..2).map(|_| answer(&mut BufReader::new(listener.accept().expect("a caller").0))).collect()
        });
        let aws = Aws::local(&endpoint, &endpoint);
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            aws.dynamodb().list_tables().send().await.expect("an answer");
            aws.ses().get_account().send().await.expect("an answer");
        });
        server.join().expect("two calls")
    }

    /// Reads one request, and answers it with an empty object.
    fn answer(stream: &mut BufReader<TcpStream>) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            stream.read_line(&mut head).expect("a line");
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        stream.read_exact(&mut body).expect("a body");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        stream.get_mut().write_all(answer).expect("a caller");
        head
    }

    #[test]
    fn calls_name_this_program_and_say_no_more_of_themselves() {
        for head in heads_of_calls() {
            let agents: Vec<&str> = head.lines().filter(|line| line.contains("user-agent: ")).collect();
            assert_eq!(agents, [format!("user-agent: {USER_AGENT}")], "{head}");
            assert!(!head.contains("amz-sdk-"), "{head}");
        }
    }
}
