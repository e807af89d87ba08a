//! Genuine tokens with a few bytes changed: none is taken for a genuine one.
//!
//! The first byte says which token; then three bytes each are a change: how, where, and with what. Where the second byte is
//! 255, the rest is the token itself, as text.

use serde_json::{Value, json};
use shared::account::ProofSecret;

use crate::world::{self, World};

/// Which token, and what is asked with it.
const KINDS: [&str; 4] = ["{access}", "{refresh}", "{reset}", "{signup}"];

/// A changed token opens nothing, and ends nothing.
pub(crate) fn tokens(data: &[u8]) {
    let [kind, changes @ ..] = data else { return };
    let name = KINDS[usize::from(*kind) % KINDS.len()];
    world::with(|world| {
        let genuine = world.known[name].clone();
        let forged = match changes {
            [255, text @ ..] => String::from_utf8_lossy(text).into_owned(),
            changes => String::from_utf8_lossy(&changed(genuine.as_bytes(), changes)).into_owned(),
        };
        if is_same(name, &forged, &genuine) {
            return;
        }
        let answer = show(world, name, &forged);
        let status = answer["statusCode"].as_u64().expect("a status");
        assert!(matches!(status, 400 | 401), "{name} as {forged:?}: {answer}");
        assert!(world.is_signed_in(), "{name} as {forged:?} has ended the session");
    });
}

/// What is pasted with a mailed secret is passed over, and so is a bearer's surroundings.
fn is_same(name: &str, forged: &str, genuine: &str) -> bool {
    match name {
        "{reset}" | "{signup}" => ProofSecret::parse(forged) == ProofSecret::parse(genuine),
        _ => forged.trim() == genuine,
    }
}

fn changed(token: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut token = token.to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(change[1]) * (token.len() + 1) / 256;
        match (change[0] % 5, at < token.len()) {
            (0, true) => token[at] = change[2],
            (1, true) => token[at] ^= 1 << (change[2] % 8),
            (2, true) => drop(token.remove(at)),
            (3, _) => token.insert(at, change[2]),
            _ => token.truncate(at),
        }
    }
    token
}

/// Asks for what the genuine one would open.
fn show(world: &World, name: &str, token: &str) -> Value {
    let is_header = |c: char| matches!(c, ' '..='~' | '\u{80}'..='\u{ff}');
    let json = [("content-type", "application/json")];
    let post = |folder: &str, path: &str, body: Value| {
        world.invoke(folder, world.event("POST", path, "", &json, body.to_string().as_bytes()))
    };
    let answer = match name {
        "{access}" if token.chars().all(is_header) => {
            let bearer = format!("Bearer {token}");
            world.invoke("me", world.event("GET", "/me", "", &[("authorization", &bearer)], b""))
        }
        "{reset}" => {
            post("password-reset", "/password/reset", json!({"token": token, "password": "eight loud llamas"}))
        }
        "{signup}" => {
            post("verify", "/verify", json!({"token": token, "signup_id": world.known["{signup_id}"], "client": "app"}))
        }
        _ => post("refresh", "/refresh", json!({"refresh": token})),
    };
    answer.unwrap_or_else(|error| panic!("{error}"))
}
