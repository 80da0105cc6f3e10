//! `weir anomalies explain`: all that a lake knows of one alert, and what it does not know.
//!
//! # Guarantees
//! - Figures are those that the alert was judged by; settings are those in force now. What is not known is said to
//!   be unknown, with why.

mod told;

use std::path::PathBuf;

use clap::Args;
use engine::alerts::LakeAlerts;
use gold::{Catalog, Definition};
use lake::Lake;
use schemas::answer::Answer;
use schemas::in_force::Version;
use schemas::watching::DETECTORS;
use schemas::{Against, Alert, DefinitionKind, Micros, Watching, chain};

use super::super::setup::{Around, definitions_of, lake_root, open};
use crate::config::Config;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The alert's id.
    #[arg(value_parser = super::alert_id)]
    id: String,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// An alert with all that is around it.
struct Explained<'a> {
    held: &'a LakeAlerts,
    alert: &'a Alert,
    /// What people said of it; `None` where that is not known.
    answer: Option<Answer>,
    /// The others of its incident, the one that leads first, then those that opened first.
    others: Vec<&'a Alert>,
    rule: Rule,
    /// What its numbers are, where its KPI is still defined.
    unit: Option<&'static str>,
    /// KPIs that break its KPI down.
    parts: Vec<String>,
    /// The command that leads to the rows behind it, or why there is none.
    rows: Result<String, String>,
}

/// The rule that found it, and how it is set now.
#[derive(Debug)]
struct Rule {
    name: String,
    /// The detector, and its steps of that name; `None` where the KPI's file has no such rule.
    detector: Option<(&'static str, Vec<String>)>,
    /// How the KPI is watched, or why that is not known.
    watching: Result<Watching, String>,
    /// The version of the KPI's file in force.
    version: Option<Version>,
}

pub(super) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let lake = open(config, arguments.lake.as_deref())?;
    let held = engine::alerts::of(&lake).map_err(|e| Failure::Stopped(chain(&*e)))?;
    let Some(alert) = held.alerts.iter().find(|alert| *alert.id == *arguments.id) else {
        return Err(unknown(&arguments.id, &lake, &held));
    };
    let around = Around { lake: lake_root(config, arguments.lake.as_deref()), topics: None };
    let (_, catalog) = definitions_of(config, &around)?;
    let definition = catalog.get(&alert.key.kpi);
    let mut others: Vec<&Alert> = held.alerts.iter().collect();
    others.retain(|own| own.incident == alert.incident && own.id != alert.id);
    others.sort_by_key(|own| (own.id != own.incident, own.opened_at, &own.id));
    let breaks_down = |own: &schemas::KpiInfo| own.breakdown_of.as_deref() == Some(&*alert.key.kpi);
    let infos = catalog.infos().into_iter().filter(breaks_down);
    let explained = Explained {
        held: &held,
        alert,
        answer: held.answers.as_ref().map(|answers| answers.of(alert)),
        others,
        rule: rule(&lake, &catalog, alert),
        unit: definition.map(|own| own.unit.name()),
        parts: infos.map(|own| own.key.to_string()).collect(),
        rows: rows(&catalog, definition, alert, arguments.lake.as_deref()),
    };
    match arguments.json {
        true => crate::output::json(&explained.to_json()),
        false => explained.print(),
    }
    Ok(())
}

/// There is no such alert, and what to do about it.
fn unknown(id: &str, lake: &Lake, held: &LakeAlerts) -> Failure {
    let root = lake.root().display();
    let as_of = match held.as_of {
        Some((epoch, clock)) => format!(" as of epoch {epoch}, {clock}"),
        None => ", which has no alerts yet".to_owned(),
    };
    Failure::Usage(format!(
        "there is no alert {id} in the lake `{root}`{as_of}. The newest alerts of a running weir are there after its \
         next barrier: try again in a few seconds; `id` in /api/v1/alerts?state=all and `alert` in `weir alerts list \
         --json` name those there are; another lake is chosen with `--lake`"
    ))
}

/// The rule of an alert, by the definition of its KPI that is in force in the lake.
fn rule(lake: &Lake, catalog: &Catalog, alert: &Alert) -> Rule {
    let kpi = &*alert.key.kpi;
    let held = engine::definitions::in_force(lake).ok().flatten();
    let version = held.as_ref().and_then(|held| held.newest(DefinitionKind::Kpi, kpi)).cloned();
    let watching = match version.as_ref().and_then(|version| version.text.as_deref()) {
        Some(text) => Definition::parse(kpi, text)
            .map(|own| catalog.watching(&own))
            .map_err(|e| format!("the definition in force cannot be read: {}", chain(&e))),
        None if held.is_none() => {
            Err("the state of the last barrier, which has the definitions in force, cannot be read"
                .to_owned())
        }
        None => Err(format!("no definition of `{kpi}` is in force any more")),
    };
    let detector = watching.as_ref().ok().and_then(|own| detector(own, &alert.rule));
    Rule { name: alert.rule.to_string(), detector, watching, version }
}

/// The detector whose alerts have this name, and its steps.
fn detector(watching: &Watching, name: &str) -> Option<(&'static str, Vec<String>)> {
    let of =
        |against: &Against| watching.steps(*against).next().is_some_and(|own| *own.name == *name);
    if let Some(against) = Against::ALL.iter().find(|against| of(against)) {
        let steps = watching.steps(*against).map(schemas::ChangeRule::told);
        return Some((against.detector(), steps.collect()));
    }
    // Without a name of its file a rule has that of its detector, and needs steps unless it is the forecast.
    let is_forecast =
        |own: &&&str| **own == name && Against::ALL.iter().all(|a| a.detector() != name);
    DETECTORS.iter().find(is_forecast).map(|own| (*own, Vec::new()))
}

/// The command that leads to the rows of the cell.
fn rows(
    catalog: &Catalog,
    definition: Option<&Definition>,
    alert: &Alert,
    lake: Option<&std::path::Path>,
) -> Result<String, String> {
    let key = &alert.key;
    let definition =
        definition.ok_or_else(|| format!("the configuration has no KPI `{}` any more", key.kpi))?;
    gold::audit::explain::parts(catalog, definition)?;
    let mut words = vec!["weir explain".to_owned(), quoted(&key.kpi)];
    let mut flag = |name: &str, value: &str| {
        // A value that looks like a flag stands behind `=`.
        let between = if value.starts_with('-') { "=" } else { " " };
        words.push(format!("--{name}{between}{}", quoted(value)));
    };
    flag("tenant", &key.tenant);
    flag("grain", key.grain.name());
    flag("period", &key.period_start.to_string());
    let dims: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&key.dims).unwrap_or_default();
    for (name, value) in dims {
        flag("dim", &format!("{name}={}", value.as_str().unwrap_or_default()));
    }
    lake.into_iter().for_each(|lake| flag("lake", &lake.display().to_string()));
    Ok(words.join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

impl Explained<'_> {
    /// What it makes in the unit of the KPI: what is there, less what was expected; a sum that did not arrive is 0.
    fn impact(&self) -> Option<i128> {
        let is_missing = &*self.alert.anomaly_type == "missing";
        let value = self.alert.value.or(is_missing.then_some(0));
        value?.checked_sub(self.alert.expected?)
    }

    /// Distance and p-value; `None` where nothing was forecast when it was judged.
    fn chance(&self) -> Option<(f64, f64)> {
        let Alert { z_score, p_value, .. } = *self.alert;
        (z_score != 0.0 || p_value < 1.0).then_some((z_score, p_value))
    }

    /// Whether the alert that leads its incident is held.
    fn has_leader(&self) -> bool {
        self.alert.incident == self.alert.id
            || self.others.first().is_some_and(|own| own.id == own.incident)
    }

    /// Why it has no contributions.
    fn undivided(&self) -> Option<String> {
        let kpi = &self.alert.key.kpi;
        match (self.alert.contributions.is_empty(), self.parts.is_empty()) {
            (false, _) => None,
            (true, true) => Some(format!("unknown: no KPI breaks `{kpi}` down")),
            (true, false) => Some(format!(
                "none: no series of {} had moved in its direction when it was judged",
                self.parts.join(", ")
            )),
        }
    }
}

/// Epoch and clock of what is told.
fn stamp(held: &LakeAlerts) -> (Option<u64>, Option<Micros>) {
    held.as_of.unzip()
}

#[cfg(test)]
mod tests {
    use schemas::{ChangeRule, Severity};

    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_change_them() {
        let told = ["acme", "a b", "it's", "", "2026-03-01T00:00:00Z", "$(x)"].map(quoted);
        assert_eq!(told, ["acme", "'a b'", r"'it'\''s'", "''", "2026-03-01T00:00:00Z", "'$(x)'"]);
    }

    #[test]
    fn a_rule_is_found_by_the_name_of_its_alerts() {
        let step = |name: &str, up: u32| ChangeRule {
            name: name.into(),
            against: Against::WeekBefore,
            up: Some(up),
            down: None,
            severity: Severity::Error,
            budget: None,
        };
        let rules = vec![step("jump", 200_000), step("jump", 500_000)];
        let watching = Watching { rules, ..Watching::default() };
        let (of, steps) = detector(&watching, "jump").unwrap();
        assert_eq!(of, "change_week_before");
        assert_eq!(
            steps,
            ["jump: 0.2 above week_before: error", "jump: 0.5 above week_before: error"]
        );
        assert_eq!(detector(&watching, "seasonal"), Some(("seasonal", vec![])));
        assert_eq!(detector(&watching, "change_day_before"), None, "it has no steps");
        assert_eq!(detector(&watching, "gone"), None);
    }
}
