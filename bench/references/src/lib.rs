//! The Lambda Runtime API with nothing but the standard library, as the floor.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::TcpStream;

/// What the environment says, for programs that have no configuration.
///
/// # Panics
/// When it is not set.
#[expect(clippy::disallowed_methods, reason = "a reference is no function of ours")]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// Answers invocations, one after the other, for ever.
pub fn serve(mut handle: impl FnMut(&[u8]) -> Result<Vec<u8>>) -> Result<()> {
    let api = variable("AWS_LAMBDA_RUNTIME_API");
    let mut connection = BufReader::new(TcpStream::connect(&api)?);
    connection.get_ref().set_nodelay(true)?;
    loop {
        let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {api}\r\n\r\n");
        connection.get_mut().write_all(next.as_bytes())?;
        let (headers, event) = read_message(&mut connection)?;
        let id = header(&headers, "lambda-runtime-aws-request-id").ok_or_else(|| Error::other("no request id"))?;
        let answer = handle(&event)?;
        let mut response = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: {api}\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        )
        .into_bytes();
        response.extend_from_slice(&answer);
        connection.get_mut().write_all(&response)?;
        read_message(&mut connection)?;
    }
}

/// An HTTP/1.1 message with a length: its head and its body.
pub fn read_message(connection: &mut impl BufRead) -> Result<(String, Vec<u8>)> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if connection.read_line(&mut head)? == 0 {
            return Err(Error::other("the connection was closed"));
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((head, body))
}

/// A header of a message's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The answer of a reference: what API Gateway takes.
pub const ANSWER: &[u8] = br#"{"statusCode":200,"headers":{"content-type":"application/json"},"body":"{}"}"#;
