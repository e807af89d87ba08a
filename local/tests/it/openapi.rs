//! The API's description: what is checked in, and whether it says what is so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::http::Code;

use crate::consistency::{functions, read};

fn checked_in() -> Value {
    serde_json::from_str(&read("docs/openapi.json")).expect("JSON")
}

#[test]
fn what_is_checked_in_is_what_is_generated() {
    let generated = local::openapi::document();
    assert!(checked_in() == generated, "run `cargo run -- --openapi > docs/openapi.json`");
}

/// `METHOD /path` of each operation, with the codes that it may answer with.
fn operations() -> BTreeMap<String, BTreeSet<String>> {
    let document = checked_in();
    let mut operations = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            let codes = responses.values().flat_map(|response| {
                let examples = &response["content"]["application/problem+json"]["examples"];
                examples.as_object().into_iter().flatten().map(|(code, _)| code.clone())
            });
            operations.insert(format!("{} {path}", method.to_uppercase()), codes.collect());
        }
    }
    operations
}

#[test]
fn every_route_of_the_template_is_described_and_no_other() {
    let described: BTreeSet<String> = operations().into_keys().collect();
    let routes: BTreeSet<String> = functions().into_iter().flat_map(|function| function.routes).collect();
    assert_eq!(described, routes);
}

#[test]
fn every_code_is_of_some_route() {
    let described: BTreeSet<String> = operations().into_values().flatten().collect();
    // What a layer around somebody's own function answers, and no route of ours.
    let of_ours = Code::ALL.iter().filter(|code| **code != Code::RoleRequired);
    let codes: BTreeSet<String> = of_ours.map(|code| code.as_str().to_owned()).collect();
    assert_eq!(described, codes);
}

/// What a function's `lib.rs` says of its errors, from «Errors:» to the end of that paragraph.
fn specified(folder: &str) -> BTreeSet<String> {
    let specification = read(&format!("functions/{folder}/src/lib.rs"));
    let docs: Vec<&str> = specification.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let mut codes = BTreeSet::new();
    for paragraph in docs.join("\n").split("\n\n").filter(|paragraph| paragraph.trim().starts_with("Errors:")) {
        let known = Code::ALL.iter().map(|code| code.as_str());
        codes.extend(known.filter(|code| paragraph.contains(&format!("`{code}`"))).map(str::to_owned));
    }
    codes
}

#[test]
fn the_errors_are_those_of_each_function_s_specification() {
    let operations = operations();
    for function in functions() {
        let mut described: BTreeSet<String> =
            function.routes.iter().filter_map(|route| operations.get(route)).flatten().cloned().collect();
        if function.routes.is_empty() {
            continue;
        }
        // A fault of ours may happen anywhere, and what goes around the CDN is refused everywhere.
        for anywhere in ["internal", "origin_required"] {
            assert!(described.remove(anywhere), "{}: {anywhere}", function.binary);
        }
        assert_eq!(described, specified(&function.binary), "{}", function.binary);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_stack_serves_and_renders_it() {
    let stack = crate::harness::Stack::start().await;
    let served = stack.client().get("/_local/openapi.json").send().await.expect(200);
    assert_eq!(served.json(), checked_in());
    let page = stack.browser().get("/_local/docs/").send().await.expect(200);
    assert!(page.header("content-type").is_some_and(|value| value.starts_with("text/html")));
    assert!(page.text().contains("swagger-ui"));
    let script = stack.browser().get("/_local/docs/swagger-initializer.js").send().await.expect(200);
    assert!(script.text().contains("/_local/openapi.json"));
    stack.browser().get("/_local/docs/nothing.js").send().await.expect(404);
}
