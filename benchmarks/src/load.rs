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
use crate::topic::Topic;

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
        if let Some(value) = record.value {
            next = next.payload(value);
        }
        while let Err((error, same)) = producer.send(next) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(refused()(error));
            }
            next = same;
            producer.poll(TICK);
        }
        load.records += 1;
    }
    producer.flush(TIMEOUT).map_err(refused())?;
    load.took = begin.elapsed();
    Ok(load)
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
