//! A `User-Agent` in plain words: "Chrome on Windows".
//!
//! A short table of what today's browsers call themselves, as people have to tell one of their own devices from a
//! stranger's and need no versions or models for it. `data/user-agents.txt` says which agents are told apart, and is what
//! the test reads.
//!
//! What comes out is made of our own words, or of an app's name in plain characters: an agent is whatever the client
//! wrote.

/// What is said of an agent that says nothing.
const UNKNOWN: &str = "Unknown device";
/// The longest name of an app that is shown, in characters.
const LONGEST_NAME: usize = 40;

/// What an agent says, and the browser that it then is. The first that fits counts: nearly all say that they are Chrome
/// or Safari too.
const BROWSERS: [(&str, &str); 20] = [
    ("bot/", "Bot"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("OPX/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Whale/", "Whale"),
    ("Vivaldi/", "Vivaldi"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    // Chrome inside another app.
    ("; wv)", WEB_VIEW),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Firefox/", "Firefox"),
];
const WEB_VIEW: &str = "Web view";

/// What an agent says, and the system that it then is on. The first that fits counts: an iPhone is "like Mac OS X", and
/// Android a Linux.
const SYSTEMS: [(&str, &str); 11] = [
    ("iPad", "iPad"),
    ("iPhone", "iPhone"),
    ("iOS", "iPhone"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "Chrome OS"),
    ("Mac", "Mac"),
    ("Ubuntu", "Ubuntu"),
    ("Linux", "Linux"),
    // Apple's library, in an app that says nothing else.
    ("CFNetwork", "an Apple device"),
    ("Darwin", "an Apple device"),
];

/// The program of an agent, and what it runs on as far as that is known.
pub fn words(agent: &str) -> String {
    // All browsers call themselves Mozilla first; an app begins with its own name (RFC 9110 §10.1.5).
    let (program, system) = match agent.strip_prefix("Mozilla/") {
        Some(agent) => (browser(agent).map(str::to_owned), browser_system(agent)),
        None => {
            let (name, rest) = agent.split_once('/').unwrap_or((agent, ""));
            (app(name), system(rest))
        }
    };
    match (program, system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program,
        (None, Some(system)) => system.to_owned(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

fn first<'a>(table: &[(&str, &'a str)], agent: &str) -> Option<&'a str> {
    table.iter().find(|(says, _)| agent.contains(says)).map(|(_, name)| *name)
}

fn browser(agent: &str) -> Option<&'static str> {
    let is_versioned = agent.contains("Version/");
    match first(&BROWSERS, agent) {
        // "Version" is Safari's own, and that of older web views of Android.
        Some("Chrome") if is_versioned && agent.contains("Chrome/") => Some(WEB_VIEW),
        None if is_versioned && agent.contains("Safari/") => Some("Safari"),
        None if agent.contains("AppleWebKit/") => Some(WEB_VIEW),
        named => named,
    }
}

fn browser_system(agent: &str) -> Option<&'static str> {
    // An iPad asks for pages as a Mac does. Safari there cannot be told from a Mac's; others give themselves away.
    let is_ipad = agent.contains("Macintosh") && (agent.contains("iOS/") || agent.contains("Mobile/"));
    if is_ipad { Some("iPad") } else { system(agent) }
}

fn system(agent: &str) -> Option<&'static str> {
    first(&SYSTEMS, agent)
}

/// The name that an app gives itself, where it can be shown as it is. Apple's library writes its spaces as `%20`.
fn app(name: &str) -> Option<String> {
    let name = name.replace("%20", " ");
    let name = name.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._-+".contains(c);
    (!name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain)).then(|| name.to_owned())
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
            ("ExampleApp/1.0 (iPad; iOS 20.1)", "ExampleApp on iPad"),
            ("ExampleApp/1.0 (iOS 20.1)", "ExampleApp on iPhone"),
            ("Example App/2.3 (Android 16; Pixel 9)", "Example App on Android"),
            ("ExampleApp/1.0 (Macintosh; macOS 16.0)", "ExampleApp on Mac"),
            ("ExampleApp/1.0 (Windows NT 10.0)", "ExampleApp on Windows"),
            ("ExampleApp/7 CFNetwork/1494.0.7 Darwin/23.4.0", "ExampleApp on an Apple device"),
            ("Example%20App/7 CFNetwork/1494.0.7 Darwin/23.4.0", "Example App on an Apple device"),
            // The name is no system.
            ("MacroCounter/1.0 (Android 16)", "MacroCounter on Android"),
            ("iPhoneFinder/1.0", "iPhoneFinder"),
            ("Dalvik/2.1.0 (Linux; U; Android 16; Pixel 9 Build/BP2A)", "Dalvik on Android"),
            ("okhttp/4.12.0", "okhttp"),
            ("Dart/3.9 (dart:io)", "Dart"),
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32", "python-requests"),
            ("latchkey-client", "latchkey-client"),
        ] {
            assert_eq!(words(agent), expected, "{agent}");
        }
    }

    #[test]
    fn what_a_client_makes_up_is_not_repeated() {
        let long = "x".repeat(LONGEST_NAME + 1);
        for agent in [
            "",
            " ",
            "/",
            "//",
            "%20/1",
            "%3Cscript%3E/1",
            "<script>alert(1)</script>",
            "\u{202e}evil/1",
            "우리앱/1.0",
            &long,
            &long.repeat(10_000),
            "Mozilla",
            "Mozilla/",
            "Mozilla/5.0",
            "Mozilla/5.0 <b>",
            "Mozilla/5.0 (X; \u{0}\r\nset-cookie: a=b)",
            &format!("Mozilla/5.0 {}", "(".repeat(1_000_000)),
        ] {
            let words = words(agent);
            assert!(words == UNKNOWN || words == "Mozilla", "{words}");
        }
        // Whatever stands around them, the words are ours.
        assert_eq!(words("Mozilla/5.0 (<b>Windows</b>) Firefox/<script>"), "Firefox on Windows");
        assert_eq!(words("<b>/1.0 (Android 16)"), "Android");
    }
}
