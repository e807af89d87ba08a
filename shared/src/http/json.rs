//! JSON bodies: an object of type `application/json`, 16 KiB at most, no duplicate keys, no unknown fields.
//!
//! The last two are serde's, for types that derive `Deserialize` with `deny_unknown_fields`; nesting is bounded by
//! `serde_json`.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CONTENT_TYPE, HeaderValue};
use lambda_http::{Body, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Code, Problem, Response, header};

/// The largest body that is looked at, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

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
    // serde would take an array for an object, its items for the fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(BodyError::Invalid("not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| BodyError::Invalid(explain(&error)))
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

/// Whether the request's content type is `essence`, in whatever case and with whatever parameters, but UTF-8.
pub fn is_content_type(request: &Request, essence: &str) -> bool {
    let Some(value) = header(request, "content-type") else { return false };
    let mut parts = value.split(';').map(str::trim);
    let fits = parts.next().is_some_and(|part| part.eq_ignore_ascii_case(essence));
    fits && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

/// What is wrong, and where. A wrong value itself is not repeated: it may be a password.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let harmless = ["missing field", "unknown field", "duplicate field", "recursion limit", "trailing characters"];
    if harmless.iter().any(|start| text.starts_with(start)) {
        text.chars().take(200).collect()
    } else {
        format!("not the JSON expected, at line {} column {}", error.line(), error.column())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        name: String,
        tags: Vec<String>,
    }

    fn request(content_type: &str, body: &str) -> Request {
        lambda_http::http::Request::builder()
            .header("content-type", content_type)
            .body(Body::Text(body.to_owned()))
            .expect("a request")
    }

    #[test]
    fn takes_json_however_its_type_is_spelled() {
        for content_type in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
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
