//! The check of every unsafe request's origin: cookies alone never act for a foreign page.

use lambda_http::http::{HeaderMap, Method};

use super::origin::Origin;

/// Whether a request may act. Safe methods may, and so may an app, which has neither cookies nor an origin.
///
/// - An `Origin` has to be the API's own or one of `allowed`, cookies or not.
/// - Cookies without an `Origin` need a browser's word that the page is the API's own (`Sec-Fetch-Site`).
pub fn is_allowed(method: &Method, headers: &HeaderMap, has_cookies: bool, own: &Origin, allowed: &[Origin]) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    match headers.get("origin") {
        Some(origin) => {
            let origin = origin.to_str().ok();
            origin.is_some_and(|origin| origin == own.as_str() || allowed.iter().any(|one| one.as_str() == origin))
        }
        None => !has_cookies || is_same_origin(headers),
    }
}

/// Whether a request certainly comes from a page of the API itself.
pub fn is_own(headers: &HeaderMap, own: &Origin) -> bool {
    match headers.get("origin") {
        Some(origin) => origin.as_bytes() == own.as_str().as_bytes(),
        None => is_same_origin(headers),
    }
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)], has_cookies: bool) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = lambda_http::http::HeaderName::from_static(name);
                (name, lambda_http::http::HeaderValue::from_static(value))
            })
            .collect();
        let own = Origin::parse("https://api.example.test").expect("an origin");
        let app = Origin::parse("https://app.example.test").expect("an origin");
        is_allowed(&Method::POST, &headers, has_cookies, &own, &[app])
    }

    #[test]
    fn an_origin_decides_with_or_without_cookies() {
        for has_cookies in [false, true] {
            assert!(allowed(&[("origin", "https://api.example.test")], has_cookies));
            assert!(allowed(&[("origin", "https://app.example.test")], has_cookies));
            for foreign in
                ["https://evil.test", "null", "http://app.example.test", "https://app.example.test.evil.test"]
            {
                let headers = [("origin", foreign), ("sec-fetch-site", "same-origin")];
                assert!(!allowed(&headers, has_cookies), "{foreign}");
            }
        }
    }

    #[test]
    fn without_an_origin_cookies_need_a_browsers_word() {
        assert!(allowed(&[], false));
        assert!(!allowed(&[], true));
        assert!(allowed(&[("sec-fetch-site", "same-origin")], true));
        for site in ["same-site", "cross-site", "none"] {
            assert!(!allowed(&[("sec-fetch-site", site)], true), "{site}");
        }
    }

    #[test]
    fn safe_methods_pass() {
        let own = Origin::parse("https://api.example.test").expect("an origin");
        assert!(is_allowed(&Method::GET, &HeaderMap::new(), true, &own, &[]));
        assert!(!is_allowed(&Method::DELETE, &HeaderMap::new(), true, &own, &[]));
    }
}
