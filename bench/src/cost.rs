//! What it costs: billed time under CPU quotas like Lambda's, capacity units, and published prices, as tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::fixture::Fixture;
use crate::lambda::{Program, Running};
use crate::subjects::{self, Subject};

/// Memory sizes in MB. Lambda gives CPU in proportion, one whole core at 1769.
const SIZES: [u32; 5] = [128, 256, 512, 1024, 1769];
/// The size that the template gives a function.
const fn size_of(function: &Flow) -> u32 {
    if function.hashes { 1769 } else { 256 }
}
/// Spawns of each function at each size, and the quota's period in microseconds.
const SPAWNS: usize = 5;
const PERIOD: u32 = 20_000;
const GROUP: &str = "/sys/fs/cgroup/cpu/latchkey-bench";

/// Prices in US dollars, of us-east-1, as published in 2025: check them before you rely on them.
mod price {
    pub(super) const LAMBDA_GB_SECOND: f64 = 0.000_016_666_7;
    pub(super) const LAMBDA_REQUEST: f64 = 0.20e-6;
    pub(super) const HTTP_API_REQUEST: f64 = 1.00e-6;
    pub(super) const WRITE_UNIT: f64 = 0.625e-6;
    pub(super) const READ_UNIT: f64 = 0.125e-6;
    pub(super) const MAIL: f64 = 0.10e-3;
    /// Storage and point-in-time recovery, for each GB and month.
    pub(super) const STORED_GB: f64 = 0.25 + 0.20;
}

/// A route, what DESIGN.md's budget allows it in capacity units, and how often a monthly active user takes it.
struct Flow {
    function: &'static str,
    hashes: bool,
    write_units: f64,
    read_units: f64,
    mails: f64,
    monthly: f64,
}

/// The assumed month of one user: an app that is opened three times on twenty days, each time with a refresh (whose answer
/// says who is signed in) and ten calls of own routes; two log-ins on a device that is known; one sign-up among ten users,
/// verified by its code. Units are those that `local/tests/it/budget.rs` asserts, the authorizer's with
/// `RevocationCheck=session`.
const FLOWS: [Flow; 7] = [
    Flow { function: "signup", hashes: true, write_units: 5.0, read_units: 2.0, mails: 1.0, monthly: 0.1 },
    Flow { function: "verify", hashes: true, write_units: 13.0, read_units: 1.0, mails: 0.0, monthly: 0.1 },
    Flow { function: "login", hashes: true, write_units: 3.0, read_units: 4.0, mails: 0.0, monthly: 2.0 },
    Flow { function: "refresh", hashes: false, write_units: 1.0, read_units: 1.0, mails: 0.0, monthly: 60.0 },
    Flow { function: "me", hashes: false, write_units: 0.0, read_units: 2.0, mails: 0.0, monthly: 2.0 },
    Flow { function: "logout", hashes: false, write_units: 1.0, read_units: 0.0, mails: 0.0, monthly: 1.0 },
    Flow { function: "authorizer", hashes: false, write_units: 0.0, read_units: 2.0, mails: 0.0, monthly: 600.0 },
];

/// The functions that it measures.
pub(crate) fn functions() -> impl Iterator<Item = &'static str> {
    FLOWS.iter().map(|flow| flow.function)
}

/// Milliseconds by the clock, medians: of an instance's start with its first answer, and of later answers.
#[derive(Clone, Copy, Debug)]
struct Billed {
    cold: f64,
    warm: f64,
}

/// Measures, and gives the tables in Markdown.
pub(crate) async fn tables(fixture: &mut Fixture) -> String {
    let group = Group::make();
    let mut billed = BTreeMap::new();
    for size in SIZES {
        group.limit(size);
        for mut subject in subjects::functions(fixture).await {
            let Some(flow) = FLOWS.iter().find(|flow| flow.function == subject.name) else { continue };
            billed.insert((flow.function, size), measure(&mut subject, fixture).await);
        }
    }
    drop(group);
    describe(&billed)
}

async fn measure(subject: &mut Subject, fixture: &mut Fixture) -> Billed {
    subject.program = within_group(&subject.program);
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..SPAWNS {
        let mut running = Running::start(&subject.program).await;
        running.asks().await;
        subject.invoke(&mut running, fixture).await;
        let mut before = running.asks().await;
        cold.push(before.wall.as_secs_f64() * 1e3);
        for _ in 0..5 {
            subject.invoke(&mut running, fixture).await;
            let after = running.asks().await;
            warm.push(after.wall.saturating_sub(before.wall).as_secs_f64() * 1e3);
            before = after;
        }
        running.stop().await;
    }
    Billed { cold: crate::median(cold), warm: crate::median(warm) }
}

/// The same program, which joins the group before it begins.
fn within_group(program: &Program) -> Program {
    let script = format!("echo $$ > {GROUP}/cgroup.procs && exec \"$0\"");
    let arguments = vec!["-c".to_owned(), script, program.path.to_string_lossy().into_owned()];
    Program { path: PathBuf::from("/bin/sh"), arguments, environment: program.environment.clone() }
}

/// A control group (version 1) with a share of one core.
struct Group;

impl Group {
    fn make() -> Self {
        if !Path::new(GROUP).exists() {
            std::fs::create_dir(GROUP).expect("cgroup version 1 with the cpu controller, and root");
        }
        std::fs::write(format!("{GROUP}/cpu.cfs_period_us"), PERIOD.to_string()).expect("a period");
        Self
    }

    fn limit(&self, size: u32) {
        let Self = self;
        let quota = u64::from(PERIOD) * u64::from(size) / 1769;
        std::fs::write(format!("{GROUP}/cpu.cfs_quota_us"), quota.max(1000).to_string()).expect("a quota");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(GROUP);
    }
}

fn describe(billed: &BTreeMap<(&str, u32), Billed>) -> String {
    let mut text = format!("{}; medians of {SPAWNS} spawns of each at each size.\n\n", crate::report::machine());
    text.push_str("Milliseconds by the clock, warm (cold: start and first answer):\n\n| function |");
    for size in SIZES {
        let _ = write!(text, " {size} MB |");
    }
    text.push_str("\n|---|---|---|---|---|---|\n");
    for flow in &FLOWS {
        let _ = write!(text, "| {} |", flow.function);
        for size in SIZES {
            let Billed { cold, warm } = billed[&(flow.function, size)];
            let mark = if size == size_of(flow) { "**" } else { "" };
            let _ = write!(text, " {mark}{warm:.1}{mark} ({cold:.0}) |");
        }
        text.push('\n');
    }
    text.push_str("\n| flow | size MB | billed ms | Lambda | API | DynamoDB | SES | $ per million | times a month | $ per 1,000 users and month |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    let mut total = 0.0;
    for flow in &FLOWS {
        let size = size_of(flow);
        // One start in a hundred: users come in crowds, or rarely.
        let Billed { cold, warm } = billed[&(flow.function, size)];
        let milliseconds = warm.ceil() + cold.ceil() / 100.0;
        let lambda = price::LAMBDA_REQUEST + milliseconds / 1e3 * f64::from(size) / 1024.0 * price::LAMBDA_GB_SECOND;
        // The authorizer's request is the route's own, which is there without it.
        let api = if flow.function == "authorizer" { 0.0 } else { price::HTTP_API_REQUEST };
        let database = flow.write_units * price::WRITE_UNIT + flow.read_units * price::READ_UNIT;
        let mail = flow.mails * price::MAIL;
        let each = lambda + api + database + mail;
        total += each * flow.monthly * 1e3;
        let _ = writeln!(
            text,
            "| {} | {size} | {milliseconds:.1} | {:.2} | {:.2} | {:.2} | {:.0} | **{:.2}** | {} | {:.3} |",
            flow.function,
            lambda * 1e6,
            api * 1e6,
            database * 1e6,
            mail * 1e6,
            each * 1e6,
            flow.monthly,
            each * flow.monthly * 1e3,
        );
    }
    // A user, the two items of name and address, and some sessions: 4 KB.
    let storage = 1e3 * 4.0 / 1024.0 / 1024.0 * price::STORED_GB;
    let _ = writeln!(text, "| storage, 4 KB for each user | | | | | {storage:.3} | | | | {storage:.3} |");
    total += storage;
    let _ = writeln!(text, "| **all** | | | | | | | | | **{total:.2}** |");
    text
}
