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
        let ahead = self.explanation(code, date);
        if let Some(ahead) = ahead {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        ahead.is_some()
    }

    /// How many seconds the service's clock is ahead, if that is why it refused.
    fn explanation(&self, code: Option<&str>, date: &str) -> Option<i64> {
        code.filter(|code| MISTAKEN_SIGNATURE.contains(code))?;
        let theirs = DateTime::from_str(date, Format::HttpDate).ok()?.secs();
        let theirs = u64::try_from(theirs).ok().filter(|theirs| theirs.abs_diff(self.now()) > TOLERANCE)?;
        theirs.checked_signed_diff(self.clock.now().unix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    /// 2015-08-30T12:36:00Z.
    const NOW: u64 = 1_440_938_160;

    fn signer() -> Signer {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "test");
        let clock = Clock::fixed(Timestamp::from_unix(NOW));
        Signer::new("service", "us-east-1".to_owned(), credentials, clock)
    }

    /// `get-vanilla` and `post-x-www-form-urlencoded` of AWS's own test suite for signatures.
    #[test]
    fn signs_as_aws_expects() {
        for (request, body, headers, signature) in [
            (
                Request::get("/"),
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                Request::post("/").header("content-type", "application/x-www-form-urlencoded"),
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let mut request = request.header("host", "example.amazonaws.com").body(()).expect("a request");
            signer().sign(&mut request, body.as_bytes()).expect("a signature");
            assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={headers}, Signature={signature}"
            );
            assert_eq!(request.headers()["authorization"], expected.as_str());
        }
    }

    #[test]
    fn another_time_is_learned_from_a_refusal_that_it_explains() {
        const SKEWED: Option<&str> = Some("RequestTimeTooSkewed");
        let signer = signer();
        assert!(!signer.learn_time(SKEWED, "Sun, 30 Aug 2015 12:39:59 GMT"), "the difference is borne");
        assert!(!signer.learn_time(Some("ValidationException"), "Sun, 30 Aug 2015 13:36:00 GMT"));
        assert!(!signer.learn_time(None, "Sun, 30 Aug 2015 13:36:00 GMT"));
        assert!(!signer.learn_time(SKEWED, "half past one"));
        assert_eq!(signer.now(), NOW);
        assert!(signer.learn_time(SKEWED, "Sun, 30 Aug 2015 13:36:00 GMT"));
        assert_eq!(signer.now(), NOW + 3600);
        assert!(!signer.learn_time(SKEWED, "Sun, 30 Aug 2015 13:36:00 GMT"), "it was signed at that time");
        assert!(signer.learn_time(SKEWED, "Sun, 30 Aug 2015 12:06:00 GMT"));
        assert_eq!(signer.now(), NOW - 1800);
    }
}
