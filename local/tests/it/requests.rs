//! Requests that are not what they should be.

use serde_json::{Value, json};

use crate::harness::{Call, Person, Stack};

/// Every route that takes JSON, with a body of the right form.
fn routes() -> [(&'static str, Value); 8] {
    [
        ("/signup", Person::named("somebody").signup("app")),
        ("/signup/resend", json!({"signup_id": "nothing"})),
        ("/verify", json!({"signup_id": "nothing", "code": "12345678", "client": "app"})),
        ("/password/forgot", json!({"email": "nobody@example.test", "client": "app"})),
        ("/password/reset", json!({"token": "nothing", "password": "nine loud otters", "client": "app"})),
        ("/login", Person::named("nobody").login("app")),
        ("/refresh", json!({"refresh": "rt_nothing"})),
        ("/logout", json!({"refresh": "rt_nothing"})),
    ]
}

fn raw(call: Call, body: &[u8]) -> Call {
    call.header("content-type", "application/json").body(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json() {
    let stack = Stack::start().await;
    for (path, _) in routes() {
        for body in [
            &b"{"[..],
            b"}",
            b"nonsense",
            b"{} {}",
            b"{},",
            b"{'a': 1}",
            b"{\"a\": NaN}",
            b"\xff\xfe{}",
            b"{\"username\": \"\xff\"}",
            b"{\"username\": \"\\ud800\"}",
            b"{\"username\": \"a\nb\"}",
            b"[]",
            b"[{}]",
            b"null",
            b"7",
            b"\"text\"",
            b"\0",
        ] {
            let answer = raw(stack.client().post(path), body).send().await;
            let what = String::from_utf8_lossy(body);
            assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{path}: {what}");
            answer.expect_problem(400, "invalid_request").expect_no_cookies();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_twice_and_keys_unknown() {
    let stack = Stack::start().await;
    for (path, body) in routes() {
        let text = body.to_string();
        let (name, value) = body.as_object().and_then(|body| body.iter().next()).expect("a field");
        let twice = text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
        // The same key, written differently.
        let first = name.chars().next().map(u32::from).expect("a name");
        let escaped = format!("\\u{first:04x}{}", &name[1..]);
        let escaped = text.replacen('{', &format!("{{\"{escaped}\":{value},"), 1);
        let unknown = text.replacen('{', "{\"is_admin\":true,", 1);
        let cased = text.replacen('{', &format!("{{\"{}\":{value},", name.to_uppercase()), 1);
        let prototype = text.replacen('{', "{\"__proto__\":{},", 1);
        for body in [twice, escaped, unknown, cased, prototype] {
            let answer = raw(stack.client().post(path), body.as_bytes()).send().await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{path}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting() {
    let stack = Stack::start().await;
    for (path, body) in routes() {
        for depth in [200, 5000] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let objects = format!("{}1{}", "{\"a\":".repeat(depth / 2), "}".repeat(depth / 2));
            let name = body.as_object().and_then(|body| body.keys().next().cloned()).expect("a field");
            let inside = format!("{{\"{name}\":{nested}}}");
            let unclosed = "[".repeat(depth);
            for body in [nested, objects, inside, unclosed] {
                let answer = raw(stack.client().post(path), body.as_bytes()).send().await;
                answer.expect_problem(400, "invalid_request");
            }
        }
    }
    stack.person("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let login = alice.login("app").to_string();
    for accepted in
        ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]
    {
        let call = stack.client().post("/login").header("content-type", accepted).body(login.clone());
        assert_eq!(call.send().await.status, 200, "{accepted}");
    }
    for (path, body) in routes() {
        let body = body.to_string();
        for refused in [
            "text/plain",
            "text/json",
            "application/jsonp",
            "application/json-patch+json",
            "application/vnd.api+json",
            "application/octet-stream",
            "multipart/form-data; boundary=x",
            "*/*",
            "json",
            "",
        ] {
            let answer = stack.client().post(path).header("content-type", refused).body(body.clone()).send().await;
            assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"), "{path} {refused}");
            answer.expect_problem(415, "unsupported_media_type");
        }
        stack.client().post(path).body(body.clone()).send().await.expect_problem(415, "unsupported_media_type");
        if !["/verify", "/password/reset"].contains(&path) {
            let form = stack.client().post(path).form(&[("username", "alice")]).send().await;
            form.expect_problem(415, "unsupported_media_type");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let padded = |length: usize| {
        let mut body = alice.login("app").to_string();
        body.push_str(&" ".repeat(length - body.len()));
        body
    };
    raw(stack.client().post("/login"), padded(16 * 1024).as_bytes()).send().await.expect(200);
    for (path, _) in routes() {
        for length in [16 * 1024 + 1, 100_000, 5_000_000] {
            let answer = raw(stack.client().post(path), padded(length).as_bytes()).send().await;
            answer.expect_problem(413, "body_too_large");
        }
    }
    let token = "x".repeat(20_000);
    for path in ["/verify", "/password/reset"] {
        let form = stack.browser().post(path).form(&[("token", &token)]).send().await;
        assert_eq!(form.status, 413, "{path}: {}", form.text());
    }
    // Beyond what API Gateway takes, its own answer.
    let answer = raw(stack.client().post("/login"), padded(7 * 1024 * 1024).as_bytes()).send().await.expect(413);
    assert_eq!(answer.json(), json!({"message": "Request Entity Too Large"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_would_be_headers_or_html() {
    let stack = Stack::start().await;
    // A username is refused where it could do harm; what is left cannot break a mail.
    for username in
        ["eve\r\nBcc: all@example.test", "eve<script>", "eve\u{0}", "ev\u{2028}e", "eve\u{7f}", "eve\"><img src=x>"]
    {
        let person = Person { username: username.to_owned(), ..Person::named("eve") };
        stack.client().post("/signup").json(person.signup("app")).send().await.expect_problem(422, "invalid_username");
    }
    for locale in ["en\r\nX: y", "<script>", "../../etc", &"e".repeat(3000)] {
        let mut body = Person::named("alice").signup("app");
        body["locale"] = json!(locale);
        let answer = stack.client().post("/signup").json(body).send().await;
        assert!(matches!(answer.status, 202 | 400), "{locale}: {}", answer.text());
    }
    for mail in stack.mails().await {
        assert!(!mail.subject.contains(['\r', '\n']) && !mail.html.contains("<script"), "{mail:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_name_cannot_break_a_mail() {
    let stack = Stack::with(&[("ServiceName", "Latch <b>&</b> \"Key\"")]).await;
    let alice = Person::named("alice");
    let (_, mail) = stack.sign_up(&alice).await;
    assert!(!mail.html.contains("<b>&</b>"), "{}", mail.html);
    assert!(mail.text.contains("Latch <b>&</b> \"Key\""), "{}", mail.text);
    let page = stack.browser().get(&format!("/verify?token={}", mail.token())).send().await.expect(200);
    assert!(!page.text().contains("<b>&</b>"), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_headers_are_ignored() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for (name, value) in [
        ("user-agent", "x".repeat(4000)),
        ("user-agent", "\u{e4}\u{1f980}".to_owned()),
        ("user-agent", String::new()),
        ("accept-language", ",;q=;*;;;en;q=2,\u{e4}".to_owned()),
        ("accept-language", "ko;q=0.5,".repeat(400)),
        ("accept", "nothing/at-all".to_owned()),
        ("x-forwarded-for", "evil".to_owned()),
        ("x-amzn-request-context", "{}".to_owned()),
        ("idempotency-key", "\u{e4}".to_owned()),
    ] {
        let call = stack.client().post("/login").json(alice.login("app")).header(name, &value);
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{name}: {value}: {}", answer.text());
        let call = stack.client().post("/signup").json(Person::named("bob").signup("app")).header(name, &value);
        assert_eq!(call.send().await.status, 202, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_cookies_are_ignored() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let access = browser.cookie("access").expect("a cookie");
    for others in ["a", "=", "a=b=c", "a=\"b", "; ;", "access", "theme=dark%00", "\u{e4}=\u{e4}"] {
        let header = format!("{others}; access={access}");
        let answer = browser.get("/me").cookies(&header).send().await;
        assert!(matches!(answer.status, 200 | 401), "{others}: {}", answer.text());
        browser.get("/me").cookies(others).send().await.expect_problem(401, "token_missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_where_none_belongs() {
    let stack = Stack::start().await;
    let (_, session) = stack.person_with_session("alice").await;
    let call = stack.client().get("/me").bearer(&session.access);
    let answer = call.header("content-type", "application/json").body("{}").send().await;
    assert!(answer.status < 500, "{}", answer.text());
}
