//! The sender: SES v2's `SendEmail`.

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::BuildError;
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message as SesMessage};
use thiserror::Error;

use super::messages::Message;
use crate::account::EmailAddress;
use crate::locale::Locale;

/// A mail that was not sent.
#[derive(Debug, Error)]
pub enum MailError {
    /// SES will not send it, however often it is asked: a sender that is not verified, say.
    #[error("the mail was refused")]
    Refused(#[source] Box<SendEmailError>),
    /// SES did not answer, or not now.
    #[error("mail is unavailable")]
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
    service_name: String,
}

impl Mailer {
    /// A sender that writes as `from`, an identity that SES has verified, in the name of `service_name`.
    pub const fn new(client: Client, from: String, service_name: String) -> Self {
        Self { client, from, service_name }
    }

    /// Sends a message.
    pub async fn send(&self, to: &EmailAddress, locale: Locale, message: &Message<'_>) -> Result<(), MailError> {
        let mail = message.render(locale, &self.service_name);
        let body = Body::builder().text(utf8(mail.text)?).html(utf8(mail.html)?).build();
        let message = SesMessage::builder().subject(utf8(mail.subject)?).body(body).build();
        self.client
            .send_email()
            .from_email_address(&self.from)
            .destination(Destination::builder().to_addresses(to.as_str()).build())
            .content(EmailContent::builder().simple(message).build())
            .send()
            .await
            .map_err(|error| match error.into_service_error() {
                refused @ (SendEmailError::MessageRejected(_)
                | SendEmailError::BadRequestException(_)
                | SendEmailError::MailFromDomainNotVerifiedException(_)
                | SendEmailError::NotFoundException(_)) => MailError::Refused(Box::new(refused)),
                other => MailError::Unavailable(other.into()),
            })?;
        Ok(())
    }
}

fn utf8(text: String) -> Result<Content, BuildError> {
    Content::builder().data(text).charset("UTF-8").build()
}
