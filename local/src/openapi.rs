//! The API's description (`OpenAPI` 3.1): the bodies' schemas are those of the types that the handlers read and write, the
//! errors are examples of the real ones. `docs/openapi.json` is this, checked in; tests hold it against the template's
//! routes and against what each function's specification says of its errors.

use std::collections::BTreeMap;

use lambda_http::http::StatusCode;
use serde_json::{Map, Value, json};
use shared::http::problem::{Code, Members, Problem};
use shared::http::session_response::SessionResponse;
use utoipa::ToSchema;

/// The codes of routes that take a JSON body.
const BODY: &[Code] = &[Code::InvalidRequest, Code::UnsupportedMediaType, Code::BodyTooLarge];
/// The codes of routes that want to know who calls.
const CALLER: &[Code] = &[Code::TokenMissing, Code::TokenInvalid, Code::TokenExpired, Code::SessionEnded];
/// The code of routes that want to know it lately.
const FRESH: &[Code] = &[Code::ReauthenticationRequired];
/// The codes that every route may answer with, whatever its function does.
const ANYTIME: &[Code] = &[Code::OriginRequired, Code::Unavailable, Code::Internal];

/// The whole description.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let problem = schemas.add::<Members>();
    let operations = operations(&mut schemas);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let method = operation.method.to_ascii_lowercase();
        paths.entry(operation.path).or_default().insert(method, operation.describe(&problem));
    }
    schemas.refine();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Latchkey",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "User accounts and sessions. Errors are `application/problem+json` with a `code` of a closed \
                set. API Gateway's own answers (403, 404, 413, 429, 503) have a plain `message`: go by the status then. \
                Requests with an unsafe method from a page need an allowed `Origin`.",
        },
        "servers": [{ "url": "/", "description": "Where this is served" }],
        "tags": [
            { "name": "Sign-up" }, { "name": "Password" }, { "name": "Sessions" }, { "name": "Account" },
            { "name": "Keys", "description": "For verifiers of tokens." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An app's access token." },
                "cookie": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-access",
                    "description": "A browser's access token; `access` where the API is http, as the local stack is.",
                },
            },
        },
    })
}

/// The schemas that something refers to, by name.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Takes in a type and all that it consists of, and says how to refer to it.
    fn add<T: ToSchema>(&mut self) -> Value {
        let mut found = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        for (name, schema) in found {
            // Schemas are plain data.
            self.0.entry(name).or_insert_with(|| serde_json::to_value(schema).unwrap_or_default());
        }
        json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
    }

    /// Adds what a type's fields alone do not say.
    fn refine(&mut self) {
        let needs = |field: &str| json!({ "required": [field], "properties": { field: { "type": "string" } } });
        let more = [
            ("LoginRequest", "oneOf", json!([needs("username"), needs("email")])),
            ("ForgotRequest", "oneOf", json!([needs("username"), needs("email")])),
            ("ResetRequest", "oneOf", json!([needs("code"), needs("token")])),
            ("VerifyRequest", "anyOf", json!([needs("code"), needs("token")])),
        ];
        for (schema, member, value) in more {
            if let Some(schema) = self.0.get_mut(schema) {
                schema[member] = value;
            }
        }
        let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        if let Some(problem) = self.0.get_mut("Problem") {
            problem["properties"]["code"]["enum"] = json!(codes);
        }
    }
}

/// An answer that is no problem document.
struct Answer {
    status: StatusCode,
    description: &'static str,
    content: Option<(&'static str, Value)>,
    headers: Vec<(&'static str, &'static str)>,
}

impl Answer {
    const fn new(status: StatusCode, description: &'static str) -> Self {
        Self { status, description, content: None, headers: Vec::new() }
    }

    fn json(mut self, schema: Value) -> Self {
        self.content = Some(("application/json", schema));
        self
    }

    fn html(mut self) -> Self {
        self.content = Some(("text/html", json!({ "type": "string" })));
        self
    }

    fn header(mut self, name: &'static str, description: &'static str) -> Self {
        self.headers.push((name, description));
        self
    }
}

/// A route.
struct Operation {
    id: &'static str,
    tag: &'static str,
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    description: &'static str,
    /// Whether a caller has to be signed in.
    is_protected: bool,
    parameters: Vec<Value>,
    /// By media type; and whether there has to be one.
    body: Option<(Value, bool)>,
    answers: Vec<Answer>,
    /// Beside [`ANYTIME`].
    codes: Vec<&'static [Code]>,
    /// Whether errors may come as a page, too.
    has_page: bool,
}

const SET_COOKIES: &str = "In browser sessions: `__Host-access` (HttpOnly, SameSite=Lax), `username` (readable), and \
    `__Host-refresh` (HttpOnly, SameSite=Strict) set or cleared, `__Host-signup` cleared. `Secure`, `Path=/`; on http \
    without the prefix.";
/// A secret, as examples show it.
const SECRET: &str = "k7Qm0Yw3b1mYl2Vx9sT4uA";
/// A refresh token, as examples show it.
const REFRESH: &str = "rt_AWV4YW1wbGU";
const EXTENDED_COOKIES: &str = "A browser session's new `__Host-access` and `username`, when it was extended.";
const CLEARED_COOKIES: &str = "Whoever brought cookies is rid of all four.";

#[expect(clippy::too_many_lines, reason = "a table: one entry for each route")]
fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let session = schemas.add::<SessionResponse>();
    let session_response =
        |status, description| Answer::new(status, description).json(session.clone()).header("Set-Cookie", SET_COOKIES);
    let body = |schema: Value, required, examples: Value| {
        Some((json!({ "application/json": { "schema": schema, "examples": examples } }), required))
    };
    let base = |id, tag, method, path| Operation {
        id,
        tag,
        method,
        path,
        summary: "",
        description: "",
        is_protected: false,
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        codes: Vec::new(),
        has_page: false,
    };
    let verify_form = json!({
        "type": "object", "required": ["token"],
        "properties": { "token": { "type": "string" }, "password": { "type": "string", "format": "password" } },
    });
    let verify_request = schemas.add::<verify::VerifyRequest>();
    let reset_form = json!({
        "type": "object", "required": ["token", "password"],
        "properties": { "token": { "type": "string" }, "password": { "type": "string", "format": "password" } },
    });
    let reset_request = schemas.add::<password_reset::ResetRequest>();
    vec![
        Operation {
            summary: "Begin a sign-up",
            description: "Mails a link and a code of 8 digits. The answer is the same whether or not the address has \
                an account: then the mail says so, and the sign-up never verifies.",
            body: body(
                schemas.add::<signup::SignupRequest>(),
                true,
                json!({
                    "browser": { "value": {
                        "username": "ann", "email": "ann@example.com", "password": "correct horse battery",
                    } },
                    "app": { "value": {
                        "username": "ann", "email": "ann@example.com", "password": "correct horse battery",
                        "locale": "ko", "client": "app",
                    } },
                }),
            ),
            answers: vec![
                Answer::new(StatusCode::ACCEPTED, "A mail is on its way.")
                    .json(schemas.add::<signup::SignupResponse>())
                    .header("Set-Cookie", "For browsers: `__Host-signup`, which holds the `signup_id`."),
            ],
            codes: vec![
                BODY,
                &[
                    Code::InvalidUsername,
                    Code::InvalidEmail,
                    Code::WeakPassword,
                    Code::UsernameTaken,
                    Code::RateLimited,
                    Code::CsrfRejected,
                ],
            ],
            ..base("signUp", "Sign-up", "POST", "/signup")
        },
        Operation {
            summary: "Mail another link and code",
            description: "The old ones die. Guesses of the code are not refilled.",
            body: body(
                schemas.add::<signup::ResendRequest>(),
                false,
                json!({ "app": { "value": { "signup_id": SECRET } }, "browser": { "value": {} } }),
            ),
            answers: vec![
                Answer::new(StatusCode::ACCEPTED, "A mail is on its way, if there is such a sign-up.")
                    .json(schemas.add::<signup::ResendResponse>()),
            ],
            codes: vec![BODY, &[Code::RateLimited, Code::CsrfRejected]],
            ..base("resend", "Sign-up", "POST", "/signup/resend")
        },
        Operation {
            summary: "The page that the mailed link opens",
            description: "Whose account it is about, a button that posts, and a password field where the cookie of the \
                sign-up is missing; once the sign-up is completed, the way to the app. It changes nothing.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![
                Answer::new(StatusCode::OK, "The page, in English or Korean by `Accept-Language`.").html(),
                Answer::new(StatusCode::BAD_REQUEST, "A page that says that the link is not one of ours.").html(),
            ],
            ..base("showVerification", "Sign-up", "GET", "/verify")
        },
        Operation {
            summary: "Whether the mailed link is one of ours",
            description: "As GET, without the page: what mail programs ask first.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![Answer::new(StatusCode::OK, "It is."), Answer::new(StatusCode::BAD_REQUEST, "It is not.")],
            ..base("checkVerification", "Sign-up", "HEAD", "/verify")
        },
        Operation {
            summary: "Make a sign-up an account, and sign in",
            description: "A proof is good for one session. The very same request within ten minutes is answered with that \
                session again, as its answer may have been lost.",
            body: Some((
                json!({
                    "application/json": { "schema": verify_request, "examples": {
                        "code in an app": { "value": { "signup_id": SECRET, "code": "12345678", "client": "app" } },
                        "code in the browser that signed up": { "value": { "code": "12345678" } },
                        "link opened by the app": { "value": { "signup_id": SECRET, "token": SECRET, "client": "app" } },
                        "link opened elsewhere": { "value": { "token": SECRET, "password": "correct horse battery" } },
                    } },
                    "application/x-www-form-urlencoded": { "schema": verify_form },
                }),
                true,
            )),
            answers: vec![
                session_response(StatusCode::CREATED, "Signed in."),
                Answer::new(StatusCode::SEE_OTHER, "Signed in, by the page's form.")
                    .header("Location", "`AppUrl`.")
                    .header("Set-Cookie", SET_COOKIES),
            ],
            codes: vec![
                BODY,
                &[
                    Code::InvalidUsername,
                    Code::WeakPassword,
                    Code::InvalidVerification,
                    Code::ConfirmationRequired,
                    Code::InvalidCredentials,
                    Code::EmailTaken,
                    Code::UsernameTaken,
                    Code::RateLimited,
                    Code::CsrfRejected,
                ],
            ],
            has_page: true,
            ..base("verify", "Sign-up", "POST", "/verify")
        },
        Operation {
            summary: "Mail what lets its reader set a new password",
            description: "A link and a code of 8 digits, where there is an account; an address without one gets a mail that \
                says so. The answer is the same for whatever name or address.",
            body: body(
                schemas.add::<password_forgot::ForgotRequest>(),
                true,
                json!({
                    "browser": { "value": { "email": "ann@example.com" } },
                    "app": { "value": { "username": "ann", "locale": "ko", "client": "app" } },
                }),
            ),
            answers: vec![
                Answer::new(StatusCode::ACCEPTED, "A mail is on its way, if there is anybody to mail.")
                    .json(schemas.add::<password_forgot::ForgotResponse>())
                    .header("Set-Cookie", "For browsers: `__Host-reset`, which holds the `reset_id`."),
            ],
            codes: vec![BODY, &[Code::InvalidUsername, Code::InvalidEmail, Code::RateLimited, Code::CsrfRejected]],
            ..base("forgotPassword", "Password", "POST", "/password/forgot")
        },
        Operation {
            summary: "The page that the mailed link opens",
            description: "Whose password it is about, and one field for the new one; once that is set, the way to the app. \
                It changes nothing.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![
                Answer::new(StatusCode::OK, "The page, in English or Korean by `Accept-Language`.").html(),
                Answer::new(StatusCode::BAD_REQUEST, "A page that says that the link is not one of ours.").html(),
            ],
            ..base("showReset", "Password", "GET", "/password/reset")
        },
        Operation {
            summary: "Whether the mailed link is one of ours",
            description: "As GET, without the page: what mail programs ask first.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![Answer::new(StatusCode::OK, "It is."), Answer::new(StatusCode::BAD_REQUEST, "It is not.")],
            ..base("checkReset", "Password", "HEAD", "/password/reset")
        },
        Operation {
            summary: "Set a new password",
            description: "By the mailed link's token, on any device, or by the mailed code on the device that asked. All \
                sessions of the account end, and nobody is signed in. The very same request within ten minutes, ten times at \
                most, is answered the same, as the first answer may have been lost.",
            body: Some((
                json!({
                    "application/json": { "schema": reset_request, "examples": {
                        "code in an app": { "value": {
                            "reset_id": SECRET, "code": "12345678", "password": "correct horse battery", "client": "app",
                        } },
                        "code in the browser that asked": { "value": {
                            "code": "12345678", "password": "correct horse battery",
                        } },
                        "link opened by the app": { "value": {
                            "token": SECRET, "password": "correct horse battery", "client": "app",
                        } },
                    } },
                    "application/x-www-form-urlencoded": { "schema": reset_form },
                }),
                true,
            )),
            answers: vec![
                Answer::new(StatusCode::OK, "The password is set, by an app.")
                    .json(schemas.add::<password_reset::ResetResponse>()),
                Answer::new(StatusCode::NO_CONTENT, "The password is set, by a browser.")
                    .header("Set-Cookie", "`__Host-device`, and `__Host-reset` removed, if it is of this reset."),
                Answer::new(StatusCode::SEE_OTHER, "The password is set, by the page's form.")
                    .header("Location", "`AppUrl`.")
                    .header("Set-Cookie", "`__Host-device`, and `__Host-reset` removed, if it is of this reset."),
            ],
            codes: vec![BODY, &[Code::WeakPassword, Code::InvalidVerification, Code::RateLimited, Code::CsrfRejected]],
            has_page: true,
            ..base("resetPassword", "Password", "POST", "/password/reset")
        },
        Operation {
            summary: "Sign in with a password",
            description: "Ends the session that the request came with.",
            body: body(
                schemas.add::<login::LoginRequest>(),
                true,
                json!({
                    "browser": { "value": { "email": "ann@example.com", "password": "correct horse battery" } },
                    "remembered": { "value": {
                        "username": "ann", "password": "correct horse battery", "remember": true,
                    } },
                    "app": { "value": { "username": "ann", "password": "correct horse battery", "client": "app" } },
                }),
            ),
            answers: vec![session_response(StatusCode::OK, "Signed in.")],
            codes: vec![BODY, &[Code::InvalidCredentials, Code::RateLimited, Code::CsrfRejected]],
            ..base("logIn", "Sessions", "POST", "/login")
        },
        Operation {
            summary: "Give the password again",
            description: "For routes that answer `reauthentication_required`: a new session, which is fresh, replaces the \
                one that asked. With an `Idempotency-Key` the same request is answered the same for ten minutes, while the \
                new session has never been refreshed.",
            is_protected: true,
            parameters: vec![idempotency_key()],
            body: body(
                schemas.add::<reauthenticate::ReauthenticateRequest>(),
                true,
                json!({ "password": { "value": { "password": "correct horse battery" } } }),
            ),
            answers: vec![session_response(StatusCode::OK, "The session that follows.")],
            codes: vec![BODY, CALLER, &[Code::TokenReused, Code::WrongPassword, Code::CsrfRejected]],
            ..base("reauthenticate", "Sessions", "POST", "/reauthenticate")
        },
        Operation {
            summary: "Change the password",
            description: "A new session replaces the one that asked, and all others of the user end. With an \
                `Idempotency-Key` the same request is answered the same for ten minutes, while the new session has never \
                been refreshed.",
            is_protected: true,
            parameters: vec![idempotency_key()],
            body: body(
                schemas.add::<reauthenticate::PasswordChangeRequest>(),
                true,
                json!({ "passwords": { "value": {
                    "password": "correct horse battery", "new_password": "seven quiet llamas",
                } } }),
            ),
            answers: vec![session_response(StatusCode::OK, "The session that follows.")],
            codes: vec![
                BODY,
                CALLER,
                &[Code::TokenReused, Code::WrongPassword, Code::WeakPassword, Code::CsrfRejected],
            ],
            ..base("changePassword", "Sessions", "POST", "/password/change")
        },
        Operation {
            summary: "Exchange a refresh credential for new tokens",
            description: "The credential is the body's `refresh` (apps), the refresh cookie (remembered browsers), or \
                the unexpired access token (browsers). A fresh random `Idempotency-Key` for each refresh, sent again \
                when the same refresh is repeated, makes a lost answer harmless.",
            parameters: vec![idempotency_key()],
            body: body(
                schemas.add::<refresh::RefreshRequest>(),
                false,
                json!({ "app": { "value": { "refresh": REFRESH } }, "browser": { "value": {} } }),
            ),
            answers: vec![session_response(StatusCode::OK, "New tokens, or a lost answer's again.")],
            codes: vec![BODY, CALLER, &[Code::TokenReused, Code::DuplicateRequest, Code::CsrfRejected]],
            ..base("refresh", "Sessions", "POST", "/refresh")
        },
        Operation {
            summary: "End the session, or all of the user's",
            description: "The credential is the body's `refresh`, the refresh cookie, or an access token, which may have \
                expired. Without one, and repeated, it is `204` too.",
            body: body(
                schemas.add::<logout::LogoutRequest>(),
                false,
                json!({
                    "app": { "value": { "refresh": REFRESH } },
                    "browser": { "value": {} },
                    "everywhere": { "value": { "everywhere": true } },
                }),
            ),
            answers: vec![Answer::new(StatusCode::NO_CONTENT, "Ended.").header("Set-Cookie", CLEARED_COOKIES)],
            codes: vec![BODY, CALLER, &[Code::CsrfRejected]],
            ..base("logOut", "Sessions", "POST", "/logout")
        },
        Operation {
            summary: "Ask for another address",
            description: "A link and a code go to the new address, a notice to the present one. Nothing changes before the new \
                one is confirmed. The answer is the same whether or not it has an account.",
            is_protected: true,
            body: body(
                schemas.add::<email_change::EmailChangeRequest>(),
                true,
                json!({ "address": { "value": { "email": "ann@example.org" } } }),
            ),
            answers: vec![
                Answer::new(StatusCode::ACCEPTED, "Mails are on their way.")
                    .json(schemas.add::<email_change::EmailChangeResponse>()),
            ],
            codes: vec![
                BODY,
                CALLER,
                &[
                    Code::TokenReused,
                    Code::ReauthenticationRequired,
                    Code::InvalidEmail,
                    Code::RateLimited,
                    Code::CsrfRejected,
                ],
            ],
            ..base("changeEmail", "Account", "POST", "/email/change")
        },
        Operation {
            summary: "The page that the mailed link opens",
            description: "Which address of which account it is about, and a button that posts. It changes nothing.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![
                Answer::new(StatusCode::OK, "The page, in English or Korean by `Accept-Language`.").html(),
                Answer::new(StatusCode::BAD_REQUEST, "A page that says that the link is not one of ours.").html(),
            ],
            ..base("showEmailConfirmation", "Account", "GET", "/email/confirm")
        },
        Operation {
            summary: "Whether the mailed link is one of ours",
            description: "As GET, without the page: what mail programs ask first.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![Answer::new(StatusCode::OK, "It is."), Answer::new(StatusCode::BAD_REQUEST, "It is not.")],
            ..base("checkEmailConfirmation", "Account", "HEAD", "/email/confirm")
        },
        Operation {
            summary: "Confirm another address",
            description: "By the mailed link's token, or by `change_id` and the mailed code. The caller is signed in to the \
                account that asked. The very same request within ten minutes is answered the same.",
            is_protected: true,
            body: Some((
                json!({
                    "application/json": { "schema": schemas.add::<email_confirm::EmailConfirmRequest>(), "examples": {
                        "code": { "value": { "change_id": SECRET, "code": "12345678" } },
                        "link": { "value": { "token": SECRET } },
                    } },
                    "application/x-www-form-urlencoded": { "schema": token_form() },
                }),
                true,
            )),
            answers: vec![
                Answer::new(StatusCode::NO_CONTENT, "The address is changed."),
                Answer::new(StatusCode::SEE_OTHER, "The address is changed, by the page's form.")
                    .header("Location", "`AppUrl`."),
            ],
            codes: vec![
                BODY,
                CALLER,
                &[
                    Code::TokenReused,
                    Code::InvalidVerification,
                    Code::EmailTaken,
                    Code::RateLimited,
                    Code::CsrfRejected,
                ],
            ],
            has_page: true,
            ..base("confirmEmail", "Account", "POST", "/email/confirm")
        },
        Operation {
            summary: "The page that the mailed link opens",
            description: "Whose account it is, and a button that posts. It changes nothing.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![
                Answer::new(StatusCode::OK, "The page, in English or Korean by `Accept-Language`.").html(),
                Answer::new(StatusCode::BAD_REQUEST, "A page that says that the link is not one of ours.").html(),
            ],
            ..base("showEmailUndo", "Account", "GET", "/email/undo")
        },
        Operation {
            summary: "Whether the mailed link is one of ours",
            description: "As GET, without the page: what mail programs ask first.",
            parameters: vec![parameter("token", "query", false, "The link's token.")],
            answers: vec![Answer::new(StatusCode::OK, "It is."), Answer::new(StatusCode::BAD_REQUEST, "It is not.")],
            ..base("checkEmailUndo", "Account", "HEAD", "/email/undo")
        },
        Operation {
            summary: "Take a change of address back",
            description: "For whoever reads the mail at the address before, for seven days. It voids that change and all later \
                ones, ends all sessions, and mails a reset to the restored address. The very same request within ten minutes \
                is answered the same.",
            body: Some((
                json!({
                    "application/json": { "schema": schemas.add::<email_undo::EmailUndoRequest>(), "examples": {
                        "link": { "value": { "token": SECRET } },
                    } },
                    "application/x-www-form-urlencoded": { "schema": token_form() },
                }),
                true,
            )),
            answers: vec![
                Answer::new(StatusCode::NO_CONTENT, "The address is restored."),
                Answer::new(StatusCode::SEE_OTHER, "The address is restored, by the page's form.")
                    .header("Location", "`AppUrl`."),
            ],
            codes: vec![BODY, &[Code::InvalidVerification, Code::CsrfRejected]],
            has_page: true,
            ..base("undoEmail", "Account", "POST", "/email/undo")
        },
        Operation {
            summary: "Who is signed in",
            description: "A browser session past half of its access token's life is extended.",
            is_protected: true,
            answers: vec![
                Answer::new(StatusCode::OK, "The user and the session.")
                    .json(schemas.add::<me::MeResponse>())
                    .header("Set-Cookie", EXTENDED_COOKIES),
            ],
            codes: vec![CALLER],
            ..base("me", "Sessions", "GET", "/me")
        },
        Operation {
            summary: "Change the user's name or language",
            description: "A browser's cookie `username` is renewed; access tokens have the name before until the session \
                is next refreshed or extended. The same request again is answered the same.",
            is_protected: true,
            body: body(
                schemas.add::<profile::ProfileRequest>(),
                false,
                json!({
                    "name": { "value": { "username": "ann.lee" } },
                    "language": { "value": { "locale": "ko" } },
                }),
            ),
            answers: vec![
                Answer::new(StatusCode::OK, "The user as they are now, and the session.")
                    .json(schemas.add::<profile::ProfileResponse>())
                    .header("Set-Cookie", "In browser sessions, with a name: `username`."),
            ],
            codes: vec![BODY, CALLER, FRESH, &[Code::InvalidUsername, Code::UsernameTaken, Code::CsrfRejected]],
            ..base("changeProfile", "Account", "PATCH", "/me")
        },
        Operation {
            summary: "Delete the account",
            description: "With name, address and all sessions. Repeated it is `session_ended`: the account is gone. While a \
                change of address may still be taken back nobody can sign in any more, and the account is deleted when \
                that has lapsed.",
            is_protected: true,
            answers: vec![Answer::new(StatusCode::NO_CONTENT, "Deleted.").header("Set-Cookie", CLEARED_COOKIES)],
            codes: vec![CALLER, FRESH, &[Code::CsrfRejected]],
            ..base("deleteAccount", "Account", "DELETE", "/me")
        },
        Operation {
            summary: "Everything that is held about the user",
            description: "Without what proves or opens something: the password's hash, MACs, hashes of keys.",
            is_protected: true,
            answers: vec![
                Answer::new(StatusCode::OK, "A file to keep.")
                    .json(schemas.add::<export::ExportResponse>())
                    .header("Content-Disposition", "`attachment`, with a name for the file.")
                    .header("Set-Cookie", EXTENDED_COOKIES),
            ],
            codes: vec![CALLER, FRESH],
            ..base("exportAccount", "Account", "GET", "/me/export")
        },
        Operation {
            summary: "Where the user is signed in",
            description: "The last used session first.",
            is_protected: true,
            answers: vec![
                Answer::new(StatusCode::OK, "The sessions.").json(schemas.add::<sessions::SessionsResponse>()),
            ],
            codes: vec![CALLER, &[Code::CsrfRejected]],
            ..base("listSessions", "Sessions", "GET", "/sessions")
        },
        Operation {
            summary: "End one of the user's sessions",
            description: "Whoever ends the current one is logged out.",
            is_protected: true,
            parameters: vec![parameter("id", "path", true, "The session's id.")],
            answers: vec![
                Answer::new(StatusCode::NO_CONTENT, "Ended, or there was no such session.")
                    .header("Set-Cookie", CLEARED_COOKIES),
            ],
            codes: vec![CALLER, &[Code::CsrfRejected]],
            ..base("endSession", "Sessions", "DELETE", "/sessions/{id}")
        },
        Operation {
            summary: "The public keys that verify access tokens",
            answers: vec![
                Answer::new(StatusCode::OK, "A key set (RFC 7517).")
                    .json(schemas.add::<jwks::KeySet>())
                    .header("Cache-Control", "Five minutes."),
            ],
            ..base("keys", "Keys", "GET", "/.well-known/jwks.json")
        },
        Operation {
            summary: "Who issues tokens, and where the keys are",
            answers: vec![
                Answer::new(StatusCode::OK, "What OpenID Connect Discovery 1.0 has of it.")
                    .json(schemas.add::<jwks::Configuration>())
                    .header("Cache-Control", "Five minutes."),
            ],
            ..base("configuration", "Keys", "GET", "/.well-known/openid-configuration")
        },
    ]
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "At least 128 random bits: a UUID, say.",
        "schema": { "type": "string", "minLength": 22, "maxLength": 255, "pattern": "^[!-+\\--~]+$" },
        "example": "0b4f6f0a-7d0e-4b7e-9d5c-6a2f3f1f9c1e",
    })
}

fn parameter(name: &str, place: &str, required: bool, description: &str) -> Value {
    json!({
        "name": name, "in": place, "required": required, "description": description, "schema": { "type": "string" },
    })
}

impl Operation {
    fn describe(&self, problem: &Value) -> Value {
        let mut responses = Map::new();
        for answer in &self.answers {
            let mut response = json!({ "description": answer.description });
            if let Some((media_type, schema)) = &answer.content {
                response["content"] = json!({ *media_type: { "schema": schema } });
            }
            for (name, description) in &answer.headers {
                response["headers"][name] = json!({ "description": description, "schema": { "type": "string" } });
            }
            responses.insert(answer.status.as_str().to_owned(), response);
        }
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in self.codes.iter().copied().chain([ANYTIME]).flatten() {
            by_status.entry(code.status().as_u16()).or_default().push(*code);
        }
        for (status, codes) in by_status {
            responses.insert(status.to_string(), self.describe_problem(problem, &codes));
        }
        let mut operation = json!({
            "operationId": self.id, "tags": [self.tag], "summary": self.summary, "responses": responses,
        });
        if !self.description.is_empty() {
            operation["description"] = json!(self.description);
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = json!(self.parameters);
        }
        if let Some((content, required)) = &self.body {
            operation["requestBody"] = json!({ "required": required, "content": content });
        }
        if self.is_protected {
            operation["security"] = json!([{ "bearer": [] }, { "cookie": [] }]);
        }
        operation
    }

    /// The errors of one status, each as it really is.
    fn describe_problem(&self, problem: &Value, codes: &[Code]) -> Value {
        let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let examples: Map<String, Value> =
            codes.iter().map(|code| (code.as_str().to_owned(), example(*code))).collect();
        let mut response = json!({
            "description": names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            "content": { "application/problem+json": {
                "schema": { "allOf": [problem, { "properties": { "code": { "enum": names } } }] },
                "examples": examples,
            } },
        });
        if self.has_page {
            response["content"]["text/html"] = json!({ "schema": { "type": "string" } });
        }
        let mut header = |name: &str, description: &str| {
            response["headers"][name] = json!({ "description": description, "schema": { "type": "string" } });
        };
        if codes.iter().any(|code| matches!(code, Code::RateLimited | Code::Unavailable)) {
            header("Retry-After", "Seconds after which to try again.");
        }
        if self.is_protected && codes.contains(&Code::TokenMissing) {
            header("WWW-Authenticate", "`Bearer` (RFC 6750).");
        }
        if codes.contains(&Code::TokenReused) && !self.is_protected {
            header("Set-Cookie", "With `token_reused`: whoever brought cookies is rid of all four.");
        }
        response
    }
}

/// The body of an error.
fn example(code: Code) -> Value {
    let response = Problem::new(code).into_response("JKJaXmPLvHcESHA=");
    json!({ "value": serde_json::from_slice::<Value>(response.body()).unwrap_or_default() })
}

/// The form of a page with nothing but a button.
fn token_form() -> Value {
    json!({ "type": "object", "properties": { "token": { "type": "string" } }, "required": ["token"] })
}
