//! Values that contracts do not allow, and empty tenants, in the rows of silver as of the newest commit.
//!
//! # Guarantees
//! - Only columns of text that a contract speaks of are read.

use std::path::Path;

use engine::census;
use lake::Lake;
use schemas::{Contract, chain};

use super::{Finding, Level};
use crate::output;

/// Tables with more rows are left to `weir verify`.
const ROWS_MAX: u64 = 5_000_000;

/// What is found in a lake; nothing where there is none.
pub(super) fn check(root: &Path, contracts: &[Contract]) -> Vec<Finding> {
    let Ok(lake) = Lake::open_reader(root) else { return Vec::new() };
    let mut findings = Vec::new();
    for contract in contracts {
        let subject = format!("values {}", contract.name);
        match census::of_table(&lake, contract, ROWS_MAX) {
            Ok(census::Counted::Nothing) => {}
            Ok(census::Counted::TooMany(rows)) => {
                let rows = output::count(rows);
                let text = format!("{rows} rows are not looked at here; `weir verify` counts them");
                findings.push(Finding::ok(&subject, text));
            }
            Ok(census::Counted::All(contents)) => {
                let lines = contents.lines().into_iter();
                findings.extend(lines.map(|line| {
                    let advice = "correct the source, or the `values` of the contract; with `strict = true` \
                                  such records are dead letters from the next start on";
                    Finding::new(&subject, Level::Warning, line, advice)
                }));
            }
            // What is wrong with a table is said by the checks of the lake and by `weir verify`.
            Err(error) => {
                let text = format!("cannot be counted: {}", chain(&error));
                let advice = "`weir verify` tells more";
                findings.push(Finding::new(&subject, Level::Warning, text, advice));
            }
        }
    }
    findings
}
