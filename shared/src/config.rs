//! The only reader of the environment.
//!
//! Each variable is a parameter of `template.yaml` in `SCREAMING_SNAKE_CASE`, set once in its `Globals`. A missing or
//! malformed one stops the function at init, with its name: nothing is guessed.

use thiserror::Error;
use url::Url;

use crate::http::origin::{ApiUrl, Origin};
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

/// The settings of one deployment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The table of users, sessions and sign-ups.
    pub table_name: String,
    /// The table of keys.
    pub keys_table_name: String,
    /// The API's own URL; `None`: it is taken from each event's `requestContext`.
    pub api_url: Option<ApiUrl>,
    /// The app's page, to which a verification by form leads.
    pub app_url: Url,
    /// The app's origins beside the API's own.
    pub allowed_origins: Vec<Origin>,
    /// The `Domain` of the readable cookie `username`, so that the app's page may read it; `None`: the API's host alone.
    pub cookie_domain: Option<String>,
    /// The sender of mails, an identity that SES has verified.
    pub mail_from: String,
    /// The SES configuration set that mails are sent with, so that bounces and complaints are told.
    pub mail_configuration_set: Option<String>,
    /// What the product calls itself in mails and pages.
    pub service_name: String,
    /// The fewest characters of a new password.
    pub password_min_length: usize,
    /// The most sessions that a user may have; a sign-in ends the oldest beyond it.
    pub max_sessions: usize,
    /// Seconds after which new keys take over.
    pub key_rotation: u64,
    /// How access tokens are signed.
    pub signing_algorithm: SigningAlgorithm,
    /// What the authorizer checks.
    pub revocation_check: RevocationCheck,
    /// How long sessions and tokens live.
    pub lifetimes: Lifetimes,
}

impl Config {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one door for the environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads variables from wherever `lookup` finds them.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let vars = Vars(&lookup);
        let app_access = vars.seconds("APP_ACCESS_TOKEN_LIFETIME")?;
        let browser_idle = vars.seconds("BROWSER_IDLE_TIMEOUT")?;
        Ok(Self {
            table_name: vars.text("TABLE_NAME")?,
            keys_table_name: vars.text("KEYS_TABLE_NAME")?,
            api_url: vars.optional("API_URL", ApiUrl::parse)?,
            app_url: vars.parsed("APP_URL", |text| {
                Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
            })?,
            allowed_origins: vars.list("ALLOWED_ORIGINS", Origin::parse)?,
            cookie_domain: vars.optional("COOKIE_DOMAIN", cookie_domain)?,
            mail_from: vars.text("MAIL_FROM")?,
            mail_configuration_set: vars.optional("MAIL_CONFIGURATION_SET", |text| Some(text.to_owned()))?,
            service_name: vars.text("SERVICE_NAME")?,
            password_min_length: vars
                .parsed("PASSWORD_MIN_LENGTH", |text| text.parse().ok().filter(|length| (8..=64).contains(length)))?,
            max_sessions: vars
                .parsed("MAX_SESSIONS", |text| text.parse().ok().filter(|count| (1..=50).contains(count)))?,
            key_rotation: vars.seconds("KEY_ROTATION_DAYS")?.saturating_mul(86_400),
            signing_algorithm: vars.parsed("SIGNING_ALGORITHM", SigningAlgorithm::parse)?,
            revocation_check: vars.parsed("REVOCATION_CHECK", |text| match text {
                "token" => Some(RevocationCheck::Token),
                "session" => Some(RevocationCheck::Session),
                _ => None,
            })?,
            lifetimes: Lifetimes {
                browser: KindLifetimes {
                    access: browser_idle,
                    idle: browser_idle,
                    absolute: vars.seconds("BROWSER_SESSION_LIFETIME")?,
                },
                app: KindLifetimes {
                    access: app_access,
                    idle: vars.seconds("APP_IDLE_TIMEOUT")?,
                    absolute: vars.seconds("APP_SESSION_LIFETIME")?,
                },
                refresh_grace: vars.parsed("REFRESH_GRACE", |text| text.parse().ok())?,
            },
        })
    }
}

/// Region, credentials and endpoints, as the Lambda service sets them.
pub struct AwsEnvironment {
    /// The region, `eu-central-1` for instance.
    pub region: String,
    /// Access key id, secret access key and session token of the function's role.
    pub credentials: (String, String, Option<String>),
    /// Another endpoint than AWS's for DynamoDB (`AWS_ENDPOINT_URL_DYNAMODB`), as `sam local` uses.
    pub dynamodb_endpoint: Option<String>,
    /// Another endpoint than AWS's for SES (`AWS_ENDPOINT_URL_SESV2`).
    pub ses_endpoint: Option<String>,
    /// Certificates, in PEM, to trust instead of Amazon's roots: those in the file that `AWS_CA_BUNDLE` names, as for
    /// all SDKs of AWS.
    pub ca_bundle: Option<Vec<u8>>,
}

impl AwsEnvironment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one door for the environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads variables from wherever `lookup` finds them.
    fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let vars = Vars(&lookup);
        let given = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let endpoint = |name: &str| given(name).map(|_| vars.parsed(name, endpoint)).transpose();
        Ok(Self {
            region: vars.text("AWS_REGION")?,
            credentials: (
                vars.text("AWS_ACCESS_KEY_ID")?,
                vars.text("AWS_SECRET_ACCESS_KEY")?,
                given("AWS_SESSION_TOKEN"),
            ),
            dynamodb_endpoint: endpoint("AWS_ENDPOINT_URL_DYNAMODB")?,
            ses_endpoint: endpoint("AWS_ENDPOINT_URL_SESV2")?,
            ca_bundle: given("AWS_CA_BUNDLE").map(|path| read_file("AWS_CA_BUNDLE", &path)).transpose()?,
        })
    }
}

/// The address of a server: an origin, perhaps with a slash at its end.
fn endpoint(text: &str) -> Option<String> {
    Origin::parse(text.strip_suffix('/').unwrap_or(text)).map(|_| text.to_owned())
}

/// The file that a variable names.
fn read_file(name: &str, path: &str) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError { name: name.to_owned(), problem: format!("{path}: {error}") })
}

/// A domain for `Set-Cookie`: letters, digits, dots and hyphens, so that no attribute can be smuggled in.
fn cookie_domain(text: &str) -> Option<String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    plain.then(|| text.trim_start_matches('.').to_owned())
}

struct Vars<'a, L>(&'a L);

impl<L: Fn(&str) -> Option<String>> Vars<'_, L> {
    fn error<T>(name: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError { name: name.to_owned(), problem: problem.into() })
    }

    fn any(&self, name: &str) -> Result<String, ConfigError> {
        (self.0)(name).map_or_else(|| Self::error(name, "is not set"), Ok)
    }

    fn text(&self, name: &str) -> Result<String, ConfigError> {
        self.parsed(name, |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        let text = self.any(name)?;
        parse(&text).map_or_else(|| Self::error(name, format!("'{text}' is not acceptable")), Ok)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_server_s_address_and_no_more() {
        let environment = |endpoint: &str| {
            let endpoint = endpoint.to_owned();
            let lookup = move |name: &str| match name {
                "AWS_ENDPOINT_URL_DYNAMODB" => Some(endpoint.clone()),
                "AWS_ENDPOINT_URL_SESV2" | "AWS_CA_BUNDLE" => None,
                _ => Some("x".to_owned()),
            };
            AwsEnvironment::from_vars(lookup).map(|environment| environment.dynamodb_endpoint)
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

    const VARS: [(&str, &str); 20] = [
        ("TABLE_NAME", "latchkey"),
        ("KEYS_TABLE_NAME", "latchkey-keys"),
        ("API_URL", ""),
        ("APP_URL", "https://app.example.test/"),
        ("ALLOWED_ORIGINS", "https://app.example.test, https://admin.example.test"),
        ("COOKIE_DOMAIN", ""),
        ("MAIL_FROM", "no-reply@example.test"),
        ("MAIL_CONFIGURATION_SET", ""),
        ("SERVICE_NAME", "Latchkey"),
        ("MAX_SESSIONS", "20"),
        ("KEY_ROTATION_DAYS", "30"),
        ("PASSWORD_MIN_LENGTH", "8"),
        ("SIGNING_ALGORITHM", "ES256"),
        ("REVOCATION_CHECK", "token"),
        ("BROWSER_IDLE_TIMEOUT", "1800"),
        ("BROWSER_SESSION_LIFETIME", "86400"),
        ("APP_ACCESS_TOKEN_LIFETIME", "900"),
        ("APP_IDLE_TIMEOUT", "2592000"),
        ("APP_SESSION_LIFETIME", "15552000"),
        ("REFRESH_GRACE", "10"),
    ];

    fn read(name: &str, value: Option<&str>) -> Result<Config, ConfigError> {
        Config::from_vars(|wanted| {
            if wanted == name {
                return value.map(str::to_owned);
            }
            VARS.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn reads_every_setting() {
        let config = read("", None).expect("a complete environment");
        assert_eq!(config.allowed_origins.len(), 2);
        assert_eq!(config.lifetimes.browser.access, 1800);
        assert_eq!(config.api_url, None);
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
            ("ALLOWED_ORIGINS", "https://app.example.test/path"),
            ("ALLOWED_ORIGINS", "*"),
            ("COOKIE_DOMAIN", "example.test; Path=/x"),
            ("PASSWORD_MIN_LENGTH", "4"),
            ("SIGNING_ALGORITHM", "none"),
            ("REVOCATION_CHECK", "sometimes"),
            ("BROWSER_IDLE_TIMEOUT", "0"),
            ("REFRESH_GRACE", "-1"),
        ] {
            assert!(read(name, Some(value)).is_err(), "{name}={value}");
        }
    }
}
