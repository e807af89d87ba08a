//! The pages of the local stack itself: a demonstration of the client, and the mailbox. Plain HTML and the client's
//! module; everything that people wrote is escaped.

use std::fmt::Write;
use std::sync::Arc;

use shared::locale::Locale;
use utoipa_swagger_ui::{Config, SwaggerFile};

use crate::mailbox::Mail;

/// The page at `/`: sign-up, verification, log-in and an account, by the client as anyone would use it.
pub(crate) const DEMO: &str = include_str!("../web/index.html");

/// A file that the pages load: its content type and its text.
pub(crate) fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    const SCRIPT: &str = "text/javascript";
    // The verification page's style, so that all pages look the same, and what they need beside it.
    const STYLE: &str = concat!(include_str!("../../shared/templates/page.css"), include_str!("../web/style.css"));
    Some(match path {
        "/_local/style.css" => ("text/css", STYLE),
        "/_local/latchkey.js" => (SCRIPT, include_str!("../../client/dist/latchkey.js")),
        "/_local/demo.js" => (SCRIPT, include_str!("../web/demo.js")),
        "/_local/words.js" => (SCRIPT, include_str!("../web/words.js")),
        // Shows the mailbox again when a mail has come, and only then: whoever reads one is not disturbed.
        "/_local/mail.js" => (SCRIPT, include_str!("../web/mailbox.js")),
        _ => return None,
    })
}

/// A file of Swagger UI, which shows the API's description.
pub(crate) fn docs(path: &str) -> Option<SwaggerFile<'static>> {
    let config = Config::from("/_local/openapi.json").use_base_layout();
    utoipa_swagger_ui::serve(path, Arc::new(config)).ok().flatten()
}

/// What the mailbox says.
struct Words {
    title: &'static str,
    none: &'static str,
    to: &'static str,
    from: &'static str,
    as_html: &'static str,
    as_text: &'static str,
    back: &'static str,
}

const fn words(locale: Locale) -> Words {
    match locale {
        Locale::En => Words {
            title: "Mailbox",
            none: "Nothing yet. Sign up, and the mail shows here.",
            to: "to",
            from: "from",
            as_html: "The mail as HTML",
            as_text: "The mail as text",
            back: "Back to the demonstration",
        },
        Locale::Ko => Words {
            title: "메일함",
            none: "아직 없습니다. 가입하면 메일이 여기에 나타납니다.",
            to: "받는 사람",
            from: "보낸 사람",
            as_html: "HTML 메일",
            as_text: "텍스트 메일",
            back: "데모로 돌아가기",
        },
    }
}

/// The page at `/_local/mail`, newest first.
pub(crate) fn mailbox(mails: &[Mail], locale: Locale) -> String {
    let words = words(locale);
    let mut body = String::new();
    if mails.is_empty() {
        let _ = write!(body, "<p>{}</p>", words.none);
    }
    for mail in mails.iter().rev() {
        let _ = write!(
            body,
            "<article class=\"card\"><h2>{subject}</h2>\
             <p class=\"hint\">{} <b>{}</b> · {} {} · <time datetime=\"{sent_at}\">{sent_at}</time></p>\
             <div class=\"parts\"><iframe sandbox=\"allow-popups allow-popups-to-escape-sandbox\" \
             title=\"{}: {subject}\" srcdoc=\"{}\"></iframe>\
             <pre tabindex=\"0\" aria-label=\"{}\">{}</pre></div></article>",
            words.to,
            escape(&mail.to),
            words.from,
            escape(&mail.from),
            words.as_html,
            escape(&mail.html.replace("<head>", "<head><base target=\"_blank\">")),
            words.as_text,
            linked(&mail.text),
            subject = escape(&mail.subject),
            sent_at = escape(&mail.sent_at),
        );
    }
    format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title} · Latchkey</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/_local/style.css\">\
         <script type=\"module\" src=\"/_local/mail.js\"></script></head>\
         <body><main class=\"wide\"><header><p class=\"service\">Latchkey</p><nav><a href=\"/\">{}</a></nav></header>\
         <h1>{title}</h1>{body}</main></body></html>",
        locale.as_str(),
        words.back,
        title = words.title,
    )
}

/// Text with the lines that are links as links.
fn linked(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let escaped = escape(line);
        if line.starts_with("http://") || line.starts_with("https://") {
            format!("<a href=\"{escaped}\" target=\"_blank\">{escaped}</a>")
        } else {
            escaped
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_escaped() {
        let evil = "\"><script>alert(1)</script>".to_owned();
        let mail = Mail {
            id: "1".to_owned(),
            to: evil.clone(),
            from: evil.clone(),
            subject: evil.clone(),
            text: evil.clone(),
            html: evil,
            sent_at: String::new(),
            configuration_set: None,
        };
        let page = mailbox(&[mail], Locale::En);
        assert!(!page.contains("<script>"), "{page}");
    }
}
