//! Tests of the module above.

use proptest::prelude::*;
use schemas::Severity;

use super::*;
use crate::rules::Kind;

const HOUR: i64 = 3_600_000_000;

fn finding(severity: Severity, z: f64) -> Finding {
    Finding {
        kind: Kind::Spike,
        severity,
        value: Some(1),
        expected: Some(0),
        lower: None,
        upper: None,
        deviation: 1.0,
        z,
        p: 1e-6,
    }
}

fn at(hour: i64) -> Micros {
    Micros(hour * HOUR)
}

fn bad(track: &mut Track, hour: i64, moment: Moment) -> Step {
    track.judge(
        at(hour),
        Verdict::Anomalous(finding(Severity::Warning, 5.0)),
        moment,
        HOUR,
        at(hour),
    )
}

fn good(track: &mut Track, hour: i64, moment: Moment) -> Step {
    track.judge(at(hour), Verdict::Normal, moment, HOUR, at(hour))
}

#[test]
fn the_last_cause_that_is_corrected_ends_an_episode() {
    let mut track = Track::default();
    assert!(matches!(bad(&mut track, 1, Moment::Close), Step::Open(bucket, _) if bucket == at(1)));
    assert!(
        matches!(bad(&mut track, 2, Moment::Close), Step::Show { bucket, .. } if bucket == at(2))
    );
    // The newest cause goes: the alert shows the one before.
    let step = good(&mut track, 2, Moment::Late);
    assert!(matches!(step, Step::Show { bucket, .. } if bucket == at(1)), "{step:?}");
    let step = good(&mut track, 1, Moment::Quiet);
    assert_eq!(step, Step::Resolve { first: at(1), why: Why::Corrected(at(1)) });
    assert!(track.open.is_none() && track.recent.is_empty());
    // Later it is forgotten that there was anything.
    good(&mut track, 20, Moment::Close);
    assert_eq!(track, Track::default());
}

#[test]
fn what_flaps_within_a_bucket_opens_twice() {
    let mut track = Track::default();
    let mut opened = 0;
    for _ in 0..19 {
        opened += u32::from(matches!(bad(&mut track, 1, Moment::Running), Step::Open(..)));
        good(&mut track, 1, Moment::Running);
    }
    assert_eq!((opened, track.open.is_some()), (2, true));
    let over = good(&mut track, 1, Moment::Close);
    assert_eq!(over, Step::Resolve { first: at(1), why: Why::Corrected(at(1)) });
}

#[test]
fn what_comes_and_goes_with_the_hours_needs_more_of_them_to_be_over() {
    let mut track = Track::default();
    let mut opened = 0;
    for hour in 0..40 {
        let step = match hour % 2 {
            0 => bad(&mut track, hour, Moment::Close),
            _ => good(&mut track, hour, Moment::Close),
        };
        opened += u32::from(matches!(step, Step::Open(..)));
    }
    assert_eq!((opened, track.open.is_some()), (2, true));
    let ends: Vec<i64> = (40..60)
        .filter(|hour| matches!(good(&mut track, *hour, Moment::Close), Step::Resolve { .. }))
        .collect();
    assert_eq!(ends, [41]);
    // A day later it is an episode like any other.
    assert!(matches!(bad(&mut track, 70, Moment::Close), Step::Open(..)));
    assert!(matches!(good(&mut track, 71, Moment::Close), Step::Resolve { .. }));
}

#[test]
fn a_bucket_that_stays_bad_does_not_reopen_what_was_resolved() {
    let mut track = Track::default();
    bad(&mut track, 1, Moment::Close);
    let over = good(&mut track, 2, Moment::Close);
    assert_eq!(over, Step::Resolve { first: at(1), why: Why::Returned(at(2)) });
    assert_eq!(bad(&mut track, 1, Moment::Late), Step::Nothing);
    assert_eq!(good(&mut track, 1, Moment::Late), Step::Nothing);
    assert!(matches!(bad(&mut track, 1, Moment::Late), Step::Open(..)));
}

#[test]
fn a_bucket_is_shown_again_when_it_gets_worse_or_half_a_minute_later() {
    let mut track = Track::default();
    let start = at(1);
    let mut judge = |severity, z, moment, after| {
        track.judge(
            start,
            Verdict::Anomalous(finding(severity, z)),
            moment,
            HOUR,
            start.plus(after),
        )
    };
    let second = 1_000_000;
    assert!(matches!(judge(Severity::Warning, 5.0, Moment::Running, 0), Step::Open(..)));
    let put_off = Step::Later(start.plus(RETELL_US));
    assert_eq!(judge(Severity::Warning, 6.0, Moment::Running, 10 * second), put_off);
    assert_eq!(judge(Severity::Warning, 5.0, Moment::Running, 20 * second), Step::Nothing);
    assert_eq!(judge(Severity::Warning, 6.0, Moment::Running, 29 * second), put_off);
    let told = judge(Severity::Warning, 6.0, Moment::Running, RETELL_US);
    assert!(matches!(told, Step::Show { figures, .. } if figures.z > 5.5));
    let worse = judge(Severity::Critical, 9.0, Moment::Running, RETELL_US + 1);
    assert!(matches!(worse, Step::Show { .. }));
    let closed = judge(Severity::Error, 8.0, Moment::Close, RETELL_US + 2);
    assert!(matches!(closed, Step::Show { figures, .. } if figures.severity == Severity::Error));
    assert_eq!(judge(Severity::Error, 8.0, Moment::Late, RETELL_US + 3), Step::Nothing);
    assert!(matches!(judge(Severity::Error, 7.0, Moment::Late, RETELL_US + 4), Step::Later(_)));
}

#[test]
fn what_is_not_judged_for_long_is_over() {
    let mut track = Track::default();
    bad(&mut track, 1, Moment::Close);
    let unknown = |track: &mut Track, hour| {
        track.judge(at(hour), Verdict::Unknown, Moment::Close, HOUR, at(hour))
    };
    assert_eq!(unknown(&mut track, 7), Step::Nothing);
    assert_eq!(unknown(&mut track, 8), Step::Resolve { first: at(1), why: Why::Unjudged });
}

/// The same rules over all buckets ever judged, without bounds or shortcuts.
#[derive(Default)]
struct Model {
    bad: std::collections::BTreeSet<i64>,
    /// Buckets of the open episode that are bad.
    open: Option<std::collections::BTreeSet<i64>>,
    /// The running bucket that was taken back, the end of the last episode, and how many there were.
    unsteady: Option<i64>,
    last: Option<(i64, i64)>,
}

impl Model {
    fn judge(&mut self, hour: i64, is_bad: bool, moment: Moment) {
        self.decide(hour, is_bad, moment);
        if moment == Moment::Close {
            self.unsteady = self.unsteady.filter(|own| *own > hour);
            self.last = self.last.filter(|(last, _)| self.open.is_some() || hour - last <= SOON);
        }
    }

    fn decide(&mut self, hour: i64, is_bad: bool, moment: Moment) {
        if is_bad && moment == Moment::Quiet {
            return;
        }
        if !is_bad && self.bad.contains(&hour) && moment == Moment::Running {
            if self.unsteady == Some(hour) {
                return;
            }
            self.unsteady = Some(hour);
        }
        if is_bad {
            let is_new = self.bad.insert(hour);
            match &mut self.open {
                Some(own) if is_new => drop(own.insert(hour)),
                Some(_) => {}
                None if is_new => {
                    let again = self.last.filter(|(last, _)| hour - last <= SOON);
                    self.last = Some((hour, again.map_or(0, |(_, times)| times + 1)));
                    self.open = Some([hour].into());
                }
                None => {}
            }
        } else if self.bad.remove(&hour) {
            if let Some(own) = &mut self.open {
                own.remove(&hour);
            }
            self.open.take_if(|own| own.is_empty());
        } else if moment == Moment::Close {
            let times = self.last.map_or(0, |(_, times)| times);
            let patience = (times * 2).min(SOON);
            let is_over = |last: i64| last < hour && hour - last > patience;
            let over = self.open.take_if(|own| own.last().is_some_and(|last| is_over(*last)));
            if let Some(last) = over.and_then(|own| own.last().copied()) {
                self.last = Some((last, times));
            }
        }
    }
}

proptest! {
    #[test]
    fn episodes_follow_the_model(
        steps in prop::collection::vec((0..2_i64, any::<bool>(), 0..4_u8, any::<bool>()), 1..60),
    ) {
        let (mut track, mut model) = (Track::default(), Model::default());
        let mut now = 10;
        for (back, is_bad, moment, moves) in steps {
            now += i64::from(moves);
            let hour = now - back;
            let moment = match moment {
                0 => Moment::Running,
                1 => Moment::Late,
                2 => Moment::Quiet,
                _ => Moment::Close,
            };
            let was_open = track.open.is_some();
            let step = if is_bad { bad(&mut track, hour, moment) } else { good(&mut track, hour, moment) };
            model.judge(hour, is_bad, moment);
            // With buckets no older than one, the bound of what is remembered only keeps an episode
            // open whose forgotten buckets were never corrected, as the model does.
            prop_assert_eq!(track.open.is_some(), model.open.is_some(), "{:?}", step);
            match step {
                Step::Open(bucket, _) => prop_assert!(!was_open && bucket == at(hour)),
                Step::Resolve { .. } => prop_assert!(was_open && track.open.is_none()),
                Step::Show { .. } => prop_assert!(was_open && track.open.is_some()),
                Step::Nothing | Step::Later(_) => {
                    prop_assert_eq!(was_open, track.open.is_some());
                }
            }
            prop_assert!(track.recent.len() <= RECENT);
        }
    }
}
