//! A small lake, made by the pipeline itself; then one defect at a time, and who sees it.

mod audited;
mod damaged;
mod fold;
mod forgotten;
mod preview;
pub(super) mod shop;
mod views;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, RecordBatch, StringArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Decimal128Type;
use lake::{Commit, Lake, Table, TableSpec};
use pipeline::bronze;

use super::report::{Report, Status};
use super::*;
use shop::{Shop, order};

/// Name and subject of the checks that do not hold.
fn broken(report: &Report) -> BTreeSet<(&'static str, String)> {
    let bad = report.checks.iter().filter(|check| check.status() != Status::Ok);
    bad.map(|check| (check.name, check.subject.clone())).collect()
}

fn names(report: &Report) -> BTreeSet<&'static str> {
    broken(report).into_iter().map(|(name, _)| name).collect()
}

fn told(report: &Report) -> String {
    report
        .checks
        .iter()
        .flat_map(|check| check.spelled_out().to_vec())
        .collect::<Vec<_>>()
        .join("\n")
}

fn read_all(table: &Table) -> RecordBatch {
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let batches: Vec<_> = table.read(&files, None).unwrap().map(Result::unwrap).collect();
    concat_batches(&table.schema(), &batches).unwrap()
}

fn newest_file(lake: &Lake, table: &str, extension: &str, below: &str) -> PathBuf {
    let folder = lake.root().join(table).join(below);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let own = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    own.max().unwrap()
}

/// Replaces all rows of an unpartitioned table, at the epoch where it is.
fn rewrite(shop: &Shop, spec: &TableSpec, change: impl FnOnce(RecordBatch) -> RecordBatch) {
    let runtime = &shop.runtime;
    let mut table = runtime.block_on(Table::open_or_create(&shop.lake, spec)).unwrap();
    let rows = change(read_all(&table));
    let mut writer = table.file_writer(&[]).unwrap();
    writer.write(&rows).unwrap();
    let commit = Commit {
        adds: vec![writer.finish().unwrap()],
        removes: table.files().map(|file| file.path.clone()).collect(),
        operation: "OPTIMIZE",
        ..Commit::default()
    };
    runtime.block_on(table.commit(&commit)).unwrap();
}

fn spec(name: &str) -> TableSpec {
    let specs = crate::tables::specs(&shop::contracts());
    specs.into_iter().find(|spec| spec.name == name).unwrap()
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let at = batch.schema().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Commits to bronze outside of the pipeline.
fn commit_bronze(shop: &Shop, commit: impl FnOnce(&Table) -> Commit) {
    let spec = bronze::spec();
    let table = shop.runtime.block_on(Table::open_or_create(&shop.lake, &spec));
    let mut table = table.unwrap();
    let commit = commit(&table);
    shop.runtime.block_on(table.commit(&commit)).unwrap();
}

#[test]
fn a_sound_lake_holds_and_so_does_its_copy() {
    let shop = Shop::filled();
    let report = shop.verify(true);
    assert_eq!(broken(&report), BTreeSet::new(), "{}", told(&report));
    assert_eq!(report.epoch, Some(shop.last()));
    let subjects: BTreeSet<_> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(subjects.len(), 7, "every kind of check was made: {subjects:?}");
    let rows = |name: &str| {
        let check = report.checks.iter().find(|c| c.name == name && c.subject.ends_with("orders"));
        check.unwrap().counts.clone()
    };
    assert!(rows("silver").contains(&("rows", 4)), "{:?}", rows("silver"));
    assert!(rows("silver").contains(&("undecodable records", 1)));
    // A copy, opened while nobody holds it, without any configuration.
    let copy = tempfile::tempdir().unwrap();
    let from = format!("{}/.", shop.lake.root().display());
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let lake = Lake::open_reader(copy.path()).unwrap();
    let subject = Subject { lake, topics: Topics::new(), ..shop.subject() };
    assert_eq!(super::verify(&subject, true).unwrap().failed(), 0);
}

#[test]
fn a_lake_without_a_barrier_has_nothing_to_compare() {
    let mut shop = Shop::new();
    assert_eq!(shop.verify(false).failed(), 0);
    shop.epoch(&[(0, "1", Some(order("1", 1, "10", "paid")))]);
    shop.commit_bronze();
    let report = shop.verify(false);
    assert_eq!((report.failed(), report.epoch), (0, None), "{}", told(&report));
}

#[test]
fn tables_at_different_epochs_are_compared_at_the_one_they_share() {
    let shop = Shop::filled();
    let runtime = &shop.runtime;
    let spec = spec("silver/costs");
    let mut costs = runtime.block_on(Table::open_or_create(&shop.lake, &spec)).unwrap();
    let ahead = i64::try_from(shop.last()).unwrap() + 1;
    let progress = vec![(EPOCH.into(), ahead), (CLOCK.into(), shop.now.0 + 1)];
    let commit = Commit { progress, operation: "WRITE", ..Commit::default() };
    runtime.block_on(costs.commit(&commit)).unwrap();
    let report = shop.verify(false);
    assert_eq!((report.failed(), report.epoch), (0, Some(shop.last())), "{}", told(&report));
}

#[test]
fn a_hole_in_bronze_is_seen() {
    let mut shop = Shop::filled();
    shop.skip_offsets(0, 3);
    shop.epoch(&[(0, "9", Some(order("9", 90, "1", "paid")))]);
    shop.commit_bronze();
    let report = shop.verify(false);
    assert_eq!(names(&report), ["bronze"].into(), "{}", told(&report));
    assert!(told(&report).contains("were read and are missing"), "{}", told(&report));
    let subject = Subject { skips: ["kafka".to_owned()].into(), ..shop.subject() };
    let report = super::verify(&subject, false).unwrap();
    assert_eq!(report.failed(), 0, "the source may skip: {}", told(&report));
}

#[test]
fn a_doubled_row_of_bronze_is_seen() {
    let shop = Shop::filled();
    commit_bronze(&shop, |table| {
        let file = table.files().last().unwrap();
        let partition: Vec<_> =
            file.partition.iter().map(|(name, day)| (name.clone(), day.clone().unwrap())).collect();
        let mut writer = table.file_writer(&partition).unwrap();
        let batch = read_all(table);
        let kept: Vec<_> =
            batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let kept: Vec<usize> = (0..kept.len()).filter(|at| kept[*at] != "day").collect();
        writer.write(&batch.project(&kept).unwrap().slice(0, 1)).unwrap();
        Commit { adds: vec![writer.finish().unwrap()], operation: "WRITE", ..Commit::default() }
    });
    let report = shop.verify(false);
    assert_eq!(broken(&report), [("bronze", bronze::TABLE.to_owned())].into(), "{}", told(&report));
    assert!(told(&report).contains("twice or out of order"), "{}", told(&report));
}

#[test]
fn progress_that_rows_do_not_reach_is_seen() {
    let shop = Shop::filled();
    commit_bronze(&shop, |table| {
        let (app, next) = table.progress_all().iter().find(|(app, _)| app.ends_with("/0")).unwrap();
        let progress = vec![(app.clone(), next + 5)];
        Commit { progress, operation: "WRITE", ..Commit::default() }
    });
    let report = shop.verify(false);
    assert_eq!(names(&report), ["bronze"].into());
    assert!(told(&report).contains("the recorded progress says"), "{}", told(&report));
}

#[test]
fn records_taken_out_of_bronze_are_seen_there_and_in_silver() {
    let shop = Shop::filled();
    commit_bronze(&shop, |table| {
        // The newest: without the oldest, the chain looks as if reading had begun later.
        let newest = table.files().max_by_key(|file| file.range_i64("epoch")).unwrap();
        let removes = vec![newest.path.clone()];
        Commit { removes, operation: "WRITE", ..Commit::default() }
    });
    let names = names(&shop.verify(false));
    assert!(
        names.contains("bronze") && names.contains("silver") && !names.contains("kpi"),
        "{names:?}"
    );
}

#[test]
fn a_changed_silver_value_is_seen_with_row_and_column() {
    let shop = Shop::filled();
    rewrite(&shop, &spec("silver/orders"), |rows| {
        let texts = rows["customer_id"].as_string::<i32>();
        let changed =
            texts.iter().enumerate().map(|(at, text)| if at == 0 { Some("x") } else { text });
        with_column(&rows, "customer_id", Arc::new(StringArray::from_iter(changed)))
    });
    let report = shop.verify(false);
    assert_eq!(
        broken(&report),
        [("silver", "silver/orders".to_owned())].into(),
        "{}",
        told(&report)
    );
    assert!(told(&report).contains("`customer_id` is \"x\", should be \"c-"), "{}", told(&report));
}

#[test]
fn missing_and_doubled_silver_rows_are_seen() {
    for doubled in [false, true] {
        let shop = Shop::filled();
        rewrite(&shop, &spec("silver/orders"), |rows| {
            let last = rows.num_rows() - 1;
            // The last row is cancelled, so that no KPI changes with it.
            let status = rows["status"].as_string::<i32>();
            let at = (0..=last).find(|at| status.value(*at) == "cancelled").unwrap();
            if doubled {
                concat_batches(&rows.schema(), [&rows, &rows.slice(at, 1)]).unwrap()
            } else {
                let keep = BooleanArray::from_iter((0..=last).map(|row| Some(row != at)));
                filter_record_batch(&rows, &keep).unwrap()
            }
        });
        let report = shop.verify(false);
        assert_eq!(broken(&report), [("silver", "silver/orders".to_owned())].into());
        let says = if doubled { "is there twice" } else { "is missing" };
        assert!(told(&report).contains(says), "{}", told(&report));
    }
}

#[test]
fn a_changed_kpi_value_is_seen_under_its_name() {
    let shop = Shop::filled();
    rewrite(&shop, &spec(CURRENT), |rows| {
        let (kpis, grains) = (rows["kpi"].as_string::<i32>(), rows["grain"].as_string::<i32>());
        let values = rows["value"].as_primitive::<Decimal128Type>();
        // A running period, which the history says nothing about.
        let hit = |at: usize| kpis.value(at) == "revenue_booked" && grains.value(at) == "month";
        assert!((0..rows.num_rows()).any(hit));
        let changed = (0..rows.num_rows())
            .map(|at| values.is_valid(at).then(|| values.value(at) + i128::from(hit(at))));
        let changed = Decimal128Array::from_iter(changed).with_precision_and_scale(38, 10).unwrap();
        with_column(&rows, "value", Arc::new(changed))
    });
    let report = shop.verify(false);
    assert_eq!(broken(&report), [("kpi", "revenue_booked".to_owned())].into(), "{}", told(&report));
}

#[test]
fn history_rows_that_are_gone_doubled_or_flagged_wrong_are_seen() {
    type Defect = fn(RecordBatch) -> RecordBatch;
    let defects: [(&str, Defect); 3] = [
        ("its last history row is", |rows| {
            let (flags, grains) =
                (rows["restatement"].as_boolean(), rows["grain"].as_string::<i32>());
            let lost = |at: usize| flags.value(at) && grains.value(at) == "day";
            assert!((0..rows.num_rows()).any(lost), "there is a restatement to lose");
            let keep = BooleanArray::from_iter((0..rows.num_rows()).map(|at| Some(!lost(at))));
            filter_record_batch(&rows, &keep).unwrap()
        }),
        ("the same row is there 2 times", |rows| {
            concat_batches(&rows.schema(), [&rows, &rows.slice(0, 1)]).unwrap()
        }),
        ("does not fit its period", |rows| {
            let closed = rows["closed"].as_boolean();
            let flipped =
                closed.iter().enumerate().map(|(at, flag)| flag.map(|flag| flag != (at == 0)));
            let flipped: ArrayRef = Arc::new(BooleanArray::from_iter(flipped));
            with_column(&rows, "closed", flipped)
        }),
    ];
    for (says, defect) in defects {
        let shop = Shop::filled();
        rewrite(&shop, &spec(HISTORY), defect);
        let report = shop.verify(false);
        assert_eq!(broken(&report), [("history", HISTORY.to_owned())].into(), "{}", told(&report));
        assert!(told(&report).contains(says), "{}", told(&report));
    }
}

#[test]
fn a_changed_or_invented_alert_is_seen_by_the_deep_check() {
    let shop = Shop::alarmed();
    let report = shop.verify(true);
    assert_eq!(broken(&report), BTreeSet::new(), "{}", told(&report));
    let sound = report.checks.iter().find(|check| check.name == "alerts").unwrap();
    assert!(sound.counts.iter().any(|(name, count)| *name == "alerts" && *count > 0), "{sound:?}");
    type Defect = fn(RecordBatch) -> RecordBatch;
    let defects: [(&str, Defect); 2] = [
        ("differs", |rows| {
            let values = rows["value"].as_primitive::<Decimal128Type>();
            let changed = Decimal128Array::from_iter(values.iter().map(|v| v.map(|v| v + 1)));
            let changed = changed.with_precision_and_scale(38, 10).unwrap();
            with_column(&rows, "value", Arc::new(changed))
        }),
        ("is not a result of bronze", |rows| {
            let ids = (0..rows.num_rows()).map(|at| format!("{at:032x}"));
            with_column(&rows, "id", Arc::new(StringArray::from_iter_values(ids)))
        }),
    ];
    for (says, defect) in defects {
        let shop = Shop::alarmed();
        rewrite(&shop, &spec(ANOMALIES), defect);
        let report = shop.verify(true);
        assert_eq!(broken(&report), [("alerts", ANOMALIES.to_owned())].into(), "{}", told(&report));
        assert!(told(&report).contains(says), "{}", told(&report));
        assert_eq!(shop.verify(false).failed(), 0, "only the deep check reads alerts");
    }
}

#[test]
fn a_torn_log_entry_is_seen_and_the_rest_compared_before_it() {
    let shop = Shop::filled();
    let entry = newest_file(&shop.lake, "silver/orders", "json", "_delta_log");
    let bytes = std::fs::read(&entry).unwrap();
    std::fs::write(&entry, &bytes[..bytes.len() / 2]).unwrap();
    let report = shop.verify(false);
    assert_eq!(
        broken(&report),
        [("seals", "silver/orders".to_owned())].into(),
        "{}",
        told(&report)
    );
    assert!(report.epoch.is_some_and(|epoch| epoch < shop.last()));
}

#[test]
fn a_lost_or_altered_data_file_is_seen() {
    let shop = Shop::filled();
    let name = shop.lake.root().join(bronze::TABLE);
    let day = std::fs::read_dir(name).unwrap().map(|entry| entry.unwrap().path());
    let day = day.filter(|path| path.is_dir() && !path.ends_with("_delta_log")).max().unwrap();
    let file = std::fs::read_dir(day).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    let mut altered = bytes.clone();
    // In the middle of a string that nothing compares: only the hash can tell.
    altered[4] ^= 1;
    std::fs::write(&file, altered).unwrap();
    assert!(names(&shop.verify(true)).contains("seals"));
    std::fs::remove_file(&file).unwrap();
    let report = shop.verify(false);
    let broken = broken(&report);
    assert!(broken.contains(&("seals", bronze::TABLE.to_owned())), "{broken:?}");
    let unknown = report.checks.iter().find(|check| check.name == "bronze").unwrap();
    assert_eq!(unknown.status(), Status::Unknown, "what cannot be read is not passed");
}

#[test]
fn a_topic_of_which_nothing_is_known_is_not_passed() {
    let mut shop = Shop::with_topic("shop.public.people");
    shop.epoch(&[(0, "1", Some(order("1", 1, "10", "paid")))]);
    shop.flush();
    let subject = Subject { topics: Topics::new(), ..shop.subject() };
    assert_eq!(super::verify(&subject, false).unwrap().failed(), 0, "the saved state knows it");
    std::fs::remove_dir_all(subject.lake.state_dir().join("state")).unwrap();
    let report = super::verify(&subject, false).unwrap();
    let silver = report.checks.iter().find(|check| check.name == "silver").unwrap();
    assert_eq!(silver.status(), Status::Unknown);
    assert_eq!(shop.verify(false).failed(), 0, "the configuration knows it");
}
