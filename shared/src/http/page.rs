//! Pages that mailed links open: one layout, one style, no script, nothing from elsewhere, and forms that lead to the API
//! itself. What a page says is the matter of the function that shows it.

use askama::Template;
use lambda_http::Body;
use lambda_http::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, RequestExt};
use url::Url;

use super::json::{BodyError, MAX_BODY, is_content_type};
use super::{Response, empty};
use crate::locale::Locale;

/// The style of all pages, embedded; the content security policy allows it by its hash.
const STYLE: &str = include_str!("../../templates/page.css");

/// SHA-256 of [`STYLE`], in base64.
const STYLE_HASH: &str = "//yjLocnO92QcgCPvia98tsR19iPNZsEmSxQiTUyGPI=";

#[derive(Template)]
#[template(path = "page.html")]
struct Layout<'a> {
    lang: &'static str,
    title: &'a str,
    service_name: &'a str,
    style: &'static str,
    body: &'a str,
}

/// A page as HTML, around a body whose template escapes what it is given.
fn render(locale: Locale, title: &str, service_name: &str, body: &impl Template) -> String {
    // Our templates have no part that can fail.
    let body = body.render().unwrap_or_default();
    Layout { lang: locale.as_str(), title, service_name, style: STYLE, body: &body }.render().unwrap_or_default()
}

/// What a page that a mailed link opens is about, with `P` for what may go wrong with its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState<P> {
    /// Whether what the link is for is to be done.
    Asking,
    /// That it was, by an earlier click or code.
    Done,
    /// What went wrong.
    Problem(P),
}

impl<P> LinkState<P> {
    /// The same, with a problem said in another way.
    pub fn map<Q>(self, say: impl FnOnce(P) -> Q) -> LinkState<Q> {
        match self {
            Self::Asking => LinkState::Asking,
            Self::Done => LinkState::Done,
            Self::Problem(problem) => LinkState::Problem(say(problem)),
        }
    }
}

/// A problem as a page says it.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    text: &'static str,
    is_final: bool,
}

impl Alert {
    /// One that may be over when the form is posted again.
    pub const fn passing(text: &'static str) -> Self {
        Self { text, is_final: false }
    }

    /// One with which the form cannot succeed, however often it is posted: it is not shown.
    pub const fn lasting(text: &'static str) -> Self {
        Self { text, is_final: true }
    }
}

/// A page that a mailed link opens, in the words of the function that shows it.
#[derive(Clone, Copy, Debug)]
pub struct LinkPage<'a> {
    /// In which language.
    pub locale: Locale,
    /// What it is called.
    pub title: &'static str,
    /// Whose page it is.
    pub service_name: &'a str,
    /// Where the app is.
    pub app_url: &'a str,
    /// Whose account it is about, where the link is a genuine one.
    pub username: Option<&'a str>,
    /// The address that it is about, after its label, where there is one and the link is genuine.
    pub email: Option<(&'static str, &'a str)>,
    /// What it says once all is done.
    pub done: &'static str,
    /// The form that does it.
    pub form: LinkForm<'a>,
}

/// The form of a page that a mailed link opens.
#[derive(Clone, Copy, Debug)]
pub struct LinkForm<'a> {
    /// The last segment of its own path.
    pub action: &'static str,
    /// The link's token.
    pub token: &'a str,
    /// The password that it asks for, if any.
    pub password: Option<PasswordField<'a>>,
    /// What the button says.
    pub button: &'static str,
    /// What is said below.
    pub hint: &'static str,
}

/// A field for a password.
#[derive(Clone, Copy, Debug)]
pub struct PasswordField<'a> {
    /// What it is called.
    pub label: &'static str,
    /// Which password it asks for.
    pub hint: &'a str,
    /// HTML's `autocomplete`: `current-password` or `new-password`.
    pub autocomplete: &'static str,
}

/// What all pages of mailed links say alike.
#[derive(Debug)]
pub struct LinkWords {
    account: &'static str,
    to_app: &'static str,
    /// Something is down.
    pub try_later: &'static str,
    /// The form came from another page.
    pub refused: &'static str,
}

const LINK_EN: LinkWords = LinkWords {
    account: "For the account",
    to_app: "Go to the app",
    try_later: "That did not work just now. Wait a moment and press the button again.",
    refused: "This request did not come from our page. Open the link in the mail again.",
};

const LINK_KO: LinkWords = LinkWords {
    account: "계정",
    to_app: "앱으로 이동",
    try_later: "지금은 처리할 수 없습니다. 잠시 기다린 뒤 버튼을 다시 누르세요.",
    refused: "이 요청은 우리 페이지에서 오지 않았습니다. 메일의 링크를 다시 여세요.",
};

impl LinkWords {
    /// In a language.
    pub const fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::En => &LINK_EN,
            Locale::Ko => &LINK_KO,
        }
    }
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkBody<'a> {
    words: &'static LinkWords,
    page: &'a LinkPage<'a>,
    is_done: bool,
    has_form: bool,
    alert: Option<Alert>,
}

/// A page that a mailed link opens, as HTML.
pub fn render_link(page: &LinkPage<'_>, state: LinkState<Alert>) -> String {
    let is_done = matches!(state, LinkState::Done);
    let alert = match state {
        LinkState::Problem(alert) => Some(alert),
        LinkState::Asking | LinkState::Done => None,
    };
    let has_form = !is_done && !alert.is_some_and(|alert| alert.is_final);
    let body = LinkBody { words: LinkWords::of(page.locale), page, is_done, has_form, alert };
    render(page.locale, page.title, page.service_name, &body)
}

/// The answer that shows a page. Its form may lead on to the app, since browsers apply `form-action` to redirects too.
/// The page's URL has a token in its query, which goes to no other site.
pub fn response(html: String, app_url: &Url) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self' {}; \
         frame-ancestors 'none'; base-uri 'none'",
        app_url.origin().ascii_serialization()
    );
    let mut response = Response::new(Body::Text(html));
    let mut set = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
    set(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    set(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    set(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(
        CONTENT_SECURITY_POLICY,
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
    );
    response
}

/// The page with a status, as GET and HEAD are answered: the latter without the page itself.
pub fn shown(request: &Request, status: StatusCode, mut page: Response) -> Response {
    *page.status_mut() = status;
    if request.method() == Method::HEAD {
        *page.body_mut() = Body::Empty;
    }
    page
}

/// Whether a request wants the page.
pub fn is_wanted(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// The token in a page's query; empty where there is none.
pub fn token(request: &Request) -> &str {
    request.query_string_parameters_ref().and_then(|query| query.first("token")).unwrap_or_default()
}

/// Whether a request comes from a form.
pub fn is_form(request: &Request) -> bool {
    is_content_type(request, "application/x-www-form-urlencoded")
}

/// The fields of a form, in the order of `names`; an empty one is as if it were absent.
pub fn parse_form<const N: usize>(request: &Request, names: [&str; N]) -> Result<[Option<String>; N], BodyError> {
    let body: &[u8] = request.body();
    if body.len() > MAX_BODY {
        return Err(BodyError::TooLarge);
    }
    let mut fields = [const { None }; N];
    for (name, value) in form_urlencoded::parse(body) {
        let index = names.iter().position(|known| *known == name);
        let index = index.ok_or_else(|| BodyError::Invalid("unknown field".to_owned()))?;
        if fields[index].replace(value.into_owned()).is_some() {
            return Err(BodyError::Invalid("duplicate field".to_owned()));
        }
    }
    Ok(fields.map(|field| field.filter(|text| !text.is_empty())))
}

/// The way to the app, for a form that has done its work.
pub fn see_app(app_url: &Url) -> Response {
    let mut response = empty(StatusCode::SEE_OTHER);
    let location = HeaderValue::try_from(app_url.as_str()).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;

    #[derive(Template)]
    #[template(source = "<p>{{ text }}</p>", ext = "html")]
    struct Sample<'a> {
        text: &'a str,
    }

    #[test]
    fn the_policy_allows_the_style_that_is_there() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        assert_eq!(base64::engine::general_purpose::STANDARD.encode(digest), STYLE_HASH);
        let html = render(Locale::En, "A title", "Ann & Co", &Sample { text: "" });
        assert!(html.contains(&format!("<style>{STYLE}</style>")), "{html}");
        let app_url = Url::parse("https://app.example.test/welcome").expect("a URL");
        let response = response(html, &app_url);
        let policy = response.headers()["content-security-policy"].to_str().expect("ASCII");
        assert!(policy.contains(STYLE_HASH) && policy.contains("form-action 'self' https://app.example.test;"));
        assert!(!policy.contains("script-src") && policy.starts_with("default-src 'none'"), "{policy}");
    }

    #[test]
    fn everything_but_the_body_s_own_elements_is_escaped() {
        for locale in [Locale::En, Locale::Ko] {
            let html = render(locale, "<b>", "<i>", &Sample { text: "<script>" });
            assert!(!html.contains("<b>") && !html.contains("<i>") && !html.contains("<script"), "{html}");
            assert!(html.contains("<p>&#60;script&#62;</p>"), "{html}");
            assert!(html.contains(&format!("<html lang=\"{}\">", locale.as_str())));
        }
    }

    #[test]
    fn a_form_has_each_field_once_and_no_other() {
        let parse = |body: &str| {
            let request = lambda_http::http::Request::builder().body(Body::Text(body.to_owned())).expect("a request");
            parse_form(&request, ["token", "password"]).ok()
        };
        assert_eq!(parse("password=a+b%26&token=t"), Some([Some("t".to_owned()), Some("a b&".to_owned())]));
        assert_eq!(parse("token=t&password="), Some([Some("t".to_owned()), None]));
        assert_eq!(parse(""), Some([None, None]));
        assert_eq!(parse("token=t&token=u"), None);
        assert_eq!(parse("token=t&admin=1"), None);
        assert_eq!(parse(&format!("token={}", "t".repeat(MAX_BODY))), None);
    }
}
