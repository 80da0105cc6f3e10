//! `weir contracts infer`: a contract proposed from a few records of a file or a topic.
//!
//! # Guarantees
//! - Nothing is committed, and no more records are taken than are asked for, in bounded time.
//! - What is printed is a contract that `weir check` accepts as it is.

use std::path::PathBuf;

use clap::Args;
use engine::contracts;
use pipeline::infer::{Sample, SampleError, propose};
use pipeline::source::{KafkaConfig, SourceConfig, SourceError};
use schemas::{Contract, chain};

use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Infer {
    /// A file of change events or rows: NDJSON (also with coordinates), CSV or Parquet; `.gz` too.
    #[arg(required_unless_present = "topic")]
    file: Option<PathBuf>,
    /// A topic of a configured Kafka source; with a file, the topic of its lines.
    #[arg(long)]
    topic: Option<String>,
    /// The Kafka source, where several are configured.
    #[arg(long, conflicts_with = "file")]
    source: Option<String>,
    /// How many records are looked at.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    records: u32,
}

pub(crate) fn execute(config: &Config, infer: &Infer) -> Result<(), Failure> {
    let most = usize::try_from(infer.records).unwrap_or(usize::MAX);
    let sample = match (&infer.file, &infer.topic) {
        (Some(file), topic) => Sample::of_file(file, topic.as_deref(), most),
        (None, Some(topic)) => {
            Sample::of_topic(kafka(config, topic, infer.source.as_deref())?, topic, most)
        }
        (None, None) => return Err(Failure::Usage("name a file, or a topic".to_owned())),
    };
    let text = sample.and_then(|sample| propose(&sample)).map_err(failure)?;
    let usable = Contract::parse(&text).map_err(|e| e.to_string());
    let usable = usable.and_then(|contract| contracts::check(&contract));
    usable.map_err(|reason| {
        Failure::Stopped(format!("what was found gives no contract: {reason}"))
    })?;
    text.lines().for_each(output::line);
    Ok(())
}

/// The source that has the topic: the named one, one that reads it, or the only one.
fn kafka<'a>(
    config: &'a Config,
    topic: &str,
    named: Option<&str>,
) -> Result<&'a KafkaConfig, Failure> {
    let all = config.sources.iter().filter_map(|source| match source {
        SourceConfig::Kafka(kafka) => Some(kafka),
        SourceConfig::File(_) => None,
    });
    let all: Vec<&KafkaConfig> = all.collect();
    let names = || all.iter().map(|kafka| kafka.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = match (named, all.as_slice()) {
        (Some(name), _) => all.iter().find(|kafka| kafka.name == name),
        (None, [only]) => Some(only),
        (None, _) => all.iter().find(|kafka| kafka.topics.contains_key(topic)),
    };
    found.copied().ok_or_else(|| {
        Failure::Usage(match all.as_slice() {
            [] => "no Kafka source is configured; add one under [[sources]], or name a file"
                .to_owned(),
            _ => format!(
                "say which source has topic `{topic}` with `--source`; there are {}",
                names()
            ),
        })
    })
}

fn failure(error: SampleError) -> Failure {
    match &error {
        SampleError::Content(reason) => Failure::Usage(reason.clone()),
        SampleError::Source(SourceError::Unreachable { .. } | SourceError::Kafka { .. }) => {
            Failure::Unreachable(chain(&error))
        }
        SampleError::Source(_) => Failure::Usage(chain(&error)),
    }
}
