//! What stands in front of the API: a CDN, which shows a secret with each request, and writes down whom it has it from.
//!
//! API Gateway can be reached past it. What comes without the secret is refused, and so a header that says where a request
//! comes from is believed only beside the secret: else it could be anybody's.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use subtle::{Choice, ConstantTimeEq};

use super::source::Source;

/// The header with the secret.
pub const SECRET_HEADER: HeaderName = HeaderName::from_static("x-origin-secret");

/// The fewest characters of a secret.
const MIN_SECRET: usize = 32;
/// The most secrets: the present one and, while it is changed, the next.
const MAX_SECRETS: usize = 2;

/// `CloudFront`'s header. It always has a port, and writes `2001:db8::7:443` for the IPv6 address `2001:db8::7`, which would
/// be an address too.
const CLOUDFRONT_ADDRESS: &str = "cloudfront-viewer-address";

/// The CDN in front of the API.
#[derive(Clone, Debug)]
pub struct Edge {
    secrets: OriginSecrets,
    client_address: ClientAddressHeader,
}

impl Edge {
    /// The CDN that shows one of these secrets, and writes its client's address into this header.
    pub const fn new(secrets: OriginSecrets, client_address: ClientAddressHeader) -> Self {
        Self { secrets, client_address }
    }

    /// Whether a request came through it.
    pub fn is_behind(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(SECRET_HEADER).iter();
        // Of two, one is not the CDN's. API Gateway joins them with a comma, and no secret has one.
        matches!((shown.next(), shown.next()), (Some(shown), None) if self.secrets.contain(shown.as_bytes()))
    }

    /// Where the CDN had a request from. To be asked only of one that [came through it](Self::is_behind).
    pub fn source(&self, headers: &HeaderMap) -> Source {
        let ClientAddressHeader(name) = &self.client_address;
        // Whatever the client wrote itself stands before what the CDN adds.
        let last = headers.get_all(name).iter().next_back().map(HeaderValue::to_str);
        let last = last.and_then(Result::ok).and_then(|values| values.rsplit(',').next()).unwrap_or_default();
        Source::of_text(if name == CLOUDFRONT_ADDRESS { without_port(last) } else { last })
    }
}

/// What stands before the last colon and a port; nothing where there is none.
fn without_port(text: &str) -> &str {
    match text.trim().rsplit_once(':') {
        Some((address, port)) if port.parse::<u16>().is_ok() => address,
        _ => "",
    }
}

/// What the CDN shows: one secret, or two while it is changed. Kept as hashes, which all have one length.
#[derive(Clone)]
pub struct OriginSecrets(Vec<[u8; 32]>);

impl OriginSecrets {
    /// Reads one secret, or two with a comma between them, each of 32 visible characters of ASCII or more.
    pub fn parse(text: &str) -> Option<Self> {
        let secrets: Vec<&str> = text.split(',').collect();
        let is_secret =
            |secret: &&str| secret.len() >= MIN_SECRET && secret.bytes().all(|byte| byte.is_ascii_graphic());
        let are_secrets = secrets.len() <= MAX_SECRETS && secrets.iter().all(is_secret);
        are_secrets.then(|| Self(secrets.iter().map(|secret| hash(secret.as_bytes())).collect()))
    }

    /// Whether this is one of them. It takes as long for each of them, and for none.
    fn contain(&self, shown: &[u8]) -> bool {
        let shown = hash(shown);
        self.0.iter().fold(Choice::from(0), |found, secret| found | secret.ct_eq(&shown)).into()
    }
}

impl fmt::Debug for OriginSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OriginSecrets(…)")
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}

/// The header that the CDN writes its client's address into.
#[derive(Clone, Debug)]
pub struct ClientAddressHeader(HeaderName);

impl ClientAddressHeader {
    /// Reads a header's name in lower case. Not `x-forwarded-for` and `forwarded`: there API Gateway adds where it had the
    /// request from itself, and that is the CDN.
    pub fn parse(text: &str) -> Option<Self> {
        let name = HeaderName::from_lowercase(text.as_bytes()).ok()?;
        (!matches!(name.as_str(), "x-forwarded-for" | "forwarded")).then_some(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &str = "first-secret-of-32-characters-00";
    const SECOND: &str = "second-secret-which-is-longer-by-some-characters";

    fn edge(header: &str) -> Edge {
        let secrets = OriginSecrets::parse(&format!("{FIRST},{SECOND}")).expect("secrets");
        Edge::new(secrets, ClientAddressHeader::parse(header).expect("a header"))
    }

    fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        map
    }

    #[test]
    fn one_secret_or_two_of_32_characters() {
        for text in [FIRST, &format!("{FIRST},{SECOND}"), &"~".repeat(32)] {
            assert!(OriginSecrets::parse(text).is_some(), "{text}");
        }
        let (short, spaced) = ("x".repeat(31), format!("{} {}", "x".repeat(20), "x".repeat(20)));
        for text in [
            "",
            ",",
            &short,
            &spaced,
            &format!("{FIRST},{short}"),
            &format!("{FIRST},"),
            &format!(",{FIRST}"),
            &format!("{FIRST}, {SECOND}"),
            &format!("{FIRST},{SECOND},{SECOND}"),
            &"\u{e9}".repeat(32),
        ] {
            assert!(OriginSecrets::parse(text).is_none(), "{text}");
        }
        assert!(!format!("{:?}", edge("x-client")).contains("secret-of"));
    }

    #[test]
    fn either_secret_is_one_and_nothing_else() {
        let edge = edge("x-client");
        for secret in [FIRST, SECOND] {
            assert!(edge.is_behind(&headers(&[("x-origin-secret", secret)])), "{secret}");
        }
        let (joined, upper) = (format!("{FIRST},{SECOND}"), FIRST.to_uppercase());
        for shown in ["", &FIRST[1..], &FIRST[..31], &joined, &upper, &format!("{FIRST} "), &format!("\"{FIRST}\"")] {
            assert!(!edge.is_behind(&headers(&[("x-origin-secret", shown)])), "{shown}");
        }
        assert!(!edge.is_behind(&HeaderMap::new()));
        assert!(!edge.is_behind(&headers(&[("x-origin-secret", FIRST), ("x-origin-secret", FIRST)])));
        assert!(!edge.is_behind(&headers(&[("x-origin-secret", "wrong"), ("x-origin-secret", FIRST)])));
        assert!(!edge.is_behind(&headers(&[("origin-secret", FIRST), ("x-client", FIRST)])));
    }

    #[test]
    fn the_last_value_is_the_cdn_s() {
        let source = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| ("x-client", *value)).collect();
            edge("x-client").source(&headers(&values))
        };
        let expected = Source::of_text("203.0.113.7");
        for values in [
            &["203.0.113.7"][..],
            &["203.0.113.7:443"],
            &["::ffff:203.0.113.7"],
            &["198.51.100.1, 203.0.113.7"],
            &["198.51.100.1,203.0.113.7 "],
            &["203.0.113.8", "203.0.113.7"],
            &["203.0.113.8", "198.51.100.1, 203.0.113.7"],
            &["\u{e9}", "203.0.113.7"],
        ] {
            assert_eq!(source(values), expected, "{values:?}");
        }
        let unknown = Source::of_text("");
        for values in [&[][..], &[""], &["203.0.113.7,"], &["203.0.113.7", ""], &["\u{e9}"], &["203.0.113.7", "\u{e9}"]]
        {
            assert_eq!(source(values), unknown, "{values:?}");
        }
    }

    #[test]
    fn cloudfront_always_writes_a_port() {
        let source = |value: &str| edge(CLOUDFRONT_ADDRESS).source(&headers(&[(CLOUDFRONT_ADDRESS, value)]));
        assert_eq!(source("203.0.113.7:46532"), Source::of_text("203.0.113.7"));
        // This would be an address as well, of another network.
        assert_eq!(source("2001:db8::5:6:7:8:1024"), Source::of_text("2001:db8::5:6:7:8"));
        for value in ["203.0.113.7", "2001:db8::7:70000", "2001:db8::abcd", ""] {
            assert_eq!(source(value), Source::of_text(""), "{value}");
        }
    }

    #[test]
    fn a_header_that_api_gateway_writes_is_none() {
        for name in ["x-forwarded-for", "forwarded", "", "X-Client", "x client", "x-client:", "x\u{e9}"] {
            assert!(ClientAddressHeader::parse(name).is_none(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn cloudfront_s_port_is_never_a_part_of_the_address(bits: u128, port: u16) {
            let address = std::net::Ipv6Addr::from(bits);
            let whole = address.segments().map(|segment| format!("{segment:x}")).join(":");
            for address in [address.to_string(), whole, format!("[{address}]")] {
                let sent = headers(&[(CLOUDFRONT_ADDRESS, format!("{address}:{port}").as_str())]);
                prop_assert_eq!(edge(CLOUDFRONT_ADDRESS).source(&sent), Source::of_text(&address), "{}", address);
            }
        }

        #[test]
        fn no_header_is_without_a_limit(value in "[ -~]{0,60}") {
            for name in ["x-client", CLOUDFRONT_ADDRESS] {
                prop_assert!(edge(name).source(&headers(&[(name, value.as_str())])).counted().count() > 0);
            }
        }

        #[test]
        fn nothing_is_a_secret_but_the_secrets(shown in "[!-~]{0,60}") {
            let expected = shown == FIRST || shown == SECOND;
            prop_assert_eq!(edge("x-client").is_behind(&headers(&[("x-origin-secret", shown.as_str())])), expected);
        }
    }
}
