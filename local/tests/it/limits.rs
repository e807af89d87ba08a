//! Limits (DESIGN.md section 10): guesses, mails, and what comes from one source.

use serde_json::{Value, json};

use crate::edge::{HEADER, SECRET, deployments};
use crate::harness::{Answer, Call, Person, Stack, at_once};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The longest pause between two guesses.
const LONGEST: u64 = 900;

impl Stack {
    /// A login with a wrong password.
    async fn guess(&self, who: &Value) -> Answer {
        self.log_in(who, "not the password").await
    }

    async fn log_in(&self, who: &Value, password: &str) -> Answer {
        let mut body = who.clone();
        body["password"] = json!(password);
        body["client"] = json!("app");
        self.client().post("/login").json(body).send().await
    }

    /// Guesses until there are to be no more at once.
    async fn lock(&self, who: &Value) {
        for _ in 0..5 {
            self.guess(who).await.expect_problem(401, "invalid_credentials");
        }
        self.guess(who).await.expect_problem(429, "rate_limited");
    }

    /// Guesses as soon as that may be done until no more are let through; how many were.
    async fn guess_to_the_end(&self, who: &Value) -> usize {
        for count in 0.. {
            let mut answer = self.guess(who).await;
            if answer.status == 429 {
                let seconds = retry_after(&answer);
                if seconds > LONGEST {
                    return count;
                }
                self.clock.advance(seconds);
                answer = self.guess(who).await;
            }
            answer.expect_problem(401, "invalid_credentials");
        }
        unreachable!("it ends")
    }

    /// Somebody's new password by a reset in an app, and the device that it hands out.
    async fn reset(&self, person: &Person, password: &str) -> Value {
        self.client().post("/password/forgot").json(json!({"email": person.email})).send().await.expect(202);
        let token = self.secrets_to(&person.email).await.token();
        let body = json!({"token": token, "password": password, "client": "app"});
        let answer = self.client().post("/password/reset").json(body).send().await.expect(200);
        answer.json()["device"].clone()
    }

    /// How many mails with secrets went to an address.
    async fn secrets_sent(&self, address: &str) -> usize {
        self.mails().await.iter().filter(|mail| mail.to == address && mail.has_secrets()).count()
    }
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").and_then(|text| text.parse().ok()).expect("Retry-After")
}

fn by_name(person: &Person) -> Value {
    json!({"username": person.username})
}

fn by_address(person: &Person) -> Value {
    json!({"email": person.email})
}

#[tokio::test(flavor = "multi_thread")]
async fn five_guesses_at_once_then_one_after_each_pause_with_the_right_password_too() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let who = by_name(&alice);
    stack.lock(&who).await;
    for pause in [1, 2, 4, 8] {
        // What is refused does not make it longer.
        for _ in 0..3 {
            for password in ["not the password", alice.password.as_str()] {
                let answer = stack.log_in(&who, password).await.expect_problem(429, "rate_limited");
                assert_eq!(retry_after(&answer), pause);
            }
        }
        stack.clock.advance(pause);
        stack.guess(&who).await.expect_problem(401, "invalid_credentials");
    }
    stack.clock.advance(16);
    stack.log_in(&who, &alice.password).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_forgets_the_wrong_ones() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for _ in 0..3 {
        for _ in 0..4 {
            stack.guess(&by_name(&alice)).await.expect_problem(401, "invalid_credentials");
        }
        stack.log_in(&by_name(&alice), &alice.password).await.expect(200);
    }
    stack.lock(&by_name(&alice)).await;
}

/// As many guesses as one likes that are right: a sign-in is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_and_again_is_no_failure() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for _ in 0..8 {
        stack.log_in(&by_address(&alice), &alice.password).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_fifty_only_a_known_device_or_a_reset_gets_in() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let device = stack.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    assert_eq!(stack.guess_to_the_end(&by_name(&alice)).await, 50);
    stack.clock.advance(DAY);
    stack.log_in(&by_name(&alice), &alice.password).await.expect_problem(429, "rate_limited");

    let mut login = alice.login("app");
    login["device"] = device;
    stack.client().post("/login").json(login.clone()).send().await.expect(200);
    // That was the device's own sign-in: nobody else gets in by it.
    stack.log_in(&by_name(&alice), &alice.password).await.expect_problem(429, "rate_limited");

    stack.reset(&alice, "nine loud otters of mine").await;
    stack.log_in(&by_name(&alice), "nine loud otters of mine").await.expect(200);
    stack.log_in(&by_address(&alice), "nine loud otters of mine").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_lets_an_owner_in_however_busy_a_guesser_is() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    stack.guess_to_the_end(&by_address(&alice)).await;
    let device = stack.reset(&alice, "nine loud otters of mine").await;
    assert!(device.is_string(), "{device}");
    // The guesser goes on at once.
    stack.lock(&by_address(&alice)).await;
    stack.lock(&by_name(&alice)).await;
    for who in [by_address(&alice), by_name(&alice)] {
        let mut body = who;
        body["device"] = device.clone();
        stack.log_in(&body, "nine loud otters of mine").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_reset_the_password_is_known() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let browser = stack.browser();
    browser.post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let token = stack.secrets_to(&alice.email).await.token();
    let reset = json!({"token": token, "password": "nine loud otters of mine"});
    let answer = browser.post("/password/reset").json(reset.clone()).send().await.expect(204);
    assert!(answer.cookie("device").is_some());
    // The same request again is answered as the first.
    let again = browser.post("/password/reset").json(reset).send().await.expect(204);
    assert!(again.cookie("device").is_some());
    stack.lock(&by_name(&alice)).await;
    let mut login = by_name(&alice);
    login["password"] = json!("nine loud otters of mine");
    browser.post("/login").json(login).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_device_has_ten_guesses_of_its_own_whatever_strangers_do() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let device = stack.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    let mut on_device = by_name(&alice);
    on_device["device"] = device;
    for _ in 0..2 {
        stack.lock(&by_name(&alice)).await;
        for _ in 0..9 {
            stack.guess(&on_device).await.expect_problem(401, "invalid_credentials");
        }
        stack.log_in(&on_device, &alice.password).await.expect(200);
        stack.clock.advance(HOUR);
        // A stranger's right password forgets theirs.
        stack.log_in(&by_name(&alice), &alice.password).await.expect(200);
    }
    for _ in 0..10 {
        stack.guess(&on_device).await.expect_problem(401, "invalid_credentials");
    }
    // From now on it is a stranger.
    for _ in 0..5 {
        stack.guess(&on_device).await.expect_problem(401, "invalid_credentials");
    }
    stack.log_in(&on_device, &alice.password).await.expect_problem(429, "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_no_longer_known_is_a_stranger() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let old = stack.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    stack.reset(&alice, "nine loud otters of mine").await;
    stack.lock(&by_name(&alice)).await;
    let mut body = by_name(&alice);
    body["device"] = old;
    stack.log_in(&body, "nine loud otters of mine").await.expect_problem(429, "rate_limited");
}

/// A token of somebody else's, or one that was made up, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn another_s_device_is_a_stranger() {
    let stack = Stack::start().await;
    let (alice, bob) = (stack.person("alice").await, stack.person("bob").await);
    let of_bob = stack.log_in(&by_name(&bob), &bob.password).await.expect(200).json()["device"].clone();
    stack.lock(&by_name(&alice)).await;
    for device in [of_bob, json!("nonsense"), json!("A".repeat(102))] {
        let mut body = by_name(&alice);
        body["device"] = device;
        stack.log_in(&body, &alice.password).await.expect_problem(429, "rate_limited");
    }
}

/// Existing and missing accounts, and the name and the address of one, tell nothing of each other at any step.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_from_a_limit_whether_an_account_exists() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    stack.log_in(&by_name(&alice), &alice.password).await.expect(200);
    let mut steps = Vec::new();
    for who in [
        by_name(&alice),
        by_address(&alice),
        json!({"username": "nobody"}),
        json!({"email": "nobody@example.test"}),
        json!({"username": "no one at all"}),
        json!({"email": "no address"}),
    ] {
        let mut seen = Vec::new();
        for pause in [0, 0, 0, 0, 0, 0, 1, 2, 3, 4] {
            stack.clock.advance(pause);
            stack.proxy().reset();
            let answer = stack.guess(&who).await;
            let cost = stack.proxy().cost();
            let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            headers.sort();
            seen.push((
                answer.status,
                answer.header("retry-after").map(str::to_owned),
                answer.text(),
                headers,
                cost.operations,
                format!("{} {} {}", cost.round_trips, cost.read_units, cost.write_units),
            ));
        }
        steps.push(seen);
    }
    for others in &steps[1..] {
        assert_eq!(others, &steps[0]);
    }
    assert_eq!(steps[0].iter().filter(|step| step.0 == 429).count(), 2, "{:?}", steps[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_name_costs_one_read_and_no_hash() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    stack.lock(&by_name(&alice)).await;
    stack.proxy().reset();
    stack.log_in(&by_name(&alice), &alice.password).await.expect_problem(429, "rate_limited");
    let cost = stack.proxy().cost();
    assert_eq!((cost.operations, cost.round_trips), (vec!["BatchGetItem".to_owned()], 1));
    assert!((cost.read_units - 2.0).abs() < 0.1 && cost.write_units < 0.1);
}

/// However many come at once: reads alone, two units each.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_at_a_locked_name_costs_reads_alone() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    stack.lock(&by_name(&alice)).await;
    stack.proxy().reset();
    let flood = (0..300).map(|_| {
        let (client, body) = (stack.client(), alice.login("app"));
        async move { client.post("/login").json(body).send().await.status }
    });
    assert_eq!(at_once(flood).await, [429; 300]);
    let cost = stack.proxy().cost();
    assert_eq!(cost.operations, ["BatchGetItem"; 300]);
    assert!((cost.read_units - 600.0).abs() < 0.1 && cost.write_units < 0.1, "{cost:?}");
}

/// No more are compared than the limit lets through, however many come at once: 200 with the right password among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_guesses_at_once_are_five() {
    let stack = Stack::with(&[("NewDeviceNotice", "false")]).await;
    let alice = stack.person("alice").await;
    let device = stack.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    let guess = |device: Option<Value>| {
        let client = stack.client();
        let mut body = json!({"username": "alice", "password": "not the password", "client": "app"});
        body["device"] = device.unwrap_or_default();
        async move { client.post("/login").json(body).send().await.status }
    };
    let statuses = at_once((0..200).map(|_| guess(None))).await;
    let compared = statuses.iter().filter(|status| **status == 401).count();
    assert!((1..=5).contains(&compared), "{compared} were compared");
    assert_eq!(compared + statuses.iter().filter(|status| **status == 429).count(), 200);

    // One known device, of many tries at once: its ten, and then it is a stranger, of whom there may be what was left.
    let statuses = at_once((0..200).map(|_| guess(Some(device.clone())))).await;
    let compared_on_device = statuses.iter().filter(|status| **status == 401).count();
    assert!((10..=15 - compared).contains(&compared_on_device), "{compared_on_device} were compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_that_could_not_be_compared_is_not_counted() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    for _ in 0..8 {
        stack.proxy().throttle(&["Query"]);
        stack.guess(&by_name(&alice)).await.expect_problem(503, "unavailable");
        stack.proxy().heal();
    }
    for _ in 0..5 {
        stack.guess(&by_name(&alice)).await.expect_problem(401, "invalid_credentials");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_may_have_no_limits() {
    let parameters = [
        ("PasswordFailuresAtOnce", "0"),
        ("PasswordFailures", "0"),
        ("DevicePasswordFailures", "0"),
        ("AddressMailsHourly", "0"),
        ("AddressMailsDaily", "0"),
    ];
    let stack = Stack::with(&parameters).await;
    let alice = stack.person("alice").await;
    let device = stack.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    let mut on_device = by_name(&alice);
    on_device["device"] = device;
    for who in [by_name(&alice), on_device] {
        for _ in 0..12 {
            stack.guess(&who).await.expect_problem(401, "invalid_credentials");
        }
        stack.log_in(&who, &alice.password).await.expect(200);
    }
    let before = stack.secrets_sent(&alice.email).await;
    for _ in 0..12 {
        stack.client().post("/password/forgot").json(by_name(&alice)).send().await.expect(202);
    }
    assert_eq!(stack.secrets_sent(&alice.email).await, before + 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_resets_an_hour_and_ten_a_day_are_mailed_and_all_answered_alike() {
    let stack = Stack::with_proxy(&[]).await;
    let alice = stack.person("alice").await;
    let before = stack.secrets_sent(&alice.email).await;
    let mut costs = Vec::new();
    let mut sent = Vec::new();
    for hour in 0..4 {
        for count in 0..7 {
            // Name and address are one account.
            let who = if count % 2 == 0 { by_name(&alice) } else { by_address(&alice) };
            stack.proxy().reset();
            let answer = stack.client().post("/password/forgot").json(who).send().await.expect(202);
            assert!(answer.cookie("reset").is_some());
            costs.push(stack.proxy().cost().operations);
            stack.mails().await;
        }
        sent.push(stack.secrets_sent(&alice.email).await - before);
        stack.clock.advance(HOUR);
        let _ = hour;
    }
    assert_eq!(sent, [5, 10, 10, 10]);
    stack.clock.advance(DAY);
    stack.client().post("/password/forgot").json(by_name(&alice)).send().await.expect(202);
    assert_eq!(stack.secrets_sent(&alice.email).await - before, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_device_is_mailed_whatever_strangers_ask_for() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let device = stack.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    let before = stack.secrets_sent(&alice.email).await;
    for _ in 0..8 {
        stack.client().post("/password/forgot").json(by_address(&alice)).send().await.expect(202);
    }
    assert_eq!(stack.secrets_sent(&alice.email).await, before + 5);
    let mut own = by_address(&alice);
    own["device"] = device;
    for count in 1..8 {
        stack.client().post("/password/forgot").json(own.clone()).send().await.expect(202);
        assert_eq!(stack.secrets_sent(&alice.email).await, before + 5 + count.min(5));
    }
    // What is mailed works.
    let token = stack.secrets_to(&alice.email).await.token();
    let body = json!({"token": token, "password": "nine loud otters of mine"});
    stack.client().post("/password/reset").json(body).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_is_not_mailed_has_no_code() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let mut last = Value::Null;
    for _ in 0..6 {
        let body = json!({"username": "alice", "client": "app"});
        last = stack.client().post("/password/forgot").json(body).send().await.expect(202).json()["reset_id"].clone();
    }
    let code = stack.secrets_to(&alice.email).await.code();
    let body = json!({"reset_id": last, "code": code, "password": "nine loud otters of mine"});
    stack.client().post("/password/reset").json(body).send().await.expect_problem(400, "invalid_verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_sign_ups_an_hour_are_mailed_to_one_address() {
    let stack = Stack::start().await;
    let sign_up = |count: usize| {
        let person = Person { email: "alice@example.test".to_owned(), ..Person::named(&format!("alice{count}")) };
        let client = stack.client();
        async move {
            let answer = client.post("/signup").json(person.signup("app")).send().await.expect(202).json();
            assert!(answer["signup_id"].is_string());
            answer["signup_id"].clone()
        }
    };
    let mut ids = Vec::new();
    for count in 0..7 {
        ids.push(sign_up(count).await);
    }
    assert_eq!(stack.secrets_sent("alice@example.test").await, 5);
    // What was not mailed has no code, and gets one when it is mailed again.
    let code = stack.secrets_to("alice@example.test").await.code();
    stack
        .verify(json!({"signup_id": ids[6], "code": code, "client": "app"}))
        .await
        .expect_problem(400, "invalid_verification");
    stack.clock.advance(HOUR);
    stack.client().post("/signup/resend").json(json!({"signup_id": ids[6]})).send().await.expect(202);
    let code = stack.secrets_to("alice@example.test").await.code();
    stack.verify(json!({"signup_id": ids[6], "code": code, "client": "app"})).await.expect(201);
    // Other kinds of mails are counted for themselves.
    let before = stack.secrets_sent("alice@example.test").await;
    stack.client().post("/password/forgot").json(json!({"email": "alice@example.test"})).send().await.expect(202);
    assert_eq!(stack.secrets_sent("alice@example.test").await, before + 1);
}

/// A resend that is not mailed leaves what was mailed last.
#[tokio::test(flavor = "multi_thread")]
async fn a_resend_beyond_the_limit_leaves_the_last_mail_s_code() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    for count in 0..4 {
        let other = Person { email: alice.email.clone(), ..Person::named(&format!("other{count}")) };
        stack.client().post("/signup").json(other.signup("app")).send().await.expect(202);
    }
    let (signup_id, mail) = stack.sign_up(&alice).await;
    stack.clock.advance(60);
    let resend = json!({"signup_id": signup_id});
    stack.client().post("/signup/resend").json(resend.clone()).send().await.expect(202);
    assert_eq!(stack.secrets_sent(&alice.email).await, 5);
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_changes_an_hour_are_mailed_to_an_address_and_every_one_is_told_to_the_owner() {
    let stack = Stack::start().await;
    let (alice, app) = stack.person_with_session("alice").await;
    let change = json!({"email": "someone@example.test"});
    let before = stack.mails().await.iter().filter(|mail| mail.to == alice.email).count();
    for _ in 0..7 {
        let call = stack.client().post("/email/change").bearer(&app.access).json(change.clone());
        assert!(call.send().await.expect(202).json()["change_id"].is_string());
    }
    assert_eq!(stack.secrets_sent("someone@example.test").await, 5);
    assert_eq!(stack.mails().await.iter().filter(|mail| mail.to == alice.email).count(), before + 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_of_changes_count_by_session() {
    let stack = Stack::start().await;
    let (_, app) = stack.person_with_session("alice").await;
    let begin = async || {
        let call = stack.client().post("/email/change").bearer(&app.access).json(json!({"email": "new@example.test"}));
        call.send().await.expect(202).json()["change_id"].clone()
    };
    let confirm = async |id: &Value, code: &str| {
        let body = json!({"change_id": id, "code": code});
        stack.client().post("/email/confirm").bearer(&app.access).json(body).send().await
    };
    let first = begin().await;
    for _ in 0..3 {
        confirm(&first, "00000000").await.expect_problem(400, "invalid_verification");
    }
    let second = begin().await;
    for _ in 0..2 {
        confirm(&second, "00000000").await.expect_problem(400, "invalid_verification");
    }
    let mail = stack.secrets_to("new@example.test").await;
    confirm(&second, &mail.code()).await.expect_problem(400, "invalid_verification");
    // The link is no guess, and right codes are none.
    let body = json!({"token": mail.token()});
    stack.client().post("/email/confirm").bearer(&app.access).json(body).send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_mails_go_to_nobody_in_an_hour() {
    let stack = Stack::with(&[("StrangerMailRate", "3")]).await;
    let forgot = async |email: &str| {
        stack.client().post("/password/forgot").json(json!({"email": email})).send().await.expect(202);
    };
    for count in 0..6 {
        forgot(&format!("nobody{count}@example.test")).await;
    }
    assert_eq!(stack.mails().await.len(), 3);
    // Sign-ups and resets go out.
    let alice = stack.person("alice").await;
    forgot(&alice.email).await;
    assert_eq!(stack.mails().await.len(), 5);
    stack.clock.advance(HOUR);
    forgot("nobody9@example.test").await;
    assert_eq!(stack.mails().await.len(), 6);
}

/// From an address, as the CDN says it.
fn from(call: Call, address: &str) -> Call {
    call.header("x-origin-secret", SECRET).header(HEADER, address)
}

/// A login from an address.
async fn log_in_from(stack: &Stack, address: &str, body: Value) -> Answer {
    from(stack.client().post("/login").json(body), address).send().await
}

fn wrong(username: &str) -> Value {
    json!({"username": username, "password": "not the password", "client": "app"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_failures_from_one_source_in_ten_minutes() {
    let (open, behind) = deployments(&[]).await;
    let (alice, bob) = (open.person("alice").await, open.person("bob").await);
    let device = open.log_in(&by_name(&alice), &alice.password).await.expect(200).json()["device"].clone();
    let (signup_id, mail) = open.sign_up(&Person::named("carol")).await;
    let forgot = json!({"email": bob.email, "client": "app"});
    let reset_id =
        open.client().post("/password/forgot").json(forgot).send().await.expect(202).json()["reset_id"].clone();
    let reset_code = open.secrets_to(&bob.email).await.code();
    // What is right is no failure.
    for _ in 0..3 {
        log_in_from(&behind, "203.0.113.7", bob.login("app")).await.expect(200);
    }
    for count in 0..98 {
        log_in_from(&behind, "203.0.113.7", wrong(&format!("name{count}")))
            .await
            .expect_problem(401, "invalid_credentials");
    }
    // Wrong codes are counted with them.
    let verify = |code: &str| {
        behind.client().post("/verify").json(json!({"signup_id": signup_id, "code": code, "client": "app"}))
    };
    let reset = |code: &str| {
        let body = json!({"reset_id": reset_id, "code": code, "password": "nine loud otters of mine"});
        behind.client().post("/password/reset").json(body)
    };
    from(verify("00000000"), "203.0.113.7").send().await.expect_problem(400, "invalid_verification");
    from(reset("00000000"), "203.0.113.7").send().await.expect_problem(400, "invalid_verification");

    for _ in 0..2 {
        let answer = log_in_from(&behind, "203.0.113.7", bob.login("app")).await.expect_problem(429, "rate_limited");
        assert!((1..=600).contains(&retry_after(&answer)));
    }
    // Right codes are refused unseen too, and no guess of theirs is spent, however often.
    for _ in 0..6 {
        from(verify(&mail.code()), "203.0.113.7").send().await.expect_problem(429, "rate_limited");
        from(reset(&reset_code), "203.0.113.7").send().await.expect_problem(429, "rate_limited");
    }
    // Whoever else is behind that address gets in on a known device; and everybody from elsewhere.
    let mut known = alice.login("app");
    known["device"] = device;
    log_in_from(&behind, "203.0.113.7", known).await.expect(200);
    log_in_from(&behind, "203.0.113.8", bob.login("app")).await.expect(200);
    from(verify(&mail.code()), "203.0.113.8").send().await.expect(201);
    from(reset(&reset_code), "203.0.113.8").send().await.expect(204);
    // What the source was refused is not counted under the name.
    open.guess(&by_name(&alice)).await.expect_problem(401, "invalid_credentials");
    behind.clock.advance(600);
    log_in_from(&behind, "203.0.113.7", wrong("name1")).await.expect_problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_source_is_a_64_and_a_48_has_ten_times_as_much() {
    let (_open, behind) = deployments(&[("SourceFailures", "2")]).await;
    let mut compared = 0;
    for subnet in 0..12 {
        for host in 1..=3 {
            let address = format!("2001:db8:7:{subnet:x}::{host:x}");
            let answer = log_in_from(&behind, &address, wrong(&format!("name{subnet}x{host}"))).await;
            let expected = if host <= 2 && subnet < 10 { 401 } else { 429 };
            assert_eq!(answer.status, expected, "{address}");
            compared += usize::from(answer.status == 401);
        }
    }
    assert_eq!(compared, 20);
    log_in_from(&behind, "2001:db8:8::1", wrong("name")).await.expect(401);
    log_in_from(&behind, "[2001:db8:8::2]:4711", wrong("name")).await.expect(401);
    log_in_from(&behind, "2001:db8:8::3", wrong("name")).await.expect(429);
    // An address in another form is the same one.
    for address in ["198.51.100.1", "198.51.100.1:443"] {
        log_in_from(&behind, address, wrong("another")).await.expect(401);
    }
    log_in_from(&behind, "::ffff:198.51.100.1", wrong("another")).await.expect(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_from_one_source_are_counted_by_kind() {
    let (open, behind) = deployments(&[("SourceRequests", "2")]).await;
    let (_, app) = open.person_with_session("alice").await;
    let requests: [(&str, Value, u16); 4] = [
        ("/signup", Value::Null, 202),
        ("/signup/resend", json!({"signup_id": "nothing at all"}), 202),
        ("/password/forgot", json!({"email": "alice@example.test"}), 202),
        ("/email/change", json!({"email": "new@example.test"}), 202),
    ];
    for (path, body, status) in requests {
        let send = async |address: &str, count: usize| {
            let body = match (path, &body) {
                ("/signup", _) => Person::named(&format!("person{count}")).signup("app"),
                ("/signup/resend", _) => json!({"signup_id": format!("nothing {count}")}),
                (_, body) => body.clone(),
            };
            from(behind.client().post(path).bearer(&app.access).json(body), address).send().await
        };
        for count in 0..2 {
            assert_eq!(send("203.0.113.7", count).await.status, status, "{path}");
        }
        for count in 2..4 {
            let answer = send("203.0.113.7", count).await.expect_problem(429, "rate_limited");
            assert!((1..=HOUR).contains(&retry_after(&answer)), "{path}");
        }
        assert_eq!(send("203.0.113.8", 4).await.status, status, "{path}");
    }
    behind.clock.advance(HOUR);
    let forgot = behind.client().post("/password/forgot").json(json!({"email": "alice@example.test"}));
    from(forgot, "203.0.113.7").send().await.expect(202);
}

/// What a source is refused does not use up what an address may be mailed: one source silences nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_source_uses_up_nobody_s_mails() {
    let (open, behind) = deployments(&[("SourceRequests", "1")]).await;
    let (_, app) = open.person_with_session("alice").await;
    for count in 0..8 {
        let signup =
            Person { email: "bob@example.test".to_owned(), ..Person::named(&format!("bob{count}")) }.signup("app");
        let status = from(behind.client().post("/signup").json(signup), "203.0.113.7").send().await.status;
        assert_eq!(status, if count == 0 { 202 } else { 429 });
        let change =
            behind.client().post("/email/change").bearer(&app.access).json(json!({"email": "bob@example.test"}));
        let status = from(change, "203.0.113.7").send().await.status;
        assert_eq!(status, if count == 0 { 202 } else { 429 });
        let forgot = behind.client().post("/password/forgot").json(json!({"username": "alice"}));
        from(forgot, "203.0.113.7").send().await;
    }
    // Nor does a name that is taken.
    for _ in 0..8 {
        let taken = Person { email: "bob@example.test".to_owned(), ..Person::named("alice") };
        open.client().post("/signup").json(taken.signup("app")).send().await.expect_problem(409, "username_taken");
    }
    let (_, mail) = open.sign_up(&Person::named("bob")).await;
    assert!(mail.has_secrets());
    let before = open.secrets_sent("alice@example.test").await;
    open.client().post("/password/forgot").json(json!({"username": "alice"})).send().await.expect(202);
    assert_eq!(open.secrets_sent("alice@example.test").await, before + 1);
}
