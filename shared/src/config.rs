//! The only reader of the environment.
//!
//! Each variable is a parameter of `template.yaml` in `SCREAMING_SNAKE_CASE`. A function reads those that it needs when it
//! is composed, and is given no others; one that is missing or malformed stops it at init, with its name: nothing is
//! guessed.

use std::sync::Arc;

use thiserror::Error;
use url::Url;

use crate::account::ReservedUsernames;
use crate::breach::{BreachPolicy, BreachSettings};
use crate::http::edge::{ClientAddressHeader, Edge, OriginSecrets};
use crate::http::origin::{ApiUrl, Origin};
use crate::limits::{FailureLimit, Limit, MailLimit, Rule};
use crate::mail::Sender;
use crate::session::{KindLifetimes, Lifetimes};
use crate::token::SigningAlgorithm;

/// A variable that is missing or that cannot be what it has to be.
#[derive(Debug, Error)]
#[error("environment variable {name}: {problem}")]
pub struct ConfigError {
    name: String,
    problem: String,
}

/// Whether protected routes ask the database if a session still lives (parameter `RevocationCheck`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationCheck {
    /// The token alone decides: no reads, and a logout holds once the access token has expired.
    Token,
    /// Session and user are read with each request: a logout, ban or password change holds at once.
    Session,
}

/// The two tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Users, sessions and sign-ups.
    pub users: String,
    /// Keys.
    pub keys: String,
}

/// Where the API is, and which pages meet it.
#[derive(Clone, Debug)]
pub struct Api {
    /// The API's own URL; `None`: it is taken from each event's `requestContext`.
    pub url: Option<ApiUrl>,
    /// The app's origins beside the API's own.
    pub allowed_origins: Vec<Origin>,
    /// The `Domain` of the readable cookie `username`, so that the app's page may read it; `None`: the API's host alone.
    pub cookie_domain: Option<String>,
}

/// How mails are sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The sender, an identity that SES has verified.
    pub from: Sender,
    /// The SES configuration set that mails are sent with, so that bounces and complaints are reported.
    pub configuration_set: Option<String>,
}

/// The variables of a process, or of one function of the local stack.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

/// The value of the variable of a name.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// This process's.
    #[expect(clippy::disallowed_methods, reason = "this is the one door for the environment")]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Variables from wherever `lookup` finds them.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// `TABLE_NAME`, `KEYS_TABLE_NAME`.
    pub fn tables(&self) -> Result<Tables, ConfigError> {
        Ok(Tables { users: self.text("TABLE_NAME")?, keys: self.text("KEYS_TABLE_NAME")? })
    }

    /// `API_URL`, `ALLOWED_ORIGINS`, `COOKIE_DOMAIN`.
    pub fn api(&self) -> Result<Api, ConfigError> {
        Ok(Api {
            url: self.optional("API_URL", ApiUrl::parse)?,
            allowed_origins: self.list("ALLOWED_ORIGINS", Origin::parse)?,
            cookie_domain: self.optional("COOKIE_DOMAIN", cookie_domain)?,
        })
    }

    /// `ORIGIN_SECRET`, `CLIENT_ADDRESS_HEADER`: the CDN in front of the API; `None` where neither is set. One without the
    /// other is an error: a secret alone would count everybody as the CDN, and a header alone could be anyone's.
    pub fn edge(&self) -> Result<Option<Edge>, ConfigError> {
        let secrets = match self.any("ORIGIN_SECRET")?.as_str() {
            "" => None,
            // The value is in no message.
            text => Some(OriginSecrets::parse(text).ok_or_else(|| {
                error(
                    "ORIGIN_SECRET",
                    "is not one or two secrets of 32 visible ASCII characters or more, separated by a comma",
                )
            })?),
        };
        match (secrets, self.optional("CLIENT_ADDRESS_HEADER", ClientAddressHeader::parse)?) {
            (None, None) => Ok(None),
            (Some(secrets), Some(header)) => Ok(Some(Edge::new(secrets, header))),
            (Some(_), None) => Err(error("CLIENT_ADDRESS_HEADER", "is not set, and ORIGIN_SECRET is: both or neither")),
            (None, Some(_)) => Err(error("ORIGIN_SECRET", "is not set, and CLIENT_ADDRESS_HEADER is: both or neither")),
        }
    }

    /// `APP_URL`: the app's page.
    pub fn app_url(&self) -> Result<Url, ConfigError> {
        self.parsed("APP_URL", |text| Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")))
    }

    /// `MAIL_FROM`, `MAIL_CONFIGURATION_SET`.
    pub fn mail(&self) -> Result<MailSettings, ConfigError> {
        Ok(MailSettings {
            from: self.parsed("MAIL_FROM", Sender::parse)?,
            configuration_set: self.optional("MAIL_CONFIGURATION_SET", |text| Some(text.to_owned()))?,
        })
    }

    /// `SERVICE_NAME`: what the product calls itself in mails and pages.
    pub fn service_name(&self) -> Result<String, ConfigError> {
        self.text("SERVICE_NAME")
    }

    /// `RESERVED_USERNAMES`, `SERVICE_NAME`: the names that nobody signs up under.
    pub fn reserved_usernames(&self) -> Result<ReservedUsernames, ConfigError> {
        Ok(ReservedUsernames::parse(&self.any("RESERVED_USERNAMES")?, &self.service_name()?))
    }

    /// `PASSWORD_MIN_LENGTH`: the fewest characters of a new password.
    pub fn password_min_length(&self) -> Result<usize, ConfigError> {
        self.parsed("PASSWORD_MIN_LENGTH", |text| text.parse().ok().filter(|length| (8..=64).contains(length)))
    }

    /// `BREACH_CHECK`, `BREACH_CHECK_URL`: whether and where it is asked if a new password is known from a leak.
    pub fn breach_check(&self) -> Result<BreachSettings, ConfigError> {
        let policy = self.parsed("BREACH_CHECK", |text| match text {
            "off" => Some(BreachPolicy::Off),
            "warn" => Some(BreachPolicy::Warn),
            "refuse" => Some(BreachPolicy::Refuse),
            _ => None,
        })?;
        Ok(BreachSettings { policy, url: self.optional("BREACH_CHECK_URL", endpoint)? })
    }

    /// `MAX_SESSIONS`: the most sessions that a user may have; a sign-in ends the oldest beyond it.
    pub fn max_sessions(&self) -> Result<usize, ConfigError> {
        self.parsed("MAX_SESSIONS", |text| text.parse().ok().filter(|count| (1..=50).contains(count)))
    }

    /// `KEY_ROTATION_DAYS`, in seconds: when new keys take over.
    pub fn key_rotation(&self) -> Result<u64, ConfigError> {
        Ok(self.seconds("KEY_ROTATION_DAYS")?.saturating_mul(86_400))
    }

    /// `SIGNING_ALGORITHM`: how access tokens are signed.
    pub fn signing_algorithm(&self) -> Result<SigningAlgorithm, ConfigError> {
        self.parsed("SIGNING_ALGORITHM", SigningAlgorithm::parse)
    }

    /// `REVOCATION_CHECK`: what the authorizer checks.
    pub fn revocation_check(&self) -> Result<RevocationCheck, ConfigError> {
        self.parsed("REVOCATION_CHECK", |text| match text {
            "token" => Some(RevocationCheck::Token),
            "session" => Some(RevocationCheck::Session),
            _ => None,
        })
    }

    /// `ROTATE_KEYS_FUNCTION`: the name of the function that makes keys.
    pub fn rotate_keys_function(&self) -> Result<String, ConfigError> {
        self.text("ROTATE_KEYS_FUNCTION")
    }

    /// `RENEW_FUNCTION`: the name of the function that renews and ends browser sessions for whoever only reads them.
    pub fn renew_function(&self) -> Result<String, ConfigError> {
        self.text("RENEW_FUNCTION")
    }

    /// `OUTBOX_FUNCTION`: the name of the function that does what waits in the outbox.
    pub fn outbox_function(&self) -> Result<String, ConfigError> {
        self.text("OUTBOX_FUNCTION")
    }

    /// `EVENT_BUS_NAME`: the bus that events are put on; `None` for none.
    pub fn event_bus_name(&self) -> Result<Option<String>, ConfigError> {
        self.optional("EVENT_BUS_NAME", |text| Some(text.to_owned()))
    }

    /// `FRESH_AUTHENTICATION`: for how many seconds after somebody proved who they are that counts as fresh.
    pub fn fresh_authentication(&self) -> Result<u64, ConfigError> {
        self.seconds("FRESH_AUTHENTICATION")
    }

    /// `NEW_DEVICE_NOTICE`: whether the owner is told of a sign-in on a device not seen before.
    pub fn new_device_notice(&self) -> Result<bool, ConfigError> {
        self.parsed("NEW_DEVICE_NOTICE", |text| text.parse().ok())
    }

    /// The variable that the rule names: how often within its window; 0 for no limit.
    pub fn limit(&self, rule: &'static Rule) -> Result<Limit, ConfigError> {
        Ok(Limit::new(rule, self.limit_number(rule.parameter)?))
    }

    /// `PASSWORD_FAILURES_AT_ONCE`, `PASSWORD_FAILURES`: wrong passwords in a row for one identifier.
    pub fn failure_limit(&self) -> Result<FailureLimit, ConfigError> {
        let at_once = self.limit_number("PASSWORD_FAILURES_AT_ONCE")?;
        Ok(FailureLimit::new(at_once, self.limit_number("PASSWORD_FAILURES")?))
    }

    /// `ADDRESS_MAILS_HOURLY`, `ADDRESS_MAILS_DAILY`: mails of one kind that strangers can cause to one address.
    pub fn mail_limit(&self, rule: &'static Rule) -> Result<MailLimit, ConfigError> {
        let hourly = self.limit_number("ADDRESS_MAILS_HOURLY")?;
        Ok(MailLimit::new(rule, hourly, self.limit_number(rule.parameter)?))
    }

    fn limit_number(&self, name: &str) -> Result<u32, ConfigError> {
        self.parsed(name, |text| text.parse().ok().filter(|most| *most < 1_000_000))
    }

    /// `LOG_CLIENT_ADDRESS`: whether log lines hold the source address and the user agent of their request.
    pub fn log_client_address(&self) -> Result<bool, ConfigError> {
        self.parsed("LOG_CLIENT_ADDRESS", |text| text.parse().ok())
    }

    /// `BROWSER_IDLE_TIMEOUT`, `BROWSER_SESSION_LIFETIME`, `APP_ACCESS_TOKEN_LIFETIME`, `APP_IDLE_TIMEOUT`,
    /// `APP_SESSION_LIFETIME`, `REFRESH_GRACE`: how long sessions and tokens live, in seconds.
    pub fn lifetimes(&self) -> Result<Lifetimes, ConfigError> {
        let browser_idle = self.seconds("BROWSER_IDLE_TIMEOUT")?;
        Ok(Lifetimes {
            browser: KindLifetimes {
                access: browser_idle,
                idle: browser_idle,
                absolute: self.seconds("BROWSER_SESSION_LIFETIME")?,
            },
            app: KindLifetimes {
                access: self.seconds("APP_ACCESS_TOKEN_LIFETIME")?,
                idle: self.seconds("APP_IDLE_TIMEOUT")?,
                absolute: self.seconds("APP_SESSION_LIFETIME")?,
            },
            refresh_grace: self.parsed("REFRESH_GRACE", |text| text.parse().ok())?,
        })
    }

    /// Region, credentials and endpoints, as the Lambda service sets them.
    pub fn aws(&self) -> Result<AwsEnvironment, ConfigError> {
        let given = |name: &str| (self.0)(name).filter(|value| !value.is_empty());
        let endpoint = |name: &str| given(name).map(|_| self.parsed(name, endpoint)).transpose();
        Ok(AwsEnvironment {
            region: self.text("AWS_REGION")?,
            credentials: (
                self.text("AWS_ACCESS_KEY_ID")?,
                self.text("AWS_SECRET_ACCESS_KEY")?,
                given("AWS_SESSION_TOKEN"),
            ),
            dynamodb_endpoint: endpoint("AWS_ENDPOINT_URL_DYNAMODB")?,
            eventbridge_endpoint: endpoint("AWS_ENDPOINT_URL_EVENTBRIDGE")?,
            lambda_endpoint: endpoint("AWS_ENDPOINT_URL_LAMBDA")?,
            ses_endpoint: endpoint("AWS_ENDPOINT_URL_SESV2")?,
            ca_bundle: self.ca_bundle()?,
        })
    }

    /// `AWS_CA_BUNDLE`: the certificates of that file, in PEM, which are to be trusted instead of Amazon's roots.
    pub fn ca_bundle(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let path = (self.0)("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
        path.map(|path| read_file("AWS_CA_BUNDLE", &path)).transpose()
    }

    fn any(&self, name: &str) -> Result<String, ConfigError> {
        (self.0)(name).ok_or_else(|| error(name, "is not set"))
    }

    fn text(&self, name: &str) -> Result<String, ConfigError> {
        self.parsed(name, |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        let text = self.any(name)?;
        parse(&text).ok_or_else(|| error(name, format!("'{text}' is not acceptable")))
    }

    fn optional<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        match self.any(name)?.as_str() {
            "" => Ok(None),
            _ => self.parsed(name, parse).map(Some),
        }
    }

    /// A comma-separated list; the empty text is the empty list.
    fn list<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, ConfigError> {
        self.parsed(name, |text| text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(&parse).collect())
    }

    fn seconds(&self, name: &str) -> Result<u64, ConfigError> {
        self.parsed(name, |text| text.parse().ok().filter(|seconds| *seconds > 0))
    }
}

/// Region, credentials and endpoints of AWS.
pub struct AwsEnvironment {
    /// The region, `eu-central-1` for instance.
    pub region: String,
    /// Access key id, secret access key and session token of the function's role.
    pub credentials: (String, String, Option<String>),
    /// Another endpoint than AWS's for DynamoDB (`AWS_ENDPOINT_URL_DYNAMODB`), as `sam local` uses.
    pub dynamodb_endpoint: Option<String>,
    /// Another endpoint than AWS's for `EventBridge` (`AWS_ENDPOINT_URL_EVENTBRIDGE`).
    pub eventbridge_endpoint: Option<String>,
    /// Another endpoint than AWS's for the Lambda service (`AWS_ENDPOINT_URL_LAMBDA`).
    pub lambda_endpoint: Option<String>,
    /// Another endpoint than AWS's for SES (`AWS_ENDPOINT_URL_SESV2`).
    pub ses_endpoint: Option<String>,
    /// Certificates, in PEM, to trust instead of Amazon's roots: those in the file that `AWS_CA_BUNDLE` names, as for
    /// all SDKs of AWS.
    pub ca_bundle: Option<Vec<u8>>,
}

fn error(name: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError { name: name.to_owned(), problem: problem.into() }
}

/// The address of a server: an origin, perhaps with a slash at its end.
fn endpoint(text: &str) -> Option<String> {
    let origin = Origin::parse(text.strip_suffix('/').unwrap_or(text))?;
    origin.as_str().starts_with("http").then(|| text.to_owned())
}

/// The file that a variable names.
fn read_file(name: &str, path: &str) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|failure| error(name, format!("{path}: {failure}")))
}

/// A domain for `Set-Cookie`: letters, digits, dots and hyphens, so that no attribute can be smuggled in.
fn cookie_domain(text: &str) -> Option<String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    plain.then(|| text.trim_start_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_server_s_address_and_no_more() {
        let environment = |endpoint: &str| {
            let endpoint = endpoint.to_owned();
            let lookup = move |name: &str| match name {
                "AWS_ENDPOINT_URL_DYNAMODB" => Some(endpoint.clone()),
                "AWS_ENDPOINT_URL_EVENTBRIDGE"
                | "AWS_ENDPOINT_URL_LAMBDA"
                | "AWS_ENDPOINT_URL_SESV2"
                | "AWS_CA_BUNDLE" => None,
                _ => Some("x".to_owned()),
            };
            Environment::new(lookup).aws().map(|environment| environment.dynamodb_endpoint)
        };
        assert_eq!(environment("").expect("none"), None);
        for endpoint in ["http://127.0.0.1:8000", "https://dynamodb.example.test/", "http://[::1]:8000"] {
            assert_eq!(environment(endpoint).expect(endpoint).as_deref(), Some(endpoint));
        }
        for endpoint in ["127.0.0.1:8000", "localhost:8000", "ftp://localhost", "http://localhost/path", "http://a@b"] {
            let error = environment(endpoint).expect_err(endpoint).to_string();
            assert!(error.contains("AWS_ENDPOINT_URL_DYNAMODB"), "{error}");
        }
    }

    const VARS: [(&str, &str); 32] = [
        ("TABLE_NAME", "latchkey"),
        ("KEYS_TABLE_NAME", "latchkey-keys"),
        ("API_URL", ""),
        ("APP_URL", "https://app.example.test/"),
        ("ALLOWED_ORIGINS", "https://app.example.test, https://admin.example.test"),
        ("COOKIE_DOMAIN", ""),
        ("MAIL_FROM", "no-reply@example.test"),
        ("MAIL_CONFIGURATION_SET", ""),
        ("SERVICE_NAME", "Latchkey"),
        ("RESERVED_USERNAMES", ""),
        ("MAX_SESSIONS", "20"),
        ("KEY_ROTATION_DAYS", "30"),
        ("PASSWORD_MIN_LENGTH", "8"),
        ("BREACH_CHECK", "off"),
        ("BREACH_CHECK_URL", ""),
        ("SIGNING_ALGORITHM", "ES256"),
        ("REVOCATION_CHECK", "token"),
        ("BROWSER_IDLE_TIMEOUT", "1800"),
        ("BROWSER_SESSION_LIFETIME", "86400"),
        ("APP_ACCESS_TOKEN_LIFETIME", "900"),
        ("APP_IDLE_TIMEOUT", "2592000"),
        ("APP_SESSION_LIFETIME", "15552000"),
        ("REFRESH_GRACE", "10"),
        ("FRESH_AUTHENTICATION", "300"),
        ("LOG_CLIENT_ADDRESS", "true"),
        ("ORIGIN_SECRET", "a-secret-of-more-than-32-characters"),
        ("CLIENT_ADDRESS_HEADER", "cloudfront-viewer-address"),
        ("ROTATE_KEYS_FUNCTION", "rotate-keys"),
        ("RENEW_FUNCTION", "renew"),
        ("OUTBOX_FUNCTION", "outbox"),
        ("EVENT_BUS_NAME", "default"),
        ("NEW_DEVICE_NOTICE", "true"),
    ];

    /// Reads every setting that there is, with one variable replaced or taken away.
    fn read(name: &'static str, value: Option<&'static str>) -> Result<(Api, Lifetimes), ConfigError> {
        let environment = Environment::new(move |wanted| {
            if wanted == name {
                return value.map(str::to_owned);
            }
            VARS.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        });
        environment.tables()?;
        environment.app_url()?;
        environment.mail()?;
        environment.service_name()?;
        environment.reserved_usernames()?;
        environment.password_min_length()?;
        environment.breach_check()?;
        environment.max_sessions()?;
        environment.key_rotation()?;
        environment.signing_algorithm()?;
        environment.revocation_check()?;
        environment.fresh_authentication()?;
        environment.log_client_address()?;
        environment.edge()?;
        environment.rotate_keys_function()?;
        environment.renew_function()?;
        environment.outbox_function()?;
        environment.event_bus_name()?;
        environment.new_device_notice()?;
        Ok((environment.api()?, environment.lifetimes()?))
    }

    #[test]
    fn reads_every_setting() {
        let (api, lifetimes) = read("", None).expect("a complete environment");
        assert_eq!(api.allowed_origins.len(), 2);
        assert_eq!(api.url, None);
        assert_eq!(lifetimes.browser.access, 1800);
    }

    #[test]
    fn names_the_variable_that_is_missing() {
        for (name, _) in VARS {
            let error = read(name, None).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        for (name, value) in [
            ("API_URL", "api.example.test"),
            ("APP_URL", "javascript:alert(1)"),
            ("APP_URL", "https://%"),
            ("MAIL_FROM", "Latchkey"),
            ("ALLOWED_ORIGINS", "https://WWW.Example.com:443"),
            ("ALLOWED_ORIGINS", "https://app.example.test,https://*"),
            ("BROWSER_IDLE_TIMEOUT", "1800.5"),
            ("ALLOWED_ORIGINS", "https://app.example.test/path"),
            ("ALLOWED_ORIGINS", "*"),
            ("COOKIE_DOMAIN", "example.test; Path=/x"),
            ("PASSWORD_MIN_LENGTH", "4"),
            ("BREACH_CHECK", "on"),
            ("BREACH_CHECK_URL", "api.pwnedpasswords.com"),
            ("BREACH_CHECK_URL", "https://api.pwnedpasswords.com/range"),
            ("SIGNING_ALGORITHM", "none"),
            ("REVOCATION_CHECK", "sometimes"),
            ("BROWSER_IDLE_TIMEOUT", "0"),
            ("REFRESH_GRACE", "-1"),
            ("FRESH_AUTHENTICATION", "0"),
            ("ORIGIN_SECRET", ""),
            ("ORIGIN_SECRET", "a-secret-that-is-too-short"),
            ("CLIENT_ADDRESS_HEADER", ""),
            ("CLIENT_ADDRESS_HEADER", "X-Forwarded-For"),
            ("CLIENT_ADDRESS_HEADER", "x-forwarded-for"),
        ] {
            assert!(read(name, Some(value)).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_cdn_shows_a_secret_and_says_where_requests_come_from_or_there_is_none() {
        const SECRET: &str = "a-secret-of-more-than-32-characters";
        let edge = |secret: &'static str, header: &'static str| {
            Environment::new(move |name| match name {
                "ORIGIN_SECRET" => Some(secret.to_owned()),
                "CLIENT_ADDRESS_HEADER" => Some(header.to_owned()),
                _ => None,
            })
            .edge()
        };
        assert!(edge("", "").expect("nothing").is_none());
        assert!(edge(SECRET, "x-client").expect("a CDN").is_some());
        for (secret, header) in [(SECRET, ""), ("", "x-client")] {
            let error = edge(secret, header).expect_err("one of two").to_string();
            assert!(error.contains("ORIGIN_SECRET") && error.contains("CLIENT_ADDRESS_HEADER"), "{error}");
            assert!(!error.contains(SECRET), "{error}");
        }
        let error = edge("too-short-to-be-a-secret", "x-client").expect_err("a short secret").to_string();
        assert!(error.contains("ORIGIN_SECRET") && !error.contains("too-short"), "{error}");
    }
}
