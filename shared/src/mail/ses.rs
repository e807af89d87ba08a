//! The sender: SES v2's `SendEmail`.

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message as SesMessage};
use thiserror::Error;

use super::messages::Message;
use crate::account::EmailAddress;
use crate::config::MailSettings;
use crate::locale::Locale;

/// A mail that was not sent. What SES says of it is not kept, as its words name addresses; its code is.
#[derive(Debug, Error)]
pub enum MailError {
    /// SES refused: for good, as with a sender that is not verified, or for now, as with too many mails a second.
    #[error("SES refused the mail: {0}")]
    Refused(String),
    /// SES did not answer.
    #[error("SES did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<BuildError> for MailError {
    fn from(error: BuildError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Sends mails from one address.
#[derive(Clone, Debug)]
pub struct Mailer {
    client: Client,
    from: String,
    configuration_set: Option<String>,
    service_name: String,
}

impl Mailer {
    /// A sender with these settings that writes in the name of `service_name`.
    pub fn new(client: Client, settings: MailSettings, service_name: String) -> Self {
        let MailSettings { from, configuration_set } = settings;
        Self { client, from, configuration_set, service_name }
    }

    /// Sends a message.
    pub async fn send(&self, to: &EmailAddress, locale: Locale, message: &Message<'_>) -> Result<(), MailError> {
        let mail = message.render(locale, &self.service_name);
        let body = Body::builder().text(utf8(mail.text)?).html(utf8(mail.html)?).build();
        let message = SesMessage::builder().subject(utf8(mail.subject)?).body(body).build();
        self.client
            .send_email()
            .from_email_address(&self.from)
            .set_configuration_set_name(self.configuration_set.clone())
            .destination(Destination::builder().to_addresses(to.as_str()).build())
            .content(EmailContent::builder().simple(message).build())
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(refusal) => MailError::Refused(refusal.code().unwrap_or("no code").to_owned()),
                None => MailError::Unavailable(error.into()),
            })?;
        Ok(())
    }
}

fn utf8(text: String) -> Result<Content, BuildError> {
    Content::builder().data(text).charset("UTF-8").build()
}
