//! Names that speak for the service.

use std::collections::HashSet;

use super::Username;
use super::username::unique_form;

/// What nobody signs up as, whatever the deployment adds.
const DEFAULT: &str = "\
    abuse, account, accounts, admin, admins, administration, administrator, administrators, api, billing, bot, \
    contact, customercare, customerservice, daemon, everyone, feedback, help, helpdesk, hostmaster, info, legal, \
    login, logout, mailerdaemon, me, mod, moderation, moderator, moderators, mods, noreply, donotreply, nobody, null, \
    official, operator, owner, payment, payments, phishing, postmaster, press, privacy, root, sales, security, \
    service, services, signin, signup, staff, superuser, support, sysadmin, sysop, system, team, trust, undefined, \
    verified, verify, webmaster, www, latchkey";

/// Names that speak for the service, and so are given to nobody at sign-up. A login never asks: an account that has
/// such a name (an import's, or an operator's own) keeps it.
///
/// Compared as unique names are (case, and what looks alike), and with plain variations: separators (`ad.min`), digits
/// at either end (`admin1`), digits for letters (`supp0rt`, `4dmin`), and several such words (`latchkey-support`).
#[derive(Clone, Debug)]
pub struct ReservedUsernames(HashSet<String>);

impl ReservedUsernames {
    /// The default names, those of a comma-separated text, and the service's own.
    pub fn parse(more: &str, service_name: &str) -> Self {
        let names = DEFAULT.split(',').chain(more.split(',')).chain([service_name]);
        Self(names.map(form).filter(|form| !form.is_empty()).collect())
    }

    /// Whether nobody may sign up under this name.
    pub fn contains(&self, username: &Username) -> bool {
        let name = username.as_str();
        let mut words = name.split(['_', '.', '-']).filter(|word| !word.chars().all(char::is_numeric)).peekable();
        self.has(name) || (words.peek().is_some() && words.all(|word| self.has(word)))
    }

    fn has(&self, name: &str) -> bool {
        let bare = name.trim_matches(|c: char| !c.is_alphabetic());
        [form(name), form(bare), form(&unleet(name)), form(&unleet(bare))].iter().any(|form| self.0.contains(form))
    }
}

/// The unique form of the letters and digits alone.
fn form(name: &str) -> String {
    unique_form(&name.chars().filter(|c| c.is_alphanumeric()).collect::<String>())
}

/// With letters for the digits that stand for them; `0` and `1` look like theirs anyway.
fn unleet(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(name: &str) -> bool {
        let reserved = ReservedUsernames::parse("hr, Customer Success,,поддержка", "Blue Door!");
        reserved.contains(&Username::parse(name).unwrap_or_else(|_| panic!("{name} is a name")))
    }

    #[test]
    fn names_that_speak_for_the_service_are_reserved() {
        for name in [
            "admin",
            "ADMIN",
            "AdmIn",
            "admın",
            "admin1",
            "1admin",
            "admin_2026",
            "ad.min",
            "4dmin",
            "adm1n",
            "supp0rt",
            "Support-Team",
            "noreply",
            "no-reply",
            "mailer-daemon",
            "r00t",
            "latchkey",
            "latchkey.support",
            "ｒｏｏｔ",
            "bluedoor",
            "Blue_Door",
            "BlueDoor24",
            "bluedoor-official",
            "hr1",
            "customersuccess",
            "Поддержка",
        ] {
            assert!(contains(name), "{name}");
        }
        for name in [
            "ann",
            "adminah",
            "rooth",
            "supporter",
            "teamwork",
            "blue",
            "door",
            "ann-support",
            "helpful",
            "12345",
            "rob",
            "민수김",
            "chris",
            "1ann2",
        ] {
            assert!(!contains(name), "{name}");
        }
    }
}
