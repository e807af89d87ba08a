//! What mails say, in English and Korean, as text and as HTML.
//!
//! A [`Letter`] is a fact, as it waits in the outbox; [`Letter::render`] writes it. Each says what happened, when and on
//! which device as far as that is known, and what to do if it was not its reader. All have one form, whose templates are
//! compiled in, and the HTML one escapes what it is given. No text of a stranger reaches a header: the subject holds the
//! service's name alone. In a body such text stands by itself, as a value beside its label. It may look like a host name
//! (`evil.example`), so the HTML part breaks it with elements where mail programs would see a link; in plain text nothing
//! can stop one that links such words.

use askama::Template;
use serde::{Deserialize, Serialize};

use crate::account::{CODE_LIFETIME, LINK_LIFETIME};
use crate::clock::Timestamp;
use crate::locale::Locale;
use crate::outbox::{MailedSecrets, QueuedMail};

/// What a mail tells. Names and addresses are as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
pub enum Letter {
    /// To whoever signed up: a link and a code.
    Verification {
        /// The name typed at sign-up.
        username: String,
    },
    /// To the owner of an account, when somebody signs up with its address again.
    AlreadyRegistered,
    /// To whoever forgot a password: a link and a code.
    PasswordReset {
        /// The account's name.
        username: String,
    },
    /// To an address without an account, for which somebody forgot a password.
    NoAccount,
    /// To the new address of an account: a link and a code.
    EmailChange {
        /// The account's name.
        username: String,
    },
    /// To the owner of an account, when somebody wants its address for another account.
    EmailTaken,
    /// To the present address: another one was asked for.
    EmailChangeRequested {
        /// The account's name.
        username: String,
        /// The address that was asked for.
        new_email: String,
    },
    /// To the address before: it is no longer the account's; a link that undoes it.
    EmailChanged {
        /// The account's name.
        username: String,
        /// The account's address now.
        new_email: String,
    },
    /// To the restored address: the change was undone.
    EmailChangeUndone {
        /// The account's name.
        username: String,
    },
    /// The password was changed by who knew it.
    PasswordChanged {
        /// The account's name.
        username: String,
    },
    /// The password was reset by a mail.
    PasswordWasReset {
        /// The account's name.
        username: String,
    },
    /// The name was changed.
    UsernameChanged {
        /// The account's name now.
        username: String,
        /// Its name before.
        former: String,
    },
    /// Somebody signed in on a device that was not seen before.
    NewDevice {
        /// The account's name.
        username: String,
    },
    /// A session was ended because a credential was used twice.
    SessionReused {
        /// The account's name.
        username: String,
    },
    /// The account was deleted.
    AccountDeleted {
        /// The account's name.
        username: String,
    },
    /// An operator made an account: a link to choose a password.
    AccountCreated {
        /// The account's name.
        username: String,
    },
    /// To the address before: an operator gave the account another one, and took it back from whoever reads here.
    EmailReplaced {
        /// The account's name.
        username: String,
    },
    /// An operator deleted the account.
    AccountRemoved {
        /// The account's name.
        username: String,
    },
}

/// What all mails of a deployment have in common.
#[derive(Clone, Copy, Debug)]
pub struct Letterhead<'a> {
    /// What the product calls itself.
    pub service: &'a str,
    /// Where the app is.
    pub app_url: &'a str,
}

/// A mail as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedMail {
    /// One line.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// The parts of a mail, in their order.
struct Parts {
    subject: String,
    opening: &'static str,
    /// What is said of the code, where there is one, and of the link.
    code: &'static str,
    link: Option<LinkWords>,
    /// What the page does, and what to do if it was not the reader.
    closing: &'static [&'static str],
}

struct LinkWords {
    /// Before it, beside a code and without one.
    beside_code: &'static str,
    alone: &'static str,
    button: &'static str,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    App,
    /// A page of the API, with the mail's token.
    Page(&'static str),
}

/// A value beside its label, in pieces that no mail program takes for a link.
struct Fact {
    label: &'static str,
    value: String,
}

impl Fact {
    fn pieces(&self) -> impl Iterator<Item = &str> {
        self.value.split_inclusive(['.', '@', ':', '/'])
    }
}

#[derive(Template)]
#[template(path = "mail.txt", escape = "none")]
struct Text<'a> {
    service: &'a str,
    opening: &'a str,
    facts: &'a [Fact],
    code: Option<(String, &'a str)>,
    link: Option<(String, &'a str)>,
    closing: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "mail.html", escape = "html")]
struct Html<'a> {
    lang: &'a str,
    service: &'a str,
    opening: &'a str,
    facts: &'a [Fact],
    code: Option<(String, &'a str)>,
    link: Option<(String, &'a str, &'a str)>,
    closing: &'a [&'a str],
}

impl QueuedMail {
    /// Writes the mail; with its secrets, where it has some, and the API's URL, where its link leads.
    pub fn render(&self, head: Letterhead<'_>, secrets: Option<(&MailedSecrets, &str)>) -> RenderedMail {
        let Letterhead { service, app_url } = head;
        let parts = self.letter.parts(self.locale, service);
        let facts = self.facts();
        let code = secrets.and_then(|(secrets, _)| secrets.code.as_deref()).filter(|_| !parts.code.is_empty());
        let link = parts.link.as_ref().and_then(|words| {
            let url = match (words.target, secrets) {
                (Target::App, _) => app_url.to_owned(),
                (Target::Page(path), Some((secrets, api_url))) => format!("{api_url}{path}?token={}", secrets.token),
                (Target::Page(_), None) => return None,
            };
            Some((if code.is_some() { words.beside_code } else { words.alone }, words.button, url))
        });
        let code = code.map(|code| (with_lifetimes(parts.code), code));
        let sentence = link.as_ref().map(|(sentence, button, url)| (with_lifetimes(sentence), *button, url.as_str()));
        let text = Text {
            service,
            opening: parts.opening,
            facts: &facts,
            code: code.clone(),
            link: sentence.as_ref().map(|(sentence, _, url)| (sentence.clone(), *url)),
            closing: parts.closing,
        };
        let html = Html {
            lang: self.locale.as_str(),
            service,
            opening: parts.opening,
            facts: &facts,
            code,
            link: sentence,
            closing: parts.closing,
        };
        RenderedMail { subject: one_line(&parts.subject), text: write(&text), html: write(&html) }
    }

    /// What is known of the fact: the account, what changed, when and on which device.
    fn facts(&self) -> Vec<Fact> {
        let labels = Labels::of(self.locale);
        let mut facts = Vec::new();
        let mut push = |label, value: &str| facts.push(Fact { label, value: value.to_owned() });
        if let Some(username) = self.letter.username() {
            push(labels.username, username);
        }
        match &self.letter {
            Letter::EmailChangeRequested { new_email, .. } | Letter::EmailChanged { new_email, .. } => {
                push(labels.new_email, new_email);
            }
            Letter::UsernameChanged { former, .. } => push(labels.former, former),
            _ => {}
        }
        // Whoever has just signed up knows when, and on what.
        if !matches!(self.letter, Letter::Verification { .. }) {
            push(labels.time, &moment(self.at, self.locale));
            if let Some(device) = &self.device {
                push(labels.device, device);
            }
        }
        facts
    }
}

struct Labels {
    username: &'static str,
    former: &'static str,
    new_email: &'static str,
    time: &'static str,
    device: &'static str,
}

impl Labels {
    const fn of(locale: Locale) -> Self {
        match locale {
            Locale::En => Self {
                username: "User name",
                former: "Former user name",
                new_email: "New address",
                time: "Time",
                device: "Device",
            },
            Locale::Ko => Self {
                username: "사용자 이름",
                former: "이전 사용자 이름",
                new_email: "새 주소",
                time: "시각",
                device: "기기",
            },
        }
    }
}

/// A time as people read it: `27 November 2026, 20:59 UTC`.
fn moment(at: Timestamp, locale: Locale) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let text = at.to_string();
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<usize>().ok());
    let (Some(year), Some(month), Some(day), Some(clock)) =
        (number(0..4), number(5..7), number(8..10), text.get(11..16))
    else {
        return text;
    };
    match locale {
        Locale::En => {
            let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or_default();
            format!("{day} {month} {year}, {clock} UTC")
        }
        Locale::Ko => format!("{year}년 {month}월 {day}일 {clock} (UTC)"),
    }
}

/// Puts the lifetimes of codes and links into a sentence.
fn with_lifetimes(sentence: &str) -> String {
    let (minutes, hours) = (CODE_LIFETIME / 60, LINK_LIFETIME / 3600);
    sentence.replace("{minutes}", &minutes.to_string()).replace("{hours}", &hours.to_string())
}

impl Letter {
    fn username(&self) -> Option<&str> {
        match self {
            Self::AlreadyRegistered | Self::NoAccount | Self::EmailTaken => None,
            Self::Verification { username }
            | Self::PasswordReset { username }
            | Self::EmailChange { username }
            | Self::EmailChangeRequested { username, .. }
            | Self::EmailChanged { username, .. }
            | Self::EmailChangeUndone { username }
            | Self::PasswordChanged { username }
            | Self::PasswordWasReset { username }
            | Self::UsernameChanged { username, .. }
            | Self::NewDevice { username }
            | Self::SessionReused { username }
            | Self::AccountDeleted { username }
            | Self::AccountCreated { username }
            | Self::EmailReplaced { username }
            | Self::AccountRemoved { username } => Some(username),
        }
    }

    fn parts(&self, locale: Locale, service: &str) -> Parts {
        match locale {
            Locale::En => self.english(service),
            Locale::Ko => self.korean(service),
        }
    }

    #[expect(clippy::too_many_lines, reason = "the words of all mails, side by side")]
    fn english(&self, service: &str) -> Parts {
        let app = || Some(link("", "To sign in, go to:", "Go to the app", Target::App));
        match self {
            Self::Verification { .. } => Parts {
                subject: format!("Confirm your address for {service}"),
                opening: "Somebody, we hope you, signed up with this address.",
                code: "Type this code where you signed up, within {minutes} minutes:",
                link: Some(link(
                    "Or open this page, within {hours} hours:",
                    "To confirm, open this page within {hours} hours:",
                    "Confirm your address",
                    Target::Page("/verify"),
                )),
                closing: &[
                    "The page has a button; nothing happens until you press it.",
                    "If it was not you, ignore this mail. Nobody gets an account with your address without it. Never tell \
                     anyone the code.",
                ],
            },
            Self::AlreadyRegistered => Parts {
                subject: format!("You already have an account with {service}"),
                opening: "Somebody, perhaps you, tried to sign up with this address. You already have an account with it.",
                code: "",
                link: app(),
                closing: &["If it was not you, ignore this mail. Your account is as it was."],
            },
            Self::PasswordReset { .. } => Parts {
                subject: format!("Choose a new password for {service}"),
                opening: "Somebody, we hope you, asked for a new password for your account.",
                code: "Type this code where you asked for it, within {minutes} minutes:",
                link: Some(link(
                    "Or open this page, within {hours} hours:",
                    "To choose one, open this page within {hours} hours:",
                    "Choose a new password",
                    Target::Page("/password/reset"),
                )),
                closing: &[
                    "The page asks for the new password; nothing happens until you send it. It ends all sessions.",
                    "If it was not you, ignore this mail: your password is as it was. Never tell anyone the code.",
                ],
            },
            Self::NoAccount => Parts {
                subject: format!("There is no account with {service}"),
                opening: "Somebody, perhaps you, asked for a new password for an account with this address. There is no \
                          account with it; you may have signed up with another address.",
                code: "",
                link: app(),
                closing: &["If it was not you, ignore this mail."],
            },
            Self::EmailChange { .. } => Parts {
                subject: format!("Confirm your new address for {service}"),
                opening: "Somebody, we hope you, wants to use this address for an account.",
                code: "Type this code where you asked for the change, within {minutes} minutes:",
                link: Some(link(
                    "Or open this page where you are signed in, within {hours} hours:",
                    "To confirm, open this page where you are signed in, within {hours} hours:",
                    "Confirm your new address",
                    Target::Page("/email/confirm"),
                )),
                closing: &[
                    "The page has a button; nothing happens until you press it.",
                    "If it was not you, ignore this mail: without it nobody uses your address. Never tell anyone the code.",
                ],
            },
            Self::EmailTaken => Parts {
                subject: format!("You already have an account with {service}"),
                opening: "Somebody, perhaps you, wants to use this address for another account. You already have an account \
                          with it, and an address can have only one.",
                code: "",
                link: app(),
                closing: &["If it was not you, ignore this mail. Your account is as it was."],
            },
            Self::EmailChangeRequested { .. } => Parts {
                subject: format!("Another address for your account with {service}"),
                opening: "Somebody, we hope you, asked to change the address of your account. Nothing has changed yet: the \
                          new address has to be confirmed first.",
                code: "",
                link: app(),
                closing: &[
                    "If it was not you, somebody is signed in to your account. Change your password at once: that \
                            ends all other sessions, and this change.",
                ],
            },
            Self::EmailChanged { .. } => Parts {
                subject: format!("The address of your account with {service} was changed"),
                opening: "The address of your account was changed. Mails go to the new one from now on.",
                code: "",
                link: Some(link(
                    "",
                    "If it was not you, open this page within 7 days to have this address back. It ends all sessions, and \
                     you choose a new password then:",
                    "Undo the change",
                    Target::Page("/email/undo"),
                )),
                closing: &[
                    "The page has a button; nothing happens until you press it.",
                    "If it was you, you need do nothing.",
                ],
            },
            Self::EmailChangeUndone { .. } => Parts {
                subject: format!("This is again the address of your account with {service}"),
                opening: "The change of your account's address was undone, and all sessions were ended. The account needs a \
                          new password: another mail leads there.",
                code: "",
                link: None,
                closing: &["If it was not you, somebody reads your mail: secure your mailbox first."],
            },
            Self::PasswordChanged { .. } => Parts {
                subject: format!("Your password for {service} was changed"),
                opening: "The password of your account was changed. All other sessions were ended.",
                code: "",
                link: app(),
                closing: &[
                    "If it was not you, say at once where you sign in that you forgot your password: this address \
                            still proves that the account is yours.",
                ],
            },
            Self::PasswordWasReset { .. } => Parts {
                subject: format!("Your password for {service} was reset"),
                opening: "The password of your account was reset by a mail to this address. All sessions were ended.",
                code: "",
                link: app(),
                closing: &[
                    "If it was not you, somebody reads your mail: secure your mailbox first. Then say where you sign \
                            in that you forgot your password.",
                ],
            },
            Self::UsernameChanged { .. } => Parts {
                subject: format!("Your user name for {service} was changed"),
                opening: "The user name of your account was changed.",
                code: "",
                link: app(),
                closing: &[
                    "If it was not you, somebody is signed in to your account. Change your password at once: that \
                            ends all other sessions.",
                ],
            },
            Self::NewDevice { .. } => Parts {
                subject: format!("A new device signed in to {service}"),
                opening: "Somebody, we hope you, signed in to your account on a device that had not been used for it before.",
                code: "",
                link: app(),
                closing: &["If it was not you, somebody knows your password. Change it at once: that ends all other \
                            sessions."],
            },
            Self::SessionReused { .. } => Parts {
                subject: format!("A session with {service} was ended"),
                opening: "A session of your account was used from two places, as if it had been copied. It was ended.",
                code: "",
                link: app(),
                closing: &["If you cannot explain it, change your password: that ends all other sessions."],
            },
            Self::AccountDeleted { .. } => Parts {
                subject: format!("Your account with {service} was deleted"),
                opening: "Your account was deleted, with all that was kept of it.",
                code: "",
                link: None,
                closing: &[
                    "If it was not you, somebody was signed in to it. It cannot be brought back; its name and address \
                            are free again.",
                ],
            },
            Self::AccountCreated { .. } => Parts {
                subject: format!("Your account with {service}"),
                opening: "We made an account for you with this address. It has no password yet.",
                code: "",
                link: Some(link(
                    "",
                    "To choose one, open this page within {hours} hours:",
                    "Choose a password",
                    Target::Page("/password/reset"),
                )),
                closing: &[
                    "The page asks for the password; nothing happens until you send it.",
                    "If the link has ended, say where you sign in that you forgot your password. If you expected no account, \
                     ignore this mail.",
                ],
            },
            Self::EmailReplaced { .. } => Parts {
                subject: format!("Your account with {service} has another address"),
                opening: "We gave the account another address, ended all its sessions and voided its password. Nothing that \
                          was mailed to this address opens it any more.",
                code: "",
                link: None,
                closing: &["If you did not ask us for it and the account is yours, write to us."],
            },
            Self::AccountRemoved { .. } => Parts {
                subject: format!("Your account with {service} was deleted"),
                opening: "We deleted your account, with all that was kept of it.",
                code: "",
                link: None,
                closing: &[
                    "If you did not ask us for it, write to us. It cannot be brought back; its name and address are \
                            free again.",
                ],
            },
        }
    }

    #[expect(clippy::too_many_lines, reason = "the words of all mails, side by side")]
    fn korean(&self, service: &str) -> Parts {
        let app = || Some(link("", "로그인하려면 다음 주소로 가세요:", "앱으로 이동", Target::App));
        match self {
            Self::Verification { .. } => Parts {
                subject: format!("{service} 이메일 주소 확인"),
                opening: "누군가(본인이기를 바랍니다) 이 주소로 가입을 신청했습니다.",
                code: "가입을 신청한 화면에 {minutes}분 안에 이 코드를 입력하세요:",
                link: Some(link(
                    "또는 {hours}시간 안에 이 페이지를 여세요:",
                    "확인하려면 {hours}시간 안에 이 페이지를 여세요:",
                    "이메일 주소 확인",
                    Target::Page("/verify"),
                )),
                closing: &[
                    "페이지에 버튼이 있습니다. 버튼을 누르기 전에는 아무 일도 일어나지 않습니다.",
                    "본인이 신청하지 않았다면 이 메일을 무시하세요. 이 메일 없이는 아무도 회원님의 주소로 계정을 만들 수 \
                     없습니다. 코드를 누구에게도 알려 주지 마세요.",
                ],
            },
            Self::AlreadyRegistered => Parts {
                subject: format!("{service} 계정이 이미 있습니다"),
                opening: "누군가(본인일 수도 있습니다) 이 주소로 가입하려고 했습니다. 이 주소로 만든 계정이 이미 있습니다.",
                code: "",
                link: app(),
                closing: &["본인이 아니라면 이 메일을 무시하세요. 회원님의 계정은 그대로입니다."],
            },
            Self::PasswordReset { .. } => Parts {
                subject: format!("{service} 새 비밀번호 정하기"),
                opening: "누군가(본인이기를 바랍니다) 회원님 계정의 새 비밀번호를 요청했습니다.",
                code: "요청한 화면에 {minutes}분 안에 이 코드를 입력하세요:",
                link: Some(link(
                    "또는 {hours}시간 안에 이 페이지를 여세요:",
                    "새 비밀번호를 정하려면 {hours}시간 안에 이 페이지를 여세요:",
                    "새 비밀번호 정하기",
                    Target::Page("/password/reset"),
                )),
                closing: &[
                    "페이지에서 새 비밀번호를 입력합니다. 보내기 전에는 아무 일도 일어나지 않으며, 보내면 모든 세션이 \
                     종료됩니다.",
                    "본인이 요청하지 않았다면 이 메일을 무시하세요. 비밀번호는 그대로입니다. 코드를 누구에게도 알려 주지 \
                     마세요.",
                ],
            },
            Self::NoAccount => Parts {
                subject: format!("{service} 계정이 없습니다"),
                opening: "누군가(본인일 수도 있습니다) 이 주소로 만든 계정의 새 비밀번호를 요청했습니다. 이 주소로 만든 계정은 \
                          없습니다. 다른 주소로 가입했을 수 있습니다.",
                code: "",
                link: app(),
                closing: &["본인이 아니라면 이 메일을 무시하세요."],
            },
            Self::EmailChange { .. } => Parts {
                subject: format!("{service} 새 이메일 주소 확인"),
                opening: "누군가(본인이기를 바랍니다) 이 주소를 계정에 사용하려고 합니다.",
                code: "변경을 요청한 화면에 {minutes}분 안에 이 코드를 입력하세요:",
                link: Some(link(
                    "또는 로그인한 기기에서 {hours}시간 안에 이 페이지를 여세요:",
                    "확인하려면 로그인한 기기에서 {hours}시간 안에 이 페이지를 여세요:",
                    "새 주소 확인",
                    Target::Page("/email/confirm"),
                )),
                closing: &[
                    "페이지에 버튼이 있습니다. 버튼을 누르기 전에는 아무 일도 일어나지 않습니다.",
                    "본인이 요청하지 않았다면 이 메일을 무시하세요. 이 메일 없이는 아무도 회원님의 주소를 사용할 수 없습니다. \
                     코드를 누구에게도 알려 주지 마세요.",
                ],
            },
            Self::EmailTaken => Parts {
                subject: format!("{service} 계정이 이미 있습니다"),
                opening: "누군가(본인일 수도 있습니다) 이 주소를 다른 계정에 사용하려고 합니다. 이 주소로 만든 계정이 이미 \
                          있으며, 한 주소로는 계정을 하나만 만들 수 있습니다.",
                code: "",
                link: app(),
                closing: &["본인이 아니라면 이 메일을 무시하세요. 회원님의 계정은 그대로입니다."],
            },
            Self::EmailChangeRequested { .. } => Parts {
                subject: format!("{service} 계정의 이메일 주소 변경 요청"),
                opening: "누군가(본인이기를 바랍니다) 회원님 계정의 주소를 바꾸려고 합니다. 새 주소를 확인하기 전에는 아무것도 \
                          바뀌지 않습니다.",
                code: "",
                link: app(),
                closing: &[
                    "본인이 아니라면 누군가 회원님의 계정에 로그인한 것입니다. 바로 비밀번호를 변경하세요. 다른 모든 \
                            세션과 이 변경이 취소됩니다.",
                ],
            },
            Self::EmailChanged { .. } => Parts {
                subject: format!("{service} 계정의 이메일 주소가 변경되었습니다"),
                opening: "회원님 계정의 주소가 변경되었습니다. 앞으로 메일은 새 주소로 보냅니다.",
                code: "",
                link: Some(link(
                    "",
                    "본인이 아니라면 7일 안에 이 페이지를 열어 이 주소로 되돌리세요. 모든 세션이 종료되고 새 비밀번호를 \
                     정하게 됩니다:",
                    "변경 취소",
                    Target::Page("/email/undo"),
                )),
                closing: &[
                    "페이지에 버튼이 있습니다. 버튼을 누르기 전에는 아무 일도 일어나지 않습니다.",
                    "본인이 변경했다면 아무것도 하지 않아도 됩니다.",
                ],
            },
            Self::EmailChangeUndone { .. } => Parts {
                subject: format!("{service} 계정의 주소가 되돌려졌습니다"),
                opening: "회원님 계정의 주소 변경이 취소되었고 모든 세션이 종료되었습니다. 새 비밀번호가 필요합니다. 다른 메일을 \
                          따라 정하세요.",
                code: "",
                link: None,
                closing: &["본인이 아니라면 누군가 회원님의 메일을 읽고 있습니다. 먼저 메일함을 안전하게 하세요."],
            },
            Self::PasswordChanged { .. } => Parts {
                subject: format!("{service} 비밀번호가 변경되었습니다"),
                opening: "회원님 계정의 비밀번호가 변경되었습니다. 다른 모든 세션이 종료되었습니다.",
                code: "",
                link: app(),
                closing: &[
                    "본인이 아니라면 바로 로그인 화면에서 비밀번호를 잊었다고 알리세요. 이 주소로 계정이 회원님의 것임을 \
                            확인할 수 있습니다.",
                ],
            },
            Self::PasswordWasReset { .. } => Parts {
                subject: format!("{service} 비밀번호가 재설정되었습니다"),
                opening: "이 주소로 보낸 메일을 통해 회원님 계정의 비밀번호가 재설정되었습니다. 모든 세션이 종료되었습니다.",
                code: "",
                link: app(),
                closing: &[
                    "본인이 아니라면 누군가 회원님의 메일을 읽고 있습니다. 먼저 메일함을 안전하게 하고, 로그인 화면에서 \
                            비밀번호를 잊었다고 알리세요.",
                ],
            },
            Self::UsernameChanged { .. } => Parts {
                subject: format!("{service} 사용자 이름이 변경되었습니다"),
                opening: "회원님 계정의 사용자 이름이 변경되었습니다.",
                code: "",
                link: app(),
                closing: &[
                    "본인이 아니라면 누군가 회원님의 계정에 로그인한 것입니다. 바로 비밀번호를 변경하세요. 다른 모든 \
                            세션이 종료됩니다.",
                ],
            },
            Self::NewDevice { .. } => Parts {
                subject: format!("새 기기에서 {service}에 로그인했습니다"),
                opening: "누군가(본인이기를 바랍니다) 전에 사용한 적이 없는 기기에서 회원님의 계정에 로그인했습니다.",
                code: "",
                link: app(),
                closing: &[
                    "본인이 아니라면 누군가 회원님의 비밀번호를 알고 있습니다. 바로 변경하세요. 다른 모든 세션이 \
                            종료됩니다.",
                ],
            },
            Self::SessionReused { .. } => Parts {
                subject: format!("{service} 세션이 종료되었습니다"),
                opening: "회원님 계정의 한 세션이 복사된 것처럼 두 곳에서 사용되어 종료되었습니다.",
                code: "",
                link: app(),
                closing: &["짐작 가는 이유가 없다면 비밀번호를 변경하세요. 다른 모든 세션이 종료됩니다."],
            },
            Self::AccountDeleted { .. } => Parts {
                subject: format!("{service} 계정이 삭제되었습니다"),
                opening: "회원님의 계정과 보관하던 모든 정보가 삭제되었습니다.",
                code: "",
                link: None,
                closing: &[
                    "본인이 아니라면 누군가 회원님의 계정에 로그인했던 것입니다. 계정은 되돌릴 수 없으며, 이름과 주소는 \
                            다시 사용할 수 있습니다.",
                ],
            },
            Self::AccountCreated { .. } => Parts {
                subject: format!("{service} 계정이 만들어졌습니다"),
                opening: "이 주소로 회원님의 계정을 만들었습니다. 아직 비밀번호가 없습니다.",
                code: "",
                link: Some(link(
                    "",
                    "비밀번호를 정하려면 {hours}시간 안에 이 페이지를 여세요:",
                    "비밀번호 정하기",
                    Target::Page("/password/reset"),
                )),
                closing: &[
                    "페이지에서 비밀번호를 입력합니다. 보내기 전에는 아무 일도 일어나지 않습니다.",
                    "링크가 만료되었다면 로그인 화면에서 비밀번호를 잊었다고 알리세요. 계정을 기다린 적이 없다면 이 메일을 \
                     무시하세요.",
                ],
            },
            Self::EmailReplaced { .. } => Parts {
                subject: format!("{service} 계정의 주소가 바뀌었습니다"),
                opening: "저희가 계정의 주소를 바꾸고, 모든 세션을 종료하고, 비밀번호를 무효로 했습니다. 이 주소로 보낸 어떤 메일로도 \
                          더는 계정에 들어갈 수 없습니다.",
                code: "",
                link: None,
                closing: &["저희에게 요청한 적이 없고 계정이 회원님의 것이라면 저희에게 연락하세요."],
            },
            Self::AccountRemoved { .. } => Parts {
                subject: format!("{service} 계정이 삭제되었습니다"),
                opening: "저희가 회원님의 계정과 보관하던 모든 정보를 삭제했습니다.",
                code: "",
                link: None,
                closing: &[
                    "저희에게 요청한 적이 없다면 저희에게 연락하세요. 계정은 되돌릴 수 없으며, 이름과 주소는 다시 사용할 수 \
                     있습니다.",
                ],
            },
        }
    }
}

const fn link(beside_code: &'static str, alone: &'static str, button: &'static str, target: Target) -> LinkWords {
    LinkWords { beside_code, alone, button, target }
}

/// Our templates have no part that can fail.
fn write(template: &impl Template) -> String {
    template.render().unwrap_or_default()
}

/// A header is one line, whatever the operator called the service.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::EmailAddress;

    const HEAD: Letterhead<'_> = Letterhead { service: "Ann & Co", app_url: "https://app.example.test/" };
    const LOCALES: [Locale; 2] = [Locale::En, Locale::Ko];

    /// One of each.
    fn letters(username: &str) -> [Letter; 18] {
        let username = || username.to_owned();
        let new_email = || "new@evil.example".to_owned();
        [
            Letter::Verification { username: username() },
            Letter::AlreadyRegistered,
            Letter::PasswordReset { username: username() },
            Letter::NoAccount,
            Letter::EmailChange { username: username() },
            Letter::EmailTaken,
            Letter::EmailChangeRequested { username: username(), new_email: new_email() },
            Letter::EmailChanged { username: username(), new_email: new_email() },
            Letter::EmailChangeUndone { username: username() },
            Letter::PasswordChanged { username: username() },
            Letter::PasswordWasReset { username: username() },
            Letter::UsernameChanged { username: username(), former: "bob".to_owned() },
            Letter::NewDevice { username: username() },
            Letter::SessionReused { username: username() },
            Letter::AccountDeleted { username: username() },
            Letter::AccountCreated { username: username() },
            Letter::EmailReplaced { username: username() },
            Letter::AccountRemoved { username: username() },
        ]
    }

    fn render(letter: Letter, locale: Locale, secrets: Option<&MailedSecrets>) -> RenderedMail {
        let to = EmailAddress::parse("ann@example.com").expect("an address");
        let now = Timestamp::from_unix(1_795_813_140);
        let mail = QueuedMail::new(to, locale, letter, now).from_device("ExampleApp/1.0 (iPhone; iOS 20.1)");
        mail.render(HEAD, secrets.map(|secrets| (secrets, "https://api.example.test")))
    }

    fn secrets(code: Option<&str>) -> MailedSecrets {
        MailedSecrets { token: "AbC_-9".to_owned(), code: code.map(str::to_owned) }
    }

    /// The letters that let their reader prove something, and the page that each leads to.
    fn page(letter: &Letter) -> Option<&'static str> {
        match letter {
            Letter::Verification { .. } => Some("/verify"),
            Letter::PasswordReset { .. } | Letter::AccountCreated { .. } => Some("/password/reset"),
            Letter::EmailChange { .. } => Some("/email/confirm"),
            Letter::EmailChanged { .. } => Some("/email/undo"),
            _ => None,
        }
    }

    #[test]
    fn each_letter_with_a_proof_has_link_and_code_in_both_parts() {
        let secrets = secrets(Some("01234567"));
        for locale in LOCALES {
            for letter in letters("ann") {
                let Some(path) = page(&letter) else { continue };
                // Nobody waits for it on a device.
                let has_code = !matches!(letter, Letter::EmailChanged { .. } | Letter::AccountCreated { .. });
                let mail = render(letter, locale, Some(&secrets));
                let link = format!("https://api.example.test{path}?token=AbC_-9");
                assert!(mail.text.lines().any(|line| line == link), "{}", mail.text);
                assert!(mail.html.contains(&format!("href=\"{link}\"")), "{}", mail.html);
                assert_eq!(mail.text.lines().filter(|line| *line == "01234567").count(), usize::from(has_code));
                assert_eq!(mail.html.contains("01234567"), has_code);
            }
        }
    }

    #[test]
    fn without_a_code_only_the_link_is_offered() {
        for locale in LOCALES {
            for letter in letters("ann").into_iter().filter(|letter| page(letter).is_some()) {
                let mail = render(letter, locale, Some(&secrets(None)));
                assert!(mail.text.contains("AbC_-9") && !mail.text.contains("10 min"), "{}", mail.text);
                assert!(!mail.text.contains("10분"), "{}", mail.text);
            }
        }
    }

    #[test]
    fn other_letters_hold_no_token() {
        for locale in LOCALES {
            for letter in letters("ann").into_iter().filter(|letter| page(letter).is_none()) {
                let mail = render(letter, locale, None);
                assert!(!mail.text.contains("token=") && !mail.html.contains("token="), "{}", mail.text);
            }
        }
    }

    #[test]
    fn each_says_what_when_where_and_what_to_do() {
        for locale in LOCALES {
            for letter in letters("ann") {
                let mail = render(letter.clone(), locale, Some(&secrets(Some("01234567"))));
                for part in [&mail.text, &mail.html] {
                    assert_eq!(part.contains("ann"), letter.username().is_some(), "{part}");
                    let says_when = !matches!(letter, Letter::Verification { .. });
                    let (when, device) = match locale {
                        Locale::En => ("27 November 2026, 20:59 UTC", "ExampleApp on iPhone"),
                        Locale::Ko => ("2026년 11월 27일 20:59 (UTC)", "ExampleApp on iPhone"),
                    };
                    let plain = part.replace("<span>", "").replace("</span>", "");
                    assert_eq!(plain.contains(when) && plain.contains(device), says_when, "{plain}");
                    assert!(!part.contains("{minutes}") && !part.contains("{hours}") && !part.contains('\u{fffd}'));
                }
                assert!(!mail.subject.is_empty() && mail.html.contains(&format!("lang=\"{}\"", locale.as_str())));
                assert!(mail.html.contains("Ann &#38; Co"), "{}", mail.html);
                // A continued line of the source must not leave its indentation behind.
                assert!(!mail.text.contains("  "), "{}", mail.text);
            }
        }
    }

    #[test]
    fn strangers_words_are_escaped_and_no_link() {
        for letter in letters("evil.example") {
            let mail = render(letter, Locale::En, None);
            assert!(!mail.html.contains("evil.example"), "{}", mail.html);
        }
        let mail = render(Letter::PasswordChanged { username: "<b>".to_owned() }, Locale::En, None);
        assert!(!mail.html.contains("<span><b>"), "{}", mail.html);
    }

    #[test]
    fn a_subject_is_one_line() {
        let head = Letterhead { service: "A\r\nBcc: eve@example.com", app_url: "" };
        let to = EmailAddress::parse("ann@example.com").expect("an address");
        for locale in LOCALES {
            let mail =
                QueuedMail::new(to.clone(), locale, Letter::NoAccount, Timestamp::from_unix(0)).render(head, None);
            assert!(!mail.subject.contains(['\r', '\n']));
        }
    }
}
