//! What the sources of a lake have never sent of their contracts: such columns are null, not unknown; and the
//! infinities that they sent, which are null, too.

use std::path::Path;

use lake::Lake;
use pipeline::silver::{infinite_in, never_sent_in};
use schemas::Contract;
use schemas::contents::infinite_line;

use super::Finding;
use crate::commands::in_force;
use crate::saved;

/// One finding for each origin with columns that it has never sent, and for each of its columns that had
/// infinities, as of the last barrier.
pub(super) fn sent(root: &Path, contracts: &[Contract]) -> Vec<Finding> {
    let Ok(lake) = Lake::open_reader(root) else { return Vec::new() };
    // What is wrong with saved state, the next start says; without any nothing was sent.
    let Ok(Some(read)) = saved::newest(&lake) else { return Vec::new() };
    // Columns are counted as those of the contract in force, whatever is configured by now.
    let contracts = in_force::contracts(&lake, contracts.to_vec());
    let mut findings = Vec::new();
    for contract in &contracts {
        let place = format!("contract {}", contract.name);
        for (origin, infinite) in infinite_in(&read.saved, &contract.name).unwrap_or_default() {
            for (column, times) in infinite {
                let line = infinite_line(contract.column_name(column), times);
                let text = format!("{origin}: {line}");
                findings.push(Finding::ok(&place, text));
            }
        }
        let of = never_sent_in(&read.saved, &contract.name, contract.columns.len());
        for (origin, never) in of.unwrap_or_default() {
            let columns = never.iter().filter_map(|column| contract.columns.get(*column));
            let names: Vec<String> = columns.map(|column| format!("`{}`", column.name)).collect();
            if !names.is_empty() {
                let text =
                    format!("{origin} has never sent {}: null in its rows", names.join(", "));
                findings.push(Finding::ok(&place, text));
            }
        }
    }
    findings
}
