//! The flows: each route and each function, in the cases that differ in what they read or write.

#![expect(clippy::too_many_lines, reason = "lists, whose every element stands by itself")]

use reqwest::Method;
use serde_json::{Value, json};

use super::scene::{BoxFuture, Flow, Holder, HttpRequest, Request, Scene};
use super::table::{Tables, drain, records, text};
use crate::consistency::read;
use crate::email::{asked, moved, undo_token};
use crate::harness::{AppSession, Client, Mail, Person, Stack, retry_key};
use crate::mail_events::bounce;
use crate::password_reset::{forgotten, wrong};

const ALICE: &str = "alice@example.test";
const OTHER: &str = "bee@example.test";
const NEW: &str = "nine loud otters";
const WEEK: u64 = 604_800;

/// All flows.
pub(super) fn flows() -> Vec<Flow> {
    [
        signups(),
        verifications(),
        logins(),
        refreshes(),
        logouts(),
        profiles(),
        passwords(),
        resets(),
        addresses(),
        others(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn flow(of: &'static str, case: &'static str, set_up: for<'a> fn(&'a Stack) -> BoxFuture<'a, Scene>) -> Flow {
    Flow { of, case, parameters: &[], set_up }
}

fn post(path: &str, body: Value) -> HttpRequest {
    HttpRequest::app(Method::POST, path).json(body)
}

fn browser_post(browser: &Client, path: &str, body: Value) -> HttpRequest {
    HttpRequest::browser(browser, Method::POST, path).json(body)
}

fn get(path: &str) -> HttpRequest {
    HttpRequest::app(Method::GET, path)
}

fn app(session: &AppSession) -> Holder {
    Holder::App(session.access.clone())
}

fn browser(browser: &Client) -> Holder {
    Holder::Browser(browser.copy())
}

/// Asserts that the account with this address has this password.
async fn assert_password(stack: &Stack, email: &str, password: &str) {
    let body = json!({"email": email, "password": password, "client": "app"});
    stack.client().post("/login").json(body).send().await.expect(200);
}

/// Asserts that the only user has this attribute.
async fn assert_user(stack: &Stack, name: &str, value: &str) {
    let tables = Tables::read(stack.calls()).await;
    let values: Vec<&str> = tables.with("USER#").map(|user| text(user, name)).collect();
    assert_eq!(values, [value], "{name}");
}

fn signups() -> Vec<Flow> {
    vec![
        flow("POST /signup", "app", |stack| {
            Box::pin(async move {
                stack.person("warm").await;
                let scene = post("/signup", Person::named("alice").signup("app")).gives(202, "");
                scene.mails(ALICE, 1).telling_each_time().spending(1)
            })
        }),
        flow("POST /signup", "browser", |stack| {
            Box::pin(async move {
                stack.person("warm").await;
                let body = Person::named("alice").signup("browser");
                let scene = browser_post(&stack.browser(), "/signup", body).gives(202, "");
                scene.mails(ALICE, 1).telling_each_time().spending(1)
            })
        }),
        flow("POST /signup", "an address that is taken", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let taken = Person { email: alice.email, ..Person::named("bob") };
                post("/signup", taken.signup("app")).gives(202, "").mails(ALICE, 1).telling_each_time().spending(1)
            })
        }),
        flow("POST /signup", "a name that is taken", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let taken = Person { username: alice.username, ..Person::named("bob") };
                post("/signup", taken.signup("app")).gives(409, "username_taken").forgiving(1)
            })
        }),
        flow("POST /signup", "a new instance", |stack| {
            Box::pin(async move {
                stack.person("warm").await;
                let scene = post("/signup", Person::named("alice").signup("app")).gives(202, "");
                scene.mails(ALICE, 1).telling_each_time().spending(1).cold()
            })
        }),
        flow("POST /signup", "the very first request", |_| {
            Box::pin(async move {
                let scene = post("/signup", Person::named("alice").signup("app")).gives(202, "");
                scene.mails(ALICE, 1).telling_each_time().spending(1).cold()
            })
        }),
        flow("POST /signup/resend", "app", |stack| {
            Box::pin(async move {
                let (signup_id, _) = stack.sign_up(&Person::named("alice")).await;
                stack.clock.advance(60);
                let scene = post("/signup/resend", json!({"signup_id": signup_id})).gives(202, "");
                scene.again(429, "rate_limited").mails(ALICE, 1).spending(1)
            })
        }),
        flow("POST /signup/resend", "a sign-up that there is not", |stack| {
            Box::pin(async move {
                stack.person("warm").await;
                let scene = post("/signup/resend", json!({"signup_id": "nothing"})).gives(202, "");
                scene.again(429, "rate_limited").spending(1)
            })
        }),
    ]
}

/// Somebody who has signed up from an app: the `signup_id`, and the mail.
async fn signed_up(stack: &Stack) -> (Person, String, Mail) {
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    (alice, signup_id, mail)
}

fn verifications() -> Vec<Flow> {
    async fn page(stack: &Stack, method: Method) -> Scene {
        let (_, _, mail) = signed_up(stack).await;
        let path = format!("/verify?token={}", mail.token());
        HttpRequest::app(method, &path).gives(200, "")
    }
    fn made(scene: Scene, again: u16) -> Scene {
        scene.again(again, "").event("user.created").sessions(1)
    }
    vec![
        flow("GET /verify", "page", |stack| Box::pin(page(stack, Method::GET))),
        flow("HEAD /verify", "page", |stack| Box::pin(page(stack, Method::HEAD))),
        flow("POST /verify", "code, app", |stack| {
            Box::pin(async move {
                let (_, signup_id, mail) = signed_up(stack).await;
                let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
                made(post("/verify", proof).gives(201, ""), 201)
            })
        }),
        flow("POST /verify", "code, a new instance", |stack| {
            Box::pin(async move {
                let (_, signup_id, mail) = signed_up(stack).await;
                let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
                made(post("/verify", proof).gives(201, ""), 201).cold()
            })
        }),
        flow("POST /verify", "link, browser", |stack| {
            Box::pin(async move {
                let (alice, browser) = (Person::named("alice"), stack.browser());
                browser.post("/signup").json(alice.signup("browser")).send().await.expect(202);
                let token = stack.mail_to(&alice.email).await.token();
                made(browser_post(&browser, "/verify", json!({"token": token})).gives(201, ""), 201)
            })
        }),
        flow("POST /verify", "link and password, app", |stack| {
            Box::pin(async move {
                let (alice, _, mail) = signed_up(stack).await;
                let proof = json!({"token": mail.token(), "password": alice.password, "client": "app"});
                made(post("/verify", proof).gives(201, ""), 201)
            })
        }),
        flow("POST /verify", "form", |stack| {
            Box::pin(async move {
                let (alice, _, mail) = signed_up(stack).await;
                let form = HttpRequest::browser(&stack.browser(), Method::POST, "/verify");
                let form = form.form(vec![("token", mail.token()), ("password", alice.password)]);
                made(form.gives(303, ""), 303)
            })
        }),
        flow("POST /verify", "another name", |stack| {
            Box::pin(async move {
                let (_, signup_id, mail) = signed_up(stack).await;
                let proof = json!({
                    "signup_id": signup_id, "code": mail.code(), "client": "app", "username": "alicia",
                });
                let scene = made(post("/verify", proof).gives(201, ""), 201);
                scene.goal(|stack| Box::pin(assert_user(stack, "username", "alicia")))
            })
        }),
        flow("POST /verify", "a browser of somebody else", |stack| {
            Box::pin(async move {
                let bob = stack.person("bob").await;
                let bobs = stack.signed_in(&bob).await;
                let (_, signup_id, mail) = signed_up(stack).await;
                let proof = json!({"signup_id": signup_id, "code": mail.code()});
                let scene = browser_post(&bobs, "/verify", proof).gives(201, "");
                made(scene, 201).sessions(2).dead([browser(&bobs)])
            })
        }),
        flow("POST /verify", "a wrong code", |stack| {
            Box::pin(async move {
                let (_, signup_id, mail) = signed_up(stack).await;
                let proof = json!({"signup_id": signup_id, "code": wrong(&mail.code(), 1), "client": "app"});
                post("/verify", proof).gives(400, "invalid_verification").spending(1)
            })
        }),
        flow("POST /verify", "a wrong password", |stack| {
            Box::pin(async move {
                let (_, _, mail) = signed_up(stack).await;
                let proof = json!({"token": mail.token(), "password": "not the password", "client": "app"});
                post("/verify", proof).gives(401, "invalid_credentials").spending(1)
            })
        }),
        flow("POST /verify", "an address that was taken meanwhile", |stack| {
            Box::pin(async move {
                let (alice, signup_id, mail) = signed_up(stack).await;
                let (other, other_mail) = stack.sign_up(&Person { username: "bob".to_owned(), ..alice }).await;
                stack.verify(json!({"signup_id": other, "code": other_mail.code(), "client": "app"})).await.expect(201);
                let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
                post("/verify", proof).gives(409, "email_taken").sessions(1)
            })
        }),
    ]
}

fn logins() -> Vec<Flow> {
    vec![
        flow("POST /login", "app", |stack| {
            Box::pin(async move {
                let (alice, first) = stack.person_with_session("alice").await;
                let scene = post("/login", alice.login("app")).gives(200, "");
                scene.mails(ALICE, 1).telling_each_time().forgiving(1).alive([app(&first)])
            })
        }),
        flow("POST /login", "a new instance", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let scene = post("/login", alice.login("app")).gives(200, "");
                scene.mails(ALICE, 1).telling_each_time().forgiving(1).cold()
            })
        }),
        flow("POST /login", "browser", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let scene = browser_post(&stack.browser(), "/login", alice.login("browser")).gives(200, "");
                scene.mails(ALICE, 1).telling_each_time().forgiving(1)
            })
        }),
        flow("POST /login", "a known browser, in place of a session", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let known = stack.signed_in(&alice).await;
                browser_post(&known, "/login", alice.remembered()).gives(200, "").forgiving(1).dead([browser(&known)])
            })
        }),
        flow("POST /login", "no notice", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                post("/login", json!({"email": alice.email, "password": alice.password, "client": "app"}))
                    .gives(200, "")
                    .forgiving(1)
            })
        })
        .with(&[("NewDeviceNotice", "false")]),
        flow("POST /login", "one session too many", |stack| {
            Box::pin(async move {
                let (alice, first) = stack.person_with_session("alice").await;
                let scene = post("/login", alice.login("app")).gives(200, "");
                scene.mails(ALICE, 1).telling_each_time().forgiving(1).dead([app(&first)]).sessions(1)
            })
        })
        .with(&[("MaxSessions", "1")]),
        flow("POST /login", "a wrong password", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let wrong = Person { password: "not the password".to_owned(), ..alice };
                post("/login", wrong.login("app")).gives(401, "invalid_credentials").spending(1)
            })
        }),
        flow("POST /login", "nobody", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                post("/login", Person::named("nobody").login("app")).gives(401, "invalid_credentials").spending(1)
            })
        }),
    ]
}

fn refreshes() -> Vec<Flow> {
    fn refresh(session: &AppSession) -> HttpRequest {
        post("/refresh", json!({"refresh": session.refresh}))
    }
    vec![
        flow("POST /refresh", "app with a key", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                refresh(&session).keyed().gives(200, "").again(200, "").sessions(1)
            })
        }),
        flow("POST /refresh", "a new instance", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                refresh(&session).keyed().gives(200, "").again(200, "").sessions(1).cold()
            })
        }),
        // What an app owes is a key: without one nobody tells its repetition from a thief's.
        flow("POST /refresh", "app without a key", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let scene = refresh(&session).gives(200, "").again(401, "token_reused").again(401, "session_ended");
                scene.may_mail(ALICE).may_have_event("session.reused")
            })
        }),
        flow("POST /refresh", "browser with a key", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let browser = stack.signed_in(&alice).await;
                browser_post(&browser, "/refresh", json!({})).keyed().gives(200, "").again(200, "").sessions(2)
            })
        }),
        flow("POST /refresh", "browser without a key", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let browser = stack.signed_in(&alice).await;
                browser_post(&browser, "/refresh", json!({})).gives(200, "").again(200, "").sessions(2)
            })
        }),
        flow("POST /refresh", "remembered browser", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let browser = stack.remembered(&alice).await;
                browser_post(&browser, "/refresh", json!({})).gives(200, "").again(200, "").sessions(2)
            })
        }),
        flow("POST /refresh", "a token that was used elsewhere", |stack| {
            Box::pin(async move {
                let (_, first) = stack.person_with_session("alice").await;
                let second = AppSession::of(&stack.refresh(&first.refresh, Some(&retry_key())).await.expect(200));
                let scene = refresh(&first).gives(401, "token_reused").again(401, "session_ended");
                scene.mails(ALICE, 1).event("session.reused").dead([app(&second)]).sessions(0)
            })
        }),
        flow("POST /refresh", "a cookie that was used elsewhere", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let (thief, owner) = {
                    let browser = stack.remembered(&alice).await;
                    (browser.copy(), browser)
                };
                owner.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
                let scene = browser_post(&thief, "/refresh", json!({})).keyed();
                let scene = scene.gives(401, "token_reused").again(401, "session_ended");
                scene.mails(ALICE, 1).event("session.reused").dead([browser(&owner)]).sessions(1)
            })
        }),
        flow("POST /refresh", "an ended session", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                stack.client().post("/logout").bearer(&session.access).send().await.expect(204);
                refresh(&session).keyed().gives(401, "session_ended")
            })
        }),
    ]
}

fn logouts() -> Vec<Flow> {
    vec![
        flow("POST /logout", "app", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let other = stack.app(&alice).await;
                let scene = post("/logout", json!({"refresh": session.refresh})).gives(204, "").again(204, "");
                scene.dead([app(&session)]).alive([app(&other)])
            })
        }),
        flow("POST /logout", "browser", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let remembered = stack.remembered(&alice).await;
                let scene = browser_post(&remembered, "/logout", json!({})).gives(204, "").again(204, "");
                scene.dead([browser(&remembered)]).sessions(1)
            })
        }),
        flow("POST /logout", "everywhere", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let other = stack.remembered(&alice).await;
                let request = post("/logout", json!({"everywhere": true})).bearer(&session.access);
                request.gives(204, "").again(204, "").dead([app(&session), browser(&other)])
            })
        }),
    ]
}

/// Somebody whose browser shows an access cookie that was copied: it has refreshed twice since.
async fn copied(stack: &Stack) -> (Client, Client) {
    let alice = stack.person("alice").await;
    let owner = stack.signed_in(&alice).await;
    let thief = owner.copy();
    for _ in 0..2 {
        owner.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
    }
    (thief, owner)
}

fn profiles() -> Vec<Flow> {
    fn patch(session: &AppSession, body: Value) -> HttpRequest {
        HttpRequest::app(Method::PATCH, "/me").json(body).bearer(&session.access)
    }
    fn delete(session: &AppSession) -> HttpRequest {
        HttpRequest::app(Method::DELETE, "/me").bearer(&session.access)
    }
    vec![
        flow("GET /me", "app", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                get("/me").bearer(&session.access).gives(200, "").alive([app(&session)])
            })
        }),
        flow("GET /me", "a new instance", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                get("/me").bearer(&session.access).gives(200, "").cold()
            })
        }),
        flow("GET /me", "browser whose session is due", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let due = stack.signed_in(&alice).await;
                stack.clock.advance(1200);
                let scene = HttpRequest::browser(&due, Method::GET, "/me").gives(200, "").repeated();
                scene.alive([browser(&due)])
            })
        }),
        // Who reads it ends nothing; what `renew` could not end, the next request has it end.
        flow("GET /me", "a cookie that was used elsewhere", |stack| {
            Box::pin(async move {
                let (thief, owner) = copied(stack).await;
                let scene = HttpRequest::browser(&thief, Method::GET, "/me").gives(401, "token_reused").repeated();
                let scene = scene.again(401, "session_ended");
                scene.mails(ALICE, 1).event("session.reused").dead([browser(&owner)]).sessions(1)
            })
        }),
        flow("PATCH /me", "another name", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let scene = patch(&session, json!({"username": "alicia", "locale": "ko"})).gives(200, "");
                let scene = scene.again(200, "").mails(ALICE, 1).event("user.updated");
                scene.goal(|stack| Box::pin(assert_user(stack, "username", "alicia")))
            })
        }),
        flow("PATCH /me", "another language, browser", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let browser = stack.signed_in(&alice).await;
                let request = HttpRequest::browser(&browser, Method::PATCH, "/me").json(json!({"locale": "ko"}));
                let scene = request.gives(200, "").again(200, "").event("user.updated");
                scene.goal(|stack| Box::pin(assert_user(stack, "locale", "ko")))
            })
        }),
        flow("PATCH /me", "a name that is taken", |stack| {
            Box::pin(async move {
                stack.person("bob").await;
                let (_, session) = stack.person_with_session("alice").await;
                patch(&session, json!({"username": "bob"})).gives(409, "username_taken")
            })
        }),
        flow("DELETE /me", "app", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let other = stack.remembered(&alice).await;
                let scene = delete(&session).gives(204, "").again(401, "session_ended");
                let scene = scene.mails(ALICE, 1).event("user.deleted").sessions(0);
                scene.dead([app(&session), browser(&other)])
            })
        }),
        flow("DELETE /me", "browser", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let deleted = stack.signed_in(&alice).await;
                let scene = HttpRequest::browser(&deleted, Method::DELETE, "/me").gives(204, "");
                let scene = scene.again(401, "session_ended").mails(ALICE, 1).event("user.deleted");
                scene.sessions(0).dead([browser(&deleted)])
            })
        }),
        flow("DELETE /me", "while an undo is open", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                moved(stack, &session.access, OTHER).await;
                let scene = delete(&session).gives(204, "").again(401, "session_ended");
                let scene = scene.waiting(1).dead([app(&session)]);
                scene.goal(|stack| Box::pin(assert_user(stack, "status", "deleting")))
            })
        }),
        flow("GET /me/export", "app", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                get("/me/export").bearer(&session.access).gives(200, "")
            })
        }),
        flow("GET /sessions", "app", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                get("/sessions").bearer(&session.access).gives(200, "")
            })
        }),
        flow("DELETE /sessions/{id}", "another one", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let other = stack.app(&alice).await;
                let path = format!("/sessions/{}", other.session_id);
                let request = HttpRequest::app(Method::DELETE, &path).bearer(&session.access);
                request.gives(204, "").again(204, "").dead([app(&other)]).alive([app(&session)])
            })
        }),
        flow("DELETE /sessions/{id}", "its own", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let path = format!("/sessions/{}", session.session_id);
                let request = HttpRequest::app(Method::DELETE, &path).bearer(&session.access);
                request.gives(204, "").again(401, "session_ended").dead([app(&session)]).sessions(0)
            })
        }),
    ]
}

fn passwords() -> Vec<Flow> {
    fn reauthenticate(alice: &Person, session: &AppSession) -> HttpRequest {
        post("/reauthenticate", json!({"password": alice.password})).bearer(&session.access)
    }
    fn change(alice: &Person, session: &AppSession) -> HttpRequest {
        let body = json!({"password": alice.password, "new_password": NEW});
        post("/password/change", body).bearer(&session.access)
    }
    fn changed(scene: Scene) -> Scene {
        let scene = scene.mails(ALICE, 1).event("password.changed");
        scene.goal(|stack| Box::pin(assert_password(stack, ALICE, NEW)))
    }
    vec![
        flow("POST /reauthenticate", "app with a key", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let scene = reauthenticate(&alice, &session).keyed().gives(200, "").again(200, "");
                scene.dead([app(&session)]).sessions(1)
            })
        }),
        // Without a key nobody tells its repetition from another's.
        flow("POST /reauthenticate", "app without a key", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let scene = reauthenticate(&alice, &session).gives(200, "").again(401, "session_ended");
                scene.dead([app(&session)]).sessions(1)
            })
        }),
        flow("POST /reauthenticate", "browser with a key", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let asked = stack.signed_in(&alice).await;
                let request = browser_post(&asked, "/reauthenticate", json!({"password": alice.password}));
                let scene = request.keyed().gives(200, "").again(200, "");
                scene.dead([browser(&asked)]).sessions(2)
            })
        }),
        flow("POST /reauthenticate", "a wrong password", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let wrong = Person { password: "not the password".to_owned(), ..alice };
                let scene = reauthenticate(&wrong, &session).gives(403, "wrong_password");
                scene.spending(1).alive([app(&session)])
            })
        }),
        flow("POST /password/change", "app with a key", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let other = stack.remembered(&alice).await;
                let scene = change(&alice, &session).keyed().gives(200, "").again(200, "");
                changed(scene.dead([app(&session), browser(&other)]))
            })
        }),
        flow("POST /password/change", "app without a key", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let scene = change(&alice, &session).gives(200, "").again(401, "session_ended");
                changed(scene.dead([app(&session)]))
            })
        }),
        flow("POST /password/change", "a wrong password", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let wrong = Person { password: "not the password".to_owned(), ..alice };
                let scene = change(&wrong, &session).gives(403, "wrong_password");
                scene.spending(1).alive([app(&session)])
            })
        }),
    ]
}

fn resets() -> Vec<Flow> {
    fn forgot(body: Value) -> Scene {
        post("/password/forgot", body).gives(202, "").telling_each_time().spending(1)
    }
    fn reset(scene: Scene, again: u16, session: &AppSession) -> Scene {
        let scene = scene.again(again, "").mails(ALICE, 1).event("password.changed").dead([app(session)]);
        scene.goal(|stack| Box::pin(assert_password(stack, ALICE, NEW)))
    }
    async fn page(stack: &Stack, method: Method) -> Scene {
        let alice = stack.person("alice").await;
        let (_, mail) = forgotten(stack, &alice).await;
        HttpRequest::app(method, &format!("/password/reset?token={}", mail.token())).gives(200, "")
    }
    vec![
        flow("POST /password/forgot", "an address", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                forgot(json!({"email": ALICE, "client": "app"})).mails(ALICE, 1)
            })
        }),
        flow("POST /password/forgot", "a name, browser", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                let request = browser_post(&stack.browser(), "/password/forgot", json!({"username": "alice"}));
                request.gives(202, "").telling_each_time().spending(1).mails(ALICE, 1)
            })
        }),
        flow("POST /password/forgot", "nobody's address", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                forgot(json!({"email": OTHER, "client": "app"})).mails(OTHER, 1)
            })
        }),
        flow("POST /password/forgot", "nobody's name", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                forgot(json!({"username": "nobody", "client": "app"}))
            })
        }),
        flow("GET /password/reset", "page", |stack| Box::pin(page(stack, Method::GET))),
        flow("HEAD /password/reset", "page", |stack| Box::pin(page(stack, Method::HEAD))),
        flow("POST /password/reset", "link", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let (_, mail) = forgotten(stack, &alice).await;
                let scene = post("/password/reset", json!({"token": mail.token(), "password": NEW})).gives(204, "");
                reset(scene, 204, &session)
            })
        }),
        flow("POST /password/reset", "a new instance", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let (_, mail) = forgotten(stack, &alice).await;
                let scene = post("/password/reset", json!({"token": mail.token(), "password": NEW})).gives(204, "");
                reset(scene, 204, &session).cold()
            })
        }),
        flow("POST /password/reset", "code", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let (reset_id, mail) = forgotten(stack, &alice).await;
                let body = json!({"reset_id": reset_id, "code": mail.code(), "password": NEW});
                reset(post("/password/reset", body).gives(204, ""), 204, &session)
            })
        }),
        flow("POST /password/reset", "form", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let (_, mail) = forgotten(stack, &alice).await;
                let form = HttpRequest::browser(&stack.browser(), Method::POST, "/password/reset");
                let form = form.form(vec![("token", mail.token()), ("password", NEW.to_owned())]);
                reset(form.gives(303, ""), 303, &session)
            })
        }),
        flow("POST /password/reset", "a wrong code", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                let (reset_id, mail) = forgotten(stack, &alice).await;
                let body = json!({"reset_id": reset_id, "code": wrong(&mail.code(), 1), "password": NEW});
                let scene = post("/password/reset", body).gives(400, "invalid_verification");
                scene.spending(1).alive([app(&session)])
            })
        }),
    ]
}

fn addresses() -> Vec<Flow> {
    fn ask(session: &AppSession) -> Scene {
        let request = post("/email/change", json!({"email": OTHER})).bearer(&session.access);
        request.gives(202, "").telling_each_time().spending(1).mails(OTHER, 1).mails(ALICE, 1)
    }
    fn confirm(session: &AppSession, body: Value) -> HttpRequest {
        post("/email/confirm", body).bearer(&session.access)
    }
    fn confirmed(scene: Scene) -> Scene {
        let scene = scene.mails(ALICE, 1).event("email.changed");
        scene.goal(|stack| Box::pin(assert_user(stack, "email", OTHER)))
    }
    fn undone(scene: Scene, again: u16) -> Scene {
        // That it is undone, and a way back in.
        let scene = scene.again(again, "").mails(ALICE, 2).event("email.changed");
        scene.goal(|stack| Box::pin(assert_user(stack, "email", ALICE)))
    }
    async fn confirmation(stack: &Stack, method: Method) -> Scene {
        let (_, session) = stack.person_with_session("alice").await;
        let (_, mail) = asked(stack, &session.access, OTHER).await;
        HttpRequest::app(method, &format!("/email/confirm?token={}", mail.token())).gives(200, "")
    }
    async fn way_back(stack: &Stack, method: Method) -> Scene {
        let (_, session) = stack.person_with_session("alice").await;
        moved(stack, &session.access, OTHER).await;
        let path = format!("/email/undo?token={}", undo_token(stack, ALICE).await);
        HttpRequest::app(method, &path).gives(200, "")
    }
    vec![
        flow("POST /email/change", "a free address", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                ask(&session)
            })
        }),
        flow("POST /email/change", "an address that is taken", |stack| {
            Box::pin(async move {
                let bee = Person { email: OTHER.to_owned(), ..Person::named("bob") };
                let (signup_id, mail) = stack.sign_up(&bee).await;
                let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
                stack.verify(proof).await.expect(201);
                let (_, session) = stack.person_with_session("alice").await;
                ask(&session)
            })
        }),
        flow("GET /email/confirm", "page", |stack| Box::pin(confirmation(stack, Method::GET))),
        flow("HEAD /email/confirm", "page", |stack| Box::pin(confirmation(stack, Method::HEAD))),
        flow("POST /email/confirm", "link", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let (_, mail) = asked(stack, &session.access, OTHER).await;
                confirmed(confirm(&session, json!({"token": mail.token()})).gives(204, "").again(204, ""))
            })
        }),
        flow("POST /email/confirm", "code", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let (change_id, mail) = asked(stack, &session.access, OTHER).await;
                let body = json!({"change_id": change_id, "code": mail.code()});
                confirmed(confirm(&session, body).gives(204, "").forgiving(1).again(204, ""))
            })
        }),
        flow("POST /email/confirm", "form", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let browser = stack.signed_in(&alice).await;
                let (_, mail) = {
                    let session = stack.app(&alice).await;
                    asked(stack, &session.access, OTHER).await
                };
                let form = HttpRequest::browser(&browser, Method::POST, "/email/confirm");
                confirmed(form.form(vec![("token", mail.token())]).gives(303, "").again(303, ""))
            })
        }),
        flow("POST /email/confirm", "a wrong code", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let (change_id, mail) = asked(stack, &session.access, OTHER).await;
                let body = json!({"change_id": change_id, "code": wrong(&mail.code(), 1)});
                confirm(&session, body).gives(400, "invalid_verification").spending(1)
            })
        }),
        flow("GET /email/undo", "page", |stack| Box::pin(way_back(stack, Method::GET))),
        flow("HEAD /email/undo", "page", |stack| Box::pin(way_back(stack, Method::HEAD))),
        flow("POST /email/undo", "link", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                moved(stack, &session.access, OTHER).await;
                let token = undo_token(stack, ALICE).await;
                let scene = post("/email/undo", json!({"token": token})).gives(204, "");
                undone(scene, 204).dead([app(&session)])
            })
        }),
        flow("POST /email/undo", "form, with a later change", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                moved(stack, &session.access, OTHER).await;
                let token = undo_token(stack, ALICE).await;
                moved(stack, &session.access, "sea@example.test").await;
                let form = HttpRequest::browser(&stack.browser(), Method::POST, "/email/undo");
                let scene = form.form(vec![("token", token)]).gives(303, "");
                undone(scene, 303).dead([app(&session)])
            })
        }),
        flow("POST /email/undo", "an account that waits to be deleted", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                moved(stack, &session.access, OTHER).await;
                let token = undo_token(stack, ALICE).await;
                stack.client().delete("/me").bearer(&session.access).send().await.expect(204);
                let scene = post("/email/undo", json!({"token": token})).gives(204, "");
                undone(scene, 204).about_outbox().waiting(1)
            })
        }),
    ]
}

/// What the authorizer is asked of an app or a browser.
fn authorizer_event(stack: &Stack, bearer: Option<&str>, cookie: Option<&str>) -> Value {
    let mut event: Value = serde_json::from_str(&read("events/authorizer.json")).expect("JSON");
    event["headers"]["host"] = json!(stack.url());
    let headers = event["headers"].as_object_mut().expect("headers");
    headers.remove("authorization");
    if let Some(bearer) = bearer {
        event["headers"]["authorization"] = json!(format!("Bearer {bearer}"));
    }
    if let Some(cookie) = cookie {
        event["cookies"] = json!([format!("access={cookie}")]);
    }
    event
}

/// The items that wait in the outbox, as the stream tells of them.
async fn waiting(stack: &Stack) -> Value {
    records(&Tables::read(stack.calls()).await.outbox())
}

async fn settle(stack: &Stack) {
    assert_eq!(drain(stack, 0).await, 0);
}

fn others() -> Vec<Flow> {
    async fn marked(stack: &Stack) {
        let tables = Tables::read(stack.calls()).await;
        let marks = tables.with("EMAIL#").filter(|item| item.get("undeliverable_until").is_some()).count();
        assert_eq!(marks, 1);
    }
    vec![
        flow("GET /.well-known/jwks.json", "keys", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                get("/.well-known/jwks.json").gives(200, "").cold()
            })
        }),
        flow("GET /.well-known/openid-configuration", "configuration", |_| {
            Box::pin(async move { get("/.well-known/openid-configuration").gives(200, "").cold() })
        }),
        flow("authorizer", "app", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let event = authorizer_event(stack, Some(&session.access), None);
                Scene::new(Request::event("authorizer", event), 200, "true")
            })
        }),
        flow("authorizer", "a new instance", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                let event = authorizer_event(stack, Some(&session.access), None);
                Scene::new(Request::event("authorizer", event), 200, "true").cold()
            })
        }),
        flow("authorizer", "browser whose session is due", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let due = stack.signed_in(&alice).await;
                stack.clock.advance(1200);
                let event = authorizer_event(stack, None, due.cookie("access").as_deref());
                Scene::new(Request::event("authorizer", event), 200, "true").alive([browser(&due)]).repeated()
            })
        }),
        flow("authorizer", "a cookie that was used elsewhere", |stack| {
            Box::pin(async move {
                let (thief, owner) = copied(stack).await;
                let event = authorizer_event(stack, None, thief.cookie("access").as_deref());
                let scene = Scene::new(Request::event("authorizer", event), 200, "false").repeated();
                scene.mails(ALICE, 1).event("session.reused").dead([browser(&owner)]).sessions(1)
            })
        }),
        flow("renew", "a session that is due", |stack| {
            Box::pin(async move {
                let alice = stack.person("alice").await;
                let due = stack.signed_in(&alice).await;
                stack.clock.advance(1200);
                let event = json!({"access": due.cookie("access"), "generation": 1});
                Scene::new(Request::event("renew", event), 200, "extended").alive([browser(&due)])
            })
        }),
        flow("renew", "a session whose cookie was used elsewhere", |stack| {
            Box::pin(async move {
                let (thief, owner) = copied(stack).await;
                let event = json!({"access": thief.cookie("access"), "generation": 3});
                let scene = Scene::new(Request::event("renew", event), 200, "ended").again(200, "unchanged");
                scene.mails(ALICE, 1).event("session.reused").dead([browser(&owner)]).sessions(1)
            })
        }),
        flow("outbox", "a mail with secrets", |stack| {
            Box::pin(async move {
                stack.client().post("/signup").json(Person::named("alice").signup("app")).send().await.expect(202);
                let event = waiting(stack).await;
                Scene::new(Request::event("outbox", event), 200, "").mails(ALICE, 1).about_outbox()
            })
        }),
        flow("outbox", "a mail with secrets, a new instance", |stack| {
            Box::pin(async move {
                stack.client().post("/signup").json(Person::named("alice").signup("app")).send().await.expect(202);
                let event = waiting(stack).await;
                Scene::new(Request::event("outbox", event), 200, "").mails(ALICE, 1).about_outbox().cold()
            })
        }),
        flow("outbox", "a mail and an event", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                settle(stack).await;
                let request = stack.client().patch("/me").bearer(&session.access);
                request.json(json!({"username": "alicia"})).send().await.expect(200);
                let event = waiting(stack).await;
                let scene = Scene::new(Request::event("outbox", event), 200, "");
                scene.mails(ALICE, 1).event("user.updated").about_outbox()
            })
        }),
        flow("outbox", "a deletion", |stack| {
            Box::pin(async move {
                let (alice, session) = stack.person_with_session("alice").await;
                stack.app(&alice).await;
                settle(stack).await;
                stack.client().delete("/me").bearer(&session.access).send().await.expect(204);
                let event = waiting(stack).await;
                let scene = Scene::new(Request::event("outbox", event), 200, "");
                scene.mails(ALICE, 1).event("user.deleted").sessions(0).about_outbox()
            })
        }),
        flow("outbox", "a deletion that has waited", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                moved(stack, &session.access, OTHER).await;
                settle(stack).await;
                stack.client().delete("/me").bearer(&session.access).send().await.expect(204);
                stack.clock.advance(WEEK);
                let event = waiting(stack).await;
                let scene = Scene::new(Request::event("outbox", event), 200, "");
                scene.mails(OTHER, 1).event("user.deleted").sessions(0).about_outbox()
            })
        }),
        flow("sweep", "an item that the stream has lost", |stack| {
            Box::pin(async move {
                stack.client().post("/signup").json(Person::named("alice").signup("app")).send().await.expect(202);
                Scene::new(Request::event("sweep", json!({})), 200, "").mails(ALICE, 1).about_outbox()
            })
        }),
        flow("mail-events", "somebody's address", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                let scene = Scene::new(Request::event("mail-events", bounce("Permanent", ALICE)), 200, "");
                scene.goal(|stack| Box::pin(marked(stack)))
            })
        }),
        flow("mail-events", "nobody's address", |_| {
            Box::pin(async move {
                let scene = Scene::new(Request::event("mail-events", bounce("Permanent", ALICE)), 200, "");
                scene.goal(|stack| Box::pin(marked(stack)))
            })
        }),
        flow("rotate-keys", "keys that are due", |stack| {
            Box::pin(async move {
                stack.person("alice").await;
                stack.clock.advance(31 * 86_400);
                Scene::new(Request::event("rotate-keys", json!({})), 200, "")
            })
        }),
        flow("rotate-keys", "at once", |stack| {
            Box::pin(async move {
                let (_, session) = stack.person_with_session("alice").await;
                stack.clock.advance(100);
                let scene = Scene::new(Request::event("rotate-keys", json!({"at_once": true})), 200, "");
                scene.alive([app(&session)])
            })
        }),
        flow("rotate-keys", "the very first", |_| {
            Box::pin(async move { Scene::new(Request::event("rotate-keys", json!({"fill": true})), 200, "") })
        }),
    ]
}
