//! `docs/security.md`: each requirement of ASVS has its row, and what a row names is there.

use std::collections::BTreeMap;

use crate::consistency::read;

/// ASVS 5.0.0, chapters V2 to V4, V6 to V10, V13, V14 and V16.
const LEVEL_1: &str = "2.1.1 2.2.1 2.2.2 2.3.1 3.2.1 3.2.2 3.3.1 3.4.1 3.4.2 3.5.1 3.5.2 3.5.3 4.1.1 4.4.1 6.1.1 6.2.1 6.2.2 6.2.3 \
    6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.3.1 6.3.2 6.4.1 6.4.2 7.2.1 7.2.2 7.2.3 7.2.4 7.4.1 7.4.2 8.1.1 8.2.1 8.2.2 \
    8.3.1 9.1.1 9.1.2 9.1.3 9.2.1 10.4.1 10.4.2 10.4.3 10.4.4 10.4.5 13.4.1 14.2.1 14.3.1";
const LEVEL_2: &str = "2.1.2 2.1.3 2.2.3 2.3.2 2.3.3 2.3.4 2.4.1 3.3.2 3.3.3 3.3.4 3.4.3 3.4.4 3.4.5 3.4.6 3.5.4 3.5.5 3.7.1 3.7.2 \
    4.1.2 4.1.3 4.2.1 4.3.1 4.3.2 4.4.2 4.4.3 4.4.4 6.1.2 6.1.3 6.2.9 6.2.10 6.2.11 6.2.12 6.3.3 6.3.4 6.4.3 \
    6.4.4 6.5.1 6.5.2 6.5.3 6.5.4 6.5.5 6.6.1 6.6.2 6.6.3 6.8.1 6.8.2 6.8.3 6.8.4 7.1.1 7.1.2 7.1.3 7.3.1 7.3.2 \
    7.4.3 7.4.4 7.4.5 7.5.1 7.5.2 7.6.1 7.6.2 8.1.2 8.2.3 8.4.1 9.2.2 9.2.3 9.2.4 10.1.1 10.1.2 10.2.1 10.2.2 \
    10.3.1 10.3.2 10.3.3 10.3.4 10.4.6 10.4.7 10.4.8 10.4.9 10.4.10 10.4.11 10.5.1 10.5.2 10.5.3 10.5.4 10.5.5 \
    10.6.1 10.6.2 10.7.1 10.7.2 10.7.3 13.1.1 13.2.1 13.2.2 13.2.3 13.2.4 13.2.5 13.3.1 13.3.2 13.4.2 13.4.3 \
    13.4.4 13.4.5 14.1.1 14.1.2 14.2.2 14.2.3 14.2.4 14.3.2 14.3.3 16.1.1 16.2.1 16.2.2 16.2.3 16.2.4 16.2.5 \
    16.3.1 16.3.2 16.3.3 16.3.4 16.4.1 16.4.2 16.4.3 16.5.1 16.5.2 16.5.3";

/// What may be said of a requirement.
const STATES: [&str; 5] = ["shown", "in part", "open", "yours", "n/a"];

/// A row of the table.
struct Row {
    number: String,
    level: String,
    state: String,
    by: String,
}

fn rows() -> Vec<Row> {
    let is_number = |text: &str| text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u8>().is_ok());
    let document = read("docs/security.md");
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [number, level, _, state, by] = cells[..] else { return None };
        let owned = |text: &str| text.to_owned();
        let row = Row { number: owned(number), level: owned(level), state: owned(state), by: owned(by) };
        is_number(number).then_some(row)
    });
    rows.collect()
}

#[test]
fn every_requirement_has_its_row() {
    let of_level = |level: &'static str, numbers: &'static str| numbers.split(' ').map(move |number| (number, level));
    let required: BTreeMap<&str, &str> = of_level("1", LEVEL_1).chain(of_level("2", LEVEL_2)).collect();
    let rows = rows();
    let found: BTreeMap<&str, &str> = rows.iter().map(|row| (row.number.as_str(), row.level.as_str())).collect();
    assert_eq!(found, required);
    assert_eq!(rows.len(), found.len(), "a requirement has two rows");
    for row in &rows {
        assert!(STATES.contains(&row.state.as_str()), "{}: {}", row.number, row.state);
    }
}

/// What a text names between backticks.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The test of a path such as `it::me::refusals_say_why` or `shared::random::tests::does_not_repeat`: its source and its
/// name.
fn test_of(path: &str) -> Option<(String, &str)> {
    let parts: Vec<&str> = path.split("::").collect();
    let is_name = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
    };
    let [krate, modules @ .., test] = &parts[..] else { return None };
    if parts.len() < 3 || !parts.iter().all(is_name) {
        return None;
    }
    let folder = match *krate {
        "it" => "local/tests/it".to_owned(),
        "shared" | "local" => format!("{krate}/src"),
        function => format!("functions/{}/src", function.replace('_', "-")),
    };
    let modules: Vec<&str> = modules.iter().copied().filter(|module| *module != "tests").collect();
    let file = format!("{folder}/{}", modules.join("/"));
    let is_there = |path: &String| crate::consistency::workspace().join(path).exists();
    let source = [format!("{file}.rs"), format!("{file}/mod.rs")].into_iter().find(is_there);
    Some((source.unwrap_or_else(|| panic!("{path} is in no file")), test))
}

fn is_test(source: &str, test: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {test}(")) else { return false };
    let before = before.trim_end().trim_end_matches("async").trim_end();
    let mut attributes = before.lines().rev().map(str::trim).take_while(|line| !line.is_empty() && *line != "}");
    attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn what_a_row_names_is_there() {
    let headings: Vec<String> =
        read("docs/security.md").lines().filter_map(|line| Some(line.strip_prefix("## ")?.to_owned())).collect();
    for Row { number, state, by, .. } in rows() {
        let mut evidence = by.matches(" above").count();
        for heading in by.split('«').skip(1).filter_map(|rest| rest.split('»').next()) {
            assert!(headings.iter().any(|known| known.starts_with(heading)), "{number}: no section {heading}");
        }
        for name in named(&by) {
            if let Some((file, test)) = test_of(name) {
                assert!(is_test(&read(&file), test), "{number}: {file} has no test {test}");
                evidence += 1;
                continue;
            }
            let (file, piece) = name.split_once(": ").unwrap_or((name, ""));
            let is_file = file.contains('/') || [".md", ".toml", ".yaml"].iter().any(|end| file.ends_with(end));
            if is_file && crate::consistency::workspace().join(file).is_dir() {
                continue;
            }
            assert!(is_file || !name.contains("::"), "{number}: {name} is neither a test nor a file");
            if is_file {
                assert!(read(file).contains(piece), "{number}: {file} does not say {piece}");
                evidence += 1;
            }
        }
        assert!(!matches!(state.as_str(), "shown" | "in part") || evidence > 0, "{number} is {state} by nothing");
    }
}
