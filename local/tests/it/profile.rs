//! `PATCH /me`: another name, another language.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use shared::account::Username;

use crate::deletion::events;
use crate::harness::tables::{items, text};
use crate::harness::{Answer, AppSession, Client, Person, Stack, at_once, claims};

impl Stack {
    /// Changes the profile from an app.
    pub(crate) async fn change(&self, access: &str, body: Value) -> Answer {
        self.client().patch("/me").bearer(access).json(body).send().await
    }
}

/// Who has which name, by the items that make names unique: key and owner.
async fn names(stack: &Stack) -> BTreeSet<(String, String)> {
    let items = items(stack, "UsersTable").await;
    let unique = items.iter().filter(|item| text(item, "sk") == "USERNAME");
    unique.map(|item| (text(item, "pk").to_owned(), text(item, "user_id").to_owned())).collect()
}

/// Who should have which name, by the users.
async fn names_of_users(stack: &Stack) -> BTreeSet<(String, String)> {
    let items = items(stack, "UsersTable").await;
    let users = items.iter().filter(|item| text(item, "sk") == "USER");
    let normalised = |name: &str| Username::parse(name).expect("a name").normalised();
    let of_user = |item| (format!("USERNAME#{}", normalised(text(item, "username"))), text(item, "pk")[5..].to_owned());
    users.map(of_user).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_name_and_language() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let body = json!({"username": "alice.kim", "locale": "ko-KR"});
    let answer = stack.change(&app.access, body).await.expect(200).expect_no_cookies();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {".user.id" => "[id]", ".session.id" => "[id]"}, @r#"
    {
      "session": {
        "created_at": "2100-01-01T00:00:00Z",
        "expires_at": "2100-06-30T00:00:00Z",
        "id": "[id]",
        "idle_expires_at": "2100-01-31T00:00:00Z",
        "kind": "app"
      },
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "id": "[id]",
        "locale": "ko",
        "username": "alice.kim"
      }
    }
    "#);
    assert_eq!(answer.json()["user"]["id"], json!(app.user_id));
    assert_eq!(answer.json()["session"]["id"], json!(app.session_id));
    assert_eq!(stack.me(&app.access).await.expect(200).json(), answer.json());
    assert_eq!(names(&stack).await, names_of_users(&stack).await);

    stack.client().post("/login").json(alice.login("app")).send().await.expect_problem(401, "invalid_credentials");
    let renamed = Person { username: "alice.kim".to_owned(), ..alice };
    stack.app(&renamed).await;
    // The name before is anyone's, the new one is taken.
    let other = Person { email: "other@example.test".to_owned(), ..Person::named("alice") };
    stack.sign_up(&other).await;
    let taken = Person { username: "Alice.Kim".to_owned(), ..Person::named("carol") };
    stack.client().post("/signup").json(taken.signup("app")).send().await.expect_problem(409, "username_taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_both_leaves_the_other() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    let user = |answer: &Answer| answer.json()["user"].clone();
    let answer = stack.change(&app.access, json!({"locale": "ko", "username": null})).await.expect(200);
    assert_eq!((&user(&answer)["username"], &user(&answer)["locale"]), (&json!("alice"), &json!("ko")));
    let answer = stack.change(&app.access, json!({"username": "alicia"})).await.expect(200);
    assert_eq!((&user(&answer)["username"], &user(&answer)["locale"]), (&json!("alicia"), &json!("ko")));
    // Nothing at all is no change, with a body and without.
    for call in [stack.client().patch("/me").json(json!({})), stack.client().patch("/me")] {
        let nothing = call.bearer(&app.access).send().await.expect(200).expect_no_cookies();
        assert_eq!(nothing.json(), answer.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_get_the_readable_cookie_and_the_token_keeps_the_name_until_it_is_refreshed() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browsers =
        [(stack.signed_in(&alice).await, 1800, "alice1"), (stack.remembered(&alice).await, 2_592_000, "alice2")];
    for (browser, idle, name) in browsers {
        stack.clock.advance(100);
        let access = browser.cookie("access").expect("a cookie");
        let answer = browser.patch("/me").json(json!({"username": name})).send().await.expect(200);
        let answer = answer.expect_cookies(&["username"], &[]);
        let cookie = answer.cookie("username").expect("a cookie");
        assert_eq!((cookie.value.as_str(), cookie.max_age()), (name, Some(idle - (stack.clock.now().unix() % 3600))));
        assert_eq!(cookie.attribute("httponly"), None);
        assert_eq!(browser.cookie("access"), Some(access.clone()), "the token is the one before");
        assert_ne!(claims(&access)["username"], name);
        browser.post("/refresh").send().await.expect(200);
        assert_eq!(claims(&browser.cookie("access").expect("a cookie"))["username"], name);
        assert_eq!(browser.cookie("username").as_deref(), Some(name));
        // A language alone touches no cookie.
        browser.patch("/me").json(json!({"locale": "ko"})).send().await.expect(200).expect_no_cookies();
    }
    let app = stack.app(&Person { username: "alice2".to_owned(), ..alice }).await;
    stack.change(&app.access, json!({"username": "alice3"})).await.expect(200).expect_no_cookies();
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    assert_eq!(claims(&app.access)["username"], "alice3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_extended_by_the_way_has_the_new_name_once() {
    let stack = Stack::with(&[("FreshAuthentication", "3600")]).await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    stack.clock.advance(1200);
    let answer = browser.patch("/me").json(json!({"username": "alicia"})).send().await.expect(200);
    let answer = answer.expect_cookies(&["access", "username"], &[]);
    let cookie = answer.cookie("username").expect("one cookie");
    assert_eq!((cookie.value.as_str(), cookie.max_age()), ("alicia", Some(1800)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_is_answered_the_same_and_writes_nothing() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    let browser = stack.signed_in(&alice).await;
    let change = async || {
        let body = json!({"username": "alicia", "locale": "ko"});
        browser.patch("/me").json(body).send().await.expect(200).expect_cookies(&["username"], &[])
    };
    let first = change().await;
    stack.proxy().reset();
    let second = change().await;
    assert_eq!(stack.proxy().cost().write_units.to_string(), "0");
    assert_eq!((second.json(), second.cookie("username")), (first.json(), first.cookie("username")));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_had() {
    let stack = Stack::with_database(&[("ReservedUsernames", "founder")]).await;
    let (_, app) = stack.person_with_session("alice").await;
    stack.person("bobby").await;
    let before = items(&stack, "UsersTable").await.len();
    for name in ["", "al", "a b c", "al\u{20ac}ce", &"a".repeat(33), "admin", "Founder", "support1"] {
        stack.change(&app.access, json!({"username": name})).await.expect_problem(422, "invalid_username");
    }
    // In another case, and what looks like it (UTS 39).
    for name in ["bobby", "BOBBY", "b\u{43e}bby", "b0bby"] {
        let answer = stack.change(&app.access, json!({"username": name})).await;
        let is_mixed = name.contains('\u{43e}');
        answer.expect_problem(
            if is_mixed { 422 } else { 409 },
            if is_mixed { "invalid_username" } else { "username_taken" },
        );
    }
    for body in [json!({"locale": "fr"}), json!({"locale": ""}), json!({"locale": 7}), json!({"email": "a@b.test"})] {
        stack.change(&app.access, body).await.expect_problem(400, "invalid_request");
    }
    assert_eq!(stack.me(&app.access).await.expect(200).json()["user"]["username"], "alice");
    assert_eq!(items(&stack, "UsersTable").await.len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_written_in_another_way_is_one_update() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let before = names(&stack).await;
    for name in ["Alice", "ALICE", "A1ice"] {
        let answer = stack.change(&app.access, json!({"username": name})).await.expect(200);
        assert_eq!(answer.json()["user"]["username"], name);
        assert_eq!(names(&stack).await, before, "{name}: one item, the one before");
        stack.app(&alice).await;
    }
    // An account whose name has become a reserved one keeps it, and may write it as it likes; no variation of it.
    let later = stack.another_instance(&[("ReservedUsernames", "alice")]).await;
    later.change(&app.access, json!({"username": "alice"})).await.expect(200);
    later.change(&app.access, json!({"username": "alice7"})).await.expect_problem(422, "invalid_username");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_s_name_and_not_without_a_session() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let body = json!({"username": "alicia"});
    stack.client().patch("/me").json(body.clone()).send().await.expect_problem(401, "token_missing");
    stack.change("nonsense", body.clone()).await.expect_problem(401, "token_invalid");
    stack.change(&app.refresh, body.clone()).await.expect_problem(401, "token_invalid");
    let browser = stack.signed_in(&alice).await;
    let foreign = browser.patch("/me").json(body.clone()).origin(Some("https://evil.test")).send().await;
    foreign.expect_problem(403, "csrf_rejected");
    browser.patch("/me").form(&[("username", "alicia")]).send().await.expect_problem(415, "unsupported_media_type");
    stack.client().post("/logout").json(json!({"refresh": app.refresh})).send().await.expect(204);
    stack.change(&app.access, body).await.expect_problem(401, "session_ended");
    assert_eq!(browser.get("/me").send().await.expect(200).json()["user"]["username"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_who_want_a_name_gets_it() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let mut sessions = Vec::new();
    for name in ["anna", "bert", "carl", "dora", "emil", "fritz"] {
        sessions.push(stack.person_with_session(name).await.1);
    }
    let wishes = sessions.into_iter().map(|app| {
        let stack = Arc::clone(&stack);
        async move { stack.change(&app.access, json!({"username": "the_one"})).await.status }
    });
    let mut statuses = at_once(wishes).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409]);
    assert_eq!(names(&stack).await, names_of_users(&stack).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_person_at_once_leave_one_name() {
    let stack = Arc::new(Stack::with_database(&[]).await);
    let (_, app) = stack.person_with_session("alice").await;
    let wishes = (0..6).map(|index| {
        let (stack, app) = (Arc::clone(&stack), app.clone());
        async move {
            stack.change(&app.access, json!({"username": format!("alice_{}", ["x", "y"][index % 2])})).await.status
        }
    });
    let statuses = at_once(wishes).await;
    // A change that met others time and again may be sent again; nothing is half done.
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(names(&stack).await, names_of_users(&stack).await);
    assert_eq!(names(&stack).await.len(), 1);
}

/// The user is read before it is changed; what happens in between counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_between_read_and_write_counts() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    let (alice, app) = stack.person_with_session("alice").await;
    stack.me(&app.access).await.expect(200);
    // Another device has taken another name: it is that name which goes.
    let (other, at_once) = (stack.app(&alice).await, Arc::clone(&stack));
    stack.proxy().before("profile", "TransactWriteItems", async move {
        at_once.change(&other.access, json!({"username": "between"})).await.expect(200);
    });
    stack.change(&app.access, json!({"username": "alicia"})).await.expect(200);
    assert_eq!(names(&stack).await, names_of_users(&stack).await);
    assert_eq!(names(&stack).await.len(), 1);
    // All sessions are ended elsewhere: this one changes nothing more.
    let (token, at_once) = (app.access.clone(), Arc::clone(&stack));
    stack.proxy().before("profile", "TransactWriteItems", async move {
        let logout = at_once.client().post("/logout").bearer(&token).json(json!({"everywhere": true}));
        logout.send().await.expect(204);
    });
    stack.change(&app.access, json!({"username": "too_late"})).await.expect_problem(401, "session_ended");
    let last: Client = stack.signed_in(&Person { username: "alicia".to_owned(), ..alice }).await;
    assert_eq!(last.get("/me").send().await.expect(200).json()["user"]["username"], "alicia");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_wants_a_fresh_proof_and_a_language_does_not() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let (browser, remembered) = (stack.signed_in(&alice).await, stack.remembered(&alice).await);
    stack.clock.advance(300);
    stack.change(&app.access, json!({"username": "alicia"})).await.expect(200);
    stack.clock.advance(1);
    for name in ["alice", "Alicia"] {
        let body = json!({"username": name, "locale": "ko"});
        for answer in [
            stack.change(&app.access, body.clone()).await,
            browser.patch("/me").json(body.clone()).send().await,
            remembered.patch("/me").json(body.clone()).send().await,
        ] {
            let answer = answer.expect_problem(403, "reauthentication_required").expect_no_cookies();
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
    let me = stack.me(&app.access).await.expect(200).json()["user"].clone();
    assert_eq!((&me["username"], &me["locale"]), (&json!("alicia"), &json!("en")), "nothing is half done");
    // What cannot be a name is said before anybody is asked for a password; the present one is no other.
    stack.change(&app.access, json!({"username": "a b"})).await.expect_problem(422, "invalid_username");
    stack.change(&app.access, json!({"username": "alicia", "locale": "ko"})).await.expect(200);
    // To refresh is no proof.
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    let answer = stack.change(&app.access, json!({"username": "alice"})).await;
    answer.expect_problem(403, "reauthentication_required");
    let app = stack.app(&Person { username: "alicia".to_owned(), ..alice }).await;
    stack.change(&app.access, json!({"username": "alice"})).await.expect(200);
    assert_eq!(names(&stack).await, names_of_users(&stack).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_told_of_another_name_and_other_systems_of_any_change() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let phone = stack.client().post("/login").header("user-agent", "ExampleApp/1.0 (iPhone; iOS 26.0)");
    let app = AppSession::of(&phone.json(alice.login("app")).send().await.expect(200));
    let (mails, created) = (stack.mails().await.len(), events(&stack).await.len());
    let updated = |count| vec![("user.updated".to_owned(), app.user_id.clone()); count];

    stack.change(&app.access, json!({"locale": "ko"})).await.expect(200);
    assert_eq!(stack.mails().await.len(), mails, "of a language nobody is mailed");
    assert_eq!(events(&stack).await[created..], updated(1));
    stack.change(&app.access, json!({"username": "alicia"})).await.expect(200);
    // The same again, and what changes nothing, tells nothing.
    stack.change(&app.access, json!({"username": "alicia", "locale": "ko"})).await.expect(200);
    stack.change(&app.access, json!({"username": "admin"})).await.expect(422);
    assert_eq!(stack.mails().await.len(), mails + 1);
    assert_eq!(events(&stack).await[created..], updated(2));
    let mail = stack.mail_to(&alice.email).await;
    for part in ["사용자 이름", "alicia", "alice\n", "ExampleApp on iPhone"] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
}
