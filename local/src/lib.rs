//! The local stack: the functions of `template.yaml` behind a gateway on loopback, an embedded DynamoDB and a mailbox.
//!
//! The functions run in-process, but nothing else differs from AWS: requests become API Gateway's events, go through
//! `lambda_http`'s own codec, and reach the database and the mailbox by the same calls as AWS.

pub mod database;
mod endpoint_file;
mod event;
pub mod event_bus;
pub mod functions;
mod gateway;
mod lambda_service;
pub mod mailbox;
pub mod openapi;
mod pages;
pub mod secret;
mod stream;
pub mod template;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_sdk_dynamodb::config::SharedHttpClient;
use axum::Router;
use serde_json::json;
use shared::clock::Clock;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use database::{Database, DatabaseError};
use endpoint_file::EndpointFile;
use event_bus::EventBus;
pub use functions::ExtraFunction;
use functions::{FunctionError, Functions};
use gateway::Gateway;
use lambda_service::LambdaService;
use mailbox::Mailbox;
use secret::{Endpoints, Secret};
use stream::Streams;
use template::{Template, TemplateError};

/// The port of DynamoDB for functions in containers, as in `events/env.json`.
pub const DYNAMODB_PORT: u16 = 8000;
/// The port of SES for functions in containers, as in `events/env.json`.
pub const SES_PORT: u16 = 8005;
/// The port of the Lambda service likewise.
pub const LAMBDA_PORT: u16 = 8006;
/// The port of `EventBridge` for functions in containers.
pub const EVENTBRIDGE_PORT: u16 = 8007;

/// How long a stop waits for requests in flight.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a free port is looked for.
const PORT_ATTEMPTS: u32 = 16;

/// Where the stack keeps its data.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Nowhere.
    Memory,
    /// In a directory, which is made with mode 0700 if it is not there. While the stack runs, `endpoint.json` in it
    /// tells how to reach DynamoDB.
    Directory(PathBuf),
}

/// The services of AWS on this machine, to be called without a socket.
#[derive(Clone, Debug)]
pub struct Services {
    /// `EventBridge`.
    pub eventbridge: Router,
    /// The Lambda service.
    pub lambda: Router,
    /// SES.
    pub ses: Router,
}

/// Makes what the SDK's clients send their requests by.
pub type Connect = Box<dyn FnOnce(Services) -> SharedHttpClient + Send>;

/// How to start a stack.
pub struct Options {
    /// The gateway's port; 0 for any.
    pub port: u16,
    /// Where data is kept.
    pub storage: Storage,
    /// Template parameters, as `--set` gives them.
    pub parameters: Vec<(String, String)>,
    /// Another DynamoDB than the embedded one.
    pub dynamodb_endpoint: Option<String>,
    /// What callers of DynamoDB and SES have to hold.
    pub secret: Secret,
    /// Whether to look for what waits in the outbox again and again, where another DynamoDB's streams are not read.
    pub polls_outbox: bool,
    /// Where the services of AWS listen, for functions in containers: [`DYNAMODB_PORT`], [`SES_PORT`],
    /// [`LAMBDA_PORT`] and [`EVENTBRIDGE_PORT`] of this address.
    /// `None`: any ports of loopback.
    pub endpoints_at: Option<IpAddr>,
    /// One more name that the gateway is reached by, beside those of this machine.
    pub host: Option<String>,
    /// The time.
    pub clock: Clock,
    /// What functions send their calls by instead of connections, for tests that let calls fail or hold the time in which
    /// they do not answer. No function runs by a schedule then.
    pub connect: Option<Connect>,
    /// The template; `None`: `template.yaml` in the current directory, else the workspace's.
    pub template: Option<PathBuf>,
    /// Functions that the template names and that are no crates of this workspace.
    pub extra_functions: Vec<(String, ExtraFunction)>,
}

impl Default for Options {
    /// In memory, on any port, by the system's clock, with a secret of its own.
    fn default() -> Self {
        Self {
            port: 0,
            storage: Storage::Memory,
            parameters: Vec::new(),
            dynamodb_endpoint: None,
            polls_outbox: false,
            secret: Secret::random(),
            endpoints_at: None,
            host: None,
            clock: Clock::system(),
            connect: None,
            template: None,
            extra_functions: Vec::new(),
        }
    }
}

/// Why a stack does not start.
#[derive(Debug, Error)]
pub enum Error {
    /// The template cannot be read.
    #[error("{path}: {source}", path = path.display())]
    TemplateFile {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The template or a parameter is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A function does not start.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The database does not start.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The port is taken.
    #[error("port {port} is in use; stop what runs there, or choose another with --port")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// The data directory is in use by another stack.
    #[error("{directory} is in use by another local stack", directory = directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The machine refuses.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What is wrong.
        source: std::io::Error,
    },
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// A running stack.
#[derive(Debug)]
pub struct LocalStack {
    url: String,
    functions: Functions,
    mailbox: Mailbox,
    event_bus: EventBus,
    endpoints: Endpoints,
    gateway: Router,
    streams: Streams,
    secret: Secret,
    database: Option<Database>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    endpoint_servers: [JoinHandle<()>; 3],
    schedules: Vec<JoinHandle<()>>,
    // Dropped in this order: the file goes while the directory is still claimed.
    endpoint_file: Option<EndpointFile>,
    _lock: Option<File>,
}

impl LocalStack {
    /// Starts a stack; it is ready when this returns.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let listeners = listen(options.port).await?;
        let port = listeners[0].local_addr().map_err(io("the gateway's address"))?.port();
        let url = format!("http://localhost:{port}");
        let template = read_template(options.template)?;
        let parameters = with_defaults(&template, options.parameters, &url);
        let stack = template.resolve(&parameters)?;

        let directory = match &options.storage {
            Storage::Memory => None,
            Storage::Directory(directory) => Some(directory.as_path()),
        };
        let lock = directory.map(claim).transpose()?;
        let secret = options.secret;
        let mut database = match options.dynamodb_endpoint {
            Some(_) => None,
            None => {
                let address = endpoint(options.endpoints_at, DYNAMODB_PORT);
                Some(Database::listen(directory, address, secret.clone()).await?)
            }
        };
        let embedded = || database.as_ref().map(|database| database.endpoint().to_owned());
        let dynamodb = options.dynamodb_endpoint.or_else(embedded).unwrap_or_default();
        let mailbox = Mailbox::open(directory, options.clock.clone()).map_err(io("the mailbox"))?;
        let serve = async |router, port| secret.serve(router, endpoint(options.endpoints_at, port)).await;
        let (ses, mail_server) = serve(mailbox.router(), SES_PORT).await.map_err(io("the mail endpoint"))?;
        let lambda_service = LambdaService::default();
        let (lambda, lambda_server) =
            serve(lambda_service.router(), LAMBDA_PORT).await.map_err(io("the Lambda endpoint"))?;
        let event_bus = EventBus::new(options.clock.clone());
        let (eventbridge, bus_server) =
            serve(event_bus.router(), EVENTBRIDGE_PORT).await.map_err(io("the EventBridge endpoint"))?;

        let endpoints = Endpoints { dynamodb, eventbridge, lambda, ses };
        let mut aws = secret.aws(&endpoints);
        let runs_schedules = options.connect.is_none();
        if let Some(connect) = options.connect {
            let (eventbridge, lambda, ses) = (event_bus.router(), lambda_service.router(), mailbox.router());
            aws = aws.over(connect(Services { eventbridge, lambda, ses }));
        }
        database::create_tables(&aws.dynamodb(), &stack.tables).await?;
        let resolved = stack.parameters.clone();
        let functions = Functions::start(&stack.functions, options.extra_functions, &options.clock, &aws)?;
        lambda_service.deploy(&functions, stack.function_names.clone());
        let streams = match database.as_mut().and_then(Database::take_streams) {
            Some((told, written)) => Streams::start(told, written, stack.streams.clone(), functions.clone()),
            None => Streams::elsewhere(functions.clone(), options.polls_outbox),
        };
        let mut schedules = Vec::new();
        for (folder, every) in stack.scheduled.clone().into_iter().filter(|_| runs_schedules) {
            invoke_scheduled(&functions, &folder).await;
            schedules.push(tokio::spawn(repeat_scheduled(functions.clone(), folder, every)));
        }
        let gateway = Gateway {
            port,
            host: options.host,
            stack,
            functions: functions.clone(),
            mailbox: mailbox.clone(),
            event_bus: event_bus.clone(),
            streams: streams.clone(),
            clock: options.clock,
            requests: AtomicU64::new(1),
        };
        let (stop, stopped) = watch::channel(false);
        let gateway = gateway::router(gateway);
        let router = gateway.clone().into_make_service_with_connect_info::<SocketAddr>();
        let servers = listeners.into_iter().map(|listener| {
            let (router, mut stopped) = (router.clone(), stopped.clone());
            tokio::spawn(async move {
                let stop = async move {
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                };
                if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
                    tracing::error!(%error, "the gateway stopped");
                }
            })
        });
        let servers = servers.collect();
        let endpoint_file = directory.map(|directory| EndpointFile::write(directory, &endpoints, &secret, &resolved));
        Ok(Self {
            url,
            functions,
            mailbox,
            event_bus,
            endpoints,
            gateway,
            streams,
            secret,
            database,
            stop,
            servers,
            endpoint_servers: [mail_server, lambda_server, bus_server],
            schedules,
            endpoint_file: endpoint_file.transpose().map_err(io("the endpoint's file"))?,
            _lock: lock,
        })
    }

    /// The API's URL, `http://localhost:3000` say.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The gateway, to be called without a socket, by requests that have a `ConnectInfo<SocketAddr>` among their extensions.
    pub fn gateway(&self) -> Router {
        self.gateway.clone()
    }

    /// The functions, to call with an event.
    pub const fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The mailbox.
    pub const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The buses of events.
    pub const fn event_bus(&self) -> &EventBus {
        &self.event_bus
    }

    /// Where the services of AWS listen.
    pub const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Waits until whatever a stream has to wake is done: then mails and events of earlier requests are there.
    pub async fn settled(&self) {
        self.streams.settled().await;
    }

    /// What callers of DynamoDB and SES have to hold.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Finishes the requests in flight, if they end soon, and stops.
    pub async fn shutdown(self) {
        drop(self.endpoint_file);
        let _ = self.stop.send(true);
        for mut server in self.servers {
            // A client that never finishes its request does not keep the stack running.
            if tokio::time::timeout(PATIENCE, &mut server).await.is_err() {
                server.abort();
            }
        }
        for server in self.endpoint_servers {
            server.abort();
        }
        for schedule in self.schedules {
            schedule.abort();
        }
        drop(self.functions);
        if let Some(database) = self.database {
            let _ = tokio::time::timeout(PATIENCE, database.shutdown()).await;
        }
    }
}

async fn invoke_scheduled(functions: &Functions, folder: &str) {
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    if let Err(error) = functions.invoke(folder, event).await {
        tracing::error!(%error, "scheduled function failed");
    }
}

/// Runs a scheduled function for as long as the stack does; the first time was at its start.
async fn repeat_scheduled(functions: Functions, folder: String, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        invoke_scheduled(&functions, &folder).await;
    }
}

/// Where one of the endpoints listens.
fn endpoint(at: Option<IpAddr>, port: u16) -> SocketAddr {
    at.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), |at| SocketAddr::from((at, port)))
}

/// Listens on loopback alone: on IPv4, and where the machine has it on IPv6 too, as browsers try that first. Both or
/// neither: what else listens there would get the requests of those browsers.
async fn listen(wanted: u16) -> Result<Vec<TcpListener>, Error> {
    for _ in 0..PORT_ATTEMPTS {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Error::PortInUse { port: wanted },
            _ => io("the gateway")(error),
        })?;
        let port = v4.local_addr().map_err(io("the gateway"))?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => return Ok(vec![v4]),
            Err(_) if wanted != 0 => return Err(Error::PortInUse { port }),
            Err(_) => {}
        }
    }
    Err(Error::PortInUse { port: wanted })
}

fn read_template(path: Option<PathBuf>) -> Result<Template, Error> {
    let workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let here = PathBuf::from("template.yaml");
    let path = path.unwrap_or_else(|| if here.exists() { here } else { workspace() });
    let text = std::fs::read_to_string(&path).map_err(|source| Error::TemplateFile { path, source })?;
    Ok(Template::parse(&text)?)
}

/// What a deployment is asked for, answered for this machine unless `--set` says otherwise.
fn with_defaults(template: &Template, given: Vec<(String, String)>, url: &str) -> BTreeMap<String, String> {
    let defaults = [
        ("ApiUrl", url.to_owned()),
        ("AppUrl", format!("{url}/")),
        ("MailFrom", "Latchkey <no-reply@latchkey.local>".to_owned()),
        ("MailIdentity", "latchkey.local".to_owned()),
        ("EventBusName", "local".to_owned()),
    ];
    let declared = |name: &str| template.parameters().any(|parameter| parameter == name);
    let mut parameters: BTreeMap<String, String> =
        defaults.into_iter().filter(|(name, _)| declared(name)).map(|(name, value)| (name.to_owned(), value)).collect();
    parameters.extend(given);
    parameters
}

/// Makes a data directory that only this user can read, and claims it. The claim ends with the process, however that
/// ends.
fn claim(directory: &Path) -> Result<File, Error> {
    let what = || format!("the data directory {}", directory.display());
    std::fs::create_dir_all(directory).map_err(io(what()))?;
    #[cfg(unix)]
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(io(what()))?;
    let lock = File::create(directory.join("lock")).map_err(io(what()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { directory: directory.to_owned() }),
        Err(std::fs::TryLockError::Error(error)) => Err(io(what())(error)),
    }
}
