//! Hostile input for everything that is parsed.
//!
//! A [`Target`] takes any bytes and panics if what should hold of them does not: not only that nothing panics, but that what
//! was parsed is written as it was read, that normal forms stay, that a request is never answered by a fault, and that
//! no page or mail holds what somebody typed as its own elements. `scripts/fuzz` runs each under libFuzzer, guided by
//! the coverage of this workspace's crates, on the stable compiler; `cargo test` replays `corpus/`, where whatever was once
//! found lies too, and a few hundred mutations of it.
//!
//! What is known of each request beforehand (a session, mailed secrets) is in `world`, for the targets that need functions
//! and a database.

mod bodies;
mod events;
mod pages;
mod requests;
mod text;
mod tokens;
mod world;

/// Takes bytes, and panics if something does not hold.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a folder of its name in `corpus/`.
pub const TARGETS: [(&str, Target); 17] = [
    ("agent", text::agent),
    ("code", text::code),
    ("cookies", bodies::cookies),
    ("email", text::email),
    ("event", events::event),
    ("form", bodies::form),
    ("identifiers", text::identifiers),
    ("json", bodies::json),
    ("locale", text::locale),
    ("notification", events::notification),
    ("outbox", events::outbox),
    ("pages", pages::pages),
    ("password", text::password),
    ("requests", requests::requests),
    ("tokens", tokens::tokens),
    ("urls", text::urls),
    ("username", text::username),
];

/// The target of a name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
