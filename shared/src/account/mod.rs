//! Who a person is: the nouns of an account, each parsed once at the edge.
//!
//! Inside the program an [`EmailAddress`], [`Username`] or [`Password`] is known to be a good one; there is no public
//! way to make one that was not checked.

mod change;
mod email;
mod id;
mod password;
mod pending;
mod proof;
mod reserved;
mod reset;
mod roles;
mod user;
mod username;

pub use change::{EmailChange, MAX_UNDOS, UNDO_LIFETIME, UndoLink};
pub use email::{EmailAddress, InvalidEmail};
pub use id::UserId;
pub(crate) use id::random_id;
pub use password::{CandidatePassword, Password, PasswordHash, WeakPassword};
pub use pending::{Completion, Guess, MAX_MAILS, PASSWORD_ATTEMPTS, PendingSignup, Proof, RESEND_COOLDOWN};
pub use proof::{
    CODE_ATTEMPTS, CODE_LIFETIME, LINK_LIFETIME, LinkAndCode, MailedProof, ProofId, ProofSecret, ProofSubject, Purpose,
    REPEAT_WINDOW, VerificationCode,
};
pub use reserved::ReservedUsernames;
pub use reset::{PasswordReset, RESET_REPEATS, ResetCompletion};
pub use roles::{InvalidRole, MAX_ROLES, Role, Roles};
pub use user::{Epoch, Status, Undo, UndoId, User};
pub use username::{InvalidUsername, Username};
