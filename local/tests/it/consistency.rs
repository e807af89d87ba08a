//! Folders, template, events and README agree, so that adding an endpoint in one place and not in another fails here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names in a folder of the workspace.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(workspace().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

/// One function of the template.
#[derive(Debug, Default)]
pub(crate) struct Function {
    pub(crate) binary: String,
    code_uri: String,
    /// `POST /login`.
    pub(crate) routes: Vec<String>,
}

/// The functions of the template, read line by line: the local stack's own reader is what the other tests test.
pub(crate) fn functions() -> Vec<Function> {
    let mut functions = Vec::new();
    let mut method = String::new();
    let mut path = String::new();
    for line in read("template.yaml").lines() {
        if line.trim() == "Type: AWS::Serverless::Function" {
            functions.push(Function::default());
        }
        let Some(function) = functions.last_mut() else { continue };
        if let Some(binary) = member(line, "Binary") {
            function.binary = binary;
        }
        if let Some(code_uri) = member(line, "CodeUri") {
            function.code_uri = code_uri;
        }
        method = member(line, "Method").unwrap_or(method);
        path = member(line, "Path").unwrap_or(path);
        if !method.is_empty() && !path.is_empty() {
            function.routes.push(format!("{} {}", std::mem::take(&mut method), std::mem::take(&mut path)));
        }
    }
    functions
}

/// The value of a member that stands on a line of YAML, alone or as one of `{ Method: GET, Path: "/sessions/{id}" }`.
fn member(line: &str, name: &str) -> Option<String> {
    let is_start = |before: &str| before.trim().is_empty() || before.ends_with("{ ") || before.ends_with(", ");
    let name = format!("{name}: ");
    let (before, value) = line.split_once(&name)?;
    if !is_start(before) {
        return None;
    }
    let quoted = value.strip_prefix('"').and_then(|value| value.split('"').next());
    let plain = || value.split([',', ' ']).next().unwrap_or_default();
    Some(quoted.unwrap_or_else(plain).to_owned())
}

#[test]
fn every_folder_is_a_function_of_the_template() {
    let binaries: BTreeSet<String> = functions().into_iter().map(|function| function.binary).collect();
    assert_eq!(names("functions"), binaries);
}

#[test]
fn folder_crate_and_binary_have_one_name() {
    for function in functions() {
        let manifest = read(&format!("functions/{}/Cargo.toml", function.binary));
        assert!(manifest.contains(&format!("name = \"{}\"", function.binary)), "{manifest}");
        let main = workspace().join(format!("functions/{}/src/main.rs", function.binary));
        assert!(main.exists(), "{}", main.display());
        assert!(!function.code_uri.is_empty(), "{function:?}");
    }
}

#[test]
fn a_function_depends_on_no_other() {
    let folders = names("functions");
    for folder in &folders {
        let manifest = read(&format!("functions/{folder}/Cargo.toml"));
        for other in folders.iter().filter(|other| *other != folder) {
            let depends = manifest
                .lines()
                .any(|line| line.starts_with(&format!("{other}.")) || line.starts_with(&format!("{other} =")));
            assert!(!depends, "{folder} depends on {other}");
        }
        assert!(!manifest.contains("dynoxide") && !manifest.contains("path = \"../../local\""), "{folder}");
    }
    let shared = read("shared/Cargo.toml");
    assert!(!shared.contains("dynoxide"), "the embedded database is for the local stack alone");
}

#[test]
fn every_endpoint_s_documentation_begins_with_its_route() {
    for function in functions().into_iter().filter(|function| !function.routes.is_empty()) {
        let source = read(&format!("functions/{}/src/lib.rs", function.binary));
        let docs: String = source.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        for route in &function.routes {
            let route = route.split('?').next().unwrap_or(route);
            assert!(docs.contains(route), "{}: its documentation does not say {route}: {docs}", function.binary);
        }
    }
}

#[test]
fn every_function_has_an_event() {
    // Beside the events: what they bring, and where `sam local` finds the local stack.
    let files = names("events").into_iter().filter(|file| !["expected.json", "env.json"].contains(&file.as_str()));
    let expected: serde_json::Value = serde_json::from_str(&read("events/expected.json")).expect("JSON");
    let expected: BTreeSet<String> = expected.as_object().expect("an object").keys().cloned().collect();
    let events: BTreeSet<String> =
        files.filter(|file| Path::new(file).extension().is_some_and(|end| end == "json")).collect();
    assert_eq!(events, expected, "events and what expected.json says of them");
    let folders = names("functions");
    for folder in &folders {
        assert!(events.contains(&format!("{folder}.json")), "no event of {folder}");
    }
    for event in &events {
        assert!(crate::events::folder_of(event, &folders).is_some(), "{event} is of no function");
    }
}

#[test]
fn sam_local_is_given_variables_that_the_template_has() {
    // sam ignores others, silently.
    let given: serde_json::Value = serde_json::from_str(&read("events/env.json")).expect("JSON");
    let template = read("template.yaml");
    for name in given["Parameters"].as_object().expect("an object").keys() {
        assert!(template.lines().any(|line| line.trim_start().starts_with(&format!("{name}:"))), "{name}");
    }
}

/// Headings by their level, and code blocks, of a document; links by their target.
fn outline(document: &str) -> (Vec<String>, BTreeSet<String>) {
    let mut parts = Vec::new();
    let mut block: Option<String> = None;
    for line in document.lines() {
        match &mut block {
            Some(text) if line == "```" => {
                parts.push(std::mem::take(text));
                block = None;
            }
            Some(text) => text.extend([line, "\n"]),
            None if line.starts_with("```") => block = Some(format!("{line}\n")),
            None if line.starts_with('#') => parts.push("#".repeat(line.bytes().take_while(|b| *b == b'#').count())),
            None => {}
        }
    }
    let links = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    (parts, links.filter(|link| !link.starts_with("README")).map(str::to_owned).collect())
}

#[test]
fn the_korean_readme_keeps_step() {
    let (parts, links) = outline(&read("README.md"));
    assert!(parts.len() > 15 && links.len() > 15, "{parts:?} {links:?}");
    let (korean_parts, korean_links) = outline(&read("README.ko.md"));
    assert_eq!(korean_parts, parts, "headings and commands");
    assert_eq!(korean_links, links, "links");
    let routes =
        |text: &str| text.lines().filter(|line| line.starts_with("| `")).filter_map(first_cell).collect::<Vec<_>>();
    assert_eq!(routes(&read("README.ko.md")), routes(&read("README.md")), "routes");
}

fn first_cell(row: &str) -> Option<String> {
    row.split('|').nth(1).map(|cell| cell.trim().to_owned())
}

#[test]
fn the_readme_s_routes_are_the_template_s() {
    let readme = read("README.md");
    let table: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.trim().strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(route, _)| route.split('?').next().unwrap_or(route).to_owned())
        .filter(|route| {
            ["GET /", "HEAD /", "POST /", "PUT /", "PATCH /", "DELETE /"].iter().any(|start| route.starts_with(start))
        })
        .collect();
    let routes: BTreeSet<String> = functions().into_iter().flat_map(|function| function.routes).collect();
    assert_eq!(table, routes);
}

/// The closed list of DESIGN.md section 6, each code with a test that gets it from the API: status, file and test.
const CODES: [(&str, u16, &str, &str); 25] = [
    ("invalid_request", 400, "requests.rs", "what_is_no_json"),
    ("unsupported_media_type", 415, "requests.rs", "content_types"),
    ("body_too_large", 413, "requests.rs", "sizes"),
    ("weak_password", 422, "signup.rs", "refuses_what_cannot_be_an_account"),
    ("invalid_email", 422, "signup.rs", "refuses_what_cannot_be_an_account"),
    ("invalid_username", 422, "signup.rs", "refuses_what_cannot_be_an_account"),
    ("username_taken", 409, "signup.rs", "a_taken_username_is_a_conflict"),
    ("email_taken", 409, "secrets.rs", "a_stranger_s_sign_up_gets_nothing_from_my_click"),
    ("duplicate_request", 409, "protocol.rs", "a_late_duplicate_gets_duplicate_request_for_a_minute"),
    ("invalid_credentials", 401, "login.rs", "a_wrong_password_and_an_unknown_person_look_the_same"),
    ("confirmation_required", 401, "secrets.rs", "the_link_alone_is_nothing"),
    ("token_missing", 401, "me.rs", "refusals_say_why"),
    ("token_invalid", 401, "me.rs", "refusals_say_why"),
    ("token_expired", 401, "me.rs", "refusals_say_why"),
    ("token_reused", 401, "protocol.rs", "another_key_or_none_is_reuse_and_ends_the_session"),
    ("session_ended", 401, "protocol.rs", "another_key_or_none_is_reuse_and_ends_the_session"),
    ("invalid_verification", 400, "secrets.rs", "a_code_may_be_guessed_five_times"),
    ("reauthentication_required", 403, "session_layer.rs", "a_fresh_route_wants_a_recent_proof"),
    ("role_required", 403, "session_layer.rs", "a_role_is_asked_for_as_it_is_stored"),
    ("wrong_password", 403, "reauthenticate.rs", "ten_wrong_passwords_in_a_row_end_the_session"),
    ("csrf_rejected", 403, "csrf.rs", "a_foreign_origin_is_refused_with_cookies_and_without"),
    ("origin_required", 403, "edge.rs", "who_goes_around_the_cdn_is_refused"),
    ("rate_limited", 429, "signup.rs", "a_resend_that_comes_too_early"),
    ("unavailable", 503, "faults/several.rs", "an_outage_is_no_wrong_password"),
    ("internal", 500, "storage.rs", "an_item_that_cannot_be_read_is_an_internal_error"),
];

#[test]
fn every_error_code_is_reached_by_a_test() {
    let listed: Vec<(&str, u16)> = CODES.iter().map(|(code, status, ..)| (*code, *status)).collect();
    let mut ours: Vec<(&str, u16)> =
        shared::http::Code::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
    ours.sort_by_key(|code| listed.iter().position(|one| one == code));
    assert_eq!(ours, listed);
    for (code, _, file, test) in CODES {
        let source = read(&format!("local/tests/it/{file}"));
        let (_, body) = source.split_once(&format!("\nasync fn {test}() {{\n")).unwrap_or_else(|| panic!("no {test}"));
        let body = body.split_once("\n}\n").map_or(body, |(body, _)| body);
        let expects = body.contains("expect_problem(") && body.contains(&format!("\"{code}\""));
        assert!(expects, "{file}: {test} does not expect {code}");
    }
}

#[test]
fn the_documents_that_every_reader_needs_are_there() {
    for file in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs/ARCHITECTURE.md",
        "docs/aws.md",
        "docs/operations.md",
        ".ci/run",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
    ] {
        assert!(workspace().join(file).exists(), "{file}");
    }
}

#[test]
fn no_environment_and_no_time_but_by_their_doors() {
    // The lints say so; here for readers of a failure, with the file's name.
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    sources(&workspace().join("shared/src"), &mut found);
    sources(&workspace().join("functions"), &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).expect("a source");
        // A unit test may be told by the environment where its vectors lie.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(name == "config.rs" || !text.contains("env::var"), "{}", path.display());
        assert!(name == "clock.rs" || !text.contains("SystemTime::now"), "{}", path.display());
        let in_store = path.components().any(|part| part.as_os_str() == "store");
        let may_know = in_store || path.ends_with("shared/src/aws.rs");
        assert!(may_know || !text.contains("aws_sdk_dynamodb::operation"), "{}", path.display());
    }
}

/// Values of the template's parameters that its patterns take.
const TAKEN: [(&str, &str); 48] = [
    ("AppUrl", "https://app.example.com"),
    ("AppUrl", "https://app.example.com/#/welcome?from=%EA%B0%80"),
    ("AppUrl", "http://localhost:80/100%"),
    ("AppUrl", "https://xn--9n2bp8q.example:65535/가"),
    ("AllowedOrigins", ""),
    ("AllowedOrigins", "https://app.example.com"),
    ("AllowedOrigins", "https://app.example.com,http://localhost:5173,http://192.168.0.10:8080,http://[::1]:81"),
    ("AllowedOrigins", "https://xn--9n2bp8q.example:8443,https://localhost,http://tauri.localhost"),
    ("AllowedOrigins", "https://a-b.c1.example:1,https://a.example:65535,https://a.example:442,https://a.example:4430"),
    ("AllowedOrigins", "capacitor://localhost"),
    ("AllowedOrigins", "https://app.example.com,ionic://localhost,tauri://localhost"),
    ("ApiUrl", ""),
    ("ApiUrl", "https://api.example.com"),
    ("ApiUrl", "http://localhost:3000"),
    ("ApiUrl", "https://abc123.execute-api.eu-central-1.amazonaws.com/prod"),
    ("CookieDomain", ""),
    ("CookieDomain", "example.com"),
    ("MailFrom", "no-reply@example.com"),
    ("MailFrom", "Example <no-reply@mail.example.com>"),
    ("MailFrom", "래치키 <a+b.c_d@example.com>"),
    ("MailFrom", "Example, Inc. <no-reply@xn--9n2bp8q.example>"),
    ("MailIdentity", "example.com"),
    ("MailIdentity", "no-reply@example.com"),
    ("ServiceName", "래치키 & Co."),
    ("BrowserIdleTimeout", "1"),
    ("BrowserIdleTimeout", "999999999"),
    ("BrowserSessionLifetime", "1"),
    ("AppAccessTokenLifetime", "1"),
    ("AppIdleTimeout", "1"),
    ("AppSessionLifetime", "1"),
    ("RefreshGrace", "0"),
    ("RefreshGrace", "60"),
    ("FreshAuthentication", "1"),
    ("MaxSessions", "1"),
    ("MaxSessions", "50"),
    ("PasswordMinLength", "8"),
    ("PasswordMinLength", "64"),
    ("BreachCheck", "off"),
    ("BreachCheck", "warn"),
    ("BreachCheck", "refuse"),
    ("BreachCheckUrl", "https://ranges.example.com"),
    ("BreachCheckUrl", "http://127.0.0.1:8443"),
    ("ReservedUsernames", "founder, 설립자,,Customer Success"),
    ("KeyRotationDays", "1"),
    ("KeyRotationDays", "365"),
    ("RevocationCheck", "token"),
    ("RevocationCheck", "session"),
    ("SigningAlgorithm", "RS256"),
];

/// Values with which functions would not start, or that nobody can mean.
const REFUSED: [(&str, &str); 82] = [
    ("AppUrl", ""),
    ("AppUrl", "https://"),
    ("AppUrl", "https://%"),
    ("AppUrl", "https://a b.example/"),
    ("AppUrl", "https://app.example.com/a b"),
    ("AppUrl", "https://app.example.com:65536/"),
    ("AppUrl", "https://1.2.3.256/"),
    ("AppUrl", "https://1.2.3.4.5/"),
    ("AppUrl", "https://[::g]/"),
    ("AppUrl", "https://ann:secret@app.example.com/"),
    ("AppUrl", "javascript:alert(1)"),
    ("AllowedOrigins", "*"),
    ("AllowedOrigins", "https://*"),
    ("AllowedOrigins", "https://*.example.com"),
    ("AllowedOrigins", "null"),
    ("AllowedOrigins", "https://WWW.Example.com"),
    ("AllowedOrigins", "https://www.example.com:443"),
    ("AllowedOrigins", "http://www.example.com:80"),
    ("AllowedOrigins", "https://www.example.com:08443"),
    ("AllowedOrigins", "https://www.example.com:"),
    ("AllowedOrigins", "https://www.example.com/"),
    ("AllowedOrigins", "https://www.example.com/app"),
    ("AllowedOrigins", "https://www.example.com?a"),
    ("AllowedOrigins", "https://래치키.example"),
    ("AllowedOrigins", "https://www.example.com."),
    ("AllowedOrigins", "https://www.example.com, https://b.example"),
    ("AllowedOrigins", "https://www.example.com,"),
    ("AllowedOrigins", ",https://www.example.com"),
    ("AllowedOrigins", "https://a.example https://b.example"),
    ("AllowedOrigins", "ftp://a.example"),
    ("AllowedOrigins", "capacitor://*"),
    ("AllowedOrigins", "capacitor://localhost/"),
    ("AllowedOrigins", "file://localhost"),
    ("ApiUrl", "https://api.example.com/"),
    ("ApiUrl", "https://api.example.com:443"),
    ("ApiUrl", "https://API.example.com"),
    ("ApiUrl", "https://api.example.com/prod/"),
    ("ApiUrl", "https://api.example.com/?a"),
    ("ApiUrl", "api.example.com"),
    ("CookieDomain", ".example.com"),
    ("CookieDomain", "example.com; Path=/x"),
    ("CookieDomain", "..."),
    ("CookieDomain", "-"),
    ("MailFrom", "no-reply"),
    ("MailFrom", "no-reply@example.com, b@example.com"),
    ("MailFrom", "A <no-reply@example.com> B"),
    ("MailFrom", "A\r\nBcc: b <a@example.com>"),
    ("MailFrom", "래치키@example.com"),
    ("MailFrom", "no-reply@Example.com"),
    ("MailFrom", "no-reply@127.0.0.1"),
    ("MailIdentity", "*"),
    ("MailIdentity", "*.com"),
    ("MailIdentity", "Example.com"),
    ("ServiceName", ""),
    ("ServiceName", "a\nb"),
    ("BrowserIdleTimeout", "1800.5"),
    ("BrowserIdleTimeout", "1e3"),
    ("BrowserIdleTimeout", "+1800"),
    ("BrowserIdleTimeout", " 1800"),
    ("BrowserIdleTimeout", "1000000000"),
    ("RefreshGrace", "61"),
    ("FreshAuthentication", "0"),
    ("MaxSessions", "51"),
    ("PasswordMinLength", "7"),
    ("PasswordMinLength", "65"),
    ("BreachCheck", "on"),
    ("BreachCheck", "false"),
    ("BreachCheckUrl", "api.pwnedpasswords.com"),
    ("BreachCheckUrl", "https://api.pwnedpasswords.com/"),
    ("BreachCheckUrl", "https://api.pwnedpasswords.com/range"),
    ("ReservedUsernames", "a\nb"),
    ("KeyRotationDays", "366"),
    ("ApiDomain", "API.example.com"),
    ("ApiDomain", "localhost"),
    ("ApiCertificateArn", "arn:aws:acm:eu-central-1:123:certificate/x"),
    ("OriginSecret", "a-secret-of-31-characters-xxxxx"),
    ("OriginSecret", "a-secret-of-32-characters-xxxxxx,"),
    ("OriginSecret", "a-secret-of-32-characters-xxxxxx, a-secret-of-32-characters-xxxxxx"),
    ("OriginSecret", "a-secret-of-32-characters-xxxxx\u{e9}"),
    ("ClientAddressHeader", "CloudFront-Viewer-Address"),
    ("ClientAddressHeader", "x-client:"),
    ("ClientAddressHeader", "x-client,x-forwarded-for"),
];

/// A value that a function refuses at its start would kill every function of a deployment that has succeeded.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_template_takes_starts_the_functions() {
    for (name, value) in TAKEN {
        let stack = local::LocalStack::start(crate::harness::options(&[(name, value)])).await;
        assert!(stack.is_ok(), "{name}={value}: {}", stack.err().map(|error| error.to_string()).unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_are_rejected_by_name() {
    for (name, value) in REFUSED {
        let stack = local::LocalStack::start(crate::harness::options(&[(name, value)])).await;
        let error = stack.err().unwrap_or_else(|| panic!("{name}={value} was taken")).to_string();
        assert!(error.starts_with(&format!("parameter {name}: ")), "{name}={value}: {error}");
    }
}

const SECRET: &str = "a-secret-of-more-than-32-characters";
const OTHER: &str = "another!\"#$%&'()*+-./:;<=>?@[\\]^_`{|}~";

/// What the example's CDN sends is what the functions read.
#[test]
fn the_example_of_a_cdn_is_of_this_api() {
    let example = read("examples/cloudfront/template.yaml");
    let secret = shared::http::edge::SECRET_HEADER;
    assert!(example.contains(&format!("HeaderName: {secret}, HeaderValue: !Ref OriginSecret")), "{secret}");
    assert!(example.contains("Headers: [CloudFront-Viewer-Address]"));
    assert!(read("docs/edge.md").contains("ClientAddressHeader=cloudfront-viewer-address"));
    // Whatever it takes for a secret, the API's template does, too.
    let pattern = |text: &str| {
        let (_, declaration) = text.split_once("  OriginSecret:\n    Type: String\n").expect("a parameter");
        member(declaration.lines().find(|line| line.contains("AllowedPattern")).expect("a pattern"), "AllowedPattern")
    };
    let (ours, its) = (pattern(&read("template.yaml")).expect("a pattern"), pattern(&example).expect("a pattern"));
    assert_eq!(ours, format!("({its}(,{its})?)?"));
}

/// Parameters that are given together.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_go_together_are_taken_together_alone() {
    let domain = ("ApiDomain", "api.example.com");
    let certificate = ("ApiCertificateArn", "arn:aws:acm:eu-central-1:123456789012:certificate/0b4f6f0a-7d0e");
    let both = format!("{SECRET},{OTHER}");
    for taken in [
        &[("OriginSecret", SECRET), ("ClientAddressHeader", "x-client-ip")][..],
        &[("OriginSecret", both.as_str()), ("ClientAddressHeader", "cloudfront-viewer-address")],
        &[domain, certificate],
    ] {
        let stack = local::LocalStack::start(crate::harness::options(taken)).await;
        assert!(stack.is_ok(), "{taken:?}: {}", stack.err().map(|error| error.to_string()).unwrap_or_default());
    }
    for (given, named) in [
        (&[("OriginSecret", SECRET)][..], "ClientAddressHeader"),
        (&[("ClientAddressHeader", "x-client-ip")], "OriginSecret"),
        (&[("OriginSecret", SECRET), ("ClientAddressHeader", "x-forwarded-for")], "x-forwarded-for"),
        (&[("OriginSecret", SECRET), ("ClientAddressHeader", "forwarded")], "forwarded"),
        (&[domain], "ApiCertificateArn"),
        (&[certificate], "ApiDomain"),
    ] {
        let stack = local::LocalStack::start(crate::harness::options(given)).await;
        let error = stack.err().unwrap_or_else(|| panic!("{given:?} was taken")).to_string();
        assert!(error.contains(named) && !error.contains(SECRET), "{given:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_shown_is_in_no_message() {
    let short = "a-secret-that-is-too-short";
    let stack = local::LocalStack::start(crate::harness::options(&[("OriginSecret", short)])).await;
    let error = stack.expect_err("an error").to_string();
    assert!(error.starts_with("parameter OriginSecret: ") && !error.contains(short), "{error}");
}

#[test]
fn security_events_have_an_alarm() {
    let worth: BTreeSet<String> = read("docs/events.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .filter(|(_, cells)| cells.split('|').nth(3).is_some_and(|worth| worth.trim().starts_with("an alarm")))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(!worth.is_empty(), "docs/events.md has no event that is worth an alarm");
    let template = read("template.yaml");
    let pattern = template.lines().find_map(|line| line.trim().strip_prefix("FilterPattern: "));
    let rings: BTreeSet<String> = pattern
        .expect("a filter")
        .split("$.security_event = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(rings, worth);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_given_no_variable_that_it_does_not_read() {
    let stack = crate::harness::Stack::start().await;
    assert_eq!(stack.local.functions().unread_variables(), Vec::<String>::new());
}
