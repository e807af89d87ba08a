//! SES v2's `SendEmail`, and the mailbox that keeps what it brings.
//!
//! The functions reach it by the same calls as SES, on a port of its own that wants the secret of the run; people read
//! it at `/_local/mail`.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::Clock;

/// How many mails are kept; the oldest go first.
const CAPACITY: usize = 1_000;

/// A mail that was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mail {
    /// Its number, as text.
    pub id: String,
    /// The recipient.
    pub to: String,
    /// The sender.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The HTML.
    pub html: String,
    /// When it was sent, in RFC 3339.
    pub sent_at: String,
    /// The SES configuration set that it was sent with; for tests, and not shown.
    #[serde(skip)]
    pub configuration_set: Option<String>,
}

/// All mails that were sent. Clones share them.
#[derive(Clone, Debug)]
pub struct Mailbox {
    clock: Clock,
    file: Option<PathBuf>,
    state: Arc<Mutex<Inbox>>,
}

#[derive(Debug, Default)]
struct Inbox {
    mails: VecDeque<Mail>,
    failures: u32,
    refusal: Option<&'static str>,
}

impl Mailbox {
    /// A mailbox that keeps its mails in a file of `directory`, or in memory.
    pub fn open(directory: Option<&Path>, clock: Clock) -> std::io::Result<Self> {
        let file = directory.map(|directory| directory.join("mail.json"));
        let mails = match &file {
            Some(file) if file.exists() => read(file)?,
            _ => VecDeque::new(),
        };
        Ok(Self { clock, file, state: Arc::new(Mutex::new(Inbox { mails, failures: 0, refusal: None })) })
    }

    /// All mails, newest last.
    pub fn mails(&self) -> Vec<Mail> {
        self.lock().mails.iter().cloned().collect()
    }

    /// Refuses all mails with this error of SES's from now on, as when its account is in the sandbox: for tests.
    pub fn refuse(&self, code: Option<&'static str>) {
        self.lock().refusal = code;
    }

    /// Has the next `count` sendings fail, as when SES is down: for tests.
    pub fn fail_next(&self, count: u32) {
        self.lock().failures = count;
    }

    /// The endpoint's routes.
    pub(crate) fn router(&self) -> Router {
        Router::new().route("/v2/email/outbound-emails", post(send_email)).with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a mail, on disk before the sender gets its answer.
    fn keep(&self, request: &SendEmail) -> std::io::Result<String> {
        let mut inbox = self.lock();
        let last = inbox.mails.back().and_then(|mail| mail.id.parse::<u64>().ok()).unwrap_or(0);
        let id = (last + 1).to_string();
        let Simple { subject, body } = &request.content.simple;
        let data = |part: &Option<Part>| part.as_ref().map(|part| part.data.clone()).unwrap_or_default();
        inbox.mails.push_back(Mail {
            id: id.clone(),
            to: request.destination.to_addresses.join(", "),
            from: request.from_email_address.clone(),
            subject: subject.data.clone(),
            text: data(&body.text),
            html: data(&body.html),
            sent_at: self.clock.now().to_string(),
            configuration_set: request.configuration_set_name.clone(),
        });
        while inbox.mails.len() > CAPACITY {
            inbox.mails.pop_front();
        }
        if let Some(file) = &self.file
            && let Err(error) = write(file, &inbox.mails)
        {
            // The sender gets an error, and will send it again.
            inbox.mails.pop_back();
            return Err(error);
        }
        Ok(id)
    }
}

/// Reads the mails of a file. One that cannot be read is set aside: old mails are no reason not to start.
fn read(file: &Path) -> std::io::Result<VecDeque<Mail>> {
    if let Ok(mails) = serde_json::from_slice(&std::fs::read(file)?) {
        return Ok(mails);
    }
    let aside = file.with_extension("json.unreadable");
    tracing::warn!(file = %aside.display(), "the mailbox could not be read and was set aside");
    std::fs::rename(file, aside)?;
    Ok(VecDeque::new())
}

/// Replaces a file by these mails, whole or not at all.
fn write(file: &Path, mails: &VecDeque<Mail>) -> std::io::Result<()> {
    let half_written = file.with_extension("json.new");
    let mut new = std::fs::File::create(&half_written)?;
    new.write_all(&serde_json::to_vec(mails)?)?;
    new.sync_all()?;
    std::fs::rename(half_written, file)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEmail {
    from_email_address: String,
    configuration_set_name: Option<String>,
    destination: Destination,
    content: Content,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    to_addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    simple: Simple,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Simple {
    subject: Part,
    body: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    text: Option<Part>,
    html: Option<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    data: String,
}

async fn send_email(State(mailbox): State<Mailbox>, body: Bytes) -> Response {
    let fails = {
        let mut inbox = mailbox.lock();
        let fails = inbox.failures > 0;
        inbox.failures = inbox.failures.saturating_sub(1);
        fails
    };
    if fails {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "failure requested by a test");
    }
    if let Some(code) = mailbox.lock().refusal {
        return error(StatusCode::BAD_REQUEST, code, "Email address is not verified: no-reply@latchkey.local");
    }
    let request: SendEmail = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(problem) => return error(StatusCode::BAD_REQUEST, "BadRequestException", &problem.to_string()),
    };
    if request.destination.to_addresses.is_empty() {
        return error(StatusCode::BAD_REQUEST, "BadRequestException", "there is no recipient");
    }
    match mailbox.keep(&request) {
        Ok(id) => {
            tracing::info!(id, "mail sent: see /_local/mail");
            answer(StatusCode::OK, &json!({ "MessageId": id }))
        }
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", &problem.to_string()),
    }
}

fn error(status: StatusCode, kind: &'static str, message: &str) -> Response {
    let mut response = answer(status, &json!({ "message": message }));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
