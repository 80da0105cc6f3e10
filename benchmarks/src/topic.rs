//! A topic of its own for a run: created, filled, counted, deleted.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::events::{Events, Shape};
use crate::failure::Failure;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A topic and what it holds.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Bootstrap servers.
    pub brokers: String,
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: u32,
    /// All records, tombstones included.
    pub records: u64,
    /// Bytes of keys and values, as far as this process produced them.
    pub bytes: u64,
    /// The metadata topic of its connector, where transactions are told of.
    pub metadata: Option<Metadata>,
}

/// A topic that says when transactions begin and end.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Changes of each transaction.
    pub changes: u64,
}

impl Topic {
    /// A topic that holds exactly the stream of `shape`, and how long producing took. One with that
    /// name and the right number of records is used as it is.
    ///
    /// # Errors
    /// When the broker refuses, or the topic holds something else.
    pub fn filled(brokers: &str, name: &str, shape: Shape) -> Result<(Topic, Duration), Failure> {
        let begin = Instant::now();
        let (mut records, mut bytes) = (0, 0);
        let mut events = Events::new(shape);
        while let Some(record) = events.draw() {
            records += 1;
            bytes += (record.key.len() + record.value.map_or(0, <[u8]>::len)) as u64;
        }
        let partitions = shape.partitions;
        let (brokers, name, metadata) = (brokers.to_owned(), name.to_owned(), None);
        let topic = Topic { brokers, name, partitions, records, bytes, metadata };
        topic.create()?;
        let held = topic.held()?;
        if held == 0 {
            topic.produce(shape)?;
        }
        let held = topic.held()?;
        if held != records {
            let text = format!(
                "topic `{}` holds {held} records and not {records}; delete it, then run again",
                topic.name
            );
            return Err(Failure::Worthless(text));
        }
        Ok((topic, begin.elapsed()))
    }

    /// A new topic without records.
    ///
    /// # Errors
    /// When the broker refuses, or it has records.
    pub fn empty(brokers: &str, name: &str, partitions: u32) -> Result<Topic, Failure> {
        let (records, bytes, metadata) = (0, 0, None);
        let (brokers, name) = (brokers.to_owned(), name.to_owned());
        let topic = Topic { brokers, name, partitions, records, bytes, metadata };
        topic.create()?;
        match topic.held()? {
            0 => Ok(topic),
            held => {
                let text = format!("topic `{}` holds {held} records already", topic.name);
                Err(Failure::Worthless(text))
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Failure> {
        let client = ClientConfig::new().set("bootstrap.servers", &self.brokers).create();
        client.map_err(Failure::kafka(&self.brokers, "be asked"))
    }

    fn create(&self) -> Result<(), Failure> {
        let partitions = i32::try_from(self.partitions).unwrap_or(i32::MAX);
        let new = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let created = block_on(self.admin()?.create_topics([&new], &AdminOptions::new()));
        let created = created.map_err(Failure::kafka(&self.brokers, "create a topic"))?;
        for result in created {
            if let Err((_, code)) = result
                && code != RDKafkaErrorCode::TopicAlreadyExists
            {
                let source = KafkaError::AdminOp(code);
                return Err(Failure::kafka(&self.brokers, "create a topic")(source));
            }
        }
        Ok(())
    }

    /// Deletes it.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn delete(&self) -> Result<(), Failure> {
        let deleted = block_on(self.admin()?.delete_topics(&[&self.name], &AdminOptions::new()));
        deleted.map(drop).map_err(Failure::kafka(&self.brokers, "delete a topic"))
    }

    fn held(&self) -> Result<u64, Failure> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .map_err(Failure::kafka(&self.brokers, "be asked"))?;
        let mut held = 0;
        for partition in 0..self.partitions {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let begin = Instant::now();
            let (low, high) = loop {
                match client.fetch_watermarks(&self.name, partition, TIMEOUT) {
                    Ok(marks) => break marks,
                    // A new topic takes a moment to get its leaders.
                    Err(_) if begin.elapsed() < TIMEOUT => {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    Err(e) => return Err(Failure::kafka(&self.brokers, "count records")(e)),
                }
            };
            held += u64::try_from(high - low).unwrap_or(0);
        }
        Ok(held)
    }

    fn produce(&self, shape: Shape) -> Result<(), Failure> {
        let refused = || Failure::kafka(&self.brokers, "take records");
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .set("queue.buffering.max.messages", "200000")
            .create()
            .map_err(refused())?;
        let mut events = Events::new(shape);
        while let Some(record) = events.draw() {
            let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
            let mut next = BaseRecord::to(&self.name).partition(partition).key(record.key);
            if let Some(value) = record.value {
                next = next.payload(value);
            }
            loop {
                match producer.send(next) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                        next = same;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(refused()(error)),
                }
            }
        }
        producer.flush(TIMEOUT).map_err(refused())
    }
}
