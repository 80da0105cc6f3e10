//! What a `[[sources]]` table of the configuration may say.
//!
//! # Guarantees
//! - Unknown keys are refused by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemas::Contract;
use serde::{Deserialize, Serialize};

use super::kafka::WholeTransactions;
use super::table::{Kind, TableFiles};
use super::{FileSource, KafkaSource, Mapping, Properties, Snapshots, Source, SourceError};

/// One `[[sources]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum SourceConfig {
    /// Topics of a Kafka cluster.
    Kafka(KafkaConfig),
    /// A file or a folder of files.
    File(FileConfig),
}

/// `kind = "kafka"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Part of the app ids under which progress is kept: never change it for a lake.
    #[serde(default = "kafka_name")]
    pub name: String,
    /// Bootstrap servers, `host:port` with commas between.
    pub brokers: String,
    /// The consumer group whose offsets are committed, for lag dashboards only.
    #[serde(default = "group_name")]
    pub group: String,
    /// Topic = contract, or more about the topic.
    #[serde(default)]
    pub topics: BTreeMap<String, Mapping>,
    /// The metadata topic of the connector: no epoch has a part of a transaction only.
    #[serde(default)]
    pub transactions: Option<String>,
    /// What complete snapshots of its topics say of rows that they lack.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// librdkafka properties, applied last.
    #[serde(default)]
    pub librdkafka: Properties,
    /// What to do when records that were never read are gone from the broker.
    #[serde(default)]
    pub lost_records: LostRecords,
    /// How often partitions and topic ids are looked up.
    #[serde(default = "refresh_ms")]
    pub refresh_ms: u64,
    /// Bound of what is fetched ahead, in MiB, shared by the partitions.
    #[serde(default = "prefetch_mib")]
    pub prefetch_mib: u32,
    /// The broker to ask about topics, for a mock cluster, which has no controller.
    #[serde(skip)]
    pub(super) ask_broker: Option<i32>,
}

/// `kind = "file"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Part of the app ids under which progress is kept: never change it for a lake.
    #[serde(default = "file_name")]
    pub name: String,
    /// A file, or a folder whose files are read in name order; `.gz` too.
    pub path: PathBuf,
    /// Set: lines, or rows, are values of this contract. Not set: lines have coordinates.
    #[serde(default)]
    pub contract: Option<Mapping>,
    /// Topic = contract, or more about the topic, for lines with coordinates.
    #[serde(default)]
    pub topics: BTreeMap<String, Mapping>,
    /// What complete snapshots in it say of rows that they lack.
    #[serde(default)]
    pub snapshots: Snapshots,
}

/// What to do when records that were never read are gone from the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LostRecords {
    /// Stop that topic by name.
    #[default]
    Halt,
    /// Record the gap and go on at the first record that is there.
    Skip,
}

/// Why a source's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// This property decides what is read and how often.
    #[error("[sources.librdkafka] `{property}` cannot be set to `{value}`: {reason}; remove it")]
    Exactness {
        /// The property.
        property: String,
        /// Its value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// librdkafka does not know the property, or refuses its value.
    #[error("source `{name}`: librdkafka refused the configuration: {reason}")]
    Refused {
        /// The source.
        name: String,
        /// What it said.
        reason: String,
    },
    /// A file that should hold a secret.
    #[error("source `{name}`: `{property}_file`: {reason}")]
    Secret {
        /// The source.
        name: String,
        /// The property that the file holds.
        property: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Two answers to the question which table a line changes.
    #[error(
        "source `{name}` has `contract` and [sources.topics]: keep `contract` if each line or row is a value of it, or [sources.topics] if lines have coordinates"
    )]
    TwoShapes {
        /// The source.
        name: String,
    },
    /// The metadata topic cannot be that.
    #[error(
        "source `{name}`: `transactions` = `{topic}`: {reason}; name the topic to which the connector writes BEGIN and END, such as \"shop.transaction\""
    )]
    Transactions {
        /// The source.
        name: String,
        /// The topic.
        topic: String,
        /// Why not.
        reason: &'static str,
    },
    /// Nothing to read.
    #[error(
        "source `{name}` names no topic; add one under [sources.topics], such as \"shop.public.orders\" = \"orders\""
    )]
    NoTopics {
        /// The source.
        name: String,
    },
}

impl KafkaConfig {
    /// These topics (name and contract) of these brokers, and the defaults for the rest.
    pub fn new(brokers: &str, topics: BTreeMap<String, Mapping>) -> KafkaConfig {
        KafkaConfig {
            snapshots: Snapshots::default(),
            transactions: None,
            name: kafka_name(),
            brokers: brokers.to_owned(),
            group: group_name(),
            topics,
            librdkafka: Properties::default(),
            lost_records: LostRecords::Halt,
            refresh_ms: refresh_ms(),
            prefetch_mib: prefetch_mib(),
            ask_broker: None,
        }
    }
}

impl SourceConfig {
    /// The configured name, unique among the sources of a lake.
    pub fn name(&self) -> &str {
        match self {
            SourceConfig::Kafka(c) => &c.name,
            SourceConfig::File(c) => &c.name,
        }
    }

    /// The source that this describes, with the contracts there are. Connects to nothing and reads nothing
    /// yet.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn open(&self, contracts: &[Contract]) -> Result<Box<dyn Source>, SourceError> {
        Ok(match self {
            SourceConfig::Kafka(c) => match &c.transactions {
                Some(metadata) => Box::new(WholeTransactions::new(c.clone(), metadata)?),
                None => Box::new(KafkaSource::new(c.clone())?),
            },
            SourceConfig::File(c) if c.contract.is_some() && !c.topics.is_empty() => {
                return Err(ConfigError::TwoShapes { name: c.name.clone() }.into());
            }
            SourceConfig::File(c) => match table_kind(c, contracts) {
                Some(kind) => Box::new(TableFiles::new(c.clone(), kind)),
                None => Box::new(FileSource::new(c.clone())),
            },
        })
    }
}

/// What the files of a source are that are no lines.
fn table_kind(config: &FileConfig, contracts: &[Contract]) -> Option<Kind> {
    let name = &config.contract.as_ref()?.contract;
    Kind::of(&contracts.iter().find(|contract| contract.name == *name)?.format)
}

fn kafka_name() -> String {
    "kafka".to_owned()
}

fn file_name() -> String {
    "file".to_owned()
}

fn group_name() -> String {
    "weir".to_owned()
}

fn refresh_ms() -> u64 {
    10_000
}

/// A tenth of a second at the rate at which a backlog is read; more would only wait in memory.
fn prefetch_mib() -> u32 {
    16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(extra: &str) -> Result<SourceConfig, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"kind":"kafka","brokers":"b:1"{extra}}}"#))
    }

    #[test]
    fn unknown_keys_are_refused_and_defaults_fill_the_rest() {
        assert!(kafka(r#","grop":"x""#).unwrap_err().to_string().contains("grop"));
        assert!(
            serde_json::from_str::<SourceConfig>(r#"{"kind":"file","path":"x","p":1}"#).is_err()
        );
        let SourceConfig::Kafka(c) = kafka(r#","topics":{"a":"orders"}"#).unwrap() else {
            panic!("kafka")
        };
        assert_eq!((c.name.as_str(), c.group.as_str(), c.refresh_ms), ("kafka", "weir", 10_000));
        assert_eq!(c.topics["a"], Mapping::from("orders"));
        let refused = kafka(r#","topics":{"a":{"contract":"orders","placeholdr":"x"}}"#);
        assert!(refused.unwrap_err().to_string().contains("did you mean `placeholder`?"));
    }

    #[test]
    fn integers_and_flags_become_text_and_secrets_are_masked() {
        let config =
            kafka(r#","librdkafka":{"sasl.password":"hunter2","a.b":5,"c":true}"#).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
        let SourceConfig::Kafka(c) = config else { panic!("kafka") };
        assert_eq!(c.librdkafka.0["a.b"], "5");
        assert_eq!(c.librdkafka.0["c"], "true");
    }

    #[test]
    fn properties_that_librdkafka_refuses_are_refused_at_once_without_their_values() {
        for (property, value) in [
            ("ssl.key.passwort", "hunter3"),
            ("sasl.passwrd", "hunter9"),
            ("sasl.jaas.config", "x password=hunter4;"),
            ("no.such.property", "hunter5"),
        ] {
            let config = kafka(&format!(
                r#","topics":{{"a":"orders"}},"librdkafka":{{"{property}":"{value}"}}"#
            ));
            let refused = config.unwrap().open(&[]).err().unwrap().to_string();
            assert!(refused.contains(property), "{refused}");
            assert!(!refused.contains("hunter"), "{refused}");
        }
    }

    #[test]
    fn a_metadata_topic_is_no_topic_of_rows() {
        for (topic, says) in [("a", "under [sources.topics]"), ("", "empty")] {
            let config = kafka(&format!(r#","topics":{{"a":"orders"}},"transactions":"{topic}""#));
            let refused = config.unwrap().open(&[]).err().unwrap().to_string();
            assert!(refused.contains(says) && refused.contains("`transactions`"), "{refused}");
        }
        let config = kafka(r#","topics":{"a":"orders"},"transactions":"a.transaction""#);
        assert!(config.unwrap().open(&[]).is_ok());
    }

    #[test]
    fn a_file_has_one_contract_or_topics_of_its_own() {
        let both = r#"{"kind":"file","path":"x","contract":"orders","topics":{"a":"costs"}}"#;
        let both: SourceConfig = serde_json::from_str(both).unwrap();
        let refused = both.open(&[]).err().unwrap().to_string();
        assert!(refused.contains("`contract`") && refused.contains("sources.topics"), "{refused}");
    }
}
