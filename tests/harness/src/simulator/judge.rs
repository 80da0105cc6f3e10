//! What silver must be after a history: the rows of the database, by origin and key.
//!
//! # Rules
//! - Every row of the database that was ever told is there, with its values; no other row is. A row that
//!   was deleted while nothing was streamed stays where no whole snapshot may prove that it is gone.
//! - A large value that no record carries may be unknown. It is never another value; only where a cleaner ran it may be
//!   an earlier one (a null only where nulls are left out), because the record that tells of the change is gone and
//!   nothing says so. Where rows get other keys as well, or a snapshot was begun anew, it may be unknown although it was
//!   sent: what leads from it to the row may be gone.
//! - A row is in doubt when its newest change could not be read, and at no other time. It is what it was before
//!   that change.
//! - A row whose required value no record carries may be absent.

use std::collections::BTreeMap;

use super::history::History;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// The source says that there is none.
    Null,
    /// It was never sent.
    Unknown,
    /// As text: whole numbers in digits, decimals with four digits after the point.
    Value(String),
}

/// Values by column, of rows by origin and key.
pub type Rows = BTreeMap<(String, String), BTreeMap<String, Cell>>;

/// What is wrong with these rows after this history: nothing, when the list is empty.
pub fn judge(history: &History, rows: &Rows) -> Vec<String> {
    let mut wrong = Vec::new();
    let leaves_out_nulls = history.kind.leaves_out_nulls();
    let is_unsent = |place: &(String, String), cell: &Cell| match cell {
        Cell::Value(value) => history.is_cut_off || !history.carried.contains(value),
        Cell::Null if leaves_out_nulls => {
            history.is_cut_off || history.unsent_nulls.contains(place)
        }
        _ => false,
    };
    for (place, expected) in &history.expected {
        let (origin, key) = place;
        let Some(row) = rows.get(place) else {
            if !expected.get("body").is_some_and(|body| is_unsent(place, body)) {
                wrong.push(format!("row {key} of {origin} is missing"));
            }
            continue;
        };
        for (column, right) in expected {
            let found = row.get(column).unwrap_or(&Cell::Null);
            let may_differ = ["note", "body"].contains(&column.as_str()) && is_unsent(place, right);
            let is_told = match found {
                Cell::Value(_) => true,
                Cell::Null => leaves_out_nulls && column == "note",
                Cell::Unknown => false,
            };
            let is_earlier = history.is_compacted && is_told;
            if found != right && !(may_differ && (*found == Cell::Unknown || is_earlier)) {
                wrong
                    .push(format!("{column} of row {key} of {origin} is {found:?}, not {right:?}"));
            }
        }
    }
    for (origin, key) in rows.keys() {
        if !history.expected.contains_key(&(origin.clone(), key.clone())) {
            wrong.push(format!("row {key} of {origin} is there, and is no row of the source"));
        }
    }
    wrong
}
