//! How calls of AWS travel: by HTTP/1.1 over TLS, on connections that stay open for the next call.
//!
//! hyper speaks HTTP and rustls TLS; what is decided here is which connection a call takes. The SDK's own HTTP client
//! serves any host, through proxies and by HTTP/2 too, which each start paid for (docs/decisions/0014-connections.md).

use std::io;
use std::net::ToSocketAddrs;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use lambda_http::http::uri::{PathAndQuery, Scheme};
use lambda_http::http::{Request, Response, StatusCode, Uri};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

/// How long it may take until a connection is open.
const OPENING: Duration = Duration::from_secs(1);

/// How long a connection may lie idle: services and what is on the way to them forget it after minutes without a word.
const IDLENESS: Duration = Duration::from_secs(90);

/// Connections to services. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    tls: TlsConnector,
    /// Those that no request goes over. The one that was used last is the last.
    kept: Mutex<Vec<Connection>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("connections")
    }
}

/// What takes the requests of a connection.
type Sender = SendRequest<Full<Bytes>>;

/// A connection that is open.
struct Connection {
    origin: Origin,
    sender: Sender,
    used: Instant,
}

impl Connection {
    /// Whether it may serve another call.
    fn is_alive(&self) -> bool {
        !self.sender.is_closed() && self.used.elapsed() < IDLENESS
    }
}

/// Where requests go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute address.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let is_secure = uri.scheme() != Some(&Scheme::HTTP);
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        // A name of TLS, and of a resolver, is without the brackets of a literal address.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        Some(Self { is_secure, host: host.to_owned(), port })
    }

    /// As the SDK signs it: the port where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        let Self { is_secure, host, port } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match (is_secure, port) {
            (true, 443) | (false, 80) => host,
            _ => format!("{host}:{port}"),
        }
    }
}

impl Connections {
    /// None yet; those to come trust these roots alone.
    ///
    /// # Panics
    /// When a root cannot be read.
    pub(super) fn new(roots: &[u8]) -> Self {
        let mut store = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots) {
            store.add(root.expect("a certificate in PEM")).expect("a root");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(cryptography()))
            .with_safe_default_protocol_versions()
            .expect("suites for the versions of TLS")
            .with_root_certificates(store)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        Self(Arc::new(Shared { tls, kept: Mutex::default() }))
    }

    /// Opens a connection for a call to come.
    pub(super) async fn open_ahead(&self, origin: &Origin) -> Result<(), BoxError> {
        let mut connection = self.open(origin).await.map_err(|failure| failure.source)?;
        connection.sender.ready().await?;
        self.keep(connection);
        Ok(())
    }

    /// The whole answer to a request, which goes to `origin` and names nothing but a path.
    pub(super) async fn send(&self, origin: &Origin, request: Request<Bytes>) -> Result<Response<Bytes>, SendFailure> {
        let mut request = request.map(Full::new);
        loop {
            let kept = self.take(origin);
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.open(origin).await?,
            };
            let response = match connection.sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    // It was closed meanwhile, and nothing of the request was sent.
                    Some(unsent) if was_kept => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(error.into_error().into()),
                },
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            if !is_trouble(head.status) {
                self.keep(connection);
            }
            return Ok(Response::from_parts(head, body));
        }
    }

    /// The connection to `origin` that was used last of those that are free.
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(Connection::is_alive);
        let place = kept.iter().rposition(|kept| kept.origin == *origin && kept.sender.is_ready())?;
        Some(kept.remove(place))
    }

    fn keep(&self, mut connection: Connection) {
        connection.used = Instant::now();
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn open(&self, origin: &Origin) -> Result<Connection, SendFailure> {
        match tokio::time::timeout(OPENING, self.connect(origin)).await {
            Ok(Ok(sender)) => Ok(Connection { origin: origin.clone(), sender, used: Instant::now() }),
            Ok(Err(error)) => Err(SendFailure { source: error.into(), may_pass: true }),
            Err(elapsed) => Err(SendFailure { source: elapsed.into(), may_pass: true }),
        }
    }

    /// A new connection. It is made on the heap, as what is under way is large, and most calls need none.
    fn connect<'a>(&'a self, origin: &'a Origin) -> Pin<Box<dyn Future<Output = io::Result<Sender>> + Send + 'a>> {
        Box::pin(async move {
            // On this thread, as the only request that an instance serves has nothing else to do: a thread for it costs
            // more than the answer. The local stack has addresses, not names.
            let addresses: Vec<_> = (origin.host.as_str(), origin.port).to_socket_addrs()?.collect();
            let stream = TcpStream::connect(addresses.as_slice()).await?;
            stream.set_nodelay(true)?;
            let stream = if origin.is_secure {
                let name = ServerName::try_from(origin.host.clone()).map_err(io::Error::other)?;
                Either::Left(self.0.tls.connect(name, stream).await?)
            } else {
                Either::Right(stream)
            };
            speak(stream).await
        })
    }
}

/// Begins with HTTP.
fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Pin<Box<dyn Future<Output = io::Result<Sender>> + Send>> {
    Box::pin(async {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Whoever waits for an answer is told why there is none.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    })
}

/// For clients of the SDK, which the local stack makes its tables with.
impl HttpConnector for Connections {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connections = self.clone();
        HttpConnectorFuture::new(async move {
            let origin = request.uri().parse().ok().and_then(|uri| Origin::of(&uri));
            let origin = origin.ok_or_else(|| ConnectorError::user("a request without a host".into()))?;
            let mut request = addressed(request, &origin).map_err(ConnectorError::user)?;
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();
            let response = connections.send(&origin, request).await;
            let response = response.map_err(|failure| ConnectorError::io(failure.source))?;
            HttpResponse::try_from(response.map(SdkBody::from)).map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

/// A request of the SDK's as it goes to `origin`; an error when its body is not in memory.
pub(super) fn addressed(request: HttpRequest, origin: &Origin) -> Result<Request<Bytes>, BoxError> {
    let (mut head, body) = request.try_into_http1x()?.into_parts();
    head.headers.insert(HOST, HeaderValue::from_str(&origin.authority())?);
    let body = body.bytes().ok_or("a body that is not in memory")?;
    Ok(Request::from_parts(head, Bytes::copy_from_slice(body)))
}

/// AWS-LC with the suites that the SDK's own client offers, but of each pair first the one that takes less CPU:
/// processors have instructions for SHA-256, few for SHA-384.
fn cryptography() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384,
    };
    let cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

/// Whether an answer speaks of trouble on the server's side: another attempt may go well, over another connection.
pub(super) fn is_trouble(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct SendFailure {
    pub(super) source: BoxError,
    /// Whether another attempt is worth it.
    pub(super) may_pass: bool,
}

impl From<hyper::Error> for SendFailure {
    fn from(error: hyper::Error) -> Self {
        // Words that are none of HTTP's would come again, and so would mistakes of our own.
        let may_pass = !error.is_user() && !error.is_parse();
        Self { source: error.into(), may_pass }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Barrier;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::aws::AMAZON_ROOTS;
    use crate::aws::tests::read_request;

    /// A server on this machine.
    #[derive(Clone)]
    struct Server {
        port: u16,
        /// How many connections were opened.
        opened: Arc<AtomicUsize>,
        /// The certificate that it shows, in PEM.
        certificate: String,
        /// The suite and the key exchange of each connection.
        agreed: Arc<Mutex<Vec<String>>>,
    }

    /// What a server does.
    #[derive(Clone)]
    struct Manners {
        is_secure: bool,
        /// What it thinks of each request.
        status: &'static str,
        /// It closes a connection after so many answers.
        answers: Option<usize>,
        /// It waits for so many requests before it answers.
        gate: Option<Arc<Barrier>>,
        /// It says this to a request, and no more.
        says: Option<&'static str>,
    }

    impl Default for Manners {
        fn default() -> Self {
            Self { is_secure: false, status: "200 OK", answers: None, gate: None, says: None }
        }
    }

    impl Server {
        async fn start(manners: Manners) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
            let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![certified.cert.der().clone()], key)
                .expect("a configuration");
            let port = listener.local_addr().expect("an address").port();
            let server =
                Self { port, opened: Arc::default(), certificate: certified.cert.pem(), agreed: Arc::default() };
            let (tls, started) = (TlsAcceptor::from(Arc::new(config)), server.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    server.opened.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(server.clone().converse(stream, tls.clone(), manners.clone()));
                }
            });
            started
        }

        async fn converse(self, stream: TcpStream, tls: TlsAcceptor, manners: Manners) {
            if !manners.is_secure {
                return answer(stream, manners).await;
            }
            let Ok(stream) = tls.accept(stream).await else { return };
            let connection = stream.get_ref().1;
            let suite = connection.negotiated_cipher_suite().expect("a suite").suite();
            let exchange = connection.negotiated_key_exchange_group().expect("a key exchange").name();
            self.agreed.lock().expect("a list").push(format!("{suite:?} {exchange:?}"));
            answer(stream, manners).await;
        }

        fn opened(&self) -> usize {
            self.opened.load(Ordering::Relaxed)
        }

        fn url(&self, scheme: &str, host: &str) -> String {
            format!("{scheme}://{host}:{}/path?query", self.port)
        }

        /// Connections that trust it.
        fn connections(&self) -> Connections {
            Connections::new(self.certificate.as_bytes())
        }
    }

    /// Answers each request with its own head.
    async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, manners: Manners) {
        let mut stream = tokio::io::BufStream::new(stream);
        for _ in 0..manners.answers.unwrap_or(usize::MAX) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            if let Some(gate) = &manners.gate {
                gate.wait().await;
            }
            if let Some(words) = manners.says {
                stream.write_all(words.as_bytes()).await.expect("a caller");
                return stream.flush().await.expect("a caller");
            }
            let length = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n\r\n", manners.status, head.len());
            stream.write_all(&[length.as_bytes(), &head].concat()).await.expect("a caller");
            stream.flush().await.expect("a caller");
        }
    }

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().expect("an address")).expect("an origin")
    }

    fn request(url: &str) -> Request<Bytes> {
        let url: Uri = url.parse().expect("an address");
        let path = url.path_and_query().expect("a path").as_str();
        Request::get(path).header(HOST, origin(&url.to_string()).authority()).body(Bytes::new()).expect("a request")
    }

    /// The head of the request, as the server received it.
    async fn call(connections: &Connections, url: &str) -> Result<String, SendFailure> {
        send(connections, url, request(url)).await
    }

    async fn send(connections: &Connections, url: &str, request: Request<Bytes>) -> Result<String, SendFailure> {
        let response = connections.send(&origin(url), request).await?;
        Ok(String::from_utf8(response.into_body().to_vec()).expect("a head"))
    }

    #[tokio::test]
    async fn a_connection_serves_call_after_call() {
        let server = Server::start(Manners::default()).await;
        let (connections, url) = (server.connections(), server.url("http", "127.0.0.1"));
        for _ in 0..3 {
            let head = call(&connections, &url).await.expect("an answer");
            assert_eq!(head, format!("GET /path?query HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", server.port));
        }
        assert_eq!(server.opened(), 1);
    }

    #[tokio::test]
    async fn calls_at_the_same_time_take_a_connection_each() {
        let gate = Some(Arc::new(Barrier::new(2)));
        let server = Server::start(Manners { gate, ..Manners::default() }).await;
        let (connections, url) = (server.connections(), server.url("http", "127.0.0.1"));
        for _ in 0..2 {
            let (one, other) = tokio::join!(call(&connections, &url), call(&connections, &url));
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        }
        assert_eq!(server.opened(), 2);
    }

    #[tokio::test]
    async fn a_long_answer_comes_whole_and_its_connection_serves_the_next_call() {
        let server = Server::start(Manners::default()).await;
        let (connections, url) = (server.connections(), server.url("http", "127.0.0.1"));
        let mut long = request(&url);
        // More than is read at once.
        long.headers_mut().insert("x-long", "a".repeat(300_000).parse().expect("a value"));
        assert!(send(&connections, &url, long).await.expect("an answer").len() > 300_000);
        call(&connections, &url).await.expect("an answer");
        assert_eq!(server.opened(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_followed_by_another() {
        let server = Server::start(Manners { answers: Some(1), ..Manners::default() }).await;
        let (connections, url) = (server.connections(), server.url("http", "127.0.0.1"));
        for calls in 1..=3 {
            call(&connections, &url).await.expect("an answer");
            assert_eq!(server.opened(), calls);
            while connections.0.kept.lock().expect("a list").iter().any(Connection::is_alive) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn what_a_closed_connection_did_not_take_goes_over_another() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (close, closing) = std::sync::mpsc::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let accept = || listener.accept().expect("a caller").0;
            let mut signal = accept();
            let first = accept();
            answer_once(&first);
            closing.recv().expect("the test");
            drop(first);
            io::Write::write_all(&mut signal, b"!").expect("the test");
            tell.send(()).expect("the test");
            answer_once(&accept());
        });
        let mut signal = TcpStream::connect(address).await.expect("a server");
        let (connections, url) = (Connections::new(AMAZON_ROOTS), format!("http://{address}/"));
        call(&connections, &url).await.expect("an answer");
        close.send(()).expect("the server");
        // Nothing on this thread has seen the end yet. The signal wakes the test and the connection's task, the test
        // first.
        told.recv().expect("the server");
        signal.read_u8().await.expect("the signal");
        assert!(connections.0.kept.lock().expect("a list").iter().all(Connection::is_alive));
        call(&connections, &url).await.expect("an answer");
        server.join().expect("two calls");
    }

    fn answer_once(mut stream: &std::net::TcpStream) {
        read_request(&mut io::BufReader::new(stream));
        io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("a caller");
    }

    #[tokio::test]
    async fn a_connection_whose_answer_speaks_of_trouble_is_given_up() {
        for (status, opened) in [("400 Bad Request", 1), ("500 Internal Server Error", 2), ("503 Slow Down", 2)] {
            let server = Server::start(Manners { status, ..Manners::default() }).await;
            let (connections, url) = (server.connections(), server.url("http", "127.0.0.1"));
            for _ in 0..2 {
                call(&connections, &url).await.expect("an answer");
            }
            assert_eq!(server.opened(), opened, "{status}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_long_idle_is_given_up() {
        let server = Server::start(Manners::default()).await;
        let (connections, url) = (server.connections(), server.url("http", "127.0.0.1"));
        for (idle, opened) in [(Duration::ZERO, 1), (IDLENESS / 2, 1), (IDLENESS, 2)] {
            tokio::time::pause();
            tokio::time::advance(idle).await;
            tokio::time::resume();
            call(&connections, &url).await.expect("an answer");
            assert_eq!(server.opened(), opened, "after {idle:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_opened_ahead_serves_the_first_call() {
        let server = Server::start(Manners { is_secure: true, ..Manners::default() }).await;
        let (connections, url) = (server.connections(), server.url("https", "localhost"));
        connections.open_ahead(&origin(&url)).await.expect("a connection");
        assert_eq!(server.opened(), 1);
        call(&connections, &url).await.expect("an answer");
        assert_eq!(server.opened(), 1);
    }

    #[tokio::test]
    async fn tls_is_of_the_fast_suite_and_withstands_later_computers() {
        let server = Server::start(Manners { is_secure: true, ..Manners::default() }).await;
        call(&server.connections(), &server.url("https", "localhost")).await.expect("an answer");
        assert_eq!(*server.agreed.lock().expect("a list"), ["TLS13_AES_128_GCM_SHA256 X25519MLKEM768"]);
    }

    #[tokio::test]
    async fn a_server_must_prove_its_name_by_a_root_that_is_trusted() {
        let server = Server::start(Manners { is_secure: true, ..Manners::default() }).await;
        let (ours, localhost) = (server.connections(), server.url("https", "localhost"));
        let other_name = server.url("https", "127.0.0.1");
        for (connections, url, because) in
            [(&Connections::new(AMAZON_ROOTS), &localhost, "UnknownIssuer"), (&ours, &other_name, "NotValidForName")]
        {
            let error = call(connections, url).await.expect_err("no proof");
            assert!(error.may_pass, "{error:?}");
            assert!(format!("{error:?}").contains(because), "{error:?}");
        }
        assert!(server.agreed.lock().expect("a list").is_empty());
        assert!(call(&ours, &localhost).await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_worth_another_attempt_and_one_that_is_none_is_not() {
        for (says, may_pass) in [
            ("", true),
            ("HTTP/1.1 200 OK\r\ncontent-le", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", true),
            ("220 mail.example.com ESMTP\r\n\r\n", false),
        ] {
            let server = Server::start(Manners { says: Some(says), ..Manners::default() }).await;
            let error = call(&server.connections(), &server.url("http", "127.0.0.1")).await.expect_err("no answer");
            assert_eq!(error.may_pass, may_pass, "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_worth_another_attempt() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        drop(listener);
        let error = call(&Connections::new(AMAZON_ROOTS), &url).await.expect_err("nobody");
        assert!(error.may_pass && error.source.is::<io::Error>(), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up() {
        // The kernel takes the connection, and nobody ever answers to TLS.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}/", listener.local_addr().expect("an address"));
        let started = Instant::now();
        let error = call(&Connections::new(AMAZON_ROOTS), &url).await.expect_err("silence");
        assert!(error.may_pass && error.source.is::<tokio::time::error::Elapsed>(), "{error:?}");
        assert_eq!(started.elapsed(), OPENING);
    }

    #[test]
    fn a_host_is_named_as_it_is_signed() {
        for (address, authority) in [
            ("https://dynamodb.eu-central-1.amazonaws.com/", "dynamodb.eu-central-1.amazonaws.com"),
            ("https://dynamodb.eu-central-1.amazonaws.com:443/", "dynamodb.eu-central-1.amazonaws.com"),
            ("http://127.0.0.1:80/", "127.0.0.1"),
            ("http://127.0.0.1:443/", "127.0.0.1:443"),
            ("https://[::1]:8000/", "[::1]:8000"),
        ] {
            let uri = address.parse().expect("an address");
            assert_eq!(Origin::of(&uri).expect("an origin").authority(), authority);
        }
    }
}
