//! Accounts that come from elsewhere: the files of `tests/import`, imported into a running stack, whose owners sign in
//! with the passwords that they had.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use aws_sdk_dynamodb::types::AttributeValue;
use import::{Format, ImportError, Options, Progress, Report};
use serde_json::{Value, json};
use shared::concurrency::Concurrency;
use shared::config::Tables;
use shared::locale::Locale;
use shared::password_hasher::{FirebaseParameters, ImportedHash};
use shared::store::Store;

use crate::harness::tables::{Item, items, text};
use crate::harness::{Answer, Stack, claims};

const PASSWORD: &str = "correct horse battery";
const OURS: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
const DJANGO: &str = include_str!("../import/django.json");
const HASHES: &str = include_str!("../import/hashes.json");

fn options(format: Format) -> Options {
    Options {
        format,
        trust_addresses: false,
        keep_costly_hashes: false,
        rename: false,
        locale: Locale::En,
        dry_run: false,
    }
}

fn firebase() -> Format {
    let hashes: Value = serde_json::from_str(HASHES).expect("JSON");
    let of = &hashes["firebase"]["parameters"];
    let text = |name: &str| of[name].as_str().expect("a text");
    let parameters = FirebaseParameters::new(text("signer_key"), text("salt_separator"), 8, 14);
    Format::Firebase(parameters.expect("parameters"))
}

impl Stack {
    fn store(&self) -> Arc<Store> {
        let tables = Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() };
        Arc::new(Store::new(self.aws().dynamodb(), tables, Concurrency::Many))
    }

    /// Imports a file; the report, and what was refused.
    async fn import(&self, file: &str, options: Options) -> (Report, Vec<String>) {
        let (report, refused) = self.try_import(file, options).await;
        (report.expect("a report"), refused)
    }

    async fn try_import(&self, file: &str, options: Options) -> (Result<Report, ImportError>, Vec<String>) {
        let mut refused = Vec::new();
        let mut tell = |progress: Progress<'_>| {
            if let Progress::Refused { line, reason } = progress {
                refused.push(format!("line {line}: {reason}"));
            }
            Ok(())
        };
        let store = self.store();
        let file = std::io::Cursor::new(file.as_bytes().to_vec());
        let report = import::import(&store, file, options, &self.clock, &mut tell).await;
        (report, refused)
    }

    async fn try_password(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password, "client": "app"});
        self.client().post("/login").json(body).send().await
    }

    /// Has somebody sign in who was imported: with the password alone, and afterwards the hash is ours.
    async fn expect_moves_in(&self, email: &str, password: &str) -> Answer {
        self.try_password(email, "another password").await.expect_problem(401, "invalid_credentials");
        assert!(!self.hash_of(email).await.starts_with(OURS), "{email} has moved in before");
        let answer = self.try_password(email, password).await.expect(200);
        assert!(self.hash_of(email).await.starts_with(OURS), "{email} has not moved in");
        self.try_password(email, password).await.expect(200);
        answer
    }

    async fn user_item(&self, email: &str) -> Item {
        let users = items(self, "UsersTable").await;
        let mut users = users.into_iter().filter(|item| text(item, "sk") == "USER");
        users.find(|item| text(item, "email").eq_ignore_ascii_case(email)).unwrap_or_else(|| panic!("no user {email}"))
    }

    async fn hash_of(&self, email: &str) -> String {
        text(&self.user_item(email).await, "password_hash").to_owned()
    }

    async fn status_of(&self, email: &str) -> String {
        text(&self.user_item(email).await, "status").to_owned()
    }

    /// How many users, addresses and names there are.
    async fn counts(&self) -> [usize; 3] {
        let all = items(self, "UsersTable").await;
        ["USER", "EMAIL", "USERNAME"].map(|kind| all.iter().filter(|item| text(item, "sk") == kind).count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_django_move_in() {
    let stack = Stack::with_database(&[]).await;
    // Django keeps no flag of verified addresses.
    let (report, refused) = stack.import(DJANGO, options(Format::Django)).await;
    assert_eq!((report.read, report.created, report.refused), (10, 0, 10), "{refused:?}");
    let trusting = || Options { trust_addresses: true, ..options(Format::Django) };
    let (report, refused) = stack.import(DJANGO, trusting()).await;
    insta::assert_snapshot!(format!("{report}{}", refused.join("\n")), @r"
           10  rows read
            8  users created
            3    of these have to choose a new password (reset_required)
            1      as theirs is hashed by MD5 or SHA, or by crypt, which is not supported
            1    of these have a hash of more than a second or 64 MiB (--keep-costly-hashes)
            1    of these are disabled, as they were
            1    of these were given a name (user-…)
            8    of these have an address that you vouched for (--trust-addresses)
            2  refused
    line 154: no address
    line 172: the name has an account
    ");
    assert!(stack.mails().await.is_empty(), "nobody is told");
    for name in ["ann", "bob", "cem"] {
        stack.expect_moves_in(&format!("{name}@example.com"), PASSWORD).await;
    }
    let ann = stack.user_item("ann@example.com").await;
    assert_eq!(
        (text(&ann, "username"), text(&ann, "status"), &ann["created_at"]),
        ("ann", "enabled", &n(1_551_431_564))
    );
    // 100 MiB are more than a sign-in should take; MD5 and no password are none.
    for name in ["dia", "eve", "fay"] {
        let email = format!("{name}@example.com");
        assert_eq!(stack.status_of(&email).await, "reset_required");
        stack.try_password(&email, PASSWORD).await.expect_problem(401, "invalid_credentials");
    }
    assert_eq!(stack.status_of("gus@example.com").await, "disabled");
    stack.try_password("gus@example.com", PASSWORD).await.expect_problem(401, "invalid_credentials");
    // A name that is an address would show it.
    assert!(text(&stack.user_item("hal@example.com").await, "username").starts_with("user-"));
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_costly_hash_is_kept_on_request_alone() {
    let stack = Stack::with_database(&[]).await;
    let keeping = Options { trust_addresses: true, keep_costly_hashes: true, ..options(Format::Django) };
    let (report, _) = stack.import(DJANGO, keeping).await;
    assert_eq!((report.costly, report.reset_required), (1, 2));
    stack.expect_moves_in("dia@example.com", PASSWORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_firebase_move_in() {
    let stack = Stack::with_database(&[]).await;
    let (report, refused) = stack.import(include_str!("../import/firebase.json"), options(firebase())).await;
    insta::assert_snapshot!(format!("{report}{}", refused.join("\n")), @r"
            5  rows read
            3  users created
            1    of these are disabled, as they were
            3    of these were given a name (user-…)
            2  refused
    line 37: the address is not verified (--trust-addresses takes it)
    line 47: no address
    ");
    let stored = format!("{:?}", items(&stack, "UsersTable").await);
    assert!(stored.contains("$firebase-scrypt$") && !stored.contains("jxspr8Ki0RYy"), "the signer key is not stored");
    stack.expect_moves_in("user1@example.com", "user1password").await;
    stack.expect_moves_in("bob@example.com", PASSWORD).await;
    assert_eq!(stack.status_of("cem@example.com").await, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_auth0_move_in() {
    let stack = Stack::with_database(&[]).await;
    let (report, refused) = stack.import(include_str!("../import/auth0.jsonl"), options(Format::Auth0)).await;
    insta::assert_snapshot!(format!("{report}{}", refused.join("\n")), @r"
            5  rows read
            4  users created
            1    of these have to choose a new password (reset_required)
            1    of these are disabled, as they were
            3    of these were given a name (user-…)
            1  refused
    line 5: the address is not verified (--trust-addresses takes it)
    ");
    stack.expect_moves_in("ann@example.com", PASSWORD).await;
    stack.expect_moves_in("bob@example.com", PASSWORD).await;
    assert_eq!(stack.status_of("cem@example.com").await, "disabled");
    assert_eq!(stack.status_of("dia@example.com").await, "reset_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_cognito_choose_a_new_password() {
    let stack = Stack::with_database(&[]).await;
    let (report, refused) = stack.import(include_str!("../import/cognito.csv"), options(Format::Cognito)).await;
    insta::assert_snapshot!(format!("{report}{}", refused.join("\n")), @r"
            3  rows read
            2  users created
            2    of these have to choose a new password (reset_required)
            1  refused
    line 5: the address is not verified (--trust-addresses takes it)
    ");
    let ann = stack.user_item("ann@example.com").await;
    assert_eq!((text(&ann, "username"), text(&ann, "locale"), text(&ann, "status")), ("ann", "ko", "reset_required"));
    assert_eq!(text(&stack.user_item("bob@example.com").await, "username"), "bob");
    // A reset leads in.
    stack.client().post("/password/forgot").json(json!({"email": "bob@example.com"})).send().await.expect(202);
    let mail = stack.mails().await.pop().expect("a mail");
    let new = json!({"token": mail.token(), "password": "seven quiet llamas", "client": "app"});
    stack.client().post("/password/reset").json(new).send().await.expect(200);
    stack.try_password("bob@example.com", "seven quiet llamas").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_supabase_move_in() {
    let stack = Stack::with_database(&[]).await;
    let (report, refused) = stack.import(include_str!("../import/supabase.csv"), options(Format::Supabase)).await;
    insta::assert_snapshot!(format!("{report}{}", refused.join("\n")), @r"
            4  rows read
            2  users created
            1    of these are disabled, as they were
            2    of these were given a name (user-…)
            2  refused
    line 3: the address is not verified (--trust-addresses takes it)
    line 5: deleted, or about to be, where it comes from
    ");
    stack.expect_moves_in("ann@example.com", PASSWORD).await;
    assert_eq!(stack.user_item("ann@example.com").await["created_at"], n(1_680_674_828));
    assert_eq!(stack.status_of("cem@example.com").await, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_keycloak_move_in() {
    let stack = Stack::with_database(&[]).await;
    let (report, refused) = stack.import(include_str!("../import/keycloak.json"), options(Format::Keycloak)).await;
    insta::assert_snapshot!(format!("{report}{}", refused.join("\n")), @r"
            5  rows read
            4  users created
            1    of these are disabled, as they were
            1  refused
    line 137: the address is not verified (--trust-addresses takes it)
    ");
    let answer = stack.expect_moves_in("ann@example.com", PASSWORD).await;
    let access = answer.json()["token"]["access"].as_str().expect("a token").to_owned();
    assert_eq!(claims(&access)["roles"], json!(["editor"]));
    assert_eq!(text(&stack.user_item("ann@example.com").await, "locale"), "ko");
    stack.expect_moves_in("bob@example.com", PASSWORD).await;
    stack.expect_moves_in("dia@example.com", PASSWORD).await;
    assert_eq!(stack.status_of("cem@example.com").await, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_lines_give_the_same_users() {
    let stack = Stack::with_database(&[]).await;
    let (ann, session) = stack.person_with_session("ann").await;
    let item = stack.user_item(&ann.email).await;
    let line = json!({
        "id": session.user_id, "email": ann.email, "email_verified": true, "username": "ann", "status": "enabled",
        "locale": "ko", "created_at": "2026-11-23T10:00:00Z", "roles": ["editor"],
        "password_hash": text(&item, "password_hash"),
    });
    let elsewhere = Stack::with_database(&[]).await;
    let (report, refused) = elsewhere.import(&line.to_string(), options(Format::Latchkey)).await;
    assert_eq!((report.created, report.reset_required, refused.len()), (1, 0, 0), "{refused:?}");
    let mut moved = elsewhere.user_item(&ann.email).await;
    let mut expected = item;
    expected.insert("roles".to_owned(), AttributeValue::S("editor".to_owned()));
    expected.insert("locale".to_owned(), AttributeValue::S("ko".to_owned()));
    for item in [&mut moved, &mut expected] {
        item.remove("created_at");
    }
    assert_eq!(moved, expected);
    elsewhere.try_password(&ann.email, &ann.password).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_told_by_line_and_reason_and_change_nothing() {
    let stack = Stack::with_database(&[]).await;
    let alice = stack.person("alice").await;
    let before = stack.user_item(&alice.email).await;
    let verified = |email: &str, username: &str| json!({"email": email, "email_verified": true, "username": username});
    let lines = [
        verified("Alice@Example.test", "somebody").to_string(),
        verified("eve@example.com", "AL1CE").to_string(),
        String::new(),
        verified("bob@example.com", "bob").to_string(),
        verified("bob2@example.com", "B0B").to_string(),
        json!({"id": "another", "email": "BOB@example.com", "email_verified": true, "username": "bobby"}).to_string(),
        "{\"email\": ".to_owned(),
        json!({"email": "cem@example.com", "email_verified": true, "pasword_hash": "x"}).to_string(),
        json!({"email": "cem@example.com"}).to_string(),
        json!({"username": "cem"}).to_string(),
        verified("not an address", "cem").to_string(),
        verified("cem@example.com", "c e m").to_string(),
        json!({"email": "cem@example.com", "email_verified": true, "roles": ["7up"]}).to_string(),
        json!({"email": "cem@example.com", "email_verified": true, "status": "deleting"}).to_string(),
        json!({"email": "cem@example.com", "email_verified": true, "status": "gone"}).to_string(),
        json!({"email": "dia@example.com", "email_verified": true, "password_hash": "$P$B"}).to_string(),
        json!({"email": "fay@example.com", "email_verified": true, "password_hash": "$wp$2y$10$x"}).to_string(),
    ];
    let file = lines.join("\n");
    let dry = Options { dry_run: true, ..options(Format::Latchkey) };
    let rehearsed = stack.import(&file, dry).await;
    assert_eq!(stack.counts().await, [1, 1, 1], "a dry run writes nothing");
    assert!(!items(&stack, "UsersTable").await.iter().any(|item| text(item, "pk") == "IMPORT"));
    let done = stack.import(&file, options(Format::Latchkey)).await;
    assert_eq!(rehearsed, done, "a dry run tells what the real one does");
    insta::assert_snapshot!(format!("{}{}", done.0, done.1.join("\n")), @r"
           16  rows read
            3  users created
            3    of these have to choose a new password (reset_required)
            1      as theirs is hashed as WordPress does ($wp$), which is not supported
            1      as theirs is hashed by phpass, which is not supported
            2    of these were given a name (user-…)
           13  refused
    line 1: the address has an account
    line 2: the name has an account
    line 5: the name has an account
    line 6: the address has an account
    line 7: cannot be read: eof error in json
    line 8: cannot be read: a field is unknown or of another type
    line 9: the address is not verified (--trust-addresses takes it)
    line 10: no address
    line 11: the address cannot be mailed
    line 12: the name cannot be one here (--rename gives another)
    line 13: roles: a role is 1 to 32 letters (a-z, A-Z), digits and . _ : -, and begins with a letter
    line 14: deleted, or about to be, where it comes from
    line 15: cannot be read: status is none of enabled, reset_required, disabled
    ");
    assert_eq!(stack.counts().await, [4, 4, 4]);
    assert_eq!(stack.user_item(&alice.email).await, before);
    let renaming = Options { rename: true, ..options(Format::Latchkey) };
    let (report, _) = stack.import(&lines[11], renaming).await;
    assert_eq!((report.created, report.named), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_says_where_and_what_was_before_stays() {
    let stack = Stack::with_database(&[]).await;
    let cut = &DJANGO[..DJANGO.find("\"pk\": 3").expect("the third")];
    let trusting = || Options { trust_addresses: true, ..options(Format::Django) };
    let (outcome, _) = stack.try_import(cut, trusting()).await;
    let error = outcome.expect_err("broken").to_string();
    assert!(error.starts_with(&format!("line {}: ", cut.lines().count())), "{error}");
    for file in ["", "no,header\n1,2\n", "{\"other\": []}", "[1]"] {
        let (outcome, refused) = stack.try_import(file, options(Format::Keycloak)).await;
        assert!(outcome.is_err() || refused == ["line 1: no address"], "{file:?}: {outcome:?} {refused:?}");
    }
}

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    arguments: import::cli::Arguments,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_was_refused_and_the_report() {
    let stack = Stack::with_database(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (file, parameters) = (folder.path().join("users.json"), folder.path().join("parameters"));
    std::fs::write(&file, include_str!("../import/firebase.json")).expect("written");
    let hashes: Value = serde_json::from_str(HASHES).expect("JSON");
    let key = hashes["firebase"]["parameters"]["signer_key"].as_str().expect("a text");
    let config = format!(
        "hash_config {{ algorithm: SCRYPT, base64_signer_key: {key}, base64_salt_separator: Bw==, rounds: 8, mem_cost: 14, }}"
    );
    std::fs::write(&parameters, config).expect("written");
    let run = async |more: &[&str], is_json| {
        let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
        let words = [
            "import".to_owned(),
            path(&file),
            "--from=firebase".to_owned(),
            "--hash-parameters".to_owned(),
            path(&parameters),
        ];
        let words = words.into_iter().chain(more.iter().map(|word| (*word).to_owned()));
        let command = <Command as clap::Parser>::try_parse_from(words).expect("a command");
        let mut out = Vec::new();
        let outcome = import::cli::run(command.arguments, &stack.store(), &stack.clock, &mut out, is_json).await;
        outcome.expect("a report");
        String::from_utf8(out).expect("UTF-8")
    };
    let lines = run(&["--dry-run"], true).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["line"], &lines[0]["code"]), (&json!(37), &json!("unverified")));
    assert_eq!((&lines[2]["dry_run"], &lines[2]["report"]["created"]), (&json!(true), &json!(3)));
    let text = run(&[], false).await;
    assert!(text.contains("line 47: no address\n") && text.contains("3  users created"), "{text}");
    stack.expect_moves_in("bob@example.com", PASSWORD).await;
}

/// Many users, as lines.
fn crowd(count: usize) -> String {
    let user = |number: usize| json!({"id": number.to_string(), "email": format!("p{number}@example.com"), "email_verified": true});
    (0..count).map(|number| user(number).to_string()).collect::<Vec<_>>().join("\n")
}

/// Runs a future until it has been polled so often: what is left of a process that was killed then.
async fn killed<T>(future: impl Future<Output = T>, mut polls: usize) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_ten_times_is_completed_without_doubles_or_losses() {
    let stack = Stack::with_database(&[]).await;
    let file = crowd(300);
    let mut sizes = Vec::new();
    for polls in [1, 2, 3, 5, 9, 17, 29, 41, 67, 103] {
        killed(Box::pin(stack.import(&file, options(Format::Latchkey))), polls).await;
        sizes.push(stack.counts().await[0]);
    }
    assert!(sizes.is_sorted() && sizes[9] > 0 && sizes[0] < 300, "each went on where the one before was: {sizes:?}");
    let (report, refused) = stack.import(&file, options(Format::Latchkey)).await;
    assert_eq!((report.created + report.already_there, refused.len()), (300, 0), "{refused:?}");
    assert_eq!(stack.counts().await, [300, 300, 300]);
    let (again, _) = stack.import(&file, options(Format::Latchkey)).await;
    assert_eq!((again.created, again.already_there, again.refused), (0, 300, 0));
    // Also of users who have changed their names and addresses since.
    assert_eq!(stack.counts().await, [300, 300, 300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_which_bcrypt_saw_the_beginning_stays_as_it_was() {
    let stack = Stack::with_database(&[]).await;
    let hashes: Value = serde_json::from_str(HASHES).expect("JSON");
    let mut all = hashes["encoded"].as_array().expect("hashes").iter();
    let long = all.find(|one| one["truncated"] == true).expect("a long one");
    let line = json!({"email": "ann@example.com", "email_verified": true, "password_hash": long["hash"]});
    stack.import(&line.to_string(), options(Format::Latchkey)).await;
    let password = long["password"].as_str().expect("a text");
    // As at its source, what comes after 72 bytes does not count, and a slip there is not made the password.
    stack.try_password("ann@example.com", &format!("{}oops", &password[..72])).await.expect(200);
    assert_eq!(stack.hash_of("ann@example.com").await, long["hash"]);
    stack.try_password("ann@example.com", password).await.expect(200);
    stack.try_password("ann@example.com", &password[..69]).await.expect_problem(401, "invalid_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_that_was_replaced_meanwhile_is_not_overwritten() {
    let stack = Stack::with_database(&[]).await;
    let hash = "$2b$05$KmxU5Z5MBPegALHmuiQl/umf7GP9NpHcyX/Gsn4xtm6uCaPL2Dj/O";
    let line = json!({"email": "ann@example.com", "email_verified": true, "password_hash": hash});
    stack.import(&line.to_string(), options(Format::Latchkey)).await;
    stack.expect_moves_in("ann@example.com", PASSWORD).await;
    let newer = stack.hash_of("ann@example.com").await;
    let stored = |text: &str| ImportedHash::parse(text).expect("a hash").into_stored();
    let item = stack.user_item("ann@example.com").await;
    let id = shared::account::UserId::parse(&text(&item, "pk")["USER#".len()..]).expect("an id");
    // A login that read the imported hash, and is late.
    stack
        .store()
        .rehash_password(id, &stored(hash), &stored(&newer.replace("m=19456", "m=19457")))
        .await
        .expect("done");
    assert_eq!(stack.hash_of("ann@example.com").await, newer);
}

/// `cargo test --workspace --test it a_hundred_thousand -- --ignored --nocapture`: what docs/import.md says of rate and
/// memory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and takes the embedded database most of an hour"]
#[expect(clippy::disallowed_methods, reason = "a measurement, no behaviour")]
async fn a_hundred_thousand_users_take_the_memory_of_a_few() {
    let data = tempfile::tempdir().expect("a folder");
    let storage = local::Storage::Directory(data.path().join("data"));
    let stack = Stack::with_options(local::Options { storage, ..crate::harness::options(&[]) }).await;
    let file = data.path().join("users.jsonl");
    std::fs::write(&file, crowd(100_000)).expect("written");
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line").to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    let aws = stack.local.secret().aws(stack.local.endpoints());
    let tables = Tables { users: "UsersTable".to_owned(), keys: "KeysTable".to_owned() };
    let store = Store::new(aws.dynamodb(), tables, Concurrency::Many);
    for dry_run in [true, false] {
        let start = std::time::Instant::now();
        let (mut next, mut sizes) = (10_000, Vec::new());
        let mut tell = |progress: Progress<'_>| {
            if let Progress::Reached { report, .. } = progress
                && report.read >= next
            {
                next += 10_000;
                sizes.push(resident());
                println!("{:>7} rows  {:>6.1?}  {:>7} KiB resident", report.read, start.elapsed(), resident());
            }
            Ok(())
        };
        let options = Options { dry_run, ..options(Format::Latchkey) };
        let opened = std::fs::File::open(&file).expect("a file");
        let report = import::import(&store, opened, options, &stack.clock, &mut tell).await.expect("a report");
        println!("dry run: {dry_run}, {:?}: {report}", start.elapsed());
        assert_eq!(report.created, 100_000);
        // The first tenth has filled what is filled once: pools, caches of the database.
        assert!(sizes[9] < sizes[0] + 65_536, "{sizes:?}");
    }
}
