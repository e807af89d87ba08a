//! The reset of a password that somebody asked for.

use super::{MailedProof, PasswordHash, Proof, ProofSubject, REPEAT_WINDOW};
use crate::clock::Timestamp;
use crate::token::DeviceEpoch;

/// How often the request that completed a reset is answered again.
pub const RESET_REPEATS: u32 = 10;

/// A reset as it is stored.
#[derive(Clone, Debug)]
pub struct PasswordReset {
    /// Its identifier and secrets.
    pub proof: MailedProof,
    /// Whose password it is about; nobody's where no mail went with it.
    pub subject: Option<ProofSubject>,
    /// What became of it, once it was proved.
    pub completion: Option<ResetCompletion>,
}

/// By what a reset was completed, and what it set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetCompletion {
    /// What it was proved by.
    pub proof: Proof,
    /// The password that it set.
    pub password_hash: PasswordHash,
    /// When.
    pub at: Timestamp,
    /// How often the account had made its devices unknown then, this time too.
    pub devices: DeviceEpoch,
}

impl ResetCompletion {
    /// Whether the request that completed the reset may have come again, as its answer was lost: the very same proof, not
    /// much later. How often is counted by the store.
    pub fn may_be_repeated(&self, proof: Proof, now: Timestamp) -> bool {
        self.proof == proof && now.seconds_since(self.at) <= REPEAT_WINDOW
    }
}
