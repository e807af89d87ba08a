//! Mails: what they say ([`Message`], English and Korean, text and HTML), and who sends them ([`Mailer`], SES).
//!
//! A link or code in a mail is a secret; neither is ever logged, nor is an address.

mod messages;
mod sender;
mod ses;

pub use messages::{Message, RenderedMail};
pub use sender::Sender;
pub use ses::{MailError, Mailer};
