//! Definitions in force in the configured lake, beside those that the configuration names.

use lake::Lake;
use schemas::in_force::Version;
use schemas::{Contract, DefinitionChange, DefinitionKind, InForce, Micros, chain};
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

    /// The version of a definition that is in force.
    pub(crate) fn newest(&self, of: DefinitionKind, name: &str) -> Option<&Version> {
        self.0.newest(of, name)
    }

    /// All definitions that are in force, by name.
    pub(crate) fn all(&self, of: DefinitionKind) -> impl Iterator<Item = (&str, &Version)> {
        self.0.all_newest(of)
    }

    /// Whether exactly what is configured under this name is in force.
    pub(crate) fn is_same(
        &self,
        of: DefinitionKind,
        name: &str,
        wanted: &[DefinitionChange],
    ) -> bool {
        let own = wanted.iter().find(|own| own.of == of && own.name == name);
        let held = self.newest(of, name).and_then(|held| held.identity.as_ref());
        held.is_some() && own.and_then(|own| own.identity.as_ref()) == held
    }
}

/// The contracts by which the tables of a lake were made: those in force, or the configured ones where none are.
pub(crate) fn contracts(lake: &Lake, configured: Vec<Contract>) -> Vec<Contract> {
    let held = engine::definitions::in_force(lake).ok().flatten();
    let held = held.and_then(|held| engine::definitions::contracts_of(&held).ok());
    held.filter(|held| !held.is_empty()).unwrap_or(configured)
}

/// What is configured and not in force.
pub(crate) const FROM_NEXT_START: &str = "from the next start on";

/// Which version is in force, and since when.
pub(crate) fn words(Version { number, since, clock, .. }: &Version) -> String {
    format!("version {number} since epoch {since}, {}", Micros(*clock))
}

/// The same as fields of a JSON object: `in_force`, `version`, `since_epoch`, `since`; null without a version.
pub(crate) fn add_to(mut object: Value, version: Option<&Version>) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.insert("in_force".into(), json!(version.is_some()));
        object.insert("version".into(), json!(version.map(|version| version.number)));
        object.insert("since_epoch".into(), json!(version.map(|version| version.since)));
        let since = version.map(|version| Micros(version.clock).to_string());
        object.insert("since".into(), json!(since));
    }
    object
}
