//! `--stack` and `--table`, by the binary itself, against a stand-in for AWS that answers as AWS documents it.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const ARN: &str = "arn:aws:sts::123456789012:assumed-role/Support/kim";
const PARAMETERS: [(&str, &str); 6] = [
    ("AppUrl", "https://app.example.com/"),
    ("AllowedOrigins", "https://app.example.com"),
    ("ApiUrl", "https://127.0.0.1:1"),
    ("MailIdentity", "example.com"),
    ("KeyRotationDays", "30"),
    ("ServiceName", "Example"),
];
const OUTPUTS: [(&str, &str); 6] = [
    ("TableName", "users-1"),
    ("KeysTableName", "keys-1"),
    ("RotateKeysFunctionName", "rotate-1"),
    ("AlarmTopicArn", "arn:aws:sns:eu-central-1:123456789012:alarms"),
    ("FailedEventsQueueUrl", "https://sqs.eu-central-1.amazonaws.com/123456789012/failed"),
    ("ApiUrl", "https://abc.execute-api.eu-central-1.amazonaws.com"),
];

/// What the stand-in answers, and what it was asked.
#[derive(Default)]
struct Account {
    outputs: BTreeMap<&'static str, &'static str>,
    in_sandbox: bool,
    failed_events: u32,
    subscription: Option<&'static str>,
    asked: Mutex<Vec<String>>,
}

impl Account {
    fn healthy() -> Self {
        let outputs = OUTPUTS.into_iter().collect();
        Self { outputs, subscription: Some("arn:aws:sns:eu-central-1:123456789012:alarms:1"), ..Self::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

fn xml(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

fn amz_json(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.0")], body.to_string()).into_response()
}

fn members<'a>(kind: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let member = |(key, value): (&str, &str)| {
        format!("<member><{kind}Key>{key}</{kind}Key><{kind}Value>{value}</{kind}Value></member>")
    };
    pairs.into_iter().map(member).collect()
}

async fn answer(State(account): State<Arc<Account>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let target = target.to_owned();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.expect("a body");
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
    account.note(format!("{path} {target}{action} {body}"));
    match (path.as_str(), target.as_str(), action) {
        (_, _, "GetCallerIdentity") => xml(format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>{ARN}</Arn><UserId>A:kim</UserId><Account>123456789012</Account></GetCallerIdentityResult>\
             </GetCallerIdentityResponse>"
        )),
        (_, _, "DescribeStacks") if body.contains("StackName=missing") => {
            let error = "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><Error><Type>Sender</Type>\
                         <Code>ValidationError</Code><Message>Stack with id missing does not exist</Message></Error>\
                         </ErrorResponse>";
            (StatusCode::BAD_REQUEST, xml(error.to_owned())).into_response()
        }
        (_, _, "DescribeStacks") => xml(format!(
            "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult>\
             <Stacks><member><StackName>latchkey</StackName><CreationTime>2026-11-27T10:00:00Z</CreationTime>\
             <StackStatus>CREATE_COMPLETE</StackStatus><Parameters>{}</Parameters><Outputs>{}</Outputs></member></Stacks>\
             </DescribeStacksResult></DescribeStacksResponse>",
            members("Parameter", PARAMETERS),
            members("Output", account.outputs.iter().map(|(key, value)| (*key, *value))),
        )),
        (_, _, "ListSubscriptionsByTopic") => {
            let member = account.subscription.map_or_else(String::new, |arn| {
                format!("<member><SubscriptionArn>{arn}</SubscriptionArn><Protocol>email</Protocol></member>")
            });
            xml(format!(
                "<ListSubscriptionsByTopicResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
                 <ListSubscriptionsByTopicResult><Subscriptions>{member}</Subscriptions></ListSubscriptionsByTopicResult>\
                 </ListSubscriptionsByTopicResponse>"
            ))
        }
        (_, "AmazonSQS.GetQueueAttributes", _) => {
            amz_json(&json!({"Attributes": {"ApproximateNumberOfMessages": account.failed_events.to_string()}}))
        }
        ("/v2/email/account", ..) => axum::Json(json!({
            "ProductionAccessEnabled": !account.in_sandbox, "SendingEnabled": true, "EnforcementStatus": "HEALTHY",
        }))
        .into_response(),
        ("/v2/email/identities/example.com", ..) => {
            axum::Json(json!({"IdentityType": "DOMAIN", "VerifiedForSendingStatus": !account.in_sandbox}))
                .into_response()
        }
        ("/v2/email/suppression/addresses/ann%40example.com", ..) => axum::Json(json!({})).into_response(),
        ("/v2/email/suppression/addresses/bob%40example.com", ..) => {
            let code = [("x-amzn-errortype", "NotFoundException")];
            (StatusCode::NOT_FOUND, code, axum::Json(json!({"message": "not there"}))).into_response()
        }
        ("/2015-03-31/functions/rotate-1/invocations", ..) => {
            axum::Json(json!({"created": 4, "deleted": 0})).into_response()
        }
        (_, "DynamoDB_20120810.DescribeTable", _) => amz_json(&json!({
            "Table": {"TableName": "users-1", "ItemCount": 3_000_000, "TableSizeBytes": 1_600_000_000_u64},
        })),
        (_, "DynamoDB_20120810.BatchGetItem", _) => amz_json(&json!({"Responses": {}, "UnprocessedKeys": {}})),
        (_, "DynamoDB_20120810.Query" | "DynamoDB_20120810.Scan", _) => amz_json(&json!({"Items": [], "Count": 0})),
        (_, target, _) if target.starts_with("DynamoDB_20120810.") => amz_json(&json!({})),
        _ => (StatusCode::NOT_FOUND, format!("{path} {target} {action}")).into_response(),
    }
}

/// Runs commands against an account.
struct Operator {
    account: Arc<Account>,
    endpoint: String,
}

impl Operator {
    async fn of(account: Account) -> Self {
        let account = Arc::new(account);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&account));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { account, endpoint }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_admin"));
        let home = tempfile::tempdir().expect("a folder");
        command
            .args(arguments)
            .stdin(Stdio::null())
            // Nothing of whoever runs the tests.
            .env_clear()
            .env("HOME", home.path())
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ENDPOINT_URL", &self.endpoint);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a task");
        output.expect("the binary runs")
    }
}

/// A check's verdict by its name.
fn verdicts(output: &Output) -> BTreeMap<String, String> {
    let told = String::from_utf8_lossy(&output.stderr);
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let checks = checks.as_array().expect("checks").iter();
    checks.map(|check| (text(&check["name"]), text(&check["verdict"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_mail_queue_and_alarms() {
    let operator = Operator::of(Account::healthy()).await;
    let output = operator.run(&["--stack", "latchkey", "--json", "doctor"]).await;
    // Nobody listens where the API is said to be.
    assert_eq!(output.status.code(), Some(6));
    let verdicts_of_healthy = verdicts(&output);
    for (name, verdict) in [
        ("parameters", "ok"),
        ("same site", "problem"),
        ("keys", "warning"),
        ("outbox", "ok"),
        ("SES account", "ok"),
        ("SES identity", "ok"),
        ("failed events", "ok"),
        ("alarms", "ok"),
        ("API", "problem"),
        ("key set", "problem"),
        ("CORS", "problem"),
    ] {
        assert_eq!(verdicts_of_healthy[name], verdict, "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }

    let sick =
        Account { in_sandbox: true, failed_events: 3, subscription: Some("PendingConfirmation"), ..Account::healthy() };
    let output = Operator::of(sick).await.run(&["--stack", "latchkey", "--json", "doctor"]).await;
    let verdicts_of_sick = verdicts(&output);
    for name in ["SES account", "SES identity", "failed events", "alarms"] {
        assert_eq!(verdicts_of_sick[name], "problem", "{name}");
    }
    let unheard = Account { subscription: None, ..Account::healthy() };
    let output = Operator::of(unheard).await.run(&["--stack", "latchkey", "--json", "doctor"]).await;
    assert_eq!(verdicts(&output)["alarms"], "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_the_operator_come_from_the_stack_and_sts() {
    let operator = Operator::of(Account::healthy()).await;
    let output = operator.run(&["--stack", "latchkey", "--json", "keys", "rotate"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let rotated: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(rotated, json!({"created": 4, "deleted": 0}));
    let asked = operator.account.asked();
    let event = asked.iter().position(|call| call.contains("DynamoDB_20120810.PutItem"));
    let invoked = asked.iter().position(|call| call.starts_with("/2015-03-31/functions/rotate-1"));
    assert!(event.expect("an event") < invoked.expect("an invocation"), "{asked:#?}");
    assert!(asked[event.unwrap_or_default()].contains(ARN) && asked[event.unwrap_or_default()].contains("users-1"));

    let output = operator.run(&["--stack", "missing", "keys", "list"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let outputs = [("ApiUrl", "https://api.example.com")].into_iter().collect();
    let other = Operator::of(Account { outputs, ..Account::healthy() }).await;
    let output = other.run(&["--stack", "other", "keys", "list"]).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && told.contains("TableName"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stack_the_tables_are_named() {
    let operator = Operator::of(Account::healthy()).await;
    let tables = ["--table", "users-9", "--keys-table", "keys-9"];
    let output = operator.run(&[&tables[..], &["user", "find", "ann"]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(operator.account.asked().iter().any(|call| call.contains("users-9")));
    let output = operator.run(&[&tables[..], &["keys", "rotate"]].concat()).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_says_its_price_and_waits_for_a_yes() {
    let operator = Operator::of(Account::healthy()).await;
    let output = operator.run(&["--stack", "latchkey", "user", "list"]).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && told.contains("195313 read units, 0.024415 $"), "{told}");
    assert!(!operator.account.asked().iter().any(|call| call.contains("Scan")), "nothing is read before");
    let output = operator.run(&["--stack", "latchkey", "user", "list", "--yes"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(operator.account.asked().iter().any(|call| call.contains("DynamoDB_20120810.Scan")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_taken_off_ses_s_list_whether_or_not_it_is_there() {
    let operator = Operator::of(Account::healthy()).await;
    for address in ["ann@example.com", "bob@example.com"] {
        let output = operator.run(&["--stack", "latchkey", "--json", "mail", "unblock", address]).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let asked = operator.account.asked();
        assert!(asked.iter().any(|call| call.contains("/v2/email/suppression/addresses/")), "{asked:#?}");
    }
    let output = operator.run(&["--stack", "latchkey", "mail", "unblock", "carol@example.com"]).await;
    assert_eq!(output.status.code(), Some(1), "SES answers something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_or_region_it_says_so() {
    let operator = Operator::of(Account::healthy()).await;
    for (missing, words) in [("AWS_ACCESS_KEY_ID", "credential"), ("AWS_REGION", "region")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_admin"));
        let home = tempfile::tempdir().expect("a folder");
        command
            .args(["--stack", "latchkey", "doctor"])
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", &operator.endpoint);
        for (name, value) in
            [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "eu-central-1")]
        {
            if name != missing {
                command.env(name, value);
            }
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a task");
        let output = output.expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(output.status.code().is_some_and(|code| code == 1 || code == 2) && told.contains(words), "{told}");
    }
}
