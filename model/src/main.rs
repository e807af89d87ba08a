//! Prints what the checker says of each scenario: `cargo run -p model`, or with `-- --deep` for larger bounds.

#![expect(clippy::print_stdout, reason = "the table is its output")]

use std::process::ExitCode;
use std::time::Instant;

use model::scenarios;

#[expect(clippy::disallowed_methods, reason = "how long a check took is for people, and decides nothing")]
fn main() -> ExitCode {
    let deep = std::env::args().any(|argument| argument == "--deep");
    let mut contradictions = Vec::new();
    let begun = Instant::now();
    let mut states = 0;
    println!("{:<55} {:>9} {:>6} {:>8}  violated", "scenario", "states", "depth", "seconds");
    for scenario in scenarios::all(deep) {
        let started = Instant::now();
        let outcome = scenario.check();
        let seconds = started.elapsed().as_secs_f64();
        states += outcome.states;
        let violated: Vec<String> =
            outcome.violations.iter().map(|(name, path)| format!("{name} ({} steps)", path.len())).collect();
        let violated = if violated.is_empty() { "nothing".to_owned() } else { violated.join("; ") };
        println!("{:<55} {:>9} {:>6} {seconds:>8.2}  {violated}", scenario.name, outcome.states, outcome.depth);
        contradictions.extend(scenario.contradictions(&outcome));
    }
    println!("{states} states in {:.1} s", begun.elapsed().as_secs_f64());
    for contradiction in &contradictions {
        println!("CONTRADICTION {contradiction}");
    }
    if contradictions.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
