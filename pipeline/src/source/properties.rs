//! librdkafka properties of a source: what may be set, what is secret, and where secrets come from.
//!
//! # Guarantees
//! - A property that would break exactness is refused with the reason.
//! - Secrets never appear in `Debug` output, nor in what [`Properties::mask`] has seen.
//! - `PROPERTY_file` names a file that holds the secret `PROPERTY`.
//!
//! # Non-guarantees
//! - A file is read when a client is made: a secret that changes is taken up at the next start.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What is shown in place of a secret.
const MASK: &str = "***";

/// The end of the name of a property whose value is in a file.
const FILE: &str = "_file";

/// A secret is shorter than this, a chain of certificates with its key included.
const SECRET_BYTES: u64 = 64 << 10;

/// librdkafka properties by name.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Property>")]
pub struct Properties(pub BTreeMap<String, String>);

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
    /// Whether the property's value must not be shown. Where a secret lies is none.
    pub fn is_secret(property: &str) -> bool {
        let property = property.to_lowercase();
        if [FILE, ".file", ".location", ".url"].iter().any(|end| property.ends_with(end)) {
            return false;
        }
        ["pass", "secret", "key.pem", "token", "jaas", "oauthbearer.config", "credential"]
            .iter()
            .any(|part| property.contains(part))
    }

    /// The secret that a property such as `sasl.password_file` says the file of.
    pub fn held_by_file(property: &str) -> Option<&str> {
        let held = property.strip_suffix(FILE)?;
        (Properties::is_secret(held) || held == "sasl.username").then_some(held)
    }

    /// The properties as librdkafka takes them: secrets are read from their files, each time anew.
    ///
    /// # Errors
    /// When a file cannot be read, holds nothing or too much, or the secret is given twice.
    pub fn resolve(&self, source: &str) -> Result<Properties, ConfigError> {
        let mut resolved = BTreeMap::new();
        for (property, value) in &self.0 {
            let Some(held) = Properties::held_by_file(property) else {
                resolved.insert(property.clone(), value.clone());
                continue;
            };
            let refused = |reason| ConfigError::Secret {
                name: source.to_owned(),
                property: held.to_owned(),
                reason,
            };
            if self.0.contains_key(held) {
                return Err(refused(format!("`{held}` is set too; keep one of them")));
            }
            resolved.insert(held.to_owned(), secret(Path::new(value)).map_err(refused)?);
        }
        Ok(Properties(resolved))
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

/// What a file holds, without the end of its last line.
fn secret(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unread = |e: std::io::Error| {
        format!("could not read `{shown}`: {e}; correct the path, or let this user read the file")
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unread)?;
    file.take(SECRET_BYTES + 1).read_to_string(&mut text).map_err(unread)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() || text.len() as u64 > SECRET_BYTES {
        let bytes = text.len();
        return Err(format!("`{shown}` holds {bytes} bytes; put the secret alone into it"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Properties {
        Properties(pairs.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect())
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
    fn where_a_secret_lies_is_shown_and_the_secret_is_not() {
        for shown in [
            "sasl.password_file",
            "ssl.key.location",
            "sasl.oauthbearer.token.endpoint.url",
            "sasl.oauthbearer.assertion.private.key.file",
        ] {
            assert!(!Properties::is_secret(shown), "{shown}");
        }
        for hidden in ["sasl.password", "sasl.oauthbearer.client.secret", "ssl.key.pem"] {
            assert!(Properties::is_secret(hidden), "{hidden}");
        }
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_masked_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter 2\r\n").unwrap();
        let path = path.to_str().unwrap();
        let given = of(&[("sasl.password_file", path), ("client.id", "a")]);
        let resolved = given.resolve("kafka").unwrap();
        assert_eq!(resolved, of(&[("sasl.password", "hunter 2"), ("client.id", "a")]));
        assert_eq!(resolved.mask("it was hunter 2"), "it was ***");
        assert!(!format!("{resolved:?}").contains("hunter"), "{resolved:?}");
        let twice = of(&[("sasl.password_file", path), ("sasl.password", "x")]);
        assert!(twice.resolve("kafka").unwrap_err().to_string().contains("keep one of them"));
        // librdkafka refuses it by name.
        let other = of(&[("client.id_file", path)]);
        assert_eq!(other.resolve("kafka").unwrap(), other);
    }

    #[test]
    fn a_file_without_a_secret_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("empty"), "\n").unwrap();
        std::fs::write(path("large"), "x".repeat(70 << 10)).unwrap();
        for (name, says) in [("empty", "0 bytes"), ("large", "65537 bytes"), ("none", "No such")] {
            let refused = of(&[("ssl.key.password_file", &path(name))]).resolve("shop");
            let refused = refused.unwrap_err().to_string();
            for part in ["`shop`", "ssl.key.password_file", says] {
                assert!(refused.contains(part), "{part}: {refused}");
            }
        }
    }
}
