//! The events of `events/`, replayed through the Lambda codec as `sam local invoke` would, so that they never go stale.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::Stack;

/// The function that an event file is for: the longest folder name that the file's name begins with.
pub(crate) fn folder_of<'a>(file: &str, folders: &'a BTreeSet<String>) -> Option<&'a String> {
    let stem = file.strip_suffix(".json")?;
    let fits = |folder: &&String| stem == folder.as_str() || stem.starts_with(&format!("{folder}-"));
    folders.iter().filter(fits).max_by_key(|folder| folder.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_brings_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let functions = std::fs::read_dir(folder.join("../functions")).expect("functions");
    let functions: BTreeSet<String> =
        functions.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    let stack = Stack::start().await;
    let expected = read("expected.json");
    for (file, expected) in expected.as_object().expect("an object") {
        let function = folder_of(file, &functions).unwrap_or_else(|| panic!("{file} is of no function"));
        let answer = stack.local.functions().invoke(function, read(file)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        match function.as_str() {
            "authorizer" => assert_eq!(&answer["isAuthorized"], expected, "{file}: {answer}"),
            "mail-events" | "outbox" | "renew" => assert_eq!(&answer, expected, "{file}"),
            "sweep" => assert_eq!(answer["hours"].is_u64(), *expected, "{file}: {answer}"),
            "rotate-keys" => assert!(answer["created"].is_u64() && answer["deleted"] == 0, "{file}: {answer}"),
            _ => {
                assert_eq!(&answer["statusCode"], expected, "{file}: {answer}");
                assert!(answer["headers"]["cache-control"].is_string(), "{file}: {answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_url_the_event_says_where_the_api_is() {
    const STAGE: &str = "https://abc123.execute-api.eu-central-1.amazonaws.com/prod";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/signup-browser-korean.json");
    let text = std::fs::read_to_string(path).expect("an event");
    let mut event: Value = serde_json::from_str(&text).expect("JSON");
    // A named stage stands in the path too.
    event["rawPath"] = json!("/prod/signup");
    event["requestContext"]["http"]["path"] = json!("/prod/signup");
    event["requestContext"]["stage"] = json!("prod");
    event["requestContext"]["domainName"] = json!("abc123.execute-api.eu-central-1.amazonaws.com");
    // A client's own words, which say nothing.
    event["headers"]["host"] = json!("evil.test");
    event["headers"]["x-forwarded-host"] = json!("evil.test");
    event["headers"]["origin"] = json!("https://abc123.execute-api.eu-central-1.amazonaws.com");
    let stack = Stack::with(&[("ApiUrl", "")]).await;
    let invoke = |function: &'static str, event: &Value| stack.local.functions().invoke(function, event.clone());

    let answer = invoke("signup", &event).await.expect("an answer");
    assert_eq!(answer["statusCode"], 202, "{answer}");
    let cookie = answer["cookies"][0].as_str().expect("a cookie").to_owned();
    assert!(cookie.starts_with("__Host-signup=") && cookie.contains("; Secure"), "{cookie}");
    let mail = stack.mails().await.pop().expect("a mail");
    assert!(mail.link().starts_with(&format!("{STAGE}/verify?token=")), "{}", mail.link());
    assert!(!mail.text.contains("evil.test") && !mail.html.contains("evil.test"), "{}", mail.text);

    // The second route of a function is told apart below a stage too.
    let mut resend = event.clone();
    resend["routeKey"] = json!("POST /signup/resend");
    resend["rawPath"] = json!("/prod/signup/resend");
    resend["requestContext"]["http"]["path"] = json!("/prod/signup/resend");
    resend["requestContext"]["routeKey"] = json!("POST /signup/resend");
    resend["cookies"] = json!([cookie.split(';').next()]);
    resend["body"] = Value::Null;
    let answer = invoke("signup", &resend).await.expect("an answer");
    assert_eq!(answer["statusCode"], 429, "{answer}");

    // Own is the API's origin, not the one that the client calls its host.
    event["headers"]["origin"] = json!("https://evil.test");
    let answer = invoke("signup", &event).await.expect("an answer");
    assert_eq!(answer["statusCode"], 403, "{answer}");
}
