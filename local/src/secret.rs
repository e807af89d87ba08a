//! The secret of a run, without which DynamoDB and SES on this machine answer nobody.
//!
//! Any web page can send requests to ports of loopback, and any other user of the machine can reach them. So both
//! endpoints want the secret, answer no page (a browser says so by `Origin`, and asks first by `OPTIONS`), and only by
//! names of this machine: a page elsewhere may have a name of its own point here (DNS rebinding). No answer ever has a
//! header of CORS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::{constant_time, rand};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use shared::aws::Aws;
use shared::config::AwsEnvironment;

/// The region of everything on this machine.
pub const REGION: &str = "us-east-1";
/// Access key id and secret access key where nobody looks at them.
pub const KEY: &str = "local";

/// Where the services of AWS are on this machine.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// DynamoDB.
    pub dynamodb: String,
    /// `EventBridge`.
    pub eventbridge: String,
    /// The Lambda service.
    pub lambda: String,
    /// SES.
    pub ses: String,
}

/// 256 random bits, in base64url. Callers send it as their session token, or as their access key id where a tool knows
/// of no session tokens.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// One that nobody knows yet.
    ///
    /// # Panics
    /// When the operating system has no randomness to give; nothing safe can be done then.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).expect("the operating system's random generator works");
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The secret itself, for an environment or a file that only its owner can read.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// AWS at endpoints that want this secret.
    pub fn aws(&self, endpoints: &Endpoints) -> Aws {
        Aws::new(AwsEnvironment {
            region: REGION.to_owned(),
            credentials: (KEY.to_owned(), KEY.to_owned(), Some(self.0.clone())),
            dynamodb_endpoint: Some(endpoints.dynamodb.clone()),
            eventbridge_endpoint: Some(endpoints.eventbridge.clone()),
            lambda_endpoint: Some(endpoints.lambda.clone()),
            ses_endpoint: Some(endpoints.ses.clone()),
            ca_bundle: None,
        })
    }

    /// Serves a router to the secret's holders at an address, until the returned handle is aborted. Where it listens.
    pub(crate) async fn serve(
        &self,
        router: Router,
        address: SocketAddr,
    ) -> std::io::Result<(String, tokio::task::JoinHandle<()>)> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = self.guard(router, address);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, %address, "an endpoint stopped");
            }
        });
        Ok((format!("http://{address}"), task))
    }

    /// A router that serves whoever holds the secret, at `address`.
    pub(crate) fn guard(&self, router: Router, address: SocketAddr) -> Router {
        let guard = Arc::new(Guard { secret: self.clone(), address: address.ip() });
        router.layer(middleware::from_fn_with_state(guard, serve_holders))
    }

    /// Whether a request is signed by a holder. The signature itself proves nothing more, and is not verified.
    fn is_held(&self, headers: &HeaderMap) -> bool {
        let matches = |text: &str| constant_time::verify_slices_are_equal(text.as_bytes(), self.0.as_bytes()).is_ok();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // `AWS4-HMAC-SHA256 Credential=<access key id>/<date>/<region>/…` (AWS Signature Version 4).
        let scope = text("authorization").split_once("Credential=").map_or("", |(_, scope)| scope);
        matches(text("x-amz-security-token")) || matches(scope.split('/').next().unwrap_or_default())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

struct Guard {
    secret: Secret,
    address: IpAddr,
}

impl Guard {
    /// Whether `Host` is an address or a name of this machine that nobody else can give to another.
    fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let host = headers.get("host").and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let Some(host) = host else { return false };
        match host.host().trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address == self.address || self.address.is_unspecified(),
            // The second is this machine's name in containers, by Docker; no registry gives it away.
            Err(_) => ["localhost", "host.docker.internal"].iter().any(|own| host.host().eq_ignore_ascii_case(own)),
        }
    }
}

async fn serve_holders(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_of_page = headers.contains_key("origin") || request.method() == Method::OPTIONS;
    if is_of_page || !guard.is_own_host(headers) || !guard.secret.is_held(headers) {
        return refusal();
    }
    next.run(request).await
}

/// AWS's own answer to credentials that it does not know, by which SDKs do not try again.
fn refusal() -> Response {
    const CODE: &str = "UnrecognizedClientException";
    let message = "the local stack's endpoints want the secret of its run as session token";
    let body = json!({ "__type": format!("com.amazon.coral.service#{CODE}"), "message": message });
    (StatusCode::FORBIDDEN, [("x-amzn-errortype", CODE)], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_this_machine_are_own() {
        let is_own = |address: &str, host: &str| {
            let guard = Guard { secret: Secret::random(), address: address.parse().expect("an address") };
            guard.is_own_host(&HeaderMap::from_iter([(axum::http::header::HOST, host.parse().expect("a value"))]))
        };
        for host in ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "host.docker.internal:8000"] {
            assert!(is_own("127.0.0.1", host), "{host}");
        }
        assert!(is_own("172.17.0.1", "172.17.0.1:8000"));
        assert!(is_own("0.0.0.0", "192.0.2.7:8000"));
        for host in ["evil.test", "localhost.evil.test:8000", "127.0.0.1.evil.test", "192.0.2.7:8000", "", "a b"] {
            assert!(!is_own("127.0.0.1", host), "{host}");
        }
        assert!(!is_own("0.0.0.0", "evil.test"), "a name is no address");
    }

    #[test]
    fn secrets_differ_and_are_not_shown() {
        let (one, other) = (Secret::random(), Secret::random());
        assert_ne!(one.reveal(), other.reveal());
        assert!(!format!("{one:?}").contains(one.reveal()));
    }
}
