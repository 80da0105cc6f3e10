//! The stream is what it says it is, and has everything in it that it is there for.

use std::collections::BTreeSet;

use super::*;
use crate::bronze::Record;
use crate::fold::Fold;

#[test]
fn equal_options_make_equal_streams() {
    let options = Options { events: 2_000, ..Options::default() };
    let (first, again) = (Workload::log(&options), Workload::log(&options));
    assert_eq!(first, again);
    assert_eq!(first.len(), 2_000);
    assert_ne!(first, Workload::log(&Options { seed: 2, ..options }));
}

#[test]
fn files_hold_the_same_log() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { events: 500, poison: 0.05, ..Options::default() };
    for name in ["a.ndjson", "a.ndjson.gz"] {
        let path = folder.path().join(name);
        let written = Workload::new(options.clone()).write_ndjson(&path).unwrap();
        assert_eq!(Log::read(&path).unwrap(), written);
        assert_eq!(written, Workload::log(&options));
    }
}

#[test]
fn the_stream_exercises_the_fold() {
    let options = Options { events: 20_000, poison: 0.01, redelivery: 0.005, ..Options::default() };
    let mut fold = Fold::new(BTreeMap::new()).unwrap();
    let mut ops = BTreeSet::new();
    for (index, produced) in Workload::new(options).enumerate() {
        let text = produced.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        ops.extend(
            ["c", "u", "r", "d", "x"]
                .into_iter()
                .filter(|op| text.contains(&format!("\"op\":\"{op}\""))),
        );
        let record = Record {
            topic: produced.topic.to_owned(),
            partition: produced.partition,
            offset: produced.offset,
            key: produced.key,
            value: produced.value,
            epoch: i64::try_from(index).unwrap(),
            ..Record::default()
        };
        fold.apply(&record);
    }
    assert_eq!(ops.len(), 5);
    assert_eq!(fold.decode_mismatches.len() as u64, fold.undecodable, "no record was marked");
    assert!((100..400).contains(&fold.undecodable), "{}", fold.undecodable);
    assert!(fold.stale > 30 && fold.duplicates > 500, "{} {}", fold.stale, fold.duplicates);
    assert_eq!((fold.halted, fold.snapshots_over_rows), (0, 0));
    assert!(fold.unknown_topics.is_empty());
    assert!(fold.silver("orders").len() > 1_000 && fold.silver("costs").len() > 1_000);
}
