//! Definitions in force in the configured lake, beside those that the configuration names.

use lake::Lake;
use schemas::in_force::Version;
use schemas::{DefinitionKind, InForce, Micros, chain};
use serde_json::{Value, json};

use crate::config::Config;

/// The definitions in force in a lake; none where there is no lake yet.
#[derive(Debug, Default)]
pub(crate) struct InForceHere(InForce);

impl InForceHere {
    /// Those of the configured lake. What only tells more than the configuration fails no command.
    pub(crate) fn of(config: &Config) -> InForceHere {
        let Ok(lake) = Lake::open_reader(&config.lake.uri) else { return InForceHere::default() };
        match engine::definitions::in_force(&lake) {
            Ok(held) => InForceHere(held.unwrap_or_default()),
            Err(error) => {
                tracing::warn!("which definitions are in force is not known: {}", chain(&error));
                InForceHere::default()
            }
        }
    }

    /// Which version is in force, and since when.
    pub(crate) fn words(&self, of: DefinitionKind, name: &str) -> String {
        let words = |Version { number, since, clock, .. }: &Version| {
            format!("version {number} since epoch {since}, {}", Micros(*clock))
        };
        self.0.newest(of, name).map_or_else(|| "not yet".to_owned(), words)
    }

    /// The same as fields of a JSON object: `version`, `since_epoch`, `since`; null where none is in force.
    pub(crate) fn add_to(&self, mut object: Value, of: DefinitionKind, name: &str) -> Value {
        let newest = self.0.newest(of, name);
        if let Some(object) = object.as_object_mut() {
            object.insert("version".into(), json!(newest.map(|version| version.number)));
            object.insert("since_epoch".into(), json!(newest.map(|version| version.since)));
            let since = newest.map(|version| Micros(version.clock).to_string());
            object.insert("since".into(), json!(since));
        }
        object
    }
}
