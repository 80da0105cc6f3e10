//! Why a benchmark has no result.

use std::io;
use std::path::{Path, PathBuf};

use rdkafka::error::KafkaError;

/// Why a benchmark has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file or process.
    #[error("could not {what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The broker.
    #[error(
        "the broker at {brokers} could not {what}: {source}; `tests/services/kafka.sh start` starts one"
    )]
    Kafka {
        /// The address.
        brokers: String,
        /// What was asked.
        what: &'static str,
        /// What it said.
        source: KafkaError,
    },
    /// A file of the ceiling.
    #[error("could not write a Parquet file: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A batch of the ceiling.
    #[error("could not build a batch of rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The lake that a run left behind.
    #[error("the lake cannot be read: {0}")]
    Lake(#[from] harness::Error),
    /// Something that would make the figures worthless.
    #[error("{0}")]
    Worthless(String),
}

impl Failure {
    /// For `map_err`: names what was tried and with what.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let path = path.to_path_buf();
        move |source| Failure::Io { what, path, source }
    }

    /// For `map_err`: names what the broker was asked.
    pub fn kafka(brokers: &str, what: &'static str) -> impl FnOnce(KafkaError) -> Failure {
        let brokers = brokers.to_owned();
        move |source| Failure::Kafka { brokers, what, source }
    }
}
