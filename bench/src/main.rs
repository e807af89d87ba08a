//! Start-up, memory, size and speed at the limit: `cargo run --release -p bench` builds what it needs, prints the
//! tables, writes `docs/performance.md`, and ends with 1 when a gate fails.
//!
//! Each program is spawned again and again, all of them in turns, as the machine is never quiet, and in another order
//! each time, as each meets the caches that the one before has left, and from a new copy each round: what is compared are
//! medians of one run, and ratios of them. CPU time is read from the process's own clock at the moment it asks the
//! Runtime API for its next event, by [`lambda`]; [`fixture`] is what it acts on. `cargo run --release -p bench -- cost`
//! writes the tables of `docs/cost.md`; `-- compare` compares the times of answers to somebody and to nobody ([`compare`]);
//! `-- NAME…` measures the programs of these names alone, without gates, and writes
//! nothing.

#![expect(clippy::print_stdout, reason = "tables are what it is for")]

mod build;
mod compare;
mod cost;
mod fixture;
mod lambda;
mod report;
mod subjects;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use fixture::{Caller, Fixture};
use lambda::{Elapsed, Running};
use shared::account::CandidatePassword;
use shared::concurrency::Concurrency;
use shared::password_hasher::PasswordHasher;
use subjects::Subject;

/// Rounds; in each, every binary is spawned a few times, and every interpreter, which takes its time, once.
const ROUNDS: usize = 25;
const SPAWNS_A_ROUND: usize = 3;
/// Spawns of each binary.
const SPAWNS: usize = ROUNDS * SPAWNS_A_ROUND;
/// Hashes of each process that hashes alone; as many in `argon2.c`.
const HASHES: usize = 9;

/// The argument that has this program hash; the others do nothing else.
const HASH: &str = "hash";

/// What was measured of a program; medians.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// The program.
    pub(crate) name: String,
    /// Milliseconds by the clock from spawn to the first question for an event.
    pub(crate) init: f64,
    /// Milliseconds by the clock of the first invocation.
    pub(crate) first: f64,
    /// Milliseconds of CPU from spawn to the end of the first invocation.
    pub(crate) cold_cpu: f64,
    /// Milliseconds of CPU of each later invocation.
    pub(crate) warm_cpu: f64,
    /// The two without the longest stretch from one call of AWS to the next, which is where a password is hashed.
    pub(crate) cold_rest: f64,
    pub(crate) warm_rest: f64,
    /// Peak memory in MiB.
    pub(crate) memory: f64,
    /// Size in KiB, of a binary.
    pub(crate) size: Option<f64>,
    /// Size in KiB as a deployment package.
    pub(crate) zip: Option<f64>,
}

/// Measurements of one spawn.
#[derive(Clone, Copy, Debug)]
struct Sample {
    init: f64,
    first: f64,
    cold_cpu: f64,
    warm_cpu: f64,
    cold_rest: f64,
    warm_rest: f64,
    memory: f64,
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == HASH) {
        hash().await;
        return ExitCode::SUCCESS;
    }
    println!("Building; the first time takes a while.");
    let mut fixture = Fixture::new().await;
    let mode = arguments.first().map(String::as_str).filter(|argument| ["compare", "cost"].contains(argument));
    let names: Vec<String> = match mode {
        Some("compare") => ["login", "password-forgot", "signup"].map(str::to_owned).to_vec(),
        Some(_) => cost::functions().map(str::to_owned).collect(),
        None => arguments.clone(),
    };
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let functions: Vec<String> = fixture.environments().into_keys().filter(|name| is_wanted(name)).collect();
    // The stock way takes minutes to build, and no gate compares with it: it is measured where it is named.
    let with_stock = names.iter().any(|name| name == "stock");
    build::binaries(&functions, with_stock);
    if mode == Some("compare") {
        let (table, passes) = compare::run(&mut fixture, &arguments[1..]).await;
        println!("{table}");
        return if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if mode == Some("cost") {
        let tables = cost::tables(&mut fixture).await;
        println!("{tables}");
        report::replace_tables(&fixture::workspace().join("docs/cost.md"), &tables);
        return ExitCode::SUCCESS;
    }
    let (node, python) = if names.is_empty() { (build::node(), build::python()) } else { (None, None) };
    let mut subjects = subjects::all(&mut fixture, node, python).await;
    subjects.retain(|subject| is_wanted(&subject.name) && (subject.name != "stock" || with_stock));

    println!("Measuring {} programs, {SPAWNS} spawns of each binary.", subjects.len());
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); subjects.len()];
    let programs = hashers();
    let mut hashes: [Vec<f64>; 3] = Default::default();
    let unpacked = tempfile::tempdir().expect("a directory");
    for spawn in 0..SPAWNS {
        let begins_round = spawn % SPAWNS_A_ROUND == 0;
        if begins_round {
            for (program, hashes) in programs.iter().zip(&mut hashes) {
                hashes.extend(
                    program.as_deref().map(|program| hash_cpu_of(&subjects::unpacked(program, unpacked.path()))),
                );
            }
            for subject in &mut subjects {
                subject.unpack(unpacked.path());
            }
        }
        for index in order(spawn, subjects.len()) {
            let subject = &mut subjects[index];
            if begins_round || subject.binary.is_some() {
                samples[index].push(measure(subject, &mut fixture).await);
            }
        }
    }
    let figures: Vec<Figures> =
        subjects.iter().zip(&samples).map(|(subject, samples)| summarise(subject, samples)).collect();
    if !names.is_empty() {
        for figures in figures {
            println!("{figures:?}");
        }
        println!("{hashes:?}");
        return ExitCode::SUCCESS;
    }
    let [ours, library, avx2] = hashes.map(|hashes| (!hashes.is_empty()).then(|| median(hashes)));
    let ours = ours.expect("our own");
    let hashing = report::Hashing { ours, rivals: [library, avx2], verification: verification_cpu() };
    let report = report::Report::new(figures, hashing);
    println!("{}", report.text());
    let path = fixture::workspace().join("docs/performance.md");
    report::replace_tables(&path, &report.text());
    if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The numbers below `count` in an order of its own for each of many turns: by steps that have no factor in common with
/// `count`, so that each number follows others.
fn order(turn: usize, count: usize) -> impl Iterator<Item = usize> {
    let common_factor =
        |step: usize| (2..=step).any(|factor| step.is_multiple_of(factor) && count.is_multiple_of(factor));
    let steps: Vec<usize> = (1..=count).filter(|step| !common_factor(*step)).collect();
    let step = steps[turn % steps.len()];
    (0..count).map(move |place| (turn + place * step) % count)
}

/// One spawn: its first invocation and some more.
async fn measure(subject: &mut Subject, fixture: &mut Fixture) -> Sample {
    let mut running = Running::start(&subject.program).await;
    let ready = running.asks().await;
    fixture.caller.watch(running.clock());
    subject.invoke(&mut running, fixture).await;
    let first = running.asks().await;
    let first_stretch = longest_stretch(ready, &fixture.caller, first);
    let (mut warm, mut warm_stretches) = (first, Duration::ZERO);
    for _ in 0..subject.warm {
        subject.invoke(&mut running, fixture).await;
        let before = std::mem::replace(&mut warm, running.asks().await);
        warm_stretches += longest_stretch(before, &fixture.caller, warm);
    }
    let memory = running.peak_memory();
    running.stop().await;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (rounds, memory) = (subject.warm as f64, memory as f64);
    let warm_cpu = warm.cpu.saturating_sub(first.cpu);
    Sample {
        init: ms(ready.wall),
        first: ms(first.wall.saturating_sub(ready.wall)),
        cold_cpu: ms(first.cpu),
        warm_cpu: ms(warm_cpu) / rounds,
        cold_rest: ms(first.cpu.saturating_sub(first_stretch)),
        warm_rest: ms(warm_cpu.saturating_sub(warm_stretches)) / rounds,
        memory: memory / 1024.0,
    }
}

/// The most CPU time of an invocation from one call to the next, or to its begin or end.
fn longest_stretch(begin: Elapsed, caller: &Caller, end: Elapsed) -> Duration {
    let moments: Vec<_> = [begin.cpu].into_iter().chain(caller.calls()).chain([end.cpu]).collect();
    moments.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
}

fn summarise(subject: &Subject, samples: &[Sample]) -> Figures {
    let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    let binary = subject.binary.as_ref();
    Figures {
        name: subject.name.clone(),
        init: of(|sample| sample.init),
        first: of(|sample| sample.first),
        cold_cpu: of(|sample| sample.cold_cpu),
        warm_cpu: of(|sample| sample.warm_cpu),
        cold_rest: of(|sample| sample.cold_rest),
        warm_rest: of(|sample| sample.warm_rest),
        memory: of(|sample| sample.memory),
        size: binary.map(|path| kib(std::fs::metadata(path).expect("the binary").len())),
        zip: binary.map(|path| kib(build::zipped(path))),
    }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds of CPU of each of some hashes by the functions' own hasher, with a reused buffer.
async fn hash() {
    let hasher = PasswordHasher::new(Concurrency::One);
    for _ in 0..HASHES {
        let candidate = CandidatePassword::new(fixture::PASSWORD.to_owned());
        let password = candidate.to_compare().expect("a password");
        let before = thread_cpu();
        hasher.hash(password).await.expect("a hash");
        println!("{}", thread_cpu() - before);
    }
}

/// The programs that print what some hashes took: this one, and those with Debian's libargon2 and the C sources with
/// AVX2, where they could be built.
fn hashers() -> [Option<PathBuf>; 3] {
    let (library, avx2) = build::argon2();
    [Some(std::env::current_exe().expect("this program's path")), library, avx2]
}

/// The median of what such a program prints.
fn hash_cpu_of(hasher: &Path) -> f64 {
    let output = Command::new(hasher).arg(HASH).output().expect("a process").stdout;
    let text = String::from_utf8(output).expect("numbers");
    median(text.lines().map(|line| line.parse().expect("a number")).collect())
}

fn thread_cpu() -> f64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
    Duration::from(now).as_secs_f64() * 1e3
}

/// Milliseconds of CPU for one verification of an ES256 signature, by the library that the functions verify with.
#[expect(clippy::disallowed_methods, reason = "no secret comes of it")]
fn verification_cpu() -> f64 {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let message = vec![b'a'; 400];
    let signature = key.sign(&aws_lc_rs::rand::SystemRandom::new(), &message).expect("a signature");
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    let rounds = (0..200).map(|_| {
        let before = thread_cpu();
        public.verify(&message, signature.as_ref()).expect("genuine");
        thread_cpu() - before
    });
    median(rounds.collect())
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn each_turn_takes_every_program_once_and_few_follow_the_same() {
        for count in 1..=30 {
            for turn in 0..50 {
                let mut numbers: Vec<usize> = order(turn, count).collect();
                numbers.sort_unstable();
                assert!(numbers.into_iter().eq(0..count), "turn {turn} of {count}");
            }
        }
        let after_first = |turn| order(turn, 20).skip_while(|number| *number != 0).nth(1);
        let followers: std::collections::HashSet<_> = (0..8).filter_map(after_first).collect();
        assert!(followers.len() >= 6, "{followers:?}");
    }
}
