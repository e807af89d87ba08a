//! Whether a new password is known from a leak: asked of Have I Been Pwned, or of a server that answers as it does.
//!
//! By its k-anonymity range protocol (<https://haveibeenpwned.com/API/v3#PwnedPasswords>): the first five hexadecimal
//! digits of the password's SHA-1 leave, and bring what follows them in each of the thousand or so leaked hashes that
//! begin so. The comparison is made here. Padding (`Add-Padding`) makes all answers about as long, so that their length
//! tells an onlooker nothing either.
//!
//! It is a courtesy to the person, not a wall: who does not answer within 500 ms, or oddly, is passed over, and a line of
//! the log says so. No line ever holds a password, a hash or its beginning. Nothing here runs at a start, and nothing at
//! all while `BreachCheck` is `off`; certificate authorities of the public web are trusted by this connection alone.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::HttpError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Limited};
use thiserror::Error;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;
use zeroize::Zeroizing;

use crate::account::{Password, UserId, WeakPassword};
use crate::telemetry::{SecurityEvent, causes};

/// Have I Been Pwned's.
const PUBLIC_URL: &str = "https://api.pwnedpasswords.com";
/// How long it may take in all, from the look-up of the name to the last byte.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The longest answer that is read, in bytes; real ones have 30 to 80 thousand.
const MAX_ANSWER: usize = 1 << 20;
/// How much of the hash leaves, in hexadecimal digits.
const PREFIX: usize = 5;
/// The hexadecimal digits of a SHA-1.
const DIGITS: usize = 40;

/// What is done about a password that is known from a leak (parameter `BreachCheck`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreachPolicy {
    /// Nobody is asked.
    Off,
    /// It is taken, and a [`SecurityEvent`] says so.
    Warn,
    /// It is refused.
    Refuse,
}

/// Whether and where to ask.
#[derive(Clone, Debug)]
pub struct BreachSettings {
    /// What is done about a password that is found.
    pub policy: BreachPolicy,
    /// An origin that answers `GET /range/…`; `None`: Have I Been Pwned's.
    pub url: Option<String>,
}

/// Asks whether new passwords are known from a leak.
#[derive(Clone, Debug)]
pub struct BreachCheck {
    policy: BreachPolicy,
    url: Arc<str>,
    /// Made when the first password is looked up: to read the certificates takes longer than all else of a start.
    connector: Arc<OnceLock<Connector>>,
}

/// Why it is not known whether a password leaked.
#[derive(Debug, Error)]
enum RangeError {
    #[error("no answer within {} ms", TIMEOUT.as_millis())]
    TimedOut,
    #[error("no request can be made for the URL")]
    Request(#[source] HttpError),
    #[error("no answer")]
    Connection(#[source] ConnectorError),
    #[error("an answer with status {0}")]
    Status(u16),
    #[error("an answer that was cut, or is longer than {MAX_ANSWER} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("an answer that is no list of hashes")]
    Malformed,
}

impl BreachCheck {
    /// A check by these settings.
    pub fn new(settings: BreachSettings) -> Self {
        let url = settings.url.map_or_else(|| PUBLIC_URL.into(), |url| url.trim_end_matches('/').into());
        Self { policy: settings.policy, url, connector: Arc::default() }
    }

    /// Refuses a new password that is known from a leak, if that is the policy. A password that cannot be looked up now is
    /// taken. `user_id` is whose it will be, where there is an account already.
    pub async fn check(&self, password: &Password, user_id: Option<UserId>) -> Result<(), WeakPassword> {
        if self.policy == BreachPolicy::Off {
            return Ok(());
        }
        let connector = self.connector.get_or_init(connector);
        let found = tokio::time::timeout(TIMEOUT, self.is_known(connector, password)).await;
        match found.unwrap_or(Err(RangeError::TimedOut)) {
            Ok(false) => Ok(()),
            Ok(true) if self.policy == BreachPolicy::Refuse => Err(WeakPassword::Breached),
            Ok(true) => {
                SecurityEvent::BreachedPassword { user_id }.log();
                Ok(())
            }
            Err(error) => {
                tracing::warn!(causes = causes(&error), "a password was taken without the breach check");
                Ok(())
            }
        }
    }

    async fn is_known(&self, connector: &Connector, password: &Password) -> Result<bool, RangeError> {
        let hash = sha1(password);
        let (prefix, suffix) = hash.split_at(PREFIX);
        let mut request = HttpRequest::get(format!("{}/range/{prefix}", self.url)).map_err(RangeError::Request)?;
        request.headers_mut().insert("add-padding", "true");
        // Without one the service refuses.
        request.headers_mut().insert("user-agent", "latchkey");
        let response = connector.call(request).await.map_err(RangeError::Connection)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(RangeError::Status(status));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(RangeError::Body)?;
        has_leaked(&body.to_bytes(), suffix)
    }
}

/// The hash that leaked passwords are listed by, in upper-case hexadecimal digits.
fn sha1(password: &Password) -> Zeroizing<String> {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mut hash = Zeroizing::new(String::with_capacity(DIGITS));
    let digit = |half: u8| char::from(b"0123456789ABCDEF"[usize::from(half)]);
    hash.extend(digest.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    hash
}

/// Whether an answer lists a hash that ends so: rows of the remaining 35 digits, a colon, and how often it leaked. Rows
/// of a count of 0 are padding. No beginning is without a row, so no answer is empty.
fn has_leaked(answer: &[u8], suffix: &str) -> Result<bool, RangeError> {
    let answer = std::str::from_utf8(answer).map_err(|_| RangeError::Malformed)?;
    let mut rows = answer.lines().peekable();
    rows.peek().ok_or(RangeError::Malformed)?;
    let mut leaked = false;
    for row in rows {
        let (rest, count) = row.split_once(':').ok_or(RangeError::Malformed)?;
        if rest.len() != DIGITS - PREFIX || !rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(RangeError::Malformed);
        }
        let count: u64 = count.parse().map_err(|_| RangeError::Malformed)?;
        leaked |= count > 0 && rest.eq_ignore_ascii_case(suffix);
    }
    Ok(leaked)
}

/// Connections over the SDK's own stack, rustls on AWS-LC, which trust what browsers trust: the service is at a CDN, which
/// may change its authority any day.
fn connector() -> Connector {
    let pem =
        |der: &[u8]| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
    let roots: String = TLS_SERVER_ROOT_CERTS.iter().map(|root| pem(root)).collect();
    let roots = TrustStore::empty().with_pem_certificate(roots);
    let tls = TlsContext::builder().with_trust_store(roots).build().expect("certificates in PEM");
    Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::account::CandidatePassword;
    use crate::telemetry::tests::logged;

    /// `password`, by sha1sum.
    const HASH: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";

    fn password() -> Password {
        CandidatePassword::new("password".to_owned()).to_compare().expect("comparable")
    }

    fn check_at(url: &str, policy: BreachPolicy) -> BreachCheck {
        BreachCheck::new(BreachSettings { policy, url: Some(url.to_owned()) })
    }

    /// An address at which one connection is served so; the thread brings what was asked there.
    fn serve(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serving = std::thread::spawn(move || {
            let mut stream = listener.accept().expect("a connection").0;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                head.extend(byte);
            }
            answer(&mut stream);
            String::from_utf8(head).expect("ASCII")
        });
        (url, serving)
    }

    /// What a check by that policy comes to where such bytes are the answer; what it logs; and what it asks.
    fn outcome(policy: BreachPolicy, answer: Vec<u8>) -> (Result<(), WeakPassword>, String, String) {
        // A client that has seen enough of an answer may not wait for its end.
        let (url, serving) = serve(move |stream| drop(stream.write_all(&answer)));
        let (outcome, log) = checked(&url, policy);
        (outcome, log, serving.join().expect("a request"))
    }

    fn checked(url: &str, policy: BreachPolicy) -> (Result<(), WeakPassword>, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut outcome = Ok(());
        let log = logged(|| outcome = runtime.block_on(check_at(url, policy).check(&password(), None)));
        (outcome, log)
    }

    /// As Have I Been Pwned answers: lines that end in CRLF, the last one too or not, hashes in upper case and in order,
    /// some eight hundred of them, and padding among them.
    fn range(row: Option<&str>) -> String {
        let other = |index: u64| {
            let count = if index.is_multiple_of(5) { 0 } else { index };
            format!("{:035X}:{count}", u128::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834))
        };
        let mut rows: Vec<String> = (1..=800).map(other).chain(row.map(str::to_owned)).collect();
        rows.sort();
        rows.join("\r\n")
    }

    fn ok(body: &str) -> Vec<u8> {
        with_status("200 OK", body)
    }

    fn with_status(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
    }

    fn row(count: &str) -> String {
        format!("{}:{count}", &HASH[PREFIX..])
    }

    /// Asserts that an answer makes nobody wait or fail, and that one line says why, and nothing of the password.
    fn is_passed_over(what: &str, policy: BreachPolicy, answer: &[u8]) {
        let (outcome, log, _) = outcome(policy, answer.to_vec());
        assert_eq!(outcome, Ok(()), "{what}");
        is_one_line_that_tells_nothing(what, &log);
    }

    fn is_one_line_that_tells_nothing(what: &str, log: &str) {
        // The SDK's own client may have a line, too.
        let ours: Vec<&str> = log.lines().filter(|line| line.contains("without the breach check")).collect();
        assert!(ours.len() == 1 && ours[0].contains("WARN"), "{what}: {log}");
        let upper = log.to_uppercase();
        for secret in [&HASH[..PREFIX], &HASH[PREFIX..PREFIX + 5], "RANGE/"] {
            assert!(!upper.contains(secret), "{what}: {log}");
        }
        assert_eq!(log.matches("password").count(), 1, "{what}: {log}");
        assert!(!log.contains("security_event"), "{what}: {log}");
    }

    #[test]
    fn five_digits_of_the_hash_leave_and_no_more() {
        let (_, _, request) = outcome(BreachPolicy::Refuse, ok(&range(None)));
        assert!(request.starts_with("GET /range/5BAA6 HTTP/1.1\r\n"), "{request}");
        let lower = request.to_lowercase();
        assert!(
            lower.contains("\r\nadd-padding: true\r\n") && lower.contains("\r\nuser-agent: latchkey\r\n"),
            "{request}"
        );
        assert!(!lower.contains(&HASH[PREFIX..PREFIX + 5].to_lowercase()) && !lower.contains("password"), "{request}");
    }

    #[test]
    fn what_leaked_is_refused_or_warned_of() {
        for count in ["1", "52256179"] {
            for body in [range(Some(&row(count))), range(Some(&row(count))) + "\r\n", row(count).to_lowercase()] {
                let (refused, log, _) = outcome(BreachPolicy::Refuse, ok(&body));
                assert_eq!((refused, log.as_str()), (Err(WeakPassword::Breached), ""));
                let (outcome, log, _) = outcome(BreachPolicy::Warn, ok(&body));
                assert_eq!(outcome, Ok(()));
                assert!(log.contains("\"security_event\":\"breached_password\"") && log.lines().count() == 1, "{log}");
            }
        }
    }

    #[test]
    fn what_has_not_leaked_is_taken_in_silence() {
        let other_end = format!("{}:7", HASH[PREFIX..].replace("FD8", "FD9"));
        for body in [range(None), range(Some(&row("0"))), range(Some(&other_end)), other_end] {
            for policy in [BreachPolicy::Warn, BreachPolicy::Refuse] {
                let (outcome, log, _) = outcome(policy, ok(&body));
                assert_eq!((outcome, log.as_str()), (Ok(()), ""), "{body}");
            }
        }
    }

    #[test]
    fn while_it_is_off_nobody_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        assert_eq!(checked(&url, BreachPolicy::Off), (Ok(()), String::new()));
        assert!(listener.accept().is_err(), "a connection");
    }

    #[test]
    fn odd_answers_are_passed_over_and_logged() {
        let status = |line: &str| with_status(line, "");
        let listed = row("7");
        for policy in [BreachPolicy::Warn, BreachPolicy::Refuse] {
            for (what, answer) in [
                ("busy", status("429 Too Many Requests\r\nretry-after: 2")),
                ("down", status("503 Service Unavailable")),
                ("moved", status("301 Moved Permanently\r\nlocation: https://example.com/range/5BAA6")),
                ("no content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
                ("an error that is a list", with_status("404 Not Found", &listed)),
                ("empty", ok("")),
                ("a page", ok("<!DOCTYPE html>\r\n<title>Sign in to the network: 7</title>")),
                ("JSON", ok("{\"hashes\": []}")),
                ("a list, then a page", ok(&format!("{listed}\r\n<hr>"))),
                ("a row without a count", ok(&format!("{listed}\r\n{}", &HASH[PREFIX..]))),
                ("a count that is none", ok(&format!("{listed}\r\n{}:many", &HASH[PREFIX..]))),
                ("whole hashes", ok(&format!("{listed}\r\n{HASH}:7"))),
                ("no hexadecimal digits", ok(&format!("{listed}\r\n{}:7", "G".repeat(35)))),
                (
                    "no UTF-8",
                    ok(&format!("{listed}\r\n?")).iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect(),
                ),
                ("cut", ok(&range(Some(&listed)))[..9000].to_vec()),
                ("cut in its head", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
                ("cut between chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
                ("nothing", Vec::new()),
                ("no HTTP", b"220 mail.example.com ESMTP\r\n".to_vec()),
                ("endless", ok(&(range(Some(&listed)) + "\r\n").repeat(MAX_ANSWER / 30_000))),
            ] {
                is_passed_over(what, policy, &answer);
            }
        }
    }

    #[test]
    fn nobody_there_and_nobody_to_be_trusted_are_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let (outcome, log) = checked(&format!("http://{address}"), BreachPolicy::Refuse);
        assert_eq!(outcome, Ok(()));
        is_one_line_that_tells_nothing("nobody", &log);
        // Whoever answers for them, with a certificate of their own, is told nothing.
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("a provider").with_no_client_auth();
        let config = config.with_single_cert(vec![certified.cert.der().clone()], key).expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = std::thread::spawn(move || {
            let mut stream = listener.accept().expect("a connection").0;
            let mut connection = ServerConnection::new(Arc::new(config)).expect("a configuration");
            rustls::Stream::new(&mut connection, &mut stream)
                .read(&mut [0])
                .map(drop)
                .map_err(|error| error.to_string())
        });
        let (outcome, log) = checked(&format!("https://localhost:{port}"), BreachPolicy::Refuse);
        let alert = serving.join().expect("a connection").expect_err("no request");
        assert!(alert.contains("UnknownCA") && log.contains("UnknownIssuer"), "{alert}: {log}");
        assert_eq!(outcome, Ok(()));
        is_one_line_that_tells_nothing("nobody's certificate", &log);
    }

    #[test]
    fn half_a_second_is_all_that_it_may_take() {
        let silent = |_: &mut TcpStream| {};
        let slow = |stream: &mut TcpStream| {
            let answer = ok(&range(Some(&row("7"))));
            stream.write_all(&answer[..2000]).expect("a connection");
        };
        let answers: [fn(&mut TcpStream); 2] = [silent, slow];
        for answer in answers {
            // The connection stays open until the client has had enough.
            let (answered, is_answered) = std::sync::mpsc::channel();
            let (url, serving) = serve(move |stream| {
                answer(stream);
                answered.send(()).expect("a client");
                let _ = stream.read(&mut [0]);
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let runtime = runtime.expect("a runtime");
            let log = logged(|| {
                runtime.block_on(async {
                    let check = check_at(&url, BreachPolicy::Refuse);
                    // The paused clock stands still while a thread is awaited.
                    let answered = tokio::task::spawn_blocking(move || is_answered.recv());
                    let started = tokio::time::Instant::now();
                    assert_eq!(check.check(&password(), None).await, Ok(()));
                    let elapsed = started.elapsed();
                    assert!((TIMEOUT..TIMEOUT * 2).contains(&elapsed), "{elapsed:?}");
                    answered.await.expect("a thread").expect("an answer");
                });
            });
            drop(runtime);
            is_one_line_that_tells_nothing("slow", &log);
            serving.join().expect("a request");
        }
    }

    #[test]
    fn the_authorities_of_the_web_are_those_that_are_trusted() {
        // To make it reads them all.
        let _ = connector();
        assert!(TLS_SERVER_ROOT_CERTS.len() > 100);
    }
}
