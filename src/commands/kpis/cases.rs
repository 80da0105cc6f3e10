//! `weir kpis test`: cases that were worked out by hand, run through the engine.

use std::path::PathBuf;

use clap::Args;
use gold::cases::{self, CaseFile, Outcome};
use schemas::chain;
use serde_json::{Value, json};

use crate::commands::setup::everything;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only cases that name this KPI.
    kpi: Option<String>,
    /// Only the cases of this folder, instead of those that come with Weir and those of `[gold] definitions`.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    // What cases say of periods is the same wherever they run.
    let (contracts, catalog) = everything(&config.in_utc())?;
    let files = files(config, arguments).map_err(|error| Failure::Usage(chain(&error)))?;
    let outcomes = files.iter().flat_map(|file| file.run(&catalog, &contracts));
    let is_named = |own: &Outcome| arguments.kpi.as_ref().is_none_or(|kpi| own.kpis.contains(kpi));
    // What could not even run says no KPI.
    let outcomes: Vec<Outcome> =
        outcomes.filter(|own| is_named(own) || own.kpis.is_empty()).collect();
    if outcomes.is_empty() {
        let of = arguments.kpi.as_ref().map_or(String::new(), |kpi| format!(" of KPI `{kpi}`"));
        return Err(Failure::Usage(format!(
            "there is no case{of}; write one into a file `*.cases` beside the KPI's"
        )));
    }
    let wrong = outcomes.iter().filter(|own| !own.wrong.is_empty()).count();
    if arguments.json {
        output::json(&outcomes.iter().map(told).collect());
    } else {
        outcomes.iter().for_each(print);
    }
    if wrong > 0 {
        return Err(Failure::Check(format!("{wrong} of {} cases are wrong", outcomes.len())));
    }
    Ok(())
}

fn files(config: &Config, arguments: &Arguments) -> Result<Vec<CaseFile>, gold::DefinitionError> {
    if let Some(folder) = &arguments.cases {
        return cases::load_dir(folder);
    }
    let mut files = cases::built_in()?;
    if let Some(folder) = config.gold.folder() {
        files.extend(cases::load_dir(folder)?);
    }
    Ok(files)
}

fn print(outcome: &Outcome) {
    let word = if outcome.wrong.is_empty() { "ok" } else { "WRONG" };
    output::line(&format!("{word:<5}  {}: {}", outcome.file, outcome.says));
    outcome.wrong.iter().for_each(|why| output::line(&format!("         - {why}")));
}

fn told(outcome: &Outcome) -> Value {
    json!({
        "file": outcome.file,
        "says": outcome.says,
        "kpis": outcome.kpis,
        "wrong": outcome.wrong,
    })
}
