//! Cleaned logs, vacuum's jobs, and copies of tables.

use schemas::Micros;

use super::tests_support::*;
use super::*;

const NAME: &str = "bronze/changes";
const FAR: Micros = Micros(i64::MAX);

fn keep(since: Micros, entries: usize, version_from: i64) -> LogKeep {
    LogKeep { since, entries, version_from }
}

/// A table with a checkpoint at each of these versions, and two commits after the last.
async fn checkpointed(lake: &Lake, versions: &[i64]) -> Table {
    let mut table = Table::open_or_create(lake, &spec(NAME)).await.unwrap();
    for number in 0..versions.last().unwrap() + 2 {
        table.commit(&append(&table, number * 10, number * 10 + 10)).await.unwrap();
        if versions.contains(&table.version()) {
            table.checkpoint().run().unwrap();
        }
    }
    table
}

fn names(table: &Table) -> Vec<String> {
    let listed = std::fs::read_dir(table.log.store.place(log::FOLDER)).unwrap();
    let mut names: Vec<String> =
        listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_cleaned_log_opens_from_its_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = checkpointed(&lake, &[3, 6]).await;
    assert_eq!(table.clean_log(&keep(Micros(0), 100, 6)).unwrap(), 0, "too young");
    assert_eq!(table.clean_log(&keep(FAR, 100, 1)).unwrap(), 0, "no checkpoint for version 1");
    assert_eq!(table.clean_log(&keep(FAR, 100, 6)).unwrap(), 3);
    assert!(table.log.entry_path(3).exists() && !table.log.entry_path(2).exists());
    assert_eq!(table.verify(true).unwrap(), []);
    let again = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    assert_eq!((again.version(), again.row_count()), (8, 80));
    for old in [At::Version(2), At::Progress { app: "weir/epoch".to_owned(), at_most: 20 }] {
        let error = Table::open(&lake, NAME, old).unwrap_err();
        assert!(matches!(error, LakeError::NoVersion { oldest: 3, .. }), "{error}");
    }
    assert_eq!(Table::open(&lake, NAME, At::Version(3)).unwrap().row_count(), 30);
    std::fs::write(again.log.checkpoint_path(6), b"garbage").unwrap();
    let again = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    assert_eq!((again.version(), again.row_count()), (8, 80), "from the older checkpoint");
    assert_eq!(again.warnings().len(), 2, "{:?}", again.warnings());
}

#[tokio::test]
async fn the_number_wins_over_the_age_and_two_checkpoints_stay() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = checkpointed(&lake, &[3, 6, 9, 12]).await;
    // Versions 0 to 14: five entries may stay, but those since the checkpoint of 9 must.
    assert_eq!(table.clean_log(&keep(Micros(0), 7, 14)).unwrap(), 8 + 2 * 2);
    let kept = names(&table);
    assert_eq!(kept.iter().filter(|name| name.ends_with(".json")).count(), 7);
    let two =
        ["00000000000000000009.checkpoint.parquet", "00000000000000000012.checkpoint.parquet"];
    let checkpoints: Vec<_> = kept.iter().filter(|name| name.ends_with(".parquet")).collect();
    assert_eq!(checkpoints, two);
    assert_eq!(kept.iter().filter(|name| name.ends_with(".seal")).count(), 2);
    assert_eq!(table.clean_log(&keep(FAR, 1, 14)).unwrap(), 1, "entry 8, and none from 9 on");
    assert_eq!(Table::open(&lake, NAME, At::Version(9)).unwrap().row_count(), 90);
    assert_eq!(table.log_entries().unwrap(), 6);
}

#[tokio::test]
async fn nothing_is_deleted_for_a_checkpoint_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = checkpointed(&lake, &[3, 6, 9]).await;
    std::fs::write(table.log.checkpoint_path(6), b"garbage").unwrap();
    assert_eq!(table.clean_log(&keep(FAR, 1, 11)).unwrap(), 3, "entries before the one of 3");
    std::fs::remove_file(table.log.checkpoint_path(9)).unwrap();
    std::fs::remove_file(table.log.checkpoint_path(6)).unwrap();
    let again = Table::open(&lake, NAME, At::Newest).unwrap();
    assert_eq!((again.version(), again.row_count()), (11, 110));
}

#[tokio::test]
async fn what_a_crash_leaves_of_a_clean_up_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = checkpointed(&lake, &[5, 8]).await;
    // Names of deleted files may come back with a power cut, not in order.
    for version in [0, 2, 3] {
        std::fs::remove_file(table.log.entry_path(version)).unwrap();
    }
    let again = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    assert_eq!((again.version(), again.row_count()), (10, 100));
    assert_eq!(again.verify(true).unwrap(), []);
    assert_eq!(table.log.list().unwrap().oldest_readable(), Some(5));
    assert_eq!(again.clean_log(&keep(FAR, 100, 10)).unwrap(), 2);
    std::fs::remove_file(table.log.entry_path(7)).unwrap();
    let findings = again.verify(true).unwrap();
    assert_eq!(findings.len(), 1, "a gap that no clean-up makes: {findings:?}");
}

#[tokio::test]
async fn versions_of_barriers_are_found_from_the_newest_on() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let mut table = checkpointed(&lake, &[3, 6]).await;
    table.commit(&Commit { operation: "OPTIMIZE", ..Commit::default() }).await.unwrap();
    assert_eq!(table.versions_of("weir/epoch", 3).unwrap(), [(8, 80), (7, 70), (6, 60)]);
    table.clean_log(&keep(FAR, 1, 9)).unwrap();
    assert_eq!(table.versions_of("weir/epoch", 9).unwrap().last(), Some(&(3, 30)));
    assert!(table.versions_of("none", 2).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_go_on_while_the_log_is_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let writer = lake(folder.path());
    let mut table = Table::open_or_create(&writer, &spec(NAME)).await.unwrap();
    table.commit(&append(&table, 0, 10)).await.unwrap();
    let reader = crate::Lake::open_reader(folder.path()).unwrap();
    let pinned = Table::open(&reader, NAME, At::Newest).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut opened = 0;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        let table = Table::open(&reader, NAME, At::Newest).unwrap();
                        let rows = i64::try_from(table.row_count()).unwrap();
                        assert_eq!(table.progress("weir/epoch"), Some(rows));
                        opened += 1;
                    }
                    opened
                })
            })
            .collect();
        let runtime = tokio::runtime::Handle::current();
        for number in 1..120 {
            let commit = append(&table, number * 10, number * 10 + 10);
            tokio::task::block_in_place(|| runtime.block_on(table.commit(&commit))).unwrap();
            if number % 3 == 0 {
                let version = table.version();
                table.checkpoint().run_and_clean(&keep(FAR, 1, version)).unwrap();
            }
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(readers.into_iter().map(|it| it.join().unwrap()).sum::<i32>() > 10);
    });
    assert!(table.log_entries().unwrap() < 8);
    assert_eq!(epochs(&pinned).len(), 10);
}

#[tokio::test]
async fn the_leftovers_of_earlier_writers_are_looked_for_until_all_had_the_age() {
    let folder = tempfile::tempdir().unwrap();
    let first = lake(folder.path());
    let table = filled(&first, NAME, 1).await;
    let orphan = table.folder().join(append(&table, 10, 20).adds[0].path());
    drop((table, first));
    std::thread::sleep(std::time::Duration::from_millis(20));
    let second = lake(folder.path());
    let mut table = Table::open_or_create(&second, &spec(NAME)).await.unwrap();
    let before = Micros(0);
    assert_eq!(table.vacuum_job(before, 1).unwrap().run().unwrap(), Vacuumed::default());
    let job = table.vacuum_job(FAR, 1).unwrap();
    assert_eq!(job.preview().unwrap().files, 1);
    assert!(orphan.exists(), "a preview deletes nothing");
    assert_eq!(job.run().unwrap().files, 1);
    assert!(!orphan.exists());
    let job = table.vacuum_job(FAR, 1).unwrap();
    assert!(format!("{job:?}").contains("search: None"), "this writer leaves none: {job:?}");
}

#[tokio::test]
async fn a_copy_of_a_version_is_a_lake() {
    let folder = tempfile::tempdir().unwrap();
    let source = lake(folder.path());
    let mut table = checkpointed(&source, &[3, 6]).await;
    let pinned = Table::open(&source, NAME, At::Version(7)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let copied = pinned.copy_to(copy.path(), &mut |_| ()).unwrap();
    assert_eq!(copied.files, 7 + 2 + 2, "data files, entries 6 and 7, the checkpoint of 6");
    assert_eq!(
        pinned.copy_to(copy.path(), &mut |_| ()).unwrap(),
        copied,
        "again, and nothing is wrong"
    );
    std::fs::create_dir_all(source.state_dir().join("state")).unwrap();
    std::fs::write(source.state_dir().join("state/7"), "x").unwrap();
    source.copy_state_to(copy.path()).unwrap();
    let unfinished = crate::Lake::open_reader(copy.path()).unwrap_err();
    assert!(matches!(unfinished, LakeError::NoLake { .. }), "{unfinished}");
    source.finish_copy(copy.path()).unwrap();
    assert!(copy.path().join("_weir/state/7").exists());
    table.commit(&append(&table, 80, 90)).await.unwrap();
    let other = lake(copy.path());
    assert_eq!(other.id(), source.id());
    let mut again = Table::open_or_create(&other, &spec(NAME)).await.unwrap();
    assert_eq!((again.version(), again.row_count()), (7, 70));
    assert_eq!(again.verify(true).unwrap(), []);
    again.commit(&append(&again, 70, 80)).await.unwrap();
    assert_eq!(epochs(&again), (0..80).collect::<Vec<_>>());
    let file = pinned.files().next().unwrap().path.clone();
    std::fs::write(pinned.folder().join(&file), "rot").unwrap();
    let error =
        pinned.copy_to(tempfile::tempdir().unwrap().path(), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains(&file) && error.contains("altered"), "{error}");
}
