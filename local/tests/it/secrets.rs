//! The three secrets of a sign-up: whoever does not hold two of them gets nothing.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::{AppSession, Person, Stack, at_once};

/// A code that is not `code`.
fn wrong(code: &str, by: u32) -> String {
    let number: u32 = code.parse().expect("digits");
    format!("{:08}", (number + by) % 100_000_000)
}

fn by_code(signup_id: &str, code: &str) -> Value {
    json!({"signup_id": signup_id, "code": code, "client": "app"})
}

fn by_link(signup_id: &str, token: &str) -> Value {
    json!({"signup_id": signup_id, "token": token, "client": "app"})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_alone_is_nothing() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let alone = json!({"token": mail.token(), "client": "app"});
    stack.verify(alone.clone()).await.expect_problem(401, "confirmation_required").expect_no_cookies();
    let mut wrong_password = alone.clone();
    wrong_password["password"] = json!("not the password");
    stack.verify(wrong_password).await.expect_problem(401, "invalid_credentials");
    stack.client().post("/login").json(alice.login("app")).send().await.expect_problem(401, "invalid_credentials");
    // Neither cost anything.
    stack.verify(by_link(&signup_id, &mail.token())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn link_and_password_verify_on_another_device() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (_, mail) = stack.sign_up(&alice).await;
    let proof = json!({"token": mail.token(), "password": alice.password, "client": "app"});
    let session = AppSession::of(&stack.verify(proof.clone()).await.expect(201));
    let again = AppSession::of(&stack.verify(proof).await.expect(201));
    assert_eq!(session.user_id, again.user_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_sign_up_gets_nothing_from_my_click() {
    let stack = Stack::start().await;
    // Mallory signs up with my address and a password that Mallory knows.
    let mallory = Person { username: "mallory".to_owned(), ..Person::named("me") };
    let (mallorys_id, mail) = stack.sign_up(&mallory).await;
    // I press the button in the mail.
    let me = stack.browser();
    me.get(&format!("/verify?token={}", mail.token())).send().await.expect(200);
    me.post("/verify").form(&[("token", &mail.token())]).send().await.expect(401).expect_no_cookies();
    // Mallory has no account: not by password, not by guessing, not with the id alone.
    stack.client().post("/login").json(mallory.login("app")).send().await.expect_problem(401, "invalid_credentials");
    stack.verify(by_code(&mallorys_id, &wrong(&mail.code(), 1))).await.expect_problem(400, "invalid_verification");
    // And I can still sign up with my address.
    let myself = Person { username: "myself".to_owned(), password: "nine loud otters".to_owned(), ..mallory.clone() };
    let (my_id, my_mail) = stack.sign_up(&myself).await;
    // My click while I hold my own sign-up's id never completes Mallory's.
    stack.verify(by_link(&my_id, &mail.token())).await.expect_problem(401, "confirmation_required");
    stack.verify(by_code(&my_id, &my_mail.code())).await.expect(201);
    // Mallory's is dead now, even with all secrets.
    let late = stack.verify(by_link(&mallorys_id, &mail.token())).await;
    late.expect_problem(409, "email_taken");
    stack.app(&myself).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_two_sign_ups_never_mix() {
    let stack = Stack::start().await;
    let (one, one_mail) = stack.sign_up(&Person::named("alice")).await;
    let (two, two_mail) = stack.sign_up(&Person::named("bob")).await;
    for proof in [
        by_link(&one, &two_mail.token()),
        by_link(&two, &one_mail.token()),
        by_code(&one, &two_mail.code()),
        // A secret in the other's place.
        by_link(&one_mail.token(), &one_mail.token()),
        by_link(&one_mail.token(), &one),
        by_link(&one, &one),
        json!({"token": two_mail.token(), "password": Person::named("alice").password, "client": "app"}),
        json!({"token": one, "password": Person::named("alice").password, "client": "app"}),
    ] {
        let answer = stack.verify(proof.clone()).await;
        assert!(matches!(answer.status, 400 | 401), "{proof}: {}", answer.text());
    }
    stack.verify(by_link(&one, &one_mail.token())).await.expect(201);
    stack.verify(by_code(&two, &two_mail.code())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_secrets_are_refused() {
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    let token = mail.token();
    let flip = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    // The last character holds unused bits: the same bytes in another spelling are refused too.
    let mut forged: Vec<String> = [0, token.len() / 2, token.len() - 2].map(|at| flip(&token, at)).into();
    forged.extend([
        format!("{token}="),
        format!("{token}A"),
        token[1..].to_owned(),
        String::new(),
        "\u{e4}".to_owned(),
    ]);
    for forged in forged {
        stack.verify(by_link(&signup_id, &forged)).await.expect_problem(400, "invalid_verification");
    }
    for at in [0, signup_id.len() / 2, signup_id.len() - 2] {
        let answer = stack.verify(by_code(&flip(&signup_id, at), &mail.code())).await;
        answer.expect_problem(400, "invalid_verification");
        if at == 0 {
            // There the key is named; beside a token it is the token that names it.
            continue;
        }
        let answer = stack.verify(by_link(&flip(&signup_id, at), &token)).await;
        assert!(
            matches!(answer.code().as_str(), "invalid_verification" | "confirmation_required"),
            "{}",
            answer.text()
        );
    }
    for code in ["", "1234567", "123456789", "abcdefgh", "\u{661}\u{662}345678", "-1234567", "+1234567"] {
        let answer = stack.verify(by_code(&signup_id, code)).await;
        assert_eq!(answer.status, 400, "{code}: {}", answer.text());
    }
    stack.verify(by_link(&signup_id, &token)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_may_be_guessed_five_times() {
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    for by in 1..=4 {
        stack.verify(by_code(&signup_id, &wrong(&mail.code(), by))).await.expect_problem(400, "invalid_verification");
    }
    stack.verify(by_code(&signup_id, &mail.code())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_code_leaves_the_link_alive_and_a_resend_does_not_refill() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    for by in 1..=5 {
        stack.verify(by_code(&signup_id, &wrong(&mail.code(), by))).await.expect_problem(400, "invalid_verification");
    }
    stack.verify(by_code(&signup_id, &mail.code())).await.expect_problem(400, "invalid_verification");
    stack.clock.advance(60);
    stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    let second = stack.mail_to(&alice.email).await;
    if second.has_secrets()
        && second.text.split(|c: char| !c.is_alphanumeric()).any(|run| run.len() == 8 && run.parse::<u32>().is_ok())
    {
        stack.verify(by_code(&signup_id, &second.code())).await.expect_problem(400, "invalid_verification");
    }
    stack.verify(by_link(&signup_id, &second.token())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_count_over_all_codes_of_a_sign_up() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, first) = stack.sign_up(&alice).await;
    for by in 1..=3 {
        stack.verify(by_code(&signup_id, &wrong(&first.code(), by))).await.expect_problem(400, "invalid_verification");
    }
    stack.clock.advance(60);
    stack.client().post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
    let second = stack.mail_to(&alice.email).await;
    for by in 1..=2 {
        stack.verify(by_code(&signup_id, &wrong(&second.code(), by))).await.expect_problem(400, "invalid_verification");
    }
    stack.verify(by_code(&signup_id, &second.code())).await.expect_problem(400, "invalid_verification");
    stack.verify(by_link(&signup_id, &second.token())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_are_never_compared_more_than_five_times() {
    let stack = Arc::new(Stack::with_proxy(&[]).await);
    stack.person("warm").await;
    for round in 0..3 {
        let (signup_id, mail) = stack.sign_up(&Person::named(&format!("alice{round}"))).await;
        stack.proxy().reset();
        let guesses = at_once((1..=24).map(|by| {
            let (stack, proof) = (Arc::clone(&stack), by_code(&signup_id, &wrong(&mail.code(), by)));
            async move { stack.verify(proof).await.status }
        }));
        assert_eq!(guesses.await, [400; 24]);
        // Every guess that is compared was written before; a refused condition reports no capacity.
        let cost = stack.proxy().cost();
        assert!((cost.write_units - 5.0).abs() < 0.1, "{cost:?}");
        stack.verify(by_code(&signup_id, &mail.code())).await.expect_problem(400, "invalid_verification");
        stack.verify(by_link(&signup_id, &mail.token())).await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn right_guesses_give_wrong_ones_no_room() {
    // Whoever knows the code may send it often; that buys nobody a sixth wrong guess.
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    for by in 1..=4 {
        stack.verify(by_code(&signup_id, &wrong(&mail.code(), by))).await.expect_problem(400, "invalid_verification");
        stack.verify(by_code(&signup_id, &mail.code())).await.expect(201);
    }
    stack.verify(by_code(&signup_id, &wrong(&mail.code(), 5))).await.expect_problem(400, "invalid_verification");
    stack.verify(by_code(&signup_id, &mail.code())).await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_be_guessed_ten_times_with_a_link() {
    let stack = Arc::new(Stack::start().await);
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let with = |password: &str| json!({"token": mail.token(), "password": password, "client": "app"});
    // A link that is not the newest spends nothing.
    let forged = json!({"token": signup_id, "password": "not the password", "client": "app"});
    stack.verify(forged).await.expect_problem(400, "invalid_verification");
    let answers = at_once((0..16).map(|guess| {
        let (stack, body) = (Arc::clone(&stack), with(&format!("not the password {guess}")));
        async move { stack.verify(body).await.code() }
    }))
    .await;
    assert_eq!(answers.iter().filter(|code| *code == "invalid_credentials").count(), 10, "{answers:?}");
    assert_eq!(answers.iter().filter(|code| *code == "invalid_verification").count(), 6, "{answers:?}");
    stack.verify(with(&alice.password)).await.expect_problem(400, "invalid_verification");
    // The device that signed up needs no password.
    stack.verify(by_link(&signup_id, &mail.token())).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_is_no_guess() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (_, mail) = stack.sign_up(&alice).await;
    for _ in 0..12 {
        let proof = json!({"token": mail.token(), "password": alice.password, "client": "app"});
        stack.verify(proof).await.expect(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proof_of_a_sign_up_outlives_a_logout_everywhere() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (signup_id, mail) = stack.sign_up(&alice).await;
    let session = AppSession::of(&stack.verify(by_link(&signup_id, &mail.token())).await.expect(201));
    let everywhere = json!({"everywhere": true});
    stack.client().post("/logout").bearer(&session.access).json(everywhere).send().await.expect(204);
    for proof in [
        by_link(&signup_id, &mail.token()),
        by_code(&signup_id, &mail.code()),
        json!({"token": mail.token(), "password": alice.password, "client": "app"}),
    ] {
        stack.verify(proof).await.expect_problem(400, "invalid_verification");
    }
    stack.client().post("/login").json(alice.login("app")).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_for_ten_minutes_and_a_link_for_a_day() {
    let stack = Stack::start().await;
    let (early, early_mail) = stack.sign_up(&Person::named("early")).await;
    let (late, late_mail) = stack.sign_up(&Person::named("late")).await;
    stack.clock.advance(599);
    stack.verify(by_code(&early, &early_mail.code())).await.expect(201);
    stack.clock.advance(1);
    stack.verify(by_code(&late, &late_mail.code())).await.expect_problem(400, "invalid_verification");
    stack.clock.advance(24 * 3600 - 601);
    stack.verify(by_link(&late, &late_mail.token())).await.expect(201);
    let (gone, gone_mail) = stack.sign_up(&Person::named("gone")).await;
    stack.clock.advance(24 * 3600);
    stack.verify(by_link(&gone, &gone_mail.token())).await.expect_problem(400, "invalid_verification");
    let elsewhere = json!({"token": gone_mail.token(), "password": Person::named("gone").password, "client": "app"});
    stack.verify(elsewhere).await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_stands_for_the_signup_id() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let browser = stack.browser();
    browser.post("/signup").json(alice.signup("browser")).send().await.expect(202);
    let mail = stack.mail_to(&alice.email).await;
    // A browser of somebody else's sign-up is no device of Alice's.
    let other = stack.browser();
    other.post("/signup").json(Person::named("bob").signup("browser")).send().await.expect(202);
    let answer = other.post("/verify").json(json!({"token": mail.token()})).send().await;
    assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
    other.post("/verify").form(&[("token", &mail.token())]).send().await;
    other.get("/me").send().await.expect_problem(401, "token_missing");
    browser.post("/verify").json(json!({"token": mail.token()})).send().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_still_verifies_where_another_sign_up_s_cookie_is() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (_, mail) = stack.sign_up(&alice).await;
    let browser = stack.browser();
    browser.post("/signup").json(Person::named("bob").signup("browser")).send().await.expect(202);
    let proof = json!({"token": mail.token(), "password": alice.password});
    let answer = browser.post("/verify").json(proof).send().await.expect(201);
    assert_eq!(answer.json()["user"]["username"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sign_ups_for_one_address_end_as_one_user() {
    let stack = Arc::new(Stack::start().await);
    for round in 0..4 {
        let address = format!("shared{round}@example.test");
        let mut proofs = Vec::new();
        for index in 0..4 {
            let person = Person { email: address.clone(), ..Person::named(&format!("user{round}x{index}")) };
            let (signup_id, mail) = stack.sign_up(&person).await;
            proofs.push(by_code(&signup_id, &mail.code()));
        }
        let answers = at_once(proofs.into_iter().map(|proof| {
            let stack = Arc::clone(&stack);
            async move { stack.verify(proof).await }
        }))
        .await;
        let mut outcomes: Vec<(u16, String)> = answers.iter().map(|answer| (answer.status, answer.code())).collect();
        outcomes.sort();
        let taken = (409, "email_taken".to_owned());
        assert_eq!(outcomes, [(201, String::new()), taken.clone(), taken.clone(), taken]);
        let winner = answers.iter().find(|answer| answer.status == 201).expect("one user").json();
        let name = winner["user"]["username"].as_str().expect("a name");
        let by_address = json!({"email": address, "password": Person::named(name).password, "client": "app"});
        stack.client().post("/login").json(by_address).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sign_ups_for_one_name_end_as_one_user() {
    let stack = Arc::new(Stack::start().await);
    let mut proofs = Vec::new();
    for index in 0..4 {
        let person = Person { username: "popular".to_owned(), ..Person::named(&format!("person{index}")) };
        let (signup_id, mail) = stack.sign_up(&person).await;
        proofs.push(by_code(&signup_id, &mail.code()));
    }
    let answers = at_once(proofs.into_iter().map(|proof| {
        let stack = Arc::clone(&stack);
        async move { stack.verify(proof).await }
    }));
    let mut outcomes: Vec<(u16, String)> = answers.await.iter().map(|answer| (answer.status, answer.code())).collect();
    outcomes.sort();
    let taken = (409, "username_taken".to_owned());
    assert_eq!(outcomes, [(201, String::new()), taken.clone(), taken.clone(), taken]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proof_used_at_once_makes_one_user() {
    let stack = Arc::new(Stack::start().await);
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    let answers = at_once((0..8).map(|_| {
        let (stack, proof) = (Arc::clone(&stack), by_link(&signup_id, &mail.token()));
        async move { stack.verify(proof).await.expect(201) }
    }))
    .await;
    let mut users: Vec<String> = answers.iter().map(|answer| AppSession::of(answer).user_id).collect();
    users.dedup();
    assert_eq!(users.len(), 1);
}
