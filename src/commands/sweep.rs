//! `weir tables sweep`: rows that a complete snapshot lacked, shown or deleted.
//!
//! Nothing in the events of a snapshot says whether it was taken with conditions. So rows that it lacked stay
//! until somebody says that it was whole, by this command or by `snapshots = "whole"` of the source.
//!
//! # Guarantees
//! - Nothing is deleted here: the decision is kept, and takes effect in the epoch that reads it.

use std::path::PathBuf;

use clap::Args;
use lake::Lake;
use pipeline::silver::{Lacking, lacking_in};
use schemas::{Decision, chain};
use serde_json::json;

use super::consent::Consent;
use super::decisions;
use super::setup::{lake_root, open};
use super::upkeep::silver_contract;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::saved;

/// Which table to sweep.
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    /// The table, such as `orders` or `silver/orders`.
    table: String,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(config: &Config, sweep: &Sweep) -> Result<(), Failure> {
    let lake = open(config, sweep.lake.as_deref())?;
    let table = silver_contract(&lake, &sweep.table)?;
    let lacking = lacking(&lake, &table)?;
    if sweep.consent.yes && !lacking.is_empty() {
        let decision = Decision::SweepTable { table: table.clone() };
        let decided = decisions::decide(config, &lake, decision, "weir tables sweep")?;
        decided.print(&format!("the sweep of table `{table}`"), None, sweep.json);
        return Ok(());
    }
    print(&table, &lacking, sweep.json);
    sweep.consent.asked(lake_root(config, sweep.lake.as_deref()))
}

/// What the newest barrier says that snapshots lacked.
fn lacking(lake: &Lake, table: &str) -> Result<Vec<Lacking>, Failure> {
    let Some(read) = saved::newest(lake)? else { return Ok(Vec::new()) };
    lacking_in(&read.saved, table).map_err(|e| Failure::Stopped(chain(&e)))
}

fn print(table: &str, lacking: &[Lacking], as_json: bool) {
    if as_json {
        let one =
            |own: &Lacking| json!({ "origin": own.origin, "rows": own.rows, "keys": own.keys });
        let all: Vec<_> = lacking.iter().map(one).collect();
        return output::json(&json!({ "table": table, "lacking": all }));
    }
    if lacking.is_empty() {
        output::line(&format!(
            "table `{table}`: no complete snapshot lacks rows that are held, as of the last barrier"
        ));
        return;
    }
    let row =
        |own: &Lacking| vec![own.origin.clone(), output::count(own.rows), own.keys.join(", ")];
    let rows: Vec<_> = lacking.iter().map(row).collect();
    output::table(&["origin", "rows to delete", "first keys"], &rows);
}
