//! The set-ups that are checked: what has to hold in each, and what has to fail.
//!
//! A property that is in neither list says nothing in its set-up, or is another scenario's.

use std::fmt::Debug;
use std::hash::Hash;

use shared::session::Kind;
use stateright::{Checker, Model};

use crate::life::{self, Server};
use crate::protocol::{Access, Protocol};
use crate::replacement::{self, Replacement};
use crate::world::{
    Action, COPIES_END, GRACE_ENDS, Keys, ONE_IS_CURRENT, REQUESTS_GO_ON, REVOKED_IS_DEAD, Rules, STAYS_SIGNED_IN,
    Setup, THEFT_ENDS, THEFT_SHOWS,
};

/// A set-up of a model, which can be asked to look at one property alone, and to end where that is violated.
pub trait Bounded:
    Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq + Send + Sync>
    + Copy
    + Send
    + Sync
{
    /// The same, looking at this property alone.
    #[must_use]
    fn looking_at(&self, property: &'static str) -> Self;
}

impl Bounded for Setup {
    fn looking_at(&self, property: &'static str) -> Self {
        Self { only: Some(property), ..*self }
    }
}

/// A set-up and what is claimed of it.
#[derive(Clone, Debug)]
pub struct Scenario<S = Setup> {
    /// What it is about.
    pub name: &'static str,
    /// Who is there.
    pub setup: S,
    /// Properties that hold in every state.
    pub holds: &'static [&'static str],
    /// Properties that some state violates, each with the length of its shortest counterexample.
    pub fails: &'static [(&'static str, usize)],
}

/// What a check found.
#[derive(Debug)]
pub struct Outcome<A = Action> {
    /// The states that were visited, each counted once.
    pub states: usize,
    /// The steps of the longest of the shortest ways to a state.
    pub depth: usize,
    /// Violated properties, each with a shortest counterexample.
    pub violations: Vec<(&'static str, Vec<A>)>,
}

impl<S: Bounded + 'static> Scenario<S> {
    /// Explores every interleaving.
    pub fn check(&self) -> Outcome<S::Action> {
        let checker = self.setup.checker().threads(1).spawn_bfs().join();
        let mut violated: Vec<&'static str> = checker.discoveries().into_keys().collect();
        violated.sort_unstable();
        let violations = violated.into_iter().filter_map(|name| {
            // The checker tells of the last violation that it met. Looking for this one alone, it ends at the first, and
            // breadth first that is a shortest one.
            let setup = self.setup.looking_at(name);
            let path = setup.checker().threads(1).spawn_bfs().join().discovery(name)?;
            Some((name, path.into_actions()))
        });
        Outcome { states: checker.unique_state_count(), depth: checker.max_depth(), violations: violations.collect() }
    }

    /// What of the claims is not so.
    pub fn contradictions(&self, outcome: &Outcome<S::Action>) -> Vec<String> {
        let found = |name: &str| outcome.violations.iter().find(|(violated, _)| *violated == name);
        let held = self.holds.iter().filter_map(|name| {
            let (_, path) = found(name)?;
            Some(format!("{}: «{name}» is violated by {path:?}", self.name))
        });
        let failed = self.fails.iter().filter_map(|(name, length)| match found(name) {
            Some((_, path)) if path.len() == *length => None,
            Some((_, path)) => Some(format!("{}: «{name}» takes {} steps: {path:?}", self.name, path.len())),
            None => Some(format!("{}: «{name}» holds", self.name)),
        });
        held.chain(failed).collect()
    }
}

const EVERYTHING: &[&str] = &[STAYS_SIGNED_IN, THEFT_ENDS, THEFT_SHOWS, GRACE_ENDS, REVOKED_IS_DEAD, ONE_IS_CURRENT];

const APP: Setup = Setup::app();
const REMEMBERED: Setup = Setup { kind: Kind::Remembered, tabs: 2, ..APP };
const BROWSER: Setup = Setup { kind: Kind::Browser, tabs: 2, ..APP };
/// Tabs as a page without any client library has them.
const CARELESS: Rules = Rules { lock: false, wait_for_dead: false, calls_share_lock: false, ..Rules::ALL };

/// All scenarios, in the order in which `docs/decisions/0006-session-protocol.md` speaks of them. `deep` has larger
/// bounds.
pub fn all(deep: bool) -> Vec<Scenario> {
    [honest(deep), rules(), thieves(deep), endings(deep), variants(deep), published(deep), readers(deep)].concat()
}

/// A faulty network and crashes: all that a client can bear without an enemy.
fn faults(setup: Setup, deep: bool) -> Setup {
    let more = u8::from(deep);
    Setup {
        refreshes: 3 + more,
        resends: 2,
        duplicates: 1 + more,
        losses: 2,
        crashes: 1 + more,
        steps: 3 + more,
        ..setup
    }
}

/// A thief who copies the store, once and at any moment, and refreshes three times.
fn theft(setup: Setup, deep: bool) -> Setup {
    let more = u8::from(deep);
    Setup { theft: true, thief_refreshes: 3 + more, refreshes: 3 + more, losses: 1, steps: 3 + more, ..setup }
}

/// What is promised to a client that keeps its rules.
pub fn honest(deep: bool) -> Vec<Scenario> {
    let scenario = |name, setup| Scenario { name, setup, holds: EVERYTHING, fails: &[] };
    vec![
        scenario("an app", faults(APP, deep)),
        scenario("an app of two processes", faults(Setup { tabs: 2, ..APP }, deep)),
        scenario("a remembered browser of two tabs", faults(REMEMBERED, deep)),
        scenario("a browser of two tabs", faults(BROWSER, deep)),
        scenario(
            "a browser of two tabs, and calls that extend",
            Setup { calls: 2, crashes: 0, duplicates: 0, ..faults(BROWSER, deep) },
        ),
    ]
}

/// What does not hold without one of the client's rules, and what no rule of ours helps against.
pub fn rules() -> Vec<Scenario> {
    let ends_after = |name, setup: Setup, fails| Scenario { name, setup, holds: &[ONE_IS_CURRENT], fails };
    let app = faults(APP, false);
    let remembered = faults(REMEMBERED, false);
    let keyless = Setup { keys: Keys::Absent, rules: CARELESS, refreshes: 3, ..REMEMBERED };
    vec![
        ends_after(
            "without: the key is stored before it is sent",
            Setup { rules: Rules { key_stored_first: false, ..Rules::ALL }, ..app },
            &[(STAYS_SIGNED_IN, 4)],
        ),
        ends_after(
            "without: token stored and key cleared in one step",
            Setup { rules: Rules { one_step: false, ..Rules::ALL }, ..app },
            &[(STAYS_SIGNED_IN, 4)],
        ),
        ends_after(
            "without: an unchanged key is followed by a fresh one",
            Setup { rules: Rules { fresh_key_on_unchanged: false, ..Rules::ALL }, ..remembered },
            &[(STAYS_SIGNED_IN, 4)],
        ),
        ends_after(
            "without: one refresh at a time (a key for each tab)",
            Setup { keys: Keys::PerTab, rules: CARELESS, refreshes: 2, ..REMEMBERED },
            &[(STAYS_SIGNED_IN, 4)],
        ),
        ends_after(
            "without: earlier attempts are dead before a new one",
            Setup { crashes: 0, losses: 0, rules: Rules { wait_for_dead: false, ..Rules::ALL }, ..remembered },
            &[(STAYS_SIGNED_IN, 9)],
        ),
        ends_after(
            "without: that, and late answers ignored",
            Setup { rules: Rules { wait_for_dead: false, ignore_late: false, ..Rules::ALL }, ..app },
            &[(STAYS_SIGNED_IN, 9)],
        ),
        ends_after(
            "without: these, and the store read again on a duplicate",
            Setup {
                rules: Rules { wait_for_dead: false, ignore_late: false, reread_on_duplicate: false, ..Rules::ALL },
                ..app
            },
            &[(STAYS_SIGNED_IN, 8)],
        ),
        ends_after(
            "without: calls that extend share the lock",
            Setup { calls: 1, steps: 1, rules: Rules { calls_share_lock: false, ..Rules::ALL }, ..BROWSER },
            &[(STAYS_SIGNED_IN, 6)],
        ),
        // Without duplicates by the network, a crash and losses, which change nothing here.
        ends_after(
            "without: the wait, four refreshes in an app within 25 s",
            Setup {
                refreshes: 4,
                rules: Rules { wait_for_dead: false, ..Rules::ALL },
                ..Setup { duplicates: 0, losses: 0, crashes: 0, ..app }
            },
            &[(STAYS_SIGNED_IN, 13)],
        ),
        Scenario {
            name: "without: the wait, three refreshes in an app",
            setup: Setup { rules: Rules { wait_for_dead: false, ..Rules::ALL }, ..app },
            holds: EVERYTHING,
            fails: &[],
        },
        Scenario {
            name: "a key that is not bound to its token",
            setup: Setup { rules: Rules { key_bound: false, ..Rules::ALL }, ..app },
            holds: EVERYTHING,
            fails: &[],
        },
        ends_after(
            "no rule helps: a page killed during a call",
            Setup { calls: 1, steps: 1, crashes: 1, ..BROWSER },
            &[(STAYS_SIGNED_IN, 7)],
        ),
        Scenario {
            name: "no keys, no lock: two refreshes within the grace",
            setup: Setup { refreshes: 2, ..keyless },
            holds: &[STAYS_SIGNED_IN, ONE_IS_CURRENT],
            fails: &[],
        },
        ends_after("no keys, no lock: three refreshes", keyless, &[(STAYS_SIGNED_IN, 7)]),
        ends_after(
            "no keys, no lock: a lost answer",
            Setup { refreshes: 2, losses: 1, steps: 1, ..keyless },
            &[(STAYS_SIGNED_IN, 5)],
        ),
    ]
}

/// What becomes of a theft.
pub fn thieves(deep: bool) -> Vec<Scenario> {
    let ends = |name, setup: Setup| Scenario {
        name,
        setup,
        holds: &[THEFT_ENDS, THEFT_SHOWS, GRACE_ENDS, ONE_IS_CURRENT],
        fails: &[],
    };
    vec![
        ends("theft from an app", Setup { resends: 1, duplicates: 1, crashes: 1, ..theft(APP, deep) }),
        ends("theft from a remembered browser", Setup { crashes: 1, ..theft(REMEMBERED, deep) }),
        ends("theft from a browser that sends keys", Setup { calls: 1, ..theft(BROWSER, deep) }),
        ends("theft from an app without keys", Setup { keys: Keys::Absent, ..theft(APP, deep) }),
        ends("theft from a client with one key for ever", Setup { keys: Keys::Constant, ..theft(APP, deep) }),
        Scenario {
            name: "theft from a browser without keys",
            setup: Setup { keys: Keys::Absent, ..theft(BROWSER, deep) },
            holds: &[THEFT_SHOWS, GRACE_ENDS, ONE_IS_CURRENT],
            fails: &[(THEFT_ENDS, 8)],
        },
    ]
}

/// Logout, a raised epoch, expiry: at any moment of a refresh, with the server's two database calls in either order.
pub fn endings(deep: bool) -> Vec<Scenario> {
    let more = u8::from(deep);
    let setup = Setup { logout: true, refreshes: 3, resends: 2, losses: 1, crashes: 1, steps: 1 + more, ..APP };
    vec![
        Scenario {
            name: "logout, raised epoch or expiry",
            setup,
            holds: &[REVOKED_IS_DEAD, ONE_IS_CURRENT],
            fails: &[],
        },
        Scenario {
            name: "broken: the epoch is not looked at",
            setup: Setup { protocol: Protocol::EpochUnchecked, ..setup },
            holds: &[ONE_IS_CURRENT],
            fails: &[(REVOKED_IS_DEAD, 4)],
        },
    ]
}

/// Broken variants of the machine: the checker has to notice each.
pub fn variants(deep: bool) -> Vec<Scenario> {
    let keyless = |protocol, setup| Setup { protocol, keys: Keys::Absent, ..theft(setup, deep) };
    vec![
        Scenario {
            name: "broken: grace without limit",
            setup: keyless(Protocol::GraceWithoutLimit, BROWSER),
            holds: &[ONE_IS_CURRENT],
            fails: &[(GRACE_ENDS, 5), (THEFT_ENDS, 8)],
        },
        Scenario {
            name: "broken: absent keys match",
            setup: keyless(Protocol::AbsentKeysMatch, APP),
            holds: &[ONE_IS_CURRENT],
            fails: &[(GRACE_ENDS, 5), (THEFT_ENDS, 8)],
        },
        Scenario {
            name: "broken: one key for ever",
            setup: Setup { protocol: Protocol::NoKeyReuseCheck, keys: Keys::Constant, ..theft(APP, deep) },
            holds: &[ONE_IS_CURRENT],
            fails: &[(THEFT_ENDS, 8)],
        },
        Scenario {
            name: "broken: known keys tolerated for ever",
            setup: Setup { protocol: Protocol::KnownKeysForEver, ..theft(APP, deep) },
            holds: &[THEFT_ENDS, ONE_IS_CURRENT],
            fails: &[(THEFT_SHOWS, 10)],
        },
        Scenario {
            name: "broken: a copy of a refused request is taken for theft",
            setup: Setup { protocol: Protocol::RefusedCopyIsTheft, ..faults(REMEMBERED, deep) },
            holds: &[ONE_IS_CURRENT],
            fails: &[(STAYS_SIGNED_IN, 11)],
        },
    ]
}

/// What others publish, with the client that they describe: an app that sends no keys, repeats what was lost, ignores
/// late answers and does not wait for what is still under way.
pub fn published(deep: bool) -> Vec<Scenario> {
    let rules = Rules { wait_for_dead: false, ..Rules::ALL };
    let faulty = |protocol| Setup { protocol, keys: Keys::Absent, rules, duplicates: 0, ..faults(APP, deep) };
    let stolen = |protocol| Setup { protocol, keys: Keys::Absent, ..theft(APP, deep) };
    let scenario = |name, setup, holds, fails| Scenario { name, setup, holds, fails };
    vec![
        scenario("RFC 9700 rotation, faults", faulty(Protocol::Rotation), &[ONE_IS_CURRENT], &[(STAYS_SIGNED_IN, 4)]),
        scenario("RFC 9700 rotation, theft", stolen(Protocol::Rotation), &[THEFT_ENDS, THEFT_SHOWS, GRACE_ENDS], &[]),
        scenario("reuse interval, faults", faulty(Protocol::ReuseInterval), &[ONE_IS_CURRENT], &[(STAYS_SIGNED_IN, 5)]),
        scenario(
            "reuse interval, theft",
            stolen(Protocol::ReuseInterval),
            &[THEFT_SHOWS, GRACE_ENDS],
            &[(THEFT_ENDS, 8)],
        ),
        scenario(
            "unlimited parent, faults",
            faulty(Protocol::UnlimitedParent),
            &[ONE_IS_CURRENT],
            &[(STAYS_SIGNED_IN, 7)],
        ),
        scenario(
            "unlimited parent, theft",
            stolen(Protocol::UnlimitedParent),
            &[ONE_IS_CURRENT],
            &[(GRACE_ENDS, 5), (THEFT_ENDS, 8)],
        ),
    ]
}

/// Whoever reads a session compares generations too (`docs/decisions/0019-older-generations.md`): protected requests and
/// uploads of an honest client, and a thief who uses a copied access cookie.
pub fn readers(deep: bool) -> Vec<Scenario> {
    const HOLDS: &[&str] = &[STAYS_SIGNED_IN, REQUESTS_GO_ON, COPIES_END, ONE_IS_CURRENT];
    let more = u8::from(deep);
    let asking = Setup {
        refreshes: 3,
        resends: 1,
        losses: 1 + more,
        crashes: more,
        steps: 4 + more,
        protected: 2,
        uploads: 1,
        ..BROWSER
    };
    let remembered = Setup { kind: Kind::Remembered, ..asking };
    let copied = Setup {
        theft: true,
        thief_uses: 2 + more,
        thief_refreshes: 1,
        refreshes: 3,
        losses: 1,
        steps: 2 + more,
        ..BROWSER
    };
    let holds = |name, setup| Scenario { name, setup, holds: HOLDS, fails: &[] };
    let fails = |name, setup, fails| Scenario { name, setup, holds: &[ONE_IS_CURRENT], fails };
    let broken = |access| Setup { access, ..asking };
    vec![
        holds("requests and uploads of a browser", asking),
        holds("requests and uploads of a remembered browser", remembered),
        holds("requests and uploads of an app", Setup { kind: Kind::App, tabs: 1, ..asking }),
        holds("a copied cookie of a browser", copied),
        holds("a copied cookie of a remembered browser", Setup { kind: Kind::Remembered, ..copied }),
        fails("broken: no allowance for requests under way", broken(Access::NoAllowance), &[(REQUESTS_GO_ON, 4)]),
        fails("broken: the generation before ends the session", broken(Access::ParentIsTheft), &[(STAYS_SIGNED_IN, 7)]),
        fails("broken: an upload is taken for any request", broken(Access::UploadsAreFast), &[(STAYS_SIGNED_IN, 7)]),
        fails(
            "broken: an older generation is good everywhere",
            Setup { access: Access::OlderIsGood, ..copied },
            &[(COPIES_END, 7)],
        ),
        fails(
            "no rule helps: a request that two rotations overtake",
            Setup { overtaken: true, uploads: 0, ..asking },
            &[(STAYS_SIGNED_IN, 7)],
        ),
    ]
}

/// A password given again, and a password changed (`docs/decisions/0023-replaced-sessions.md`): lost and repeated requests,
/// sessions in flight, and a thief with a copied store.
pub fn replacements(deep: bool) -> Vec<Scenario<replacement::Setup>> {
    use replacement::{
        BEFORE_IS_OVER, COPIES_ARE_NOT_FRESH, COPIES_END, NOTHING_HAPPENS, ONE_FOLLOWS, STAYS_SIGNED_IN, Setup,
    };
    let more = u8::from(deep);
    let honest = |kind| Setup { losses: 2 + more, resends: 1 + more, ..Setup::honest(kind) };
    let stolen = |kind| Setup { thief_tries: 2 + more, ..Setup::stolen(kind) };
    let holds = |name, setup| Scenario {
        name,
        setup,
        holds: &[STAYS_SIGNED_IN, BEFORE_IS_OVER, ONE_FOLLOWS, COPIES_END, COPIES_ARE_NOT_FRESH],
        fails: &[(NOTHING_HAPPENS, 10)],
    };
    let fails = |name, replacement, setup, fails| Scenario {
        name,
        setup: Setup { replacement, ..setup },
        holds: &[BEFORE_IS_OVER],
        fails,
    };
    vec![
        holds("the password again, and a new one, in an app", honest(Kind::App)),
        holds("the password again, and a new one, in a browser", honest(Kind::Browser)),
        holds("the password again, and a new one, in a remembered browser", honest(Kind::Remembered)),
        holds("the same beside a thief, in an app", stolen(Kind::App)),
        holds("the same beside a thief, in a browser", stolen(Kind::Browser)),
        fails(
            "broken: the session that asks becomes the fresh one",
            Replacement::InPlace,
            stolen(Kind::Browser),
            &[(COPIES_ARE_NOT_FRESH, 6)],
        ),
        fails("broken: the key opens the mark", Replacement::KeyAlone, stolen(Kind::App), &[(COPIES_END, 6)]),
        fails(
            "broken: nothing is left of the old session",
            Replacement::NoMark,
            honest(Kind::App),
            &[(STAYS_SIGNED_IN, 6)],
        ),
        fails(
            "broken: the old session need not be there",
            Replacement::Unconditional,
            honest(Kind::App),
            &[(ONE_FOLLOWS, 8)],
        ),
        fails("broken: a new password keeps the epoch", Replacement::EpochKept, honest(Kind::App), &[(ONE_FOLLOWS, 4)]),
        fails(
            "broken: a request that its copy overtakes looks once",
            Replacement::NoSecondLook,
            honest(Kind::App),
            &[(STAYS_SIGNED_IN, 8)],
        ),
        fails(
            "without: a page waits for what a killed one had under way",
            Replacement::Latchkey,
            Setup { waits_after_crash: false, ..honest(Kind::Browser) },
            &[(STAYS_SIGNED_IN, 14)],
        ),
    ]
}

/// A password reset, a change of address undone, and an account deleted (decisions 22 and 24 in `docs/decisions/`): sessions
/// and sign-ins in flight, and a thief with a copied store.
pub fn lives(deep: bool) -> Vec<Scenario<life::Setup>> {
    use life::{
        ANSWERED_AGAIN, BEFORE_IS_OVER, NOBODY_COMES_BACK, NOBODY_HALF, NOTHING_IS_DELETED, NOTHING_IS_LEFT,
        ONLY_BY_PASSWORD, PROOFS_ARE_OF_NOW, Setup, TAKEN_BACK_STAYS, TOLD_ONCE, UNDO_WINS,
    };
    const HOLDS: &[&str] = &[
        BEFORE_IS_OVER,
        ONLY_BY_PASSWORD,
        ANSWERED_AGAIN,
        PROOFS_ARE_OF_NOW,
        UNDO_WINS,
        NOBODY_HALF,
        TAKEN_BACK_STAYS,
        NOTHING_IS_LEFT,
        TOLD_ONCE,
    ];
    let more = u8::from(deep);
    let tries = |setup: Setup| Setup { thief_tries: setup.thief_tries + more, ..setup };
    let [reset, undo, deletion, taken_back] =
        [Setup::reset, Setup::undo, Setup::deletion, Setup::taken_back].map(|setup| move |kind| tries(setup(kind)));
    let holds = |name, setup, fails| Scenario { name, setup, holds: HOLDS, fails };
    let fails = |name, server, setup, fails| Scenario {
        name,
        setup: Setup { server, ..setup },
        holds: &[TAKEN_BACK_STAYS],
        fails,
    };
    let alone = |setup: Setup| Setup { theft: false, thief_tries: 0, ..setup };
    vec![
        holds("a reset, in an app", reset(Kind::App), &[(NOBODY_COMES_BACK, 11)]),
        holds(
            "a reset, in a browser that asks",
            Setup { refreshes: 0, asks: 1, ..reset(Kind::Browser) },
            &[(NOBODY_COMES_BACK, 11)],
        ),
        holds("an undo, in an app", undo(Kind::App), &[(NOBODY_COMES_BACK, 16)]),
        holds("a deletion, in an app", deletion(Kind::App), &[(NOTHING_IS_DELETED, 9)]),
        holds(
            "a deletion, in a browser that asks",
            Setup { refreshes: 0, asks: 1, ..deletion(Kind::Browser) },
            &[(NOTHING_IS_DELETED, 9)],
        ),
        holds(
            "a deletion, an undo, another deletion",
            taken_back(Kind::App),
            &[(NOBODY_COMES_BACK, 12), (NOTHING_IS_DELETED, 10)],
        ),
        fails(
            "broken: a reset keeps the epoch",
            Server::ResetKeepsEpoch,
            reset(Kind::App),
            &[(BEFORE_IS_OVER, 10), (ONLY_BY_PASSWORD, 7)],
        ),
        fails(
            "broken: a sign-in is of the epoch when it is written",
            Server::LoginLooksTwice,
            alone(reset(Kind::App)),
            &[(ONLY_BY_PASSWORD, 10)],
        ),
        fails(
            "broken: a completed reset is spent",
            Server::ResetIsForgotten,
            alone(reset(Kind::App)),
            &[(ANSWERED_AGAIN, 9)],
        ),
        fails(
            "broken: a reset that its copy overtakes looks once",
            Server::ResetLooksOnce,
            alone(reset(Kind::App)),
            &[(ANSWERED_AGAIN, 10)],
        ),
        fails(
            "broken: a reset holds for any address",
            Server::AddressUnchecked,
            undo(Kind::App),
            &[(PROOFS_ARE_OF_NOW, 8)],
        ),
        fails("broken: an undo keeps the epoch", Server::UndoKeepsEpoch, undo(Kind::App), &[(UNDO_WINS, 12)]),
        fails("broken: an undo keeps the password", Server::UndoKeepsPassword, undo(Kind::App), &[(UNDO_WINS, 10)]),
        fails(
            "broken: an undo that its copy overtakes looks once",
            Server::UndoLooksOnce,
            undo(Kind::App),
            &[(ANSWERED_AGAIN, 11)],
        ),
        fails("broken: sign-in asks for no status", Server::StatusUnchecked, undo(Kind::App), &[(NOBODY_HALF, 10)]),
        Scenario {
            name: "broken: the outbox deletes what it no longer sees",
            setup: Setup { server: Server::DeletesUnseen, ..taken_back(Kind::App) },
            holds: &[PROOFS_ARE_OF_NOW],
            fails: &[(TAKEN_BACK_STAYS, 10)],
        },
        fails("broken: the outbox looks once", Server::OnePass, deletion(Kind::App), &[(NOTHING_IS_LEFT, 9)]),
        fails(
            "broken: every deletion that was asked for is told of",
            Server::EveryDeletionCounts,
            taken_back(Kind::App),
            &[(TOLD_ONCE, 26)],
        ),
    ]
}
