//! What each system writes of a user (docs/import.md; samples in local/tests/import).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::account::{PasswordHash, Status, User};
use shared::clock::Timestamp;
use shared::password_hasher::{FirebaseParameters, ImportedHash, UnusableHash};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Format, Refusal};

/// What is taken of a user.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The id at the source.
    pub(crate) id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) is_verified: bool,
    pub(crate) username: Option<String>,
    pub(crate) status: Status,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) locale: Option<String>,
    pub(crate) roles: Vec<String>,
    /// `None` where there is no password.
    pub(crate) hash: Option<Result<ImportedHash, UnusableHash>>,
}

/// Reads an element of a file; `None` for one that is no user.
type Reader = Box<dyn Fn(Value) -> Result<Option<Row>, Refusal> + Send>;

/// The reader of a format.
pub(crate) fn reader(format: &Format) -> Reader {
    match format {
        Format::Latchkey => Box::new(latchkey),
        Format::Django => Box::new(|value| django(&value)),
        Format::Firebase(parameters) => {
            let parameters = parameters.clone();
            Box::new(move |value| Ok(Some(firebase(&value, &parameters))))
        }
        Format::Auth0 => Box::new(|value| Ok(Some(auth0(&value)))),
        Format::Cognito => Box::new(|value| Ok(Some(cognito(&value)))),
        Format::Supabase => Box::new(|value| supabase(&value)),
        Format::Keycloak => Box::new(|value| Ok(keycloak(&value))),
    }
}

/// Our own lines, field by field: what is not known is refused, so that a slip of the pen loses nothing.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    id: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    username: Option<String>,
    status: Option<String>,
    locale: Option<String>,
    created_at: Option<Value>,
    #[serde(default)]
    roles: Vec<String>,
    password_hash: Option<String>,
}

/// The line of a user, whose address is verified; `None` of one who is being deleted.
pub fn line_of(user: &User, hash: &PasswordHash) -> Option<Line> {
    (user.status != Status::Deleting).then(|| Line {
        id: Some(user.id.to_string()),
        email: Some(user.email.as_str().to_owned()),
        email_verified: true,
        username: Some(user.username.as_str().to_owned()),
        status: Some(user.status.as_str().to_owned()),
        locale: Some(user.locale.as_str().to_owned()),
        created_at: Some(Value::String(user.created_at.to_string())),
        roles: user.roles.iter().map(str::to_owned).collect(),
        password_hash: Some(hash.expose().to_owned()),
    })
}

fn latchkey(value: Value) -> Result<Option<Row>, Refusal> {
    let malformed = |what: &str| Refusal::Malformed(what.to_owned());
    // Its error quotes what it finds, which may be a hash.
    let line: Line = serde_json::from_value(value).map_err(|_| malformed("a field is unknown or of another type"))?;
    let status = match line.status.as_deref().map(Status::parse) {
        None => Status::Enabled,
        Some(Some(Status::Deleting)) => return Err(Refusal::Deleted),
        Some(Some(status)) => status,
        Some(None) => return Err(malformed("status is none of enabled, reset_required, disabled")),
    };
    let created_at = match line.created_at {
        None => None,
        Some(value) => Some(moment(&value).ok_or_else(|| malformed("created_at is no time"))?),
    };
    Ok(Some(Row {
        id: line.id,
        email: line.email,
        is_verified: line.email_verified,
        username: line.username,
        status,
        created_at,
        locale: line.locale,
        roles: line.roles,
        hash: line.password_hash.as_deref().map(ImportedHash::parse),
    }))
}

/// `auth.user` among whatever else was dumped. Django keeps no flag of verified addresses. Superusers get no role: what
/// a role means is the app's own.
fn django(value: &Value) -> Result<Option<Row>, Refusal> {
    let model = text(value, "model").ok_or_else(|| Refusal::Malformed("no model: is it a dumpdata?".to_owned()))?;
    if !model.eq_ignore_ascii_case("auth.user") {
        return Ok(None);
    }
    let fields = &value["fields"];
    Ok(Some(Row {
        id: value.get("pk").map(id_text),
        email: text(fields, "email"),
        username: text(fields, "username"),
        status: disabled_if(fields["is_active"] == false),
        created_at: moment(&fields["date_joined"]),
        // «!» and some random characters stand for no password.
        hash: text(fields, "password").filter(|hash| !hash.starts_with('!')).map(|hash| ImportedHash::parse(&hash)),
        ..Row::default()
    }))
}

fn firebase(value: &Value, parameters: &FirebaseParameters) -> Row {
    let hash = text(value, "passwordHash").map(|hash| {
        let salt = text(value, "salt").unwrap_or_default();
        ImportedHash::firebase(parameters, &salt, &hash)
    });
    Row {
        id: text(value, "localId"),
        email: text(value, "email"),
        is_verified: flag(value, "emailVerified"),
        status: disabled_if(flag(value, "disabled")),
        created_at: milliseconds(&value["createdAt"]),
        hash,
        ..Row::default()
    }
}

/// Of the export job and of the hashes that support hands out, joined or alone.
fn auth0(value: &Value) -> Row {
    let id = text(value, "user_id").or_else(|| text(&value["_id"], "$oid").map(|id| format!("auth0|{id}")));
    Row {
        id: id.or_else(|| text(value, "Id")),
        email: text(value, "email"),
        is_verified: flag(value, "email_verified"),
        username: text(value, "username"),
        status: disabled_if(flag(value, "blocked")),
        created_at: moment(&value["created_at"]),
        locale: text(value, "locale"),
        hash: text(value, "passwordHash")
            .or_else(|| text(value, "password_hash"))
            .map(|hash| ImportedHash::parse(&hash)),
        ..Row::default()
    }
}

/// Cognito exports no hashes. A user name that is a UUID is what it makes itself where people sign in by address.
fn cognito(value: &Value) -> Row {
    let name = text(value, "cognito:username");
    let own = name.clone().filter(|name| !is_uuid(name));
    Row {
        id: name,
        email: text(value, "email"),
        is_verified: flag(value, "email_verified"),
        username: text(value, "preferred_username").or(own),
        locale: text(value, "locale"),
        ..Row::default()
    }
}

fn supabase(value: &Value) -> Result<Option<Row>, Refusal> {
    // Guests without an account.
    if flag(value, "is_anonymous") {
        return Ok(None);
    }
    if text(value, "deleted_at").is_some() {
        return Err(Refusal::Deleted);
    }
    Ok(Some(Row {
        id: text(value, "id"),
        email: text(value, "email"),
        is_verified: text(value, "email_confirmed_at").is_some(),
        status: disabled_if(text(value, "banned_until").is_some()),
        created_at: moment(&value["created_at"]),
        hash: text(value, "encrypted_password").map(|hash| ImportedHash::parse(&hash)),
        ..Row::default()
    }))
}

fn keycloak(value: &Value) -> Option<Row> {
    // What clients sign in as.
    if value.get("serviceAccountClientId").is_some() {
        return None;
    }
    let mut credentials = value["credentials"].as_array().into_iter().flatten();
    let password = credentials.find(|credential| credential["type"] == "password");
    let roles = value["realmRoles"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Those that everybody has.
    let is_own =
        |role: &&str| !role.starts_with("default-roles-") && !["offline_access", "uma_authorization"].contains(role);
    Some(Row {
        id: text(value, "id"),
        email: text(value, "email"),
        is_verified: flag(value, "emailVerified"),
        username: text(value, "username"),
        status: disabled_if(value["enabled"] == false),
        created_at: milliseconds(&value["createdTimestamp"]),
        locale: value["attributes"]["locale"][0].as_str().map(str::to_owned),
        roles: roles.filter(is_own).map(str::to_owned).collect(),
        hash: password.map(|password| keycloak_hash(password).unwrap_or(Err(UnusableHash::Unknown))),
    })
}

/// `secretData` and `credentialData` are JSON in JSON, and numbers among `additionalParameters` are lists of texts.
fn keycloak_hash(credential: &Value) -> Option<Result<ImportedHash, UnusableHash>> {
    let part = |name: &str| serde_json::from_str::<Value>(credential[name].as_str()?).ok();
    let (secret, data) = (part("secretData")?, part("credentialData")?);
    let (salt, value, algorithm) = (text(&secret, "salt")?, text(&secret, "value")?, text(&data, "algorithm")?);
    let iterations = data["hashIterations"].as_u64().and_then(|number| u32::try_from(number).ok())?;
    if algorithm != "argon2" {
        return Some(ImportedHash::pbkdf2(&algorithm, iterations, &salt, &value));
    }
    let more = |name: &str| data["additionalParameters"][name][0].as_str();
    let number = |name: &str| more(name)?.parse::<u32>().ok();
    if more("version")? != "1.3" {
        return Some(Err(UnusableHash::Unknown));
    }
    Some(ImportedHash::argon2(more("type")?, [number("memory")?, iterations, number("parallelism")?], &salt, &value))
}

/// A text that is there and not empty.
fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An id that may be a number.
fn id_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `true`, or how CSV writes it.
fn flag(value: &Value, name: &str) -> bool {
    match value.get(name) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => ["true", "t"].iter().any(|yes| text.trim().eq_ignore_ascii_case(yes)),
        _ => false,
    }
}

const fn disabled_if(is_disabled: bool) -> Status {
    if is_disabled { Status::Disabled } else { Status::Enabled }
}

/// RFC 3339, `PostgreSQL`'s form of it (`2023-04-05 06:07:08.123+00`), or seconds since 1970.
fn moment(value: &Value) -> Option<Timestamp> {
    if let Some(seconds) = value.as_u64() {
        return Some(Timestamp::from_unix(seconds));
    }
    let text = value.as_str()?.trim().replacen(' ', "T", 1);
    let text = match text.len().checked_sub(3).and_then(|at| text.split_at_checked(at)) {
        Some((_, zone)) if zone.starts_with(['+', '-']) => format!("{text}:00"),
        _ => text,
    };
    let moment = OffsetDateTime::parse(&text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp()).ok().map(Timestamp::from_unix)
}

/// Milliseconds since 1970, as a number or a text.
fn milliseconds(value: &Value) -> Option<Timestamp> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Timestamp::from_unix(number / 1000))
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_read_as_exporters_write_them() {
        let at = |value: Value| moment(&value).map(Timestamp::unix);
        assert_eq!(at(json!("2019-03-01T09:12:44.512Z")), Some(1_551_431_564));
        assert_eq!(at(json!("2023-04-05 06:07:08.123456+00")), Some(1_680_674_828));
        assert_eq!(at(json!("2023-04-05 06:07:08+00:00")), Some(1_680_674_828));
        assert_eq!(at(json!("2023-04-05T08:07:08+02:00")), Some(1_680_674_828));
        assert_eq!(at(json!(1_680_674_828)), Some(1_680_674_828));
        for nothing in
            [json!(null), json!(""), json!("yesterday"), json!(-1), json!("1960-01-01T00:00:00Z"), json!("é")]
        {
            assert_eq!(at(nothing.clone()), None, "{nothing}");
        }
        let at = |value: Value| milliseconds(&value).map(Timestamp::unix);
        assert_eq!(
            (at(json!("1551431564512")), at(json!(1_551_431_564_512_u64))),
            (Some(1_551_431_564), Some(1_551_431_564))
        );
    }

    #[test]
    fn only_users_are_read() {
        let is_left_out = |format: Format, value: Value| reader(&format)(value).expect("readable").is_none();
        assert!(is_left_out(Format::Django, json!({"model": "auth.group", "pk": 1, "fields": {}})));
        assert!(is_left_out(Format::Supabase, json!({"id": "1", "is_anonymous": true})));
        assert!(is_left_out(Format::Keycloak, json!({"id": "1", "serviceAccountClientId": "app"})));
        assert!(reader(&Format::Django)(json!([1])).is_err());
    }

    #[test]
    fn cognitos_own_names_are_none() {
        let name = |name: &str| cognito(&json!({"cognito:username": name})).username;
        assert_eq!(name("ann"), Some("ann".to_owned()));
        assert_eq!(name("5f0a7a3e-2f8e-4d1b-9c55-7d1c2b3a4e5f"), None);
    }
}
