//! DynamoDB Streams as the Lambda service reads them: records that pass a function's filter wake it.
//!
//! The embedded database writes a stream as DynamoDB does. After each write its records are read here, held against the
//! filters of the template, and handed to the function as one event, ten at most, in order. Whoever wants to see what came
//! of a request waits until nothing is under way ([`Streams::settled`]).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::functions::Functions;

/// Records that one event holds at most, as the template says of the real one.
const BATCH: usize = 10;
/// How long somebody waits for what is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// A function that a table's stream wakes.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSource {
    /// The function's folder.
    pub folder: String,
    /// The table's logical id.
    pub table: String,
    /// What records have to look like, one of these; none: all pass.
    pub filters: Vec<Value>,
}

impl StreamSource {
    fn admits(&self, record: &Value) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| matches(filter, record))
    }
}

/// Whether a record fits a filter of the Lambda service: objects name what has to be there, arrays hold what it may be
/// (docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html). Of its comparisons, equality and `prefix`.
fn matches(filter: &Value, record: &Value) -> bool {
    match filter {
        Value::Object(members) => members.iter().all(|(name, filter)| matches(filter, &record[name])),
        Value::Array(alternatives) => alternatives.iter().any(|alternative| match &alternative["prefix"] {
            Value::String(prefix) => record.as_str().is_some_and(|text| text.starts_with(prefix)),
            _ => alternative == record,
        }),
        _ => false,
    }
}

/// What the database tells of its streams.
#[derive(Debug)]
pub(crate) enum StreamMessage {
    /// A record of a table.
    Record(String, Value),
    /// All records of so many writes have been told.
    Told(u64),
}

/// How far the streams are.
#[derive(Clone, Debug)]
pub(crate) enum Streams {
    /// Those of the embedded database.
    Embedded {
        /// Writes that the database has done.
        written: watch::Receiver<u64>,
        /// Writes whose records have woken whom they wake, who is done.
        handled: watch::Receiver<u64>,
    },
    /// Those of another database, which are not read: the sweep finds what they would have brought.
    Elsewhere(Functions),
}

/// How often the sweep looks where no stream is read.
const SWEEP: Duration = Duration::from_secs(1);

impl Streams {
    /// Wakes functions by what comes in, in a task of its own.
    pub(crate) fn start(
        mut incoming: mpsc::UnboundedReceiver<StreamMessage>,
        written: watch::Receiver<u64>,
        sources: Vec<StreamSource>,
        functions: Functions,
    ) -> Self {
        let (done, handled) = watch::channel(0);
        tokio::spawn(async move {
            let mut messages = Vec::new();
            while incoming.recv_many(&mut messages, 1000).await > 0 {
                let mut batches: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
                let mut told = None;
                for message in messages.drain(..) {
                    match message {
                        StreamMessage::Told(writes) => told = Some(writes),
                        StreamMessage::Record(table, record) => {
                            for (index, source) in sources.iter().enumerate() {
                                if source.table == table && source.admits(&record) {
                                    batches.entry(index).or_default().push(record.clone());
                                }
                            }
                        }
                    }
                }
                for (index, records) in batches {
                    for batch in records.chunks(BATCH) {
                        let event = json!({ "Records": batch });
                        if let Err(error) = functions.invoke(&sources[index].folder, event).await {
                            tracing::error!(%error, "a stream's function failed");
                        }
                    }
                }
                if let Some(writes) = told {
                    let _ = done.send(writes);
                }
            }
        });
        Self::Embedded { written, handled }
    }

    /// Has the sweep look where somebody waits for what is under way, and if it `polls` again and again too, for as long as
    /// the runtime is there.
    pub(crate) fn elsewhere(functions: Functions, polls: bool) -> Self {
        let swept = functions.clone();
        if polls {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP).await;
                    sweep(&swept).await;
                }
            });
        }
        Self::Elsewhere(functions)
    }

    /// Waits until what was written before is told, and whoever it woke is done.
    pub(crate) async fn settled(&self) {
        let (written, handled) = match self {
            Self::Embedded { written, handled } => (written, handled),
            Self::Elsewhere(functions) => return sweep(functions).await,
        };
        let written = *written.borrow();
        let mut handled = handled.clone();
        let wait = handled.wait_for(|handled| *handled >= written);
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            tracing::warn!("functions that a stream woke are still at it");
        }
    }
}

async fn sweep(functions: &Functions) {
    if let Err(error) = functions.invoke("sweep", json!({})).await {
        tracing::error!(%error, "the sweep failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_pass_what_the_lambda_service_passes() {
        let filter = json!({
            "eventName": ["INSERT"], "dynamodb": { "Keys": { "pk": { "S": [{ "prefix": "OUTBOX#" }] } } }
        });
        let record = |name: &str, pk: &str| json!({ "eventName": name, "dynamodb": { "Keys": { "pk": { "S": pk } } } });
        assert!(matches(&filter, &record("INSERT", "OUTBOX#1#2")));
        assert!(!matches(&filter, &record("MODIFY", "OUTBOX#1#2")));
        assert!(!matches(&filter, &record("INSERT", "USER#1")));
        assert!(!matches(&filter, &json!({ "eventName": "INSERT" })));
        let either = json!({ "eventName": ["INSERT", "REMOVE"] });
        assert!(matches(&either, &record("REMOVE", "USER#1")) && !matches(&either, &record("MODIFY", "USER#1")));
    }
}
