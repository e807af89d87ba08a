//! The default authorizer, which guards whatever anyone adds: here `GET` and `POST /ping`, one more function in a copy
//! of the template, that says nothing of authorization and answers with what the authorizer handed on (and at
//! `/echo/{id}` with the whole event).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use local::{ExtraFunction, Options};
use serde_json::{Value, json};

use crate::harness::tables::overwrite;
use crate::harness::{Answer, AppSession, Stack, options};

const PING: &str = "
  PingFunction:
    Type: AWS::Serverless::Function
    Metadata:
      BuildMethod: rust-cargolambda
      BuildProperties:
        Binary: ping
    Properties:
      CodeUri: functions/ping
      Events:
        Read:
          Type: HttpApi
          Properties: { ApiId: !Ref API, Path: /ping, Method: GET }
        Write:
          Type: HttpApi
          Properties: { ApiId: !Ref API, Path: /ping, Method: POST }
        Fail:
          Type: HttpApi
          Properties: { ApiId: !Ref API, Path: /panic, Method: GET }
        Echo:
          Type: HttpApi
          Properties: { ApiId: !Ref API, Path: '/echo/{id}', Method: ANY }
";

/// Options of a stack with one more function.
pub(crate) fn with_ping(parameters: &[(&str, &str)]) -> Options {
    let ping: ExtraFunction = Arc::new(|event: Value| {
        Box::pin(async move {
            assert_ne!(event["rawPath"], "/panic", "this function was asked to panic");
            let is_echo = event["routeKey"] == "ANY /echo/{id}";
            let body = if is_echo { &event } else { &event["requestContext"]["authorizer"]["lambda"] };
            json!({"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body.to_string()})
        })
    });
    Options { template: Some(template()), extra_functions: vec![("ping".to_owned(), ping)], ..options(parameters) }
}

/// A copy of `template.yaml` with the function in it.
fn template() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(workspace.join("template.yaml")).expect("template.yaml");
    let lines: Vec<&str> = text.lines().collect();
    let is_api = |line: &str| line.trim() == "Type: AWS::Serverless::HttpApi";
    let api = lines.iter().position(|line| is_api(line)).expect("an API");
    let api = lines[api - 1].trim().trim_end_matches(':');
    let resources = lines.iter().position(|line| *line == "Resources:").expect("resources");
    let mut with_ping = lines[..=resources].join("\n");
    with_ping.push_str(&PING.replace("API", api));
    with_ping.push_str(&lines[resources + 1..].join("\n"));
    with_ping.push('\n');
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ping-{}-{number}.yaml", std::process::id()));
    std::fs::write(&path, with_ping).expect("a copy of the template");
    path
}

#[track_caller]
fn forbidden(answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.json(), json!({"message": "Forbidden"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn hands_on_who_calls() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let answer = stack.client().get("/ping").bearer(&app.access).send().await.expect(200);
    let mut expected = json!({"userId": app.user_id, "username": "alice", "roles": [], "sessionId": app.session_id});
    expected["authTime"] = json!(4_102_444_800_u64);
    assert_eq!(answer.json(), expected);
    for check in ["session", "token"] {
        let stack = Stack::with_options(with_ping(&[("RevocationCheck", check)])).await;
        let (_, app) = stack.person_with_session("alice").await;
        stack.clock.advance(600);
        let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
        let answer = stack.client().get("/ping").bearer(&app.access).send().await.expect(200);
        assert_eq!(answer.json()["authTime"], 4_102_444_800_u64, "{check}: a refresh proves nothing");
    }
    for browser in [stack.signed_in(&alice).await, stack.remembered(&alice).await] {
        assert_eq!(browser.get("/ping").send().await.expect(200).json()["userId"], app.user_id.as_str());
        browser.post("/ping").send().await.expect(200);
    }
    stack.client().post("/ping").bearer(&app.access).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hands_on_roles_as_they_are_stored_or_without_reads_as_the_token_has_them() {
    for (check, seen) in [("session", json!(["author", "editor"])), ("token", json!([]))] {
        let stack = Stack::with_database_and_options(with_ping(&[("RevocationCheck", check)])).await;
        let (_, app) = stack.person_with_session("alice").await;
        overwrite(&stack, "USER#", "roles", AttributeValue::S("author editor".to_owned())).await;
        let ping = async |access: &str| stack.client().get("/ping").bearer(access).send().await.expect(200).json();
        assert_eq!(ping(&app.access).await["roles"], seen, "{check}");
        let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
        assert_eq!(ping(&app.access).await["roles"], json!(["author", "editor"]), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denies_unauthenticated_requests() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.signed_in(&alice).await;
    forbidden(&stack.client().get("/ping").send().await);
    forbidden(&stack.browser().get("/ping").send().await);
    let parts: Vec<&str> = app.access.split('.').collect();
    for forged in [
        "nonsense".to_owned(),
        app.refresh.clone(),
        format!("{}A", app.access),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)),
    ] {
        let client = stack.client();
        forbidden(&client.get("/ping").bearer(&forged).send().await);
    }
    // Two different credentials.
    forbidden(&browser.get("/ping").bearer(&app.access).send().await);
    stack.clock.advance(899);
    ping_ok(&stack, &app).await;
    stack.clock.advance(1);
    forbidden(&stack.client().get("/ping").bearer(&app.access).send().await);
}

async fn ping_ok(stack: &Stack, app: &AppSession) {
    stack.client().get("/ping").bearer(&app.access).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_the_origin_too() {
    let stack = Stack::with_options(with_ping(&[("AllowedOrigins", "https://app.example.test")])).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browser = stack.signed_in(&alice).await;
    for origin in ["https://evil.test", "null"] {
        forbidden(&browser.post("/ping").origin(Some(origin)).send().await);
        let client = stack.client();
        forbidden(&client.post("/ping").bearer(&app.access).origin(Some(origin)).send().await);
    }
    for site in [None, Some("cross-site"), Some("same-site"), Some("none")] {
        forbidden(&browser.post("/ping").origin(None).fetch_site(site).send().await);
    }
    browser.post("/ping").origin(None).fetch_site(Some("same-origin")).send().await.expect(200);
    browser.post("/ping").origin(Some("https://app.example.test")).send().await.expect(200);
    browser.get("/ping").origin(Some("https://evil.test")).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_holds_at_once_in_strict_mode_alone() {
    for (check, strict) in [("token", false), ("session", true)] {
        let stack = Stack::with_options(with_ping(&[("RevocationCheck", check)])).await;
        let (alice, app) = stack.person_with_session("alice").await;
        ping_ok(&stack, &app).await;
        stack.client().post("/logout").json(json!({"refresh": app.refresh})).send().await.expect(204);
        let answer = stack.client().get("/ping").bearer(&app.access).send().await;
        if strict {
            forbidden(&answer);
        } else {
            answer.expect(200);
        }
        // "Everywhere" too, where the session's item is still there.
        let (one, other) = (stack.app(&alice).await, stack.app(&alice).await);
        let everywhere = json!({"everywhere": true});
        stack.client().post("/logout").bearer(&one.access).json(everywhere).send().await.expect(204);
        let answer = stack.client().get("/ping").bearer(&other.access).send().await;
        if strict {
            forbidden(&answer);
        } else {
            answer.expect(200);
        }
        // Our own functions check in either mode.
        stack.me(&other.access).await.expect_problem(401, "session_ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_panics_is_a_500_and_the_next_request_works() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let (_, app) = stack.person_with_session("alice").await;
    let answer = stack.client().get("/panic").bearer(&app.access).send().await.expect(500);
    assert_eq!(answer.json(), json!({"message": "Internal Server Error"}));
    ping_ok(&stack, &app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_error_fails_closed_with_revocation_checks() {
    let stack = Stack::with_proxy_and_options(with_ping(&[("RevocationCheck", "session")])).await;
    let (_, app) = stack.person_with_session("alice").await;
    ping_ok(&stack, &app).await;
    stack.proxy().throttle(&["BatchGetItem", "GetItem"]);
    let answer = stack.client().get("/ping").bearer(&app.access).send().await;
    assert!(matches!(answer.status, 403 | 500), "{}: {}", answer.status, answer.text());
    stack.proxy().heal();
    ping_ok(&stack, &app).await;
}
