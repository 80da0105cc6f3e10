//! The tables of views against their recomputation from silver.

use gold::Catalog;
use gold::audit::{ViewFinding, audit_views, registered};
use lake::{Lake, LakeError, Table};
use pipeline::bronze::EPOCH;
use schemas::{Contract, chain};
use tokio::runtime::Runtime;

use super::kpis::register;
use super::pin::{self, Pinned};
use super::report::Check;
use crate::tables::silver_name;

const ADVICE: &str = "start `weir run` once: it brings the table to the view; if it is wrong again, stop weir, move \
                      the table's folder away and start it";

/// Recomputes every view that has a table. One check per table.
///
/// # Errors
/// When the tables cannot be queried.
pub(super) fn recompute(
    runtime: &Runtime,
    lake: &Lake,
    pinned: &Pinned,
    contracts: &[Contract],
    catalog: &Catalog,
) -> Result<Vec<Check>, String> {
    let (mut checks, mut asked) = (Vec::new(), Vec::new());
    let context = gold::audit::session();
    for view in catalog.tabled() {
        let name = gold::view_table::name(view);
        let mut check = Check::new("view", &name, ADVICE);
        match pin::open(lake, &name, pinned.epoch) {
            Err(LakeError::NoTable { .. } | LakeError::NoVersion { .. }) => {
                check.notes.push("not there yet: the next start of `weir run` makes it".to_owned());
            }
            Err(error) => check.doubt(chain(&error)),
            Ok(table) if table.progress(EPOCH) != Some(pinned.epoch) => {
                behind(&mut check, &table, pinned);
            }
            Ok(table) => {
                let registered = registered(view);
                lake::query::register(&context, &registered, &table).map_err(|e| chain(&e))?;
                asked.push(view.name().to_owned());
            }
        }
        checks.push(check);
    }
    if asked.is_empty() {
        return Ok(checks);
    }
    for contract in contracts {
        register(&context, &format!("silver_{}", contract.name), pinned, &silver_name(contract))?;
    }
    let is_asked = |view: &gold::View| asked.iter().any(|name| name == view.name());
    let findings = audit_views(&context, catalog, pinned.clock, &is_asked);
    let findings = runtime.block_on(findings).map_err(|e| chain(&e))?;
    for finding in findings {
        let name = format!("{}{}", gold::view_table::FOLDER, finding.view);
        let check = checks.iter_mut().find(|check| check.subject == name);
        check.into_iter().for_each(|check| tell(check, &finding));
    }
    Ok(checks)
}

fn behind(check: &mut Check, table: &Table, pinned: &Pinned) {
    let (is, should) = (table.progress(EPOCH).unwrap_or(0), pinned.epoch);
    check.problem(|| format!("it is at epoch {is}, silver at {should}"));
}

fn tell(check: &mut Check, finding: &ViewFinding) {
    check.count("rows", finding.rows);
    let ViewFinding { mismatches, unknown, .. } = finding;
    if *unknown > 0 && *mismatches > 0 {
        // A value that was never sent is no null to the view, and null to SQL.
        check.notes.push(format!(
            "{mismatches} rows are not those of SQL, which takes values that were never sent, as {unknown} rows of \
             its tables have, for null; the first: {}",
            finding.examples.first().map_or("", String::as_str)
        ));
        return;
    }
    check.problems(*mismatches as u64, finding.examples.iter().cloned());
}
