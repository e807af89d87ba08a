//! The cookies: `access`, `refresh`, `signup`, `reset` and `device`, which no script can read, and `username`, which the app's
//! page reads to greet.
//!
//! Where the API is https, all but the last are `__Host-` cookies: bound to the host, so that no other subdomain can
//! plant one. On http (the local stack) browsers refuse that prefix, and the names are bare.

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use lambda_http::http::header::{COOKIE, SET_COOKIE};
use lambda_http::http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Response;
use super::origin::ApiUrl;
use crate::config::Api;

/// Everything that is not unreserved (RFC 3986 §2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieKind {
    /// The access token.
    Access,
    /// The refresh token of a remembered browser.
    Refresh,
    /// The `signup_id` of the browser that signed up.
    Signup,
    /// The `reset_id` of the browser that forgot a password.
    Reset,
    /// What tells which people have signed in on this browser before. It opens nothing, and a logout leaves it.
    Device,
    /// The user's name, readable.
    Username,
}

impl CookieKind {
    /// Those of a session or a sign-up. A reset is no session's matter: it may be of another account.
    const OF_SESSIONS: [Self; 4] = [Self::Access, Self::Refresh, Self::Signup, Self::Username];

    const fn name(self, is_https: bool) -> &'static str {
        match (self, is_https) {
            (Self::Access, true) => "__Host-access",
            (Self::Access, false) => "access",
            (Self::Refresh, true) => "__Host-refresh",
            (Self::Refresh, false) => "refresh",
            (Self::Signup, true) => "__Host-signup",
            (Self::Signup, false) => "signup",
            (Self::Reset, true) => "__Host-reset",
            (Self::Reset, false) => "reset",
            (Self::Device, true) => "__Host-device",
            (Self::Device, false) => "device",
            (Self::Username, _) => "username",
        }
    }
}

/// How this deployment writes cookies.
#[derive(Clone, Copy, Debug)]
pub struct Cookies<'a> {
    is_https: bool,
    username_domain: Option<&'a str>,
}

impl<'a> Cookies<'a> {
    /// The cookies of an API at this URL.
    pub fn new(api: &'a Api, api_url: &ApiUrl) -> Self {
        Self { is_https: api_url.is_https(), username_domain: api.cookie_domain.as_deref() }
    }

    /// Sets a cookie for `max_age` seconds.
    pub fn set(&self, response: &mut Response, kind: CookieKind, value: &str, max_age: u64) {
        let value = match kind {
            CookieKind::Username => utf8_percent_encode(value, ENCODED).to_string(),
            _ => value.to_owned(),
        };
        self.append(response, kind, value, max_age);
    }

    /// Has the browser forget a cookie.
    pub fn clear(&self, response: &mut Response, kind: CookieKind) {
        self.append(response, kind, String::new(), 0);
    }

    /// Has the browser forget all of a session or a sign-up.
    pub fn clear_all(&self, response: &mut Response) {
        for kind in CookieKind::OF_SESSIONS {
            self.clear(response, kind);
        }
    }

    /// Whether an answer sets or clears a cookie already.
    pub fn is_set(&self, response: &Response, kind: CookieKind) -> bool {
        let start = format!("{}=", kind.name(self.is_https));
        response.headers().get_all(SET_COOKIE).iter().any(|cookie| cookie.as_bytes().starts_with(start.as_bytes()))
    }

    fn append(&self, response: &mut Response, kind: CookieKind, value: String, max_age: u64) {
        let same_site = if kind == CookieKind::Refresh { SameSite::Strict } else { SameSite::Lax };
        let mut cookie = Cookie::build((kind.name(self.is_https), value))
            .path("/")
            .max_age(Duration::seconds(i64::try_from(max_age).unwrap_or(i64::MAX)))
            .secure(self.is_https)
            .http_only(kind != CookieKind::Username)
            .same_site(same_site);
        if let (CookieKind::Username, Some(domain)) = (kind, self.username_domain) {
            cookie = cookie.domain(domain);
        }
        // Every value is base64url or percent-encoded; the domain was checked when it was read.
        if let Ok(header) = HeaderValue::try_from(cookie.build().to_string()) {
            response.headers_mut().append(SET_COOKIE, header);
        }
    }
}

/// The value of a cookie that a request brought. Of several with one name it is the first, which browsers send for
/// the longest path.
///
/// Cookies are read one by one, as bytes (RFC 6265 §5.4): what another application has set, in whatever encoding, hides
/// none of ours.
pub fn find(headers: &HeaderMap, api_url: &ApiUrl, kind: CookieKind) -> Option<String> {
    let name = kind.name(api_url.is_https()).as_bytes();
    let pairs = headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let (found, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
            (found == name).then_some(&value[1..])
        })
        .find_map(|value| std::str::from_utf8(value).ok().filter(|value| !value.is_empty()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_of_another_application_hides_none_of_ours() {
        let api = ApiUrl::parse("http://localhost:3000").expect("a URL");
        for other in [
            &b"theme=\xe9"[..],
            "theme=é".as_bytes(),
            b"theme",
            b"=",
            b"a=b=c",
            b"\xff\xfe",
            b"access=\xff",
            b"\"",
            b"",
        ] {
            for sent in
                [[&b"access=A; refresh=R; "[..], other].concat(), [other, &b"; access=A;refresh=R"[..]].concat()]
            {
                let mut headers = HeaderMap::new();
                headers.insert(COOKIE, HeaderValue::from_bytes(&sent).expect("a header"));
                for (kind, value) in [(CookieKind::Access, "A"), (CookieKind::Refresh, "R")] {
                    assert_eq!(find(&headers, &api, kind).as_deref(), Some(value), "{other:?}");
                }
                assert_eq!(find(&headers, &api, CookieKind::Signup), None);
            }
        }
    }

    #[test]
    fn the_first_of_several_counts() {
        let api = ApiUrl::parse("https://api.example.test").expect("a URL");
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("access=bare; __Host-access=; __Host-access=first"));
        headers.append(COOKIE, HeaderValue::from_static("__Host-access=second"));
        assert_eq!(find(&headers, &api, CookieKind::Access).as_deref(), Some("first"));
    }
}
