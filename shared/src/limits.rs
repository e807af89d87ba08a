//! How often something may be tried or caused: every limit of a deployment, in one table ([`RULES`], DESIGN.md section 10).
//!
//! All are counted in DynamoDB ([`crate::store`]), so that they hold across any number of instances, and spent by one
//! conditional write before anything is compared, so that no number of requests at once gets past them. What is counted is
//! known by MACs alone, under keys of their own use. Each rule has a parameter of the template, where 0 means no limit.
//!
//! What is refused is answered `rate_limited`, and logged; what would be mailed too often is answered as ever, and not mailed.

use thiserror::Error;

use crate::account::EmailAddress;
use crate::clock::Timestamp;
use crate::http::source::{Network, Source};
use crate::http::{Code, Problem};
use crate::telemetry::SecurityEvent;
use crate::token::{DeviceToken, Mac, MacKey};

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
/// Seconds that a row of failures is remembered after the last one (NIST SP 800-63B-4 §3.2.2 knows no end; TTL needs one).
const ROW: u64 = 30 * DAY;
/// The longest pause between two guesses, in seconds.
const LONGEST_PAUSE: u64 = 900;

/// What is counted, within windows that begin at multiples of their length.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in keys and in the log.
    pub scope: &'static str,
    /// The environment variable that says how often it may happen.
    pub parameter: &'static str,
    /// Seconds of a window.
    pub window: u64,
}

/// Every rule. Several of one parameter are counted each for itself.
pub const RULES: [&Rule; 13] = [
    &PASSWORDS,
    &DEVICE_PASSWORDS,
    &SOURCE_FAILURES,
    &SOURCE_SIGNUPS,
    &SOURCE_RESENDS,
    &SOURCE_FORGOTS,
    &SOURCE_CHANGES,
    &SIGNUP_MAILS,
    &RESET_MAILS,
    &CHANGE_MAILS,
    &DEVICE_MAILS,
    &STRANGER_MAILS,
    &SESSION_CODES,
];

/// Wrong passwords in a row for one identifier, anyone's or nobody's, by devices that are not known to the account:
/// [`FailureLimit`].
pub const PASSWORDS: Rule = Rule { scope: "passwords", parameter: "PASSWORD_FAILURES", window: ROW };
/// The same by one device that is known to the account, whatever strangers do.
pub const DEVICE_PASSWORDS: Rule =
    Rule { scope: "device-passwords", parameter: "DEVICE_PASSWORD_FAILURES", window: ROW };
/// Wrong passwords and codes from one source, known devices apart.
pub const SOURCE_FAILURES: Rule = Rule { scope: "source-failures", parameter: "SOURCE_FAILURES", window: 600 };
/// Sign-ups from one source.
pub const SOURCE_SIGNUPS: Rule = Rule { scope: "source-signups", parameter: "SOURCE_REQUESTS", window: HOUR };
/// Wishes for another mail of a sign-up, from one source.
pub const SOURCE_RESENDS: Rule = Rule { scope: "source-resends", parameter: "SOURCE_REQUESTS", window: HOUR };
/// Forgotten passwords, from one source.
pub const SOURCE_FORGOTS: Rule = Rule { scope: "source-forgots", parameter: "SOURCE_REQUESTS", window: HOUR };
/// Changes of address that are begun from one source.
pub const SOURCE_CHANGES: Rule = Rule { scope: "source-changes", parameter: "SOURCE_REQUESTS", window: HOUR };
/// Mails of sign-ups to one address: [`MailLimit`], as the next two.
pub const SIGNUP_MAILS: Rule = Rule { scope: "signup-mails", parameter: "ADDRESS_MAILS_DAILY", window: DAY };
/// Mails of forgotten passwords to one address.
pub const RESET_MAILS: Rule = Rule { scope: "reset-mails", parameter: "ADDRESS_MAILS_DAILY", window: DAY };
/// Mails to an address that somebody else wants for their account.
pub const CHANGE_MAILS: Rule = Rule { scope: "change-mails", parameter: "ADDRESS_MAILS_DAILY", window: DAY };
/// Mails of forgotten passwords that one device causes which is known to the account.
pub const DEVICE_MAILS: Rule = Rule { scope: "device-mails", parameter: "DEVICE_MAILS_DAILY", window: DAY };
/// All mails that tell an address that it has no account.
pub const STRANGER_MAILS: Rule = Rule { scope: "stranger-mails", parameter: "STRANGER_MAIL_RATE", window: HOUR };
/// Wrong codes of changes of address, in one session.
pub const SESSION_CODES: Rule = Rule { scope: "session-codes", parameter: "SESSION_CODE_FAILURES", window: DAY };

/// Something was tried too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many: {scope}")]
pub struct TooMany {
    /// Of which rule.
    pub scope: &'static str,
    /// Seconds until it may be tried again.
    pub retry_after: u64,
}

/// Every refusal becomes a problem once, so that it is logged here.
impl From<TooMany> for Problem {
    fn from(TooMany { scope, retry_after }: TooMany) -> Self {
        SecurityEvent::RateLimited { scope }.log();
        Self::new(Code::RateLimited).with_retry_after(retry_after)
    }
}

/// A rule as this deployment has it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    rule: &'static Rule,
    /// How often within a window; 0 for no limit.
    most: u32,
}

impl Limit {
    /// The rule, with `most` within a window.
    pub const fn new(rule: &'static Rule, most: u32) -> Self {
        Self { rule, most }
    }

    /// What is counted of a subject now; `None` where there is no limit.
    pub fn of(&self, subject: Mac, now: Timestamp) -> Option<Counter> {
        (self.most > 0).then(|| Counter::new(self.rule, subject, self.most, None, now))
    }

    /// What is counted of a source now: an IPv4 address, or an IPv6 /64 beside its /48, which may do ten times as much. One
    /// item serves both, so that it costs one write.
    pub fn of_source(&self, source: Source, key: &MacKey, now: Timestamp) -> Option<Counter> {
        let networks: Vec<_> = source.counted().collect();
        let (whole, factor) = *networks.last().filter(|_| self.most > 0)?;
        let part = networks[..networks.len() - 1].first();
        let part = part.map(|(part, factor)| (part_name(key, *part), self.most.saturating_mul(*factor)));
        let subject = key.mac("source", &[whole.as_bytes()]);
        Some(Counter::new(self.rule, subject, self.most.saturating_mul(factor), part, now))
    }

    /// What is counted of a device now.
    pub fn of_device(&self, device: &DeviceToken, key: &MacKey, now: Timestamp) -> Option<Counter> {
        self.of(key.mac("device", &[&device.id()]), now)
    }
}

/// The attribute that counts a part of a network: a few bytes of a MAC, as an item may have hundreds of them.
fn part_name(key: &MacKey, part: Network) -> String {
    let mac = key.mac("source-part", &[part.as_bytes()]);
    mac.as_bytes()[..6].iter().fold(String::from("p"), |name, byte| format!("{name}{byte:02x}"))
}

/// How many mails of a kind strangers can cause to one address.
#[derive(Clone, Copy, Debug)]
pub struct MailLimit {
    rule: &'static Rule,
    hourly: u32,
    daily: u32,
}

impl MailLimit {
    /// The rule, with so many an hour and a day; 0 for no limit.
    pub const fn new(rule: &'static Rule, hourly: u32, daily: u32) -> Self {
        Self { rule, hourly, daily }
    }

    /// What is counted of a recipient now; `None` where there is no limit.
    pub fn of(&self, recipient: Mac, now: Timestamp) -> Option<Counter> {
        let daily = if self.daily == 0 { u32::MAX } else { self.daily };
        let hour = (self.hourly > 0).then(|| (format!("hour_{}", now.unix() % DAY / HOUR), self.hourly));
        (self.daily > 0 || hour.is_some()).then(|| Counter::new(self.rule, recipient, daily, hour, now))
    }

    /// What is counted of an address now.
    pub fn of_address(&self, email: &EmailAddress, key: &MacKey, now: Timestamp) -> Option<Counter> {
        self.of(key.mac("address", &[email.normalised().as_bytes()]), now)
    }
}

/// What is counted of a subject within a window, and perhaps of a part of either.
#[derive(Clone, Debug)]
pub struct Counter {
    /// By which rule.
    pub rule: &'static Rule,
    /// Of whom.
    pub subject: Mac,
    /// The number of the window.
    pub window: u64,
    /// When the window ends.
    pub ends_at: Timestamp,
    /// How often within it.
    pub most: u32,
    /// The name of a part, and how often that.
    pub part: Option<(String, u32)>,
}

impl Counter {
    fn new(rule: &'static Rule, subject: Mac, most: u32, part: Option<(String, u32)>, now: Timestamp) -> Self {
        let window = now.unix() / rule.window;
        let ends_at = Timestamp::from_unix((window + 1).saturating_mul(rule.window));
        Self { rule, subject, window, ends_at, most, part }
    }

    /// That it is full.
    pub fn too_many(&self, now: Timestamp) -> TooMany {
        TooMany { scope: self.rule.scope, retry_after: self.ends_at.seconds_since(now).max(1) }
    }
}

/// A row of wrong passwords for one identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// When the next guess may be made.
    pub open_at: Timestamp,
    /// When they are forgotten.
    pub ends_at: Timestamp,
}

/// How many wrong passwords in a row one identifier takes: some at once, then one after each pause, from a second doubling to
/// 15 minutes, and so many in all. An account has two identifiers, so that 50 are the 100 of NIST SP 800-63B-4 §3.2.2.
#[derive(Clone, Copy, Debug)]
pub struct FailureLimit {
    at_once: u32,
    in_all: u32,
}

impl FailureLimit {
    /// So many at once, and in all; 0 for no pauses, and no end.
    pub const fn new(at_once: u32, in_all: u32) -> Self {
        Self { at_once, in_all }
    }

    /// Whether anything is counted.
    pub const fn is_any(self) -> bool {
        self.at_once > 0 || self.in_all > 0
    }

    /// Whether a guess may be made now, after these.
    pub fn check(self, failures: Option<Failures>, now: Timestamp) -> Result<(), TooMany> {
        self.next(failures, now).map(drop)
    }

    /// The row with one guess more.
    pub fn next(self, failures: Option<Failures>, now: Timestamp) -> Result<Failures, TooMany> {
        // What TTL has not deleted yet counts no more.
        let failures = failures.filter(|failures| now < failures.ends_at);
        let too_many = |at: Timestamp| TooMany { scope: PASSWORDS.scope, retry_after: at.seconds_since(now).max(1) };
        if let Some(failures) = failures {
            if self.in_all > 0 && failures.count >= self.in_all {
                return Err(too_many(failures.ends_at));
            }
            if now < failures.open_at {
                return Err(too_many(failures.open_at));
            }
        }
        let count = failures.map_or(0, |failures| failures.count).saturating_add(1);
        Ok(Failures { count, open_at: now.plus(self.pause_after(count)), ends_at: now.plus(ROW) })
    }

    /// Seconds that nobody guesses after so many failures.
    fn pause_after(self, count: u32) -> u64 {
        match count.checked_sub(self.at_once) {
            Some(pauses) if self.at_once > 0 => 2_u64.saturating_pow(pauses).min(LONGEST_PAUSE),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_123);

    /// The pauses after each guess that a guesser makes as soon as it may, until there are no more.
    fn pauses(limit: FailureLimit) -> Vec<u64> {
        let (mut now, mut failures, mut pauses) = (NOW, None, Vec::new());
        loop {
            match limit.next(failures, now) {
                Ok(next) => {
                    pauses.push(next.open_at.seconds_since(now));
                    failures = Some(next);
                }
                Err(TooMany { retry_after, .. }) if retry_after > LONGEST_PAUSE => return pauses,
                Err(TooMany { retry_after, .. }) => now = now.plus(retry_after),
            }
            if pauses.len() > 200 {
                return pauses;
            }
        }
    }

    #[test]
    fn five_at_once_then_pauses_that_double_to_a_quarter_of_an_hour_and_fifty_in_all() {
        let pauses = pauses(FailureLimit::new(5, 50));
        assert_eq!(pauses.len(), 50);
        assert_eq!(pauses[..16], [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert!(pauses[16..].iter().all(|pause| *pause == 900));
    }

    #[test]
    fn without_a_number_there_is_no_limit() {
        assert_eq!(pauses(FailureLimit::new(0, 7)), [0; 7]);
        assert!(pauses(FailureLimit::new(3, 0)).len() > 200);
        assert!(!FailureLimit::new(0, 0).is_any());
        let subject = MacKey::random().mac("x", &[]);
        assert!(Limit::new(&SOURCE_SIGNUPS, 0).of(subject, NOW).is_none());
        assert!(MailLimit::new(&RESET_MAILS, 0, 0).of(subject, NOW).is_none());
        assert_eq!(MailLimit::new(&RESET_MAILS, 3, 0).of(subject, NOW).map(|counter| counter.most), Some(u32::MAX));
        assert!(MailLimit::new(&RESET_MAILS, 0, 3).of(subject, NOW).is_some_and(|counter| counter.part.is_none()));
    }

    #[test]
    fn a_refusal_says_when_the_next_guess_may_be_made() {
        let limit = FailureLimit::new(5, 50);
        let row = |count, open_at: u64| Failures { count, open_at: NOW.plus(open_at), ends_at: NOW.plus(ROW) };
        let refused = limit.check(Some(row(9, 16)), NOW).expect_err("a pause");
        assert_eq!((refused.scope, refused.retry_after), ("passwords", 16));
        assert!(limit.check(Some(row(9, 0)), NOW).is_ok());
        assert_eq!(limit.check(Some(row(50, 0)), NOW).expect_err("the end").retry_after, ROW);
        // After its end a row counts no more, deleted or not.
        let old = Failures { ends_at: NOW, ..row(50, 0) };
        assert_eq!(limit.next(Some(old), NOW).expect("a new row").count, 1);
    }

    #[test]
    fn windows_begin_at_multiples_of_their_length() {
        let subject = MacKey::random().mac("x", &[]);
        let limit = Limit::new(&SOURCE_FAILURES, 100);
        let counter = |seconds| limit.of(subject, Timestamp::from_unix(seconds)).expect("a counter");
        assert_eq!(counter(1199).window, counter(600).window);
        assert_ne!(counter(1200).window, counter(1199).window);
        assert_eq!(counter(601).too_many(Timestamp::from_unix(601)).retry_after, 599);
    }

    #[test]
    fn every_rule_has_its_own_scope() {
        let scopes: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.scope).collect();
        assert_eq!(scopes.len(), RULES.len());
    }
}
