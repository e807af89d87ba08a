//! The three kinds of session, and how long each lives.

use serde::Deserialize;

/// The client that a request says it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Client {
    /// A browser, which keeps cookies.
    #[default]
    Browser,
    /// An app, which keeps tokens itself.
    App,
}

/// Which client holds a session, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(rename_all = "snake_case"))]
pub enum Kind {
    /// A browser that holds an access cookie alone.
    Browser,
    /// A browser that holds a refresh cookie too ("remember me").
    Remembered,
    /// An app that holds both tokens.
    App,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Browser, Self::Remembered, Self::App];

    /// The kind for a client, who may ask to be remembered. An app always is.
    pub const fn chosen(client: Client, remember: bool) -> Self {
        match (client, remember) {
            (Client::App, _) => Self::App,
            (Client::Browser, true) => Self::Remembered,
            (Client::Browser, false) => Self::Browser,
        }
    }

    /// As it is stored, and named in tokens and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Remembered => "remembered",
            Self::App => "app",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether a browser holds it.
    pub const fn is_browser(self) -> bool {
        matches!(self, Self::Browser | Self::Remembered)
    }
}

/// Lifetimes of one kind, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindLifetimes {
    /// Of an access token.
    pub access: u64,
    /// Of a session that is not used.
    pub idle: u64,
    /// Of a session in any case.
    pub absolute: u64,
}

/// Lifetimes of all kinds, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of browser sessions.
    pub browser: KindLifetimes,
    /// Of app sessions and remembered browsers.
    pub app: KindLifetimes,
    /// For how long after a rotation a browser without keys may present the generation before.
    pub refresh_grace: u64,
}

#[cfg(test)]
impl Lifetimes {
    /// The defaults of the template, for tests.
    pub(crate) const DEFAULTS: Self = Self {
        browser: KindLifetimes { access: 1800, idle: 1800, absolute: 86_400 },
        app: KindLifetimes { access: 900, idle: 2_592_000, absolute: 15_552_000 },
        refresh_grace: 10,
    };
}

impl Lifetimes {
    /// Those of one kind.
    pub const fn of(&self, kind: Kind) -> &KindLifetimes {
        match kind {
            Kind::Browser => &self.browser,
            Kind::Remembered | Kind::App => &self.app,
        }
    }
}
