//! Behind a CDN: what comes around it is refused everywhere, and the address that it writes down is believed. The header with
//! the secret goes no further.

use std::path::Path;

use lambda_http::http::{Request as HttpRequest, Response};
use lambda_http::tower::Layer;
use lambda_http::{Body, Error, Request, Service, service_fn};
use local::Options;
use reqwest::Method;
use serde_json::{Value, json};
use shared::http::SessionLayer;
use shared::http::caller::CallerError;

use crate::authorizer::with_ping;
use crate::consistency::functions;
use crate::harness::{Call, Person, Stack};
use crate::restart::Process;
use crate::session_layer::platform_with;

pub(crate) const SECRET: &str = "the-present-secret-of-the-cdn-0123456789";
const NEXT: &str = "the-next-secret-of-the-cdn-abcdefghijklm";
pub(crate) const HEADER: &str = "x-client-address";

/// A deployment, and the same one behind a CDN: one database, one clock and one URL, so that whoever is known to one is to
/// the other.
pub(crate) async fn deployments(more: &[(&str, &str)]) -> (Stack, Stack) {
    let open = Stack::with_database(&[]).await;
    let secrets = format!("{SECRET},{NEXT}");
    let parameters = [("OriginSecret", secrets.as_str()), ("ClientAddressHeader", HEADER), ("ApiUrl", open.url())];
    let parameters = [&parameters, more].concat();
    let behind = Stack::with_options(Options {
        dynamodb_endpoint: Some(open.dynamodb().to_owned()),
        secret: open.local.secret().clone(),
        clock: open.clock.clone(),
        ..with_ping(&parameters)
    })
    .await;
    (open, behind)
}

/// As the CDN sends it.
fn through(call: Call) -> Call {
    call.header("x-origin-secret", SECRET).header(HEADER, "203.0.113.7")
}

/// What comes around the CDN: without its secret, or with something else in its place.
fn around(call: impl Fn() -> Call) -> Vec<(&'static str, Call)> {
    let shown = |value: &str| call().header("x-origin-secret", value);
    vec![
        ("nothing", call()),
        ("an empty one", shown("")),
        ("another", shown("some-other-secret-of-more-than-32-chars")),
        ("its beginning", shown(&SECRET[..32])),
        ("more than it", shown(&format!("{SECRET}0"))),
        ("both at once", shown(&format!("{SECRET},{NEXT}"))),
        ("another case", shown(&SECRET.to_uppercase())),
        ("its percent-encoding", shown(&SECRET.replace('-', "%2D"))),
        ("it twice", shown(SECRET).header("x-origin-secret", SECRET)),
        ("it behind another", shown("x").header("x-origin-secret", SECRET)),
        ("it in other places", {
            let call = call().header("origin-secret", SECRET).header("x_origin_secret", SECRET).header(HEADER, SECRET);
            call.cookies(&format!("x-origin-secret={SECRET}"))
        }),
        ("an address of this machine", call().header(HEADER, "127.0.0.1")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_around_the_cdn_is_refused() {
    let (open, behind) = deployments(&[]).await;
    let (alice, app) = open.person_with_session("alice").await;
    for (what, call) in around(|| behind.client().post("/login").json(alice.login("app"))) {
        let answer = call.send().await;
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        answer.expect_problem(403, "origin_required").expect_no_cookies();
    }
    for (what, call) in around(|| behind.client().get("/me").bearer(&app.access)) {
        assert_eq!(call.send().await.code(), "origin_required", "{what}");
    }
    for secret in [SECRET, NEXT] {
        let login = behind.client().post("/login").json(alice.login("app"));
        login.header("x-origin-secret", secret).header(HEADER, "203.0.113.7").send().await.expect(200);
        // Where the CDN says nothing of its client, it is the CDN still.
        behind.client().get("/me").bearer(&app.access).header("x-origin-secret", secret).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_template_refuses() {
    let (_open, behind) = deployments(&[]).await;
    let routes: Vec<String> = functions().into_iter().flat_map(|function| function.routes).collect();
    assert!(routes.len() > 20, "{routes:?}");
    for route in routes {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let path = path.replace("{id}", "AQEBAQEBAQEBAQEBAQEBAQ");
        let call = || behind.client().request(method.clone(), &path).json(json!({"token": "nothing"}));
        for (what, call) in around(call) {
            let answer = call.send().await;
            assert_eq!(answer.status, 403, "{route}, {what}: {}", answer.text());
            if method != Method::HEAD {
                answer.expect_problem(403, "origin_required").expect_no_cookies();
            }
        }
        let answer = through(call()).send().await;
        assert_ne!(answer.code(), "origin_required", "{route}");
        assert_ne!(answer.status, 403, "{route}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorizer_refuses_for_everybody_s_routes() {
    let (open, behind) = deployments(&[]).await;
    let (_, app) = open.person_with_session("alice").await;
    for method in [Method::GET, Method::POST] {
        let call = || behind.client().request(method.clone(), "/ping").bearer(&app.access);
        for (what, call) in around(call) {
            let answer = call.send().await.expect(403);
            assert_eq!(answer.json(), json!({"message": "Forbidden"}), "{what}");
        }
        assert_eq!(through(call()).send().await.expect(200).json()["userId"], app.user_id.as_str());
    }
    let anybody = behind.client().get("/ping");
    assert_eq!(through(anybody).send().await.expect(403).json(), json!({"message": "Forbidden"}));
}

/// Where both are wrong, the way is.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_is_checked_before_the_origin() {
    let (open, behind) = deployments(&[]).await;
    let alice = open.person("alice").await;
    let foreign = || behind.client().post("/login").origin(Some("https://evil.test")).json(alice.login("app"));
    foreign().send().await.expect_problem(403, "origin_required");
    through(foreign()).send().await.expect_problem(403, "csrf_rejected");
}

/// A browser's whole life behind the CDN, and with it what functions do that nobody calls over HTTP: mails by the stream,
/// keys, and an extended session.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_called_over_http_goes_on() {
    let (_open, behind) = deployments(&[]).await;
    let (browser, bob) = (behind.browser(), Person::named("bob"));
    through(browser.post("/signup").json(bob.signup("browser"))).send().await.expect(202);
    let mail = behind.mail_to(&bob.email).await;
    through(browser.post("/verify").json(json!({"token": mail.token()}))).send().await.expect(201);
    behind.clock.advance(901);
    let answer = through(browser.get("/me")).send().await.expect(200);
    assert!(answer.cookie("access").is_some(), "the session was not extended");
    through(browser.post("/refresh")).send().await.expect(200);
    for folder in ["rotate-keys", "sweep"] {
        behind.local.functions().invoke(folder, json!({})).await.expect("an answer");
    }
}

fn request(headers: &[(&str, &str)]) -> Request {
    let mut request = HttpRequest::builder().method("POST").uri("/greeting");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::Empty).expect("a request")
}

/// A function of somebody's own that answers with what it was given.
async fn show(request: Request) -> Result<Value, CallerError> {
    Ok(json!(format!("{request:?}")))
}

fn body(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_one_s_own_is_behind_it_too_and_never_sees_the_secret() {
    let stack = Stack::with_database(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    let platform = platform_with(&stack, &[("ORIGIN_SECRET", SECRET), ("CLIENT_ADDRESS_HEADER", HEADER)]);
    let layer = SessionLayer::new(&platform).expect("settings");
    let bearer = format!("Bearer {}", app.access);

    let reached = |_: Request| async { panic!("the handler was reached") };
    let mut unreached = layer.layer(service_fn(move |request| async move {
        let never: Result<Value, Error> = reached(request).await;
        never
    }));
    for secret in ["", NEXT] {
        let headers = [("authorization", bearer.as_str()), ("x-origin-secret", secret)];
        let answer = unreached.call(request(&headers)).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), &body(&answer)["code"]), (403, &json!("origin_required")));
    }

    let headers = [("authorization", bearer.as_str()), ("x-origin-secret", SECRET), ("x-other", "seen")];
    let answer = layer.layer(service_fn(show)).call(request(&headers)).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let seen = body(&answer).to_string();
    assert!(seen.contains("x-other") && !seen.contains(SECRET) && !seen.contains("x-origin-secret"), "{seen}");
}

#[test]
fn a_layer_that_is_told_half_does_not_start() {
    for (secret, header) in [(SECRET, ""), ("", HEADER)] {
        let environment = shared::config::Environment::new(move |name| match name {
            "ORIGIN_SECRET" => Some(secret.to_owned()),
            "CLIENT_ADDRESS_HEADER" => Some(header.to_owned()),
            "LOG_CLIENT_ADDRESS" => Some("true".to_owned()),
            "API_URL" | "ALLOWED_ORIGINS" | "COOKIE_DOMAIN" => Some(String::new()),
            _ => None,
        });
        let error = shared::http::context::HttpContext::from_env(&environment).expect_err("half").to_string();
        assert!(error.contains("ORIGIN_SECRET") && error.contains("CLIENT_ADDRESS_HEADER"), "{error}");
        assert!(!error.contains(SECRET), "{error}");
    }
}

/// Headers of a request.
type Headers = &'static [(&'static str, &'static str)];

/// What is sent beside a log-in of nobody, and the address that the log then names.
const ADDRESSES: [(Headers, Option<&str>); 15] = [
    (&[("x-client-address", "203.0.113.1")], Some("203.0.113.1")),
    (&[("x-client-address", "203.0.113.2:46532")], Some("203.0.113.2")),
    (&[("x-client-address", "::ffff:203.0.113.3")], Some("203.0.113.3")),
    (&[("x-client-address", "198.51.100.9, 203.0.113.4")], Some("203.0.113.4")),
    (&[("x-client-address", "198.51.100.9"), ("x-client-address", "203.0.113.5")], Some("203.0.113.5")),
    (&[("X-Client-Address", "203.0.113.6")], Some("203.0.113.6")),
    (&[("x-client-address", "2001:db8::7")], Some("2001:db8::7")),
    (&[("x-client-address", "[2001:db8::8]")], Some("2001:db8::8")),
    (&[("x-client-address", "[2001:DB8:0::9]:443")], Some("2001:db8::9")),
    (&[("x-client-address", "127.0.0.1")], Some("127.0.0.1")),
    (&[("x-forwarded-for", "203.0.113.11")], None),
    (&[], None),
    (&[("x-client-address", "unknown")], None),
    (&[("x-client-address", "203.0.113.14,")], None),
    (&[("x-client-address", "2001:db8:1:2:3:4:5:6:443")], Some("2001:db8:1:2:3:4:5:6")),
];

/// The span of the log's line about the request of this user agent.
fn span<'a>(log: &'a str, user_agent: &str) -> &'a str {
    let line = log.lines().find(|line| line.contains(&format!("\"{user_agent}\"")));
    let line = line.unwrap_or_else(|| panic!("{user_agent} is not in the log: {log}"));
    line.split_once("request{").and_then(|(_, rest)| rest.split_once('}')).map_or(line, |(span, _)| span)
}

#[tokio::test]
async fn the_log_names_the_address_that_the_cdn_saw_and_never_the_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let (secrets, header) = (format!("OriginSecret={SECRET},{NEXT}"), format!("ClientAddressHeader={HEADER}"));
    let parameters =
        ["--memory", "--port", "0", "--set", &secrets, "--set", &header, "--set", "PasswordFailuresAtOnce=0"];
    let process = Process::logging(&parameters, Path::new(&log));
    let nobody = json!({"username": "nobody", "password": "seven quiet llamas", "client": "app"});
    let mut answers = String::new();
    for (number, (sent, _)) in ADDRESSES.iter().enumerate() {
        let agent = format!("agent-{number}.");
        let secret = if number % 2 == 0 { SECRET } else { NEXT };
        let mut headers = vec![("x-origin-secret", secret), ("user-agent", agent.as_str())];
        headers.extend(*sent);
        let (status, answer) = process.post_with("/login", nobody.clone(), &headers).await;
        assert_eq!(status, 401, "{answer}");
        answers.push_str(&answer.to_string());
    }
    // Around the CDN, nobody's word counts, and whoever does that is named as API Gateway sees them.
    for (agent, secret) in [("around", "wrong-secret-of-more-than-32-characters"), ("twice", &secrets)] {
        let headers = [("x-origin-secret", secret), ("user-agent", agent), (HEADER, "203.0.113.99")];
        let (status, answer) = process.post_with("/login", nobody.clone(), &headers).await;
        assert_eq!((status, &answer["code"]), (403, &json!("origin_required")));
        answers.push_str(&answer.to_string());
    }
    process.kill();

    let log = std::fs::read_to_string(&log).expect("the log");
    for (number, (sent, expected)) in ADDRESSES.iter().enumerate() {
        let span = span(&log, &format!("agent-{number}."));
        match expected {
            Some(address) => assert!(span.contains(&format!("source_ip={address} ")), "{sent:?}: {span}"),
            None => assert!(!span.contains("source_ip"), "{sent:?}: {span}"),
        }
    }
    for agent in ["around", "twice"] {
        let span = span(&log, agent);
        assert!(span.contains("source_ip=127.0.0.1 ") || span.contains("source_ip=::1 "), "{span}");
    }
    assert!(log.contains("edge_bypassed") && log.contains("sign_in_failed"), "{log}");
    for text in [log, answers] {
        for secret in [SECRET, NEXT, "wrong-secret-of-more-than-32-characters", "x-origin-secret"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[tokio::test]
async fn cloudfront_s_header_has_a_port_always() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let (secret, header) = (format!("OriginSecret={SECRET}"), "ClientAddressHeader=cloudfront-viewer-address");
    let parameters =
        ["--memory", "--port", "0", "--set", &secret, "--set", header, "--set", "PasswordFailuresAtOnce=0"];
    let process = Process::logging(&parameters, Path::new(&log));
    let nobody = json!({"username": "nobody", "password": "seven quiet llamas", "client": "app"});
    let cases = [
        ("v4.", "203.0.113.1:46532", Some("203.0.113.1")),
        ("v6.", "2001:db8::5:6:7:8:1024", Some("2001:db8::5:6:7:8")),
        ("whole.", "2001:0db8:0001:0002:0003:0004:0005:0006:443", Some("2001:db8:1:2:3:4:5:6")),
        ("none.", "203.0.113.1", None),
    ];
    for (agent, sent, _) in cases {
        let headers = [("x-origin-secret", SECRET), ("user-agent", agent), ("cloudfront-viewer-address", sent)];
        assert_eq!(process.post_with("/login", nobody.clone(), &headers).await.0, 401, "{sent}");
    }
    process.kill();
    let log = std::fs::read_to_string(&log).expect("the log");
    for (agent, sent, expected) in cases {
        let span = span(&log, agent);
        match expected {
            Some(address) => assert!(span.contains(&format!("source_ip={address} ")), "{sent}: {span}"),
            None => assert!(!span.contains("source_ip"), "{sent}: {span}"),
        }
    }
}
