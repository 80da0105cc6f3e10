//! Tests of the module `simulator`.

use super::reference::{Defect, fold};
use super::*;

/// A script that the reference, with this defect or none, gets wrong.
fn failing(
    seeds: std::ops::Range<u64>,
    kinds: &[Kind],
    accidents: Accidents,
    defect: Option<Defect>,
) -> Option<Script> {
    for seed in seeds {
        for kind in kinds {
            let script = Script::draw(seed, *kind, accidents);
            if !wrong(&script, defect).is_empty() {
                return Some(script);
            }
        }
    }
    None
}

fn wrong(script: &Script, defect: Option<Defect>) -> Vec<String> {
    let history = script.play();
    judge(&history, &fold(history.kind, history.whole, &history.records, defect))
}

/// What to print of a script that fails.
fn told(script: &Script, defect: Option<Defect>) -> String {
    let script = script.shrunk(|shorter| !wrong(shorter, defect).is_empty());
    let history = script.play();
    format!("{script}{history}  whole: {}\n{:#?}", history.whole, wrong(&script, defect))
}

/// How many scripts are drawn, unless `WEIR_HISTORIES` says so.
fn count(usual: u64) -> u64 {
    std::env::var("WEIR_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

#[test]
fn the_reference_gets_every_accident_right() {
    for accidents in Accidents::ALL.each().chain([Accidents::NONE]) {
        for accidents in [accidents, accidents | Accidents::ASK] {
            let found = failing(0..count(20), &Kind::ALL, accidents, None);
            assert!(found.is_none(), "{}", told(&found.unwrap(), None));
        }
    }
}

#[test]
fn the_reference_gets_accidents_together_right() {
    for seed in 0..count(600) {
        let found = failing(seed..seed + 1, &Kind::ALL, Accidents::together(seed), None);
        assert!(found.is_none(), "seed {seed}\n{}", told(&found.unwrap(), None));
    }
}

/// For each accident a rule without which it goes wrong, and what else has to happen.
const BITES: [(Accidents, Accidents, Defect); 31] = [
    (Accidents::REDELIVERY, Accidents::NONE, Defect::HaltsOnLower),
    (Accidents::SNAPSHOT, Accidents::NONE, Defect::SweepsNewer),
    (Accidents::SNAPSHOT, Accidents::IN_FLIGHT, Defect::PlacesAlone),
    (Accidents::SNAPSHOT, Accidents::PARTITIONS, Defect::OffsetsAlone),
    (Accidents::FILTERED, Accidents::ASK, Defect::AlwaysSweeps),
    (Accidents::INCREMENTAL, Accidents::IN_FLIGHT, Defect::HaltsOnLower),
    (Accidents::INCREMENTAL, Accidents::NO_DATA, Defect::NoIncremental),
    (Accidents::GAP, Accidents::NONE, Defect::NoSweep),
    (Accidents::GAP, Accidents::ASK, Defect::AlwaysSweeps),
    (Accidents::UNFINISHED, Accidents::ASK, Defect::NoSweep),
    (Accidents::UNFINISHED, Accidents::NONE, Defect::NoSweep),
    (Accidents::FAILOVER, Accidents::NONE, Defect::AnyServer),
    (Accidents::COMPACTION, Accidents::NONE, Defect::NoTombstones),
    (Accidents::PARTITIONS, Accidents::NONE, Defect::ReadingOrder),
    (Accidents::PARTITIONS, Accidents::NONE, Defect::OffsetsAlone),
    (Accidents::TOPICS, Accidents::NONE, Defect::OffsetsAlone),
    (Accidents::SHARDS, Accidents::NONE, Defect::OneOrigin),
    (Accidents::SHARED_TOPIC, Accidents::NONE, Defect::OneOrigin),
    (Accidents::SHARDS, Accidents::TRUNCATE, Defect::TruncatesAll),
    (Accidents::IN_FLIGHT, Accidents::NONE, Defect::PlacesAlone),
    (Accidents::KEYS, Accidents::TOAST, Defect::NoOldKey),
    (Accidents::TOAST, Accidents::NONE, Defect::NullForUnsent),
    (Accidents::REQUIRED, Accidents::TOAST, Defect::NullForUnsent),
    (Accidents::TRUNCATE, Accidents::NONE, Defect::NoTruncates),
    (Accidents::UNREADABLE, Accidents::NONE, Defect::NoDoubt),
    (Accidents::UNREADABLE, Accidents::NONE, Defect::DoubtStays),
    (Accidents::UNREADABLE, Accidents::PARTITIONS, Defect::OlderEndsDoubt),
    (Accidents::CLOCKS, Accidents::NONE, Defect::ClocksAlone),
    (Accidents::NONE, Accidents::NONE, Defect::SecondsAlone),
    (Accidents::RESTORE, Accidents::NONE, Defect::OneTimeline),
    (Accidents::ALTER, Accidents::NONE, Defect::NullForAbsent),
];

#[test]
fn a_fold_without_a_rule_is_judged_wrong() {
    for (accident, with, defect) in BITES {
        let found = failing(0..400, &Kind::ALL, accident | with, Some(defect));
        assert!(found.is_some(), "{accident} with {with}: {defect:?} is not noticed");
        let script = found.unwrap();
        let small = script.shrunk(|shorter| !wrong(shorter, Some(defect)).is_empty());
        assert!(small.steps.len() <= 9, "{accident}: {defect:?} needs\n{small}");
        let right = wrong(&small, None);
        assert!(right.is_empty(), "{right:?}\n{small}");
    }
}
