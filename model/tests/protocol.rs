//! Every claim of `model::scenarios`, checked, and the counterexamples that `docs/decisions/0006-session-protocol.md` tells.

#![expect(clippy::print_stdout, reason = "how many states were visited is part of what a check says")]

use model::scenarios::{self, Bounded, Scenario};
use model::world::{Action, STAYS_SIGNED_IN, THEFT_ENDS};

/// Checks scenarios, says how many states there were, and fails on whatever is not as claimed.
#[track_caller]
fn check<S: Bounded + 'static>(scenarios: Vec<Scenario<S>>) {
    assert!(!scenarios.is_empty());
    let mut contradictions = Vec::new();
    for scenario in scenarios {
        let outcome = scenario.check();
        println!("{:>9} states, {:>3} deep: {}", outcome.states, outcome.depth, scenario.name);
        assert!(outcome.states > 50, "{}: nearly nothing was explored", scenario.name);
        contradictions.extend(scenario.contradictions(&outcome));
    }
    assert_eq!(contradictions, Vec::<String>::new());
}

#[test]
fn an_honest_client_is_never_signed_out_by_faults() {
    check(scenarios::honest(false));
}

#[test]
fn each_rule_of_the_client_is_needed() {
    check(scenarios::rules());
}

#[test]
fn a_theft_ends_the_session() {
    check(scenarios::thieves(false));
}

#[test]
fn what_has_ended_never_refreshes() {
    check(scenarios::endings(false));
}

#[test]
fn broken_variants_are_noticed() {
    check(scenarios::variants(false));
}

#[test]
fn what_others_publish() {
    check(scenarios::published(false));
}

#[test]
fn who_reads_a_session_compares_generations() {
    check(scenarios::readers(false));
}

#[test]
fn what_is_replaced_is_over_and_a_repeated_request_is_answered_as_the_first() {
    check(scenarios::replacements(false));
}

#[test]
fn nothing_of_before_a_reset_an_undo_or_a_deletion_opens_anything_after_it() {
    check(scenarios::lives(false));
}

/// The shortest counterexample of a scenario, as the steps that it takes.
#[track_caller]
fn counterexample(scenarios: Vec<Scenario>, name: &str, property: &str) -> Vec<String> {
    let scenario = scenarios.into_iter().find(|scenario| scenario.name == name);
    let outcome = scenario.unwrap_or_else(|| panic!("no scenario {name}")).check();
    let found = outcome.violations.into_iter().find(|(violated, _)| *violated == property);
    found.unwrap_or_else(|| panic!("{name} violates nothing")).1.iter().map(step).collect()
}

/// The name of a step, without what it carries.
fn step(action: &Action) -> String {
    let text = format!("{action:?}");
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    match words[..] {
        ["Deliver", message, ..] => format!("Deliver {message}"),
        [name, ..] => name.to_owned(),
        [] => String::new(),
    }
}

#[test]
fn a_key_in_memory_alone_dies_with_its_tab() {
    let path = counterexample(scenarios::rules(), "without: the key is stored before it is sent", STAYS_SIGNED_IN);
    assert_eq!(path, ["Begin", "Crash", "Deliver Request", "Deliver Answer"]);
}

#[test]
fn tabs_with_keys_of_their_own_take_each_other_for_thieves() {
    let path =
        counterexample(scenarios::rules(), "without: one refresh at a time (a key for each tab)", STAYS_SIGNED_IN);
    assert_eq!(path, ["Begin", "Begin", "Deliver Request", "Deliver Request"]);
}

#[test]
fn a_call_s_late_answer_puts_the_older_cookie_back() {
    let path = counterexample(scenarios::rules(), "without: calls that extend share the lock", STAYS_SIGNED_IN);
    assert_eq!(path, ["Begin", "Call", "Deliver Call", "Deliver Request", "Deliver Answer", "Deliver Extended"]);
    let path = counterexample(scenarios::rules(), "no rule helps: a page killed during a call", STAYS_SIGNED_IN);
    assert_eq!(path[..2], ["Call", "Crash"]);
    assert_eq!(path[6], "Deliver Extended");
}

#[test]
fn a_copy_of_a_request_refused_for_its_key_may_come_after_the_next_rotation() {
    let name = "broken: a copy of a refused request is taken for theft";
    let path = counterexample(scenarios::variants(false), name, STAYS_SIGNED_IN);
    assert_eq!(path.last().map(String::as_str), Some("Deliver Copy"));
    assert_eq!(path.iter().filter(|step| *step == "Begin").count(), 3);
}

#[test]
fn a_thief_beside_a_browser_without_keys_stays_within_the_grace() {
    let path = counterexample(scenarios::thieves(false), "theft from a browser without keys", THEFT_ENDS);
    assert_eq!(path.iter().filter(|step| *step == "ThiefRefresh").count(), 2);
    assert!(!path.contains(&"Step".to_owned()), "no time passes: {path:?}");
}

#[test]
fn rotation_alone_takes_a_repeated_request_for_theft() {
    let path = counterexample(scenarios::published(false), "RFC 9700 rotation, faults", STAYS_SIGNED_IN);
    assert_eq!(path, ["Begin", "Resend", "Deliver Request", "Deliver Request"]);
}
