//! What the page of `GET /verify` says, and of its form when that failed.

use shared::http::page::{self, Alert, LinkForm, LinkPage, LinkState, LinkWords, PasswordField};
use shared::locale::Locale;

/// What went wrong with the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageProblem {
    /// The link alone is not enough.
    ConfirmationRequired,
    /// Another password than at sign-up.
    WrongPassword,
    /// A link that is wrong, old or replaced by a newer one.
    InvalidLink,
    /// The address has an account by now.
    EmailTaken,
    /// The name has an account by now.
    UsernameTaken,
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
    /// Whose account it is about, where the link is a genuine one.
    pub username: Option<&'a str>,
    /// The link's token, for the form to post.
    pub token: &'a str,
    /// Whether the form asks for the password, as this is not the device that signed up.
    pub needs_password: bool,
    /// What it is about.
    pub state: PageState,
}

struct Words {
    title: &'static str,
    confirmed: &'static str,
    password: &'static str,
    hint: &'static str,
    button: &'static str,
    ignore: &'static str,
    confirmation_required: &'static str,
    wrong_password: &'static str,
    invalid_link: &'static str,
    email_taken: &'static str,
    username_taken: &'static str,
}

const EN: Words = Words {
    title: "Confirm your address",
    confirmed: "This address is confirmed already. You can sign in.",
    password: "Password",
    hint: "You opened this link on another device or browser than you signed up on. Enter the password you chose there.",
    button: "Confirm and sign in",
    ignore: "If you did not sign up, close this page. Nothing has happened.",
    confirmation_required: "To confirm here, enter the password you chose when you signed up.",
    wrong_password: "That is not the password you chose when you signed up.",
    invalid_link: "This link is not valid. It may be too old, or a newer mail has replaced it. Ask for a new mail where you signed up.",
    email_taken: "This address has an account by now. Sign in instead.",
    username_taken: "The user name you chose has been taken meanwhile. Go back to where you signed up and choose another.",
};

const KO: Words = Words {
    title: "이메일 주소 확인",
    confirmed: "이 주소는 이미 확인되었습니다. 로그인할 수 있습니다.",
    password: "비밀번호",
    hint: "가입을 신청한 것과 다른 기기나 브라우저에서 이 링크를 열었습니다. 가입할 때 정한 비밀번호를 입력하세요.",
    button: "확인하고 로그인",
    ignore: "가입을 신청하지 않았다면 이 페이지를 닫으세요. 아무 일도 일어나지 않았습니다.",
    confirmation_required: "여기에서 확인하려면 가입할 때 정한 비밀번호를 입력하세요.",
    wrong_password: "가입할 때 정한 비밀번호가 아닙니다.",
    invalid_link: "유효하지 않은 링크입니다. 너무 오래되었거나 새 메일의 링크로 바뀌었을 수 있습니다. 가입을 신청한 곳에서 새 메일을 요청하세요.",
    email_taken: "이 주소로 만든 계정이 이미 있습니다. 로그인하세요.",
    username_taken: "선택한 사용자 이름을 그사이 다른 사람이 사용했습니다. 가입을 신청한 곳으로 돌아가 다른 이름을 선택하세요.",
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
            PageProblem::ConfirmationRequired => Alert::passing(self.confirmation_required),
            PageProblem::WrongPassword => Alert::passing(self.wrong_password),
            PageProblem::InvalidLink => Alert::lasting(self.invalid_link),
            PageProblem::EmailTaken => Alert::lasting(self.email_taken),
            PageProblem::UsernameTaken => Alert::lasting(self.username_taken),
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
        email: None,
        done: words.confirmed,
        form: LinkForm {
            action: "verify",
            token: page.token,
            password: page.needs_password.then_some(PasswordField {
                label: words.password,
                hint: words.hint,
                autocomplete: "current-password",
            }),
            button: words.button,
            hint: words.ignore,
        },
    };
    let common = LinkWords::of(page.locale);
    page::render_link(&link_page, page.state.map(|problem| words.explain(problem, common)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(locale: Locale, needs_password: bool, problem: Option<PageProblem>) -> String {
        page_of(locale, needs_password, problem.map_or(PageState::Asking, PageState::Problem))
    }

    fn page_of(locale: Locale, needs_password: bool, state: PageState) -> String {
        render(&Page {
            locale,
            service_name: "<Ann & Co>",
            app_url: "https://app.example.test/",
            username: Some("ann"),
            token: "\"><script>",
            needs_password,
            state,
        })
    }

    #[test]
    fn what_is_confirmed_leads_to_the_app_and_asks_for_nothing() {
        for locale in [Locale::En, Locale::Ko] {
            let html = page_of(locale, true, PageState::Done);
            assert!(
                !html.contains("<form") && !html.contains("password") && !html.contains("role=\"alert\""),
                "{html}"
            );
            assert!(html.contains("href=\"https://app.example.test/\"") && html.contains("ann"), "{html}");
        }
    }

    #[test]
    fn strangers_text_is_escaped() {
        let html = page(Locale::En, true, None);
        assert!(!html.contains("<script>") && !html.contains("<Ann"), "{html}");
    }

    #[test]
    fn a_password_is_asked_for_where_it_is_needed() {
        for locale in [Locale::En, Locale::Ko] {
            assert!(page(locale, true, None).contains("type=\"password\""));
            assert!(!page(locale, false, None).contains("type=\"password\""));
        }
    }

    #[test]
    fn a_problem_is_announced_and_a_hopeless_form_is_gone() {
        let html = page(Locale::En, true, Some(PageProblem::WrongPassword));
        assert!(html.contains("role=\"alert\"") && html.contains("<form"));
        for problem in [PageProblem::InvalidLink, PageProblem::EmailTaken, PageProblem::UsernameTaken] {
            assert!(!page(Locale::Ko, false, Some(problem)).contains("<form"));
        }
    }
}
