//! Groups of cells that the auditor of a run computes again: on a sound lake and on damaged ones, within a budget, and
//! what becomes of a KPI that it was decided to compute anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, BooleanArray, Decimal128Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Decimal128Type;
use gold::audit::group::Group;
use schemas::{Decision, Grain, Micros};

use super::shop::Shop;
use super::{broken, rewrite, spec, told, with_column};
use crate::AuditSettings;
use crate::audit::{Audited, Auditor, Verdict};
use crate::tables::CURRENT;

const BUDGET: Duration = Duration::from_secs(30);

fn auditor_of(shop: &Shop, budget: Duration, from: u64) -> Auditor {
    let settings = AuditSettings { interval: Duration::from_secs(1), budget };
    Auditor::new(shop.lake.clone(), Arc::clone(&shop.catalog), settings, 7, from)
}

fn once(shop: &Shop, group: &Group) -> Audited {
    auditor_of(shop, BUDGET, 0).once(group.clone(), &|| false).unwrap()
}

/// Every group that has a cell.
fn groups(shop: &Shop) -> BTreeSet<Group> {
    let group = |row: &gold::CellRow| Group {
        kpi: row.key.kpi.to_string(),
        tenant: row.key.tenant.to_string(),
        grain: row.key.grain,
        period_start: row.period_start,
    };
    shop.cells().iter().map(group).collect()
}

/// The month of booked revenue.
fn month(shop: &Shop) -> Group {
    let is_it = |own: &&Group| own.kpi == "revenue_booked" && own.grain == Grain::Month;
    groups(shop).iter().find(is_it).unwrap().clone()
}

#[test]
fn every_group_of_a_sound_lake_is_as_computed() {
    for shop in [Shop::filled(), Shop::alarmed()] {
        let mut cells = 0;
        for group in groups(&shop) {
            let audited = once(&shop, &group);
            assert_eq!(audited.verdict, Verdict::Ok, "{audited:?}");
            assert!(audited.cells > 0 && audited.epoch == shop.last(), "{audited:?}");
            cells += audited.cells;
        }
        assert_eq!(cells, shop.cells().len());
        // Where there is nothing, nothing is wrong.
        let nowhere = Group { tenant: "nobody's".into(), ..groups(&shop).pop_last().unwrap() };
        let audited = once(&shop, &nowhere);
        assert_eq!((audited.verdict, audited.cells), (Verdict::Ok, 0));
    }
}

#[test]
fn groups_are_drawn_over_all_that_there_is() {
    let shop = Shop::filled();
    let mut auditor = auditor_of(&shop, BUDGET, 0);
    let drawn: Vec<Group> = (0..120).map(|_| auditor.draw().unwrap()).collect();
    let own = groups(&shop);
    let known = drawn.iter().filter(|group| own.contains(group)).count();
    assert!((80..120).contains(&known), "some are of what has no cell: {known}");
    let kpis: BTreeSet<&str> = drawn.iter().map(|group| group.kpi.as_str()).collect();
    let grains: BTreeSet<Grain> = drawn.iter().map(|group| group.grain).collect();
    assert!(kpis.len() > 3 && grains.len() > 5, "{kpis:?} {grains:?}");
    for group in drawn.iter().take(30) {
        let audited = auditor.once(group.clone(), &|| false).unwrap();
        assert_eq!(audited.verdict, Verdict::Ok, "{audited:?}");
    }
    let empty = Shop::new();
    assert_eq!(auditor_of(&empty, BUDGET, 0).draw(), None);
}

#[test]
fn a_wrong_cell_is_found_and_said_with_what_it_should_be() {
    let shop = Shop::filled();
    let group = month(&shop);
    rewrite(&shop, &spec(CURRENT), |rows| {
        let (kpis, grains) = (rows["kpi"].as_string::<i32>(), rows["grain"].as_string::<i32>());
        let values = rows["value"].as_primitive::<Decimal128Type>();
        let hit = |at: usize| kpis.value(at) == "revenue_booked" && grains.value(at) == "month";
        let changed = (0..rows.num_rows())
            .map(|at| values.is_valid(at).then(|| values.value(at) + i128::from(hit(at))));
        let changed = Decimal128Array::from_iter(changed).with_precision_and_scale(38, 10).unwrap();
        with_column(&rows, "value", Arc::new(changed))
    });
    let audited = once(&shop, &group);
    assert_eq!((audited.cells, audited.mismatches), (1, 1), "{audited:?}");
    let Verdict::Mismatch(details) = &audited.verdict else { panic!("{audited:?}") };
    let detail = &details[0];
    assert!(detail.dims.contains("\"currency\":\"EUR\""), "{detail:?}");
    let (expected, found) = (detail.expected.as_deref(), detail.found.as_deref());
    assert_eq!((expected, found), (Some("62.0001"), Some("62.0001000001")), "{detail:?}");
    assert!(detail.problem.contains("should be"), "{detail:?}");
    for other in groups(&shop).into_iter().filter(|own| *own != group).take(12) {
        assert_eq!(once(&shop, &other).verdict, Verdict::Ok, "{other:?}");
    }
}

#[test]
fn cells_that_are_missing_or_too_many_are_found() {
    let shop = Shop::filled();
    let group = month(&shop);
    rewrite(&shop, &spec(CURRENT), |rows| {
        let (kpis, grains) = (rows["kpi"].as_string::<i32>(), rows["grain"].as_string::<i32>());
        let lost = |at: usize| kpis.value(at) == "revenue_booked" && grains.value(at) == "month";
        let keep = BooleanArray::from_iter((0..rows.num_rows()).map(|at| Some(!lost(at))));
        filter_record_batch(&rows, &keep).unwrap()
    });
    let audited = once(&shop, &group);
    let Verdict::Mismatch(details) = &audited.verdict else { panic!("{audited:?}") };
    assert_eq!(
        (details[0].found.as_deref(), details[0].problem.as_str()),
        (None, "no row, but rows feed it")
    );
    // The same of rows that are gone from silver.
    let shop = Shop::filled();
    rewrite(&shop, &spec("silver/orders"), |rows| rows.slice(0, 0));
    let audited = once(&shop, &month(&shop));
    let Verdict::Mismatch(details) = &audited.verdict else { panic!("{audited:?}") };
    assert_eq!(details[0].expected, None, "{details:?}");
}

#[test]
fn what_costs_too_much_or_is_of_other_definitions_is_passed_over() {
    let shop = Shop::filled();
    let group = month(&shop);
    let audited = auditor_of(&shop, Duration::ZERO, 0).once(group.clone(), &|| false).unwrap();
    let Verdict::PassedOver(reason) = &audited.verdict else { panic!("{audited:?}") };
    assert!(reason.contains("audit.budget") && audited.cells == 0, "{audited:?}");
    assert_eq!(audited.epoch, shop.last());
    let later = shop.last() + 1;
    assert!(auditor_of(&shop, BUDGET, later).once(group.clone(), &|| false).is_none());
    assert!(auditor_of(&shop, BUDGET, shop.last()).once(group, &|| false).is_some());
}

#[test]
fn only_files_of_the_tenant_and_the_time_are_read() {
    let shop = Shop::filled();
    let own = month(&shop);
    let slices =
        |group: &Group| gold::audit::group::slices(&shop.catalog, group, shop.now).unwrap();
    let table = lake::Table::open(&shop.lake, "silver/orders", lake::At::Newest).unwrap();
    let files = |group: &Group| {
        let slices = slices(group);
        assert_eq!(slices.iter().map(|own| own.contract.as_str()).collect::<Vec<_>>(), ["orders"]);
        table.files().filter(|file| slices[0].may_be_in(file)).count()
    };
    assert!(files(&own) > 0);
    assert_eq!(files(&Group { tenant: "t0".into(), ..own.clone() }), 0);
    assert_eq!(files(&Group { period_start: Micros(0), ..own }), 0);
}

#[test]
fn a_kpi_that_is_decided_to_be_wrong_is_computed_anew_at_the_next_start() {
    let mut shop = Shop::filled();
    let version = |shop: &Shop| {
        lake::Table::open(&shop.lake, CURRENT, lake::At::Newest)
            .unwrap()
            .files()
            .next()
            .unwrap()
            .path
            .clone()
    };
    let (before, cells) = (version(&shop), shop.cells().len());
    shop.decide(Decision::RebuildKpi { kpi: "revenue_booked".into(), epoch: 3 });
    shop.flush();
    assert_ne!(version(&shop), before, "current values are written whole");
    let mut shop = shop.restart();
    assert!(shop.is_repaired());
    assert_eq!(shop.cells().len(), cells);
    shop.flush();
    let report = shop.verify(true);
    assert!(broken(&report).is_empty(), "{}", told(&report));
    let shop = shop.restart();
    assert!(!shop.is_repaired(), "once");
}
