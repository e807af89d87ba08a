//! JSON bodies: an object of type `application/json`, 16 KiB at most, no duplicate keys, no unknown fields.
//!
//! A field that is `null` is as if it were absent, though its name has to be a known one, once. Unknown fields are
//! serde's matter, for types that derive `Deserialize` with `deny_unknown_fields`; nesting is bounded by `serde_json`.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CONTENT_TYPE, HeaderValue};
use lambda_http::{Body, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use self::value::Value;
use super::{Code, Problem, Response, header};

/// The largest body that is looked at, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// What some editors and clients begin a text with; in UTF-8 it says nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body that is not taken.
#[derive(Debug, Error)]
pub enum BodyError {
    /// Another content type, or none.
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    /// Over [`MAX_BODY`].
    #[error("the body may have {MAX_BODY} bytes at most")]
    TooLarge,
    /// Not JSON, or not what the endpoint takes.
    #[error("{0}")]
    Invalid(String),
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::UnsupportedMediaType => Code::UnsupportedMediaType,
            BodyError::TooLarge => Code::BodyTooLarge,
            BodyError::Invalid(_) => Code::InvalidRequest,
        };
        Self::new(code).with_detail(error)
    }
}

/// The body of a request.
pub fn parse<T: DeserializeOwned>(request: &Request) -> Result<T, BodyError> {
    if !is_content_type(request, "application/json") {
        return Err(BodyError::UnsupportedMediaType);
    }
    let body: &[u8] = request.body();
    if body.len() > MAX_BODY {
        return Err(BodyError::TooLarge);
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    // serde would take an array for an object, its items for the fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(BodyError::Invalid("not a JSON object".to_owned()));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| BodyError::Invalid(explain(&error)))?;
    T::deserialize(value).map_err(|error| BodyError::Invalid(error.to_string()))
}

/// The body of a request whose fields are all optional: none at all, of whatever type, will do too.
pub fn parse_or_default<T: DeserializeOwned + Default>(request: &Request) -> Result<T, BodyError> {
    let body: &[u8] = request.body();
    if body.is_empty() { Ok(T::default()) } else { parse(request) }
}

/// An answer with a JSON body.
pub fn response(status: StatusCode, body: &impl Serialize) -> Response {
    // Our own types serialise: string keys, no failing parts.
    let mut response = Response::new(Body::Text(serde_json::to_string(body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whether the request's content type is `essence`, in whatever case and with whatever parameters, but UTF-8 or its
/// part US-ASCII.
pub fn is_content_type(request: &Request, essence: &str) -> bool {
    let Some(value) = header(request, "content-type") else { return false };
    let mut parts = value.split(';').map(str::trim);
    let fits = parts.next().is_some_and(|part| part.eq_ignore_ascii_case(essence));
    fits && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = charset.trim().trim_matches(['"', '\'']);
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        }
        _ => true,
    })
}

/// What is wrong, and where. A wrong value itself is not repeated: it may be a password.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let harmless = ["duplicate field", "recursion limit", "trailing characters"];
    if harmless.iter().any(|start| text.starts_with(start)) {
        text
    } else {
        format!("not JSON, at line {} column {}", error.line(), error.column())
    }
}

mod value;

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        name: String,
        tags: Vec<String>,
        count: u8,
        remember: bool,
        kind: Kind,
        nested: Nested,
        maybe: Option<String>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        Browser,
        App,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        #[serde(default)]
        flag: bool,
        depth: Option<i64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Required {
        #[serde(rename = "name")]
        _name: String,
    }

    fn invalid<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> String {
        match parse::<T>(&request("application/json", body)) {
            Err(BodyError::Invalid(detail)) => detail,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn null_is_as_if_the_field_were_absent() {
        let body = r#"{"name":null,"tags":null,"count":null,"remember":null,"kind":null,"nested":null,"maybe":null}"#;
        let sample: Sample = parse(&request("application/json", body)).expect("defaults");
        assert_eq!((sample.name.as_str(), sample.count, sample.remember, sample.kind), ("", 0, false, Kind::Browser));
        assert_eq!((sample.tags.len(), sample.maybe), (0, None));
        let body = r#"{"nested":{"flag":null,"depth":null},"kind":"app","count":7,"maybe":"x"}"#;
        let sample: Sample = parse(&request("application/json", body)).expect("nested");
        assert_eq!((sample.nested.flag, sample.nested.depth, sample.kind), (false, None, Kind::App));
        assert_eq!((sample.count, sample.maybe.as_deref()), (7, Some("x")));
        assert_eq!(invalid::<Required>(r#"{"name":null}"#), "missing field `name`");
    }

    #[test]
    fn null_hides_neither_a_duplicate_nor_an_unknown_field() {
        for body in [
            r#"{"name":null,"name":null}"#,
            r#"{"name":"a","name":null}"#,
            r#"{"name":null,"n\u0061me":"a"}"#,
            r#"{"nested":{"flag":null,"flag":true}}"#,
        ] {
            let detail = invalid::<Sample>(body);
            assert!(detail.starts_with("duplicate field `"), "{body}: {detail}");
        }
        for body in [r#"{"is_admin":null}"#, r#"{"nested":{"is_admin":null}}"#] {
            let detail = invalid::<Sample>(body);
            assert!(detail.contains("unknown field `is_admin`"), "{body}: {detail}");
        }
    }

    #[test]
    fn an_error_names_the_field_and_no_value() {
        for (body, expected) in [
            (r#"{"remember":"hunter2"}"#, "field `remember`: expected a boolean"),
            (r#"{"name":31337}"#, "field `name`: expected a string"),
            (r#"{"tags":"hunter2"}"#, "field `tags`: expected an array"),
            (r#"{"tags":["a",31337]}"#, "field `tags`: expected a string"),
            (r#"{"count":31337}"#, "field `count`: expected u8"),
            (r#"{"kind":"hunter2"}"#, "field `kind`: expected `browser` or `app`"),
            (r#"{"nested":{"flag":31337}}"#, "field `nested.flag`: expected a boolean"),
            (r#"{"nested":"hunter2"}"#, "field `nested`: expected an object"),
            (r#"{"maybe":["hunter2"]}"#, "field `maybe`: expected a string"),
            (r#"{"hunter2 is my password":1}"#, "unknown field"),
        ] {
            assert_eq!(invalid::<Sample>(body), expected, "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let sample: Sample = parse(&request("application/json", "\u{feff}{\"name\":\"ann\"}")).expect("an object");
        assert_eq!(sample.name, "ann");
        assert!(parse::<Sample>(&request("application/json", "\u{feff}\u{feff}{}")).is_err());
    }

    fn request(content_type: &str, body: &str) -> Request {
        lambda_http::http::Request::builder()
            .header("content-type", content_type)
            .body(Body::Text(body.to_owned()))
            .expect("a request")
    }

    #[test]
    fn takes_json_however_its_type_is_spelled() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/json; Charset='UTF8'",
            "application/json;charset=US-ASCII",
        ] {
            let sample: Sample = parse(&request(content_type, r#"{"name":"ann","tags":[]}"#)).expect(content_type);
            assert_eq!((sample.name.as_str(), sample.tags.len()), ("ann", 0));
        }
    }

    #[test]
    fn refuses_other_types() {
        for content_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
        {
            let outcome = parse::<Sample>(&request(content_type, "{}"));
            assert!(matches!(outcome, Err(BodyError::UnsupportedMediaType)), "{content_type}");
        }
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        let deep = format!("{{\"tags\":{}{}}}", "[".repeat(500), "]".repeat(500));
        for body in
            [r#"{"name":"a","name":"b"}"#, r#"{"nom":"a"}"#, "[", "", r#"["a",[]]"#, r#"{"name":"a"} x"#, deep.as_str()]
        {
            let outcome = parse::<Sample>(&request("application/json", body));
            assert!(matches!(outcome, Err(BodyError::Invalid(_))), "{body}");
        }
    }

    #[test]
    fn never_repeats_a_wrong_value() {
        let Err(error) = parse::<Sample>(&request("application/json", r#"{"tags":"hunter2"}"#)) else { panic!() };
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn bounds_the_size() {
        let body = format!("{{\"name\":\"{}\"}}", "a".repeat(MAX_BODY));
        assert!(matches!(parse::<Sample>(&request("application/json", &body)), Err(BodyError::TooLarge)));
    }

    #[test]
    fn an_empty_body_is_the_default_where_all_is_optional() {
        assert_eq!(parse_or_default::<Sample>(&request("", "")).expect("the default").name, "");
        assert!(parse_or_default::<Sample>(&request("text/plain", "{}")).is_err());
    }
}
