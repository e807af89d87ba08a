//! The commands, their arguments, and what they print.
//!
//! Exit codes: 0 done, or so already; 1 something failed, and may be repeated; 2 the command cannot be carried out; 3 not
//! found; 4 refused as things are; 5 not confirmed; 6 `doctor` found a problem, or `import` refused rows. A reader who goes away (`| head`) ends the output and
//! changes nothing else: an act is done before anything is printed.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use import::ImportError;
use import::cli::CliError;
use serde_json::json;
use shared::account::{CandidatePassword, EmailAddress, Role, Roles, Status, User, Username};
use shared::clock::Clock;
use shared::config::Tables;
use shared::locale::Locale;
use shared::store::{AccountPage, Page, TableSize};
use shared::telemetry::Act;
use shared::token::rotation::KeyName;

use crate::doctor::{self, Verdict};
use crate::keys::{self, KeyView, Rotation};
use crate::limits::Counted;
pub use crate::output::Console;
use crate::users::{Changed, Deleted, Details, NewUser, Who};
use crate::views::{
    AddressJson, ChangedJson, CountJson, DeletedJson, DetailsJson, KeyJson, RotationJson, UserJson, living,
};
use crate::{AdminError, Deployment, connect};

const EXAMPLES: &str = "\
Examples:
  admin --local user list                                  the local stack of this directory
  admin --stack latchkey user show ann@example.com         a deployment, by its stack
  admin --stack latchkey user disable ann                  no session lives on, no reset leads back
  admin --stack latchkey user roles ann --add editor
  admin --stack latchkey limits clear ann@example.com      whoever was held up may go on
  admin --stack latchkey import users.json --from django --dry-run
  admin --stack latchkey --json user list | jq -r .email
  admin --stack latchkey keys revoke Xq3fT2kB9aE           a stolen signing key
  admin --stack latchkey doctor

WHO is a name, an address, or id: and a user's identifier (id:AQEBAQEBAQEBAQEBAQEBAQ).

Exit codes: 0 done, or so already; 1 something failed, and may be repeated; 2 the command cannot be carried out; 3 not found;
4 refused as things are; 5 not confirmed; 6 doctor found a problem, or import refused rows. With --json, errors are one line of
JSON on standard error. Each act is a security event with your ARN: docs/operations.md.";

/// What operators do to a Latchkey deployment: users, keys, mail, and what it lacks.
#[derive(Debug, Parser)]
#[command(name = "admin", version, after_help = EXAMPLES, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Print JSON, of a stable form (docs/operations.md).
    #[arg(long, global = true)]
    json: bool,
    /// Ask nothing: whatever destroys or costs something is confirmed.
    #[arg(long, short, global = true)]
    yes: bool,
    #[command(subcommand)]
    command: Command,
}

/// Which deployment.
#[derive(Debug, Args)]
struct Target {
    /// The CloudFormation stack of the deployment.
    #[arg(long, value_name = "NAME", global = true, help_heading = "Which deployment")]
    stack: Option<String>,
    /// The local stack that runs on a data directory (.latchkey).
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = ".latchkey",
        global = true, help_heading = "Which deployment")]
    local: Option<PathBuf>,
    /// The table of users, where there is no stack; with --keys-table.
    #[arg(long, value_name = "NAME", global = true, help_heading = "Which deployment")]
    table: Option<String>,
    /// The table of keys.
    #[arg(long, value_name = "NAME", global = true, help_heading = "Which deployment")]
    keys_table: Option<String>,
    /// Where the API is, to which mailed links lead; with --table.
    #[arg(long, value_name = "URL", global = true, help_heading = "Which deployment")]
    api_url: Option<String>,
    /// The region; else that of your own settings.
    #[arg(long, value_name = "REGION", global = true, help_heading = "Which deployment")]
    region: Option<String>,
    /// The profile of your own settings.
    #[arg(long, value_name = "NAME", global = true, help_heading = "Which deployment")]
    profile: Option<String>,
}

#[expect(clippy::doc_markdown, reason = "it is what a terminal shows")]
#[derive(Debug, Subcommand)]
enum Command {
    /// Users.
    #[command(subcommand)]
    User(UserCommand),
    /// Keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Addresses that are not mailed.
    #[command(subcommand)]
    Mail(MailCommand),
    /// What is counted of guesses, mails and sources.
    #[command(subcommand)]
    Limits(LimitsCommand),
    Import(import::cli::Arguments),
    /// Prints all users as JSON lines, with the hashes of their passwords: what import --from latchkey reads.
    ///
    /// It reads the whole table, and says first what that costs. Whoever has the file can try passwords against it.
    ///
    /// admin --stack latchkey --yes export-users > users.jsonl
    ExportUsers,
    /// Looks at a deployment from inside and outside, and says what it lacks.
    ///
    /// Parameters, AppUrl and API on one site, keys present and due, the outbox and the queue of failed events empty, SES out of
    /// the sandbox and its identity verified, alarms confirmed, the API's key set, CORS. It changes nothing.
    Doctor,
    /// Prints completions for a shell.
    ///
    /// For bash: admin completions bash > ~/.local/share/bash-completion/completions/admin
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

#[expect(clippy::doc_markdown, reason = "it is what a terminal shows")]
#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Says who is meant, in one line.
    Find {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Shows a user, the sessions that live, and what keeps mails from the address.
    Show {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Lists all users, in no particular order. It reads the whole table, and says first what that costs.
    List {
        /// Only those of this status: enabled, reset_required, deleting, disabled.
        #[arg(long, value_parser = status)]
        status: Option<Status>,
        /// Only those with this role.
        #[arg(long)]
        role: Option<Role>,
        /// Stop after so many.
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
    },
    /// Makes a user, for whose address you vouch. Without a password, a link to choose one is mailed.
    ///
    /// admin --stack latchkey user create --username ann --email ann@example.com --role editor
    Create {
        /// The name; a reserved one may be given.
        #[arg(long)]
        username: String,
        /// The address.
        #[arg(long)]
        email: String,
        /// The language of mails: en or ko.
        #[arg(long, default_value = "en", value_parser = locale)]
        locale: Locale,
        /// A role; may be repeated.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<Role>,
        /// Read the password from a line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Bans a user: no session lives on, no reset and no undo leads back in.
    Disable {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Lifts a ban. If anything happened to the account meanwhile, a new password has to be chosen first.
    Enable {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Deletes a user for good, with a receipt to the owner. Asks first.
    ///
    /// While a change of address may still be taken back, the account is only closed until then.
    Delete {
        /// A name, an address, or id:…
        who: Who,
        /// Even where a change of address may still be taken back.
        #[arg(long)]
        now: bool,
    },
    /// Prints all that is held about a user, as JSON: what GET /me/export gives the owner.
    Export {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Mails a user a link to choose a new password.
    SendReset {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Ends all sessions of a user, everywhere and at once.
    RevokeSessions {
        /// A name, an address, or id:…
        who: Who,
    },
    /// Gives a user another address, for which you vouch. The one before is told, and may take it back for 7 days.
    SetEmail {
        /// A name, an address, or id:…
        who: Who,
        /// The address to be.
        email: String,
        /// Take the account back from whoever reads the present address: no undo, all sessions end, and a link to choose a new
        /// password goes to the new address.
        #[arg(long)]
        recover: bool,
    },
    /// Shows, gives and takes roles. To take one away ends the user's sessions.
    Roles {
        /// A name, an address, or id:…
        who: Who,
        /// A role to give; may be repeated.
        #[arg(long, value_name = "ROLE")]
        add: Vec<Role>,
        /// A role to take away; may be repeated.
        #[arg(long, value_name = "ROLE")]
        remove: Vec<Role>,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Lists all keys, without their secrets.
    List,
    /// Has new keys follow, which sign after three hours; nobody is signed out.
    Rotate,
    /// Ends a key at once, as when it was stolen. Says first what ends with it, and asks.
    Revoke {
        /// The kid of a signing key, or another's name as keys list shows it.
        #[arg(value_name = "KID", value_parser = key_name)]
        name: KeyName,
    },
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// Shows what is counted of somebody now; of nothing, nothing.
    Show {
        /// A name, an address, id:…, or an IP address.
        who: Counted,
    },
    /// Has it forgotten: whoever was held up may go on at once, and so may whoever guesses. Of an IPv6 address, for its /48.
    Clear {
        /// A name, an address, id:…, or an IP address.
        who: Counted,
    },
}

#[derive(Debug, Subcommand)]
enum MailCommand {
    /// Lets mails go to an address again that sent mail back or complained.
    Unblock {
        /// The address.
        address: String,
    },
}

fn status(text: &str) -> Result<Status, String> {
    Status::parse(text).ok_or_else(|| "one of enabled, reset_required, deleting, disabled".to_owned())
}

fn locale(text: &str) -> Result<Locale, String> {
    Locale::parse(text).ok_or_else(|| "one of en, ko".to_owned())
}

fn key_name(text: &str) -> Result<KeyName, String> {
    KeyName::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// What became of a command.
enum Outcome {
    Done,
    /// `doctor` found a problem, or `import` refused rows.
    Problem,
}

/// Why a command ended early.
enum Ended {
    Error(AdminError),
    /// Nobody reads any more, or the terminal is gone.
    Output(io::Error),
}

impl<E: Into<AdminError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What printing failed by is the reader's matter, and no failure of the command.
fn printed(outcome: io::Result<()>) -> Result<(), Ended> {
    outcome.map_err(Ended::Output)
}

/// Runs a command; its exit code.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, console: &mut Console<'_>, clock: Clock) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render();
            let stream = if error.use_stderr() { &mut console.err } else { &mut console.out };
            // Whoever does not read it need not.
            let _ = write!(stream, "{}", text.ansi());
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let is_json = arguments.json;
    match execute(arguments, console, clock).await {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Problem) => 6,
        Err(Ended::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(Ended::Output(error)) => {
            let _ = console.say(&format!("error: {error}"));
            1
        }
        Err(Ended::Error(error)) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let text = if is_json {
                json!({"error": {"code": error.code(), "message": error.to_string()}}).to_string()
            } else {
                format!("{red}error:{red:#} {error}")
            };
            let _ = console.say(&text);
            error.exit_code()
        }
    }
}

async fn execute(arguments: Arguments, console: &mut Console<'_>, clock: Clock) -> Result<Outcome, Ended> {
    let Arguments { target, json, yes, command } = arguments;
    let command = match command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "admin", &mut text);
            printed(console.out.write_all(&text))?;
            return Ok(Outcome::Done);
        }
        command => command,
    };
    let deployment = find(target, clock).await?;
    let mut session = Run { deployment, console, json, yes };
    match command {
        Command::User(command) => session.user(command).await,
        Command::Keys(command) => session.keys(command).await,
        Command::Mail(MailCommand::Unblock { address }) => session.unblock(&address).await,
        Command::Limits(LimitsCommand::Show { who }) => session.limits(&who).await,
        Command::Limits(LimitsCommand::Clear { who }) => session.clear_limits(&who).await,
        Command::Import(arguments) => session.import(arguments).await,
        Command::ExportUsers => session.export_users().await,
        Command::Doctor => session.doctor().await,
        Command::Completions { .. } => Ok(Outcome::Done),
    }
}

/// Finds the deployment that is meant.
async fn find(target: Target, clock: Clock) -> Result<Deployment, AdminError> {
    let Target { stack, local, table, keys_table, api_url, region, profile } = target;
    match (stack, local, table, keys_table) {
        (None, Some(directory), None, None) => connect::local(&directory, clock),
        (Some(stack), None, None, None) => connect::stack(&stack, connect::aws(region, profile).await?, clock).await,
        (None, None, Some(users), Some(keys)) => {
            let config = connect::aws(region, profile).await?;
            connect::tables(Tables { users, keys }, api_url, config, clock).await
        }
        _ => Err(AdminError::Usage(
            "which deployment? One of --stack NAME, --local[=DIR], or --table NAME with --keys-table NAME".to_owned(),
        )),
    }
}

/// A command that runs.
struct Run<'a, 'b> {
    deployment: Deployment,
    console: &'a mut Console<'b>,
    json: bool,
    yes: bool,
}

impl Run<'_, '_> {
    async fn user(&mut self, command: UserCommand) -> Result<Outcome, Ended> {
        match command {
            UserCommand::Find { who } => {
                let user = self.deployment.find_user(&who).await?;
                if self.json {
                    printed(self.console.json(&UserJson::new(&user)))?;
                } else {
                    printed(self.console.line(&summary(&user)))?;
                }
            }
            UserCommand::Show { who } => {
                let details = self.deployment.user_details(&who).await?;
                printed(self.show(&details))?;
            }
            UserCommand::List { status, role, limit } => {
                let wanted = Wanted { status, role, limit: limit.unwrap_or(usize::MAX) };
                self.list(&wanted).await?;
            }
            UserCommand::Create { username, email, locale, roles, password_stdin } => {
                let password = if password_stdin { Some(read_password(self.console.input)?) } else { None };
                let (username, email) = (Username::parse(&username)?, EmailAddress::parse(&email)?);
                let new = NewUser { username, email, locale, roles: Roles::new(roles)?, password };
                let user = self.deployment.create_user(new).await?;
                let note = match user.status {
                    Status::ResetRequired => "A link to choose a password is on its way.",
                    _ => "",
                };
                self.changed(&Changed { user, changed: true }, "created", note)?;
            }
            UserCommand::Disable { who } => {
                let changed = self.deployment.disable_user(&who).await?;
                self.changed(&changed, "disabled", "No session lives on.")?;
            }
            UserCommand::Enable { who } => {
                let changed = self.deployment.enable_user(&who).await?;
                let note = match changed.user.status {
                    Status::ResetRequired => "A new password has to be chosen first: mail a link with user send-reset.",
                    _ => "",
                };
                self.changed(&changed, "enabled", note)?;
            }
            UserCommand::Delete { who, now } => {
                let user = self.deployment.find_user(&who).await?;
                let what = format!("{} will be deleted, and nothing brings it back.", summary(&user));
                self.console.confirm(self.yes, &what)?;
                // The very one that was shown.
                let deleted = self.deployment.delete_user(&Who::Id(user.id), now).await?;
                self.deleted(&deleted)?;
            }
            UserCommand::Export { who } => {
                let export = self.deployment.export_user(&who).await?;
                printed(self.console.json(&export))?;
            }
            UserCommand::SendReset { who } => {
                let user = self.deployment.send_reset(&who).await?;
                self.changed(&Changed { user, changed: true }, "mailed a link to choose a new password", "")?;
            }
            UserCommand::RevokeSessions { who } => {
                let changed = self.deployment.revoke_sessions(&who).await?;
                self.changed(&changed, "signed out everywhere", "")?;
            }
            UserCommand::SetEmail { who, email, recover } => {
                let email = EmailAddress::parse(&email)?;
                let changed = self.deployment.set_email(&who, &email, recover).await?;
                let note = match (changed.changed, recover, changed.user.status) {
                    (true, true, Status::Disabled) => {
                        "It is disabled as before; nothing that was mailed before opens it."
                    }
                    (true, true, _) => "All sessions ended; a link to choose a new password is on its way there.",
                    (true, false, _) => "The address before is told, and may take it back for 7 days.",
                    (false, ..) => "",
                };
                self.changed(&changed, "has this address now", note)?;
            }
            UserCommand::Roles { who, add, remove } => {
                if add.is_empty() && remove.is_empty() {
                    let user = self.deployment.find_user(&who).await?;
                    self.roles(&Changed { user, changed: false })?;
                } else {
                    let changed = self.deployment.change_roles(&who, &add, &remove).await?;
                    self.roles(&changed)?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    fn show(&mut self, details: &Details) -> io::Result<()> {
        let now = self.deployment.clock.now();
        if self.json {
            return self.console.json(&DetailsJson::new(details, now));
        }
        let Details { user, mark, .. } = details;
        let mut facts = vec![
            ("id", user.id.to_string()),
            ("username", user.username.as_str().to_owned()),
            ("email", user.email.as_str().to_owned()),
            ("status", user.status.as_str().to_owned()),
            ("roles", roles_text(user)),
            ("locale", user.locale.as_str().to_owned()),
            ("created", user.created_at.to_string()),
        ];
        if let Some((reason, until)) = mark.filter(|(_, until)| now < *until) {
            facts.push(("not mailed", format!("until {until}, by a {}", reason.as_str())));
        }
        for undo in user.undos.iter().filter(|undo| now < undo.until) {
            facts.push(("undo", format!("{} may have the account back until {}", undo.email.as_str(), undo.until)));
        }
        self.console.facts(&facts)?;
        let sessions = living(details, now);
        if sessions.is_empty() {
            return self.console.line("no session");
        }
        let rows = sessions.into_iter().map(|session| {
            [
                session.kind.as_str().to_owned(),
                shared::device::words(&session.device),
                session.created_at.to_string(),
                session.used_at.to_string(),
            ]
        });
        self.console.line("")?;
        self.console.table(["session", "device", "since", "last used"], rows)
    }

    async fn list(&mut self, wanted: &Wanted) -> Result<(), Ended> {
        // On a machine of one's own it costs nothing.
        if self.deployment.aws.is_some() {
            let size = self.deployment.store.find_size().await?;
            self.console.confirm(self.yes, &cost_of(size))?;
        }
        self.deployment.store.put_outbox(&self.deployment.act(Act::UserList, None)).await?;
        let mut listed = Vec::new();
        let (mut count, mut unreadable, mut from) = (0, 0, None);
        loop {
            let Page { users, unreadable: bad, next } = self.deployment.store.scan_users(from).await?;
            unreadable += bad;
            for user in users.into_iter().filter(|user| wanted.fits(user)).take(wanted.limit - count) {
                count += 1;
                if self.json {
                    // As they come, so that a million needs no memory.
                    printed(self.console.json_line(&UserJson::new(&user)))?;
                } else {
                    listed.push(row(&user));
                }
            }
            from = next;
            if from.is_none() || count >= wanted.limit {
                break;
            }
        }
        if !self.json {
            printed(self.console.table(["username", "email", "status", "roles", "created"], listed))?;
            let _ = self.console.say(&format!("{count} users"));
        }
        if unreadable > 0 {
            return Err(AdminError::Failed(format!("{unreadable} users cannot be read")).into());
        }
        Ok(())
    }

    fn changed(&mut self, changed: &Changed, verb: &str, note: &str) -> Result<(), Ended> {
        let Changed { user, changed } = changed;
        if self.json {
            return printed(self.console.json(&ChangedJson { user: UserJson::new(user), changed: *changed }));
        }
        let already = if *changed { "" } else { " already" };
        printed(self.console.line(&format!("{}: {verb}{already}", summary(user))))?;
        if !note.is_empty() && *changed {
            printed(self.console.say(note))?;
        }
        Ok(())
    }

    fn deleted(&mut self, deleted: &Deleted) -> Result<(), Ended> {
        if self.json {
            return printed(self.console.json(&DeletedJson::new(deleted)));
        }
        let user = &deleted.user.username;
        printed(self.console.line(&match deleted.waits_until {
            None => format!("{user} is deleted"),
            Some(until) => {
                format!("{user} is closed, and deleted at {until}: a change of address may be taken back until then")
            }
        }))
    }

    fn roles(&mut self, changed: &Changed) -> Result<(), Ended> {
        if self.json {
            let (user, changed) = (UserJson::new(&changed.user), changed.changed);
            return printed(self.console.json(&ChangedJson { user, changed }));
        }
        printed(self.console.line(&roles_text(&changed.user)))
    }

    async fn keys(&mut self, command: KeysCommand) -> Result<Outcome, Ended> {
        match command {
            KeysCommand::List => {
                let keys = self.deployment.list_keys().await?;
                if self.json {
                    printed(self.console.json(&keys.iter().map(KeyJson::new).collect::<Vec<_>>()))?;
                } else {
                    let rows = keys.iter().map(|KeyView { name, purpose, state, active_from }| {
                        [
                            name.to_string(),
                            purpose.as_str().to_owned(),
                            state.as_str().to_owned(),
                            active_from.to_string(),
                        ]
                    });
                    printed(self.console.table(["key", "for", "state", "signs from"], rows))?;
                }
            }
            KeysCommand::Rotate => {
                let rotation = self.deployment.rotate_keys().await?;
                self.rotated(rotation, "They sign in three hours; nobody is signed out.")?;
            }
            KeysCommand::Revoke { name } => {
                let key = self.deployment.find_key(&name).await?;
                let what = format!(
                    "{name} will end: {}. It holds within {} minutes; verifiers of your own hold on to their copy of the key set \
                     as long as they cache it (API Gateway's, two hours).",
                    key.purpose.cost(),
                    keys::HOLDS_AFTER / 60
                );
                self.console.confirm(self.yes, &what)?;
                let rotation = self.deployment.revoke_key(&name).await?;
                self.rotated(rotation, "")?;
            }
        }
        Ok(Outcome::Done)
    }

    fn rotated(&mut self, rotation: Rotation, note: &str) -> Result<(), Ended> {
        let Rotation { created, deleted } = rotation;
        if self.json {
            return printed(self.console.json(&RotationJson { created, deleted }));
        }
        printed(self.console.line(&format!("{created} made, {deleted} deleted")))?;
        if created > 0 && !note.is_empty() {
            printed(self.console.say(note))?;
        }
        Ok(())
    }

    async fn unblock(&mut self, address: &str) -> Result<Outcome, Ended> {
        let email = EmailAddress::parse(address)?;
        let changed = self.deployment.unblock_mail(&email).await?;
        if self.json {
            printed(self.console.json(&AddressJson { email: email.as_str(), changed }))?;
        } else {
            let what = if changed { "is mailed again" } else { "was not blocked" };
            printed(self.console.line(&format!("{} {what}", email.as_str())))?;
        }
        Ok(Outcome::Done)
    }

    async fn limits(&mut self, who: &Counted) -> Result<Outcome, Ended> {
        let counts = self.deployment.find_counts(who).await?;
        if self.json {
            printed(self.console.json(&counts.iter().map(CountJson::new).collect::<Vec<_>>()))?;
        } else if counts.is_empty() {
            printed(self.console.line("nothing is counted"))?;
        } else {
            let rows = counts.into_iter().map(|count| {
                let next = count.open_at.map_or_else(|| "-".to_owned(), |open_at| open_at.to_string());
                [count.scope.to_owned(), count.of, count.count.to_string(), next, count.until.to_string()]
            });
            printed(self.console.table(["limit", "of", "count", "next guess at", "forgotten at"], rows))?;
        }
        Ok(Outcome::Done)
    }

    async fn clear_limits(&mut self, who: &Counted) -> Result<Outcome, Ended> {
        self.deployment.clear_counts(who).await?;
        if self.json {
            printed(self.console.json(&json!({"cleared": true})))?;
        } else {
            printed(self.console.line("nothing is counted any more"))?;
        }
        Ok(Outcome::Done)
    }

    async fn import(&mut self, arguments: import::cli::Arguments) -> Result<Outcome, Ended> {
        if !arguments.is_dry_run() {
            self.deployment.store.put_outbox(&self.deployment.act(Act::UsersImport, None)).await?;
        }
        let Deployment { store, clock, .. } = &self.deployment;
        let outcome = import::cli::run(arguments, store, clock, &mut self.console.out, self.json).await;
        match outcome {
            Ok(report) if report.refused == 0 => Ok(Outcome::Done),
            Ok(_) => Ok(Outcome::Problem),
            Err(CliError::Import(ImportError::Output(error))) => Err(Ended::Output(error)),
            Err(error @ CliError::File { .. }) => Err(AdminError::Usage(error.to_string()).into()),
            Err(error) => Err(AdminError::failed(&error).into()),
        }
    }

    async fn export_users(&mut self) -> Result<Outcome, Ended> {
        if self.deployment.aws.is_some() {
            let size = self.deployment.store.find_size().await?;
            self.console.confirm(self.yes, &cost_of(size))?;
        }
        self.deployment.store.put_outbox(&self.deployment.act(Act::UsersExport, None)).await?;
        let (mut count, mut deleting, mut unreadable, mut from) = (0, 0, 0, None);
        loop {
            let AccountPage { accounts, unreadable: bad, next } = self.deployment.store.scan_accounts(from).await?;
            unreadable += bad;
            for (user, hash) in accounts {
                match import::line_of(&user, &hash) {
                    Some(line) => printed(self.console.json_line(&line))?,
                    None => {
                        deleting += 1;
                        continue;
                    }
                }
                count += 1;
            }
            from = next;
            if from.is_none() {
                break;
            }
        }
        let _ = self.console.say(&format!("{count} users; {deleting} that are being deleted are left out"));
        if unreadable > 0 {
            return Err(AdminError::Failed(format!("{unreadable} users cannot be read")).into());
        }
        Ok(Outcome::Done)
    }

    async fn doctor(&mut self) -> Result<Outcome, Ended> {
        let checks = self.deployment.examine().await;
        if self.json {
            printed(self.console.json(&checks))?;
        } else {
            for check in &checks {
                let style = match check.verdict {
                    Verdict::Ok => Style::new().fg_color(Some(AnsiColor::Green.into())),
                    Verdict::Warning => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
                    Verdict::Problem => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
                    Verdict::Skipped => Style::new().dimmed(),
                };
                let (verdict, name) = (check.verdict.as_str(), check.name);
                printed(self.console.line(&format!("{style}{verdict:8}{style:#} {name:14} {}", check.detail)))?;
            }
        }
        Ok(if doctor::has_problem(&checks) { Outcome::Problem } else { Outcome::Done })
    }
}

/// Which users are listed.
struct Wanted {
    status: Option<Status>,
    role: Option<Role>,
    limit: usize,
}

impl Wanted {
    fn fits(&self, user: &User) -> bool {
        self.status.is_none_or(|status| user.status == status)
            && self.role.as_ref().is_none_or(|role| user.roles.contains(role.as_str()))
    }
}

fn row(user: &User) -> [String; 5] {
    [
        user.username.as_str().to_owned(),
        user.email.as_str().to_owned(),
        user.status.as_str().to_owned(),
        roles_text(user),
        user.created_at.to_string(),
    ]
}

/// A user in one line.
fn summary(user: &User) -> String {
    format!("{} <{}> ({}, id:{})", user.username, user.email.as_str(), user.status.as_str(), user.id)
}

fn roles_text(user: &User) -> String {
    if user.roles.is_empty() { "-".to_owned() } else { user.roles.iter().collect::<Vec<_>>().join(", ") }
}

/// What a scan of a table costs: half a read unit for each 4 KB, which is not strong, at the list price of us-east-1
/// (docs/cost.md).
fn cost_of(size: TableSize) -> String {
    let TableSize { items, bytes } = size;
    let units = bytes.div_ceil(8192);
    // 0.125 $ for a million, in millionths of a dollar.
    let micro_dollars = units.div_ceil(8);
    let (dollars, rest) = (micro_dollars / 1_000_000, micro_dollars % 1_000_000);
    format!(
        "The table holds {items} items, {} MB: to read it all takes {units} read units, {dollars}.{rest:06} $.",
        bytes.div_ceil(1_000_000)
    )
}

fn read_password(input: &mut dyn BufRead) -> Result<CandidatePassword, AdminError> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(|error| AdminError::Failed(error.to_string()))?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    if line.is_empty() {
        return Err(AdminError::Usage("no password came on standard input".to_owned()));
    }
    Ok(CandidatePassword::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_scan_s_cost_is_said_in_units_and_money() {
        let size = |items, bytes| TableSize { items, bytes };
        assert!(cost_of(size(0, 0)).contains("0 read units, 0.000000 $"));
        // A million users of 1 KB with their two items.
        let text = cost_of(size(3_000_000, 1_600_000_000));
        assert!(text.contains("3000000 items, 1600 MB") && text.contains("195313 read units, 0.024415 $"), "{text}");
    }
}
