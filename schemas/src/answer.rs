//! Answers: what people said of alerts. A pure fold of their decisions.
//!
//! An alert may be acknowledged and judged; alerts may be muted, by what they are about and until an instant.
//!
//! # Guarantees
//! - [`Answers`] is a function of decisions and of the clocks of their epochs.
//! - What is held is bounded: [`ALERTS_MAX`] alerts with an answer, of which the one answered first is forgotten,
//!   and [`MUTES_MAX`] mutes, beyond which one more is refused.
//! - A mute that was made for one tenant concerns no other, whatever it matches.
//!
//! # Non-guarantees
//! - Whether there is such an alert is not asked: an answer may come before it, in a replay with other rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Severity};
use crate::alert_match::{AlertMatch, dims_of};
use crate::control::{ControlRecord, Decision};
use crate::epoch::{EpochId, EpochStamp};
use crate::time::Micros;

/// Alerts whose answers are held.
pub const ALERTS_MAX: usize = 5_000;
/// Mutes that may be in force.
pub const MUTES_MAX: usize = 1_000;
/// Bytes of a comment.
pub const COMMENT_MAX: usize = 2_000;

/// Somebody looks after an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The alert.
    pub alert: String,
    /// What there is to say.
    pub comment: Option<String>,
}

/// Whether an alert was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was worth it.
    Yes,
    /// Nothing was wrong.
    No,
    /// It was meant to be so.
    Planned,
}

impl Verdict {
    /// The word used in decisions and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Yes => "yes",
            Verdict::No => "no",
            Verdict::Planned => "planned",
        }
    }

    /// Parses [`Verdict::name`].
    pub fn parse(name: &str) -> Option<Verdict> {
        [Verdict::Yes, Verdict::No, Verdict::Planned].into_iter().find(|own| own.name() == name)
    }
}

/// What somebody thinks of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// The alert.
    pub alert: String,
    /// Whether it was right.
    pub verdict: Verdict,
    /// What there is to say.
    pub comment: Option<String>,
}

/// Nobody is told of these alerts for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// The only tenant that it concerns; `None`: all that it matches.
    pub tenant: Option<String>,
    /// Which alerts.
    #[serde(rename = "match")]
    pub matching: AlertMatch,
    /// When it ends.
    #[serde(with = "instant")]
    pub until: Micros,
    /// Why.
    pub comment: Option<String>,
}

/// Instants as people read them.
mod instant {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::time::Micros;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(at: &Micros, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Micros, D::Error> {
        let text = String::deserialize(from)?;
        Micros::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no instant")))
    }
}

/// A mute ends before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unmute {
    /// The mute: the id of its decision.
    pub mute: String,
}

/// Who said something, when, and with which words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who.
    pub by: Arc<str>,
    /// When, on the clock of the machine where that was.
    pub at: Micros,
    /// With which words.
    pub comment: Option<Arc<str>>,
}

impl Said {
    fn new(record: &ControlRecord, comment: Option<&String>) -> Said {
        Said {
            by: record.by.as_str().into(),
            at: record.at,
            comment: comment.map(|text| text.as_str().into()),
        }
    }
}

/// What people said of one alert. The newest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Who looks after it.
    pub acknowledged: Option<Said>,
    /// Whether it was right, in somebody's opinion.
    pub feedback: Option<(Verdict, Said)>,
    /// Until when nobody is told of it.
    #[serde(skip)]
    pub muted_until: Option<Micros>,
    /// The epoch in which the newest of this was said.
    pub epoch: EpochId,
}

/// An answer, and its place among all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    number: u64,
    answer: Answer,
}

/// A mute in force, and who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muted {
    /// What is muted, and until when.
    pub mute: Mute,
    /// Who made it, and when.
    pub said: Said,
    /// From which epoch on it holds.
    pub epoch: EpochId,
}

impl Muted {
    fn takes(&self, about: &About<'_>) -> bool {
        let Mute { tenant, matching, .. } = &self.mute;
        tenant.as_ref().is_none_or(|own| own == about.tenant)
            && matching.takes_severity(about.severity)
            && matching.takes_series(about.kpi, about.tenant, about.dims)
    }
}

/// What an alert is about, for mutes.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// How much it matters.
    pub severity: Severity,
    /// The KPI.
    pub kpi: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// The dimensions that have a value.
    pub dims: &'a BTreeMap<String, String>,
}

/// All answers that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// How many were given.
    given: u64,
    alerts: BTreeMap<Arc<str>, Held>,
    mutes: BTreeMap<Arc<str>, Muted>,
    /// The epoch in which a mute ended last, a tick perhaps.
    unmuted: EpochId,
}

impl Answers {
    /// Whether a decision is an answer.
    pub fn is_answer(decision: &Decision) -> bool {
        matches!(
            decision,
            Decision::Acknowledge(_)
                | Decision::Feedback(_)
                | Decision::Mute(_)
                | Decision::Unmute(_)
        )
    }

    /// Takes an answer in its epoch. Says what came of it, and whether that is as it should be.
    pub fn take(&mut self, record: &ControlRecord, stamp: &EpochStamp) -> (bool, String) {
        match &record.decision {
            Decision::Acknowledge(Acknowledge { alert, comment }) => {
                let said = Said::new(record, comment.as_ref());
                self.answer(alert, stamp.id).acknowledged = Some(said);
                (true, format!("alert {alert} is acknowledged"))
            }
            Decision::Feedback(Feedback { alert, verdict, comment }) => {
                let said = Said::new(record, comment.as_ref());
                self.answer(alert, stamp.id).feedback = Some((*verdict, said));
                (true, format!("alert {alert} was right: {}", verdict.name()))
            }
            Decision::Mute(mute) if mute.until <= stamp.clock => {
                (false, format!("a mute until {} is over already", mute.until))
            }
            Decision::Mute(_) if self.mutes.len() >= MUTES_MAX => {
                (false, format!("a mute is left out: {MUTES_MAX} are in force, end some"))
            }
            Decision::Mute(mute) => {
                let said = Said::new(record, mute.comment.as_ref());
                let text = format!("alerts are muted until {}", mute.until);
                let muted = Muted { mute: mute.clone(), said, epoch: stamp.id };
                self.mutes.insert(record.id.as_str().into(), muted);
                (true, text)
            }
            Decision::Unmute(Unmute { mute }) => match self.mutes.remove(mute.as_str()) {
                Some(_) => {
                    self.unmuted = stamp.id;
                    (true, format!("the mute {mute} is ended"))
                }
                None => (false, format!("there is no mute {mute}: nothing to end")),
            },
            _ => (true, String::new()),
        }
    }

    fn answer(&mut self, alert: &str, epoch: EpochId) -> &mut Answer {
        self.given += 1;
        if !self.alerts.contains_key(alert) && self.alerts.len() >= ALERTS_MAX {
            let first = self.alerts.iter().min_by_key(|(_, held)| held.number);
            if let Some(id) = first.map(|(id, _)| Arc::clone(id)) {
                self.alerts.remove(&id);
            }
        }
        let held = self.alerts.entry(alert.into());
        let held = held.or_insert_with(|| Held { number: 0, answer: Answer::default() });
        held.number = self.given;
        held.answer.epoch = epoch;
        &mut held.answer
    }

    /// When the next mute ends.
    pub fn next_due(&self) -> Option<Micros> {
        self.mutes.values().map(|muted| muted.mute.until).min()
    }

    /// Ends the mutes whose time is over by an epoch.
    pub fn pass(&mut self, stamp: &EpochStamp) {
        let before = self.mutes.len();
        self.mutes.retain(|_, muted| muted.mute.until > stamp.clock);
        if self.mutes.len() < before {
            self.unmuted = stamp.id;
        }
    }

    /// What people said of an alert.
    pub fn of(&self, alert: &Alert) -> Answer {
        let held = self.alerts.get(&alert.id).map(|held| held.answer.clone());
        let mut answer = held.unwrap_or_default();
        if !self.mutes.is_empty() {
            let dims = dims_of(&alert.key.dims);
            let (kpi, tenant) = (&*alert.key.kpi, &*alert.key.tenant);
            let about = About { severity: alert.severity, kpi, tenant, dims: &dims };
            for muted in self.muting(&about) {
                answer.muted_until = answer.muted_until.max(Some(muted.mute.until));
                answer.epoch = answer.epoch.max(muted.epoch);
            }
        }
        answer
    }

    fn muting(&self, about: &About<'_>) -> impl Iterator<Item = &Muted> {
        self.mutes.values().filter(|muted| muted.takes(about))
    }

    /// Who looks after an alert.
    pub fn acknowledged(&self, alert: &str) -> Option<&Said> {
        self.alerts.get(alert)?.answer.acknowledged.as_ref()
    }

    /// What somebody thinks of an alert.
    pub fn verdict(&self, alert: &str) -> Option<Verdict> {
        self.alerts.get(alert)?.answer.feedback.as_ref().map(|(verdict, _)| *verdict)
    }

    /// Until when nobody is told of such an alert.
    pub fn muted_until(&self, about: &About<'_>) -> Option<Micros> {
        self.muting(about).map(|muted| muted.mute.until).max()
    }

    /// The epoch in which a mute ended last.
    pub fn unmuted(&self) -> EpochId {
        self.unmuted
    }

    /// Whether the same decisions led here, whatever epochs without records there were.
    pub fn agrees(&self, other: &Answers) -> bool {
        *self == Answers { unmuted: self.unmuted, ..other.clone() }
    }

    /// The mutes in force, by their ids.
    pub fn mutes(&self) -> impl Iterator<Item = (&Arc<str>, &Muted)> {
        self.mutes.iter()
    }

    /// A mute in force.
    pub fn mute(&self, id: &str) -> Option<&Muted> {
        self.mutes.get(id)
    }
}

#[cfg(test)]
mod tests;
