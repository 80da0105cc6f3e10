//! Tests of the module `state`: a model that keeps every barrier whole, damage, and how much is written.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use schemas::{Records, Saved, StatePart};

use super::*;

/// A part that tells what changed.
#[derive(Debug, Clone, Default)]
struct Part {
    records: BTreeMap<u32, Vec<u8>>,
    changed: Vec<u32>,
    renumbered: bool,
}

impl Records for &Part {
    fn changed(&self) -> Option<&[u32]> {
        (!self.renumbered).then_some(&self.changed)
    }

    fn end(&self) -> u32 {
        self.records.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let record = self.records.get(&number);
        record.into_iter().for_each(|record| out.extend_from_slice(record));
        record.is_some()
    }
}

impl Part {
    fn set(&mut self, number: u32, record: Option<Vec<u8>>) {
        match record {
            Some(record) => drop(self.records.insert(number, record)),
            None => drop(self.records.remove(&number)),
        }
        if !self.changed.contains(&number) {
            self.changed.push(number);
        }
    }
}

type World = BTreeMap<String, Part>;

fn parts(world: &World) -> Vec<StatePart<'_>> {
    world.iter().map(|(name, part)| StatePart::new(name, part)).collect()
}

/// What is expected of a world, part by part, by number.
type Expected = BTreeMap<String, Vec<(u32, Vec<u8>)>>;

fn expected(world: &World) -> Expected {
    let records = |part: &Part| part.records.clone().into_iter().collect::<Vec<_>>();
    let all = world.iter().map(|(name, part)| (name.clone(), records(part)));
    all.filter(|(_, records)| !records.is_empty()).collect()
}

fn found(saved: &Saved) -> Expected {
    let records = |name: &str| {
        let part = saved.part(name).unwrap();
        part.records().map(|(number, bytes)| (number, bytes.to_vec())).collect::<Vec<_>>()
    };
    let all = saved.names().map(|name| (name.to_owned(), records(name)));
    all.filter(|(_, records)| !records.is_empty()).collect()
}

fn settle(world: &mut World) {
    for part in world.values_mut() {
        part.changed.clear();
        part.renumbered = false;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(usize, u32, Option<Vec<u8>>),
    Renumber(usize),
    DropPart(usize),
    Barrier { complete: bool, refuse: bool },
    Restart(usize),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let record = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        12 => (0..3_usize, 0..200_u32, record).prop_map(|(p, n, r)| Step::Set(p, n, r)),
        1 => (0..3_usize).prop_map(Step::Renumber),
        1 => (0..3_usize).prop_map(Step::DropPart),
        6 => (prop::bool::weighted(0.9), prop::bool::weighted(0.1))
            .prop_map(|(complete, refuse)| Step::Barrier { complete, refuse }),
        1 => (0..3_usize).prop_map(Step::Restart),
    ]
}

/// Part `a` is numbered by content, so that it starts over.
fn renumber(part: &mut Part) {
    part.records = (0..).zip(std::mem::take(&mut part.records).into_values()).collect();
    part.changed.clear();
    part.renumbered = true;
}

fn run(folder: &Path, steps: &[Step]) {
    let mut world = World::new();
    let mut log = StateLog::new(folder, None).unwrap();
    // The barriers that can be read, whole.
    let mut kept: Vec<(u64, World)> = Vec::new();
    let mut epoch = 0;
    for step in steps {
        match step {
            Step::Set(part, number, record) => {
                let fresh = || Part { renumbered: true, ..Part::default() };
                let part = world.entry(NAMES[*part].to_owned()).or_insert_with(fresh);
                part.set(*number, record.clone());
            }
            Step::Renumber(part) => {
                world.get_mut(NAMES[*part]).into_iter().for_each(renumber);
            }
            Step::DropPart(part) => drop(world.remove(NAMES[*part])),
            Step::Barrier { complete, refuse } => {
                epoch += 1;
                if *refuse {
                    durable::hooks::break_next(folder, durable::hooks::Fault::Before);
                    log.write(epoch, &parts(&world)).unwrap_err();
                }
                log.write(epoch, &parts(&world)).unwrap();
                settle(&mut world);
                assert_eq!(found(&read(folder, epoch).unwrap().saved), expected(&world));
                if *complete {
                    log.complete(epoch).unwrap();
                    kept.push((epoch, world.clone()));
                    kept.drain(..kept.len().saturating_sub(KEPT));
                    assert_eq!(barriers(folder).unwrap().len(), kept.len());
                }
            }
            Step::Restart(back) => {
                let Some(at) = kept.len().checked_sub(1 + back) else { continue };
                kept.truncate(at + 1);
                let (barrier, held) = kept[at].clone();
                let again = read(folder, barrier).unwrap();
                assert_eq!(found(&again.saved), expected(&held));
                log = StateLog::new(folder, Some(&again)).unwrap();
                (world, epoch) = (held, barrier);
            }
        }
        for (barrier, held) in &kept {
            assert_eq!(found(&read(folder, *barrier).unwrap().saved), expected(held));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_last_barriers_are_read_as_they_were_written(steps in prop::collection::vec(step(), 1..80)) {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &steps);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn size(folder: &Path) -> u64 {
    files(folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

#[test]
fn damage_is_seen_and_the_barrier_before_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let mut log = StateLog::new(folder.path(), None).unwrap();
    let mut lengths = Vec::new();
    for epoch in 1..=4_u32 {
        for number in 0..20 {
            let part = world.entry(NAMES[(number % 2) as usize].to_owned()).or_default();
            part.set(number * epoch, Some(number.to_le_bytes().repeat(2)));
        }
        log.write(u64::from(epoch), &parts(&world)).unwrap();
        log.complete(u64::from(epoch)).unwrap();
        settle(&mut world);
        lengths.push(fs::metadata(segment_path(folder.path(), 1)).unwrap().len());
    }
    let third = found(&read(folder.path(), 3).unwrap().saved);
    let newest = found(&read(folder.path(), 4).unwrap().saved);
    assert_ne!(third, newest);
    for path in files(folder.path()) {
        let whole = fs::read(&path).unwrap();
        let is_segment = path.extension().unwrap() == "log";
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            let (third_now, newest_now) = (read(folder.path(), 3), read(folder.path(), 4));
            if let Ok(read) = &newest_now {
                assert!(!is_segment, "flip at {at} of the segment");
                assert_eq!(found(&read.saved), newest, "flip at {at} of {}", path.display());
            }
            if is_segment && at as u64 >= lengths[2] || path == manifest_path(folder.path(), 4) {
                assert!(newest_now.is_err(), "flip at {at} of {}", path.display());
                assert_eq!(found(&third_now.unwrap().saved), third);
            }
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(barriers(folder.path()).unwrap().iter().any(|b| read(folder.path(), *b).is_err()));
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(found(&read(folder.path(), 4).unwrap().saved), newest);
    let old = manifest_path(folder.path(), 9);
    fs::write(&old, b"weirst01 and something else").unwrap();
    let refused = read(folder.path(), 9).unwrap_err().to_string();
    assert!(refused.contains("version 1") && refused.contains("reads version 3"), "{refused}");
}

/// A part of `len` records of `bytes` each, of which `changed` did.
struct Big {
    len: u32,
    bytes: usize,
    changed: Vec<u32>,
}

impl Records for &Big {
    fn changed(&self) -> Option<&[u32]> {
        Some(&self.changed)
    }

    fn end(&self) -> u32 {
        self.len
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        out.extend(std::iter::repeat_n(number.to_le_bytes()[0], self.bytes));
        number < self.len
    }
}

fn both<'a>(cells: &'a Big, series: &'a Big) -> [StatePart<'a>; 2] {
    [StatePart::new("cells", cells), StatePart::new("series", series)]
}

#[test]
fn a_barrier_writes_what_changed_and_the_disk_holds_twice_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = StateLog::new(folder.path(), None).unwrap();
    let mut cells = Big { len: 336_000, bytes: 60, changed: Vec::new() };
    let mut series = Big { len: 32_000, bytes: 1_100, changed: Vec::new() };
    let whole = log.write(1, &both(&cells, &series)).unwrap();
    log.complete(1).unwrap();
    let live = 336_000 * 64 + 32_000 * 1_105;
    assert!((live..live * 11 / 10).contains(&whole), "{whole} bytes for {live}");
    let mut most = 0;
    for epoch in 2..120_u32 {
        // 3 rows: 9 cells each, and a series for 6 of them.
        cells.changed = (0..27).map(|at| (epoch * 7_919 + at * 12_347) % 336_000).collect();
        series.changed = (0..6).map(|at| (epoch * 104_729 + at * 5_003) % 32_000).collect();
        cells.changed.sort_unstable();
        cells.changed.dedup();
        let written = log.write(u64::from(epoch), &both(&cells, &series)).unwrap();
        log.complete(u64::from(epoch)).unwrap();
        most = most.max(written);
    }
    assert!(most <= 64 << 10, "{most} bytes for 3 changed rows");
    // Much changes: the disk stays in proportion, and everything is there.
    for epoch in 120..180_u32 {
        cells.changed = (0..10_000).map(|at| (epoch * 131 + at * 33) % 336_000).collect();
        series.changed = (0..1_000).map(|at| (epoch * 17 + at * 31) % 32_000).collect();
        log.write(u64::from(epoch), &both(&cells, &series)).unwrap();
        log.complete(u64::from(epoch)).unwrap();
        let held = size(folder.path());
        assert!(held <= live * 5 / 2, "{held} bytes on disk for a state of {live}");
    }
    let again = read(folder.path(), 179).unwrap();
    assert_eq!(again.saved, Saved::of(&both(&cells, &series)));
    let mut log = StateLog::new(folder.path(), Some(&again)).unwrap();
    (cells.changed, series.changed) = (vec![7], vec![]);
    let written = log.write(180, &both(&cells, &series)).unwrap();
    assert!(written <= 64 << 10, "{written} bytes for one record after a restart");
    assert_eq!(read(folder.path(), 180).unwrap().saved, again.saved);
}

fn run_of(number: u32) -> Run {
    Run::of(vec![(&number.to_le_bytes()[..], b"value".to_vec())], Vec::new()).unwrap()
}

fn run_files(folder: &Path) -> Vec<u64> {
    numbers(folder, "run").unwrap().into_iter().collect()
}

#[test]
fn runs_stay_as_long_as_a_barrier_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = StateLog::new(folder.path(), None).unwrap();
    let mut runs: Vec<Run> = Vec::new();
    for epoch in 1..=4 {
        runs.push(run_of(u32::try_from(epoch).unwrap()));
        assert!(log.need_runs(runs.iter()).unwrap() > 0);
        assert_eq!(log.need_runs(runs.iter()).unwrap(), 0, "written once");
        log.write(epoch, &[]).unwrap();
        log.complete(epoch).unwrap();
    }
    // All four become one, which no barrier has named yet.
    let merged = log.create_run(4, |out| -> io::Result<_> {
        out.push(b"k", b"v")?;
        Ok(Vec::new())
    });
    let merged = merged.unwrap();
    log.write(5, &[]).unwrap();
    log.complete(5).unwrap();
    assert_eq!(run_files(folder.path()), [1, 2, 3, 4, 5]);
    assert_eq!(read(folder.path(), 5).unwrap().runs, BTreeSet::from([1, 2, 3, 4]));
    for epoch in 6..9 {
        log.need_runs([&merged].into_iter()).unwrap();
        log.write(epoch, &[]).unwrap();
        let kept: &[u64] = if epoch == 8 { &[5] } else { &[1, 2, 3, 4, 5] };
        log.complete(epoch).unwrap();
        assert_eq!(run_files(folder.path()), kept, "barrier {epoch}");
    }
    // What is open can still be read, and what a barrier names is opened again.
    assert!(runs.iter().zip(1_u32..).all(|(run, n)| run.get(&n.to_le_bytes()).unwrap().is_some()));
    let again = read(folder.path(), 8).unwrap();
    assert_eq!(again.run(5).unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
    assert!(again.run(4).is_err());
    // One that was created and never named goes with the next process, and its number is not used again.
    log.create_run(1, |_| -> io::Result<_> { Ok(Vec::new()) }).unwrap();
    let mut log = StateLog::new(folder.path(), Some(&again)).unwrap();
    let late = run_of(9);
    log.need_runs([&merged, &late].into_iter()).unwrap();
    assert_eq!(late.number(), Some(7));
    log.write(9, &[]).unwrap();
    log.complete(9).unwrap();
    assert_eq!(run_files(folder.path()), [5, 7]);
}
