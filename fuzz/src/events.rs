//! Events, as AWS's services bring them to functions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shared::outbox::Content;

use crate::world;

/// Functions whose own event is changed; those that make keys would only make them.
const FOLDERS: [&str; 12] = [
    "authorizer",
    "deletion",
    "export",
    "jwks",
    "mail-events",
    "me",
    "outbox",
    "profile",
    "refresh",
    "renew",
    "sessions",
    "verify",
];

/// A function's event with members of another: it answers, or says that it is no event, and nobody is let in.
pub(crate) fn event(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some((folder, change)) = text.split_once('\n') else { return };
    let Some(folder) = FOLDERS.iter().find(|known| **known == folder) else { return };
    let Ok(change) = serde_json::from_str::<Value>(change) else { return };
    let file = world::workspace().join(format!("events/{folder}.json"));
    let sample = std::fs::read_to_string(file).expect("an event");
    let mut event: Value = serde_json::from_str(&sample).expect("an event");
    merge(&mut event, change);
    if !is_of_api_gateway(&event) {
        return;
    }
    world::with(|world| match world.invoke(folder, event) {
        Ok(answer) => {
            assert!(answer["isAuthorized"] != true, "{answer}");
            assert!(answer["statusCode"].as_u64().is_none_or(|status| status >= 200), "{answer}");
        }
        Err(error) => assert!(!error.contains("panicked"), "{error}"),
    });
}

/// Whether API Gateway could have sent it, as far as the codec relies on that: `aws_lambda_events` panics at a body that is not
/// the base64 that it is said to be, and `lambda_http` at a host, scheme or query that no URI has. Such a panic is answered
/// with 500 and ends nothing; here it would end the fuzzer.
fn is_of_api_gateway(event: &Value) -> bool {
    let is_base64 = |body: &Value| body.as_str().is_none_or(|text| STANDARD.decode(text).is_ok());
    let of_uri = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\^`{}|#".contains(&byte);
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let fits = |part: &Value, of: &dyn Fn(u8) -> bool| part.as_str().is_none_or(|text| text.bytes().all(of));
    // These two are its own to write; a number would be no header.
    let is_written = |name: &str| !["host", "x-forwarded-proto"].iter().any(|own| name.eq_ignore_ascii_case(own));
    let headers = event["headers"].as_object();
    (event["isBase64Encoded"] != true || is_base64(&event["body"]))
        && fits(&event["rawPath"], &of_uri)
        && fits(&event["rawQueryString"], &of_uri)
        && fits(&event["requestContext"]["domainName"], &of_host)
        && headers.is_none_or(|headers| {
            let is_ours = |value: &Value| value == "localhost:3000" || value == "https";
            headers.iter().all(|(name, value)| is_written(name) || is_ours(value))
        })
}

/// Members of `change` in place of those of `event`, at any depth.
fn merge(event: &mut Value, change: Value) {
    match (event, change) {
        (Value::Object(event), Value::Object(change)) => {
            for (name, value) in change {
                merge(event.entry(name).or_insert(Value::Null), value);
            }
        }
        (event, change) => *event = change,
    }
}

/// SES's word about a mail, by SNS: whatever it says, the function goes on, and marks nobody who was not mailed.
pub(crate) fn notification(data: &[u8]) {
    let message = String::from_utf8_lossy(data);
    let destinations = serde_json::from_str::<Map<String, Value>>(&message)
        .ok()
        .and_then(|message| message.get("mail")?.get("destination")?.as_array().map(Vec::len));
    let event = json!({"Records": [{"Sns": {"Message": message}}]});
    let answer = world::with(|world| world.invoke("mail-events", event)).unwrap_or_else(|error| panic!("{error}"));
    let marked = answer["marked"].as_u64().expect("a count");
    assert!(usize::try_from(marked).is_ok_and(|marked| marked <= destinations.unwrap_or(0)), "{answer}");
}

/// An item of the outbox is written as it was read; the stream's record of one that is not there does nothing.
pub(crate) fn outbox(data: &[u8]) {
    if let Ok(content) = serde_json::from_slice::<Content>(data) {
        let written = serde_json::to_string(&content).expect("what was read");
        let again = serde_json::from_str::<Content>(&written);
        assert!(again.is_ok_and(|again| again == content), "{written}");
        let _ = content.mail.and_then(|mail| mail.proof).map(|proof| proof.sealed());
    }
    let text = String::from_utf8_lossy(data);
    let (pk, sk) = text.split_once('\n').unwrap_or((&text, ""));
    if !pk.starts_with("OUTBOX#") {
        return;
    }
    let event = json!({"Records": [{"dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": sk}}}}]});
    let answer = world::with(|world| world.invoke("outbox", event)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&answer["done"], &answer["dead"]), (&json!(0), &json!(0)), "{answer}");
}
