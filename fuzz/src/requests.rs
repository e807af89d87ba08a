//! Whole requests to every route, through `lambda_http`'s codec, the functions, and a database.
//!
//! An input is a request much as HTTP/1.1 writes it: `POST /login?query`, headers, an empty line, a body. `{access}` and the
//! like stand for what the person of [`World`] has, so that what lies behind a session or a mailed link is met too.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;
use shared::http::Code;

use crate::world::{self, World};

/// What every answer of ours carries.
const HEADERS: [&str; 4] = ["cache-control", "content-security-policy", "referrer-policy", "x-content-type-options"];

struct Asked {
    folder: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    path_parameters: BTreeMap<String, String>,
}

/// Whatever is sent, the answer is one of ours, of a documented form, and no fault.
pub(crate) fn requests(data: &[u8]) {
    world::with(|world| {
        let Some(asked) = read(data, world) else { return };
        let headers: Vec<(&str, &str)> =
            asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut event = world.event(&asked.method, &asked.path, &asked.query, &headers, &asked.body);
        event["pathParameters"] = serde_json::json!(asked.path_parameters);
        let answer = world.invoke(&asked.folder, event).unwrap_or_else(|error| panic!("{error}"));
        assert_is_ours(&answer, &asked);
        // What it knew may have been used up.
        if data.contains(&b'{') {
            world.sign_in_again();
        }
    });
}

fn read(data: &[u8], world: &World) -> Option<Asked> {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &b""[..]),
    };
    let head = fill(&String::from_utf8_lossy(head), world);
    let body = match std::str::from_utf8(body) {
        Ok(text) => fill(text, world).into_bytes(),
        Err(_) => body.to_vec(),
    };
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (folder, path_parameters) = world.routes.iter().find_map(|route| {
        let parameters = (route.method == method).then(|| parameters(&route.path, path))??;
        Some((route.folder.clone(), parameters))
    })?;
    // API Gateway and HTTP itself let nothing else through.
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&byte);
    let is_query = |byte: u8| byte.is_ascii_graphic() && !b"#<>\"\\^`{}|".contains(&byte);
    if !path.bytes().all(is_path) || !query.bytes().all(is_query) {
        return None;
    }
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        // A header's bytes come as the characters of their numbers.
        let is_value = value.chars().all(|c| matches!(c, '\t' | ' '..='~' | '\u{80}'..='\u{ff}'));
        // API Gateway writes it itself; lambda_http would panic at one that is no scheme.
        let is_own = name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("x-forwarded-proto");
        (is_name && is_value && !is_own).then(|| (name.to_owned(), value.trim().to_owned()))
    });
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    Some(Asked { folder, method, path, query, headers: headers.collect(), body, path_parameters })
}

fn fill(text: &str, world: &World) -> String {
    world.known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The path parameters of a route, where it is the path's.
fn parameters(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (parts, segments) = (pattern.split('/'), path.split('/'));
    if parts.clone().count() != segments.clone().count() {
        return None;
    }
    let mut parameters = BTreeMap::new();
    for (part, segment) in parts.zip(segments) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => {
                let decoded = percent_decode_str(segment).decode_utf8_lossy().into_owned();
                parameters.insert(name.to_owned(), decoded);
            }
            None if part == segment => {}
            _ => return None,
        }
    }
    Some(parameters)
}

fn header<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let many = &answer["multiValueHeaders"][name][0];
    answer["headers"][name].as_str().or_else(|| many.as_str())
}

fn assert_is_ours(answer: &Value, asked: &Asked) {
    let status = answer["statusCode"].as_u64().expect("a status");
    assert!(status < 500, "{answer}");
    for name in HEADERS {
        assert!(header(answer, name).is_some(), "no {name}: {answer}");
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        let name = cookie.as_str().and_then(|cookie| cookie.split('=').next()).unwrap_or_default();
        assert!(["access", "refresh", "signup", "reset", "device", "username"].contains(&name), "{answer}");
    }
    let text = answer["body"].as_str().unwrap_or_default();
    let content_type = header(answer, "content-type").unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default() {
        "application/problem+json" => {
            let problem: Value = serde_json::from_str(text).expect("JSON");
            let code = Code::ALL.iter().find(|code| problem["code"] == code.as_str());
            assert_eq!(code.map(|code| u64::from(code.status().as_u16())), Some(status), "{answer}");
        }
        "application/json" => assert!(status < 400 && serde_json::from_str::<Value>(text).is_ok(), "{answer}"),
        "text/html" => assert_no_markup_of(text, asked),
        "" => assert!(text.is_empty() && status < 400, "{answer}"),
        other => panic!("{other}: {answer}"),
    }
}

/// No page holds, as its own elements, what came in the query or the form.
fn assert_no_markup_of(page: &str, asked: &Asked) {
    let values = form_urlencoded::parse(asked.query.as_bytes()).chain(form_urlencoded::parse(&asked.body));
    for (name, value) in values {
        for typed in [name, value] {
            // Less than this may stand in the page itself.
            let is_markup = typed.contains(['<', '"']) && typed.chars().count() > 40;
            assert!(!is_markup || !page.contains(&*typed), "{typed}: {page}");
        }
    }
}
