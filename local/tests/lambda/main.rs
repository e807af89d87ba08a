//! The built Lambda binaries, run as the Lambda service runs them: each under AWS's own Runtime Interface Emulator,
//! behind the local gateway, with the local stack's DynamoDB and SES.
//!
//! Not part of `cargo test --workspace`, as it needs `sam build`'s output and the emulator, which lies inside the package
//! aws-sam-cli. `.ci/run` has both, and says where: `LATCHKEY_SAM_BUILD` (`.aws-sam/build`), `LATCHKEY_RIE`,
//! and `LATCHKEY_PANICS` (`shared/examples/panics.rs`, built as the functions are).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use local::template::Template;
use local::{ExtraFunction, LocalStack, Options};
use reqwest::Method;
use serde_json::{Value, json};
use shared::clock::Clock;

/// How long a binary may take until it listens, and to answer: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[expect(clippy::disallowed_methods, reason = "this test is told where the binaries are")]
fn path_of(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; see .ci/run")))
}

/// A binary under the emulator. It ends with its value.
struct Emulated {
    process: Child,
    url: String,
}

impl Emulated {
    fn start(rie: &Path, bootstrap: &Path, environment: &BTreeMap<String, String>) -> Self {
        let [listens_at, runtime_api] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let process = Command::new(rie)
            .args(["--runtime-interface-emulator-address", &listens_at, "--runtime-api-address", &runtime_api])
            .arg(bootstrap)
            .env_clear()
            .envs(environment)
            .envs([
                ("AWS_LAMBDA_FUNCTION_NAME", "function"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", rie.display()));
        Self { process, url: format!("http://{listens_at}/2015-03-31/functions/function/invocations") }
    }

    /// What the gateway calls instead of the function in its own process.
    fn function(&self, http: &reqwest::Client) -> ExtraFunction {
        let (http, url) = (http.clone(), self.url.clone());
        Arc::new(move |event| {
            let (http, url) = (http.clone(), url.clone());
            Box::pin(async move { invoke(&http, &url, &event).await })
        })
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Calls a function by Lambda's Invoke API, once the emulator listens.
async fn invoke(http: &reqwest::Client, url: &str, event: &Value) -> Value {
    let mut waited = Duration::ZERO;
    loop {
        match http.post(url).body(event.to_string()).timeout(PATIENCE).send().await {
            Ok(answer) => {
                let bytes = answer.bytes().await.expect("an answer");
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"));
            }
            Err(error) if error.is_connect() && waited < PATIENCE => {
                let step = Duration::from_millis(50);
                tokio::time::sleep(step).await;
                waited += step;
            }
            Err(error) => panic!("{url}: {error:?}"),
        }
    }
}

/// A stack all of whose functions are built binaries.
struct Deployment {
    stack: LocalStack,
    http: reqwest::Client,
    functions: BTreeMap<String, Emulated>,
    _data: LocalStack,
}

impl Deployment {
    async fn start() -> Self {
        let (build, rie) = (path_of("LATCHKEY_SAM_BUILD"), path_of("LATCHKEY_RIE"));
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        let http = http.expect("an HTTP client");
        // One stack for its DynamoDB and SES alone, whose addresses the binaries are given; another for the gateway.
        let data = LocalStack::start(Options::default()).await.expect("a local stack");
        let port = free_port();
        let url = format!("http://localhost:{port}");
        let parameters = parameters(&url);
        let text = template();
        let template = Template::parse(&text).expect("a template").resolve(&parameters).expect("a stack");
        let logical_ids = logical_ids(&text);
        let mut functions = BTreeMap::new();
        for (folder, environment) in &template.functions {
            let mut environment = environment.clone();
            environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), data.endpoints().dynamodb.clone());
            environment.insert("AWS_ENDPOINT_URL_SESV2".to_owned(), data.endpoints().ses.clone());
            environment.insert("AWS_ENDPOINT_URL_EVENTBRIDGE".to_owned(), data.endpoints().eventbridge.clone());
            environment.insert("AWS_ENDPOINT_URL_LAMBDA".to_owned(), data.endpoints().lambda.clone());
            environment.insert("AWS_SESSION_TOKEN".to_owned(), data.secret().reveal().to_owned());
            let bootstrap = build.join(&logical_ids[folder]).join("bootstrap");
            assert!(bootstrap.exists(), "{} is not built", bootstrap.display());
            assert!(unwinds(&bootstrap), "{} would end at a panic", bootstrap.display());
            functions.insert(folder.clone(), Emulated::start(&rie, &bootstrap, &environment));
        }
        let extra = functions.iter().map(|(folder, binary)| (folder.clone(), binary.function(&http))).collect();
        let stack = LocalStack::start(Options {
            port,
            parameters: parameters.into_iter().collect(),
            dynamodb_endpoint: Some(data.endpoints().dynamodb.clone()),
            secret: data.secret().clone(),
            clock: Clock::system(),
            extra_functions: extra,
            ..Options::default()
        });
        Self { stack: stack.await.expect("a local stack"), http, functions, _data: data }
    }

    async fn send(&self, method: Method, path: &str, bearer: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.stack.url()));
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer =
            request.timeout(PATIENCE).send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn post(&self, path: &str, status: u16, body: Value) -> Value {
        let (got, answer) = self.send(Method::POST, path, None, Some(body)).await;
        assert_eq!(got, status, "POST {path}: {answer}");
        answer
    }

    async fn get(&self, path: &str, bearer: Option<&str>, status: u16) -> Value {
        let (got, answer) = self.send(Method::GET, path, bearer, None).await;
        assert_eq!(got, status, "GET {path}: {answer}");
        answer
    }
}

/// The text of `template.yaml`.
fn template() -> String {
    std::fs::read_to_string(workspace().join("template.yaml")).expect("template.yaml")
}

/// A file of `events/`.
fn read_event(name: &str) -> Value {
    let path = workspace().join("events").join(name);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a deployment names that is reached at `url`.
fn parameters(url: &str) -> BTreeMap<String, String> {
    let named = [
        ("ApiUrl", url),
        ("AppUrl", "https://app.example.test/"),
        ("MailFrom", "Latchkey <no-reply@latchkey.local>"),
        ("MailIdentity", "latchkey.local"),
    ];
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Whether a panic can be caught, as the runtime does, to answer 500 and go on: by words of the standard library's that
/// only a program which unwinds holds. cargo-lambda builds programs that end at once, unless the workspace's profile says
/// otherwise.
fn unwinds(binary: &Path) -> bool {
    let words = b"cannot catch foreign exceptions";
    std::fs::read(binary).expect("the binary").windows(words.len()).any(|bytes| bytes == words)
}

/// The logical id of each function's folder, which `sam build` names its output by.
fn logical_ids(template: &str) -> HashMap<String, String> {
    let mut ids = HashMap::new();
    let mut id = String::new();
    for line in template.lines() {
        if let Some(name) = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'))
            && !name.starts_with(' ')
        {
            name.clone_into(&mut id);
        }
        if let Some(folder) = line.trim().strip_prefix("CodeUri: functions/") {
            ids.insert(folder.to_owned(), id.clone());
        }
    }
    ids
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn built_binaries_do_what_the_functions_do() {
    let deployment = Deployment::start().await;
    events(&deployment).await;
    an_app(&deployment).await;
    println!("{} binaries answered", deployment.functions.len());
}

/// Built as they are, by their profile and with their unwinder: none of them can be made to panic.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_one_invocation_and_not_the_instance() {
    let template = Template::parse(&template()).expect("a template");
    let template = template.resolve(&parameters("http://localhost")).expect("a stack");
    let panics = Emulated::start(&path_of("LATCHKEY_RIE"), &path_of("LATCHKEY_PANICS"), &template.functions["jwks"]);
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let mut event = read_event("jwks.json");
    for path in ["/panic", "/", "/panic", "/"] {
        event["rawPath"] = json!(path);
        let answer = invoke(&http, &panics.url, &event).await;
        if path == "/panic" {
            let message = answer["errorMessage"].as_str().unwrap_or_default();
            assert!(message.contains("was asked to panic"), "{answer}");
        } else {
            assert_eq!(answer["statusCode"], 204, "{answer}");
        }
    }
}

/// `events/`, each with the outcome that `expected.json` says.
async fn events(deployment: &Deployment) {
    let folders: BTreeSet<&String> = deployment.functions.keys().collect();
    let mut played = 0;
    for (file, expected) in read_event("expected.json").as_object().expect("an object") {
        let fits =
            |folder: &&&String| file.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with(['-', '.']));
        let function = folders.iter().filter(fits).max_by_key(|folder| folder.len()).expect("a function");
        let answer = invoke(&deployment.http, &deployment.functions[*function].url, &read_event(file)).await;
        let outcome = match function.as_str() {
            "authorizer" => &answer["isAuthorized"],
            "mail-events" | "outbox" | "renew" | "rotate-keys" => &answer,
            "sweep" => &Value::Bool(answer["hours"].is_u64()),
            _ => &answer["statusCode"],
        };
        assert_eq!(outcome, expected, "{file}: {answer}");
        played += 1;
    }
    println!("{played} events played");
}

/// Signs up, answers the mail, refreshes, logs out and in again.
async fn an_app(deployment: &Deployment) {
    let password = "seven quiet llamas of ann";
    let signup = json!({"username": "ann", "email": "ann@example.test", "password": password, "client": "app"});
    let signup = deployment.post("/signup", 202, signup).await;
    deployment._data.settled().await;
    let mail = deployment._data.mailbox().mails().pop().expect("a mail");
    let code = mail.text.lines().map(str::trim).find(|line| line.len() == 8 && line.parse::<u32>().is_ok());
    let proof = json!({"signup_id": signup["signup_id"], "code": code.expect("a code"), "client": "app"});
    let session = deployment.post("/verify", 201, proof).await;
    let (access, refresh) = (text(&session["token"]["access"]), text(&session["token"]["refresh"]));
    let me = deployment.get("/me", Some(&access), 200).await;
    assert_eq!(me["user"]["username"], "ann");
    // The one that signs, and the one that an event has had made, which is published ahead.
    assert_eq!(deployment.get("/.well-known/jwks.json", None, 200).await["keys"].as_array().map(Vec::len), Some(2));

    let rotated = deployment.post("/refresh", 200, json!({"refresh": refresh})).await;
    let reused = deployment.post("/refresh", 401, json!({"refresh": refresh})).await;
    assert_eq!(reused["code"], "token_reused");
    let ended = deployment.get("/me", Some(&text(&rotated["token"]["access"])), 401).await;
    assert_eq!(ended["code"], "session_ended");

    let login = json!({"username": "ann", "password": password, "client": "app"});
    let session = deployment.post("/login", 200, login.clone()).await;
    let (access, refresh) = (text(&session["token"]["access"]), text(&session["token"]["refresh"]));
    let sessions = deployment.get("/sessions", Some(&access), 200).await;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    let (status, _) = deployment.send(Method::POST, "/logout", None, Some(json!({"refresh": refresh}))).await;
    assert_eq!(status, 204);
    assert_eq!(deployment.get("/me", Some(&access), 401).await["code"], "session_ended");
    deployment.post("/login", 200, login).await;
}
