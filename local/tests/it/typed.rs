//! What people type and paste, and what they choose: names, addresses, passwords, codes, and the JSON around them.

use serde_json::{Value, json};

use crate::harness::{Answer, Person, Stack};

type Paste = fn(&str) -> String;

async fn signup(stack: &Stack, body: &Value) -> Answer {
    stack.client().post("/signup").json(body.clone()).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_takes_what_was_pasted() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for email in [
        "alice@example.test ",
        "\u{feff}Alice@Example.Test\n",
        "\u{200b}alice@example.test\u{a0}",
        "<alice@example.test>",
        "mailto:alice@example.test",
    ] {
        let body = json!({"email": email, "password": alice.password, "client": "app"});
        let answer = stack.client().post("/login").json(body).send().await;
        assert_eq!(answer.status, 200, "{email:?}: {}", answer.text());
    }
    for username in [" alice", "ALICE\t", "\u{202a}alice\u{202c}", "ａｌｉｃｅ"] {
        let body = json!({"username": username, "password": alice.password, "client": "app"});
        let answer = stack.client().post("/login").json(body).send().await;
        assert_eq!(answer.status, 200, "{username:?}: {}", answer.text());
    }
    // Of a password nothing is lost.
    for password in [format!("{} ", alice.password), format!("\u{200b}{}", alice.password)] {
        let body = json!({"username": "alice", "password": password, "client": "app"});
        stack.client().post("/login").json(body).send().await.expect_problem(401, "invalid_credentials");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_taken_as_it_was_pasted() {
    let stack = Stack::start().await;
    let pastes: [(&str, Paste); 4] = [
        ("anna", |code| format!("{code}\n")),
        ("bela", |code| format!("\u{feff}{}\u{a0}{}\u{200b}", &code[..4], &code[4..])),
        ("cleo", |code| format!("{}.{}", &code[..4], &code[4..])),
        ("dora", |code| code.bytes().filter_map(|c| char::from_u32(0x660 + u32::from(c - b'0'))).collect()),
    ];
    for (name, paste) in pastes {
        let (signup_id, mail) = stack.sign_up(&Person::named(name)).await;
        let signup_id = format!(" {signup_id}\r\n");
        let body = json!({"signup_id": signup_id, "code": paste(&mail.code()), "client": "app"});
        let answer = stack.verify(body).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_have_one_owner() {
    let stack = Stack::start().await;
    for (owner, others) in [
        ("scope", &["ѕсоре", "SCOPE", "sc0pe"][..]),
        ("limes11", &["Iimes11", "limesll", "LIMES11"]),
        ("கண்ணன்", &[]),
        ("ต้น", &[]),
    ] {
        let mut person = Person::named("owner");
        owner.clone_into(&mut person.username);
        person.email = format!("{}@example.test", owner.len());
        let (signup_id, mail) = stack.sign_up(&person).await;
        let body = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
        let answer = stack.verify(body).await.expect(201);
        assert_eq!(answer.json()["user"]["username"], owner);
        for other in others {
            let mut stranger = Person::named("stranger");
            (*other).clone_into(&mut stranger.username);
            signup(&stack, &stranger.signup("app")).await.expect_problem(409, "username_taken");
        }
    }
    for username in ["..a", "a..b", "ann.", "_ann", "annж", "аdmin"] {
        let mut stranger = Person::named("stranger");
        username.clone_into(&mut stranger.username);
        signup(&stack, &stranger.signup("app")).await.expect_problem(422, "invalid_username");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_speaks_for_the_service_is_nobody_s() {
    let stack = Stack::with(&[("ServiceName", "Blue Door"), ("ReservedUsernames", "founder, 설립자")]).await;
    let (signup_id, mail) = stack.sign_up(&Person::named("ann")).await;
    for username in
        ["admin", "AdmIn", "admın", "supp0rt-team", "Blue.Door", "founder", "FOUNDER_1", "설립자", "latchkey"]
    {
        let mut body = Person::named("stranger").signup("app");
        body["username"] = json!(username);
        let answer = signup(&stack, &body).await;
        assert_eq!(answer.json()["detail"], "the user name is reserved", "{username}: {}", answer.text());
        answer.expect_problem(422, "invalid_username");
        let proof = json!({"signup_id": signup_id, "token": mail.token(), "username": username, "client": "app"});
        stack.verify(proof).await.expect_problem(422, "invalid_username");
    }
    // Refused for its name alone: the sign-up is as it was.
    let proof = json!({"signup_id": signup_id, "token": mail.token(), "username": "annfounder", "client": "app"});
    let answer = stack.verify(proof).await.expect(201);
    assert_eq!(answer.json()["user"]["username"], "annfounder");
    // Elsewhere those are names as any.
    let stack = Stack::start().await;
    for username in ["founder", "bluedoor"] {
        signup(&stack, &Person::named(username).signup("app")).await.expect(202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_after_the_password_is_not_the_password() {
    let stack = Stack::start().await;
    for (index, (password, names)) in [
        ("marie.curie", &["marie.curie", "Marie.Curie"][..]),
        ("Marie.Curie", &["Marie.Curie"]),
        ("marie.curie2026", &["marie.curie"]),
    ]
    .into_iter()
    .enumerate()
    {
        let person = Person { password: password.to_owned(), ..Person::named(&format!("ann{index}")) };
        let (signup_id, mail) = stack.sign_up(&person).await;
        let at_hand = json!({"token": mail.token(), "password": password, "client": "app"});
        let by_code = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
        let by_link = json!({"signup_id": signup_id, "token": mail.token(), "client": "app"});
        // A password beside a proof that does not look at it says nothing.
        let beside = json!({"signup_id": signup_id, "token": mail.token(), "password": "other words", "client": "app"});
        let is_guessed = !password.ends_with("2026");
        for name in names {
            let with_name = |proof: &Value| {
                let mut proof = proof.clone();
                proof["username"] = json!(name);
                proof
            };
            // More often than a guess of the code or the password may be wrong: none is spent.
            for _ in 0..11 {
                stack.verify(with_name(&at_hand)).await.expect_problem(422, "weak_password");
            }
            for proof in [&by_code, &by_link, &beside].into_iter().filter(|_| is_guessed) {
                for _ in 0..6 {
                    stack.verify(with_name(proof)).await.expect_problem(422, "weak_password");
                }
            }
        }
        let mut proof = if index == 0 { by_code } else { at_hand };
        proof["username"] = json!(format!("radium{index}"));
        let answer = stack.verify(proof).await.expect(201);
        assert_eq!(answer.json()["user"]["username"], format!("radium{index}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_passwords_that_are_refused() {
    let stack = Stack::with(&[("ServiceName", "Blue Door")]).await;
    for email in [
        "=?utf-8?q?=61nn?=@example.com",
        "a%b@example.com",
        "a!b@example.com",
        "a@127.0.0.1",
        "a@[127.0.0.1]",
        "ann@localhost",
        "ann@example.123",
    ] {
        let mut body = Person::named("ann").signup("app");
        body["email"] = json!(email);
        signup(&stack, &body).await.expect_problem(422, "invalid_email");
    }
    for password in
        ["P@ssw0rd1", "Summer2026", "bluedoor1", "Blue Door!", "marie.curie", "Curie2026!", "marie.curie@example.test"]
    {
        let mut body = Person::named("marie.curie").signup("app");
        body["password"] = json!(password);
        signup(&stack, &body).await.expect_problem(422, "weak_password");
    }
    assert!(stack.mails().await.is_empty());
    let mut body = Person::named("ann").signup("app");
    body["email"] = json!("o'connor+tag@sub.example.co.uk");
    signup(&stack, &body).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_as_if_the_field_were_absent() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    let body =
        json!({"username": "alice", "email": null, "password": alice.password, "client": null, "remember": null});
    let answer = stack.client().post("/login").json(body).send().await.expect(200);
    assert_eq!(answer.json()["session"]["kind"], "browser");
    for (body, detail) in [
        (r#"{"username":"alice","password":"x","remember":"yes"}"#, "field `remember`: expected a boolean"),
        (r#"{"username":"alice","password":31337}"#, "field `password`: expected a string"),
        (r#"{"username":"alice","password":null}"#, "missing field `password`"),
        (r#"{"username":null,"username":"alice","password":"x"}"#, "duplicate field `username` at line 1 column 27"),
        (r#"{"username":"alice","password":"x","is_admin":null}"#, "unknown field `is_admin`"),
    ] {
        let answer = stack.client().post("/login").header("content-type", "application/json").body(body).send().await;
        assert_eq!(answer.json()["detail"], detail, "{body}");
        answer.expect_problem(400, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn utf_8_by_its_other_names() {
    let stack = Stack::start().await;
    let alice = stack.person("alice").await;
    for charset in ["utf8", "UTF8", "\"utf-8\"", "us-ascii"] {
        let content_type = format!("application/json; charset={charset}");
        let body = format!("\u{feff}{}", alice.login("app"));
        let call = stack.client().post("/login").header("content-type", &content_type).body(body);
        call.send().await.expect(200);
    }
}
