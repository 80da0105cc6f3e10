//! `[anomaly]` of a definition: how the KPI is watched.
//!
//! # Guarantees
//! - What is not said stays as usual. A refusal names the field and what to write instead.
//!
//! # Non-guarantees
//! - Whether a budget exists is not known here: [`crate::Catalog`] checks that.

use std::sync::Arc;

use schemas::decimal::{self, VALUE_SCALE};
use schemas::nearest::nearest;
use schemas::watching::{DETECTORS, MILLION, lateness};
use schemas::{Against, ChangeRule, Direction, Sensitivity, Severity, Watching};
use serde::Deserialize;

use super::{DefinitionError, choice, field, formula};

/// The most that a rule may ask for: a thousand times as much.
const FAR_MAX: f64 = 1_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileAnomaly {
    enabled: Option<bool>,
    sensitivity: Option<String>,
    direction: Option<String>,
    least_change: Option<f64>,
    least_impact: Option<f64>,
    lateness: Option<String>,
    detectors: Option<Vec<String>>,
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    name: Option<String>,
    kind: String,
    against: String,
    up: Option<f64>,
    down: Option<f64>,
    severity: Option<String>,
    budget: Option<String>,
}

/// Reads how a KPI is watched.
pub(super) fn read(file: &str, raw: Option<FileAnomaly>) -> Result<Watching, DefinitionError> {
    let Some(raw) = raw else { return Ok(Watching::default()) };
    let sensitivity = raw.sensitivity.map(|text| {
        choice(file, "anomaly.sensitivity", &text, &Sensitivity::ALL.map(|own| (own.name(), own)))
    });
    let direction = raw.direction.map(|text| {
        choice(file, "anomaly.direction", &text, &Direction::ALL.map(|own| (own.name(), own)))
    });
    let least_change = raw.least_change.map(|own| far(file, "anomaly.least_change", own));
    let hours = raw
        .lateness
        .map(|text| lateness(&text).map_err(|problem| field(file, "anomaly.lateness", problem)));
    let mut rules: Vec<ChangeRule> = Vec::new();
    for own in raw.rule {
        let rule = rule(file, own)?;
        check_beside(file, &rule, &rules)?;
        rules.push(rule);
    }
    Ok(Watching {
        enabled: raw.enabled.unwrap_or(true),
        sensitivity: sensitivity.transpose()?.unwrap_or_default(),
        direction: direction.transpose()?.unwrap_or_default(),
        least_change: least_change.transpose()?,
        least_impact: raw.least_impact.map(|own| impact(file, own)).transpose()?,
        lateness: hours.transpose()?,
        detectors: raw.detectors.map(|names| detectors(file, &names)).transpose()?,
        rules,
    })
}

fn rule(file: &str, raw: FileRule) -> Result<ChangeRule, DefinitionError> {
    choice(file, "anomaly.rule.kind", &raw.kind, &[("change", ())])?;
    let against = Against::ALL.map(|own| (own.name(), own));
    let against = choice(file, "anomaly.rule.against", &raw.against, &against)?;
    let severities = [Severity::Warning, Severity::Error, Severity::Critical];
    let severities = severities.map(|own| (own.name(), own));
    let severity = raw
        .severity
        .map(|text| choice(file, "anomaly.rule.severity", &text, &severities))
        .transpose()?;
    let up = raw.up.map(|own| far(file, "anomaly.rule.up", own)).transpose()?;
    let down = raw.down.map(|own| far(file, "anomaly.rule.down", own)).transpose()?;
    if up.is_none() && down.is_none() {
        let problem =
            "is missing, and so is `down`; say how far above or below is too far, as `up = 0.2`";
        return Err(field(file, "anomaly.rule.up", problem));
    }
    let name = raw.name.unwrap_or_else(|| against.detector().to_owned());
    if !formula::is_name(&name) {
        let problem = "use lower-case letters, digits and `_`, starting with a letter";
        return Err(field(file, "anomaly.rule.name", problem));
    }
    let is_budget = against == Against::Budget;
    if raw.budget.is_some() != is_budget {
        let problem = match is_budget {
            true => "is missing; name the KPI that says how much there should be",
            false => "belongs to a rule with `against = \"budget\"`; remove it",
        };
        return Err(field(file, "anomaly.rule.budget", problem));
    }
    let (name, budget) = (Arc::from(name), raw.budget.map(Arc::from));
    Ok(ChangeRule {
        name,
        against,
        up,
        down,
        severity: severity.unwrap_or(Severity::Warning),
        budget,
    })
}

/// Rules against the same thing are steps of one, and those against another have names of their own.
fn check_beside(
    file: &str,
    rule: &ChangeRule,
    others: &[ChangeRule],
) -> Result<(), DefinitionError> {
    for other in others {
        let is_same = other.against == rule.against;
        if is_same && other.name != rule.name {
            let problem = format!(
                "is `{}`, and `{}` of another rule against {}; rules against the same thing are steps of one, \
                 with one name",
                rule.name,
                other.name,
                rule.against.name(),
            );
            return Err(field(file, "anomaly.rule.name", problem));
        }
        if !is_same && other.name == rule.name {
            let problem = format!(
                "`{}` is also that of a rule against {}; give it another",
                rule.name,
                other.against.name()
            );
            return Err(field(file, "anomaly.rule.name", problem));
        }
        if is_same && other.budget != rule.budget {
            return Err(field(
                file,
                "anomaly.rule.budget",
                "is another one in another rule; keep one",
            ));
        }
    }
    if rule.name.as_ref() == DETECTORS[0] {
        let problem = "`seasonal` is that of the forecast; give it another";
        return Err(field(file, "anomaly.rule.name", problem));
    }
    Ok(())
}

/// A share as millionths.
fn far(file: &str, name: &'static str, share: f64) -> Result<u32, DefinitionError> {
    let wrong = || {
        let problem = format!("`{share}` is no share from 0 to {FAR_MAX}; write a fifth as 0.2");
        field(file, name, problem)
    };
    let is_share =
        (0.0..=FAR_MAX).contains(&share) && (share > 0.0 || name.ends_with("least_change"));
    if !is_share {
        return Err(wrong());
    }
    let millionths = decimal::parse(format!("{share:.6}").as_bytes(), 6).ok_or_else(wrong)?;
    let millionths = u32::try_from(millionths).map_err(|_| wrong())?;
    debug_assert!(millionths / MILLION <= 1_000);
    Ok(millionths)
}

fn impact(file: &str, value: f64) -> Result<i128, DefinitionError> {
    let wrong = || {
        let problem = format!("`{value}` is no amount; write it as 100 or 99.5, in the KPI's unit");
        field(file, "anomaly.least_impact", problem)
    };
    if !(0.0..=1e18).contains(&value) {
        return Err(wrong());
    }
    decimal::parse(format!("{value:.10}").as_bytes(), VALUE_SCALE).ok_or_else(wrong)
}

fn detectors(file: &str, names: &[String]) -> Result<Vec<&'static str>, DefinitionError> {
    const FIELD: &str = "anomaly.detectors";
    if names.is_empty() {
        let problem = "is empty; name some, or write `enabled = false`";
        return Err(field(file, FIELD, problem));
    }
    let mut found = Vec::new();
    for name in names {
        let Some(own) = DETECTORS.into_iter().find(|own| own == name) else {
            let hint = nearest(name, DETECTORS.into_iter());
            let problem =
                format!("`{name}` is unknown{hint}; use some of: {}", DETECTORS.join(", "));
            return Err(field(file, FIELD, problem));
        };
        if found.contains(&own) {
            return Err(field(file, FIELD, format!("`{name}` is named twice")));
        }
        found.push(own);
    }
    // In one order, so that the order of the file is no change.
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::Definition;

    use super::*;

    fn parse(anomaly: &str) -> Result<Watching, String> {
        let text = format!(
            "key='k'\ntitle='K'\nunit='count'\ngood='up'\ncontract='orders'\ntime='placed_at'\n\
             aggregate='count(*)'\n{anomaly}"
        );
        let read = Definition::parse("k.toml", &text);
        read.map(|own| own.watching).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_setting() {
        assert_eq!(parse(""), Ok(Watching::default()));
        assert_eq!(parse("[anomaly]\nenabled=true\nsensitivity='normal'"), Ok(Watching::default()));
        let all = "[anomaly]\nenabled=false\nsensitivity='low'\ndirection='down'\nleast_change=0.25\n\
                   least_impact=99.5\nlateness='2h'\ndetectors=['seasonal','change_day_before']\n\
                   [[anomaly.rule]]\nkind='change'\nagainst='day_before'\nup=0.2\ndown=0.05\n\
                   severity='error'\n";
        let rule = ChangeRule {
            name: "change_day_before".into(),
            against: Against::DayBefore,
            up: Some(200_000),
            down: Some(50_000),
            severity: Severity::Error,
            budget: None,
        };
        let read = Watching {
            enabled: false,
            sensitivity: Sensitivity::Low,
            direction: Direction::Down,
            least_change: Some(250_000),
            least_impact: Some(995_000_000_000),
            lateness: Some(2),
            detectors: Some(vec!["change_day_before", "seasonal"]),
            rules: vec![rule],
        };
        assert_eq!(parse(all), Ok(read));
    }

    #[test]
    fn refuses_with_file_field_and_advice() {
        let rule = |more: &str| format!("[[anomaly.rule]]\nkind='change'\n{more}\n");
        let week = "against='week_before'\nup=0.2\n";
        for (text, says) in [
            ("[anomaly]\nenable=true".into(), "unknown field `enable`"),
            (
                "[anomaly]\nsensitivity='loud'".into(),
                "k.toml: anomaly.sensitivity: `loud` is unknown; use one of: low,",
            ),
            (
                "[anomaly]\ndirection='out'".into(),
                "k.toml: anomaly.direction: `out` is unknown; use one of: both, up, down",
            ),
            (
                "[anomaly]\nleast_change=-0.1".into(),
                "k.toml: anomaly.least_change: `-0.1` is no share",
            ),
            (
                "[anomaly]\nleast_impact=-1.0".into(),
                "k.toml: anomaly.least_impact: `-1` is no amount",
            ),
            (
                "[anomaly]\nlateness='2'".into(),
                "k.toml: anomaly.lateness: `2` is no duration; write it as `2h`",
            ),
            ("[anomaly]\nlateness='9d'".into(), "at most 48h"),
            ("[anomaly]\ndetectors=[]".into(), "k.toml: anomaly.detectors: is empty"),
            (
                "[anomaly]\ndetectors=['seasonl']".into(),
                "`seasonl` is unknown (did you mean `seasonal`?)",
            ),
            ("[anomaly]\ndetectors=['seasonal','seasonal']".into(), "is named twice"),
            (
                "[[anomaly.rule]]\nkind='x'\nagainst='week_before'".into(),
                "anomaly.rule.kind: `x` is unknown; use one of: change",
            ),
            (rule("against='year_before'\nup=1.0"), "use one of: week_before, day_before, budget"),
            (rule("against='week_before'"), "anomaly.rule.up: is missing, and so is `down`"),
            (rule("against='week_before'\nup=0.0"), "anomaly.rule.up: `0` is no share"),
            (
                rule("against='week_before'\nup=0.2\nseverity='info'"),
                "use one of: warning, error, critical",
            ),
            (rule("against='budget'\nup=0.2"), "anomaly.rule.budget: is missing; name the KPI"),
            (rule(&format!("{week}budget='b'")), "belongs to a rule with"),
            (rule(&format!("{week}name='A b'")), "anomaly.rule.name: use lower-case"),
            (rule(&format!("{week}name='seasonal'")), "that of the forecast"),
            (format!("{}{}", rule(week), rule(&format!("{week}name='x'"))), "steps of one"),
            (
                format!(
                    "{}{}",
                    rule(&format!("{week}name='x'")),
                    rule("name='x'\nagainst='day_before'\nup=1.0")
                ),
                "is also that of a rule against week_before",
            ),
        ] {
            let refused = parse(&text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
