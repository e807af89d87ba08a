//! The Lambda service, as far as a function sees it: a process, and the Runtime API that it asks for events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

/// How long a function may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that plays a function.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What to run.
    pub(crate) path: PathBuf,
    /// With which arguments.
    pub(crate) arguments: Vec<String>,
    /// With which variables, and no others.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What the Runtime API and the measuring have in common.
struct Desk {
    events: Mutex<mpsc::Receiver<Value>>,
    asked: mpsc::Sender<Instant>,
    answered: mpsc::Sender<Bytes>,
}

/// A function that runs.
pub(crate) struct Running {
    process: Child,
    started: Instant,
    events: mpsc::Sender<Value>,
    asked: mpsc::Receiver<Instant>,
    answered: mpsc::Receiver<Bytes>,
    server: tokio::task::JoinHandle<()>,
}

/// When something happened, since the start: by the clock, and in CPU time of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed {
    /// By the clock.
    pub(crate) wall: Duration,
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
}

impl Running {
    /// Starts a function; it has not asked for an event yet.
    pub(crate) async fn start(program: &Program) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (events, next) = mpsc::channel(1);
        let (asked, was_asked) = mpsc::channel(8);
        let (answered, answers) = mpsc::channel(8);
        let desk = Arc::new(Desk { events: Mutex::new(next), asked, answered });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_event))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(take_answer))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(take_answer))
            .route("/2018-06-01/runtime/init/error", post(take_answer))
            .with_state(desk);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener.tap_io(|socket| drop(socket.set_nodelay(true))), router).await;
        });
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear().envs(&program.environment);
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let started = now();
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.path.display()));
        Self { process, started, events, asked: was_asked, answered: answers, server }
    }

    /// Waits until it asks for an event: it has started, or is done with the one before.
    pub(crate) async fn asks(&mut self) -> Elapsed {
        let asked =
            tokio::time::timeout(PATIENCE, self.asked.recv()).await.expect("it asks in time").expect("a server");
        Elapsed { wall: asked - self.started, cpu: self.cpu() }
    }

    /// Has it answer an event.
    pub(crate) async fn invoke(&mut self, event: Value) -> Value {
        self.events.send(event).await.expect("a server");
        let answer = tokio::time::timeout(PATIENCE, self.answered.recv()).await.expect("an answer in time");
        serde_json::from_slice(&answer.expect("a server")).unwrap_or_default()
    }

    /// The clock of its CPU time.
    pub(crate) fn clock(&self) -> ClockId {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        clock_getcpuclockid(pid).expect("its clock")
    }

    /// The most memory that it ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("VmHWM")
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        let _ = self.process.kill().await;
        self.server.abort();
    }

    fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    fn cpu(&self) -> Duration {
        self.clock().now().expect("its time").into()
    }
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this crate is for")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

async fn next_event(State(desk): State<Arc<Desk>>) -> Response {
    let _ = desk.asked.send(now()).await;
    let Some(event) = desk.events.lock().await.recv().await else { return std::future::pending().await };
    let deadline = "4102444800000";
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", deadline),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:function"),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"),
    ];
    (headers, event.to_string()).into_response()
}

async fn take_answer(State(desk): State<Arc<Desk>>, body: Bytes) -> &'static str {
    let _ = desk.answered.send(body).await;
    "{}"
}
