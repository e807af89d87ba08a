//! `cargo run`: starts the local stack and stops it on Ctrl-C or SIGTERM.

#![expect(clippy::print_stdout, reason = "where the stack listens, and what it is asked for, is its output")]

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use local::{Error, LocalStack, Options, Storage};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Latchkey on this machine: the functions of template.yaml, an embedded DynamoDB and a mailbox.
#[derive(Parser)]
#[command(name = "local", version)]
struct Arguments {
    /// The port to listen on; 0 for any, which is printed.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The directory for users, sessions and mails.
    #[arg(long, default_value = ".latchkey")]
    data: PathBuf,
    /// Keep nothing on disk, whatever --data says.
    #[arg(long)]
    memory: bool,
    /// Set a parameter of template.yaml; may be repeated.
    #[arg(long, value_name = "PARAMETER=VALUE", value_parser = parameter)]
    set: Vec<(String, String)>,
    /// Use DynamoDB Local, or another one, instead of the embedded database.
    #[arg(long, value_name = "URL")]
    dynamodb_endpoint: Option<String>,
    /// Let functions in containers reach the services of AWS at this address (ports 8000, 8005, 8006 and 8007): the address
    /// of this machine on the containers' network. All want the `session_token` of DIR/endpoint.json as `AWS_SESSION_TOKEN`.
    #[arg(long, value_name = "ADDRESS")]
    endpoints_at: Option<IpAddr>,
    /// One more name that the gateway is reached by: the Android emulator's 10.0.2.2, say. Others are refused.
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Option<String>,
    /// Print the API's description (`OpenAPI` 3.1) and stop.
    #[arg(long)]
    openapi: bool,
}

/// Logs for people, on standard error.
fn log() {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(lines).with(LevelFilter::INFO).init();
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected Parameter=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A host as browsers name it: a name or an address, and a port where it is not the gateway's.
fn host(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err("expected a name or an address, as in 10.0.2.2".to_owned());
    }
    Ok(text.to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.openapi {
        println!("{:#}", local::openapi::document());
        return ExitCode::SUCCESS;
    }
    log();
    let options = Options {
        port: arguments.port,
        storage: if arguments.memory { Storage::Memory } else { Storage::Directory(arguments.data) },
        parameters: arguments.set,
        dynamodb_endpoint: arguments.dynamodb_endpoint,
        polls_outbox: true,
        endpoints_at: arguments.endpoints_at,
        host: arguments.host,
        ..Options::default()
    };
    match serve(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> Result<(), Error> {
    let stop = stop_signal().map_err(|source| Error::Io { what: "signals".to_owned(), source })?;
    let stack = LocalStack::start(options).await?;
    println!("Latchkey is listening on {}", stack.url());
    println!("Mailbox: {}/_local/mail", stack.url());
    println!("Stop it with Ctrl-C.");
    stop.await;
    stack.shutdown().await;
    Ok(())
}

/// Resolves when the process gets a signal to stop.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        let interrupt = tokio::signal::ctrl_c();
        #[cfg(unix)]
        tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
    })
}
