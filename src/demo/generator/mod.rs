//! The demo's data: a shop platform's orders, customers, sales and use, and its cloud bill, as Debezium change events.
//!
//! # Guarantees
//! - The sequence of records is a function of the configuration without `rate`: the same bytes on
//!   every machine, whoever reads from wherever. `rate` only says when the live records are due.
//! - Business time: history is spread over `history_days` before `start`; the live part goes on at
//!   `business_rate` records per second. A demo on the wall clock sets `business_rate = rate`, so
//!   that live records carry the present time; a scripted run leaves it at [`BASE_RATE`], so that
//!   the first N records are the same at any rate.
//! - Levels go on from history into the live part at any business rate: orders arrive by the
//!   calendar, and the rest of the traffic meters the cost of the hour in small charges, corrects
//!   them, and writes existing orders again.
//! - Offsets are dense from 0 in every topic and partition; a key stays in its partition.
//!
//! # Non-guarantees
//! - Nothing is remembered outside the process: resuming walks the sequence again without writing
//!   it out (millions of records per second) up to the offsets asked for.

mod diary;
mod fact_text;
mod facts;
pub(crate) mod incidents;
mod lines;
mod mix;
mod orders;
mod render;
mod schedule;
mod stream;
mod subscriptions;
mod tables;
mod text;
mod world;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::Micros;

pub(crate) use incidents::Incident;
use render::Writer;
use schedule::Schedule;
use stream::{Cursor, Item, Stream};
pub(crate) use tables::Table;
use world::{DAY, World};

/// Live records per second unless told otherwise.
pub(crate) const BASE_RATE: f64 = 200.0;

/// Records between two places from which a walk can start.
const SLICE: u64 = 1024;
const MAX_PARTITIONS: i32 = 256;
const MAX_HISTORY_DAYS: u32 = 3650;
/// Customers, and what they agree to, go back so many times as far as the rest, and no further than this without
/// being told to: they are few.
const SPARSE: u32 = 6;
const SPARSE_DAYS: u32 = 400;

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GeneratorConfig {
    pub(crate) seed: u64,
    /// Where history ends and the live part begins.
    pub(crate) start: Micros,
    /// 1 to 999.
    pub(crate) tenants: usize,
    /// Up to ten years, of what there is much of; customers, subscriptions, opportunities, budgets and rates go back
    /// six times as far, 400 days at most.
    pub(crate) history_days: u32,
    /// Live records delivered per second: only moves [`Event::at`].
    pub(crate) rate: f64,
    /// Live records per second of business time: part of the content.
    pub(crate) business_rate: f64,
    /// 1 to 256, of each topic.
    pub(crate) partitions: i32,
}

/// One record. It borrows the generator's buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: &'a [u8],
    /// None: a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// The Kafka timestamp: business time.
    pub(crate) timestamp: Micros,
    /// When to deliver: before `start` for history, which is due at once.
    pub(crate) at: Micros,
}

/// The sequence, read from some place on.
#[derive(Debug)]
pub(crate) struct Generator {
    config: GeneratorConfig,
    stream: Stream,
    writer: Writer,
    place: Place,
    /// Offsets below these are not handed out.
    wanted: Vec<i64>,
    /// The place before every `SLICE`th record, as far as anyone has walked: random access costs
    /// at most a slice. 64 bytes and 16 per partition each.
    marks: Vec<Place>,
}

/// A cursor with the next offset of every lane (topic and partition).
#[derive(Debug, Clone)]
struct Place {
    cursor: Cursor,
    offsets: Vec<i64>,
}

impl GeneratorConfig {
    /// Six tenants with 72 days of history, 200 records per second, two partitions.
    pub(crate) fn new(seed: u64, start: Micros) -> GeneratorConfig {
        let (rate, business_rate) = (BASE_RATE, BASE_RATE);
        GeneratorConfig {
            seed,
            start,
            tenants: 6,
            history_days: 72,
            rate,
            business_rate,
            partitions: 2,
        }
    }
}

impl Generator {
    /// The sequence from its first record. Values out of range are taken to the nearest end.
    pub(crate) fn new(config: GeneratorConfig) -> Generator {
        let partitions = u64::try_from(config.partitions.clamp(1, MAX_PARTITIONS)).unwrap_or(1);
        let start = config.start.0;
        let world = World::new(config.seed, start, config.tenants);
        let first = start - i64::from(config.history_days.min(MAX_HISTORY_DAYS)) * DAY;
        let days =
            config.history_days.saturating_mul(SPARSE).min(SPARSE_DAYS.max(config.history_days));
        let sparse = start - i64::from(days.min(MAX_HISTORY_DAYS)) * DAY;
        let schedule = Schedule::new(world, (sparse, first), start);
        let stream = Stream::new(schedule, start, gap_ns(config.business_rate), partitions);
        let lanes = usize::try_from(partitions).unwrap_or(1) * Table::ALL.len();
        let place = Place { cursor: Cursor::default(), offsets: vec![0; lanes] };
        let wanted = place.offsets.clone();
        Generator { config, stream, writer: Writer::default(), place, wanted, marks: vec![] }
    }

    /// The sequence from the given next offsets on; a partition that is not named starts at 0.
    /// Offsets must be ones that the sequence reached before: the walk goes on until it has them.
    pub(crate) fn resume(
        config: GeneratorConfig,
        offsets: &BTreeMap<(String, i32), i64>,
    ) -> Generator {
        let mut generator = Generator::new(config);
        for ((topic, partition), offset) in offsets {
            if let Some(lane) = generator.lane_of(topic, *partition) {
                generator.wanted[lane] = (*offset).max(0);
            }
        }
        // Up to the first slice that holds a wanted record; `next` passes over the rest of it.
        let mut place = generator.place.clone();
        while place.offsets.iter().zip(&generator.wanted).all(|(at, wanted)| at <= wanted) {
            generator.mark(&place);
            generator.place = place.clone();
            for _ in 0..SLICE {
                walk(&mut generator.stream, &mut place);
            }
        }
        generator
    }

    /// The next record in due order. The sequence has no end.
    pub(crate) fn next(&mut self) -> Event<'_> {
        loop {
            if self.place.cursor.index.is_multiple_of(SLICE) {
                let place = self.place.clone();
                self.mark(&place);
            }
            let (item, lane, offset) = walk(&mut self.stream, &mut self.place);
            if offset >= self.wanted[lane] {
                return self.write(&item, lane, offset);
            }
        }
    }

    /// The record at an offset, wherever the generator reads; None where there is no such topic,
    /// partition or offset. Walks at most one slice where anyone has been before, otherwise on
    /// from the farthest place known.
    pub(crate) fn record(&mut self, topic: &str, partition: i32, offset: i64) -> Option<Event<'_>> {
        let lane = self.lane_of(topic, partition).filter(|_| offset >= 0)?;
        if self.marks.is_empty() {
            let offsets = vec![0; self.wanted.len()];
            self.mark(&Place { cursor: Cursor::default(), offsets });
        }
        let slice = self.marks.partition_point(|mark| mark.offsets[lane] <= offset);
        let mut place = self.marks.get(slice.checked_sub(1)?)?.clone();
        loop {
            if place.cursor.index.is_multiple_of(SLICE) {
                self.mark(&place);
            }
            let (item, at_lane, at) = walk(&mut self.stream, &mut place);
            if at_lane == lane && at == offset {
                return Some(self.write(&item, lane, offset));
            }
        }
    }

    /// The incidents of the live part that begin before `until` (business time), oldest first;
    /// at most the first ten days of them.
    pub(crate) fn incidents(&self, until: Micros) -> Vec<Incident> {
        let (world, start) = (&self.stream.schedule.world, self.config.start.0);
        let troubles = incidents::troubles(world, start, start, until.0);
        troubles.iter().map(|trouble| trouble.publish(world)).collect()
    }

    fn lane_of(&self, topic: &str, partition: i32) -> Option<usize> {
        let partition = usize::try_from(partition).ok()?;
        let partitions = self.wanted.len() / Table::ALL.len();
        let topic = Table::ALL.iter().position(|table| table.topic() == topic)?;
        (partition < partitions).then_some(topic * partitions + partition)
    }

    /// Remembers a slice's start when it is the next one not yet known.
    fn mark(&mut self, place: &Place) {
        if self.marks.len() as u64 == place.cursor.index / SLICE {
            self.marks.push(place.clone());
        }
    }

    fn write(&mut self, item: &Item, lane: usize, offset: i64) -> Event<'_> {
        self.writer.write(&self.stream, item);
        let partitions = self.wanted.len() / Table::ALL.len();
        let topic = Table::ALL.get(lane / partitions).unwrap_or(&Table::Orders).topic();
        let partition = i32::try_from(lane % partitions).unwrap_or(0);
        let (key, value) = (self.writer.key(), self.writer.value());
        let (timestamp, at) = (Micros(item.at), self.due(item.at));
        Event { topic, partition, offset, key, value, timestamp, at }
    }

    /// Business time after `start`, stretched to the rate of delivery.
    fn due(&self, at: i64) -> Micros {
        let start = self.config.start.0;
        let (business, delivery) = (gap_ns(self.config.business_rate), gap_ns(self.config.rate));
        if at < start || business == delivery {
            return Micros(at);
        }
        let passed = i128::from(at - start) * i128::from(delivery) / i128::from(business);
        Micros(start.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }
}

/// Moves on by one record: the record, its lane, its offset.
fn walk(stream: &mut Stream, place: &mut Place) -> (Item, usize, i64) {
    let item = stream.advance(&mut place.cursor);
    let lane = stream.lane(&item.what);
    let offset = place.offsets[lane];
    place.offsets[lane] += 1;
    (item, lane, offset)
}

/// Nanoseconds between records; rates are taken to 0.001 to 10,000,000 per second.
fn gap_ns(rate: f64) -> i64 {
    let rate = if rate.is_finite() { rate.clamp(0.001, 1e7) } else { BASE_RATE };
    i64::try_from(Duration::from_secs_f64(1.0 / rate).as_nanos()).unwrap_or(5_000_000)
}
