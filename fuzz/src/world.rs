//! A local stack in memory, and somebody who is signed in to it: what targets need that meet functions and a database.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use local::template::{Route, Template};
use local::{LocalStack, Options};
use serde_json::{Value, json};
use shared::clock::{Clock, Timestamp};
use tokio::runtime::Runtime;

/// 2100-01-01T00:00:00Z: so late that no sweep by the machine's clock deletes what was written.
const NOW: Timestamp = Timestamp::from_unix(4_102_444_800);
/// Inputs after which all begins anew: what they have written is not to fill the memory.
const INPUTS: u32 = 4096;

const PASSWORD: &str = "seven quiet llamas";

/// The stack, and what is known of it.
pub(crate) struct World {
    runtime: Runtime,
    stack: LocalStack,
    pub(crate) routes: Vec<Route>,
    inputs: u32,
    people: u32,
    /// What stands for itself in an input: `{access}` is replaced by the access token, and so on.
    pub(crate) known: BTreeMap<&'static str, String>,
}

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs with the world of this thread, which is made where there is none, or an old one.
pub(crate) fn with<T>(use_it: impl FnOnce(&mut World) -> T) -> T {
    thread_local! {
        static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    }
    WORLD.with_borrow_mut(|world| {
        if let Some(World { runtime, stack, .. }) = world.take_if(|world| world.inputs >= INPUTS) {
            runtime.block_on(stack.shutdown());
        }
        let world = world.get_or_insert_with(World::new);
        world.inputs += 1;
        use_it(world)
    })
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let template = workspace().join("template.yaml");
        let text = std::fs::read_to_string(&template).expect("the template");
        let options = Options { template: Some(template), clock: Clock::fixed(NOW), ..Options::default() };
        let stack = runtime.block_on(LocalStack::start(options)).expect("a local stack");
        let given = [
            ("ApiUrl", stack.url()),
            ("AppUrl", "http://localhost/"),
            ("MailFrom", "a@latchkey.local"),
            ("MailIdentity", "latchkey.local"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let resolved = Template::parse(&text).and_then(|template| template.resolve(&given)).expect("the template");
        let (routes, known) = (resolved.routes, BTreeMap::new());
        let mut world = Self { runtime, stack, routes, inputs: 0, people: 0, known };
        world.somebody_new();
        world
    }

    /// The API's origin.
    pub(crate) fn origin(&self) -> String {
        self.stack.url().to_owned()
    }

    /// Calls a function. An error is what API Gateway would answer with its own 500 for.
    pub(crate) fn invoke(&self, folder: &str, event: Value) -> Result<Value, String> {
        let answer = self.runtime.block_on(self.stack.functions().invoke(folder, event));
        answer.map_err(|error| error.to_string())
    }

    /// The event of a request to a route.
    pub(crate) fn event(&self, method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
        let domain = self.stack.url().trim_start_matches("http://");
        let (mut plain, mut cookies) = (BTreeMap::<String, String>::new(), Vec::new());
        for (name, value) in headers {
            // As API Gateway does: lower-case names, the values of one name joined by commas, cookies apart.
            if name.eq_ignore_ascii_case("cookie") {
                cookies.extend(value.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()).map(str::to_owned));
            } else {
                let values = plain.entry(name.to_ascii_lowercase()).or_default();
                values.push_str(if values.is_empty() { "" } else { "," });
                values.push_str(value);
            }
        }
        let mut parameters = BTreeMap::<String, String>::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parameters.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        let text = std::str::from_utf8(body).ok();
        let mut event = json!({
            "version": "2.0", "routeKey": format!("{method} {path}"), "rawPath": path, "rawQueryString": query,
            "headers": plain, "cookies": cookies, "queryStringParameters": parameters,
            "requestContext": {
                "accountId": "000000000000", "apiId": "local", "domainName": domain, "domainPrefix": "localhost",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": ""},
                "requestId": "fuzz", "routeKey": format!("{method} {path}"), "stage": "$default",
                "time": "01/Jan/2100:00:00:00 +0000", "timeEpoch": NOW.unix() * 1000,
            },
            "body": text, "isBase64Encoded": false,
        });
        if text.is_none() {
            event["body"] = json!(base64(body));
            event["isBase64Encoded"] = json!(true);
        }
        event
    }

    /// A request by an app, with JSON.
    fn call(&self, folder: &str, method: &str, path: &str, bearer: &str, body: &Value) -> Value {
        let bearer = format!("Bearer {bearer}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let event = self.event(method, path, "", &headers, body.to_string().as_bytes());
        let answer = self.invoke(folder, event).expect("an answer");
        let text = answer["body"].as_str().unwrap_or_default();
        json!({"status": answer["statusCode"], "body": serde_json::from_str::<Value>(text).unwrap_or_default()})
    }

    /// Whether whoever is known is signed in.
    pub(crate) fn is_signed_in(&self) -> bool {
        self.call("me", "GET", "/me", &self.known["{access}"], &Value::Null)["status"] == 200
    }

    /// Sees to it that the next input meets somebody who is signed in.
    pub(crate) fn sign_in_again(&mut self) {
        if self.is_signed_in() {
            return;
        }
        let body = json!({"username": self.known["{username}"], "password": PASSWORD, "client": "app"});
        let answer = self.call("login", "POST", "/login", "", &body);
        if answer["status"] == 200 {
            self.keep(&answer["body"]);
        } else {
            // The account is gone, or its password is another.
            self.somebody_new();
        }
    }

    fn keep(&mut self, session: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.known.insert("{access}", text(&session["token"]["access"]));
        self.known.insert("{refresh}", text(&session["token"]["refresh"]));
        self.known.insert("{session}", text(&session["session"]["id"]));
        self.known.insert("{device}", text(&session["device"]));
    }

    /// Somebody who has signed up and is signed in, has asked for a reset, and has a second sign-up that waits.
    fn somebody_new(&mut self) {
        self.people += 1;
        let name = format!("ann{}x", self.people);
        let address = format!("{name}@example.test");
        let signup = |username: &str, email: &str| json!({"username": username, "email": email, "password": PASSWORD, "client": "app"});
        let asked = self.call("signup", "POST", "/signup", "", &signup(&name, &address));
        let (_, code) = self.mailed();
        let proof = json!({"signup_id": asked["body"]["signup_id"], "code": code, "client": "app"});
        let session = self.call("verify", "POST", "/verify", "", &proof);
        assert_eq!(session["status"], 201, "{session}");
        self.keep(&session["body"]);
        self.known.insert("{username}", name.clone());
        self.known.insert("{email}", address.clone());
        self.known.insert("{password}", PASSWORD.to_owned());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reset =
            self.call("password-forgot", "POST", "/password/forgot", "", &json!({"email": address, "client": "app"}));
        let (token, code) = self.mailed();
        self.known.extend([
            ("{reset_id}", text(&reset["body"]["reset_id"])),
            ("{reset}", token),
            ("{reset_code}", code),
        ]);
        let other = format!("bob{}x", self.people);
        let asked = self.call("signup", "POST", "/signup", "", &signup(&other, &format!("{other}@example.test")));
        let (token, code) = self.mailed();
        self.known.extend([("{signup_id}", text(&asked["body"]["signup_id"])), ("{signup}", token), ("{code}", code)]);
        self.known.insert("{origin}", self.origin());
    }

    /// The newest mail's token and code.
    fn mailed(&self) -> (String, String) {
        self.runtime.block_on(self.stack.settled());
        let mails = self.stack.mailbox().mails();
        let text = &mails.iter().rfind(|mail| mail.text.contains("token=")).expect("a mail with a link").text;
        let token = text.split("token=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        let is_code = |line: &&str| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit());
        (token.to_owned(), text.lines().find(is_code).unwrap_or_default().to_owned())
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
