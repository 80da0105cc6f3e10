//! A power cut at every step: whatever was committed is there, and whatever is there fits together.

use schemas::Micros;

use super::tests_support::*;
use super::*;
use crate::compact::MergeRule;
use crate::durable::disk::{Event, cut_power, events, mark, watch};
use crate::store::tests::lake_over;
use crate::store::tests::memory::{MemoryStore, Step};

const NAME: &str = "bronze/changes";
const RULE: MergeRule = MergeRule { order: "epoch", limit: "epoch" };

/// Commits over three days with checkpoints, clean-ups, merges and vacuums between them.
async fn work(lake: &Lake, mark: impl Fn(i64)) {
    let mut table = Table::open_or_create(lake, &spec(NAME)).await.unwrap();
    let far = Micros(i64::MAX);
    for number in 0..36_i64 {
        let mut writer = table.file_writer(&day(&format!("2026-11-2{}", 1 + number / 14))).unwrap();
        writer.write(&rows(&table, number * 2, number * 2 + 2)).unwrap();
        let commit = Commit {
            adds: vec![writer.finish().unwrap()],
            progress: vec![("weir/epoch".to_owned(), number * 2 + 2)],
            operation: "WRITE",
            ..Commit::default()
        };
        table.commit(&commit).await.unwrap();
        mark(number * 2 + 2);
        if number % 5 == 4 {
            let version_from = table.version() - 2;
            let keep = LogKeep { since: far, entries: 1, version_from };
            table.checkpoint().run_and_clean(&keep).unwrap();
        }
        let job = table.merge_job(RULE, number * 2 - 4).unwrap();
        if let Some(merged) = job.run(&mut |_| true).unwrap() {
            merged.commit_to(&mut table).await.unwrap();
        }
        if number % 4 == 3 {
            table.vacuum(far, table.version() - 1).unwrap();
        }
    }
    assert!(table.files().count() < 20, "files were merged");
}

/// The table that a power cut leaves holds the rows up to some epoch, `acked` at least.
async fn assert_whole(lake: &Lake, what: &str, acked: i64) {
    let table = Table::open_or_create(lake, &spec(NAME)).await;
    let table = table.unwrap_or_else(|error| panic!("{what}: {error}"));
    let reached = table.progress("weir/epoch").unwrap_or(0);
    assert!(reached >= acked, "{what}: {acked} was committed, {reached} is there");
    assert_eq!(epochs(&table), (0..reached).collect::<Vec<_>>(), "{what}");
    // A checkpoint that was being deleted may have lost its seal file.
    let findings = table.verify(true).unwrap();
    let errors: Vec<_> = findings.iter().filter(|it| it.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}");
}

#[tokio::test]
async fn a_power_cut_at_any_step_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(folder.path()).unwrap();
    watch(&root);
    work(&lake(&root), |number| mark(&root, number)).await;
    let events = events(&root);
    assert!(events.len() > 400, "{} steps", events.len());
    let mut acked = 0;
    for (step, event) in events.iter().enumerate() {
        if let Event::Mark(number) = event {
            acked = *number;
        }
        let share = [0, 8, 3][step % 3];
        let events = events.get(..=step).unwrap();
        let left = tempfile::tempdir().unwrap();
        cut_power(events, &root, left.path(), share);
        let what = format!("after {} steps, {share}/8, then {event:?}", events.len());
        assert_whole(&lake(left.path()), &what, acked).await;
    }
    assert_eq!(acked, 72);
}

/// As above, of what a lake asks of any store: the local one keeps its promises by the test above.
#[tokio::test]
async fn a_power_cut_at_any_step_of_a_store_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    work(&lake_over(folder.path(), &store), |number| store.mark(number)).await;
    let steps = store.steps();
    assert!(steps.len() > 150, "{} steps", steps.len());
    let mut acked = 0;
    for (at, step) in steps.iter().enumerate() {
        if let Step::Mark(number) = step {
            acked = *number;
        }
        for share in [0, 3, 8] {
            let left = MemoryStore::after(steps.get(..=at).unwrap(), share);
            let folder = tempfile::tempdir().unwrap();
            let what = format!("after {at} steps, {share}/8, then {step:?}");
            assert_whole(&lake_over(folder.path(), &left), &what, acked).await;
        }
    }
    assert_eq!(acked, 72);
}
