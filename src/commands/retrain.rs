//! `weir retrain`: trains models of detectors anew, and puts those in force that foresee better.
//!
//! # Guarantees
//! - With `--dry-run` nothing changes; else the decisions are kept, and take effect in the epochs that read them.

use std::path::PathBuf;

use anomaly::{Challenge, Contest, Retrained};
use clap::Args;
use serde_json::{Value, json};

use super::decisions;
use super::setup::{Around, definitions_of, lake_root, open};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::training::{Outcome, saved_models, train, watched};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The KPI's key; all that are watched without it.
    kpi: Option<String>,
    /// Say what would be put in force, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let around = Around { lake: lake_root(config, arguments.lake.as_deref()), topics: None };
    let (_, catalog) = definitions_of(config, &around)?;
    let mut kpis = watched(&catalog);
    if let Some(own) = &arguments.kpi {
        super::kpis::find(&catalog, own)?;
        kpis.retain(|kpi| *kpi.key == **own);
        if kpis.is_empty() {
            return Err(Failure::Usage(format!(
                "KPI `{own}` is not watched: `enabled` is false in [anomaly] of its file; there is nothing to train"
            )));
        }
    }
    let lake = open(config, arguments.lake.as_deref())?;
    let in_force = saved_models(&lake).map_err(Failure::Stopped)?;
    let mut outcomes = Vec::new();
    for kpi in &kpis {
        outcomes
            .extend(train(&lake, &catalog, kpi, &in_force, &|| false).map_err(Failure::Stopped)?);
    }
    if outcomes.is_empty() {
        return Err(Failure::Usage(
            "the lake has no cells by hour or day of what is watched: nothing to train on"
                .to_owned(),
        ));
    }
    let mut newest = None;
    for decision in outcomes.iter().filter(|_| !arguments.dry_run).filter_map(Outcome::decision) {
        newest = Some(decisions::keep(config, &lake, decision, "weir retrain")?);
    }
    // Decisions are taken in their order: with the newest all are.
    let decided = newest.map(|kept| decisions::wait(&lake, kept)).transpose()?;
    match arguments.json {
        true => output::json(&to_json(&outcomes, arguments.dry_run)),
        false => print(&outcomes, arguments.dry_run),
    }
    if let (Some(decided), false) = (decided, arguments.json) {
        decided.print("what has won", None, false);
    }
    Ok(())
}

/// What is said of a series.
fn word(of: &Retrained) -> &'static str {
    match of.challenge {
        Challenge::Won(_) => "better",
        Challenge::Lost => "not better",
        Challenge::None(why) => why,
    }
}

fn error(contest: Contest) -> String {
    format!("{:.4}", contest.error)
}

const HEADER: [&str; 9] =
    ["kpi", "tenant", "grain", "dims", "error", "retrained", "outside", "retrained", "verdict"];

fn row(kpi: &str, own: &Retrained) -> Option<Vec<String>> {
    let (champion, challenger) = own.contest?;
    Some(vec![
        kpi.to_owned(),
        own.tenant.to_string(),
        own.grain.name().to_owned(),
        own.dims.to_string(),
        error(champion),
        error(challenger),
        champion.outside.to_string(),
        challenger.outside.to_string(),
        word(own).to_owned(),
    ])
}

fn print(outcomes: &[Outcome], is_dry: bool) {
    let rows = outcomes.iter().flat_map(|of| of.series.iter().map(|own| row(&of.kpi, own)));
    let (tried, untried): (Vec<_>, Vec<_>) = rows.partition(Option::is_some);
    output::table(&HEADER, &tried.into_iter().flatten().collect::<Vec<_>>());
    let untried = untried.len();
    let (won, tried) = outcomes
        .iter()
        .map(Outcome::score)
        .fold((0, 0), |(won, tried), own| (won + own.0, tried + own.1));
    let left_out: usize = outcomes.iter().map(|own| own.left_out).sum();
    let is = if is_dry { "would be put" } else { "are put" };
    output::line(&format!(
        "{won} of {tried} series foresee better with a retrained model, which {is} in force"
    ));
    if untried > 0 {
        output::line(&format!(
            "{untried} series are not tried: too short, all alike, or seldom judged"
        ));
    }
    if left_out > 0 {
        output::line(&format!("{left_out} smaller series are left out"));
    }
}

fn to_json(outcomes: &[Outcome], is_dry: bool) -> Value {
    let contest = |own: Contest| json!({ "error": own.error, "outside": own.outside });
    let series = |own: &Retrained| {
        let (champion, challenger) = own.contest.unzip();
        json!({
            "tenant": &*own.tenant, "dims": &*own.dims, "grain": own.grain.name(), "buckets": own.buckets,
            "champion": champion.map(contest), "challenger": challenger.map(contest),
            "is_better": matches!(own.challenge, Challenge::Won(_)), "verdict": word(own),
        })
    };
    let kpi = |own: &Outcome| {
        json!({
            "kpi": &*own.kpi, "epoch": own.as_of.0, "as_of": own.as_of.1.to_string(),
            "left_out": own.left_out, "series": own.series.iter().map(series).collect::<Vec<_>>(),
        })
    };
    json!({ "dry_run": is_dry, "kpis": outcomes.iter().map(kpi).collect::<Vec<_>>() })
}
