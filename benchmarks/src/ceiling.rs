//! What one thread over librdkafka can do on this machine, right now: the bound to compare with.
//!
//! The stages build on each other: receive; decode as well; write the raw rows to zstd Parquet as well.
//! There is no ledger, no Delta commit, no sync, no state and no KPI in any of them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use pipeline::decode::{ChangeBatch, DebeziumJson, Decoder, PreparedContract, Scratch};
use pipeline::record::{RawRecord, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use schemas::Micros;

use crate::failure::Failure;
use crate::topic::Topic;

/// Rows of one Parquet file.
const FILE_ROWS: usize = 50_000;

/// Decoded records after which their memory is used again.
const DECODED_ROWS: usize = 1_000;

/// A broker that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(10);

/// How far the thread goes with each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Receive it.
    Consume,
    /// Decode it under the contract of orders, too.
    Decode,
    /// Write it to Parquet, too.
    Parquet,
}

impl Stage {
    /// All, cheapest first.
    pub const ALL: [Stage; 3] = [Stage::Consume, Stage::Decode, Stage::Parquet];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Consume => "consume only",
            Stage::Decode => "+ decode",
            Stage::Parquet => "+ zstd Parquet of the raw rows",
        }
    }
}

/// Reads the whole topic once, and returns the time from the first record to the end.
///
/// # Errors
/// When the broker falls silent, or a record cannot be decoded.
pub fn measure(
    topic: &Topic,
    stage: Stage,
    contract: &PreparedContract,
    folder: &Path,
) -> Result<Duration, Failure> {
    let consumer = consumer(topic)?;
    let mut worker = Worker::new(topic, stage, contract, folder);
    let mut begin = None;
    let mut seen = 0;
    while seen < topic.records {
        match consumer.poll(SILENCE) {
            Some(Ok(message)) => {
                begin.get_or_insert_with(Instant::now);
                worker.take(&message)?;
                seen += 1;
            }
            Some(Err(error)) => return Err(Failure::kafka(&topic.brokers, "be read")(error)),
            None => {
                let text =
                    format!("the broker fell silent after {seen} of {} records", topic.records);
                return Err(Failure::Worthless(text));
            }
        }
    }
    worker.finish()?;
    Ok(begin.map(|begin| begin.elapsed()).unwrap_or_default())
}

/// Set as the product sets its own consumer.
fn consumer(topic: &Topic) -> Result<BaseConsumer, Failure> {
    let refused = || Failure::kafka(&topic.brokers, "be read");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.brokers)
        .set("group.id", "weir-benchmarks")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.message.max.bytes", "4194304")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "65536")
        .create()
        .map_err(refused())?;
    let mut list = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        list.add_partition_offset(&topic.name, partition, Offset::Beginning).map_err(refused())?;
    }
    consumer.assign(&list).map_err(refused())?;
    Ok(consumer)
}

struct Worker<'a> {
    topic: &'a str,
    stage: Stage,
    contract: &'a PreparedContract,
    scratch: Scratch,
    changes: ChangeBatch,
    rows: Rows,
    folder: &'a Path,
    files: usize,
}

impl<'a> Worker<'a> {
    fn new(
        topic: &'a Topic,
        stage: Stage,
        contract: &'a PreparedContract,
        folder: &'a Path,
    ) -> Worker<'a> {
        Worker {
            topic: &topic.name,
            stage,
            contract,
            scratch: Scratch::default(),
            changes: ChangeBatch::default(),
            rows: Rows::default(),
            folder,
            files: 0,
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Failure> {
        if self.stage >= Stage::Decode {
            self.decode(message)?;
        }
        if self.stage >= Stage::Parquet {
            self.rows.push(message);
            if self.rows.len == FILE_ROWS {
                self.write()?;
            }
        }
        Ok(())
    }

    fn decode(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Failure> {
        if self.changes.len() >= DECODED_ROWS {
            self.changes.clear(&TopicPartition {
                source: "ceiling".into(),
                topic: self.topic.into(),
                incarnation: "".into(),
                partition: message.partition(),
            });
        }
        let record = RawRecord {
            offset: message.offset(),
            prev_offset: message.offset(),
            timestamp: message.timestamp().to_millis().and_then(Micros::from_millis),
            key: message.key(),
            value: message.payload(),
            headers: &[],
        };
        self.changes.begin_record(0, record.offset);
        let Worker { topic, contract, scratch, changes, .. } = self;
        let decoded = DebeziumJson.decode(contract, topic, &record, scratch, changes);
        decoded.map_err(|error| {
            let (partition, offset) = (message.partition(), message.offset());
            Failure::Worthless(format!("the record at {partition}/{offset}: {error}"))
        })
    }

    fn write(&mut self) -> Result<(), Failure> {
        let batch = self.rows.finish()?;
        let path = self.folder.join(format!("ceiling-{}.parquet", self.files));
        let file = File::create(&path).map_err(Failure::io("create", &path))?;
        let zstd = Compression::ZSTD(parquet::basic::ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        self.files += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if self.rows.len > 0 { self.write() } else { Ok(()) }
    }
}

#[derive(Default)]
struct Rows {
    len: usize,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: Int64Builder,
    key: BinaryBuilder,
    value: BinaryBuilder,
}

impl Rows {
    fn push(&mut self, message: &BorrowedMessage<'_>) {
        self.len += 1;
        self.partition.append_value(message.partition());
        self.offset.append_value(message.offset());
        self.timestamp.append_option(message.timestamp().to_millis());
        self.key.append_option(message.key());
        self.value.append_option(message.payload());
    }

    fn finish(&mut self) -> Result<RecordBatch, Failure> {
        self.len = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
        ];
        let schema = Schema::new(vec![
            Field::new("partition", DataType::Int32, false),
            Field::new("offset", DataType::Int64, false),
            Field::new("timestamp", DataType::Int64, true),
            Field::new("key", DataType::Binary, true),
            Field::new("value", DataType::Binary, true),
        ]);
        Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
    }
}
