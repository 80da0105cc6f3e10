//! How a KPI is watched: what its file says of alerts.
//!
//! # Guarantees
//! - What is not said is `None`, empty or the usual word, and adds nothing to an identity.
//! - Numbers are exact: mantissas and millionths, never floats.

use std::sync::Arc;

use crate::decimal::{self, VALUE_SCALE};
use crate::identity::{Fingerprint, Identity};

/// The names of all detectors, as a KPI's file may list them.
pub const DETECTORS: [&str; 4] =
    ["seasonal", "change_week_before", "change_day_before", "change_budget"];

/// The longest lateness that may be set, in hours.
pub const LATENESS_HOURS: i64 = 48;

/// What is one, in millionths.
pub const MILLION: u32 = 1_000_000;

/// How surprising a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sensitivity {
    /// Half as much more than usually.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// A quarter less.
    High,
}

impl Sensitivity {
    /// Every one of them.
    pub const ALL: [Sensitivity; 3] = [Sensitivity::Low, Sensitivity::Normal, Sensitivity::High];

    /// The word used in files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Sensitivity::Low => "low",
            Sensitivity::Normal => "normal",
            Sensitivity::High => "high",
        }
    }
}

/// Which deviations open an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Too high and too low.
    #[default]
    Both,
    /// Too high only.
    Up,
    /// Too low only, and what does not arrive.
    Down,
}

impl Direction {
    /// Every one of them.
    pub const ALL: [Direction; 3] = [Direction::Both, Direction::Up, Direction::Down];

    /// The word used in files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Both => "both",
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

/// What a rule compares a day with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Against {
    /// The same day one week before.
    WeekBefore,
    /// The day before.
    DayBefore,
    /// The same day of another KPI, which says how much there should be.
    Budget,
}

impl Against {
    /// Every one of them.
    pub const ALL: [Against; 3] = [Against::WeekBefore, Against::DayBefore, Against::Budget];

    /// The word used in files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Against::WeekBefore => "week_before",
            Against::DayBefore => "day_before",
            Against::Budget => "budget",
        }
    }

    /// The detector that compares with it.
    pub fn detector(self) -> &'static str {
        match self {
            Against::WeekBefore => "change_week_before",
            Against::DayBefore => "change_day_before",
            Against::Budget => "change_budget",
        }
    }
}

/// A step of a rule: how far is too far, and how bad that is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeRule {
    /// The name of its alerts.
    pub name: Arc<str>,
    /// What it compares with.
    pub against: Against,
    /// How far above is too far, in millionths: of what is compared with, of a ratio in points.
    pub up: Option<u32>,
    /// How far below.
    pub down: Option<u32>,
    /// How bad that is.
    pub severity: crate::Severity,
    /// The KPI that says how much there should be, of a budget.
    pub budget: Option<Arc<str>>,
}

/// How a KPI is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watching {
    /// Whether it is.
    pub enabled: bool,
    /// How surprising a value must be.
    pub sensitivity: Sensitivity,
    /// Which deviations open an alert.
    pub direction: Direction,
    /// The least deviation that opens one, in millionths: of what was expected, of a ratio in points.
    pub least_change: Option<u32>,
    /// The same in the KPI's unit, as a mantissa.
    pub least_impact: Option<i128>,
    /// How long after its end a period is whole, in hours.
    pub lateness: Option<i64>,
    /// The detectors that look at it; none named: all of them.
    pub detectors: Option<Vec<&'static str>>,
    /// Steps of rules, in the order of the file.
    pub rules: Vec<ChangeRule>,
}

impl Default for Watching {
    fn default() -> Watching {
        Watching {
            enabled: true,
            sensitivity: Sensitivity::Normal,
            direction: Direction::Both,
            least_change: None,
            least_impact: None,
            lateness: None,
            detectors: None,
            rules: Vec::new(),
        }
    }
}

impl Watching {
    /// Whether a detector looks at the KPI.
    pub fn has(&self, detector: &str) -> bool {
        self.enabled && self.detectors.as_ref().is_none_or(|named| named.contains(&detector))
    }

    /// The steps of the rule that compares with this.
    pub fn steps(&self, against: Against) -> impl Iterator<Item = &ChangeRule> + Clone {
        self.rules.iter().filter(move |rule| rule.against == against)
    }

    /// The KPIs that rules compare with.
    pub fn budgets(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().filter_map(|rule| rule.budget.as_ref())
    }
}

/// Hours, rounded up, from a duration such as `2h`.
///
/// # Errors
/// When the text is none, or longer than [`LATENESS_HOURS`]; the text says what to write instead.
pub fn lateness(text: &str) -> Result<i64, String> {
    const UNITS: [(&str, i64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let seconds = UNITS.iter().find_map(|(unit, factor)| {
        let number = text.trim().strip_suffix(unit)?.trim().parse::<u32>().ok()?;
        Some(i64::from(number) * factor)
    });
    let seconds = seconds.ok_or_else(|| {
        format!("`{text}` is no duration; write it as `2h`, with one of the units s, m, h, d")
    })?;
    let hours = (seconds + 3_599) / 3_600;
    if hours > LATENESS_HOURS {
        return Err(format!(
            "`{text}` is too long; periods are waited for at most {LATENESS_HOURS}h"
        ));
    }
    Ok(hours)
}

/// Millionths as a number without zeros at its end: `0.2`.
pub fn share(millionths: u32) -> String {
    decimal::format(i128::from(millionths), 6)
}

impl Watching {
    /// The settings that are not as usual, field and value, as people read them.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if !self.enabled {
            all.push(("enabled", "false".to_owned()));
        }
        if self.sensitivity != Sensitivity::Normal {
            all.push(("sensitivity", self.sensitivity.name().to_owned()));
        }
        if self.direction != Direction::Both {
            all.push(("direction", self.direction.name().to_owned()));
        }
        all.extend(self.least_change.map(|own| ("least_change", share(own))));
        let impact = self.least_impact.map(|own| decimal::format(own, VALUE_SCALE));
        all.extend(impact.map(|own| ("least_impact", own)));
        all.extend(self.lateness.map(|own| ("lateness", format!("{own}h"))));
        all.extend(self.detectors.as_ref().map(|own| ("detectors", own.join(", "))));
        all.extend(self.rules.iter().map(|rule| ("rule", rule.told())));
        all
    }
}

impl ChangeRule {
    /// `cost_spike: 0.2 above week_before: warning`.
    pub fn told(&self) -> String {
        let side = |by: Option<u32>, word: &str| by.map(|by| format!("{} {word}", share(by)));
        let sides: Vec<String> =
            side(self.up, "above").into_iter().chain(side(self.down, "below")).collect();
        let what = self.budget.as_deref().unwrap_or(self.against.name());
        let (name, severity) = (&self.name, self.severity.name());
        format!("{name}: {} {what}: {severity}", sides.join(" or "))
    }
}

impl Identity for ChangeRule {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("name", &self.name);
        out.text("against", self.against.name());
        out.text("up", &self.up.map(share).unwrap_or_default());
        out.text("down", &self.down.map(share).unwrap_or_default());
        out.text("severity", self.severity.name());
        out.text("budget", self.budget.as_deref().unwrap_or_default());
    }
}

impl Identity for Watching {
    fn identify(&self, out: &mut Fingerprint) {
        out.flag("disabled", !self.enabled);
        if self.sensitivity != Sensitivity::Normal {
            out.text("sensitivity", self.sensitivity.name());
        }
        if self.direction != Direction::Both {
            out.text("direction", self.direction.name());
        }
        // As texts: 0 is a setting, too.
        out.text("least_change", &self.least_change.map(share).unwrap_or_default());
        let impact = self.least_impact.map(|own| own.to_string());
        out.text("least_impact", &impact.unwrap_or_default());
        let hours = self.lateness.map(|own| own.to_string());
        out.text("lateness", &hours.unwrap_or_default());
        if let Some(named) = &self.detectors {
            out.texts("detectors", named.iter().copied());
            out.flag("no_detectors", named.is_empty());
        }
        out.list("rules", self.rules.iter().map(|rule| rule as &dyn Identity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;

    fn rule() -> ChangeRule {
        ChangeRule {
            name: "dear".into(),
            against: Against::WeekBefore,
            up: Some(200_000),
            down: None,
            severity: Severity::Warning,
            budget: None,
        }
    }

    /// Everything that can be said, one thing each.
    fn all() -> Vec<Watching> {
        let usual = Watching::default;
        vec![
            Watching { enabled: false, ..usual() },
            Watching { sensitivity: Sensitivity::Low, ..usual() },
            Watching { sensitivity: Sensitivity::High, ..usual() },
            Watching { direction: Direction::Up, ..usual() },
            Watching { direction: Direction::Down, ..usual() },
            Watching { least_change: Some(0), ..usual() },
            Watching { least_change: Some(300_000), ..usual() },
            Watching { least_impact: Some(0), ..usual() },
            Watching { least_impact: Some(5), ..usual() },
            Watching { lateness: Some(0), ..usual() },
            Watching { lateness: Some(2), ..usual() },
            Watching { detectors: Some(vec![]), ..usual() },
            Watching { detectors: Some(vec!["seasonal"]), ..usual() },
            Watching { rules: vec![rule()], ..usual() },
            Watching { rules: vec![ChangeRule { up: None, down: Some(0), ..rule() }], ..usual() },
            Watching { rules: vec![ChangeRule { name: "other".into(), ..rule() }], ..usual() },
        ]
    }

    #[test]
    fn lateness_is_in_whole_hours() {
        for (text, hours) in [("0s", 0), ("2h", 2), ("90m", 2), ("1 d", 24), ("48h", 48), ("1s", 1)]
        {
            assert_eq!(lateness(text), Ok(hours), "{text}");
        }
        for (text, says) in
            [("2", "write it as `2h`"), ("-1h", "no duration"), ("3d", "at most 48h")]
        {
            assert!(lateness(text).unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn what_is_said_is_part_of_the_identity_and_what_is_usual_is_not() {
        assert_eq!(Watching::default().identity(), Fingerprint::default().finish());
        assert_eq!(Watching::default().told(), []);
        let hashes: Vec<String> = all().iter().map(Identity::identity).collect();
        for (at, one) in hashes.iter().enumerate() {
            assert_ne!(*one, Watching::default().identity(), "{at}");
            assert!(!hashes[at + 1..].contains(one), "{at}");
        }
        assert!(all().iter().all(|own| own.told().len() == 1));
        assert_eq!(all()[13].told(), [("rule", "dear: 0.2 above week_before: warning".into())]);
    }
}
