//! The programs that are measured, and the events that each is given.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::build;
use crate::fixture::{Fixture, event, text};
use crate::lambda::{Program, Running};

/// Warm invocations of each spawn. The first of a function with a pair of calls opens its second connection, so a few would
/// be no measure of all later ones.
const WARM: usize = 40;
/// Of those that hash a password, which takes its time.
const WARM_HASHING: usize = 20;
/// Of those that need a sign-up of somebody each.
const WARM_PREPARED: usize = 6;

/// Whether an answer is right.
type Expectation = fn(&Value) -> bool;

const SUCCESS: Expectation = |answer| matches!(answer["statusCode"].as_u64(), Some(200..=299));

/// What a program is asked next.
enum Script {
    /// The same again and again.
    Same(Value),
    /// Something new each time.
    New(fn(&mut Fixture) -> Value),
    /// A refresh of what the answer before brought.
    Refresh(Value),
}

/// A program, and what it is asked.
pub(crate) struct Subject {
    /// Its name in the tables.
    pub(crate) name: String,
    /// What to spawn.
    pub(crate) program: Program,
    /// The binary that was built, of a size that counts; `None` for an interpreter.
    pub(crate) binary: Option<PathBuf>,
    /// Warm invocations of each spawn.
    pub(crate) warm: usize,
    script: Script,
    expects: Expectation,
}

impl Subject {
    /// Has its binary run from a new copy from now on.
    pub(crate) fn unpack(&mut self, directory: &Path) {
        if let Some(binary) = &self.binary {
            self.program.path = unpacked(binary, directory);
        }
    }

    /// Has it answer its next event, and looks whether the answer is right.
    pub(crate) async fn invoke(&mut self, running: &mut Running, fixture: &mut Fixture) {
        let event = match &self.script {
            Script::Same(event) => event.clone(),
            Script::New(make) => make(fixture),
            Script::Refresh(token) => refresh_event(token),
        };
        let answer = running.invoke(event).await;
        assert!((self.expects)(&answer), "{}: {answer}", self.name);
        if let Script::Refresh(token) = &mut self.script {
            *token = token_of(&answer)["refresh"].clone();
        }
    }
}

/// A new copy of a binary, as the Lambda service runs one that it has unpacked. In which pieces of memory the kernel keeps
/// a file decides up to a half of what it takes, and stays as it is as long as the file does.
pub(crate) fn unpacked(binary: &Path, directory: &Path) -> PathBuf {
    let copy = directory.join(binary.file_name().expect("a file"));
    let _ = std::fs::remove_file(&copy);
    std::fs::copy(binary, &copy).expect("a copy");
    copy
}

/// All programs, in the order of the tables.
pub(crate) async fn all(
    fixture: &mut Fixture,
    node: Option<(PathBuf, PathBuf)>,
    python: Option<(PathBuf, PathBuf)>,
) -> Vec<Subject> {
    let mut subjects = references(fixture);
    subjects.extend(functions(fixture).await);
    if let Some((node, bundle)) = node {
        let arguments = vec![bundle.to_string_lossy().into_owned()];
        subjects.extend(interpreted(fixture, "Node.js", node, arguments, None).await);
    }
    if let Some((python, folder)) = python {
        let arguments = ["-m", "awslambdaric", "function.handler"].map(str::to_owned).to_vec();
        let folder = folder.to_string_lossy().into_owned();
        subjects.extend(interpreted(fixture, "Python", python, arguments, Some(folder)).await);
    }
    subjects
}

fn references(fixture: &Fixture) -> Vec<Subject> {
    let subjects = ["std-loop", "hello", "sdk", "floor", "stock"].map(|name| {
        let script = Script::Same(event("me.json", |_| {}));
        binary(fixture, name, "me", script, SUCCESS)
    });
    subjects.into()
}

/// The functions. Sign-ups for `verify` are prepared for [`crate::SPAWNS`] spawns.
pub(crate) async fn functions(fixture: &mut Fixture) -> Vec<Subject> {
    let (session, ended, refreshed) = (fixture.sign_in().await, fixture.sign_in().await, fixture.sign_in().await);
    fixture.prepare_verifications(crate::SPAWNS * (WARM_PREPARED + 1)).await;
    let logout = with_body("logout.json", &json!({ "refresh": ended["refresh"] }));
    let bearer = |file| Script::Same(with_bearer(file, &session["access"]));
    let browser = fixture.sign_in_browser().await;
    let renewal = json!({ "access": browser, "generation": 1 });
    let scripts: [(&str, Script, Expectation); 12] = [
        ("authorizer", bearer("authorizer.json"), |answer| answer["isAuthorized"] == true),
        ("jwks", Script::Same(event("jwks.json", |_| {})), SUCCESS),
        ("login", Script::New(|fixture| with_body("login.json", &fixture.login())), SUCCESS),
        ("logout", Script::Same(logout), SUCCESS),
        ("mail-events", Script::Same(event("mail-events.json", |_| {})), |answer| answer["marked"] == 1),
        ("me", bearer("me.json"), SUCCESS),
        ("refresh", Script::Refresh(refreshed["refresh"].clone()), SUCCESS),
        ("renew", Script::Same(renewal), |answer| answer["outcome"] == "unchanged"),
        ("rotate-keys", Script::Same(json!({})), |answer| answer["created"] == 0),
        ("sessions", bearer("sessions.json"), SUCCESS),
        ("signup", Script::New(|fixture| with_body("signup.json", &fixture.signup())), SUCCESS),
        ("verify", Script::New(|fixture| with_body("verify-invalid-code.json", &fixture.verification())), SUCCESS),
    ];
    let subjects = scripts.map(|(name, script, expects)| binary(fixture, name, name, script, expects));
    subjects.into()
}

/// A release binary, with the environment of a function.
fn binary(fixture: &Fixture, name: &str, function: &str, script: Script, expects: Expectation) -> Subject {
    let environment = fixture.environments()[function].clone();
    let path = build::binary(name);
    let program = Program { path: path.clone(), arguments: Vec::new(), environment };
    let warm = match name {
        "login" | "signup" => WARM_HASHING,
        "verify" => WARM_PREPARED,
        _ => WARM,
    };
    Subject { name: name.to_owned(), program, binary: Some(path), warm, script, expects }
}

/// Login and refresh in another language.
async fn interpreted(
    fixture: &mut Fixture,
    language: &str,
    path: PathBuf,
    arguments: Vec<String>,
    folder: Option<String>,
) -> [Subject; 2] {
    let mut environment = fixture.environments()["login"].clone();
    environment.extend(folder.map(|folder| ("PYTHONPATH".to_owned(), folder)));
    let program = Program { path, arguments, environment };
    let mut running = Running::start(&program).await;
    running.asks().await;
    let answer = running.invoke(with_body("login.json", &fixture.lasting_login())).await;
    let token = token_of(&answer)["refresh"].clone();
    running.stop().await;
    let subject = |route: &str, warm, script| Subject {
        name: format!("{language} {route}"),
        program: program.clone(),
        binary: None,
        warm,
        script,
        expects: SUCCESS,
    };
    let login = Script::New(|fixture| with_body("login.json", &fixture.login()));
    [subject("login", WARM_HASHING, login), subject("refresh", WARM, Script::Refresh(token))]
}

pub(crate) fn with_body(file: &str, body: &Value) -> Value {
    event(file, |event| {
        event["body"] = json!(body.to_string());
        // The one of `logout` has no body, and so no type of it.
        event["headers"]["content-type"] = json!("application/json");
    })
}

fn with_bearer(file: &str, token: &Value) -> Value {
    event(file, |event| event["headers"]["authorization"] = json!(format!("Bearer {}", text(token))))
}

fn refresh_event(token: &Value) -> Value {
    // A key of its own for each token.
    let key: String = text(token).chars().rev().take(40).collect();
    event("refresh.json", |event| {
        event["body"] = json!(json!({ "refresh": token }).to_string());
        event["headers"]["idempotency-key"] = json!(key);
    })
}

fn token_of(answer: &Value) -> Value {
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    body["token"].clone()
}
