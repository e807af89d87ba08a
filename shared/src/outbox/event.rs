//! Events for other systems: what happened to an account, put on an `EventBridge` bus. `docs/events.md` has their schema.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::error::ProvideErrorMetadata;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::OutboxId;
use crate::account::UserId;
use crate::clock::Timestamp;

/// The source of all our events.
const SOURCE: &str = "latchkey";

/// What happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// It came to be.
    #[serde(rename = "user.created")]
    UserCreated,
    /// Its name or language is another.
    #[serde(rename = "user.updated")]
    UserUpdated,
    /// It is gone. Final: what comes later of the same id is void.
    #[serde(rename = "user.deleted")]
    UserDeleted,
    /// Its password is another.
    #[serde(rename = "password.changed")]
    PasswordChanged,
    /// Its address is another.
    #[serde(rename = "email.changed")]
    EmailChanged,
    /// One of its sessions was ended because a credential was used twice.
    #[serde(rename = "session.reused")]
    SessionReused,
}

impl EventType {
    /// The event's `detail-type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserDeleted => "user.deleted",
            Self::PasswordChanged => "password.changed",
            Self::EmailChanged => "email.changed",
            Self::SessionReused => "session.reused",
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// To which account.
    pub user_id: UserId,
    /// When.
    pub at: Timestamp,
}

/// The `detail` of an event, as JSON. Ids and times alone: no address, no name.
#[derive(Serialize)]
struct Detail {
    id: String,
    user_id: String,
    at: String,
}

/// An event was not published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// `EventBridge` refused it.
    #[error("EventBridge refused the event: {code}")]
    Refused {
        /// The name of the error.
        code: String,
    },
    /// `EventBridge` did not answer.
    #[error("EventBridge did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Puts events on a bus; on none where there is none.
#[derive(Clone, Debug)]
pub struct Publisher {
    client: Client,
    bus: Option<String>,
}

impl Publisher {
    /// A publisher on the bus of this name.
    pub const fn new(client: Client, bus: Option<String>) -> Self {
        Self { client, bus }
    }

    /// Publishes an event under an id, by which whoever gets it twice knows it.
    pub async fn publish(&self, id: OutboxId, event: &Event) -> Result<(), PublishError> {
        let Some(bus) = &self.bus else { return Ok(()) };
        let detail = Detail { id: id.to_string(), user_id: event.user_id.to_string(), at: event.at.to_string() };
        let detail = serde_json::to_string(&detail).map_err(|error| PublishError::Unavailable(error.into()))?;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(SOURCE)
            .detail_type(event.event_type.as_str())
            .detail(detail)
            .build();
        let answer = self.client.put_events().entries(entry).send().await.map_err(|error| {
            match error.as_service_error().and_then(ProvideErrorMetadata::code) {
                Some(code) => PublishError::Refused { code: code.to_owned() },
                None => PublishError::Unavailable(error.into()),
            }
        })?;
        // The call succeeds also where the entry did not.
        let failed = answer.entries.unwrap_or_default().into_iter().find_map(|entry| entry.error_code);
        failed.map_or(Ok(()), |code| Err(PublishError::Refused { code }))
    }
}
