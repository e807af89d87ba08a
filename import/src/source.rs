//! Reading a file row by row, whatever its kind: lines of JSON, a list of JSON, the list `users` of a JSON object, CSV.
//!
//! Reading is blocking work, and runs ahead on a thread by some rows.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::formats::{self, Row};
use crate::{Format, ImportError, Refusal};

/// How many rows are read ahead.
const AHEAD: usize = 256;
/// The list that an object of JSON has users in.
const USERS: &str = "users";

/// A row of the file.
pub(crate) struct Entry {
    /// Where it begins, from 1.
    pub(crate) line: u64,
    /// How far the file was read then.
    pub(crate) bytes: u64,
    /// What it says.
    pub(crate) row: Result<Row, Refusal>,
}

/// The rows of a file, in order.
pub(crate) fn read(file: impl Read + Send + 'static, format: &Format) -> mpsc::Receiver<Result<Entry, ImportError>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reader = formats::reader(format);
    let is_document = matches!(format, Format::Firebase(_) | Format::Keycloak);
    tokio::task::spawn_blocking(move || {
        let position = Position::default();
        let mut each = |line: u64, value: Result<Value, Refusal>| {
            let row = match value.and_then(&reader) {
                // Something else than a user, among users.
                Ok(None) => return true,
                Ok(Some(row)) => Ok(row),
                Err(refusal) => Err(refusal),
            };
            sender.blocking_send(Ok(Entry { line, bytes: position.bytes.get(), row })).is_ok()
        };
        let read = read_all(BufReader::new(file), is_document, &position, &mut each);
        if let Err(reason) = read {
            // Nobody waits for it any more if this fails.
            drop(sender.blocking_send(Err(ImportError::File { line: position.line.get(), reason })));
        }
    });
    receiver
}

/// Takes a row, or what it is instead; `false` when no more are wanted.
type Each<'a> = dyn FnMut(u64, Result<Value, Refusal>) -> bool + 'a;

/// Where a reader is.
struct Position {
    line: Cell<u64>,
    bytes: Cell<u64>,
}

impl Default for Position {
    fn default() -> Self {
        Self { line: Cell::new(1), bytes: Cell::new(0) }
    }
}

/// What begins with `{` is one document for some formats, and the first of many lines for the others.
fn read_all(mut file: impl BufRead, is_document: bool, position: &Position, each: &mut Each<'_>) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    // Editors and Windows put a mark of UTF-8 there.
    if file.fill_buf().map_err(text)?.starts_with("\u{feff}".as_bytes()) {
        file.consume(3);
    }
    match file.fill_buf().map_err(text)?.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => read_json(file, position, each),
        Some(b'{') if is_document => read_json(file, position, each),
        Some(b'{') => read_lines(file, position, each),
        _ => read_csv(file, position, each),
    }
}

fn read_lines(mut file: impl BufRead, position: &Position, each: &mut Each<'_>) -> Result<(), String> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        position.line.set(number);
        let length = file.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        position.bytes.set(position.bytes.get() + length as u64);
        let is_blank = line.trim_ascii().is_empty();
        let value = || serde_json::from_slice(&line).map_err(|error| malformed(&error));
        if length == 0 || (!is_blank && !each(number, value())) {
            break;
        }
    }
    Ok(())
}

fn read_csv(file: impl BufRead, position: &Position, each: &mut Each<'_>) -> Result<(), String> {
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(WithoutReturns(file));
    let header = rows.headers().map_err(|error| error.to_string())?.clone();
    if !header.iter().any(|name| name == "email") {
        return Err("no JSON, and no CSV with a header that has email".to_owned());
    }
    for record in rows.records() {
        let record = record.map_err(|error| error.to_string())?;
        let begin = record.position().map_or(0, csv::Position::line);
        position.line.set(begin);
        position.bytes.set(record.position().map_or(0, csv::Position::byte));
        let fields = header.iter().zip(&record).map(|(name, field)| (name.to_owned(), Value::from(field)));
        let value = if record.len() == header.len() {
            Ok(Value::Object(fields.collect::<Map<_, _>>()))
        } else {
            Err(Refusal::Malformed(format!("{} fields, where the header has {}", record.len(), header.len())))
        };
        if !each(begin, value) {
            break;
        }
    }
    Ok(())
}

/// Lines end in `\n` alone: the numbers of others would be those of the line before.
struct WithoutReturns<R>(R);

impl<R: Read> Read for WithoutReturns<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..length {
                if buffer[at] != b'\r' {
                    buffer[kept] = buffer[at];
                    kept += 1;
                }
            }
            if kept > 0 || length == 0 {
                return Ok(kept);
            }
        }
    }
}

fn read_json(file: impl BufRead, position: &Position, each: &mut Each<'_>) -> Result<(), String> {
    let mut json = serde_json::Deserializer::from_reader(Counted { file, position });
    let walk = Walk { position, each, is_stopped: false };
    walk.run(&mut json)
}

fn malformed(error: &serde_json::Error) -> Refusal {
    // Its words quote no values, but for those of a wrong type.
    Refusal::Malformed(format!("{:?} error in JSON", error.classify()).to_lowercase())
}

/// A reader that knows where it is: `serde_json` takes one byte after the other.
struct Counted<'a, R> {
    file: R,
    position: &'a Position,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        #[expect(clippy::naive_bytecount, reason = "of one byte, nearly always")]
        let lines = buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        self.position.line.set(self.position.line.get() + lines as u64);
        self.position.bytes.set(self.position.bytes.get() + length as u64);
        Ok(length)
    }
}

/// Takes the elements of a list, or of the list `users` of an object, one by one.
struct Walk<'a, 'b> {
    position: &'a Position,
    each: &'a mut Each<'b>,
    is_stopped: bool,
}

impl Walk<'_, '_> {
    fn run<R: Read>(mut self, json: &mut serde_json::Deserializer<serde_json::de::IoRead<R>>) -> Result<(), String> {
        let outcome = json.deserialize_any(Top(&mut self)).and_then(|()| json.end());
        outcome.or_else(|error| if self.is_stopped { Ok(()) } else { Err(error.to_string()) })
    }
}

/// The whole document.
struct Top<'w, 'a, 'b>(&'w mut Walk<'a, 'b>);

impl<'de> Visitor<'de> for Top<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of users, or an object with one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = object.next_key::<String>()? {
            if key == USERS {
                found = true;
                object.next_value_seed(List(self.0))?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::custom("the object has no list of users")) }
    }
}

/// A list of users.
struct List<'w, 'a, 'b>(&'w mut Walk<'a, 'b>);

impl<'de> DeserializeSeed<'de> for List<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_seq(Top(self.0))
    }
}

/// One user.
struct Element<'w, 'a, 'b>(&'w mut Walk<'a, 'b>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        // Its first byte has been read, and is no end of a line.
        let line = self.0.position.line.get();
        let value = Value::deserialize(value)?;
        if (self.0.each)(line, Ok(value)) {
            return Ok(());
        }
        self.0.is_stopped = true;
        Err(D::Error::custom("stopped"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<(u64, Result<Value, Refusal>)>;

    /// The rows of a text by their lines, and why it cannot be read on.
    fn rows(text: &str, is_document: bool) -> (Rows, Result<(), String>) {
        let mut rows = Vec::new();
        let outcome = read_all(text.as_bytes(), is_document, &Position::default(), &mut |line, value| {
            rows.push((line, value));
            true
        });
        (rows, outcome)
    }

    /// The lines of the rows, all of which can be read.
    #[track_caller]
    fn lines(text: &str, is_document: bool) -> Vec<u64> {
        let (rows, outcome) = rows(text, is_document);
        assert_eq!(outcome, Ok(()), "{text}");
        assert!(rows.iter().all(|(_, value)| value.is_ok()), "{rows:?}");
        rows.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn each_kind_of_file_is_read_by_the_lines_where_its_rows_begin() {
        assert_eq!(lines("{\"a\": 1}\n{\"a\": 2}", false), [1, 2]);
        assert_eq!(lines("\u{feff}\n{\"a\": 1}\r\n\r\n{\"a\": 2}\r\n", false), [2, 4]);
        assert_eq!(lines("[\n  {\n    \"a\": 1\n  },\n  {\"a\": [2]}, {\"a\": 3}\n]\n", false), [2, 5, 5]);
        let realm = "{\"id\": {\"users\": [1]},\n \"users\": [\n{\"a\": 1},\n\n{\"a\": 2}], \"more\": []\n}";
        assert_eq!(lines(realm, true), [3, 5]);
        assert_eq!(lines("{\"users\": [{\"a\": 1}, {\"a\": 2}]}", true), [1, 1]);
        assert_eq!(lines("{\"users\": []}", true), [] as [u64; 0]);
        assert_eq!(lines("email,name\r\na,\"b\r\nc\"\r\nd,e\r\n", false), [2, 4]);
        assert_eq!(lines("email,name\na,\"b\nc\"\nd,e\n", false), [2, 4]);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_one_row_where_there_are_lines() {
        for (text, expected) in [
            ("{\"a\": 1}\n{\"a\": \n{\"a\": 3}\n", [(1, true), (2, false), (3, true)]),
            ("{\"a\"\n{\"a\": 2}\n{\"a\": 3}\n", [(1, false), (2, true), (3, true)]),
            ("email,name\na,b\nc\nd,e\n", [(2, true), (3, false), (4, true)]),
        ] {
            let (found, outcome) = rows(text, false);
            assert_eq!(outcome, Ok(()), "{text}");
            assert_eq!(
                found.iter().map(|(line, value)| (*line, value.is_ok())).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        }
        for text in ["[{\"a\": 1}, {\"a\"", "{\"other\": []}", "no,header\n1,2\n", "", "{\"users\": 1}", "[{}] more"] {
            assert!(rows(text, true).1.is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_read_that_nobody_wants() {
        for text in ["{\"a\": 1}\n{\"a\": 2}\n", "[{}, {}", "email\na\nb\n"] {
            let mut count = 0;
            let mut take_one = |_, _| {
                count += 1;
                false
            };
            assert_eq!(read_all(text.as_bytes(), false, &Position::default(), &mut take_one), Ok(()), "{text}");
            assert_eq!(count, 1, "{text}");
        }
    }
}
