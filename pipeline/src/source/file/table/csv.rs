//! Rows of CSV as RFC 4180 has it: a first line with names, commas, quotes.
//!
//! # Guarantees
//! - A cell is JSON text under its column's name; one without characters is null.
//! - A row with another number of cells than the first line, or that is not UTF-8, is none, and says so.

use std::fs::File;
use std::io::{self, BufReader, Read};

use ::csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Terminator};
use flate2::read::MultiGzDecoder;

use super::{Row, Rows, json_text};

/// The longest row.
const ROW_BYTES_MAX: usize = 64 << 20;

pub(super) struct CsvRows {
    reader: Reader<Box<dyn Read + Send>>,
    /// The names as JSON, once the first line has been read.
    names: Option<Vec<String>>,
    record: ByteRecord,
    number: u64,
    ended: bool,
}

impl CsvRows {
    pub(super) fn new(file: File, packed: bool) -> CsvRows {
        let file = BufReader::with_capacity(1 << 18, file);
        let text: Box<dyn Read + Send> =
            if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut builder = ReaderBuilder::new();
        // Lines are counted by their ends, so that a carriage return before one is taken off here.
        builder.has_headers(false).flexible(true).terminator(Terminator::Any(b'\n'));
        let reader = builder.from_reader(text);
        let record = ByteRecord::new();
        CsvRows { reader, names: None, record, number: 0, ended: false }
    }

    /// Reads one record of the file. False at its end; a reason where it cannot be read any further.
    fn advance(&mut self) -> io::Result<Result<bool, String>> {
        loop {
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Ok(Ok(false)),
                Ok(true) => self.take_return_off(),
                Err(error) => {
                    return match error.into_kind() {
                        // A damaged archive is what the file holds; anything else is the disk's.
                        ErrorKind::Io(error) if is_content(&error) => Ok(Err(error.to_string())),
                        ErrorKind::Io(error) => Err(error),
                        other => Ok(Err(format!("{other:?}"))),
                    };
                }
            }
            // An empty line, of which only its end was left.
            if self.record.len() > 1 || !self.record.as_slice().is_empty() {
                return Ok(Ok(true));
            }
        }
    }

    fn take_return_off(&mut self) {
        let last = self.record.len().saturating_sub(1);
        let Some(cell) = self.record.get(last).and_then(|cell| cell.strip_suffix(b"\r")) else {
            return;
        };
        let cell = cell.to_vec();
        let position = self.record.position().cloned();
        self.record.truncate(last);
        self.record.push_field(&cell);
        self.record.set_position(position);
    }

    /// The names of the first line; none when there is no line.
    fn header(&mut self) -> io::Result<Result<Vec<String>, Option<String>>> {
        match self.advance()? {
            Ok(true) => {}
            Ok(false) => return Ok(Err(None)),
            Err(reason) => return Ok(Err(Some(reason))),
        }
        let mut names = Vec::with_capacity(self.record.len());
        for name in &self.record {
            let Ok(name) = std::str::from_utf8(name) else {
                return Ok(Err(Some("the first line is not UTF-8".to_owned())));
            };
            let name = json_text(name.trim());
            if names.contains(&name) {
                let reason = format!("the first line names column {name} twice");
                return Ok(Err(Some(reason)));
            }
            names.push(name);
        }
        Ok(Ok(names))
    }

    /// The line at which the record begins: where the one before ended, unless empty lines are between;
    /// else where it ends, without the lines inside.
    fn line(&self) -> u64 {
        let begins = self.record.position().map_or(0, ::csv::Position::line);
        let inside = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        begins.max(self.reader.position().line().saturating_sub(inside + 1))
    }

    fn row(&self, names: &[String]) -> Row {
        let line = self.line();
        let expected = self.number + 2;
        let line = (line != expected).then_some(line);
        let raw = || {
            let cells: Vec<_> = self.record.iter().map(String::from_utf8_lossy).collect();
            cells.join(",")
        };
        let wrong = |reason: String| Row { line, ..Row::wrong(raw(), reason) };
        let at = line.unwrap_or(expected);
        if self.record.len() != names.len() {
            let (is, should) = (self.record.len(), names.len());
            return wrong(format!(
                "line {at} has {is} cells, and the first line names {should} columns"
            ));
        }
        if self.record.as_slice().len() > ROW_BYTES_MAX {
            return wrong(format!(
                "line {at} has more than {ROW_BYTES_MAX} bytes; is a quote open?"
            ));
        }
        let mut value = String::with_capacity(self.record.as_slice().len() * 2 + 2);
        for (name, cell) in names.iter().zip(&self.record) {
            let Ok(cell) = std::str::from_utf8(cell) else {
                return wrong(format!("line {at}, column {name}: not UTF-8"));
            };
            value.push(if value.is_empty() { '{' } else { ',' });
            value.push_str(name);
            value.push(':');
            match cell {
                "" => value.push_str("null"),
                cell => value.push_str(&json_text(cell)),
            }
        }
        value.push('}');
        Row { value: value.into_bytes(), line, wrong: None }
    }
}

impl Rows for CsvRows {
    fn next(&mut self) -> io::Result<Option<Row>> {
        if self.ended {
            return Ok(None);
        }
        let names = match self.names.take() {
            Some(names) => names,
            None => match self.header()? {
                Ok(names) => names,
                Err(reason) => {
                    self.ended = true;
                    let wrong = |reason| Row::wrong("", format!("the file is no CSV: {reason}"));
                    return Ok(reason.map(wrong));
                }
            },
        };
        let row = match self.advance()? {
            Ok(true) => Some(self.row(&names)),
            Ok(false) => None,
            Err(reason) => {
                self.ended = true;
                let line = self.reader.position().line();
                let reason = format!("the file cannot be read behind line {line}: {reason}");
                Some(Row::wrong("", reason))
            }
        };
        self.ended |= row.is_none();
        self.number += 1;
        self.names = Some(names);
        Ok(row)
    }
}

fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}
