//! A password given again, and a password changed, with sessions in flight and a thief with a copied store: DESIGN.md
//! section 9, on the machine that production calls.
//!
//! An account has two sessions: the owner's, whose client refreshes, gives the password again and changes it, one request at
//! a time, each with a key that lies in its store until it is answered; and another device's, which refreshes. The thief
//! copies the owner's store at any moment, a pending key too, and knows no password. Inside the server each request is two
//! or three steps, as it is two or three calls of the database, and anything may come between them.

use shared::account::UserId;
use shared::clock::Timestamp;
use shared::session::{AccessDecision, Kind, REPLACEMENT_WINDOW, Replaced, RetryKey, SessionId, SessionRef};
use stateright::{Model, Property};

use crate::protocol::{Access, Key, Protocol, Reply, Stored};
use crate::scenarios::Bounded;

/// A way to replace sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replacement {
    /// Production's.
    Latchkey,
    /// Broken: the session that asked becomes the fresh one, so that every copy of it is fresh.
    InPlace,
    /// Broken: the mark opens to the key, whatever password comes with it.
    KeyAlone,
    /// Broken: the old session is simply gone, and nothing answers a repeated request.
    NoMark,
    /// Broken: nobody looks whether the old session is still there when the new one is put.
    Unconditional,
    /// Broken: a new password leaves the epoch as it is.
    EpochKept,
    /// Broken: a request that its own copy overtakes inside the server does not look again.
    NoSecondLook,
}

/// Who is there, and how often each thing may happen.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What the server does.
    pub replacement: Replacement,
    /// The kind of the sessions.
    pub kind: Kind,
    /// Refreshes begun by the owner's client.
    pub refreshes: u8,
    /// Passwords given again by it.
    pub reauthentications: u8,
    /// Passwords changed by it.
    pub changes: u8,
    /// Repetitions by it while no answer has come.
    pub resends: u8,
    /// Messages that are lost.
    pub losses: u8,
    /// Crashes of it.
    pub crashes: u8,
    /// Whether a page takes up what a killed one had under way only when that is answered or dead: no script sees whether its
    /// cookies have come meanwhile, and then it is another request.
    pub waits_after_crash: bool,
    /// Refreshes of the other device.
    pub others: u8,
    /// Whether a thief copies the owner's store, once.
    pub theft: bool,
    /// Refreshes, and repetitions of a stolen request, by the thief.
    pub thief_tries: u8,
    /// Look at this property alone, and end where it is violated; `None`: all of them, to the end.
    pub only: Option<&'static str>,
}

impl Setup {
    /// A faulty network, and no enemy.
    pub const fn honest(kind: Kind) -> Self {
        Self {
            replacement: Replacement::Latchkey,
            kind,
            refreshes: 2,
            reauthentications: 1,
            changes: 1,
            resends: 1,
            losses: 2,
            crashes: 1,
            waits_after_crash: true,
            others: 1,
            theft: false,
            thief_tries: 0,
            only: None,
        }
    }

    /// A thief who copies the owner's store.
    pub const fn stolen(kind: Kind) -> Self {
        let honest = Self::honest(kind);
        Self { theft: true, thief_tries: 2, refreshes: 1, losses: 1, crashes: 0, others: 0, ..honest }
    }
}

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// New tokens.
    Refresh,
    /// The password again.
    Reauthenticate,
    /// A new password.
    Change,
}

/// What somebody presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    op: Op,
    session: u8,
    generation: u8,
    key: Option<Key>,
    /// The password that is given, and the one that the account is to have afterwards.
    passwords: (u8, u8),
    by: Who,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// The owner's client.
    Owner,
    /// The other device.
    Other,
}

/// A message under way, or a request inside the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// On its way to the server.
    Request(Attempt),
    /// Inside: the session is rotated, and is of this epoch; the user is not yet read. The flag: it was over before.
    Rotated(Attempt, Reply, u8, bool),
    /// Inside: the guess is charged to a session of this epoch; the user is not yet read. The flag: for the second time.
    Charged(Attempt, u8, bool),
    /// Inside: the user was of this epoch and had this password; the guess is not yet charged.
    Read(Attempt, u8, u8),
    /// Inside: the password is right, and the user was of this epoch; nothing is written yet.
    Compared(Attempt, u8),
    /// The answer.
    Answer(Attempt, Said),
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Said {
    /// Tokens of this generation of this session.
    Tokens(u8, u8),
    /// `wrong_password`.
    WrongPassword,
    /// `duplicate_request`.
    Duplicate,
    /// `invalid_request`: the key is the one of the rotation before.
    UnchangedKey,
    /// The session is over.
    Over,
}

/// What lies in a session's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Session { stored: Stored, epoch: u8, is_fresh: bool },
    Mark { by: u8, key: Option<Key> },
    Nothing,
}

/// What a client keeps over crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Store {
    session: u8,
    token: u8,
    /// The request under way, with its key.
    pending: Option<(Op, Key)>,
}

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct World {
    epoch: u8,
    password: u8,
    slots: Vec<Slot>,
    store: Store,
    other: Store,
    /// What the owner's client waits for.
    waiting: Option<Attempt>,
    signed_out: bool,
    network: Vec<Message>,
    loot: Option<Store>,
    next_key: Key,
    /// What was over refreshed.
    revived: bool,
    /// A session had two successors, or two sessions are of the epoch of a new password.
    forked: bool,
    /// The thief's copy of a session that was replaced opened something.
    thief_lives: bool,
    /// A copy of a session from before the password was given is fresh.
    thief_is_fresh: bool,
    left: Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Left {
    refreshes: u8,
    reauthentications: u8,
    changes: u8,
    resends: u8,
    losses: u8,
    crashes: u8,
    others: u8,
    thefts: u8,
    thief_tries: u8,
}

impl Left {
    const fn of(&mut self, op: Op) -> &mut u8 {
        match op {
            Op::Refresh => &mut self.refreshes,
            Op::Reauthenticate => &mut self.reauthentications,
            Op::Change => &mut self.changes,
        }
    }
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client begins a request, or takes up the one that is pending.
    Begin(Op),
    /// It sends its request again.
    Resend,
    /// It gives up waiting: everything of its request is answered or lost.
    GiveUp,
    /// It is killed.
    Crash,
    /// The other device refreshes.
    Other,
    /// A message arrives, or the server takes its next step.
    Deliver(Message),
    /// A request arrives, and the server reads the user before it charges the guess; else it is the other way round.
    ReadFirst(Message),
    /// A message is lost.
    Lose(Message),
    /// The thief copies the owner's store.
    Steal,
    /// The thief refreshes, with the stolen key or without one.
    ThiefRefresh(bool),
    /// The thief repeats the stolen request, with a made up password.
    ThiefRepeat,
    /// The thief asks a route that wants to be fresh.
    ThiefUse,
}

/// The passwords: the first, the one it is changed to, and what a thief makes up.
const PASSWORD: u8 = 0;
const NEW_PASSWORD: u8 = 1;
const MADE_UP: u8 = 9;
/// The sessions that there are at first.
const OWNERS: u8 = 0;
const OTHERS: u8 = 1;
/// The key of the other device, which refreshes once.
const OTHERS_KEY: Key = 100;

const NOW: Timestamp = Timestamp::from_unix(1_000_000);

impl Setup {
    fn first(&self) -> World {
        let session = || Slot::Session { stored: Stored::new(), epoch: 0, is_fresh: false };
        let store = |session| Store { session, token: 1, pending: None };
        World {
            epoch: 0,
            password: PASSWORD,
            slots: vec![session(), session()],
            store: store(OWNERS),
            other: store(OTHERS),
            waiting: None,
            signed_out: false,
            network: Vec::new(),
            loot: None,
            next_key: 1,
            revived: false,
            forked: false,
            thief_lives: false,
            thief_is_fresh: false,
            left: Left {
                refreshes: self.refreshes,
                reauthentications: self.reauthentications,
                changes: self.changes,
                resends: self.resends,
                losses: self.losses,
                crashes: self.crashes,
                others: self.others,
                thefts: u8::from(self.theft),
                thief_tries: self.thief_tries,
            },
        }
    }

    /// The server rotates a session; its epoch, and what the client is told if the user is of that.
    fn rotate(&self, world: &mut World, attempt: Attempt) -> Option<(Reply, u8)> {
        let Slot::Session { stored, epoch, is_fresh } = world.slot(attempt.session).clone() else { return None };
        let (after, reply) = Protocol::Latchkey.refresh(&stored, self.kind, attempt.generation, attempt.key);
        world.slots[usize::from(attempt.session)] =
            after.map_or(Slot::Nothing, |stored| Slot::Session { stored, epoch, is_fresh });
        Some((reply, epoch))
    }

    /// The server charges a guess: the session's epoch, or at once what the mark of a replaced one answers, to whoever gives
    /// the user's `password` as it was read.
    fn charge(&self, world: &World, attempt: Attempt, password: u8) -> Result<u8, Said> {
        match world.slot(attempt.session) {
            Slot::Session { epoch, .. } => Ok(*epoch),
            Slot::Mark { by, key } => {
                // A wrong one is compared with the user as it is now, if that is another.
                let looks_again = self.replacement != Replacement::NoSecondLook;
                let is_right = self.replacement == Replacement::KeyAlone
                    || attempt.passwords.1 == password
                    || looks_again && attempt.passwords.1 == world.password;
                if !is_repeated(*key, attempt.key) {
                    Err(Said::Over)
                } else if is_right {
                    Err(world.first_answer(*by))
                } else {
                    Err(Said::WrongPassword)
                }
            }
            Slot::Nothing => Err(Said::Over),
        }
    }

    /// The server compares session and password with the user as it was read.
    fn compare(&self, world: &World, attempt: Attempt, epoch: u8, user: (u8, u8)) -> Result<(), Said> {
        let is_let_in = match world.slot(attempt.session) {
            Slot::Session { stored, .. } => {
                let decision = Access::Latchkey.access(stored, self.kind, attempt.generation, false);
                matches!(decision, AccessDecision::Accept | AccessDecision::AcceptStale)
            }
            // Replaced since it was charged: it was let in as it was then.
            Slot::Mark { .. } | Slot::Nothing => true,
        };
        if epoch != user.0 || !is_let_in {
            return Err(Said::Over);
        }
        if attempt.passwords.0 == user.1 { Ok(()) } else { Err(Said::WrongPassword) }
    }

    /// What follows a comparison.
    fn proceed(&self, world: &mut World, attempt: Attempt, epoch: u8, user: (u8, u8)) {
        match self.compare(world, attempt, epoch, user) {
            Ok(()) => world.send(Message::Compared(attempt, epoch)),
            Err(said) => world.send(Message::Answer(attempt, said)),
        }
    }

    /// The server's transaction.
    fn replace(&self, world: &mut World, attempt: Attempt, epoch: u8) -> Said {
        let is_change = attempt.op == Op::Change;
        let slot = world.slot(attempt.session).clone();
        let is_there = matches!(slot, Slot::Session { .. }) || self.replacement == Replacement::Unconditional;
        if !is_there {
            return match slot {
                Slot::Mark { by, key } if is_repeated(key, attempt.key) => world.first_answer(by),
                _ => Said::Over,
            };
        }
        if is_change && (epoch != world.epoch || attempt.passwords.0 != world.password) {
            return Said::Over;
        }
        if is_change {
            world.password = attempt.passwords.1;
            world.epoch += u8::from(self.replacement != Replacement::EpochKept);
        }
        let epoch = if is_change { world.epoch } else { epoch };
        if let (Replacement::InPlace, Slot::Session { stored, .. }) = (self.replacement, &slot) {
            let generation = stored.generation;
            let stored = stored.clone();
            world.slots[usize::from(attempt.session)] = Slot::Session { stored, epoch, is_fresh: true };
            return Said::Tokens(attempt.session, generation);
        }
        world.forked |= matches!(slot, Slot::Mark { .. });
        let by = number(world.slots.len());
        let mark = Slot::Mark { by, key: attempt.key };
        world.slots[usize::from(attempt.session)] =
            if self.replacement == Replacement::NoMark { Slot::Nothing } else { mark };
        world.slots.push(Slot::Session { stored: Stored::new(), epoch, is_fresh: true });
        if is_change {
            let of_now = |slot: &&Slot| matches!(slot, Slot::Session { epoch, .. } if *epoch == world.epoch);
            world.forked |= world.slots.iter().filter(of_now).count() > 1;
        }
        Said::Tokens(by, 1)
    }

    /// The next step of a message.
    fn arrive(&self, world: &mut World, message: Message) {
        match message {
            Message::Request(attempt) if attempt.op == Op::Refresh => {
                let was_over = world.is_over(attempt.session);
                match self.rotate(world, attempt) {
                    Some((reply, epoch)) => world.send(Message::Rotated(attempt, reply, epoch, was_over)),
                    None => world.send(Message::Answer(attempt, Said::Over)),
                }
            }
            // Whatever the mark of a replaced session says is of the user as it is read after.
            Message::Request(attempt) => match self.charge(world, attempt, world.password) {
                Ok(epoch) => world.send(Message::Charged(attempt, epoch, false)),
                Err(said) => world.send(Message::Answer(attempt, said)),
            },
            Message::Rotated(attempt, reply, epoch, was_over) => {
                let said = match reply {
                    _ if epoch != world.epoch => Said::Over,
                    Reply::Tokens(generation) => Said::Tokens(attempt.session, generation),
                    Reply::Duplicate => Said::Duplicate,
                    Reply::UnchangedKey => Said::UnchangedKey,
                    Reply::Reused | Reply::Ended => Said::Over,
                };
                world.revived |= was_over && matches!(said, Said::Tokens(..));
                world.send(Message::Answer(attempt, said));
            }
            Message::Charged(attempt, epoch, is_second) => {
                let looks_again = self.replacement != Replacement::NoSecondLook && !is_second;
                if epoch < world.epoch && looks_again {
                    match self.charge(world, attempt, world.password) {
                        Ok(epoch) => world.send(Message::Charged(attempt, epoch, true)),
                        Err(said) => world.send(Message::Answer(attempt, said)),
                    }
                    return;
                }
                let user = (world.epoch, world.password);
                self.proceed(world, attempt, epoch, user);
            }
            Message::Read(attempt, epoch, password) => match self.charge(world, attempt, password) {
                Ok(of_session) => self.proceed(world, attempt, of_session, (epoch, password)),
                Err(said) => world.send(Message::Answer(attempt, said)),
            },
            Message::Compared(attempt, epoch) => {
                let said = self.replace(world, attempt, epoch);
                world.send(Message::Answer(attempt, said));
            }
            Message::Answer(attempt, said) => self.take_in(world, attempt, said),
        }
    }

    /// An answer reaches its client, or the cookie jar of a browser whose page is gone.
    fn take_in(&self, world: &mut World, attempt: Attempt, said: Said) {
        let is_awaited = attempt.by == Who::Other || world.waiting == Some(attempt);
        let store = if attempt.by == Who::Owner { &mut world.store } else { &mut world.other };
        if let (Said::Tokens(session, token), true) = (said, is_awaited || self.kind.is_browser()) {
            (store.session, store.token) = (session, token);
            if is_awaited {
                store.pending = None;
            }
        }
        if attempt.by == Who::Owner && is_awaited {
            world.waiting = None;
            match said {
                Said::Tokens(..) | Said::Duplicate => {}
                // Its owner is asked again, or a fresh key taken: for another request.
                Said::WrongPassword | Said::UnchangedKey => world.store.pending = None,
                Said::Over => world.signed_out = true,
            }
        }
    }

    fn attempt(world: &World, op: Op, key: Key) -> Attempt {
        // What its owner types, who knows the password that there is.
        let passwords = match op {
            Op::Refresh | Op::Reauthenticate => (world.password, world.password),
            Op::Change => (PASSWORD, NEW_PASSWORD),
        };
        let Store { session, token, .. } = world.store;
        Attempt { op, session, generation: token, key: Some(key), passwords, by: Who::Owner }
    }
}

/// Whether a request with this key repeats the one that left a mark with that key, as production decides it.
fn is_repeated(stored: Option<Key>, shown: Option<Key>) -> bool {
    let hash = |key: Option<Key>| key.map(|number| RetryKey::from_hash([number; 32]));
    let session = SessionRef { user_id: UserId::from_bytes([2; 16]), session_id: SessionId::from_bytes([1; 16]) };
    let expires_at = NOW.plus(REPLACEMENT_WINDOW);
    let mark = Replaced { session, by: SessionId::from_bytes([3; 16]), key: hash(stored), expires_at };
    mark.is_repeated_by(hash(shown), NOW)
}

fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

impl World {
    fn slot(&self, session: u8) -> &Slot {
        &self.slots[usize::from(session)]
    }

    /// Whether nothing of this session may ever refresh again.
    fn is_over(&self, session: u8) -> bool {
        !matches!(self.slot(session), Slot::Session { epoch, .. } if *epoch == self.epoch)
    }

    /// What a repeated request is answered.
    fn first_answer(&self, by: u8) -> Said {
        match self.slot(by) {
            Slot::Session { stored, epoch, .. } if *epoch == self.epoch && stored.generation == 1 => {
                Said::Tokens(by, 1)
            }
            _ => Said::Over,
        }
    }

    fn send(&mut self, message: Message) {
        self.network.push(message);
        self.network.sort();
    }

    fn take(&mut self, message: &Message) {
        if let Some(position) = self.network.iter().position(|one| one == message) {
            self.network.remove(position);
        }
    }

    fn has_messages_of_owner(&self) -> bool {
        self.network.iter().any(|message| message.attempt().by == Who::Owner)
    }
}

impl Message {
    const fn attempt(&self) -> &Attempt {
        match self {
            Self::Request(attempt)
            | Self::Rotated(attempt, ..)
            | Self::Charged(attempt, ..)
            | Self::Read(attempt, ..)
            | Self::Compared(attempt, _)
            | Self::Answer(attempt, _) => attempt,
        }
    }

    /// Whether the network can lose it. What is inside the server goes on.
    const fn is_under_way(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Answer(..))
    }
}

impl Model for Setup {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        if !world.signed_out && world.waiting.is_none() {
            match world.store.pending {
                // The very same attempt again.
                Some((op, _)) => {
                    let may_be_another = self.kind.is_browser() && self.waits_after_crash;
                    if !may_be_another || !world.has_messages_of_owner() {
                        actions.push(Action::Begin(op));
                    }
                }
                // A new one once everything of earlier ones is answered or dead.
                None if !world.has_messages_of_owner() => {
                    let ops = [Op::Refresh, Op::Reauthenticate, Op::Change];
                    let mut left = left.clone();
                    actions.extend(ops.into_iter().filter(|op| *left.of(*op) > 0).map(Action::Begin));
                }
                None => {}
            }
        }
        if world.waiting.is_some() {
            if left.resends > 0 {
                actions.push(Action::Resend);
            }
            if left.crashes > 0 {
                actions.push(Action::Crash);
            }
            if !world.has_messages_of_owner() {
                actions.push(Action::GiveUp);
            }
        }
        if left.others > 0 {
            actions.push(Action::Other);
        }
        for (position, message) in world.network.iter().enumerate() {
            if position > 0 && world.network[position - 1] == *message {
                continue;
            }
            actions.push(Action::Deliver(*message));
            if matches!(message, Message::Request(attempt) if attempt.op != Op::Refresh) {
                actions.push(Action::ReadFirst(*message));
            }
            if left.losses > 0 && message.is_under_way() {
                actions.push(Action::Lose(*message));
            }
        }
        if left.thefts > 0 && !world.signed_out {
            actions.push(Action::Steal);
        }
        if let (Some(loot), true) = (&world.loot, left.thief_tries > 0) {
            actions.push(Action::ThiefRefresh(false));
            actions.push(Action::ThiefUse);
            if let Some((op, _)) = loot.pending {
                actions.push(if op == Op::Refresh { Action::ThiefRefresh(true) } else { Action::ThiefRepeat });
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Begin(op) => {
                let key = match world.store.pending {
                    Some((_, key)) => key,
                    None => {
                        *world.left.of(op) -= 1;
                        world.next_key += 1;
                        world.next_key
                    }
                };
                let attempt = Self::attempt(last, op, key);
                world.store.pending = Some((op, key));
                world.waiting = Some(attempt);
                world.send(Message::Request(attempt));
            }
            Action::Resend => {
                world.left.resends -= 1;
                let attempt = world.waiting?;
                world.send(Message::Request(attempt));
            }
            Action::GiveUp => world.waiting = None,
            Action::Crash => {
                world.left.crashes -= 1;
                world.waiting = None;
            }
            Action::Other => {
                world.left.others -= 1;
                let Store { session, token, .. } = world.other;
                let refresh = Attempt {
                    op: Op::Refresh,
                    session,
                    generation: token,
                    key: Some(OTHERS_KEY),
                    passwords: (PASSWORD, PASSWORD),
                    by: Who::Other,
                };
                world.send(Message::Request(refresh));
            }
            Action::Deliver(message) => {
                world.take(&message);
                self.arrive(&mut world, message);
            }
            Action::ReadFirst(message) => {
                world.take(&message);
                let read = Message::Read(*message.attempt(), world.epoch, world.password);
                world.send(read);
            }
            Action::Lose(message) => {
                world.left.losses -= 1;
                world.take(&message);
            }
            Action::Steal => {
                world.left.thefts -= 1;
                world.loot = Some(world.store);
            }
            Action::ThiefRefresh(with_stolen_key) => {
                world.left.thief_tries -= 1;
                let loot = world.loot?;
                let key = loot.pending.map(|(_, key)| key).filter(|_| with_stolen_key);
                let attempt = loot.attempt(Op::Refresh, key);
                let was_over = world.is_over(loot.session);
                if let Some((Reply::Tokens(token), epoch)) = self.rotate(&mut world, attempt)
                    && epoch == world.epoch
                {
                    world.thief_lives |= was_over;
                    world.loot = Some(Store { token, ..loot });
                }
            }
            Action::ThiefRepeat => {
                world.left.thief_tries -= 1;
                let loot = world.loot?;
                let (op, key) = loot.pending?;
                let attempt = loot.attempt(op, Some(key));
                world.thief_lives |= matches!(self.charge(&world, attempt, world.password), Err(Said::Tokens(..)));
            }
            Action::ThiefUse => {
                world.left.thief_tries -= 1;
                let loot = world.loot?;
                if let Slot::Session { stored, epoch, is_fresh } = world.slot(loot.session) {
                    let decision = Access::Latchkey.access(stored, self.kind, loot.token, false);
                    let is_let_in = matches!(decision, AccessDecision::Accept | AccessDecision::AcceptStale);
                    // Who copies a session that is fresh already has a fresh copy; nothing helps against that.
                    let is_of_before = loot.session == OWNERS;
                    world.thief_is_fresh |= *epoch == world.epoch && is_let_in && *is_fresh && is_of_before;
                }
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(STAYS_SIGNED_IN, stays_signed_in),
            Property::<Self>::always(BEFORE_IS_OVER, |_, world| !world.revived),
            Property::<Self>::always(ONE_FOLLOWS, |_, world| !world.forked),
            Property::<Self>::always(COPIES_END, |_, world| !world.thief_lives),
            Property::<Self>::always(COPIES_ARE_NOT_FRESH, |_, world| !world.thief_is_fresh),
            Property::<Self>::always(NOTHING_HAPPENS, |_, world| {
                let done = world.left.reauthentications == 0 && world.store.pending.is_none() && !world.signed_out;
                world.password == PASSWORD || !done
            }),
        ];
        properties.retain(|property| self.only.is_none_or(|only| only == property.name));
        properties
    }
}

impl Store {
    /// What a thief sends, who knows no password.
    const fn attempt(self, op: Op, key: Option<Key>) -> Attempt {
        let passwords = (MADE_UP, MADE_UP);
        Attempt { op, session: self.session, generation: self.token, key, passwords, by: Who::Owner }
    }
}

impl Bounded for Setup {
    fn looking_at(&self, property: &'static str) -> Self {
        Self { only: Some(property), ..*self }
    }
}

/// Lost and repeated messages and crashes alone never sign the owner's client out, whatever it was asking for: a repeated
/// request is answered as the first.
pub const STAYS_SIGNED_IN: &str = "who gives the password stays signed in";
/// Nothing of a session that was replaced, or is of before a new password, refreshes.
pub const BEFORE_IS_OVER: &str = "nothing of before refreshes";
/// A session is followed by one other, and one session alone is of the epoch of a new password.
pub const ONE_FOLLOWS: &str = "the new session is one";
/// Without a password a thief's copy of a session opens nothing once it was replaced, with whatever key.
pub const COPIES_END: &str = "a copy opens nothing afterwards";
/// A copy of a session is not fresh because its owner gave the password.
pub const COPIES_ARE_NOT_FRESH: &str = "a copy is not fresh";
/// Violated where the password was given and changed and its owner is signed in: else nothing above would say anything.
pub const NOTHING_HAPPENS: &str = "no password is given and changed";

fn stays_signed_in(setup: &Setup, world: &World) -> bool {
    if world.loot.is_some() {
        return true;
    }
    if world.signed_out {
        return false;
    }
    if world.has_messages_of_owner() || world.waiting.is_some() {
        return true;
    }
    // Whenever nothing is under way, what is pending would succeed, or else a refresh.
    let Store { session, token, pending } = world.store;
    let would_refresh = |key| match world.slot(session) {
        Slot::Session { stored, epoch, .. } if *epoch == world.epoch => {
            let reply = Protocol::Latchkey.refresh(stored, setup.kind, token, Some(key)).1;
            matches!(reply, Reply::Tokens(_) | Reply::UnchangedKey)
        }
        _ => false,
    };
    match pending {
        Some((Op::Refresh, key)) => would_refresh(key),
        Some((op, key)) => {
            let charged = setup.charge(world, Setup::attempt(world, op, key), world.password);
            matches!(charged, Ok(epoch) if epoch == world.epoch) || matches!(charged, Err(Said::Tokens(..)))
        }
        None => would_refresh(world.next_key + 1),
    }
}
