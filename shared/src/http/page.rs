//! Pages that mailed links open: one layout, one style, no script, nothing from elsewhere, and forms that lead to the API
//! itself. What a page says, and its form, is the matter of the function that shows it.

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
pub fn render(locale: Locale, title: &str, service_name: &str, body: &impl Template) -> String {
    // Our templates have no part that can fail.
    let body = body.render().unwrap_or_default();
    Layout { lang: locale.as_str(), title, service_name, style: STYLE, body: &body }.render().unwrap_or_default()
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
