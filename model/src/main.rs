//! Prints what the checker says of each scenario: `cargo run -p model`, or with `-- --deep` for larger bounds.

#![expect(clippy::print_stdout, reason = "the table is its output")]

use std::process::ExitCode;
use std::time::Instant;

use model::scenarios::{self, Bounded, Scenario};

/// What all checks found.
#[derive(Default)]
struct Report {
    states: usize,
    contradictions: Vec<String>,
}

impl Report {
    #[expect(clippy::disallowed_methods, reason = "how long a check took is for people, and decides nothing")]
    fn check<S: Bounded + 'static>(&mut self, scenarios: Vec<Scenario<S>>) {
        for scenario in scenarios {
            let started = Instant::now();
            let outcome = scenario.check();
            let seconds = started.elapsed().as_secs_f64();
            self.states += outcome.states;
            let violated: Vec<String> =
                outcome.violations.iter().map(|(name, path)| format!("{name} ({} steps)", path.len())).collect();
            let violated = if violated.is_empty() { "nothing".to_owned() } else { violated.join("; ") };
            println!("{:<58} {:>9} {:>6} {seconds:>8.2}  {violated}", scenario.name, outcome.states, outcome.depth);
            self.contradictions.extend(scenario.contradictions(&outcome));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a check took is for people, and decides nothing")]
fn main() -> ExitCode {
    let deep = std::env::args().any(|argument| argument == "--deep");
    let mut report = Report::default();
    let begun = Instant::now();
    println!("{:<58} {:>9} {:>6} {:>8}  violated", "scenario", "states", "depth", "seconds");
    report.check(scenarios::all(deep));
    report.check(scenarios::replacements(deep));
    report.check(scenarios::lives(deep));
    let Report { states, contradictions } = report;
    println!("{states} states in {:.1} s", begun.elapsed().as_secs_f64());
    for contradiction in &contradictions {
        println!("CONTRADICTION {contradiction}");
    }
    if contradictions.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
