//! Runs a flow again and again, from the same beginning, with every fault at every call.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::scene::{Flow, Holder, Outcome, Scene};
use super::table::{Tables, drain};
use crate::harness::{CallFault, CallMade, Client, Extent, Injection, Stack};

/// For how long faults go on after an answer: whatever a request has left under way fails too, and is over then.
const UNDER_WAY: Duration = Duration::from_mins(2);
/// Seconds within which what has to be told is told.
const HORIZON: u64 = 4 * 3600;
/// Calls of one form in a row, as the sweep makes, of which the first and the last stand for all but in the full run.
const ALIKE: usize = 4;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Each call of a request.
    Calls,
    /// Each pair of calls too: two of one request, and one of it with one of its repetition.
    Pairs,
}

/// What was tried.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) calls: usize,
    pub(super) cases: usize,
    pub(super) pairs: usize,
    pub(super) failures: Vec<String>,
}

/// Faults of the first request, of the second, and so on.
type Case = Vec<Vec<Injection>>;

/// A flow that is ready to be run.
struct Prepared {
    flow: Flow,
    stack: Stack,
    scene: Scene,
    /// The tables and the time before the request.
    tables: Tables,
    now: u64,
    /// What the request calls where nothing fails.
    calls: OnceLock<Vec<CallMade>>,
}

/// Runs a flow with every fault. On a runtime of one thread whose time is paused.
pub(super) async fn run(flow: Flow, depth: Depth) -> Tried {
    let stack = Stack::in_process(flow.parameters).await;
    let scene = (flow.set_up)(&stack).await;
    if !scene.is_about_outbox {
        assert_eq!(drain(&stack, 0).await, 0, "{}: something waits from before", flow.name());
    }
    let tables = Tables::read(stack.calls()).await;
    let now = stack.clock.now().unix();
    let prepared = Arc::new(Prepared { flow, stack, scene, tables, now, calls: OnceLock::new() });

    // Once to have everything in memory, once to see what is called.
    let mut failures = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..2 {
        match attempt(&prepared, Vec::new()).await {
            Ok(made) => calls = made,
            Err(failure) => failures.push(failure),
        }
    }
    if !failures.is_empty() {
        return Tried { calls: 0, cases: 0, pairs: 0, failures };
    }
    let calls = prepared.calls.get_or_init(|| calls);
    let (singles, pairs) = (singles(calls), pairs(calls));
    let (cases, pair_count) = (singles.len(), pairs.len());
    let chosen = if depth == Depth::Pairs { singles.into_iter().chain(pairs).collect() } else { singles };
    for case in chosen {
        if let Err(failure) = attempt(&prepared, case).await {
            failures.push(failure);
        }
    }
    Tried { calls: calls.len(), cases, pairs: pair_count, failures }
}

/// One fault each: at every call, in every way, once and for good.
fn singles(calls: &[CallMade]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, call) in calls.iter().enumerate().filter(|(at, _)| !is_one_of_many(calls, *at)) {
        for fault in CallFault::ALL.into_iter().filter(|fault| fault.fits(call)) {
            cases.extend(Extent::ALL.map(|extent| vec![vec![Injection { at, fault, extent }]]));
        }
    }
    cases
}

/// Two faults each: at a call, once or for good, with another one at a later call; and one for good at a call with another
/// one when the request is repeated. Here one kind stands for all that do nothing, and one for all that do what was asked and do
/// not get to say so.
fn pairs(calls: &[CallMade]) -> Vec<Case> {
    const KINDS: [CallFault; 2] = [CallFault::Refused, CallFault::CutOff];
    let places: Vec<usize> = (0..calls.len()).filter(|at| !is_one_of_many(calls, *at)).collect();
    let mut cases = Vec::new();
    for &first in &places {
        for &second in &places {
            for fault in KINDS {
                for other in KINDS {
                    let always = |at, fault| Injection { at, fault, extent: Extent::Always };
                    cases.push(vec![vec![always(first, fault)], vec![always(second, other)]]);
                    if second > first {
                        let once = Injection { at: first, fault, extent: Extent::Once };
                        cases.push(vec![vec![once, always(second, other)]]);
                        cases.push(vec![vec![always(first, fault), always(second, other)]]);
                    }
                }
            }
        }
    }
    cases
}

/// Whether a call stands amid others of its form.
fn is_one_of_many(calls: &[CallMade], at: usize) -> bool {
    let is_alike = |other: usize| calls.get(other).is_some_and(|other| *other == calls[at]);
    let before = (0..at).rev().take_while(|other| is_alike(*other)).count();
    let after = (at + 1..calls.len()).take_while(|other| is_alike(*other)).count();
    before > 0 && after > 0 && before + after + 1 >= ALIKE
}

/// Runs a case. The calls of its last request; or what was wrong.
async fn attempt(prepared: &Arc<Prepared>, case: Case) -> Result<Vec<CallMade>, String> {
    let name = format!("{}: {case:?}", prepared.flow.name());
    let run = Arc::clone(prepared);
    // A task of its own, so that one failure is no end.
    let outcome = tokio::spawn(async move { run.case(case).await }).await;
    outcome.map_err(|error| format!("{name}: {}", message(error.into_panic().as_ref())))
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Prepared {
    /// Sends the request with these faults, then until it succeeds, and looks at what it left.
    async fn case(&self, case: Case) -> Vec<CallMade> {
        let Self { scene, stack, .. } = self;
        self.tables.restore(stack.calls()).await;
        stack.clock.set(shared::clock::Timestamp::from_unix(self.now));
        let mut told = Told::so_far(stack);
        let mut anew = None;
        let mut sender = scene.request.sender(stack);
        let mut answers: Vec<Outcome> = Vec::new();
        let mut left = None;
        let mut made = Vec::new();
        let rounds: Vec<_> = case.iter().cloned().chain([Vec::new()]).collect();
        let is_hidden = is_hidden(&case);
        for (round, faults) in rounds.iter().enumerate() {
            // Whoever has an answer does not ask again.
            let is_answered = answers.last().is_some_and(|answer| !is_failure(answer));
            if is_answered && !(scene.is_repeated && round == rounds.len() - 1) {
                continue;
            }
            if scene.is_cold {
                // What it tells is its own.
                anew = Some(stack.begun_anew(self.flow.parameters).await);
                told = Told::default();
            }
            stack.calls().begin(faults);
            let (answer, holder) = sender.send(anew.as_ref().unwrap_or(stack)).await;
            if !faults.is_empty() {
                tokio::time::sleep(UNDER_WAY).await;
            }
            let (calls, met) = stack.calls().end();
            if let Some(first) = faults.first() {
                assert!(met.contains(first) || round > 0, "the fault was not met: {calls:?}");
            }
            let before = &answers[..];
            let is_documented = answer == scene.success || !before.is_empty() && scene.again.contains(&answer);
            assert!(
                is_documented || !faults.is_empty() && !is_hidden && is_failure(&answer),
                "answered {answer:?} after {before:?}; calls: {:?}",
                calls.iter().map(|call| &call.operation).collect::<Vec<_>>()
            );
            answers.push(answer);
            left = holder;
            made = calls;
        }
        self.check(anew.as_ref().unwrap_or(stack), &answers, left, &case, &told).await;
        made
    }

    /// Looks at what a case left, by an instance.
    async fn check(
        &self,
        stack: &Stack,
        answers: &[Outcome],
        left: Option<Holder>,
        case: &[Vec<Injection>],
        told: &Told,
    ) {
        let scene = &self.scene;
        let last = answers.last().expect("an answer");
        if last.0 < 400
            && let Some(holder) = &left
        {
            assert!(opens(stack, holder).await, "whoever is answered is signed in");
        }
        for holder in &scene.alive {
            assert!(opens(stack, holder).await, "somebody was signed out");
        }
        for holder in &scene.dead {
            assert!(!opens(stack, holder).await, "somebody is still signed in");
        }
        let succeeded = answers.iter().filter(|answer| **answer == scene.success).count();
        let others = answers.len() - succeeded;
        let spent = Tables::read(stack.calls()).await.spent_since(&self.tables);
        let [succeeded, others] = [succeeded, others].map(|count| i64::try_from(count).expect("few"));
        let due = i64::from(scene.spends) * succeeded;
        let forgiven = if is_hidden(case) { 0 } else { i64::from(scene.forgives) * succeeded };
        let most = due + forgiven + others;
        assert!(spent.iter().all(|(_, count)| (0..=most).contains(count)), "{spent:?} of {answers:?}");
        assert!(due == 0 || spent.iter().any(|(_, count)| *count >= due), "{spent:?} of {answers:?}");

        assert_eq!(drain(stack, HORIZON).await, scene.waiting, "items of the outbox");
        let requests = if scene.tells_each_time { answers.len() } else { 1 };
        let (mails, events) = told.since(stack);
        assert_told("mails", &mails, &scene.mails, requests, self.may_double("SendEmail", case));
        let expected: Vec<_> = scene.events.iter().map(|(name, count)| ((*name).to_owned(), count.clone())).collect();
        assert_told("events", &events, &expected, requests, self.may_double("PutEvents", case));

        let tables = Tables::read(stack.calls()).await;
        tables.assert_whole(&self.tables, stack.clock.now().unix());
        if let Some(sessions) = scene.sessions {
            assert_eq!(tables.sessions(), sessions, "sessions");
        }
        if let Some(goal) = &scene.goal {
            goal(stack).await;
        }
    }

    /// Whether what the request itself sends by this operation may come twice: it was taken without an answer, or what came
    /// after it failed, and nobody knows that it was sent.
    fn may_double(&self, operation: &str, case: &[Vec<Injection>]) -> bool {
        let calls = self.calls.get().map(Vec::as_slice).unwrap_or_default();
        let Some(sent) = calls.iter().position(|call| call.operation == operation) else { return false };
        case.iter().flatten().any(|fault| {
            let strikes_it = fault.at == sent || fault.at < sent && fault.extent == Extent::Onwards;
            fault.at > sent || strikes_it && fault.fault.takes_effect()
        })
    }
}

/// Whether the SDK's retries hide all of it.
fn is_hidden(case: &[Vec<Injection>]) -> bool {
    case.len() == 1 && case[0].iter().all(|fault| fault.extent == Extent::Once)
}

fn is_failure(answer: &Outcome) -> bool {
    answer.0 >= 500
}

/// Whether somebody is signed in.
async fn opens(stack: &Stack, holder: &Holder) -> bool {
    let answer = match holder {
        Holder::App(access) => stack.me(access).await,
        Holder::Browser(browser) => stack.moved_here(browser).get("/me").send().await,
    };
    assert!(matches!(answer.status, 200 | 401), "{}", answer.text());
    answer.status == 200
}

fn assert_told(
    what: &str,
    told: &BTreeMap<String, usize>,
    expected: &[(String, std::ops::RangeInclusive<usize>)],
    requests: usize,
    is_doubled: bool,
) {
    let names: BTreeSet<&String> = told.keys().chain(expected.iter().map(|(name, _)| name)).collect();
    for name in names {
        let count = told.get(name).copied().unwrap_or_default();
        let counts = expected.iter().filter(|(expected, _)| expected == name).map(|(_, counts)| counts);
        let (least, most) =
            counts.fold((0, 0), |(least, most), counts| (least + counts.start(), most + counts.end() * requests));
        let is_right = count >= least && (count <= most || is_doubled && most > 0);
        assert!(is_right, "{what}: {count} for {name}, not {least} to {most}: {told:?}");
    }
}

/// What was mailed and published, by number.
#[derive(Default)]
struct Told {
    mails: u64,
    events: u64,
}

impl Told {
    fn so_far(stack: &Stack) -> Self {
        let mails = stack.local.mailbox().mails();
        let events = events(stack);
        Self {
            mails: mails.last().map_or(0, |mail| mail.id.parse().expect("a number")),
            events: events.last().map_or(0, |(number, _)| *number),
        }
    }

    /// Mails by address and events by type since then.
    fn since(&self, stack: &Stack) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
        let mut mails = BTreeMap::new();
        for mail in stack.local.mailbox().mails() {
            if mail.id.parse::<u64>().expect("a number") > self.mails {
                *mails.entry(mail.to).or_default() += 1;
            }
        }
        let mut told = BTreeMap::new();
        for (number, event) in events(stack) {
            if number > self.events {
                *told.entry(event).or_default() += 1;
            }
        }
        (mails, told)
    }
}

/// Numbers and types of events.
fn events(stack: &Stack) -> Vec<(u64, String)> {
    let read = |event| {
        let event: Value = serde_json::to_value(event).expect("JSON");
        let id = event["id"].as_str().and_then(|id| id.split('-').next()).expect("an id");
        let number = u64::from_str_radix(id, 16).expect("a number");
        (number, event["detail-type"].as_str().expect("a type").to_owned())
    };
    stack.local.event_bus().events().into_iter().map(read).collect()
}

/// A browser's cookies at another instance.
impl Stack {
    pub(super) fn moved_here(&self, client: &Client) -> Client {
        client.at(&self.client())
    }
}
