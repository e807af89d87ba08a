//! The services of AWS, and how they are called.
//!
//! The SDK's default chain would look for regions, profiles, metadata services and system certificates at every cold
//! start; the Lambda service tells region and credentials in the environment, and its endpoints chain to Amazon's own
//! roots, which are baked in (docs/decisions/0003-hand-built-sdk-clients.md).

mod connections;
mod retries;
mod service;
mod signer;

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};

use crate::clock::Clock;
use crate::config::AwsEnvironment;

use connections::{Connections, Origin};
use retries::Retries;
use service::Shared;
use signer::Signer;

pub(crate) use service::requests;
pub use service::{CallError, Request, Service};

/// The roots that AWS endpoints chain to; see `data/README.md`.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../data/amazon-roots.pem");

/// Region, credentials, endpoints, and connections.
#[derive(Clone, Debug)]
pub struct Aws {
    region: String,
    credentials: Credentials,
    dynamodb_endpoint: Option<String>,
    ses_endpoint: Option<String>,
    trace_id: fn() -> Option<String>,
    connections: Connections,
}

impl Aws {
    /// AWS as the Lambda service describes it.
    ///
    /// # Panics
    /// When the certificates, those that are baked in or the given ones, cannot be read.
    pub fn new(environment: AwsEnvironment) -> Self {
        let (key_id, secret, token) = environment.credentials;
        Self {
            region: environment.region,
            credentials: Credentials::new(key_id, secret, token, None, "environment"),
            dynamodb_endpoint: environment.dynamodb_endpoint,
            ses_endpoint: environment.ses_endpoint,
            trace_id: environment.trace_id,
            connections: Connections::new(environment.ca_bundle.as_deref().unwrap_or(AMAZON_ROOTS)),
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
            trace_id: || None,
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

    /// DynamoDB.
    ///
    /// # Panics
    /// When its endpoint is no address.
    pub fn dynamodb(&self) -> Service {
        self.service("dynamodb", "dynamodb", self.dynamodb_endpoint.as_deref())
    }

    /// SES.
    ///
    /// # Panics
    /// When its endpoint is no address.
    pub fn ses(&self) -> Service {
        self.service("ses", "email", self.ses_endpoint.as_deref())
    }

    /// What clients of the SDK make calls with: these connections.
    pub fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.connections.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// The service that calls are signed for by this name, at the given endpoint, or else the region's own of this
    /// prefix.
    fn service(&self, name: &'static str, prefix: &str, endpoint: Option<&str>) -> Service {
        let endpoint = endpoint.map_or_else(|| regional_endpoint(prefix, &self.region), str::to_owned);
        let origin = endpoint.parse().ok().and_then(|uri| Origin::of(&uri));
        Service::new(Shared {
            signer: Signer::new(name, self.region.clone(), self.credentials.clone(), Clock::system()),
            origin: origin.unwrap_or_else(|| panic!("{endpoint} is no address")),
            connections: self.connections.clone(),
            retries: Retries::new(),
            trace_id: self.trace_id,
        })
    }
}

/// Where the service with this prefix is in a region.
fn regional_endpoint(prefix: &str, region: &str) -> String {
    let suffix =
        SUFFIXES.iter().find(|(start, _)| region.starts_with(start)).map_or("amazonaws.com", |(_, suffix)| suffix);
    format!("https://{prefix}.{region}.{suffix}")
}

/// How names end in regions that begin so; others are Amazon's first partition.
const SUFFIXES: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
];

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use aws_sdk_dynamodb::config::endpoint::ResolveEndpoint as _;
    use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
    use aws_sdk_dynamodb::operation::get_item::GetItemInput;
    use aws_sdk_dynamodb::operation::get_item::builders::GetItemInputBuilder;
    use aws_sdk_sesv2::config::endpoint::ResolveEndpoint as _;
    use aws_sdk_sesv2::operation::send_email::SendEmailInput;
    use aws_smithy_runtime_api::client::endpoint::EndpointFuture;

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

    /// A server that gives these answers and brings the heads of the requests, in small letters.
    pub(super) fn serve(answers: &'static [&'static str]) -> (Aws, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let answered = move |answer: &&str| {
            let mut stream = BufReader::new(listener.accept().expect("a caller").0);
            let head = read_request(&mut stream);
            stream.get_mut().write_all(answer.as_bytes()).expect("a caller");
            head
        };
        let aws = Aws::new(AwsEnvironment {
            region: "eu-central-1".to_owned(),
            credentials: ("key".to_owned(), "secret".to_owned(), Some("temporary".to_owned())),
            dynamodb_endpoint: Some(endpoint.clone()),
            ses_endpoint: Some(endpoint),
            ca_bundle: None,
            trace_id: || Some("Root=1-5759e988-bd862e3fe1be46a994272793".to_owned()),
        });
        (aws, std::thread::spawn(move || answers.iter().map(answered).collect()))
    }

    /// Reads one request; its head.
    pub(super) fn read_request(stream: &mut impl BufRead) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            stream.read_line(&mut head).expect("a line");
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        stream.read_exact(&mut body).expect("a body");
        head
    }

    pub(super) fn get_item() -> GetItemInputBuilder {
        GetItemInput::builder().table_name("table").set_key(Some([].into()))
    }

    #[tokio::test]
    async fn calls_are_signed_for_their_service_with_the_session_s_token_and_name_this_program_and_their_trace() {
        let (aws, heads) = serve(&[OK, OK]);
        get_item().send_by(&aws.dynamodb()).await.expect("an answer");
        SendEmailInput::builder().send_by(&aws.ses()).await.expect("an answer");
        for (head, service) in heads.join().expect("two calls").into_iter().zip(["dynamodb", "ses"]) {
            let agents: Vec<&str> = head.lines().filter(|line| line.contains("user-agent: ")).collect();
            assert_eq!(agents, [format!("user-agent: {}", service::SENDER)], "{head}");
            assert!(!head.contains("amz-sdk-"), "{head}");
            assert!(head.contains(&format!("/eu-central-1/{service}/aws4_request")), "{head}");
            assert!(head.contains("x-amz-security-token: temporary"), "{head}");
            assert!(head.contains("x-amzn-trace-id: root=1-5759e988-bd862e3fe1be46a994272793"), "{head}");
        }
    }

    #[tokio::test]
    async fn a_wrong_clock_is_corrected() {
        const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ndate: Fri, 01 Jan 2100 00:00:00 GMT\r\ncontent-length: 38\r\n\
                       connection: close\r\n\r\n{\"__type\":\"InvalidSignatureException\"}";
        let (aws, heads) = serve(&[REFUSAL, OK, OK]);
        let dynamodb = aws.dynamodb();
        get_item().send_by(&dynamodb).await.expect("an answer to the second attempt");
        get_item().send_by(&dynamodb).await.expect("an answer");
        let heads = heads.join().expect("three attempts");
        let corrected = heads.iter().map(|head| head.contains("x-amz-date: 21000101t")).collect::<Vec<_>>();
        assert_eq!(corrected, [false, true, true], "{heads:?}");
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_what_stays_is_not() {
        const TROUBLE: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        const THROTTLED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"ThrottlingException\"}";
        const CONFLICT: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 41\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"TransactionConflictException\"}";
        const SILENCE: &str = "";
        const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 32\r\nconnection: close\r\n\r\n\
                       {\"__type\":\"ValidationException\"}";
        let (aws, heads) = serve(&[TROUBLE, OK, THROTTLED, OK, CONFLICT, OK, SILENCE, OK, REFUSAL, OK]);
        let dynamodb = aws.dynamodb();
        for failure in ["trouble", "throttled", "conflict", "silence"] {
            get_item().send_by(&dynamodb).await.unwrap_or_else(|error| panic!("{failure}: {error:?}"));
        }
        let refused = get_item().send_by(&dynamodb).await.expect_err("a refusal");
        assert_eq!(refused.as_refusal().and_then(|error| error.code()), Some("ValidationException"));
        get_item().send_by(&dynamodb).await.expect("an answer, which no second attempt has taken before");
        heads.join().expect("ten attempts");
    }

    #[tokio::test]
    async fn after_four_attempts_the_last_refusal_is_the_answer() {
        const TROUBLE: &str = "HTTP/1.1 503 Slow Down\r\ncontent-length: 26\r\n\
                       connection: close\r\n\r\n{\"__type\":\"InternalError\"}";
        let (aws, heads) = serve(&[TROUBLE, TROUBLE, TROUBLE, TROUBLE]);
        let refused = get_item().send_by(&aws.dynamodb()).await.expect_err("trouble");
        assert_eq!(refused.as_refusal().and_then(|error| error.code()), Some("InternalError"));
        heads.join().expect("four attempts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_says_nothing_is_given_up() {
        // The kernel takes the connections.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let started = tokio::time::Instant::now();
        let error = get_item().send_by(&Aws::local(&endpoint, &endpoint).dynamodb()).await.expect_err("silence");
        assert!(matches!(error, CallError::Unanswered(_)), "{error:?}");
        assert_eq!(started.elapsed(), std::time::Duration::from_secs(6));
        listener.set_nonblocking(true).expect("a listener");
        assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 3, "attempts of two seconds");
    }

    #[tokio::test]
    async fn an_output_that_cannot_be_read_is_no_refusal_and_not_asked_for_again() {
        const WORDS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nwords";
        let (aws, heads) = serve(&[WORDS, OK]);
        let dynamodb = aws.dynamodb();
        let error = get_item().send_by(&dynamodb).await.expect_err("words");
        assert!(matches!(error, CallError::Unanswered(_)), "{error:?}");
        get_item().send_by(&dynamodb).await.expect("an answer, which no second attempt has taken before");
        heads.join().expect("two attempts");
    }

    #[tokio::test]
    async fn endpoints_are_those_of_the_sdk() {
        let dynamodb = aws_sdk_dynamodb::config::endpoint::DefaultResolver::new();
        let ses = aws_sdk_sesv2::config::endpoint::DefaultResolver::new();
        let url = async |endpoint: EndpointFuture<'_>| endpoint.await.expect("an endpoint").url().to_owned();
        for region in [
            "us-east-1",
            "eu-central-1",
            "ap-southeast-7",
            "us-gov-west-1",
            "cn-north-1",
            "eusc-de-east-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "eu-isoe-west-1",
            "us-isof-south-1",
        ] {
            let place =
                aws_sdk_dynamodb::config::endpoint::Params::builder().region(region).build().expect("parameters");
            assert_eq!(regional_endpoint("dynamodb", region), url(dynamodb.resolve_endpoint(&place)).await);
            let place = aws_sdk_sesv2::config::endpoint::Params::builder().region(region).build().expect("parameters");
            assert_eq!(regional_endpoint("email", region), url(ses.resolve_endpoint(&place)).await);
        }
    }
}
