//! A running local stack whose clock the test holds.

use local::database::Database;
use local::secret::Endpoints;
use local::{LocalStack, Options, Storage};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use shared::aws::Aws;
use shared::clock::{Clock, Timestamp};

use super::http::Transport;
use super::{Answer, AppSession, Calls, Client, DynamoProxy, Mail, Person};

/// 2100-01-01T00:00:00Z: so late that no sweep by the machine's clock ever deletes what a test wrote.
const START: Timestamp = Timestamp::from_unix(4_102_444_800);

/// A stack of its own for one test.
pub(crate) struct Stack {
    pub(crate) local: LocalStack,
    pub(crate) clock: Clock,
    /// The database behind the stack, where the test brought its own.
    database: Option<Database>,
    proxy: Option<DynamoProxy>,
    calls: Option<Calls>,
    transport: Transport,
    /// What a browser takes for the API's origin.
    origin: String,
}

impl Stack {
    /// A stack with everything at its default.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A stack with some parameters set.
    pub(crate) async fn with(parameters: &[(&str, &str)]) -> Self {
        Self::of(options(parameters), None, None).await
    }

    /// A stack whose database the test can read.
    pub(crate) async fn with_database(parameters: &[(&str, &str)]) -> Self {
        Self::with_database_and_options(options(parameters)).await
    }

    /// A stack of these options whose database the test can read.
    pub(crate) async fn with_database_and_options(options: Options) -> Self {
        let database = Database::start(None).await.expect("an embedded database");
        let (endpoint, secret) = (database.endpoint().to_owned(), database.secret().clone());
        let options = Options { dynamodb_endpoint: Some(endpoint), secret, ..options };
        Self::of(options, Some(database), None).await
    }

    /// A stack with a [`DynamoProxy`] between it and its database.
    pub(crate) async fn with_proxy(parameters: &[(&str, &str)]) -> Self {
        Self::with_proxy_and_options(options(parameters)).await
    }

    /// A stack of these options with a [`DynamoProxy`] between it and its database.
    pub(crate) async fn with_proxy_and_options(options: Options) -> Self {
        let database = Database::start(None).await.expect("an embedded database");
        let proxy = DynamoProxy::start(&database).await;
        let options = Options { dynamodb_endpoint: Some(proxy.endpoint().to_owned()), ..options };
        Self::of(options, Some(database), Some(proxy)).await
    }

    /// A stack whose every call is counted and may be made to fail, on the thread that holds it.
    pub(crate) async fn in_process(parameters: &[(&str, &str)]) -> Self {
        Self::in_process_with(Calls::to(Database::in_process().expect("a database")), options(parameters)).await
    }

    /// A new instance of that, with nothing in memory yet.
    pub(crate) async fn begun_anew(&self, parameters: &[(&str, &str)]) -> Self {
        let mut options = options(parameters);
        options.parameters.push(("ApiUrl".to_owned(), self.origin.clone()));
        Self::in_process_with(self.calls().clone(), Options { clock: self.clock.clone(), ..options }).await
    }

    async fn in_process_with(calls: Calls, options: Options) -> Self {
        let connect = calls.clone();
        let options = Options {
            dynamodb_endpoint: Some("http://dynamodb.test".to_owned()),
            connect: Some(Box::new(move |services| connect.client(services))),
            ..options
        };
        let mut stack = Self::of(options, None, None).await;
        stack.transport = Transport::InProcess(stack.local.gateway());
        // A first sweep looks a day back, hour by hour.
        let hour = (stack.clock.now().unix() / 3600 - 1).to_string();
        let swept = json!({"pk": {"S": "SWEEP"}, "sk": {"S": "OUTBOX"}, "hour": {"N": hour}});
        calls.database("PutItem", &json!({"TableName": "UsersTable", "Item": swept})).await;
        Self { calls: Some(calls), ..stack }
    }

    /// Another instance of the same deployment: the same database, clock and API URL, and nothing in memory yet. Its
    /// mailbox is its own.
    pub(crate) async fn another_instance(&self, parameters: &[(&str, &str)]) -> Self {
        let endpoint = self.dynamodb().to_owned();
        let mut options = options(parameters);
        options.parameters.push(("ApiUrl".to_owned(), self.origin.clone()));
        let (clock, secret) = (self.clock.clone(), self.local.secret().clone());
        let options = Options { dynamodb_endpoint: Some(endpoint), secret, clock, ..options };
        Self::of(options, None, None).await
    }

    /// A stack of exactly these options, whose clock is theirs.
    pub(crate) async fn with_options(options: Options) -> Self {
        Self::of(options, None, None).await
    }

    async fn of(options: Options, database: Option<Database>, proxy: Option<DynamoProxy>) -> Self {
        let clock = options.clock.clone();
        let api_url = options.parameters.iter().find(|(name, _)| name == "ApiUrl").map(|(_, value)| value.clone());
        let local = LocalStack::start(options).await.expect("a local stack");
        let origin = api_url.unwrap_or_else(|| local.url().to_owned());
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("an HTTP client");
        Self { local, clock, database, proxy, calls: None, transport: Transport::Network(http), origin }
    }

    pub(crate) fn url(&self) -> &str {
        self.local.url()
    }

    pub(crate) fn proxy(&self) -> &DynamoProxy {
        self.proxy.as_ref().expect("a stack with a proxy")
    }

    /// The calls of a stack in-process.
    pub(crate) fn calls(&self) -> &Calls {
        self.calls.as_ref().expect("a stack in-process")
    }

    /// Where the functions reach the database: through the proxy, if there is one.
    pub(crate) fn dynamodb(&self) -> &str {
        self.proxy.as_ref().map_or_else(|| self.database().endpoint(), DynamoProxy::endpoint)
    }

    /// The database that the test brought.
    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().expect("a stack with a database")
    }

    /// The database and SES, as the functions reach them.
    pub(crate) fn aws(&self) -> Aws {
        let endpoints = Endpoints { dynamodb: self.dynamodb().to_owned(), ..self.local.endpoints().clone() };
        self.local.secret().aws(&endpoints)
    }

    /// curl, or an app: no cookies, no `Origin`.
    pub(crate) fn client(&self) -> Client {
        Client::bare(&self.transport, self.url(), &self.clock)
    }

    /// A browser on a page of the API's own origin.
    pub(crate) fn browser(&self) -> Client {
        Client::browser(&self.transport, self.url(), &self.clock, &self.origin)
    }

    /// A browser on a page of another origin.
    pub(crate) fn browser_at(&self, origin: &str) -> Client {
        Client::browser(&self.transport, self.url(), &self.clock, origin)
    }

    /// All mails, newest last.
    pub(crate) async fn mails(&self) -> Vec<Mail> {
        let answer = self.client().get("/_local/mail.json").send().await.expect(200);
        serde_json::from_value(answer.json()).expect("mails")
    }

    /// The newest mail to an address.
    pub(crate) async fn mail_to(&self, address: &str) -> Mail {
        let mut mails = self.mails().await;
        mails.retain(|mail| mail.to == address);
        mails.pop().unwrap_or_else(|| panic!("no mail to {address}"))
    }

    /// The newest mail to an address that lets its reader prove something. Notices may be sent before or after it.
    pub(crate) async fn secrets_to(&self, address: &str) -> Mail {
        let mut mails = self.mails().await;
        mails.retain(|mail| mail.to == address && mail.has_secrets());
        mails.pop().unwrap_or_else(|| panic!("no secrets to {address}"))
    }

    /// Signs up from an app. The `signup_id`, and the mail.
    pub(crate) async fn sign_up(&self, person: &Person) -> (String, Mail) {
        let answer = self.client().post("/signup").json(person.signup("app")).send().await.expect(202);
        let signup_id = answer.json()["signup_id"].as_str().expect("a signup_id").to_owned();
        (signup_id, self.mail_to(&person.email).await)
    }

    /// Verifies by `body`, from an app.
    pub(crate) async fn verify(&self, body: Value) -> Answer {
        self.client().post("/verify").json(body).send().await
    }

    /// Somebody who has signed up and answered the mail.
    pub(crate) async fn person(&self, username: &str) -> Person {
        self.person_with_session(username).await.0
    }

    /// Somebody who has signed up and answered the mail, and the session that came of it.
    pub(crate) async fn person_with_session(&self, username: &str) -> (Person, AppSession) {
        let person = Person::named(username);
        let (signup_id, mail) = self.sign_up(&person).await;
        let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
        let session = AppSession::of(&self.verify(proof).await.expect(201));
        (person, session)
    }

    /// A new session of an app.
    pub(crate) async fn app(&self, person: &Person) -> AppSession {
        AppSession::of(&self.client().post("/login").json(person.login("app")).send().await.expect(200))
    }

    /// A browser that is signed in.
    pub(crate) async fn signed_in(&self, person: &Person) -> Client {
        let browser = self.browser();
        browser.post("/login").json(person.login("browser")).send().await.expect(200);
        browser
    }

    /// A browser that is signed in and remembered.
    pub(crate) async fn remembered(&self, person: &Person) -> Client {
        let browser = self.browser();
        browser.post("/login").json(person.remembered()).send().await.expect(200);
        browser
    }

    /// Refreshes an app's session.
    pub(crate) async fn refresh(&self, refresh: &str, key: Option<&str>) -> Answer {
        let call = self.client().post("/refresh").json(json!({"refresh": refresh}));
        match key {
            Some(key) => call.retry_key(key).send().await,
            None => call.send().await,
        }
    }

    /// `GET /me` with a bearer token.
    pub(crate) async fn me(&self, access: &str) -> Answer {
        self.client().get("/me").bearer(access).send().await
    }
}

/// In memory, on any port, at [`START`].
pub(crate) fn options(parameters: &[(&str, &str)]) -> Options {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Options {
        port: 0,
        storage: Storage::Memory,
        parameters: parameters.iter().map(owned).collect(),
        clock: Clock::fixed(START),
        ..Options::default()
    }
}
