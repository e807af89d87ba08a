//! What each function asks of the database is what its statements in `template.yaml` allow, so that a missing
//! permission fails here and not in the cloud.
//!
//! Each flow is sent to one endpoint while the proxy records; every recorded call is then held against the policies of
//! that endpoint's function, with `dynamodb:LeadingKeys` and `dynamodb:Attributes` read as IAM reads them.

use std::collections::BTreeSet;
use std::path::Path;

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Value, json};

use crate::authorizer::with_ping;
use crate::harness::{AppSession, DatabaseCall, Person, Stack, retry_key};

/// One item that a call touches, as IAM sees it.
#[derive(Debug)]
struct Access {
    action: String,
    table: String,
    leading_key: String,
    /// `None`: the whole item.
    attributes: Option<BTreeSet<String>>,
}

impl Access {
    fn new(action: &str, request: &Value, key: &Value, attributes: Option<BTreeSet<String>>) -> Self {
        Self {
            action: format!("dynamodb:{action}"),
            table: request["TableName"].as_str().unwrap_or_default().to_owned(),
            leading_key: key["pk"]["S"].as_str().expect("a key").to_owned(),
            attributes,
        }
    }

    fn of_item(action: &str, request: &Value) -> Self {
        match action {
            "PutItem" => {
                let names = request["Item"].as_object().expect("an item").keys().cloned().collect();
                Self::new(action, request, &request["Item"], Some(names))
            }
            "UpdateItem" => Self::new(action, request, &request["Key"], Some(named(request))),
            _ => {
                let projected = request["ProjectionExpression"].is_string().then(|| named(request));
                Self::new(action, request, &request["Key"], projected)
            }
        }
    }

    fn of_call(call: &DatabaseCall) -> Vec<Self> {
        let request = &call.request;
        match call.operation.as_str() {
            "TransactWriteItems" => {
                let items = request["TransactItems"].as_array().expect("items").iter();
                let operations = items.flat_map(|item| item.as_object().expect("an item"));
                operations
                    .filter(|(_, request)| !request.is_null())
                    .map(|(operation, request)| match operation.as_str() {
                        "ConditionCheck" => Self::of_item("ConditionCheckItem", request),
                        other => Self::of_item(&format!("{other}Item"), request),
                    })
                    .collect()
            }
            "BatchGetItem" => {
                let tables = request["RequestItems"].as_object().expect("tables");
                let of_table = |(table, batch): (&String, &Value)| {
                    let projected = batch["ProjectionExpression"].is_string().then(|| named(batch));
                    let keys = batch["Keys"].as_array().expect("keys").clone();
                    let table = json!({"TableName": table});
                    keys.into_iter()
                        .map(|key| Self::new("BatchGetItem", &table, &key, projected.clone()))
                        .collect::<Vec<_>>()
                };
                tables.iter().flat_map(of_table).collect()
            }
            "Query" => {
                let values = request["ExpressionAttributeValues"].as_object().expect("values");
                let [partition] = values.values().collect::<Vec<_>>()[..] else { panic!("not one value: {request}") };
                let projected = request["ProjectionExpression"].is_string().then(|| named(request));
                vec![Self::new("Query", request, &json!({"pk": partition}), projected)]
            }
            operation => vec![Self::of_item(operation, request)],
        }
    }
}

/// The attributes that a request's expressions name, with those of its key.
fn named(request: &Value) -> BTreeSet<String> {
    const WORDS: [&str; 17] = [
        "SET",
        "ADD",
        "REMOVE",
        "DELETE",
        "AND",
        "OR",
        "NOT",
        "BETWEEN",
        "IN",
        "attribute_exists",
        "attribute_not_exists",
        "if_not_exists",
        "begins_with",
        "contains",
        "size",
        "attribute_type",
        "list_append",
    ];
    let mut names = BTreeSet::from(["pk".to_owned(), "sk".to_owned()]);
    for expression in ["ProjectionExpression", "ConditionExpression", "UpdateExpression", "KeyConditionExpression"] {
        let text = request[expression].as_str().unwrap_or_default();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_#:".contains(c));
        for word in words.filter(|word| !word.is_empty() && !word.starts_with(':') && !WORDS.contains(word)) {
            let name = if word.starts_with('#') {
                request["ExpressionAttributeNames"][word].as_str().expect("a placeholder's name")
            } else {
                word
            };
            names.insert(name.to_owned());
        }
    }
    names
}

/// A list, or one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        one => one.as_str().map(str::to_owned).into_iter().collect(),
    }
}

/// YAML as JSON. Tags fall away: `!GetAtt UsersTable.Arn` is a text, `!If [..]` a list.
fn plain(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Tagged(_, node) => plain(node),
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(members) => {
            members.iter().map(|(name, value)| (name.as_str().expect("a name").to_owned(), plain(value))).collect()
        }
        scalar => scalar.as_str().map_or(Value::Null, Value::from),
    }
}

/// All statements of a function.
fn statements(folder: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let text = std::fs::read_to_string(path).expect("template.yaml");
    let template = plain(&Yaml::load_from_str(&text).expect("YAML")[0]);
    let resources = template["Resources"].as_object().expect("resources");
    let function = resources.values().find(|one| one["Metadata"]["BuildProperties"]["Binary"] == folder);
    let function = function.unwrap_or_else(|| panic!("no function {folder}"));
    let policies = function["Properties"]["Policies"].as_array().expect("policies").iter();
    // Of a condition's branches, the one with more permissions comes first.
    let chosen = policies.map(|policy| policy.as_array().map_or(policy, |branches| &branches[1]));
    chosen.flat_map(|policy| policy["Statement"].as_array().expect("statements").clone()).collect()
}

fn allows(statement: &Value, access: &Access) -> bool {
    let conditions = statement["Condition"].as_object();
    let all = |name: &str, fits: &dyn Fn(&[String]) -> bool| {
        let mut found = conditions.into_iter().flatten().filter_map(|(_, keys)| keys.get(name)).peekable();
        found.all(|values| fits(&texts(values)))
    };
    let of_keys = |name: &str| {
        conditions
            .into_iter()
            .flatten()
            .any(|(operator, keys)| operator.starts_with("ForAllValues:") && keys.get(name).is_some())
    };
    let leading = conditions.into_iter().flatten().filter(|(operator, _)| operator.starts_with("ForAllValues:"));
    let leading_key_fits = leading
        .filter_map(|(operator, keys)| Some((operator, keys.get("dynamodb:LeadingKeys")?)))
        .all(|(operator, patterns)| {
            texts(patterns).iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) if operator.ends_with("StringLike") => access.leading_key.starts_with(start),
                _ => access.leading_key == *pattern,
            })
        });
    statement["Effect"] == "Allow"
        && texts(&statement["Action"]).contains(&access.action)
        && texts(&statement["Resource"]).contains(&format!("{}.Arn", access.table))
        && of_keys("dynamodb:LeadingKeys")
        && leading_key_fits
        && all("dynamodb:Attributes", &|allowed| {
            access.attributes.as_ref().is_some_and(|names| names.iter().all(|name| allowed.contains(name)))
        })
}

/// Asserts that everything since the last reset was allowed to `folder`.
#[track_caller]
fn allowed(stack: &Stack, folder: &str) {
    let statements = statements(folder);
    let calls = stack.proxy().calls();
    for access in calls.iter().flat_map(Access::of_call) {
        let permitted = statements.iter().any(|statement| allows(statement, &access));
        assert!(permitted, "{folder} may not {access:?}");
    }
    stack.proxy().reset();
}

#[test]
fn the_check_itself_refuses() {
    let access = |action: &str, table: &str, key: &str, attributes: Option<&[&str]>| Access {
        action: format!("dynamodb:{action}"),
        table: table.to_owned(),
        leading_key: key.to_owned(),
        attributes: attributes.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
    };
    let may = |folder: &str, access: &Access| statements(folder).iter().any(|statement| allows(statement, access));
    assert!(may("refresh", &access("GetItem", "UsersTable", "USER#1", Some(&["epoch"]))));
    for (folder, refused) in [
        ("refresh", access("GetItem", "UsersTable", "USER#1", None)),
        ("refresh", access("GetItem", "UsersTable", "USER#1", Some(&["epoch", "password_hash"]))),
        ("refresh", access("GetItem", "UsersTable", "SIGNUP#1", Some(&["epoch"]))),
        ("refresh", access("PutItem", "UsersTable", "USER#1", Some(&["epoch"]))),
        ("jwks", access("Query", "KeysTable", "SIGNING#PRIVATE", None)),
        ("jwks", access("Query", "KeysTable", "MAC", None)),
        ("me", access("Query", "KeysTable", "MAC", None)),
        ("authorizer", access("Query", "KeysTable", "SIGNING#PRIVATE", None)),
        ("rotate-keys", access("Query", "KeysTable", "MAC", None)),
        ("rotate-keys", access("Query", "KeysTable", "MAC", Some(&["active_from", "secret"]))),
        ("rotate-keys", access("Query", "KeysTable", "SIGNING#PRIVATE", Some(&["active_from"]))),
        ("rotate-keys", access("Query", "UsersTable", "SESSIONS#1", Some(&["active_from"]))),
        ("sessions", access("GetItem", "UsersTable", "USER#1", None)),
        ("sessions", access("Query", "UsersTable", "USER#1", None)),
    ] {
        assert!(!may(folder, &refused), "{folder} may {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_up_and_verifying() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    stack.proxy().reset();
    // From the first keys on.
    for name in ["alice", "bob", "carol"] {
        let person = Person::named(name);
        let answer = client.post("/signup").json(person.signup("app")).send().await.expect(202);
        let signup_id = answer.json()["signup_id"].clone();
        stack.clock.advance(60);
        client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
        client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(429);
        client.post("/signup/resend").json(json!({"signup_id": "nothing"})).send().await;
        stack.local.mailbox().fail_next(10);
        client.post("/signup").json(Person::named("unlucky").signup("app")).send().await.expect(503);
        stack.clock.advance(60);
        client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(503);
        stack.local.mailbox().fail_next(0);
        allowed(&stack, "signup");
        let mail = stack.mail_to(&person.email).await;
        let token = mail.token();
        let proofs = match name {
            "alice" => [json!({"signup_id": signup_id, "token": token}), json!({"token": token})],
            "bob" => [
                json!({"token": token, "password": person.password}),
                json!({"signup_id": signup_id, "code": mail.code()}),
            ],
            _ => [
                json!({"signup_id": signup_id, "code": "00000000"}),
                json!({"signup_id": signup_id, "code": mail.code()}),
            ],
        };
        for mut proof in proofs {
            proof["client"] = json!("app");
            stack.verify(proof).await;
        }
        allowed(&stack, "verify");
        stack.app(&person).await;
        allowed(&stack, "login");
    }
    // With a session to replace.
    let person = Person::named("dora");
    let browser = stack.signed_in(&Person::named("alice")).await;
    stack.proxy().reset();
    browser.post("/signup").json(person.signup("browser")).send().await.expect(202);
    let taken = Person { username: "eve".to_owned(), ..Person::named("alice") };
    client.post("/signup").json(taken.signup("app")).send().await.expect(202);
    allowed(&stack, "signup");
    let mail = stack.mail_to(&person.email).await;
    browser.post("/verify").json(json!({"token": mail.token()})).send().await.expect(201);
    browser.post("/verify").json(json!({"token": mail.token()})).send().await;
    allowed(&stack, "verify");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions() {
    let stack = Stack::with_proxy(&[]).await;
    let client = stack.client();
    let alice = stack.person("alice").await;
    stack.proxy().reset();
    let app = stack.app(&alice).await;
    let browser = stack.signed_in(&alice).await;
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    client.post("/login").json(Person::named("nobody").login("app")).send().await.expect(401);
    allowed(&stack, "login");

    browser.get("/me").send().await.expect(200);
    stack.clock.advance(1200);
    let renewed = browser.get("/me").send().await.expect(200);
    assert!(renewed.cookie("access").is_some());
    allowed(&stack, "me");

    let key = retry_key();
    let second = AppSession::of(&stack.refresh(&app.refresh, Some(&key)).await.expect(200));
    stack.refresh(&app.refresh, Some(&key)).await.expect(200);
    stack.refresh(&second.refresh, Some(&key)).await.expect(400);
    browser.post("/refresh").send().await.expect(200);
    // An app's refresh in a signed-in browser ends the browser's session too.
    let answer = browser.post("/refresh").json(json!({"refresh": second.refresh})).send().await;
    assert!(answer.status < 500, "{}", answer.text());
    stack.refresh(&app.refresh, None).await.expect(401);
    stack.refresh(&app.refresh, None).await.expect(401);
    allowed(&stack, "refresh");

    let (app, other) = (stack.app(&alice).await, stack.app(&alice).await);
    let browser = stack.remembered(&alice).await;
    stack.proxy().reset();
    browser.post("/logout").send().await.expect(204);
    client.post("/logout").json(json!({"refresh": other.refresh})).send().await.expect(204);
    client.post("/logout").bearer(&app.access).json(json!({"everywhere": true})).send().await.expect(204);
    client.post("/logout").bearer(&app.access).send().await.expect(204);
    allowed(&stack, "logout");

    client.get("/.well-known/jwks.json").send().await.expect(200);
    client.get("/.well-known/openid-configuration").send().await.expect(200);
    allowed(&stack, "jwks");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices() {
    let stack = Stack::with_proxy(&[("MaxSessions", "2")]).await;
    let alice = stack.person("alice").await;
    stack.proxy().reset();
    stack.clock.advance(1);
    let (browser, _) = (stack.signed_in(&alice).await, stack.app(&alice).await);
    allowed(&stack, "login");
    stack.clock.advance(1200);
    let listed = browser.get("/sessions").send().await.expect(200);
    assert!(listed.cookie("access").is_some(), "extended by the way");
    for session in listed.json()["sessions"].as_array().expect("a list").iter().rev() {
        let path = format!("/sessions/{}", session["id"].as_str().expect("an id"));
        browser.request(reqwest::Method::DELETE, &path).send().await;
    }
    allowed(&stack, "sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_keys() {
    let stack = Stack::with_proxy(&[("AppSessionLifetime", "86400"), ("AppIdleTimeout", "86400")]).await;
    stack.person("alice").await;
    stack.proxy().reset();
    let mut done = (0, 0);
    for _ in 0..4 {
        let answer = stack.local.functions().invoke("rotate-keys", json!({"at_once": true})).await.expect("an answer");
        done =
            (done.0 + answer["created"].as_u64().expect("a count"), done.1 + answer["deleted"].as_u64().expect("one"));
        stack.clock.advance(2 * 86_400);
    }
    assert!(done.0 >= 4 && done.1 >= 4, "{done:?}");
    allowed(&stack, "rotate-keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorizer() {
    let stack = Stack::with_proxy_and_options(with_ping(&[("RevocationCheck", "session")])).await;
    let (_, app) = stack.person_with_session("alice").await;
    stack.proxy().reset();
    stack.client().get("/ping").bearer(&app.access).send().await.expect(200);
    stack.client().get("/ping").bearer("nonsense").send().await.expect(403);
    assert!(!stack.proxy().calls().is_empty());
    allowed(&stack, "authorizer");
}
