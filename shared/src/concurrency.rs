//! How many requests a process answers at a time, and what follows from that.

/// How many requests a process answers at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// One, as an instance of a function does: it may keep its thread busy, and the first request is to spare it
    /// work.
    One,
    /// Any number, as the local stack does: none may keep a thread from the others.
    Many,
}
