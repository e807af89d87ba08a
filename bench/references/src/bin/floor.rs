//! Reference D: the runtime's loop, and one `GetItem` over TLS, signed by hand: the floor for a function with a database.

use std::io::{BufReader, Error, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use references::{ANSWER, read_message, serve, variable};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use shared::clock::Clock;
use time::OffsetDateTime;
use time::format_description::parse_borrowed;

type Connection = BufReader<StreamOwned<ClientConnection, TcpStream>>;

fn connect(host: &str) -> Result<Connection> {
    let mut roots = RootCertStore::empty();
    let bundle = CertificateDer::from_pem_file(variable("AWS_CA_BUNDLE")).map_err(Error::other)?;
    roots.add(bundle).map_err(Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.split(':').next().unwrap_or(host).to_owned()).map_err(Error::other)?;
    let tls = ClientConnection::new(Arc::new(config), name).map_err(Error::other)?;
    let socket = TcpStream::connect(host)?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(StreamOwned::new(tls, socket)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// A signed request (AWS Signature Version 4).
fn request(host: &str, region: &str, body: &str) -> Result<String> {
    let target = "DynamoDB_20120810.GetItem";
    let unix = i64::try_from(Clock::system().now().unix()).map_err(Error::other)?;
    let now = OffsetDateTime::from_unix_timestamp(unix).map_err(Error::other)?;
    let format = parse_borrowed::<2>("[year][month][day]T[hour][minute][second]Z").map_err(Error::other)?;
    let at = now.format(&format).map_err(Error::other)?;
    let day = &at[..8];
    let signed = "content-type;host;x-amz-date;x-amz-target";
    let canonical = format!(
        "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{host}\nx-amz-date:{at}\nx-amz-target:{target}\n\n\
         {signed}\n{}",
        sha256(body)
    );
    let scope = format!("{day}/{region}/dynamodb/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha256(&canonical));
    let secret = format!("AWS4{}", variable("AWS_SECRET_ACCESS_KEY"));
    let key =
        [region, "dynamodb", "aws4_request"].iter().fold(mac(secret.as_bytes(), day), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &to_sign));
    let id = variable("AWS_ACCESS_KEY_ID");
    Ok(format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-date: {at}\r\n\
         x-amz-target: {target}\r\nauthorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, \
         Signature={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn main() -> Result<()> {
    let endpoint = variable("AWS_ENDPOINT_URL_DYNAMODB");
    let host = endpoint.trim_start_matches("https://").to_owned();
    let (region, table) = (variable("AWS_REGION"), variable("TABLE_NAME"));
    let body = format!(
        r#"{{"TableName":"{table}","ConsistentRead":true,"Key":{{"pk":{{"S":"USERNAME#ann"}},"sk":{{"S":"USERNAME"}}}}}}"#
    );
    let mut connection: Option<Connection> = None;
    serve(|_| {
        let open = match &mut connection {
            Some(open) => open,
            None => connection.insert(connect(&host)?),
        };
        open.get_mut().write_all(request(&host, &region, &body)?.as_bytes())?;
        let (head, answer) = read_message(open)?;
        if !head.starts_with("HTTP/1.1 200") || answer.is_empty() {
            return Err(Error::other(head));
        }
        Ok(ANSWER.to_vec())
    })
}
