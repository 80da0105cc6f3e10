//! A few records of a file or a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
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

/// Records of one look where those of one topic are picked out of a file: nobody knows how many lie between them.
const LOOK: usize = 10_000;
/// Other topics that are named at most where there is none of this name.
const OTHERS_MAX: usize = 20;

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

    /// The first records of a file; where `topic` is named, the first of its lines that are of it.
    ///
    /// # Errors
    /// When it cannot be read, has no line of the topic, or has lines of several topics and none is named.
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
            let batches = read(&mut source, most)?.batches;
            let format = Some(if kind == Kind::Csv { "csv" } else { "parquet" });
            return Ok(Sample { name, format, records: records(&batches), is_topic: false });
        }
        if let Some(topic) = topic {
            return of_one(&mut FileSource::new(config(None)), (path, topic), most);
        }
        let batches = read(&mut FileSource::new(config(None)), most)?.batches;
        let topics: BTreeSet<&str> =
            batches.iter().filter(|b| has_coordinates(b)).map(|b| &*b.topic().topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        match topics.as_slice() {
            [topic] => {
                let own: Vec<RawBatch> =
                    batches.iter().filter(|b| *b.topic().topic == **topic).cloned().collect();
                let (name, records) = ((*topic).to_owned(), records(&own));
                Ok(Sample { name, format: None, records, is_topic: true })
            }
            [] => {
                let batches = read(&mut FileSource::new(config(Some("sample"))), most)?.batches;
                let records = records(&batches);
                Ok(Sample { name, format: None, records, is_topic: false })
            }
            topics => {
                let reason = format!(
                    "`{}` has lines of {}; name one with `--topic`",
                    path.display(),
                    topics.join(", ")
                );
                Err(SampleError::Content(reason))
            }
        }
    }

    /// The first records of a topic. Commits nothing.
    ///
    /// # Errors
    /// When the broker does not answer, or the topic has no records.
    pub fn of_topic(config: &KafkaConfig, topic: &str, most: usize) -> Result<Sample, SampleError> {
        let mut config = config.clone();
        config.topics = [(topic.to_owned(), Mapping::from("sample"))].into();
        let batches = read(&mut KafkaSource::new(config)?, most)?.batches;
        let records = records(&batches);
        if records.is_empty() {
            let reason = format!("topic `{topic}` has no records, or is not there");
            return Err(SampleError::Content(reason));
        }
        Ok(Sample { name: topic.to_owned(), format: None, records, is_topic: true })
    }
}

/// The first records of one topic of a file's lines.
fn of_one(
    source: &mut dyn Source,
    (path, topic): (&Path, &str),
    most: usize,
) -> Result<Sample, SampleError> {
    let Read { batches, others } = read_of(source, most, Some(topic))?;
    let mut records = records(&batches);
    if records.is_empty() {
        let others: Vec<&str> = others.iter().map(|own| &**own).collect();
        let there = match others.as_slice() {
            [] => "none of its lines names a topic; leave `--topic` out".to_owned(),
            others => format!("there are {}", others.join(", ")),
        };
        let reason = format!("`{}` has no lines of topic `{topic}`; {there}", path.display());
        return Err(SampleError::Content(reason));
    }
    records.truncate(most);
    Ok(Sample { name: topic.to_owned(), format: None, records, is_topic: true })
}

fn has_coordinates(batch: &RawBatch) -> bool {
    !batch.iter().any(|record| wrong_line(batch.topic(), &record).is_some())
}

/// What was read.
struct Read {
    batches: Vec<RawBatch>,
    /// Topics that were passed over, some of them.
    others: BTreeSet<Arc<str>>,
}

fn read(source: &mut dyn Source, most: usize) -> Result<Read, SourceError> {
    read_of(source, most, None)
}

/// Reads so many records, of one topic where that is named; what is of another is passed over.
fn read_of(source: &mut dyn Source, most: usize, topic: Option<&str>) -> Result<Read, SourceError> {
    let until = Instant::now() + WAIT;
    source.start(&Progress::new())?;
    source.stop_at_end()?;
    let mut read = Read { batches: Vec::new(), others: BTreeSet::new() };
    let (mut left, mut bytes) = (most, BYTES_MAX);
    while left > 0 && bytes > 0 && Instant::now() < until {
        let records = if topic.is_some() { left.max(LOOK) } else { left };
        let limits = Limits { records, bytes, partition_records: records, partition_bytes: bytes };
        let step = Duration::from_millis(500);
        let mut batches = Vec::new();
        let pulled = source.poll(step, step, &limits, &mut batches)?;
        for batch in batches {
            if topic.is_none_or(|topic| *batch.topic().topic == *topic) {
                left = left.saturating_sub(batch.len());
                bytes = bytes.saturating_sub(batch.bytes());
                read.batches.push(batch);
            } else if read.others.len() < OTHERS_MAX && has_coordinates(&batch) {
                read.others.insert(Arc::clone(&batch.topic().topic));
            }
        }
        if pulled.at_end {
            break;
        }
    }
    Ok(read)
}

fn records(batches: &[RawBatch]) -> Vec<Record> {
    let record = |record: RawRecord<'_>| Record {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
    };
    batches.iter().flat_map(|batch| batch.iter().map(record).collect::<Vec<_>>()).collect()
}
