//! Files of a lake that are torn, damaged or gone.

use std::path::{Path, PathBuf};

use harness::Options;
use harness::workload::Produced;

use super::{MANY_VERSIONS, fed};
use crate::support::stream::{append, log};
use crate::support::{Place, assert_clean, copy, log_entries};

const TABLES: [&str; 5] =
    ["bronze/changes", "silver/orders", "silver/costs", "gold/kpi_current", "gold/kpi_history"];

/// A copy of a place, to be damaged.
fn copied(from: &Place) -> Place {
    let place = Place::new();
    place.configure_files(MANY_VERSIONS);
    copy(from.lake(), place.lake());
    copy(&from.path("input"), &place.path("input"));
    place
}

/// Runs to the end; everything must be there and right.
fn recovers(place: &Place, records: &[Produced]) -> String {
    let done = place.succeeds(&["run", "--until-end"]);
    let report = assert_clean(place.lake(), Some(&log(records)), &Options::default());
    assert_eq!(report.bronze.records, records.len() as u64);
    place.succeeds(&["verify"]);
    done.stderr
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn the_newest_entry_of_any_table_may_be_torn() {
    let (origin, records) = fed(51);
    for table in TABLES {
        for keep in [0, 2] {
            let place = copied(&origin);
            let newest = log_entries(place.lake(), table).pop().unwrap();
            let bytes = std::fs::read(&newest).unwrap();
            let part = if keep == 0 { &[][..] } else { &bytes[..bytes.len() * keep / 3] };
            std::fs::write(&newest, part).unwrap();
            let damaged = place.weir(&["verify"]);
            assert_ne!(damaged.code, Some(0), "{table}: `verify` passes a torn entry");
            let said = recovers(&place, &records);
            let entry = name(&newest);
            assert!(said.contains(&entry), "{table}: {entry} is not mentioned in:\n{said}");
        }
    }
}

#[test]
fn a_damaged_entry_in_the_middle_is_refused_by_name() {
    let (origin, _) = fed(52);
    for table in ["bronze/changes", "silver/orders", "gold/kpi_current"] {
        let place = copied(&origin);
        let entries = log_entries(place.lake(), table);
        assert!(entries.len() >= 3, "{table} has a middle");
        let middle = &entries[entries.len() / 2];
        let mut bytes = std::fs::read(middle).unwrap();
        let at = bytes.len() / 2;
        bytes[at] = b'\0';
        std::fs::write(middle, &bytes).unwrap();
        let done = place.weir(&["run", "--until-end"]);
        assert_ne!(done.code, Some(0), "{table}: goes on over a damaged entry\n{}", done.stderr);
        done.says(&[table, &name(middle)]);
        assert_eq!(std::fs::read(middle).unwrap(), bytes, "and it is left for inspection");
        assert_ne!(place.weir(&["verify"]).code, Some(0));
    }
}

#[test]
fn a_ledger_may_be_lost_or_damaged() {
    let (origin, records) = fed(53);
    let fed = &records[..2_900];
    let lose = |place: &Place| std::fs::remove_dir_all(ledger(place)).unwrap();
    let damage = |place: &Place| {
        let path = segments(place).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 0xff;
        std::fs::write(path, bytes).unwrap();
    };
    let tear = |place: &Place| {
        let path = segments(place).pop().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
    };
    type Hurt<'a> = &'a dyn Fn(&Place);
    let hurts: [(&str, Hurt<'_>, bool); 3] =
        [("missing", &lose, true), ("damaged", &damage, true), ("", &tear, false)];
    for (what, hurt, generation) in hurts {
        let place = copied(&origin);
        hurt(&place);
        append_more(&place, fed);
        let said = recovers(&place, &[&records[..], &more(fed)].concat());
        assert!(said.contains(what), "`{what}` is not in:\n{said}");
        assert!(!generation || said.contains("new stream generation"), "{said}");
    }
}

fn ledger(place: &Place) -> PathBuf {
    place.lake().join("_weir/ledger")
}

fn segments(place: &Place) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(ledger(place)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Some of the records once more: a redelivery, at new offsets of a partition of its own.
fn more(records: &[Produced]) -> Vec<Produced> {
    let again = records.iter().rev().take(50).rev().enumerate();
    again
        .map(|(at, record)| Produced {
            partition: 7,
            offset: i64::try_from(at).unwrap(),
            topic: "shop.public.orders",
            ..record.clone()
        })
        .filter(|record| record.key.as_deref().is_some())
        .collect()
}

fn append_more(place: &Place, records: &[Produced]) {
    append(&place.path("input/b.ndjson"), &more(records));
}

#[test]
fn state_files_may_be_deleted_or_damaged() {
    let (origin, records) = fed(54);
    let state = |place: &Place| place.lake().join("_weir/state");
    let place = copied(&origin);
    std::fs::remove_dir_all(state(&place)).unwrap();
    let said = recovers(&place, &records);
    assert!(said.contains("state"), "{said}");

    let place = copied(&origin);
    for entry in std::fs::read_dir(state(&place)).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() * 2 / 3;
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
    }
    let said = recovers(&place, &records);
    assert!(said.contains("damaged"), "{said}");
}

#[test]
fn damaged_newest_state_is_answered_by_the_barrier_before_it() {
    let (origin, records) = fed(57);
    for (extension, at_end) in [("state", false), ("log", true)] {
        let place = copied(&origin);
        let folder = std::fs::read_dir(place.lake().join("_weir/state")).unwrap();
        let files = folder.map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|own| own == extension)).collect();
        files.sort();
        assert!(extension == "log" || files.len() == 3, "{files:?}");
        let newest = files.pop().unwrap();
        let mut bytes = std::fs::read(&newest).unwrap();
        let at = if at_end { bytes.len() - 1 } else { bytes.len() / 2 };
        bytes[at] ^= 0x10;
        std::fs::write(&newest, bytes).unwrap();
        let said = recovers(&place, &records);
        assert!(said.contains("damaged") && said.contains(&name(&newest)), "{said}");
        assert!(!said.contains("no barrier is whole"), "replayed everything:\n{said}");
    }
}

#[test]
fn silver_and_gold_may_be_deleted() {
    let (origin, records) = fed(55);
    for tables in [&["silver", "gold"][..], &["gold/kpi_history"], &["silver/orders"]] {
        let place = copied(&origin);
        for table in tables {
            std::fs::remove_dir_all(place.lake().join(table)).unwrap();
        }
        recovers(&place, &records);
    }
}

#[test]
fn a_lake_of_another_format_is_refused() {
    let (place, _) = fed(56);
    let path = place.lake().join("_weir/lake.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let other = text.replace("\"format_version\":1", "\"format_version\":99");
    assert_ne!(text, other, "{text}");
    std::fs::write(&path, other).unwrap();
    for arguments in [&["run", "--until-end"][..], &["verify"], &["tables", "list"]] {
        let done = place.weir(arguments);
        assert_ne!(done.code, Some(0), "{arguments:?}");
        done.says(&["99", "version 1"]);
    }
}
