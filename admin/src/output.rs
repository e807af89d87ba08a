//! What a command prints, and what it is told: tables for people, JSON for scripts.

use std::io::{self, BufRead, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::AdminError;

/// Where a command prints, and who is there.
pub struct Console<'a> {
    /// Results. Whoever reads them may go away at any time.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
    /// Answers and passwords.
    pub input: &'a mut dyn BufRead,
    /// Whether a person is there to be asked.
    pub is_interactive: bool,
    /// Columns of the terminal; `None` where there is none, and lines are as long as they are.
    pub width: Option<u16>,
}

impl Console<'_> {
    /// Prints a line of results.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Prints one JSON document, on several lines.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *self.out, value)?;
        writeln!(self.out)
    }

    /// Prints one JSON document of many, on one line.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, value)?;
        writeln!(self.out)
    }

    /// Prints a table that fits the terminal.
    pub(crate) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(header.map(str::to_uppercase));
        for row in rows {
            table.add_row(row.map(|cell| printable(&cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Prints names and values.
    pub(crate) fn facts(&mut self, facts: &[(&str, String)]) -> io::Result<()> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in facts {
            writeln!(self.out, "{name:width$}  {}", printable(value))?;
        }
        Ok(())
    }

    /// Says something beside the results.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.err, "{text}")
    }

    /// Has what destroys or costs something confirmed: by `--yes`, or by whoever is there.
    pub(crate) fn confirm(&mut self, is_confirmed: bool, what: &str) -> Result<(), AdminError> {
        if is_confirmed {
            return Ok(());
        }
        if !self.is_interactive {
            return Err(AdminError::Unconfirmed(format!("{what} Say --yes to do it.")));
        }
        let mut answer = String::new();
        let asked = write!(self.err, "{what} Go on? [y/N] ").and_then(|()| self.err.flush());
        asked
            .and_then(|()| self.input.read_line(&mut answer))
            .map_err(|error| AdminError::Failed(error.to_string()))?;
        if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            Ok(())
        } else {
            Err(AdminError::Unconfirmed("Nothing was done.".to_owned()))
        }
    }
}

/// A text without anything that a terminal obeys: what strangers wrote is among it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed, on standard output and beside it.
    fn printed(width: Option<u16>, print: impl FnOnce(&mut Console<'_>)) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut input: &[u8] = b"y\nno\n";
        print(&mut Console { out: &mut out, err: &mut err, input: &mut input, is_interactive: true, width });
        (String::from_utf8(out).expect("UTF-8"), String::from_utf8(err).expect("UTF-8"))
    }

    #[test]
    fn a_table_fits_the_terminal_and_is_whole_elsewhere() {
        let long = "a-very-long-role ".repeat(20);
        for width in [None, Some(40), Some(80)] {
            let rows = [["ann".to_owned(), long.clone()], ["bob\u{1b}[31m".to_owned(), String::new()]];
            let (text, _) = printed(width, |console| console.table(["name", "roles"], rows).expect("printed"));
            let longest = text.lines().map(|line| line.chars().count()).max().expect("lines");
            assert!(width.is_none_or(|width| longest <= usize::from(width)), "{longest}: {text}");
            assert_eq!(width.is_none(), text.contains(long.trim_end()), "{text}");
            assert!(!text.contains('\u{1b}') && text.contains("NAME"), "{text}");
        }
    }

    #[test]
    fn whoever_is_there_is_asked_and_nobody_else() {
        let (_, asked) = printed(None, |console| {
            assert!(console.confirm(false, "It is gone then.").is_ok());
            assert!(matches!(console.confirm(false, "It is gone then."), Err(AdminError::Unconfirmed(_))));
            assert!(matches!(console.confirm(false, "It is gone then."), Err(AdminError::Unconfirmed(_))), "no answer");
        });
        assert_eq!(asked.matches("It is gone then. Go on? [y/N]").count(), 3);
        let (_, asked) = printed(None, |console| {
            console.is_interactive = false;
            assert!(console.confirm(true, "It is gone then.").is_ok());
            let error = console.confirm(false, "It is gone then.").expect_err("nobody said so");
            assert!(error.to_string().contains("--yes"), "{error}");
        });
        assert_eq!(asked, "");
    }
}
