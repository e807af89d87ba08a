//! `admin import FILE --from …`: what is typed, and what is printed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shared::clock::Clock;
use shared::locale::Locale;
use shared::password_hasher::FirebaseParameters;
use shared::store::Store;
use thiserror::Error;

use crate::{Format, ImportError, Options, Progress, Report, import};

/// Makes users of what another system exported. Nothing is overwritten, and nobody is mailed.
///
/// Each row that makes no user is told by its line and the reason. An import that was stopped is repeated as it was:
/// who is there already is left alone. docs/import.md has the steps for each system.
///
/// admin --stack latchkey import users.json --from django --trust-addresses --dry-run
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command")]
pub struct Arguments {
    /// The file; - is standard input.
    file: PathBuf,
    /// What wrote it.
    #[arg(long, value_enum)]
    from: Source,
    /// Take addresses that the file does not call verified: you know that they are.
    #[arg(long)]
    trust_addresses: bool,
    /// Keep hashes of which a sign-in would take more than a second or 64 MiB, rather than ask for a new password.
    #[arg(long)]
    keep_costly_hashes: bool,
    /// Give users whose name cannot be one here the name user-…, rather than refuse them.
    #[arg(long)]
    rename: bool,
    /// The language of mails to users of whom the file does not say it: en or ko.
    #[arg(long, default_value = "en", value_parser = locale)]
    locale: Locale,
    /// Firebase's password hash parameters: a file with what its console shows.
    #[arg(long, value_name = "FILE", required_if_eq("from", "firebase"))]
    hash_parameters: Option<PathBuf>,
    /// Read everything, write nothing, and report what would become of it.
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    /// Whether nothing is to be written.
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    /// JSON lines of Latchkey's own, as export-users writes them.
    Latchkey,
    /// manage.py dumpdata auth.user.
    Django,
    /// firebase auth:export users.json
    Firebase,
    /// JSON lines of the users-exports job, with the hashes that support hands out.
    Auth0,
    /// The CSV of Cognito's user import.
    Cognito,
    /// The table auth.users, as CSV or JSON.
    Supabase,
    /// A realm of Keycloak with its users, by kc.sh export.
    Keycloak,
}

fn locale(text: &str) -> Result<Locale, String> {
    Locale::parse(text).ok_or_else(|| "one of en, ko".to_owned())
}

/// Why a command ended early.
#[derive(Debug, Error)]
pub enum CliError {
    /// A file that was named cannot be read.
    #[error("{file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// The import ended early.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Runs the command: refused rows and the report on `out`, as JSON lines if `is_json`, and how far it is on a terminal.
pub async fn run(
    arguments: Arguments,
    store: &Store,
    clock: &Clock,
    out: &mut dyn Write,
    is_json: bool,
) -> Result<Report, CliError> {
    let (file, length): (Box<dyn Read + Send>, _) = if arguments.file.as_os_str() == "-" {
        (Box::new(io::stdin()), None)
    } else {
        let opened = File::open(&arguments.file).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|error| unreadable(&arguments.file, &error))?;
        (Box::new(file), Some(length))
    };
    let dry_run = arguments.dry_run;
    let options = Options {
        format: format(&arguments)?,
        trust_addresses: arguments.trust_addresses,
        keep_costly_hashes: arguments.keep_costly_hashes,
        rename: arguments.rename,
        locale: arguments.locale,
        dry_run,
    };
    let bar = progress_bar(length);
    let mut tell = |progress: Progress<'_>| match progress {
        Progress::Refused { line, reason } => bar.suspend(|| {
            if is_json {
                let line = json!({"line": line, "code": reason.code(), "reason": reason.to_string()});
                writeln!(out, "{line}")
            } else {
                writeln!(out, "line {line}: {reason}")
            }
        }),
        Progress::Reached { bytes, report } => {
            bar.set_position(bytes);
            let seconds = bar.elapsed().as_secs().max(1);
            bar.set_message(format!("{} rows, {} a second", report.read, report.read / seconds));
            Ok(())
        }
    };
    let outcome = import(store, file, options, clock, &mut tell).await;
    bar.finish_and_clear();
    let report = outcome?;
    let printed = if is_json {
        writeln!(out, "{}", json!({"report": report, "dry_run": dry_run}))
    } else {
        let dry = if dry_run { "A dry run: nothing was written.\n" } else { "" };
        write!(out, "{dry}{report}")
    };
    printed.map_err(ImportError::Output)?;
    Ok(report)
}

fn format(arguments: &Arguments) -> Result<Format, CliError> {
    Ok(match arguments.from {
        Source::Latchkey => Format::Latchkey,
        Source::Django => Format::Django,
        Source::Auth0 => Format::Auth0,
        Source::Cognito => Format::Cognito,
        Source::Supabase => Format::Supabase,
        Source::Keycloak => Format::Keycloak,
        Source::Firebase => {
            let file = arguments.hash_parameters.clone().unwrap_or_default();
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            let reason = "no hash parameters: paste what Firebase's console shows, hash_config { … }".to_owned();
            let parameters = FirebaseParameters::parse(&text);
            Format::Firebase(parameters.ok_or_else(|| CliError::File { file: file.display().to_string(), reason })?)
        }
    })
}

fn unreadable(file: &Path, error: &io::Error) -> CliError {
    CliError::File { file: file.display().to_string(), reason: error.to_string() }
}

const OF_FILES: &str = "{wide_bar} {percent}%  {msg}  {eta} left";
const OF_STREAMS: &str = "{spinner} {msg}  {elapsed}";

/// A bar on standard error if that is a terminal; of a stream, whose end nobody knows, rows alone.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), OF_FILES),
        None => (ProgressBar::no_length(), OF_STREAMS),
    };
    // A test reads both templates.
    ProgressStyle::with_template(template).map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn what_is_typed_is_checked() {
        let parse = |words: &str| Command::try_parse_from(words.split(' ')).map(|command| command.arguments);
        let arguments = parse("import users.json --from django --trust-addresses --locale ko-KR").expect("a command");
        assert!(arguments.trust_addresses && !arguments.dry_run && arguments.from == Source::Django);
        assert_eq!(arguments.locale, Locale::Ko);
        for words in [
            "import",
            "import a",
            "import a --from mysql",
            "import a --from firebase",
            "import a --from django --locale fr",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
        assert!(parse("import - --from firebase --hash-parameters f").is_ok());
    }

    #[test]
    fn the_bars_can_be_drawn() {
        for template in [OF_FILES, OF_STREAMS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
