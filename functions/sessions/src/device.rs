//! A `User-Agent` in plain words: "Chrome on Windows".
//!
//! The rules are those of uap-core (github.com/ua-parser/uap-core, Apache-2.0) that today's browsers meet, as the crate
//! `ua-parser` runs them. All of its thousand rules would take some 50 ms to load; these take a few, on the first list
//! with a browser in it. `data/user-agents.txt` says which agents are told apart, and is what the test reads.
//!
//! What comes out is made of our own words, or of an app's name in plain characters: an agent is whatever the client
//! wrote.

use std::sync::LazyLock;

use serde::Deserialize;
use ua_parser::{os, user_agent};

/// What is said of an agent that says nothing.
const UNKNOWN: &str = "Unknown device";
/// The longest name of an app that is shown, in characters.
const LONGEST_NAME: usize = 40;

#[derive(Deserialize)]
struct Rules {
    user_agent_parsers: Vec<user_agent::Parser<'static>>,
    os_parsers: Vec<os::Parser<'static>>,
}

struct Parser {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

impl Parser {
    fn new() -> Option<Self> {
        let rules: Rules = serde_json::from_str(include_str!("../data/rules.json")).ok()?;
        let browsers = user_agent::Builder::new().push_all(rules.user_agent_parsers).ok()?.build().ok()?;
        let systems = os::Builder::new().push_all(rules.os_parsers).ok()?.build().ok()?;
        Some(Self { browsers, systems })
    }
}

static PARSER: LazyLock<Option<Parser>> = LazyLock::new(Parser::new);

/// The program of an agent, and what it runs on as far as that is known.
pub(crate) fn words(agent: &str) -> String {
    // All browsers call themselves Mozilla first; an app begins with its own name (RFC 9110 §10.1.5).
    let (program, system) = match agent.strip_prefix("Mozilla/") {
        None => (app(agent).map(str::to_owned), system_by_name(agent)),
        Some(_) => match PARSER.as_ref() {
            Some(parser) => (browser(parser, agent), system(parser, agent)),
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
fn browser(parser: &Parser, agent: &str) -> Option<String> {
    let family = parser.browsers.extract(agent)?.family;
    if family.contains("WebView") {
        return Some("Web view".to_owned());
    }
    Some(family.replace("Mobile", "").replace("iOS", "").split_whitespace().collect::<Vec<_>>().join(" "))
}

fn system(parser: &Parser, agent: &str) -> Option<&'static str> {
    match &*parser.systems.extract(agent)?.os {
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
