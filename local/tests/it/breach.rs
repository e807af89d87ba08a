//! `BreachCheck`: a new password is looked for in leaks wherever one is set, and nothing but five digits of its hash leaves.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Person, Stack, retry_key};

/// What everybody has used somewhere.
const LEAKED: &str = "eleven calm badgers";
const NEW: &str = "nine loud otters";

/// A stand-in for Have I Been Pwned, at which nothing has leaked until a test says so.
struct Ranges {
    url: String,
    state: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    leaked: Vec<String>,
    /// The beginnings of hashes that were asked for.
    asked: Vec<String>,
    is_down: bool,
}

impl Ranges {
    async fn start() -> Self {
        let state = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new().route("/range/{prefix}", get(answer)).with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, state, task }
    }

    /// A stack that asks it.
    async fn stack(&self, policy: &str) -> Stack {
        Stack::with_proxy(&[("BreachCheck", policy), ("BreachCheckUrl", &self.url)]).await
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leak(&self, password: &str) {
        self.seen().leaked.push(sha1(password));
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().asked)
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As the service answers: the ends of the hashes that begin so, and padding.
async fn answer(
    State(state): State<Arc<Mutex<Seen>>>,
    Path(prefix): Path<String>,
    headers: HeaderMap,
) -> Result<String, axum::http::StatusCode> {
    let mut seen = state.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!((prefix.len(), &headers["add-padding"]), (5, &axum::http::HeaderValue::from_static("true")));
    seen.asked.push(prefix.clone());
    if seen.is_down {
        return Err(axum::http::StatusCode::SERVICE_UNAVAILABLE);
    }
    let leaked = seen.leaked.iter().filter_map(|hash| hash.strip_prefix(&prefix)).map(|rest| format!("{rest}:3861493"));
    let padding = (0..850_u32).map(|index| format!("{:035X}:0", u128::from(index) << 100));
    Ok(leaked.chain(padding).collect::<Vec<_>>().join("\r\n"))
}

fn sha1(text: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let halves = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])).collect()
}

fn prefix(password: &str) -> String {
    sha1(password)[..5].to_owned()
}

fn with_password(person: &Person, password: &str) -> Person {
    Person { password: password.to_owned(), ..person.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_is_refused_before_anything_is_known_of_the_address() {
    let ranges = Ranges::start().await;
    ranges.leak(LEAKED);
    let stack = ranges.stack("refuse").await;
    let alice = stack.person("alice").await;
    assert_eq!(ranges.asked(), [prefix(&alice.password)], "asked once, and not again at the verification");
    let mails = stack.mails().await.len();
    let taken = Person { username: "mallory".to_owned(), ..alice.clone() };
    let mut answers = Vec::new();
    for person in [Person::named("bob"), taken] {
        stack.proxy().reset();
        let call = stack.client().post("/signup").json(with_password(&person, LEAKED).signup("app"));
        let answer = call.send().await.expect_problem(422, "weak_password").expect_no_cookies();
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("leak")), "{}", answer.text());
        assert_eq!(stack.proxy().cost().operations, Vec::<String>::new());
        assert_eq!(ranges.asked(), [prefix(LEAKED)]);
        answers.push(answer.body);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(stack.mails().await.len(), mails);

    // What has not leaked goes on as ever, and is asked for as often.
    for person in [Person::named("bob"), Person { username: "mallory".to_owned(), ..alice.clone() }] {
        let call = stack.client().post("/signup").json(with_password(&person, NEW).signup("app"));
        call.send().await.expect(202);
        assert_eq!(ranges.asked(), [prefix(NEW)]);
    }
    // A password that the list refuses is nobody else's business.
    let call = stack.client().post("/signup").json(with_password(&alice, "password1").signup("app"));
    call.send().await.expect_problem(422, "weak_password");
    stack.client().post("/login").json(with_password(&alice, LEAKED).login("app")).send().await.expect(401);
    stack.app(&alice).await;
    assert_eq!(ranges.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_refused_and_spends_nothing() {
    let ranges = Ranges::start().await;
    ranges.leak(LEAKED);
    let stack = ranges.stack("refuse").await;
    let alice = stack.person("alice").await;
    let body = json!({"email": alice.email, "client": "app"});
    let answer = stack.client().post("/password/forgot").json(body).send().await.expect(202);
    let (reset_id, mail) = (answer.json()["reset_id"].clone(), stack.secrets_to(&alice.email).await);
    ranges.asked();
    let reset = |body: serde_json::Value| stack.client().post("/password/reset").json(body).send();

    // Whoever has no proof has nothing asked.
    reset(json!({"token": "A".repeat(54), "password": LEAKED})).await.expect_problem(400, "invalid_verification");
    let other = if mail.code() == "12345678" { "87654321" } else { "12345678" };
    let body = json!({"reset_id": reset_id, "code": other, "password": LEAKED});
    reset(body).await.expect_problem(400, "invalid_verification");
    assert_eq!(ranges.asked(), Vec::<String>::new());

    for _ in 0..6 {
        for proof in [json!({"token": mail.token()}), json!({"reset_id": reset_id, "code": mail.code()})] {
            let mut body = proof;
            body["password"] = json!(LEAKED);
            let answer = reset(body).await.expect_problem(422, "weak_password");
            assert!(answer.text().contains("leak"), "{}", answer.text());
            assert_eq!(ranges.asked(), [prefix(LEAKED)]);
        }
    }
    stack.app(&alice).await;

    let by_code = json!({"reset_id": reset_id, "code": mail.code(), "password": NEW});
    reset(by_code.clone()).await.expect(204);
    // A lost answer is given again, whatever has leaked since.
    ranges.leak(NEW);
    ranges.asked();
    reset(by_code).await.expect(204);
    assert_eq!(ranges.asked(), Vec::<String>::new());
    stack.app(&with_password(&alice, NEW)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reset_page_says_that_it_leaked() {
    let ranges = Ranges::start().await;
    ranges.leak(LEAKED);
    let stack = ranges.stack("refuse").await;
    let alice = stack.person("alice").await;
    stack.client().post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
    let token = stack.secrets_to(&alice.email).await.token();
    for (language, leaked, guessable) in
        [("en", "That password has leaked", "too easy to guess"), ("ko", "유출된 적이 있어", "추측하기 쉽습니다")]
    {
        for (password, words, others) in [(LEAKED, leaked, guessable), ("password1", guessable, leaked)] {
            let form = [("token", token.as_str()), ("password", password)];
            let call = stack.browser().post("/password/reset").form(&form).header("accept-language", language);
            let html = call.send().await.expect(422).text();
            assert!(html.contains("role=\"alert\"") && html.contains(words) && !html.contains(others), "{html}");
            assert!(html.contains("type=\"password\"") && html.contains(&token), "{html}");
        }
    }
    let form = [("token", token.as_str()), ("password", NEW)];
    stack.browser().post("/password/reset").form(&form).send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_refused_and_is_no_guess() {
    let ranges = Ranges::start().await;
    ranges.leak(LEAKED);
    let stack = ranges.stack("refuse").await;
    let (alice, app) = stack.person_with_session("alice").await;
    ranges.asked();
    let key = retry_key();
    let change = |password: &str, new: &str| {
        let body = json!({"password": password, "new_password": new});
        stack.client().post("/password/change").bearer(&app.access).retry_key(&key).json(body).send()
    };
    for _ in 0..9 {
        change("not the password", LEAKED).await.expect_problem(403, "wrong_password");
    }
    assert_eq!(ranges.asked(), Vec::<String>::new());
    for _ in 0..3 {
        let answer = change(&alice.password, LEAKED).await.expect_problem(422, "weak_password");
        assert!(answer.text().contains("leak"), "{}", answer.text());
        assert_eq!(ranges.asked(), [prefix(LEAKED)]);
    }
    stack.me(&app.access).await.expect(200);
    stack.app(&alice).await;
    let first = change(&alice.password, NEW).await.expect(200).json()["session"]["id"].clone();
    ranges.leak(NEW);
    ranges.asked();
    assert_eq!(change(&alice.password, NEW).await.expect(200).json()["session"]["id"], first);
    assert_eq!(ranges.asked(), Vec::<String>::new());
    stack.app(&with_password(&alice, NEW)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_changes_no_answer_and_off_asks_nobody() {
    for (policy, asks) in [("warn", true), ("off", false)] {
        let ranges = Ranges::start().await;
        for password in [LEAKED, NEW, &Person::named("alice").password] {
            ranges.leak(password);
        }
        let stack = ranges.stack(policy).await;
        let (alice, app) = stack.person_with_session("alice").await;
        let body = json!({"password": alice.password, "new_password": LEAKED});
        stack.client().post("/password/change").bearer(&app.access).json(body).send().await.expect(200);
        let alice = with_password(&alice, LEAKED);
        stack.client().post("/password/forgot").json(json!({"email": alice.email})).send().await.expect(202);
        let token = stack.secrets_to(&alice.email).await.token();
        let body = json!({"token": token, "password": NEW});
        stack.client().post("/password/reset").json(body).send().await.expect(204);
        stack.app(&with_password(&alice, NEW)).await;
        let asked = [prefix(&Person::named("alice").password), prefix(LEAKED), prefix(NEW)];
        assert_eq!(ranges.asked(), if asks { &asked[..] } else { &[] }, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_down_passwords_are_taken() {
    let ranges = Ranges::start().await;
    ranges.leak(LEAKED);
    let stack = ranges.stack("refuse").await;
    let bob = with_password(&Person::named("bob"), LEAKED);
    stack.client().post("/signup").json(bob.signup("app")).send().await.expect_problem(422, "weak_password");
    ranges.seen().is_down = true;
    stack.sign_up(&bob).await;
    assert_eq!(ranges.asked().len(), 2);
    ranges.seen().is_down = false;
    let carol = with_password(&Person::named("carol"), LEAKED);
    stack.client().post("/signup").json(carol.signup("app")).send().await.expect_problem(422, "weak_password");
}
