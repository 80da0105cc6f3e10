//! Identities in force: what each table, KPI and detector of a lake is computed by.
//!
//! The state of a barrier keeps them beside what was computed, and the ledger beside the stream's
//! generation. A start compares them with those of its own definitions: what has another identity is
//! built anew, and nothing else is.
//!
//! # Guarantees
//! - A table depends on its contract, the decoder, the fold, which of the topics whose records were folded
//!   feed it, and what the configuration says about those. A topic without records changes nothing.
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
    /// Those of the definitions in force.
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
        Identities { tables, kpis, detectors, topics: topics.collect(), seen: Seen::new() }
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
mod tests {
    use std::sync::Arc;

    use gold::Definition;
    use schemas::civil::Shape;
    use schemas::{Calendar, CalendarSettings, RowSchema};

    use super::*;

    const PEOPLE: &str = "name='people'\nformat='debezium-json'\nkey=['id']\ntenant='tenant'\n\
                          columns=[{name='id',type='text'},{name='tenant',type='text'}]";
    const HEADS: &str = "key='heads'\ntitle='Heads'\nunit='count'\ngood='up'\ncontract='people'\n\
                         time='born'\naggregate='count(*)'\n";

    #[derive(Clone)]
    struct World {
        contracts: Vec<Contract>,
        definitions: Vec<Definition>,
        topics: Topics,
        calendar: Arc<Calendar>,
    }

    impl World {
        fn new() -> World {
            let built_in = schemas::contract::built_in();
            let contracts = built_in.iter().map(|(_, text)| Contract::parse(text).unwrap());
            let mut world = World {
                contracts: contracts.collect(),
                definitions: Vec::new(),
                topics: Topics::new(),
                calendar: Arc::default(),
            };
            world.topic("shop.orders", "orders");
            world.topic("shop.costs", "costs");
            world
        }

        fn topic(&mut self, topic: &str, contract: &str) {
            self.topics.insert(("kafka".into(), topic.into()), contract.into());
        }

        fn catalog(&self) -> Arc<Catalog> {
            let catalog = gold::catalog::with_built_in(
                self.definitions.clone(),
                &self.contracts,
                Arc::from([]),
            );
            let catalog = Arc::unwrap_or_clone(catalog.unwrap());
            Arc::new(catalog.with_calendar(Arc::clone(&self.calendar)))
        }

        fn identities(&self) -> Identities {
            let catalog = self.catalog();
            let observer = crate::observer(&catalog);
            Identities::of(&self.contracts, &self.topics, &catalog, observer.as_ref())
        }

        /// What a change of the definitions costs a lake whose bronze holds these topics.
        fn cost(&self, seen: &[&str], change: impl FnOnce(&mut World)) -> Renewal {
            let mut now = self.clone();
            change(&mut now);
            let seen = seen.iter().map(|topic| (*topic).to_owned()).collect();
            let seen = Seen::from([("kafka".to_owned(), seen)]);
            now.identities().renewal(&self.identities(), &seen, &now.catalog())
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_kpi_that_is_not_what_it_should_be_is_computed_anew_alone() {
        let world = World::new();
        let mut held = world.identities();
        assert!(held.owns("roi") && !held.owns("nothing"));
        held.disown("roi");
        assert!(!held.owns("roi"));
        held.disown("nothing");
        let held = Identities::parse(held.to_text().as_bytes()).unwrap();
        let renewal = world.identities().renewal(&held, &Seen::new(), &world.catalog());
        let (kpis, repaired) = (set(&["roi"]), set(&["roi"]));
        assert_eq!(renewal, Renewal { kpis, repaired, ..Renewal::default() });
        assert!(renewal.shows(), "other numbers were published");
    }

    #[test]
    fn additions_cost_only_themselves() {
        let world = World::new();
        let seen = ["shop.orders", "shop.costs"];
        assert_eq!(world.cost(&seen, |_| ()), Renewal::default());
        let topic = world.cost(&seen, |now| now.topic("shop.orders_eu", "orders"));
        assert_eq!(topic, Renewal::default(), "bronze has never seen the topic");
        let people = Contract::parse(
            &PEOPLE.replace("{name='tenant'", "{name='born',type='timestamp'},{name='tenant'"),
        )
        .unwrap();
        let table = world.cost(&seen, |now| {
            now.contracts.push(people.clone());
            now.topic("shop.people", "people");
        });
        assert_eq!(table, Renewal { tables: set(&["silver/people"]), ..Renewal::default() });
        assert!(!table.shows(), "no number was published that differs");
        let kpi = world.cost(&seen, |now| {
            now.contracts.push(people);
            now.definitions.push(Definition::parse("heads.toml", HEADS).unwrap());
        });
        let (tables, kpis, unwatched) = (set(&["silver/people"]), set(&["heads"]), set(&["heads"]));
        assert_eq!(kpi, Renewal { tables, kpis, unwatched, ..Renewal::default() });
        assert!(kpi.shows());
    }

    #[test]
    fn changes_cost_what_depends_on_them() {
        let world = World::new();
        let seen = ["shop.orders", "shop.costs"];
        let of = |contract: &str| -> BTreeSet<String> {
            let catalog = world.catalog();
            let keys = catalog.definitions().iter().map(|definition| definition.key.to_string());
            keys.filter(|key| catalog.contracts_of(key).contains(&contract)).collect()
        };
        let optional = world.cost(&seen, |now| {
            let costs = now.contracts.iter_mut().find(|c| c.name == "costs").unwrap();
            let mut columns = costs.columns.to_vec();
            columns.last_mut().unwrap().required ^= true;
            costs.columns = RowSchema::new(columns);
        });
        assert_eq!(optional.tables, set(&["silver/costs"]));
        assert_eq!(optional.kpis, of("costs"));
        assert!(optional.kpis.len() < world.catalog().definitions().len());
        let late = world.cost(&seen, |now| {
            let costs = now.contracts.iter_mut().find(|c| c.name == "costs").unwrap();
            costs.lateness = Some(2);
        });
        let (tables, kpis) = (BTreeSet::new(), BTreeSet::new());
        let unwatched = of("costs");
        let expected = Renewal { tables, kpis, unwatched, ..Renewal::default() };
        assert_eq!(late, expected, "only alerts differ");
        // Records that are in bronze feed another table now.
        let moved = world.cost(&seen, |now| now.topic("shop.costs", "orders"));
        assert_eq!(moved.tables, set(&["silver/costs", "silver/orders"]));
        // A topic of bronze that was not configured, by its own name or by that of all others.
        for topic in ["shop.old", "*"] {
            let found = world.cost(&["shop.old"], |now| now.topic(topic, "orders"));
            assert_eq!(found.tables, set(&["silver/orders"]), "{topic}");
            assert_eq!(found.kpis, of("orders"));
        }
        // The same contract, but other values count as not sent.
        let placeholder = Some("__gone".to_owned());
        let gone = Mapping { placeholder, ..Mapping::from("costs") };
        let topic = ("kafka".to_owned(), "shop.costs".to_owned());
        let other = |now: &mut World| drop(now.topics.insert(topic.clone(), gone.clone()));
        assert_eq!(world.cost(&seen, other).tables, set(&["silver/costs"]));
        assert_eq!(world.cost(&["shop.orders"], other), Renewal::default());
    }

    #[test]
    fn a_kpi_that_is_gone_or_means_something_else_is_not_watched_any_more() {
        let mut world = World::new();
        let own = HEADS.replace("people", "orders").replace("born", "placed_at");
        world.definitions.push(Definition::parse("heads.toml", &own).unwrap());
        let gone = world.cost(&[], |now| now.definitions.clear());
        assert_eq!(gone, Renewal { unwatched: set(&["heads"]), ..Renewal::default() });
        let good = world.cost(&[], |now| {
            now.definitions[0] =
                Definition::parse("heads.toml", &own.replace("'up'", "'down'")).unwrap();
        });
        assert_eq!(good, gone, "what it computes is the same, what is an alert is not");
        for anomaly in [
            "[anomaly]\nsensitivity='low'",
            "[anomaly]\nenabled=false",
            "[[anomaly.rule]]\nkind='change'\nagainst='day_before'\nup=0.3",
        ] {
            let watched = world.cost(&[], |now| {
                let text = format!("{own}{anomaly}");
                now.definitions[0] = Definition::parse("heads.toml", &text).unwrap();
            });
            assert_eq!(watched, gone, "{anomaly}");
        }
        let usual = world.cost(&[], |now| {
            let text = format!("{own}[anomaly]\nsensitivity='normal'\nenabled=true");
            now.definitions[0] = Definition::parse("heads.toml", &text).unwrap();
        });
        assert_eq!(usual, Renewal::default(), "what is usual changes nothing when it is said");
        let titled = world.cost(&[], |now| {
            now.definitions[0] =
                Definition::parse("heads.toml", &own.replace("Heads", "All")).unwrap();
        });
        assert_eq!(titled, Renewal::default());
    }

    #[test]
    fn a_calendar_costs_the_kpis_whose_periods_it_moves() {
        let mut world = World::new();
        let hours = HEADS.replace("people", "orders").replace("born", "placed_at");
        let hours = format!("{hours}grains=['hour']\n");
        world.definitions.push(Definition::parse("heads.toml", &hours).unwrap());
        let built_in: BTreeSet<String> =
            world.identities().kpis.into_keys().filter(|kpi| kpi != "heads").collect();
        let zones = [("acme".to_owned(), "Europe/Berlin".to_owned())].into();
        let shape = Shape { from_sunday: true, year_from: 2 };
        for (zones, shape) in [(zones, Shape::default()), (BTreeMap::new(), shape)] {
            let settings = CalendarSettings { zone: "UTC".into(), zones, shape };
            let calendar = Arc::new(Calendar::new(&settings).unwrap());
            let cost = world.cost(&["shop.orders"], |now| now.calendar = calendar);
            let (kpis, unwatched) = (built_in.clone(), built_in.clone());
            assert_eq!(cost, Renewal { kpis, unwatched, ..Renewal::default() });
        }
    }

    #[test]
    fn to_convert_a_kpi_costs_the_converted_one_alone() {
        let mut world = World::new();
        let offered = schemas::contract::offered().into_iter();
        let rates = offered.filter(|(file, _)| *file == "fx_rates.toml");
        world.contracts.extend(rates.map(|(_, text)| Contract::parse(text).unwrap()));
        let text = "key='sold'\ntitle='Sold'\nunit='currency'\ngood='up'\ncontract='orders'\ntime='placed_at'\n\
                    aggregate='sum(amount)'\ndims=['currency']\n";
        let to = |currency: Option<&str>| {
            let convert = if currency.is_some() { "convert=true\n" } else { "" };
            let own = Definition::parse("sold.toml", &format!("{text}{convert}")).unwrap();
            let (all, wrong) = gold::definition::with_converted(vec![own], currency);
            assert!(wrong.is_empty(), "{wrong:?}");
            all
        };
        let of = |keys: &[&str], gone: &[&str]| {
            let (tables, kpis) = (BTreeSet::new(), set(keys));
            {
                let unwatched = set(&[keys, gone].concat());
                Renewal { tables, kpis, unwatched, ..Renewal::default() }
            }
        };
        world.definitions = to(None);
        let added = world.cost(&["shop.orders"], |now| now.definitions = to(Some("EUR")));
        assert_eq!(added, of(&["sold_converted"], &[]));
        world.definitions = to(Some("EUR"));
        let other = world.cost(&["shop.orders"], |now| now.definitions = to(Some("USD")));
        assert_eq!(other, of(&["sold_converted"], &[]));
        let gone = world.cost(&["shop.orders"], |now| now.definitions = to(None));
        assert_eq!(gone, of(&[], &["sold_converted"]));
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let mut world = World::new();
        let continues = Some("shop.public.costs".to_owned());
        let mapping = Mapping { continues, ..Mapping::from("costs") };
        world.topics.insert(("kafka".into(), "moved.costs".into()), mapping);
        let identities = world.identities();
        assert_eq!(Identities::parse(identities.to_text().as_bytes()), Some(identities));
        assert_eq!(Identities::parse(b"[Contract { name: \"orders\" }]"), None);
    }

    /// A value that changes here costs every lake a rebuild of what it names: say so in the changelog.
    #[test]
    fn the_identities_of_what_comes_with_weir_are_pinned() {
        let identities = World::new().identities();
        let all = [&identities.tables, &identities.kpis, &identities.detectors];
        let lines = all.into_iter().flatten().map(|(name, hash)| format!("{name} {hash}\n"));
        assert_eq!(lines.collect::<String>(), include_str!("identities/pinned.txt"));
    }
}
