//! The ports of DynamoDB and SES: they answer whoever holds the secret of the run, and no page.

use local::database;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::harness::{Person, Stack, options};

/// One of the two ports, and the call that an intruder would make there.
struct Port {
    name: &'static str,
    url: String,
    target: &'static str,
    body: Value,
}

fn ports(stack: &Stack) -> [Port; 2] {
    let mail = json!({
        "FromEmailAddress": "no-reply@latchkey.local",
        "Destination": {"ToAddresses": ["alice@example.test"]},
        "Content": {"Simple": {"Subject": {"Data": "forged"}, "Body": {"Text": {"Data": "forged"}}}},
    });
    [
        Port {
            name: "DynamoDB",
            url: format!("{}/", stack.local.endpoints().dynamodb),
            target: "DynamoDB_20120810.Scan",
            body: json!({"TableName": "UsersTable"}),
        },
        Port {
            name: "SES",
            url: format!("{}/v2/email/outbound-emails", stack.local.endpoints().ses),
            target: "",
            body: mail,
        },
    ]
}

/// What a port answers: status, headers, body.
type Answer = (u16, HeaderMap, String);

impl Port {
    async fn send(&self, method: Method, headers: &[(&str, &str)]) -> Answer {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let mut sent = HeaderMap::new();
        let target = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", self.target)];
        for (name, value) in target.iter().chain(headers) {
            sent.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        let request = http.request(method, &self.url).headers(sent).body(self.body.to_string());
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().await.expect("a body"))
    }

    async fn post(&self, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, headers).await
    }

    /// Asserts that nothing was done, and that no page may read of it.
    #[track_caller]
    fn expect_refusal(&self, what: &str, (status, headers, body): &Answer) {
        assert_eq!(*status, 403, "{} {what}: {body}", self.name);
        let error: Value = serde_json::from_str(body).unwrap_or_default();
        let code = error["__type"].as_str().unwrap_or_default();
        assert!(code.ends_with("#UnrecognizedClientException"), "{} {what}: {body}", self.name);
        assert_no_cors(self.name, what, headers);
    }
}

#[track_caller]
fn assert_no_cors(name: &str, what: &str, headers: &HeaderMap) {
    let is_cors = |header: &HeaderName| header.as_str().starts_with("access-control-");
    assert!(!headers.keys().any(is_cors), "{name} {what}: {headers:?}");
}

/// An `Authorization` as the SDKs write it.
fn signed_by(access_key_id: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/21000101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=00"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn holders_of_the_secret_are_served() {
    let stack = Stack::start().await;
    stack.sign_up(&Person::named("alice")).await;
    let secret = stack.local.secret().reveal();
    let by_key = signed_by(secret);
    for port in ports(&stack) {
        for header in [("x-amz-security-token", secret), ("authorization", by_key.as_str())] {
            let (status, headers, body) = port.post(&[header]).await;
            assert_eq!(status, 200, "{} {}: {body}", port.name, header.0);
            assert_no_cors(port.name, header.0, &headers);
        }
    }
    let mails = stack.mails().await;
    assert_eq!(mails.iter().filter(|mail| mail.text.contains("forged")).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is() {
    let stack = Stack::start().await;
    stack.sign_up(&Person::named("alice")).await;
    let other_run = Stack::start().await;
    let (secret, other) = (stack.local.secret().reveal(), other_run.local.secret().reveal());
    assert_ne!(secret, other);
    let longer = format!("{secret}a");
    let keys = ["local", "", "login", other, &longer, &secret[1..], &secret.to_uppercase()].map(signed_by);
    for port in ports(&stack) {
        port.expect_refusal("without credentials", &port.post(&[]).await);
        for key in &keys {
            port.expect_refusal(key, &port.post(&[("authorization", key)]).await);
        }
        for token in [other, "", "local", &longer, &secret[..secret.len() - 1], &secret.to_lowercase()] {
            let headers = [("authorization", keys[0].as_str()), ("x-amz-security-token", token)];
            port.expect_refusal(token, &port.post(&headers).await);
        }
        // Where a browser would put it for a page, and where nobody looks.
        port.expect_refusal("a bearer", &port.post(&[("authorization", &format!("Bearer {secret}"))]).await);
        port.expect_refusal("a cookie", &port.post(&[("cookie", &format!("x-amz-security-token={secret}"))]).await);
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            let (status, headers, _) = port.send(method.clone(), &[]).await;
            assert_eq!(status, 403, "{} {method}", port.name);
            assert_no_cors(port.name, method.as_str(), &headers);
        }
    }
    assert_eq!(stack.mails().await.len(), 1, "the sign-up's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_answered_whatever_it_holds() {
    let stack = Stack::start().await;
    stack.sign_up(&Person::named("alice")).await;
    let token = ("x-amz-security-token", stack.local.secret().reveal());
    let own = stack.url().to_owned();
    for port in ports(&stack) {
        let same = port.url.split('/').take(3).collect::<Vec<_>>().join("/");
        for origin in ["https://evil.test", "null", "", &own, &same, "http://localhost:3000"] {
            port.expect_refusal(origin, &port.post(&[token, ("origin", origin)]).await);
            let asked = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "x-amz-target,x-amz-security-token"),
                ("access-control-request-private-network", "true"),
            ];
            port.expect_refusal("preflight", &port.send(Method::OPTIONS, &asked).await);
            let asked: Vec<_> = asked.into_iter().chain([token]).collect();
            port.expect_refusal("preflight with the secret", &port.send(Method::OPTIONS, &asked).await);
        }
        port.expect_refusal("OPTIONS", &port.send(Method::OPTIONS, &[token]).await);
    }
    assert_eq!(stack.mails().await.len(), 1, "the sign-up's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_elsewhere_are_refused() {
    let stack = Stack::start().await;
    let token = ("x-amz-security-token", stack.local.secret().reveal());
    for port in ports(&stack) {
        for host in ["evil.test", "evil.test:8000", "localhost.evil.test", "127.0.0.1.evil.test", "192.0.2.7:8000"] {
            port.expect_refusal(host, &port.post(&[token, ("host", host)]).await);
        }
        // As functions in containers name them.
        for host in ["localhost:8000", "[::1]:8000", "host.docker.internal:8000"] {
            assert_eq!(port.post(&[token, ("host", host)]).await.0, 200, "{} {host}", port.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_fields_are_sdk_errors() {
    let stack = Stack::start().await;
    let other_run = local::secret::Secret::random();
    let stranger = database::client(&stack.local.endpoints().dynamodb, &other_run);
    let error = stranger.list_tables().send().await.expect_err("a refusal").into_service_error();
    assert_eq!(error.meta().code(), Some("UnrecognizedClientException"));
    assert!(error.meta().message().is_some_and(|message| message.contains("session token")), "{error:?}");
    let holder = database::client(&stack.local.endpoints().dynamodb, stack.local.secret());
    let tables = holder.list_tables().send().await.expect("tables").table_names.unwrap_or_default();
    assert_eq!(tables, ["KeysTable", "UsersTable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_speaks_as_dynamodb_does() {
    let stack = Stack::start().await;
    let token = ("x-amz-security-token", stack.local.secret().reveal());
    let [mut port, _] = ports(&stack);
    let (_, headers, _) = port.post(&[token]).await;
    assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
    for (target, body, code) in [
        ("DynamoDB_20120810.NoSuchOperation", json!({}), "UnknownOperationException"),
        ("", json!({}), "UnknownOperationException"),
        ("DynamoDB_20120810.Scan", json!({"TableName": "NoTable"}), "ResourceNotFoundException"),
        ("DynamoDB_20120810.Scan", json!({"TableName": 7}), "SerializationException"),
        ("DynamoDB_20120810.Scan", json!("text"), "SerializationException"),
        ("DynamoDB_20120810.GetItem", json!({"TableName": "UsersTable", "Key": {}}), "ValidationException"),
    ] {
        (port.target, port.body) = (target, body);
        let (status, _, body) = port.post(&[token]).await;
        assert_eq!(status, 400, "{target}: {body}");
        let error: Value = serde_json::from_str(&body).expect("JSON");
        assert!(error["__type"].as_str().is_some_and(|name| name.ends_with(code)), "{target}: {body}");
    }
    // Larger than any other server here would take, as DynamoDB takes batches of 16 MB.
    (port.target, port.body) = ("DynamoDB_20120810.Scan", json!({"TableName": "x".repeat(4 << 20)}));
    assert_eq!(port.post(&[token]).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_database_is_reached_and_mail_still_wants_the_secret() {
    let stack = Stack::with_proxy(&[]).await;
    assert_ne!(stack.local.secret().reveal(), stack.database().secret().reveal());
    stack.person("alice").await;
    let [_, ses] = ports(&stack);
    ses.expect_refusal("without credentials", &ses.post(&[]).await);
    ses.expect_refusal(
        "the database's",
        &ses.post(&[("x-amz-security-token", stack.database().secret().reveal())]).await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_on_one_directory_have_a_secret_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("endpoint.json");
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let storage = local::Storage::Directory(folder.path().to_owned());
        let stack = Stack::with_options(local::Options { storage, ..options(&[]) }).await;
        let written: Value = serde_json::from_slice(&std::fs::read(&file).expect("the file")).expect("JSON");
        assert_eq!(written["endpoint"], stack.local.endpoints().dynamodb);
        assert_eq!(written["session_token"], stack.local.secret().reveal());
        secrets.push(written["session_token"].clone());
        stack.local.shutdown().await;
        assert!(!file.exists(), "the run has ended");
    }
    assert_ne!(secrets[0], secrets[1]);
}
