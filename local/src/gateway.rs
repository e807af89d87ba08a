//! API Gateway's HTTP API on loopback: routes, authorizer and CORS of the template, and its own plain answers.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::locale::Locale;

use crate::event::{self, Matched, Received};
use crate::event_bus::EventBus;
use crate::functions::Functions;
use crate::mailbox::Mailbox;
use crate::stream::Streams;
use crate::template::{Cors, Route, Stack};
use crate::{openapi, pages};

/// The largest body that a Lambda function can be given.
const MAX_BODY: usize = 6 * 1024 * 1024;

/// The largest body that is read before it is refused.
const MAX_DRAINED: usize = 64 * 1024 * 1024;

/// What the gateway answers with.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    /// One more name that it is reached by.
    pub(crate) host: Option<String>,
    pub(crate) stack: Stack,
    pub(crate) functions: Functions,
    pub(crate) mailbox: Mailbox,
    pub(crate) event_bus: EventBus,
    pub(crate) streams: Streams,
    pub(crate) clock: Clock,
    pub(crate) requests: AtomicU64,
}

/// The gateway as a service.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(gateway))
}

async fn answer(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    match host(request.headers(), gateway.port, gateway.host.as_deref()) {
        Host::Foreign => return message(StatusCode::FORBIDDEN, "Forbidden"),
        Host::Address if is_for_page(&request) => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            return Redirect::temporary(&format!("http://localhost:{}{path}", gateway.port)).into_response();
        }
        Host::Address | Host::Name => {}
    }
    let origin = request.headers().get("origin").cloned();
    let cors = &gateway.stack.cors;
    if let (Some(origin), &Method::OPTIONS) = (&origin, request.method())
        && request.headers().contains_key("access-control-request-method")
        && !cors.allow_origins.is_empty()
    {
        return preflight(cors, origin);
    }
    let mut response = match find(&gateway.stack.routes, &request) {
        Some((route, matched)) => gateway.serve(route, matched, request, peer).await,
        // The stack's own pages are for people at this machine, not for other origins.
        None => match own_page(&gateway, request).await {
            Some(page) => return page,
            None => message(StatusCode::NOT_FOUND, "Not Found"),
        },
    };
    if let Some(origin) = origin
        && add_cors(response.headers_mut(), cors, &origin)
    {
        add_list(response.headers_mut(), "access-control-expose-headers", &cors.expose_headers);
    }
    response
}

async fn own_page(gateway: &Gateway, request: Request) -> Option<Response> {
    let (request, _) = request.into_parts();
    if request.method != Method::GET {
        return None;
    }
    let path = request.uri.path();
    if matches!(path, "/_local/mail" | "/_local/mail.json" | "/_local/events.json") {
        // Mails and events of requests that were answered may still be under way.
        gateway.streams.settled().await;
    }
    match path {
        "/" => Some(page(pages::DEMO)),
        "/_local/mail" => {
            let languages = request.headers.get("accept-language").and_then(|value| value.to_str().ok());
            Some(page(pages::mailbox(&gateway.mailbox.mails(), Locale::choose(None, languages))))
        }
        "/_local/mail.json" => Some(Json(gateway.mailbox.mails()).into_response()),
        "/_local/events.json" => Some(Json(gateway.event_bus.events()).into_response()),
        "/_local/openapi.json" => Some(Json(openapi::document()).into_response()),
        "/_local/docs" => Some(Redirect::permanent("/_local/docs/").into_response()),
        path if path.starts_with("/_local/docs/") => pages::docs(&path["/_local/docs/".len()..]).map(|file| {
            let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                          frame-ancestors 'none'";
            (
                [("content-type", file.content_type.as_str()), ("content-security-policy", policy)],
                file.bytes.into_owned(),
            )
                .into_response()
        }),
        path => {
            let (content_type, text) = pages::asset(path)?;
            Some(([("content-type", content_type), ("cache-control", "no-store")], text).into_response())
        }
    }
}

impl Gateway {
    async fn serve(&self, route: &Route, matched: Matched, request: Request, peer: SocketAddr) -> Response {
        let (parts, body) = request.into_parts();
        let Some(body) = read(body).await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let received = Received {
            parts,
            body,
            request_id: format!("local-{:08}", self.requests.fetch_add(1, Ordering::Relaxed)),
            source_ip: peer.ip().to_string(),
            at: self.clock.now(),
        };
        let authorization = match (&self.stack.authorizer, route.is_authorized) {
            (Some(folder), true) => match self.authorize(folder, &received, &matched).await {
                Ok(context) => Some(context),
                Err(refusal) => return refusal,
            },
            _ => None,
        };
        let event = received.function_event(&matched, authorization.as_ref());
        match self.functions.invoke(&route.folder, event).await {
            Ok(answer) => match event::response(&answer) {
                Some(response) => response.map(Body::from),
                None => failed("its answer is not one of an HTTP API"),
            },
            Err(error) => failed(&error.to_string()),
        }
    }

    /// The context that the authorizer hands on, or the answer when it refuses.
    async fn authorize(&self, folder: &str, received: &Received, matched: &Matched) -> Result<Value, Response> {
        match self.functions.invoke(folder, received.authorizer_event(matched)).await {
            Ok(verdict) if verdict["isAuthorized"] == true => Ok(verdict["context"].clone()),
            Ok(_) => Err(message(StatusCode::FORBIDDEN, "Forbidden")),
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

/// The body, `None` for one over [`MAX_BODY`]. A somewhat larger one is read to its end nevertheless, since many
/// clients read no answer before they have sent all.
async fn read(mut body: Body) -> Option<Vec<u8>> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        total += data.len();
        if total <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if total > MAX_DRAINED {
            return None;
        }
    }
    (total <= MAX_BODY).then_some(bytes)
}

/// What API Gateway says when a function fails.
fn failed(problem: &str) -> Response {
    tracing::error!(problem, "function failed");
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

fn page(html: impl Into<String>) -> Response {
    // Mails have styles of their own, and a frame of ours is under our policy.
    let policy = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
                  img-src data:; frame-src 'self'; form-action 'none'; base-uri 'self'; frame-ancestors 'none'";
    let html = html.into();
    ([("content-security-policy", policy), ("cache-control", "no-store")], Html(html)).into_response()
}

/// How a request names the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// `localhost`, or the name that was given.
    Name,
    /// An address of loopback.
    Address,
    /// Anything else: a page elsewhere may have its own name point here (DNS rebinding).
    Foreign,
}

fn host(headers: &HeaderMap, port: u16, given: Option<&str>) -> Host {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is = |name: &str| host.eq_ignore_ascii_case(&format!("{name}:{port}"));
    if is("localhost") || given.is_some_and(|given| is(given) || host.eq_ignore_ascii_case(given)) {
        Host::Name
    } else if is("127.0.0.1") || is("[::1]") {
        Host::Address
    } else {
        Host::Foreign
    }
}

/// Whether a browser is to show the answer. The API's own origin is at `localhost`: at an address, a page would be of
/// another one, without its cookies, and be refused.
fn is_for_page(request: &Request) -> bool {
    let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    is_read && (accept.contains("text/html") || is_page(request.uri().path()))
}

/// Whether that is a page of the stack's own.
fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/_local/mail" | "/_local/docs" | "/_local/docs/")
}

/// The route for a request: the most specific one, as API Gateway prefers.
fn find<'a>(routes: &'a [Route], request: &Request) -> Option<(&'a Route, Matched)> {
    let (method, path) = (request.method().as_str(), request.uri().path());
    routes
        .iter()
        .filter(|route| route.method == "ANY" || route.method == method)
        .filter_map(|route| Some((route, match_path(&route.path, path)?)))
        .min_by_key(|(route, parameters)| (route.path.contains("+}"), parameters.len(), route.method == "ANY"))
        .map(|(route, path_parameters)| {
            (route, Matched { key: format!("{} {}", route.method, route.path), path_parameters })
        })
}

/// The path parameters when a path fits a pattern like `/sessions/{id}` or `/files/{proxy+}`.
fn match_path(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    let mut segments = path.split('/');
    for part in pattern.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix("+}")) {
            let rest: Vec<_> = segments.by_ref().collect();
            parameters.insert(name.to_owned(), rest.join("/"));
            return (!rest.is_empty()).then_some(parameters);
        }
        let segment = segments.next()?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => {
                parameters.insert(name.to_owned(), segment.to_owned());
            }
            None if part == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(parameters)
}

fn preflight(cors: &Cors, origin: &HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if add_cors(headers, cors, origin) {
        add_list(headers, "access-control-allow-methods", &cors.allow_methods);
        add_list(headers, "access-control-allow-headers", &cors.allow_headers);
        if let Some(seconds) = cors.max_age {
            headers.insert("access-control-max-age", HeaderValue::from(seconds));
        }
    }
    response
}

fn add_list(headers: &mut HeaderMap, name: &'static str, values: &[String]) {
    if let (Ok(value), false) = (HeaderValue::try_from(values.join(",")), values.is_empty()) {
        headers.insert(name, value);
    }
}

/// Adds what lets a page of an allowed origin read the answer; `false` for another origin.
fn add_cors(headers: &mut HeaderMap, cors: &Cors, origin: &HeaderValue) -> bool {
    let allowed = cors.allow_origins.iter().any(|allowed| origin.as_bytes() == allowed.as_bytes());
    if allowed {
        headers.insert("access-control-allow-origin", origin.clone());
        headers.append("vary", HeaderValue::from_static("origin"));
        if cors.allow_credentials {
            headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
        }
    }
    allowed
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn parameters(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        match_path(pattern, path).map(|parameters| parameters.into_iter().collect())
    }

    #[test]
    fn paths_match_as_in_api_gateway() {
        assert_eq!(parameters("/login", "/login"), Some(vec![]));
        assert_eq!(parameters("/sessions/{id}", "/sessions/7"), Some(vec![("id".to_owned(), "7".to_owned())]));
        assert_eq!(parameters("/f/{proxy+}", "/f/a/b"), Some(vec![("proxy".to_owned(), "a/b".to_owned())]));
        for (pattern, path) in
            [("/login", "/login/"), ("/login", "/logi"), ("/sessions/{id}", "/sessions/"), ("/a", "/a/b")]
        {
            assert_eq!(parameters(pattern, path), None, "{pattern} {path}");
        }
    }

    #[test]
    fn only_this_machine_s_names_are_served() {
        let named = |name: &str, given: Option<&str>| {
            host(&HeaderMap::from_iter([(header::HOST, name.parse().expect("a value"))]), 3000, given)
        };
        assert_eq!(named("localhost:3000", None), Host::Name);
        assert_eq!(named("LocalHost:3000", None), Host::Name);
        assert_eq!((named("127.0.0.1:3000", None), named("[::1]:3000", None)), (Host::Address, Host::Address));
        for name in ["evil.test:3000", "localhost", "localhost:3001", "localhost.evil.test:3000", "10.0.2.2:3000", ""] {
            assert_eq!(named(name, None), Host::Foreign, "{name}");
        }
        assert_eq!(host(&HeaderMap::new(), 3000, None), Host::Foreign);

        let given = Some("10.0.2.2");
        assert_eq!((named("10.0.2.2:3000", given), named("10.0.2.2", given)), (Host::Name, Host::Name));
        assert_eq!(named("localhost:3000", given), Host::Name);
        for name in ["evil.test:3000", "10.0.2.2.evil.test:3000", "10.0.2.2:3001", "10.0.2.20:3000", ""] {
            assert_eq!(named(name, given), Host::Foreign, "{name}");
        }
    }
}
