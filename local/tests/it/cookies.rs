//! Cookies: names, attributes, who sets and who clears them, and two people on one browser.

use serde_json::json;

use crate::harness::{Answer, Person, Stack, claims};

const HTTPS: (&str, &str) = ("ApiUrl", "https://api.example.test");

fn written(answer: &Answer) -> Vec<String> {
    let mut lines: Vec<String> = answer
        .cookies()
        .into_iter()
        .map(|cookie| {
            let value = if cookie.is_cleared() { "gone" } else { "set" };
            format!("{}: {value}; {}", cookie.name, cookie.attributes.join("; "))
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_names_on_http() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    let answer = browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    assert_eq!(
        written(&answer),
        [
            "access: set; HttpOnly; Max-Age=1800; Path=/; SameSite=Lax",
            "device: set; HttpOnly; Max-Age=34560000; Path=/; SameSite=Lax",
            "refresh: gone; HttpOnly; Max-Age=0; Path=/; SameSite=Strict",
            "signup: gone; HttpOnly; Max-Age=0; Path=/; SameSite=Lax",
            "username: set; Max-Age=1800; Path=/; SameSite=Lax",
        ]
    );
    let answer = browser.post("/login").json(alice.remembered()).send().await.expect(200);
    assert_eq!(
        written(&answer),
        [
            "access: set; HttpOnly; Max-Age=900; Path=/; SameSite=Lax",
            "device: set; HttpOnly; Max-Age=34560000; Path=/; SameSite=Lax",
            "refresh: set; HttpOnly; Max-Age=2592000; Path=/; SameSite=Strict",
            "signup: gone; HttpOnly; Max-Age=0; Path=/; SameSite=Lax",
            "username: set; Max-Age=2592000; Path=/; SameSite=Lax",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn host_prefix_and_secure_on_https() {
    let stack = Stack::with(&[HTTPS]).await;
    let alice = Person::named("alice");
    let browser = stack.browser();
    let answer = browser.post("/signup").json(alice.signup("browser")).send().await.expect(202);
    assert_eq!(written(&answer), ["__Host-signup: set; HttpOnly; Max-Age=86400; Path=/; SameSite=Lax; Secure"]);
    let mail = stack.mail_to(&alice.email).await;
    let proof = json!({"code": mail.code(), "remember": true});
    let answer = browser.post("/verify").json(proof).send().await.expect(201);
    assert_eq!(
        written(&answer),
        [
            "__Host-access: set; HttpOnly; Max-Age=900; Path=/; SameSite=Lax; Secure",
            "__Host-device: set; HttpOnly; Max-Age=34560000; Path=/; SameSite=Lax; Secure",
            "__Host-refresh: set; HttpOnly; Max-Age=2592000; Path=/; SameSite=Strict; Secure",
            "__Host-signup: gone; HttpOnly; Max-Age=0; Path=/; SameSite=Lax; Secure",
            "username: set; Max-Age=2592000; Path=/; SameSite=Lax; Secure",
        ]
    );
    browser.get("/me").send().await.expect(200);
    browser.post("/refresh").send().await.expect(200);
    let answer = browser.post("/logout").send().await.expect(204);
    let cleared = written(&answer);
    for line in [
        "__Host-access: gone; HttpOnly; Max-Age=0; Path=/; SameSite=Lax; Secure",
        "__Host-refresh: gone; HttpOnly; Max-Age=0; Path=/; SameSite=Strict; Secure",
        "username: gone; Max-Age=0; Path=/; SameSite=Lax; Secure",
    ] {
        assert!(cleared.iter().any(|cleared| cleared == line), "{line}: {cleared:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_names_mean_nothing_on_https() {
    // Anyone on a neighbouring host can set a cookie of a bare name.
    let stack = Stack::with(&[HTTPS]).await;
    let (_, session) = stack.person_with_session("alice").await;
    let bare = format!("access={}", session.access);
    stack.browser().get("/me").cookies(&bare).send().await.expect_problem(401, "token_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_domain_is_for_the_name_alone() {
    let stack = Stack::with(&[HTTPS, ("CookieDomain", "example.test")]).await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    let answer = browser.post("/login").json(alice.remembered()).send().await.expect(200);
    for cookie in answer.cookies() {
        let expected = (cookie.name == "username").then_some("example.test");
        assert_eq!(cookie.attribute("domain"), expected, "{cookie:?}");
    }
    let answer = browser.post("/logout").send().await.expect(204);
    assert_eq!(answer.cookie("username").expect("cleared").attribute("domain"), Some("example.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_is_the_token_s_or_session_s_own() {
    let parameters = [("AppSessionLifetime", "5000"), ("AppIdleTimeout", "3000"), ("AppAccessTokenLifetime", "900")];
    let stack = Stack::with(&parameters).await;
    let alice = stack.person("alice").await;
    let browser = stack.remembered(&alice).await;
    stack.clock.advance(2900);
    let answer = browser.post("/refresh").send().await.expect(200);
    let age = |name: &str| answer.cookie(name).expect("a cookie").max_age();
    assert_eq!((age("access"), age("refresh"), age("username")), (Some(900), Some(2100), Some(2100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_readable_and_safe() {
    let stack = Stack::start().await;
    let alice = Person { username: "al.i-c_e".to_owned(), ..Person::named("alice") };
    let browser = stack.browser();
    browser.post("/signup").json(alice.signup("browser")).send().await.expect(202);
    let mail = stack.mail_to(&alice.email).await;
    let answer = browser.post("/verify").json(json!({"code": mail.code()})).send().await.expect(201);
    let cookie = answer.cookie("username").expect("a cookie");
    assert_eq!(cookie.value, "al.i-c_e");
    assert!(!cookie.attributes.iter().any(|attribute| attribute == "HttpOnly"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_on_one_browser_never_mix() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bob = stack.person("bob").await;
    let browser = stack.remembered(&alice).await;
    let of_alice = browser.copy();
    // Bob signs in where Alice was remembered, and is not.
    let answer = browser.post("/login").json(bob.login("browser")).send().await.expect(200);
    answer.expect_cookies(&["access", "username"], &["refresh", "signup"]);
    assert_eq!(browser.cookie_names(), ["access", "username"]);
    assert_eq!(browser.cookie("username").as_deref(), Some("bob"));
    assert_eq!(browser.get("/me").send().await.expect(200).json()["user"]["username"], "bob");
    // Alice's session went with it.
    of_alice.get("/me").send().await.expect_problem(401, "session_ended");
    of_alice.post("/refresh").send().await.expect_problem(401, "session_ended");
    // A refresh gives Bob's session and nobody else's.
    let answer = browser.post("/refresh").send().await.expect(200);
    assert_eq!(answer.json()["user"]["username"], "bob");
    // And after Bob, nothing of Bob is left.
    browser.post("/logout").send().await.expect(204);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    assert_eq!(browser.get("/me").send().await.expect(200).json()["user"]["username"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_ends_the_session_before_it() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let of_alice = browser.copy();
    let bob = Person::named("bob");
    browser.post("/signup").json(bob.signup("browser")).send().await.expect(202);
    browser.get("/me").send().await.expect(200);
    let mail = stack.mail_to(&bob.email).await;
    browser.post("/verify").json(json!({"token": mail.token()})).send().await.expect(201);
    assert_eq!(browser.get("/me").send().await.expect(200).json()["user"]["username"], "bob");
    of_alice.get("/me").send().await.expect_problem(401, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn different_access_and_bearer_tokens_are_unauthenticated() {
    // Alice's refresh cookie beside Bob's access cookie, as no answer of ours ever leaves them.
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let bob = stack.person("bob").await;
    let of_alice = stack.remembered(&alice).await;
    let of_bob = stack.signed_in(&bob).await;
    let mixed = of_bob.copy();
    mixed.put_cookie("refresh", &of_alice.cookie("refresh").expect("a cookie"));
    let answer = mixed.post("/refresh").send().await;
    if answer.status == 200 {
        // One of the two, entirely.
        let who = answer.json()["user"]["id"].clone();
        assert_eq!(claims(&mixed.cookie("access").expect("a cookie"))["sub"], who);
        assert_eq!(mixed.cookie("username").as_deref(), answer.json()["user"]["username"].as_str());
    } else {
        answer.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_leave_cookies_alone() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    for answer in [
        browser.get("/me").bearer("nonsense").send().await,
        browser.post("/login").json(json!({})).send().await,
        browser.post("/login").json(json!({"username": "alice", "password": "wrong password"})).send().await,
        browser.post("/signup").json(alice.signup("browser")).send().await,
        browser.post("/verify").json(json!({"token": "nothing"})).send().await,
        browser.post("/refresh").retry_key("short").send().await,
        browser.post("/refresh").origin(Some("https://evil.test")).send().await,
    ] {
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        answer.expect_no_cookies();
    }
    browser.get("/me").send().await.expect(200);
}

/// What another application has set, in whatever encoding, hides none of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_not_ascii_hides_none_of_ours() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for theirs in ["theme=\u{e9}", "\u{c774}\u{b984}=\u{ac12}", "a=\"b; c", "=", "flag"] {
        let browser = stack.remembered(&alice).await;
        let ours = ["access", "refresh"].map(|name| format!("{name}={}", browser.cookie(name).expect("a cookie")));
        let sent = [ours[0].as_str(), theirs, ours[1].as_str()].join("; ");
        let other = || stack.browser();
        other().get("/me").cookies(&sent).send().await.expect(200);
        other().post("/logout").cookies(&sent).send().await.expect(204);
        other().get("/me").cookies(&ours[0]).send().await.expect_problem(401, "session_ended");
    }
}
