//! HTTP requests as API Gateway's events (HTTP API, payload format 2.0), and its answers as HTTP responses.

use std::collections::BTreeMap;

use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shared::clock::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

/// What of a request stands in every event about it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) parts: Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) request_id: String,
    pub(crate) source_ip: String,
    pub(crate) at: Timestamp,
}

/// The route that a request matched.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    /// `GET /sessions/{id}`.
    pub(crate) key: String,
    pub(crate) path_parameters: BTreeMap<String, String>,
}

impl Received {
    /// The event that a route's function gets. `authorizer` is the context that the authorizer handed on.
    pub(crate) fn function_event(&self, matched: &Matched, authorizer: Option<&Value>) -> Value {
        let mut context = self.request_context(matched);
        if let Some(handed_on) = authorizer {
            context["authorizer"] = json!({ "lambda": handed_on });
        }
        let (body, is_base64) = self.body();
        let mut event = self.common(matched, &context);
        event.insert("body".to_owned(), body);
        event.insert("isBase64Encoded".to_owned(), json!(is_base64));
        Value::Object(event)
    }

    /// The event that the authorizer gets.
    pub(crate) fn authorizer_event(&self, matched: &Matched) -> Value {
        let mut event = self.common(matched, &self.request_context(matched));
        event.insert("type".to_owned(), json!("REQUEST"));
        event.insert("identitySource".to_owned(), Value::Null);
        let (method, path) = (&self.parts.method, self.parts.uri.path().trim_start_matches('/'));
        let arn = format!("arn:aws:execute-api:us-east-1:000000000000:local/$default/{method}/{path}");
        event.insert("routeArn".to_owned(), json!(arn));
        Value::Object(event)
    }

    fn common(&self, matched: &Matched, context: &Value) -> Map<String, Value> {
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
        set("version", json!("2.0"));
        set("routeKey", json!(matched.key));
        set("rawPath", json!(self.parts.uri.path()));
        set("rawQueryString", json!(self.parts.uri.query().unwrap_or_default()));
        set("headers", json!(self.headers()));
        set("requestContext", context.clone());
        if let Some(cookies) = self.cookies() {
            set("cookies", json!(cookies));
        }
        let query = self.query();
        if !query.is_empty() {
            set("queryStringParameters", json!(query));
        }
        if !matched.path_parameters.is_empty() {
            set("pathParameters", json!(matched.path_parameters));
        }
        event
    }

    fn request_context(&self, matched: &Matched) -> Value {
        let domain = self.header("host").unwrap_or_default();
        json!({
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": domain,
            "domainPrefix": domain.split(['.', ':']).next(),
            "http": {
                "method": self.parts.method.as_str(),
                "path": self.parts.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": self.source_ip,
                "userAgent": self.header("user-agent").unwrap_or_default(),
            },
            "requestId": self.request_id,
            "routeKey": matched.key,
            "stage": "$default",
            "time": gateway_time(self.at),
            "timeEpoch": self.at.unix() * 1000,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Lower-case names, the values of one name joined by commas, cookies apart.
    fn headers(&self) -> BTreeMap<&str, String> {
        let mut headers = BTreeMap::new();
        for name in self.parts.headers.keys().filter(|name| *name != "cookie") {
            let values: Vec<_> = self.parts.headers.get_all(name).iter().map(latin1).collect();
            headers.insert(name.as_str(), values.join(","));
        }
        headers
    }

    fn cookies(&self) -> Option<Vec<String>> {
        let headers = self.parts.headers.get_all("cookie");
        let cookies: Vec<String> = headers
            .iter()
            .flat_map(|header| latin1(header).split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>())
            .filter(|cookie| !cookie.is_empty())
            .collect();
        (!cookies.is_empty()).then_some(cookies)
    }

    /// Decoded, the values of one name joined by commas.
    fn query(&self) -> BTreeMap<String, String> {
        let mut query: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes()) {
            query
                .entry(name.into_owned())
                .and_modify(|values| *values = format!("{values},{value}"))
                .or_insert_with(|| value.clone().into_owned());
        }
        query
    }

    /// The body as text where its type says that it is text and it is UTF-8, else in base64.
    fn body(&self) -> (Value, bool) {
        if self.body.is_empty() {
            return (Value::Null, false);
        }
        match (is_text(self.header("content-type")), std::str::from_utf8(&self.body)) {
            (true, Ok(text)) => (json!(text), false),
            _ => (json!(STANDARD.encode(&self.body)), true),
        }
    }
}

/// A header's bytes, each as the character of that number.
fn latin1(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

fn is_text(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return false };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&essence.as_str())
        || essence.ends_with("+json")
}

/// `23/Nov/2026:10:00:00 +0000`.
fn gateway_time(at: Timestamp) -> String {
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let moment = i64::try_from(at.unix()).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.and_then(|moment| moment.format(format).ok()).unwrap_or_default()
}

/// A function's answer as a response; `None` when API Gateway would not understand it.
pub(crate) fn response(answer: &Value) -> Option<Response<Vec<u8>>> {
    if answer.get("statusCode").is_none() {
        // API Gateway takes any other JSON for the body of a success.
        let mut response = Response::new(answer.to_string().into_bytes());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        return Some(response);
    }
    let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok())?;
    let body = answer["body"].as_str().unwrap_or_default();
    let body = if answer["isBase64Encoded"] == true { STANDARD.decode(body).ok()? } else { body.as_bytes().to_vec() };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    let headers = response.headers_mut();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::from_str(value.as_str()?).ok()?);
    }
    for (name, values) in answer["multiValueHeaders"].as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name).ok()?;
        headers.remove(&name);
        for value in values.as_array()? {
            headers.append(name.clone(), HeaderValue::from_str(value.as_str()?).ok()?);
        }
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        headers.append("set-cookie", HeaderValue::from_str(cookie.as_str()?).ok()?);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn received(request: axum::http::request::Builder, body: &[u8]) -> Received {
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        Received {
            parts,
            body: body.to_vec(),
            request_id: "r1".to_owned(),
            source_ip: "127.0.0.1".to_owned(),
            at: Timestamp::from_unix(1_795_428_000),
        }
    }

    fn event(request: axum::http::request::Builder, body: &[u8]) -> Value {
        let matched = Matched { key: "POST /x".to_owned(), path_parameters: BTreeMap::new() };
        received(request, body).function_event(&matched, None)
    }

    #[test]
    fn headers_cookies_and_query_are_as_api_gateway_has_them() {
        let request = Request::post("/x?a=1&a=2&b=%20")
            .header("Host", "localhost:3000")
            .header("X-Two", "1")
            .header("X-Two", "2")
            .header("Cookie", "a=1; b=2");
        let event = event(request, b"");
        assert_eq!(event["headers"], json!({"host": "localhost:3000", "x-two": "1,2"}));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": " "}));
        assert_eq!(event["rawQueryString"], "a=1&a=2&b=%20");
        assert_eq!(event["requestContext"]["time"], "23/Nov/2026:10:00:00 +0000");
    }

    #[test]
    fn bodies_that_are_not_text_are_base64() {
        let json_body = event(Request::post("/x").header("content-type", "application/json; charset=utf-8"), b"{}");
        assert_eq!((&json_body["body"], &json_body["isBase64Encoded"]), (&json!("{}"), &json!(false)));
        for (content_type, body) in [("application/x-www-form-urlencoded", &b"a=b"[..]), ("application/json", b"\xff")]
        {
            let event = event(Request::post("/x").header("content-type", content_type), body);
            assert_eq!(event["isBase64Encoded"], true, "{content_type}");
            assert_eq!(event["body"], STANDARD.encode(body));
        }
    }

    #[test]
    fn answers_become_responses() {
        let answer = json!({
            "statusCode": 201, "headers": {"a": "1"}, "multiValueHeaders": {"b": ["1", "2"]},
            "cookies": ["x=1", "y=2"], "body": "aGk=", "isBase64Encoded": true,
        });
        let response = response(&answer).expect("a response");
        assert_eq!((response.status(), response.body().as_slice()), (StatusCode::CREATED, &b"hi"[..]));
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.headers().get_all("b").iter().count(), 2);
        assert!(super::response(&json!({"statusCode": 9999})).is_none());
        assert_eq!(super::response(&json!({"a": 1})).expect("a response").body(), b"{\"a\":1}");
    }
}
