//! What limits have counted of somebody (docs/limits.md), and how to have it forgotten.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use shared::account::{EmailAddress, Username};
use shared::clock::Timestamp;
use shared::http::source::Source;
use shared::limits::{
    CHANGE_MAILS, Counter, Limit, MailLimit, PASSWORDS, RESET_MAILS, SIGNUP_MAILS, SOURCE_CHANGES, SOURCE_FAILURES,
    SOURCE_FORGOTS, SOURCE_RESENDS, SOURCE_SIGNUPS,
};
use shared::store::Identifier;
use shared::telemetry::Act;
use shared::token::{Mac, MacKey};

use crate::users::Who;
use crate::{AdminError, Deployment};

/// Of whom: a source of requests, or somebody with a name or address, which need not have an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// An IP address, and the network that is counted with it.
    Source(IpAddr),
    /// A user, a name or an address.
    Who(Who),
}

impl FromStr for Counted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self::Source).or_else(|_| text.parse().map(Self::Who))
    }
}

/// What one rule has counted of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The rule, as logs and docs/limits.md name it.
    pub scope: &'static str,
    /// Of what: a name, an address, or a network.
    pub of: String,
    /// How many.
    pub count: u32,
    /// When the next guess is compared, where guesses pause.
    pub open_at: Option<Timestamp>,
    /// When it is forgotten.
    pub until: Timestamp,
}

/// Where the counts of somebody lie.
#[derive(Default)]
struct Subjects {
    failures: Vec<(String, Identifier, Mac)>,
    counters: Vec<Held>,
}

/// A counter, of what it is, and of what its part is and until when.
struct Held {
    of: String,
    part: Option<(String, Timestamp)>,
    counter: Counter,
}

impl Deployment {
    /// What is counted now; rules that have counted nothing are left out.
    pub async fn find_counts(&self, counted: &Counted) -> Result<Vec<Count>, AdminError> {
        let now = self.clock.now();
        let Subjects { failures, counters } = self.subjects(counted, now).await?;
        let mut counts = Vec::new();
        for (of, identifier, subject) in failures {
            let row = self.store.look_up(&identifier, subject).await?.failures;
            counts.extend(row.filter(|row| row.count > 0 && now < row.ends_at).map(|row| Count {
                scope: PASSWORDS.scope,
                of,
                count: row.count,
                open_at: Some(row.open_at).filter(|open_at| now < *open_at),
                until: row.ends_at,
            }));
        }
        for Held { of, part, counter } in counters {
            let (whole, of_part) = self.store.find_counted(&counter).await?;
            let all = (of, whole, counter.ends_at);
            let part = part.map(|(of, until)| (of, of_part, until));
            counts.extend(
                [Some(all), part]
                    .into_iter()
                    .flatten()
                    .filter(|(_, count, _)| *count > 0)
                    .map(|(of, count, until)| Count { scope: counter.rule.scope, of, count, open_at: None, until }),
            );
        }
        Ok(counts)
    }

    /// Has all of that forgotten.
    pub async fn clear_counts(&self, counted: &Counted) -> Result<(), AdminError> {
        let Subjects { failures, counters } = self.subjects(counted, self.clock.now()).await?;
        let failures: Vec<Mac> = failures.into_iter().map(|(.., subject)| subject).collect();
        let counters: Vec<Counter> = counters.into_iter().map(|held| held.counter).collect();
        let user_id = match counted {
            Counted::Source(_) => None,
            Counted::Who(who) => match self.find_user(who).await {
                Ok(user) => Some(user.id),
                Err(AdminError::NotFound(_)) => None,
                Err(error) => return Err(error),
            },
        };
        Ok(self.store.clear_limits(&failures, &counters, &[self.act(Act::LimitsClear, user_id)]).await?)
    }

    async fn subjects(&self, whose: &Counted, now: Timestamp) -> Result<Subjects, AdminError> {
        let key = self.keys.limit_key(now).await?;
        let mut subjects = Subjects::default();
        let who = match whose {
            Counted::Source(address) => {
                let source = Source::of_gateway(Some(&address.to_string()));
                for rule in [&SOURCE_FAILURES, &SOURCE_SIGNUPS, &SOURCE_RESENDS, &SOURCE_FORGOTS, &SOURCE_CHANGES] {
                    let counter = Limit::new(rule, 1).of_source(source, &key, now);
                    subjects.counters.extend(counter.map(|counter| {
                        let (of, part) = networks(*address);
                        Held { of, part: part.map(|part| (part, counter.ends_at)), counter }
                    }));
                }
                return Ok(subjects);
            }
            Counted::Who(who) => who,
        };
        match (self.find_user(who).await, who) {
            (Ok(user), _) => {
                subjects.name(user.username, &key);
                subjects.address(user.email, &key, now);
            }
            // Guesses and mails are counted of nobody's name and address too.
            (Err(AdminError::NotFound(_)), Who::Email(email)) => subjects.address(email.clone(), &key, now),
            (Err(AdminError::NotFound(_)), Who::Username(username)) => subjects.name(username.clone(), &key),
            (Err(error), _) => return Err(error),
        }
        Ok(subjects)
    }
}

impl Subjects {
    fn name(&mut self, username: Username, key: &MacKey) {
        self.identifier(username.as_str().to_owned(), Identifier::Username(username), key);
    }

    fn address(&mut self, email: EmailAddress, key: &MacKey, now: Timestamp) {
        for rule in [&SIGNUP_MAILS, &RESET_MAILS, &CHANGE_MAILS] {
            let counter = MailLimit::new(rule, 1, 1).of_address(&email, key, now);
            let hour_ends = Timestamp::from_unix((now.unix() / 3600 + 1) * 3600);
            self.counters.extend(counter.map(|counter| Held {
                of: email.as_str().to_owned(),
                part: Some((format!("{}, this hour", email.as_str()), hour_ends)),
                counter,
            }));
        }
        self.identifier(email.as_str().to_owned(), Identifier::Email(email), key);
    }

    fn identifier(&mut self, of: String, identifier: Identifier, key: &MacKey) {
        let subject = identifier.subject(key);
        self.failures.push((of, identifier, subject));
    }
}

/// The network that an address is counted in, and a part of it: an IPv6 /48 and its /64, or an IPv4 address.
fn networks(address: IpAddr) -> (String, Option<String>) {
    match address.to_canonical() {
        IpAddr::V4(address) => (address.to_string(), None),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            let network = |d, bits: u8| format!("{}/{bits}", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0));
            (network(0, 48), Some(network(d, 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_from_a_name() {
        assert!(matches!("203.0.113.7".parse(), Ok(Counted::Source(_))));
        assert!(matches!("2001:db8::7".parse(), Ok(Counted::Source(_))));
        assert!(matches!("ann".parse(), Ok(Counted::Who(Who::Username(_)))));
        assert!(matches!("ann@example.com".parse(), Ok(Counted::Who(Who::Email(_)))));
        assert!("a b".parse::<Counted>().is_err());
    }

    #[test]
    fn a_source_is_told_by_the_networks_that_are_counted() {
        let of = |text: &str| networks(text.parse().expect("an address"));
        assert_eq!(of("203.0.113.7"), ("203.0.113.7".to_owned(), None));
        assert_eq!(of("::ffff:203.0.113.7"), ("203.0.113.7".to_owned(), None));
        assert_eq!(of("2001:db8:1:2:3::7"), ("2001:db8:1::/48".to_owned(), Some("2001:db8:1:2::/64".to_owned())));
    }
}
