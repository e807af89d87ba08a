//! What users of Supabase Auth, Better Auth, `SuperTokens` and Django allauth report of password resets, changes of address
//! and deleted accounts, tried here. Each test names the reports that it is from.

use reqwest::Method;
use serde_json::{Value, json};

use crate::authorizer::with_ping;
use crate::harness::{AppSession, Mail, Person, Stack};

const NEW: &str = "nine loud otters";

/// Asks for a reset, from an app; the newest mail to that address with a link that resets.
async fn forgot(stack: &Stack, who: Value, to: &str) -> Option<Mail> {
    let seen = stack.mails().await.len();
    let mut body = who;
    body["client"] = json!("app");
    stack.client().post("/password/forgot").json(body).send().await.expect(202);
    let mails = stack.mails().await.split_off(seen);
    assert!(mails.iter().all(|mail| mail.to == to), "{mails:?}");
    mails.into_iter().find(Mail::has_secrets)
}

async fn reset(stack: &Stack, mail: &Mail, password: &str) -> u16 {
    let body = json!({"token": mail.token(), "password": password});
    stack.client().post("/password/reset").json(body).send().await.status
}

/// Asks for another address; the mail that confirms it.
async fn change_to(stack: &Stack, access: &str, email: &str) -> Mail {
    let body = json!({"email": email});
    stack.client().post("/email/change").bearer(access).json(body).send().await.expect(202);
    stack.secrets_to(email).await
}

async fn confirm(stack: &Stack, access: &str, mail: &Mail) -> u16 {
    let body = json!({"token": mail.token()});
    stack.client().post("/email/confirm").bearer(access).json(body).send().await.status
}

async fn email_of(stack: &Stack, access: &str) -> Value {
    stack.me(access).await.expect(200).json()["user"]["email"].clone()
}

async fn sign_in_status(stack: &Stack, person: &Person) -> u16 {
    stack.client().post("/login").json(person.login("app")).send().await.status
}

/// `supabase/auth#368`, `supabase/auth#713`, `Checkora/Checkora#2413`: what opens every link in a mail, before its reader
/// does and more than once, spends none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_opens_every_link_spends_none() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let scan = async |mail: &Mail| {
        let path = mail.link().strip_prefix(stack.url()).expect("a link to the API").to_owned();
        for method in [Method::HEAD, Method::GET, Method::GET] {
            let call = stack.client().request(method, &path).header("user-agent", "LinkScanner/1.0");
            call.send().await.expect(200).expect_no_cookies();
        }
    };
    let (_, mail) = stack.sign_up(&alice).await;
    scan(&mail).await;
    let proof = json!({"token": mail.token(), "password": alice.password, "client": "app"});
    let app = AppSession::of(&stack.verify(proof).await.expect(201));

    let mail = change_to(&stack, &app.access, "alice@new.example").await;
    scan(&mail).await;
    assert_eq!(email_of(&stack, &app.access).await, json!(alice.email));
    assert_eq!(confirm(&stack, &app.access, &mail).await, 204);

    let undo = stack.secrets_to(&alice.email).await;
    scan(&undo).await;
    assert_eq!(email_of(&stack, &app.access).await, json!("alice@new.example"));
    stack.client().post("/email/undo").json(json!({"token": undo.token()})).send().await.expect(204);

    let mail = stack.secrets_to(&alice.email).await;
    scan(&mail).await;
    assert_eq!(reset(&stack, &mail, NEW).await, 204);
    assert_eq!(sign_in_status(&stack, &Person { password: NEW.to_owned(), ..alice }).await, 200);
}

/// `pennersr/django-allauth#2020`, `pennersr/django-allauth#2201`, `supabase/supabase-js#1931`: asked for on one device,
/// opened in the mail program's browser, and used in the one that its reader likes better.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_moves_from_browser_to_browser_works() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let asked = stack.browser();
    asked.post("/password/forgot").json(json!({"username": "alice"})).send().await.expect(202);
    let mail = stack.secrets_to(&alice.email).await;
    let path = format!("/password/reset?token={}", mail.token());
    stack.browser().get(&path).send().await.expect(200);
    let liked = stack.browser();
    let html = liked.get(&path).send().await.expect(200).text();
    assert!(html.contains("<form"), "{html}");
    let token = mail.token();
    for _ in 0..2 {
        let form = liked.post("/password/reset").form(&[("token", token.as_str()), ("password", NEW)]);
        form.send().await.expect(303);
    }
    // The one that asked still has its cookie, and may ask again.
    let late = json!({"code": mail.code(), "password": "eleven calm badgers"});
    asked.post("/password/reset").json(late).send().await.expect_problem(400, "invalid_verification");
    asked.post("/password/forgot").json(json!({"username": "alice"})).send().await.expect(202);
    let code = stack.secrets_to(&alice.email).await.code();
    let body = json!({"code": code, "password": "eleven calm badgers"});
    asked.post("/password/reset").json(body).send().await.expect(204);
    let alice = Person { password: "eleven calm badgers".to_owned(), ..alice };
    assert_eq!(sign_in_status(&stack, &alice).await, 200);
}

/// `pennersr/django-allauth#2867`: whoever is signed in here to another account stays so, and is signed in to none that they
/// set the password of.
#[tokio::test(flavor = "multi_thread")]
async fn who_resets_another_account_stays_who_they_are() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.person("alice").await, stack.person("bob").await);
    for browser in [stack.signed_in(&bob).await, stack.remembered(&bob).await] {
        let mail = forgot(&stack, json!({"email": alice.email}), &alice.email).await.expect("a link");
        let token = mail.token();
        let html = browser.get(&format!("/password/reset?token={token}")).send().await.expect(200).text();
        assert!(html.contains("<strong>alice</strong>"), "it says whose password it is: {html}");
        let form = browser.post("/password/reset").form(&[("token", token.as_str()), ("password", NEW)]);
        form.send().await.expect(303);
        let me = browser.get("/me").send().await.expect(200).json();
        assert_eq!(me["user"]["username"], "bob");
        browser.post("/refresh").send().await.expect(200);
    }
    assert_eq!(sign_in_status(&stack, &bob).await, 200);
    assert_eq!(sign_in_status(&stack, &alice).await, 401);
    assert_eq!(sign_in_status(&stack, &Person { password: NEW.to_owned(), ..alice }).await, 200);
}

/// `pennersr/django-allauth#2413`, `pennersr/django-allauth#2508` (CVE-2019-19844), `rr-/TRCustoms#322`,
/// `django/djangopeople#89`: in other letters it is the same account, and the mail goes to the address that the account has;
/// to a look-alike goes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_mail_goes_to_the_account_s_address_however_it_is_written() {
    let stack = Stack::start().await;
    let mike = Person { email: "mike@example.test".to_owned(), ..Person::named("Mike") };
    let (signup_id, mail) = stack.sign_up(&mike).await;
    stack.verify(json!({"signup_id": signup_id, "code": mail.code()})).await.expect(201);
    for who in [
        json!({"email": "mike@example.test"}),
        json!({"email": " MIKE@EXAMPLE.TEST\n"}),
        json!({"username": "mike"}),
        json!({"username": "ＭＩＫＥ "}),
    ] {
        let mail = forgot(&stack, who.clone(), &mike.email).await;
        assert!(mail.is_some(), "{who}");
    }
    let seen = stack.mails().await.len();
    for who in [json!({"email": "mıke@example.test"}), json!({"email": "mike@example.test\u{301}"})] {
        let mut body = who;
        body["client"] = json!("app");
        let answer = stack.client().post("/password/forgot").json(body).send().await;
        assert!(matches!(answer.status, 202 | 422), "{}", answer.text());
    }
    let mails = stack.mails().await.split_off(seen);
    assert!(mails.iter().all(|mail| !mail.has_secrets()), "{mails:?}");
}

/// `supabase/auth#1146`, `supabase/auth#1289`, `better-auth/better-auth#7196`: whoever mistypes the new address asks for the
/// right one, and whoever reads the mistyped one gets nothing, neither before nor after.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_address_keeps_nobody_and_gives_nothing_away() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let mistyped = change_to(&stack, &app.access, "aliceee@new.example").await;
    let stranger = stack.browser();
    let token = mistyped.token();
    let press = async || stranger.post("/email/confirm").form(&[("token", token.as_str())]).send().await.status;
    assert_eq!(press().await, 401);
    assert!(forgot(&stack, json!({"email": "aliceee@new.example"}), "aliceee@new.example").await.is_none());
    let right = change_to(&stack, &app.access, "alice@new.example").await;
    assert_eq!(confirm(&stack, &app.access, &right).await, 204);
    // Not even its owner brings the other one back.
    assert_eq!(press().await, 401);
    assert_eq!(confirm(&stack, &app.access, &mistyped).await, 400);
    assert_eq!(email_of(&stack, &app.access).await, json!("alice@new.example"));
    assert_eq!(sign_in_status(&stack, &alice).await, 200);
}

/// `better-auth/better-auth#5614`: a mail that came too late, or not at all, is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_confirmation_is_asked_for_again() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let first = change_to(&stack, &app.access, "alice@new.example").await;
    let second = change_to(&stack, &app.access, "alice@new.example").await;
    assert_ne!(first.token(), second.token());
    stack.clock.advance(86_400);
    let app = stack.app(&alice).await;
    for mail in [&first, &second] {
        assert_eq!(confirm(&stack, &app.access, mail).await, 400);
    }
    let third = change_to(&stack, &app.access, "alice@new.example").await;
    assert_eq!(confirm(&stack, &app.access, &third).await, 204);
    assert_eq!(email_of(&stack, &app.access).await, json!("alice@new.example"));
}

/// `supabase/auth#896`: whoever opens the link where they are not signed in is told so; it is not spent, nobody is signed
/// out, and once they have signed in it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_waits_for_who_signs_in_first() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let mail = change_to(&stack, &app.access, "alice@new.example").await;
    let token = mail.token();
    let browser = stack.browser();
    let press = || browser.post("/email/confirm").form(&[("token", &token)]);
    let html = press().send().await.expect(401).text();
    assert!(html.contains("role=\"alert\""), "{html}");
    stack.me(&app.access).await.expect(200);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    press().send().await.expect(303);
    let me = browser.get("/me").send().await.expect(200).json();
    assert_eq!(me["user"]["email"], "alice@new.example");
    stack.refresh(&app.refresh, None).await.expect(200);
}

/// `better-auth/better-auth#3882`, `supabase/supabase#6702`, `usenotra/notra#846`: on no other device, and on no route of
/// one's own, is anybody signed in to a deleted account. `supabase/auth#1518`, `supabase/auth#1550`,
/// `supertokens/supertokens-auth-react#580`: a browser that still has its cookies logs out, signs up and signs in as any
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_with_cookies_of_a_deleted_account_works_on() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let others = [stack.signed_in(&alice).await, stack.remembered(&alice).await];
    for browser in &others {
        browser.get("/ping").send().await.expect(200);
    }
    stack.delete_account(&app.access).await.expect(204);
    stack.client().get("/ping").bearer(&app.access).send().await.expect(403);
    for browser in &others {
        browser.get("/ping").send().await.expect(403);
        browser.get("/me").send().await.expect_problem(401, "session_ended");
        browser.post("/refresh").send().await.expect_problem(401, "session_ended");
        let copy = browser.copy();
        copy.post("/logout").send().await.expect(204);
        assert_eq!(copy.cookie_names(), Vec::<String>::new());
    }
    // Under the same name and address, with the old cookies still there.
    let [browser, other] = others;
    browser.post("/signup").json(alice.signup("browser")).send().await.expect(202);
    let code = stack.secrets_to(&alice.email).await.code();
    let answer = browser.post("/verify").json(json!({"code": code})).send().await.expect(201);
    assert_ne!(answer.json()["user"]["id"], json!(app.user_id));
    browser.get("/me").send().await.expect(200);
    other.post("/login").json(alice.login("browser")).send().await.expect(200);
    other.get("/ping").send().await.expect(200);
    // What is left of the old account is swept away, and not the new one's.
    stack.clock.advance(60);
    stack.local.settled().await;
    for browser in [&browser, &other] {
        browser.get("/me").send().await.expect(200);
    }
    stack.me(&app.access).await.expect_problem(401, "session_ended");
}

/// `apinf/platform#2031`: links mailed to an account that was deleted open nothing of the next one with its name and
/// address.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_deleted_account_open_nothing_of_the_next() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, signup) = stack.sign_up(&alice).await;
    let proof = json!({"signup_id": signup_id, "code": signup.code(), "client": "app"});
    let app = AppSession::of(&stack.verify(proof.clone()).await.expect(201));
    let old_reset = forgot(&stack, json!({"username": "alice"}), &alice.email).await.expect("a link");
    let old_change = change_to(&stack, &app.access, "mallory@example.test").await;
    stack.delete_account(&app.access).await.expect(204);

    let (next, session) = stack.person_with_session("alice").await;
    assert_eq!((&next.username, &next.email), (&alice.username, &alice.email));
    assert_ne!(session.user_id, app.user_id);
    assert_eq!(reset(&stack, &old_reset, NEW).await, 400);
    assert_eq!(confirm(&stack, &session.access, &old_change).await, 400);
    for old in [proof, json!({"token": signup.token(), "password": alice.password, "client": "app"})] {
        stack.verify(old).await.expect_problem(400, "invalid_verification");
    }
    assert_eq!(email_of(&stack, &session.access).await, json!(next.email));
    assert_eq!(sign_in_status(&stack, &next).await, 200);
}

/// `pennersr/django-allauth#2360`: whoever has forgotten the password before the address was ever verified gets no way in by
/// it, and the sign-up goes on as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_the_sign_up_is_verified_is_no_way_in() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, signup) = stack.sign_up(&alice).await;
    assert!(forgot(&stack, json!({"email": alice.email}), &alice.email).await.is_none());
    assert!(forgot(&stack, json!({"username": "alice"}), &alice.email).await.is_none());
    assert_eq!(sign_in_status(&stack, &alice).await, 401);
    stack.verify(json!({"signup_id": signup_id, "code": signup.code()})).await.expect(201);
    assert_eq!(sign_in_status(&stack, &alice).await, 200);
}

/// `better-auth/better-auth#10632`: a password that is refused leaves link and code as they were, whatever it is refused
/// for: its length, the list, or that it is made of the account's own name, of which nothing is said before the proof.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_burns_no_link() {
    let stack = Stack::start().await;
    let alice = Person::named("alice.lidell");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    stack.verify(json!({"signup_id": signup_id, "code": mail.code()})).await.expect(201);
    let mail = forgot(&stack, json!({"email": alice.email}), &alice.email).await.expect("a link");
    for refused in ["short", "password123", "alice.lidell", "Alice.Lidell@example.test"] {
        assert_eq!(reset(&stack, &mail, refused).await, 422, "{refused}");
    }
    assert_eq!(reset(&stack, &mail, NEW).await, 204);
    // The one that there was is as good as any other.
    let mail = forgot(&stack, json!({"email": alice.email}), &alice.email).await.expect("a link");
    assert_eq!(reset(&stack, &mail, NEW).await, 204);
    assert_eq!(sign_in_status(&stack, &Person { password: NEW.to_owned(), ..alice }).await, 200);
}
