//! What functions send their calls by in a stack that runs in-process: each call is counted, and may be made to fail.
//!
//! It is under the SDK's own clients, so that their retries and timeouts are those of AWS. A call is what a function asked
//! for, with all its attempts. Time is tokio's, paused: nobody waits for what does not answer.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use http_body::Frame;
use lambda_http::Service;
use local::Services;
use serde_json::{Value, json};

/// How long a slow call takes: nearly as long as an attempt may.
const SLOW: Duration = Duration::from_millis(1900);

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallFault {
    /// A status 500; nothing is done.
    Refused,
    /// It is done, and a status 500 says nothing of it.
    RefusedAfterwards,
    /// Too many calls; nothing is done.
    Throttled,
    /// Nothing is done, and no answer comes.
    TimedOut,
    /// It is done, and the answer comes late.
    Slow,
    /// It is done, and the connection is cut in the answer.
    CutOff,
    /// A write met a transaction in flight; nothing is done.
    Conflict,
    /// A batch comes back with all its keys unprocessed.
    Unprocessed,
}

impl CallFault {
    pub(crate) const ALL: [Self; 8] = [
        Self::Refused,
        Self::RefusedAfterwards,
        Self::Throttled,
        Self::TimedOut,
        Self::Slow,
        Self::CutOff,
        Self::Conflict,
        Self::Unprocessed,
    ];

    /// Whether it can happen to this call.
    pub(crate) fn fits(self, call: &CallMade) -> bool {
        match self {
            Self::Conflict => {
                ["DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"].contains(&call.operation.as_str())
            }
            Self::Unprocessed => call.operation == "BatchGetItem",
            _ => true,
        }
    }

    /// Whether the call is done although it seems to have failed.
    pub(crate) const fn takes_effect(self) -> bool {
        matches!(self, Self::RefusedAfterwards | Self::CutOff)
    }
}

/// How often a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Extent {
    /// Its first attempt.
    Once,
    /// Each of its attempts.
    Always,
    /// Each of its attempts, and of every later call's: an outage that begins with it.
    Onwards,
}

impl Extent {
    pub(crate) const ALL: [Self; 3] = [Self::Once, Self::Always, Self::Onwards];
}

/// A fault, and where it happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Injection {
    /// The number of the call.
    pub(crate) at: usize,
    pub(crate) fault: CallFault,
    pub(crate) extent: Extent,
}

impl fmt::Debug for Injection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "call {} {:?} {:?}", self.at, self.fault, self.extent)
    }
}

impl Injection {
    /// Whether it happens to the attempt of this call.
    fn strikes(&self, call: &CallMade, number: usize, is_first: bool) -> bool {
        let is_there = match self.extent {
            // The SDK takes an answer with unprocessed keys for a success: whoever wants the others asks again.
            Extent::Always if self.fault == CallFault::Unprocessed => number >= self.at,
            Extent::Always => number == self.at,
            Extent::Onwards => number >= self.at,
            Extent::Once => number == self.at && is_first,
        };
        is_there && self.fault.fits(call)
    }
}

/// A call that a function made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallMade {
    /// The function's folder.
    pub(crate) caller: String,
    /// As the service calls it.
    pub(crate) operation: String,
    /// What is asked for, without keys and values: calls of the same form differ in these alone.
    pub(crate) form: String,
}

#[derive(Default)]
struct State {
    calls: Vec<(String, CallMade)>,
    faults: Vec<Injection>,
    met: HashSet<Injection>,
}

/// All calls of a stack. Clones share them.
#[derive(Clone)]
pub(crate) struct Calls {
    dynamodb: Router,
    state: Arc<Mutex<State>>,
}

impl Calls {
    pub(crate) fn to(dynamodb: Router) -> Self {
        Self { dynamodb, state: Arc::default() }
    }

    /// What the SDK's clients send their requests by.
    pub(crate) fn client(&self, services: Services) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector { calls: self.clone(), services });
        http_client_fn(move |_, _| connector.clone())
    }

    /// Forgets the calls so far, and lets these faults happen from now on.
    pub(crate) fn begin(&self, faults: &[Injection]) {
        *self.state() = State { faults: faults.to_vec(), ..State::default() };
    }

    /// Ends all faults. The calls since they began, and which faults happened.
    pub(crate) fn end(&self) -> (Vec<CallMade>, HashSet<Injection>) {
        let State { calls, met, .. } = std::mem::take(&mut *self.state());
        (calls.into_iter().map(|(_, call)| call).collect(), met)
    }

    /// An operation of the database's, as nobody's call.
    pub(crate) async fn database(&self, operation: &str, body: &Value) -> Value {
        let request = Request::post("/").header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let request = request.body(Body::from(body.to_string())).expect("a request");
        let (status, _, answer) = send(self.dynamodb.clone(), request).await;
        assert_eq!(status, 200, "{operation}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt, and says what is to happen to it.
    fn count(&self, invocation: &str, call: &CallMade) -> Option<CallFault> {
        let mut state = self.state();
        let known = state.calls.iter().position(|(id, _)| id == invocation);
        let number = known.unwrap_or(state.calls.len());
        if known.is_none() {
            state.calls.push((invocation.to_owned(), call.clone()));
        }
        let found = state.faults.iter().find(|fault| fault.strikes(call, number, known.is_none())).copied()?;
        state.met.insert(found);
        Some(found.fault)
    }
}

struct Connector {
    calls: Calls,
    services: Services,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sent = Sent::of(&request);
        let router = match sent.service.as_str() {
            "dynamodb" => self.calls.dynamodb.clone(),
            "events" => self.services.eventbridge.clone(),
            "lambda" => self.services.lambda.clone(),
            "ses" => self.services.ses.clone(),
            other => panic!("a call of {other}"),
        };
        let fault = self.calls.count(&sent.invocation, &sent.call);
        HttpConnectorFuture::new(async move { Ok(answer(router, sent, fault).await) })
    }
}

/// A request of the SDK's.
struct Sent {
    service: String,
    invocation: String,
    call: CallMade,
    request: Request<Body>,
    body: Value,
}

impl Sent {
    fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name).unwrap_or_default();
        // `AWS4-HMAC-SHA256 Credential=<access key id>/<date>/<region>/<service>/…` (AWS Signature Version 4); functions
        // of the local stack sign by the name of their folder.
        let scope = header("authorization").split_once("Credential=").map_or("", |(_, scope)| scope);
        let scope: Vec<&str> = scope.split('/').collect();
        let [caller, _, _, service, ..] = scope[..] else { panic!("a call that nobody signed: {}", request.uri()) };
        let bytes = request.body().bytes().expect("a body in memory").to_vec();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let path = request.uri().splitn(4, '/').nth(3).unwrap_or_default();
        let operation = match (header("x-amz-target").split_once('.'), service) {
            (Some((_, operation)), _) => operation.to_owned(),
            (None, "ses") => "SendEmail".to_owned(),
            _ => format!("Invoke {}", path.split('/').nth(2).unwrap_or_default()),
        };
        let call = CallMade { caller: caller.to_owned(), form: form(&operation, &body), operation };
        let mut copy = Request::builder().method(request.method()).uri(format!("/{path}"));
        for (name, value) in request.headers() {
            copy = copy.header(name, value);
        }
        Self {
            service: service.to_owned(),
            invocation: header("amz-sdk-invocation-id").to_owned(),
            call,
            request: copy.body(Body::from(bytes)).expect("a request"),
            body,
        }
    }
}

/// What a call asks for, without keys and values.
fn form(operation: &str, body: &Value) -> String {
    let expressions = body.as_object().into_iter().flatten();
    let expressions = expressions.filter(|(name, _)| name.ends_with("Expression") || *name == "TableName");
    let expressions: Vec<String> = expressions.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{operation} {}", expressions.join(" "))
}

async fn answer(router: Router, sent: Sent, fault: Option<CallFault>) -> HttpResponse {
    let is_database = sent.service == "dynamodb";
    match fault {
        None => forward(router, sent.request).await,
        Some(CallFault::Refused) => refusal(500, internal_error(&sent.service), json!({})),
        Some(CallFault::RefusedAfterwards) => {
            forward(router, sent.request).await;
            refusal(500, internal_error(&sent.service), json!({}))
        }
        Some(CallFault::Throttled) if is_database => refusal(400, "ThrottlingException", json!({})),
        Some(CallFault::Throttled) => refusal(429, "TooManyRequestsException", json!({})),
        Some(CallFault::TimedOut) => std::future::pending().await,
        Some(CallFault::Slow) => {
            tokio::time::sleep(SLOW).await;
            forward(router, sent.request).await
        }
        Some(CallFault::CutOff) => {
            let answer = forward(router, sent.request).await;
            let mut cut = HttpResponse::new(answer.status(), SdkBody::from_body_1_x(Cut));
            for (name, value) in answer.headers() {
                cut.headers_mut().insert(name.to_owned(), value.to_owned());
            }
            cut
        }
        Some(CallFault::Conflict) if sent.call.operation == "TransactWriteItems" => {
            let reasons = json!({"CancellationReasons": [{"Code": "TransactionConflict", "Message": "conflict"}]});
            refusal(400, "TransactionCanceledException", reasons)
        }
        Some(CallFault::Conflict) => refusal(400, "TransactionConflictException", json!({})),
        Some(CallFault::Unprocessed) => {
            let body = json!({"Responses": {}, "UnprocessedKeys": sent.body["RequestItems"]});
            HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(body.to_string()))
        }
    }
}

fn internal_error(service: &str) -> &'static str {
    match service {
        "dynamodb" => "InternalServerError",
        "lambda" => "ServiceException",
        _ => "InternalFailure",
    }
}

fn refusal(status: u16, code: &str, mut body: Value) -> HttpResponse {
    body["__type"] = json!(format!("com.amazonaws#{code}"));
    body["message"] = json!("injected by the test");
    let mut response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body.to_string()));
    response.headers_mut().insert("x-amzn-errortype", code.to_owned());
    response
}

/// A connection that ends before the answer does.
struct Cut;

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
    }
}

async fn forward(router: Router, request: Request<Body>) -> HttpResponse {
    let (status, headers, body) = send(router, request).await;
    let mut response = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body));
    for (name, value) in headers {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Status, headers and body of what a service answers.
async fn send(mut router: Router, request: Request<Body>) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let answer = router.call(request).await.unwrap_or_else(|never| match never {});
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let text = |value: &axum::http::HeaderValue| value.to_str().expect("ASCII").to_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    (parts.status.as_u16(), headers.collect(), body.to_vec())
}
