//! Features of the Delta protocol that a table uses: a set, not a version.
//!
//! # Guarantees
//! - A table under a feature that is not implemented here is refused, and the feature is named.
//! - A table without features asks for the oldest protocol there is, so that every engine reads it.

use std::collections::{BTreeMap, BTreeSet};

use crate::actions::Protocol;

/// The versions that say: look at the lists of features.
const LISTED: (i32, i32) = (3, 7);
/// The versions of a table without features.
const PLAIN: (i32, i32) = (1, 2);
/// What a writer of version 2 must know, and what a table may list although it makes no use of it:
/// each takes a property or a column's metadata, and no table of a lake has those.
const IMPLIED: [&str; 2] = ["appendOnly", "invariants"];
/// Properties under which commits mean something else than they say.
const REFUSED: [&str; 2] = ["delta.setTransactionRetentionDuration", "delta.columnMapping.mode"];

/// A feature that is implemented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// Rows can be gone without their file being written again.
    DeletionVectors,
}

impl Feature {
    const ALL: [Feature; 1] = [Feature::DeletionVectors];

    /// Its name in the protocol.
    fn name(self) -> &'static str {
        match self {
            Feature::DeletionVectors => "deletionVectors",
        }
    }

    /// The table property that turns it on.
    fn property(self) -> &'static str {
        match self {
            Feature::DeletionVectors => "delta.enableDeletionVectors",
        }
    }
}

/// The features of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Features(BTreeSet<Feature>);

impl Features {
    /// Whether the table uses `feature`.
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.0.contains(&feature)
    }

    /// The same set with `feature`, or without it.
    pub(crate) fn with(&self, feature: Feature, is_on: bool) -> Features {
        let mut features = self.clone();
        if is_on {
            features.0.insert(feature)
        } else {
            features.0.remove(&feature)
        };
        features
    }

    /// The features that `protocol` asks for, or the reason to leave the table alone.
    pub(crate) fn of(protocol: &Protocol) -> Result<Features, String> {
        let versions = (protocol.min_reader_version, protocol.min_writer_version);
        if versions == PLAIN {
            return Ok(Features::default());
        }
        if versions != LISTED {
            return Err(format!(
                "asks for reader version {} and writer version {}, which this program does not know",
                versions.0, versions.1
            ));
        }
        let reader = protocol.reader_features.iter().flatten();
        let writer = protocol.writer_features.iter().flatten();
        let mut features = Features::default();
        for name in reader.chain(writer).filter(|name| !IMPLIED.contains(&name.as_str())) {
            let known = Feature::ALL.into_iter().find(|feature| feature.name() == name);
            let known = known.ok_or_else(|| {
                format!("asks for the feature `{name}`, which this program does not implement")
            })?;
            features.0.insert(known);
        }
        Ok(features)
    }

    /// Why a table with these properties is refused, if it is.
    pub(crate) fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), String> {
        match REFUSED.iter().find(|name| properties.contains_key(**name)) {
            Some(name) => Err(format!("sets `{name}`, which this program does not implement")),
            None => Ok(()),
        }
    }

    /// The protocol to ask for.
    pub(crate) fn protocol(&self) -> Protocol {
        let listed = (!self.0.is_empty())
            .then(|| self.0.iter().map(|feature| feature.name().to_owned()).collect::<Vec<_>>());
        let (min_reader_version, min_writer_version) =
            if listed.is_some() { LISTED } else { PLAIN };
        Protocol {
            min_reader_version,
            min_writer_version,
            reader_features: listed.clone(),
            writer_features: listed,
        }
    }

    /// Sets the properties of these features and drops those of the others.
    pub(crate) fn set_properties(&self, properties: &mut BTreeMap<String, String>) {
        for feature in Feature::ALL {
            let name = feature.property();
            if self.has(feature) {
                properties.insert(name.to_owned(), "true".to_owned());
            } else {
                properties.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(reader: &[&str], writer: &[&str]) -> Protocol {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        Protocol {
            min_reader_version: 3,
            min_writer_version: 7,
            reader_features: names(reader),
            writer_features: names(writer),
        }
    }

    #[test]
    fn a_set_is_asked_for_and_read_back() {
        let plain = Features::default();
        assert_eq!(Features::of(&plain.protocol()), Ok(plain.clone()));
        assert_eq!(
            (plain.protocol().min_reader_version, plain.protocol().reader_features),
            (1, None)
        );
        let vectors = plain.with(Feature::DeletionVectors, true);
        assert_eq!(vectors.protocol(), listed(&["deletionVectors"], &["deletionVectors"]));
        assert_eq!(Features::of(&vectors.protocol()), Ok(vectors.clone()));
        assert_eq!(vectors.with(Feature::DeletionVectors, false), plain);
        let mut properties = BTreeMap::new();
        vectors.set_properties(&mut properties);
        assert_eq!(properties.get("delta.enableDeletionVectors").map(String::as_str), Some("true"));
        plain.set_properties(&mut properties);
        assert!(properties.is_empty());
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        let implied =
            listed(&["deletionVectors"], &["appendOnly", "deletionVectors", "invariants"]);
        assert!(Features::of(&implied).is_ok());
        for name in ["columnMapping", "rowTracking", "inCommitTimestamp", "v2Checkpoint"] {
            let error = Features::of(&listed(&[], &["deletionVectors", name])).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
        let old = Protocol { min_reader_version: 2, min_writer_version: 5, ..listed(&[], &[]) };
        assert!(Features::of(&old).unwrap_err().contains("writer version 5"));
        let expiring = [("delta.setTransactionRetentionDuration".to_owned(), "1 day".to_owned())];
        let error = Features::check_properties(&expiring.into()).unwrap_err();
        assert!(error.contains("setTransactionRetentionDuration"), "{error}");
    }
}
