//! What the page of `GET /email/confirm` says, and of its form when that failed.

use shared::http::page::{self, Alert, LinkForm, LinkPage, LinkState, LinkWords};
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
pub type PageState = LinkState<PageProblem>;

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

struct Words {
    title: &'static str,
    address: &'static str,
    done: &'static str,
    button: &'static str,
    hint: &'static str,
    invalid_link: &'static str,
    not_signed_in: &'static str,
    taken: &'static str,
}

const EN: Words = Words {
    title: "Confirm your new address",
    address: "New address",
    done: "This address is confirmed already.",
    button: "Confirm the address",
    hint: "If you did not ask for it, close this page. Nothing has happened.",
    invalid_link: "This link is not valid. It may be too old, or the account has changed since. Ask for the change again.",
    not_signed_in: "You are not signed in to that account here. Sign in first, then open the link in the mail again.",
    taken: "This address has an account by now.",
};

const KO: Words = Words {
    title: "새 이메일 주소 확인",
    address: "새 주소",
    done: "이 주소는 이미 확인되었습니다.",
    button: "주소 확인",
    hint: "요청하지 않았다면 이 페이지를 닫으세요. 아무 일도 일어나지 않았습니다.",
    invalid_link: "유효하지 않은 링크입니다. 너무 오래되었거나 그사이 계정이 변경되었을 수 있습니다. 변경을 다시 요청하세요.",
    not_signed_in: "여기에서 그 계정에 로그인되어 있지 않습니다. 먼저 로그인한 다음 메일의 링크를 다시 여세요.",
    taken: "이 주소로 만든 계정이 이미 있습니다.",
};

impl Words {
    const fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::En => &EN,
            Locale::Ko => &KO,
        }
    }

    const fn explain(&self, problem: PageProblem, common: &LinkWords) -> Alert {
        match problem {
            PageProblem::InvalidLink => Alert::lasting(self.invalid_link),
            PageProblem::NotSignedIn => Alert::passing(self.not_signed_in),
            PageProblem::Taken => Alert::lasting(self.taken),
            PageProblem::TryLater => Alert::passing(common.try_later),
            PageProblem::Refused => Alert::lasting(common.refused),
        }
    }
}

/// The page as HTML.
pub fn render(page: &Page<'_>) -> String {
    let words = Words::of(page.locale);
    let link_page = LinkPage {
        locale: page.locale,
        title: words.title,
        service_name: page.service_name,
        app_url: page.app_url,
        username: page.username,
        email: page.new_email.map(|email| (words.address, email)),
        done: words.done,
        form: LinkForm { action: "confirm", token: page.token, password: None, button: words.button, hint: words.hint },
    };
    let common = LinkWords::of(page.locale);
    page::render_link(&link_page, page.state.map(|problem| words.explain(problem, common)))
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
