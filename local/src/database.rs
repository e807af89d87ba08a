//! An embedded DynamoDB on a loopback port of its own, and the tables that the template asks for.
//!
//! SQLite blocks, so the database has a thread and a runtime to itself. It verifies no signatures and allows any
//! origin: its port is not told to anyone but the functions.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use shared::aws::Aws;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::template::Table;

/// How often items past their TTL are removed. DynamoDB takes days, so nothing may depend on it.
const SWEEP: Duration = Duration::from_mins(1);

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
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    /// Starts a database: in a file of `directory`, or in memory; on any port of loopback.
    pub async fn start(directory: Option<&Path>) -> Result<Self, DatabaseError> {
        Self::listen(directory, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts a database that listens at an address.
    pub async fn listen(directory: Option<&Path>, address: SocketAddr) -> Result<Self, DatabaseError> {
        let path = directory.map(|directory| directory.join("dynamodb.sqlite"));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || serve(path.as_deref(), address, ready, stopped))
            .map_err(|error| DatabaseError::Start(error.to_string()))?;
        let address = started.await.unwrap_or_else(|_| Err("its thread ended".to_owned()));
        let address = address.map_err(DatabaseError::Start)?;
        Ok(Self { endpoint: format!("http://{address}"), stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
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

fn serve(path: Option<&Path>, address: SocketAddr, ready: Ready, stopped: oneshot::Receiver<()>) {
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
        let listener = match listener.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                let _ = ready.send(Ok(address));
                listener
            }
            Err(error) => return drop(ready.send(Err(error.to_string()))),
        };
        let sweeper = tokio::spawn(sweep(database.clone()));
        let stopped = async { drop(stopped.await) };
        if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, stopped).await {
            tracing::error!(error, "the embedded database stopped");
        }
        sweeper.abort();
    });
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
pub fn client(endpoint: &str) -> Client {
    Aws::local(endpoint, endpoint).dynamodb()
}

/// Makes the tables that are not there yet in the database at `endpoint`.
pub async fn create_tables(endpoint: &str, tables: &[Table]) -> Result<(), DatabaseError> {
    let client = &client(endpoint);
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
    match request.send().await {
        Err(error) if error.code() != Some("ResourceInUseException") => Err(DisplayErrorContext(error).to_string()),
        _ => Ok(()),
    }
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
