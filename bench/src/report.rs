//! The tables and the gates.

use std::fmt::Write as _;
use std::path::Path;

use crate::Figures;

/// The functions that hash a password in each invocation.
const HASHING: [&str; 2] = ["login", "signup"];
/// Milliseconds of CPU of a cold start, beside the hash, within which a function is fast enough (decision 0017), where C takes
/// [`C_THERE`]: machines differ by a factor of two, and C with them.
const FAST_ENOUGH: f64 = 5.0;
/// Milliseconds of CPU of C's cold start on the machine that the 5 ms were set on.
const C_THERE: f64 = 2.8;
/// How many times as long the same work takes to start in other languages, at least.
const INTERPRETED: [(&str, f64); 2] = [("Node.js", 30.0), ("Python", 50.0)];
/// A run may be so much above what was measured before it counts as worse.
const TOLERANCE: f64 = 1.2;
/// What each function measured once AWS was called by the SDK's own clients: cold CPU beside the hash, in starts of C; peak
/// MiB; MB of its package. Medians of 24 spawns on 2026-11-27; `verify` of 75 on 2026-11-28, as it also tells of the account
/// and makes the device known since.
const MEASURED: [(&str, f64, f64, f64); 12] = [
    ("authorizer", 1.16, 8.7, 3.16),
    ("jwks", 1.03, 8.3, 3.16),
    ("login", 1.30, 28.9, 3.69),
    ("logout", 1.08, 8.6, 3.34),
    ("mail-events", 0.96, 8.0, 2.88),
    ("me", 1.23, 9.0, 3.43),
    ("refresh", 1.25, 9.5, 3.51),
    ("renew", 1.23, 8.5, 3.12),
    ("rotate-keys", 0.97, 8.1, 2.89),
    ("sessions", 1.34, 9.2, 3.51),
    ("signup", 1.65, 29.1, 3.80),
    ("verify", 1.67, 9.8, 3.71),
];
/// Likewise: warm CPU of `refresh` in calls of C, and of `login` in hashes of its own.
const MEASURED_WARM: [(&str, f64); 2] = [("refresh", 2.30), ("login", 1.06)];
/// Between these lines `docs/performance.md` is written by this program.
const MARKS: [&str; 2] = ["<!-- bench: from here -->\n", "<!-- bench: to here -->\n"];

/// Milliseconds of CPU of what the functions are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashing {
    /// One argon2id hash by the functions' own hasher.
    pub(crate) ours: f64,
    /// By Debian's libargon2, and by the C sources with AVX2.
    pub(crate) rivals: [Option<f64>; 2],
    /// One verification of an ES256 signature.
    pub(crate) verification: f64,
}

/// A bound, and what was found.
struct Gate {
    what: String,
    found: f64,
    bound: f64,
    /// The bound is the least, not the most.
    is_least: bool,
}

impl Gate {
    fn passes(&self) -> bool {
        if self.is_least { self.found >= self.bound } else { self.found <= self.bound }
    }
}

/// All of it.
pub(crate) struct Report {
    figures: Vec<Figures>,
    hashing: Hashing,
    gates: Vec<Gate>,
}

impl Report {
    /// Compares what was measured with the gates.
    pub(crate) fn new(figures: Vec<Figures>, hashing: Hashing) -> Self {
        let mut report = Self { figures, hashing, gates: Vec::new() };
        report.compare();
        report
    }

    /// Whether every gate holds.
    pub(crate) fn passes(&self) -> bool {
        self.gates.iter().all(Gate::passes)
    }

    fn find(&self, name: &str) -> Option<&Figures> {
        self.figures.iter().find(|figures| figures.name == name)
    }

    fn get(&self, name: &str) -> Figures {
        self.find(name).unwrap_or_else(|| panic!("{name} was not measured")).clone()
    }

    /// Gates watch for getting worse; they are no reason to replace a library (decision 0017).
    fn compare(&mut self) {
        let sdk = self.get("sdk");
        let mut gates = Vec::new();
        let mut at_most = |what: String, found, bound| gates.push(Gate { what, found, bound, is_least: false });
        let warm = |name: &str| self.get(name).warm_cpu;
        // What the stretch with the hash holds beside it, as it goes from one call to the next: what one call takes, which
        // one function makes and another does without.
        let call = warm("logout") - warm("jwks");
        let without_hash = |figures: &Figures| {
            let hashes = HASHING.contains(&figures.name.as_str());
            if hashes { figures.cold_rest + call } else { figures.cold_cpu }
        };
        for (name, cold, memory, zip) in MEASURED {
            let function = self.get(name);
            let there = without_hash(&function) / sdk.cold_cpu * C_THERE;
            at_most(format!("{name}: cold CPU ms beside its hash, where C takes {C_THERE}"), there, FAST_ENOUGH);
            at_most(format!("{name}: cold CPU / C"), without_hash(&function) / sdk.cold_cpu, cold * TOLERANCE);
            at_most(format!("{name}: peak MiB"), function.memory, memory * TOLERANCE);
            let package = function.zip.unwrap_or_default() * 1024.0 / 1e6;
            at_most(format!("{name}: zip MB"), package, zip * TOLERANCE);
        }
        let login = self.get("login");
        let hash = login.warm_cpu - login.warm_rest - call;
        for (name, measured) in MEASURED_WARM {
            let (unit, found) = match name {
                "login" => ("its argon2", login.warm_cpu / hash),
                _ => ("C", warm(name) / sdk.warm_cpu),
            };
            at_most(format!("{name}: warm CPU / {unit}"), found, measured * TOLERANCE);
        }
        for (language, bound) in INTERPRETED {
            for route in ["login", "refresh"] {
                let Some(theirs) = self.find(&format!("{language} {route}")) else { continue };
                let theirs = if route == "login" { theirs.cold_rest } else { theirs.cold_cpu };
                let found = theirs / without_hash(&self.get(route));
                let what = format!("{route}: cold CPU of {language} over it");
                gates.push(Gate { what, found, bound, is_least: true });
            }
        }
        self.gates = gates;
    }

    /// The tables, in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{}; medians of {} spawns in turns, of {} for an interpreter.\n\n",
            machine(),
            crate::SPAWNS,
            crate::ROUNDS
        );
        text.push_str("| program | size KiB | zip KiB | init ms | first ms | cold CPU ms | / C | / D | warm CPU µs | peak MiB |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        let (sdk, floor) = (self.get("sdk"), self.get("floor"));
        let kib = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}"));
        for figures in &self.figures {
            let name = match figures.name.as_str() {
                "std-loop" => "A: std alone",
                "hello" => "B: `lambda_http` alone",
                "sdk" => "C: `lambda_http` + client by hand + 1 call",
                "floor" => "D: std + 1 call signed by hand",
                "stock" => "E: `aws_config::defaults()` + 1 call",
                name if figures.size.is_some() => &format!("**{name}**"),
                name => name,
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.1} |",
                kib(figures.size),
                kib(figures.zip),
                figures.init,
                figures.first,
                figures.cold_cpu,
                figures.cold_cpu / sdk.cold_cpu,
                figures.cold_cpu / floor.cold_cpu,
                figures.warm_cpu * 1e3,
                figures.memory,
            );
        }
        let Hashing { ours, rivals, verification } = self.hashing;
        let _ =
            write!(text, "\nOne argon2id hash (19 MiB, t=2, p=1): {ours:.2} ms of CPU by the functions' own hasher");
        for (name, found) in ["Debian's libargon2", "the C sources with AVX2"].iter().zip(rivals) {
            match found {
                Some(found) => {
                    let _ = write!(text, "; {found:.2} by {name} (ours is {:.2} of it)", ours / found);
                }
                None => {
                    let _ = write!(text, "; {name} could not be built here");
                }
            }
        }
        let _ = writeln!(text, ". One ES256 verification: {:.0} µs.\n", verification * 1e3);
        let failed: Vec<&Gate> = self.gates.iter().filter(|gate| !gate.passes()).collect();
        let _ = writeln!(text, "{} gates (`bench/src/report.rs`), {} fail.", self.gates.len(), failed.len());
        for (index, gate) in failed.into_iter().enumerate() {
            if index == 0 {
                text.push_str("\n| gate that fails | found | bound |\n|---|---|---|\n");
            }
            let sign = if gate.is_least { "≥" } else { "≤" };
            let _ = writeln!(text, "| {} | {:.2} | {sign} {:.2} |", gate.what, gate.found, gate.bound);
        }
        text
    }
}

/// What it was measured on, and when.
pub(crate) fn machine() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = information.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let today = shared::clock::Clock::system().now().to_string();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Measured on {model}, {cores} cores, Linux {}, on {}", kernel.trim(), &today[..10])
}

/// Writes the tables between the marks of a document.
pub(crate) fn replace_tables(path: &Path, tables: &str) {
    let document = std::fs::read_to_string(path).unwrap_or_default();
    let parts = document.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("{} has no place for the tables", path.display()));
    std::fs::write(path, format!("{before}{}\n{tables}\n{}{after}", MARKS[0], MARKS[1])).expect("the document");
}
