//! The events of `events/`, replayed through the Lambda codec as `sam local invoke` would, so that they never go stale.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::harness::Stack;

/// The function that an event file is for: the longest folder name that the file's name begins with.
pub(crate) fn folder_of<'a>(file: &str, folders: &'a BTreeSet<String>) -> Option<&'a String> {
    let stem = file.strip_suffix(".json")?;
    let fits = |folder: &&String| stem == folder.as_str() || stem.starts_with(&format!("{folder}-"));
    folders.iter().filter(fits).max_by_key(|folder| folder.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_brings_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let functions = std::fs::read_dir(folder.join("../functions")).expect("functions");
    let functions: BTreeSet<String> =
        functions.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    let stack = Stack::start().await;
    let expected = read("expected.json");
    for (file, expected) in expected.as_object().expect("an object") {
        let function = folder_of(file, &functions).unwrap_or_else(|| panic!("{file} is of no function"));
        let answer = stack.local.functions().invoke(function, read(file)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        if function == "authorizer" {
            assert_eq!(&answer["isAuthorized"], expected, "{file}: {answer}");
            continue;
        }
        assert_eq!(&answer["statusCode"], expected, "{file}: {answer}");
        assert!(answer["headers"]["cache-control"].is_string(), "{file}: {answer}");
    }
}
