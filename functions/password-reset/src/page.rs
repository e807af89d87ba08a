//! What the page of `GET /password/reset` says, and of its form when that failed.

use shared::http::page::{self, Alert, LinkForm, LinkPage, LinkState, LinkWords, PasswordField};
use shared::locale::Locale;

/// What went wrong with the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageProblem {
    /// The new password is too short, too long or too easy to guess.
    WeakPassword,
    /// The new password is known from a leak.
    BreachedPassword,
    /// A link that is wrong, old, or of an account that has changed since.
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
    /// Whose password it is, where the link is a genuine one.
    pub username: Option<&'a str>,
    /// The link's token, for the form to post.
    pub token: &'a str,
    /// The fewest characters of the new password.
    pub minimum: usize,
    /// What it is about.
    pub state: PageState,
}

struct Words {
    title: &'static str,
    done: &'static str,
    password: &'static str,
    hint: &'static str,
    button: &'static str,
    consequences: &'static str,
    weak_password: &'static str,
    breached_password: &'static str,
    invalid_link: &'static str,
}

const EN: Words = Words {
    title: "Choose a new password",
    done: "The password has been set. You can sign in with it.",
    password: "New password",
    hint: "At least {} characters.",
    button: "Set the password",
    consequences: "This signs you out everywhere. If you did not ask for it, close this page; nothing has happened.",
    weak_password: "That password is too short, too long or too easy to guess. Choose another.",
    breached_password: "That password has leaked, from this or another service, so strangers try it. Choose another.",
    invalid_link: "This link is not valid. It may be too old, or the account has changed since. Ask for a new mail where you sign in.",
};

const KO: Words = Words {
    title: "새 비밀번호 설정",
    done: "비밀번호가 설정되었습니다. 새 비밀번호로 로그인할 수 있습니다.",
    password: "새 비밀번호",
    hint: "{}자 이상이어야 합니다.",
    button: "비밀번호 설정",
    consequences: "모든 기기에서 로그아웃됩니다. 요청하지 않았다면 이 페이지를 닫으세요. 아무 일도 일어나지 않았습니다.",
    weak_password: "비밀번호가 너무 짧거나 길거나 추측하기 쉽습니다. 다른 비밀번호를 선택하세요.",
    breached_password: "이 서비스나 다른 서비스에서 유출된 적이 있어 다른 사람이 시도해 볼 수 있는 비밀번호입니다. 다른 비밀번호를 선택하세요.",
    invalid_link: "유효하지 않은 링크입니다. 너무 오래되었거나 그사이 계정이 변경되었을 수 있습니다. 로그인 화면에서 새 메일을 요청하세요.",
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
            PageProblem::WeakPassword => Alert::passing(self.weak_password),
            PageProblem::BreachedPassword => Alert::passing(self.breached_password),
            PageProblem::InvalidLink => Alert::lasting(self.invalid_link),
            PageProblem::TryLater => Alert::passing(common.try_later),
            PageProblem::Refused => Alert::lasting(common.refused),
        }
    }
}

/// The page as HTML.
pub fn render(page: &Page<'_>) -> String {
    let words = Words::of(page.locale);
    let hint = words.hint.replace("{}", &page.minimum.to_string());
    let link_page = LinkPage {
        locale: page.locale,
        title: words.title,
        service_name: page.service_name,
        app_url: page.app_url,
        username: page.username,
        email: None,
        done: words.done,
        form: LinkForm {
            action: "reset",
            token: page.token,
            password: Some(PasswordField { label: words.password, hint: &hint, autocomplete: "new-password" }),
            button: words.button,
            hint: words.consequences,
        },
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
            token: "\"><script>",
            minimum: 12,
            state,
        })
    }

    #[test]
    fn it_asks_for_a_new_password_and_nothing_else() {
        for locale in [Locale::En, Locale::Ko] {
            let html = page(locale, PageState::Asking);
            assert_eq!(html.matches("<input").count(), 2, "the field and the token: {html}");
            assert!(html.contains("autocomplete=\"new-password\"") && html.contains("12"), "{html}");
            assert!(html.contains("action=\"reset\"") && html.contains("ann"), "{html}");
            assert!(!html.contains("<script"), "{html}");
        }
    }

    #[test]
    fn a_problem_is_announced_and_a_hopeless_form_is_gone() {
        for (problem, has_form) in [
            (PageProblem::WeakPassword, true),
            (PageProblem::BreachedPassword, true),
            (PageProblem::TryLater, true),
            (PageProblem::InvalidLink, false),
            (PageProblem::Refused, false),
        ] {
            for locale in [Locale::En, Locale::Ko] {
                let html = page(locale, PageState::Problem(problem));
                assert!(html.contains("role=\"alert\""), "{html}");
                assert_eq!(html.contains("<form"), has_form, "{problem:?}");
            }
        }
    }

    #[test]
    fn what_is_done_leads_to_the_app() {
        for locale in [Locale::En, Locale::Ko] {
            let html = page(locale, PageState::Done);
            assert!(!html.contains("<form") && !html.contains("role=\"alert\""), "{html}");
            assert!(html.contains("href=\"https://app.example.test/\""), "{html}");
        }
    }
}
