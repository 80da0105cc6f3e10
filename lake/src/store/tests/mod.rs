//! What every store promises, and what a lake asks of it.

pub(crate) mod memory;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use self::memory::MemoryStore;
use super::{LocalStore, Store};
use crate::table::tests_support::*;
use crate::{Lake, LogKeep, Table};
use schemas::Micros;

const NAME: &str = "bronze/changes";

/// A lake whose objects are in `store`; lock and working folder are in `root`.
pub(crate) fn lake_over(root: &std::path::Path, store: &MemoryStore) -> Lake {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let work = |state: &std::path::Path| Ok(state.to_path_buf());
    Lake::open_locked(root, Duration::ZERO, TestClock::shared(), work, |_| store).unwrap()
}

/// Runs `check` over an empty store of each kind.
fn each(check: impl Fn(Arc<dyn Store>)) {
    let folder = tempfile::tempdir().unwrap();
    check(LocalStore::shared(folder.path()));
    check(Arc::new(MemoryStore::default()));
}

fn names(store: &dyn Store, folder: &str) -> Vec<(String, bool)> {
    let listed = store.list(folder).unwrap().into_iter();
    let mut names: Vec<_> = listed.map(|it| (it.name, it.is_folder)).collect();
    names.sort();
    names
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_new_object_never_replaces_one_and_a_put_does() {
    each(|store| {
        store.create_folder("a").unwrap();
        store.put_new("a/x", &[b"one", b"two"]).unwrap();
        assert_eq!(kind(store.put_new("a/x", &[b"other"])), io::ErrorKind::AlreadyExists);
        assert_eq!(store.read("a/x").unwrap(), b"onetwo");
        assert_eq!(kind(store.upload_new("a/x").map(|_| ())), io::ErrorKind::AlreadyExists);
        assert_eq!(store.read("a/x").unwrap(), b"onetwo");
        store.put("a/x", &[b"three"]).unwrap();
        assert_eq!(store.read("a/x").unwrap(), b"three");
        assert_eq!(names(&*store, "a"), [("x".to_owned(), false)], "nothing is left beside it");
        store.confirm("a/x").unwrap();
    });
}

#[test]
fn parts_of_an_object_are_read_exactly() {
    each(|store| {
        store.put_new("x", &[b"0123456789"]).unwrap();
        assert_eq!(&store.read_range("x", 3, 4).unwrap()[..], b"3456");
        assert_eq!(&store.read_range("x", 0, 10).unwrap()[..], b"0123456789");
        assert_eq!(kind(store.read_range("x", 7, 4)), io::ErrorKind::UnexpectedEof);
        let mut text = String::new();
        store.open("x").unwrap().reader(6).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "6789");
        assert_eq!(store.stat("x").unwrap().size, 10);
        let age = memory::now().duration_since(store.stat("x").unwrap().modified);
        assert!(age.unwrap_or_default() < Duration::from_secs(600));
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    each(|store| {
        assert_eq!(kind(store.read("x")), io::ErrorKind::NotFound);
        assert_eq!(kind(store.open("x")), io::ErrorKind::NotFound);
        assert_eq!(kind(store.stat("x")), io::ErrorKind::NotFound);
        assert_eq!(kind(store.delete("x")), io::ErrorKind::NotFound);
        assert!(!store.has_folder("x"));
        let listed = store.list("x");
        assert!(
            listed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |it| it.is_empty())
        );
    });
}

#[test]
fn an_upload_is_whole_when_it_is_finished_and_gone_when_it_is_dropped() {
    each(|store| {
        store.create_folder("a").unwrap();
        store.put("a/old", &[b"old"]).unwrap();
        for replaces in [false, true] {
            let start =
                || if replaces { store.upload("a/old") } else { store.upload_new("a/b/new") };
            let mut upload = start().unwrap();
            upload.write_all(b"half").unwrap();
            upload.sync().unwrap();
            drop(upload);
            assert_eq!(store.read("a/old").unwrap(), b"old");
            assert_eq!(kind(store.stat("a/b/new")), io::ErrorKind::NotFound);
            let mut upload = start().unwrap();
            upload.write_all(b"half").unwrap();
            upload.sync().unwrap();
            upload.write_all(b" and half").unwrap();
            assert_eq!(store.read("a/old").unwrap(), b"old");
            upload.finish().unwrap();
            drop(upload);
            let path = if replaces { "a/old" } else { "a/b/new" };
            assert_eq!(store.read(path).unwrap(), b"half and half");
            if !replaces {
                store.delete(path).unwrap();
            }
        }
        let files: Vec<_> = names(&*store, "a").into_iter().filter(|it| !it.1).collect();
        assert_eq!(files, [("old".to_owned(), false)]);
    });
}

#[test]
fn an_open_object_outlasts_its_deletion() {
    each(|store| {
        store.put_new("x", &[b"kept"]).unwrap();
        let opened = store.open("x").unwrap();
        store.delete("x").unwrap();
        assert_eq!(kind(store.read("x")), io::ErrorKind::NotFound);
        assert_eq!(&opened.bytes(0, 4).unwrap()[..], b"kept");
    });
}

#[test]
fn folders_are_stores_of_their_own_and_may_be_moved() {
    each(|store| {
        store.create_folder("silver/orders").unwrap();
        let table = store.below("silver").below("orders");
        table.put_new("x", &[b"1"]).unwrap();
        assert_eq!(store.read("silver/orders/x").unwrap(), b"1");
        assert_eq!(names(&*store, "silver"), [("orders".to_owned(), true)]);
        assert!(
            store.has_folder("silver/orders")
                && store.place("silver/orders/x").ends_with("orders/x")
        );
        assert_eq!(table.place("x"), store.place("silver/orders/x"));
        store.create_folder("aside").unwrap();
        store.rename("silver/orders", "aside/orders.0").unwrap();
        assert!(!store.has_folder("silver/orders"));
        store.rename("aside/orders.0/x", "aside/y").unwrap();
        assert_eq!(store.read("aside/y").unwrap(), b"1");
    });
}

fn calls(found: BTreeMap<&'static str, usize>) -> Vec<(&'static str, usize)> {
    found.into_iter().collect()
}

#[tokio::test]
async fn a_commit_is_one_upload_and_one_put_however_long_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let lake = lake_over(folder.path(), &store);
    let mut table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    for number in 0..40_i64 {
        store.take_calls();
        table.commit(&append(&table, number * 10, number * 10 + 10)).await.unwrap();
        assert_eq!(calls(store.take_calls()), [("put_new", 1), ("upload_new", 1)], "{number}");
    }
    table.checkpoint().run().unwrap();
    assert_eq!(calls(store.take_calls()), [("put", 2), ("upload", 1)], "seal file and pointer");
    let again = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    // Newest entry and checkpoint, pointer; then checkpoint and its entry again; each file is looked at.
    let found = store.take_calls();
    assert_eq!((found["list"], found["stat"]), (1, 40), "{found:?}");
    assert!(found["read"] <= 9, "{found:?}");
    assert_eq!(epochs(&again), (0..400).collect::<Vec<_>>());
    assert_eq!(calls(store.take_calls()), [("open", 40)], "one look at each file");
}

#[tokio::test]
async fn an_object_that_is_in_the_way_of_a_commit_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let lake = lake_over(folder.path(), &store);
    let mut table = filled(&lake, NAME, 2).await;
    let entry = format!("{NAME}/_delta_log/{:020}.json", 3);
    let other = store.read(&format!("{NAME}/_delta_log/{:020}.json", 2)).unwrap();
    store.put_new(&entry, &[&other]).unwrap();
    table.commit(&append(&table, 20, 30)).await.unwrap_err();
    assert_eq!(store.read(&entry).unwrap(), other);
    assert_eq!(table.version(), 2);
}

#[tokio::test]
async fn damage_is_moved_aside_within_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let lake = lake_over(folder.path(), &store);
    drop(filled(&lake, NAME, 3).await);
    store.put(&format!("{NAME}/_delta_log/{:020}.json", 3), &[b"torn"]).unwrap();
    let table = Table::open_or_create(&lake, &spec(NAME)).await.unwrap();
    assert_eq!((table.version(), table.row_count()), (2, 20));
    assert_eq!(names(&store, "_weir/quarantine/bronze.changes").len(), 1);
    assert_eq!(lake.table_names().unwrap(), [NAME]);
    lake.set_table_aside(NAME).unwrap();
    assert_eq!(lake.table_names().unwrap(), [""; 0]);
    assert_eq!(names(&store, "_weir/quarantine/bronze.changes").len(), 2);
}

#[tokio::test]
async fn a_clean_up_deletes_only_what_no_kept_version_needs() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let lake = lake_over(folder.path(), &store);
    let mut table = filled(&lake, NAME, 3).await;
    for number in 3..9 {
        table.checkpoint().run().unwrap();
        table.commit(&append(&table, number * 10, number * 10 + 10)).await.unwrap();
    }
    let keep = LogKeep { since: Micros(i64::MAX), entries: 1, version_from: table.version() };
    let (version, gone) = table.checkpoint().run_and_clean(&keep).unwrap();
    // Checkpoints 8 and 9 stay; those of 3 to 7 and their seal files go, and entries 0 to 7.
    assert_eq!((version, gone), (9, 5 * 2 + 8));
    assert_eq!(
        epochs(&Table::open(&lake, NAME, crate::At::Newest).unwrap()),
        (0..90).collect::<Vec<_>>()
    );
}

/// Files outside tests that speak to the disk themselves: what the local store is made of, the lock, and what
/// lies in the working folder.
const LOCAL: [&str; 7] = [
    "durable.rs",
    "folder.rs",
    "run.rs",
    "state.rs",
    "state/frame.rs",
    "store/local.rs",
    "work_dir.rs",
];

fn sources(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nothing_else_goes_round_the_store() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut seen = Vec::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        if name.contains("tests") || name == "durable/disk.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if ["fs::", "File::open", "File::create", "OpenOptions"]
            .iter()
            .any(|it| product.contains(it))
        {
            seen.push(name);
        }
    }
    seen.sort();
    assert_eq!(seen, LOCAL, "read and put through the store of the table");
}
