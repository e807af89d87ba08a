//! What a deployment lacks, seen from inside (tables, keys, mail, queue, alarms) and from outside (the API as browsers meet it).
//!
//! It changes nothing. What does not apply, on this machine or without the stack, is not looked at and said so.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use shared::outbox::{SHARDS, hour_of};
use shared::token::KeyUse;
use shared::token::keys::SecretRing;
use url::Url;

use crate::keys::{KeyPurpose, KeyState, KeyView};
use crate::{AdminError, Deployment};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work, or will not.
    Problem,
    /// It does not apply here.
    Skipped,
}

impl Verdict {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen, and what to do.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { name, verdict, detail: detail.into() }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, detail)
    }

    fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warning, detail)
    }

    fn problem(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Problem, detail)
    }

    fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Skipped, detail)
    }

    /// A check that could not be made.
    fn failed(name: &'static str, error: impl Into<AdminError>) -> Self {
        Self::problem(name, format!("not known: {}", error.into()))
    }
}

/// Seconds by which a rotation may be late: it is looked for once a day.
const ROTATION_SLACK: u64 = 2 * 86_400;
/// Seconds for which something may wait in the outbox before it is worth a look.
const OUTBOX_PATIENCE: u64 = 10 * 60;
/// Hours of the outbox that are looked through: what is older was given up.
const LONGEST_LOOK: u64 = 48;
/// How long the API is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const DAY: u64 = 86_400;
/// What the template takes where a parameter is not known.
const ROTATION_DAYS: u64 = 30;

impl Deployment {
    /// Looks at everything.
    pub async fn examine(&self) -> Vec<Check> {
        let mut checks = vec![self.parameters(), self.same_site()];
        let keys = self.list_keys().await;
        checks.push(match &keys {
            Ok(keys) => self.keys_are_due(keys),
            Err(error) => Check::problem("keys", format!("not known: {error}")),
        });
        checks.push(self.outbox().await);
        checks.extend(self.mail_service().await);
        checks.push(self.failed_events().await);
        checks.push(self.alarms().await);
        checks.extend(self.outside().await);
        checks
    }

    /// What a deployment is asked for.
    fn parameters(&self) -> Check {
        const NAME: &str = "parameters";
        let parameter = |name| self.settings.parameter(name);
        if self.settings.parameters.len() < 2 {
            return Check::skipped(NAME, "they are known from --stack or --local alone");
        }
        if self.aws.is_none() {
            return Check::ok(NAME, "a local stack: http is as it should be");
        }
        let url = parameter("AppUrl").and_then(|url| Url::parse(url).ok());
        let Some(app) = url else { return Check::problem(NAME, "AppUrl is no URL") };
        if app.scheme() != "https" {
            return Check::problem(NAME, format!("AppUrl is {app}: browsers keep secure cookies on https alone"));
        }
        if parameter("ApiUrl").is_none() {
            return Check::warning(
                NAME,
                "ApiUrl is empty: the API has no domain of its own, so no browser keeps its cookies, and tokens' issuer will \
                 change with it (docs/aws.md)",
            );
        }
        Check::ok(NAME, format!("AppUrl {app}, ApiUrl {}", parameter("ApiUrl").unwrap_or_default()))
    }

    fn same_site(&self) -> Check {
        const NAME: &str = "same site";
        let app = self.settings.parameter("AppUrl").and_then(|url| Url::parse(url).ok());
        let api = self.settings.api_url().ok().and_then(|url| Url::parse(url).ok());
        let (Some(app), Some(api)) = (app, api) else { return Check::skipped(NAME, "AppUrl or ApiUrl is not known") };
        if !are_same_site(&app, &api) {
            let detail =
                format!("{app} and {api} are of two sites: browsers will not send the API's cookies (docs/web.md)");
            return Check::problem(NAME, detail);
        }
        let origin = app.origin().ascii_serialization();
        let origins = self.settings.parameter("AllowedOrigins").unwrap_or_default();
        if app.origin() != api.origin() && !origins.split(',').any(|one| one.trim() == origin) {
            return Check::problem(NAME, format!("AllowedOrigins lacks {origin}, the origin of AppUrl"));
        }
        Check::ok(NAME, format!("{origin} and {}", api.origin().ascii_serialization()))
    }

    /// Whether each kind of key is there, and followed in time.
    fn keys_are_due(&self, keys: &[KeyView]) -> Check {
        const NAME: &str = "keys";
        let now = self.clock.now();
        if keys.is_empty() {
            return Check::warning(NAME, "there is none yet: the first sign-up makes them");
        }
        let signing = |key: &&KeyView| matches!(key.purpose, KeyPurpose::Signing(_));
        if !keys.iter().filter(signing).any(|key| key.state == KeyState::InUse) {
            return Check::warning(NAME, "no key signs: the next sign-in makes one");
        }
        for ring in SecretRing::ALL {
            let in_use = |key: &&KeyView| key.purpose == KeyPurpose::Secret(ring) && key.state == KeyState::InUse;
            if !keys.iter().any(|key| in_use(&key)) {
                return Check::warning(
                    NAME,
                    format!("ring {} is empty: whoever needs a key has it made", ring.as_str()),
                );
            }
        }
        let days =
            self.settings.parameter("KeyRotationDays").and_then(|text| text.parse().ok()).unwrap_or(ROTATION_DAYS);
        let newest = keys.iter().map(|key| key.active_from).max().unwrap_or(now);
        let age = now.seconds_since(newest);
        if age > days * DAY + ROTATION_SLACK {
            let detail = format!(
                "the newest is {} days old, and KeyRotationDays is {days}: rotate-keys does not run",
                age / DAY
            );
            return Check::problem(NAME, detail);
        }
        Check::ok(NAME, format!("{} keys, the newest from {newest}", keys.len()))
    }

    /// Whether the stream is worked off.
    async fn outbox(&self) -> Check {
        const NAME: &str = "outbox";
        match self.waiting().await {
            Ok((0, _)) => Check::ok(NAME, "nothing waits"),
            Ok((count, oldest)) if oldest < OUTBOX_PATIENCE => Check::ok(NAME, format!("{count} under way")),
            Ok((count, oldest)) => {
                let detail = format!(
                    "{count} mails and events wait, the oldest for {} minutes: the log says why (docs/operations.md)",
                    oldest / 60
                );
                Check::problem(NAME, detail)
            }
            Err(error) => Check::failed(NAME, error),
        }
    }

    /// How much is due in the outbox, and for how many seconds the oldest has been.
    async fn waiting(&self) -> Result<(usize, u64), AdminError> {
        const ENOUGH: usize = 1000;
        let now = self.clock.now();
        let this_hour = hour_of(now);
        // Before the first sweep, what there is is young.
        let first = self.store.find_oldest_outbox_hour().await?.unwrap_or(this_hour.saturating_sub(1));
        if this_hour.saturating_sub(first) > LONGEST_LOOK {
            return Err(AdminError::Failed(format!("the sweep has not come further for {} hours", this_hour - first)));
        }
        let (mut count, mut oldest) = (0, 0);
        for hour in first..=this_hour {
            for shard in 0..u64::from(SHARDS) {
                for waiting in self.store.find_outbox((hour, shard), ENOUGH, now).await? {
                    if waiting.is_due {
                        count += 1;
                        // What was to wait is not old: it lies in the hour when it is due.
                        let age = now.seconds_since(waiting.created_at).min(now.unix().saturating_sub(hour * 3600));
                        oldest = oldest.max(age);
                    }
                }
            }
            if count >= ENOUGH {
                break;
            }
        }
        Ok((count, oldest))
    }

    /// SES: out of the sandbox, and the sender verified.
    async fn mail_service(&self) -> Vec<Check> {
        const ACCOUNT: &str = "SES account";
        const IDENTITY: &str = "SES identity";
        let Some(aws) = &self.aws else {
            return vec![Check::skipped(ACCOUNT, "mails stay on this machine: /_local/mail")];
        };
        let ses = aws_sdk_sesv2::Client::new(aws);
        let account = match ses.get_account().send().await {
            Err(error) => Check::failed(ACCOUNT, AdminError::failed(&error)),
            Ok(account) if !account.sending_enabled => {
                Check::problem(ACCOUNT, "SES has stopped sending: see its console")
            }
            Ok(account) if !account.production_access_enabled => {
                Check::problem(ACCOUNT, "in the sandbox: mails reach verified addresses alone (docs/aws.md)")
            }
            Ok(_) => Check::ok(ACCOUNT, "out of the sandbox, and sending"),
        };
        let Some(identity) = self.settings.parameter("MailIdentity") else {
            return vec![account, Check::skipped(IDENTITY, "MailIdentity is known from --stack alone")];
        };
        let found = ses.get_email_identity().email_identity(identity).send().await;
        let identity = match found {
            Err(error) => Check::failed(IDENTITY, AdminError::failed(&error)),
            Ok(found) if found.verified_for_sending_status => Check::ok(IDENTITY, format!("{identity} is verified")),
            Ok(_) => Check::problem(IDENTITY, format!("{identity} is not verified: no mail goes out")),
        };
        vec![account, identity]
    }

    /// The queue of what functions have failed with.
    async fn failed_events(&self) -> Check {
        use aws_sdk_sqs::types::QueueAttributeName;
        const NAME: &str = "failed events";
        let (Some(aws), Some(queue)) = (&self.aws, self.settings.outputs.get("FailedEventsQueueUrl")) else {
            return Check::skipped(NAME, "the queue is known from --stack alone");
        };
        let sqs = aws_sdk_sqs::Client::new(aws);
        let count = QueueAttributeName::ApproximateNumberOfMessages;
        let attributes = sqs.get_queue_attributes().queue_url(queue).attribute_names(count.clone()).send().await;
        match attributes {
            Err(error) => Check::failed(NAME, AdminError::failed(&error)),
            Ok(attributes) => {
                let waiting = attributes.attributes().and_then(|all| all.get(&count)).map_or("0", String::as_str);
                if waiting == "0" {
                    Check::ok(NAME, "the queue is empty")
                } else {
                    Check::problem(
                        NAME,
                        format!("{waiting} events failed for good (docs/operations.md, «Failed events»)"),
                    )
                }
            }
        }
    }

    /// Whether anybody hears the alarms.
    async fn alarms(&self) -> Check {
        const NAME: &str = "alarms";
        let (Some(aws), Some(topic)) = (&self.aws, self.settings.outputs.get("AlarmTopicArn")) else {
            return Check::skipped(NAME, "the topic is known from --stack alone");
        };
        let sns = aws_sdk_sns::Client::new(aws);
        let subscriptions = match sns.list_subscriptions_by_topic().topic_arn(topic).send().await {
            Ok(answer) => answer.subscriptions.unwrap_or_default(),
            Err(error) => return Check::failed(NAME, AdminError::failed(&error)),
        };
        let pending = |arn: Option<&str>| arn.is_none_or(|arn| !arn.starts_with("arn:"));
        let confirmed = subscriptions.iter().filter(|one| !pending(one.subscription_arn())).count();
        match (confirmed, subscriptions.len()) {
            (0, 0) => Check::warning(NAME, "nobody hears them: set AlarmEmail, or subscribe to the topic"),
            (0, _) => Check::problem(NAME, "AlarmEmail has not confirmed: the link is in its mailbox"),
            (confirmed, all) if confirmed < all => Check::warning(NAME, format!("{confirmed} of {all} have confirmed")),
            (confirmed, _) => Check::ok(NAME, format!("{confirmed} confirmed")),
        }
    }

    /// The API as whoever comes meets it.
    async fn outside(&self) -> Vec<Check> {
        const NAME: &str = "API";
        let Ok(api_url) = self.settings.api_url() else {
            return vec![Check::skipped(NAME, "where it is is not known: say --api-url")];
        };
        let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        let client = match client {
            Ok(client) => client,
            Err(error) => return vec![Check::failed(NAME, AdminError::failed(&error))],
        };
        vec![
            published(&client, api_url, &self.published_kids().await).await,
            refuses_strangers(&client, api_url).await,
            self.cors(&client, api_url).await,
        ]
    }

    async fn published_kids(&self) -> Vec<String> {
        let rings = self.store.find_rings(&[KeyUse::Public]).await.unwrap_or_default();
        rings.public.into_iter().map(|slotted| slotted.key.kid).collect()
    }

    /// Whether the page of the app may send requests.
    async fn cors(&self, client: &reqwest::Client, api_url: &str) -> Check {
        const NAME: &str = "CORS";
        let app = self.settings.parameter("AppUrl").and_then(|url| Url::parse(url).ok());
        let (Some(app), Ok(api)) = (app, Url::parse(api_url)) else {
            return Check::skipped(NAME, "AppUrl is not known");
        };
        let origin = app.origin().ascii_serialization();
        if app.origin() == api.origin() {
            return Check::ok(NAME, "page and API have one origin: none is needed");
        }
        let preflight = client
            .request(reqwest::Method::OPTIONS, format!("{api_url}/login"))
            .header("origin", &origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        let answer = match preflight.send().await {
            Ok(answer) => answer,
            Err(error) => return Check::failed(NAME, AdminError::failed(&error)),
        };
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header("access-control-allow-origin") != origin || header("access-control-allow-credentials") != "true" {
            return Check::problem(NAME, format!("{origin} may not send requests with cookies: see AllowedOrigins"));
        }
        Check::ok(NAME, format!("{origin} may send requests with cookies"))
    }
}

/// Whether the key set is served, and is the table's.
async fn published(client: &reqwest::Client, api_url: &str, kids: &[String]) -> Check {
    const NAME: &str = "key set";
    let url = format!("{api_url}/.well-known/jwks.json");
    let answer = match client.get(&url).send().await {
        Ok(answer) if answer.status().is_success() => answer.json::<Value>().await,
        Ok(answer) => return Check::problem(NAME, format!("{url} answers {}", answer.status())),
        Err(error) => return Check::failed(NAME, AdminError::failed(&error)),
    };
    let Ok(set) = answer else { return Check::problem(NAME, format!("{url} is no JSON")) };
    let served: Vec<&str> =
        set["keys"].as_array().into_iter().flatten().filter_map(|key| key["kid"].as_str()).collect();
    let missing: Vec<&String> = kids.iter().filter(|kid| !served.contains(&kid.as_str())).collect();
    let stale = served.iter().filter(|kid| !kids.iter().any(|own| own == *kid)).count();
    if !missing.is_empty() || stale > 0 {
        return Check::warning(NAME, "not yet the table's: instances look again within five minutes");
    }
    Check::ok(NAME, format!("{} keys", served.len()))
}

/// Whether a protected route asks who is there.
async fn refuses_strangers(client: &reqwest::Client, api_url: &str) -> Check {
    const NAME: &str = "API";
    let url = format!("{api_url}/me");
    let answer = match client.get(&url).send().await {
        Ok(answer) => answer,
        Err(error) => return Check::failed(NAME, AdminError::failed(&error)),
    };
    let status = answer.status();
    let code = answer.json::<Value>().await.unwrap_or_default()["code"].clone();
    if status == reqwest::StatusCode::UNAUTHORIZED && code == "token_missing" {
        return Check::ok(NAME, format!("{api_url} answers, and refuses strangers"));
    }
    Check::problem(NAME, format!("{url} answers {status} to a stranger, and no 401 token_missing"))
}

/// Whether browsers take two URLs for one site: the same scheme, and the same domain below a public suffix.
fn are_same_site(one: &Url, other: &Url) -> bool {
    let (Some(host), Some(another)) = (one.host_str(), other.host_str()) else { return false };
    let domain = |host| psl::domain_str(host);
    let same_domain = host == another || domain(host).is_some_and(|site| domain(another) == Some(site));
    one.scheme() == other.scheme() && same_domain
}

/// Whether something does not work.
pub fn has_problem(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.verdict == Verdict::Problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_what_browsers_take_for_one() {
        let same = |one: &str, other: &str| {
            are_same_site(&Url::parse(one).expect("a URL"), &Url::parse(other).expect("a URL"))
        };
        assert!(same("https://www.example.com/", "https://api.example.com"));
        assert!(same("http://localhost:5173", "http://localhost:3000"));
        assert!(same("https://app.example.co.uk", "https://example.co.uk"));
        assert!(!same("http://www.example.com/", "https://api.example.com"), "two schemes");
        assert!(!same("https://app.example.com/", "https://api.example.org"));
        assert!(!same("https://a.co.uk", "https://b.co.uk"), "a public suffix");
        let execute_api = "https://abc.execute-api.eu-central-1.amazonaws.com";
        assert!(!same("https://xyz.execute-api.eu-central-1.amazonaws.com", execute_api), "a private one");
        assert!(!same("https://app.example.com", execute_api));
        assert!(!same("http://127.0.0.1", "http://127.0.0.2"));
    }
}
