//! A change of address that somebody asked for, and the undo that the address before is given.

use super::{EmailAddress, MailedProof, Proof, ProofSubject, REPEAT_WINDOW, UserId};
use crate::clock::Timestamp;

/// How long the address before may take a change back: 7 days, in seconds.
pub const UNDO_LIFETIME: u64 = 7 * 24 * 60 * 60;
/// How many undos of one account may be open. Who has as many waits until the first has lapsed.
pub const MAX_UNDOS: usize = 10;

/// A change of address as it is stored.
#[derive(Clone, Debug)]
pub struct EmailChange {
    /// Its identifier and secrets.
    pub proof: MailedProof,
    /// Whose address changes.
    pub subject: ProofSubject,
    /// The address to be.
    pub new_email: EmailAddress,
    /// What it was proved by, and when.
    pub completion: Option<(Proof, Timestamp)>,
}

impl EmailChange {
    /// Whether the request that completed the change may have come again, as its answer was lost: the very same proof, not
    /// much later.
    pub fn may_be_repeated(&self, proof: Proof, now: Timestamp) -> bool {
        self.completion.is_some_and(|(by, at)| by == proof && now.seconds_since(at) <= REPEAT_WINDOW)
    }
}

/// What the address before has: a link that takes the change back.
#[derive(Clone, Debug)]
pub struct UndoLink {
    /// Its identifier and token; it has no code.
    pub proof: MailedProof,
    /// Whose address it restores.
    pub user_id: UserId,
    /// When it was used.
    pub completed_at: Option<Timestamp>,
}

impl UndoLink {
    /// Whether the request that used it may have come again.
    pub fn may_be_repeated(&self, now: Timestamp) -> bool {
        self.completed_at.is_some_and(|at| now.seconds_since(at) <= REPEAT_WINDOW)
    }
}
