//! Numbers that saved state gives back, of views whose steps keep rows or nothing: an engine that is stopped at any
//! epoch and goes on from its last barrier, one that never stops, and one that is given the rows alone say the same of
//! every cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use gold::view_file::{ViewFile, accept};
use gold::{Catalog, CellRow, Definition, Engine, EpochOutput};
use schemas::{
    Contract, Delta, EpochStamp, Micros, RowBuilder, RowKey, RowLayout, Saved, StatePart,
};

const DAY_US: i64 = 86_400_000_000;
const START: i64 = 20_450 * DAY_US;

const SALES: &str = "name='sales'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='currency',type='text'},{name='amount',type='decimal(12,2)'},{name='at',type='timestamp'},\
    {name='until',type='timestamp'}]";
const REFUNDS: &str = "name='refunds'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='currency',type='text'},{name='amount',type='decimal(12,2)'},{name='at',type='timestamp'},\
    {name='sale',type='bigint'}]";

/// Views by name; those of the first three keep nothing.
const VIEWS: [(&str, &str); 6] = [
    (
        "net",
        "SELECT tenant_id, period(at) AS period, currency, SUM(amount) AS net, COUNT(*) AS bookings
         FROM (SELECT tenant_id, currency, amount, at FROM sales WHERE amount <> 13
               UNION ALL SELECT tenant_id, currency, -amount, at FROM refunds) both
         GROUP BY 1, 2, 3",
    ),
    (
        "open",
        "SELECT s.tenant_id, p.period_start AS period, s.currency, SUM(s.amount) AS amount, COUNT(*) AS sales
         FROM sales s JOIN periods p ON s.at < p.period_end AND (s.until IS NULL OR s.until >= p.period_end)
         GROUP BY 1, 2, 3",
    ),
    (
        "small",
        "SELECT tenant_id, period(at) AS period, currency, COUNT(*) AS refunds
         FROM refunds WHERE amount < 20 GROUP BY 1, 2, 3",
    ),
    (
        "back",
        "SELECT s.tenant_id, period(s.at) AS period, s.currency, SUM(r.amount) AS amount
         FROM sales s JOIN refunds r ON r.sale = s.id GROUP BY 1, 2, 3",
    ),
    (
        "kinds",
        "SELECT d.tenant_id, p.period_start AS period, d.currency, COUNT(*) AS kinds
         FROM (SELECT DISTINCT tenant_id, currency, at, until FROM sales) d
         JOIN periods p ON d.at < p.period_end AND (d.until IS NULL OR d.until >= p.period_end)
         GROUP BY 1, 2, 3",
    ),
    (
        "extremes",
        "SELECT tenant_id, period(at) AS period, currency, MAX(amount) AS largest
         FROM sales GROUP BY 1, 2, 3",
    ),
];

/// Key, view, value, dims.
const KPIS: [[&str; 4]; 10] = [
    ["net", "net", "net", "'currency'"],
    ["bookings", "net", "bookings", "'currency'"],
    ["all_bookings", "net", "bookings", ""],
    ["open", "open", "amount", "'currency'"],
    ["all_open", "open", "sales", ""],
    ["mean_open", "open", "amount / sales", "'currency'"],
    ["small", "small", "refunds", "'currency'"],
    ["back", "back", "amount", "'currency'"],
    ["kinds", "kinds", "kinds", "'currency'"],
    ["largest", "extremes", "largest", "'currency'"],
];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        crate::told::below(&mut self.0, end.unsigned_abs())
    }

    fn row(&mut self, now: i64) -> Row {
        let at = now + (self.below(60) - 50) * DAY_US / 4;
        Row {
            tenant: ["a", "b", ""][usize::try_from(self.below(3)).unwrap()],
            currency: ["EUR", "USD"][usize::try_from(self.below(2)).unwrap()],
            amount: (self.below(9) > 0).then(|| self.below(4_000)),
            at: (self.below(15) > 0).then_some(at),
            last: (self.below(3) > 0).then(|| self.below(30)),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    tenant: &'static str,
    currency: &'static str,
    amount: Option<i64>,
    at: Option<i64>,
    /// Days until a sale is over, or the sale of a refund.
    last: Option<i64>,
}

type Rows = [BTreeMap<i64, Row>; 2];

struct World {
    contracts: Vec<Contract>,
    layouts: Vec<Arc<RowLayout>>,
    catalog: Arc<Catalog>,
    rows: Rows,
}

impl World {
    fn new(views: &[(&str, &str)]) -> World {
        let contracts: Vec<Contract> =
            [SALES, REFUNDS].iter().map(|text| Contract::parse(text).unwrap()).collect();
        let files = views.iter().map(|(name, text)| ViewFile {
            name: (*name).into(),
            text: (*text).into(),
            file: format!("{name}.sql"),
        });
        let accepted = accept(&files.collect::<Vec<_>>(), &contracts).unwrap();
        let is_there = |kpi: &&[&str; 4]| views.iter().any(|(name, _)| *name == kpi[1]);
        let mut definitions: Vec<Definition> = KPIS.iter().filter(is_there).map(|own| {
            let [key, view, value, dims] = own;
            let unit = if dims.is_empty() || *key == "kinds" || *key == "small" || *key == "bookings" {
                "count"
            } else {
                "currency"
            };
            let text = format!(
                "key='{key}'\ntitle='T'\nunit='{unit}'\ngood='up'\nview='{view}'\nvalue='{value}'\ndims=[{dims}]\n"
            );
            Definition::parse(&format!("{key}.toml"), &text).unwrap()
        }).collect();
        let plain = "key='plain'\ntitle='T'\nunit='count'\ngood='up'\ncontract='sales'\ntime='at'\n\
                     aggregate='count(*)'\ndims=['currency']\n";
        definitions.push(Definition::parse("plain.toml", plain).unwrap());
        let catalog = Arc::new(Catalog::new(definitions, &contracts, accepted).unwrap());
        let layout = |contract: &Contract| Arc::new(RowLayout::new(&contract.columns));
        let layouts = contracts.iter().map(layout).collect();
        World { contracts, layouts, catalog, rows: Rows::default() }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), &self.contracts).unwrap()
    }

    fn bytes(&self, table: usize, key: i64, row: &Row) -> Vec<u8> {
        let mut builder = RowBuilder::default();
        builder.reset(self.layouts[table].len());
        builder.set_bigint(0, key);
        if !row.tenant.is_empty() {
            builder.set_text(1, row.tenant);
        }
        builder.set_text(2, row.currency);
        row.amount.iter().for_each(|amount| builder.set_decimal(3, i128::from(*amount)));
        row.at.iter().for_each(|at| builder.set_timestamp(4, Micros(*at)));
        match (table, row.last, row.at) {
            (0, Some(days), Some(at)) => builder.set_timestamp(5, Micros(at + days * DAY_US / 2)),
            (1, Some(sale), _) => builder.set_bigint(5, sale),
            _ => {}
        }
        let mut bytes = Vec::new();
        builder.finish(&self.layouts[table], &mut bytes);
        bytes
    }

    /// Some random changes, quiet ones among them.
    fn change(&mut self, dice: &mut Dice, now: i64) -> Vec<Delta> {
        let mut deltas = Vec::new();
        let is_all_gone = dice.below(30) == 0;
        for table in 0..2 {
            let mut delta = Delta::new(Arc::clone(&self.layouts[table]), RowKey::new(vec![0]));
            delta.set_quiet(dice.below(4) == 0);
            let keys: Vec<i64> = match is_all_gone {
                true => self.rows[table].keys().copied().collect(),
                false => (0..dice.below(6)).map(|_| dice.below(30)).collect(),
            };
            for key in keys {
                let new = (!is_all_gone && dice.below(4) > 0).then(|| dice.row(now));
                let old = match &new {
                    Some(new) => self.rows[table].insert(key, new.clone()),
                    None => self.rows[table].remove(&key),
                };
                let of = |row: &Row| self.bytes(table, key, row);
                let (old, new) = (old.as_ref().map(of), new.as_ref().map(of));
                let layout = &self.layouts[table];
                delta.change(
                    old.as_ref().map(|bytes| layout.row(bytes)),
                    new.as_ref().map(|bytes| layout.row(bytes)),
                );
            }
            delta.consolidate();
            deltas.push(delta);
        }
        deltas
    }

    /// An engine that is given what was saved, and these rows.
    fn loaded(&self, saved: &Saved, rows: &Rows) -> Engine {
        let mut engine = self.engine();
        engine.load_state(saved, &|_| true).unwrap();
        self.give(&mut engine, rows);
        engine.finish_load();
        assert!(engine.take_refused().is_empty());
        engine
    }

    fn give(&self, engine: &mut Engine, rows: &Rows) {
        for (table, rows) in rows.iter().enumerate() {
            for (key, row) in rows {
                let bytes = self.bytes(table, *key, row);
                engine.rebuild(table, self.layouts[table].row(&bytes)).unwrap();
            }
        }
    }

    /// What rows alone say.
    fn bootstrap(&self, clock: Micros) -> Vec<CellRow> {
        let mut engine = self.engine();
        self.give(&mut engine, &self.rows);
        engine.finish_rebuild(clock, None);
        engine.snapshot()
    }
}

/// An epoch with these deltas.
fn epoch(engine: &mut Engine, stamp: &EpochStamp, deltas: &[Delta]) -> EpochOutput {
    let is_quiet = |delta: &Delta| delta.keys().any(|change| change.is_quiet());
    engine.begin_epoch(stamp);
    engine.hush((0..deltas.len()).filter(|table| is_quiet(&deltas[*table])));
    assert!(engine.step_all(stamp, &deltas.iter().collect::<Vec<_>>()).is_empty());
    engine.finish_epoch(stamp)
}

fn stamp(id: i64, clock: i64, deltas: &[Delta]) -> EpochStamp {
    let quiet = deltas.iter().any(|delta| delta.keys().any(|change| change.is_quiet()));
    EpochStamp { id: id.unsigned_abs(), clock: Micros(clock), quiet }
}

fn told(rows: &[CellRow]) -> Vec<String> {
    rows.iter().map(|row| format!("{:?} {:?}", row.key, row.value)).collect()
}

/// What a lake has of an engine: its last barrier, and the epochs since then.
struct Lake {
    saved: Saved,
    rows: Rows,
    since: Vec<(EpochStamp, Vec<Delta>)>,
}

impl Lake {
    /// Writes what changed, which must be all that differs.
    fn barrier(&mut self, engine: &mut Engine, rows: &Rows) {
        let frozen = engine.freeze();
        let parts: Vec<StatePart<'_>> = frozen.parts();
        self.saved.update(&parts);
        assert!(self.saved == Saved::of(&parts), "a record changed and was not named");
        (self.rows, self.since) = (rows.clone(), Vec::new());
    }

    /// An engine from the last barrier, with the epochs since then.
    fn start(&self, world: &World) -> Engine {
        let mut engine = world.loaded(&self.saved, &self.rows);
        assert_eq!(engine.take_unkept(), [""; 0]);
        self.since.iter().for_each(|(stamp, deltas)| drop(epoch(&mut engine, stamp, deltas)));
        engine
    }
}

#[test]
fn stops_anywhere_change_no_cell() {
    for seed in 1..=6_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(&VIEWS);
        let (mut whole, mut stopped) = (world.engine(), world.engine());
        let mut lake = Lake { saved: Saved::default(), rows: Rows::default(), since: Vec::new() };
        let (mut clock, mut stops, mut compared) = (START, 0, 0);
        for id in 1..=120_i64 {
            clock += 1 + dice.below(DAY_US);
            let deltas = world.change(&mut dice, clock);
            let stamp = stamp(id, clock, &deltas);
            let outputs = [&mut whole, &mut stopped].map(|own| epoch(own, &stamp, &deltas));
            assert_eq!(outputs[0], outputs[1], "seed {seed}, epoch {id}");
            lake.since.push((stamp, deltas));
            if id == 1 || dice.below(4) == 0 {
                lake.barrier(&mut stopped, &world.rows);
            }
            if dice.below(8) == 0 {
                (stops, compared) = (stops + 1, compared + whole.snapshot().len());
                stopped = lake.start(&world);
                assert_eq!(stopped.snapshot(), whole.snapshot(), "seed {seed}, epoch {id}");
                assert_eq!(stopped.next_due(), whole.next_due(), "seed {seed}, epoch {id}");
            }
            if id % 30 == 0 {
                let (rows, own) = (world.bootstrap(Micros(clock)), whole.snapshot());
                assert_eq!(told(&rows), told(&own), "seed {seed}, epoch {id}");
            }
        }
        assert!(stops > 5 && compared > 1_000, "{stops} stops, {compared} cells");
    }
}

/// An engine after some epochs, and what it saves.
fn at_work(views: &[(&str, &str)]) -> (World, Engine, Saved, Micros) {
    let (mut dice, mut world) = (Dice(0x1234_5678_9abc), World::new(views));
    let (mut engine, mut clock) = (world.engine(), START);
    for id in 1..=40 {
        clock += 1 + dice.below(DAY_US);
        let deltas = world.change(&mut dice, clock);
        epoch(&mut engine, &stamp(id, clock, &deltas), &deltas);
    }
    let saved = Saved::of(&engine.freeze().parts());
    (world, engine, saved, Micros(clock))
}

#[test]
fn a_start_needs_no_rows_for_views_that_keep_nothing() {
    let (world, engine, saved, _) = at_work(&VIEWS[..3]);
    let fresh = world.loaded(&saved, &Rows::default());
    let of_views = |engine: &Engine| {
        let mut rows = engine.snapshot();
        rows.retain(|row| *row.key.kpi != *"plain");
        rows
    };
    assert!(of_views(&engine).len() > 100);
    assert_eq!(of_views(&fresh), of_views(&engine));
}

#[test]
fn what_is_damaged_or_of_another_version_is_made_of_rows() {
    let (world, engine, saved, _) = at_work(&VIEWS);
    let names: Vec<String> =
        saved.names().filter(|name| name.starts_with("gold/kept")).map(str::to_owned).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in &names {
        for cut in [false, true] {
            let mut damaged = saved.clone();
            let part = damaged.part_mut(name);
            let (number, bytes) =
                part.records().next().map(|(at, own)| (at, own.to_vec())).unwrap();
            match cut {
                true => part.put(number, Some(&bytes[..bytes.len() - 1])),
                false => part.put(number, Some(&[&[bytes[0] ^ 0x7f][..], &bytes[1..]].concat())),
            }
            let mut fresh = world.loaded(&damaged, &world.rows);
            let said = fresh.take_unkept();
            assert!(!said.is_empty(), "{name}");
            assert!(said.iter().all(|own| own.contains("are made of rows: ")), "{said:?}");
            assert_eq!(fresh.snapshot(), engine.snapshot(), "{name}");
            // All of it is written again.
            damaged.update(&fresh.freeze().parts());
            let mut again = world.loaded(&damaged, &world.rows);
            assert_eq!(again.take_unkept(), [""; 0], "{name}");
            assert_eq!(again.snapshot(), engine.snapshot(), "{name}");
        }
    }
    let mut before = saved.clone();
    names.iter().for_each(|name| before.clear(name));
    let mut fresh = world.loaded(&before, &world.rows);
    assert_eq!(fresh.take_unkept().len(), 4);
    assert_eq!(fresh.snapshot(), engine.snapshot());
}

#[test]
fn what_a_row_has_broken_is_made_of_rows() {
    let (world, mut engine, _, clock) = at_work(&VIEWS);
    let never = Row { tenant: "a", currency: "EUR", amount: Some(7), at: Some(1), last: None };
    let bytes = world.bytes(0, 99, &never);
    let delta = |table: usize| Delta::new(Arc::clone(&world.layouts[table]), RowKey::new(vec![0]));
    let mut deltas = [delta(0), delta(1)];
    deltas[0].change(Some(world.layouts[0].row(&bytes)), None);
    deltas[0].consolidate();
    let stamp = stamp(41, clock.0 + 1, &deltas);
    engine.begin_epoch(&stamp);
    assert!(!engine.step_all(&stamp, &deltas.iter().collect::<Vec<_>>()).is_empty());
    engine.finish_epoch(&stamp);
    let saved = Saved::of(&engine.freeze().parts());
    let mut fresh = world.loaded(&saved, &world.rows);
    assert_eq!(fresh.take_unkept().len(), 4);
    assert_eq!(told(&fresh.snapshot()), told(&world.bootstrap(stamp.clock)));
    // What rows say is as good as new.
    let saved = Saved::of(&fresh.freeze().parts());
    assert_eq!(world.loaded(&saved, &world.rows).take_unkept(), [""; 0]);
}

#[test]
fn another_view_is_made_of_rows() {
    let (world, _, saved, clock) = at_work(&VIEWS);
    let mut views = VIEWS;
    let text = VIEWS[0].1.replace("amount <> 13", "amount > 13");
    views[0].1 = &text;
    let mut other = World::new(&views);
    other.rows = world.rows.clone();
    let mut fresh = other.loaded(&saved, &other.rows);
    let said = fresh.take_unkept();
    assert!(said.iter().all(|own| own.contains("of views net are")), "{said:?}");
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(told(&fresh.snapshot()), told(&other.bootstrap(clock)));
    assert_ne!(told(&other.bootstrap(clock)), told(&world.bootstrap(clock)));
    // What is saved from here on is all that another start needs.
    let mut saved = saved;
    saved.update(&fresh.freeze().parts());
    let mut again = other.loaded(&saved, &other.rows);
    assert_eq!(again.take_unkept(), [""; 0]);
    assert_eq!(again.snapshot(), fresh.snapshot());
}
