//! Weir's own troubles as an alert: what makes numbers old or incomplete is told to people like an anomaly.
//!
//! # Guarantees
//! - One alert at a time, however many troubles there are: it opens when some have lasted half a minute, and ends
//!   when there was none for a minute, so that what comes and goes does not ring each time.
//! - It rises from `warning` to `error` when a trouble comes that keeps numbers from being right.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::{Micros, Severity};
use serde_json::json;

use crate::notice::{self, Kind, Notice};
use crate::told::Told;

/// How long troubles last before anybody is told.
const OPENS_AFTER: Duration = Duration::from_secs(30);
/// How long there is none before it is over.
const ENDS_AFTER: Duration = Duration::from_secs(60);
/// What the ids of these alerts begin with.
pub(crate) const PREFIX: &str = "weir-degraded-";

/// A trouble, and whether numbers are right all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong and what to do.
    pub text: String,
    /// Whether it is slight.
    pub is_slight: bool,
}

/// The alert that goes on, or not.
#[derive(Debug, Default)]
pub(crate) struct OwnTroubles {
    /// The alert that people were told of, and the most that was told.
    open: Option<(String, Severity)>,
    /// Since when it has been as it is now: with troubles while none is told, without while one is.
    since: Option<Micros>,
}

impl OwnTroubles {
    /// Goes on with the alert that was open when the process ended.
    pub(crate) fn resume<'a>(
        mut told: impl Iterator<Item = (&'a String, &'a Told)>,
    ) -> OwnTroubles {
        let open = told.find(|(id, told)| id.starts_with(PREFIX) && told.is_open);
        OwnTroubles { open: open.map(|(id, told)| (id.clone(), told.severity)), since: None }
    }

    /// What is to be told with these troubles.
    pub(crate) fn step(
        &mut self,
        troubles: &[Trouble],
        now: Micros,
        link: Option<&str>,
    ) -> Option<Notice> {
        let severity = match troubles.iter().all(|trouble| trouble.is_slight) {
            true => Severity::Warning,
            false => Severity::Error,
        };
        let kind = match &self.open {
            None if troubles.is_empty() => return self.wait(),
            None => self.lasts(now, OPENS_AFTER).then_some(Kind::Opened)?,
            Some(_) if troubles.is_empty() => {
                self.lasts(now, ENDS_AFTER).then_some(Kind::Resolved)?
            }
            Some((_, told)) if severity > *told => Kind::Updated,
            Some(_) => return self.wait(),
        };
        let since = self.since.take().unwrap_or(now);
        let (id, told) =
            self.open.take().unwrap_or_else(|| (format!("{PREFIX}{}", since.0), severity));
        let severity = told.max(severity);
        let notice = notice(&id, kind, severity, troubles, now, link);
        self.open = (kind != Kind::Resolved).then_some((id, severity));
        Some(notice)
    }

    /// Nothing is about to change.
    fn wait(&mut self) -> Option<Notice> {
        self.since = None;
        None
    }

    /// Whether what is about to change has lasted so long.
    fn lasts(&mut self, now: Micros, wanted: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        u128::try_from(now.0 - since.0).is_ok_and(|micros| micros >= wanted.as_micros())
    }
}

fn notice(
    id: &str,
    kind: Kind,
    severity: Severity,
    troubles: &[Trouble],
    now: Micros,
    link: Option<&str>,
) -> Notice {
    let texts: Vec<&str> = troubles.iter().map(|trouble| trouble.text.as_str()).collect();
    let summary = match kind {
        Kind::Resolved | Kind::Withdrawn => {
            "Weir is well again: numbers are complete and up to date".to_owned()
        }
        Kind::Opened | Kind::Updated | Kind::Digest => {
            format!("Weir is degraded, numbers may be old or incomplete: {}", texts.join("; "))
        }
    };
    let started =
        id.strip_prefix(PREFIX).and_then(|micros| micros.parse().ok()).map_or(now, Micros);
    let ends_at = kind.is_last().then_some(now);
    let state = if kind.is_last() { "resolved" } else { "firing" };
    Notice {
        id: notice::id(id, kind, severity, 1),
        alert: id.to_owned(),
        kind,
        severity,
        about: None,
        labels: BTreeMap::from([
            ("alertname".to_owned(), "WeirDegraded".to_owned()),
            ("weir_alert_id".to_owned(), id.to_owned()),
        ]),
        annotations: BTreeMap::from([("summary".to_owned(), summary.clone())]),
        starts_at: started,
        ends_at,
        link: link.map(str::to_owned),
        body: json!({
            "id": id, "kpi": null, "tenant": null, "severity": severity.name(), "state": state,
            "reason": summary, "troubles": texts, "opened_at": started.to_string(),
            "resolved_at": ends_at.map(|at| at.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(is_slight: bool) -> Vec<Trouble> {
        vec![Trouble { text: "a table stands".into(), is_slight }]
    }

    /// What is told at these seconds, with or without troubles.
    fn heard(own: &mut OwnTroubles, steps: &[(i64, &[Trouble])]) -> Vec<(i64, Kind)> {
        let tell = |(second, troubles): &(i64, &[Trouble])| {
            let notice = own.step(troubles, Micros(second * 1_000_000), None)?;
            Some((*second, notice.kind))
        };
        steps.iter().filter_map(tell).collect()
    }

    #[test]
    fn what_lasts_is_told_and_what_flaps_is_not() {
        let (bad, good): (&[Trouble], &[Trouble]) = (&trouble(false), &[]);
        let mut own = OwnTroubles::default();
        let flaps = [(0, bad), (20, good), (25, bad), (45, bad), (54, bad)];
        assert_eq!(heard(&mut own, &flaps), []);
        let lasts = [
            (55, bad),
            (56, bad),
            (60, good),
            (110, bad),
            (115, good),
            (170, good),
            (175, good),
            (300, good),
        ];
        assert_eq!(heard(&mut own, &lasts), [(55, Kind::Opened), (175, Kind::Resolved)]);
    }

    #[test]
    fn it_rises_once_and_does_not_fall() {
        let (slight, grave): (&[Trouble], &[Trouble]) = (&trouble(true), &trouble(false));
        let steps = [(0, slight), (30, slight), (31, grave), (32, slight), (33, grave)];
        assert_eq!(
            heard(&mut OwnTroubles::default(), &steps),
            [(30, Kind::Opened), (31, Kind::Updated)]
        );
    }

    #[test]
    fn a_new_process_ends_what_the_last_one_told() {
        let bad = trouble(false);
        let mut own = OwnTroubles::default();
        own.step(&bad, Micros(0), None);
        let first = own.step(&bad, Micros(30_000_000), None).unwrap();
        let told = Told::begin(first.severity, 1);
        let mut next = OwnTroubles::resume([(&first.alert, &told)].into_iter());
        assert!(next.step(&[], Micros(40_000_000), None).is_none());
        let last = next.step(&[], Micros(100_000_000), None).unwrap();
        assert_eq!((last.alert, last.kind), (first.alert, Kind::Resolved));
        assert_eq!(last.starts_at, Micros(0));
    }
}
