//! Where the API is, and the origins that may call it.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use url::Url;

/// An origin (RFC 6454): scheme, host and port, as a browser's `Origin` header spells it. Apps in a web view have ones
/// of other schemes than http, `capacitor://localhost` for instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin in the one form in which browsers write it: scheme and host in lower-case ASCII, the port only where
    /// it is not the scheme's own, nothing behind. `None` for anything else, wildcards among it: API Gateway's CORS compares
    /// texts, and would take another form for another origin.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let (scheme, host) = (url.scheme(), url.host_str()?);
        if matches!(scheme, "file" | "ftp" | "ws" | "wss") || host.is_empty() {
            return None;
        }
        // In the names of hosts; an IPv6 address has brackets and colons too.
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_[]:".contains(&byte);
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        (host.bytes().all(is_plain) && text == format!("{scheme}://{host}{port}")).then(|| Self(text.to_owned()))
    }

    /// As a browser spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The API's own URL, without a slash at its end: `https://api.example.com`, or with a stage as its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiUrl {
    url: String,
    origin: Origin,
    is_https: bool,
}

impl ApiUrl {
    /// Reads a URL of scheme http or https without query or fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        plain.then(|| Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            origin: Origin(url.origin().ascii_serialization()),
            is_https: url.scheme() == "https",
        })
    }

    /// The configured URL, else the one that API Gateway says the request came to; never one from a header, which
    /// the client writes. `None` when neither is there.
    pub fn of_request(configured: Option<&Self>, request: &Request) -> Option<Self> {
        configured.cloned().or_else(|| match request.request_context_ref()? {
            RequestContext::ApiGatewayV2(context) => {
                Self::from_gateway(context.domain_name.as_deref()?, context.stage.as_deref())
            }
            _ => None,
        })
    }

    /// The URL of an API Gateway stage, which is always https.
    pub fn from_gateway(domain_name: &str, stage: Option<&str>) -> Option<Self> {
        match stage {
            None | Some("$default") => Self::parse(&format!("https://{domain_name}")),
            Some(stage) => Self::parse(&format!("https://{domain_name}/{stage}")),
        }
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Its origin.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether cookies can be `Secure`.
    pub const fn is_https(&self) -> bool {
        self.is_https
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_browsers_write_it() {
        for text in [
            "https://app.example.test",
            "http://localhost:5173",
            "https://xn--bcher-kva.example",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(Origin::parse(text).as_ref().map(Origin::as_str), Some(text));
        }
        for text in [
            "null",
            "*",
            "",
            "https://",
            "https://a.test/",
            "https://a.test/x",
            "https://a.test?",
            "https://a.test#",
            "https://u@a.test",
            "ftp://a.test",
            "file://localhost",
            "https://App.example.test",
            "https://app.example.test:443",
            "http://a.test:80",
            "https://bücher.example",
            "https://*",
            "https://*.example.test",
            "capacitor://*",
            "capacitor://Local",
            "capacitor://localhost/",
            "https://a.test ",
            "https://%61.test",
            "localhost:3000",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_url_with_a_secret_or_more_than_a_path_is_none() {
        for text in [
            "https://ann@api.test",
            "https://:secret@api.test",
            "https://api.test?a",
            "https://api.test#a",
            "ftp://api.test",
        ] {
            assert_eq!(ApiUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_stage_is_part_of_the_url_and_not_of_the_origin() {
        let url = ApiUrl::from_gateway("x.execute-api.eu-central-1.amazonaws.com", Some("dev")).expect("a URL");
        assert_eq!(url.as_str(), "https://x.execute-api.eu-central-1.amazonaws.com/dev");
        assert_eq!(url.origin().as_str(), "https://x.execute-api.eu-central-1.amazonaws.com");
        let url = ApiUrl::from_gateway("api.example.test", Some("$default")).expect("a URL");
        assert_eq!(url.as_str(), "https://api.example.test");
        assert!(url.is_https());
    }
}
