//! Whole stories, each told by one person's device, from the sign-up to the next login.

use serde_json::json;

use crate::harness::{AppSession, Client, Person, SetCookie, Stack, generation, retry_key};

const DAY: u64 = 24 * 3600;

/// The form of the page that a mailed link opens, as a browser reads it.
struct Form {
    action: String,
    token: String,
    asks_for_password: bool,
}

/// Opens a mailed link in `browser`.
async fn open(stack: &Stack, browser: &Client, link: &str) -> Form {
    let path = link.strip_prefix(stack.url()).expect("a link to the API itself");
    let page = browser.get(path).send().await.expect(200).text();
    let attribute = |tag: &str, name: &str| {
        let tag = page.split_once(tag).unwrap_or_else(|| panic!("no {tag}: {page}")).1.split('>').next();
        let value = tag.and_then(|tag| tag.split_once(&format!("{name}=\""))).map(|(_, rest)| rest);
        value.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no {name}: {page}")).to_owned()
    };
    assert_eq!(attribute("<form", "method"), "post");
    // Relative to the page's own path, so that it works below a stage too.
    let folder = path.split('?').next().and_then(|path| path.rsplit_once('/')).expect("a path").0;
    Form {
        action: format!("{folder}/{}", attribute("<form", "action")),
        token: attribute("name=\"token\"", "value"),
        asks_for_password: page.contains("name=\"password\""),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone() {
    let stack = Stack::start().await;
    let ann = Person::named("ann");
    let phone = stack.client();
    let answer = phone.post("/signup").json(ann.signup("app")).send().await.expect(202);
    let signup_id = answer.json()["signup_id"].clone();
    phone.post("/login").json(ann.login("app")).send().await.expect_problem(401, "invalid_credentials");

    let mail = stack.mail_to(&ann.email).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let mut session = AppSession::of(&phone.post("/verify").json(proof).send().await.expect(201));
    let me = phone.get("/me").bearer(&session.access).send().await.expect(200).json();
    assert_eq!((&me["user"]["username"], &me["session"]["kind"]), (&json!("ann"), &json!("app")));

    // Half a year of use, less and less often, with a lost answer now and then.
    for pause in [900, DAY, 7 * DAY, 29 * DAY] {
        stack.clock.advance(pause);
        stack.me(&session.access).await.expect_problem(401, "token_expired");
        let key = retry_key();
        let body = json!({"refresh": session.refresh});
        let lost = phone.post("/refresh").json(body.clone()).retry_key(&key).send().await.expect(200);
        let next = AppSession::of(&phone.post("/refresh").json(body).retry_key(&key).send().await.expect(200));
        assert_eq!(next.generation(), AppSession::of(&lost).generation());
        assert_eq!(next.session_id, session.session_id);
        session = next;
        phone.get("/me").bearer(&session.access).send().await.expect(200);
    }

    phone.post("/logout").json(json!({"refresh": session.refresh})).send().await.expect(204);
    stack.me(&session.access).await.expect_problem(401, "session_ended");
    stack.refresh(&session.refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");

    let by_address = json!({"email": ann.email, "password": ann.password, "client": "app"});
    let again = AppSession::of(&phone.post("/login").json(by_address).send().await.expect(200));
    assert_eq!(again.user_id, session.user_id);
    assert_ne!(again.session_id, session.session_id);
    stack.me(&again.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser() {
    let stack = Stack::start().await;
    let ann = Person::named("ann");
    let browser = stack.browser();
    browser.post("/signup").json(ann.signup("browser")).send().await.expect(202);
    assert_eq!(browser.cookie_names(), ["signup"]);

    // The link opens in the same browser: one press of the button.
    let form = open(&stack, &browser, &stack.mail_to(&ann.email).await.link()).await;
    assert!(!form.asks_for_password);
    let answer = browser.post(&form.action).form(&[("token", &form.token)]).send().await.expect(303);
    let home = answer.header("location").and_then(|url| url.strip_prefix(stack.url())).expect("the app").to_owned();
    assert_eq!(browser.cookie_names(), ["access", "username"]);
    browser.get(&home).send().await.expect(200);
    assert_eq!(browser.cookie("username").as_deref(), Some("ann"));
    let me = browser.get("/me").send().await.expect(200).json();
    assert_eq!((&me["user"]["username"], &me["session"]["kind"]), (&json!("ann"), &json!("browser")));

    // A working day: now the page's timer refreshes, now a call of the API slides.
    let first = generation(&browser.cookie("access").expect("signed in"));
    for _ in 0..8 {
        stack.clock.advance(1500);
        browser.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
        stack.clock.advance(1000);
        browser.get("/me").send().await.expect(200);
    }
    assert_eq!(generation(&browser.cookie("access").expect("signed in")), first + 8);

    // A lunch longer than half an hour.
    stack.clock.advance(1800);
    assert_eq!(browser.cookie_names(), [] as [&str; 0]);
    browser.get("/me").send().await.expect_problem(401, "token_missing");
    browser.post("/refresh").send().await.expect_problem(401, "token_missing");

    browser.post("/login").json(ann.login("browser")).send().await.expect(200);
    browser.get("/me").send().await.expect(200);
    let answer = browser.post("/logout").send().await.expect(204);
    assert!(answer.cookies().iter().all(SetCookie::is_cleared));
    browser.get("/me").send().await.expect_problem(401, "token_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_browser() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let browser = stack.remembered(&ann).await;
    for _ in 0..4 {
        // The browser was closed for weeks, and the access cookie is gone.
        stack.clock.advance(29 * DAY);
        assert_eq!(browser.cookie_names(), ["refresh", "username"]);
        browser.get("/me").send().await.expect_problem(401, "token_missing");
        browser.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
        browser.get("/me").send().await.expect(200);
    }
    let thief = browser.copy();
    browser.post("/logout").send().await.expect(204);
    assert_eq!(browser.cookie_names(), [] as [&str; 0]);
    thief.post("/refresh").retry_key(&retry_key()).send().await.expect_problem(401, "session_ended");
    browser.post("/login").json(ann.remembered()).send().await.expect(200);
    browser.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_on_the_desk_and_the_mail_on_the_phone() {
    let stack = Stack::start().await;
    let ann = Person::named("ann");
    let desk = stack.browser();
    desk.post("/signup").json(ann.signup("browser")).send().await.expect(202);
    let mail = stack.mail_to(&ann.email).await;

    let phone = stack.browser();
    let form = open(&stack, &phone, &mail.link()).await;
    assert!(form.asks_for_password);
    let fields = [("token", form.token.as_str()), ("password", ann.password.as_str())];
    phone.post(&form.action).form(&fields).send().await.expect(303);
    phone.get("/me").send().await.expect(200);

    // Meanwhile the desk shows the field for the code. The proof was good for one session; there it takes the password.
    desk.get("/me").send().await.expect_problem(401, "token_missing");
    let late = desk.post("/verify").json(json!({"code": mail.code()})).send().await;
    late.expect_problem(400, "invalid_verification");
    desk.post("/login").json(ann.login("browser")).send().await.expect(200);
    desk.get("/me").send().await.expect(200);
    phone.get("/me").send().await.expect(200);

    // A lost phone: sign out everywhere, from the desk.
    desk.post("/logout").json(json!({"everywhere": true})).send().await.expect(204);
    phone.get("/me").send().await.expect_problem(401, "session_ended");
    phone.post("/refresh").send().await.expect_problem(401, "session_ended");
    desk.post("/login").json(ann.login("browser")).send().await.expect(200);
    desk.get("/me").send().await.expect(200);
}
