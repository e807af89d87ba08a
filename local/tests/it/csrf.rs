//! Cross-site requests.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Call, Client, Person, Stack};

/// Every route with an unsafe method, and a body that it would take.
fn unsafe_routes(alice: &Person) -> [(&'static str, Value); 8] {
    [
        ("/signup", Person::named("other").signup("browser")),
        ("/signup/resend", json!({"signup_id": "nothing"})),
        ("/verify", json!({"token": "nothing", "password": "nothing"})),
        ("/password/forgot", json!({"email": alice.email})),
        ("/password/reset", json!({"token": "nothing", "password": "nine loud otters"})),
        ("/login", alice.login("browser")),
        ("/refresh", json!({})),
        ("/logout", json!({})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_origin_is_refused_with_cookies_and_without() {
    let stack = Stack::with(&[("AllowedOrigins", "https://app.example.test")]).await;
    let alice = stack.person("alice").await;
    let signed_in = stack.signed_in(&alice).await;
    let port = stack.url().rsplit_once(':').expect("a port").1.to_owned();
    let foreign = [
        "https://evil.test",
        "null",
        "http://app.example.test",
        "https://app.example.test:8443",
        "https://app.example.test.evil.test",
        "https://evil-app.example.test",
        "https://sub.app.example.test",
        &format!("https://localhost:{port}"),
        &format!("http://127.0.0.1:{port}"),
        "http://localhost:1",
        "http://localhost",
        "",
        "https://app.example.test, https://evil.test",
    ];
    let mails = stack.mails().await.len();
    for origin in foreign {
        for (path, body) in unsafe_routes(&alice) {
            for client in [&signed_in, &stack.client()] {
                let answer = client.post(path).origin(Some(origin)).json(body.clone()).send().await;
                assert_eq!((answer.status, answer.code().as_str()), (403, "csrf_rejected"), "{origin} {path}");
                answer.expect_problem(403, "csrf_rejected").expect_no_cookies();
            }
        }
    }
    signed_in.get("/me").send().await.expect(200);
    assert_eq!(stack.mails().await.len(), mails);
}

#[tokio::test(flavor = "multi_thread")]
async fn allowed_origins_and_the_api_s_own_pass() {
    let stack = Stack::with(&[("AllowedOrigins", "https://app.example.test,http://localhost:5173")]).await;
    let alice = stack.person("alice").await;
    for origin in ["https://app.example.test", "http://localhost:5173", stack.url()] {
        let browser = stack.browser_at(origin);
        let site = Some("same-site");
        browser.post("/login").fetch_site(site).json(alice.login("browser")).send().await.expect(200);
        browser.post("/refresh").fetch_site(site).send().await.expect(200);
        browser.post("/logout").fetch_site(site).send().await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_origins_are_none() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let call = stack.browser().post("/login").json(alice.login("browser")).header("origin", "https://evil.test");
    call.send().await.expect_problem(403, "csrf_rejected");
}

fn bare(browser: &Client, path: &str, site: Option<&str>) -> Call {
    browser.post(path).origin(None).fetch_site(site)
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_without_an_origin_need_a_same_origin_fetch() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for path in
        ["/refresh", "/logout", "/login", "/signup", "/verify", "/signup/resend", "/password/forgot", "/password/reset"]
    {
        let browser = stack.signed_in(&alice).await;
        for site in [None, Some("same-site"), Some("cross-site"), Some("none"), Some("")] {
            let call = bare(&browser, path, site).json(json!({}));
            let answer = call.send().await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "csrf_rejected"), "{path} {site:?}");
        }
        browser.get("/me").send().await.expect(200);
    }
    let browser = stack.signed_in(&alice).await;
    bare(&browser, "/refresh", Some("same-origin")).send().await.expect(200);
    bare(&browser, "/logout", Some("same-origin")).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_without_cookies_need_neither() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let app = stack.app(&alice).await;
    stack.refresh(&app.refresh, None).await.expect(200);
    // curl, trying out a browser's login.
    stack.client().post("/login").json(alice.login("browser")).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_needs_no_origin() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    for (origin, site) in [(None, None), (None, Some("cross-site")), (Some("https://evil.test"), Some("cross-site"))] {
        let answer = browser.get("/me").origin(origin).fetch_site(site).send().await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_is_no_way_around() {
    // A cross-site GET may arrive with a Lax cookie; it tells the other site nothing and is at most answered.
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    stack.clock.advance(1200);
    let call = browser.request(Method::GET, "/me").origin(Some("https://evil.test")).fetch_site(Some("cross-site"));
    let answer = call.send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_no_json() {
    // What a foreign page can send without a preflight.
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let body = alice.login("browser").to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let call = stack.browser().post("/login").header("content-type", content_type).body(body.clone());
        call.send().await.expect_problem(415, "unsupported_media_type");
    }
}
