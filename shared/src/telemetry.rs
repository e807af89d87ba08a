//! Logs: one JSON object a line on standard output, where the Lambda service picks them up.
//!
//! A failure is logged once, where the answer is made ([`crate::runtime`]), with the request's id. Nothing secret and
//! no address is ever put into a log line: secrets have a redacted `Debug` and no `Display`.
//!
//! What may be an attack is a [`SecurityEvent`], of the schema in `docs/events.md`.

use std::error::Error;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

use crate::account::UserId;
use crate::outbox::OutboxId;
use crate::session::{Kind, Session, SessionRef};

/// Starts logging, from level `INFO`. Called once, first thing in `main`.
pub(crate) fn init() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        // The Lambda service stamps each line.
        .without_time()
        .with_max_level(LevelFilter::INFO)
        .init();
}

/// What happened, with all that led to it.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Which credential was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An access token.
    Access,
    /// A refresh token, or whatever else refreshes a session.
    Refresh,
}

impl Credential {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// Something that whoever watches over accounts wants to hear of. `docs/events.md` has the schema of its log line,
/// which never holds a token or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityEvent {
    /// An older credential was shown: it was copied, and the session has been ended.
    TokenReused {
        /// The session.
        session: SessionRef,
        /// Its kind.
        kind: Kind,
        /// What was shown.
        credential: Credential,
    },
    /// An access token of an earlier generation was shown in an app's session: an app that keeps requests, or a thief.
    StaleTokenUsed {
        /// The session.
        session: SessionRef,
    },
    /// Two requests without keys refreshed one generation within the grace: two tabs, or a thief beside the owner.
    RefreshRaced {
        /// The session.
        session: SessionRef,
    },
    /// A genuine credential, not past its time, of a session that was ended: logged out, reused, evicted, or its
    /// user banned.
    EndedSessionUsed {
        /// The session.
        session: SessionRef,
        /// What was shown.
        credential: Credential,
    },
    /// A token names a key that is not there: it is forged, or older than any key that is kept. Logged once a minute at
    /// most by each instance, whatever is thrown at it.
    UnknownKey {
        /// What was shown.
        credential: Credential,
    },
    /// A stored key cannot be read, made or signed with.
    KeyFailed,
    /// Who is signed in gave their password again, and this session followed theirs.
    Reauthenticated {
        /// The session that followed.
        session: SessionRef,
        /// Its kind.
        kind: Kind,
    },
    /// Who is signed in changed their password; all sessions ended, and this one followed theirs.
    PasswordChanged {
        /// The session that followed.
        session: SessionRef,
        /// Its kind.
        kind: Kind,
    },
    /// Who is signed in was asked for their password, and gave another.
    WrongPassword {
        /// The session.
        session: SessionRef,
    },
    /// Somebody signed in.
    SignedIn {
        /// The session that began.
        session: SessionRef,
        /// Its kind.
        kind: Kind,
        /// By what.
        method: SignInMethod,
    },
    /// A password was wrong, or there is no such account, or it is banned.
    SignInFailed {
        /// The account that was tried, if there is one.
        user_id: Option<UserId>,
    },
    /// Somebody chose a password that is known from a leak, and it was taken (`BreachCheck`).
    BreachedPassword {
        /// The account that it is for, if there is one already.
        user_id: Option<UserId>,
    },
    /// Whoever reads an account's mail set a new password; all its sessions are over.
    PasswordReset {
        /// The account.
        user_id: UserId,
    },
    /// A mailed code or link, or the password beside a link, was wrong, old or spent.
    VerificationFailed,
    /// Something was tried too often, and refused unseen.
    RateLimited {
        /// By which rule ([`crate::limits`]).
        scope: &'static str,
    },
    /// A page made a request that may not.
    OriginRejected,
    /// A request did not come through the CDN that stands in front.
    EdgeBypassed,
    /// A token names a key of ours and was not made with it.
    TokenForged {
        /// What was shown.
        credential: Credential,
    },
}

/// How somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInMethod {
    /// By password.
    Password,
    /// By verifying a sign-up.
    Verification,
}

impl SignInMethod {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Verification => "verification",
        }
    }
}

impl SecurityEvent {
    /// That this session began.
    pub const fn signed_in(session: &Session, method: SignInMethod) -> Self {
        Self::SignedIn { session: session.reference(), kind: session.kind, method }
    }

    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenReused { .. } => "refresh_token_reused",
            Self::StaleTokenUsed { .. } => "stale_token_used",
            Self::RefreshRaced { .. } => "refresh_raced",
            Self::EndedSessionUsed { .. } => "ended_session_used",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyFailed => "key_failed",
            Self::Reauthenticated { .. } => "reauthenticated",
            Self::PasswordChanged { .. } => "password_changed",
            Self::WrongPassword { .. } => "wrong_password",
            Self::SignedIn { .. } => "signed_in",
            Self::SignInFailed { .. } => "sign_in_failed",
            Self::BreachedPassword { .. } => "breached_password",
            Self::PasswordReset { .. } => "password_reset",
            Self::VerificationFailed => "verification_failed",
            Self::RateLimited { .. } => "rate_limited",
            Self::OriginRejected => "origin_rejected",
            Self::EdgeBypassed => "edge_bypassed",
            Self::TokenForged { .. } => "token_forged",
        }
    }

    /// Writes its line: a warning, but for what succeeded.
    pub fn log(self) {
        let (session, kind, credential) = match self {
            Self::TokenReused { session, kind, credential } => (Some(session), Some(kind), Some(credential)),
            Self::StaleTokenUsed { session } => (Some(session), None, Some(Credential::Access)),
            Self::RefreshRaced { session } => (Some(session), None, Some(Credential::Refresh)),
            Self::EndedSessionUsed { session, credential } => (Some(session), None, Some(credential)),
            Self::UnknownKey { credential } | Self::TokenForged { credential } => (None, None, Some(credential)),
            Self::SignedIn { session, kind, .. }
            | Self::Reauthenticated { session, kind }
            | Self::PasswordChanged { session, kind } => (Some(session), Some(kind), None),
            Self::WrongPassword { session } => (Some(session), None, None),
            Self::KeyFailed
            | Self::SignInFailed { .. }
            | Self::BreachedPassword { .. }
            | Self::PasswordReset { .. }
            | Self::VerificationFailed
            | Self::RateLimited { .. }
            | Self::OriginRejected
            | Self::EdgeBypassed => (None, None, None),
        };
        let (user_id, method) = match self {
            Self::SignInFailed { user_id } | Self::BreachedPassword { user_id } => (user_id, None),
            Self::PasswordReset { user_id } => (Some(user_id), None),
            Self::SignedIn { session, method, .. } => (Some(session.user_id), Some(method)),
            _ => (session.map(|session| session.user_id), None),
        };
        let limit = match self {
            Self::RateLimited { scope } => Some(scope),
            _ => None,
        };
        macro_rules! write_line {
            ($level:ident) => {
                tracing::$level!(
                    security_event = self.name(),
                    user_id = user_id.map(tracing::field::display),
                    session_id = session.map(|session| tracing::field::display(session.session_id)),
                    session_kind = kind.map(Kind::as_str),
                    credential = credential.map(Credential::as_str),
                    method = method.map(SignInMethod::as_str),
                    limit,
                )
            };
        }
        if matches!(
            self,
            Self::SignedIn { .. }
                | Self::Reauthenticated { .. }
                | Self::PasswordChanged { .. }
                | Self::PasswordReset { .. }
        ) {
            write_line!(info);
        } else {
            write_line!(warn);
        }
    }
}

/// What an operator does with the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A user was made.
    UserCreate,
    /// A user was banned.
    UserDisable,
    /// A ban was lifted.
    UserEnable,
    /// A user was deleted, or is to be.
    UserDelete,
    /// All that is held about a user was read.
    UserExport,
    /// A reset of the password was mailed.
    UserSendReset,
    /// All sessions of a user were ended.
    UserRevokeSessions,
    /// A user's address was changed.
    UserSetEmail,
    /// A user's roles were changed.
    UserRoles,
    /// All users were read.
    UserList,
    /// New keys were asked for.
    KeysRotate,
    /// A key was ended.
    KeysRevoke,
    /// What limits had counted of somebody was forgotten.
    LimitsClear,
    /// All users were read, with their hashes.
    UsersExport,
    /// Users were brought from elsewhere.
    UsersImport,
    /// An address was taken off the list of those that are not mailed.
    MailUnblock,
}

impl Act {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UserCreate => "user_create",
            Self::UserDisable => "user_disable",
            Self::UserEnable => "user_enable",
            Self::UserDelete => "user_delete",
            Self::UserExport => "user_export",
            Self::UserSendReset => "user_send_reset",
            Self::UserRevokeSessions => "user_revoke_sessions",
            Self::UserSetEmail => "user_set_email",
            Self::UserRoles => "user_roles",
            Self::UserList => "user_list",
            Self::KeysRotate => "keys_rotate",
            Self::KeysRevoke => "keys_revoke",
            Self::LimitsClear => "limits_clear",
            Self::UsersExport => "users_export",
            Self::UsersImport => "users_import",
            Self::MailUnblock => "mail_unblock",
        }
    }
}

/// What an operator did: a security event too, which waits in the outbox with what it tells of, as a command line has no log
/// group. The function `outbox` writes its line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAct {
    /// The operator's ARN, as STS tells it; `local` on a machine of one's own.
    pub operator: String,
    /// What was done.
    pub act: Act,
    /// To whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// To which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl OperatorAct {
    /// Its name in the log.
    const NAME: &str = "operator_acted";

    /// Writes its line, under the id by which a repeated one is known.
    pub fn log(&self, id: OutboxId) {
        tracing::info!(
            security_event = Self::NAME,
            user_id = self.user_id.map(tracing::field::display),
            operator = self.operator,
            act = self.act.as_str(),
            key = self.key,
            id = %id,
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::config::Api;
    use crate::http::context::HttpContext;
    use crate::http::source::Source;
    use crate::session::SessionId;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("the lines").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What is logged meanwhile, on this thread, as a Lambda function's log has it.
    pub(crate) fn logged(act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_target(false)
            .without_time()
            .with_writer(lines.clone());
        tracing::subscriber::with_default(subscriber.finish(), act);
        String::from_utf8(lines.0.lock().expect("the lines").clone()).expect("UTF-8")
    }

    /// What one event writes.
    fn line(event: SecurityEvent) -> Value {
        written(|| event.log())
    }

    /// The one line that is written.
    fn written(write: impl FnOnce()) -> Value {
        let text = logged(write);
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// CWE-117: a client writes its `User-Agent`, and nothing else of the line.
    #[test]
    fn what_a_client_writes_makes_no_line_of_its_own() {
        let api = Api { url: None, allowed_origins: Vec::new(), cookie_domain: None };
        let context = HttpContext::logging_clients(api);
        for agent in [
            "a\nb",
            "a\r\n{\"security_event\":\"signed_in\"}",
            "\",\"level\":\"ERROR",
            "\u{1b}[2J\u{2028}\u{85}\0",
            "\\",
        ] {
            let span = || context.span_of("r1", Source::of_gateway(Some("203.0.113.7")), agent.as_bytes());
            let line = written(|| span().in_scope(|| SecurityEvent::OriginRejected.log()));
            assert_eq!(line["span"]["user_agent"], agent);
            assert_eq!((&line["level"], &line["security_event"]), (&json!("WARN"), &json!("origin_rejected")));
        }
    }

    #[test]
    fn each_event_is_one_line_of_the_documented_schema() {
        let session = SessionRef { user_id: UserId::from_bytes([1; 16]), session_id: SessionId::from_bytes([2; 16]) };
        let (user_id, session_id) = (session.user_id.to_string(), session.session_id.to_string());
        let documented = include_str!("../../docs/events.md");
        for (event, expected) in [
            (
                SecurityEvent::TokenReused { session, kind: Kind::App, credential: Credential::Refresh },
                json!({"level": "WARN", "security_event": "refresh_token_reused", "user_id": user_id,
                    "session_id": session_id, "session_kind": "app", "credential": "refresh"}),
            ),
            (
                SecurityEvent::StaleTokenUsed { session },
                json!({"level": "WARN", "security_event": "stale_token_used", "user_id": user_id,
                    "session_id": session_id, "credential": "access"}),
            ),
            (
                SecurityEvent::RefreshRaced { session },
                json!({"level": "WARN", "security_event": "refresh_raced", "user_id": user_id,
                    "session_id": session_id, "credential": "refresh"}),
            ),
            (
                SecurityEvent::EndedSessionUsed { session, credential: Credential::Access },
                json!({"level": "WARN", "security_event": "ended_session_used", "user_id": user_id,
                    "session_id": session_id, "credential": "access"}),
            ),
            (
                SecurityEvent::UnknownKey { credential: Credential::Access },
                json!({"level": "WARN", "security_event": "unknown_key", "credential": "access"}),
            ),
            (SecurityEvent::KeyFailed, json!({"level": "WARN", "security_event": "key_failed"})),
            (
                SecurityEvent::SignedIn { session, kind: Kind::Browser, method: SignInMethod::Password },
                json!({"level": "INFO", "security_event": "signed_in", "user_id": user_id, "session_id": session_id,
                    "session_kind": "browser", "method": "password"}),
            ),
            (
                SecurityEvent::Reauthenticated { session, kind: Kind::App },
                json!({"level": "INFO", "security_event": "reauthenticated", "user_id": user_id,
                    "session_id": session_id, "session_kind": "app"}),
            ),
            (
                SecurityEvent::PasswordChanged { session, kind: Kind::Remembered },
                json!({"level": "INFO", "security_event": "password_changed", "user_id": user_id,
                    "session_id": session_id, "session_kind": "remembered"}),
            ),
            (
                SecurityEvent::WrongPassword { session },
                json!({"level": "WARN", "security_event": "wrong_password", "user_id": user_id,
                    "session_id": session_id}),
            ),
            (
                SecurityEvent::SignInFailed { user_id: Some(session.user_id) },
                json!({"level": "WARN", "security_event": "sign_in_failed", "user_id": user_id}),
            ),
            (
                SecurityEvent::SignInFailed { user_id: None },
                json!({"level": "WARN", "security_event": "sign_in_failed"}),
            ),
            (
                SecurityEvent::BreachedPassword { user_id: Some(session.user_id) },
                json!({"level": "WARN", "security_event": "breached_password", "user_id": user_id}),
            ),
            (
                SecurityEvent::BreachedPassword { user_id: None },
                json!({"level": "WARN", "security_event": "breached_password"}),
            ),
            (
                SecurityEvent::PasswordReset { user_id: session.user_id },
                json!({"level": "INFO", "security_event": "password_reset", "user_id": user_id}),
            ),
            (SecurityEvent::VerificationFailed, json!({"level": "WARN", "security_event": "verification_failed"})),
            (SecurityEvent::OriginRejected, json!({"level": "WARN", "security_event": "origin_rejected"})),
            (
                SecurityEvent::RateLimited { scope: "passwords" },
                json!({"level": "WARN", "security_event": "rate_limited", "limit": "passwords"}),
            ),
            (SecurityEvent::EdgeBypassed, json!({"level": "WARN", "security_event": "edge_bypassed"})),
            (
                SecurityEvent::TokenForged { credential: Credential::Access },
                json!({"level": "WARN", "security_event": "token_forged", "credential": "access"}),
            ),
        ] {
            assert_eq!(line(event), expected);
            assert!(documented.contains(&format!("`{}`", event.name())), "{} is not in docs/events.md", event.name());
        }
    }

    #[test]
    fn an_operator_s_act_is_such_a_line_too() {
        let (user_id, id) = (UserId::from_bytes([1; 16]), OutboxId::from_bytes([3; 16]));
        let operator = "arn:aws:sts::123456789012:assumed-role/Support/kim".to_owned();
        let act = OperatorAct { operator, act: Act::UserDisable, user_id: Some(user_id), key: None };
        assert_eq!(
            written(|| act.log(id)),
            json!({"level": "INFO", "security_event": "operator_acted", "user_id": user_id.to_string(),
                "operator": act.operator, "act": "user_disable", "id": id.to_string()})
        );
        let act = OperatorAct { act: Act::KeysRevoke, user_id: None, key: Some("AQEB".to_owned()), ..act };
        assert_eq!(
            written(|| act.log(id)),
            json!({"level": "INFO", "security_event": "operator_acted", "operator": act.operator, "act": "keys_revoke",
                "key": "AQEB", "id": id.to_string()})
        );
        let documented = include_str!("../../docs/events.md");
        assert!(documented.contains(&format!("`{}`", OperatorAct::NAME)));
        for act in [
            Act::UserCreate,
            Act::UserDisable,
            Act::UserEnable,
            Act::UserDelete,
            Act::UserExport,
            Act::UserSendReset,
            Act::UserRevokeSessions,
            Act::UserSetEmail,
            Act::UserRoles,
            Act::UserList,
            Act::KeysRotate,
            Act::KeysRevoke,
            Act::MailUnblock,
        ] {
            assert!(documented.contains(&format!("`{}`", act.as_str())), "{} is not in docs/events.md", act.as_str());
            assert_eq!(serde_json::to_value(act).expect("JSON"), act.as_str());
        }
    }
}
