//! `GET /verify` and `POST /verify`: what answers look like. Who may verify what is in [`super::secrets`].

use serde_json::json;

use crate::harness::{AppSession, Client, Mail, Person, Stack};

/// A browser that has signed up, and the mail it must answer.
async fn signed_up(stack: &Stack, person: &Person) -> (Client, Mail) {
    let browser = stack.browser();
    browser.post("/signup").json(person.signup("browser")).send().await.expect(202);
    let mail = stack.mail_to(&person.email).await;
    (browser, mail)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_both_tokens() {
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
    let answer = stack.verify(proof).await.expect(201).expect_no_cookies();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(answer.json(), {
        ".user.id" => "[id]",
        ".session.id" => "[id]",
        ".token.access" => "[access]",
        ".token.refresh" => "[refresh]",
        ".device" => "[device]",
    }, @r#"
    {
      "device": "[device]",
      "session": {
        "created_at": "2100-01-01T00:00:00Z",
        "expires_at": "2100-06-30T00:00:00Z",
        "id": "[id]",
        "idle_expires_at": "2100-01-31T00:00:00Z",
        "kind": "app"
      },
      "token": {
        "access": "[access]",
        "expires_in": 900,
        "refresh": "[refresh]"
      },
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "id": "[id]",
        "locale": "en",
        "username": "alice"
      }
    }
    "#);
    let session = AppSession::of(&answer);
    assert!(session.refresh.starts_with("rt_"));
    stack.me(&session.access).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_cookies_and_no_token() {
    let stack = Stack::start().await;
    let (browser, mail) = signed_up(&stack, &Person::named("alice")).await;
    let answer = browser.post("/verify").json(json!({"code": mail.code()})).send().await.expect(201);
    let answer = answer.expect_cookies(&["access", "username"], &["refresh", "signup"]);
    insta::assert_json_snapshot!(answer.json(), {".user.id" => "[id]", ".session.id" => "[id]"}, @r#"
    {
      "session": {
        "created_at": "2100-01-01T00:00:00Z",
        "expires_at": "2100-01-02T00:00:00Z",
        "id": "[id]",
        "idle_expires_at": "2100-01-01T00:30:00Z",
        "kind": "browser"
      },
      "token": {
        "expires_in": 1800
      },
      "user": {
        "created_at": "2100-01-01T00:00:00Z",
        "email": "alice@example.test",
        "id": "[id]",
        "locale": "en",
        "username": "alice"
      }
    }
    "#);
    browser.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_browser_gets_a_refresh_cookie() {
    let stack = Stack::start().await;
    let (browser, mail) = signed_up(&stack, &Person::named("alice")).await;
    let proof = json!({"token": mail.token(), "remember": true});
    let answer = browser.post("/verify").json(proof).send().await.expect(201);
    let answer = answer.expect_cookies(&["access", "refresh", "username"], &["signup"]);
    assert_eq!(answer.json()["session"]["kind"], "remembered");
    assert_eq!(answer.json()["token"], json!({"expires_in": 900}));
    browser.post("/refresh").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_never_remembered() {
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app", "remember": true});
    let answer = stack.verify(proof).await;
    // Refused, or an app session as if it had not been said; never a remembered browser.
    if answer.status == 201 {
        assert_eq!(answer.expect_no_cookies().json()["session"]["kind"], "app");
    } else {
        answer.expect_problem(400, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_changes_nothing() {
    let stack = Stack::start().await;
    let (browser, mail) = signed_up(&stack, &Person::named("alice")).await;
    let path = format!("/verify?token={}", mail.token());
    for _ in 0..3 {
        let page = browser.get(&path).send().await.expect(200).expect_no_cookies();
        assert!(page.header("content-type").is_some_and(|value| value.starts_with("text/html")));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        let policy = page.header("content-security-policy").expect("a policy");
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(directive), "{policy}");
        }
        assert!(!policy.contains("unsafe-inline") && !policy.contains('*'), "{policy}");
        let html = page.text();
        assert!(html.contains("<form") && html.to_lowercase().contains("method=\"post\""), "{html}");
        assert!(html.contains(&mail.token()), "{html}");
        assert!(!html.contains("type=\"password\""), "this browser signed up: {html}");
        assert!(!html.contains("<script"), "{html}");
    }
    stack
        .client()
        .post("/login")
        .json(Person::named("alice").login("app"))
        .send()
        .await
        .expect_problem(401, "invalid_credentials");
    browser.post("/verify").json(json!({"token": mail.token()})).send().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_another_device_for_the_password() {
    let stack = Stack::start().await;
    let (_, mail) = signed_up(&stack, &Person::named("alice")).await;
    let page = stack.browser().get(&format!("/verify?token={}", mail.token())).send().await.expect(200);
    assert!(page.text().contains("type=\"password\""), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_escapes_what_it_is_given() {
    let stack = Stack::start().await;
    for query in ["?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "?token=", "", "?token=a&token=b", "?%FF=%FF"] {
        let page = stack.browser().get(&format!("/verify{query}")).send().await;
        assert!(page.status < 500, "{query}: {}", page.status);
        assert!(page.header("content-type").is_some_and(|value| value.starts_with("text/html")), "{query}");
        assert!(!page.text().contains("<script"), "{query}: {}", page.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_the_reader_s_language() {
    let stack = Stack::start().await;
    let (browser, mail) = signed_up(&stack, &Person::named("alice")).await;
    let path = format!("/verify?token={}", mail.token());
    let page = browser.get(&path).header("accept-language", "ko-KR").send().await.expect(200);
    assert!(page.text().contains("lang=\"ko\""), "{}", page.text());
    let page = browser.get(&path).send().await.expect(200);
    assert!(page.text().contains("lang=\"en\""), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_form_signs_in_and_leads_to_the_app() {
    for (parameters, location) in [
        (&[][..], None),
        (&[("AppUrl", "https://app.example.test/welcome")][..], Some("https://app.example.test/welcome")),
    ] {
        let stack = Stack::with(parameters).await;
        let (browser, mail) = signed_up(&stack, &Person::named("alice")).await;
        let answer = browser.post("/verify").form(&[("token", &mail.token())]).send().await.expect(303);
        let own_page = format!("{}/", stack.url());
        assert_eq!(answer.header("location"), Some(location.unwrap_or(&own_page)));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.expect_cookies(&["access", "username"], &["refresh", "signup"]);
        browser.get("/me").send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_form_takes_the_password_on_another_device() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let (_, mail) = signed_up(&stack, &alice).await;
    let other = stack.browser();
    let token = mail.token();
    for (fields, status) in [
        (vec![("token", token.as_str())], 401),
        (vec![("token", token.as_str()), ("password", "")], 401),
        (vec![("token", token.as_str()), ("password", "a wrong password")], 401),
        (vec![("token", "nothing"), ("password", alice.password.as_str())], 400),
    ] {
        let answer = other.post("/verify").form(&fields).send().await.expect(status);
        assert!(answer.header("content-type").is_some_and(|value| value.starts_with("text/html")), "{fields:?}");
        assert!(answer.text().contains("role=\"alert\""), "{}", answer.text());
        assert!(!answer.text().contains("a wrong password"));
        answer.expect_no_cookies();
    }
    other.post("/verify").form(&[("token", &token), ("password", &alice.password)]).send().await.expect(303);
    other.get("/me").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_taken_from_the_api_s_own_origin_alone() {
    let stack = Stack::with(&[("AllowedOrigins", "https://app.example.test")]).await;
    let (browser, mail) = signed_up(&stack, &Person::named("alice")).await;
    let token = mail.token();
    let form = || browser.post("/verify").form(&[("token", &token)]);
    // Even an allowed origin may not: it would sign somebody in by a form that it made up.
    for origin in ["https://evil.test", "https://app.example.test", "null"] {
        form().origin(Some(origin)).send().await.expect(403).expect_no_cookies();
    }
    for site in [None, Some("cross-site"), Some("same-site"), Some("none")] {
        form().origin(None).fetch_site(site).send().await.expect(403).expect_no_cookies();
    }
    form().send().await.expect(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_good_for_one_session() {
    for first in 0..3 {
        let stack = Stack::start().await;
        let alice = Person::named("alice");
        let (signup_id, mail) = stack.sign_up(&alice).await;
        let mut proofs = vec![
            json!({"signup_id": signup_id, "token": mail.token(), "client": "app"}),
            json!({"signup_id": signup_id, "code": mail.code(), "client": "app"}),
            json!({"token": mail.token(), "password": alice.password, "client": "app"}),
        ];
        let proof = proofs.remove(first);
        let session = AppSession::of(&stack.verify(proof.clone()).await.expect(201));
        // The answer was lost: the very same request, up to ten minutes later and however often.
        for wait in [0, 300, 300] {
            stack.clock.advance(wait);
            let again = AppSession::of(&stack.verify(proof.clone()).await.expect(201));
            assert_eq!((&again.user_id, &again.session_id), (&session.user_id, &session.session_id));
            stack.me(&again.access).await.expect(200);
        }
        // No other proof, and none for another kind of session.
        let mut for_a_browser = proof.clone();
        for_a_browser["client"] = json!("browser");
        for other in proofs.into_iter().chain([for_a_browser]) {
            stack.verify(other).await.expect_problem(400, "invalid_verification");
        }
        stack.clock.advance(1);
        stack.verify(proof).await.expect_problem(400, "invalid_verification");
        stack.me(&session.access).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_proof_opens_nothing_after_a_logout_or_a_refresh() {
    let stack = Stack::start().await;
    for (name, is_logout) in [("alice", true), ("bob", false)] {
        let (signup_id, mail) = stack.sign_up(&Person::named(name)).await;
        let proof = json!({"signup_id": signup_id, "code": mail.code(), "client": "app"});
        let session = AppSession::of(&stack.verify(proof.clone()).await.expect(201));
        if is_logout {
            stack.client().post("/logout").bearer(&session.access).send().await.expect(204);
        } else {
            stack.refresh(&session.refresh, None).await.expect(200);
        }
        stack.verify(proof).await.expect_problem(400, "invalid_verification");
    }
}

/// The second click on a link: it says that all is done, whose account it is, and where the app is.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_click_says_that_the_address_is_confirmed() {
    let stack = Stack::with(&[("AppUrl", "https://app.example.test/")]).await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    let link = format!("/verify?token={}", mail.token());
    let before = stack.client().get(&link).send().await.expect(200).text();
    assert!(before.contains("<form") && before.contains("<strong>alice</strong>"), "{before}");
    stack.verify(json!({"signup_id": signup_id, "code": mail.code(), "client": "app"})).await.expect(201);
    for link in [link.clone(), format!("{link}%20"), format!("{link}%3E"), format!("{link}.")] {
        let after = stack.client().get(&link).send().await.expect(200).text();
        assert!(!after.contains("<form") && after.contains("<strong>alice</strong>"), "{after}");
        assert!(after.contains("href=\"https://app.example.test/\""), "{after}");
    }
    // The form of a page that was open meanwhile.
    let browser = stack.browser();
    let form = browser.post("/verify").form(&[("token", mail.token().as_str()), ("password", "whatever it was")]);
    let after = form.send().await;
    assert!(!after.text().contains("<form") && after.text().contains("alice"), "{}", after.text());
    let head = stack.client().request(reqwest::Method::HEAD, &link).send().await.expect(200);
    assert_eq!(head.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_went_meanwhile_can_be_replaced() {
    let stack = Stack::start().await;
    let alice = Person::named("alice");
    let rival = Person { username: "alice".to_owned(), ..Person::named("rival") };
    let (slow, slow_mail) = stack.sign_up(&alice).await;
    let (fast, fast_mail) = stack.sign_up(&rival).await;
    stack.verify(json!({"signup_id": fast, "code": fast_mail.code(), "client": "app"})).await.expect(201);

    let proof = json!({"signup_id": slow, "token": slow_mail.token(), "client": "app"});
    stack.verify(proof.clone()).await.expect_problem(409, "username_taken");
    let with_name = |name: &str| {
        let mut proof = proof.clone();
        proof["username"] = json!(name);
        proof
    };
    stack.verify(with_name("rival name")).await.expect_problem(422, "invalid_username");
    stack.verify(with_name("ALICE")).await.expect_problem(409, "username_taken");
    let answer = stack.verify(with_name("alice2")).await.expect(201);
    assert_eq!(answer.json()["user"]["username"], "alice2");
    assert_eq!(answer.json()["user"]["email"], alice.email);
    stack.app(&Person { username: "alice2".to_owned(), ..alice }).await;
    stack.app(&rival).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_any_proof_is_none() {
    let stack = Stack::start().await;
    let (signup_id, mail) = stack.sign_up(&Person::named("alice")).await;
    for body in [
        json!({}),
        json!({"signup_id": signup_id}),
        json!({"code": mail.code()}),
        json!({"password": "seven quiet llamas of alice"}),
        json!({"signup_id": signup_id, "code": 12_345_678}),
        json!({"signup_id": signup_id, "code": mail.code(), "client": "toaster"}),
    ] {
        let answer = stack.verify(body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
}
