//! Mails: what they say ([`Letter`], English and Korean, text and HTML), and who sends them ([`Mailer`], SES).
//!
//! A link or code in a mail is a secret; neither is ever logged, nor is an address.

mod letter;
mod sender;
mod ses;

pub use letter::{Letter, Letterhead, RenderedMail};
pub use sender::Sender;
pub use ses::{MailError, Mailer};
