//! `weir backtest`: what would have fired of a KPI with the settings that the configuration has now.
//!
//! # Guarantees
//! - Nothing is changed but the file of `--plot`: it works beside a running Weir, and on a copy of a lake.
//!
//! # Non-guarantees
//! - It plays final values, which is not what happened: see [`CANNOT_KNOW`].

mod plot;
mod told;

use std::path::PathBuf;
use std::sync::Arc;

use anomaly::{Backtest, History, Limits, Question, backtest, whole_until};
use clap::Args;
use engine::cells::{Asked, LakeCells, current};
use gold::Catalog;
use lake::Lake;
use schemas::{DefinitionChange, DefinitionKind, Grain, KpiInfo, Micros};

use super::kpis::{find, parse_time};
use super::setup::{Around, definitions_of, lake_root, open, wanted};
use crate::config::Config;
use crate::failure::Failure;

/// What is played at most: series at one grain each, and buckets of all of them.
const LIMITS: Limits = Limits { lines: 500, buckets: 1_000_000 };
/// What such a replay cannot know.
const CANNOT_KNOW: &str = "this is a replay of final values: what came late, what was corrected and which history was \
     read as a backlog is not known any more. Each value is there when its bucket ends, so what is too high would have \
     been said earlier, corrections open and resolve nothing, and a learned lateness is none";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The KPI's key.
    kpi: String,
    /// Only series of this tenant.
    #[arg(long, value_name = "T")]
    tenant: Option<String>,
    /// Only `hour` or `day`; both without it.
    #[arg(long, value_parser = parse_grain)]
    grain: Option<Grain>,
    /// Only alerts of buckets that start here or later, RFC 3339 or YYYY-MM-DD in UTC; what is before only teaches.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Micros>,
    /// Only buckets that end until then; the last full hour of the lake without it.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Micros>,
    /// Draw values, bands and alerts into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// At most so many alerts in the table.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_grain(text: &str) -> Result<Grain, String> {
    let grain = Grain::parse(text).filter(|grain| !grain.is_window() && !grain.is_long());
    grain.ok_or_else(|| "use hour or day: what is longer is not judged".to_owned())
}

/// What was played, and what is to be known beside.
struct Outcome<'a> {
    kpi: &'a KpiInfo,
    question: &'a Question,
    found: &'a Backtest,
    as_of: (u64, Micros),
    /// Whether the settings are those in force in the lake.
    is_in_force: bool,
    notes: Vec<String>,
}

pub(crate) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let around = Around { lake: lake_root(config, arguments.lake.as_deref()), topics: None };
    let (_, catalog) = definitions_of(config, &around)?;
    let definition = find(&catalog, &arguments.kpi)?;
    let info = catalog.infos().into_iter().find(|own| own.key == definition.key);
    let info = info.filter(|own| own.watching.enabled).ok_or_else(|| unwatched(arguments))?;
    if arguments.from.zip(arguments.to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::Usage("`--from` is not before `--to`".to_owned()));
    }
    let lake = open(config, arguments.lake.as_deref())?;
    let (question, as_of) = question(&lake, &catalog, &info, arguments)?;
    let found = backtest(&question);
    let (is_in_force, other) = settings(&lake, config, &catalog, &info.key)?;
    let notes = notes(&found, other);
    let outcome =
        Outcome { kpi: &info, question: &question, found: &found, as_of, is_in_force, notes };
    let plotted = arguments.plot.as_deref().map(|file| outcome.plot(file)).transpose()?;
    match arguments.json {
        true => crate::output::json(&outcome.to_json(plotted.as_deref())),
        false => outcome.print(arguments.limit, plotted.as_deref()),
    }
    Ok(())
}

fn unwatched(arguments: &Arguments) -> Failure {
    let kpi = &arguments.kpi;
    Failure::Usage(format!(
        "KPI `{kpi}` is not watched: `enabled` is false in [anomaly] of its file; set it to try other settings"
    ))
}

/// What to play: the cells of the KPI, and of the budgets of its rules.
fn question(
    lake: &Lake,
    catalog: &Catalog,
    info: &KpiInfo,
    arguments: &Arguments,
) -> Result<(Question, (u64, Micros)), Failure> {
    let budgets: Vec<String> = info.watching.budgets().map(|own| own.to_string()).collect();
    let grains = arguments.grain.map_or(vec![Grain::Hour, Grain::Day], |grain| vec![grain]);
    let kpis = [vec![info.key.to_string()], budgets].concat();
    let asked = Asked { kpis, tenant: arguments.tenant.clone(), grains };
    let LakeCells { as_of, cells } = current(lake, &asked).map_err(Failure::Stopped)?;
    let (series, budgets): (Vec<History>, Vec<History>) =
        History::of(cells).into_iter().partition(|own| own.kpi == info.key);
    let Some(as_of) = as_of.filter(|_| !series.is_empty()) else {
        return Err(none(info, arguments));
    };
    // What is still running has no final value.
    let whole = whole_until(as_of.1);
    let to = arguments.to.map_or(whole, |to| to.min(whole));
    let calendar = Arc::clone(catalog.calendar());
    let (kpi, from, limits) = (info.clone(), arguments.from, LIMITS);
    Ok((Question { kpi, calendar, series, budgets, from, to, limits }, as_of))
}

fn none(info: &KpiInfo, arguments: &Arguments) -> Failure {
    let of = arguments.tenant.as_ref().map(|own| format!(" of tenant `{own}`")).unwrap_or_default();
    let by = arguments.grain.map_or("hour or day", Grain::name);
    Failure::Usage(format!(
        "the lake has no cells of `{0}`{of} by {by}: nothing to play. `weir kpis get {0}` shows what there is",
        info.key
    ))
}

/// Whether the definition is the one in force; and whether it is another one beside its settings of alerts.
fn settings(
    lake: &Lake,
    config: &Config,
    catalog: &Catalog,
    kpi: &str,
) -> Result<(bool, bool), Failure> {
    let held = engine::definitions::in_force(lake)?;
    let held = held.and_then(|held| held.newest(DefinitionKind::Kpi, kpi).cloned());
    let own = wanted(config, catalog)?;
    let own = own.iter().find(|own| own.of == DefinitionKind::Kpi && own.name == kpi);
    let (Some(held), Some(own)) = (held, own) else { return Ok((false, false)) };
    let (before, now) = (held.text.as_deref().and_then(bare), own.text.as_deref().and_then(bare));
    Ok((held.identity == own.identity, before != now))
}

/// What a definition is known by beside its settings of alerts.
fn bare(text: &str) -> Option<String> {
    let mut table: toml::Table = text.parse().ok()?;
    table.remove("anomaly");
    DefinitionChange::of_file(DefinitionKind::Kpi, &table.to_string()).ok()?.identity
}

/// What is to be known beside.
fn notes(found: &Backtest, is_other: bool) -> Vec<String> {
    let mut notes = vec![CANNOT_KNOW.to_owned()];
    if is_other {
        notes.push(
            "the definition in force counts something else than the one of the configuration: the cells that were \
             played are those in force, only the settings are new"
                .to_owned(),
        );
    }
    if found.left_out > 0 {
        notes.push(format!(
            "{} more series are left out: at most {} at one grain each are played. Choose with `--tenant` or `--grain`",
            found.left_out, LIMITS.lines
        ));
    }
    if let Some(first) = found.first.filter(|_| found.is_shortened) {
        notes.push(format!(
            "at most {} buckets are played: those before {first} are left out, as if history began there. Choose fewer \
             series with `--tenant` or `--grain` to see farther back",
            LIMITS.buckets
        ));
    }
    notes
}
