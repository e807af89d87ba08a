//! What API Gateway does, done by the local gateway: routes, preflight, hosts, and the pages of the local stack.

use local::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::authorizer::with_ping;
use crate::harness::{Answer, Call, Person, Stack, options};

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_are_not() {
    let stack = Stack::start().await;
    let client = stack.client();
    for (method, path) in [
        (Method::GET, "/nothing"),
        (Method::GET, "/login"),
        (Method::GET, "/signup"),
        (Method::PUT, "/login"),
        (Method::PUT, "/me"),
        (Method::POST, "/me"),
        (Method::POST, "/login/"),
        (Method::POST, "/LOGIN"),
        (Method::POST, "//login"),
        (Method::POST, "/login/x"),
        (Method::POST, "/signup/"),
        (Method::GET, "/.well-known/"),
        (Method::OPTIONS, "/login"),
    ] {
        let answer = client.request(method.clone(), path).send().await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        assert_eq!(answer.json(), json!({"message": "Not Found"}), "{method} {path}");
    }
}

fn preflight(call: Call, method: &str) -> Call {
    call.header("access-control-request-method", method).header("access-control-request-headers", "content-type")
}

fn allows(answer: &Answer, name: &str, wanted: &str) -> bool {
    let list = answer.header(name).unwrap_or_default().to_ascii_lowercase();
    list.split(',').any(|part| part.trim() == wanted.to_ascii_lowercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_for_allowed_origins_alone() {
    const APP: &str = "https://app.example.test";
    let stack = Stack::with(&[("AllowedOrigins", "https://app.example.test,https://other.example.test")]).await;
    let client = stack.client();
    for path in ["/login", "/refresh", "/logout", "/signup", "/me"] {
        let call = client.request(Method::OPTIONS, path).origin(Some(APP));
        let answer = preflight(call, "POST").send().await.expect(204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        for header in ["content-type", "authorization", "idempotency-key"] {
            assert!(allows(&answer, "access-control-allow-headers", header), "{header}: {:?}", answer.headers);
        }
        for method in ["GET", "POST"] {
            assert!(allows(&answer, "access-control-allow-methods", method), "{method}: {:?}", answer.headers);
        }
        let call = client.request(Method::OPTIONS, path).origin(Some("https://evil.test"));
        let answer = preflight(call, "POST").send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
    }
    // Actual answers too, refusals among them.
    let browser = stack.browser_at(APP);
    for answer in [
        browser.get("/me").origin(Some(APP)).send().await.expect(401),
        browser.post("/login").json(Person::named("nobody").login("browser")).send().await.expect(401),
    ] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("retry-after"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_origins_no_preflight() {
    let stack = Stack::start().await;
    let client = stack.client();
    let call = client.request(Method::OPTIONS, "/login").origin(Some("https://evil.test"));
    let answer = preflight(call, "POST").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_are_refused() {
    let stack = Stack::start().await;
    let port = stack.url().rsplit_once(':').expect("a port").1.to_owned();
    let client = stack.client();
    for path in ["/", "/me", "/_local/mail", "/_local/mail.json", "/.well-known/jwks.json"] {
        for host in ["evil.test", "evil.test:3000", "localhost.evil.test", "127.0.0.1.evil.test", "10.0.0.1"] {
            let answer = client.get(path).header("host", host).send().await;
            assert_eq!(answer.status, 403, "{path} {host}: {}", answer.text());
        }
    }
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        client.get("/.well-known/jwks.json").header("host", &host).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_led_to_localhost() {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let stack = Stack::start().await;
    let port = stack.url().rsplit_once(':').expect("a port").1.to_owned();
    let client = stack.client();
    for host in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        for path in ["/", "/_local/mail", "/_local/docs/", "/verify?token=a%20b&c=%2F", "/nothing"] {
            let answer = client.get(path).header("host", &host).header("accept", BROWSER).send().await.expect(307);
            assert_eq!(answer.header("location"), Some(format!("{}{path}", stack.url()).as_str()), "{host}");
        }
        for path in ["/", "/_local/mail", "/_local/docs/"] {
            client.get(path).header("host", &host).send().await.expect(307);
        }
        // Whatever is no page is answered there: apps and tools keep no cookies by origin.
        client.get("/.well-known/jwks.json").header("host", &host).header("accept", "*/*").send().await.expect(200);
        client.get("/_local/mail.json").header("host", &host).send().await.expect(200);
        let login = client.post("/login").json(Person::named("nobody").login("app"));
        login.header("host", &host).header("accept", BROWSER).send().await.expect(401);
    }
    for path in ["/", "/_local/mail"] {
        client.get(path).header("accept", BROWSER).send().await.expect(200);
    }
    client.get("/").header("host", "evil.test").header("accept", BROWSER).send().await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_host_is_served_where_it_was_given() {
    let stack = Stack::with_options(Options { host: Some("10.0.2.2".to_owned()), ..options(&[]) }).await;
    let port = stack.url().rsplit_once(':').expect("a port").1.to_owned();
    let host = format!("10.0.2.2:{port}");
    // Pages too, and they stay: whoever reaches that name may not reach localhost.
    for path in ["/", "/_local/mail", "/.well-known/jwks.json"] {
        stack.client().get(path).header("host", &host).header("accept", "text/html").send().await.expect(200);
    }
    for other in ["evil.test", "10.0.2.3", "10.0.2.2.evil.test"] {
        stack.client().get("/").header("host", &format!("{other}:{port}")).send().await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_local_stack() {
    let stack = Stack::start().await;
    let (_, mail) = stack.sign_up(&Person::named("alice")).await;
    for path in ["/", "/_local/mail"] {
        let page = stack.browser().get(path).send().await.expect(200);
        assert!(page.header("content-type").is_some_and(|value| value.starts_with("text/html")), "{path}");
    }
    let page = stack.browser().get("/_local/mail").send().await.expect(200).text();
    assert!(page.contains("alice@example.test") && page.contains(&mail.code()), "{page}");
    let answer = stack.client().get("/_local/mail.json").send().await.expect(200);
    assert!(answer.header("content-type").is_some_and(|value| value.starts_with("application/json")));
    let names: Vec<String> = answer.json()[0].as_object().expect("a mail").keys().cloned().collect();
    assert_eq!(names, ["from", "html", "id", "sent_at", "subject", "text", "to"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_shows_mails_without_running_them() {
    let stack = Stack::with(&[("ServiceName", "<script>alert(1)</script><img src=x>")]).await;
    stack.sign_up(&Person::named("alice")).await;
    let page = stack.browser().get("/_local/mail").send().await.expect(200).text();
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
    assert!(page.contains("sandbox") && page.contains("srcdoc="), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_is_not_readable_cross_origin() {
    let stack = Stack::with(&[("AllowedOrigins", "https://app.example.test")]).await;
    stack.sign_up(&Person::named("alice")).await;
    for origin in ["https://evil.test", "null"] {
        let answer = stack.client().get("/_local/mail.json").origin(Some(origin)).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_api_url_means_the_gateway_s_own() {
    let stack = Stack::with(&[("ApiUrl", "")]).await;
    let alice = Person::named("alice");
    let (_, mail) = stack.sign_up(&alice).await;
    // Taken from the event's domainName, never from a header; AWS's are always https.
    assert!(mail.link().contains("/verify?token="), "{}", mail.link());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_those_of_api_gateway() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let (_, app) = stack.person_with_session("alice").await;
    let call = stack.client().post("/echo/seven?a=1&a=2&b=%20c&d").bearer(&app.access).cookies("one=1; two=\"2\"");
    let call = call.header("X-Two", "1").header("X-Two", "2").header("sec-fetch-site", "same-origin");
    let event = call.json(json!({"a": "\u{e4}"})).send().await.expect(200).json();

    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("version"), text("routeKey")), ("2.0".to_owned(), "ANY /echo/{id}".to_owned()));
    assert_eq!((text("rawPath"), text("rawQueryString")), ("/echo/seven".to_owned(), "a=1&a=2&b=%20c&d".to_owned()));
    assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": " c", "d": ""}));
    assert_eq!(event["pathParameters"], json!({"id": "seven"}));
    assert_eq!(event["cookies"], json!(["one=1", "two=\"2\""]));
    let headers = event["headers"].as_object().expect("headers");
    assert!(headers.keys().all(|name| *name == name.to_lowercase() && name != "cookie"), "{headers:?}");
    assert_eq!((&headers["x-two"], &headers["content-type"]), (&json!("1,2"), &json!("application/json")));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{\"a\":\"\u{e4}\"}"), &json!(false)));

    let context = &event["requestContext"];
    assert_eq!(context["http"]["method"], "POST");
    assert_eq!((&context["http"]["path"], &context["http"]["protocol"]), (&json!("/echo/seven"), &json!("HTTP/1.1")));
    assert_eq!((&context["stage"], &context["routeKey"]), (&json!("$default"), &json!("ANY /echo/{id}")));
    assert_eq!(context["domainName"], stack.url().trim_start_matches("http://"));
    assert_eq!(context["time"], "01/Jan/2100:00:00:00 +0000");
    assert_eq!(context["timeEpoch"], 4_102_444_800_000_u64);
    assert_eq!(context["authorizer"]["lambda"]["userId"], app.user_id.as_str());
    for name in ["accountId", "apiId", "domainPrefix", "requestId"] {
        assert!(context[name].as_str().is_some_and(|value| !value.is_empty()), "{name}: {context}");
    }
    let address: std::net::IpAddr = context["http"]["sourceIp"].as_str().expect("an address").parse().expect("one");
    assert!(address.is_loopback());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_text_come_in_base64() {
    let stack = Stack::with_options(with_ping(&[])).await;
    let (_, app) = stack.person_with_session("alice").await;
    let echo = async |content_type: &str, body: &[u8]| -> Value {
        let call = stack.client().request(Method::PUT, "/echo/1").bearer(&app.access);
        call.header("content-type", content_type).body(body).send().await.expect(200).json()
    };
    let form = echo("application/x-www-form-urlencoded", b"a=b").await;
    assert_eq!((&form["body"], &form["isBase64Encoded"]), (&json!("YT1i"), &json!(true)));
    let image = echo("image/png", b"\x89PNG\xff").await;
    assert_eq!((&image["body"], &image["isBase64Encoded"]), (&json!("iVBOR/8="), &json!(true)));
    let text = echo("text/plain; charset=utf-8", b"a=b").await;
    assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("a=b"), &json!(false)));
    let none = stack.client().get("/echo/1").bearer(&app.access).send().await.expect(200).json();
    assert!(none["body"].is_null(), "{none}");
    assert!(none["cookies"].is_null() && none["queryStringParameters"].is_null(), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_are_events_apart() {
    let stack = std::sync::Arc::new(Stack::with_options(with_ping(&[])).await);
    let (_, app) = stack.person_with_session("alice").await;
    let echoes = crate::harness::at_once((0..24).map(|number| {
        let (stack, access) = (std::sync::Arc::clone(&stack), app.access.clone());
        async move {
            let path = format!("/echo/{number}");
            let event = stack.client().get(&path).bearer(&access).send().await.expect(200).json();
            assert_eq!(event["rawPath"], path.as_str());
            event["requestContext"]["requestId"].to_string()
        }
    }));
    let ids: std::collections::BTreeSet<String> = echoes.await.into_iter().collect();
    assert_eq!(ids.len(), 24);
}
