//! The life of an account with sessions in flight and a thief: a reset of the password, the undo of a change of address, and
//! deletion, with and without an open undo (DESIGN.md section 9), on what production decides by.
//!
//! The owner has a session that refreshes and asks, reads the first mailbox, and may sign in, reset, undo and delete. The
//! thief copies the owner's store at any moment, with a pending key; may know the first password, have copied a reset that
//! was mailed before, and have a change of address to the second mailbox under way. Inside the server each request is two or
//! three steps, as it is two or three calls of the database, and anything may come between them; a request may be sent again
//! before and after its answer. The outbox may crash between its steps.

use std::hash::{DefaultHasher, Hash, Hasher};

use shared::account::Status;
use shared::session::{AccessDecision, Kind};
use stateright::{Model, Property};

use crate::protocol::{Access, Key, Protocol, Reply, Stored};
use crate::scenarios::Bounded;

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Production's.
    Latchkey,
    /// Broken: a reset leaves the epoch as it is.
    ResetKeepsEpoch,
    /// Broken: a session is of the epoch that the user has when it is written, not when the password was compared.
    LoginLooksTwice,
    /// Broken: a completed reset is spent, whoever repeats it.
    ResetIsForgotten,
    /// Broken: a reset that its own copy overtakes between two reads does not look again.
    ResetLooksOnce,
    /// Broken: a reset holds for whatever address the account has by now.
    AddressUnchecked,
    /// Broken: an undo leaves the epoch as it is.
    UndoKeepsEpoch,
    /// Broken: after an undo the password before still signs in.
    UndoKeepsPassword,
    /// Broken: an undo that its own copy overtakes between two reads does not look again.
    UndoLooksOnce,
    /// Broken: sign-in asks nobody's status.
    StatusUnchecked,
    /// Broken: the outbox deletes an account whatever has become of it since it was read.
    DeletesUnseen,
    /// Broken: the outbox looks for sessions once.
    OnePass,
    /// Broken: every deletion that was ever asked for is completed and told of, by whatever the account has gone.
    EveryDeletionCounts,
}

/// Who is there, and how often each thing may happen.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Setup {
    /// What the server does.
    pub server: Server,
    /// The kind of the sessions.
    pub kind: Kind,
    /// Refreshes by the owner's client.
    pub refreshes: u8,
    /// Protected requests by it.
    pub asks: u8,
    /// Sign-ins by the owner.
    pub logins: u8,
    /// Resets that the owner asks for.
    pub forgotten: u8,
    /// Passwords that the owner sets by a reset.
    pub resets: u8,
    /// Deletions by the owner.
    pub deletions: u8,
    /// Whether the account has the second address, and an undo is open.
    pub changed: bool,
    /// Whether the owner takes that back.
    pub undo: bool,
    /// Repetitions of the owner's reset or undo, before or after its answer.
    pub repeats: u8,
    /// Whether the thief copies the owner's store, once.
    pub theft: bool,
    /// Whatever else the thief does.
    pub thief_tries: u8,
    /// Whether the thief knows the first password.
    pub thief_knows: bool,
    /// Whether the thief has a copy of a reset that was mailed to the first address before anything else happened.
    pub spare: bool,
    /// Whether the thief has asked for the second address and may confirm it.
    pub change: bool,
    /// Crashes of the outbox.
    pub crashes: u8,
    /// Look at this property alone, and end where it is violated; `None`: all of them, to the end.
    pub only: Option<&'static str>,
}

impl Setup {
    /// An owner who refreshes and asks, and nobody else.
    pub const fn new(kind: Kind) -> Self {
        Self {
            server: Server::Latchkey,
            kind,
            refreshes: 1,
            asks: 1,
            logins: 1,
            forgotten: 0,
            resets: 0,
            deletions: 0,
            changed: false,
            undo: false,
            repeats: 0,
            theft: false,
            thief_tries: 0,
            thief_knows: false,
            spare: false,
            change: false,
            crashes: 0,
            only: None,
        }
    }

    /// An owner who resets the password, and a thief.
    pub const fn reset(kind: Kind) -> Self {
        let new = Self::new(kind);
        Self { asks: 0, forgotten: 1, resets: 1, repeats: 1, theft: true, thief_tries: 1, ..new }
    }

    /// A thief who changes the address, and an owner who takes that back and resets the password.
    pub const fn undo(kind: Kind) -> Self {
        let reset = Self::reset(kind);
        Self {
            forgotten: 0,
            refreshes: 0,
            thief_tries: 2,
            thief_knows: true,
            change: true,
            undo: true,
            spare: true,
            ..reset
        }
    }

    /// An owner who deletes the account, in a world with a thief.
    pub const fn deletion(kind: Kind) -> Self {
        let new = Self::new(kind);
        Self { asks: 0, deletions: 1, theft: true, thief_tries: 1, crashes: 1, ..new }
    }

    /// The address has been changed. Whoever deletes the account, the owner may take it back, and delete it then.
    pub const fn taken_back(kind: Kind) -> Self {
        let deletion = Self::deletion(kind);
        Self {
            changed: true,
            undo: true,
            resets: 1,
            deletions: 1,
            refreshes: 0,
            asks: 0,
            thief_knows: false,
            ..deletion
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// The owner.
    Owner,
    /// The thief.
    Thief,
}

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// New tokens for the session with this generation.
    Refresh(Who, u8, u8, Option<Key>),
    /// A protected request with the session's access token of this generation.
    Ask(u8, u8),
    /// Sliding renewal, for a protected request that was answered.
    Renew(u8, u8),
    /// To sign in with this password.
    Login(Who, u8),
    /// The mail of a reset.
    Forgot,
    /// To set this password by this reset.
    Reset(u8, u8),
    /// To confirm the change of address, with this session.
    Confirm(u8, u8),
    /// To take it back.
    Undo,
    /// To delete the account, with this session.
    Delete(u8, u8),
}

/// A request, or a run of the outbox, under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// On its way to the server.
    Request(Request),
    /// Inside: the session is rotated, or read, and is of this epoch; the user is not yet read. The flag: it was over before.
    Session(Request, Reply, u8, bool),
    /// Inside: the user is read; the session is not. The flag: that was over before.
    User(Request, Option<Account>, bool),
    /// Inside: the proof is read, and was not used; the user is not yet read.
    Proof(Request),
    /// Inside: all is read and compared, in this era; nothing is written yet.
    Ready(Request, Account, u8),
    /// The answer.
    Answer(Request, Said),
    /// The outbox has taken this item up, and read the user.
    Outbox(u8, Option<Account>),
    /// The user is gone, and the outbox has listed these sessions.
    Listed(u8, u8),
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Said {
    /// Tokens of this generation of this session.
    Tokens(u8, u8),
    /// It is done.
    Done,
    /// It is not, or was not again.
    Refused,
}

/// An address of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// The owner's.
    First,
    /// The one that it was changed to: the thief's.
    Second,
}

/// The user's own item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    epoch: u8,
    password: u8,
    status: Status,
    address: Address,
    /// An undo is listed.
    undo: bool,
}

/// A session: what of it a refresh looks at, nothing once it is deleted; its epoch; and what the server does not store: the
/// era in which the password was compared, and which one that was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    stored: Option<Stored>,
    epoch: u8,
    era: u8,
    password: u8,
}

/// A reset that was mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reset {
    epoch: u8,
    address: Address,
    /// The password that it has set.
    completed: Option<u8>,
    is_thiefs: bool,
    is_owners: bool,
}

/// A deletion in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Deletion {
    /// It waits for the undo to lapse, and is of this epoch.
    waits: Option<u8>,
    is_second: bool,
    is_done: bool,
    is_told: bool,
}

/// What a client keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Store {
    session: u8,
    token: u8,
    key: Option<Key>,
}

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct World {
    account: Option<Account>,
    /// Counts what ends all sessions: resets, undos, deletions.
    era: u8,
    slots: Vec<Slot>,
    resets: Vec<Reset>,
    outbox: Vec<Deletion>,
    /// The undo was used.
    undone: bool,
    /// It has lapsed.
    lapsed: bool,
    store: Store,
    /// The owner's client waits for an answer.
    waiting: bool,
    /// The password that the owner believes in.
    password: u8,
    network: Vec<Message>,
    /// What the owner may send again.
    repeatable: Vec<Request>,
    loot: Option<Store>,
    /// The thief has set a password.
    thief_set: bool,
    next_key: Key,
    /// What was over opened something.
    revived: bool,
    /// A request that had been done was refused.
    denied: bool,
    /// A proof worked for another account than the one that it was mailed to.
    outlived: bool,
    /// After the undo the thief got something.
    taken: bool,
    /// Somebody signed in to an account that is not enabled.
    half: bool,
    /// The outbox deleted an account that was not to go.
    lost: bool,
    left: Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Left {
    refreshes: u8,
    asks: u8,
    logins: u8,
    forgotten: u8,
    resets: u8,
    deletions: u8,
    undos: u8,
    repeats: u8,
    thefts: u8,
    thief_tries: u8,
    crashes: u8,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The owner asks for this.
    Owner(Request),
    /// The owner sends this again.
    Repeat(Request),
    /// The thief copies the owner's store.
    Steal,
    /// The thief asks for this.
    Thief(Request),
    /// A message arrives, or the server takes its next step.
    Deliver(Message),
    /// A request arrives, and the server reads the user before the session; else it is the other way round.
    ReadFirst(Request),
    /// The undo lapses.
    Lapse,
    /// The outbox takes this item up.
    Sweep(u8),
    /// The outbox crashes.
    Crash(Message),
}

/// The passwords: the first, the one that the owner sets, and the thief's.
const PASSWORD: u8 = 0;
const NEW_PASSWORD: u8 = 1;
const THIEFS_PASSWORD: u8 = 9;
/// The thief's own key.
const THIEFS_KEY: Key = 200;

impl Setup {
    fn first(&self) -> World {
        let address = if self.changed { Address::Second } else { Address::First };
        let account = Account { epoch: 0, password: PASSWORD, status: Status::Enabled, address, undo: self.changed };
        let spare = Reset { epoch: 0, address: Address::First, completed: None, is_thiefs: true, is_owners: false };
        World {
            account: Some(account),
            era: 0,
            slots: vec![Slot { stored: Some(Stored::new()), epoch: 0, era: 0, password: PASSWORD }],
            resets: if self.spare { vec![spare] } else { Vec::new() },
            outbox: Vec::new(),
            undone: false,
            lapsed: false,
            store: Store { session: 0, token: 1, key: None },
            waiting: false,
            password: PASSWORD,
            network: Vec::new(),
            repeatable: Vec::new(),
            loot: None,
            thief_set: false,
            next_key: 1,
            revived: false,
            denied: false,
            outlived: false,
            taken: false,
            half: false,
            lost: false,
            left: Left {
                refreshes: self.refreshes,
                asks: self.asks,
                logins: self.logins,
                forgotten: self.forgotten,
                resets: self.resets,
                deletions: self.deletions,
                undos: u8::from(self.undo),
                repeats: self.repeats,
                thefts: u8::from(self.theft),
                thief_tries: self.thief_tries,
                crashes: self.crashes,
            },
        }
    }

    /// Whether a session opens anything to a server that has read this user.
    fn is_alive(&self, slot: &Slot, account: Option<&Account>) -> bool {
        let user = account.map(|account| (account.epoch, account.status));
        slot.stored.as_ref().is_some_and(|stored| stored.is_alive(self.kind, slot.epoch, user))
    }

    /// Whether a protected request with this token is let in.
    fn admits(&self, world: &World, session: u8, generation: u8) -> bool {
        let decide = |stored: &Stored| Access::Latchkey.access(stored, self.kind, generation, false);
        let decision = world.slot(session).stored.as_ref().map(decide);
        matches!(decision, Some(AccessDecision::Accept | AccessDecision::AcceptStale))
    }

    /// The next step of a message.
    fn arrive(&self, world: &mut World, message: Message) {
        match message {
            Message::Request(request) => self.begin(world, request),
            Message::Session(request, reply, epoch, was_over) => {
                let account = world.account;
                self.conclude(world, request, reply, epoch, account, was_over);
            }
            Message::User(request @ Request::Refresh(_, session, generation, key), account, was_over) => {
                match self.rotate(world, session, generation, key) {
                    Some((reply, epoch)) => self.conclude(world, request, reply, epoch, account, was_over),
                    None => world.answer(request, Said::Refused),
                }
            }
            Message::User(request, account, was_over) => {
                let (reply, epoch) = self.seen(world, request);
                self.conclude(world, request, reply, epoch, account, was_over);
            }
            Message::Proof(request) => self.compare_proof(world, request),
            Message::Ready(request, account, era) => self.write(world, request, account, era),
            Message::Answer(request, said) => Self::take_in(world, request, said),
            Message::Outbox(index, account) => self.delete_rest(world, index, account),
            Message::Listed(index, sessions) => self.finish(world, index, sessions),
        }
    }

    /// The server's first step.
    fn begin(&self, world: &mut World, request: Request) {
        match request {
            Request::Refresh(_, session, generation, key) => {
                let was_over = world.is_over(session);
                match self.rotate(world, session, generation, key) {
                    Some((reply, epoch)) => world.send(Message::Session(request, reply, epoch, was_over)),
                    None => world.answer(request, Said::Refused),
                }
            }
            Request::Ask(session, _) => {
                let was_over = world.is_over(session);
                let (reply, epoch) = self.seen(world, request);
                world.send(Message::Session(request, reply, epoch, was_over));
            }
            Request::Renew(session, generation) => {
                let is_alive = self.is_alive(world.slot(session), world.account.as_ref());
                world.revived |= world.is_over(session) && is_alive && self.admits(world, session, generation);
            }
            Request::Login(who, password) => {
                let is_let_in = |account: &Account| {
                    let is_enabled = account.status == Status::Enabled || self.server == Server::StatusUnchecked;
                    is_enabled && account.password == password
                };
                match world.account.filter(is_let_in) {
                    Some(account) => {
                        world.half |= account.status != Status::Enabled;
                        world.taken |= who == Who::Thief && world.undone;
                        let era = world.era;
                        world.send(Message::Ready(request, account, era));
                    }
                    None => world.answer(request, Said::Refused),
                }
            }
            Request::Forgot => {
                if let Some(account) = world.account.filter(|account| account.status.may_reset()) {
                    let era = world.era;
                    world.send(Message::Ready(request, account, era));
                }
            }
            Request::Reset(reset, password) => match world.resets[usize::from(reset)].completed {
                Some(_) => {
                    let said = self.repeat_reset(world, reset, password);
                    world.answer(request, said);
                }
                None => world.send(Message::Proof(request)),
            },
            Request::Undo if world.undone => world.answer(request, Said::Done),
            // The time is that of the request's arrival.
            Request::Undo if world.lapsed => world.answer(request, Said::Refused),
            Request::Undo => world.send(Message::Proof(request)),
            Request::Confirm(session, generation) | Request::Delete(session, generation) => {
                let is_alive = self.is_alive(world.slot(session), world.account.as_ref());
                let account = world.account.filter(|_| is_alive && self.admits(world, session, generation));
                match account {
                    Some(account) => {
                        world.revived |= world.is_over(session);
                        let era = world.era;
                        world.send(Message::Ready(request, account, era));
                    }
                    None => world.answer(request, Said::Refused),
                }
            }
        }
    }

    /// The server rotates a session; its epoch, and what the client is told if the user is of that.
    fn rotate(&self, world: &mut World, session: u8, generation: u8, key: Option<Key>) -> Option<(Reply, u8)> {
        let slot = &mut world.slots[usize::from(session)];
        let (after, reply) = Protocol::Latchkey.refresh(slot.stored.as_ref()?, self.kind, generation, key);
        slot.stored = after;
        Some((reply, slot.epoch))
    }

    /// What a protected request sees of its session: that it is let in, or that it has ended; and its epoch.
    fn seen(&self, world: &World, request: Request) -> (Reply, u8) {
        let Request::Ask(session, generation) = request else { return (Reply::Ended, 0) };
        let reply = if self.admits(world, session, generation) { Reply::Tokens(generation) } else { Reply::Ended };
        (reply, world.slot(session).epoch)
    }

    /// The server has a session of this epoch and the user, and answers a refresh or a protected request.
    fn conclude(
        &self,
        world: &mut World,
        request: Request,
        reply: Reply,
        epoch: u8,
        account: Option<Account>,
        was_over: bool,
    ) {
        let user = account.map(|account| (account.epoch, account.status));
        let is_alive = Stored::new().is_alive(self.kind, epoch, user);
        let generation = match reply {
            Reply::Tokens(generation) if is_alive => generation,
            _ => return world.answer(request, Said::Refused),
        };
        world.revived |= was_over;
        match request {
            Request::Refresh(_, session, ..) => {
                world.answer(request, Said::Tokens(session, generation));
            }
            Request::Ask(session, generation) => world.send(Message::Request(Request::Renew(session, generation))),
            _ => {}
        }
    }

    /// What a completed reset answers.
    fn repeat_reset(&self, world: &World, reset: u8, password: u8) -> Said {
        let is_repeated = world.resets[usize::from(reset)].completed == Some(password);
        if is_repeated && self.server != Server::ResetIsForgotten { Said::Done } else { Said::Refused }
    }

    /// Whether a reset may set the password of this account.
    fn is_current(&self, reset: Reset, account: Account) -> bool {
        let is_of_address = reset.address == account.address || self.server == Server::AddressUnchecked;
        reset.epoch == account.epoch && is_of_address && account.status.may_reset()
    }

    /// The user is read, for a proof that was not used when it was read.
    fn compare_proof(&self, world: &mut World, request: Request) {
        let is_undo = request == Request::Undo;
        let fits = |account: &Account| match request {
            Request::Reset(reset, _) => self.is_current(world.resets[usize::from(reset)], *account),
            _ => account.undo,
        };
        let era = world.era;
        match world.account.filter(fits) {
            Some(account) => world.send(Message::Ready(request, account, era)),
            // Its own copy may have got there between the two reads.
            None => {
                let looks_again = if is_undo { Server::UndoLooksOnce } else { Server::ResetLooksOnce } != self.server;
                let said = match request {
                    Request::Reset(reset, password) if looks_again => self.repeat_reset(world, reset, password),
                    Request::Undo if looks_again && world.undone => Said::Done,
                    _ => Said::Refused,
                };
                world.answer(request, said);
            }
        }
    }

    /// The server's transaction.
    fn write(&self, world: &mut World, request: Request, read: Account, era: u8) {
        let is_as_read = world.account == Some(read);
        match request {
            Request::Login(_, password) => {
                let now = world.account.map_or(read.epoch, |account| account.epoch);
                let epoch = if self.server == Server::LoginLooksTwice { now } else { read.epoch };
                let session = number(world.slots.len());
                world.slots.push(Slot { stored: Some(Stored::new()), epoch, era, password });
                world.answer(request, Said::Tokens(session, 1));
            }
            Request::Forgot => {
                let is_owners = read.address == Address::First;
                let Account { epoch, address, .. } = read;
                world.resets.push(Reset { epoch, address, completed: None, is_thiefs: !is_owners, is_owners });
            }
            Request::Reset(reset, password) => {
                let said = self.set_password(world, reset, password);
                world.answer(request, said);
            }
            Request::Confirm(..) if is_as_read && read.address == Address::First && read.epoch == 0 => {
                world.account = Some(Account { address: Address::Second, undo: true, ..read });
                world.taken |= world.undone;
            }
            Request::Undo if world.undone => world.answer(request, Said::Done),
            Request::Undo if is_as_read => {
                let epoch = read.epoch + u8::from(self.server != Server::UndoKeepsEpoch);
                let keeps = self.server == Server::UndoKeepsPassword;
                let status = if keeps { Status::Enabled } else { Status::ResetRequired };
                let account = Account { epoch, status, address: Address::First, undo: false, ..read };
                world.account = Some(account);
                world.undone = true;
                world.era += 1;
                // The mail that leads back in.
                let Account { epoch, address, .. } = account;
                world.resets.push(Reset { epoch, address, completed: None, is_thiefs: false, is_owners: true });
                world.answer(request, Said::Done);
            }
            // Decided anew, from what is there now.
            Request::Undo => world.send(Message::Proof(request)),
            Request::Delete(..) if is_as_read => {
                let waits = read.undo && !world.lapsed;
                let epoch = read.epoch + 1;
                world.account = waits.then_some(Account { epoch, status: Status::Deleting, ..read });
                let waits = waits.then_some(epoch);
                world.outbox.push(Deletion { waits, is_second: false, is_done: false, is_told: false });
                world.era += 1;
                world.answer(request, Said::Done);
            }
            // Read again: only a session that still lives goes on.
            Request::Delete(session, _) => match world.account {
                Some(account) if self.is_alive(world.slot(session), Some(&account)) => {
                    world.send(Message::Ready(request, account, era));
                }
                _ => world.answer(request, Said::Refused),
            },
            Request::Confirm(..) | Request::Refresh(..) | Request::Ask(..) | Request::Renew(..) => {
                world.answer(request, Said::Refused);
            }
        }
    }

    fn set_password(&self, world: &mut World, index: u8, password: u8) -> Said {
        let reset = world.resets[usize::from(index)];
        if reset.completed.is_some() {
            return self.repeat_reset(world, index, password);
        }
        let Some(account) = world.account.filter(|account| self.is_current(reset, *account)) else {
            return Said::Refused;
        };
        let epoch = account.epoch + u8::from(self.server != Server::ResetKeepsEpoch);
        world.account = Some(Account { epoch, password, status: Status::Enabled, ..account });
        world.resets[usize::from(index)].completed = Some(password);
        world.era += 1;
        world.outlived |= reset.address != account.address;
        world.thief_set |= password == THIEFS_PASSWORD;
        world.taken |= password == THIEFS_PASSWORD && world.undone;
        Said::Done
    }

    /// The outbox does what an item says of the account, which it has read.
    fn delete_rest(&self, world: &mut World, index: u8, read: Option<Account>) {
        let item = world.outbox[usize::from(index)];
        let every = self.server == Server::EveryDeletionCounts;
        let is_void = match read {
            None => item.waits.is_some() && !every,
            Some(account) => account.status != Status::Deleting || !every && item.waits != Some(account.epoch),
        };
        if is_void {
            world.outbox[usize::from(index)].is_done = true;
            return;
        }
        if read.is_some() {
            if world.account != read && self.server != Server::DeletesUnseen {
                return;
            }
            let may_go = |account: &Account| account.status == Status::Deleting && (!account.undo || world.lapsed);
            world.lost |= !world.account.as_ref().is_some_and(may_go);
            world.account = None;
            world.era += 1;
            world.outbox[usize::from(index)].waits = None;
        }
        let listed = (0..8).filter(|slot| world.slots.get(*slot).is_some_and(|slot| slot.stored.is_some()));
        let listed = listed.fold(0, |listed, slot| listed | 1 << slot);
        world.send(Message::Listed(index, listed));
    }

    /// The outbox deletes the sessions that it has listed, and tells.
    fn finish(&self, world: &mut World, index: u8, listed: u8) {
        for (place, slot) in world.slots.iter_mut().enumerate() {
            if listed & (1 << place) != 0 {
                slot.stored = None;
            }
        }
        let item = &mut world.outbox[usize::from(index)];
        item.is_told = true;
        item.is_done = item.is_second || self.server == Server::OnePass;
        item.is_second = true;
    }

    /// An answer reaches whoever asked.
    fn take_in(world: &mut World, request: Request, said: Said) {
        match (request, said) {
            (Request::Refresh(Who::Owner, ..) | Request::Login(Who::Owner, _), said) => {
                world.waiting = false;
                if let Said::Tokens(session, token) = said {
                    world.store = Store { session, token, key: None };
                }
            }
            (Request::Refresh(Who::Thief, ..) | Request::Login(Who::Thief, _), Said::Tokens(session, token)) => {
                world.loot = Some(Store { session, token, key: None });
            }
            _ => {}
        }
    }

    /// What the owner may ask for.
    fn owners(&self, world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        let Store { session, token, .. } = world.store;
        let mut ask = |may, request| {
            if may {
                actions.push(Action::Owner(request));
            }
        };
        let is_free = !world.waiting;
        ask(is_free && left.refreshes > 0, Request::Refresh(Who::Owner, session, token, Some(world.next_key)));
        ask(left.asks > 0, Request::Ask(session, token));
        ask(is_free && left.logins > 0, Request::Login(Who::Owner, world.password));
        ask(left.forgotten > 0, Request::Forgot);
        ask(left.deletions > 0, Request::Delete(session, token));
        ask(left.undos > 0 && (self.changed || world.account.is_some_and(|account| account.undo)), Request::Undo);
        for (index, reset) in world.resets.iter().enumerate().filter(|(_, reset)| reset.is_owners) {
            ask(left.resets > 0 && reset.completed.is_none(), Request::Reset(number(index), NEW_PASSWORD));
        }
        if left.repeats > 0 {
            actions.extend(world.repeatable.iter().map(|request| Action::Repeat(*request)));
        }
    }

    /// What the thief may ask for.
    fn thiefs(&self, world: &World, actions: &mut Vec<Action>) {
        if let Some(Store { session, token, key }) = world.loot {
            let mut keys = vec![Some(THIEFS_KEY)];
            keys.extend(key.map(Some));
            let refresh = |key| Action::Thief(Request::Refresh(Who::Thief, session, token, key));
            actions.extend(keys.into_iter().map(refresh));
            actions.push(Action::Thief(Request::Ask(session, token)));
            if self.change {
                actions.push(Action::Thief(Request::Confirm(session, token)));
            }
            if self.deletions > 0 {
                actions.push(Action::Thief(Request::Delete(session, token)));
            }
        }
        for (may, password) in [(self.thief_knows, PASSWORD), (world.thief_set, THIEFS_PASSWORD)] {
            if may {
                actions.push(Action::Thief(Request::Login(Who::Thief, password)));
            }
        }
        if world.account.is_some_and(|account| account.address == Address::Second) {
            actions.push(Action::Thief(Request::Forgot));
        }
        for (index, _) in world.resets.iter().enumerate().filter(|(_, reset)| reset.is_thiefs) {
            actions.push(Action::Thief(Request::Reset(number(index), THIEFS_PASSWORD)));
        }
    }
}

fn hash_of(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

impl World {
    fn slot(&self, session: u8) -> &Slot {
        &self.slots[usize::from(session)]
    }

    /// Whether nothing of this session may ever open anything again.
    fn is_over(&self, session: u8) -> bool {
        self.slot(session).era < self.era
    }

    /// The server has decided what to answer.
    fn answer(&mut self, request: Request, said: Said) {
        let is_done = match request {
            Request::Reset(reset, password) => self.resets[usize::from(reset)].completed == Some(password),
            Request::Undo => self.undone,
            _ => false,
        };
        self.denied |= is_done && said == Said::Refused;
        self.send(Message::Answer(request, said));
    }

    fn send(&mut self, message: Message) {
        self.network.push(message);
    }

    fn take(&mut self, message: &Message) {
        if let Some(position) = self.network.iter().position(|one| one == message) {
            self.network.remove(position);
        }
    }

    /// Whether a request is inside the server.
    fn has_requests(&self) -> bool {
        let is_request =
            |message: &Message| !matches!(message, Message::Answer(..) | Message::Outbox(..) | Message::Listed(..));
        self.network.iter().any(is_request)
    }

    /// Whether the outbox may take this item up. It has it for itself, and the second pass comes when no request that began
    /// before the first is under way any more.
    fn is_due(&self, index: u8) -> bool {
        let is_taken = self
            .network
            .iter()
            .any(|message| matches!(message, Message::Outbox(taken, _) | Message::Listed(taken, _) if *taken == index));
        let Deletion { waits, is_second, is_done, .. } = self.outbox[usize::from(index)];
        let is_time = (waits.is_none() || self.lapsed) && !(is_second && self.has_requests());
        is_time && !is_done && !is_taken
    }

    fn spend(&mut self, request: Request) {
        let left = &mut self.left;
        let count = match request {
            Request::Refresh(..) | Request::Renew(..) => &mut left.refreshes,
            Request::Ask(..) => &mut left.asks,
            Request::Login(..) => &mut left.logins,
            Request::Forgot => &mut left.forgotten,
            Request::Reset(..) => &mut left.resets,
            Request::Undo => &mut left.undos,
            Request::Confirm(..) | Request::Delete(..) => &mut left.deletions,
        };
        *count -= 1;
    }
}

impl Model for Setup {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.owners(world, actions);
        if world.left.thefts > 0 {
            actions.push(Action::Steal);
        }
        if world.left.thief_tries > 0 {
            self.thiefs(world, actions);
        }
        for (position, message) in world.network.iter().enumerate() {
            if world.network[..position].contains(message) {
                continue;
            }
            actions.push(Action::Deliver(*message));
            match message {
                Message::Request(request @ (Request::Refresh(..) | Request::Ask(..))) => {
                    actions.push(Action::ReadFirst(*request));
                }
                Message::Outbox(..) | Message::Listed(..) if world.left.crashes > 0 => {
                    actions.push(Action::Crash(*message));
                }
                _ => {}
            }
        }
        let is_open = world.account.is_some_and(|account| account.undo);
        let waits = |item: &Deletion| item.waits.is_some() && !item.is_done;
        if !world.lapsed && (is_open || world.outbox.iter().any(waits)) {
            actions.push(Action::Lapse);
        }
        let due = (0..number(world.outbox.len())).filter(|index| world.is_due(*index));
        actions.extend(due.map(Action::Sweep));
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Owner(request) => {
                world.spend(request);
                match request {
                    Request::Refresh(_, _, _, key) => {
                        world.store.key = key;
                        world.next_key += 1;
                        world.waiting = true;
                    }
                    Request::Login(..) => world.waiting = true,
                    Request::Reset(..) => {
                        world.password = NEW_PASSWORD;
                        world.repeatable.push(request);
                    }
                    Request::Undo => world.repeatable.push(request),
                    _ => {}
                }
                world.send(Message::Request(request));
            }
            Action::Repeat(request) => {
                world.left.repeats -= 1;
                world.send(Message::Request(request));
            }
            Action::Steal => {
                world.left.thefts -= 1;
                world.loot = Some(world.store);
            }
            Action::Thief(request) => {
                world.left.thief_tries -= 1;
                world.send(Message::Request(request));
            }
            Action::Deliver(message) => {
                world.take(&message);
                self.arrive(&mut world, message);
            }
            Action::ReadFirst(request) => {
                world.take(&Message::Request(request));
                let (Request::Refresh(_, session, ..) | Request::Ask(session, _)) = request else { return None };
                let read = Message::User(request, world.account, world.is_over(session));
                world.send(read);
            }
            Action::Lapse => world.lapsed = true,
            Action::Sweep(index) => {
                let read = Message::Outbox(index, world.account);
                world.send(read);
            }
            Action::Crash(message) => {
                world.left.crashes -= 1;
                world.take(&message);
            }
        }
        // In whatever order messages were sent, worlds are equal.
        world.network.sort_by_cached_key(hash_of);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(BEFORE_IS_OVER, |_, world| !world.revived),
            Property::<Self>::always(ONLY_BY_PASSWORD, only_by_password),
            Property::<Self>::always(ANSWERED_AGAIN, |_, world| !world.denied),
            Property::<Self>::always(PROOFS_ARE_OF_NOW, |_, world| !world.outlived),
            Property::<Self>::always(UNDO_WINS, |_, world| !world.taken),
            Property::<Self>::always(NOBODY_HALF, |_, world| !world.half),
            Property::<Self>::always(TAKEN_BACK_STAYS, |_, world| !world.lost),
            Property::<Self>::always(NOTHING_IS_LEFT, nothing_is_left),
            Property::<Self>::always(TOLD_ONCE, |_, world| {
                world.outbox.iter().filter(|item| item.is_told).count() <= 1
            }),
            Property::<Self>::always(NOBODY_COMES_BACK, |setup, world| {
                let slot = world.slot(world.store.session);
                world.era == 0 || world.undone != setup.undo || !setup.is_alive(slot, world.account.as_ref())
            }),
            Property::<Self>::always(NOTHING_IS_DELETED, |_, world| {
                world.account.is_some() || !world.outbox.iter().any(|item| item.is_done && item.is_told)
            }),
        ];
        properties.retain(|property| self.only.is_none_or(|only| only == property.name));
        properties
    }
}

impl Bounded for Setup {
    fn looking_at(&self, property: &'static str) -> Self {
        Self { only: Some(property), ..*self }
    }
}

/// What comes when a session is from before a reset, an undo or a deletion opens nothing: no refresh, no protected request,
/// no sliding renewal, no deletion, whatever copy of it comes.
pub const BEFORE_IS_OVER: &str = "nothing of before opens anything";
/// Whoever is signed in has given the password that the account has: a reset, an undo and a deletion sign nobody in, and no
/// sign-in that they overtake lives.
pub const ONLY_BY_PASSWORD: &str = "who is signed in gave the password that there is";
/// A reset or an undo that was done is never refused to whoever sends the same request again.
pub const ANSWERED_AGAIN: &str = "a repeated request is answered as the first";
/// A reset works for the address that it was mailed to alone.
pub const PROOFS_ARE_OF_NOW: &str = "a reset holds for the address it was mailed to";
/// After an undo a thief with the password before, resets of whatever time and a change under way gets nothing.
pub const UNDO_WINS: &str = "after an undo the thief gets nothing";
/// Nobody signs in to an account that is being deleted, or waits for a reset.
pub const NOBODY_HALF: &str = "nobody signs in to half an account";
/// The outbox deletes no account but one that is to go.
pub const TAKEN_BACK_STAYS: &str = "what was taken back stays";
/// Once the outbox is done, no session is left of a deleted account.
pub const NOTHING_IS_LEFT: &str = "nothing is left of a deleted account";
/// However often it was asked for, one deletion is told of.
pub const TOLD_ONCE: &str = "a deletion is told of once";
/// Violated where the owner is signed in after it all: else nothing above would say anything.
pub const NOBODY_COMES_BACK: &str = "the owner never comes back";
/// Violated where an account was deleted and its owner told.
pub const NOTHING_IS_DELETED: &str = "no account is deleted";

fn only_by_password(setup: &Setup, world: &World) -> bool {
    let account = world.account.as_ref();
    let is_let_in = |slot: &Slot| account.is_some_and(|account| account.password == slot.password);
    world.slots.iter().all(|slot| is_let_in(slot) || !setup.is_alive(slot, account))
}

fn nothing_is_left(_: &Setup, world: &World) -> bool {
    let is_deleted = world.account.is_none() && world.outbox.iter().all(|item| item.is_done) && !world.has_requests();
    !is_deleted || world.slots.iter().all(|slot| slot.stored.is_none())
}
