//! What a record says of its transaction: the block of a change event, or a marker of the metadata topic.
//!
//! # Guarantees
//! - Numbers may be quoted. Events with and without their schema say the same.
//! - Where BEGIN and END of PostgreSQL have different ids (`txID:LSN`), they are those of one transaction.
//! - Only rows of the connector that writes the metadata topic take part.
//!
//! # Non-guarantees
//! - A table whose topic a transform has renamed is known by the first record of that topic.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::record::RawRecord;

/// What one record is to the transactions of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// Of none: a snapshot row, a tombstone, anything else.
    Free,
    /// A change that names none, or a row without its envelope.
    Bare,
    /// A change: its place among all changes of its transaction, if it says so.
    Row { id: Box<str>, order: Option<u64> },
    /// A transaction begins.
    Begin { id: Box<str> },
    /// It ends, with so many changes of each collection.
    End { id: Box<str>, rows: Vec<(Box<str>, u64)> },
}

/// Reads marks, and knows which collections are among the topics that are read.
#[derive(Debug)]
pub(super) struct Marks {
    /// The metadata topic.
    topic: Arc<str>,
    /// `schema.table` of topics that are named as Debezium names them.
    tables: BTreeSet<Box<str>>,
    /// Topics that are not.
    renamed: BTreeSet<Arc<str>>,
    /// What tables those have turned out to be of.
    learnt: BTreeSet<Box<str>>,
}

/// An event, or a marker; or, behind its schema, what carries it.
#[derive(Debug, Default, Deserialize)]
struct Event {
    payload: Option<Box<Event>>,
    op: Option<Value>,
    source: Option<Origin>,
    transaction: Option<Value>,
    status: Option<Value>,
    id: Option<Value>,
    data_collections: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Origin {
    name: Option<String>,
    db: Option<String>,
    schema: Option<String>,
    table: Option<String>,
}

impl Marks {
    /// The marks of a source whose metadata topic is `topic`, and whose rows come by `topics`.
    pub(super) fn new<'a>(topic: &str, topics: impl Iterator<Item = &'a str>) -> Marks {
        let prefix = topic.rfind('.').map(|dot| topic.split_at(dot + 1).0);
        let mut marks = Marks {
            topic: Arc::from(topic),
            tables: BTreeSet::new(),
            renamed: BTreeSet::new(),
            learnt: BTreeSet::new(),
        };
        for name in topics {
            match prefix.and_then(|prefix| name.strip_prefix(prefix)) {
                Some(table) => drop(marks.tables.insert(Box::from(table))),
                None => drop(marks.renamed.insert(Arc::from(name))),
            }
        }
        marks
    }

    /// Whether this is the metadata topic.
    pub(super) fn is_metadata(&self, topic: &str) -> bool {
        *self.topic == *topic
    }

    /// Whether changes of a collection are among the records that are read.
    pub(super) fn is_read(&self, collection: &str) -> bool {
        let name = as_topic(collection);
        let below = |table: &str| {
            name.strip_suffix(table).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.learnt.contains(&*name) || self.tables.iter().any(|table| below(table))
    }

    /// How many tables have been learnt: with a new one, counts of collections mean something else.
    pub(super) fn learnt(&self) -> usize {
        self.learnt.len()
    }

    /// The mark of a record of `topic`.
    pub(super) fn of(&mut self, topic: &str, record: &RawRecord<'_>) -> Mark {
        let Some(event) = event_of(record) else { return Mark::Free };
        if self.is_metadata(topic) {
            return marker(&event).unwrap_or(Mark::Free);
        }
        match text(event.op.as_ref()) {
            Some("c" | "u" | "d" | "t") => {}
            Some(_) => return Mark::Free,
            // A row without its envelope.
            None => return Mark::Bare,
        }
        if self.renamed.contains(topic) {
            self.learn(event.source.as_ref());
        }
        let block = event.transaction.as_ref();
        let Some(id) = block.and_then(|block| text(block.get("id"))) else { return Mark::Bare };
        let name = event.source.as_ref().and_then(|source| source.name.as_deref());
        let of_other =
            |name: &str| self.topic.strip_prefix(name).is_none_or(|rest| !rest.starts_with('.'));
        if name.is_some_and(of_other) {
            return Mark::Free;
        }
        let order = block.and_then(|block| number(block.get("total_order")));
        Mark::Row { id: joined(id), order }
    }

    /// Notes how a connector would name the table that a row is of.
    fn learn(&mut self, source: Option<&Origin>) {
        let Some(Origin { db, schema, table: Some(table), .. }) = source else { return };
        let (db, schema) = (db.as_deref(), schema.as_deref());
        let names = [
            schema.map(|schema| format!("{schema}.{table}")),
            db.map(|db| format!("{db}.{table}")),
            db.zip(schema).map(|(db, schema)| format!("{db}.{schema}.{table}")),
        ];
        for name in names.into_iter().flatten() {
            let name = as_topic(&name);
            if !self.learnt.contains(&*name) {
                self.learnt.insert(name);
            }
        }
    }
}

/// Whether a change names its transaction; `None` where the record is no change.
pub(in crate::source) fn names_one(record: &RawRecord<'_>) -> Option<bool> {
    let event = event_of(record)?;
    let is_change = matches!(text(event.op.as_ref()), None | Some("c" | "u" | "d" | "t"));
    let names = event.transaction.is_some_and(|block| text(block.get("id")).is_some());
    is_change.then_some(names)
}

fn event_of(record: &RawRecord<'_>) -> Option<Event> {
    let event: Event = serde_json::from_slice(record.value?).ok()?;
    Some(match event.payload {
        Some(payload) => *payload,
        None => event,
    })
}

fn marker(event: &Event) -> Option<Mark> {
    let id = joined(text(event.id.as_ref())?);
    match text(event.status.as_ref())? {
        "BEGIN" => Some(Mark::Begin { id }),
        "END" => {
            let of = |own: &Value| {
                let name = text(own.get("data_collection"))?;
                Some((Box::from(name), number(own.get("event_count"))?))
            };
            let listed = event.data_collections.as_ref().and_then(Value::as_array);
            let rows: Vec<_> = listed.into_iter().flatten().filter_map(of).collect();
            Some(Mark::End { id, rows })
        }
        _ => None,
    }
}

/// The part of an id that BEGIN, END and rows have in common.
fn joined(id: &str) -> Box<str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match id.split_once(':') {
        Some((transaction, lsn)) if is_number(transaction) && is_number(lsn) => transaction.into(),
        _ => id.into(),
    }
}

/// A collection's name as it stands in the name of its topic.
fn as_topic(collection: &str) -> Box<str> {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    collection.chars().map(|c| if is_kept(c) { c } else { '_' }).collect::<String>().into()
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn number(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Marks {
        let topics = ["shop.public.orders", "shop.public.costs", "bills"];
        Marks::new("shop.transaction", topics.into_iter())
    }

    fn of(marks: &mut Marks, topic: &str, value: &str) -> Mark {
        let value = Some(value.as_bytes());
        let (timestamp, key) = (None, None);
        marks.of(
            topic,
            &RawRecord { offset: 0, prev_offset: 0, timestamp, key, value, headers: &[] },
        )
    }

    #[test]
    fn markers_and_rows_of_postgresql_are_joined_by_the_number_of_their_transaction() {
        let mut marks = marks();
        let begin = r#"{"status":"BEGIN","id":"571:53195829","ts_ms":1,"event_count":null,"data_collections":null}"#;
        assert_eq!(of(&mut marks, "shop.transaction", begin), Mark::Begin { id: "571".into() });
        let end = r#"{"status":"END","id":"571:53195832","event_count":"3","data_collections":[
            {"data_collection":"public.orders","event_count":2},
            {"data_collection":"public.secret","event_count":"1"}]}"#;
        let rows = vec![("public.orders".into(), 2), ("public.secret".into(), 1)];
        let expected = Mark::End { id: "571".into(), rows };
        assert_eq!(of(&mut marks, "shop.transaction", end), expected);
        let wrapped = format!(r#"{{"schema":{{"type":"struct"}},"payload":{end}}}"#);
        assert_eq!(of(&mut marks, "shop.transaction", &wrapped), expected);
        let row = r#"{"op":"c","source":{"name":"shop"},
            "transaction":{"id":"571:53195830","total_order":"2","data_collection_order":1}}"#;
        let expected = Mark::Row { id: "571".into(), order: Some(2) };
        assert_eq!(of(&mut marks, "shop.public.orders", row), expected);
        let wrapped = format!(r#"{{"schema":{{}},"payload":{row}}}"#);
        assert_eq!(of(&mut marks, "shop.public.orders", &wrapped), expected);
    }

    #[test]
    fn other_ids_are_kept_whole() {
        for id in ["3e11fa47-71ca-11e1-9e33-c80aa9429562:23", "0-1-57", "00000025:00000d98:00a2"] {
            assert_eq!(&*joined(id), id);
        }
    }

    #[test]
    fn what_is_of_no_transaction_waits_for_none() {
        let mut marks = marks();
        for (value, expected) in [
            (r#"{"op":"r","source":{"name":"shop"},"transaction":null}"#, Mark::Free),
            (r#"{"op":"c","source":{"name":"shop"},"transaction":null}"#, Mark::Bare),
            (r#"{"op":"c","source":{"name":"other"},"transaction":{"id":"1"}}"#, Mark::Free),
            (r#"{"op":"c","source":{"name":"sho"},"transaction":{"id":"1"}}"#, Mark::Free),
            (r#"{"op":"c","source":7}"#, Mark::Free),
            (r#"{"op":"m","message":{}}"#, Mark::Free),
            (r#"{"order_id":7,"transaction":"x"}"#, Mark::Bare),
            ("no json", Mark::Free),
        ] {
            assert_eq!(of(&mut marks, "shop.public.orders", value), expected, "{value}");
        }
        assert_eq!(of(&mut marks, "shop.transaction", r#"{"status":"?","id":"1"}"#), Mark::Free);
    }

    #[test]
    fn collections_are_known_by_their_topics_or_by_what_those_bring() {
        let mut marks = marks();
        for (collection, is_read) in [
            ("public.orders", true),
            ("testdb.public.orders", true),
            ("public.Orders", false),
            ("other_public.orders", false),
            ("public.secret", false),
            ("billing.invoices", false),
        ] {
            assert_eq!(marks.is_read(collection), is_read, "{collection}");
        }
        let row = r#"{"op":"c","source":{"name":"shop","db":"x","schema":"billing","table":"invoices"},
            "transaction":{"id":"9:1","total_order":1}}"#;
        of(&mut marks, "bills", row);
        assert!(marks.is_read("billing.invoices"));
        let odd = Marks::new("a.transaction", ["a.s.t_able"].into_iter());
        assert!(odd.is_read("s.t able"));
    }
}
