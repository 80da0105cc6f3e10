//! Order events at a steady rate.
//!
//! # Guarantees
//! - A record's Kafka timestamp is the wall clock just before it was handed to the client library, so
//!   that times measured from it include the way to the broker and the batching of the producer.
//! - The rate does not follow the consumer: when sending falls behind, it catches up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::events::{Events, Shape};
use crate::failure::Failure;
use crate::machine;
use crate::topic::{Metadata, Topic};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);

/// Until everything is acknowledged.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How a load went.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Records sent, tombstones included.
    pub records: u64,
    /// How long it took.
    pub took: Duration,
    /// The longest that sending was late.
    pub latest: Duration,
}

/// Sends `rate` records a second until the stream of `shape` is over or `stop` is set.
///
/// # Errors
/// When the broker refuses.
pub fn send(topic: &Topic, shape: Shape, rate: u32, stop: &AtomicBool) -> Result<Load, Failure> {
    let refused = || Failure::kafka(&topic.brokers, "take records");
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &topic.brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "200000")
        .create()
        .map_err(refused())?;
    let mut events = Events::new(shape);
    let mut transactions = topic.metadata.clone().map(Transactions::new);
    let begin = Instant::now();
    let mut load = Load { records: 0, took: Duration::ZERO, latest: Duration::ZERO };
    while let Some(record) = events.draw() {
        load.latest = load.latest.max(wait_until(begin, load.records, rate, &producer));
        if stop.load(Ordering::Acquire) {
            break;
        }
        let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
        let mut next = BaseRecord::to(&topic.name)
            .partition(partition)
            .key(record.key)
            .timestamp(machine::now().0 / 1_000);
        let named = match (&mut transactions, record.value) {
            (Some(transactions), Some(value)) => Some(transactions.name(value, &producer)?),
            _ => None,
        };
        if let Some(value) = named.as_deref().or(record.value) {
            next = next.payload(value);
        }
        hand_over(&producer, next)?;
        if let Some(transactions) = &mut transactions {
            transactions.end_if_whole(&producer)?;
        }
        load.records += 1;
    }
    if let Some(transactions) = &mut transactions {
        transactions.end(&producer)?;
    }
    producer.flush(TIMEOUT).map_err(refused())?;
    load.took = begin.elapsed();
    Ok(load)
}

fn hand_over(producer: &BaseProducer, mut next: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
    while let Err((error, same)) = producer.send(next) {
        if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
            return Err(Failure::kafka("the broker", "take records")(error));
        }
        next = same;
        producer.poll(TICK);
    }
    Ok(())
}

/// Changes that follow each other, told of as one transaction, as Debezium for PostgreSQL does.
struct Transactions {
    metadata: Metadata,
    number: u64,
    changes: u64,
}

impl Transactions {
    fn new(metadata: Metadata) -> Transactions {
        Transactions { metadata, number: 700, changes: 0 }
    }

    /// The event with the name of its transaction, which begins with it where none is open.
    fn name(&mut self, value: &[u8], producer: &BaseProducer) -> Result<Vec<u8>, Failure> {
        const NONE: &str = r#""transaction":null"#;
        if self.changes == 0 {
            self.number += 1;
            self.mark(producer, r#""event_count":null,"data_collections":null"#, "BEGIN")?;
        }
        self.changes += 1;
        let (number, order) = (self.number, self.changes);
        let block = format!(
            r#""transaction":{{"id":"{number}:{order}","total_order":{order},"data_collection_order":{order}}}"#
        );
        Ok(String::from_utf8_lossy(value).replacen(NONE, &block, 1).into_bytes())
    }

    fn end_if_whole(&mut self, producer: &BaseProducer) -> Result<(), Failure> {
        if self.changes >= self.metadata.changes { self.end(producer) } else { Ok(()) }
    }

    fn end(&mut self, producer: &BaseProducer) -> Result<(), Failure> {
        let changes = std::mem::take(&mut self.changes);
        if changes == 0 {
            return Ok(());
        }
        let of = format!(
            r#""event_count":{changes},"data_collections":[{{"data_collection":"public.orders","event_count":{changes}}}]"#
        );
        self.mark(producer, &of, "END")
    }

    fn mark(&self, producer: &BaseProducer, of: &str, status: &str) -> Result<(), Failure> {
        let now = machine::now().0 / 1_000;
        let number = self.number;
        let value = format!(r#"{{"status":"{status}","id":"{number}:0","ts_ms":{now},{of}}}"#);
        let record = BaseRecord::to(&self.metadata.name).payload(value.as_bytes());
        hand_over(producer, record.timestamp(now))
    }
}

/// Waits for the time of a record; how late it is.
fn wait_until(begin: Instant, number: u64, rate: u32, producer: &BaseProducer) -> Duration {
    let nanos = number.saturating_mul(1_000_000_000) / u64::from(rate.max(1));
    let due = Duration::from_nanos(nanos);
    loop {
        let now = begin.elapsed();
        if now >= due {
            return now - due;
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(TICK.min(due - now));
    }
}
