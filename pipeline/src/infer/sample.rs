//! A few records of a file or a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::record::{RawBatch, RawRecord};
use crate::source::table::{Kind, TableFiles};
use crate::source::{
    FileConfig, FileSource, KafkaConfig, KafkaSource, Limits, Mapping, Progress, Source,
    SourceError, wrong_line,
};

/// How long a sample may take.
const WAIT: Duration = Duration::from_secs(20);

/// Bytes of keys and values of a sample.
const BYTES_MAX: usize = 64 << 20;

/// Records of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What they come from: a file's name, or a topic.
    pub name: String,
    /// The format, where the kind of the file says it.
    pub format: Option<&'static str>,
    /// The records.
    pub records: Vec<Record>,
    /// Whether it is of a topic.
    pub is_topic: bool,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What is there gives no sample.
    #[error("{0}")]
    Content(String),
}

impl Sample {
    /// Where it comes from, in words behind a number of rows.
    pub(super) fn origin(&self) -> String {
        let what = if self.is_topic { "topic" } else { "file" };
        format!(" of {what} `{}`", self.name.escape_default())
    }

    /// The first records of a file; of lines with coordinates those of `topic`, where several are there.
    ///
    /// # Errors
    /// When it cannot be read, or lines of several topics are in it and none is named.
    pub fn of_file(path: &Path, topic: Option<&str>, most: usize) -> Result<Sample, SampleError> {
        let config = |contract: Option<&str>| FileConfig {
            name: "sample".to_owned(),
            path: path.to_owned(),
            contract: contract.map(Mapping::from),
            topics: BTreeMap::new(),
            snapshots: Default::default(),
        };
        let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = named.unwrap_or_else(|| "table".to_owned());
        let is = |ending: &str| name.trim_end_matches(".gz").to_lowercase().ends_with(ending);
        if let Some(kind) = [(".csv", Kind::Csv), (".parquet", Kind::Parquet)]
            .into_iter()
            .find_map(|(ending, kind)| is(ending).then_some(kind))
        {
            let mut source = TableFiles::new(config(Some("sample")), kind);
            let batches = read(&mut source, most)?;
            let format = Some(if kind == Kind::Csv { "csv" } else { "parquet" });
            return Ok(Sample { name, format, records: records(&batches), is_topic: false });
        }
        let batches = read(&mut FileSource::new(config(None)), most)?;
        let is_line = |batch: &&RawBatch| {
            !batch.iter().any(|record| wrong_line(batch.topic(), &record).is_some())
        };
        let topics: BTreeSet<&str> =
            batches.iter().filter(is_line).map(|b| &*b.topic().topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let topic = match (topic, topics.as_slice()) {
            (Some(topic), _) => topic,
            (None, [topic]) => topic,
            (None, []) => {
                let batches = read(&mut FileSource::new(config(Some("sample"))), most)?;
                let records = records(&batches);
                return Ok(Sample { name, format: None, records, is_topic: false });
            }
            (None, topics) => {
                let reason = format!(
                    "`{}` has lines of {}; name one with `--topic`",
                    path.display(),
                    topics.join(", ")
                );
                return Err(SampleError::Content(reason));
            }
        };
        let of_topic: Vec<RawBatch> =
            batches.iter().filter(|batch| *batch.topic().topic == *topic).cloned().collect();
        let records = records(&of_topic);
        Ok(Sample { name: topic.to_owned(), format: None, records, is_topic: true })
    }

    /// The first records of a topic. Commits nothing.
    ///
    /// # Errors
    /// When the broker does not answer, or the topic has no records.
    pub fn of_topic(config: &KafkaConfig, topic: &str, most: usize) -> Result<Sample, SampleError> {
        let mut config = config.clone();
        config.topics = [(topic.to_owned(), Mapping::from("sample"))].into();
        let batches = read(&mut KafkaSource::new(config)?, most)?;
        let records = records(&batches);
        if records.is_empty() {
            let reason = format!("topic `{topic}` has no records, or is not there");
            return Err(SampleError::Content(reason));
        }
        Ok(Sample { name: topic.to_owned(), format: None, records, is_topic: true })
    }
}

fn read(source: &mut dyn Source, most: usize) -> Result<Vec<RawBatch>, SourceError> {
    let until = Instant::now() + WAIT;
    source.start(&Progress::new())?;
    source.stop_at_end()?;
    let (mut batches, mut left, mut bytes) = (Vec::new(), most, BYTES_MAX);
    while left > 0 && bytes > 0 && Instant::now() < until {
        let limits =
            Limits { records: left, bytes, partition_records: left, partition_bytes: bytes };
        let step = Duration::from_millis(500);
        let pulled = source.poll(step, step, &limits, &mut batches)?;
        (left, bytes) = (left.saturating_sub(pulled.records), bytes.saturating_sub(pulled.bytes));
        if pulled.at_end {
            break;
        }
    }
    Ok(batches)
}

fn records(batches: &[RawBatch]) -> Vec<Record> {
    let record = |record: RawRecord<'_>| Record {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
    };
    batches.iter().flat_map(|batch| batch.iter().map(record).collect::<Vec<_>>()).collect()
}
