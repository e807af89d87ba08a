//! Forged tokens. Some carry a genuine signature, by the private key read from the table: what they say is still wrong.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::keys::StolenKey;
use crate::harness::{AppSession, Stack, jwt_part};

/// A stack, its signing key, and a genuine session whose tokens the forger has seen.
struct Forger {
    stack: Stack,
    key: StolenKey,
    session: AppSession,
    header: Value,
    claims: Value,
}

impl Forger {
    async fn start() -> Self {
        let stack = Stack::with_database(&[]).await;
        let (_, session) = stack.person_with_session("alice").await;
        let key = StolenKey::of(&stack).await;
        let (header, claims) = (jwt_part(&session.access, 0), jwt_part(&session.access, 1));
        // The signature that the test makes is a genuine one, so that only the changes below are refused.
        let again = key.sign(&header.to_string(), &claims.to_string());
        stack.me(&again).await.expect(200);
        Self { stack, key, session, header, claims }
    }

    fn header_with(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.key.sign(&header.to_string(), &self.claims.to_string())
    }

    fn header_without(&self, name: &str) -> String {
        let mut header = self.header.clone();
        header.as_object_mut().expect("an object").remove(name);
        self.key.sign(&header.to_string(), &self.claims.to_string())
    }

    fn claims_with(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.key.sign(&self.header.to_string(), &claims.to_string())
    }

    fn claims_without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().expect("an object").remove(name);
        self.key.sign(&self.header.to_string(), &claims.to_string())
    }

    /// Asserts that nobody takes the token, as a bearer or as a cookie.
    async fn refused(&self, what: &str, token: &str) {
        let me = self.stack.me(token).await;
        assert_eq!((me.status, me.code().as_str()), (401, "token_invalid"), "{what}: {token}");
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
        if printable {
            let browser = self.stack.browser();
            let cookie = format!("access={token}");
            let answer = browser.post("/refresh").cookies(&cookie).send().await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"), "{what}, refresh: {token}");
        }
        let logout = self.stack.client().post("/logout").bearer(token).send().await;
        assert_eq!((logout.status, logout.code().as_str()), (401, "token_invalid"), "{what}, logout: {token}");
    }

    /// Asserts that nothing of it hurt the genuine session.
    async fn unharmed(&self) {
        self.stack.me(&self.session.access).await.expect(200);
        self.stack.refresh(&self.session.refresh, None).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_others() {
    let forger = Forger::start().await;
    let message = |header: &Value| {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(header), part(&forger.claims))
    };
    let with_alg = |alg: &str| {
        let mut header = forger.header.clone();
        header["alg"] = json!(alg);
        header
    };
    let signature = forger.session.access.rsplit_once('.').expect("a signature").1.to_owned();

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let message = message(&with_alg(alg));
        forger.refused("no algorithm, no signature", &format!("{message}.")).await;
        forger.refused("no algorithm, two parts", &message).await;
        forger.refused("no algorithm, a signature", &format!("{message}.{signature}")).await;
    }

    // The public key as a shared secret, in every form that a library may hold it in.
    let coordinate = |name: &str| {
        let text = forger.key.public[name].as_str().expect("a coordinate").to_owned();
        BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")
    };
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let der_prefix = BASE64_STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").expect("base64");
    let der = [der_prefix, point.clone()].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(&der));
    let jwks = forger.stack.client().get("/.well-known/jwks.json").send().await.expect(200).body;
    for secret in [point, der, pem.into_bytes(), forger.key.public.to_string().into_bytes(), jwks, Vec::new()] {
        for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            let message = message(&with_alg(name));
            let key = EncodingKey::from_secret(&secret);
            let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).expect("a MAC");
            forger.refused("the public key as a secret", &format!("{message}.{mac}")).await;
        }
    }

    // A genuine key pair of somebody else, with and without our key's name.
    let other = Stack::with_database(&[]).await;
    other.person("alice").await;
    let other_key = StolenKey::of(&other).await;
    let mut theirs = forger.header.clone();
    theirs["kid"] = json!(other_key.kid);
    for header in [&forger.header, &theirs] {
        let token = other_key.sign(&header.to_string(), &forger.claims.to_string());
        forger.refused("another key pair", &token).await;
    }
    for member in ["jwk", "jku", "x5u", "x5c"] {
        for mut header in [forger.header.clone(), theirs.clone()] {
            header[member] = match member {
                "jwk" => other_key.public.clone(),
                "x5c" => json!(["MIIB"]),
                _ => json!(format!("{}/.well-known/jwks.json", other.url())),
            };
            let token = other_key.sign(&header.to_string(), &forger.claims.to_string());
            forger.refused(member, &token).await;
        }
    }

    // Zeros, the "psychic signature" of CVE-2022-21449, and wrong lengths.
    let genuine = forger.session.access.rsplit_once('.').expect("a signature").0.to_owned();
    for bytes in [vec![0; 64], vec![0; 63], vec![0; 65], vec![255; 64], vec![1; 32], vec![0; 96], vec![]] {
        let token = format!("{genuine}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        forger.refused("a signature of no number", &token).await;
    }
    forger.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_we_never_write() {
    let forger = Forger::start().await;
    for alg in ["ES384", "ES512", "RS256", "PS256", "EdDSA", "es256", "HS256", "none"] {
        forger.refused("alg", &forger.header_with("alg", json!(alg))).await;
    }
    for alg in [json!(null), json!(["ES256"]), json!(256)] {
        forger.refused("alg", &forger.header_with("alg", alg)).await;
    }
    for kid in [
        json!("unknown"),
        json!(""),
        json!("k".repeat(4000)),
        json!("../../etc/passwd"),
        json!("' OR 1=1"),
        json!(format!("{}\u{0}", forger.key.kid)),
        json!(forger.key.kid.to_uppercase() + "x"),
        json!(null),
        json!(7),
        json!([forger.key.kid]),
        json!({"kid": forger.key.kid}),
    ] {
        forger.refused("kid", &forger.header_with("kid", kid)).await;
    }
    for typ in ["JWT", "jwt", "rt+jwt", "id_token", "", "application/json"] {
        forger.refused("typ", &forger.header_with("typ", json!(typ))).await;
    }
    for (name, value) in [
        ("jwk", forger.key.public.clone()),
        ("jku", json!(format!("{}/.well-known/jwks.json", forger.stack.url()))),
        ("x5u", json!("https://evil.test/cert")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
    ] {
        forger.refused(name, &forger.header_with(name, value)).await;
    }
    for name in ["alg", "kid", "typ"] {
        forger.refused("a member is missing", &forger.header_without(name)).await;
    }
    let claims = forger.claims.to_string();
    let kid = &forger.key.kid;
    for header in [
        format!(r#"{{"alg":"none","alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"ES256","alg":"ES256","kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"ES256","kid":"x","kid":"{kid}","typ":"at+jwt"}}"#),
        format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt"}} x"#),
        format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"at+jwt""#),
        format!(r#"["ES256","{kid}","at+jwt"]"#),
        "null".to_owned(),
        String::new(),
        format!("{}{}", "[".repeat(2000), "]".repeat(2000)),
    ] {
        forger.refused("a header that is none", &forger.key.sign(&header, &claims)).await;
    }
    forger.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_we_never_make() {
    let forger = Forger::start().await;
    let exp = forger.claims["exp"].as_u64().expect("a time");
    // Without the key, any change breaks the signature.
    let parts: Vec<&str> = forger.session.access.split('.').collect();
    for (name, value) in
        [("exp", json!(exp + 1)), ("sub", json!("somebody")), ("username", json!("root")), ("gen", json!(2))]
    {
        let mut claims = forger.claims.clone();
        claims[name] = value;
        let changed = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        forger.refused(name, &format!("{}.{changed}.{}", parts[0], parts[2])).await;
    }
    // With the key, what is not of our form is still refused.
    for value in [
        json!(exp.to_string()),
        json!(null),
        json!(-1),
        json!(true),
        json!([exp]),
        json!({"$gt": 0}),
        json!(0.5),
        json!("never"),
        json!(1e300),
    ] {
        forger.refused("exp", &forger.claims_with("exp", value)).await;
    }
    let huge = forger.claims.to_string().replace(&exp.to_string(), "99999999999999999999999999");
    forger.refused("a huge exp", &forger.key.sign(&forger.header.to_string(), &huge)).await;
    for name in ["exp", "iss", "aud", "sub", "sid", "gen", "kind"] {
        forger.refused("a claim is missing", &forger.claims_without(name)).await;
        forger.refused("a claim of another type", &forger.claims_with(name, json!({"a": 1}))).await;
    }
    let url = forger.stack.url();
    for (name, value) in [
        ("iss", json!("https://evil.test")),
        ("iss", json!(format!("{url}/"))),
        ("iss", json!("")),
        ("aud", json!("https://evil.test")),
        ("aud", json!([])),
        ("aud", json!(["https://evil.test"])),
        ("kind", json!("refresh")),
        ("kind", json!("")),
        ("gen", json!(-1)),
        ("gen", json!("1")),
        ("gen", json!(1.5)),
        ("gen", json!(u64::MAX)),
        ("sub", json!("")),
        ("sub", json!("../USER#x")),
        ("sid", json!("")),
        ("sid", json!("x".repeat(3000))),
        ("auth_time", json!("now")),
        ("auth_time", json!(-1)),
        ("amr", json!("pwd")),
        ("amr", json!(["retina scan"])),
    ] {
        forger.refused(name, &forger.claims_with(name, value)).await;
    }
    let claims = forger.claims.to_string();
    let twice = claims.replacen('{', r#"{"sub":"somebody","#, 1);
    let twice_same = claims.replacen('{', &format!(r#"{{"exp":{exp},"#), 1);
    for text in [twice, twice_same, format!("[{claims}]"), format!("{claims}x"), "null".to_owned(), String::new()] {
        forger.refused("claims that are none", &forger.key.sign(&forger.header.to_string(), &text)).await;
    }
    let invalid = [&[0xff, 0xfe][..], claims.as_bytes()].concat();
    let message = format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(forger.header.to_string()),
        BASE64_URL_SAFE_NO_PAD.encode(invalid)
    );
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &forger.key.encoding, Algorithm::ES256);
    forger.refused("claims in no UTF-8", &format!("{message}.{}", signature.expect("a signature"))).await;
    forger.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_token_of_a_session_or_user_that_is_not() {
    let forger = Forger::start().await;
    let stack = &forger.stack;
    let (_, other) = stack.person_with_session("bob").await;
    // Alice's session under Bob's name, and the other way round: the table knows no such session.
    for (name, value) in [("sub", &other.user_id), ("sid", &other.session_id)] {
        let token = forger.claims_with(name, json!(value));
        stack.me(&token).await.expect_problem(401, "session_ended");
    }
    // A generation of the future rotates nothing and raises no alarm.
    let alice = crate::harness::Person::named("alice");
    let browser = stack.signed_in(&alice).await;
    let claims = jwt_part(&browser.cookie("access").expect("a cookie"), 1);
    let mut ahead = claims.clone();
    ahead["gen"] = json!(7);
    let token = forger.key.sign(&forger.header.to_string(), &ahead.to_string());
    let answer = stack.browser().post("/refresh").cookies(&format!("access={token}")).send().await;
    answer.expect_problem(401, "session_ended").expect_no_cookies();
    browser.post("/refresh").send().await.expect(200);
    forger.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_of_a_genuine_token() {
    let forger = Forger::start().await;
    let genuine = &forger.session.access;
    let parts: Vec<&str> = genuine.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{genuine}") };
    for token in [
        format!("{genuine}="),
        format!("{genuine}=="),
        format!("{genuine}A"),
        format!("{genuine}AAAA"),
        format!("{genuine}."),
        format!("{genuine}.{signature}"),
        format!("{genuine}.."),
        format!(".{genuine}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}=.{signature}"),
        format!("{header}..{signature}"),
        format!("..{signature}"),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        header.to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        format!("{header}.{claims}.{}", &signature[..signature.len() - 1]),
        format!("{genuine}%3D"),
        format!("{genuine}\t"),
        "a".repeat(6000),
        format!("{}.{claims}.{signature}", "e".repeat(6000)),
    ] {
        // A header's value ends before trailing white space (RFC 9110 §5.5): that one is the genuine token.
        if token.trim_end() == genuine {
            continue;
        }
        forger.refused("another spelling", &token).await;
    }
    // The last character of 64 bytes in base64url carries four unused bits.
    let last = signature.chars().last().expect("a character");
    for other in ('A'..='Z').filter(|other| *other != last).take(8) {
        let token = format!("{header}.{claims}.{}{other}", &signature[..signature.len() - 1]);
        forger.refused("unused bits", &token).await;
    }
    forger.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_refresh_tokens() {
    let forger = Forger::start().await;
    let (stack, genuine) = (&forger.stack, &forger.session.refresh);
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&genuine[3..]).expect("base64url");
    let token = |bytes: &[u8]| format!("rt_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let mut wrong = Vec::new();
    // One bit in every byte: version, key id, user, session, generation, MAC.
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        wrong.push(token(&changed));
    }
    wrong.push(token(&[&bytes[..], &[0]].concat()));
    wrong.push(token(&bytes[..bytes.len() - 1]));
    wrong.push(token(&[]));
    wrong.extend([
        format!("{genuine}="),
        format!("{genuine}A"),
        format!("{genuine}."),
        format!(" {genuine}"),
        genuine[3..].to_owned(),
        genuine.replacen("rt_", "RT_", 1),
        genuine.replacen("rt_", "rt_rt_", 1),
        String::new(),
        "rt_".to_owned(),
        "x".repeat(5000),
    ]);
    for token in &wrong {
        let answer = stack.refresh(token, None).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "token_invalid"), "{token}: {}", answer.text());
    }
    // A genuine one of another deployment.
    let other = Stack::start().await;
    let (_, theirs) = other.person_with_session("alice").await;
    stack.refresh(&theirs.refresh, None).await.expect_problem(401, "token_invalid");
    stack.me(&theirs.access).await.expect_problem(401, "token_invalid");
    forger.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgeries_cost_the_database_nothing() {
    let stack = Stack::with_proxy(&[]).await;
    let (_, session) = stack.person_with_session("alice").await;
    stack.me(&session.access).await.expect(200);
    stack.refresh(&session.refresh, None).await.expect(200);
    stack.client().post("/logout").json(json!({"refresh": "rt_x"})).send().await;
    // The first unknown key may be looked up once: another instance could have made it.
    let unknown = |number: u8| {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&session.refresh[3..]).expect("base64url");
        bytes[1] ^= number;
        format!("rt_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    };
    let unknown_kid = |number: u8| {
        let parts: Vec<&str> = session.access.split('.').collect();
        let mut header = jwt_part(&session.access, 0);
        header["kid"] = json!(format!("unknown{number}"));
        format!("{}.{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()), parts[1], parts[2])
    };
    stack.refresh(&unknown(1), None).await.expect_problem(401, "token_invalid");
    stack.me(&unknown_kid(1)).await.expect_problem(401, "token_invalid");
    stack.proxy().reset();
    for number in 2..12 {
        stack.refresh(&unknown(number), None).await.expect_problem(401, "token_invalid");
        stack.me(&unknown_kid(number)).await.expect_problem(401, "token_invalid");
        stack.refresh(&format!("{}A", session.refresh), None).await.expect_problem(401, "token_invalid");
        stack.me(&format!("{}A", session.access)).await.expect_problem(401, "token_invalid");
    }
    assert_eq!(stack.proxy().cost().operations, [] as [String; 0]);
}
