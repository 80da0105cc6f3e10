//! Keyed tables on disk: features, recovery of places, faults, vacuum.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use schemas::Micros;

use super::super::*;
use crate::folder::Lake;
use crate::table::tests_support::{START, lake};
use crate::table::{At, TableSpec};

pub(super) const NAME: &str = "silver/things";

pub(super) fn spec() -> TableSpec {
    let fields =
        vec![Field::new("id", DataType::Utf8, false), Field::new("value", DataType::Int64, false)];
    TableSpec {
        name: NAME.to_owned(),
        schema: Arc::new(Schema::new(fields)),
        partition_columns: Vec::new(),
        description: "rows for tests".to_owned(),
    }
}

/// A row for each slot that has a value.
#[derive(Debug, Clone, Default)]
struct Things(BTreeMap<u32, i64>);

/// The same, some of which never change again.
#[derive(Debug)]
struct Lasting<'a>(&'a Things, &'a [u32]);

impl FrozenRows for Lasting<'_> {
    fn has_row(&self, slot: u32) -> bool {
        self.0.has_row(slot)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        self.0.live_slots()
    }

    fn lasting(&self) -> &[u32] {
        self.1
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        self.0.batch(slots)
    }
}

impl FrozenRows for Things {
    fn has_row(&self, slot: u32) -> bool {
        self.0.contains_key(&slot)
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new(self.0.keys().copied())
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let ids = StringArray::from_iter_values(slots.iter().map(|slot| format!("key {slot}")));
        let values = Int64Array::from_iter_values(slots.iter().map(|slot| self.0[slot]));
        Ok(RecordBatch::try_new(spec().schema, vec![Arc::new(ids), Arc::new(values)])?)
    }
}

async fn open(lake: &Lake, deletes: Deletes) -> KeyedTable {
    KeyedTable::new(Table::open_or_create(lake, &spec()).await.unwrap(), deletes)
}

async fn flush(keyed: &mut KeyedTable, things: &Things, changed: &[u32], epoch: i64) -> i64 {
    let plan = keyed.plan(things, changed, false);
    let staged = keyed.stage(&plan, things).unwrap();
    keyed.commit(&plan, &staged, vec![("weir/epoch".to_owned(), epoch)]).await.unwrap()
}

/// The rows of a table, read batch by batch.
fn rows(table: &Table) -> BTreeMap<u32, i64> {
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let mut rows = BTreeMap::new();
    for batch in table.read(&files, None).unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column(0).as_string::<i32>();
        for (id, value) in ids.iter().zip(batch.column(1).as_primitive::<Int64Type>()) {
            let slot = id.unwrap().strip_prefix("key ").unwrap().parse().unwrap();
            assert!(rows.insert(slot, value.unwrap()).is_none(), "key {slot} is there twice");
        }
    }
    rows
}

/// The values of a table's rows, in the order of their keys as numbers.
pub(super) fn values(table: &Table) -> Vec<i64> {
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let mut rows = BTreeMap::new();
    for batch in table.read(&files, None).unwrap() {
        let batch = batch.unwrap();
        let values = batch.column(1).as_primitive::<Int64Type>().values();
        for (id, value) in batch.column(0).as_string::<i32>().iter().zip(values) {
            rows.insert(id.unwrap().parse::<u32>().unwrap(), *value);
        }
    }
    rows.into_values().collect()
}

/// Ten thousand rows, of which a thousand have changed and a hundred are gone.
async fn changed(lake: &Lake) -> (KeyedTable, Things) {
    let mut keyed = open(lake, Deletes::Mark).await;
    let mut things = Things((0..10_000).map(|slot| (slot, 0)).collect());
    let slots: Vec<u32> = (0..10_000).collect();
    flush(&mut keyed, &things, &slots, 1).await;
    let slots: Vec<u32> = (0..1_000).map(|at| at * 7).collect();
    things.0.extend(slots.iter().map(|slot| (*slot, 1)));
    things.0.retain(|slot, _| *slot >= 100);
    let gone = 0..100;
    let slots: Vec<u32> = slots.into_iter().chain(gone).collect();
    flush(&mut keyed, &things, &slots, 2).await;
    (keyed, things)
}

fn names(folder: &Path, end: &str) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    files.filter(|name| name.to_str().unwrap().ends_with(end)).count()
}

#[tokio::test]
async fn a_flush_marks_and_every_way_of_reading_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let (mut keyed, things) = changed(&lake).await;
    assert!(keyed.table().has_deletion_vectors());
    assert_eq!(keyed.table().files().count(), 2, "nothing was written again");
    assert_eq!(keyed.table().row_count(), 9_900);
    assert_eq!(keyed.table().dead_rows(), 1_085);
    assert_eq!(rows(keyed.table()), things.0);
    assert_eq!(names(keyed.table().folder(), ".bin"), 1);
    assert!(keyed.table().verify(true).unwrap().is_empty());

    let reader = Table::open(&lake, NAME, At::Newest).unwrap();
    assert_eq!(rows(&reader), things.0);
    let entry =
        std::fs::read_to_string(reader.folder().join("_delta_log/00000000000000000002.json"));
    assert!(entry.unwrap().contains(r#"\"tightBounds\":false}"#));
    keyed.table_mut().checkpoint().run().unwrap();
    let from_checkpoint = Table::open(&lake, NAME, At::Newest).unwrap();
    assert_eq!(rows(&from_checkpoint), things.0);
    assert!(from_checkpoint.has_deletion_vectors());

    let context = crate::query::session(&lake, &[("things", NAME, None)]).unwrap();
    let sql = "SELECT count(*) AS n, count(DISTINCT id) AS d, sum(value) AS s FROM things \
               WHERE value >= 0";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let found = |column: usize| batches[0].column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!((found(0), found(1), found(2)), (9_900, 9_900, 985));
    let limited = context.sql("SELECT id FROM things LIMIT 9950").await.unwrap();
    let count: usize = limited.collect().await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(count, 9_900);
}

#[tokio::test]
async fn compaction_changes_no_row_and_ends_the_vectors_of_an_idle_table() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let (mut keyed, mut things) = changed(&lake).await;
    let before = keyed.table().version();
    assert_eq!(keyed.compact(IDLE_AFTER).await.unwrap(), Compacted::default());
    let done = keyed.compact(Duration::ZERO).await.unwrap();
    assert_eq!((done.files, done.rows), (1, 8_915));
    assert_eq!((keyed.table().version(), keyed.table().dead_rows()), (before + 1, 0));
    assert_eq!(rows(keyed.table()), things.0);
    assert_eq!(keyed.table().progress("weir/epoch"), Some(2));
    // The places after it are right: the next flush marks what it must.
    things.0.extend([(150, 9), (9_999, 9), (700, 9)]);
    flush(&mut keyed, &things, &[150, 9_999, 700], 3).await;
    assert_eq!(rows(keyed.table()), things.0);
    // Recovery to the barrier before finds the compacted version, whose files are the live ones.
    let at = |at_most| At::Progress { app: "weir/epoch".to_owned(), at_most };
    assert_eq!(Table::open(&lake, NAME, at(2)).unwrap().version(), before + 1);
    assert_eq!(Table::open(&lake, NAME, at(1)).unwrap().version(), before - 1);
    assert!(keyed.table().verify(true).unwrap().is_empty());
}

#[tokio::test]
async fn vectors_can_be_turned_off_and_on_again() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let (keyed, mut things) = changed(&lake).await;
    drop(keyed);
    for (epoch, deletes) in [(3, Deletes::Rewrite), (4, Deletes::Mark), (5, Deletes::Rewrite)] {
        let mut keyed = open(&lake, deletes).await;
        let paths: Vec<String> = keyed.table().files().map(|file| file.path.clone()).collect();
        for path in paths {
            let file = keyed.table().file(&path).unwrap();
            let mut slots = Vec::new();
            for batch in keyed.table().read(&[file.as_ref()], Some(&["id"])).unwrap() {
                let batch = batch.unwrap();
                let ids = batch.column(0).as_string::<i32>();
                slots.extend(
                    ids.iter().map(|id| id.unwrap().strip_prefix("key ").unwrap().parse().ok()),
                );
            }
            keyed.load(&path, &slots).unwrap();
        }
        things.0.insert(500, epoch);
        flush(&mut keyed, &things, &[500], epoch).await;
        assert_eq!(rows(keyed.table()), things.0);
        assert_eq!(keyed.table().has_deletion_vectors(), deletes == Deletes::Mark);
        assert_eq!(keyed.table().dead_rows() > 0, deletes == Deletes::Mark);
        assert!(keyed.table().verify(true).unwrap().is_empty());
    }
}

#[tokio::test]
async fn lasting_rows_stay_and_their_slots_are_free() {
    for (deletes, whole) in
        [(Deletes::Rewrite, false), (Deletes::Mark, false), (Deletes::Rewrite, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let lake = lake(folder.path());
        let mut keyed = open(&lake, deletes).await;
        let mut things = Things((0..20).map(|slot| (slot, 1)).collect());
        flush(&mut keyed, &things, &(0..20).collect::<Vec<_>>(), 1).await;
        // One of them changed at the same time, and one was new.
        things.0.extend([(4, 2), (30, 2)]);
        let frozen = Lasting(&things, &[3, 4, 30]);
        let plan = keyed.plan(&frozen, &[4, 30], whole);
        let staged = keyed.stage(&plan, &frozen).unwrap();
        keyed.commit(&plan, &staged, vec![("weir/epoch".to_owned(), 2)]).await.unwrap();
        assert_eq!(rows(keyed.table()), things.0);
        assert_eq!(keyed.live(), 18);
        // Their slots belong to other rows, which come and go without them.
        let kept = [3, 4, 30].map(|slot| (slot, things.0.remove(&slot).unwrap()));
        let moved = keyed.plan(&things, &[3, 4, 30], false);
        assert!(moved.is_empty(), "nobody knows their slots: {moved:?}");
        things.0.retain(|slot, _| *slot >= 10);
        flush(&mut keyed, &things, &(0..10).collect::<Vec<_>>(), 3).await;
        let all: BTreeMap<u32, i64> = things.0.iter().map(|(a, b)| (*a, *b)).chain(kept).collect();
        assert_eq!(rows(keyed.table()), all);
        assert!(keyed.table().verify(true).unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_vector_file_is_kept_while_a_version_needs_it_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let (mut keyed, mut things) = changed(&lake).await;
    things.0.insert(200, 5);
    flush(&mut keyed, &things, &[200], 3).await;
    let table = keyed.table().folder().to_path_buf();
    assert_eq!((names(&table, ".bin"), names(&table, ".parquet")), (2, 3));
    let late = Micros(START + 3_600_000_000);
    keyed.table_mut().vacuum(late, 2).unwrap();
    assert_eq!(names(&table, ".bin"), 2, "version 2 reads the first");
    assert_eq!(Table::open(&lake, NAME, At::Version(2)).unwrap().row_count(), 9_900);
    let freed = keyed.table_mut().vacuum(late, 3).unwrap();
    assert_eq!((freed.files, names(&table, ".bin"), names(&table, ".parquet")), (1, 1, 3));
    assert_eq!(rows(keyed.table()), things.0);
    keyed.table_mut().checkpoint().run().unwrap();
    assert_eq!(rows(&Table::open(&lake, NAME, At::Newest).unwrap()), things.0);
}

#[tokio::test]
async fn a_damaged_or_missing_vector_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let (keyed, _) = changed(&lake).await;
    let table = keyed.table().folder().to_path_buf();
    drop(keyed);
    let vectors = std::fs::read_dir(&table).unwrap().map(|file| file.unwrap().path());
    let path = vectors.into_iter().find(|path| path.extension().is_some_and(|it| it == "bin"));
    let path = path.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut altered = whole.clone();
    altered[100] ^= 1;
    std::fs::write(&path, &altered).unwrap();
    let reader = Table::open(&lake, NAME, At::Newest).unwrap();
    let findings = reader.verify(false).unwrap();
    assert!(findings[0].message.contains("checksum"), "{findings:?}");
    let files: Vec<_> = reader.files().map(AsRef::as_ref).collect();
    let error = reader.read(&files, None).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("deletion_vector_"), "{error}");
    std::fs::write(&path, &whole[..50]).unwrap();
    let error = Table::open(&lake, NAME, At::Newest).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = Table::open(&lake, NAME, At::Newest).unwrap_err().to_string();
    assert!(error.contains("is missing"), "{error}");
}

#[tokio::test]
async fn a_table_under_a_foreign_feature_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let (mut keyed, _) = changed(&lake).await;
    let mut protocol = crate::features::Features::default()
        .with(crate::features::Feature::DeletionVectors, true)
        .protocol();
    protocol.writer_features.as_mut().unwrap().push("rowTracking".to_owned());
    let line = crate::actions::Line { protocol: Some(protocol), ..Default::default() };
    let commit = Commit { operation: "TEST", ..Commit::default() };
    drop(keyed.table_mut().put(&commit, vec![line]).await);
    for error in [
        Table::open(&lake, NAME, At::Newest).unwrap_err(),
        Table::open_or_create(&lake, &spec()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("`rowTracking`"), "{error}");
    }
}
