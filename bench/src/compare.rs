//! Whether the time of an answer tells whether somebody has an account: `cargo run --release -p bench -- compare`.
//!
//! For each request that must not tell, a warm process of the function answers it thousands of times for known and unknown
//! in turns, in random order, each time from another source, and the times by the clock, from the event to the answer, are
//! compared by the Mann-Whitney test. A variant of one function that answers early where there is no account has to be
//! caught, or the measurement sees nothing. `-- compare login` measures what has that in its name.

use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_dynamodb::types::StreamSpecification;
use serde_json::{Value, json};

use crate::fixture::{Fixture, PASSWORD, text};
use crate::lambda::{Program, Running, now};
use crate::subjects::with_body;
use crate::{build, median};

/// People, and as many addresses of nobody.
const PEOPLE: usize = 1000;
/// Requests about each: fewer than a limit lets through.
const ROUNDS: usize = 2;
/// Invocations before any is measured.
const WARM_UP: usize = 40;
/// How rare a difference as large has to be if there is none: 1 %, on both sides.
const CRITICAL: f64 = 2.576;

/// Requests about somebody and about nobody.
struct Pair {
    name: &'static str,
    /// The file in `events/` whose body the requests replace.
    event: &'static str,
    program: Program,
    known: Vec<Value>,
    unknown: Vec<Value>,
    /// Whether it has to be told apart.
    is_leaky: bool,
}

/// What was found.
struct Finding {
    name: &'static str,
    samples: usize,
    /// Milliseconds by the clock, of known and unknown.
    medians: [f64; 2],
    /// The statistic, in standard deviations.
    z: f64,
    is_leaky: bool,
}

impl Finding {
    fn differs(&self) -> bool {
        self.z.abs() > CRITICAL
    }

    fn passes(&self) -> bool {
        self.differs() == self.is_leaky
    }
}

/// Compares them all; the table, and whether it is as it has to be.
pub(crate) async fn run(fixture: &mut Fixture, names: &[String]) -> (String, bool) {
    let mut findings = Vec::new();
    let mut pairs = pairs(fixture).await;
    pairs.retain(|pair| names.is_empty() || names.iter().any(|name| pair.name.contains(name)));
    fixture.stop_stream().await;
    for pair in pairs {
        findings.push(measure(pair).await);
    }
    let mut text = String::from(
        "| request | samples of each | known, median ms | unknown, median ms | difference µs | Mann-Whitney z | tells |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for finding in &findings {
        let [known, unknown] = finding.medians;
        let _ = writeln!(
            text,
            "| {} | {} | {known:.3} | {unknown:.3} | {:.0} | {:.2} | {} |",
            finding.name,
            finding.samples,
            (known - unknown) * 1e3,
            finding.z,
            if finding.differs() { "yes" } else { "no" },
        );
    }
    (text, findings.iter().all(Finding::passes))
}

async fn pairs(fixture: &mut Fixture) -> Vec<Pair> {
    let environments = fixture.environments();
    let program = |name: &str, function: &str| Program {
        path: build::binary(name),
        arguments: Vec::new(),
        environment: environments[function].clone(),
    };
    let rounds = |make: &dyn Fn(usize) -> Value| -> Vec<Value> {
        (0..PEOPLE * ROUNDS).map(|number| make(number % PEOPLE)).collect()
    };
    let person = |number: usize| format!("person{number}@example.com");
    let nobody = |prefix: &str, number: usize| format!("{prefix}{number}@example.net");
    let guess = |email: String| json!({ "email": email, "password": "not the password", "client": "app" });
    let forgot = |email: String| json!({ "email": email, "client": "app" });
    // Each name is signed up once.
    let sign_up = |name: String, email: String| json!({ "username": name, "email": email, "password": PASSWORD, "client": "app" });
    let ids = fixture.prepare_resends(PEOPLE).await;
    vec![
        Pair {
            name: "`/password/forgot` that answers nobody early",
            event: "password-forgot.json",
            program: program("leaky", "password-forgot"),
            known: rounds(&|number| forgot(person(number))),
            unknown: rounds(&|number| forgot(nobody("leaky", number))),
            is_leaky: true,
        },
        Pair {
            name: "`POST /password/forgot`",
            event: "password-forgot.json",
            program: program("password-forgot", "password-forgot"),
            known: rounds(&|number| forgot(person(number))),
            unknown: rounds(&|number| forgot(nobody("forgot", number))),
            is_leaky: false,
        },
        Pair {
            name: "`POST /login`, a wrong password",
            event: "login.json",
            program: program("login", "login"),
            known: rounds(&|number| guess(person(number))),
            unknown: rounds(&|number| guess(nobody("login", number))),
            is_leaky: false,
        },
        Pair {
            name: "`POST /signup`",
            event: "signup.json",
            program: program("signup", "signup"),
            known: (0..PEOPLE * ROUNDS).map(|n| sign_up(format!("taken{n}"), person(n % PEOPLE))).collect(),
            unknown: (0..PEOPLE * ROUNDS).map(|n| sign_up(format!("free{n}"), nobody("free", n % PEOPLE))).collect(),
            is_leaky: false,
        },
        Pair {
            name: "`POST /signup/resend`",
            event: "signup-resend.json",
            program: program("signup", "signup"),
            unknown: ids.iter().map(|id| json!({ "signup_id": unknown_like(id) })).collect(),
            known: ids.into_iter().map(|id| json!({ "signup_id": id })).collect(),
            is_leaky: false,
        },
    ]
}

async fn measure(pair: Pair) -> Finding {
    println!("{} …", pair.name);
    let mut running = Running::start(&pair.program).await;
    running.asks().await;
    let mut times: [Vec<f64>; 2] = Default::default();
    let count = pair.known.len().min(pair.unknown.len());
    let mut stalled = 0;
    for (turn, (known, unknown)) in pair.known.into_iter().zip(pair.unknown).enumerate() {
        let mut events = [(0, with_body(pair.event, &known)), (1, with_body(pair.event, &unknown))];
        // Whichever comes first meets other caches.
        if rand_bit(turn) {
            events.reverse();
        }
        let mut took = [0.0; 2];
        let mut is_stalled = false;
        for (which, event) in events {
            let before = now();
            let answer = running.invoke(event).await;
            took[which] = milliseconds(now().duration_since(before));
            running.asks().await;
            let status = answer["statusCode"].as_u64().unwrap_or_default();
            assert!([202, 401, 503].contains(&status), "{}: {answer}", pair.name);
            is_stalled |= status == 503;
        }
        if is_stalled {
            stalled += 1;
        } else if turn >= WARM_UP {
            times[0].push(took[0]);
            times[1].push(took[1]);
        }
    }
    // A machine that does something else for seconds makes calls of the database time out.
    assert!(stalled * 100 <= count, "{}: {stalled} of {count} met a machine that stood still", pair.name);
    running.stop().await;
    let z = mann_whitney(&times[0], &times[1]);
    let samples = times[0].len();
    let medians = times.map(median);
    println!("{samples} samples of each, medians {medians:.3?} ms, z = {z:.2}");
    Finding { name: pair.name, samples, medians, z, is_leaky: pair.is_leaky }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A coin that falls the same way in each run.
fn rand_bit(turn: usize) -> bool {
    (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) & 1 == 1
}

/// The Mann-Whitney statistic of two samples, in standard deviations from what it is where neither tends to be larger
/// (normal approximation, without ties, as times by the clock have hardly any).
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mann_whitney(first: &[f64], second: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = first.iter().map(|time| (*time, true)).collect();
    all.extend(second.iter().map(|time| (*time, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rank_sum: f64 =
        all.iter().enumerate().filter(|(_, (_, is_first))| *is_first).map(|(i, _)| i as f64 + 1.0).sum();
    let (n, m) = (first.len() as f64, second.len() as f64);
    let u = rank_sum - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

impl Fixture {
    /// Stops the stream of the table of users: nobody mails meanwhile, and the embedded database, which looks through all
    /// records of a stream for each one that it writes, does not grow slower.
    async fn stop_stream(&self) {
        let off = StreamSpecification::builder().stream_enabled(false).build().expect("a specification");
        let update = self.database().update_table().table_name("UsersTable").stream_specification(off);
        update.send().await.expect("a table without a stream");
    }

    /// Sign-ups that wait for another mail, each of which is due.
    async fn prepare_resends(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let body = self.signup();
            ids.push(text(&self.post("/signup", body).await["signup_id"]));
        }
        println!("A minute, until mails of {count} sign-ups may be sent again.");
        tokio::time::sleep(Duration::from_secs(61)).await;
        ids
    }
}

/// A `signup_id` that looks like another one, and is nobody's.
fn unknown_like(id: &str) -> String {
    let middle = id.len() / 2;
    let other = if &id[middle..=middle] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &id[..middle], &id[middle + 1..])
}

#[cfg(test)]
mod tests {
    use super::mann_whitney;

    #[test]
    fn the_statistic_is_small_for_like_samples_and_large_for_others() {
        let noise = |seed: u32| -> Vec<f64> {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f64::from(state >> 8) / f64::from(1 << 24)
            };
            (0..2000).map(|_| next() + next()).collect()
        };
        assert!(mann_whitney(&noise(1), &noise(2)).abs() < 2.576);
        let later: Vec<f64> = noise(2).iter().map(|time| time + 0.1).collect();
        assert!(mann_whitney(&noise(1), &later) < -4.0);
        assert!(mann_whitney(&later, &noise(1)) > 4.0);
        // By hand: ranks 1, 2, 3 against 4, 5, 6: U = 0 of 9, and a variance of 5.25.
        let z = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]);
        assert!((z + 4.5 / 5.25_f64.sqrt()).abs() < 1e-12, "{z}");
    }
}
