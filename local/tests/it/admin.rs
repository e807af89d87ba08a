//! The operator's command line, as it is typed, against the running local stack; what it does is seen as a client sees it.

use std::ffi::OsString;

use admin::cli::{self, Console};
use local::{Options, Storage};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{AppSession, Mail, Person, Stack, claims, jwt_part, options, retry_key};
use crate::mail_events::{bounce, marked};

/// A stack, and the directory by which an operator finds it.
struct Operated {
    stack: Stack,
    data: TempDir,
}

/// What a command came to.
#[derive(Debug)]
struct Ran {
    code: u8,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn expect(self, code: u8) -> Self {
        assert_eq!(self.code, code, "{} {}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Operated {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(parameters: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let storage = Storage::Directory(data.path().to_owned());
        let stack = Stack::with_options(Options { storage, ..options(parameters) }).await;
        Self { stack, data }
    }

    /// Runs a command without anybody there, once what was under way is done.
    async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "", false).await
    }

    async fn run_with(&self, arguments: &[&str], input: &str, is_interactive: bool) -> Ran {
        let local = format!("--local={}", self.data.path().display());
        let arguments = ["admin", &local].into_iter().chain(arguments.iter().copied()).map(OsString::from);
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), input.as_bytes());
        let mut console = Console { out: &mut out, err: &mut err, input: &mut input, is_interactive, width: None };
        let code = cli::run(arguments, &mut console, self.stack.clock.clone()).await;
        self.stack.local.settled().await;
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { code, out: text(out), err: text(err) }
    }

    /// What a command prints as JSON.
    async fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["--json"].into_iter().chain(arguments.iter().copied()).collect();
        self.run(&arguments).await.expect(0).json()
    }

    /// A user who is not there, and arguments that cannot be meant, for a command that takes WHO.
    async fn expect_refusals(&self, command: &[&str], after: &[&str]) {
        let with = |who: &'static str| -> Vec<&str> {
            command.iter().copied().chain([who]).chain(after.iter().copied()).collect()
        };
        for who in ["nobody", "nobody@example.test", "id:AAAAAAAAAAAAAAAAAAAAAA"] {
            let ran = self.run(&with(who)).await.expect(3);
            assert!(ran.out.is_empty() && ran.err.contains(who), "{ran:?}");
        }
        for who in ["id:x", "a b", "@"] {
            self.run(&with(who)).await.expect(2);
        }
        let ran = self.run(&[&["--json"], &with("nobody")[..]].concat()).await.expect(3);
        let error: Value = serde_json::from_str(&ran.err).expect("JSON");
        assert_eq!(error["error"]["code"], "not_found");
    }

    async fn mails_to(&self, address: &str) -> Vec<Mail> {
        let mut mails = self.stack.mails().await;
        mails.retain(|mail| mail.to == address);
        mails
    }

    /// The types of all events, oldest first.
    async fn events(&self) -> Vec<String> {
        let answer = self.stack.client().get("/_local/events.json").send().await.expect(200).json();
        let events = answer.as_array().expect("events").iter();
        events.map(|event| event["detail-type"].as_str().expect("a type").to_owned()).collect()
    }

    /// Sets a new password by the link of a mail.
    async fn reset(&self, mail: &Mail, password: &str) -> crate::harness::Answer {
        let body = json!({"token": mail.token(), "password": password});
        self.stack.client().post("/password/reset").json(body).send().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_found_by_name_address_and_id_and_shown() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let id = format!("id:{}", app.user_id);
    for who in ["alice", "ALICE", &alice.email, &id] {
        let found = operated.json(&["user", "find", who]).await;
        assert_eq!(found["id"], app.user_id.as_str());
        let line = operated.run(&["user", "find", who]).await.expect(0).out;
        assert_eq!(line, format!("alice <{}> (enabled, {id})\n", alice.email));
    }
    insta::assert_json_snapshot!(operated.json(&["user", "show", "alice"]).await, {
        ".id" => "[id]", ".sessions[].id" => "[id]",
    }, @r#"
    {
      "created_at": "2100-01-01T00:00:00Z",
      "email": "alice@example.test",
      "epoch": 1,
      "id": "[id]",
      "locale": "en",
      "roles": [],
      "sessions": [
        {
          "created_at": "2100-01-01T00:00:00Z",
          "device": "Unknown device",
          "expires_at": "2100-06-30T00:00:00Z",
          "id": "[id]",
          "idle_expires_at": "2100-01-31T00:00:00Z",
          "kind": "app",
          "last_used_at": "2100-01-01T00:00:00Z"
        }
      ],
      "status": "enabled",
      "undeliverable": null,
      "undos": [],
      "username": "alice"
    }
    "#);
    let shown = operated.run(&["user", "show", "alice"]).await.expect(0).out;
    assert!(shown.contains("alice@example.test") && shown.contains("app") && !shown.contains("argon2"), "{shown}");
    operated.expect_refusals(&["user", "find"], &[]).await;
    operated.expect_refusals(&["user", "show"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_users_are_listed_and_some_by_status_and_role() {
    let operated = Operated::start().await;
    for name in ["alice", "bob", "carol"] {
        operated.stack.person(name).await;
    }
    operated.run(&["user", "disable", "bob"]).await.expect(0);
    operated.run(&["user", "roles", "carol", "--add", "editor"]).await.expect(0);
    let names = async |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["--json", "user", "list"], arguments].concat();
        let lines = operated.run(&arguments).await.expect(0).out;
        let users = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let mut names: Vec<String> = users.map(|user| user["username"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&[]).await, ["alice", "bob", "carol"]);
    assert_eq!(names(&["--status", "disabled"]).await, ["bob"]);
    assert_eq!(names(&["--role", "editor"]).await, ["carol"]);
    assert_eq!(names(&["--role", "nobody"]).await, Vec::<String>::new());
    assert_eq!(names(&["--limit", "2"]).await.len(), 2);
    let table = operated.run(&["user", "list"]).await.expect(0);
    assert_eq!(table.out.lines().count(), 4, "{table:?}");
    assert!(table.out.starts_with("USERNAME"), "{table:?}");
    assert_eq!(table.err, "3 users\n");
    operated.run(&["user", "list", "--status", "gone"]).await.expect(2);
    operated.run(&["user", "list", "--role", "a b"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_with_a_password_or_with_a_link_to_choose_one() {
    let operated = Operated::start().await;
    let ann = Person { username: "ann".to_owned(), ..Person::named("ann") };
    let arguments = ["--json", "user", "create", "--username", "ann", "--email", &ann.email, "--role", "editor"];
    let ran = operated.run(&arguments).await.expect(0);
    insta::assert_json_snapshot!(ran.json(), {".user.id" => "[id]"}, @r#"
    {
      "changed": true,
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "ann@example.test",
        "epoch": 1,
        "id": "[id]",
        "locale": "en",
        "roles": [
          "editor"
        ],
        "status": "reset_required",
        "username": "ann"
      }
    }
    "#);
    assert_eq!(operated.events().await, ["user.created"]);
    let client = operated.stack.client();
    client.post("/login").json(ann.login("app")).send().await.expect_problem(401, "invalid_credentials");
    let [mail] = &operated.mails_to(&ann.email).await[..] else { panic!("not one mail") };
    assert_eq!(mail.subject, "Your account with Latchkey");
    operated.reset(mail, &ann.password).await.expect(204);
    let app = operated.stack.app(&ann).await;
    assert_eq!(claims(&app.access)["roles"], json!(["editor"]));

    // The same again makes nobody.
    let ran = operated.run(&arguments).await.expect(4);
    assert!(ran.out.is_empty() && ran.err.contains("has an account"), "{ran:?}");
    operated.run(&["user", "create", "--username", "ann", "--email", "other@example.test"]).await.expect(4);

    let bob = Person::named("bob");
    let create = ["user", "create", "--username", "bob", "--email", &bob.email, "--locale", "ko", "--password-stdin"];
    operated.run_with(&create, "short\n", false).await.expect(2);
    operated.run_with(&create, "", false).await.expect(2);
    operated.run_with(&create, &format!("{}\r\n", bob.password), false).await.expect(0);
    operated.stack.app(&bob).await;
    for (username, email) in [("a b", "x@example.test"), ("carol", "x"), ("c", "x@example.test")] {
        operated.run(&["user", "create", "--username", username, "--email", email]).await.expect(2);
    }
    operated.run(&["user", "create", "--username", "carol"]).await.expect(2);
    let role = ["user", "create", "--username", "carol", "--email", "c@example.test", "--role", "7up"];
    operated.run(&role).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_everywhere_and_is_lifted_by_an_operator_alone() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let client = operated.stack.client();
    let forgot = json!({"email": alice.email, "client": "app"});
    client.post("/password/forgot").json(forgot.clone()).send().await.expect(202);
    let earlier = operated.stack.secrets_to(&alice.email).await;

    let banned = operated.json(&["user", "disable", "alice"]).await;
    assert_eq!((&banned["changed"], &banned["user"]["status"]), (&json!(true), &json!("disabled")));
    let again = operated.json(&["user", "disable", "alice"]).await;
    assert_eq!((&again["changed"], &again["user"]["epoch"]), (&json!(false), &banned["user"]["epoch"]));

    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    operated.stack.refresh(&app.refresh, None).await.expect_problem(401, "session_ended");
    client.post("/login").json(alice.login("app")).send().await.expect_problem(401, "invalid_credentials");
    // Neither an earlier reset nor a new one changes it, and an operator is not offered one.
    operated.reset(&earlier, "nine loud llamas at dawn").await.expect_problem(400, "invalid_verification");
    let mails = operated.mails_to(&alice.email).await.len();
    client.post("/password/forgot").json(forgot).send().await.expect(202);
    assert_eq!(operated.mails_to(&alice.email).await.len(), mails, "nobody is mailed a reset");
    operated.run(&["user", "send-reset", "alice"]).await.expect(4);
    assert_eq!(operated.json(&["user", "find", "alice"]).await["status"], "disabled");

    let lifted = operated.json(&["user", "enable", "alice"]).await;
    assert_eq!((&lifted["changed"], &lifted["user"]["status"]), (&json!(true), &json!("enabled")));
    assert_eq!(operated.json(&["user", "enable", "alice"]).await["changed"], false);
    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    operated.stack.app(&alice).await;
    operated.expect_refusals(&["user", "disable"], &[]).await;
    operated.expect_refusals(&["user", "enable"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_outlives_an_undo_and_then_a_new_password_has_to_be_chosen() {
    let operated = Operated::start().await;
    let alice = operated.stack.person("alice").await;
    operated.run(&["user", "set-email", "alice", "mallory@example.test"]).await.expect(0);
    operated.run(&["user", "disable", "alice"]).await.expect(0);
    let undo = operated.stack.secrets_to(&alice.email).await;
    let client = operated.stack.client();
    client.post("/email/undo").json(json!({"token": undo.token()})).send().await.expect(204);
    let user = operated.json(&["user", "find", "alice"]).await;
    assert_eq!((&user["status"], &user["email"]), (&json!("disabled"), &json!(alice.email)));

    let lifted = operated.json(&["user", "enable", "alice"]).await;
    assert_eq!(lifted["user"]["status"], "reset_required", "whoever changed the address may know the password");
    let ran = operated.run(&["user", "enable", "alice"]).await.expect(4);
    assert!(ran.err.contains("send-reset"), "{ran:?}");
    client.post("/login").json(alice.login("app")).send().await.expect_problem(401, "invalid_credentials");
    operated.run(&["user", "send-reset", "alice"]).await.expect(0);
    let mail = operated.stack.secrets_to(&alice.email).await;
    operated.reset(&mail, &alice.password).await.expect(204);
    operated.stack.app(&alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_deleted_once_that_is_confirmed() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let ran = operated.run(&["user", "delete", "alice"]).await.expect(5);
    assert!(ran.err.contains("--yes") && ran.err.contains(&alice.email), "{ran:?}");
    operated.run_with(&["user", "delete", "alice"], "no\n", true).await.expect(5);
    operated.stack.me(&app.access).await.expect(200);

    let deleted = operated.json(&["user", "delete", "alice", "--yes"]).await;
    insta::assert_json_snapshot!(deleted, {".user.id" => "[id]"}, @r#"
    {
      "changed": true,
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "epoch": 1,
        "id": "[id]",
        "locale": "en",
        "roles": [],
        "status": "enabled",
        "username": "alice"
      },
      "waits_until": null
    }
    "#);
    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    let mail = operated.stack.mail_to(&alice.email).await;
    assert!(mail.subject.contains("was deleted") && mail.text.contains("We deleted"), "{mail:?}");
    assert_eq!(operated.events().await, ["user.created", "user.deleted"]);
    operated.run(&["user", "delete", "alice", "--yes"]).await.expect(3);
    // Name and address are anyone's.
    operated.stack.person("alice").await;
    operated.run_with(&["user", "delete", "alice"], "y\n", true).await.expect(0);
    operated.expect_refusals(&["user", "delete", "--yes"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_an_undo_unless_it_is_not_to_or_the_user_is_disabled() {
    for (ban, arguments, waits) in [
        (false, &["user", "delete", "alice", "--yes"][..], true),
        (false, &["user", "delete", "alice", "--yes", "--now"], false),
        (true, &["user", "delete", "alice", "--yes"], false),
    ] {
        let operated = Operated::start().await;
        operated.stack.person("alice").await;
        operated.run(&["user", "set-email", "alice", "new@example.test"]).await.expect(0);
        if ban {
            operated.run(&["user", "disable", "alice"]).await.expect(0);
        }
        let deleted = operated.json(arguments).await;
        let until = if waits { json!("2100-01-08T00:00:00Z") } else { Value::Null };
        assert_eq!(deleted["waits_until"], until, "{arguments:?}");
        if waits {
            let again = operated.json(arguments).await;
            assert_eq!((&again["changed"], &again["waits_until"]), (&json!(false), &until));
            assert_eq!(operated.json(&["user", "find", "alice"]).await["status"], "deleting");
            operated.run(&["user", "enable", "alice"]).await.expect(4);
            operated.run(&["user", "send-reset", "alice"]).await.expect(4);
        } else {
            operated.run(&["user", "find", "alice"]).await.expect(3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_what_the_owner_would_get() {
    let operated = Operated::start().await;
    let (_, app) = operated.stack.person_with_session("alice").await;
    let owners = operated.stack.client().get("/me/export").bearer(&app.access).send().await.expect(200).json();
    let ran = operated.run(&["user", "export", "alice"]).await.expect(0);
    assert_eq!(ran.json(), owners);
    operated.expect_refusals(&["user", "export"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_is_sent_leads_in_and_changes_nothing_before() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    for _ in 0..2 {
        let sent = operated.json(&["user", "send-reset", &alice.email]).await;
        assert_eq!((&sent["changed"], &sent["user"]["status"]), (&json!(true), &json!("enabled")));
    }
    operated.stack.me(&app.access).await.expect(200);
    let mail = operated.stack.secrets_to(&alice.email).await;
    operated.reset(&mail, "nine loud llamas at dawn").await.expect(204);
    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    operated.expect_refusals(&["user", "send-reset"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_revoked_and_devices_unknown() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let browser = operated.stack.remembered(&alice).await;
    let before = operated.mails_to(&alice.email).await.len();
    let revoked = operated.json(&["user", "revoke-sessions", "alice"]).await;
    assert_eq!((&revoked["changed"], &revoked["user"]["epoch"]), (&json!(true), &json!(2)));
    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    browser.get("/me").send().await.expect_problem(401, "session_ended");
    assert_eq!(operated.json(&["user", "show", "alice"]).await["sessions"], json!([]));
    // The browser's device token is void: its next sign-in is that of a device not seen before.
    browser.post("/login").json(alice.remembered()).send().await.expect(200);
    operated.stack.local.settled().await;
    let mails = operated.mails_to(&alice.email).await;
    assert_eq!(mails.len(), before + 1);
    assert!(mails[before].subject.contains("new device"), "{mails:?}");
    operated.expect_refusals(&["user", "revoke-sessions"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_changed_and_may_be_taken_back() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let changed = operated.json(&["user", "set-email", "alice", "New@Example.test"]).await;
    assert_eq!((&changed["changed"], &changed["user"]["status"]), (&json!(true), &json!("enabled")));
    let again = operated.json(&["user", "set-email", "alice", "New@Example.test"]).await;
    assert_eq!(again["changed"], false);
    // Whoever is signed in stays so, as if they had changed it themselves.
    let me = operated.stack.me(&app.access).await.expect(200).json();
    assert_eq!(me["user"]["email"], changed["user"]["email"]);
    assert_eq!(operated.events().await, ["user.created", "email.changed"]);
    let shown = operated.json(&["user", "show", "alice"]).await;
    insta::assert_json_snapshot!(shown["undos"], @r#"
    [
      {
        "changed_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "until": "2100-01-08T00:00:00Z"
      }
    ]
    "#);
    // The address before is kept for the account.
    operated.stack.person("bob").await;
    operated.run(&["user", "set-email", "bob", &alice.email]).await.expect(4);
    operated.run(&["user", "set-email", "bob", "new@example.test"]).await.expect(4);
    let undo = operated.stack.secrets_to(&alice.email).await;
    operated.stack.client().post("/email/undo").json(json!({"token": undo.token()})).send().await.expect(204);
    assert_eq!(operated.json(&["user", "find", "alice"]).await["email"], alice.email.as_str());
    operated.run(&["user", "set-email", "alice", "nonsense"]).await.expect(2);
    operated.expect_refusals(&["user", "set-email"], &["x@example.test"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_taken_back_from_whoever_has_its_address() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    // Somebody got into it and changed the address; then the owner comes by another way.
    operated.run(&["user", "set-email", "alice", "mallory@example.test"]).await.expect(0);
    operated.stack.clock.advance(60);
    operated.run(&["user", "set-email", "alice", "mallory2@example.test"]).await.expect(0);
    let undo = operated.stack.secrets_to("mallory@example.test").await;
    let recovered = operated.json(&["user", "set-email", "alice", &alice.email, "--recover"]).await;
    assert_eq!((&recovered["user"]["status"], &recovered["changed"]), (&json!("reset_required"), &json!(true)));
    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    let told = operated.stack.mail_to("mallory2@example.test").await;
    assert!(!told.has_secrets() && !told.text.contains(&alice.email), "{told:?}");
    let client = operated.stack.client();
    let undone = client.post("/email/undo").json(json!({"token": undo.token()})).send().await;
    undone.expect_problem(400, "invalid_verification");
    client.post("/login").json(alice.login("app")).send().await.expect_problem(401, "invalid_credentials");
    let mail = operated.stack.secrets_to(&alice.email).await;
    operated.reset(&mail, &alice.password).await.expect(204);
    operated.stack.app(&alice).await;
    // What had been kept for the undos is anyone's.
    for name in ["mallory", "mallory2"] {
        operated.stack.person(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_given_and_taken_and_one_that_is_taken_ends_the_sessions() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let given = operated.json(&["user", "roles", "alice", "--add", "editor", "--add", "billing:read"]).await;
    assert_eq!(given["user"]["roles"], json!(["billing:read", "editor"]));
    assert_eq!((&given["changed"], &given["user"]["epoch"]), (&json!(true), &json!(1)));
    assert_eq!(operated.json(&["user", "roles", "alice", "--add", "editor"]).await["changed"], false);
    assert_eq!(operated.json(&["user", "roles", "alice", "--remove", "nobody"]).await["changed"], false);
    assert_eq!(operated.run(&["user", "roles", "alice"]).await.expect(0).out, "billing:read, editor\n");
    let me = operated.stack.me(&app.access).await.expect(200).json();
    assert_eq!(me["user"]["roles"], json!(["billing:read", "editor"]));

    let taken = operated.json(&["user", "roles", "alice", "--remove", "editor", "--add", "author"]).await;
    assert_eq!(taken["user"]["roles"], json!(["author", "billing:read"]));
    assert_eq!(taken["user"]["epoch"], 2);
    operated.stack.me(&app.access).await.expect_problem(401, "session_ended");
    let app = operated.stack.app(&alice).await;
    assert_eq!(claims(&app.access)["roles"], json!(["author", "billing:read"]));

    let many: Vec<String> = (0..15).map(|number| format!("r{number}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|role| ["--add", role]).collect();
    let ran = operated.run(&[&["user", "roles", "alice"], &many[..]].concat()).await.expect(2);
    assert!(ran.err.contains("16"), "{ran:?}");
    operated.run(&["user", "roles", "alice", "--add", "a b"]).await.expect(2);
    operated.run(&["user", "roles", "alice", "--add", "x", "--remove", "x"]).await.expect(2);
    operated.expect_refusals(&["user", "roles"], &["--add", "editor"]).await;
}

fn kid(access: &str) -> String {
    jwt_part(access, 0)["kid"].as_str().expect("a kid").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_and_rotated() {
    let operated = Operated::start().await;
    assert_eq!(operated.json(&["keys", "list"]).await, json!([]));
    let (_, app) = operated.stack.person_with_session("alice").await;
    insta::assert_json_snapshot!(operated.json(&["keys", "list"]).await, {"[0].name" => "[kid]"}, @r#"
    [
      {
        "active_from": "2100-01-01T00:00:00Z",
        "name": "[kid]",
        "purpose": "signing",
        "state": "in_use"
      },
      {
        "active_from": "2100-01-01T00:00:00Z",
        "name": "mac/1",
        "purpose": "mac",
        "state": "in_use"
      },
      {
        "active_from": "2100-01-01T00:00:00Z",
        "name": "device/1",
        "purpose": "device",
        "state": "in_use"
      },
      {
        "active_from": "2100-01-01T00:00:00Z",
        "name": "limit/1",
        "purpose": "limit",
        "state": "in_use"
      },
      {
        "active_from": "2100-01-01T00:00:00Z",
        "name": "outbox/1",
        "purpose": "outbox",
        "state": "in_use"
      }
    ]
    "#);
    assert_eq!(operated.json(&["keys", "rotate"]).await, json!({"created": 5, "deleted": 0}));
    // New ones that do not sign yet are followed by none.
    assert_eq!(operated.json(&["keys", "rotate"]).await, json!({"created": 0, "deleted": 0}));
    let states = async || -> Vec<Value> {
        let keys = operated.json(&["keys", "list"]).await;
        let signing = keys.as_array().expect("keys").iter().filter(|key| key["purpose"] == "signing");
        signing.map(|key| key["state"].clone()).collect()
    };
    assert_eq!(states().await, ["in_use", "published"]);
    operated.stack.clock.advance(3 * 3600);
    assert_eq!(states().await, ["former", "in_use"]);
    let listed = operated.run(&["keys", "list"]).await.expect(0).out;
    assert!(listed.contains(&kid(&app.access)) && listed.contains("former"), "{listed}");
    operated.stack.refresh(&app.refresh, None).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_is_ended_at_once_and_apps_go_on() {
    let operated = Operated::start().await;
    let (alice, app) = operated.stack.person_with_session("alice").await;
    let browser = operated.stack.signed_in(&alice).await;
    let stolen = kid(&app.access);
    let ran = operated.run(&["keys", "revoke", &stolen]).await.expect(5);
    assert!(ran.err.contains("browser sessions end") && ran.err.contains("5 minutes"), "{ran:?}");
    operated.stack.me(&app.access).await.expect(200);
    let ended = operated.json(&["keys", "revoke", &stolen, "--yes"]).await;
    assert_eq!(ended, json!({"created": 1, "deleted": 1}));
    operated.run(&["keys", "revoke", &stolen, "--yes"]).await.expect(3);
    // Instances hold on to what they loaded for five minutes.
    operated.stack.clock.advance(300);
    operated.stack.me(&app.access).await.expect_problem(401, "token_invalid");
    browser.get("/me").send().await.expect_problem(401, "token_invalid");
    let app = AppSession::of(&operated.stack.refresh(&app.refresh, Some(&retry_key())).await.expect(200));
    assert_ne!(kid(&app.access), stolen);
    operated.stack.me(&app.access).await.expect(200);
    operated.stack.signed_in(&alice).await;

    // Any other key by its place.
    let ran = operated.run_with(&["keys", "revoke", "mac/1"], "y\n", true).await.expect(0);
    assert!(ran.err.contains("refresh token"), "{ran:?}");
    operated.stack.clock.advance(300);
    operated.stack.refresh(&app.refresh, None).await.expect_problem(401, "token_invalid");
    operated.stack.app(&alice).await;
    for (name, code) in [("nothing", 3), ("mac/7", 3), ("mac/x", 2), ("other/1", 2)] {
        operated.run(&["keys", "revoke", name, "--yes"]).await.expect(code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_bounced_is_mailed_again() {
    let operated = Operated::start().await;
    let (alice, _) = operated.stack.person_with_session("alice").await;
    let forgot = async |email: &str| {
        let body = json!({"email": email, "client": "app"});
        operated.stack.client().post("/password/forgot").json(body).send().await.expect(202);
        operated.mails_to(email).await.len()
    };
    for email in [alice.email.as_str(), "stranger@example.test"] {
        let before = forgot(email).await;
        assert_eq!(marked(&operated.stack, bounce("Permanent", email)).await, 1);
        assert_eq!(forgot(email).await, before);
        let unblocked = operated.json(&["mail", "unblock", email]).await;
        assert_eq!(unblocked, json!({"email": email, "changed": true}));
        assert_eq!(operated.json(&["mail", "unblock", email]).await["changed"], false);
        assert_eq!(forgot(email).await, before + 1);
    }
    assert_eq!(operated.json(&["user", "show", "alice"]).await["undeliverable"], Value::Null);
    assert_eq!(operated.json(&["mail", "unblock", "nobody@example.test"]).await["changed"], false);
    operated.run(&["mail", "unblock", "nonsense"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_healthy_stack_healthy_and_says_what_is_not() {
    let operated = Operated::start().await;
    operated.stack.person("alice").await;
    let ran = operated.run(&["--json", "doctor"]).await.expect(0);
    let checks = ran.json();
    let verdicts: Vec<(&str, &str)> = checks
        .as_array()
        .expect("checks")
        .iter()
        .map(|check| (check["name"].as_str().expect("a name"), check["verdict"].as_str().expect("a verdict")))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("parameters", "ok"),
            ("same site", "ok"),
            ("keys", "ok"),
            ("outbox", "ok"),
            ("SES account", "skipped"),
            ("failed events", "skipped"),
            ("alarms", "skipped"),
            ("key set", "ok"),
            ("API", "ok"),
            ("CORS", "ok"),
        ]
    );
    // Keys that nobody rotates: the local stack's schedule goes by the machine's clock.
    operated.stack.clock.advance(33 * 86_400);
    let ran = operated.run(&["doctor"]).await.expect(6);
    assert!(ran.out.contains("rotate-keys does not run"), "{ran:?}");

    let cross_site = Operated::with(&[("AppUrl", "https://app.example.com/")]).await;
    let ran = cross_site.run(&["doctor"]).await.expect(6);
    assert!(ran.out.contains("two sites") && ran.out.contains("may not send requests"), "{ran:?}");
    let other_port = [("AppUrl", "http://localhost:5173/"), ("AllowedOrigins", "http://localhost:5173")];
    Operated::with(&other_port).await.run(&["doctor"]).await.expect(0);
    let forgotten = Operated::with(&other_port[..1]).await.run(&["doctor"]).await.expect(6);
    assert!(forgotten.out.contains("AllowedOrigins lacks http://localhost:5173"), "{forgotten:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_limits_have_counted_is_shown_and_forgotten() {
    let operated = Operated::start().await;
    let stack = &operated.stack;
    let alice = stack.person("alice").await;
    let log_in = async |who: Value, password: &str| {
        let mut body = json!({"password": password, "client": "app"});
        body.as_object_mut().expect("an object").extend(who.as_object().expect("an object").clone());
        stack.client().post("/login").json(body).send().await
    };
    let by_name = || json!({"username": "alice"});
    assert_eq!(operated.json(&["limits", "show", "bob"]).await, json!([]));
    for _ in 0..5 {
        log_in(by_name(), "not the password").await.expect_problem(401, "invalid_credentials");
    }
    log_in(by_name(), &alice.password).await.expect_problem(429, "rate_limited");
    for who in ["alice", &alice.email] {
        let shown = operated.json(&["limits", "show", who]).await;
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(shown, @r#"
            [
              {
                "count": 5,
                "forgotten_at": "2100-01-31T00:00:00Z",
                "limit": "passwords",
                "next_guess_at": "2100-01-01T00:00:01Z",
                "of": "alice"
              },
              {
                "count": 1,
                "forgotten_at": "2100-01-02T00:00:00Z",
                "limit": "signup-mails",
                "next_guess_at": null,
                "of": "alice@example.test"
              },
              {
                "count": 1,
                "forgotten_at": "2100-01-01T01:00:00Z",
                "limit": "signup-mails",
                "next_guess_at": null,
                "of": "alice@example.test, this hour"
              }
            ]
            "#);
        }
    }
    let shown = operated.run(&["limits", "show", "alice"]).await.expect(0).out;
    assert!(shown.contains("passwords") && shown.contains("signup-mails"), "{shown}");
    operated.run(&["limits", "clear", "alice"]).await.expect(0);
    assert_eq!(operated.json(&["limits", "show", "alice"]).await, json!([]));
    assert_eq!(operated.json(&["limits", "clear", "alice"]).await, json!({"cleared": true}));
    log_in(by_name(), &alice.password).await.expect(200);

    // Nobody's name is guessed at too, and is told by itself.
    log_in(json!({"username": "nobody"}), "not the password").await.expect_problem(401, "invalid_credentials");
    assert_eq!(operated.json(&["limits", "show", "nobody"]).await[0]["count"], 1);
    operated.run(&["limits", "clear", "nobody"]).await.expect(0);
    assert_eq!(operated.json(&["limits", "show", "nobody"]).await, json!([]));
    operated.run(&["limits", "show", "id:AAAAAAAAAAAAAAAAAAAAAA"]).await.expect(3);
    operated.run(&["limits", "show", "a b"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_has_done_is_shown_and_forgotten() {
    let parameters = [("OriginSecret", crate::edge::SECRET), ("ClientAddressHeader", crate::edge::HEADER)];
    let operated = Operated::with(&parameters).await;
    let sign_up = async |address: &str| {
        let sign_up = operated.stack.client().post("/signup").json(Person::named("alice").signup("app"));
        let sign_up = sign_up.header("x-origin-secret", crate::edge::SECRET).header(crate::edge::HEADER, address);
        sign_up.send().await.expect(202);
    };
    let counts = async |address: &str| -> Vec<(String, u64)> {
        let shown = operated.json(&["limits", "show", address]).await;
        let counts = shown.as_array().expect("counts").iter().filter(|count| count["limit"] == "source-signups");
        let of = |count: &Value| count["of"].as_str().expect("a network").to_owned();
        counts.map(|count| (of(count), count["count"].as_u64().expect("a number"))).collect()
    };
    sign_up("203.0.113.7").await;
    for address in ["2001:db8:1:2::7", "2001:db8:1:2::8", "2001:db8:1:3::7"] {
        sign_up(address).await;
    }
    let named = |counts: &[(&str, u64)]| -> Vec<(String, u64)> {
        counts.iter().map(|(network, count)| ((*network).to_owned(), *count)).collect()
    };
    assert_eq!(counts("203.0.113.7").await, named(&[("203.0.113.7", 1)]));
    assert_eq!(counts("203.0.113.8").await, named(&[]));
    assert_eq!(counts("2001:db8:1:2::9").await, named(&[("2001:db8:1::/48", 3), ("2001:db8:1:2::/64", 2)]));
    assert_eq!(counts("2001:db8:1:4::9").await, named(&[("2001:db8:1::/48", 3)]));
    operated.run(&["limits", "clear", "203.0.113.7"]).await.expect(0);
    assert_eq!(counts("203.0.113.7").await, named(&[]));
    assert_eq!(counts("2001:db8:1:4::9").await, named(&[("2001:db8:1::/48", 3)]));
    operated.run(&["limits", "clear", "2001:db8:1:2::9"]).await.expect(0);
    assert_eq!(counts("2001:db8:1:3::7").await, named(&[]));
}

/// Nobody is locked in: all that an export says makes the same users elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn users_leave_for_another_deployment() {
    let (here, there) = (Operated::start().await, Operated::start().await);
    let alice = here.stack.person("alice").await;
    let (bob, app) = here.stack.person_with_session("bob").await;
    here.run(&["user", "roles", "alice", "--add", "editor"]).await.expect(0);
    here.run(&["user", "disable", "bob"]).await.expect(0);
    let (_, carol) = here.stack.person_with_session("carol").await;
    let exported = here.run(&["export-users"]).await.expect(0);
    assert_eq!(exported.out.lines().count(), 3);
    assert!(exported.out.contains(&app.user_id) && exported.out.contains(&carol.user_id), "{exported:?}");
    assert!(exported.err.contains("3 users; 0 "), "{exported:?}");

    let file = there.data.path().join("users.jsonl");
    std::fs::write(&file, &exported.out).expect("a file");
    let file = file.to_str().expect("a path");
    for dry_run in [&["--dry-run"][..], &[]] {
        let report = there.json(&[&["import", file, "--from", "latchkey"], dry_run].concat()).await;
        assert_eq!((&report["report"]["read"], &report["report"]["refused"]), (&json!(3), &json!(0)), "{report}");
    }
    there.stack.client().post("/login").json(alice.login("app")).send().await.expect(200);
    there.stack.client().post("/login").json(bob.login("app")).send().await.expect_problem(401, "invalid_credentials");
    let again = there.run(&["export-users"]).await.expect(0);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&again.out), sorted(&exported.out));

    std::fs::write(file, "{\"email\": \"d@example.test\"}\nno JSON\n").expect("a file");
    let refused = there.run(&["import", file, "--from", "latchkey"]).await.expect(6);
    assert!(refused.out.contains("line 1: ") && refused.out.contains("line 2: "), "{refused:?}");
    there.run(&["import", "/nowhere", "--from", "latchkey"]).await.expect(2);
    there.run(&["import", file, "--from", "mysql"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_a_security_event_that_names_the_operator() {
    // A database whose outbox nobody works off but when the test asks for it: its items are what is logged.
    let data = tempfile::tempdir().expect("a folder");
    let database = local::database::Database::start(None).await.expect("an embedded database");
    let storage = Storage::Directory(data.path().to_owned());
    let options = Options {
        storage,
        dynamodb_endpoint: Some(database.endpoint().to_owned()),
        secret: database.secret().clone(),
        ..options(&[])
    };
    let stack = Stack::with_options(options).await;
    stack.person("alice").await;
    assert_eq!(marked(&stack, bounce("Permanent", "e@example.test")).await, 1);
    stack.local.settled().await;
    let client = local::database::client(database.endpoint(), database.secret());
    let acts = async || -> Vec<Value> {
        let items = client.scan().table_name("UsersTable").send().await.expect("items").items.unwrap_or_default();
        let contents = items.iter().filter_map(|item| item.get("content")?.as_s().ok());
        let contents = contents.map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        contents.filter(|content| content.get("act").is_some()).collect()
    };
    let local = format!("--local={}", data.path().display());
    let kid = "device/1";
    let lines = data.path().join("users.jsonl");
    std::fs::write(&lines, r#"{"email": "f@example.test", "email_verified": true}"#).expect("a file");
    let lines = lines.to_str().expect("a path");
    for (arguments, act, names_user, key) in [
        (&["user", "list"][..], "user_list", false, None),
        (&["user", "export", "alice"], "user_export", true, None),
        (&["user", "disable", "alice"], "user_disable", true, None),
        (&["user", "enable", "alice"], "user_enable", true, None),
        (&["user", "send-reset", "alice"], "user_send_reset", true, None),
        (&["user", "revoke-sessions", "alice"], "user_revoke_sessions", true, None),
        (&["user", "set-email", "alice", "b@example.test"], "user_set_email", true, None),
        (&["user", "set-email", "alice", "c@example.test", "--recover"], "user_set_email", true, None),
        (&["user", "roles", "alice", "--add", "editor"], "user_roles", true, None),
        (&["user", "create", "--username", "bob", "--email", "d@example.test"], "user_create", true, None),
        (&["user", "delete", "alice", "--yes"], "user_delete", true, None),
        (&["mail", "unblock", "e@example.test"], "mail_unblock", false, None),
        (&["limits", "clear", "bob"], "limits_clear", true, None),
        (&["limits", "clear", "203.0.113.7"], "limits_clear", false, None),
        (&["export-users"], "users_export", false, None),
        (&["import", lines, "--from", "latchkey"], "users_import", false, None),
        (&["keys", "rotate"], "keys_rotate", false, None),
        (&["keys", "revoke", kid, "--yes"], "keys_revoke", false, Some(kid)),
    ] {
        let all = ["admin", &local].into_iter().chain(arguments.iter().copied()).map(OsString::from);
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), &b""[..]);
        let mut console =
            Console { out: &mut out, err: &mut err, input: &mut input, is_interactive: false, width: None };
        let code = cli::run(all, &mut console, stack.clock.clone()).await;
        assert_eq!(code, 0, "{arguments:?}: {}", String::from_utf8_lossy(&err));
        let waiting = acts().await;
        let [content] = &waiting[..] else { panic!("{arguments:?}: not one act but {waiting:?}") };
        let event = &content["act"];
        assert_eq!((&event["operator"], &event["act"]), (&json!("local"), &json!(act)), "{arguments:?}");
        assert_eq!(event.get("user_id").is_some(), names_user, "{event}");
        assert_eq!(event.get("key"), key.map(|key| json!(key)).as_ref(), "{event}");
        // Nothing else is in the item, so that nothing else has it logged twice.
        assert_eq!(content.as_object().expect("an object").len(), 1, "{content}");
        stack.local.settled().await;
        assert_eq!(acts().await, Vec::<Value>::new(), "{arguments:?}: it was logged, and is gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_says_no_deployment_or_none_that_runs_is_told_so() {
    let clock = shared::clock::Clock::system();
    let nowhere = tempfile::tempdir().expect("a folder");
    let local = format!("--local={}", nowhere.path().display());
    for (arguments, code, words) in [
        (&["user", "find", "ann"][..], 2, "--stack"),
        (&[local.as_str(), "user", "find", "ann"], 3, "cargo run"),
        (&[local.as_str(), "--stack", "x", "user", "find", "ann"], 2, "which deployment"),
        (&["--table", "x", "user", "find", "ann"], 2, "--keys-table"),
        (&["user"], 2, "Usage"),
    ] {
        let all = ["admin"].into_iter().chain(arguments.iter().copied()).map(OsString::from);
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), &b""[..]);
        let mut console =
            Console { out: &mut out, err: &mut err, input: &mut input, is_interactive: false, width: None };
        assert_eq!(cli::run(all, &mut console, clock.clone()).await, code, "{arguments:?}");
        let err = String::from_utf8(err).expect("UTF-8");
        assert!(out.is_empty() && err.contains(words), "{arguments:?}: {err}");
    }
}
