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
/// In seconds. No clock is further off.
const CENTURY: u64 = 100 * 365 * 24 * 3600;

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

    /// Adds the signature of a request with this body: at what time, in seconds since the Unix epoch.
    pub(super) fn sign<B>(&self, request: &mut Request<B>, body: &[u8]) -> Result<u64, BoxError> {
        // The service's time, as far as it is known.
        let now = self.clock.now().unix().saturating_add_signed(self.ahead.load(Ordering::Relaxed));
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(now))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter().map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
        let headers = headers.collect::<Result<Vec<_>, BoxError>>()?.into_iter();
        let (method, uri) = (request.method().as_str(), request.uri().to_string());
        let signable = SignableRequest::new(method, uri, headers, SignableBody::Bytes(body))?;
        let (signature, _) = sign(signable, &params)?.into_parts();
        signature.apply_to_request_http1x(request);
        Ok(now)
    }

    /// Takes the service's time over from a refusal with this code at this date (RFC 9110 §5.6.7) of what was signed at
    /// `signed_at`, if the difference was the reason for it: whether it was.
    pub(super) fn learn_time(&self, code: Option<&str>, date: &str, signed_at: u64) -> bool {
        let ahead = self.explanation(code, date, signed_at);
        if let Some(ahead) = ahead {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        ahead.is_some()
    }

    /// How many seconds the service's clock is ahead of ours, if that is why it refused.
    fn explanation(&self, code: Option<&str>, date: &str, signed_at: u64) -> Option<i64> {
        code.filter(|code| MISTAKEN_SIGNATURE.contains(code))?;
        let theirs = u64::try_from(DateTime::from_str(date, Format::HttpDate).ok()?.secs()).ok()?;
        let ahead = theirs.checked_signed_diff(self.clock.now().unix())?;
        (theirs.abs_diff(signed_at) > TOLERANCE && ahead.unsigned_abs() < CENTURY).then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    /// 2015-08-30T12:36:00Z.
    const NOW: u64 = 1_440_938_160;

    fn signer_with(token: Option<String>) -> Signer {
        let credentials =
            Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token, None, "test");
        let clock = Clock::fixed(Timestamp::from_unix(NOW));
        Signer::new("service", "us-east-1".to_owned(), credentials, clock)
    }

    fn signer() -> Signer {
        signer_with(None)
    }

    /// `get-vanilla`, `post-x-www-form-urlencoded` and `get-vanilla-with-session-token` of AWS's own test suite for
    /// signatures.
    #[test]
    fn signs_as_aws_expects() {
        const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        for (signer, request, body, headers, signature) in [
            (
                signer(),
                Request::get("/"),
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                signer(),
                Request::post("/").header("content-type", "application/x-www-form-urlencoded"),
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                signer_with(Some(TOKEN.to_owned())),
                Request::get("/"),
                "",
                "host;x-amz-date;x-amz-security-token",
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ),
        ] {
            let mut request = request.header("host", "example.amazonaws.com").body(()).expect("a request");
            assert_eq!(signer.sign(&mut request, body.as_bytes()).expect("a signature"), NOW);
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
        const LATER: &str = "Sun, 30 Aug 2015 13:36:00 GMT";
        let signer = signer();
        let now = || signer.sign(&mut Request::get("/").header("host", "example").body(()).expect("a request"), b"");
        assert!(!signer.learn_time(SKEWED, "Sun, 30 Aug 2015 12:39:59 GMT", NOW), "the difference is borne");
        assert!(!signer.learn_time(Some("ValidationException"), LATER, NOW));
        assert!(!signer.learn_time(None, LATER, NOW));
        assert!(!signer.learn_time(SKEWED, "half past one", NOW));
        assert!(!signer.learn_time(SKEWED, "Fri, 31 Dec 9999 23:59:59 GMT", NOW), "no clock is that far off");
        assert_eq!(now().expect("a signature"), NOW);
        assert!(signer.learn_time(SKEWED, LATER, NOW));
        assert_eq!(now().expect("a signature"), NOW + 3600);
        assert!(signer.learn_time(SKEWED, LATER, NOW), "another call was signed before it was learned");
        assert!(!signer.learn_time(SKEWED, LATER, NOW + 3600), "it was signed at that time");
        assert!(signer.learn_time(SKEWED, "Sun, 30 Aug 2015 12:06:00 GMT", NOW + 3600));
        assert_eq!(now().expect("a signature"), NOW - 1800);
    }
}
