//! Two instances of one deployment, as the Lambda service starts them: one database, nothing shared in memory.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::keys::ring_slots;
use crate::harness::tables::items;
use crate::harness::{AppSession, Client, Person, Stack, at_once, generation, retry_key};
use crate::session_layer::platform;

/// Both instances, with a proxy whose latency lets calls overlap.
async fn two() -> [Arc<Stack>; 2] {
    let first = Stack::with_proxy(&[]).await;
    let second = first.another_instance(&[]).await;
    [Arc::new(first), Arc::new(second)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_very_first_keys_are_made_once() {
    let stacks = two().await;
    let people: Vec<Person> = (0..6).map(|number| Person::named(&format!("person{number}"))).collect();
    let sign_ups = people.iter().enumerate().map(|(number, person)| {
        let (stack, body) = (Arc::clone(&stacks[number % 2]), person.signup("app"));
        async move { (number, stack.client().post("/signup").json(body).send().await.expect(202).json()) }
    });
    let answers = at_once(sign_ups).await;
    // Both take up what waits in the outbox; each has a mailbox of its own.
    let mails = [stacks[0].mails().await, stacks[1].mails().await].concat();
    let proofs = answers.into_iter().map(|(number, answer)| {
        let mail = mails.iter().find(|mail| mail.to == people[number].email).expect("a mail");
        (number, json!({"signup_id": answer["signup_id"], "token": mail.token(), "client": "app"}))
    });
    let proofs: Vec<(usize, Value)> = proofs.collect();
    // Verified by the other instance than the one that mailed.
    let sessions = at_once(proofs.into_iter().map(|(number, proof)| {
        let stack = Arc::clone(&stacks[(number + 1) % 2]);
        async move { AppSession::of(&stack.verify(proof).await.expect(201)) }
    }));
    for session in sessions.await {
        for stack in &stacks {
            stack.me(&session.access).await.expect(200);
        }
        stacks[0].refresh(&session.refresh, None).await.expect(200);
    }
    // MAC keys, those of devices, of limits and of the outbox with their times, private and public halves: of each but one.
    let rings: Vec<usize> = items(&stacks[0], "KeysTable").await.iter().map(|ring| ring_slots(ring).len()).collect();
    assert_eq!(rings, [1; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_refreshes_with_one_key_over_two_instances_are_one_rotation() {
    let stacks = two().await;
    let (_, mut session) = stacks[0].person_with_session("alice").await;
    for _ in 0..3 {
        let key = retry_key();
        let answers = at_once((0..16).map(|number| {
            let (stack, refresh, key) = (Arc::clone(&stacks[number % 2]), session.refresh.clone(), key.clone());
            async move { AppSession::of(&stack.refresh(&refresh, Some(&key)).await.expect(200)) }
        }))
        .await;
        assert!(answers.iter().all(|answer| answer.generation() == session.generation() + 1));
        session = answers.into_iter().next().expect("an answer");
        for stack in &stacks {
            stack.me(&session.access).await.expect(200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_race_over_two_instances() {
    let stacks = two().await;
    let alice = stacks[0].person("alice").await;
    let browser = stacks[0].signed_in(&alice).await;
    let access = browser.cookie("access").expect("a cookie");
    let tabs: Vec<Client> = (0..8).map(|number| stacks[number % 2].browser()).collect();
    let generations = at_once(tabs.into_iter().map(|tab| {
        tab.put_cookie("access", &access);
        async move {
            tab.post("/refresh").send().await.expect(200);
            generation(&tab.cookie("access").expect("a cookie"))
        }
    }));
    assert_eq!(generations.await, [generation(&access) + 1; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_holds_everywhere_at_once() {
    let stacks = two().await;
    let alice = stacks[0].person("alice").await;
    for everywhere in [false, true] {
        let app = stacks[0].app(&alice).await;
        for stack in &stacks {
            stack.me(&app.access).await.expect(200);
        }
        let body = json!({"everywhere": everywhere});
        stacks[1].client().post("/logout").bearer(&app.access).json(body).send().await.expect(204);
        for stack in &stacks {
            stack.me(&app.access).await.expect_problem(401, "session_ended");
            stack.refresh(&app.refresh, Some(&retry_key())).await.expect_problem(401, "session_ended");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_over_two_instances_are_five_in_all() {
    let stacks = two().await;
    stacks[1].person("warm").await;
    let (signup_id, mail) = stacks[0].sign_up(&Person::named("alice")).await;
    let right: u32 = mail.code().parse().expect("digits");
    stacks[0].proxy().reset();
    let guesses = at_once((1..=24).map(|by: usize| {
        let stack = Arc::clone(&stacks[by % 2]);
        let wrong = format!("{:08}", (right + u32::try_from(by).expect("a number")) % 100_000_000);
        let proof = json!({"signup_id": signup_id, "code": wrong, "client": "app"});
        async move { stack.verify(proof).await.status }
    }));
    assert_eq!(guesses.await, [400; 24]);
    let cost = stacks[0].proxy().cost();
    assert!((cost.write_units - 5.0).abs() < 0.1, "{cost:?}");
    let late = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    stacks[1].verify(late).await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sign_ups_for_one_address_over_two_instances_end_as_one_user() {
    let stacks = two().await;
    let mut proofs = Vec::new();
    for number in 0..4 {
        let person = Person { email: "shared@example.test".to_owned(), ..Person::named(&format!("user{number}")) };
        let (signup_id, mail) = stacks[number % 2].sign_up(&person).await;
        proofs.push((number, json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})));
    }
    let answers = at_once(proofs.into_iter().map(|(number, proof)| {
        let stack = Arc::clone(&stacks[(number + 1) % 2]);
        async move { stack.verify(proof).await }
    }));
    let mut outcomes: Vec<(u16, String)> = answers.await.iter().map(|answer| (answer.status, answer.code())).collect();
    outcomes.sort();
    let taken = (409, "email_taken".to_owned());
    assert_eq!(outcomes, [(201, String::new()), taken.clone(), taken.clone(), taken]);
}

/// Asks a new instance's authorizer about a token.
async fn authorize(deps: &Arc<authorizer::Deps>, stack: &Stack, access: &str) -> bool {
    let mut event: Value = serde_json::from_str(&crate::consistency::read("events/authorizer.json")).expect("JSON");
    event["headers"]["authorization"] = json!(format!("Bearer {access}"));
    event["headers"]["host"] = json!(stack.url());
    let event = serde_json::from_value(event).expect("an event");
    authorizer::authorize(Arc::clone(deps), event).await.expect("an answer").is_authorized
}

#[tokio::test(flavor = "multi_thread")]
async fn prewarmed_keys_cost_the_first_request_nothing() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    let platform = platform(&stack);
    let deps = Arc::new(authorizer::Deps::new(&platform).expect("settings"));
    stack.proxy().reset();
    platform.prewarm().await;
    assert_eq!(stack.proxy().calls().len(), 1);
    assert!(authorize(&deps, &stack, &app.access).await);
    assert_eq!(stack.proxy().calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_starts_though_the_database_does_not_answer() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, app) = stack.person_with_session("alice").await;
    let platform = platform(&stack);
    let deps = Arc::new(authorizer::Deps::new(&platform).expect("settings"));
    stack.proxy().throttle(&["BatchGetItem"]);
    platform.prewarm().await;
    stack.proxy().heal();
    assert!(authorize(&deps, &stack, &app.access).await);
}
