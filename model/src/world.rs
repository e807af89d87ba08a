//! Everything that can happen to one session: its client, the network, a thief, time and a logout.
//!
//! A client is a store (an app's keychain, a browser's cookie jar) and one or two tabs that share it. What it owes by
//! DESIGN.md section 5 are switches ([`Rules`]), so that each can be taken away. Bounds are in [`Setup`]: how often each
//! thing may happen. Within them everything may, in every order.
//!
//! What is assumed of the network: a message lives for one step of the clock at most, and then is lost; an HTTP answer
//! reaches whoever sent the request or nobody, while the request may be executed twice. Only an upload may be under way for
//! as long as it likes. A protected request is not overtaken by two rotations: an honest client's are half an access token's
//! life apart, far more than a step ([`Setup::overtaken`] takes that away).

use shared::session::{AccessDecision, Kind};
use stateright::{Model, Property};

use crate::protocol::{Access, Key, OLDEST, Protocol, Reply, Stored};

/// Which key a client sends with a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keys {
    /// One that lies in the store, shared by all tabs.
    Shared,
    /// One of each tab's own, in its memory.
    PerTab,
    /// The same for ever.
    Constant,
    /// None.
    Absent,
}

/// What a client owes. All are kept by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Rules {
    /// The key is stored before it is sent, so that a crash does not lose it.
    pub key_stored_first: bool,
    /// The key is bound to the token it refreshes: with another token it is not used again.
    pub key_bound: bool,
    /// The answer that a key is the one before means that an earlier answer did arrive: a fresh key is taken.
    pub fresh_key_on_unchanged: bool,
    /// The new token is stored and the key cleared in one step.
    pub one_step: bool,
    /// One refresh at a time among all tabs.
    pub lock: bool,
    /// No new refresh before all messages of earlier ones are answered or dead.
    pub wait_for_dead: bool,
    /// Answers to anything but the attempt under way are ignored. A browser's cookies cannot be ignored.
    pub ignore_late: bool,
    /// `duplicate_request` means to wait and to read the store again, not that the session is over.
    pub reread_on_duplicate: bool,
    /// Calls that extend the session share the lock, so that none is under way during a refresh.
    pub calls_share_lock: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Self = Self {
        key_stored_first: true,
        key_bound: true,
        fresh_key_on_unchanged: true,
        one_step: true,
        lock: true,
        wait_for_dead: true,
        ignore_late: true,
        reread_on_duplicate: true,
        calls_share_lock: true,
    };
}

/// Who is there, how they behave, and how often each thing may happen.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What the server does with a refresh.
    pub protocol: Protocol,
    /// What it does with an access token.
    pub access: Access,
    /// The kind of session.
    pub kind: Kind,
    /// How many tabs share the store, or how many lives an app has.
    pub tabs: usize,
    /// Which keys are sent.
    pub keys: Keys,
    /// What the client owes.
    pub rules: Rules,
    /// Refreshes begun by the client.
    pub refreshes: u8,
    /// Repetitions of a request by the client.
    pub resends: u8,
    /// Requests that the network copies.
    pub duplicates: u8,
    /// Messages lost before their time.
    pub losses: u8,
    /// Crashes of a tab.
    pub crashes: u8,
    /// Calls that extend the session.
    pub calls: u8,
    /// Requests to protected routes by the client.
    pub protected: u8,
    /// Uploads by the client, which may be under way for ever.
    pub uploads: u8,
    /// Whether a protected request may be overtaken by two rotations.
    pub overtaken: bool,
    /// Requests to protected routes by the thief.
    pub thief_uses: u8,
    /// Steps of the clock.
    pub steps: u8,
    /// Whether a thief copies the store, once.
    pub theft: bool,
    /// Refreshes by the thief.
    pub thief_refreshes: u8,
    /// Whether the user logs out or raises the epoch, or the session runs out.
    pub logout: bool,
    /// Look at this property alone, and end where it is violated; `None`: all of them, to the end.
    pub only: Option<&'static str>,
}

impl Setup {
    /// An app without faults or enemies.
    pub const fn app() -> Self {
        Self {
            protocol: Protocol::Latchkey,
            access: Access::Latchkey,
            kind: Kind::App,
            tabs: 1,
            keys: Keys::Shared,
            rules: Rules::ALL,
            refreshes: 3,
            resends: 0,
            duplicates: 0,
            losses: 0,
            crashes: 0,
            calls: 0,
            protected: 0,
            uploads: 0,
            overtaken: false,
            thief_uses: 0,
            steps: 0,
            theft: false,
            thief_refreshes: 0,
            logout: false,
            only: None,
        }
    }

    fn is_browser(&self) -> bool {
        self.kind.is_browser()
    }
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// A refresh on its way to the server.
    Request(Attempt),
    /// A copy of it that the network made: nobody knows of it, and nobody hears its answer.
    Copy(Attempt),
    /// The answer to it.
    Answer(Attempt, Reply),
    /// A call that extends the session, with the token it carries.
    Call(u8, u8),
    /// Its answer: a cookie of this generation.
    Extended(u8, u8),
    /// A request to a protected route, with the generation of its token. Its answer changes nothing that is kept.
    Protected(u8),
    /// The same with a large body.
    Upload(u8),
    /// Inside the server: the session is updated, the user not yet read. The flag: the epoch had been raised before the
    /// request arrived.
    Updated(Attempt, Reply, bool),
    /// Inside the server: the user is read (the first flag: the epoch had been raised), the session not yet updated.
    Read(Attempt, bool, bool),
}

/// One refresh of one tab.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    tab: u8,
    generation: u8,
    key: Option<Key>,
}

/// What the client keeps over crashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The generation of the token.
    pub token: u8,
    /// Counts answers taken in; a key is bound to this count, as scripts do not see a cookie's generation.
    version: u8,
    /// The key of the refresh under way, and the count it is bound to.
    pending: Option<(Key, u8)>,
    /// The client took an answer for the end of its session.
    pub signed_out: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Tab {
    waiting: Option<Attempt>,
    /// A key in memory alone.
    key: Option<(Key, u8)>,
    /// The answer that is half stored: the key is cleared, and the token not yet written.
    half_stored: Option<u8>,
    calling: bool,
}

/// What a thief took, or got since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loot {
    token: u8,
    key: Option<Key>,
}

/// How far both sides got since the theft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Since {
    owner: bool,
    thief: bool,
    /// The generation when both had refreshed.
    both_at: Option<u8>,
    owner_again: bool,
    thief_again: bool,
}

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct World {
    /// The stored session; `None` once it was ended.
    pub session: Option<Stored>,
    /// It was ended by reuse.
    pub reused: bool,
    /// It was ended: logged out, of an older epoch by now, or by time.
    pub revoked: bool,
    /// A token without a key was good long after it was followed.
    pub late_race: bool,
    /// Something refreshed after that.
    pub revived: bool,
    /// One generation was rotated twice.
    pub forked: bool,
    /// A thief's old token was refused without ending the session, though the last rotation is long past.
    pub hidden: bool,
    /// A protected request that was under way at a rotation was refused.
    pub disturbed: bool,
    /// A copied access token two generations behind was accepted.
    pub copy_lives: bool,
    /// The client's store.
    pub store: Store,
    tabs: Vec<Tab>,
    /// Messages, each with the steps it has lived.
    network: Vec<(Message, u8)>,
    /// What the thief holds.
    pub loot: Option<Loot>,
    /// What happened since the theft.
    pub since: Since,
    next_key: Key,
    left: Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Left {
    refreshes: u8,
    resends: u8,
    duplicates: u8,
    losses: u8,
    crashes: u8,
    calls: u8,
    protected: u8,
    uploads: u8,
    thief_uses: u8,
    steps: u8,
    thefts: u8,
    thief_refreshes: u8,
    logouts: u8,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A tab begins a refresh, or takes up one that a crash left.
    Begin(usize),
    /// A tab sends its request again, as no answer came.
    Resend(usize),
    /// A tab gives up waiting, and begins anew.
    GiveUp(usize),
    /// A tab calls a function that extends the session.
    Call(usize),
    /// The client asks a protected route.
    Ask,
    /// The client begins an upload to one.
    Upload,
    /// The thief asks one.
    ThiefUse,
    /// A message arrives.
    Deliver(Message),
    /// A request arrives, and the server reads the user before it updates the session; else it is the other way round.
    ReadFirst(Message),
    /// The network copies a request.
    Duplicate(Message),
    /// A message is lost.
    Lose(Message),
    /// The second of two steps in which a client without `one_step` stores an answer.
    StoreToken(usize),
    /// A tab is killed. What it sent stays on its way.
    Crash(usize),
    /// Time passes.
    Step,
    /// The thief copies the store, with the pending key.
    Steal,
    /// The thief refreshes, with this key.
    ThiefRefresh(Option<Key>),
    /// The user logs out: the session is deleted.
    LogOut,
    /// The user logs out everywhere, or changes the password: the epoch goes up, the session stays where it is.
    RaiseEpoch,
    /// The session runs out.
    Expire,
}

/// The key that a thief makes up.
const THIEFS_KEY: Key = 200;
/// The key of a client that never changes it.
const CONSTANT_KEY: Key = 100;

impl Setup {
    fn first(&self) -> World {
        World {
            session: Some(Stored::new()),
            reused: false,
            revoked: false,
            late_race: false,
            revived: false,
            forked: false,
            hidden: false,
            disturbed: false,
            copy_lives: false,
            store: Store { token: 1, version: 0, pending: None, signed_out: false },
            tabs: vec![Tab::default(); self.tabs],
            network: Vec::new(),
            loot: None,
            since: Since::default(),
            next_key: 1,
            left: Left {
                refreshes: self.refreshes,
                resends: self.resends,
                duplicates: self.duplicates,
                losses: self.losses,
                crashes: self.crashes,
                calls: self.calls,
                protected: self.protected,
                uploads: self.uploads,
                thief_uses: self.thief_uses,
                steps: self.steps,
                thefts: u8::from(self.theft),
                thief_refreshes: self.thief_refreshes,
                logouts: u8::from(self.logout),
            },
        }
    }

    /// Whether a tab may begin a refresh.
    fn may_begin(&self, world: &World, index: usize) -> bool {
        let tab = &world.tabs[index];
        if world.store.signed_out || world.left.refreshes == 0 || tab.waiting.is_some() || tab.half_stored.is_some() {
            return false;
        }
        let refreshing = |tab: &Tab| tab.waiting.is_some() || tab.half_stored.is_some();
        let calling = self.rules.calls_share_lock && world.tabs.iter().any(|tab| tab.calling);
        if self.rules.lock && (world.tabs.iter().any(refreshing) || calling) {
            return false;
        }
        // An attempt that a crash left is taken up with its key: it is the same attempt.
        let is_new = self.pending_key(world, index).is_none();
        let is_known = |(message, _): &(Message, u8)| (0..world.tabs.len()).any(|tab| is_of_tab(message, tab));
        !(self.rules.wait_for_dead && is_new && world.network.iter().any(is_known))
    }

    /// The key that the store, or the tab, holds for the present token.
    fn pending_key(&self, world: &World, index: usize) -> Option<Key> {
        let held = if self.keeps_key_in_memory() { world.tabs[index].key } else { world.store.pending };
        held.filter(|(_, version)| !self.rules.key_bound || *version == world.store.version).map(|(key, _)| key)
    }

    fn keeps_key_in_memory(&self) -> bool {
        self.keys == Keys::PerTab || !self.rules.key_stored_first
    }

    fn begin(&self, world: &mut World, index: usize) {
        let key = match self.keys {
            Keys::Absent => None,
            Keys::Constant => Some(CONSTANT_KEY),
            Keys::Shared | Keys::PerTab => Some(self.pending_key(world, index).unwrap_or_else(|| {
                let fresh = world.next_key;
                world.next_key += 1;
                fresh
            })),
        };
        if let Some(key) = key {
            let bound = Some((key, world.store.version));
            if self.keeps_key_in_memory() {
                world.tabs[index].key = bound;
            } else {
                world.store.pending = bound;
            }
        }
        let attempt = Attempt { tab: tab_number(index), generation: world.store.token, key };
        world.tabs[index].waiting = Some(attempt.clone());
        world.send(Message::Request(attempt));
    }

    /// The server takes in a refresh.
    fn execute(&self, world: &mut World, generation: u8, key: Option<Key>, by_thief: bool) -> Reply {
        let Some(stored) = &world.session else { return Reply::Ended };
        let (after, reply) = self.protocol.refresh(stored, self.kind, generation, key);
        let before = stored.generation;
        let long_past = stored.age >= OLDEST;
        world.late_race |= key.is_none() && generation < before && stored.age > 0 && matches!(reply, Reply::Tokens(_));
        if let (Some(after), true) = (&after, generation < before) {
            world.forked |= after.generation != before;
            let is_refused = !matches!(reply, Reply::Tokens(_));
            world.hidden |= by_thief && is_refused && long_past;
        }
        world.reused |= after.is_none();
        if let (Some(after), false) = (&after, self.overtaken) {
            let is_overtaken =
                |message: &Message| matches!(message, Message::Protected(g) if g + 2 <= after.generation);
            world.network.retain(|(message, _)| !is_overtaken(message));
        }
        world.session = after;
        if let (Reply::Tokens(got), true) = (reply, world.loot.is_some()) {
            world.since.refreshed(by_thief, got);
        }
        reply
    }

    /// A protected route takes in an access token.
    fn read(&self, world: &mut World, generation: u8, is_upload: bool, by_thief: bool) {
        let Some(stored) = &world.session else { return };
        let decision = self.access.access(stored, self.kind, generation, is_upload);
        let is_accepted = matches!(decision, AccessDecision::Accept | AccessDecision::AcceptStale);
        let is_in_flight = generation + 1 >= stored.generation && stored.age < OLDEST;
        world.disturbed |= !by_thief && is_in_flight && !is_accepted && !stored.expired;
        world.copy_lives |= by_thief && is_accepted && generation + 2 <= stored.generation;
        if decision == AccessDecision::Reuse {
            world.session = None;
            world.reused = true;
        }
    }

    /// An answer reaches its tab, or whatever is left of it.
    fn take_in(&self, world: &mut World, attempt: &Attempt, reply: Reply) {
        let index = usize::from(attempt.tab);
        if let (Reply::Tokens(generation), true) = (reply, self.is_browser()) {
            // A browser stores cookies whoever waits for them.
            world.store.token = generation;
        }
        let is_awaited = world.tabs[index].waiting.as_ref() == Some(attempt);
        if !is_awaited && self.rules.ignore_late {
            return;
        }
        match reply {
            Reply::Tokens(generation) => {
                if self.rules.one_step {
                    world.store.token = generation;
                    world.store.version += 1;
                } else {
                    world.tabs[index].half_stored = Some(generation);
                }
                world.store.pending = None;
                world.tabs[index].key = None;
            }
            Reply::Duplicate if self.rules.reread_on_duplicate => {}
            Reply::UnchangedKey if self.rules.fresh_key_on_unchanged => {
                world.store.pending = None;
                world.tabs[index].key = None;
            }
            Reply::Duplicate | Reply::UnchangedKey | Reply::Reused | Reply::Ended => world.store.signed_out = true,
        }
        if is_awaited {
            world.tabs[index].waiting = None;
        }
    }
}

fn tab_number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

impl World {
    fn send(&mut self, message: Message) {
        self.network.push((message, 0));
        self.network.sort();
    }

    /// Takes one copy of a message from the network.
    fn take(&mut self, message: &Message) {
        if let Some(position) = self.network.iter().position(|(one, _)| one == message) {
            self.network.remove(position);
        }
    }

    /// One step of the clock: the last rotation is longer past, and what is under way is lost, but for uploads.
    fn pass_time(&mut self) {
        if let Some(session) = &mut self.session {
            session.age = (session.age + 1).min(OLDEST);
        }
        let is_dead = |(message, age): &(Message, u8)| *age >= 1 && !matches!(message, Message::Upload(_));
        let dead: Vec<Message> =
            self.network.iter().filter(|one| is_dead(one)).map(|(message, _)| message.clone()).collect();
        self.network.retain(|one| !is_dead(one));
        for (_, age) in &mut self.network {
            *age = 1;
        }
        self.network.sort();
        for message in &dead {
            self.end_call(message);
        }
    }

    /// Nothing is under way, so that nobody interferes with what comes next.
    fn is_quiet(&self) -> bool {
        let idle = |tab: &Tab| tab.waiting.is_none() && tab.half_stored.is_none() && !tab.calling;
        self.network.is_empty() && self.tabs.iter().all(idle)
    }
}

impl Since {
    fn refreshed(&mut self, by_thief: bool, got: u8) {
        match self.both_at {
            Some(generation) if got > generation => {
                self.owner_again |= !by_thief;
                self.thief_again |= by_thief;
            }
            Some(_) => {}
            None => {
                self.owner |= !by_thief;
                self.thief |= by_thief;
                if self.owner && self.thief {
                    self.both_at = Some(got);
                }
            }
        }
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
        for (index, tab) in world.tabs.iter().enumerate() {
            if self.may_begin(world, index) {
                actions.push(Action::Begin(index));
            }
            if tab.waiting.is_some() && left.resends > 0 {
                actions.push(Action::Resend(index));
            }
            if tab.waiting.is_some() {
                let is_dead = !world.network.iter().any(|(message, _)| is_of_tab(message, index));
                if is_dead || !self.rules.wait_for_dead {
                    actions.push(Action::GiveUp(index));
                }
            }
            if tab.half_stored.is_some() {
                actions.push(Action::StoreToken(index));
            }
            let refreshing = world.tabs.iter().any(|tab| tab.waiting.is_some() || tab.half_stored.is_some());
            let kept_out = self.rules.calls_share_lock && refreshing;
            if left.calls > 0 && !tab.calling && !world.store.signed_out && !kept_out {
                actions.push(Action::Call(index));
            }
            if left.crashes > 0 {
                actions.push(Action::Crash(index));
            }
        }
        for (position, (message, _)) in world.network.iter().enumerate() {
            // Copies of one message are as good as each other.
            if position > 0 && world.network[position - 1].0 == *message {
                continue;
            }
            actions.push(Action::Deliver(message.clone()));
            if self.logout && matches!(message, Message::Request(_)) {
                actions.push(Action::ReadFirst(message.clone()));
            }
            if left.duplicates > 0 && matches!(message, Message::Request(_)) {
                actions.push(Action::Duplicate(message.clone()));
            }
            if left.losses > 0 && !matches!(message, Message::Copy(_)) {
                actions.push(Action::Lose(message.clone()));
            }
        }
        if left.protected > 0 && !world.store.signed_out {
            actions.push(Action::Ask);
        }
        if left.uploads > 0 && !world.store.signed_out {
            actions.push(Action::Upload);
        }
        if left.thief_uses > 0 && world.loot.is_some() && world.session.is_some() {
            actions.push(Action::ThiefUse);
        }
        if left.steps > 0 {
            actions.push(Action::Step);
        }
        if left.thefts > 0 && !world.store.signed_out {
            actions.push(Action::Steal);
        }
        if let (Some(loot), true) = (&world.loot, left.thief_refreshes > 0 && world.session.is_some()) {
            let own = if self.keys == Keys::Constant { CONSTANT_KEY } else { THIEFS_KEY };
            actions.push(Action::ThiefRefresh(None));
            actions.push(Action::ThiefRefresh(Some(own)));
            if loot.key.is_some() {
                actions.push(Action::ThiefRefresh(loot.key));
            }
        }
        if left.logouts > 0 {
            actions.push(Action::LogOut);
            actions.push(Action::RaiseEpoch);
            actions.push(Action::Expire);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Begin(index) => {
                world.left.refreshes -= 1;
                self.begin(&mut world, index);
            }
            Action::Resend(index) => {
                world.left.resends -= 1;
                let attempt = world.tabs[index].waiting.clone()?;
                world.send(Message::Request(attempt));
            }
            Action::GiveUp(index) => world.tabs[index].waiting = None,
            Action::Call(index) => {
                world.left.calls -= 1;
                world.tabs[index].calling = true;
                world.send(Message::Call(tab_number(index), world.store.token));
            }
            Action::Ask => {
                world.left.protected -= 1;
                world.send(Message::Protected(world.store.token));
            }
            Action::Upload => {
                world.left.uploads -= 1;
                world.send(Message::Upload(world.store.token));
            }
            Action::ThiefUse => {
                world.left.thief_uses -= 1;
                let token = world.loot?.token;
                self.read(&mut world, token, false, true);
            }
            Action::Deliver(message) => {
                world.take(&message);
                self.arrive(&mut world, message);
            }
            Action::ReadFirst(message) => {
                world.take(&message);
                let Message::Request(attempt) = message else { return None };
                world.send(Message::Read(attempt, world.revoked, world.revoked));
            }
            Action::Duplicate(message) => {
                world.left.duplicates -= 1;
                if let Message::Request(attempt) = message {
                    world.send(Message::Copy(attempt));
                }
            }
            Action::Lose(message) => {
                world.left.losses -= 1;
                world.take(&message);
                world.end_call(&message);
            }
            Action::StoreToken(index) => {
                world.store.token = world.tabs[index].half_stored.take()?;
                world.store.version += 1;
            }
            Action::Crash(index) => {
                world.left.crashes -= 1;
                world.tabs[index] = Tab::default();
            }
            Action::Step => {
                world.left.steps -= 1;
                world.pass_time();
            }
            Action::Steal => {
                world.left.thefts -= 1;
                world.loot = Some(Loot { token: world.store.token, key: world.store.pending.map(|(key, _)| key) });
            }
            Action::ThiefRefresh(key) => {
                world.left.thief_refreshes -= 1;
                let loot = world.loot?;
                if let Reply::Tokens(got) = self.execute(&mut world, loot.token, key, true) {
                    world.loot = Some(Loot { token: got, ..loot });
                }
            }
            Action::LogOut => {
                world.left.logouts -= 1;
                world.revoked = true;
                world.session = None;
            }
            Action::RaiseEpoch => {
                world.left.logouts -= 1;
                world.revoked = true;
            }
            Action::Expire => {
                world.left.logouts -= 1;
                world.revoked = true;
                if let Some(session) = &mut world.session {
                    session.expired = true;
                }
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(STAYS_SIGNED_IN, stays_signed_in),
            Property::<Self>::always(THEFT_ENDS, |_, world| !(world.since.owner_again && world.since.thief_again)),
            Property::<Self>::always(THEFT_SHOWS, |_, world| !world.hidden),
            Property::<Self>::always(GRACE_ENDS, |_, world| !world.late_race),
            Property::<Self>::always(REVOKED_IS_DEAD, |_, world| !world.revived),
            Property::<Self>::always(ONE_IS_CURRENT, |_, world| !world.forked),
            Property::<Self>::always(REQUESTS_GO_ON, |_, world| !world.disturbed),
            Property::<Self>::always(COPIES_END, |_, world| !world.copy_lives),
        ];
        properties.retain(|property| self.only.is_none_or(|only| only == property.name));
        properties
    }
}

impl Setup {
    fn arrive(&self, world: &mut World, message: Message) {
        match message {
            Message::Request(attempt) => {
                let arrived_late = world.revoked;
                let reply = self.execute(world, attempt.generation, attempt.key, false);
                if self.logout {
                    world.send(Message::Updated(attempt, reply, arrived_late));
                } else {
                    world.send(Message::Answer(attempt, reply));
                }
            }
            Message::Copy(attempt) => {
                self.execute(world, attempt.generation, attempt.key, false);
            }
            Message::Updated(attempt, reply, arrived_late) => {
                let is_dead = world.revoked && self.protocol != Protocol::EpochUnchecked;
                world.answer(attempt, if is_dead { Reply::Ended } else { reply }, arrived_late);
            }
            Message::Read(attempt, raised, arrived_late) => {
                let reply = self.execute(world, attempt.generation, attempt.key, false);
                let is_dead = raised && self.protocol != Protocol::EpochUnchecked;
                world.answer(attempt, if is_dead { Reply::Ended } else { reply }, arrived_late);
            }
            Message::Answer(attempt, reply) => self.take_in(world, &attempt, reply),
            Message::Call(tab, generation) => {
                let extends = world.session.as_ref().is_some_and(|session| session.generation == generation);
                if extends {
                    world.send(Message::Extended(tab, generation));
                } else {
                    world.tabs[usize::from(tab)].calling = false;
                }
            }
            Message::Protected(generation) => self.read(world, generation, false, false),
            Message::Upload(generation) => self.read(world, generation, true, false),
            Message::Extended(tab, generation) => {
                world.store.token = generation;
                world.tabs[usize::from(tab)].calling = false;
            }
        }
    }
}

impl World {
    /// The server answers a refresh. `arrived_late`: the session had been revoked when the request came.
    fn answer(&mut self, attempt: Attempt, reply: Reply, arrived_late: bool) {
        self.revived |= arrived_late && matches!(reply, Reply::Tokens(_));
        self.send(Message::Answer(attempt, reply));
    }

    /// A call whose messages are lost is over for its tab.
    fn end_call(&mut self, message: &Message) {
        if let Message::Call(tab, _) | Message::Extended(tab, _) = message {
            self.tabs[usize::from(*tab)].calling = false;
        }
    }
}

fn is_of_tab(message: &Message, index: usize) -> bool {
    match message {
        Message::Request(attempt)
        | Message::Answer(attempt, _)
        | Message::Updated(attempt, ..)
        | Message::Read(attempt, ..) => usize::from(attempt.tab) == index,
        Message::Copy(_) | Message::Call(..) | Message::Extended(..) | Message::Protected(_) | Message::Upload(_) => {
            false
        }
    }
}

/// Network faults and crashes alone never sign an honest client out: its session is not ended by reuse, it never
/// believes that it is over, and whenever nothing is under way a refresh would bring tokens.
pub const STAYS_SIGNED_IN: &str = "an honest client stays signed in";
/// Once thief and owner have both refreshed since the theft, not both ever get tokens of a later generation.
pub const THEFT_ENDS: &str = "once both have refreshed, only one goes on";
/// What a thief shows long after the last rotation is never refused quietly: it brings tokens or ends the session.
pub const THEFT_SHOWS: &str = "an old token ends the session, once a minute has passed";
/// Without a key, the token before is good within the grace alone.
pub const GRACE_ENDS: &str = "without a key, an old token is good for the grace alone";
/// After a logout, a raised epoch or a revocation nothing refreshes.
pub const REVOKED_IS_DEAD: &str = "what was revoked never refreshes";
/// A generation is followed once: only the current one rotates.
pub const ONE_IS_CURRENT: &str = "at most one generation is current";

/// A protected request under way at a rotation is answered as if there had been none.
pub const REQUESTS_GO_ON: &str = "a request under way at a rotation goes on";
/// A copied access token two generations behind its owner's is accepted nowhere.
pub const COPIES_END: &str = "a copied token two generations behind is good nowhere";

fn stays_signed_in(setup: &Setup, world: &World) -> bool {
    if world.loot.is_some() || world.revoked {
        return true;
    }
    if world.reused || world.store.signed_out {
        return false;
    }
    let Some(session) = world.session.as_ref().filter(|_| world.is_quiet()) else { return true };
    (0..world.tabs.len()).all(|index| {
        let key = match setup.keys {
            Keys::Absent => None,
            Keys::Constant => Some(CONSTANT_KEY),
            Keys::Shared | Keys::PerTab => Some(setup.pending_key(world, index).unwrap_or(world.next_key)),
        };
        let refresh = |key| setup.protocol.refresh(session, setup.kind, world.store.token, key).1;
        match refresh(key) {
            Reply::UnchangedKey if setup.rules.fresh_key_on_unchanged => {
                matches!(refresh(Some(world.next_key)), Reply::Tokens(_))
            }
            reply => matches!(reply, Reply::Tokens(_)),
        }
    })
}
