//! The mailbox, as `GET /_local/mail.json` shows it.

use serde::Deserialize;

/// One mail that was sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mail {
    pub(crate) id: serde_json::Value,
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    pub(crate) sent_at: String,
}

impl Mail {
    /// The one run of exactly eight digits in the text.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let runs: Vec<&str> = self.text.split(|c: char| !c.is_alphanumeric()).filter(|run| is_code(run)).collect();
        let [code] = runs[..] else { panic!("not one code but {runs:?} in: {}", self.text) };
        code.to_owned()
    }

    /// The one link with a token in the text.
    #[track_caller]
    pub(crate) fn link(&self) -> String {
        let links: Vec<&str> =
            self.text.split_whitespace().filter(|word| word.starts_with("http") && word.contains("?token=")).collect();
        let [link] = links[..] else { panic!("not one link but {links:?} in: {}", self.text) };
        link.to_owned()
    }

    /// The link's token.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        let link = self.link();
        link.split_once("token=").expect("a token").1.to_owned()
    }

    /// Whether it carries anything that could prove something.
    pub(crate) fn has_secrets(&self) -> bool {
        self.text.contains("token=") || self.text.split(|c: char| !c.is_alphanumeric()).any(is_code)
    }
}

fn is_code(run: &str) -> bool {
    run.len() == 8 && run.bytes().all(|byte| byte.is_ascii_digit())
}
