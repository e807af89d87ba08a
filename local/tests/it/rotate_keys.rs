//! Keys: published before they sign, kept for as long as what they made lives, then gone with their private half.

use serde_json::{Value, json};

use crate::harness::keys::StolenKey;
use crate::harness::{AppSession, Client, Person, Stack, claims, jwt_part, retry_key};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Past half of a browser's access token, and a divisor of a day.
const STEP: u64 = 1440;

async fn rotate(stack: &Stack, request: Value) -> (u64, u64) {
    let answer = stack.local.functions().invoke("rotate-keys", request).await.expect("an answer");
    (answer["created"].as_u64().expect("a count"), answer["deleted"].as_u64().expect("a count"))
}

async fn scheduled(stack: &Stack) -> (u64, u64) {
    rotate(stack, json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}})).await
}

async fn published(stack: &Stack) -> Vec<String> {
    let set = stack.client().get("/.well-known/jwks.json").send().await.expect(200).json();
    set["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str().expect("a kid").to_owned()).collect()
}

fn kid(access: &str) -> String {
    jwt_part(access, 0)["kid"].as_str().expect("a kid").to_owned()
}

/// Everyone whose session has to live through it all.
struct People {
    alice: Person,
    app: AppSession,
    remembered: Client,
    browser: Client,
}

impl People {
    async fn sign_in(stack: &Stack) -> Self {
        let (alice, app) = stack.person_with_session("alice").await;
        let (remembered, browser) = (stack.remembered(&alice).await, stack.signed_in(&alice).await);
        Self { alice, app, remembered, browser }
    }

    /// What the clients do in a step, every answer of which has to be good.
    async fn live(&mut self, stack: &Stack, step: u64) {
        self.app = AppSession::of(&stack.refresh(&self.app.refresh, Some(&retry_key())).await.expect(200));
        if step.is_multiple_of(3) {
            self.remembered.post("/refresh").retry_key(&retry_key()).send().await.expect(200);
            self.remembered.get("/me").send().await.expect(200);
            stack.me(&self.app.access).await.expect(200);
        }
        // Every call extends a browser session, until it ends after a day in any case.
        if (step * STEP).is_multiple_of(DAY) {
            self.browser = stack.signed_in(&self.alice).await;
        }
        self.browser.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_key_rotations_end_no_session() {
    let stack = Stack::with(&[("KeyRotationDays", "1"), ("AppSessionLifetime", "604800")]).await;
    let mut people = People::sign_in(&stack).await;
    // An app that is opened once in a while only: its refresh token outlives the key that signed beside it.
    let mut rare = stack.app(&people.alice).await;
    let first = kid(&people.app.access);
    let mut signed_with = vec![first.clone()];
    let mut announced = published(&stack).await;
    let (mut created, mut deleted) = (0, 0);
    for step in 1..=270 {
        stack.clock.advance(STEP);
        people.live(&stack, step).await;
        let signing = kid(&people.app.access);
        if signed_with.last() != Some(&signing) {
            // Whoever looked at the key set a step before knew the key.
            assert!(announced.contains(&signing), "{signing} was not published before");
            signed_with.push(signing);
        }
        if step * STEP / DAY > (step - 1) * STEP / DAY {
            let rotated = scheduled(&stack).await;
            (created, deleted) = (created + rotated.0, deleted + rotated.1);
            assert_eq!(scheduled(&stack).await, (0, 0), "what is done is done");
        }
        if step % 100 == 0 {
            rare = AppSession::of(&stack.refresh(&rare.refresh, None).await.expect(200));
        }
        announced = published(&stack).await;
    }
    assert_eq!(signed_with.len(), 3, "two rotations: {signed_with:?}");
    assert_eq!((created, deleted), (10, 2), "two of each kind made; a signing key and one of the outbox spent");
    assert!(!announced.contains(&first), "the first key is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_published_three_hours_before_it_signs() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let first = kid(&app.access);
    assert_eq!(scheduled(&stack).await, (0, 0));
    stack.clock.advance(30 * DAY - 1);
    assert_eq!(scheduled(&stack).await, (0, 0));
    stack.clock.advance(1);
    assert_eq!(
        scheduled(&stack).await,
        (5, 0),
        "a signing key, a MAC key, one of devices, one of limits and one of the outbox"
    );
    let keys = published(&stack).await;
    assert_eq!(keys.len(), 2);
    let second = keys.into_iter().find(|key| *key != first).expect("a new key");
    stack.clock.advance(3 * HOUR - 1);
    assert_eq!(kid(&stack.app(&alice).await.access), first);
    stack.clock.advance(1);
    let after = stack.app(&alice).await;
    assert_eq!(kid(&after.access), second);
    stack.me(&after.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_removed_key_is_refused() {
    let stack = Stack::with_database(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let stolen = StolenKey::of(&stack).await;
    let forge = |access: &str| {
        let mut forged = claims(access);
        forged["exp"] = json!(stack.clock.now().unix() + 600);
        let header = format!("{{\"typ\":\"at+jwt\",\"alg\":\"ES256\",\"kid\":\"{}\"}}", stolen.kid);
        stolen.sign(&header, &forged.to_string())
    };
    assert_eq!(rotate(&stack, json!({"at_once": true})).await, (5, 0));
    stack.clock.advance(3 * HOUR);
    // The key that was stolen has been followed, and still verifies what it made.
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    assert_ne!(kid(&app.access), stolen.kid);
    stack.me(&forge(&app.access)).await.expect(200);
    stack.client().post("/logout").bearer(&forge(&stack.app(&alice).await.access)).send().await.expect(204);

    stack.clock.advance(DAY + 1800);
    assert_eq!(scheduled(&stack).await, (0, 1), "the MAC key stays: refresh tokens live longer");
    assert_ne!(StolenKey::of(&stack).await.kid, stolen.kid, "the private half is deleted");
    // Verifiers look every five minutes.
    stack.clock.advance(300);
    assert!(!published(&stack).await.contains(&stolen.kid));
    let app = AppSession::of(&stack.refresh(&app.refresh, None).await.expect(200));
    let forged = forge(&app.access);
    stack.me(&forged).await.expect_problem(401, "token_invalid");
    stack.client().post("/logout").bearer(&forged).send().await.expect_problem(401, "token_invalid");
    stack.me(&app.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_of_a_removed_key_is_refused() {
    let stack = Stack::with(&[("AppSessionLifetime", "172800"), ("AppIdleTimeout", "172800")]).await;
    let (_, app) = stack.person_with_session("alice").await;
    assert_eq!(rotate(&stack, json!({"at_once": true})).await, (5, 0));
    stack.clock.advance(3 * HOUR + 8 * DAY - 1);
    scheduled(&stack).await;
    stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
    stack.clock.advance(1);
    assert_eq!(scheduled(&stack).await, (0, 1));
    stack.clock.advance(300);
    stack.refresh(&app.refresh, None).await.expect_problem(401, "token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_learns_of_a_key_at_once_when_it_meets_it() {
    let one = Stack::with_database(&[]).await;
    let two = one.another_instance(&[]).await;
    let (alice, app) = one.person_with_session("alice").await;
    two.me(&app.access).await.expect(200);
    rotate(&one, json!({"at_once": true})).await;
    one.clock.advance(3 * HOUR);
    let after = one.app(&alice).await;
    two.me(&after.access).await.expect(200);
    two.refresh(&after.refresh, None).await.expect(200);
    // Also an instance that has looked just now, as when the algorithm is changed: it signs from the first second.
    one.clock.advance(600);
    two.me(&one.app(&alice).await.access).await.expect(200);
    let changed = one.another_instance(&[("SigningAlgorithm", "RS256")]).await;
    let signed_by_rsa = changed.app(&alice).await;
    assert_eq!(jwt_part(&signed_by_rsa.access, 0)["alg"], "RS256");
    two.me(&signed_by_rsa.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_at_once_make_one_key() {
    let stack = std::sync::Arc::new(Stack::start().await);
    let (alice, _) = stack.person_with_session("alice").await;
    let runs = (0..8).map(|_| {
        let stack = std::sync::Arc::clone(&stack);
        async move { rotate(&stack, json!({"at_once": true})).await }
    });
    crate::harness::at_once(runs).await;
    stack.clock.advance(3 * HOUR);
    assert_eq!(published(&stack).await.len(), 2);
    stack.me(&stack.app(&alice).await.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_says_who_issues_and_where_the_keys_are() {
    for algorithm in ["ES256", "RS256"] {
        let stack = Stack::with(&[("SigningAlgorithm", algorithm)]).await;
        let (_, app) = stack.person_with_session("alice").await;
        let answer = stack.client().get("/.well-known/openid-configuration").send().await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let configuration = answer.expect_no_cookies().json();
        assert_eq!(configuration["issuer"], claims(&app.access)["iss"]);
        assert_eq!(configuration["id_token_signing_alg_values_supported"], json!([algorithm]));
        let named: Vec<&String> = claims_of(&configuration);
        let token = claims(&app.access);
        for name in token.as_object().expect("claims").keys() {
            assert!(named.contains(&name), "{name}");
        }
        let url = configuration["jwks_uri"].as_str().expect("a URL");
        let path = url.strip_prefix(stack.url()).expect("a URL of the API");
        let set = stack.client().get(path).send().await.expect(200).json();
        assert_eq!(set["keys"][0]["alg"], algorithm);
        assert_eq!(set["keys"][0]["kid"], kid(&app.access).as_str());
    }
}

fn claims_of(configuration: &Value) -> Vec<&String> {
    let list = configuration["claims_supported"].as_array().expect("a list");
    list.iter().map(|claim| if let Value::String(text) = claim { text } else { panic!("{claim}") }).collect()
}
