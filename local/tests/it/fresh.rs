//! When and how a user last proved who they are: what sets it, what keeps it, and what access tokens say of it.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::harness::keys::StolenKey;
use crate::harness::tables::{client, find};
use crate::harness::{AppSession, Client, Person, Stack, claims, jwt_part};

const START: u64 = 4_102_444_800;

/// What an access token says of it.
fn proof(access: &str) -> (Value, Value) {
    let claims = claims(access);
    (claims["auth_time"].clone(), claims["amr"].clone())
}

fn proof_of(browser: &Client) -> (Value, Value) {
    proof(&browser.cookie("access").expect("a cookie"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_says_when_and_how() {
    let stack = Stack::start().await;
    let mut proofs = Vec::new();
    for (name, by) in [("alice", "code"), ("bob", "link"), ("carol", "password")] {
        let person = Person::named(name);
        let (signup_id, mail) = stack.sign_up(&person).await;
        stack.clock.advance(100);
        let body = match by {
            "code" => json!({"signup_id": signup_id, "code": mail.code(), "client": "app"}),
            "link" => json!({"signup_id": signup_id, "token": mail.token(), "client": "app"}),
            _ => json!({"token": mail.token(), "password": person.password, "client": "app"}),
        };
        proofs.push(proof(&AppSession::of(&stack.verify(body).await.expect(201)).access));
    }
    assert_eq!(proofs[0], (json!(START + 100), json!(["mca"])));
    assert_eq!(proofs[1], (json!(START + 200), json!(["mca"])));
    assert_eq!(proofs[2], (json!(START + 300), json!(["pwd", "mca"])));
    let alice = Person::named("alice");
    stack.clock.advance(700);
    let expected = (json!(START + 1000), json!(["pwd"]));
    assert_eq!(proof(&stack.app(&alice).await.access), expected);
    assert_eq!(proof_of(&stack.signed_in(&alice).await), expected);
    assert_eq!(proof_of(&stack.remembered(&alice).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_refresh_nor_an_extension_is_a_proof() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let (app, browser, remembered) =
        (stack.app(&alice).await, stack.signed_in(&alice).await, stack.remembered(&alice).await);
    let expected = (json!(START), json!(["pwd"]));
    stack.clock.advance(850);
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    assert_eq!(proof(&app.access), expected);
    remembered.post("/refresh").send().await.expect(200);
    assert_eq!(proof_of(&remembered), expected);
    stack.clock.advance(100);
    let before = browser.cookie("access");
    browser.get("/me").send().await.expect(200);
    assert_ne!(browser.cookie("access"), before, "extended");
    assert_eq!(proof_of(&browser), expected);
    browser.post("/refresh").send().await.expect(200);
    assert_eq!(proof_of(&browser), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_tokens_of_before_go_on() {
    let stack = Stack::with_database(&[]).await;
    let (alice, _) = stack.person_with_session("alice").await;
    stack.client().post("/logout").json(json!({})).send().await.expect(204);
    stack.clock.advance(60);
    let app = stack.app(&alice).await;
    let mut item = find(&stack, "SESSIONS#").await;
    while item["sk"] != AttributeValue::S(app.session_id.clone()) {
        // The verification's own session: out of the way.
        let delete = client(&stack).delete_item().table_name("UsersTable");
        let delete = delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone());
        delete.send().await.expect("a deletion");
        item = find(&stack, "SESSIONS#").await;
    }
    assert!(item.remove("authenticated_at").is_some() && item.remove("methods").is_some());
    client(&stack).put_item().table_name("UsersTable").set_item(Some(item)).send().await.expect("an item");
    let mut old = claims(&app.access);
    for name in ["auth_time", "amr"] {
        assert!(old.as_object_mut().expect("claims").remove(name).is_some());
    }
    let old = StolenKey::of(&stack).await.sign(&jwt_part(&app.access, 0).to_string(), &old.to_string());
    stack.me(&old).await.expect(200);
    stack.clock.advance(60);
    let next = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    assert_eq!(proof(&next.access), (json!(START + 60), json!(["pwd"])));
}
