//! Where the API is, and the origins that may call it.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use url::Url;

use crate::config::Config;

/// An origin (RFC 6454): scheme, host and port, as a browser's `Origin` header spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin; `None` for anything with a path, or of another scheme than http and https.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && !text.ends_with('/')
            && url.username().is_empty();
        plain.then(|| Self(url.origin().ascii_serialization()))
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
            && url.username().is_empty();
        plain.then(|| Self {
            url: url.as_str().trim_end_matches('/').to_owned(),
            origin: Origin(url.origin().ascii_serialization()),
            is_https: url.scheme() == "https",
        })
    }

    /// The configured URL, else the one that API Gateway says the request came to; never one from a header, which
    /// the client writes. `None` when neither is there.
    pub fn of_request(config: &Config, request: &Request) -> Option<Self> {
        config.api_url.clone().or_else(|| match request.request_context_ref()? {
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
        assert_eq!(
            Origin::parse("https://App.example.test:443").map(|o| o.0).as_deref(),
            Some("https://app.example.test")
        );
        assert!(Origin::parse("http://localhost:5173").is_some());
        for text in ["null", "*", "https://a.test/", "https://a.test/x", "https://u@a.test", "ftp://a.test", ""] {
            assert_eq!(Origin::parse(text), None, "{text}");
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
