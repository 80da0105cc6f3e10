//! `weir verify`: the proof that a lake holds what its sources said, asked for and told.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use engine::verify::{Check, Report, Status, Subject, verify};
use pipeline::source::{LostRecords, SourceConfig};

use super::setup::{Around, definitions_of, lake_root, open, topics, wanted};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Also read every byte of every data file and compare its hash, and every alert with those of a
    /// fresh run over bronze.
    #[arg(long)]
    deep: bool,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The usual checks of one lake.
    pub(crate) fn of(lake: PathBuf) -> Arguments {
        Arguments { deep: false, lake: Some(lake), json: false }
    }
}

pub(crate) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let report = examine(config, arguments)?;
    print(&report, arguments.json);
    outcome(&report)
}

/// Makes the checks that are asked for.
///
/// # Errors
/// When the configuration is wrong or there is no lake.
pub(crate) fn examine(config: &Config, arguments: &Arguments) -> Result<Report, Failure> {
    let around = Around { lake: lake_root(config, arguments.lake.as_deref()), topics: None };
    let (contracts, catalog) = definitions_of(config, &around)?;
    let topics = topics(config, &contracts);
    let definitions = wanted(config, &catalog)?;
    let subject = Subject {
        lake: open(config, arguments.lake.as_deref())?,
        contracts,
        catalog,
        definitions,
        topics,
        skips: skips(config),
    };
    Ok(verify(&subject, arguments.deep)?)
}

/// Sources that are told to go on after records which the broker has lost.
fn skips(config: &Config) -> BTreeSet<String> {
    let skips = |source: &&SourceConfig| match source {
        SourceConfig::Kafka(kafka) => kafka.lost_records == LostRecords::Skip,
        SourceConfig::File(_) => false,
    };
    config.sources.iter().filter(skips).map(|source| source.name().to_owned()).collect()
}

/// Prints a report, as text or as JSON.
pub(super) fn print(report: &Report, as_json: bool) {
    if as_json {
        output::json(&report.to_json());
        return;
    }
    let width = report.checks.iter().map(|check| check.subject.chars().count()).max();
    report.checks.iter().for_each(|check| print_check(check, width.unwrap_or(0)));
    output::line(&report.summary());
}

fn print_check(check: &Check, subject_width: usize) {
    let number = |(unit, n): &(&str, u64)| format!("{} {unit}", output::count(*n));
    let mut said: Vec<String> = check.counts.iter().map(number).collect();
    let problems = check.problem_count();
    if problems > 0 {
        said.push(format!("{} problems", output::count(problems)));
    }
    let (status, name, subject) = (check.status().name(), check.name, &check.subject);
    let counts = said.join(", ");
    let text = format!("{status:<7}  {name:<7}  {subject:<subject_width$}  {counts}");
    output::line(text.trim_end());
    let examples = check.spelled_out();
    let spelled_out = check.reason().into_iter().chain(examples.iter().map(String::as_str));
    spelled_out.for_each(|text| output::line(&format!("         - {text}")));
    let more = problems.saturating_sub(examples.len() as u64);
    if more > 0 && !examples.is_empty() {
        output::line(&format!("         - and {} more", output::count(more)));
    }
    check.notes.iter().for_each(|note| output::line(&format!("         note: {note}")));
    if check.status() != Status::Ok {
        output::line(&format!("         what to do: {}", check.advice()));
    }
}

/// Success, or the failure that makes the command exit with 1.
pub(crate) fn outcome(report: &Report) -> Result<(), Failure> {
    if report.failed() == 0 { Ok(()) } else { Err(Failure::Check(report.summary())) }
}
