//! A loopback proxy between the stack and its database: it counts calls and capacity, refuses what IAM would, and shows
//! outages. What fails at a single call is in [`super::calls`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use local::database::Database;
use local::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long each call takes at least, so that calls which are sent together are seen together.
const LATENCY: Duration = Duration::from_millis(15);

/// One call that the stack made.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseCall {
    pub(crate) operation: String,
    /// What a function sent.
    pub(crate) request: Value,
    read_units: f64,
    write_units: f64,
    started: u64,
    ended: u64,
}

/// What some calls cost together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cost {
    /// By name, as calls that run beside each other begin in any order.
    pub(crate) operations: Vec<String>,
    /// The longest chain of calls of which each began after the one before had ended.
    pub(crate) round_trips: usize,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
}

/// Says whether a caller may do what it asks: caller, operation and request.
pub(crate) type Gatekeeper = Arc<dyn Fn(&str, &str, &Value) -> bool + Send + Sync>;

#[derive(Default)]
struct State {
    calls: Vec<DatabaseCall>,
    gatekeeper: Option<Gatekeeper>,
    /// Operations that are refused for now.
    throttled: Vec<String>,
    /// Counts beginnings and ends, as a clock that only orders.
    order: u64,
}

/// The proxy. It ends with its value.
pub(crate) struct DynamoProxy {
    endpoint: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl DynamoProxy {
    /// A proxy to a database, whose secret it holds: it takes any credentials, as an outside database does.
    pub(crate) async fn start(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State::default()));
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let upstream = Upstream {
            http,
            database: database.endpoint().to_owned(),
            secret: database.secret().clone(),
            state: Arc::clone(&state),
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = upstream.clone();
                tokio::spawn(async move { upstream.serve(stream).await });
            }
        });
        Self { endpoint, state, task }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Refuses from now on what `gatekeeper` does not allow, as IAM does.
    pub(crate) fn guard(&self, gatekeeper: Gatekeeper) {
        lock(&self.state).gatekeeper = Some(gatekeeper);
    }

    /// Has `step` run to its end before the first call of `operation` by `caller` reaches the database: what happens
    /// between a function's read and its write.
    pub(crate) fn before<F>(&self, caller: &'static str, operation: &'static str, step: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let step = Mutex::new(Some(Box::pin(step)));
        self.guard(Arc::new(move |from, asked, _| {
            if (from, asked) == (caller, operation) {
                let step = step.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(step) = step {
                    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(step));
                }
            }
            true
        }));
    }

    /// Refuses every call of these operations, as when there are too many, until [`heal`](Self::heal).
    pub(crate) fn throttle(&self, operations: &[&str]) {
        lock(&self.state).throttled.extend(operations.iter().map(|operation| (*operation).to_owned()));
    }

    /// Ends that.
    pub(crate) fn heal(&self) {
        lock(&self.state).throttled.clear();
    }

    /// Forgets the calls so far.
    pub(crate) fn reset(&self) {
        lock(&self.state).calls.clear();
    }

    /// The calls since the last reset, in the order of their beginnings.
    pub(crate) fn calls(&self) -> Vec<DatabaseCall> {
        let mut calls = lock(&self.state).calls.clone();
        calls.sort_by_key(|call| call.started);
        calls
    }

    /// What the calls since the last reset cost.
    pub(crate) fn cost(&self) -> Cost {
        let mut calls = self.calls();
        let mut operations: Vec<String> = calls.iter().map(|call| call.operation.clone()).collect();
        operations.sort();
        let read_units = calls.iter().map(|call| call.read_units).sum();
        let write_units = calls.iter().map(|call| call.write_units).sum();
        // The most intervals of which no two overlap: greedily, by their ends.
        calls.sort_by_key(|call| call.ended);
        let (mut round_trips, mut free_from) = (0, 0);
        for call in calls {
            if call.started >= free_from {
                round_trips += 1;
                free_from = call.ended;
            }
        }
        Cost { operations, round_trips, read_units, write_units }
    }
}

impl Drop for DynamoProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    database: String,
    secret: Secret,
    state: Arc<Mutex<State>>,
}

/// One request of HTTP/1.1 with a `Content-Length`, as functions send it.
struct Request {
    operation: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// The access key id of the signature (AWS Signature Version 4): the folder of the function, as its role in the cloud.
    fn caller(&self) -> String {
        let header = self.headers.iter().find(|(name, _)| name == "authorization").map_or("", |(_, value)| value);
        let scope = header.split_once("Credential=").map_or("", |(_, scope)| scope);
        scope.split('/').next().unwrap_or_default().to_owned()
    }
}

impl Upstream {
    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream).await {
            let (status, body) = self.answer(request).await;
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
                return;
            }
        }
    }

    /// Status and body.
    async fn answer(&self, request: Request) -> (u16, Vec<u8>) {
        let started = self.tick();
        let is_throttled = lock(&self.state).throttled.contains(&request.operation);
        let sent: Value = serde_json::from_slice(&request.body).expect("JSON");
        let caller = request.caller();
        tokio::time::sleep(LATENCY).await;
        let gatekeeper = lock(&self.state).gatekeeper.clone();
        let is_allowed = gatekeeper.is_none_or(|allows| allows(&caller, &request.operation, &sent));
        let (status, body) = if !is_allowed {
            error(400, "AccessDeniedException")
        } else if is_throttled {
            error(400, "ThrottlingException")
        } else {
            let mut asked = sent.clone();
            asked["ReturnConsumedCapacity"] = json!("TOTAL");
            self.forward(&request.headers, asked.to_string()).await
        };
        let (read_units, write_units) = capacity(&request.operation, &body);
        let ended = self.tick();
        let operation = request.operation;
        lock(&self.state).calls.push(DatabaseCall {
            operation,
            request: sent,
            read_units,
            write_units,
            started,
            ended,
        });
        (status, body)
    }

    async fn forward(&self, headers: &[(String, String)], body: String) -> (u16, Vec<u8>) {
        let request = self.http.post(&self.database).body(body);
        let mut request = request.header("x-amz-security-token", self.secret.reveal());
        for (name, value) in headers {
            let hop = ["host", "content-length", "connection", "transfer-encoding", "accept-encoding"];
            if !hop.contains(&name.as_str()) && name != "x-amz-security-token" {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.expect("the database's answer");
        (response.status().as_u16(), response.bytes().await.expect("the database's answer").to_vec())
    }

    fn tick(&self) -> u64 {
        let mut state = lock(&self.state);
        state.order += 1;
        state.order
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let headers: Vec<(String, String)> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let operation = header("x-amz-target")?.split_once('.')?.1.to_owned();
    let mut body = vec![0; header("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { operation, headers, body })
}

fn error(status: u16, code: &str) -> (u16, Vec<u8>) {
    let name = format!("com.amazonaws.dynamodb.v20120810#{code}");
    (status, json!({"__type": name, "message": "injected by the test"}).to_string().into_bytes())
}

/// Read and write units of an answer.
fn capacity(operation: &str, answer: &[u8]) -> (f64, f64) {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let units = match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or_default(),
    };
    match operation {
        "GetItem" | "BatchGetItem" | "Query" | "TransactGetItems" => (units, 0.0),
        _ => (0.0, units),
    }
}
