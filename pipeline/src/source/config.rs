//! What a `[[sources]]` table of the configuration may say.
//!
//! # Guarantees
//! - Unknown keys are refused by name.
//! - A librdkafka property that would break exactness is refused with the reason.
//! - Secrets never appear in `Debug` output, nor in what [`Properties::mask`] has seen.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{FileSource, KafkaSource, Mapping, Snapshots, Source, SourceError};

/// What is shown in place of a secret.
const MASK: &str = "***";

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
    /// Set: lines are plain Debezium values of this contract. Not set: lines have coordinates.
    #[serde(default)]
    pub contract: Option<String>,
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
    /// Two answers to the question which table a line changes.
    #[error(
        "source `{name}` has `contract` and [sources.topics]: keep `contract` if each line is a plain Debezium value, or [sources.topics] if lines have coordinates"
    )]
    TwoShapes {
        /// The source.
        name: String,
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

    /// The source that this describes. Connects to nothing and reads nothing yet.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn open(&self) -> Result<Box<dyn Source>, SourceError> {
        Ok(match self {
            SourceConfig::Kafka(c) => Box::new(KafkaSource::new(c.clone())?),
            SourceConfig::File(c) if c.contract.is_some() && !c.topics.is_empty() => {
                return Err(ConfigError::TwoShapes { name: c.name.clone() }.into());
            }
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
        let property = property.to_lowercase();
        ["pass", "secret", "key.pem", "token", "jaas", "oauthbearer.config", "credential"]
            .iter()
            .any(|part| property.contains(part))
    }

    /// The text without the values of secret properties. librdkafka repeats values in what it says.
    pub fn mask(&self, text: &str) -> String {
        let secrets = self.0.iter().filter(|(property, _)| Properties::is_secret(property));
        let mut values: Vec<&str> = secrets.map(|(_, value)| value.trim()).collect();
        values.retain(|value| !value.is_empty());
        // One value may be the beginning of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.iter().fold(text.to_owned(), |text, value| text.replace(value, MASK))
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
            if Properties::is_secret(p) { MASK.to_owned() } else { v.clone() }
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

    #[test]
    fn secret_values_are_masked_in_any_text() {
        let properties = [
            ("ssl.key.password", "hunter"),
            ("SASL.Password", "hunter3"),
            ("sasl.jaas.config", "x password=h4;"),
            ("sasl.passwrd", "h5"),
            ("ssl.ca.location", "/ca"),
            ("ssl.keystore.password", ""),
        ];
        let properties = Properties(properties.map(|(p, v)| (p.into(), v.into())).into());
        let said = "hunter3, hunter, `x password=h4;`, h5, /ca";
        assert_eq!(properties.mask(said), "***, ***, `***`, ***, /ca");
    }

    #[test]
    fn properties_that_librdkafka_refuses_are_refused_at_once_without_their_values() {
        for (property, value) in [
            ("ssl.key.password", "hunter3"),
            ("sasl.passwrd", "hunter9"),
            ("sasl.jaas.config", "x password=hunter4;"),
            ("no.such.property", "hunter5"),
        ] {
            let config = kafka(&format!(
                r#","topics":{{"a":"orders"}},"librdkafka":{{"{property}":"{value}"}}"#
            ));
            let refused = config.unwrap().open().err().unwrap().to_string();
            assert!(refused.contains(property), "{refused}");
            assert!(!refused.contains("hunter"), "{refused}");
        }
    }

    #[test]
    fn a_file_has_one_contract_or_topics_of_its_own() {
        let both = r#"{"kind":"file","path":"x","contract":"orders","topics":{"a":"costs"}}"#;
        let both: SourceConfig = serde_json::from_str(both).unwrap();
        let refused = both.open().err().unwrap().to_string();
        assert!(refused.contains("`contract`") && refused.contains("sources.topics"), "{refused}");
    }
}
