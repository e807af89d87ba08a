//! The real binary: flags, signals, and what survives them.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::Client;
use serde_json::{Value, json};

use crate::harness::{DynamoProxy, retry_key};

/// A process of `local`, killed with its value.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stderr(Stdio::null()).spawn().expect("the binary starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let url = ready(&mut output);
        Self { child, output, url }
    }

    /// One that writes its log into a file.
    pub(crate) fn logging(arguments: &[&str], log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a file");
        let mut child = command(arguments).stderr(log).spawn().expect("the binary starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let url = ready(&mut output);
        Self { child, output, url }
    }

    fn on(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("a path in UTF-8");
        Self::start(&[&["--data", data, "--port", "0"], more].concat())
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("an end");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.post_with(path, body, &[]).await
    }

    pub(crate) async fn post_with(&self, path: &str, body: Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = http().post(format!("{}{path}", self.url)).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.expect("a body")).unwrap_or_default())
    }

    async fn mails(&self) -> Vec<Value> {
        let response = http().get(format!("{}/_local/mail.json", self.url)).send().await.expect("an answer");
        response.json().await.expect("mails")
    }

    /// Signs up and verifies; the session response.
    async fn person(&self, name: &str) -> Value {
        let (status, answer) = self.post("/signup", signup(name)).await;
        assert_eq!(status, 202, "{answer}");
        let mail = self.mails().await.pop().expect("a mail");
        let proof = json!({"signup_id": answer["signup_id"], "code": code(&mail), "client": "app"});
        let (status, answer) = self.post("/verify", proof).await;
        assert_eq!(status, 201, "{answer}");
        answer
    }
}

/// Reads until it says that it is ready; its URL.
fn ready(output: &mut BufReader<ChildStdout>) -> String {
    let mut lines = String::new();
    loop {
        let before = lines.len();
        assert_ne!(output.read_line(&mut lines).expect("a line"), 0, "it ended early: {lines}");
        if let Some((_, url)) = lines[before..].split_once("listening on ") {
            return url.trim().trim_end_matches('/').to_owned();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http() -> Client {
    Client::builder().no_proxy().build().expect("an HTTP client")
}

fn signup(name: &str) -> Value {
    json!({"username": name, "email": format!("{name}@example.test"), "password": "seven quiet llamas", "client": "app"})
}

fn login(name: &str) -> Value {
    json!({"username": name, "password": "seven quiet llamas", "client": "app"})
}

fn code(mail: &Value) -> String {
    let text = mail["text"].as_str().expect("a text");
    let mut runs = text.split(|c: char| !c.is_alphanumeric());
    runs.find(|run| run.len() == 8 && run.bytes().all(|byte| byte.is_ascii_digit())).expect("a code").to_owned()
}

#[tokio::test]
async fn kill_9_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let process = Process::on(&data, &[]);
    let session = process.person("alice").await;
    let (status, pending) = process.post("/signup", signup("bob")).await;
    assert_eq!(status, 202);
    let key = retry_key();
    let refresh = json!({"refresh": session["token"]["refresh"]});
    let (status, rotated) = process.post_with("/refresh", refresh.clone(), &[("idempotency-key", &key)]).await;
    assert_eq!(status, 200, "{rotated}");
    let mails = process.mails().await;
    assert_eq!(mails.len(), 2);
    process.kill();

    // On another port: the API's URL is another then, and with it the issuer of access tokens. Refresh tokens live on.
    let process = Process::on(&data, &[]);
    assert_eq!(process.mails().await, mails);
    // The answer that may have been lost with the process.
    let (status, again) = process.post_with("/refresh", refresh, &[("idempotency-key", &key)]).await;
    assert_eq!((status, &again["session"]["id"]), (200, &session["session"]["id"]), "{again}");
    let proof = json!({"signup_id": pending["signup_id"], "code": code(&mails[1]), "client": "app"});
    let (status, answer) = process.post("/verify", proof).await;
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = process.post("/login", login("alice")).await;
    assert_eq!(status, 200, "{answer}");
    let (status, _) = process.post("/logout", json!({"refresh": again["token"]["refresh"]})).await;
    assert_eq!(status, 204);
    process.kill();

    let process = Process::on(&data, &[]);
    let (status, answer) = process.post("/refresh", json!({"refresh": again["token"]["refresh"]})).await;
    assert_eq!((status, &answer["code"]), (401, &json!("session_ended")), "{answer}");
    let (status, answer) = process.post("/login", login("bob")).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn access_tokens_survive_a_restart_on_one_url() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = ["--set", "ApiUrl=https://api.example.test"];
    let process = Process::on(folder.path(), &url);
    let session = process.person("alice").await;
    process.kill();
    let process = Process::on(folder.path(), &url);
    let access = session["token"]["access"].as_str().expect("a token");
    let response = http().get(format!("{}/me", process.url)).bearer_auth(access).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
}

#[cfg(unix)]
#[tokio::test]
async fn the_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("new");
    let process = Process::on(&data, &[]);
    let mode = std::fs::metadata(&data).expect("the folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(process);
}

/// `endpoint.json`, as the operator's command line finds it.
fn endpoint(data: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(data.join("endpoint.json")).expect("the file")).expect("JSON")
}

#[cfg(unix)]
#[tokio::test]
async fn the_endpoint_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let (data, elsewhere) = (folder.path(), folder.path().join("elsewhere"));
    // What lies there already neither keeps its mode nor leads away.
    std::fs::write(data.join("endpoint.json"), "{}").expect("a file");
    symlink(&elsewhere, data.join("endpoint.json.new")).expect("a link");
    let errors = std::fs::File::create(data.join("log")).expect("a file");
    let arguments = ["--data", data.to_str().expect("UTF-8"), "--port", "0"];
    let mut child = command(&arguments).stderr(errors).spawn().expect("the binary starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let url = ready(&mut output);
    let mut process = Process { child, output, url };
    process.person("alice").await;
    let mode = std::fs::metadata(data.join("endpoint.json")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!elsewhere.exists() && !data.join("endpoint.json.new").exists());

    let endpoint = endpoint(data);
    let field = |name: &str| endpoint[name].as_str().unwrap_or_else(|| panic!("{name}: {endpoint}"));
    assert_eq!(field("region"), "us-east-1");
    let credential = format!("AWS4-HMAC-SHA256 Credential={}/x, Signature=x", field("access_key_id"));
    let call = http().post(field("endpoint")).header("x-amz-target", "DynamoDB_20120810.Scan");
    let call = call.header("authorization", credential).header("x-amz-security-token", field("session_token"));
    let items = call.body(json!({"TableName": "UsersTable"}).to_string()).send().await.expect("an answer");
    assert!(items.text().await.expect("items").contains("alice@example.test"));

    process.signal("TERM");
    assert_eq!(process.child.wait().expect("an end").code(), Some(0));
    assert!(!data.join("endpoint.json").exists(), "nothing is to be reached any more");
    let mut told = std::fs::read_to_string(data.join("log")).expect("the log");
    process.output.read_to_string(&mut told).expect("its output");
    assert!(!told.contains(field("session_token")), "{told}");
}

#[tokio::test]
async fn what_a_killed_run_left_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::on(folder.path(), &[]);
    let killed = endpoint(folder.path());
    process.kill();
    let _process = Process::on(folder.path(), &[]);
    let token = |endpoint: &Value| endpoint["session_token"].as_str().expect("a token").to_owned();
    assert_ne!(token(&endpoint(folder.path())), token(&killed));
}

#[tokio::test]
async fn another_name_of_the_gateway_may_be_given() {
    let process = Process::start(&["--memory", "--port", "0", "--host", "10.0.2.2"]);
    let port = process.url.rsplit_once(':').expect("a port").1.to_owned();
    let status = async |host: &str| {
        let request = http().get(format!("{}/.well-known/jwks.json", process.url)).header("host", host);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(status(&format!("10.0.2.2:{port}")).await, 200);
    assert_eq!(status(&format!("localhost:{port}")).await, 200);
    for host in [format!("10.0.2.3:{port}"), format!("evil.test:{port}"), format!("10.0.2.2.evil.test:{port}")] {
        assert_eq!(status(&host).await, 403, "{host}");
    }
    for name in ["", "http://10.0.2.2", "a b", "*", "a/b", "a@b"] {
        let (code, errors) = refused(&["--memory", "--port", "0", "--host", name]);
        assert_eq!(code, 2, "{name}: {errors}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn signals_stop_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Process::on(folder.path(), &[]);
        process.person("alice").await;
        process.signal(signal);
        let status = process.child.wait().expect("an end");
        assert_eq!(status.code(), Some(0), "{signal}: {status:?}");
        let mut rest = String::new();
        process.output.read_to_string(&mut rest).expect("its output");
        let process = Process::on(folder.path(), &[]);
        assert_eq!(process.post("/login", login("alice")).await.0, 200);
    }
}

/// Runs it to its end; code, output and errors.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = command(arguments).output().expect("the binary starts");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("listening on"), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    (output.status.code().expect("a code"), errors)
}

#[test]
fn a_port_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let (code, errors) = refused(&["--memory", "--port", &port]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains(&port), "{errors}");
}

#[test]
fn unknown_parameters_are_errors() {
    for (argument, name) in [
        ("Nonsense=1", "Nonsense"),
        ("BrowserIdleTimeout=soon", "BrowserIdleTimeout"),
        ("BrowserIdleTimeout=0", "BrowserIdleTimeout"),
        ("BrowserIdleTimeout=-5", "BrowserIdleTimeout"),
        ("SigningAlgorithm=none", "SigningAlgorithm"),
        ("RevocationCheck=never", "RevocationCheck"),
        ("PasswordMinLength=4", "PasswordMinLength"),
        ("browseridletimeout=5", "browseridletimeout"),
    ] {
        let (code, errors) = refused(&["--memory", "--port", "0", "--set", argument]);
        assert!(matches!(code, 1 | 2), "{argument}: {code}: {errors}");
        assert!(errors.contains(name), "{argument}: {errors}");
    }
    let (code, errors) = refused(&["--memory", "--port", "0", "--set", "Nonsense"]);
    assert!(matches!(code, 1 | 2), "{code}: {errors}");
    let (code, _) = refused(&["--nonsense"]);
    assert_eq!(code, 2);
}

#[tokio::test]
async fn one_process_for_one_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::on(folder.path(), &[]);
    let (code, errors) = refused(&["--data", folder.path().to_str().expect("UTF-8"), "--port", "0"]);
    assert_eq!(code, 1, "{errors}");
    process.person("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_may_be_given() {
    let database = local::database::Database::start(None).await.expect("a database");
    let outside = DynamoProxy::start(&database).await;
    let arguments = ["--memory", "--port", "0", "--dynamodb-endpoint", outside.endpoint()];
    let process = Process::start(&arguments);
    process.person("alice").await;
    process.kill();
    // The users are there, and tables that exist already are no error.
    let process = Process::start(&arguments);
    assert_eq!(process.post("/login", login("alice")).await.0, 200);
}

#[cfg(unix)]
#[tokio::test]
async fn an_idle_connection_does_not_keep_it_running() {
    let mut process = Process::start(&["--memory", "--port", "0"]);
    let address = process.url.trim_start_matches("http://").to_owned();
    let idle = std::net::TcpStream::connect(address).expect("a connection");
    process.signal("TERM");
    assert_eq!(process.child.wait().expect("an end").code(), Some(0));
    drop(idle);
}

#[tokio::test]
async fn parameters_reach_the_functions() {
    let process = Process::start(&[
        "--memory",
        "--port",
        "0",
        "--set",
        "AppAccessTokenLifetime=77",
        "--set",
        "ServiceName=Key = Value",
        "--set",
        "MailFrom=Team <team@example.test>",
    ]);
    let session = process.person("alice").await;
    assert_eq!(session["token"]["expires_in"], 77);
    let mail = process.mails().await.pop().expect("a mail");
    assert_eq!(mail["from"], "Team <team@example.test>");
    assert!(mail["subject"].as_str().expect("a subject").contains("Key = Value"), "{mail}");
}

#[tokio::test]
async fn memory_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = command(&["--memory", "--port", "0"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    ready(&mut output);
    child.kill().expect("SIGKILL");
    child.wait().expect("an end");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[tokio::test]
async fn the_log_holds_no_secret_and_no_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let process = Process::logging(&["--memory", "--port", "0"], &log);

    let (_, signup) = process.post("/signup", signup("alice")).await;
    let mail = process.mails().await.pop().expect("a mail");
    let wrong = json!({"signup_id": signup["signup_id"], "code": "00000000", "client": "app"});
    process.post("/verify", wrong).await;
    let proof = json!({"signup_id": signup["signup_id"], "code": code(&mail), "client": "app"});
    let (status, session) = process.post("/verify", proof).await;
    assert_eq!(status, 201, "{session}");
    process.post("/login", json!({"username": "alice", "password": "a wrong password", "client": "app"})).await;
    process.post("/signup", json!({"username": "alice", "email": "other@example.test"})).await;
    let key = retry_key();
    let refresh = json!({"refresh": session["token"]["refresh"]});
    let (_, rotated) = process.post_with("/refresh", refresh.clone(), &[("idempotency-key", &key)]).await;
    // Reuse, which is a security event and is logged.
    let (status, answer) = process.post("/refresh", refresh).await;
    assert_eq!((status, &answer["code"]), (401, &json!("token_reused")));
    // The session's other token, and one that names a key of nobody.
    let access = rotated["token"]["access"].as_str().expect("a token");
    let (_, rest) = access.split_once('.').expect("a JWT");
    let unknown = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Im5vYm9keSdzIn0";
    for bearer in [access.to_owned(), format!("{unknown}.{rest}")] {
        let header = format!("Bearer {bearer}");
        let (status, _) =
            process.post_with("/logout", json!({"everywhere": true}), &[("authorization", &header)]).await;
        assert_eq!(status, 401);
        let me = http().get(format!("{}/me", process.url)).header("authorization", &header).send().await;
        assert_eq!(me.expect("an answer").status(), 401);
    }
    process.kill();

    let log = std::fs::read_to_string(&log).expect("the log");
    for event in ["refresh_token_reused", "ended_session_used", "unknown_key"] {
        assert!(log.contains(event), "{event} is not in the log: {log}");
    }
    let token = mail["text"].as_str().and_then(|text| text.split_once("token=")).expect("a link").1;
    let token = token.split_whitespace().next().expect("a token");
    let texts =
        [&signup["signup_id"], &session["token"]["access"], &session["token"]["refresh"], &rotated["token"]["access"]];
    let texts = texts.map(|value| value.as_str().expect("a text"));
    for secret in
        texts.into_iter().chain([token, &code(&mail), &key, "seven quiet llamas", "a wrong password", "@example.test"])
    {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}
