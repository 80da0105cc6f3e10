//! What happened, as a reader sees it: records in the order of their epochs, and what must come of them.
//!
//! # Guarantees
//! - Each partition is read in its order; how partitions alternate, where epochs end and how their
//!   clocks advance is drawn. Only a topic that was made anew is read after its earlier life.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Accidents;
use super::block::Kind;
use super::connector::{Connector, Style};
use super::database::Row;
use super::judge::{Cell, Rows};
use super::script::Script;
use super::topic::{Broker, Stored, Topic};
use crate::bronze::Record;

/// A history.
#[derive(Debug, Clone)]
pub struct History {
    /// The connector.
    pub kind: Kind,
    /// Whether whoever reads was told that every snapshot is whole: `snapshots = "whole"`.
    pub whole: bool,
    /// Whether the table has the required column `body`.
    pub has_body: bool,
    /// What is read, with the epochs and their clocks.
    pub records: Vec<Record>,
    /// A clock that is late enough for every timer.
    pub end_clock: i64,
    /// Whether a change that was sent again may look as if the source had gone back, because its clock was put
    /// back in between. Then a reader may stand still, and say so.
    pub may_halt: bool,
    /// The rows that must be there, by origin and key.
    pub(super) expected: Rows,
    /// The large values that the records carry; a null by its write.
    pub(super) carried: BTreeSet<String>,
    /// Rows whose note is a null that no record carries, by origin and key.
    pub(super) unsent_nulls: BTreeSet<(String, String)>,
    /// Whether a cleaner may have removed a value and left a later change that leaves it out.
    pub(super) is_compacted: bool,
    /// Whether it may have removed what leads from a value to the row: a create that names the old key, or
    /// a snapshot's row without which the snapshot says that the row was gone.
    pub(super) is_cut_off: bool,
}

/// Clocks are in microseconds.
const SECOND: i64 = 1_000_000;

impl History {
    pub(super) fn new(
        script: &Script,
        style: Style,
        connectors: &[Connector],
        broker: &Broker,
    ) -> History {
        let stored = broker.topics.iter().flat_map(|topic| topic.partitions.iter().flatten());
        let carried = stored.flat_map(|stored| stored.message.carries.iter().cloned());
        let carried: BTreeSet<String> = carried.collect();
        let (mut expected, mut unsent_nulls) = (Rows::new(), BTreeSet::new());
        for one in connectors {
            let topic = broker.topics.iter().find(|topic| writes(topic, one.number, style.shared));
            let topic = topic.map(|topic| topic.name.clone()).unwrap_or_default();
            let origin = style.kind.origin(one.number, &topic);
            for (key, told) in &one.told {
                let is_altered = script.accidents.has(Accidents::ALTER);
                let amount = |row: &Row| row.amount.clone();
                let is_told = |row: &Row| {
                    let row = if is_altered {
                        Row { amount: amount(&told.row), ..row.clone() }
                    } else {
                        row.clone()
                    };
                    row == told.row
                };
                let is_true = told.is_unread || one.database.rows().get(key).is_some_and(is_told);
                assert!(is_true, "the simulator told row {key} of {origin} wrongly: {script}");
            }
            for (key, told) in one.told.iter().chain(&one.left) {
                let mut row = cells(&told.row, style.has_body);
                row.insert(DOUBT.into(), doubt(told.is_unread));
                if told.lacks_amount {
                    row.insert("amount".into(), Cell::Unknown);
                }
                let place = (origin.clone(), key.to_string());
                if told.row.note.is_none() && !carried.contains(&told.row.note_of) {
                    unsent_nulls.insert(place.clone());
                }
                expected.insert(place, row);
            }
        }
        let mut reader = Reader::new(script.reading, broker);
        while reader.read() {}
        History {
            kind: script.kind,
            whole: style.whole,
            may_halt: may_halt(script.accidents),
            has_body: style.has_body,
            end_clock: reader.clock + 200 * SECOND,
            records: reader.records,
            expected,
            carried,
            unsent_nulls,
            is_compacted: script.accidents.has(Accidents::COMPACTION),
            is_cut_off: [Accidents::KEYS, Accidents::UNFINISHED]
                .into_iter()
                .any(|other| script.accidents.has(Accidents::COMPACTION | other)),
        }
    }
}

fn may_halt(accidents: Accidents) -> bool {
    accidents.has(Accidents::CLOCKS) && accidents != Accidents::CLOCKS
}

/// Whether this is the first topic of a database.
fn writes(topic: &Topic, number: u8, shared: bool) -> bool {
    shared || topic.name.starts_with(&format!("shop_{number}."))
}

/// The column that says whether a newer change of a row could not be read.
pub const DOUBT: &str = "_doubt";

/// What stands in it.
pub fn doubt(is_unread: bool) -> Cell {
    if is_unread { Cell::Value("dead letter".into()) } else { Cell::Null }
}

fn cells(row: &Row, has_body: bool) -> std::collections::BTreeMap<String, Cell> {
    let text = |value: &Option<String>| value.clone().map_or(Cell::Null, Cell::Value);
    let mut cells = std::collections::BTreeMap::from([
        ("tenant_id".to_owned(), Cell::Value("acme".into())),
        ("name".to_owned(), text(&row.name)),
        ("quantity".to_owned(), text(&row.quantity.map(|quantity| quantity.to_string()))),
        ("amount".to_owned(), text(&row.amount)),
        ("note".to_owned(), text(&row.note)),
    ]);
    if has_body {
        cells.insert("body".into(), Cell::Value(row.body.clone()));
    }
    cells
}

struct Lane<'a> {
    topic: &'a Topic,
    partition: i32,
    list: &'a [Stored],
    at: usize,
    next_offset: i64,
}

struct Reader<'a> {
    rng: StdRng,
    lanes: Vec<Lane<'a>>,
    /// Whether one partition after the other is read.
    one_by_one: bool,
    epoch: i64,
    clock: i64,
    records: Vec<Record>,
}

impl<'a> Reader<'a> {
    fn new(seed: u64, broker: &'a Broker) -> Reader<'a> {
        let mut rng = StdRng::seed_from_u64(seed);
        let one_by_one = rng.random_bool(0.3);
        let lanes = broker.topics.iter().flat_map(|topic| {
            (0_i32..).zip(&topic.partitions).map(move |(partition, list)| Lane {
                topic,
                partition,
                list,
                at: 0,
                next_offset: 0,
            })
        });
        let clock = 1_772_359_300 * SECOND;
        let lanes = lanes.collect();
        Reader { rng, lanes, one_by_one, epoch: 1, clock, records: Vec::new() }
    }

    /// Reads some records of one partition. Returns false when all are read.
    fn read(&mut self) -> bool {
        let is_left = |lane: &Lane<'_>| lane.at < lane.list.len();
        let is_next = |lane: &Lane<'_>| {
            is_left(lane)
                && !self.lanes.iter().any(|other| {
                    let is_earlier = other.topic.life < lane.topic.life;
                    is_left(other) && is_earlier && other.topic.name == lane.topic.name
                })
        };
        let ready: Vec<usize> =
            (0..self.lanes.len()).filter(|at| self.lanes.get(*at).is_some_and(is_next)).collect();
        if ready.is_empty() {
            return false;
        }
        let drawn = self.rng.random_range(0..ready.len());
        let count = if self.one_by_one { usize::MAX } else { self.rng.random_range(1..7) };
        let Some(lane) = ready.get(drawn).and_then(|at| self.lanes.get_mut(*at)) else {
            return false;
        };
        for _ in 0..count {
            let Some(stored) = lane.list.get(lane.at) else { break };
            lane.at += 1;
            let headers = stored.message.headers.iter();
            let bytes = |text: &String| text.clone().into_bytes();
            self.records.push(Record {
                source: "kafka".into(),
                topic: lane.topic.name.clone(),
                incarnation: lane.topic.life.to_string(),
                partition: lane.partition,
                offset: stored.offset,
                prev_offset: lane.next_offset,
                timestamp: Some(1_772_359_200 * SECOND + stored.sent * 1000),
                key: stored.message.key.as_ref().map(bytes),
                value: stored.message.value.as_ref().map(bytes),
                headers: headers.map(|(name, value)| (name.clone(), Some(bytes(value)))).collect(),
                decode_error: None,
                epoch: self.epoch,
                epoch_clock: self.clock,
                quiet: false,
            });
            lane.next_offset = stored.offset + 1;
            if self.rng.random_bool(0.3) {
                self.epoch += 1;
                let steps = [1000, SECOND, 20 * SECOND, 70 * SECOND];
                self.clock += steps[self.rng.random_range(0..steps.len())];
            }
        }
        true
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            let text = |bytes: &Option<Vec<u8>>| match bytes {
                Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                None => "null".into(),
            };
            let (value, mut headers) = (text(&record.value), String::new());
            for (name, key) in &record.headers {
                write!(headers, " {name}={}", text(key))?;
            }
            let Record { epoch, incarnation, .. } = record;
            let (place, key) = (record.place(), text(&record.key));
            writeln!(f, "  epoch {epoch}: {place} life {incarnation} {key}{headers} {value}")?;
        }
        Ok(())
    }
}
