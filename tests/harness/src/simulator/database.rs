//! A small database: one table, transactions that hold locks on the rows they change, and a log.
//!
//! # Guarantees
//! - A row that an open transaction has changed is changed by no other one, as in every database with
//!   row locks: changes of one row stand in the log in the order in which they were committed.
//! - Every value of a large column is written once in the life of the database, so that a value says
//!   which write it is of.

use std::collections::BTreeMap;

/// The values of a row beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: Option<String>,
    pub(super) quantity: Option<i64>,
    /// With four digits after the point.
    pub(super) amount: Option<String>,
    /// Large.
    pub(super) note: Option<String>,
    /// Which write the note is of, also where it is null.
    pub(super) note_of: String,
    /// Large and required, in tables that have it.
    pub(super) body: String,
}

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Create {
        key: i64,
        row: Row,
    },
    /// `same` says of note and body whether the statement left them alone.
    Update {
        key: i64,
        row: Row,
        same: [bool; 2],
    },
    Delete {
        key: i64,
    },
    Rekey {
        from: i64,
        to: i64,
        row: Row,
        same: [bool; 2],
    },
    Truncate,
}

/// A statement, as scripts have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// Inserts a row, or updates the one that is there.
    Put {
        /// The key.
        key: i64,
        /// Which columns are null, and which large ones change.
        dice: u8,
    },
    /// Deletes a row.
    Delete {
        /// The key.
        key: i64,
    },
    /// Gives a row another key.
    Rekey {
        /// The key that it has.
        from: i64,
        /// The key that it gets.
        to: i64,
        /// Which large columns change.
        dice: u8,
    },
}

/// A change in the log, with its place there.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) lsn: u64,
    pub(super) change: Change,
}

/// A committed transaction.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) id: u64,
    pub(super) writes: Vec<Written>,
    /// Where in the log its commit stands.
    pub(super) commit: u64,
    /// When it was committed, in milliseconds.
    pub(super) at_ms: i64,
    /// The columns that the table had.
    pub(super) shape: Shape,
    /// The rows after it.
    rows: BTreeMap<i64, Row>,
}

/// What the column `amount` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Whether there is one.
    pub(super) has_amount: bool,
    /// Whether it has six digits after the point, and not four.
    pub(super) is_wide: bool,
}

impl Shape {
    const FIRST: Shape = Shape { has_amount: true, is_wide: false };
}

#[derive(Debug, Default)]
struct Open {
    id: u64,
    writes: Vec<Written>,
    seen: BTreeMap<i64, Option<Row>>,
}

/// The database.
#[derive(Debug)]
pub(super) struct Database {
    number: u8,
    rows: BTreeMap<i64, Row>,
    open: BTreeMap<u8, Open>,
    /// Transactions in the order of their commits.
    pub(super) log: Vec<Transaction>,
    lsn: u64,
    clock_ms: i64,
    values: i64,
    transactions: u64,
    pub(super) shape: Shape,
    /// By how much its clock is wrong.
    skew_ms: i64,
    /// All places are above it.
    lowest: u64,
    /// Which server it runs on, from 1.
    pub(super) server: u64,
}

impl Database {
    pub(super) fn new(number: u8) -> Database {
        Database {
            number,
            rows: BTreeMap::new(),
            open: BTreeMap::new(),
            log: Vec::new(),
            lsn: 1000 * (u64::from(number) + 1),
            clock_ms: 1_772_359_200_000,
            values: 0,
            transactions: 700,
            shape: Shape::FIRST,
            skew_ms: 0,
            lowest: 1000 * (u64::from(number) + 1),
            server: 1,
        }
    }

    /// The committed rows.
    pub(super) fn rows(&self) -> &BTreeMap<i64, Row> {
        &self.rows
    }

    /// A new place in the log.
    pub(super) fn place(&mut self) -> u64 {
        self.lsn += 8 + self.lsn % 5;
        self.lsn
    }

    /// A new instant of its clock.
    pub(super) fn now_ms(&mut self) -> i64 {
        self.clock_ms += 1 + self.clock_ms % 7;
        self.clock_ms + self.skew_ms
    }

    /// Its clock is so many minutes wrong from here on.
    pub(super) fn set_clock(&mut self, minutes: i8) {
        self.skew_ms = i64::from(minutes) * 60_000;
    }

    /// The column `amount` is dropped, added without values, or gets more digits. This waits until no transaction
    /// is open.
    pub(super) fn alter(&mut self, dice: u8) {
        self.commit_all();
        let Shape { has_amount, .. } = self.shape;
        if has_amount && dice.is_multiple_of(3) {
            self.shape.is_wide = true;
            return;
        }
        self.shape.has_amount = !has_amount;
        self.rows.values_mut().for_each(|row| row.amount = None);
    }

    /// The rows as they were so many transactions ago, and how many transactions there were then.
    pub(super) fn earlier(&self, back: usize) -> Option<(usize, &BTreeMap<i64, Row>)> {
        let length = self.log.len().checked_sub(back)?;
        let last = self.log.get(length.checked_sub(1)?)?;
        Some((length, &last.rows))
    }

    /// Goes on minutes later from what was there after so many transactions, on a new log with lower places.
    pub(super) fn restore(&mut self, length: usize) {
        self.open.clear();
        self.log.truncate(length);
        self.rows = self.log.last().map(|last| last.rows.clone()).unwrap_or_default();
        self.lowest = self.lowest.saturating_sub(40);
        self.lsn = self.lowest;
        self.clock_ms += 180_000;
    }

    /// Runs a statement in a session's transaction. What another one has locked is left alone.
    pub(super) fn write(&mut self, session: u8, statement: Statement) {
        let is_locked = |key: &i64| {
            let others = self.open.iter().filter(|(number, _)| **number != session);
            others.into_iter().any(|(_, open)| open.seen.contains_key(key))
        };
        let (keys, dice) = match statement {
            Statement::Put { key, dice } => ([key, key], dice),
            Statement::Delete { key } => ([key, key], 0),
            Statement::Rekey { from, to, dice } => ([from, to], dice),
        };
        if keys.iter().any(is_locked) {
            return;
        }
        let [key, to] = keys;
        let change = match (statement, self.seen(session, key)) {
            (Statement::Put { .. }, None) => Change::Create { key, row: self.values(dice, None).0 },
            (Statement::Put { .. }, Some(old)) => {
                let (row, same) = self.values(dice, Some(&old));
                Change::Update { key, row, same }
            }
            (Statement::Delete { .. }, Some(_)) => Change::Delete { key },
            (Statement::Rekey { .. }, Some(old)) if self.seen(session, to).is_none() => {
                let (row, same) = self.values(dice, Some(&old));
                Change::Rekey { from: key, to, row, same }
            }
            _ => return,
        };
        let lsn = self.place();
        self.transactions += 1;
        let id = self.transactions;
        let open = self.open.entry(session).or_insert_with(|| Open { id, ..Open::default() });
        match &change {
            Change::Create { key, row } | Change::Update { key, row, .. } => {
                open.seen.insert(*key, Some(row.clone()));
            }
            Change::Delete { key } => {
                open.seen.insert(*key, None);
            }
            Change::Rekey { from, to, row, .. } => {
                open.seen.insert(*from, None);
                open.seen.insert(*to, Some(row.clone()));
            }
            Change::Truncate => {}
        }
        open.writes.push(Written { lsn, change });
    }

    fn seen(&self, session: u8, key: i64) -> Option<Row> {
        let own = self.open.get(&session).and_then(|open| open.seen.get(&key));
        own.cloned().unwrap_or_else(|| self.rows.get(&key).cloned())
    }

    /// New values for a row, and which of the large ones are the old ones.
    fn values(&mut self, dice: u8, old: Option<&Row>) -> (Row, [bool; 2]) {
        self.values += 1;
        let (number, database) = (self.values, self.number);
        let wanted = |bit: u8| dice & (1 << bit) != 0;
        let mut row = Row {
            name: wanted(0).then(|| format!("n{number}")),
            quantity: wanted(1).then_some(9_007_199_254_740_993 + number),
            amount: (wanted(2) && self.shape.has_amount).then(|| format!("{number}.2500")),
            note: wanted(3).then(|| format!("note-{database}-{number}")),
            note_of: format!("note-{database}-{number}"),
            body: format!("body-{database}-{number}"),
        };
        let mut same = [false; 2];
        if let Some(old) = old {
            same = [wanted(4), wanted(5)];
            if wanted(4) {
                (row.note, row.note_of) = (old.note.clone(), old.note_of.clone());
            }
            row.body = if wanted(5) { old.body.clone() } else { row.body };
        }
        (row, same)
    }

    /// Commits what a session has open.
    pub(super) fn commit(&mut self, session: u8) {
        let Some(open) = self.open.remove(&session) else { return };
        for (key, row) in open.seen {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
        self.push(open.id, open.writes);
    }

    fn push(&mut self, id: u64, writes: Vec<Written>) {
        let (commit, at_ms) = (self.place(), self.now_ms());
        let (shape, rows) = (self.shape, self.rows.clone());
        self.log.push(Transaction { id, writes, commit, at_ms, shape, rows });
    }

    /// Commits every open transaction.
    pub(super) fn commit_all(&mut self) {
        for session in self.open.keys().copied().collect::<Vec<_>>() {
            self.commit(session);
        }
    }

    /// Truncates the table, which waits until no transaction is open.
    pub(super) fn truncate(&mut self) {
        self.commit_all();
        self.rows.clear();
        self.transactions += 1;
        let write = Written { lsn: self.place(), change: Change::Truncate };
        self.push(self.transactions, vec![write]);
    }

    /// Goes on on another server; what was open is lost.
    pub(super) fn fail_over(&mut self) {
        self.open.clear();
        self.server += 1;
        self.lsn += 500;
    }
}
