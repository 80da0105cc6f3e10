//! A power cut at every step: whatever was committed is there, and whatever is there fits together.

use schemas::Micros;

use super::tests_support::*;
use super::*;
use crate::compact::MergeRule;
use crate::durable::disk::{Event, cut_power, events, mark, watch};

const NAME: &str = "bronze/changes";
const RULE: MergeRule = MergeRule { order: "epoch", limit: "epoch" };

/// Commits over three days with checkpoints, clean-ups, merges and vacuums between them.
async fn work(root: &std::path::Path) {
    let lake = lake(root);
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
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
        mark(root, number * 2 + 2);
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

/// The table that a power cut after `events` leaves holds the rows up to some epoch, `acked` at least.
async fn assert_whole(events: &[Event], root: &std::path::Path, share: usize, acked: i64) {
    let folder = tempfile::tempdir().unwrap();
    cut_power(events, root, folder.path(), share);
    let what = format!("after {} steps, {share}/8, then {:?}", events.len(), events.last());
    let lake = lake(folder.path());
    let table = Table::open_or_create(&lake, &spec(NAME)).await;
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
    work(&root).await;
    let events = events(&root);
    assert!(events.len() > 400, "{} steps", events.len());
    let mut acked = 0;
    for (step, event) in events.iter().enumerate() {
        if let Event::Mark(number) = event {
            acked = *number;
        }
        let share = [0, 8, 3][step % 3];
        assert_whole(events.get(..=step).unwrap(), &root, share, acked).await;
    }
    assert_eq!(acked, 72);
}
