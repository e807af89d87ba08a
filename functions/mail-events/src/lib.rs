//! The function behind the topic of SES's events: keeps mails from addresses that send them back.
//!
//! A permanent bounce keeps mails from an address for 90 days, a complaint for a year; sign-ups and resends are answered
//! as ever, and no mail goes out. Only addresses count that the mail was sent to: a report is written by whoever received it,
//! and may name anybody's. Whoever proves the address after all, with a code or link of an earlier mail, takes the
//! mark away with it. Other events, and bounces that pass, change nothing.
//!
//! It takes SNS notifications whose message is an SES event (`eventType`) or an SES notification (`notificationType`):
//! docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html.
//!
//! Success: `{marked}`, a count of addresses. If the database fails, the invocation fails and Lambda repeats it.
//!
//! 1 WRU for each address, 2 where it has an owner.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::account::EmailAddress;
use shared::clock::Clock;
use shared::config::ConfigError;
use shared::runtime::Platform;
use shared::store::{Store, StoreError, Undeliverable};

const DAY: u64 = 24 * 60 * 60;
/// Seconds without mail after a permanent bounce: a mistyped address stays one, a mailbox may come to be.
const AFTER_BOUNCE: u64 = 90 * DAY;
/// Seconds without mail after a complaint.
const AFTER_COMPLAINT: u64 = 365 * DAY;

/// What it needs.
pub struct Deps {
    store: Arc<Store>,
    clock: Clock,
}

impl Deps {
    /// Takes what it needs from the platform.
    pub fn new(platform: &Platform) -> Result<Self, ConfigError> {
        Ok(Self { store: platform.store(), clock: platform.clock.clone() })
    }
}

/// What SNS brings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SnsEvent {
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    sns: Notification,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    /// JSON again.
    message: String,
}

/// An event of SES, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MailEvent {
    #[serde(alias = "notificationType")]
    event_type: String,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
    mail: SentMail,
}

/// The mail that the event is about, as SES sent it.
#[derive(Debug, Deserialize)]
struct SentMail {
    destination: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    bounced_recipients: Vec<Recipient>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Recipient>,
    complaint_feedback_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
}

impl MailEvent {
    /// The addresses that are not to be mailed, why and for how many seconds. Of those that a report names, which comes from
    /// whoever received the mail, only the ones count that the mail was sent to.
    fn undeliverable(self) -> Option<(Undeliverable, u64, Vec<EmailAddress>)> {
        let sent_to: Vec<EmailAddress> = self.mail.destination.iter().filter_map(|text| parse(text)).collect();
        let (reason, seconds, named) = match (self.event_type.as_str(), self.bounce, self.complaint) {
            ("Bounce", Some(bounce), _) if bounce.bounce_type == "Permanent" => {
                Some((Undeliverable::Bounce, AFTER_BOUNCE, bounce.bounced_recipients))
            }
            // Whoever reports that a mail is no spam does not complain.
            ("Complaint", _, Some(complaint)) if complaint.complaint_feedback_type.as_deref() != Some("not-spam") => {
                Some((Undeliverable::Complaint, AFTER_COMPLAINT, complaint.complained_recipients))
            }
            _ => None,
        }?;
        let named = named.iter().filter_map(|recipient| parse(&recipient.email_address));
        let mut marked: Vec<EmailAddress> = Vec::new();
        for email in named {
            let is_new = marked.iter().all(|other| other.normalised() != email.normalised());
            if is_new && sent_to.iter().any(|sent| sent.normalised() == email.normalised()) {
                marked.push(email);
            }
        }
        Some((reason, seconds, marked))
    }
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Marked {
    marked: usize,
}

/// Takes in notifications. One that cannot be read is logged and passed over: it would be no better the next
/// time.
pub async fn receive(deps: Arc<Deps>, event: SnsEvent) -> Result<Marked, StoreError> {
    let now = deps.clock.now();
    let mut marked = 0;
    for record in event.records {
        let event = match serde_json::from_str::<MailEvent>(&record.sns.message) {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "a notification that is no event of SES");
                continue;
            }
        };
        let Some((reason, seconds, recipients)) = event.undeliverable() else { continue };
        for email in recipients {
            deps.store.mark_undeliverable(&email, reason, now.plus(seconds)).await?;
            marked += 1;
        }
    }
    tracing::info!(marked, "addresses marked undeliverable");
    Ok(Marked { marked })
}

fn parse(recipient: &str) -> Option<EmailAddress> {
    EmailAddress::parse(address(recipient)).ok()
}

/// SES may repeat a recipient as it stood in the header, `Ann <ann@example.com>`.
fn address(recipient: &str) -> &str {
    match recipient.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end().trim_end_matches('>'),
        None => recipient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_may_carry_a_name() {
        for text in ["ann@example.test", "Ann <ann@example.test>", "\"Ann, B.\" <ann@example.test> "] {
            assert_eq!(address(text), "ann@example.test");
        }
    }
}
