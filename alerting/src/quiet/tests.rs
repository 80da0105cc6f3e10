//! When notices wait, on the clocks of zones, and what is told of them afterwards.

use Kind::{Opened, Resolved, Updated, Withdrawn};

use super::*;
use crate::samples::at;

fn quiet(toml: &str) -> Quiet {
    Quiet::read(&toml::from_str(toml).unwrap()).unwrap()
}

/// Until when a warning waits that comes at these instants.
fn until(quiet: &Quiet, instant: &str) -> Option<String> {
    quiet.holds(Severity::Warning, at(instant)).map(|end| end.to_string())
}

const BERLIN: &str = "from = '22:00'\nto = '07:00'\nzone = 'Europe/Berlin'\n";

#[test]
fn a_night_begins_on_one_day_and_ends_on_the_next() {
    let quiet = quiet(BERLIN);
    let morning = Some("2026-11-21T06:00:00Z".to_owned());
    assert_eq!(until(&quiet, "2026-11-20T20:59:59.999999Z"), None);
    assert_eq!(until(&quiet, "2026-11-20T21:00:00Z"), morning);
    assert_eq!(until(&quiet, "2026-11-20T23:30:00Z"), morning);
    assert_eq!(until(&quiet, "2026-11-21T05:59:59.999999Z"), morning);
    assert_eq!(until(&quiet, "2026-11-21T06:00:00Z"), None);
}

#[test]
fn nights_in_which_clocks_are_put_on_or_back_end_when_the_clocks_say_so() {
    let quiet = quiet(BERLIN);
    let ends = |instant| until(&quiet, instant).unwrap();
    assert_eq!(ends("2026-03-28T21:00:00Z"), "2026-03-29T05:00:00Z", "eight hours");
    assert_eq!(ends("2026-10-24T20:00:00Z"), "2026-10-25T06:00:00Z", "ten hours");
    assert_eq!(until(&quiet, "2026-10-25T06:00:00Z"), None);
    assert_eq!(until(&quiet, "2026-10-24T19:59:59Z"), None);
}

#[test]
fn an_end_that_clocks_leave_out_is_when_they_do_and_one_that_comes_twice_the_first() {
    let quiet = quiet("from = '22:00'\nto = '02:30'\nzone = 'Europe/Berlin'");
    assert_eq!(until(&quiet, "2026-03-28T23:00:00Z").unwrap(), "2026-03-29T01:00:00Z");
    assert_eq!(until(&quiet, "2026-10-24T23:00:00Z").unwrap(), "2026-10-25T00:30:00Z");
    assert_eq!(until(&quiet, "2026-10-25T00:45:00Z"), None, "02:45 for the first time");
    assert_eq!(until(&quiet, "2026-10-25T01:15:00Z"), None, "02:15 for the second time");
}

#[test]
fn days_are_those_on_which_they_begin() {
    let quiet = quiet("from = '22:00'\nto = '07:00'\ndays = ['fri', 'saturday']");
    // 20 November 2026 is a Friday.
    assert_eq!(until(&quiet, "2026-11-19T23:00:00Z"), None);
    assert_eq!(until(&quiet, "2026-11-20T06:00:00Z"), None, "Thursday's night");
    assert_eq!(until(&quiet, "2026-11-20T23:00:00Z").unwrap(), "2026-11-21T07:00:00Z");
    assert_eq!(until(&quiet, "2026-11-22T06:59:00Z").unwrap(), "2026-11-22T07:00:00Z");
    assert_eq!(until(&quiet, "2026-11-22T23:00:00Z"), None);
}

#[test]
fn whole_days_that_follow_each_other_are_one() {
    for toml in [
        "from = '00:00'\nto = '24:00'\ndays = ['sat', 'sun']",
        "from = '00:00'\nto = '00:00'\ndays = ['sat', 'sun']",
    ] {
        let quiet = quiet(toml);
        assert_eq!(until(&quiet, "2026-11-21T01:00:00Z").unwrap(), "2026-11-23T00:00:00Z");
        assert_eq!(until(&quiet, "2026-11-22T23:59:59Z").unwrap(), "2026-11-23T00:00:00Z");
        assert_eq!(until(&quiet, "2026-11-23T00:00:00Z"), None);
        assert_eq!(until(&quiet, "2026-11-20T23:59:59Z"), None);
    }
}

#[test]
fn what_is_excepted_does_not_wait() {
    let quiet = quiet("from = '22:00'\nto = '07:00'\nexcept = ['critical']");
    let night = at("2026-11-20T23:00:00Z");
    assert_eq!(quiet.holds(Severity::Critical, night), None);
    assert_eq!(quiet.holds(Severity::Error, night), Some(at("2026-11-21T07:00:00Z")));
}

#[test]
fn hours_that_are_none_are_refused_by_their_setting() {
    for (toml, says) in [
        ("from = '22'\nto = '07:00'", "quiet.from: `22`"),
        ("from = '22:00'\nto = '7:00'", "quiet.to: `7:00`"),
        ("from = '22:00'\nto = '07:00'\nzone = 'Europe/Berln'", "Europe/Berlin"),
        ("from = '22:00'\nto = '22:00'", "never end"),
        ("from = '00:00'\nto = '24:00'", "never end"),
    ] {
        let refused = Quiet::read(&toml::from_str(toml).unwrap()).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    assert!(toml::from_str::<QuietSettings>("from = '22:00'\nto = '07:00'\ntill = 'x'").is_err());
}

/// Those of these that need not be sent, by their place.
fn unsent(waits: &[(Kind, bool)]) -> Vec<i64> {
    let waits = (0..).zip(waits).map(|(number, (kind, is_held))| Waits {
        number,
        kind: *kind,
        is_held: *is_held,
    });
    moot(&waits.collect::<Vec<_>>())
}

#[test]
fn what_goes_on_is_sent_and_what_is_over_is_not() {
    assert_eq!(unsent(&[(Opened, true)]), [0; 0]);
    assert_eq!(unsent(&[(Opened, true), (Updated, true)]), [0; 0]);
    assert_eq!(unsent(&[(Opened, true), (Updated, true), (Resolved, true)]), [0, 1, 2]);
    assert_eq!(unsent(&[(Opened, true), (Withdrawn, false)]), [0, 1]);
    let again = [(Opened, true), (Resolved, true), (Opened, true)];
    assert_eq!(unsent(&again), [0, 1], "it goes on, for the second time");
}

#[test]
fn who_heard_the_beginning_hears_the_end() {
    assert_eq!(unsent(&[(Updated, true), (Resolved, true)]), [0], "that it opened was sent before");
    assert_eq!(unsent(&[(Resolved, true), (Opened, true), (Resolved, true)]), [1, 2]);
    assert_eq!(unsent(&[(Opened, false), (Updated, true), (Resolved, true)]), [1]);
    assert_eq!(unsent(&[(Opened, false), (Resolved, false)]), [0; 0]);
}
