//! Faults, all of them: every call of every flow fails in every way, and every pair of calls with `LATCHKEY_FAULT_PAIRS`.
//!
//! Whatever fails, an answer is a documented one, the same request sent again succeeds, and what holds of the tables, the
//! sessions, the mails and the counters holds. The cases are made from the calls that each flow is seen to make
//! ([`series`]); only the flows themselves are written down ([`flows`]). How many there are stands in `docs/faults.md`.

mod flows;
mod scene;
mod series;
mod several;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Mutex;

use crate::consistency::{functions, read};
use flows::flows;
use scene::Flow;
use series::{Depth, Tried, run};

#[expect(clippy::disallowed_methods, reason = "how a test is run is no setting of a function")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn every_route_and_every_function_has_a_flow() {
    let tried: BTreeSet<String> = flows().into_iter().map(|flow| flow.of.to_owned()).collect();
    let mut there = BTreeSet::new();
    for function in functions() {
        if function.routes.is_empty() {
            there.insert(function.binary);
        } else {
            there.extend(function.routes);
        }
    }
    assert_eq!(tried, there);
}

/// With `LATCHKEY_FAULT_FLOWS` only the flows whose name holds it.
#[test]
fn every_call_of_every_flow_fails_in_every_way() {
    let depth = if variable("LATCHKEY_FAULT_PAIRS").is_some() { Depth::Pairs } else { Depth::Calls };
    let wanted = variable("LATCHKEY_FAULT_FLOWS");
    let chosen = flows().into_iter().filter(|flow| wanted.as_ref().is_none_or(|part| flow.name().contains(part)));
    let queue: Mutex<VecDeque<Flow>> = Mutex::new(chosen.collect());
    let tried: Mutex<BTreeMap<String, Tried>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(flow) = { queue.lock().expect("no poison").pop_front() } {
                    let name = flow.name();
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
                    let outcome = runtime.expect("a runtime").block_on(run(flow, depth));
                    tried.lock().expect("no poison").insert(name, outcome);
                }
            });
        }
    });
    let tried = tried.into_inner().expect("no poison");
    let report = report(&tried);
    println!("{report}");
    let failures: Vec<&String> = tried.values().flat_map(|tried| &tried.failures).collect();
    for failure in &failures {
        println!("{failure}");
    }
    assert!(failures.is_empty(), "{} failures; the first: {}", failures.len(), failures[0]);
    if wanted.is_none() {
        assert!(read("docs/faults.md").contains(&report), "docs/faults.md does not hold this table");
        let all = |count: fn(&Tried) -> usize| tried.values().map(count).sum::<usize>();
        let (cases, pairs) = (all(|tried| tried.cases), all(|tried| tried.pairs));
        let numbers =
            [format!("{} flows", tried.len()), format!("{cases} cases"), format!("and {} with", cases + pairs)];
        let page = read("docs/security.md");
        assert!(numbers.iter().all(|number| page.contains(number)), "docs/security.md does not say {numbers:?}");
    }
}

/// What was tried, as a table in Markdown.
fn report(tried: &BTreeMap<String, Tried>) -> String {
    let mut table = "| flow | calls | cases | with pairs |\n|---|---:|---:|---:|\n".to_owned();
    let (mut cases, mut pairs) = (0, 0);
    for (name, Tried { calls, cases: single, pairs: double, .. }) in tried {
        writeln!(table, "| {name} | {calls} | {single} | {} |", single + double).expect("a text takes it");
        cases += single;
        pairs += single + double;
    }
    writeln!(table, "| {} flows | | {cases} | {pairs} |", tried.len()).expect("a text takes it");
    table
}
