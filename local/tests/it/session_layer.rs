//! `shared::http::SessionLayer` around a function that is not ours, as the README shows it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::http::{Request as HttpRequest, Response};
use lambda_http::tower::Layer;
use lambda_http::{Body, Error, Request, Service, service_fn};
use serde_json::{Value, json};
use shared::concurrency::Concurrency;
use shared::config::Environment;
use shared::http::SessionLayer;
use shared::http::caller::{Caller, CallerError};
use shared::runtime::Platform;

use crate::harness::tables::overwrite;
use crate::harness::{AppSession, Stack, claims};

/// What a function of the same deployment has.
pub(crate) fn platform(stack: &Stack) -> Platform {
    platform_with(stack, &[])
}

/// The same, with other values of some variables.
pub(crate) fn platform_with(stack: &Stack, given: &[(&str, &str)]) -> Platform {
    let mut variables = variables(stack);
    variables.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    platform_of(stack, variables)
}

/// The same, without one of its variables.
fn platform_without(stack: &Stack, missing: &str) -> Platform {
    let mut variables = variables(stack);
    variables.remove(missing);
    platform_of(stack, variables)
}

fn variables(stack: &Stack) -> HashMap<String, String> {
    HashMap::from(
        [
            ("TABLE_NAME", "UsersTable"),
            ("KEYS_TABLE_NAME", "KeysTable"),
            ("API_URL", stack.url()),
            ("ALLOWED_ORIGINS", ""),
            ("COOKIE_DOMAIN", ""),
            ("LOG_CLIENT_ADDRESS", "true"),
            ("ORIGIN_SECRET", ""),
            ("CLIENT_ADDRESS_HEADER", ""),
            ("REVOCATION_CHECK", "token"),
            ("RENEW_FUNCTION", "RenewFunction"),
            ("FRESH_AUTHENTICATION", "300"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    )
}

fn platform_of(stack: &Stack, variables: HashMap<String, String>) -> Platform {
    let environment = Environment::new(move |name| variables.get(name).cloned());
    let aws = stack.aws();
    Platform::new(environment, stack.clock.clone(), aws, Concurrency::One).expect("a configuration")
}

fn request(method: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = HttpRequest::builder().method(method).uri("/greeting");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::Empty).expect("a request")
}

fn body(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).expect("JSON")
}

async fn greet(request: Request) -> Result<Value, CallerError> {
    let Caller { user, session, .. } = Caller::of_request(&request)?;
    Ok(json!({"hello": user.username.as_str(), "kind": session.kind.as_str()}))
}

async fn fail(_request: Request) -> Result<Value, Error> {
    Err("the printer is on fire".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_is_given_the_caller() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let mut service = SessionLayer::new(&platform(&stack)).expect("settings").layer(service_fn(greet));
    let bearer = format!("Bearer {}", app.access);
    let answer = service.call(request("GET", &[("authorization", &bearer)])).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), body(&answer)), (200, json!({"hello": "alice", "kind": "app"})));
    assert_eq!(answer.headers()["cache-control"], "no-store");

    // Every call keeps a browser's session alive.
    let browser = stack.signed_in(&alice).await;
    let cookie = format!("access={}", browser.cookie("access").expect("a cookie"));
    let answer = service.call(request("GET", &[("cookie", &cookie)])).await.expect("an answer");
    assert!(!answer.headers().contains_key("set-cookie"));
    stack.clock.advance(901);
    let answer = service.call(request("GET", &[("cookie", &cookie)])).await.expect("an answer");
    let cookies: Vec<&str> = answer.headers().get_all("set-cookie").iter().filter_map(|c| c.to_str().ok()).collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("access=")), "{cookies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_requests_do_not_reach_the_handler() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let reached = |_: Request| async { panic!("the handler was reached") };
    let reached = service_fn(move |request| async move {
        let never: Result<Value, Error> = reached(request).await;
        never
    });
    let mut service = SessionLayer::new(&platform(&stack)).expect("settings").layer(reached);
    let browser = stack.signed_in(&alice).await;
    let cookie = format!("access={}", browser.cookie("access").expect("a cookie"));
    let evil = [("cookie", cookie.as_str()), ("origin", "https://evil.test")];
    stack.client().post("/logout").bearer(&app.access).send().await.expect(204);
    let bearer = format!("Bearer {}", app.access);
    for (sent, status, code) in [
        (request("GET", &[]), 401, "token_missing"),
        (request("GET", &[("authorization", "Bearer nonsense")]), 401, "token_invalid"),
        (request("GET", &[("authorization", &bearer)]), 401, "session_ended"),
        (request("POST", &evil), 403, "csrf_rejected"),
    ] {
        let answer = service.call(sent).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (status, &json!(code)));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_failure_says_no_more_than_that() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    let mut service = SessionLayer::new(&platform(&stack)).expect("settings").layer(service_fn(fail));
    let bearer = format!("Bearer {}", app.access);
    let answer = service.call(request("GET", &[("authorization", &bearer)])).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (500, &json!("internal")));
    assert!(!body(&answer).to_string().contains("printer"));
}

/// Asserts that an answer is a problem with this status and code.
#[track_caller]
fn expect_problem(answer: &Response<Body>, status: u16, code: &str) {
    assert_eq!((answer.status().as_u16(), &body(answer)["code"]), (status, &json!(code)));
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_route_wants_a_recent_proof() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let layer = SessionLayer::new(&platform(&stack)).and_then(SessionLayer::fresh).expect("settings");
    let mut service = layer.layer(service_fn(greet));
    let (app, browser) = (stack.app(&alice).await, stack.signed_in(&alice).await);
    let send = |access: &str| request("POST", &[("authorization", &format!("Bearer {access}"))]);
    stack.clock.advance(300);
    assert_eq!(service.call(send(&app.access)).await.expect("an answer").status(), 200);
    stack.clock.advance(1);
    let answer = service.call(send(&app.access)).await.expect("an answer");
    expect_problem(&answer, 403, "reauthentication_required");
    assert!(!answer.headers().contains_key("www-authenticate"), "the token is a good one");
    // New tokens prove nothing, and neither does an extension, which goes on beside the refusal.
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    expect_problem(&service.call(send(&app.access)).await.expect("an answer"), 403, "reauthentication_required");
    stack.clock.advance(600);
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    let cookie = format!("access={}", browser.cookie("access").expect("a cookie"));
    let answer = service.call(request("GET", &[("cookie", &cookie)])).await.expect("an answer");
    expect_problem(&answer, 403, "reauthentication_required");
    assert!(answer.headers().contains_key("set-cookie"));
    // To give the password again does, and so does to sign in.
    let again = json!({"password": alice.password});
    let call = stack.client().post("/reauthenticate").bearer(&app.access).json(again.clone());
    let fresh = AppSession::of(&call.send().await.expect(200));
    assert_eq!(service.call(send(&fresh.access)).await.expect("an answer").status(), 200);
    browser.post("/reauthenticate").json(again).send().await.expect(200);
    let cookie = format!("access={}", browser.cookie("access").expect("a cookie"));
    assert_eq!(service.call(request("GET", &[("cookie", &cookie)])).await.expect("an answer").status(), 200);
    let app = stack.app(&alice).await;
    assert_eq!(service.call(send(&app.access)).await.expect("an answer").status(), 200);
    // Who is not signed in at all is told that.
    expect_problem(&service.call(request("POST", &[])).await.expect("an answer"), 401, "token_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_asked_for_as_it_is_stored() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let layer = SessionLayer::new(&platform(&stack)).expect("settings");
    let mut editors = layer.clone().require_role("editor").layer(service_fn(greet));
    let mut both = layer.clone().require_role("editor").require_role("billing:read").layer(service_fn(greet));
    let mut nobody = layer.clone().require_role("").layer(service_fn(greet));
    let mut fresh = layer.require_role("editor").fresh().expect("settings").layer(service_fn(greet));
    let send = |access: &str| request("POST", &[("authorization", &format!("Bearer {access}"))]);

    let answer = editors.call(send(&app.access)).await.expect("an answer");
    expect_problem(&answer, 403, "role_required");
    assert!(!answer.headers().contains_key("www-authenticate"), "the token is a good one");
    expect_problem(&editors.call(request("POST", &[])).await.expect("an answer"), 401, "token_missing");

    // A token from before says nothing of the role, and the handler is reached all the same; no other role does.
    overwrite(&stack, "USER#", "roles", AttributeValue::S("billing:write editor".to_owned())).await;
    assert_eq!(editors.call(send(&app.access)).await.expect("an answer").status(), 200);
    expect_problem(&both.call(send(&app.access)).await.expect("an answer"), 403, "role_required");
    expect_problem(&nobody.call(send(&app.access)).await.expect("an answer"), 403, "role_required");

    // One that says so counts no longer than the table does.
    overwrite(&stack, "USER#", "roles", AttributeValue::S("billing:read editor".to_owned())).await;
    let app = stack.app(&alice).await;
    assert_eq!(claims(&app.access)["roles"], json!(["billing:read", "editor"]));
    assert_eq!(both.call(send(&app.access)).await.expect("an answer").status(), 200);
    stack.clock.advance(301);
    expect_problem(&fresh.call(send(&app.access)).await.expect("an answer"), 403, "reauthentication_required");
    overwrite(&stack, "USER#", "roles", AttributeValue::S("billing:read".to_owned())).await;
    expect_problem(&editors.call(send(&app.access)).await.expect("an answer"), 403, "role_required");
    expect_problem(&fresh.call(send(&app.access)).await.expect("an answer"), 403, "role_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_told_what_is_fresh_does_not_start() {
    let stack = Stack::with_database(&[]).await;
    let platform = platform_without(&stack, "FRESH_AUTHENTICATION");
    // Who does not ask for it need not have it.
    let layer = SessionLayer::new(&platform).expect("settings");
    let error = layer.fresh().err().expect("an error").to_string();
    assert!(error.contains("FRESH_AUTHENTICATION"), "{error}");
}
