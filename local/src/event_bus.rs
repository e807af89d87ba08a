//! `EventBridge`'s `PutEvents`, and the events that it brought: people read them at `/_local/events.json`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::Clock;

use crate::secret::REGION;

/// How many events are kept; the oldest go first.
const CAPACITY: usize = 1_000;

/// An event, as `EventBridge` hands it on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BusEvent {
    version: &'static str,
    id: String,
    detail_type: String,
    source: String,
    account: &'static str,
    time: String,
    region: &'static str,
    resources: Vec<String>,
    detail: Value,
    /// The bus, which `EventBridge` does not say.
    #[serde(skip)]
    pub bus: String,
}

/// The buses of this machine. Clones share them.
#[derive(Clone, Debug)]
pub struct EventBus {
    clock: Clock,
    state: Arc<Mutex<Buses>>,
}

#[derive(Debug, Default)]
struct Buses {
    events: VecDeque<BusEvent>,
    accepted: u64,
    failures: u32,
}

impl EventBus {
    /// Buses without events.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// All events, newest last.
    pub fn events(&self) -> Vec<BusEvent> {
        self.lock().events.iter().cloned().collect()
    }

    /// Refuses the entries of the next `count` calls, as when the bus is overloaded: for tests.
    pub fn fail_next(&self, count: u32) {
        self.lock().failures = count;
    }

    /// The endpoint's routes.
    pub(crate) fn router(&self) -> Router {
        Router::new().route("/", post(put_events)).with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Buses> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: String,
    detail_type: String,
    detail: String,
    event_bus_name: String,
}

async fn put_events(State(bus): State<EventBus>, headers: HeaderMap, body: Bytes) -> Response {
    let error = |code: &str| (StatusCode::BAD_REQUEST, json!({ "__type": code }).to_string()).into_response();
    if headers.get("x-amz-target").is_none_or(|target| target != "AWSEvents.PutEvents") {
        return error("UnknownOperationException");
    }
    let Ok(request) = serde_json::from_slice::<PutEvents>(&body) else { return error("SerializationException") };
    let now = bus.clock.now().to_string();
    let mut state = bus.lock();
    let fails = state.failures > 0;
    state.failures = state.failures.saturating_sub(1);
    let mut failed = 0;
    let mut entries = Vec::new();
    for entry in request.entries {
        let detail = serde_json::from_str::<Value>(&entry.detail).ok().filter(Value::is_object);
        let (Some(detail), false) = (detail, fails) else {
            failed += 1;
            let code = if fails { "ThrottlingException" } else { "MalformedDetail" };
            entries.push(json!({ "ErrorCode": code }));
            continue;
        };
        state.accepted += 1;
        let id = format!("{:08x}-0000-4000-8000-000000000000", state.accepted);
        entries.push(json!({ "EventId": id }));
        state.events.push_back(BusEvent {
            version: "0",
            id,
            detail_type: entry.detail_type,
            source: entry.source,
            account: "000000000000",
            time: now.clone(),
            region: REGION,
            resources: Vec::new(),
            detail,
            bus: entry.event_bus_name,
        });
        while state.events.len() > CAPACITY {
            state.events.pop_front();
        }
    }
    let answer = json!({ "FailedEntryCount": failed, "Entries": entries });
    (StatusCode::OK, [("content-type", "application/x-amz-json-1.1")], answer.to_string()).into_response()
}
