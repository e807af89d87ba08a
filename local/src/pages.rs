//! The pages of the local stack itself: what runs here, and the mailbox. Plain HTML, no script but the mailbox's,
//! everything that people wrote escaped.

use std::fmt::Write;

use crate::mailbox::Mail;
use crate::template::Route;

const STYLE: &str = include_str!("pages.css");

/// Shows the mailbox again when a mail has come, and only then: whoever reads one is not disturbed.
pub(crate) const MAILBOX_SCRIPT: &str = include_str!("mailbox.js");

/// The page at `/`.
pub(crate) fn home(url: &str, routes: &[Route]) -> String {
    let mut rows = String::new();
    for route in routes {
        let access = if route.is_authorized { "behind the authorizer" } else { "public, or checks the caller itself" };
        let _ = write!(
            rows,
            "<tr><td><code>{}</code><td><code>{}</code><td><code>functions/{}</code><td>{access}",
            escape(&route.method),
            escape(&route.path),
            escape(&route.folder)
        );
    }
    let body = format!(
        "<h1>Latchkey is running</h1>\
         <p>This is the local stack: the functions of <code>template.yaml</code> at <code>{}</code>, an embedded \
         DynamoDB, and a mailbox instead of SES. Mails go nowhere but to <a href=\"/_local/mail\">the mailbox</a>.</p>\
         <h2>Routes</h2><div class=\"wide\"><table><thead><tr><th>Method<th>Path<th>Function<th>Access<tbody>{rows}\
         </table></div>\
         <h2>Try it</h2><pre>curl -s {0}/signup -H 'content-type: application/json' \\\n  \
         -d '{{\"username\":\"ann\",\"email\":\"ann@example.com\",\"password\":\"correct horse battery\"}}'</pre>\
         <p>Then open the mail. The README goes on from there.</p>",
        escape(url)
    );
    document("Latchkey", &body)
}

/// The page at `/_local/mail`, newest first.
pub(crate) fn mailbox(mails: &[Mail]) -> String {
    let mut body =
        format!("<h1>Mailbox</h1><p>{} mails, newest first. <a href=\"/\">What runs here</a></p>", mails.len());
    if mails.is_empty() {
        body.push_str("<p>Nothing yet. Sign up, and the mail shows here.</p>");
    }
    for mail in mails.iter().rev() {
        let _ = write!(
            body,
            "<article><h2>{}</h2><p class=\"meta\">to <b>{}</b> · from {} · <time>{}</time></p>\
             <div class=\"parts\"><iframe sandbox=\"allow-popups allow-popups-to-escape-sandbox\" \
             title=\"{0}, as HTML\" srcdoc=\"{}\"></iframe><pre>{}</pre></div></article>",
            escape(&mail.subject),
            escape(&mail.to),
            escape(&mail.from),
            escape(&mail.sent_at),
            escape(&mail.html.replace("<head>", "<head><base target=\"_blank\">")),
            linked(&mail.text),
        );
    }
    body.push_str("<script src=\"/_local/mail.js\"></script>");
    document("Mailbox · Latchkey", &body)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>"
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
        let page = mailbox(&[mail]);
        assert!(!page.contains("<script>"), "{page}");
    }
}
