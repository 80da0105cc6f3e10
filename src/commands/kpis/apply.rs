//! `weir kpis apply`: definitions that have changed come into force, beside a running Weir without its end.
//!
//! # Guarantees
//! - Files that `weir run` would refuse are refused, and nothing is decided.
//! - Nothing is put in force here: the decision is kept, and whoever writes the lake obeys it.

use clap::Args;
use lake::Lake;
use schemas::{Decision, DefinitionChange, DefinitionKind, InForce};
use serde_json::{Value, json};

use super::backfill;
use crate::commands::consent::Consent;
use crate::commands::setup::{self, Setup, lake_root, open};
use crate::commands::{decisions, obeyed};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    consent: Consent,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How a definition differs from the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    New,
    Changed,
    /// Of a contract: what was read stays.
    Extended,
    Removed,
}

impl Difference {
    fn name(self) -> &'static str {
        match self {
            Difference::New => "new",
            Difference::Changed | Difference::Extended => "changed",
            Difference::Removed => "removed",
        }
    }
}

/// A definition that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Differing {
    of: DefinitionKind,
    name: String,
    how: Difference,
    /// The version in force, and the epoch since which it is.
    held: Option<(u32, u64)>,
}

/// How what is wanted differs from what is in force, but for words that compute nothing.
fn differing(held: &InForce, wanted: &[DefinitionChange]) -> Vec<Differing> {
    let of = |change: &DefinitionChange, how| {
        let version = held.newest(change.of, &change.name);
        let held = version.map(|version| (version.number, version.since));
        Differing { of: change.of, name: change.name.clone(), how, held }
    };
    let changes = held.changes_to(wanted.iter().cloned());
    let mut all: Vec<Differing> = changes
        .iter()
        .map(|change| {
            let is_held = held.newest(change.of, &change.name).is_some();
            let how = match (&change.identity, is_held) {
                (None, _) => Difference::Removed,
                (Some(_), true) if change.extends => Difference::Extended,
                (Some(_), true) => Difference::Changed,
                (Some(_), false) => Difference::New,
            };
            of(change, how)
        })
        .collect();
    all.sort_by(|a, b| (a.of, &a.name).cmp(&(b.of, &b.name)));
    all
}

/// What follows from it. `cells`: how many a KPI has now.
fn follows(own: &Differing, cells: usize) -> String {
    let name = &own.name;
    match (own.of, own.how) {
        (DefinitionKind::Kpi, Difference::New) => "it is computed from silver".to_owned(),
        (DefinitionKind::Kpi, Difference::Changed | Difference::Extended) => {
            "it is computed anew from silver, and watched anew: alerts of it that there were go"
                .to_owned()
        }
        (DefinitionKind::Kpi, Difference::Removed) => format!(
            "its {} cells go from gold/kpi_current and from answers, its alerts from gold/anomalies; what \
             gold/kpi_history says of it stays",
            output::count(cells as u64)
        ),
        (DefinitionKind::View, Difference::New | Difference::Changed | Difference::Extended) => {
            "it is computed from silver, as are KPIs over it".to_owned()
        }
        (DefinitionKind::View, Difference::Removed) => {
            format!("the table gold/views/{name}, if there is one, stays as it is")
        }
        (DefinitionKind::Contract, Difference::New | Difference::Changed) => format!(
            "silver/{name} is built from bronze where that makes a difference, and KPIs that read it are computed anew"
        ),
        (DefinitionKind::Contract, Difference::Extended) => format!(
            "silver/{name} goes on with the rows that it has; `weir dead-letters retry --contract {name}` reads those \
             dead letters that it can read then"
        ),
        (DefinitionKind::Contract, Difference::Removed) => {
            format!("silver/{name} stays as it is, and nothing feeds it any longer")
        }
    }
}

pub(super) fn execute(config: &Config, apply: &Apply) -> Result<(), Failure> {
    let Setup { definitions, .. } =
        setup::prepare(config, true).map_err(|refusals| setup::failure(&refusals))?;
    let lake = open(config, None)?;
    let held = engine::definitions::in_force(&lake)?.unwrap_or_default();
    let all = differing(&held, &definitions);
    if !apply.consent.yes {
        print(&lake, &all, apply.json)?;
        return apply.consent.asked(lake_root(config, None));
    }
    let (decision, by) = (Decision::ApplyDefinitions, "weir kpis apply");
    let decided = decisions::decide(config, &lake, decision, by)?;
    let mut note = format!("definitions that differ from those in force: {}", all.len());
    if let Some(taken) = decided.epoch() {
        let is_done = || {
            let held = engine::definitions::in_force(&lake)?.unwrap_or_default();
            Ok(held.changes_to(definitions.iter().cloned()).is_empty())
        };
        let done = obeyed::wait(&lake, taken, is_done)?;
        let said = done.said("what the files say is in force");
        note = format!("{note}; {said}");
    }
    decided.print("that the files of definitions are read again", Some(&note), apply.json);
    Ok(())
}

fn print(lake: &Lake, all: &[Differing], as_json: bool) -> Result<(), Failure> {
    let mut told = Vec::new();
    for own in all {
        let is_counted = own.of == DefinitionKind::Kpi && own.how == Difference::Removed;
        let cells = if is_counted { backfill::count(lake, &[own.name.as_str()])?.1 } else { 0 };
        told.push((own, follows(own, cells)));
    }
    if as_json {
        let one = |(own, follows): &(&Differing, String)| {
            json!({
                "of": own.of,
                "name": own.name,
                "change": own.how.name(),
                "version": own.held.map(|(number, _)| number),
                "since_epoch": own.held.map(|(_, since)| since),
                "follows": follows,
            })
        };
        output::json(&Value::Array(told.iter().map(one).collect()));
        return Ok(());
    }
    if told.is_empty() {
        output::line(
            "what the files define is what is in force; titles and other words may differ",
        );
        return Ok(());
    }
    let row = |(own, follows): &(&Differing, String)| {
        let held = own.held.map(|(number, since)| format!("version {number} since epoch {since}"));
        let held = held.unwrap_or_else(|| "-".to_owned());
        vec![own.of.to_string(), own.name.clone(), own.how.name().to_owned(), held, follows.clone()]
    };
    let rows: Vec<_> = told.iter().map(row).collect();
    output::table(&["of", "name", "change", "in force", "what follows"], &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::Micros;

    use super::*;

    fn change(
        of: DefinitionKind,
        name: &str,
        identity: Option<&str>,
        text: &str,
    ) -> DefinitionChange {
        let (identity, text) = (identity.map(str::to_owned), Some(text.to_owned()));
        DefinitionChange { of, name: name.to_owned(), identity, text, extends: false }
    }

    #[test]
    fn each_difference_is_told_once_in_order() {
        use DefinitionKind::{Contract, Kpi, View};
        let mut held = InForce::default();
        let first = [
            change(Kpi, "a", Some("1"), "a = 1"),
            change(Kpi, "b", Some("1"), "b = 1"),
            change(Kpi, "c", Some("1"), "c = 1"),
            change(Contract, "t", Some("1"), "t = 1"),
        ];
        held.take(&first, 3, Micros(0));
        let wanted = [
            change(View, "v", Some("1"), "v"),
            change(Kpi, "a", Some("1"), "a = 1"),
            // Another title.
            change(Kpi, "b", Some("1"), "# better\nb = 1"),
            change(Contract, "t", Some("2"), "t = 2"),
        ];
        let all = differing(&held, &wanted);
        let told: Vec<_> = all.iter().map(|own| (own.name.as_str(), own.how, own.held)).collect();
        let expected = [
            ("t", Difference::Changed, Some((1, 3))),
            ("c", Difference::Removed, Some((1, 3))),
            ("v", Difference::New, None),
        ];
        assert_eq!(told, expected);
        assert!(differing(&held, &first).is_empty());
        assert!(
            follows(&all[1], 1_234).contains("its 1,234 cells go"),
            "{}",
            follows(&all[1], 1_234)
        );
    }
}
