//! Addresses that are not mailed, as a mail came back or was complained about.

use aws_sdk_sesv2::operation::delete_suppressed_destination::DeleteSuppressedDestinationError;
use shared::account::EmailAddress;
use shared::telemetry::Act;

use crate::{AdminError, Deployment};

impl Deployment {
    /// Lets mails go to an address again: takes it off SES's own list of the account first, then off ours. Whether anything kept
    /// them here.
    pub async fn unblock_mail(&self, email: &EmailAddress) -> Result<bool, AdminError> {
        if let Some(aws) = &self.aws {
            let ses = aws_sdk_sesv2::Client::new(aws);
            let removed = ses.delete_suppressed_destination().email_address(email.as_str()).send().await;
            if let Err(error) = removed {
                let is_missing =
                    matches!(error.as_service_error(), Some(DeleteSuppressedDestinationError::NotFoundException(_)));
                if !is_missing {
                    return Err(AdminError::failed(&error));
                }
            }
        }
        Ok(self.store.clear_undeliverable(email, &[self.act(Act::MailUnblock, None)]).await?)
    }
}
