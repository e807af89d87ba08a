//! A flow: what comes before, a request, and what has to be true however often it is sent and whatever fails.

use std::ops::RangeInclusive;
use std::pin::Pin;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Answer, Client, Stack, retry_key};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that a client does, or that AWS has a function do.
pub(super) struct Flow {
    /// The route, or the function's folder.
    pub(super) of: &'static str,
    /// Which of its cases.
    pub(super) case: &'static str,
    /// The stack's parameters.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    /// What comes before.
    pub(super) set_up: for<'a> fn(&'a Stack) -> BoxFuture<'a, Scene>,
}

impl Flow {
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.of, self.case)
    }

    pub(super) fn with(self, parameters: &'static [(&'static str, &'static str)]) -> Self {
        Self { parameters, ..self }
    }
}

/// Status and code of an answer. A function that answers no route has status 200 and a word of its answer, or 500.
pub(super) type Outcome = (u16, String);

/// What every check of a flow's end is given.
type Goal = Box<dyn for<'a> Fn(&'a Stack) -> BoxFuture<'a, ()> + Send + Sync>;

/// Somebody who is signed in, or was.
pub(super) enum Holder {
    /// With an access token.
    App(String),
    Browser(Client),
}

/// A request that may be sent, and what comes of it.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of the flow, and none depends on another")]
pub(super) struct Scene {
    pub(super) request: Request,
    /// The outcome where nothing fails.
    pub(super) success: Outcome,
    /// What else the same request gets, again, if it took effect before and its answer did not come.
    pub(super) again: Vec<Outcome>,
    /// Mails by address, of one request.
    pub(super) mails: Vec<(String, RangeInclusive<usize>)>,
    /// Events by type, of one request.
    pub(super) events: Vec<(&'static str, RangeInclusive<usize>)>,
    /// Whether each request that takes effect has its own mails, as it begins something anew.
    pub(super) tells_each_time: bool,
    /// Whether it is sent again though it succeeded, as something beside the answer may have failed.
    pub(super) is_repeated: bool,
    /// What one request takes from a counter that stays spent.
    pub(super) spends: u32,
    /// What a request may leave spent where giving it back has failed: somebody then waits, and nothing else.
    pub(super) forgives: u32,
    /// Who is signed in at the end.
    pub(super) alive: Vec<Holder>,
    /// Who is not, from the last answer on.
    pub(super) dead: Vec<Holder>,
    /// Sessions in the table at the end.
    pub(super) sessions: Option<usize>,
    /// Items of the outbox that wait for much later.
    pub(super) waiting: usize,
    /// Whether the set-up leaves something in the outbox, which the request is about.
    pub(super) is_about_outbox: bool,
    /// Whether each request meets an instance that has nothing in memory.
    pub(super) is_cold: bool,
    pub(super) goal: Option<Goal>,
}

impl Scene {
    pub(super) fn new(request: Request, status: u16, code: &str) -> Self {
        Self {
            request,
            success: (status, code.to_owned()),
            again: Vec::new(),
            mails: Vec::new(),
            events: Vec::new(),
            tells_each_time: false,
            is_repeated: false,
            spends: 0,
            forgives: 0,
            alive: Vec::new(),
            dead: Vec::new(),
            sessions: None,
            waiting: 0,
            is_about_outbox: false,
            is_cold: false,
            goal: None,
        }
    }

    pub(super) fn again(mut self, status: u16, code: &str) -> Self {
        self.again.push((status, code.to_owned()));
        self
    }

    pub(super) fn mails(mut self, address: &str, count: usize) -> Self {
        self.mails.push((address.to_owned(), count..=count));
        self
    }

    /// One mail where the request ends as `again` says.
    pub(super) fn may_mail(mut self, address: &str) -> Self {
        self.mails.push((address.to_owned(), 0..=1));
        self
    }

    pub(super) fn event(mut self, event: &'static str) -> Self {
        self.events.push((event, 1..=1));
        self
    }

    pub(super) fn may_have_event(mut self, event: &'static str) -> Self {
        self.events.push((event, 0..=1));
        self
    }

    pub(super) fn telling_each_time(self) -> Self {
        Self { tells_each_time: true, ..self }
    }

    pub(super) fn repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    pub(super) fn spending(self, spends: u32) -> Self {
        Self { spends, ..self }
    }

    pub(super) fn forgiving(self, forgives: u32) -> Self {
        Self { forgives, ..self }
    }

    pub(super) fn alive(mut self, holders: impl IntoIterator<Item = Holder>) -> Self {
        self.alive.extend(holders);
        self
    }

    pub(super) fn dead(mut self, holders: impl IntoIterator<Item = Holder>) -> Self {
        self.dead.extend(holders);
        self
    }

    pub(super) fn sessions(self, count: usize) -> Self {
        Self { sessions: Some(count), ..self }
    }

    pub(super) fn waiting(self, count: usize) -> Self {
        Self { waiting: count, ..self }
    }

    pub(super) fn about_outbox(self) -> Self {
        Self { is_about_outbox: true, ..self }
    }

    pub(super) fn cold(self) -> Self {
        Self { is_cold: true, ..self }
    }

    pub(super) fn goal<F>(self, goal: F) -> Self
    where
        F: for<'a> Fn(&'a Stack) -> BoxFuture<'a, ()> + Send + Sync + 'static,
    {
        Self { goal: Some(Box::new(goal)), ..self }
    }
}

/// A request that can be sent any number of times.
pub(super) enum Request {
    Http(HttpRequest),
    /// An invocation of a function, as AWS makes it.
    Event {
        folder: &'static str,
        event: Value,
    },
}

#[derive(Clone)]
enum Content {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

/// A request of a client.
pub(super) struct HttpRequest {
    /// A browser with its cookies; `None`: an app.
    browser: Option<Client>,
    method: Method,
    path: String,
    content: Content,
    bearer: Option<String>,
    key: Option<String>,
}

impl HttpRequest {
    pub(super) fn app(method: Method, path: &str) -> Self {
        let path = path.to_owned();
        Self { browser: None, method, path, content: Content::None, bearer: None, key: None }
    }

    pub(super) fn browser(browser: &Client, method: Method, path: &str) -> Self {
        Self { browser: Some(browser.copy()), ..Self::app(method, path) }
    }

    pub(super) fn json(self, body: Value) -> Self {
        Self { content: Content::Json(body), ..self }
    }

    pub(super) fn form(self, fields: Vec<(&'static str, String)>) -> Self {
        Self { content: Content::Form(fields), ..self }
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self }
    }

    /// With an `Idempotency-Key`.
    pub(super) fn keyed(self) -> Self {
        Self { key: Some(retry_key()), ..self }
    }

    pub(super) fn gives(self, status: u16, code: &str) -> Scene {
        Scene::new(Request::Http(self), status, code)
    }
}

impl Request {
    pub(super) const fn event(folder: &'static str, event: Value) -> Self {
        Self::Event { folder, event }
    }

    /// Whoever sends it, with what they hold before the first time.
    pub(super) fn sender(&self, stack: &Stack) -> Sender<'_> {
        let client = match self {
            Self::Http(HttpRequest { browser: Some(browser), .. }) => stack.moved_here(browser),
            _ => stack.client(),
        };
        Sender { request: self, client }
    }
}

/// Whoever sends a request, time and again.
pub(super) struct Sender<'a> {
    request: &'a Request,
    client: Client,
}

impl Sender<'_> {
    /// Sends the request to an instance. What came of it, and whom it left signed in.
    pub(super) async fn send(&mut self, stack: &Stack) -> (Outcome, Option<Holder>) {
        let request = match self.request {
            Request::Event { folder, event } => return (invoke(stack, folder, event.clone()).await, None),
            Request::Http(request) => request,
        };
        self.client = stack.moved_here(&self.client);
        let mut call = self.client.request(request.method.clone(), &request.path);
        call = match request.content.clone() {
            Content::None => call,
            Content::Json(body) => call.json(body),
            Content::Form(fields) => {
                call.form(&fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
            }
        };
        if let Some(bearer) = &request.bearer {
            call = call.bearer(bearer);
        }
        if let Some(key) = &request.key {
            call = call.retry_key(key);
        }
        let answer = call.send().await;
        let is_form = matches!(request.content, Content::Form(_));
        let outcome = outcome(&answer, is_form || request.method == Method::HEAD);
        (outcome, self.signed_in(request, &answer))
    }

    /// Whoever an answer leaves signed in.
    fn signed_in(&self, request: &HttpRequest, answer: &Answer) -> Option<Holder> {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let issued = body["token"]["access"].as_str().map(|access| Holder::App(access.to_owned()));
        let held = request.browser.as_ref().and_then(|_| self.client.cookie("access"));
        issued.or_else(|| held.map(|_| Holder::Browser(self.client.copy())))
    }
}

/// Status and code of an answer. A failure has to be one that clients are told of, and to leave their cookies alone; as a
/// page it says so in words.
fn outcome(answer: &Answer, is_page: bool) -> Outcome {
    let code = answer.code();
    if answer.status >= 500 {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(is_page || code == "unavailable", "{}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
        assert_eq!(answer.cookies(), [], "a failure leaves cookies as they are");
        return (503, "unavailable".to_owned());
    }
    assert!(is_page || answer.status < 400 || !code.is_empty(), "{}", answer.text());
    (answer.status, code)
}

async fn invoke(stack: &Stack, folder: &str, event: Value) -> Outcome {
    match stack.local.functions().invoke(folder, event).await {
        Ok(answer) => {
            let word = match folder {
                "authorizer" => answer["isAuthorized"].to_string(),
                "renew" => answer["outcome"].as_str().expect("an outcome").to_owned(),
                _ => String::new(),
            };
            (200, word)
        }
        Err(_) => (500, String::new()),
    }
}
