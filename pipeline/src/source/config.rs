//! What a `[[sources]]` table of the configuration may say.
//!
//! # Guarantees
//! - Unknown keys are refused by name.
//! - A librdkafka property that would break exactness is refused with the reason.
//! - Secrets never appear in `Debug` output.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{FileSource, KafkaSource, Source, SourceError};

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
    /// Topic = contract.
    #[serde(default)]
    pub topics: BTreeMap<String, String>,
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
    /// Set: lines are plain Debezium values of this contract. Not set: lines have coordinates.
    #[serde(default)]
    pub contract: Option<String>,
    /// Topic = contract, for lines with coordinates.
    #[serde(default)]
    pub topics: BTreeMap<String, String>,
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

/// librdkafka properties by name.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Property>")]
pub struct Properties(pub BTreeMap<String, String>);

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
    pub fn new(brokers: &str, topics: BTreeMap<String, String>) -> KafkaConfig {
        KafkaConfig {
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

    /// The contract of a topic, or `None`: its records become dead letters.
    pub fn contract_of(&self, topic: &str) -> Option<&str> {
        match self {
            SourceConfig::Kafka(c) => c.topics.get(topic),
            SourceConfig::File(c) => c.contract.as_ref().or_else(|| c.topics.get(topic)),
        }
        .map(String::as_str)
    }

    /// The source that this describes. Connects to nothing and reads nothing yet.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn open(&self) -> Result<Box<dyn Source>, SourceError> {
        Ok(match self {
            SourceConfig::Kafka(c) => Box::new(KafkaSource::new(c.clone())?),
            SourceConfig::File(c) => Box::new(FileSource::new(c.clone())),
        })
    }
}

/// What a property may be written as in TOML.
#[derive(Deserialize)]
#[serde(untagged)]
enum Property {
    Text(String),
    Integer(i64),
    Flag(bool),
}

impl From<BTreeMap<String, Property>> for Properties {
    fn from(properties: BTreeMap<String, Property>) -> Properties {
        let text = |p| match p {
            Property::Text(t) => t,
            Property::Integer(i) => i.to_string(),
            Property::Flag(f) => f.to_string(),
        };
        Properties(properties.into_iter().map(|(name, p)| (name, text(p))).collect())
    }
}

impl Properties {
    /// Whether the property's value must not be shown.
    pub fn is_secret(property: &str) -> bool {
        ["password", "secret", "key.pem", "token", "sasl.jaas", "oauthbearer.config"]
            .iter()
            .any(|part| property.contains(part))
    }

    /// Refuses what would lose or double records.
    ///
    /// # Errors
    /// The first property that does, with the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (property, value) in &self.0 {
            let reason = match (property.as_str(), value.as_str()) {
                ("isolation.level", "read_committed") | ("enable.partition.eof", "true") => {
                    continue;
                }
                ("isolation.level", _) => "records of aborted transactions would be read",
                ("auto.offset.reset" | "topic.auto.offset.reset", _) => {
                    "an offset out of range must be seen, never jumped over"
                }
                ("enable.auto.commit" | "auto.commit.enable" | "enable.auto.offset.store", _) => {
                    "progress is kept in the lake, in the same commit as the records"
                }
                ("enable.partition.eof", _) => "the end of a partition must be seen",
                ("group.id" | "bootstrap.servers" | "metadata.broker.list", _) => {
                    "it is set by `group` and `brokers` of the source"
                }
                ("group.protocol" | "group.instance.id" | "partition.assignment.strategy", _) => {
                    "partitions are assigned by hand, never by a group"
                }
                _ => continue,
            };
            return Err(ConfigError::Exactness {
                property: property.clone(),
                value: value.clone(),
                reason,
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |p: &str, v: &String| {
            if Properties::is_secret(p) { "***".to_owned() } else { v.clone() }
        };
        f.debug_map().entries(self.0.iter().map(|(p, v)| (p, shown(p, v)))).finish()
    }
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

fn prefetch_mib() -> u32 {
    64
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
        assert_eq!(SourceConfig::Kafka(c).contract_of("a"), Some("orders"));
    }

    #[test]
    fn properties_that_break_exactness_are_refused() {
        let of = |p: &str, v: &str| {
            Properties([(p.to_owned(), v.to_owned())].into_iter().collect()).check()
        };
        assert!(of("isolation.level", "read_committed").is_ok());
        assert!(of("socket.keepalive.enable", "true").is_ok());
        for (property, value) in [
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "true"),
            ("enable.partition.eof", "false"),
        ] {
            let refused = of(property, value).unwrap_err().to_string();
            assert!(refused.contains(property), "{refused}");
        }
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
}
