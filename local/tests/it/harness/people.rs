//! People and what their devices hold.

use serde_json::{Value, json};

use super::{Answer, claims, generation};

/// Somebody with a name, an address and a password.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) password: String,
}

impl Person {
    pub(crate) fn named(username: &str) -> Self {
        Self {
            username: username.to_owned(),
            email: format!("{username}@example.test"),
            password: format!("seven quiet llamas of {username}"),
        }
    }

    /// The body of a sign-up.
    pub(crate) fn signup(&self, client: &str) -> Value {
        json!({"username": self.username, "email": self.email, "password": self.password, "client": client})
    }

    /// The body of a login.
    pub(crate) fn login(&self, client: &str) -> Value {
        json!({"username": self.username, "password": self.password, "client": client})
    }

    /// The body of a remembered browser's login.
    pub(crate) fn remembered(&self) -> Value {
        json!({"username": self.username, "password": self.password, "client": "browser", "remember": true})
    }
}

/// What an app stores of its session.
#[derive(Clone, Debug)]
pub(crate) struct AppSession {
    pub(crate) user_id: String,
    pub(crate) session_id: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl AppSession {
    /// Reads a session response of an app.
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        let body = answer.json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no session: {body}")).to_owned();
        let session = Self {
            user_id: text(&body["user"]["id"]),
            session_id: text(&body["session"]["id"]),
            access: text(&body["token"]["access"]),
            refresh: text(&body["token"]["refresh"]),
        };
        let claims = claims(&session.access);
        assert_eq!((&claims["sub"], &claims["sid"]), (&body["user"]["id"], &body["session"]["id"]));
        session
    }

    pub(crate) fn generation(&self) -> u64 {
        generation(&self.access)
    }
}
