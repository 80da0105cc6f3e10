//! Proof that each figure can turn red: small lakes, right but for one planted defect.

mod lake;

use lake::Lake;

use crate::{Options, Report, check_lake};

fn check(lake: &Lake) -> Report {
    let folder = tempfile::tempdir().unwrap();
    lake.write(folder.path());
    check_lake(folder.path(), Some(&lake.log), &Options::default()).unwrap()
}

/// The figures that are wrong after a defect was planted.
fn wrong(plant: impl FnOnce(&mut Lake)) -> Vec<(&'static str, u64)> {
    let mut lake = Lake::sample();
    plant(&mut lake);
    let report = check(&lake);
    let figures =
        report.figures().into_iter().filter(|(_, n, bound)| bound.is_some_and(|b| *n > b));
    let wrong: Vec<_> = figures.map(|(name, figure, _)| (name, figure)).collect();
    assert_eq!(report.is_clean(), wrong.is_empty(), "{report}");
    wrong
}

#[test]
fn a_right_lake_is_clean_and_was_looked_at() {
    let lake = Lake::sample();
    let report = check(&lake);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.bronze.records, 600);
    assert_eq!(report.expected_records, Some(600));
    assert_eq!(report.bronze.epochs, 30);
    assert_eq!(report.bronze.versions, 11);
    assert!(report.dead_letters > 5 && report.duplicates > 0, "{report}");
    assert!(
        report.silver_rows > 100 && report.cells > 500 && report.history_rows > 500,
        "{report}"
    );
    assert!(lake.history.iter().any(|row| row.restatement));
    assert!(lake.history.iter().any(|row| row.closed && !row.restatement));
    assert!(lake.history.iter().any(|row| !row.closed));
    assert!(report.to_string().ends_with("clean"));
}

#[test]
fn bronze_defects_turn_red() {
    let names = |plant: fn(&mut Lake)| -> Vec<&'static str> {
        wrong(plant).into_iter().map(|(name, _)| name).collect()
    };
    // Silver is folded from bronze, so what bronze has lost is wrong there too.
    assert!(names(|lake| lake.drop_record(true)).starts_with(&["lost", "holes"]));
    assert!(names(|lake| lake.drop_record(false)).starts_with(&["lost", "holes"]));
    assert_eq!(wrong(Lake::double_record), [("doubled", 1)]);
    assert_eq!(wrong(Lake::drift)[0], ("drift", 1));
    assert_eq!(wrong(Lake::forget_progress)[0].0, "drift");
    assert_eq!(wrong(|lake| lake.record(100).headers.clear()), []);
    assert!(names(|lake| lake.record(100).value = Some(b"{}".to_vec())).contains(&"corrupt"));
    assert!(names(|lake| lake.record(599).offset += 1000).contains(&"spurious"));
    assert_eq!(names(|lake| lake.record(100).quiet ^= true)[0], "clock faults");
    assert!(names(|lake| lake.turn_clock_back()).contains(&"clock faults"));
    assert_eq!(wrong(|lake| lake.break_chain()), [("holes", 1)]);
}

#[test]
fn dead_letters_are_decided_twice() {
    let claims = wrong(|lake| {
        let record = lake.records().find(|r| r.decode_error.is_none() && r.value.is_some());
        record.unwrap().decode_error = Some("no reason".into());
    });
    assert_eq!(claims, [("decode mismatches", 1)]);
    let hides = wrong(|lake| {
        lake.records().find(|r| r.decode_error.is_some()).unwrap().decode_error = None;
    });
    assert_eq!(hides, [("decode mismatches", 1)]);
}

#[test]
fn silver_defects_turn_red() {
    let silver = |plant: fn(&mut Lake)| wrong(plant);
    assert_eq!(silver(|l| drop(l.silver["orders"].pop_first())), [("silver mismatches", 1)]);
    let stale = silver(|l| l.silver["costs"].values_mut().next().unwrap().epoch -= 1);
    assert_eq!(stale, [("silver mismatches", 1)]);
    let moved = silver(|l| l.silver["costs"].values_mut().next().unwrap().position.push('0'));
    assert_eq!(moved, [("silver mismatches", 1)]);
    let undeleted = silver(|l| l.vector = false);
    assert_eq!(undeleted, [("silver mismatches", 1)], "a second row");
    assert_eq!(silver(|l| l.ahead = 1)[0].0, "table faults");
}

#[test]
fn gold_defects_turn_red() {
    let one = |figure| [(figure, 1)];
    let cell = wrong(|l| *l.current.values_mut().find_map(|r| r.0.value.as_mut()).unwrap() += 1);
    assert_eq!(cell, one("cell mismatches"));
    assert_eq!(wrong(|l| drop(l.current.pop_first())), one("cell mismatches"));
    let late = wrong(|l| l.current.values_mut().next().unwrap().2 += 1);
    assert_eq!(late, one("cell mismatches"));
    assert_eq!(wrong(|l| drop(l.history.pop())), one("history mismatches"));
    let twice = wrong(|l| l.history.push(l.history[0].clone()));
    assert_eq!(twice, one("history mismatches"));
    let flag = wrong(|l| l.history[0].closed ^= true);
    assert_eq!(flag, [("history mismatches", 2)], "one missing, one extra");
}

#[test]
fn an_earlier_barrier_is_compared_at_its_own_epoch() {
    let mut lake = Lake::sample_up_to(20);
    lake.ahead = 0;
    let report = check(&lake);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.bronze.epochs, 30);
    assert!(report.notes.iter().any(|note| note.contains("compared at epoch 20")), "{report}");
}

/// `cargo test --release -p harness -- --ignored --nocapture` says how long a big lake takes.
#[test]
#[ignore = "takes a minute"]
fn a_big_lake_is_checked_in_time() {
    let events = 200_000;
    let options = crate::workload::Options { events, ..crate::workload::Options::default() };
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::of(&options, 10_000);
    lake.write(folder.path());
    let start = std::time::Instant::now();
    let report = check_lake(folder.path(), Some(&lake.log), &Options::default()).unwrap();
    println!("{report}\n{:?}", start.elapsed());
    assert!(report.is_clean());
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn torn_logs_are_errors() {
    let lake = Lake::sample();
    let entry = |folder: &std::path::Path, version: u64| {
        folder.join(format!("bronze/changes/_delta_log/{version:020}.json"))
    };
    for (tear, says) in [(true, "empty entry"), (false, "entry 4 is missing")] {
        let folder = tempfile::tempdir().unwrap();
        lake.write(folder.path());
        let path = entry(folder.path(), 4);
        if tear {
            std::fs::write(path, "").unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        let error = check_lake(folder.path(), None, &Options::default()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
