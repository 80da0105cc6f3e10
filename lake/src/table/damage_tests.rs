//! Every way in which a table's files were seen to break: repaired or refused, never silent.

use std::fs;
use std::path::{Path, PathBuf};

use super::tests_support::*;
use super::*;
use crate::store::LocalStore;

const NAME: &str = "bronze/changes";
const COMMITS: i64 = 5;

/// What must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The writer goes on at this version, with a warning; a reader sees the same.
    Repaired(i64),
    /// Nobody opens it; the error names the file.
    Refused,
}

/// Does a damage and returns the file that an error must name.
type Damage = Box<dyn Fn(&Log, &Path) -> PathBuf>;

struct Case {
    name: String,
    outcome: Outcome,
    damage: Damage,
}

fn case(
    name: impl Into<String>,
    outcome: Outcome,
    damage: impl Fn(&Log, &Path) -> PathBuf + 'static,
) -> Case {
    Case { name: name.into(), outcome, damage: Box::new(damage) }
}

type Change = fn(Vec<u8>) -> Vec<u8>;

/// Ways to break any file.
fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("zero length", |_| Vec::new()),
        ("NULs", |bytes| vec![0; bytes.len()]),
        ("garbage", |bytes| bytes.iter().map(|byte| byte.wrapping_mul(37) ^ 0xa5).collect()),
        ("cut in half", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        ("NUL tail", |mut bytes| {
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
            bytes
        }),
        ("one bit", |mut bytes| {
            let at = bytes.len() * 2 / 3;
            bytes[at] ^= 1;
            bytes
        }),
        ("doubled", |bytes| [bytes.clone(), bytes].concat()),
    ]
}

fn rewrite(path: PathBuf, change: impl Fn(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, change(bytes)).unwrap();
    path
}

fn entry_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, change) in changes() {
        for version in 0..=COMMITS {
            let newest = version == COMMITS;
            let outcome = if newest { Outcome::Repaired(COMMITS - 1) } else { Outcome::Refused };
            cases.push(case(format!("entry {version}: {what}"), outcome, move |log, _| {
                rewrite(log.entry_path(version), change)
            }));
        }
    }
    // Every line boundary, and the byte before and after it. Entries here have three lines.
    for line in 1..=3_usize {
        for shift in [-1_i64, 0, 1] {
            for version in [2, COMMITS] {
                let outcome = if version == COMMITS {
                    Outcome::Repaired(COMMITS - 1)
                } else {
                    Outcome::Refused
                };
                if line == 3 && shift >= 0 {
                    continue; // the whole entry
                }
                let name = format!("entry {version}: cut at the end of line {line} {shift:+}");
                cases.push(case(name, outcome, move |log, _| {
                    rewrite(log.entry_path(version), |mut bytes| {
                        let ends: Vec<usize> =
                            (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
                        let end = i64::try_from(ends[line - 1] + 1).unwrap() + shift;
                        bytes.truncate(usize::try_from(end).unwrap());
                        bytes
                    })
                }));
            }
        }
    }
    for version in 0..COMMITS {
        cases.push(case(format!("entry {version}: missing"), Outcome::Refused, move |log, _| {
            let path = log.entry_path(version);
            fs::remove_file(&path).unwrap();
            path
        }));
    }
    cases.push(case("entry 3 in place of 2", Outcome::Refused, |log, _| {
        fs::copy(log.entry_path(3), log.entry_path(2)).unwrap();
        log.entry_path(2)
    }));
    cases.push(case("the two newest entries cut", Outcome::Refused, |log, _| {
        for version in [COMMITS - 1, COMMITS] {
            rewrite(log.entry_path(version), |bytes| bytes[..40].to_vec());
        }
        log.entry_path(COMMITS - 1)
    }));
    cases
}

fn data_cases() -> Vec<Case> {
    let file = |folder: &Path| {
        let log = Log::new(NAME, LocalStore::shared(folder));
        let state = log.replay(&log.list().unwrap(), 2).unwrap();
        folder.join(state.files.keys().next().unwrap())
    };
    vec![
        case("data file missing", Outcome::Refused, move |_, folder| {
            let path = file(folder);
            fs::remove_file(&path).unwrap();
            path
        }),
        case("data file empty", Outcome::Refused, move |_, folder| {
            rewrite(file(folder), |_| Vec::new())
        }),
        case("data file cut", Outcome::Refused, move |_, folder| {
            rewrite(file(folder), |bytes| bytes[..bytes.len() - 1].to_vec())
        }),
    ]
}

fn checkpoint_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, change) in changes() {
        cases.push(case(
            format!("checkpoint: {what}"),
            Outcome::Repaired(COMMITS),
            move |log, _| rewrite(log.checkpoint_path(3), change),
        ));
        cases.push(case(
            format!("seal file of a checkpoint: {what}"),
            Outcome::Repaired(COMMITS),
            move |log, _| {
                rewrite(log.store.place(&Log::checkpoint_seal_name(3)), change);
                log.checkpoint_path(3)
            },
        ));
        if what != "one bit" && what != "doubled" {
            cases.push(case(
                format!("_last_checkpoint: {what}"),
                Outcome::Repaired(COMMITS),
                move |log, _| rewrite(log.store.place(&Log::pointer_name()), change),
            ));
        }
    }
    cases.push(case("checkpoint of another program", Outcome::Repaired(COMMITS), |log, folder| {
        let listing = log.list().unwrap();
        let state = log.replay(&listing, 1).unwrap();
        fs::copy(folder.join(state.files.keys().next().unwrap()), log.checkpoint_path(3)).unwrap();
        log.checkpoint_path(3)
    }));
    cases.push(case("checkpoint of another history", Outcome::Repaired(COMMITS), |log, _| {
        let mut state = log.replay(&log.list().unwrap(), 2).unwrap();
        (state.version, state.seal) = (3, "0".repeat(32));
        crate::CheckpointJob { log: log.clone(), state }.run().unwrap();
        log.checkpoint_path(3)
    }));
    cases.push(case("checkpoint missing", Outcome::Repaired(COMMITS), |log, _| {
        fs::remove_file(log.checkpoint_path(3)).unwrap();
        log.store.place(&Log::pointer_name())
    }));
    cases.push(case("checkpoint of the future", Outcome::Repaired(COMMITS), |log, _| {
        fs::copy(log.checkpoint_path(3), log.checkpoint_path(9)).unwrap();
        log.checkpoint_path(9)
    }));
    cases
}

/// A table as a lake has it after `COMMITS` appends; `checkpointed` adds a checkpoint of version 3.
async fn template(root: &Path, checkpointed: bool) {
    let lake = lake(root);
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    for number in 0..COMMITS {
        table.commit(&append(&table, number * 10, number * 10 + 10)).await.unwrap();
        if checkpointed && table.version() == 3 {
            table.checkpoint().run().unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Rows and progress of an opened table belong together, whatever happened before.
fn assert_consistent(table: &Table, version: i64, name: &str) {
    assert_eq!(table.version(), version, "{name}");
    assert_eq!(table.progress("weir/epoch"), (version > 0).then_some(version * 10), "{name}");
    assert_eq!(epochs(table), (0..version * 10).collect::<Vec<_>>(), "{name}");
}

async fn run(template: &Path, case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    copy(template, folder.path());
    let root = fs::canonicalize(folder.path()).unwrap();
    let table_folder = root.join(NAME);
    let log = Log::new(NAME, LocalStore::shared(&table_folder));
    let file = (case.damage)(&log, &table_folder);
    let reader = crate::Lake::open_reader(&root).unwrap();
    let read = Table::open(&reader, NAME, At::Newest);
    let writer = lake(&root);
    let written = Table::open_or_create(&writer, &spec(NAME)).await;
    let name = &case.name;
    match case.outcome {
        Outcome::Repaired(version) => {
            let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_consistent(&read, version, name);
            assert!(!read.warnings().is_empty(), "{name}: silent for a reader");
            let mut table = written.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_consistent(&table, version, name);
            let named = table.warnings().iter().any(|it| it.contains(&file.display().to_string()));
            assert!(named, "{name}: {:?}", table.warnings());
            let commit = append(&table, version * 10, version * 10 + 10);
            table.commit(&commit).await.unwrap();
            let again = Table::open_or_create(&writer, &spec(NAME)).await.unwrap();
            assert_consistent(&again, version + 1, name);
            assert!(again.warnings().is_empty(), "{name}: {:?}", again.warnings());
            assert_eq!(again.verify(true).unwrap(), [], "{name}");
        }
        Outcome::Refused => {
            for error in [read.map(|_| ()), written.map(|_| ())] {
                let error = error.expect_err(name).to_string();
                assert!(error.contains(&file.display().to_string()), "{name}: {error}");
                assert!(error.contains("restore"), "{name}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn damaged_entries_and_data_files() {
    let folder = tempfile::tempdir().unwrap();
    template(folder.path(), false).await;
    let cases: Vec<Case> = entry_cases().into_iter().chain(data_cases()).collect();
    assert!(cases.len() > 60, "{} cases", cases.len());
    for case in &cases {
        run(folder.path(), case).await;
    }
}

#[tokio::test]
async fn damaged_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    template(folder.path(), true).await;
    for case in &checkpoint_cases() {
        run(folder.path(), case).await;
    }
}

#[tokio::test]
async fn a_flipped_bit_of_a_checkpoint_never_changes_the_table() {
    let folder = tempfile::tempdir().unwrap();
    template(folder.path(), true).await;
    let reader = crate::Lake::open_reader(folder.path()).unwrap();
    let log = Log::new(NAME, reader.table_store(NAME).unwrap());
    let path = log.checkpoint_path(3);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        let table = Table::open(&reader, NAME, At::Newest).unwrap();
        assert_eq!(table.warnings().len(), 2, "byte {at}: the checkpoint, and what points to it");
        assert_eq!(table.row_count(), 50, "byte {at}");
        assert_eq!(table.progress("weir/epoch"), Some(50), "byte {at}");
    }
}

#[tokio::test]
async fn a_damaged_first_entry_of_a_new_table_means_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    drop(filled(&lake, NAME, 0).await);
    let log = Log::new(NAME, lake.table_store(NAME).unwrap());
    rewrite(log.entry_path(0), |bytes| bytes[..10].to_vec());
    let error = Table::open(&lake, NAME, At::Newest).unwrap_err();
    assert!(matches!(error, LakeError::NoTable { .. }), "{error}");
    let table = filled(&lake, NAME, 2).await;
    assert_eq!(table.row_count(), 20);
    let aside = fs::read_dir(lake.state_dir().join("quarantine/bronze.changes")).unwrap();
    assert_eq!(aside.count(), 1);
}

#[tokio::test]
async fn bit_rot_in_a_data_file_is_found_by_a_deep_look() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = filled(&lake, NAME, 1).await;
    let path = table.folder().join(&table.files().next().unwrap().path);
    rewrite(path.clone(), |mut bytes| {
        bytes[20] ^= 4;
        bytes
    });
    assert_eq!(table.verify(false).unwrap(), []);
    let findings = table.verify(true).unwrap();
    assert_eq!(findings.len(), 1);
    assert!(path.ends_with(&findings[0].file), "{findings:?}");
    assert_eq!(findings[0].severity, Severity::Error);
}

#[tokio::test]
async fn verify_names_what_opening_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path());
    let table = filled(&lake, NAME, 4).await;
    rewrite(table.log.entry_path(2), |_| Vec::new());
    fs::remove_file(table.folder().join(&table.files().next().unwrap().path)).unwrap();
    let findings = table.verify(false).unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].file.ends_with("00000000000000000002.json"), "{findings:?}");
    fs::remove_file(table.log.entry_path(4)).unwrap();
    assert_eq!(table.verify(false).unwrap().len(), 3, "a missing newest entry is seen, too");
}
