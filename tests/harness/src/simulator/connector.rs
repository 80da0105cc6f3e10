//! A connector: takes snapshots of its database, streams its log in the order of commits, and knows
//! what whoever has read all of it may know.
//!
//! # Guarantees
//! - What the connector has told is kept beside what it sends: the rows that a reader must have, and
//!   those that no record ever said were gone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::block::{Kind, Place, block};
use super::database::{Change, Database, Row, Shape};
use super::topic::{Broker, Message};

/// What Debezium writes for a large value that did not change.
pub(super) const PLACEHOLDER: &str = "__debezium_unavailable_value";

/// How events of this history look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) kind: Kind,
    /// Large values that did not change are not sent.
    pub(super) leaves_out: bool,
    /// The table has the required large column.
    pub(super) has_body: bool,
    /// Two databases write one topic: keys name the table.
    pub(super) shared: bool,
    /// Whoever reads was told that every snapshot is whole.
    pub(super) whole: bool,
    /// Some changes cannot be read.
    pub(super) damages: bool,
}

/// A row that a reader may hold.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) row: Row,
    /// By a snapshot that never ended.
    is_unfinished: bool,
    /// A newer change of it cannot be read.
    pub(super) is_unread: bool,
    /// It has no amount any more.
    pub(super) lacks_amount: bool,
}

/// A connector and its database.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) number: u8,
    pub(super) database: Database,
    style: Style,
    pub(super) has_started: bool,
    /// The next transaction of the log to be streamed.
    next: usize,
    last_commit: Option<u64>,
    /// The last snapshot's place.
    snapshot: u64,
    has_completed: bool,
    /// Events that a restart may repeat, and whether each cannot be read.
    sent: Vec<(Vec<Message>, bool)>,
    /// Rows that are there, as far as was told.
    pub(super) told: BTreeMap<i64, Told>,
    /// Rows that are gone, which nothing told.
    pub(super) left: BTreeMap<i64, Told>,
    /// Whether a row was ever told with its amount.
    has_amount: bool,
}

impl Connector {
    pub(super) fn new(number: u8, style: Style) -> Connector {
        Connector {
            number,
            database: Database::new(number),
            style,
            has_started: false,
            next: 0,
            last_commit: None,
            snapshot: 0,
            has_completed: false,
            sent: Vec::new(),
            told: BTreeMap::new(),
            left: BTreeMap::new(),
            has_amount: false,
        }
    }

    /// A row is told, from a table of this shape.
    fn tell(&mut self, key: i64, row: &Row, shape: Shape, is_unfinished: bool) {
        self.has_amount |= shape.has_amount;
        let lacks_amount = !shape.has_amount && self.has_amount;
        let told = Told { row: row.clone(), is_unfinished, is_unread: false, lacks_amount };
        self.left.remove(&key);
        self.told.insert(key, told);
    }

    /// The database is restored to so many transactions before, if that leaves rows that were told, by which a reader
    /// sees that places went back; and a snapshot is taken. Of Oracle's only a row that is the first, and not the last
    /// as well, says when that was.
    pub(super) fn restore(&mut self, back: usize, broker: &mut Broker) {
        let Some((length, rows)) = self.database.earlier(back) else { return };
        let says_when = match self.style.kind {
            Kind::Oracle => usize::from(rows.len() > 1),
            _ => rows.len(),
        };
        if !rows.keys().take(says_when).any(|key| self.told.contains_key(key)) {
            return;
        }
        self.database.restore(length);
        self.next = length;
        self.snapshot = 0;
        self.start(broker);
    }

    /// Begins without a snapshot.
    pub(super) fn start_here(&mut self) {
        self.has_started = true;
        self.next = self.database.log.len();
    }

    /// Takes the first `rows` rows of an initial snapshot, and ends.
    pub(super) fn attempt(&mut self, rows: usize, broker: &mut Broker) {
        let all: Vec<(i64, Row)> = self.committed(|_| true);
        let rows = rows.min(all.len().saturating_sub(1));
        let (at, now) = (self.database.place(), self.database.now_ms());
        for (index, (key, row)) in all.into_iter().take(rows).enumerate() {
            let marker = if index == 0 { "first" } else { "true" };
            let place = Place::Snapshot { at, marker, knows_server: false };
            let now = self.style.kind.read_at(index, now);
            self.send_row(key, &row, place, now, true, broker);
            self.tell(key, &row, self.database.shape, true);
        }
    }

    /// Takes a whole snapshot and streams what is committed after it.
    pub(super) fn start(&mut self, broker: &mut Broker) {
        let is_again = self.has_started;
        if is_again {
            self.stream_to(self.snapshot, broker);
        }
        self.has_started = true;
        self.last_commit = None;
        self.next = self.database.log.len();
        self.take(|_| true, false, !is_again, broker);
    }

    /// Streaming pauses for a snapshot of the rows whose key `is_in`.
    pub(super) fn pause(&mut self, is_in: impl Fn(i64) -> bool, broker: &mut Broker) {
        self.take(is_in, true, false, broker);
    }

    fn committed(&self, is_in: impl Fn(i64) -> bool) -> Vec<(i64, Row)> {
        let rows = self.database.rows().iter().filter(|(key, _)| is_in(**key));
        rows.map(|(key, row)| (*key, row.clone())).collect()
    }

    fn take(
        &mut self,
        is_in: impl Fn(i64) -> bool,
        knows_server: bool,
        is_initial: bool,
        broker: &mut Broker,
    ) {
        self.sent.clear();
        let rows = self.committed(is_in);
        let (at, now) = (self.database.place(), self.database.now_ms());
        self.snapshot = at;
        self.settle(&rows);
        let count = rows.len();
        for (index, (key, row)) in rows.into_iter().enumerate() {
            let marker = match index {
                _ if index + 1 == count => "last",
                0 => "first",
                _ => "true",
            };
            let place = Place::Snapshot { at, marker, knows_server };
            let now = self.style.kind.read_at(index, now);
            self.send_row(key, &row, place, now, is_initial, broker);
            self.tell(key, &row, self.database.shape, false);
        }
    }

    /// What a snapshot with these rows says of those that it lacks. Without rows it leaves no trace.
    fn settle(&mut self, rows: &[(i64, Row)]) {
        let is_there = self.database.rows();
        let missing: Vec<i64> =
            self.told.keys().filter(|key| !is_there.contains_key(key)).copied().collect();
        for key in missing {
            if let Some(told) = self.told.remove(&key) {
                self.left.insert(key, told);
            }
        }
        if rows.is_empty() || self.style.kind == Kind::Plain {
            return;
        }
        let is_first = !self.has_completed;
        let whole = self.style.whole;
        self.left.retain(|_, told| !(whole || is_first && told.is_unfinished));
        self.has_completed = true;
    }

    /// Streams so many transactions.
    pub(super) fn stream(&mut self, transactions: usize, broker: &mut Broker) {
        for _ in 0..transactions {
            let Some(next) = self.database.log.get(self.next).cloned() else { return };
            self.next += 1;
            for (number, written) in (0..).zip(&next.writes) {
                let place = Place::Live {
                    lsn: written.lsn,
                    commit: next.commit,
                    before: self.last_commit,
                    number,
                    transaction: next.id,
                };
                let when = (next.at_ms, next.shape);
                let mut messages = self.messages(&written.change, place, when, broker);
                let is_unread = self.style.damages && (next.commit + number).is_multiple_of(4);
                let is_unread = is_unread && damage(&written.change, &mut messages);
                for message in &messages {
                    broker.send(message.clone());
                }
                self.sent.push((messages, is_unread));
                if is_unread {
                    self.miss(&written.change);
                } else {
                    self.hear(&written.change, next.shape);
                }
            }
            self.last_commit = Some(next.commit);
        }
    }

    /// Streams everything that was committed before this place.
    fn stream_to(&mut self, place: u64, broker: &mut Broker) {
        while self.database.log.get(self.next).is_some_and(|next| next.commit <= place) {
            self.stream(1, broker);
        }
    }

    /// One chunk of an incremental snapshot: everything up to it is streamed before.
    pub(super) fn chunk(&mut self, is_in: impl Fn(i64) -> bool, broker: &mut Broker) {
        self.stream(usize::MAX, broker);
        self.database.place();
        let before = self.database.place();
        let (lsn, commit) = (self.database.place(), self.database.place());
        let (now, rows) = (self.database.now_ms(), self.committed(is_in));
        for (key, row) in rows {
            let place = Place::Incremental { lsn, commit, before };
            self.send_row(key, &row, place, now, false, broker);
            self.tell(key, &row, self.database.shape, false);
        }
        self.last_commit = Some(commit);
    }

    /// Restarts and repeats its last events.
    pub(super) fn restart(&mut self, events: usize, broker: &mut Broker) {
        let from = self.sent.len().saturating_sub(events);
        for (messages, is_unread) in self.sent.iter().skip(from) {
            messages.iter().for_each(|message| broker.send(message.clone()));
            // Nothing tells one that was sent again from a new one.
            let key = messages.last().and_then(|message| message.row.1);
            let told = key.and_then(|key| self.told.get_mut(&key));
            if let Some(told) = told.filter(|_| self.style.kind == Kind::Plain) {
                told.is_unread = *is_unread;
            }
        }
    }

    /// Goes on with another server, once everything of the old one is streamed.
    pub(super) fn fail_over(&mut self, broker: &mut Broker) {
        self.stream(usize::MAX, broker);
        self.sent.clear();
        self.database.fail_over();
    }

    /// A change cannot be read: what is known of its row is not the last word.
    fn miss(&mut self, change: &Change) {
        let (Change::Create { key, .. } | Change::Update { key, .. }) = change else { return };
        self.told.get_mut(key).into_iter().for_each(|told| told.is_unread = true);
    }

    fn hear(&mut self, change: &Change, shape: Shape) {
        match change {
            Change::Create { key, row } | Change::Update { key, row, .. } => {
                self.tell(*key, row, shape, false);
            }
            Change::Delete { key } => {
                self.left.remove(key);
                self.told.remove(key);
            }
            Change::Rekey { from, to, row, .. } => {
                self.left.remove(from);
                self.told.remove(from);
                self.tell(*to, row, shape, false);
            }
            Change::Truncate => {
                self.left.clear();
                self.told.clear();
            }
        }
    }

    fn send_row(
        &self,
        key: i64,
        row: &Row,
        place: Place,
        now: i64,
        is_initial: bool,
        broker: &mut Broker,
    ) {
        let is_end = matches!(place, Place::Snapshot { marker: "first" | "last", .. });
        let is_within = matches!(place, Place::Snapshot { .. }) && !is_initial;
        let mut message = self.message(Some(key), broker);
        let shape = self.database.shape;
        self.fill(&mut message, ("r", key, shape), row, [false; 2], self.source(place, now));
        message.is_kept = is_end || is_within;
        broker.send(message);
    }

    fn source(&self, place: Place, at_ms: i64) -> Value {
        match self.style.kind {
            Kind::Plain => Value::Null,
            kind => block(kind, self.number, self.database.server, place, at_ms),
        }
    }

    /// The messages of a change.
    fn messages(
        &self,
        change: &Change,
        place: Place,
        (at_ms, shape): (i64, Shape),
        broker: &mut Broker,
    ) -> Vec<Message> {
        let source = self.source(place, at_ms);
        let with_row = |op: &str, key: i64, row: &Row, same: [bool; 2], broker: &mut Broker| {
            let mut message = self.message(Some(key), broker);
            self.fill(&mut message, (op, key, shape), row, same, source.clone());
            message
        };
        match change {
            Change::Create { key, row } => vec![with_row("c", *key, row, [false; 2], broker)],
            Change::Update { key, row, same } => vec![with_row("u", *key, row, *same, broker)],
            Change::Delete { key } => self.delete(*key, source, broker).into(),
            Change::Rekey { from, to, row, same } => {
                let [mut gone, tombstone] = self.delete(*from, source.clone(), broker);
                let header =
                    |name: &str, key: i64| (name.to_owned(), json!({"id": key}).to_string());
                gone.headers.push(header("__debezium.newkey", *to));
                // Without positions nothing says which row of the old key is meant.
                let same = if self.style.kind == Kind::Plain { [false; 2] } else { *same };
                let mut come = with_row("c", *to, row, same, broker);
                come.headers.push(header("__debezium.oldkey", *from));
                vec![gone, tombstone, come]
            }
            Change::Truncate => {
                let mut message = self.message(None, broker);
                message.value = Some(envelope("t", Value::Null, Value::Null, source));
                vec![message]
            }
        }
    }

    fn delete(&self, key: i64, source: Value, broker: &mut Broker) -> [Message; 2] {
        let mut gone = self.message(Some(key), broker);
        let is_bare = self.style.kind == Kind::MongoDb;
        let before = if is_bare { Value::Null } else { json!({"id": key}) };
        gone.value = Some(envelope("d", before, Value::Null, source));
        gone.is_delete = true;
        [gone, self.message(Some(key), broker)]
    }

    /// A message of a key, without a value.
    fn message(&self, key: Option<i64>, broker: &mut Broker) -> Message {
        let topic = broker.topic(self.number).map(|topic| topic.name.clone()).unwrap_or_default();
        let origin = self.style.kind.origin(self.number, &topic);
        let text = key.map(|key| {
            // MongoDB's are JSON within a text.
            let is_text = self.style.kind == Kind::MongoDb;
            let id = if is_text { json!(key.to_string()) } else { json!(key) };
            let mut fields = json!({"id": id});
            if self.style.shared {
                fields["__dbz__physicalTableIdentifier"] = origin.clone().into();
            }
            fields.to_string()
        });
        Message {
            key: text,
            value: None,
            headers: Vec::new(),
            row: (self.number, key),
            carries: Vec::new(),
            is_delete: false,
            is_kept: false,
        }
    }

    fn fill(
        &self,
        message: &mut Message,
        (op, key, shape): (&str, i64, Shape),
        row: &Row,
        same: [bool; 2],
        source: Value,
    ) {
        let mut after = json!({"id": key, "tenant_id": "acme", "name": row.name,
            "quantity": row.quantity, "amount": row.amount, "note": row.note});
        if self.style.has_body {
            after["body"] = row.body.clone().into();
        }
        if let Some(fields) = after.as_object_mut().filter(|_| !shape.has_amount) {
            fields.remove("amount");
        } else if let Some(amount) = row.amount.as_ref().filter(|_| shape.is_wide) {
            after["amount"] = format!("{amount}00").into();
        }
        let is_left_out = row.note.is_some() || self.style.kind.leaves_out_nulls();
        let same = [same[0] && is_left_out, same[1]];
        let large = [("note", &row.note_of), ("body", &row.body)];
        for ((column, value), same) in large.into_iter().zip(same) {
            if after.get(column).is_none() {
                continue;
            }
            if same && self.style.leaves_out {
                after[column] = PLACEHOLDER.into();
            } else {
                message.carries.push(value.clone());
            }
        }
        message.value = Some(envelope(op, Value::Null, after, source));
    }
}

/// Makes the row of a change unreadable, if it has one.
fn damage(change: &Change, messages: &mut [Message]) -> bool {
    let has_row = matches!(change, Change::Create { .. } | Change::Update { .. });
    let [message] = messages else { return false };
    let event = message.value.as_ref().filter(|_| has_row);
    let event = event.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(mut event) = event else { return false };
    event["after"]["quantity"] = json!("a dozen");
    message.value = Some(event.to_string());
    true
}

fn envelope(op: &str, before: Value, after: Value, source: Value) -> String {
    let event = match source {
        Value::Null if op == "d" => json!({"op": op, "before": before}),
        Value::Null => json!({"op": op, "after": after}),
        source => {
            let now = source["ts_ms"].clone();
            json!({"before": before, "after": after, "source": source, "op": op, "ts_ms": now,
                "transaction": null})
        }
    };
    event.to_string()
}
