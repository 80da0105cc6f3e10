//! What people hear of an alert, step by step.

use Severity::{Critical, Error, Warning};
use schemas::answer::Said;

use super::*;
use crate::samples::alert;

const MINUTE: i64 = 60 * 1_000_000;

/// What people hear of one alert, step by step.
#[derive(Default)]
struct Heard {
    told: Option<Told>,
    answer: Answer,
    company: Company,
    waits: bool,
}

impl Heard {
    fn at(&mut self, minute: i64, severity: Severity, is_open: bool) -> Vec<Kind> {
        let alert = alert("a", severity, is_open);
        let News { kinds, known, waits } =
            news(self.told.as_ref(), &alert, (&self.answer, self.company), Micros(minute * MINUTE));
        let again =
            news(Some(&known), &alert, (&self.answer, self.company), Micros(minute * MINUTE));
        assert_eq!((&again.kinds, &again.known), (&Vec::new(), &known), "nothing is told twice");
        (self.told, self.waits) = (Some(known), waits);
        kinds
    }

    fn mute(&mut self, is_muted: bool) {
        self.answer.muted_until = is_muted.then_some(Micros(i64::MAX));
    }

    fn acknowledge(&mut self) {
        self.answer.acknowledged = Some(Said { by: "kim".into(), at: Micros(0), comment: None });
    }
}

/// The kinds that these states of one alert give, one after another, an hour apart.
fn heard(states: &[(Severity, bool)]) -> Vec<Vec<Kind>> {
    let mut heard = Heard::default();
    let steps = (0..).zip(states);
    steps.map(|(hour, (severity, is_open))| heard.at(hour * 60, *severity, *is_open)).collect()
}

#[test]
fn an_alert_is_told_once_and_ends_once() {
    let states = [(Warning, true), (Warning, true), (Warning, false), (Warning, false)];
    assert_eq!(heard(&states), [vec![Kind::Opened], vec![], vec![Kind::Resolved], vec![]]);
}

#[test]
fn what_rises_is_told_and_what_falls_is_not() {
    let states = [(Warning, true), (Critical, true), (Error, true), (Critical, true)];
    assert_eq!(heard(&states), [vec![Kind::Opened], vec![Kind::Updated], vec![], vec![]]);
}

#[test]
fn one_that_was_over_before_it_was_told_opens_first() {
    assert_eq!(heard(&[(Warning, false)]), [vec![Kind::Opened, Kind::Resolved]]);
}

#[test]
fn one_that_rose_unheard_and_ended_says_both() {
    let states = [(Warning, true), (Critical, false)];
    assert_eq!(heard(&states)[1], [Kind::Updated, Kind::Resolved]);
}

#[test]
fn one_that_opens_again_is_told_as_the_second_time() {
    let mut heard = Heard::default();
    heard.at(0, Warning, false);
    assert_eq!(heard.at(60, Warning, true), [Kind::Opened]);
    let told = heard.told.unwrap();
    assert_eq!((told.round, told.is_open, told.flaps), (2, true, false));
}

#[test]
fn nineteen_openings_in_twenty_minutes_are_one_alert_that_flaps() {
    let mut heard = Heard::default();
    let mut kinds = Vec::new();
    for minute in 0..19 {
        kinds.extend(heard.at(minute, Warning, true));
        kinds.extend(heard.at(minute, Warning, false));
    }
    use Kind::{Opened, Resolved};
    assert_eq!(kinds, [Opened, Resolved, Opened, Resolved, Opened]);
    let told = heard.told.as_ref().unwrap();
    assert!(told.flaps && told.is_open && heard.waits, "{told:?}");
    assert_eq!(heard.at(37, Warning, false), [], "not calm for long enough");
    assert_eq!(heard.at(38, Warning, false), [Resolved]);
    assert!(!heard.waits);
    assert_eq!(heard.at(39, Warning, true), [Opened], "it begins anew");
    assert!(!heard.told.as_ref().unwrap().flaps);
    assert_eq!(heard.at(40, Warning, false), [Resolved]);
}

#[test]
fn one_that_flapped_and_goes_on_ends_as_any_other() {
    let mut heard = Heard::default();
    for minute in 0..3 {
        heard.at(minute, Warning, true);
        heard.at(minute, Warning, false);
    }
    assert_eq!(heard.at(4, Critical, true), [Kind::Updated], "that it is worse is told at once");
    assert_eq!(heard.at(60, Critical, false), [Kind::Resolved]);
}

#[test]
fn openings_that_are_far_apart_are_no_flapping() {
    let mut heard = Heard::default();
    for hour in 0..5 {
        assert_eq!(heard.at(hour * 60, Warning, true), [Kind::Opened]);
        assert_eq!(heard.at(hour * 60 + 1, Warning, false), [Kind::Resolved]);
    }
}

#[test]
fn what_is_muted_is_told_when_it_still_goes_on_after_the_mute() {
    let mut heard = Heard::default();
    heard.mute(true);
    assert_eq!(heard.at(0, Warning, true), []);
    assert!(heard.waits);
    assert_eq!(heard.at(60, Critical, true), []);
    heard.mute(false);
    assert_eq!(heard.at(61, Critical, true), [Kind::Opened]);
    assert_eq!(heard.told.as_ref().unwrap().round, 1);
    assert_eq!(heard.at(120, Critical, false), [Kind::Resolved]);
}

#[test]
fn what_began_and_ended_muted_is_never_told() {
    let mut heard = Heard::default();
    heard.mute(true);
    assert_eq!(heard.at(0, Warning, true), []);
    assert_eq!(heard.at(60, Warning, false), []);
    assert!(!heard.waits);
    heard.mute(false);
    assert_eq!(heard.at(61, Warning, false), []);
    let mut late = Heard::default();
    late.mute(true);
    assert_eq!(late.at(0, Warning, false), [], "it was over before anybody looked");
    assert!(!late.waits);
}

#[test]
fn who_heard_of_it_before_the_mute_hears_the_end_and_no_more() {
    let mut heard = Heard::default();
    assert_eq!(heard.at(0, Warning, true), [Kind::Opened]);
    heard.mute(true);
    assert_eq!(heard.at(1, Critical, true), []);
    assert!(heard.waits, "if it goes on after the mute, that it is worse is told");
    assert_eq!(heard.at(60, Critical, false), [Kind::Resolved]);
}

#[test]
fn one_that_somebody_looks_after_is_told_again_only_when_it_is_worse_or_over() {
    let mut heard = Heard::default();
    assert_eq!(heard.at(0, Error, true), [Kind::Opened]);
    heard.acknowledge();
    assert_eq!(heard.at(60, Error, true), []);
    assert_eq!(heard.at(120, Error, false), [Kind::Resolved]);
    assert_eq!(heard.at(180, Error, true), [], "somebody knows");
    assert_eq!(heard.at(240, Error, false), [], "and nobody hears an end without a beginning");
    assert_eq!(heard.at(300, Critical, true), [Kind::Opened], "worse than anybody knows");
    assert_eq!(heard.at(360, Critical, false), [Kind::Resolved]);
    let mut early = Heard::default();
    early.acknowledge();
    assert_eq!(early.at(0, Error, true), [Kind::Opened], "the first time all are told");
}

#[test]
fn what_an_older_release_wrote_is_read() {
    let text = r#"{"is_open":true,"severity":"error","round":2,"routes":["hook"]}"#;
    let told: Told = serde_json::from_str(text).unwrap();
    let News { kinds, known, .. } = news(
        Some(&told),
        &alert("a", Error, true),
        (&Answer::default(), Company::default()),
        Micros(0),
    );
    assert_eq!((kinds, known.round, known.is_open), (vec![], 2, true));
}

#[test]
fn one_whose_incident_was_told_is_heard_of_when_it_is_alone() {
    let mut heard = Heard::default();
    heard.company.is_told = true;
    assert_eq!(heard.at(0, Warning, true), []);
    assert!(heard.waits);
    heard.company.is_told = false;
    assert_eq!(heard.at(1, Warning, true), [Kind::Opened]);
    assert!(!heard.waits);
}

#[test]
fn one_whose_incident_was_told_ends_unheard() {
    let mut heard = Heard::default();
    heard.company.is_told = true;
    assert_eq!(heard.at(0, Warning, false), []);
    assert!(!heard.waits);
}

#[test]
fn an_incident_is_over_when_all_of_it_is() {
    let mut heard = Heard::default();
    assert_eq!(heard.at(0, Warning, true), [Kind::Opened]);
    heard.company.goes_on = true;
    assert_eq!(heard.at(1, Warning, false), []);
    assert!(heard.waits);
    heard.company.goes_on = false;
    assert_eq!(heard.at(2, Warning, false), [Kind::Resolved]);
}
