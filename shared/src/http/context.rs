//! What every request meets before and after its handler: where the API is, the checks of its way and its origin, the log's
//! span, and what every answer carries.

use std::future::Future;
use std::time::Duration;

use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderMap, Method};
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use tracing::Span;

use super::cookies::Cookies;
use super::credentials::Inbound;
use super::edge::{Edge, SECRET_HEADER};
use super::source::Source;
use super::{Code, Problem, Response, csrf};
use crate::config::{Api, ConfigError, Environment};
use crate::telemetry::SecurityEvent;

/// How long a handler may take. A function is stopped after ten seconds, and API Gateway waits for thirty: whatever AWS
/// does, the answer is a problem document before that.
pub const HANDLER_TIMEOUT: Duration = Duration::from_secs(8);

/// Longest `User-Agent` in a log line, in bytes.
const MAX_LOGGED_USER_AGENT: usize = 256;

/// What every answer carries unless it has another value already. JSON needs nothing from anywhere.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
];

/// `base-uri`, `form-action` and `frame-ancestors` do not follow `default-src` (CSP Level 3 §6.1).
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// For two years (in seconds), and for whatever lies below the API's host (RFC 6797 §6.1.2).
const TRANSPORT_SECURITY: &str = "max-age=63072000; includeSubDomains";

/// A request that was let through, and where it comes from. An endpoint within a layer is told by it: the secret is gone by
/// then.
#[derive(Clone, Copy)]
struct Admitted(Source);

/// What the requests of a function have in common.
#[derive(Clone, Debug)]
pub struct HttpContext {
    /// Where the API is, and which pages meet it.
    pub api: Api,
    /// The CDN in front, if there is one.
    edge: Option<Edge>,
    /// Whether log lines hold source address and user agent.
    log_client_address: bool,
}

impl HttpContext {
    /// Reads the settings.
    pub fn from_env(environment: &Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            api: environment.api()?,
            edge: environment.edge()?,
            log_client_address: environment.log_client_address()?,
        })
    }

    /// One that names clients in the log.
    #[cfg(test)]
    pub(crate) const fn logging_clients(api: Api) -> Self {
        Self { api, edge: None, log_client_address: true }
    }

    /// Lets a request through to its handler that comes by the way that it has to, and from where it may. The secret that the
    /// CDN showed goes no further: the handler may be anyone's, and log what it is given.
    pub fn admit(&self, request: &mut Request, inbound: &Inbound) -> Result<(), Problem> {
        if request.extensions().get::<Admitted>().is_none() {
            self.check(request.method(), request.headers(), inbound)?;
            request.headers_mut().remove(SECRET_HEADER);
            request.extensions_mut().insert(Admitted(inbound.source));
        }
        Ok(())
    }

    /// Whether a request with these headers comes by the way that it has to, and from where it may. The way is looked at
    /// first, whatever the method: who goes around the CDN is told nothing else.
    pub fn check(&self, method: &Method, headers: &HeaderMap, inbound: &Inbound) -> Result<(), Problem> {
        if self.edge.as_ref().is_some_and(|edge| !edge.is_behind(headers)) {
            SecurityEvent::EdgeBypassed.log();
            return Err(Problem::new(Code::OriginRequired));
        }
        let own = inbound.api_url.origin();
        if csrf::is_allowed(method, headers, inbound.has_cookies(), own, &self.api.allowed_origins) {
            Ok(())
        } else {
            SecurityEvent::OriginRejected.log();
            Err(Problem::new(Code::CsrfRejected))
        }
    }

    /// Where a request comes from, which API Gateway had from `source_ip`: from there, or where the CDN had it from.
    pub fn source(&self, headers: &HeaderMap, source_ip: Option<&str>) -> Source {
        let edge = self.edge.as_ref().filter(|edge| edge.is_behind(headers));
        edge.map_or_else(|| Source::of_gateway(source_ip), |edge| edge.source(headers))
    }

    /// Where a request comes from.
    pub fn source_of(&self, request: &Request) -> Source {
        if let Some(Admitted(source)) = request.extensions().get() {
            return *source;
        }
        let source_ip = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
            _ => None,
        };
        self.source(request.headers(), source_ip)
    }

    /// The span of a request: every log line within it names the request, and its client where the operator wants that.
    pub fn span(&self, request: &Request) -> Span {
        let user_agent = request.headers().get("user-agent").map(HeaderValue::as_bytes).unwrap_or_default();
        self.span_of(&request_id(request), self.source_of(request), user_agent)
    }

    /// The span of a request of this id, from this source, by this user agent.
    pub fn span_of(&self, request_id: &str, source: Source, user_agent: &[u8]) -> Span {
        let user_agent = self.log_client_address.then(|| {
            let text = String::from_utf8_lossy(user_agent);
            text[..text.floor_char_boundary(MAX_LOGGED_USER_AGENT)].to_owned()
        });
        let source_ip = source.address().filter(|_| self.log_client_address).map(tracing::field::display);
        tracing::info_span!("request", request_id, source_ip, user_agent)
    }

    /// What the handler answers, or `unavailable` when it takes longer than [`HANDLER_TIMEOUT`]. The handler's future is
    /// boxed: with an SDK's call at its bottom, its type is nested about as deeply as the compiler follows.
    pub fn within_timeout<T>(
        &self,
        handler: impl Future<Output = Result<T, Problem>>,
    ) -> impl Future<Output = Result<T, Problem>> {
        let timeout = tokio::time::timeout(HANDLER_TIMEOUT, Box::pin(handler));
        async { timeout.await.unwrap_or_else(|elapsed| Err(Problem::new(Code::Unavailable).caused_by(elapsed))) }
    }

    /// The answer to a request that failed. A server error is logged, once, here.
    pub fn problem_response(&self, problem: Problem, inbound: Option<&Inbound>, request: &str) -> Response {
        if problem.code().status().is_server_error() {
            tracing::error!(code = problem.code().as_str(), causes = problem.causes(), "request failed");
        }
        let clears_cookies = problem.clears_cookies();
        let mut response = problem.into_response(request);
        if let Some(inbound) = inbound.filter(|inbound| clears_cookies && inbound.has_cookies()) {
            Cookies::new(&self.api, &inbound.api_url).clear_all(&mut response);
        }
        response
    }

    /// Adds what every answer carries.
    pub fn complete(&self, response: &mut Response, is_https: bool) {
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.entry(name).or_insert(value);
        }
        if is_https {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(TRANSPORT_SECURITY));
        }
    }
}

/// API Gateway's identifier of the request, which clients see in 5xx answers.
pub fn request_id(request: &Request) -> String {
    let from_gateway = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    from_gateway.or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> HttpContext {
        let api = Api { url: None, allowed_origins: Vec::new(), cookie_domain: None };
        HttpContext::logging_clients(api)
    }

    /// Whatever AWS does: a handler that never ends is answered before the function is stopped.
    #[tokio::test(start_paused = true)]
    async fn a_handler_that_takes_too_long_is_unavailable() {
        let started = tokio::time::Instant::now();
        let problem = context().within_timeout(std::future::pending::<Result<(), Problem>>()).await;
        assert_eq!(problem.expect_err("no answer").code(), Code::Unavailable);
        assert_eq!(started.elapsed(), HANDLER_TIMEOUT);
    }

    #[test]
    fn answers_carry_their_headers_unless_they_have_others() {
        let mut response = Response::default();
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        context().complete(&mut response, true);
        let headers = response.headers();
        assert_eq!(headers[REFERRER_POLICY], "same-origin");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        // What ASVS 5.0 asks of each (3.4.1, 3.4.3, 3.4.6).
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=63072000; includeSubDomains");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        for directive in ["default-src", "base-uri", "form-action", "frame-ancestors"] {
            assert!(policy.split("; ").any(|part| part == format!("{directive} 'none'")), "{directive}: {policy}");
        }
        let mut local = Response::default();
        context().complete(&mut local, false);
        assert!(!local.headers().contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
