//! `POST /password/forgot`: one answer, whoever asks, and a mail to whom it may concern.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::harness::tables::overwrite;
use crate::harness::{Answer, Person, Stack};
use crate::mail_events::{bounce, marked};

/// What an answer looks like from outside: everything but the secrets' own characters.
fn shape(answer: &Answer) -> Value {
    let mut body = answer.json();
    if let Some(reset_id) = body.get_mut("reset_id") {
        *reset_id = json!(reset_id.as_str().map(str::len));
    }
    let cookie = answer.cookie("reset").map(|cookie| (cookie.value.len(), cookie.attributes));
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    json!({"status": answer.status, "body": body, "cookie": cookie, "headers": headers})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_a_reset_id_and_the_owner_a_link_and_a_code() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for who in [json!({"email": alice.email}), json!({"username": alice.username})] {
        let mut body = who.clone();
        body["client"] = json!("app");
        let before = stack.mails().await.len();
        let answer = stack.client().post("/password/forgot").json(body).send().await.expect(202).expect_no_cookies();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        assert_eq!(body, json!({"reset_id": body["reset_id"], "expires_in": 86400}));
        assert_eq!(body["reset_id"].as_str().map(str::len), Some(54), "{body}");
        assert_eq!(stack.mails().await.len(), before + 1, "{who}");
        let mail = stack.mail_to(&alice.email).await;
        let start = format!("{}/password/reset?token=", stack.url());
        assert!(mail.link().starts_with(&start), "{}", mail.link());
        assert_eq!(mail.code().len(), 8);
        assert!(mail.html.contains(&mail.code()) && mail.html.contains(&mail.token()), "{}", mail.html);
        assert!(!mail.text.contains(answer.json()["reset_id"].as_str().expect("a reset_id")), "{}", mail.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_cookie_instead() {
    for (parameters, name, secure) in
        [(&[][..], "reset", ""), (&[("ApiUrl", "https://api.example.test")][..], "__Host-reset", "; Secure")]
    {
        let stack = Stack::with(parameters).await;
        let alice = stack.person("alice").await;
        for body in [json!({"email": alice.email}), json!({"email": alice.email, "client": "browser"})] {
            let answer = stack.browser().post("/password/forgot").json(body).send().await.expect(202);
            assert_eq!(answer.json(), json!({"expires_in": 86400}));
            let answer = answer.expect_cookies(&[name], &[]);
            let cookie = answer.cookie(name).expect("a cookie");
            let attributes = cookie.attributes.join("; ");
            assert_eq!(attributes, format!("HttpOnly; Max-Age=86400; Path=/; SameSite=Lax{secure}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_gets_one_answer() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    for client in ["app", "browser"] {
        let ask = |who: Value| {
            let mut body = who;
            body["client"] = json!(client);
            let call = stack.browser().post("/password/forgot").json(body);
            async { shape(&call.send().await.expect(202)) }
        };
        let known = ask(json!({"email": alice.email})).await;
        assert_eq!(ask(json!({"username": alice.username})).await, known);
        assert_eq!(ask(json!({"email": "nobody@example.test"})).await, known);
        assert_eq!(ask(json!({"username": "nobody"})).await, known);
        for status in ["disabled", "deleting", "reset_required"] {
            overwrite(&stack, "USER#", "status", AttributeValue::S(status.to_owned())).await;
            assert_eq!(ask(json!({"email": alice.email})).await, known, "{status}");
            assert_eq!(ask(json!({"username": alice.username})).await, known, "{status}");
        }
        overwrite(&stack, "USER#", "status", AttributeValue::S("enabled".to_owned())).await;
    }
    marked(&stack, bounce("Permanent", &alice.email)).await;
    let known =
        stack.client().post("/password/forgot").json(json!({"email": alice.email, "client": "app"})).send().await;
    let other = json!({"email": "somebody@example.test", "client": "app"});
    assert_eq!(shape(&stack.client().post("/password/forgot").json(other).send().await), shape(&known));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_mailed_what() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let mut seen = stack.mails().await.len();
    let mut ask = async |who: Value| {
        stack.client().post("/password/forgot").json(who).send().await.expect(202);
        let mails = stack.mails().await.split_off(seen);
        seen += mails.len();
        mails
    };
    // An address without an account: a mail that says so, and opens nothing.
    let mails = ask(json!({"email": "Nobody@example.test"})).await;
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert!(mail.to.eq_ignore_ascii_case("nobody@example.test") && !mail.has_secrets(), "{mail:?}");
    // A name that there is not: nothing.
    assert_eq!(ask(json!({"username": "nobody"})).await.len(), 0);
    // No reset changes a banned account or one on its way out; nor is it called none.
    for status in ["disabled", "deleting"] {
        overwrite(&stack, "USER#", "status", AttributeValue::S(status.to_owned())).await;
        assert_eq!(ask(json!({"email": alice.email})).await.len(), 0, "{status}");
        assert_eq!(ask(json!({"username": alice.username})).await.len(), 0, "{status}");
    }
    overwrite(&stack, "USER#", "status", AttributeValue::S("reset_required".to_owned())).await;
    assert!(ask(json!({"email": alice.email.to_uppercase()})).await[0].has_secrets());
    // What came back is not mailed for a while.
    marked(&stack, bounce("Permanent", &alice.email)).await;
    assert_eq!(ask(json!({"email": alice.email})).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_speak_the_language_that_was_asked_for_else_the_account_s() {
    let stack = Stack::start().await;
    let korean = |text: &str| text.chars().any(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c));
    let alice = Person::named("alice");
    let mut body = alice.signup("app");
    body["locale"] = json!("ko");
    let answer = stack.client().post("/signup").json(body).send().await.expect(202);
    let code = stack.mail_to(&alice.email).await.code();
    stack.verify(json!({"signup_id": answer.json()["signup_id"], "code": code, "client": "app"})).await.expect(201);
    for (email, locale, accept, is_korean) in [
        (alice.email.as_str(), None, None, true),
        // Whoever asks decides by a word, not by what their browser happens to say.
        (alice.email.as_str(), None, Some("en"), true),
        (alice.email.as_str(), Some("en"), None, false),
        (alice.email.as_str(), Some("xx"), None, true),
        ("nobody@example.test", None, None, false),
        ("nobody@example.test", None, Some("ko"), true),
        ("nobody@example.test", Some("ko"), Some("en"), true),
    ] {
        let call = stack.client().post("/password/forgot").json(json!({"email": email, "locale": locale}));
        let call = if let Some(accept) = accept { call.header("accept-language", accept) } else { call };
        call.send().await.expect(202);
        let mail = stack.mail_to(email).await;
        for text in [&mail.subject, &mail.text, &mail.html] {
            assert_eq!(korean(text), is_korean, "{email} {locale:?} {accept:?}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_nobody_that_there_could_be_is_refused() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let mails = stack.mails().await.len();
    for (body, status, code) in [
        (json!({}), 400, "invalid_request"),
        (json!({"client": "app"}), 400, "invalid_request"),
        (json!({"email": alice.email, "username": alice.username}), 400, "invalid_request"),
        (json!({"email": alice.email, "client": "toaster"}), 400, "invalid_request"),
        (json!({"email": alice.email, "password": "nine loud otters"}), 400, "invalid_request"),
        (json!({"email": 7}), 400, "invalid_request"),
        (json!({"email": "alice"}), 422, "invalid_email"),
        (json!({"username": "al ice"}), 422, "invalid_username"),
    ] {
        let answer = stack.client().post("/password/forgot").json(body.clone()).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {}", answer.text());
        answer.expect_problem(status, code).expect_no_cookies();
    }
    assert_eq!(stack.mails().await.len(), mails);
    let body = json!({"email": alice.email, "device": "what an app was given", "locale": null, "client": "app"});
    stack.client().post("/password/forgot").json(body).send().await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_never_follows_the_request_s_host() {
    let stack = Stack::with(&[("ApiUrl", "https://api.example.test")]).await;
    let alice = stack.person("alice").await;
    let call = stack.client().post("/password/forgot").json(json!({"email": alice.email}));
    call.header("x-forwarded-host", "evil.test").header("forwarded", "host=evil.test").send().await.expect(202);
    let mail = stack.mail_to(&alice.email).await;
    assert!(mail.link().starts_with("https://api.example.test/password/reset?token="), "{}", mail.link());
    assert!(!mail.text.contains("evil.test") && !mail.html.contains("evil.test"));
}
