//! An embedded DynamoDB on a loopback port of its own, and the tables that the template asks for.
//!
//! SQLite blocks, so the database has a thread and a runtime to itself. It is called in-process, and the port is ours:
//! dynoxide's own server verifies no credentials and answers pages of every origin.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, StreamSpecification,
    StreamViewType, TimeToLiveSpecification, TimeToLiveStatus,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dynoxide::DynoxideError;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::secret::{Endpoints, Secret};
use crate::stream::StreamMessage;
use crate::template::Table;

/// How often items past their TTL are removed. DynamoDB takes days, so nothing may depend on it.
const SWEEP: Duration = Duration::from_mins(1);

/// The largest request that DynamoDB takes.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// The database cannot be used.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The file cannot be opened, or no port be had.
    #[error("the embedded database does not start: {0}")]
    Start(String),
    /// A table cannot be made.
    #[error("table {table}: {problem}")]
    Table {
        /// The table.
        table: String,
        /// What the database says.
        problem: String,
    },
}

/// A running embedded database. Dropping it stops it.
#[derive(Debug)]
pub struct Database {
    endpoint: String,
    secret: Secret,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    written: watch::Receiver<u64>,
    records: Option<mpsc::UnboundedReceiver<StreamMessage>>,
}

impl Database {
    /// Starts a database: in a file of `directory`, or in memory; on any port of loopback, with a secret of its own.
    pub async fn start(directory: Option<&Path>) -> Result<Self, DatabaseError> {
        Self::listen(directory, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Secret::random()).await
    }

    /// Starts a database that listens at an address, and answers whoever holds the secret.
    pub async fn listen(directory: Option<&Path>, address: SocketAddr, secret: Secret) -> Result<Self, DatabaseError> {
        let path = directory.map(|directory| directory.join("dynamodb.sqlite"));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let wanted = secret.clone();
        let (write, written) = watch::channel(0);
        let (tell, records) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || serve(path.as_deref(), address, &wanted, ready, stopped, (write, tell)))
            .map_err(|error| DatabaseError::Start(error.to_string()))?;
        let address = started.await.unwrap_or_else(|_| Err("its thread ended".to_owned()));
        let address = address.map_err(DatabaseError::Start)?;
        let (endpoint, records) = (format!("http://{address}"), Some(records));
        Ok(Self { endpoint, secret, stop: Some(stop), thread: Some(thread), written, records })
    }

    /// A database in memory without a port and a thread, to be called in-process: for tests. It blocks whoever calls it, and
    /// tells nobody of its streams.
    pub fn in_process() -> Result<Router, DatabaseError> {
        let database = dynoxide::Database::memory().map_err(|error| DatabaseError::Start(error.to_string()))?;
        Ok(router(database, watch::Sender::new(0)))
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What its callers have to hold.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// How many writes it has done, and what its streams tell: once.
    pub(crate) fn take_streams(&mut self) -> Option<(mpsc::UnboundedReceiver<StreamMessage>, watch::Receiver<u64>)> {
        Some((self.records.take()?, self.written.clone()))
    }

    /// Stops it, and waits until its file is closed.
    pub async fn shutdown(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Waiting blocks; the thread ends as soon as its connections are idle.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

type Ready = oneshot::Sender<Result<SocketAddr, String>>;

type Telling = (watch::Sender<u64>, mpsc::UnboundedSender<StreamMessage>);

fn serve(
    path: Option<&Path>,
    address: SocketAddr,
    secret: &Secret,
    ready: Ready,
    stopped: oneshot::Receiver<()>,
    (written, tell): Telling,
) {
    let database = match path {
        Some(path) => dynoxide::Database::new(&path.to_string_lossy()),
        None => dynoxide::Database::memory(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (database, runtime) = match (database, runtime) {
        (Ok(database), Ok(runtime)) => (database, runtime),
        (Err(error), _) => return drop(ready.send(Err(error.to_string()))),
        (_, Err(error)) => return drop(ready.send(Err(error.to_string()))),
    };
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(address).await;
        let (address, listener) = match listener.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok(bound) => bound,
            Err(error) => return drop(ready.send(Err(error.to_string()))),
        };
        let sweeper = tokio::spawn(sweep(database.clone()));
        let teller = tokio::spawn(tell_streams(database.clone(), written.subscribe(), tell));
        let router = secret.guard(router(database, written), address);
        let _ = ready.send(Ok(address));
        let stopped = async { drop(stopped.await) };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the embedded database stopped");
        }
        sweeper.abort();
        teller.abort();
    });
}

/// A database as a service, which counts its writes.
fn router(database: dynoxide::Database, written: watch::Sender<u64>) -> Router {
    let router = Router::new().route("/", post(answer)).layer(DefaultBodyLimit::max(MAX_REQUEST));
    router.with_state((database, written))
}

/// DynamoDB's protocol: JSON, with the operation in `X-Amz-Target` as `DynamoDB_20120810.GetItem`.
async fn answer(
    State((database, written)): State<(dynoxide::Database, watch::Sender<u64>)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.split_once('.').map_or("", |(_, operation)| operation);
    let (status, body) = match run(&database, operation, &body) {
        Some(Ok(output)) => {
            if WRITES.contains(&operation) {
                written.send_modify(|writes| *writes += 1);
            }
            (StatusCode::OK, output)
        }
        Some(Err(error)) => {
            let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, error.to_json())
        }
        None => {
            let unknown = r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
            (StatusCode::BAD_REQUEST, unknown.to_owned())
        }
    };
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

/// The operations that write items, and so may put records into a stream.
const WRITES: [&str; 5] = ["BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"];

/// Tells what the streams' records are, from now on, after each write.
async fn tell_streams(
    database: dynoxide::Database,
    mut written: watch::Receiver<u64>,
    tell: mpsc::UnboundedSender<StreamMessage>,
) {
    let mut iterators = BTreeMap::new();
    // Records from before this run are nobody's news: what they left undone, the sweep at the start takes up.
    if let Err(error) = find_streams(&database, &mut iterators, "LATEST") {
        tracing::error!(%error, "the streams cannot be read");
    }
    loop {
        let writes = *written.borrow_and_update();
        match read_streams(&database, &mut iterators) {
            Ok(records) => {
                for (table, record) in records {
                    let _ = tell.send(StreamMessage::Record(table, record));
                }
            }
            Err(error) => tracing::error!(%error, "the streams cannot be read"),
        }
        if tell.send(StreamMessage::Told(writes)).is_err() || written.changed().await.is_err() {
            return;
        }
    }
}

/// Where each stream's reading goes on, by the stream's name.
type Iterators = BTreeMap<String, (String, String)>;

/// Begins to read streams that were not there before.
fn find_streams(database: &dynoxide::Database, iterators: &mut Iterators, from: &str) -> Result<(), DynoxideError> {
    for stream in database.list_streams(ListStreamsRequest::default())?.streams {
        if iterators.contains_key(&stream.stream_arn) {
            continue;
        }
        let arn = stream.stream_arn;
        let described =
            database.describe_stream(DescribeStreamRequest { stream_arn: arn.clone(), ..Default::default() })?;
        // The embedded database's streams have one shard, and keep it.
        let Some(shard) = described.stream_description.shards.into_iter().next() else { continue };
        let request = GetShardIteratorRequest {
            stream_arn: arn.clone(),
            shard_id: shard.shard_id,
            shard_iterator_type: from.to_owned(),
            sequence_number: None,
        };
        if let Some(iterator) = database.get_shard_iterator(request)?.shard_iterator {
            iterators.insert(arn, (described.stream_description.table_name, iterator));
        }
    }
    Ok(())
}

/// The records that are new since the last time, as the Lambda service shows them.
fn read_streams(
    database: &dynoxide::Database,
    iterators: &mut Iterators,
) -> Result<Vec<(String, Value)>, DynoxideError> {
    if iterators.is_empty() {
        find_streams(database, iterators, "TRIM_HORIZON")?;
    }
    let mut told = Vec::new();
    for (table, iterator) in iterators.values_mut() {
        loop {
            let answer = database.get_records(GetRecordsRequest { shard_iterator: iterator.clone(), limit: None })?;
            if let Some(next) = answer.next_shard_iterator {
                *iterator = next;
            }
            if answer.records.is_empty() {
                break;
            }
            for record in answer.records {
                let record = serde_json::to_value(record)
                    .map_err(|error| DynoxideError::InternalServerError(error.to_string()))?;
                told.push((table.clone(), record));
            }
        }
    }
    Ok(told)
}

/// Runs an operation; `None` for one that there is not.
fn run(database: &dynoxide::Database, operation: &str, input: &[u8]) -> Option<Result<String, DynoxideError>> {
    Some(match operation {
        "BatchGetItem" => call(input, |input| database.batch_get_item(input)),
        "BatchWriteItem" => call(input, |input| database.batch_write_item(input)),
        "CreateTable" => call(input, |input| database.create_table(input)),
        "DeleteItem" => call(input, |input| database.delete_item(input)),
        "DeleteTable" => call(input, |input| database.delete_table(input)),
        "DescribeStream" => call(input, |input| database.describe_stream(input)),
        "DescribeTable" => call(input, |input| database.describe_table(input)),
        "DescribeTimeToLive" => call(input, |input| database.describe_time_to_live(input)),
        "GetItem" => call(input, |input| database.get_item(input)),
        "GetRecords" => call(input, |input| database.get_records(input)),
        "GetShardIterator" => call(input, |input| database.get_shard_iterator(input)),
        "ListStreams" => call(input, |input| database.list_streams(input)),
        "ListTables" => call(input, |input| database.list_tables(input)),
        "PutItem" => call(input, |input| database.put_item(input)),
        "Query" => call(input, |input| database.query(input)),
        "Scan" => call(input, |input| database.scan(input)),
        "TransactGetItems" => call(input, |input| database.transact_get_items(input)),
        "TransactWriteItems" => call(input, |input| database.transact_write_items(input)),
        "UpdateItem" => call(input, |input| database.update_item(input)),
        "UpdateTable" => call(input, |input| database.update_table(input)),
        "UpdateTimeToLive" => call(input, |input| database.update_time_to_live(input)),
        _ => return None,
    })
}

fn call<I: DeserializeOwned, O: Serialize>(
    input: &[u8],
    operation: impl FnOnce(I) -> Result<O, DynoxideError>,
) -> Result<String, DynoxideError> {
    let input =
        serde_json::from_slice(input).map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    serde_json::to_string(&operation(input)?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

async fn sweep(database: dynoxide::Database) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        if let Err(error) = database.sweep_ttl() {
            tracing::warn!(%error, "expired items could not be removed");
        }
    }
}

/// A client of the database at `endpoint`, for what no function does.
pub fn client(endpoint: &str, secret: &Secret) -> Client {
    secret.aws(&Endpoints { dynamodb: endpoint.to_owned(), ..Endpoints::default() }).dynamodb()
}

/// Makes the tables that are not there yet in a client's database.
pub(crate) async fn create_tables(client: &Client, tables: &[Table]) -> Result<(), DatabaseError> {
    for table in tables {
        let failed = |problem: String| DatabaseError::Table { table: table.name.clone(), problem };
        create_table(client, table).await.map_err(failed)?;
        if let Some(attribute) = &table.ttl {
            enable_ttl(client, &table.name, attribute).await.map_err(failed)?;
        }
    }
    Ok(())
}

async fn create_table(client: &Client, table: &Table) -> Result<(), String> {
    let mut request = client.create_table().table_name(&table.name).billing_mode(BillingMode::PayPerRequest);
    for (name, key_type) in &table.keys {
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(name).key_type(KeyType::from(key_type.as_str()));
        request = request
            .attribute_definitions(attribute.build().map_err(|error| error.to_string())?)
            .key_schema(key.build().map_err(|error| error.to_string())?);
    }
    let stream = table.stream_view.as_deref().map(stream_specification).transpose()?;
    match request.set_stream_specification(stream.clone()).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ResourceInUseException") => {
            enable_stream(client, &table.name, stream).await
        }
        Err(error) => Err(DisplayErrorContext(error).to_string()),
    }
}

fn stream_specification(view: &str) -> Result<StreamSpecification, String> {
    let specification =
        StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::from(view));
    specification.build().map_err(|error| error.to_string())
}

/// Gives a table that is there a stream, if it is to have one and has none.
async fn enable_stream(client: &Client, table: &str, stream: Option<StreamSpecification>) -> Result<(), String> {
    let Some(stream) = stream else { return Ok(()) };
    let described = client.describe_table().table_name(table).send().await;
    let described = described.map_err(|error| DisplayErrorContext(error).to_string())?.table;
    if described.and_then(|table| table.stream_specification).is_some_and(|present| present.stream_enabled) {
        return Ok(());
    }
    let update = client.update_table().table_name(table).stream_specification(stream);
    update.send().await.map_err(|error| DisplayErrorContext(error).to_string())?;
    Ok(())
}

/// DynamoDB calls it an error to enable what is enabled.
async fn enable_ttl(client: &Client, table: &str, attribute: &str) -> Result<(), String> {
    let current = client.describe_time_to_live().table_name(table).send().await;
    let current = current.map_err(|error| DisplayErrorContext(error).to_string())?;
    let status = current.time_to_live_description.and_then(|description| description.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true);
    let specification = specification.build().map_err(|error| error.to_string())?;
    let update = client.update_time_to_live().table_name(table).time_to_live_specification(specification);
    update.send().await.map_err(|error| DisplayErrorContext(error).to_string())?;
    Ok(())
}
