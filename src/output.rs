//! Results on stdout: tables for people, JSON for scripts.
//!
//! # Guarantees
//! - Output that cannot be written is known at the end ([`lost`]), so that the command fails. A closed
//!   pipe ends the output, not the process.
//! - What data brings reaches a terminal without control characters.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// Why output was lost first.
static LOST: OnceLock<(ErrorKind, String)> = OnceLock::new();

/// Prints a line of results, or several: control characters other than line ends are escaped.
pub(crate) fn line(text: &str) {
    write(&escaped(text, |c| c == '\n'));
}

/// Prints rows under a header, each column as wide as its widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    table_lines(header, rows).iter().for_each(|text| write(text));
}

/// Prints a JSON value.
pub(crate) fn json(value: &serde_json::Value) {
    write(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Why results could not be written; `None` when all were, or when nobody wanted more.
pub(crate) fn lost() -> Option<String> {
    note(io::stdout().lock().flush());
    let (kind, reason) = LOST.get()?;
    (*kind != ErrorKind::BrokenPipe).then(|| format!("could not write the results: {reason}"))
}

/// Notes that output was lost, which [`lost`] then tells.
pub(crate) fn note(written: io::Result<()>) {
    if let Err(error) = written {
        LOST.get_or_init(|| (error.kind(), error.to_string()));
    }
}

fn write(text: &str) {
    if LOST.get().is_none() {
        note(writeln!(io::stdout().lock(), "{text}"));
    }
}

fn table_lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let cell = |cell: &String| escaped(cell, |_| false).into_owned();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|name| name.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let join = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = join(&mut header.iter().copied());
    let body = rows.iter().map(|row| join(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(body).collect()
}

/// The text with its control characters as `\n` or `\u{1b}`, except those that are `kept`.
pub(crate) fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_raw = |c: char| c.is_control() && !kept(c);
    if !text.contains(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_raw(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A count with thousands separators.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn cells_stay_on_their_line_and_in_their_column() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let rows = [row("a\nb", "\u{1b}[31mred"), row("c\u{9b}\u{7f}", "é")];
        assert_eq!(
            table_lines(&["x", "y"], &rows),
            ["x              y", "a\\nb           \\u{1b}[31mred", "c\\u{9b}\\u{7f}  é"]
        );
        assert_eq!(escaped("a\nb\t\u{1b}", |c| c == '\n'), "a\nb\\t\\u{1b}");
        assert!(matches!(escaped("plain ü", |_| false), Cow::Borrowed(_)));
    }
}
