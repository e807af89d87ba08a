//! What each function asks of the database is what its statements in `template.yaml` allow: no more, no less.
//!
//! Every database call of every flow passes a filter that knows, by the credentials that signed it, which function asks,
//! and refuses what that function's statements do not allow, with `dynamodb:LeadingKeys` and `dynamodb:Attributes` read
//! as IAM reads them. A missing permission fails the flow; an allowed action that no flow needs fails the test at its end.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Value, json};

use shared::account::{EmailAddress, UserId};
use shared::concurrency::Concurrency;
use shared::config::Tables;
use shared::locale::Locale;
use shared::mail::Letter;
use shared::outbox::{OutboxItem, QueuedMail};
use shared::store::Store;

use crate::authorizer::with_ping;
use crate::edge::{HEADER, SECRET};
use crate::harness::{AppSession, Person, Stack, options, retry_key};

/// One item that a call touches, as IAM sees it.
#[derive(Clone, Debug)]
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

    fn of_call(operation: &str, request: &Value) -> Vec<Self> {
        match operation {
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
    for expression in [
        "ProjectionExpression",
        "ConditionExpression",
        "FilterExpression",
        "UpdateExpression",
        "KeyConditionExpression",
    ] {
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

/// One statement of one function.
#[derive(Debug)]
struct Statement {
    function: String,
    sid: String,
    actions: Vec<String>,
    resources: Vec<String>,
    /// Patterns of `dynamodb:LeadingKeys`; those that end with `*` are of `StringLike`.
    keys: Vec<String>,
    attributes: Option<BTreeSet<String>>,
}

/// Function, statement, action and key pattern.
type Right = (String, String, String, String);

impl Statement {
    fn read(function: &str, statement: &Value) -> Self {
        let conditions = statement["Condition"].as_object();
        let of_all = |name: &str| {
            let mut operators =
                conditions.into_iter().flatten().filter(|(operator, _)| operator.starts_with("ForAllValues:"));
            operators.find_map(|(operator, keys)| Some((operator.clone(), texts(keys.get(name)?))))
        };
        let keys = of_all("dynamodb:LeadingKeys");
        let sid = statement["Sid"].as_str().expect("a Sid").to_owned();
        if let Some((operator, keys)) = &keys {
            let has_pattern = keys.iter().any(|key| key.ends_with('*'));
            assert_eq!(operator.ends_with("StringLike"), has_pattern, "{function} {sid}: {operator} {keys:?}");
            // Without any key, "for all" is true: the key has to be there.
            assert_eq!(statement["Condition"]["Null"]["dynamodb:LeadingKeys"], "false", "{function} {sid}");
        }
        Self {
            function: function.to_owned(),
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            keys: keys.map(|(_, keys)| keys).unwrap_or_default(),
            attributes: of_all("dynamodb:Attributes").map(|(_, names)| names.into_iter().collect()),
            sid,
        }
    }

    /// The right that an access needs of this statement, if it gives one.
    fn right(&self, access: &Access) -> Option<Right> {
        let fits = |pattern: &&String| match pattern.strip_suffix('*') {
            Some(start) => access.leading_key.starts_with(start),
            None => access.leading_key == **pattern,
        };
        let of_attributes = self.attributes.as_ref().is_none_or(|allowed| {
            access.attributes.as_ref().is_some_and(|names| names.iter().all(|name| allowed.contains(name)))
        });
        let of_table = self.resources.contains(&format!("{}.Arn", access.table));
        let key = self.keys.iter().find(fits)?;
        (self.actions.contains(&access.action) && of_table && of_attributes)
            .then(|| (self.function.clone(), self.sid.clone(), access.action.clone(), key.clone()))
    }

    /// Everything that it allows.
    fn rights(&self) -> impl Iterator<Item = Right> {
        let keys = self.keys.iter();
        keys.flat_map(|key| self.actions.iter().map(move |action| (action, key)))
            .map(|(action, key)| (self.function.clone(), self.sid.clone(), action.clone(), key.clone()))
    }
}

fn template() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let text = std::fs::read_to_string(path).expect("template.yaml");
    plain(&Yaml::load_from_str(&text).expect("YAML")[0])
}

/// Each function's folder with its policies: names of managed ones, and documents that stand with the function.
fn policies(template: &Value) -> Vec<(String, Vec<Value>)> {
    let resources = template["Resources"].as_object().expect("resources").values();
    let functions = resources.filter(|resource| resource["Type"] == "AWS::Serverless::Function");
    let of_function = |function: &Value| {
        let folder = function["Metadata"]["BuildProperties"]["Binary"].as_str().expect("a binary").to_owned();
        let policies = function["Properties"]["Policies"].as_array().expect("policies").iter();
        // Of a condition's branches, the first has the permissions.
        let chosen = policies.map(|policy| policy.as_array().map_or(policy, |branches| &branches[1]));
        (folder, chosen.cloned().collect())
    };
    functions.map(of_function).collect()
}

/// The document of the managed policy of this name.
fn managed<'a>(template: &'a Value, name: &str) -> &'a Value {
    let policy = &template["Resources"][name];
    assert_eq!(policy["Type"], "AWS::IAM::ManagedPolicy", "{name}");
    &policy["Properties"]["PolicyDocument"]
}

/// All statements about tables in the template: of functions, and of the managed policies that they name.
fn statements() -> Vec<Statement> {
    let template = template();
    let mut found = Vec::new();
    for (folder, policies) in policies(&template) {
        let documents = policies.iter().map(|policy| policy.as_str().map_or(policy, |name| managed(&template, name)));
        for statement in documents.flat_map(|document| document["Statement"].as_array().expect("statements")) {
            assert_eq!(statement["Effect"], "Allow");
            let actions = texts(&statement["Action"]);
            assert!(!actions.is_empty() && actions.iter().all(|action| !action.contains('*')), "{folder}: {actions:?}");
            let resources = texts(&statement["Resource"]);
            assert!(!resources.is_empty() && resources.iter().all(|one| one != "*"), "{folder}: {statement}");
            if actions.iter().all(|action| action.starts_with("dynamodb:")) {
                let statement = Statement::read(&folder, statement);
                assert!(!statement.keys.is_empty(), "{folder}: {} is for no particular items", statement.sid);
                found.push(statement);
            }
        }
    }
    found
}

/// Managed policies that SAM attaches to a role by itself: `AWSLambdaBasicExecutionRole`, `AWSXrayWriteOnlyAccess`, and
/// where a stream wakes the function `AWSLambdaDynamoDBExecutionRole`.
const OF_SAM: usize = 3;

#[test]
fn policies_stay_within_what_iam_takes() {
    // «IAM and AWS STS quotas»: managed policies attached to a role (10, unless it is raised), characters of a managed
    // policy and of all inline policies of a role together, white space not counted.
    const ATTACHED: usize = 10;
    const MANAGED: usize = 6_144;
    const INLINE: usize = 10_240;
    // A table's ARN and the like are longer than what stands for them here.
    const ARN: usize = 200;
    let size = |document: &Value| {
        let resources = document["Statement"].as_array().expect("statements").iter().map(|one| &one["Resource"]);
        let count: usize = resources.map(|resource| resource.as_array().map_or(1, Vec::len)).sum();
        document.to_string().chars().filter(|c| !c.is_whitespace()).count() + count * ARN
    };
    let template = template();
    let mut used = BTreeSet::new();
    for (folder, policies) in policies(&template) {
        let names: Vec<&str> = policies.iter().filter_map(Value::as_str).collect();
        assert!(names.len() + OF_SAM <= ATTACHED, "{folder} names {} managed policies", names.len());
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{folder} names one twice: {names:?}");
        let inline: usize = policies.iter().filter(|policy| policy.is_object()).map(size).sum();
        assert!(inline <= INLINE, "{folder}: {inline} characters");
        used.extend(names.into_iter().map(str::to_owned));
    }
    let resources = template["Resources"].as_object().expect("resources").iter();
    let all = resources.filter(|(_, resource)| resource["Type"] == "AWS::IAM::ManagedPolicy");
    let boundary = template["Globals"]["Function"]["PermissionsBoundary"].as_str().expect("a boundary");
    for (name, policy) in all {
        let size = size(&policy["Properties"]["PolicyDocument"]);
        assert!(size <= MANAGED, "{name}: {size} characters");
        assert!(used.contains(name) || name == boundary, "no function names {name}");
    }
}

/// SAM gives each role `AWSLambdaBasicExecutionRole`, which is for every log group there is, and one that a stream wakes
/// `AWSLambdaDynamoDBExecutionRole`, which is for every stream; the boundary takes both back.
#[test]
fn a_function_has_this_stack_s_logs_and_streams_alone() {
    const STREAMS: [&str; 4] =
        ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"];
    let template = template();
    let function = &template["Globals"]["Function"];
    assert_eq!(function["LoggingConfig"]["LogGroup"], "FunctionsLogGroup");
    let boundary = managed(&template, function["PermissionsBoundary"].as_str().expect("a boundary"));
    let statements = boundary["Statement"].as_array().expect("statements");
    let of = |sid: &str| statements.iter().find(|statement| statement["Sid"] == sid).expect("a statement");
    assert_eq!(statements.len(), 3);
    assert_eq!(texts(&of("LogsOfThisStack")["Action"]), ["logs:CreateLogStream", "logs:PutLogEvents"]);
    assert_eq!(of("LogsOfThisStack")["Resource"], "FunctionsLogGroup.Arn");
    assert_eq!(texts(&of("StreamOfThisStack")["Action"]), STREAMS);
    assert_eq!(of("StreamOfThisStack")["Resource"], "${UsersTable.Arn}/stream/*");
    assert_eq!(texts(&of("EverythingElse")["NotAction"]), [&["logs:*"], &STREAMS[..]].concat());
    for (id, resource) in template["Resources"].as_object().expect("resources") {
        let properties = &resource["Properties"];
        let overrides = ["Role", "PermissionsBoundary", "LoggingConfig"].map(|name| !properties[name].is_null());
        let is_function = resource["Type"] == "AWS::Serverless::Function";
        assert!(!is_function || overrides == [false; 3], "{id} has a role, boundary or log group of its own");
    }
}

/// What stands between the functions and their database, as IAM does in the cloud.
struct Iam {
    statements: Vec<Statement>,
    used: Mutex<BTreeSet<Right>>,
    refused: Mutex<Vec<String>>,
}

impl Iam {
    fn new() -> Arc<Self> {
        Arc::new(Self { statements: statements(), used: Mutex::default(), refused: Mutex::default() })
    }

    /// A stack whose every database call is checked, from the first keys on.
    async fn guarding(self: &Arc<Self>, parameters: &[(&str, &str)]) -> Stack {
        self.guarding_with(options(parameters)).await
    }

    async fn guarding_with(self: &Arc<Self>, options: local::Options) -> Stack {
        let stack = Stack::with_proxy_and_options(options).await;
        let iam = Arc::clone(self);
        stack.proxy().guard(Arc::new(move |caller, operation, request| iam.allows(caller, operation, request)));
        stack
    }

    fn allows(&self, caller: &str, operation: &str, request: &Value) -> bool {
        let accesses = Access::of_call(operation, request);
        let of_caller = || self.statements.iter().filter(|statement| statement.function == caller);
        // A transaction's items are asked for one by one; all keys of any other call have to fit one statement.
        let rights: Option<Vec<Right>> = if operation == "TransactWriteItems" {
            accesses.iter().map(|access| of_caller().find_map(|statement| statement.right(access))).collect()
        } else {
            of_caller().find_map(|statement| accesses.iter().map(|access| statement.right(access)).collect())
        };
        match rights {
            Some(rights) => {
                self.used.lock().unwrap_or_else(PoisonError::into_inner).extend(rights);
                true
            }
            None => {
                let refusal = format!("{caller} may not {operation}: {accesses:?}");
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
                false
            }
        }
    }

    fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is allowed and was never needed.
    fn excess(&self) -> Vec<Right> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.statements.iter().flat_map(Statement::rights).filter(|right| !used.contains(right)).collect()
    }
}

#[test]
fn the_policy_simulator_denies_what_is_not_allowed() {
    let iam = Iam::new();
    let get = |key: &str, projection: Option<&str>| {
        let mut request = json!({"TableName": "UsersTable", "Key": {"pk": {"S": key}, "sk": {"S": "USER"}}});
        if let Some(projection) = projection {
            request["ProjectionExpression"] = json!(projection);
        }
        request
    };
    let ring = |key: &str| json!({"RequestItems": {"KeysTable": {"Keys": [{"pk": {"S": key}, "sk": {"S": "RING"}}]}}});
    let sessions = |key: &str| {
        json!({"TableName": "UsersTable", "KeyConditionExpression": "pk = :p",
            "ExpressionAttributeValues": {":p": {"S": key}}})
    };
    assert!(iam.allows("jwks", "BatchGetItem", &ring("SIGNING#PUBLIC")));
    assert!(iam.allows("sessions", "Query", &sessions("SESSIONS#1")));
    assert!(iam.allows("refresh", "GetItem", &get("USER#1", Some("epoch"))));
    for (folder, operation, request) in [
        ("refresh", "GetItem", get("USER#1", None)),
        ("refresh", "GetItem", get("USER#1", Some("epoch,password_hash"))),
        ("refresh", "GetItem", get("SIGNUP#1", Some("epoch"))),
        ("refresh", "DeleteItem", get("USER#1", None)),
        ("nobody", "GetItem", get("USER#1", Some("epoch"))),
        ("jwks", "BatchGetItem", ring("SIGNING#PRIVATE")),
        ("jwks", "BatchGetItem", ring("MAC")),
        ("me", "BatchGetItem", ring("MAC")),
        ("authorizer", "BatchGetItem", ring("SIGNING#PRIVATE")),
        ("rotate-keys", "BatchGetItem", ring("MAC")),
        ("rotate-keys", "BatchGetItem", ring("SIGNING#PRIVATE")),
        ("sessions", "GetItem", get("USER#1", None)),
        ("export", "GetItem", get("USER#1", None)),
        ("export", "DeleteItem", get("SESSIONS#1", None)),
        ("profile", "GetItem", get("USER#1", None)),
        ("profile", "DeleteItem", get("USER#1", None)),
        ("deletion", "GetItem", get("USER#1", None)),
        ("sessions", "Query", sessions("USER#1")),
        ("mail-events", "UpdateItem", get("USER#1", None)),
        ("password-forgot", "GetItem", get("USER#1", None)),
        ("password-forgot", "GetItem", get("RESET#1", None)),
        ("password-forgot", "UpdateItem", get("USER#1", Some("password_hash"))),
        ("password-reset", "GetItem", get("USER#1", None)),
        ("password-reset", "GetItem", get("SIGNUP#1", None)),
        ("password-reset", "BatchGetItem", ring("OUTBOX")),
    ] {
        assert!(!iam.allows(folder, operation, &request), "{folder} may {operation} {request}");
    }
}

/// All flows, from the first keys on.
#[tokio::test(flavor = "multi_thread")]
async fn every_function_may_do_what_it_does_and_nothing_else() {
    let iam = Iam::new();
    signing_up(&iam).await;
    passwords(&iam).await;
    sessions(&iam).await;
    devices(&iam).await;
    sources(&iam).await;
    accounts(&iam).await;
    authorizing(&iam).await;
    keys(&iam).await;
    lost_keys(&iam).await;
    outbox(&iam).await;
    addresses(&iam).await;
    assert_eq!(iam.refused(), Vec::<String>::new(), "a permission is missing");
    assert_eq!(iam.excess(), Vec::<Right>::new(), "a permission is in excess: no flow needs it");
}

async fn signing_up(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[("MaxSessions", "1")]).await;
    let client = stack.client();
    for name in ["alice", "bob", "carol"] {
        let person = Person::named(name);
        let answer = client.post("/signup").json(person.signup("app")).send().await.expect(202);
        let signup_id = answer.json()["signup_id"].clone();
        stack.clock.advance(60);
        client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(202);
        client.post("/signup/resend").json(json!({"signup_id": signup_id})).send().await.expect(429);
        client.post("/signup/resend").json(json!({"signup_id": "nothing"})).send().await;
        let mail = stack.mail_to(&person.email).await;
        let token = mail.token();
        let (refused, mut proofs) = match name {
            "alice" => (json!({"token": token}), vec![json!({"signup_id": signup_id, "token": token})]),
            "bob" => (
                json!({"signup_id": signup_id, "code": "00000000"}),
                vec![
                    json!({"token": token, "password": person.password}),
                    json!({"signup_id": signup_id, "code": mail.code()}),
                ],
            ),
            _ => (json!({"token": "nothing"}), vec![json!({"signup_id": signup_id, "code": mail.code()})]),
        };
        let answer = stack.verify(refused).await;
        assert!(answer.status < 500, "{}", answer.text());
        // The first makes the account; its answer may be asked for again, and any other is refused.
        for (index, proof) in proofs.iter_mut().enumerate() {
            proof["client"] = json!("app");
            stack.verify(proof.clone()).await.expect(if index == 0 { 201 } else { 400 });
            stack.verify(proof.clone()).await.expect(if index == 0 { 201 } else { 400 });
        }
        stack.app(&person).await;
    }
    // With a session to replace, and one of an address that has an owner.
    let person = Person::named("dora");
    let browser = stack.signed_in(&Person::named("alice")).await;
    browser.post("/signup").json(person.signup("browser")).send().await.expect(202);
    let taken = Person { username: "eve".to_owned(), ..Person::named("alice") };
    client.post("/signup").json(taken.signup("app")).send().await.expect(202);
    let mail = stack.mail_to(&person.email).await;
    browser.post("/verify").json(json!({"token": mail.token()})).send().await.expect(201);
    browser.post("/verify").json(json!({"token": mail.token()})).send().await;

    let bounce = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/mail-events.json"));
    let bounce: Value = serde_json::from_str(&bounce.expect("an event")).expect("JSON");
    let marked = stack.local.functions().invoke("mail-events", bounce).await.expect("an answer");
    assert_eq!(marked["marked"], 1);
}

async fn passwords(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[]).await;
    let client = stack.client();
    let alice = stack.person("alice").await;
    for who in [
        json!({"username": "nobody", "client": "app"}),
        json!({"email": "nobody@example.test", "client": "app"}),
        json!({"username": alice.username, "client": "app"}),
        json!({"email": alice.email, "client": "app"}),
    ] {
        let answer = client.post("/password/forgot").json(who).send().await.expect(202);
        let reset_id = answer.json()["reset_id"].clone();
        let body = json!({"reset_id": reset_id, "code": "00000000", "password": "nine loud otters"});
        client.post("/password/reset").json(body).send().await.expect(400);
        let mail = stack.secrets_to(&alice.email).await;
        if !mail.text.contains("/password/reset?token=") {
            continue;
        }
        let body = |password: &str| json!({"reset_id": reset_id, "code": mail.code(), "password": password});
        client.post("/password/reset").json(body(&alice.email)).send().await.expect(422);
        client.get(&format!("/password/reset?token={}", mail.token())).send().await.expect(200);
        for _ in 0..2 {
            client.post("/password/reset").json(body("nine loud otters")).send().await.expect(204);
        }
    }
}

async fn sessions(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[]).await;
    let client = stack.client();
    let alice = stack.person("alice").await;
    stack.outdate_password(&alice).await;
    let app = stack.app(&alice).await;
    let browser = stack.signed_in(&alice).await;
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    browser.post("/login").json(alice.login("browser")).send().await.expect(200);
    client.post("/login").json(json!({"email": alice.email, "password": "wrong"})).send().await.expect(401);
    client.post("/login").json(Person::named("nobody").login("app")).send().await.expect(401);

    browser.get("/me").send().await.expect(200);
    stack.clock.advance(1200);
    let renewed = browser.get("/me").send().await.expect(200);
    assert!(renewed.cookie("access").is_some());

    let key = retry_key();
    let second = AppSession::of(&stack.refresh(&app.refresh, Some(&key)).await.expect(200));
    stack.refresh(&app.refresh, Some(&key)).await.expect(200);
    stack.refresh(&second.refresh, Some(&key)).await.expect(400);
    browser.post("/refresh").send().await.expect(200);
    // An app's refresh in a signed-in browser ends the browser's session too.
    browser.post("/refresh").json(json!({"refresh": second.refresh})).send().await.expect(200);
    stack.refresh(&app.refresh, None).await.expect(401);
    stack.refresh(&app.refresh, None).await.expect(401);

    // A copied cookie, two generations behind.
    let browser = stack.signed_in(&alice).await;
    let copied = browser.copy();
    browser.post("/refresh").send().await.expect(200);
    browser.post("/refresh").send().await.expect(200);
    copied.get("/me").send().await.expect_problem(401, "token_reused");

    // The password again: wrong, right, repeated, worn out; a new one, weak and good.
    let (app, key) = (stack.app(&alice).await, retry_key());
    let again = |access: &str, password: &str| {
        let call = client.post("/reauthenticate").bearer(access).json(json!({"password": password}));
        call.retry_key(&key).send()
    };
    again(&app.access, "wrong").await.expect(403);
    let next = AppSession::of(&again(&app.access, &alice.password).await.expect(200));
    again(&app.access, &alice.password).await.expect(200);
    let change = |access: &str, new_password: &str| {
        let body = json!({"password": alice.password, "new_password": new_password});
        client.post("/password/change").bearer(access).json(body).send()
    };
    change(&next.access, "weak").await.expect(422);
    let next = AppSession::of(&change(&next.access, "nine grey geese fly south").await.expect(200));
    for _ in 0..10 {
        again(&next.access, "wrong").await.expect(403);
    }
    again(&next.access, "wrong").await.expect(401);
    let alice = Person { password: "nine grey geese fly south".to_owned(), ..alice };
    let browser = stack.signed_in(&alice).await;
    let copied = browser.copy();
    browser.post("/refresh").send().await.expect(200);
    browser.post("/refresh").send().await.expect(200);
    copied.post("/reauthenticate").json(json!({"password": alice.password})).send().await.expect(401);

    let (app, other) = (stack.app(&alice).await, stack.app(&alice).await);
    let browser = stack.remembered(&alice).await;
    browser.post("/logout").send().await.expect(204);
    client.post("/logout").json(json!({"refresh": other.refresh})).send().await.expect(204);
    client.post("/logout").bearer(&app.access).json(json!({"everywhere": true})).send().await.expect(204);
    client.post("/logout").bearer(&app.access).send().await.expect(204);
    client.get("/.well-known/jwks.json").send().await.expect(200);
    client.get("/.well-known/openid-configuration").send().await.expect(200);
}

async fn devices(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[("MaxSessions", "2")]).await;
    let alice = stack.person("alice").await;
    stack.clock.advance(1);
    let (browser, _) = (stack.signed_in(&alice).await, stack.app(&alice).await);
    stack.clock.advance(1200);
    let listed = browser.get("/sessions").send().await.expect(200);
    assert!(listed.cookie("access").is_some(), "extended by the way");
    for session in listed.json()["sessions"].as_array().expect("a list").iter().rev() {
        let path = format!("/sessions/{}", session["id"].as_str().expect("an id"));
        browser.request(reqwest::Method::DELETE, &path).send().await;
    }
}

/// What is counted of a source and of a device: codes and passwords, wrong ones and right ones.
async fn sources(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[("OriginSecret", SECRET), ("ClientAddressHeader", HEADER)]).await;
    let post = |path: &str, body: Value| {
        stack.client().post(path).header("x-origin-secret", SECRET).header(HEADER, "203.0.113.7").json(body).send()
    };
    let alice = Person::named("alice");
    let answer = post("/signup", alice.signup("app")).await.expect(202).json();
    let mail = stack.mail_to(&alice.email).await;
    for (code, status) in [("00000000", 400), (mail.code().as_str(), 201)] {
        let body = json!({"signup_id": answer["signup_id"], "code": code, "client": "app"});
        post("/verify", body).await.expect(status);
    }
    post("/login", json!({"username": "alice", "password": "not the password"})).await.expect(401);
    let device = post("/login", alice.login("app")).await.expect(200).json()["device"].clone();
    let forgot = json!({"email": alice.email, "client": "app", "device": device});
    let answer = post("/password/forgot", forgot).await.expect(202).json();
    let mail = stack.secrets_to(&alice.email).await;
    for (code, status) in [("00000000", 400), (mail.code().as_str(), 204)] {
        let body = json!({"reset_id": answer["reset_id"], "code": code, "password": "nine loud otters"});
        post("/password/reset", body).await.expect(status);
    }
}

/// Changed, exported and deleted: at once, and when an undo has lapsed.
async fn accounts(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[("FreshAuthentication", "3600")]).await;
    for waits in [false, true] {
        let (alice, app) = stack.person_with_session("alice").await;
        let browser = stack.signed_in(&alice).await;
        stack.clock.advance(1200);
        let extended = browser.get("/me/export").send().await.expect(200);
        assert!(extended.cookie("access").is_some(), "extended by the way");
        browser.patch("/me").json(json!({"username": "alicia", "locale": "ko"})).send().await.expect(200);
        if waits {
            stack.open_undo("before@example.test", stack.clock.now().unix() + 60).await;
        }
        browser.delete("/me").send().await.expect(204);
        stack.local.settled().await;
        stack.clock.advance(60);
        stack.local.settled().await;
        stack.me(&app.access).await.expect(401);
    }
}

async fn authorizing(iam: &Arc<Iam>) {
    for check in ["token", "session"] {
        let stack = iam.guarding_with(with_ping(&[("RevocationCheck", check)])).await;
        let (_, app) = stack.person_with_session("alice").await;
        stack.client().get("/ping").bearer(&app.access).send().await.expect(200);
        stack.client().get("/ping").bearer("nonsense").send().await.expect(403);
    }
}

async fn keys(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[("AppSessionLifetime", "86400"), ("AppIdleTimeout", "86400")]).await;
    stack.person("alice").await;
    let mut done = (0, 0);
    for _ in 0..4 {
        let answer = stack.local.functions().invoke("rotate-keys", json!({"at_once": true})).await.expect("an answer");
        done.0 += answer["created"].as_u64().expect("a count");
        done.1 += answer["deleted"].as_u64().expect("a count");
        stack.clock.advance(2 * 86_400);
    }
    assert!(done.0 >= 4 && done.1 >= 4, "{done:?}");
    let set = stack.client().get("/.well-known/jwks.json").send().await.expect(200).json();
    for key in [set["keys"][0]["kid"].clone(), json!("outbox/1")] {
        stack.local.functions().invoke("rotate-keys", json!({"revoke": key})).await.expect("an answer");
    }
}

/// Changes of address, and their undos.
async fn addresses(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let bob = stack.person("bob").await;
    let client = stack.client();
    let change = async |email: &str| {
        let body = json!({"email": email});
        client.post("/email/change").bearer(&app.access).json(body).send().await.expect(202).json()["change_id"].clone()
    };
    let confirm = async |body: Value, status: u16| {
        client.post("/email/confirm").bearer(&app.access).json(body).send().await.expect(status);
    };
    change(&bob.email).await;
    // By code, after a wrong one, and by link.
    let change_id = change("alice@new.example").await;
    let mail = stack.mail_to("alice@new.example").await;
    confirm(json!({"change_id": change_id, "code": "00000000"}), 400).await;
    confirm(json!({"change_id": change_id, "code": mail.code()}), 204).await;
    confirm(json!({"change_id": change_id, "code": mail.code()}), 204).await;
    for address in ["alice@newer.example", "alice@newest.example"] {
        change(address).await;
        let token = stack.mail_to(address).await.token();
        let path = format!("/email/confirm?token={token}");
        client.get(&path).send().await.expect(200);
        confirm(json!({"token": token}), 204).await;
    }
    // The last change, then the first, which takes the one between along.
    for address in ["alice@newer.example", alice.email.as_str()] {
        let token = stack.mail_to(address).await.token();
        let path = format!("/email/undo?token={token}");
        client.get(&path).send().await.expect(200);
        client.post("/email/undo").json(json!({"token": token})).send().await.expect(204);
        client.post("/email/undo").json(json!({"token": token})).send().await.expect(204);
    }
    stack.mail_to(&alice.email).await;
    // Who is the first to need a key after all were lost.
    let app = stack.app(&bob).await;
    stack.lose_keys().await;
    stack.clock.advance(300);
    let body = json!({"email": "bob@new.example"});
    let _ = client.post("/email/change").bearer(&app.access).json(body).send().await;
}

/// Mails that fail, are given up or are no longer wanted, and what remains of a deleted account.
async fn outbox(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[]).await;
    let (alice, _) = stack.person_with_session("alice").await;
    let tables = Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() };
    // Straight to the database, as it is the test's own write.
    let database = local::database::client(stack.database().endpoint(), stack.database().secret());
    let store = Store::new(database, tables, Concurrency::Many);
    let now = stack.clock.now();
    let to = EmailAddress::parse(&alice.email).expect("an address");
    // Of somebody who is gone: one who lives is left alone.
    let user_id = UserId::random();
    let letter = Letter::AccountDeleted { username: alice.username.clone() };
    let mail = QueuedMail::new(to, Locale::En, letter, now);
    store.put_outbox(&OutboxItem::mail(mail.clone(), now).with_deletion(user_id)).await.expect("written");
    store.put_outbox(&OutboxItem::mail(mail, now)).await.expect("written");
    stack.local.mailbox().refuse(Some("MessageRejected"));
    for _ in 0..3 {
        stack.local.functions().invoke("sweep", json!({})).await.expect("an answer");
        stack.clock.advance(43_200);
    }
    stack.local.mailbox().refuse(None);
    stack.local.settled().await;
    stack.clock.advance(3600);
    stack.local.settled().await;
    assert_eq!(stack.mail_to(&alice.email).await.subject, "Your account with Latchkey was deleted");
}

/// The table of keys is lost, or the algorithm changed: whoever signs next makes a key.
async fn lost_keys(iam: &Arc<Iam>) {
    let stack = iam.guarding(&[]).await;
    let (alice, app) = stack.person_with_session("alice").await;
    let browsers = [stack.signed_in(&alice).await, stack.signed_in(&alice).await];
    stack.lose_keys().await;
    // Past what the functions have in memory.
    stack.clock.advance(300);
    stack.refresh(&app.refresh, None).await.expect(401);
    stack.app(&alice).await;

    stack.lose_private_keys().await;
    stack.clock.advance(700);
    browsers[0].get("/me").send().await.expect_problem(401, "token_invalid");
    for path in ["/me", "/sessions"] {
        let browser = stack.signed_in(&alice).await;
        stack.lose_private_keys().await;
        stack.clock.advance(1200);
        assert!(browser.get(path).send().await.expect(200).cookie("access").is_some(), "{path}");
    }
    let app = stack.app(&alice).await;
    stack.lose_private_keys().await;
    stack.clock.advance(300);
    stack.refresh(&app.refresh, None).await.expect(200);
}

/// Who is told the name of a function may invoke it, and nobody else may.
#[test]
fn invoke_permissions_match_the_environment() {
    let template = template();
    let functions = template["Resources"].as_object().expect("resources").iter();
    for (id, function) in functions.filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function") {
        let variables = &function["Properties"]["Environment"]["Variables"];
        let policies = function["Properties"]["Policies"].to_string();
        for (variable, policy) in [
            ("ROTATE_KEYS_FUNCTION", "HaveKeysMadePolicy"),
            ("RENEW_FUNCTION", "RenewSessionsPolicy"),
            ("OUTBOX_FUNCTION", "OutboxFunction.Arn"),
        ] {
            assert_eq!(variables[variable].is_string(), policies.contains(policy), "{id}: {variable}, {policy}");
        }
        let invokes = ["ROTATE_KEYS_FUNCTION", "RENEW_FUNCTION", "OUTBOX_FUNCTION"]
            .iter()
            .any(|variable| variables[*variable].is_string());
        assert_eq!(variables["AWS_ENDPOINT_URL_LAMBDA"].is_string(), invokes, "{id}");
    }
}
