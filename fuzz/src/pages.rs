//! Pages and mails, with whatever people type in them.

use shared::account::EmailAddress;
use shared::clock::Timestamp;
use shared::http::page::{self, Alert, LinkForm, LinkPage, LinkState, PasswordField};
use shared::locale::Locale;
use shared::mail::{Letter, Letterhead};
use shared::outbox::{MailedSecrets, QueuedMail};

/// What may stand in HTML and begin or end something.
const MARKUP: [char; 4] = ['<', '>', '"', '\''];

/// How often each character of markup is there. Escaped text adds `&` and nothing else.
fn markup(html: &str) -> [usize; 4] {
    std::array::from_fn(|index| html.matches(MARKUP[index]).count())
}

/// What a page holds that is typed or mailed does not change its elements; nor does it in a mail.
pub(crate) fn pages(data: &[u8]) {
    let typed = String::from_utf8_lossy(data);
    for locale in [Locale::En, Locale::Ko] {
        for state in [
            LinkState::Asking,
            LinkState::Done,
            LinkState::Problem(Alert::passing("Wait.")),
            LinkState::Problem(Alert::lasting("No.")),
        ] {
            let (hostile, plain) = (page_of(&typed, locale, state), page_of("x", locale, state));
            assert_eq!(markup(&hostile), markup(&plain), "{typed:?}");
            assert!(!hostile.contains("<script") && hostile.ends_with(end_of(&plain)), "{typed:?}");
        }
        for (hostile, plain) in letters(&typed).into_iter().zip(letters("x")) {
            let head = Letterhead { service: "Latchkey", app_url: "https://app.example.test/" };
            let [hostile, plain] = [hostile, plain].map(|letter| mail(letter, locale).render(head, Some(secrets())));
            // Elements of our own keep names and addresses from being links.
            let [html, plain_html] =
                [&hostile.html, &plain.html].map(|html| html.replace("<span>", "").replace("</span>", ""));
            assert_eq!(markup(&html), markup(&plain_html), "{typed:?}");
            assert_eq!(hostile.html.matches("href=").count(), plain.html.matches("href=").count(), "{typed:?}");
            assert_eq!(hostile.subject, plain.subject, "no word of a stranger's reaches a header");
        }
    }
    // The service's own name is an operator's, and has one line.
    let head = Letterhead { service: &typed, app_url: "https://app.example.test/" };
    let mail = mail(Letter::AlreadyRegistered, Locale::En).render(head, None);
    assert!(!mail.subject.contains(['\r', '\n']), "{typed:?}");
}

fn end_of(page: &str) -> &str {
    page.rfind("</main>").map_or("", |index| &page[index..])
}

fn page_of(text: &str, locale: Locale, state: LinkState<Alert>) -> String {
    let password = PasswordField { label: "Password", hint: text, autocomplete: "current-password" };
    let form = LinkForm { action: "verify", token: text, password: Some(password), button: "Confirm", hint: "Sure?" };
    let page = LinkPage {
        locale,
        title: "Confirm",
        service_name: text,
        app_url: text,
        username: Some(text),
        email: Some(("Address", text)),
        done: "Done.",
        form,
    };
    page::render_link(&page, state)
}

fn letters(text: &str) -> [Letter; 4] {
    let (username, other) = (text.to_owned(), text.to_owned());
    [
        Letter::Verification { username: username.clone() },
        Letter::EmailChanged { username: username.clone(), new_email: other.clone() },
        Letter::UsernameChanged { username: username.clone(), former: other },
        Letter::NewDevice { username },
    ]
}

fn mail(letter: Letter, locale: Locale) -> QueuedMail {
    let to = EmailAddress::parse("ann@example.com").expect("an address");
    let device = match &letter {
        Letter::NewDevice { username } => username.clone(),
        _ => String::new(),
    };
    QueuedMail::new(to, locale, letter, Timestamp::from_unix(4_102_444_800)).from_device(&device)
}

fn secrets() -> (&'static MailedSecrets, &'static str) {
    static SECRETS: MailedSecrets = MailedSecrets { token: String::new(), code: None };
    (&SECRETS, "https://api.example.test")
}
