//! The targets without a fuzzer: whatever lies in `corpus/`, and mutations of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Mutations of each target's corpus: enough to notice what broke, and done in seconds.
const MUTATIONS: u32 = 256;
/// Those of targets that ask functions and a database.
const REQUESTS: u32 = 24;

/// The largest that `corpus/` may be, in bytes: what a fuzzer finds on its way lies in a cache.
const LARGEST: usize = 128 * 1024;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(corpus().join(target)).unwrap_or_else(|error| panic!("corpus/{target}: {error}"));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

#[test]
fn each_target_has_its_corpus() {
    let folders = std::fs::read_dir(corpus()).expect("the corpus");
    let names = folders.map(|folder| folder.expect("a folder").file_name().into_string().expect("UTF-8"));
    let targets = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), targets.collect());
    let size: usize = fuzz::TARGETS.iter().flat_map(|(name, _)| inputs(name)).map(|input| input.len()).sum();
    assert!(size <= LARGEST, "{size} bytes");
}

/// A piece of an input, replaced by something else.
fn mutated(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![proptest::collection::vec(any::<u8>(), 0..8), "\\PC{0,6}".prop_map(String::into_bytes)];
    let input = proptest::sample::select(inputs);
    (input, any::<prop::sample::Index>(), 0..12_usize, piece).prop_map(|(mut input, at, length, piece)| {
        let at = at.index(input.len() + 1);
        let end = input.len().min(at + length);
        input.splice(at..end, piece);
        input
    })
}

fn holds(name: &str, mutations: u32) {
    let target = fuzz::find(name).expect("a target");
    let inputs = inputs(name);
    assert!(inputs.len() >= 3, "corpus/{name} has {} inputs", inputs.len());
    for input in &inputs {
        target(input);
    }
    let config = Config { cases: mutations, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&mutated(inputs), |input| {
        target(&input);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{name}: {error}"));
}

macro_rules! targets {
    ($($name:ident: $mutations:expr;)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name), $mutations);
        })*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!([$(stringify!($name)),*], fuzz::TARGETS.map(|(name, _)| name));
        }
    };
}

targets! {
    agent: MUTATIONS;
    code: MUTATIONS;
    cookies: MUTATIONS;
    email: MUTATIONS;
    event: REQUESTS;
    form: MUTATIONS;
    identifiers: MUTATIONS;
    json: MUTATIONS;
    locale: MUTATIONS;
    notification: REQUESTS;
    outbox: REQUESTS;
    pages: MUTATIONS;
    password: MUTATIONS;
    requests: REQUESTS;
    tokens: REQUESTS;
    urls: MUTATIONS;
    username: MUTATIONS;
}
