//! What the page of `GET /email/undo` says, and of its form when that failed.

use shared::http::page::{self, Alert, LinkForm, LinkPage, LinkState, LinkWords};
use shared::locale::Locale;

/// What went wrong with the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageProblem {
    /// A link that is wrong, old or used.
    InvalidLink,
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
    pub email: Option<&'a str>,
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
}

const EN: Words = Words {
    title: "Undo the change of address",
    address: "Address to restore",
    done: "The change has been undone. Another mail leads to a new password.",
    button: "Undo the change",
    hint: "This restores the address, ends all sessions, and a mail to it leads to a new password. If the change was yours, close this page.",
    invalid_link: "This link is not valid. It may be too old, or have been used.",
};

const KO: Words = Words {
    title: "주소 변경 취소",
    address: "되돌릴 주소",
    done: "변경이 취소되었습니다. 다른 메일을 따라 새 비밀번호를 정하세요.",
    button: "변경 취소",
    hint: "주소를 되돌리고 모든 세션을 종료하며, 그 주소로 새 비밀번호를 정하는 메일을 보냅니다. 본인이 변경했다면 이 페이지를 닫으세요.",
    invalid_link: "유효하지 않은 링크입니다. 너무 오래되었거나 이미 사용되었을 수 있습니다.",
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
        email: page.email.map(|email| (words.address, email)),
        done: words.done,
        form: LinkForm { action: "undo", token: page.token, password: None, button: words.button, hint: words.hint },
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
            email: Some("ann@new.example"),
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
