//! HTTP as a browser or an app speaks it: requests with cookies, `Origin` and `Sec-Fetch-Site` under the test's
//! control, and answers whose every header is seen.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use lambda_http::Service;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use shared::clock::{Clock, Timestamp};

use super::cookies::SetCookie;

/// The way to a gateway.
#[derive(Clone)]
pub(crate) enum Transport {
    /// By sockets.
    Network(reqwest::Client),
    /// By a call: nothing else runs on its thread meanwhile.
    InProcess(Router),
}

impl Transport {
    async fn send(&self, request: axum::http::Request<Vec<u8>>) -> Result<(u16, HeaderMap, Vec<u8>), String> {
        match self {
            Self::Network(http) => {
                let (parts, body) = request.into_parts();
                let mut request = http.request(parts.method.clone(), parts.uri.to_string()).headers(parts.headers);
                // A POST without a body still says so, as browsers do.
                if !body.is_empty() || parts.method == Method::POST {
                    request = request.body(body);
                }
                let response = request.send().await.map_err(|error| format!("{error:?}"))?;
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                Ok((status, headers, response.bytes().await.map_err(|error| format!("{error:?}"))?.to_vec()))
            }
            Self::InProcess(router) => {
                let mut request = request.map(Body::from);
                let host = request.uri().authority().and_then(|host| host.as_str().parse().ok()).expect("a host");
                request.headers_mut().insert("host", host);
                let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
                request.extensions_mut().insert(ConnectInfo(peer));
                let answer = router.clone().call(request).await.unwrap_or_else(|never| match never {});
                let (parts, body) = answer.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| format!("{error:?}"))?;
                Ok((parts.status.as_u16(), parts.headers, body.to_vec()))
            }
        }
    }
}

/// Whoever sends requests to one gateway.
pub(crate) struct Client(Arc<Device>);

struct Device {
    transport: Transport,
    base: String,
    clock: Clock,
    /// The origin of the page that sends; `None`: no browser.
    origin: Option<String>,
    jar: Mutex<Vec<StoredCookie>>,
}

#[derive(Clone)]
struct StoredCookie {
    name: String,
    value: String,
    expires_at: Option<Timestamp>,
}

impl Client {
    /// A client without cookies and `Origin`, like curl or an app.
    pub(crate) fn bare(transport: &Transport, base: &str, clock: &Clock) -> Self {
        Self::new(transport, base, clock, None)
    }

    /// A browser that shows a page of `origin`.
    pub(crate) fn browser(transport: &Transport, base: &str, clock: &Clock, origin: &str) -> Self {
        Self::new(transport, base, clock, Some(origin))
    }

    fn new(transport: &Transport, base: &str, clock: &Clock, origin: Option<&str>) -> Self {
        Self(Arc::new(Device {
            transport: transport.clone(),
            base: base.to_owned(),
            clock: clock.clone(),
            origin: origin.map(str::to_owned),
            jar: Mutex::new(Vec::new()),
        }))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Call {
        let unsafe_method = !matches!(method, Method::GET | Method::HEAD);
        let browser = self.0.origin.is_some();
        Call {
            device: Arc::clone(&self.0),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            origin: self.0.origin.clone().filter(|_| unsafe_method),
            fetch_site: browser.then(|| "same-origin".to_owned()),
            cookies: None,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.request(Method::POST, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Call {
        self.request(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.request(Method::DELETE, path)
    }

    /// The value of a cookie that the browser still holds.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let now = self.0.clock.now();
        let held = |cookie: &&StoredCookie| cookie.name == name && cookie.expires_at.is_none_or(|end| now < end);
        self.0.jar().iter().find(held).map(|cookie| cookie.value.clone())
    }

    /// Names of the cookies that the browser still holds, sorted; `device`, which outlasts all, aside.
    pub(crate) fn cookie_names(&self) -> Vec<String> {
        let now = self.0.clock.now();
        let mut names: Vec<String> = self
            .0
            .jar()
            .iter()
            .filter(|cookie| cookie.expires_at.is_none_or(|end| now < end))
            .map(|cookie| cookie.name.clone())
            .filter(|name| name != "device")
            .collect();
        names.sort();
        names
    }

    /// Puts a cookie into the browser, as a test of stolen or swapped cookies does.
    pub(crate) fn put_cookie(&self, name: &str, value: &str) {
        let mut jar = self.0.jar();
        jar.retain(|cookie| cookie.name != name);
        jar.push(StoredCookie { name: name.to_owned(), value: value.to_owned(), expires_at: None });
    }

    /// Takes a cookie out of the browser.
    pub(crate) fn drop_cookie(&self, name: &str) {
        self.0.jar().retain(|cookie| cookie.name != name);
    }

    /// Another browser with the same cookies: a second tab, or a thief's copy.
    pub(crate) fn copy(&self) -> Self {
        let device = &self.0;
        let copy = Self::new(&device.transport, &device.base, &device.clock, device.origin.as_deref());
        copy.0.jar().clone_from(&device.jar());
        copy
    }

    /// The same browser, or app, where `there` sends its requests.
    pub(crate) fn at(&self, there: &Self) -> Self {
        let device = &there.0;
        let moved = Self::new(&device.transport, &device.base, &device.clock, self.0.origin.as_deref());
        moved.0.jar().clone_from(&self.0.jar());
        moved
    }
}

impl Device {
    fn jar(&self) -> MutexGuard<'_, Vec<StoredCookie>> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cookie_header(&self) -> Option<String> {
        let now = self.clock.now();
        let pairs: Vec<String> = self
            .jar()
            .iter()
            .filter(|cookie| cookie.expires_at.is_none_or(|end| now < end))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn store(&self, answer: &Answer) {
        if self.origin.is_none() {
            return;
        }
        let now = self.clock.now();
        for cookie in answer.cookies() {
            let mut jar = self.jar();
            jar.retain(|held| held.name != cookie.name);
            if !cookie.is_cleared() {
                let expires_at = cookie.max_age().map(|age| now.plus(age));
                jar.push(StoredCookie { name: cookie.name, value: cookie.value, expires_at });
            }
        }
    }
}

/// One request, being put together.
#[must_use]
pub(crate) struct Call {
    device: Arc<Device>,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    origin: Option<String>,
    fetch_site: Option<String>,
    cookies: Option<String>,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn retry_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls read json!({..}) in place")]
    pub(crate) fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        self.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"))
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn origin(mut self, origin: Option<&str>) -> Self {
        self.origin = origin.map(str::to_owned);
        self
    }

    pub(crate) fn fetch_site(mut self, site: Option<&str>) -> Self {
        self.fetch_site = site.map(str::to_owned);
        self
    }

    /// Sends this `Cookie` header instead of the jar's.
    pub(crate) fn cookies(mut self, header: &str) -> Self {
        self.cookies = Some(header.to_owned());
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        let url = format!("{}{}", self.device.base, self.path);
        let mut headers = HeaderMap::new();
        let fixed = [
            ("cookie", self.cookies.or_else(|| self.device.cookie_header()).filter(|header| !header.is_empty())),
            ("origin", self.origin),
            ("sec-fetch-site", self.fetch_site),
        ];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        for (name, value) in fixed.chain(self.headers) {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        let mut request =
            axum::http::Request::builder().method(self.method).uri(url).body(self.body).expect("a request");
        *request.headers_mut() = headers;
        let sent = self.device.transport.send(request).await;
        let (status, headers, body) = sent.unwrap_or_else(|error| panic!("{what}: {error}"));
        let answer = Answer { what, status, headers, body };
        self.device.store(&answer);
        answer
    }
}

/// One answer.
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }

    /// Asserts a problem of RFC 9457 with this status and code, and everything that all problems have.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Self {
        let text = self.text();
        let what = &self.what;
        assert_eq!(self.status, status, "{what}: expected {code}: {text}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{what}: {text}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{what}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{what}: {text}");
        assert_eq!(problem["status"], status, "{what}: {text}");
        for name in ["type", "title"] {
            assert!(problem[name].as_str().is_some_and(|value| !value.is_empty()), "{what}: no {name}: {text}");
        }
        assert!(problem["detail"].is_null() || problem["detail"].is_string(), "{what}: {text}");
        if matches!(status, 429 | 503) {
            let seconds = self.header("retry-after").and_then(|value| value.parse::<u64>().ok());
            assert!(seconds.is_some_and(|seconds| seconds > 0), "{what}: Retry-After is missing: {:?}", self.headers);
        }
        if status >= 500 {
            assert!(text.contains("request_id"), "{what}: no request id: {text}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {}: {error}: {}", self.what, self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's code; empty when it is none.
    pub(crate) fn code(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All `Set-Cookie` headers.
    pub(crate) fn cookies(&self) -> Vec<SetCookie> {
        self.headers
            .get_all("set-cookie")
            .iter()
            .map(|value| SetCookie::parse(value.to_str().expect("a cookie in ASCII")))
            .collect()
    }

    /// What the answer does to one cookie.
    #[track_caller]
    pub(crate) fn cookie(&self, name: &str) -> Option<SetCookie> {
        let mut found = self.cookies();
        found.retain(|cookie| cookie.name == name);
        assert!(found.len() <= 1, "{}: {name} is set more than once: {found:?}", self.what);
        found.pop()
    }

    /// Asserts that the answer touches no cookie.
    #[track_caller]
    pub(crate) fn expect_no_cookies(self) -> Self {
        assert_eq!(self.cookies(), [], "{}", self.what);
        self
    }

    /// Asserts which cookies the answer sets and which it clears, and that it touches no others.
    #[track_caller]
    pub(crate) fn expect_cookies(self, set: &[&str], cleared: &[&str]) -> Self {
        let names = |clears: bool| {
            let cookies = self.cookies().into_iter();
            // `device`, which sign-ins set and nothing clears, is looked at where it matters.
            let cookies = cookies.filter(|cookie| cookie.is_cleared() == clears && cookie.name != "device");
            sorted(cookies.map(|cookie| cookie.name))
        };
        let expected = |names: &[&str]| sorted(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(names(false), expected(set), "{}: cookies set", self.what);
        assert_eq!(names(true), expected(cleared), "{}: cookies cleared", self.what);
        self
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn percent(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
