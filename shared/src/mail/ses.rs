//! The sender: SES v2's `SendEmail`.

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::{BuildError, ErrorMetadata, SdkError};
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message as SesMessage};
use thiserror::Error;

use super::letter::RenderedMail;
use super::sender::Sender;
use crate::account::EmailAddress;
use crate::config::MailSettings;

/// A mail that was not sent. What SES says of it is kept for the log, without the addresses that it names.
#[derive(Debug, Error)]
pub enum MailError {
    /// SES refused for now: too many mails a second or a day. The same mail may be sent later.
    #[error("SES refused the mail for now: {code}: {words}")]
    Throttled {
        /// The name of the error.
        code: String,
        /// What SES says.
        words: String,
    },
    /// SES refused for good, and would again: a sender that is not verified, an account in the sandbox or suspended, a
    /// permission that is missing. `docs/aws.md` says what each code means.
    #[error("SES refused the mail: {code}: {words}")]
    Refused {
        /// The name of the error.
        code: String,
        /// What SES says.
        words: String,
    },
    /// SES did not answer.
    #[error("SES did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl MailError {
    /// What SES refused with.
    fn refused(error: &ErrorMetadata, is_server_error: bool) -> Self {
        let code = error.code().unwrap_or("no code").to_owned();
        let words = without_addresses(error.message().unwrap_or_default());
        let passes = matches!(
            code.as_str(),
            "TooManyRequestsException" | "LimitExceededException" | "ThrottlingException" | "Throttling"
        );
        if passes || is_server_error { Self::Throttled { code, words } } else { Self::Refused { code, words } }
    }
}

/// SES's words without what may be an address, at most 300 characters of them.
fn without_addresses(words: &str) -> String {
    let words = words.split_whitespace().map(|word| if word.contains('@') { "<address>" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(300).collect()
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
    from: Sender,
    configuration_set: Option<String>,
}

impl Mailer {
    /// A sender with these settings.
    pub fn new(client: Client, settings: MailSettings) -> Self {
        let MailSettings { from, configuration_set } = settings;
        Self { client, from, configuration_set }
    }

    /// Sends a mail.
    pub async fn send(&self, to: &EmailAddress, mail: RenderedMail) -> Result<(), MailError> {
        let body = Body::builder().text(utf8(mail.text)?).html(utf8(mail.html)?).build();
        let message = SesMessage::builder().subject(utf8(mail.subject)?).body(body).build();
        self.client
            .send_email()
            .from_email_address(self.from.as_str())
            .set_configuration_set_name(self.configuration_set.clone())
            .destination(Destination::builder().to_addresses(to.as_str()).build())
            .content(EmailContent::builder().simple(message).build())
            .send()
            .await
            .map_err(|error| match &error {
                SdkError::ServiceError(refused) if !refused.raw().status().is_success() => {
                    MailError::refused(refused.err().meta(), refused.raw().status().is_server_error())
                }
                _ => MailError::Unavailable(error.into()),
            })?;
        Ok(())
    }
}

fn utf8(text: String) -> Result<Content, BuildError> {
    Content::builder().data(text).charset("UTF-8").build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, words: &str, is_server_error: bool) -> MailError {
        MailError::refused(&ErrorMetadata::builder().code(code).message(words).build(), is_server_error)
    }

    #[test]
    fn ses_messages_are_kept_without_addresses() {
        let words = "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: \
                     Ann <ann@example.com>, no-reply@example.com";
        let text = error("MessageRejected", words, false).to_string();
        assert!(text.starts_with("SES refused the mail: MessageRejected: Email address is not verified."), "{text}");
        assert!(text.contains("EU-CENTRAL-1") && !text.contains('@'), "{text}");
    }

    #[test]
    fn permanent_and_transient_ses_errors_differ() {
        for (code, is_server_error, passes) in [
            ("MessageRejected", false, false),
            ("MailFromDomainNotVerifiedException", false, false),
            ("AccountSuspendedException", false, false),
            ("SendingPausedException", false, false),
            ("AccessDeniedException", false, false),
            ("NotFoundException", false, false),
            ("TooManyRequestsException", false, true),
            ("LimitExceededException", false, true),
            ("InternalServiceErrorException", true, true),
        ] {
            let error = error(code, "", is_server_error);
            assert_eq!(matches!(error, MailError::Throttled { .. }), passes, "{code}");
        }
    }
}
