//! The session protocol (DESIGN.md section 5), model-checked: `docs/decisions/0006-session-protocol.md` says what follows.
//!
//! [`world`] is everything that can happen: clients with their tabs, a network that loses, delays, repeats and reorders,
//! a thief, the clock, a logout. The server in it is [`protocol`]: production's own `shared::session::Session::refresh`,
//! or a broken variant of it, or one of the ways that others publish. `stateright` explores every interleaving within
//! the bounds of a [`world::Setup`]; [`scenarios`] names the set-ups, what has to hold in each, and what has to fail.
//!
//! Two are models of their own: [`replacement`], a password given again and a password changed, which replace a session by
//! another; and [`life`], a password reset, a change of address undone, and an account deleted, which end all sessions.
//!
//! Breadth first and with one thread, so that a counterexample is a shortest one.

pub mod life;
pub mod protocol;
pub mod replacement;
pub mod scenarios;
pub mod world;
