//! Tests of the module `identities`.

use std::sync::Arc;

use gold::Definition;
use schemas::civil::Shape;
use schemas::{Calendar, CalendarSettings, Column, ColumnType, EventField, RowSchema};

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
        let catalog =
            gold::catalog::with_built_in(self.definitions.clone(), &self.contracts, Arc::from([]));
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
        now.definitions[0] = Definition::parse("heads.toml", &own.replace("Heads", "All")).unwrap();
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
    assert_eq!(lines.collect::<String>(), include_str!("pinned.txt"));
}

#[test]
fn what_extends_a_contract_costs_nothing_until_it_is_taken_back() {
    let world = World::new();
    let mut now = world.clone();
    let costs = now.contracts.iter_mut().find(|c| c.name == "costs").unwrap();
    let note = Column { name: "note".into(), kind: ColumnType::Text, required: false };
    costs.columns = RowSchema::new(costs.columns.iter().cloned().chain([note]).collect());
    costs.fields.push(EventField::default());
    let catalog = now.catalog();
    let observer = crate::observer(&catalog);
    let of = |contracts: &[Contract]| {
        Identities::of(contracts, &now.topics, &catalog, observer.as_ref())
    };
    let extended = of(&world.contracts).with_extended([("silver/costs".to_owned(), 3)].into());
    let cost = |of: &Identities, held: &Identities| of.renewal(held, &Seen::new(), &catalog);
    assert_eq!(cost(&extended, &world.identities()), Renewal::default());
    let read = Identities::parse(extended.to_text().as_bytes()).unwrap();
    assert_eq!(cost(&extended, &read), Renewal::default());
    assert!(
        cost(&of(&now.contracts), &world.identities()).shows(),
        "built by the longer one alone"
    );
    // The same contract again, as another version: rows that the longer one has read are not its own.
    let back = cost(&world.identities(), &read);
    assert_eq!(back.tables, set(&["silver/costs"]));
    let other = of(&world.contracts).with_extended([("silver/costs".to_owned(), 5)].into());
    assert_eq!(cost(&other, &read).tables, set(&["silver/costs"]));
}
