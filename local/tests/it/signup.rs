//! `POST /signup` and `POST /signup/resend`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{Person, Stack, at_once};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_a_signup_id_and_the_person_a_mail() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let answer = stack.client().post("/signup").json(alice.signup("app")).send().await.expect(202).expect_no_cookies();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {".signup_id" => "[secret]"}, @r#"
    {
      "expires_in": 86400,
      "signup_id": "[secret]"
    }
    "#);

    let mails = stack.mails().await;
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!(mail.to, "alice@example.test");
    assert_eq!(mail.from, "Latchkey <no-reply@latchkey.local>");
    assert_eq!(mail.sent_at, stack.clock.now().to_string());
    assert!(!mail.id.is_null());
    assert!(mail.subject.contains("Latchkey"), "{}", mail.subject);
    assert_eq!(mail.code().len(), 8);
    assert!(mail.link().starts_with(&format!("{}/verify?token=", stack.url())), "{}", mail.link());
    assert!(mail.html.contains(&mail.code()) && mail.html.contains(&mail.token()), "{}", mail.html);
    assert!(!mail.text.contains(answer.json()["signup_id"].as_str().expect("a signup_id")), "{}", mail.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_cookie_alone() {
    let stack = Stack::start().await;
    for body in [Person::named("alice").signup("browser"), {
        let mut body = Person::named("bob").signup("browser");
        body.as_object_mut().expect("an object").remove("client");
        body
    }] {
        let answer =
            stack.browser().post("/signup").json(body).send().await.expect(202).expect_cookies(&["signup"], &[]);
        let cookie = answer.cookie("signup").expect("a cookie");
        assert_eq!(answer.json(), json!({"expires_in": 86400}), "no script has to see the signup_id");
        assert_eq!(cookie.value.len(), 54);
        assert_eq!(cookie.attributes, ["HttpOnly", "Max-Age=86400", "Path=/", "SameSite=Lax"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_looks_the_same_from_outside() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let stranger = Person { username: "mallory".to_owned(), ..alice.clone() };
    let free = stack.browser().post("/signup").json(Person::named("carol").signup("browser")).send().await;
    let taken = stack.browser().post("/signup").json(stranger.signup("browser")).send().await;

    let shape = |answer: &crate::harness::Answer| {
        let body = answer.json();
        let length = body["signup_id"].as_str().map(str::len);
        let cookie = answer.cookie("signup").map(|cookie| (cookie.value.len(), cookie.attributes));
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        (answer.status, body.as_object().map(|body| body.keys().cloned().collect::<Vec<_>>()), length, cookie, names)
    };
    assert_eq!(shape(&free), shape(&taken));

    let mail = stack.mail_to(&alice.email).await;
    assert!(!mail.has_secrets(), "{}", mail.text);
    assert!(!mail.html.contains("token="), "{}", mail.html);
    let signup_id = taken.cookie("signup").expect("a cookie").value;
    let guess = stack.verify(json!({"signup_id": signup_id, "code": "12345678", "client": "app"})).await;
    guess.expect_problem(400, "invalid_verification");
    // The account is untouched.
    stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_the_same_in_upper_case() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let shouting = Person { username: "other".to_owned(), email: "ALICE@Example.TEST".to_owned(), ..alice };
    stack.client().post("/signup").json(shouting.signup("app")).send().await.expect(202);
    let mails = stack.mails().await;
    assert!(!mails.last().expect("a mail").has_secrets());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_username_is_a_conflict() {
    let stack = Stack::start().await;
    stack.person("alice").await;
    for taken in ["alice", "ALICE", "\u{ff41}lice"] {
        let person = Person { username: taken.to_owned(), ..Person::named("other") };
        let answer = stack.client().post("/signup").json(person.signup("app")).send().await;
        answer.expect_problem(409, "username_taken").expect_no_cookies();
    }
    assert_eq!(stack.mails().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_sign_up_owns_neither_name_nor_address() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (first, _) = stack.sign_up(&alice).await;
    let (second, _) = stack.sign_up(&alice).await;
    assert_ne!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_cannot_be_an_account() {
    let stack = Stack::start().await;
    let with = |name: &str, value: Value| {
        let mut body = Person::named("alice").signup("app");
        body[name] = value;
        body
    };
    let long_name = "a".repeat(33);
    let long_address = format!("{}@example.test", "a".repeat(65));
    for (field, value, code) in [
        ("username", json!("al"), "invalid_username"),
        ("username", json!(long_name), "invalid_username"),
        ("username", json!("al ice"), "invalid_username"),
        ("username", json!("al\r\nice"), "invalid_username"),
        ("username", json!("<b>alice"), "invalid_username"),
        // A Cyrillic letter among Latin ones.
        ("username", json!("\u{430}lice"), "invalid_username"),
        ("username", json!("ali\u{200b}ce"), "invalid_username"),
        ("username", json!("ali\u{202e}ce"), "invalid_username"),
        ("username", json!("alice@example.test"), "invalid_username"),
        ("email", json!("alice"), "invalid_email"),
        ("email", json!("alice@"), "invalid_email"),
        ("email", json!("alice@example.test\r\nBcc: eve@example.test"), "invalid_email"),
        ("email", json!("alice@example.test,eve@example.test"), "invalid_email"),
        ("email", json!("Alice <alice@example.test>"), "invalid_email"),
        ("email", json!("\u{e4}lice@example.test"), "invalid_email"),
        ("email", json!(long_address), "invalid_email"),
        ("password", json!("short"), "weak_password"),
        ("password", json!("1234567"), "weak_password"),
        ("password", json!("password"), "weak_password"),
        ("password", json!("Password1"), "weak_password"),
        ("password", json!("alice@example.test"), "weak_password"),
        ("password", json!("x".repeat(129)), "weak_password"),
    ] {
        let answer = stack.client().post("/signup").json(with(field, value.clone())).send().await;
        assert_eq!((answer.status, answer.code()), (422, code.to_owned()), "{field} {value}: {}", answer.text());
        answer.expect_problem(422, code);
    }
    for (field, value) in [
        ("username", json!(7)),
        ("email", Value::Null),
        ("password", json!(["a"])),
        ("client", json!("toaster")),
        ("client", json!("remembered")),
    ] {
        let answer = stack.client().post("/signup").json(with(field, value)).send().await;
        answer.expect_problem(400, "invalid_request");
    }
    for missing in ["username", "email", "password"] {
        let mut body = Person::named("alice").signup("app");
        body.as_object_mut().expect("an object").remove(missing);
        stack.client().post("/signup").json(body).send().await.expect_problem(400, "invalid_request");
    }
    assert_eq!(stack.mails().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_password_is_a_parameter() {
    let stack = Stack::with(&[("PasswordMinLength", "12")]).await;
    let with = |password: &str| Person { password: password.to_owned(), ..Person::named("alice") }.signup("app");
    stack.client().post("/signup").json(with("qzx4-wkv7-r")).send().await.expect_problem(422, "weak_password");
    stack.client().post("/signup").json(with("qzx4-wkv7-rt")).send().await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_compared_after_normalisation() {
    let stack = Stack::start().await;
    let composed = Person { password: "na\u{ef}ve \u{fb01}sh 42".to_owned(), ..Person::named("alice") };
    let (signup_id, mail) = stack.sign_up(&composed).await;
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    let decomposed = Person { password: "nai\u{308}ve fish 42".to_owned(), ..composed };
    stack.app(&decomposed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_domains_of_other_scripts_are_welcome() {
    let stack = Stack::start().await;
    let person = Person {
        username: "\u{ae40}\u{bbfc}\u{c900}".to_owned(),
        email: "minjun@\u{d55c}\u{ad6d}.test".to_owned(),
        password: "seven quiet llamas".to_owned(),
    };
    let answer = stack.browser().post("/signup").json(person.signup("app")).send().await.expect(202);
    let mail = stack.mails().await.pop().expect("a mail");
    assert_eq!(mail.to, "minjun@xn--3e0b707e.test");
    let proof = json!({"signup_id": answer.json()["signup_id"], "code": mail.code()});
    let verified = stack.browser().post("/verify").json(proof).send().await.expect(201);
    assert_eq!(verified.json()["user"]["username"], person.username);
    assert_eq!(verified.cookie("username").expect("a cookie").value, "%EA%B9%80%EB%AF%BC%EC%A4%80");
    stack.app(&person).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_speak_the_reader_s_language() {
    let stack = Stack::start().await;
    let korean = |text: &str| text.chars().any(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c));
    for (index, (locale, accept, is_korean)) in [
        (None, None, false),
        (Some("ko"), None, true),
        (Some("en"), Some("ko"), false),
        (None, Some("ko-KR,ko;q=0.9,en;q=0.5"), true),
        (None, Some("en;q=0.4, ko;q=0.6"), true),
        (None, Some("de"), false),
        (None, Some("ko;q=0, de"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let person = Person::named(&format!("person{index}"));
        let mut body = person.signup("app");
        if let Some(locale) = locale {
            body["locale"] = json!(locale);
        }
        let mut call = stack.client().post("/signup").json(body);
        if let Some(accept) = accept {
            call = call.header("accept-language", accept);
        }
        call.send().await.expect(202);
        let mail = stack.mail_to(&person.email).await;
        for text in [&mail.subject, &mail.text, &mail.html] {
            assert_eq!(korean(text), is_korean, "{locale:?} {accept:?}: {text}");
        }
        mail.code();
        mail.link();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_never_follows_the_request_s_host() {
    let stack = Stack::with(&[("ApiUrl", "https://api.example.test")]).await;
    let person = Person::named("alice");
    let call = stack.client().post("/signup").json(person.signup("app"));
    let forged = call.header("x-forwarded-host", "evil.test").header("forwarded", "host=evil.test;proto=https");
    forged.send().await.expect(202);
    let mail = stack.mail_to(&person.email).await;
    assert!(mail.link().starts_with("https://api.example.test/verify?token="), "{}", mail.link());
    assert!(!mail.text.contains("evil.test") && !mail.html.contains("evil.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_brings_a_new_code_and_link() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, first) = stack.sign_up(&alice).await;
    stack.clock.advance(60);
    let answer = stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(stack.mails().await.len(), 2);
    let second = stack.mail_to(&alice.email).await;
    assert_ne!((first.code(), first.token()), (second.code(), second.token()));
    assert_ne!(first.token(), second.token());

    let old = stack.verify(json!({"signup_id": signup_id, "token": first.token(), "client": "app"})).await;
    old.expect_problem(400, "invalid_verification");
    stack.verify(json!({"signup_id": signup_id, "token": second.token(), "client": "app"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_takes_the_cookie() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let browser = stack.browser();
    browser.post("/signup").json(alice.signup("browser")).send().await.expect(202);
    // Sent before the next one replaces its link.
    assert_eq!(stack.mails().await.len(), 1);
    stack.clock.advance(60);
    browser.post("/signup/resend").send().await.expect(202);
    assert_eq!(stack.mails().await.len(), 2);
    let mail = stack.mail_to(&alice.email).await;
    browser.post("/verify").json(json!({"code": mail.code()})).send().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_without_any_id_is_no_request() {
    let stack = Stack::start().await;
    stack.client().post("/signup/resend").json(json!({})).send().await.expect_problem(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_that_comes_too_early() {
    let stack = Stack::start().await;
    let (signup_id, _) = stack.sign_up(&Person::named("alice")).await;
    stack.clock.advance(20);
    let answer = stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await;
    let answer = answer.expect_problem(429, "rate_limited").expect_no_cookies();
    assert_eq!(answer.header("retry-after"), Some("40"));
    // Waiting as long as it says is enough.
    stack.clock.advance(40);
    stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
}

/// What 1 + 6 resends answer, each so many seconds after the one before.
async fn resends(stack: &Stack, signup_id: &str, waits: &[u64]) -> Vec<(u16, String, Option<u64>)> {
    let mut answers = Vec::new();
    for wait in waits {
        stack.clock.advance(*wait);
        let body = json!({"signup_id": signup_id});
        let answer = stack.client().post("/signup/resend").json(body).send().await;
        // Until it is sent: a mail whose link is dead by then is left out.
        stack.mails().await;
        let retry_after = answer.header("retry-after").map(|value| value.parse().expect("seconds"));
        if answer.status == 429 {
            answers.push((answer.status, answer.code(), retry_after));
            answer.expect_problem(429, "rate_limited");
        } else {
            answers.push((answer.status, answer.code(), retry_after));
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_has_a_cooldown_and_an_end() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, _) = stack.sign_up(&alice).await;
    let answers = resends(&stack, &signup_id, &[0, 59, 1, 10, 50, 60, 60, 60, 3600]).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.0).collect();
    // Five mails in all: the first of the sign-up, then four.
    assert_eq!(statuses, [429, 429, 202, 429, 202, 202, 202, 429, 429]);
    assert_eq!(answers[0].2, Some(60));
    assert_eq!(answers[1].2, Some(1));
    assert_eq!(answers[3].2, Some(50));
    assert_eq!(stack.mails().await.len(), 5);
    // The last link works on.
    let mail = stack.mail_to(&alice.email).await;
    stack.verify(json!({"signup_id": signup_id, "token": mail.token(), "client": "app"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_gets_the_answers_of_a_known_one() {
    let stack = Stack::start().await;
    let (known, _) = stack.sign_up(&Person::named("alice")).await;
    let mut unknown = known.clone().into_bytes();
    let last = unknown.len() - 2;
    unknown[last] = if unknown[last] == b'A' { b'B' } else { b'A' };
    let unknown = String::from_utf8(unknown).expect("ASCII");
    let waits = [60, 0, 59, 1, 60, 60, 60, 60];
    // Once five mails are sent, the wait is until the sign-up's own end, which the unknown one does not have.
    let comparable = |answers: Vec<(u16, String, Option<u64>)>| {
        let answers = answers.into_iter();
        answers.map(|(status, code, wait)| (status, code, wait.map(|wait| wait.min(3600)))).collect::<Vec<_>>()
    };
    let of_known = comparable(resends(&stack, &known, &waits).await);
    let mails = stack.mails().await.len();
    assert_eq!(comparable(resends(&stack, &unknown, &waits).await), of_known);
    assert_eq!(comparable(resends(&stack, "nothing", &waits).await), of_known);
    assert_eq!(stack.mails().await.len(), mails);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_gets_the_same_answers_to_resends() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let waits = [0, 60, 10, 50, 60, 60, 60];
    let (of_free, _) = stack.sign_up(&Person::named("bob")).await;
    let answers_to_free = resends(&stack, &of_free, &waits).await;
    let (of_taken, _) = stack.sign_up(&Person { username: "mallory".to_owned(), ..alice.clone() }).await;
    assert_eq!(resends(&stack, &of_taken, &waits).await, answers_to_free);
    assert!(!stack.mail_to(&alice.email).await.has_secrets());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_ends_after_a_day() {
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    stack.clock.advance(24 * 60 * 60);
    let link = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
    stack.verify(link).await.expect_problem(400, "invalid_verification");
    let mails = stack.mails().await.len();
    stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    assert_eq!(stack.mails().await.len(), mails);
}

#[tokio::test(flavor = "multi_thread")]
async fn resends_at_once_are_one_mail() {
    let stack = Arc::new(Stack::start().await);
    let (signup_id, _) = stack.sign_up(&Person::named("alice")).await;
    stack.clock.advance(60);
    for (id, mails) in [(signup_id.as_str(), 2), ("nothing", 2)] {
        let answers = at_once((0..8).map(|_| {
            let (stack, body) = (Arc::clone(&stack), json!({"signup_id": id}));
            async move { stack.client().post("/signup/resend").json(body).send().await.status }
        }));
        let mut statuses = answers.await;
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 429, 429, 429, 429, 429, 429, 429], "{id}");
        assert_eq!(stack.mails().await.len(), mails, "{id}");
    }
    let mail = stack.mail_to("alice@example.test").await;
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_after_the_verification_hands_out_nothing() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    stack.clock.advance(60);
    stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    assert_eq!(stack.mails().await.len(), 1, "nothing is mailed");
    stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(429);
    // The proof that was mailed first goes on bringing sessions.
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    stack.app(&alice).await;
}
