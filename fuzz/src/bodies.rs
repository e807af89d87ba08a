//! Bodies and cookies, as they are read before any endpoint looks at them.

use lambda_http::http::HeaderMap;
use lambda_http::http::header::{CONTENT_TYPE, COOKIE, HeaderValue};
use lambda_http::{Body, Request};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared::http::Problem;
use shared::http::cookies::{self, CookieKind};
use shared::http::json::{self, BodyError, MAX_BODY};
use shared::http::origin::ApiUrl;
use shared::http::page;

fn request(content_type: &'static str, body: &[u8]) -> Request {
    let mut request = Request::new(Body::Binary(body.to_vec()));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

/// A body that is refused is the client's fault.
fn assert_refused(error: BodyError) {
    let status = Problem::from(error).code().status().as_u16();
    assert!(matches!(status, 400 | 413 | 415), "{status}");
}

/// Each route's body, read by our own deserialiser and by serde's as it is.
pub(crate) fn json(data: &[u8]) {
    let request = request("application/json", data);
    compare::<email_change::EmailChangeRequest>(&request);
    compare::<email_confirm::EmailConfirmRequest>(&request);
    compare::<email_undo::EmailUndoRequest>(&request);
    compare::<login::LoginRequest>(&request);
    compare::<logout::LogoutRequest>(&request);
    compare::<password_forgot::ForgotRequest>(&request);
    compare::<password_reset::ResetRequest>(&request);
    compare::<profile::ProfileRequest>(&request);
    compare::<reauthenticate::PasswordChangeRequest>(&request);
    compare::<reauthenticate::ReauthenticateRequest>(&request);
    compare::<refresh::RefreshRequest>(&request);
    compare::<signup::ResendRequest>(&request);
    compare::<signup::SignupRequest>(&request);
    compare::<verify::VerifyRequest>(&request);
}

/// Ours takes what serde takes, and beside it only members that are `null`; but for what serde reads in two ways.
fn compare<T: DeserializeOwned>(request: &Request) {
    let body: &[u8] = request.body();
    let read = json::parse::<T>(request).map(drop);
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let object = serde_json::from_slice::<Map<String, Value>>(body);
    if read.is_ok() {
        let mut object = object.expect("an object");
        object.retain(|_, value| !value.is_null());
        assert!(serde_json::from_value::<T>(Value::Object(object)).is_ok(), "{}", body.escape_ascii());
    } else if let Ok(object) = object {
        // serde takes `{"app": null}` for the variant `"app"`.
        let has_objects = object.values().any(Value::is_object);
        let is_taken = serde_json::from_slice::<T>(body).is_ok();
        assert!(!is_taken || has_objects || body.len() > MAX_BODY - 3, "{}", body.escape_ascii());
    }
    if let Err(error) = read {
        assert_refused(error);
    }
}

/// A form's fields are written as they were read.
pub(crate) fn form(data: &[u8]) {
    const NAMES: [&str; 2] = ["token", "password"];
    let read = |body: &[u8]| page::parse_form(&request("application/x-www-form-urlencoded", body), NAMES);
    match read(data) {
        Err(error) => assert_refused(error),
        Ok(fields) => {
            let mut written = form_urlencoded::Serializer::new(String::new());
            for (name, value) in NAMES.iter().zip(&fields) {
                if let Some(value) = value {
                    written.append_pair(name, value);
                }
            }
            let written = written.finish();
            // A form's own spelling may be three times as long.
            if written.len() <= MAX_BODY {
                assert!(read(written.as_bytes()).is_ok_and(|again| again == fields), "{written}");
            }
        }
    }
}

/// No other cookie, in whatever bytes, hides one of ours or stands for it.
pub(crate) fn cookies(data: &[u8]) {
    let apis = ["https://api.example.test", "http://localhost:3000"].map(|url| ApiUrl::parse(url).expect("a URL"));
    let kinds = [CookieKind::Access, CookieKind::Refresh, CookieKind::Signup, CookieKind::Reset, CookieKind::Device];
    let find = |sent: &[u8], api: &ApiUrl, kind: CookieKind| {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(sent).ok()?);
        Some(cookies::find(&headers, api, kind))
    };
    for (api, own) in apis.iter().zip(["__Host-access=OURS", "access=OURS"]) {
        for kind in kinds {
            let Some(alone) = find(data, api, kind) else { return };
            assert!(alone.as_ref().is_none_or(|value| !value.is_empty() && !value.contains(';')));
            let expected = alone.clone().or((kind == CookieKind::Access).then(|| "OURS".to_owned()));
            let behind = find(&[data, b"; ", own.as_bytes()].concat(), api, kind).flatten();
            assert_eq!(behind, expected, "{}", data.escape_ascii());
            let before = find(&[own.as_bytes(), b"; ", data].concat(), api, kind).flatten();
            let expected = if kind == CookieKind::Access { Some("OURS".to_owned()) } else { alone };
            assert_eq!(before, expected, "{}", data.escape_ascii());
        }
    }
}
