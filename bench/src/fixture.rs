//! What the functions act on: the local stack's database and mailbox behind TLS, people with sessions, and events.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use local::template::Template;
use local::{LocalStack, Options};
use nix::time::ClockId;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const PASSWORD: &str = "correct horse battery";
/// People who sign in again and again: so many that each has a few sessions in the end, as most people have, and none
/// so many that a log-in has to end one.
const PEOPLE: usize = 1000;
/// People of few sessions, so that no later one crowds out those that are kept: there are 17 at most, of the costs.
const KEEPERS: usize = 5;

/// The local stack behind TLS, and people on it.
pub(crate) struct Fixture {
    stack: LocalStack,
    http: reqwest::Client,
    dynamodb: String,
    ses: String,
    /// Who calls them.
    pub(crate) caller: Caller,
    directory: TempDir,
    logins: usize,
    keepers: usize,
    signups: usize,
    pending: VecDeque<(String, String)>,
}

impl Fixture {
    /// Starts it.
    pub(crate) async fn new() -> Self {
        let parameters = [("AppAccessTokenLifetime", "3600"), ("AppUrl", "https://app.example.test/")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let stack = LocalStack::start(Options { parameters, ..Options::default() }).await.expect("a local stack");
        let directory = tempfile::tempdir().expect("a directory");
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(directory.path().join("ca.pem"), certified.cert.pem()).expect("a file");
        let config = || {
            let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
            let certificate = CertificateDer::from(certified.cert.der().to_vec());
            let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
            Arc::new(config.expect("a configuration"))
        };
        let caller = Caller::default();
        let dynamodb = secure(&stack.endpoints().dynamodb, TlsAcceptor::from(config()), caller.clone()).await;
        let ses = secure(&stack.endpoints().ses, TlsAcceptor::from(config()), caller.clone()).await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let pending = VecDeque::new();
        let (logins, keepers, signups) = (0, 0, 0);
        let fixture = Self { stack, http, dynamodb, ses, caller, directory, logins, keepers, signups, pending };
        for person in 0..PEOPLE + KEEPERS {
            let name = name(person);
            let signup = json!({
                "username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "client": "app",
            });
            let signup_id = text(&fixture.post("/signup", signup).await["signup_id"]);
            let code = fixture.code().await;
            fixture.post("/verify", json!({ "signup_id": signup_id, "code": code, "client": "app" })).await;
        }
        fixture
    }

    /// A client of the database.
    pub(crate) fn database(&self) -> aws_sdk_dynamodb::Client {
        local::database::client(&self.stack.endpoints().dynamodb, self.stack.secret())
    }

    /// Where the certificate is that the endpoints show.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The variables of each function, as the template sets them, and those of the Lambda service.
    pub(crate) fn environments(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let text = std::fs::read_to_string(workspace().join("template.yaml")).expect("template.yaml");
        let parameters = BTreeMap::from(
            [
                ("ApiUrl", self.stack.url()),
                ("AppUrl", "https://app.example.test/"),
                ("AppAccessTokenLifetime", "3600"),
                ("MailFrom", "Latchkey <no-reply@latchkey.local>"),
                ("MailIdentity", "latchkey.local"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let stack = Template::parse(&text).expect("a template").resolve(&parameters).expect("a stack");
        let mut functions = stack.functions;
        for environment in functions.values_mut() {
            let certificate = self.certificate().to_string_lossy().into_owned();
            for (name, value) in [
                ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.as_str()),
                ("AWS_ENDPOINT_URL_EVENTBRIDGE", self.stack.endpoints().eventbridge.as_str()),
                ("AWS_ENDPOINT_URL_SESV2", self.ses.as_str()),
                ("AWS_REGION", "us-east-1"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
                ("AWS_ENDPOINT_URL_LAMBDA", self.stack.endpoints().lambda.as_str()),
                ("AWS_SESSION_TOKEN", self.stack.secret().reveal()),
                // Where the references know of no session token, it opens the local endpoints too.
                ("AWS_ACCESS_KEY_ID", self.stack.secret().reveal()),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("AWS_LAMBDA_FUNCTION_NAME", "function"),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
                // Each runtime's own way to trust another certificate.
                ("AWS_CA_BUNDLE", certificate.as_str()),
                ("SSL_CERT_FILE", certificate.as_str()),
                ("NODE_EXTRA_CA_CERTS", certificate.as_str()),
            ] {
                environment.insert(name.to_owned(), value.to_owned());
            }
        }
        functions
    }

    /// Signs somebody in, in an app, for a session that lasts.
    pub(crate) async fn sign_in(&mut self) -> Value {
        let body = self.lasting_login();
        self.post("/login", body).await["token"].clone()
    }

    /// Signs somebody in, in a browser; the access cookie.
    pub(crate) async fn sign_in_browser(&mut self) -> String {
        let mut body = self.lasting_login();
        body["client"] = json!("browser");
        let url = format!("{}/login", self.stack.url());
        let answer = self.http.post(url).json(&body).send().await.expect("an answer");
        let mut cookies = answer.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        let access = cookies.find_map(|cookie| cookie.strip_prefix("access=")).expect("a cookie");
        access.split(';').next().unwrap_or_default().to_owned()
    }

    /// The body of the log-in of somebody whose session lasts.
    pub(crate) fn lasting_login(&mut self) -> Value {
        self.keepers += 1;
        login(PEOPLE + self.keepers % KEEPERS)
    }

    /// The body of somebody's next log-in.
    pub(crate) fn login(&mut self) -> Value {
        self.logins += 1;
        login(self.logins % PEOPLE)
    }

    /// The body of a new sign-up.
    pub(crate) fn signup(&mut self) -> Value {
        self.signups += 1;
        let name = format!("new{}", self.signups);
        json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "client": "app" })
    }

    /// Makes sign-ups that wait for their code.
    pub(crate) async fn prepare_verifications(&mut self, count: usize) {
        for _ in 0..count {
            let body = self.signup();
            let signup_id = text(&self.post("/signup", body).await["signup_id"]);
            let code = self.code().await;
            self.pending.push_back((signup_id, code));
        }
    }

    /// The body that verifies one of them.
    pub(crate) fn verification(&mut self) -> Value {
        let (signup_id, code) = self.pending.pop_front().expect("enough were prepared");
        json!({ "signup_id": signup_id, "code": code, "client": "app" })
    }

    async fn code(&self) -> String {
        self.stack.settled().await;
        let mails = self.stack.mailbox().mails();
        let lines = mails.last().expect("a mail").text.lines();
        lines
            .map(str::to_owned)
            .find(|line| line.len() == 8 && line.bytes().all(|b| b.is_ascii_digit()))
            .expect("a code")
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.stack.url())).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }
}

fn login(person: usize) -> Value {
    let email = format!("{}@example.com", name(person));
    json!({ "email": email, "password": PASSWORD, "client": "app" })
}

fn name(person: usize) -> String {
    format!("person{person}")
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// An event of `events/`, with another body, header or path. Each comes from another source, so that none has too many.
pub(crate) fn event(file: &str, change: impl FnOnce(&mut Value)) -> Value {
    static SOURCES: AtomicU32 = AtomicU32::new(0x0b00_0000);
    let path = workspace().join("events").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut event: Value = serde_json::from_str(&text).expect("JSON");
    if let Some(source) = event.pointer_mut("/requestContext/http/sourceIp") {
        *source = json!(Ipv4Addr::from_bits(SOURCES.fetch_add(1, Ordering::Relaxed)).to_string());
    }
    change(&mut event);
    event
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The process that is measured, and its CPU time at each of its calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(Arc<Mutex<Option<Watch>>>);

type Watch = (ClockId, Vec<Duration>);

impl Caller {
    /// From now on it is the one with this clock.
    pub(crate) fn watch(&self, clock: ClockId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock, Vec::new()));
    }

    /// Its CPU time at each call since it was asked last.
    pub(crate) fn calls(&self) -> Vec<Duration> {
        let mut caller = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caller.as_mut().map(|(_, calls)| std::mem::take(calls)).unwrap_or_default()
    }

    fn called(&self) {
        if let Some((clock, calls)) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            calls.extend(clock.now().map(Duration::from));
        }
    }
}

/// TLS in front of an endpoint.
async fn secure(endpoint: &str, tls: TlsAcceptor, caller: Caller) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let behind = endpoint.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (tls, behind, caller) = (tls.clone(), behind.clone(), caller.clone());
            tokio::spawn(async move {
                let _ = socket.set_nodelay(true);
                let (Ok(client), Ok(mut server)) = (tls.accept(socket).await, TcpStream::connect(behind).await) else {
                    return;
                };
                let _ = server.set_nodelay(true);
                let (mut calls, mut answers) = tokio::io::split(client);
                let (mut from_server, mut to_server) = server.split();
                let forward = async {
                    let mut buffer = vec![0; 16 << 10];
                    while let Ok(length @ 1..) = calls.read(&mut buffer).await {
                        caller.called();
                        if to_server.write_all(&buffer[..length]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! {
                    () = forward => {}
                    _ = tokio::io::copy(&mut from_server, &mut answers) => {}
                }
            });
        }
    });
    format!("https://localhost:{port}")
}
