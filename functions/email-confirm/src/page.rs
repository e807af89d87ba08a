//! What the page of `GET /email/confirm` says, and of its form when that failed.

use askama::Template;
use shared::http::page;
use shared::locale::Locale;

/// What went wrong with the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageProblem {
    /// A link that is wrong, old or used.
    InvalidLink,
    /// Nobody is signed in, or somebody else.
    NotSignedIn,
    /// The address has an account by now.
    Taken,
    /// Something is down.
    TryLater,
    /// The form came from another page.
    Refused,
}

/// What the page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Whether it is to be done.
    Asking,
    /// That it was, by an earlier click.
    Done,
    /// What went wrong.
    Problem(PageProblem),
}

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// In which language.
    pub locale: Locale,
    /// Whose page it is.
    pub service_name: &'a str,
    /// Where the app is.
    pub app_url: &'a str,
    /// Whose account it is, where the link is a genuine one.
    pub username: Option<&'a str>,
    /// The address that it is about, where the link is a genuine one.
    pub new_email: Option<&'a str>,
    /// The link's token, for the form to post.
    pub token: &'a str,
    /// What it is about.
    pub state: PageState,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Rendering<'a> {
    words: &'static Words,
    app_url: &'a str,
    username: Option<&'a str>,
    email: Option<&'a str>,
    token: &'a str,
    has_form: bool,
    is_done: bool,
    alert: Option<&'static str>,
}

struct Words {
    title: &'static str,
    account: &'static str,
    address: &'static str,
    done: &'static str,
    to_app: &'static str,
    button: &'static str,
    hint: &'static str,
    invalid_link: &'static str,
    not_signed_in: &'static str,
    taken: &'static str,
    try_later: &'static str,
    refused: &'static str,
}

const EN: Words = Words {
    title: "Confirm your new address",
    account: "For the account",
    address: "New address",
    done: "This address is confirmed already.",
    to_app: "Go to the app",
    button: "Confirm the address",
    hint: "If you did not ask for it, close this page. Nothing has happened.",
    invalid_link: "This link is not valid. It may be too old, or the account has changed since. Ask for the change again.",
    not_signed_in: "You are not signed in to that account here. Sign in first, then open the link in the mail again.",
    taken: "This address has an account by now.",
    try_later: "That did not work just now. Wait a moment and press the button again.",
    refused: "This request did not come from our page. Open the link in the mail again.",
};

const KO: Words = Words {
    title: "새 이메일 주소 확인",
    account: "계정",
    address: "새 주소",
    done: "이 주소는 이미 확인되었습니다.",
    to_app: "앱으로 이동",
    button: "주소 확인",
    hint: "요청하지 않았다면 이 페이지를 닫으세요. 아무 일도 일어나지 않았습니다.",
    invalid_link: "유효하지 않은 링크입니다. 너무 오래되었거나 그사이 계정이 변경되었을 수 있습니다. 변경을 다시 요청하세요.",
    not_signed_in: "여기에서 그 계정에 로그인되어 있지 않습니다. 먼저 로그인한 다음 메일의 링크를 다시 여세요.",
    taken: "이 주소로 만든 계정이 이미 있습니다.",
    try_later: "지금은 처리할 수 없습니다. 잠시 기다린 뒤 버튼을 다시 누르세요.",
    refused: "이 요청은 우리 페이지에서 오지 않았습니다. 메일의 링크를 다시 여세요.",
};

impl Words {
    const fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::En => &EN,
            Locale::Ko => &KO,
        }
    }

    const fn explain(&self, problem: PageProblem) -> &'static str {
        match problem {
            PageProblem::InvalidLink => self.invalid_link,
            PageProblem::NotSignedIn => self.not_signed_in,
            PageProblem::Taken => self.taken,
            PageProblem::TryLater => self.try_later,
            PageProblem::Refused => self.refused,
        }
    }
}

/// The page as HTML.
pub fn render(page: &Page<'_>) -> String {
    let words = Words::of(page.locale);
    let problem = match page.state {
        PageState::Problem(problem) => Some(problem),
        PageState::Asking | PageState::Done => None,
    };
    // With these the form cannot succeed, however often it is posted.
    let hopeless = matches!(problem, Some(PageProblem::InvalidLink | PageProblem::Refused | PageProblem::Taken));
    let is_done = page.state == PageState::Done;
    let rendering = Rendering {
        words,
        app_url: page.app_url,
        username: page.username,
        email: page.new_email,
        token: page.token,
        has_form: !hopeless && !is_done,
        is_done,
        alert: problem.map(|problem| words.explain(problem)),
    };
    page::render(page.locale, words.title, page.service_name, &rendering)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(locale: Locale, state: PageState) -> String {
        render(&Page {
            locale,
            service_name: "Latchkey",
            app_url: "https://app.example.test/",
            username: Some("ann"),
            new_email: Some("ann@new.example"),
            token: "\"><script>",
            state,
        })
    }

    #[test]
    fn it_names_account_and_address_and_escapes_what_it_is_given() {
        for locale in [Locale::En, Locale::Ko] {
            let html = page(locale, PageState::Asking);
            assert!(html.contains("ann@new.example") && html.contains("<strong>ann</strong>"), "{html}");
            assert!(html.contains("<form") && !html.contains("<script>"), "{html}");
        }
    }

    #[test]
    fn a_problem_is_announced_and_a_hopeless_form_is_gone() {
        let html = page(Locale::En, PageState::Problem(PageProblem::TryLater));
        assert!(html.contains("role=\"alert\"") && html.contains("<form"));
        for problem in [PageProblem::InvalidLink, PageProblem::Refused] {
            assert!(!page(Locale::Ko, PageState::Problem(problem)).contains("<form"));
        }
        let done = page(Locale::En, PageState::Done);
        assert!(!done.contains("<form") && done.contains("href=\"https://app.example.test/\""), "{done}");
    }
}
