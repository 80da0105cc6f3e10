//! The ledger against what was appended: over restarts, cuts, changed bytes and trims.

use super::*;

fn header() -> Header {
    Header { lake: "l".into(), generation: "g".into(), fingerprint: "f".into() }
}

/// Two of five origins in every third epoch.
fn origins(epoch: EpochId) -> BTreeSet<Arc<str>> {
    let named = |number: u64| format!("shop.db.public.t{}", number % 5).into();
    [epoch, epoch + 2].into_iter().filter(|_| epoch.is_multiple_of(3)).map(named).collect()
}

/// An entry with as many partitions, each of which goes on where the epoch before ended.
fn wide(epoch: EpochId, partitions: i32) -> Entry {
    let number = i64::try_from(epoch).unwrap();
    let span = |partition| Span {
        source: "s".into(),
        topic: "shop.public.orders".into(),
        incarnation: "cKlnFvWlQ0G6mCKKbQvV5w".into(),
        partition,
        from: number * 200,
        to: number * 200 + 200,
    };
    Entry {
        epoch,
        clock: 1_795_245_775_412_170 + number * 20_000,
        quiet: origins(epoch),
        hash: format!("{epoch:032x}"),
        spans: (0..partitions).map(span).collect(),
    }
}

fn entry(epoch: EpochId) -> Entry {
    wide(epoch, 2)
}

fn tick(epoch: EpochId) -> Entry {
    Entry { hash: String::new(), spans: Vec::new(), ..entry(epoch) }
}

fn ledger(folder: &Path, header: Header) -> Ledger {
    Ledger::open(folder, header, Segments::default(), true).unwrap()
}

/// A folder with one segment of these entries.
fn written(entries: &[Entry]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(folder.path(), header());
    for entry in entries {
        ledger.append(std::slice::from_ref(entry)).unwrap();
    }
    let path = segment::paths(folder.path()).unwrap().remove(0);
    (folder, path)
}

fn goes_on(folder: &Path) -> Ledger {
    let found = Ledger::recover(folder, 0).unwrap();
    Ledger::open(folder, found.header.unwrap(), found.segments, true).unwrap()
}

#[test]
fn reads_back_what_was_appended_over_restarts() {
    let (folder, _) = written(&[entry(1), tick(2)]);
    let all = [entry(1), tick(2), entry(3), wide(4, 5), entry(5)];
    let mut ledger = goes_on(folder.path());
    ledger.append(&all[2..4]).unwrap();
    ledger.append(&all[4..]).unwrap();
    let found = Ledger::recover(folder.path(), 0).unwrap();
    assert_eq!(found.entries, all);
    assert_eq!((found.header, found.damage), (Some(header()), None));
    assert_eq!(found.range, Some((1, 5)));
    for after in 1..7 {
        let found = Ledger::recover(folder.path(), after).unwrap();
        let late = all.iter().filter(|entry| entry.epoch > after);
        assert_eq!(found.entries, late.cloned().collect::<Vec<_>>(), "after {after}");
        assert_eq!(found.range, Some((1, 5)), "after {after}");
    }
}

#[test]
fn drops_a_torn_end_and_says_any_other_damage() {
    let (folder, path) = written(&[entry(1), entry(2)]);
    let whole = fs::read(&path).unwrap();
    let (_single, first) = written(&[entry(1)]);
    let last = fs::read(first).unwrap().len();
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let found = Ledger::recover(folder.path(), 0).unwrap();
        assert_eq!((found.entries, found.damage), (vec![entry(1)], None), "cut at {cut}");
        // Its space is there, but its bytes never came to the disk.
        fs::write(&path, [&whole[..last], &vec![0; cut - last]].concat()).unwrap();
        let found = Ledger::recover(folder.path(), 0).unwrap();
        assert_eq!((found.entries, found.damage), (vec![entry(1)], None), "zeros to {cut}");
    }
    for flipped in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[flipped] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let found = Ledger::recover(folder.path(), 0).unwrap();
        assert!(found.damage.is_some(), "flip at {flipped} went unseen");
    }
}

#[test]
fn a_lost_segment_and_one_of_another_ledger_are_damage() {
    let (folder, first) = written(&[entry(1)]);
    for epoch in 2..4 {
        goes_on(folder.path()).append(&[entry(epoch)]).unwrap();
    }
    let middle = segment::paths(folder.path()).unwrap().remove(1);
    let bytes = fs::read(&middle).unwrap();
    fs::remove_file(&middle).unwrap();
    let says = |after| Ledger::recover(folder.path(), after).unwrap().damage.unwrap_or_default();
    assert!(says(0).contains("begins with epoch 3 instead of 2"), "{}", says(0));
    assert_eq!(says(2), "", "what comes before is not needed");
    fs::write(&middle, bytes).unwrap();
    assert_eq!(says(0), "");
    let (_other, path) = written(&[entry(1)]);
    let mut other = ledger(path.parent().unwrap(), Header { lake: "m".into(), ..header() });
    other.append(&[entry(1)]).unwrap();
    fs::copy(path, first).unwrap();
    assert!(says(0).contains("of another ledger"), "{}", says(0));
}

#[test]
fn a_ledger_of_lines_is_recognised() {
    let (folder, path) = written(&[entry(1)]);
    let line = "0123456789abcdef {\"lake\":\"l\",\"generation\":\"g\",\"fingerprint\":\"f\"}\n";
    fs::write(path, line).unwrap();
    let found = Ledger::recover(folder.path(), 0).unwrap();
    assert!(found.damage.unwrap().contains("earlier version of weir"));
}

#[test]
fn another_generation_starts_anew() {
    let (folder, _) = written(&[entry(1)]);
    let other = Header { generation: "h".into(), ..header() };
    ledger(folder.path(), other.clone()).append(&[entry(7)]).unwrap();
    let found = Ledger::recover(folder.path(), 0).unwrap();
    assert_eq!((found.header, found.entries), (Some(other), vec![entry(7)]));
}

#[test]
fn another_fingerprint_goes_on_in_the_same_generation() {
    let (folder, _) = written(&[entry(1)]);
    let found = Ledger::recover(folder.path(), 0).unwrap();
    let next = Header { fingerprint: "g".repeat(200_000), ..header() };
    let mut ledger = Ledger::open(folder.path(), next.clone(), found.segments, true).unwrap();
    ledger.append(&[entry(2)]).unwrap();
    let found = Ledger::recover(folder.path(), 0).unwrap();
    assert_eq!((found.damage, found.entries), (None, vec![entry(1), entry(2)]));
    assert_eq!(found.header, Some(next));
}

#[test]
fn a_segment_without_entries_is_begun_again() {
    let (folder, path) = written(&[entry(1)]);
    let empty = folder.path().join("00000000000000000002.ledger");
    let whole = fs::read(path).unwrap();
    // Cut off within the header, and behind it.
    for bytes in [&whole[..5], &[]] {
        fs::write(&empty, bytes).unwrap();
        let found = Ledger::recover(folder.path(), 0).unwrap();
        assert_eq!((found.entries, found.damage), (vec![entry(1)], None));
        goes_on(folder.path());
        assert!(!empty.exists());
    }
}

#[test]
fn trims_only_what_is_old_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    for epoch in 1..4 {
        let found = Ledger::recover(folder.path(), 0).unwrap();
        let mut ledger = Ledger::open(folder.path(), header(), found.segments, true).unwrap();
        ledger.append(&[entry(epoch)]).unwrap();
    }
    let mut ledger = goes_on(folder.path());
    let held = || Ledger::recover(folder.path(), 0).unwrap().entries.len();
    let late = Micros(entry(3).clock + RETENTION_US + 1);
    ledger.trim(0, late).unwrap();
    assert_eq!(held(), 3, "epoch 1 unverified");
    ledger.trim(9, Micros(entry(2).clock + RETENTION_US)).unwrap();
    assert_eq!(held(), 3, "too young");
    ledger.trim(1, late).unwrap();
    assert_eq!(held(), 2);
    ledger.trim(9, late).unwrap();
    assert_eq!(held(), 1, "nothing says yet when the last one ended");
    ledger.append(&[entry(4)]).unwrap();
    ledger.trim(3, late).unwrap();
    assert_eq!(held(), 2, "its successor is too young");
    ledger.trim(3, Micros(entry(4).clock + RETENTION_US + 1)).unwrap();
    assert_eq!(Ledger::recover(folder.path(), 0).unwrap().entries, [entry(4)]);
}

#[test]
fn verified_segments_are_bounded_in_bytes_however_young() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), header(), Segments::default(), false).unwrap();
    // Partitions that have never been seen before make large entries.
    let large = |epoch: EpochId| {
        let mut entry = wide(epoch, 400);
        let topic = format!("{epoch}-{}", "t".repeat(4_000));
        entry.spans.iter_mut().for_each(|span| span.topic.clone_from(&topic));
        entry
    };
    for epoch in 1..=60 {
        ledger.append(&[large(epoch)]).unwrap();
    }
    let on_disk = || -> u64 {
        let paths = segment::paths(folder.path()).unwrap();
        paths.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    assert!(on_disk() > KEPT_BYTES_MAX + 2 * SEGMENT_BYTES_MAX, "{}", on_disk());
    let now = Micros(entry(60).clock);
    ledger.trim(5, now).unwrap();
    assert!(Ledger::recover(folder.path(), 5).unwrap().damage.is_none());
    ledger.trim(60, now).unwrap();
    assert!(on_disk() <= KEPT_BYTES_MAX + 2 * SEGMENT_BYTES_MAX, "{}", on_disk());
    let found = Ledger::recover(folder.path(), 59).unwrap();
    assert_eq!((found.entries, found.damage), (vec![large(60)], None));
}

#[test]
fn a_partition_costs_a_few_bytes_an_epoch() {
    let size = |entries: &[Entry]| fs::metadata(written(entries).1).unwrap().len();
    let entries: Vec<Entry> = (1..=101).map(|epoch| wide(epoch, 100)).collect();
    let each = (size(&entries) - size(&entries[..1])) / 100;
    println!("an entry with 100 partitions takes {each} bytes");
    assert!(each < 600, "{each}");
    let narrow: Vec<Entry> = (1..=101).map(|epoch| wide(epoch, 12)).collect();
    let each = (size(&narrow) - size(&narrow[..1])) / 100;
    println!("an entry with 12 partitions takes {each} bytes");
    assert!(each < 120, "{each}");
}
