//! A `User-Agent` in plain words: "Chrome on Windows".
//!
//! The rules are those of uap-core (github.com/ua-parser/uap-core, Apache-2.0) that today's browsers meet. All of its
//! thousand rules would take some 50 ms to load; these take a few, on the first list with a browser in it, and by
//! `regex-lite`, which the SDK brings anyway, they add nothing to the binary: `ua-parser` added 0.5 MB of zip.
//! `data/user-agents.txt` says which agents are told apart, and is what the test reads.
//!
//! What comes out is made of our own words, or of an app's name in plain characters: an agent is whatever the client
//! wrote.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde::{Deserialize, Deserializer};

/// What is said of an agent that says nothing.
const UNKNOWN: &str = "Unknown device";
/// The longest name of an app that is shown, in characters.
const LONGEST_NAME: usize = 40;

/// The first rule that fits counts.
#[derive(Deserialize)]
struct Rules {
    user_agent_parsers: Vec<Rule>,
    os_parsers: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(deserialize_with = "regex")]
    regex: Regex,
    /// The name; else it is what the expression captures first.
    #[serde(alias = "family_replacement", alias = "os_replacement")]
    name: Option<String>,
}

fn regex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    Regex::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

static RULES: LazyLock<Option<Rules>> = LazyLock::new(|| serde_json::from_str(include_str!("../data/rules.json")).ok());

/// The name that the first fitting rule gives to an agent.
fn name<'a>(rules: &'a [Rule], agent: &'a str) -> Option<&'a str> {
    rules.iter().find_map(|rule| {
        let captures = rule.regex.captures(agent)?;
        rule.name.as_deref().or_else(|| Some(captures.get(1)?.as_str()))
    })
}

/// The program of an agent, and what it runs on as far as that is known.
pub(crate) fn words(agent: &str) -> String {
    // All browsers call themselves Mozilla first; an app begins with its own name (RFC 9110 §10.1.5).
    let (program, system) = match agent.strip_prefix("Mozilla/") {
        None => (app(agent).map(str::to_owned), system_by_name(agent)),
        Some(_) => match RULES.as_ref() {
            Some(rules) => (browser(rules, agent), system(rules, agent)),
            None => (None, None),
        },
    };
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program,
        (None, Some(system)) => system.to_owned(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// A browser's name without the distinctions that only its makers care for.
fn browser(rules: &Rules, agent: &str) -> Option<String> {
    let family = name(&rules.user_agent_parsers, agent)?;
    if family.contains("WebView") {
        return Some("Web view".to_owned());
    }
    Some(family.replace("Mobile", "").replace("iOS", "").split_whitespace().collect::<Vec<_>>().join(" "))
}

fn system(rules: &Rules, agent: &str) -> Option<&'static str> {
    match name(&rules.os_parsers, agent)? {
        "iOS" if agent.contains("iPad") => Some("iPad"),
        "iOS" => Some("iPhone"),
        "Mac OS X" => Some("Mac"),
        "Android" => Some("Android"),
        "Windows" => Some("Windows"),
        "Chrome OS" => Some("Chrome OS"),
        "Ubuntu" => Some("Ubuntu"),
        _ => Some("Linux"),
    }
}

/// The system that an app's agent names, with the same words.
fn system_by_name(agent: &str) -> Option<&'static str> {
    let names = [
        ("iPad", "iPad"),
        ("iPhone", "iPhone"),
        ("iOS", "iPhone"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac", "Mac"),
        ("Linux", "Linux"),
    ];
    names.into_iter().find(|(name, _)| agent.contains(name)).map(|(_, words)| words)
}

/// The name that an app gives itself: its first product, `ExampleApp/1.2 …`.
fn app(agent: &str) -> Option<&str> {
    let name = agent.split('/').next().unwrap_or_default().trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._-+".contains(c);
    (!name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_their_systems() {
        for line in include_str!("../data/user-agents.txt").lines() {
            let (expected, agent) = line.split_once('\t').expect("words, a tab, an agent");
            assert_eq!(words(agent), expected, "{agent}");
        }
    }

    #[test]
    fn apps_say_their_own_name() {
        for (agent, expected) in [
            ("ExampleApp/1.0 (iPhone; iOS 20.1)", "ExampleApp on iPhone"),
            ("Example App/2.3 (Android 16; Pixel 9)", "Example App on Android"),
            ("okhttp/4.12.0", "okhttp"),
            ("Dart/3.9 (dart:io)", "Dart"),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32", "python-requests"),
        ] {
            assert_eq!(words(agent), expected);
        }
    }

    #[test]
    fn what_a_client_makes_up_is_not_repeated() {
        for agent in ["", " ", "/", "<script>alert(1)</script>", "\u{202e}evil/1", &"x".repeat(200), "Mozilla/5.0 <b>"]
        {
            assert_eq!(words(agent), UNKNOWN, "{agent}");
        }
    }
}
