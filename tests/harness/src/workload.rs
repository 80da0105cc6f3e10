//! Change streams without a database: Debezium JSON of a shop's orders and costs, from a seed.
//!
//! # Guarantees
//! - The n-th record is a function of the options and n alone.
//! - Source position and source clock never go back, except where a range is delivered again.
//! - Records of one key lie in one partition; offsets of a partition are dense from 0.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::Micros;
use serde_json::{Value, json};

use crate::{Error, Log};

mod encode;
mod shop;

use encode::{Encoding, Event};
use shop::Shop;

/// What to generate.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything random comes from it.
    pub seed: u64,
    /// Kafka records in all.
    pub events: u64,
    /// Tenants; now and then a row has none.
    pub tenants: u32,
    /// Partitions of each topic.
    pub partitions: u32,
    /// The source clock of the last record; rows reach back from it.
    pub now: Micros,
    /// Days of source clock from the first record to the last.
    pub span_days: u32,
    /// Rows that come first, as a snapshot.
    pub snapshot: u64,
    /// Share of records that cannot be decoded.
    pub poison: f64,
    /// Share of records after which a range is delivered again.
    pub redelivery: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            events: 10_000,
            tenants: 4,
            partitions: 3,
            now: Micros(1_795_219_200_000_000), // 2026-11-21T00:00:00Z
            span_days: 40,
            snapshot: 200,
            poison: 0.002,
            redelivery: 0.001,
        }
    }
}

/// One record to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    /// The topic.
    pub topic: &'static str,
    /// The partition.
    pub partition: i32,
    /// The offset it will have in a fresh topic.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The source's clock in milliseconds.
    pub ts_ms: i64,
}

/// A record before it has coordinates.
#[derive(Debug, Clone)]
struct Draft {
    topic: &'static str,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    ts_ms: i64,
}

/// The records of a seed, in order.
#[derive(Debug)]
pub struct Workload {
    options: Options,
    rng: StdRng,
    shop: Shop,
    lsn: u64,
    made: u64,
    queue: VecDeque<Draft>,
    /// What may be delivered again.
    recent: VecDeque<Draft>,
    offsets: BTreeMap<(&'static str, i32), i64>,
}

/// How many records back a redelivery may start.
const RECENT: usize = 50;

impl Workload {
    /// The stream of these options.
    pub fn new(options: Options) -> Workload {
        let rng = StdRng::seed_from_u64(options.seed);
        let shop = Shop::new(options.tenants);
        let (queue, recent, offsets) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        Workload { options, rng, shop, lsn: 1_000, made: 0, queue, recent, offsets }
    }

    /// The log that these options produce into fresh topics.
    pub fn log(options: &Options) -> Log {
        let mut log = Log::default();
        for r in Workload::new(options.clone()) {
            log.insert(r.topic, r.partition, r.offset, r.key.as_deref(), r.value.as_deref());
        }
        log
    }

    /// Writes the stream as lines `{"topic","partition","offset","key","value"}`, packed when the
    /// name ends in `.gz`; returns the log it makes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_ndjson(self, path: &Path) -> Result<Log, Error> {
        let place = path.display().to_string();
        let file = BufWriter::new(File::create(path).map_err(Error::at(&place))?);
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut packed = GzEncoder::new(file, Compression::fast());
            let log = self.write_lines(&mut packed).map_err(Error::at(&place))?;
            packed.finish().and_then(|mut file| file.flush()).map_err(Error::at(&place))?;
            return Ok(log);
        }
        let mut file = file;
        let log = self.write_lines(&mut file).map_err(Error::at(&place))?;
        file.flush().map_err(Error::at(&place))?;
        Ok(log)
    }

    fn write_lines(self, out: &mut impl Write) -> std::io::Result<Log> {
        let mut log = Log::default();
        for r in self {
            log.insert(r.topic, r.partition, r.offset, r.key.as_deref(), r.value.as_deref());
            let text = |bytes: Option<Vec<u8>>| {
                bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            };
            let line = json!({"topic": r.topic, "partition": r.partition, "offset": r.offset,
                "key": text(r.key), "value": text(r.value)});
            writeln!(out, "{line}")?;
        }
        Ok(log)
    }

    /// The source's clock now: it moves evenly over the span.
    fn source_micros(&self) -> i64 {
        let span = i64::from(self.options.span_days) * 86_400_000_000;
        let events = i128::from(self.options.events.max(1));
        let left = i128::from(self.options.events.saturating_sub(self.made));
        let back = i128::from(span) * left / events;
        let micros = self.options.now.0 - i64::try_from(back).unwrap_or(0);
        micros.div_euclid(1000) * 1000
    }

    /// Puts the records of the next source event into the queue.
    fn fill(&mut self) {
        let micros = self.source_micros();
        if self.rng.random_bool(self.options.redelivery) && !self.recent.is_empty() {
            let back = self.rng.random_range(1..=self.recent.len());
            let first = self.recent.len() - back;
            self.queue.extend(self.recent.iter().skip(first).cloned());
            return;
        }
        if self.rng.random_bool(self.options.poison) {
            let draft = self.poison(micros);
            self.queue.push_back(draft);
            return;
        }
        let snapshot = self.made < self.options.snapshot;
        // All rows of a snapshot share one position, as do the two halves of a key change.
        self.lsn += if snapshot { 0 } else { 8 + self.rng.random_range(0..200) };
        let changes = self.shop.next(&mut self.rng, micros, snapshot);
        for change in changes {
            let encoding = match self.rng.random_range(0..50) {
                0..40 => Encoding::Text,
                40..49 => Encoding::Numbers,
                _ => Encoding::WithSchema,
            };
            let deleted = change.op == "d";
            let event = Event { change: &change, encoding, lsn: self.lsn, ts_ms: micros / 1000 };
            let draft = Draft {
                topic: change.topic(),
                key: event.key().to_string().into_bytes(),
                value: Some(event.value().to_string().into_bytes()),
                ts_ms: micros / 1000,
            };
            let tombstone = Draft { value: None, ..draft.clone() };
            self.queue.push_back(draft);
            if deleted {
                self.queue.push_back(tombstone);
            }
        }
        self.remember();
    }

    fn remember(&mut self) {
        self.recent.extend(self.queue.iter().cloned());
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// A record that no reading of its contract can decode.
    fn poison(&mut self, micros: i64) -> Draft {
        let change = shop::order_for_poison(&mut self.rng, micros, self.made);
        self.lsn += 8;
        let encoding = Encoding::Text;
        let event = Event { change: &change, encoding, lsn: self.lsn, ts_ms: micros / 1000 };
        let mut value = event.value();
        let set = |value: &mut Value, column: &str, to: Value| {
            if let Some(slot) = value.pointer_mut(&format!("/after/{column}")) {
                *slot = to;
            }
        };
        let bytes = match self.rng.random_range(0..13) {
            0 => Vec::new(),
            1 => b"{\"op\":".to_vec(),
            2 => b"not json at all".to_vec(),
            3 => b"[1,2,3]".to_vec(),
            index => {
                match index {
                    4 => set(&mut value, "amount", json!("12.3.4")),
                    5 => set(&mut value, "amount", json!("NaN")),
                    6 => set(&mut value, "amount", json!("1e999")),
                    7 => set(&mut value, "amount", json!("JDp7lAA=")),
                    8 => set(&mut value, "amount", json!("100000000000000.0000")),
                    9 => set(&mut value, "status", Value::Null),
                    10 => set(&mut value, "placed_at", json!("2026-02-30T00:00:00Z")),
                    11 => set(&mut value, "placed_at", json!(micros / 1000)),
                    _ => value["op"] = json!("x"),
                }
                value.to_string().into_bytes()
            }
        };
        let key = event.key().to_string().into_bytes();
        Draft { topic: change.topic(), key, value: Some(bytes), ts_ms: micros / 1000 }
    }
}

impl Iterator for Workload {
    type Item = Produced;

    fn next(&mut self) -> Option<Produced> {
        if self.made >= self.options.events {
            return None;
        }
        while self.queue.is_empty() {
            self.fill();
        }
        let Draft { topic, key, value, ts_ms } = self.queue.pop_front()?;
        self.made += 1;
        let mut hasher = DefaultHasher::new();
        hasher.write(&key);
        let partition = hasher.finish() % u64::from(self.options.partitions.max(1));
        let partition = i32::try_from(partition).unwrap_or(0);
        let next = self.offsets.entry((topic, partition)).or_insert(0);
        let offset = *next;
        *next += 1;
        Some(Produced { topic, partition, offset, key: Some(key), value, ts_ms })
    }
}

#[cfg(test)]
mod tests;
