//! Merges against a model: rows, their order and progress stay, whatever fails in between.

use proptest::prelude::*;
use schemas::Micros;

use super::*;
use crate::durable::hooks::{Fault, break_next};
use crate::table::tests_support::*;
use crate::{At, Lake, LogKeep};

const NAME: &str = "bronze/changes";
const RULE: MergeRule = MergeRule { order: "epoch", limit: "epoch" };
const FAR: Micros = Micros(i64::MAX);

/// Appends `count` rows on the `day`th day, from epoch `from` on.
async fn add(table: &mut Table, day_number: i64, from: i64, count: i64) {
    let mut writer = table.file_writer(&day(&format!("2026-11-{:02}", 1 + day_number))).unwrap();
    writer.write(&rows(table, from, from + count)).unwrap();
    let commit = Commit {
        adds: vec![writer.finish().unwrap()],
        progress: vec![("weir/epoch".to_owned(), from + count)],
        operation: "WRITE",
        ..Commit::default()
    };
    table.commit(&commit).await.unwrap();
}

/// The epochs in the order of the files, as bronze is read.
fn in_order(table: &Table) -> Vec<i64> {
    let mut files: Vec<&DataFile> = table.files().map(AsRef::as_ref).collect();
    files.sort_by_key(|file| file.range_i64("epoch"));
    let mut all = Vec::new();
    for batch in table.read(&files, Some(&["epoch"])).unwrap() {
        let batch = batch.unwrap();
        all.extend(batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values());
    }
    all
}

async fn merge_all(table: &mut Table, up_to: i64) -> usize {
    let mut merges = 0;
    while let Some(merged) = table.merge_job(RULE, up_to).unwrap().run(&mut |_| true).unwrap() {
        merged.commit_to(table).await.unwrap();
        merges += 1;
    }
    merges
}

#[tokio::test]
async fn a_merge_keeps_rows_order_progress_and_days() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    for number in 0..60 {
        add(&mut table, number / 30, number * 3, 3).await;
    }
    let reader = Table::open(&lake, NAME, At::Newest).unwrap();
    assert_eq!(merge_all(&mut table, 150).await, 2);
    // 30 files of the first day, 20 of the second, and 10 with rows beyond the limit.
    assert_eq!(table.files().count(), 1 + 1 + 10);
    assert_eq!(in_order(&table), (0..180).collect::<Vec<_>>());
    assert_eq!(table.progress("weir/epoch"), Some(180));
    assert_eq!(table.verify(true).unwrap(), []);
    let days: Vec<_> = table.files().map(|file| file.partition["day"].clone()).collect();
    assert_eq!(days.iter().filter(|day| day.as_deref() == Some("2026-11-01")).count(), 1);
    assert_eq!(epochs(&reader).len(), 180, "whoever opened it before still reads it");
    let history = table.history().unwrap();
    assert_eq!((history[0].operation.as_str(), history[0].rows), ("OPTIMIZE", 60));
    let log = std::fs::read_to_string(table.log().entry_path(table.version())).unwrap();
    assert!(log.contains("\"dataChange\":false") && !log.contains("\"dataChange\":true"), "{log}");
}

#[tokio::test]
async fn a_merge_that_is_not_committed_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    for number in 0..FAN_IN as i64 {
        add(&mut table, 0, number, 1).await;
    }
    let files = || walk(&folder.path().join(NAME));
    let before = files();
    let job = || table.merge_job(RULE, i64::MAX).unwrap();
    drop(job().run(&mut |_| true).unwrap().unwrap());
    assert_eq!(files(), before, "dropped");
    let merged = job().run(&mut |_| true).unwrap().unwrap();
    break_next(&lake.root().join(NAME).join("_delta_log"), Fault::Before);
    merged.commit_to(&mut table).await.unwrap_err();
    assert_eq!(files(), before, "the put failed");
    let merged = table.merge_job(RULE, i64::MAX).unwrap().run(&mut |_| true).unwrap().unwrap();
    break_next(&lake.root().join(NAME).join("_delta_log"), Fault::After);
    merged.commit_to(&mut table).await.unwrap();
    assert_eq!(table.files().count(), 1);
    assert_eq!(table.verify(true).unwrap(), []);
}

#[tokio::test]
async fn a_merge_whose_files_are_gone_meanwhile_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    for number in 0..FAN_IN as i64 {
        add(&mut table, 0, number, 1).await;
    }
    let job = table.merge_job(RULE, i64::MAX).unwrap();
    let other = table.merge_job(RULE, i64::MAX).unwrap();
    let first = job.run(&mut |_| true).unwrap().unwrap();
    let second = other.run(&mut |_| true).unwrap().unwrap();
    first.commit_to(&mut table).await.unwrap();
    let error = second.commit_to(&mut table).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { .. }), "{error}");
    add(&mut table, 0, 16, 1).await;
    assert_eq!(in_order(&table), (0..17).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_merge_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    for number in 0..2 {
        add(&mut table, 0, number * 40_000, 40_000).await;
    }
    add(&mut table, 1, 80_000, 1).await;
    let before = walk(&folder.path().join(NAME));
    let mut strides = 0;
    let job = table.merge_job(RULE, i64::MAX).unwrap();
    let stopped = job.run(&mut |_| {
        strides += 1;
        false
    });
    assert!(stopped.unwrap().is_none());
    assert_eq!(strides, 1);
    assert_eq!(walk(&folder.path().join(NAME)), before);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.retain(|path| path.extension().is_some_and(|it| it == "parquet"));
    found.sort();
    found
}

#[derive(Debug, Clone)]
enum Step {
    Add { rows: i64, next_day: bool },
    Merge { fault: u8 },
    Checkpoint,
    Vacuum,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1_i64..4, 0_u8..16).prop_map(|(rows, day)| Step::Add { rows, next_day: day == 0 }),
        4 => (0_u8..6).prop_map(|fault| Step::Merge { fault }),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Vacuum),
        2 => Just(Step::Reopen),
    ]
}

async fn run(root: &std::path::Path, steps: &[Step]) {
    let mut lake: Lake = lake(root);
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    let (mut reached, mut today) = (0, 0);
    for step in steps {
        match step {
            Step::Add { rows, next_day } => {
                today += i64::from(*next_day);
                add(&mut table, today, reached, *rows).await;
                reached += rows;
            }
            Step::Merge { fault } => {
                let job = table.merge_job(RULE, reached - 6).unwrap();
                let Some(merged) = job.run(&mut |_| true).unwrap() else { continue };
                let log = lake.root().join(NAME).join("_delta_log");
                match fault {
                    0 => break_next(&log, Fault::Before),
                    1 => break_next(&log, Fault::After),
                    2 => {
                        std::mem::forget(merged); // the process ends here
                        table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
                        continue;
                    }
                    _ => {}
                }
                let done = merged.commit_to(&mut table).await;
                assert_eq!(done.is_err(), *fault == 0);
            }
            Step::Checkpoint => {
                let version_from = table.version() - 1;
                let keep = LogKeep { since: FAR, entries: 4, version_from };
                table.checkpoint().run_and_clean(&keep).unwrap();
            }
            Step::Vacuum => {
                table.vacuum(FAR, table.version()).unwrap();
            }
            Step::Reopen => {
                drop(table);
                drop(lake);
                lake = crate::table::tests_support::lake(root);
                table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
            }
        }
        assert_eq!(table.progress("weir/epoch").unwrap_or(0), reached);
        assert_eq!(in_order(&table), (0..reached).collect::<Vec<_>>());
    }
    assert_eq!(table.verify(true).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn rows_stay_through_any_order_of_commits_merges_crashes_and_clean_ups(
        steps in proptest::collection::vec(step(), 60..140),
    ) {
        let folder = tempfile::tempdir().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(run(folder.path(), &steps));
    }
}
