//! Identities in force: what each table, KPI and detector of a lake is computed by.
//!
//! The state of a barrier keeps them beside what was computed, and the ledger beside the stream's
//! generation. A start compares them with those of its own definitions: what has another identity is
//! built anew, and nothing else is.
//!
//! # Guarantees
//! - A table depends on the contract that it was built by, and on none that extends that one; on the decoder, the fold,
//!   which of the topics whose records were folded feed it, and what the configuration says about those. A topic without
//!   records changes nothing.
//! - A KPI depends on its definition, its parts, the periods of its grains, the engine, and the tables that it reads.

use std::collections::{BTreeMap, BTreeSet};

use gold::Catalog;
use pipeline::decode::registry;
use pipeline::record::TopicPartition;
use pipeline::silver::FOLD_VERSION;
use pipeline::source::Mapping;
use schemas::{Contract, Fingerprint, Identity, Observer};
use serde::{Deserialize, Serialize};

use crate::Topics;
use crate::tables::silver_name;

/// The part of a state file that holds them.
pub(crate) const PART: &str = "identities";

/// The identity of a KPI whose cells are not what they should be.
const DISOWNED: &str = "rebuild";

/// Topics, by source.
pub(crate) type Seen = BTreeMap<String, BTreeSet<String>>;

/// The identity of everything that is kept computed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identities {
    /// By silver table.
    tables: BTreeMap<String, String>,
    /// By KPI.
    kpis: BTreeMap<String, String>,
    /// What detectors make of a KPI, by KPI.
    detectors: BTreeMap<String, String>,
    /// Source, topic and what it is, as configured.
    topics: Vec<(String, String, Mapping)>,
    /// The topics whose records were folded.
    #[serde(default)]
    pub(crate) seen: Seen,
    /// By silver table whose contract has been extended, the number of the version that it was built by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    extended: BTreeMap<String, u32>,
}

/// What is not as it was, and has to be built anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Silver tables that are new or differ.
    pub(crate) tables: BTreeSet<String>,
    /// KPIs that are new, differ, or read such a table.
    pub(crate) kpis: BTreeSet<String>,
    /// KPIs that are gone, and those whose detectors start anew.
    pub(crate) unwatched: BTreeSet<String>,
    /// Those KPIs of which it was decided.
    pub(crate) repaired: BTreeSet<String>,
}

impl Renewal {
    /// Whether what was published before may have been other numbers or alerts than there are now.
    pub(crate) fn shows(&self) -> bool {
        !self.kpis.is_empty() || !self.unwatched.is_empty()
    }

    /// Renews these tables too, and the KPIs that read them.
    pub(crate) fn with_tables(mut self, tables: &BTreeSet<String>, catalog: &Catalog) -> Renewal {
        self.tables.extend(tables.iter().cloned());
        for definition in catalog.definitions() {
            if reads(catalog, &definition.key).iter().any(|table| tables.contains(table)) {
                self.kpis.insert(definition.key.to_string());
                self.unwatched.insert(definition.key.to_string());
            }
        }
        self
    }
}

/// A silver table as its rows come about.
struct Table<'a>(&'a Contract);

impl Identity for Table<'_> {
    fn identify(&self, out: &mut Fingerprint) {
        let decoder = registry::find(&self.0.format);
        out.part("contract", self.0);
        out.number("decoder", decoder.map_or(0, |decoder| u64::from(decoder.version())));
        out.number("fold", u64::from(FOLD_VERSION));
    }
}

impl Identities {
    /// Those of the definitions in force; of contracts those by which tables are built.
    pub(crate) fn of(
        contracts: &[Contract],
        topics: &Topics,
        catalog: &Catalog,
        observer: &dyn Observer,
    ) -> Identities {
        let tables =
            contracts.iter().map(|contract| (silver_name(contract), Table(contract).identity()));
        let tables: BTreeMap<String, String> = tables.collect();
        let (mut kpis, mut detectors) = (BTreeMap::new(), BTreeMap::new());
        let settings = observer.fingerprint();
        for info in catalog.infos() {
            let mut out = Fingerprint::default();
            if let Some(meaning) = catalog.meaning(&info.key) {
                out.part("meaning", &meaning);
            }
            let read = reads(catalog, &info.key);
            out.texts(
                "tables",
                read.iter().filter_map(|name| tables.get(name)).map(String::as_str),
            );
            let hash = out.finish();
            let mut out = Fingerprint::default();
            out.text("kpi", &hash);
            out.text("settings", &settings);
            out.part("info", &info);
            let budgets = info.watching.budgets().filter_map(|key| catalog.meaning(key));
            out.texts(
                "budgets",
                budgets.map(|own| own.identity()).collect::<Vec<_>>().iter().map(String::as_str),
            );
            detectors.insert(info.key.to_string(), out.finish());
            kpis.insert(info.key.to_string(), hash);
        }
        let topics = topics
            .iter()
            .map(|((source, topic), mapping)| (source.clone(), topic.clone(), mapping.clone()));
        let (topics, seen, extended) = (topics.collect(), Seen::new(), BTreeMap::new());
        Identities { tables, kpis, detectors, topics, seen, extended }
    }

    /// The same where the contracts are those that these tables were built by, in versions of these numbers.
    pub(crate) fn with_extended(self, extended: BTreeMap<String, u32>) -> Identities {
        Identities { extended, ..self }
    }

    /// Says that the cells of a KPI are not what they should be, so that the next run computes them anew. Whether
    /// there is such a KPI.
    pub(crate) fn disown(&mut self, kpi: &str) -> bool {
        let identity = self.kpis.get_mut(kpi);
        identity.map(|identity| DISOWNED.clone_into(identity)).is_some()
    }

    /// Whether there is such a KPI, whose cells are what they should be as far as anybody has decided.
    pub(crate) fn owns(&self, kpi: &str) -> bool {
        self.kpis.get(kpi).is_some_and(|identity| identity != DISOWNED)
    }

    /// Notes that records of this topic are folded.
    pub(crate) fn see(&mut self, of: &TopicPartition) {
        if !self.seen.get(&*of.source).is_some_and(|topics| topics.contains(&*of.topic)) {
            let topics = self.seen.entry(of.source.to_string()).or_default();
            topics.insert(of.topic.to_string());
        }
    }

    /// As they are kept.
    pub(crate) fn to_text(&self) -> String {
        // Plain maps of texts: writing them cannot fail, and an empty text is refused when it is read.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Identities::to_text`] wrote; `None` when it is of another release.
    pub(crate) fn parse(text: &[u8]) -> Option<Identities> {
        serde_json::from_slice(text).ok()
    }

    /// Whether the tables of these contracts are what they would be built to now.
    pub(crate) fn has_tables(&self, contracts: &[Contract]) -> bool {
        let same = |contract: &Contract| {
            self.tables.get(&silver_name(contract)) == Some(&Table(contract).identity())
        };
        contracts.iter().all(same)
    }

    /// Source and topic to what the topic is.
    pub(crate) fn topics(&self) -> Topics {
        let topics = self.topics.iter().cloned();
        topics.map(|(source, topic, mapping)| ((source, topic), mapping)).collect()
    }

    /// What has to be built anew where `held` was in force while records of the topics `seen` were
    /// folded.
    pub(crate) fn renewal(&self, held: &Identities, seen: &Seen, catalog: &Catalog) -> Renewal {
        let mut tables = differing(&self.tables, &held.tables);
        let (now, before) = (self.topics(), held.topics());
        let one = |(source, topics): (&String, &BTreeSet<String>)| {
            topics.iter().map(|topic| (source.clone(), topic.clone())).collect::<Vec<_>>()
        };
        for topic in seen.iter().flat_map(one) {
            let (now, before) = (mapping_of(&now, &topic), mapping_of(&before, &topic));
            if now != before {
                let fed = now.iter().chain(&before);
                let moved = fed.map(|mapping| format!("silver/{}", mapping.contract));
                tables.extend(moved.filter(|table| self.tables.contains_key(table)));
            }
        }
        // Rows that a version read which is not in force any more are not those that the table would have now.
        let is_other = |(table, base): &(&String, &u32)| self.extended.get(*table) != Some(base);
        let others = held.extended.iter().filter(is_other).map(|(table, _)| table);
        tables.extend(others.filter(|table| self.tables.contains_key(*table)).cloned());
        let kpis = differing(&self.kpis, &held.kpis);
        // A KPI that differs is watched under another identity, too.
        let mut unwatched = differing(&self.detectors, &held.detectors);
        let is_gone = |kpi: &&String| !self.kpis.contains_key(*kpi);
        unwatched.extend(held.kpis.keys().filter(is_gone).cloned());
        let is_disowned = |kpi: &&String| held.kpis.get(*kpi).is_some_and(|own| own == DISOWNED);
        let repaired = self.kpis.keys().filter(is_disowned).cloned().collect();
        Renewal { tables: BTreeSet::new(), kpis, unwatched, repaired }.with_tables(&tables, catalog)
    }
}

/// Names that `held` does not know, or knows under another identity.
fn differing(now: &BTreeMap<String, String>, held: &BTreeMap<String, String>) -> BTreeSet<String> {
    let other = |(name, hash): &(&String, &String)| held.get(*name) != Some(hash);
    now.iter().filter(other).map(|(name, _)| name.clone()).collect()
}

/// The silver tables that a KPI is computed from.
fn reads(catalog: &Catalog, kpi: &str) -> Vec<String> {
    catalog.contracts_of(kpi).into_iter().map(|contract| format!("silver/{contract}")).collect()
}

/// What a topic is; `*` stands for every other topic of a source.
pub(crate) fn mapping_of(topics: &Topics, (source, topic): &(String, String)) -> Option<Mapping> {
    let entry = |topic: &str| topics.get(&(source.clone(), topic.to_owned()));
    entry(topic).or_else(|| entry("*")).cloned()
}

#[cfg(test)]
mod tests;
