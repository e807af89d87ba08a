//! Signatures of version 4, by the SDK's own crate, at the time that the service has.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use lambda_http::http::Request;

use crate::clock::Clock;

/// With which codes services refuse a signature, of another time than theirs for instance.
const MISTAKEN_SIGNATURE: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "RequestTimeTooSkewed",
    "AccessDeniedException",
];
/// How many seconds of difference services bear for certain: they refuse from five minutes on.
const TOLERANCE: u64 = 4 * 60;

/// Signs requests to one service.
#[derive(Debug)]
pub(super) struct Signer {
    service: &'static str,
    region: String,
    identity: Identity,
    clock: Clock,
    /// Seconds that the service's clock is ahead of ours.
    ahead: AtomicI64,
}

impl Signer {
    pub(super) fn new(service: &'static str, region: String, credentials: Credentials, clock: Clock) -> Self {
        Self { service, region, identity: credentials.into(), clock, ahead: AtomicI64::new(0) }
    }

    pub(super) const fn service(&self) -> &'static str {
        self.service
    }

    /// Adds the signature of a request with this body.
    pub(super) fn sign<B>(&self, request: &mut Request<B>, body: &[u8]) -> Result<(), BoxError> {
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(self.now()))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter().map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
        let headers = headers.collect::<Result<Vec<_>, BoxError>>()?.into_iter();
        let (method, uri) = (request.method().as_str(), request.uri().to_string());
        let signable = SignableRequest::new(method, uri, headers, SignableBody::Bytes(body))?;
        let (signature, _) = sign(signable, &params)?.into_parts();
        signature.apply_to_request_http1x(request);
        Ok(())
    }

    /// The service's time, as far as it is known, in seconds since the Unix epoch.
    fn now(&self) -> u64 {
        self.clock.now().unix().saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    /// Takes the service's time over from a refusal with this code at this date (RFC 9110 §5.6.7), if another time was
    /// the reason for it: whether it was.
    pub(super) fn learn_time(&self, code: Option<&str>, date: &str) -> bool {
        let is_mistaken = code.is_some_and(|code| MISTAKEN_SIGNATURE.contains(&code));
        let theirs = DateTime::from_str(date, Format::HttpDate).ok().and_then(|date| u64::try_from(date.secs()).ok());
        let Some(theirs) = theirs.filter(|theirs| is_mistaken && theirs.abs_diff(self.now()) > TOLERANCE) else {
            return false;
        };
        let ahead = i128::from(theirs) - i128::from(self.clock.now().unix());
        self.ahead.store(i64::try_from(ahead).unwrap_or_default(), Ordering::Relaxed);
        true
    }
}
