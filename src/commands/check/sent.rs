//! What the sources of a lake have never sent of their contracts: such columns are null, not unknown.

use std::path::Path;

use lake::{Lake, state};
use pipeline::silver::never_sent_in;
use schemas::Contract;

use super::Finding;

/// One finding for each origin with columns that it has never sent, as of the last barrier.
pub(super) fn never_sent(root: &Path, contracts: &[Contract]) -> Vec<Finding> {
    let Ok(lake) = Lake::open_reader(root) else { return Vec::new() };
    let folder = lake.state_dir().join("state");
    // What is wrong with saved state, the next start says; without any nothing was sent.
    let newest = state::barriers(&folder).ok().and_then(|barriers| barriers.into_iter().max());
    let Some(Ok(read)) = newest.map(|newest| state::read(&folder, newest)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for contract in contracts {
        let of = never_sent_in(&read.saved, &contract.name, contract.columns.len());
        for (origin, never) in of.unwrap_or_default() {
            let columns = never.iter().filter_map(|column| contract.columns.get(*column));
            let names: Vec<String> = columns.map(|column| format!("`{}`", column.name)).collect();
            if !names.is_empty() {
                let text =
                    format!("{origin} has never sent {}: null in its rows", names.join(", "));
                findings.push(Finding::ok(&format!("contract {}", contract.name), text));
            }
        }
    }
    findings
}
