//! Random transactions on the table of samples, as SQL, with a tally of what each kind of change was.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// Every kind of change that the tally knows.
pub(super) const KINDS: [&str; 5] =
    ["inserted", "updated", "deleted", "key changed", "rolled back"];

/// Keys from here on are the last rows.
const LAST: i64 = 9_000_000_000;

/// The batch that begins with an empty table, and those that alter it.
const TRUNCATED: u32 = 11;
const ALTERED: [(u32, &str); 4] = [
    (3, "ALTER TABLE samples ADD COLUMN added VARCHAR(20);"),
    (9, "ALTER TABLE samples ADD COLUMN ignored INT NOT NULL DEFAULT 7 FIRST;"),
    (15, "ALTER TABLE samples MODIFY name VARCHAR(400), MODIFY tiny INT;"),
    (20, "ALTER TABLE samples DROP COLUMN ignored;"),
];

/// Values of each column, as SQL: extremes, common ones, and a null.
const VALUES: [(&str, &[&str]); 29] = [
    ("tenant_id", &["NULL", "'acme'", "'globex'", "'Zoë & Co.'"]),
    ("tiny", &["NULL", "-128", "127", "0"]),
    ("utiny", &["NULL", "0", "255"]),
    ("small", &["NULL", "-32768", "32767"]),
    ("medium", &["NULL", "-8388608", "8388607"]),
    ("number", &["NULL", "-2147483648", "2147483647"]),
    ("unumber", &["NULL", "0", "4294967295"]),
    ("big", &["NULL", "-9223372036854775808", "9223372036854775807"]),
    ("ubig", &["NULL", "0", "127", "128", "18446744073709551615", "9223372036854775808"]),
    ("price", &["NULL", "0", "-0.0001", "99999999999999.9999", "-99999999999999.9999", "1.5"]),
    ("huge", &["NULL", "9999999999999999999999999999.9999999999", "-0.0000000001", "7"]),
    ("ratio", &["NULL", "0", "1.7976931348623157e308", "-2.2250738585072014e-308", "0.1"]),
    ("half", &["NULL", "0.5", "-1024.25", "16777216"]),
    ("flag", &["NULL", "b'0'", "b'1'"]),
    ("yes", &["NULL", "0", "1"]),
    ("born", &["NULL", "'1000-01-01'", "'9999-12-31'", "'1969-12-31'", "'2024-02-29'"]),
    ("alarm", &["NULL", "'00:00:00.000001'", "'-838:59:59'", "'838:59:59.999999'"]),
    ("wall", &["NULL", "'1000-01-01'", "'9999-12-31 23:59:59'", "'2026-03-29 02:30:00'"]),
    ("wall3", &["NULL", "'1969-12-31 23:59:59.999'", "'2026-10-25 02:30:00.001'"]),
    ("wall6", &["NULL", "'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'"]),
    ("seen", &["NULL", "'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'"]),
    ("vintage", &["NULL", "1901", "2155"]),
    ("code", &["NULL", "''", "'ab'", "'abcde'"]),
    ("name", &["NULL", "''", "'NULL'", "'tab\\tline\\nquote\\'\"\\\\ 😀'"]),
    ("story", &["NULL", "REPEAT('long ', 3000)", "'short'", "'{\"a\": 1}'"]),
    ("size", &["NULL", "'small'", "'none of both'"]),
    ("traits", &["NULL", "''", "'a'", "'a,b,c'"]),
    ("facts", &["NULL", "'{\"a\": [1, 2.50, null, \"ü\"]}'", "'[]'", "'\"text\"'", "'17'"]),
    ("token", &["NULL", "''", "x'00ff10'", "x'fffefd'"]),
];

/// What is known of the rows: their keys.
#[derive(Debug)]
pub(super) struct Samples {
    rng: StdRng,
    next: i64,
    keys: Vec<(i64, String)>,
    counts: BTreeMap<&'static str, u64>,
    /// The first alteration is over.
    has_added: bool,
}

/// Whether a key is that of a last row.
pub(super) fn is_last(key: &str) -> bool {
    let id = key.split('\u{1f}').next().unwrap_or(key);
    id.parse().is_ok_and(|number: i64| number >= LAST)
}

impl Samples {
    pub(super) fn new(rng: StdRng) -> Samples {
        Samples { rng, next: 1, keys: Vec::new(), counts: BTreeMap::new(), has_added: false }
    }

    /// How often a kind of change was made.
    pub(super) fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    fn tally(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// Rows that are there before the connector is.
    pub(super) fn first_rows(&mut self, rows: u32) -> String {
        (0..rows).map(|_| self.insert()).collect()
    }

    /// The change of the table that goes on during a batch.
    pub(super) fn alteration(&mut self, batch: u32) -> Option<&'static str> {
        self.has_added = batch > ALTERED[0].0;
        ALTERED.iter().find(|(at, _)| *at == batch).map(|(_, text)| *text)
    }

    /// Some transactions of one to six changes; one in ten is rolled back.
    pub(super) fn batch(&mut self, batch: u32, transactions: u32) -> String {
        let mut text = String::new();
        if batch == TRUNCATED {
            text.push_str("TRUNCATE samples;\n");
            self.keys.clear();
        }
        for _ in 0..transactions {
            let changes = self.rng.random_range(1..=6);
            if self.rng.random_bool(0.1) {
                let before = (self.next, self.keys.clone(), self.counts.clone());
                text.push_str("BEGIN;\n");
                (0..changes).for_each(|_| text.push_str(&self.change()));
                text.push_str("ROLLBACK;\n");
                (self.next, self.keys, self.counts) = before;
                self.tally("rolled back");
                continue;
            }
            text.push_str("BEGIN;\n");
            (0..changes).for_each(|_| text.push_str(&self.change()));
            text.push_str("COMMIT;\n");
        }
        text
    }

    /// Rows whose arrival says that everything before them has arrived.
    pub(super) fn last_rows(&mut self, rows: i64) -> String {
        self.next = LAST;
        (0..rows).map(|_| self.insert()).collect()
    }

    fn change(&mut self) -> String {
        match self.rng.random_range(0..100) {
            _ if self.keys.len() < 20 => self.insert(),
            0..35 => self.insert(),
            35..75 => self.update(),
            75..88 => self.delete(),
            _ => self.move_key(),
        }
    }

    /// A row that is held, and its condition.
    fn any(&mut self) -> (usize, String) {
        let at = self.rng.random_range(0..self.keys.len());
        let (id, part) = &self.keys[at];
        (at, format!("WHERE id = {id} AND part = '{part}'"))
    }

    fn value(&mut self, column: usize) -> &'static str {
        let (_, values) = VALUES[column];
        values[self.rng.random_range(0..values.len())]
    }

    fn insert(&mut self) -> String {
        let (id, part) = (self.next, ["a", "Ä b", ""][self.rng.random_range(0..3)].to_owned());
        self.next += 1;
        let columns: Vec<&str> = VALUES.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = (0..VALUES.len()).map(|at| self.value(at)).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        self.keys.push((id, part.clone()));
        self.tally("inserted");
        format!("INSERT INTO samples (id, part, {columns}) VALUES ({id}, '{part}', {values});\n")
    }

    fn update(&mut self) -> String {
        let (_, row) = self.any();
        let mut set = Vec::new();
        for _ in 0..self.rng.random_range(1..=4) {
            let at = self.rng.random_range(0..VALUES.len());
            let value = self.value(at);
            set.push(format!("{} = {value}", VALUES[at].0));
        }
        if self.has_added && self.rng.random_bool(0.3) {
            set.push(["added = NULL", "added = 'later'"][self.rng.random_range(0..2)].to_owned());
        }
        self.tally("updated");
        format!("UPDATE samples SET {} {row};\n", set.join(", "))
    }

    fn delete(&mut self) -> String {
        let (at, row) = self.any();
        self.keys.swap_remove(at);
        self.tally("deleted");
        format!("DELETE FROM samples {row};\n")
    }

    fn move_key(&mut self) -> String {
        let (at, row) = self.any();
        let id = self.next;
        self.next += 1;
        self.keys[at].0 = id;
        self.tally("key changed");
        format!("UPDATE samples SET id = {id} {row};\n")
    }
}
