//! `weir config`: the effective configuration.

use clap::Subcommand;
use serde_json::json;

use crate::config::Effective;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Each value and where it came from; secrets are masked.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn execute(effective: &Effective, command: &Command) -> Result<(), Failure> {
    let Command::Show { json } = command;
    let shown = effective.show();
    if *json {
        let entry = |(key, value, origin): &(String, String, String)| json!({ "key": key, "value": value, "origin": origin });
        output::json(&shown.iter().map(entry).collect());
        return Ok(());
    }
    let rows: Vec<_> =
        shown.into_iter().map(|(key, value, origin)| vec![key, value, origin]).collect();
    output::table(&["key", "value", "origin"], &rows);
    Ok(())
}
