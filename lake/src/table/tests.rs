//! Commits, reading back, other engines, and what failing disks do.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type};
use deltalake::DeltaTableBuilder;
use schemas::Micros;
use url::Url;

use super::tests_support::*;
use super::*;
use crate::durable::hooks::{Fault, break_next, calls};
use crate::error::CommitError;

async fn delta(table: &Table) -> deltalake::DeltaTable {
    let url = Url::from_directory_path(table.folder()).unwrap();
    let mut opened = DeltaTableBuilder::from_url(url).unwrap().build().unwrap();
    opened.load().await.unwrap();
    opened
}

/// What delta-rs and DataFusion make of a table: rows, sum of epochs, sum of amounts, days.
async fn delta_sums(table: &Table) -> (i64, i64, String, i64) {
    let context = datafusion::prelude::SessionContext::new();
    let opened = delta(table).await;
    opened.update_datafusion_session(&context.state()).unwrap();
    let provider = opened.table_provider().await.unwrap();
    context.register_table("t", provider).unwrap();
    sums(&context).await
}

async fn sums(context: &datafusion::prelude::SessionContext) -> (i64, i64, String, i64) {
    let sql = "SELECT count(*), sum(epoch), CAST(sum(amount) AS VARCHAR), count(DISTINCT day) \
               FROM t WHERE at IS NOT NULL AND day = DATE '2026-11-21' AND epoch >= 0";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let batch = &batches[0];
    let long = |at: usize| batch.column(at).as_primitive::<Int64Type>().value(0);
    (long(0), long(1), batch_text(batch.column(2)), long(3))
}

fn batch_text(column: &dyn Array) -> String {
    arrow::util::display::array_value_to_string(column, 0).unwrap()
}

#[tokio::test]
async fn rows_and_progress_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = filled(&lake, "bronze/changes", 3).await;
    assert_eq!(lake.table_names().unwrap(), ["bronze/changes"]);
    for again in [
        Table::open_or_create(&lake, &spec("bronze/changes")).await.unwrap(),
        Table::open(&lake, "bronze/changes", At::Newest).unwrap(),
    ] {
        assert_eq!(again.version(), 3);
        assert_eq!(again.progress("weir/epoch"), Some(30));
        assert_eq!(again.row_count(), 30);
        assert_eq!(epochs(&again), (0..30).collect::<Vec<_>>());
        assert_eq!(again.schema(), table.schema());
        assert!(again.warnings().is_empty());
        assert_eq!(again.verify(true).unwrap(), []);
    }
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let all: Vec<_> = table.read(&files, None).unwrap().map(Result::unwrap).collect();
    assert_eq!(all[0].schema(), table.schema());
    let first = all.iter().find(|it| it.column(2).as_primitive::<Int64Type>().value(0) == 0);
    let first = first.unwrap();
    assert_eq!(first.column(5).as_primitive::<Decimal128Type>().value(1), 10_100_000_000);
    assert_eq!(
        first.column(6).as_primitive::<Date32Type>().value_as_date(0).unwrap().to_string(),
        "2026-11-21"
    );
}

#[tokio::test]
async fn delta_rs_and_sql_read_the_same_with_and_without_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = filled(&lake, "silver/orders", 12).await;
    let removed = table.files().next().unwrap().path.clone();
    let lost: i64 = {
        let file = table.file(&removed).unwrap();
        let (min, max) = file.range_i64("epoch").unwrap();
        (min..=max).sum()
    };
    let commit = Commit {
        removes: vec![removed],
        progress: vec![("weir/epoch".to_owned(), 121)],
        operation: "WRITE",
        ..Commit::default()
    };
    table.commit(&commit).await.unwrap();
    let epochs: i64 = (0..120).sum::<i64>() - lost;
    let expected = (110, epochs, format!("{epochs}.0000000000"), 1);
    let cents = |(rows, sum, _, days): (i64, i64, String, i64)| {
        (rows, sum, format!("{}.{:02}00000000", sum + rows / 100, rows % 100), days)
    };
    let expected = cents(expected);
    assert_eq!(delta_sums(&table).await, expected);
    let ours = crate::query::session(&lake, &[("t", "silver/orders", None)]).unwrap();
    assert_eq!(sums(&ours).await, expected);
    assert_eq!(table.checkpoint().run().unwrap(), 13);
    for version in 0..13 {
        std::fs::remove_file(table.log.entry_path(version)).unwrap();
    }
    assert_eq!(delta(&table).await.version(), Some(13));
    assert_eq!(delta_sums(&table).await, expected);
    let again = Table::open(&lake, "silver/orders", At::Newest).unwrap();
    assert_eq!(again.progress("weir/epoch"), Some(121));
    assert_eq!(again.row_count(), 110);
    assert_eq!(again.state.tombstones.len(), 1, "vacuum still knows the removed file");
    let commit = append(&table, 121, 131);
    table.commit(&commit).await.unwrap();
    assert_eq!(delta_sums(&table).await.0, 120);
    assert_eq!(Table::open(&lake, "silver/orders", At::Newest).unwrap().row_count(), 120);
}

#[tokio::test]
async fn older_versions_are_found_by_number_and_by_progress() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = filled(&lake, "silver/orders", 6).await;
    table.checkpoint().run().unwrap();
    let maintenance = Commit { operation: "OPTIMIZE", ..Commit::default() };
    table.commit(&maintenance).await.unwrap();
    let open = |at| Table::open(&lake, "silver/orders", at);
    let at = |at_most| At::Progress { app: "weir/epoch".to_owned(), at_most };
    assert_eq!(open(at(100)).unwrap().version(), 7, "with the maintenance after it");
    assert_eq!(open(at(39)).unwrap().version(), 3);
    assert_eq!(open(At::Version(2)).unwrap().row_count(), 20);
    for missing in [at(9), At::Version(8), At::Version(-1)] {
        let error = open(missing).unwrap_err();
        assert!(matches!(error, LakeError::NoVersion { .. }), "{error}");
    }
    let error = Table::open(&lake, "silver/none", At::Newest).unwrap_err();
    assert!(matches!(error, LakeError::NoTable { .. }), "{error}");
    let history = table.history().unwrap();
    assert_eq!(history.len(), 8);
    assert_eq!((history[1].rows, history[1].progress["weir/epoch"]), (10, 60));
}

#[tokio::test]
async fn ranges_are_exact_and_skip_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = filled(&lake(folder.path()), "bronze/changes", 5).await;
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let read = |column: &str, from: i64, to: i64| -> Vec<i64> {
        let batches = table.read_range(&files, Some(&["day", "epoch"]), column, from..=to).unwrap();
        let batches = batches.map(Result::unwrap);
        let mut rows: Vec<i64> = batches
            .flat_map(|it| it.column(1).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(read("epoch", 8, 21), (8..=21).collect::<Vec<_>>());
    assert_eq!(read("at", START + 45, i64::MAX), (45..50).collect::<Vec<_>>());
    assert_eq!(read("partition", 3, 3).len(), 12);
    assert!(read("epoch", 50, i64::MAX).is_empty());
    assert_eq!(table.read_range(&files, None, "epoch", 0..=5).unwrap().file_count(), 1);
    assert!(table.read_range(&files, None, "nothing", 0..=5).is_err());
}

#[tokio::test]
async fn statistics_are_those_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let table = filled(&lake(folder.path()), "bronze/changes", 1).await;
    let stats: serde_json::Value =
        serde_json::from_str(&table.files().next().unwrap().stats).unwrap();
    let expected = serde_json::json!({
        "numRecords": 10,
        "minValues": {"topic": "topic-0", "partition": 0, "epoch": 0,
            "at": "2026-11-21T07:00:00Z", "amount": 0.01},
        "maxValues": {"topic": "topic-2", "partition": 3, "epoch": 9,
            "at": "2026-11-21T07:00:00.000009Z", "amount": 9.01},
        "nullCount": {"topic": 0, "partition": 0, "epoch": 0, "at": 0, "value": 5, "amount": 0},
    });
    assert_eq!(stats, expected);
}

#[tokio::test]
async fn progress_never_goes_back_and_gaps_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = filled(&lake, "bronze/changes", 2).await;
    let commit = |progress: &[(&str, i64)]| Commit {
        progress: progress.iter().map(|(app, value)| ((*app).to_owned(), *value)).collect(),
        operation: "WRITE",
        ..Commit::default()
    };
    for again in [commit(&[("weir/epoch", 20)]), commit(&[("weir/epoch", 19), ("other", 1)])] {
        let error = table.commit(&again).await.unwrap_err();
        assert!(matches!(error, CommitError::AlreadyApplied { held: 20, .. }), "{error}");
    }
    let mut gap = commit(&[("weir/epoch", 40)]);
    gap.expects = vec![("weir/epoch".to_owned(), Some(30))];
    let error = table.commit(&gap).await.unwrap_err();
    assert!(matches!(error, CommitError::Gap { held: Some(20), .. }), "{error}");
    let mut unknown = commit(&[("weir/epoch", 40)]);
    unknown.removes = vec!["no.parquet".to_owned()];
    let error = table.commit(&unknown).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { .. }), "{error}");
    assert_eq!(table.commit(&commit(&[("weir/epoch", 20), ("other", 1)])).await.unwrap(), 3);
}

#[tokio::test]
async fn a_commit_is_durable_and_a_failed_put_is_settled_by_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = filled(&lake, "bronze/changes", 1).await;
    let root = lake.root().to_path_buf();
    let log = root.join("bronze/changes/_delta_log");
    let commit = append(&table, 10, 20);
    let data = commit.adds[0].path().to_owned();
    break_next(&log, Fault::Before);
    let error = table.commit(&commit).await.unwrap_err();
    assert!(matches!(error, CommitError::Store { version: 2, .. }), "{error}");
    assert_eq!((table.version(), table.row_count()), (1, 10));
    break_next(&log, Fault::After);
    assert_eq!(table.commit(&commit).await.unwrap(), 2, "the entry is there and it is ours");
    let again = Table::open(&lake, "bronze/changes", At::Newest).unwrap();
    assert_eq!((again.version(), again.row_count()), (2, 20));
    let calls = calls(&root.join("bronze/changes"));
    let place = |call: &str, path: &str| {
        let at = calls.iter().position(|it| it.0 == call && it.1 == path);
        at.unwrap_or_else(|| panic!("no {call} of {path} in {calls:?}"))
    };
    let entry = "_delta_log/00000000000000000002.json";
    assert!(place("sync file", &data) < place("sync file", &format!("{entry}#1")));
    assert!(place("sync file", &format!("{entry}#1")) < place("link", entry));
    assert_eq!(calls.last().unwrap().0, "sync folder", "also after the failure that was none");
}

#[tokio::test]
async fn a_second_writer_is_fenced_and_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut first = filled(&lake, "bronze/changes", 1).await;
    let mut second = Table::open_or_create(&lake, &spec("bronze/changes")).await.unwrap();
    second.commit(&append(&second, 10, 20)).await.unwrap();
    let commit = append(&first, 10, 20);
    for _ in 0..2 {
        let error = first.commit(&commit).await.unwrap_err();
        assert!(matches!(error, CommitError::Fenced { version: 2, .. }), "{error}");
    }
    assert_eq!(second.row_count(), 20);
    let foreign = "{\"commitInfo\":{\"engineInfo\":\"other/1\"}}\n";
    std::fs::write(second.log.entry_path(3), foreign).unwrap();
    let error = second.commit(&append(&second, 20, 30)).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { version: 3, .. }), "{error}");
    let error = Table::open_or_create(&lake, &spec("bronze/changes")).await.unwrap_err();
    assert!(error.to_string().contains("other/1"), "{error}");
}

#[tokio::test]
async fn another_schema_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = filled(&lake, "bronze/changes", 1).await;
    let mut other = spec("bronze/changes");
    let mut fields = other.schema.fields().to_vec();
    fields[2] =
        Arc::new(fields[2].as_ref().clone().with_data_type(arrow::datatypes::DataType::Int32));
    other.schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let error = Table::open_or_create(&lake, &other).await.unwrap_err().to_string();
    assert!(error.contains("epoch") && error.contains("Int32"), "{error}");
    let mut writer = table.file_writer(&day("2026-11-21")).unwrap();
    let wrong = rows(&table, 0, 3).project(&[0, 1]).unwrap();
    let error = writer.write(&wrong).unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
    assert!(table.file_writer(&[]).unwrap_err().to_string().contains("day"));
}

#[tokio::test]
async fn unfinished_files_go_and_vacuum_keeps_what_readers_need() {
    let folder = tempfile::tempdir().unwrap();
    let first = lake(folder.path());
    let mut table = filled(&first, "silver/orders", 2).await;
    let path = {
        let mut writer = table.file_writer(&day("2026-11-21")).unwrap();
        writer.write(&rows(&table, 0, 10)).unwrap();
        table.folder().join(writer.path())
    };
    assert!(!path.exists(), "dropped unfinished");
    let orphan = table.folder().join(append(&table, 20, 30).adds[0].path());
    let mut commit = append(&table, 20, 30);
    commit.removes = vec![table.files().next().unwrap().path.clone()];
    let removed = table.folder().join(&commit.removes[0]);
    table.commit(&commit).await.unwrap();
    let later = Micros(START + 3_600_000_000);
    assert_eq!(table.vacuum(later, 2).unwrap(), Vacuumed::default(), "version 2 needs it");
    assert_eq!(table.vacuum(Micros(START), 3).unwrap(), Vacuumed::default(), "too young");
    assert_eq!(table.vacuum(later, 3).unwrap().files, 1);
    assert!(!removed.exists() && orphan.exists(), "this writer may still commit the orphan");
    assert_eq!(table.row_count(), 20);
    assert_eq!(epochs(&table).len(), 20);
    drop((table, first));
    std::thread::sleep(std::time::Duration::from_millis(20));
    let staged = folder.path().join("silver/orders/_delta_log/00000000000000000009.json#1");
    std::fs::write(&staged, "x").unwrap();
    let second = lake(folder.path());
    assert!(!staged.exists());
    let mut table = Table::open_or_create(&second, &spec("silver/orders")).await.unwrap();
    let far = Micros(schemas::Micros::parse("2100-01-01").unwrap().0);
    assert_eq!(table.vacuum(far, 3).unwrap().files, 1);
    assert!(!orphan.exists());
    let error = Table::open(&second, "silver/orders", At::Version(2)).unwrap_err();
    assert!(matches!(error, LakeError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn readers_need_no_right_to_write() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(&lake(folder.path()), "bronze/changes", 2).await);
    let reader = crate::Lake::open_reader(folder.path()).unwrap();
    let mut table = Table::open(&reader, "bronze/changes", At::Newest).unwrap();
    assert_eq!(table.row_count(), 20);
    assert!(matches!(table.file_writer(&[]), Err(LakeError::ReadOnly { .. })));
    assert!(matches!(table.vacuum(Micros(0), 0), Err(LakeError::ReadOnly { .. })));
    let commit = Commit { operation: "WRITE", ..Commit::default() };
    assert!(matches!(table.commit(&commit).await, Err(CommitError::Conflict { .. })));
    let error = Table::open_or_create(&reader, &spec("bronze/changes")).await.unwrap_err();
    assert!(matches!(error, LakeError::ReadOnly { .. }));
}

#[tokio::test]
async fn a_table_of_another_schema_is_replaced_by_the_next_commit() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    drop(filled(&lake, "silver/orders", 2).await);
    let old = spec("silver/orders");
    let kept = old.schema.fields().iter().filter(|field| field.name() != "amount").cloned();
    let note =
        Arc::new(arrow::datatypes::Field::new("note", arrow::datatypes::DataType::Utf8, true));
    let schema = Arc::new(arrow::datatypes::Schema::new(kept.chain([note]).collect::<Vec<_>>()));
    let new = TableSpec { schema, ..old.clone() };
    let error = Table::open_or_create(&lake, &new).await.unwrap_err();
    assert!(matches!(error, LakeError::Schema { .. }), "{error}");
    let mut table = Table::open_or_replace(&lake, &new).await.unwrap();
    assert!(table.is_outdated());
    let all: Vec<String> = table.files().map(|file| file.path.clone()).collect();
    let progress = vec![("weir/epoch".to_owned(), 77)];
    let kept = Commit { progress: progress.clone(), operation: "WRITE", ..Commit::default() };
    let error = table.commit(&kept).await.unwrap_err();
    assert!(error.to_string().contains("is not removed"), "{error}");
    assert_eq!(Table::open(&lake, "silver/orders", At::Newest).unwrap().row_count(), 20);
    let mut writer = table.file_writer(&day("2026-11-21")).unwrap();
    writer.write(&arrow::array::RecordBatch::new_empty(table.file_schema())).unwrap();
    let adds = vec![writer.finish().unwrap()];
    let commit = Commit { adds, removes: all, ..kept };
    assert_eq!(table.commit(&commit).await.unwrap(), 3);
    assert!(!table.is_outdated());
    table.checkpoint().run().unwrap();
    // Readers see the schema of each version, and nothing is damaged.
    let read = |at| Table::open(&lake, "silver/orders", at).unwrap();
    let newest = read(At::Newest);
    assert_eq!((newest.row_count(), newest.progress("weir/epoch")), (0, Some(77)));
    assert!(newest.schema().field_with_name("note").is_ok());
    assert!(newest.schema().field_with_name("amount").is_err());
    assert_eq!(newest.verify(true).unwrap(), []);
    assert_eq!(epochs(&read(At::Version(2))).len(), 20);
    assert!(read(At::Version(2)).schema().field_with_name("amount").is_ok());
    assert!(!Table::open_or_replace(&lake, &new).await.unwrap().is_outdated());
    assert!(Table::open_or_create(&lake, &old).await.is_err());
}

#[tokio::test]
async fn files_stay_where_a_table_gets_columns_that_may_be_null() {
    use arrow::datatypes::{DataType, Field, Schema};

    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let sums = delta_sums(&filled(&lake, "silver/orders", 2).await).await;
    let old = spec("silver/orders");
    let with = |at: usize, field: Field| {
        let mut fields: Vec<_> = old.schema.fields().iter().cloned().collect();
        fields.insert(at, Arc::new(field));
        TableSpec { schema: Arc::new(Schema::new(fields)), ..old.clone() }
    };
    let required = with(1, Field::new("note", DataType::Utf8, false));
    assert!(!Table::open_or_replace(&lake, &required).await.unwrap().is_widened());
    let new = with(1, Field::new("note", DataType::Utf8, true));
    let mut table = Table::open_or_replace(&lake, &new).await.unwrap();
    assert!(table.is_outdated() && table.is_widened());
    let before: Vec<String> = table.files().map(|file| file.path.clone()).collect();
    let progress = vec![("weir/epoch".to_owned(), 77)];
    let commit = Commit { progress, operation: "WRITE", ..Commit::default() };
    table.commit(&commit).await.unwrap();
    assert!(!table.is_outdated() && !table.is_widened());
    let read = Table::open(&lake, "silver/orders", At::Newest).unwrap();
    assert_eq!(read.files().map(|file| file.path.clone()).collect::<Vec<_>>(), before);
    assert_eq!((read.row_count(), epochs(&read).len()), (20, 20));
    assert_eq!(delta_sums(&read).await, sums, "other readers see the same rows");
    let files: Vec<_> = read.files().map(AsRef::as_ref).collect();
    let notes = read.read(&files, Some(&["note"])).unwrap().map(|batch| batch.unwrap());
    assert_eq!(notes.map(|batch| batch.column(0).null_count()).sum::<usize>(), 20);
    assert_eq!(read.verify(true).unwrap(), []);
    assert!(!Table::open_or_replace(&lake, &new).await.unwrap().is_outdated());
    assert!(Table::open_or_create(&lake, &old).await.is_err(), "a column less is another table");
}
