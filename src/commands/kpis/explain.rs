//! `weir kpis explain`: what a KPI is made of, what a changed row costs it, and how much it keeps.
//!
//! # Guarantees
//! - Nothing is read but definitions and, where there is a lake, one column of its current values.

use std::path::PathBuf;

use arrow::array::AsArray;
use clap::Args;
use engine::tables::CURRENT;
use gold::definition::{Aggregate, Formula};
use gold::{Catalog, Definition};
use lake::{At, Lake, LakeError, Table};
use serde_json::{Value, json};

use super::formula;
use crate::commands::setup::lake_root;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// What a cell of KPIs takes in memory: engine, store and table of current values together.
const CELL_BYTES: u64 = 300;

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The KPI's key.
    pub(super) kpi: String,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One step, the last one first, each before those that it reads.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    depth: usize,
    what: String,
    /// What a changed row costs, and what is kept for it.
    cost: &'static str,
    keeps: &'static str,
}

/// The steps of a KPI, and expressions that fail on some rows.
#[derive(Debug, Default)]
struct Steps {
    all: Vec<Step>,
    failures: Vec<String>,
}

pub(super) fn execute(
    config: &Config,
    catalog: &Catalog,
    definition: &Definition,
    explain: &Explain,
) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.add(catalog, definition, 0);
    let cells = cells(config, explain)?;
    let bytes = cells.map(|cells| cells.saturating_mul(CELL_BYTES));
    if explain.json {
        let step = |own: &Step| json!({ "depth": own.depth, "what": own.what, "cost": own.cost, "keeps": own.keeps });
        output::json(&json!({
            "kpi": &*definition.key,
            "kind": catalog.kind(definition).name(),
            "tier": "T1",
            "plan": steps.all.iter().map(step).collect::<Vec<Value>>(),
            "failures": steps.failures,
            "cells": cells,
            "bytes": bytes,
        }));
        return Ok(());
    }
    let (key, kind) = (&definition.key, catalog.kind(definition).name());
    output::line(&format!("{key}: {kind}, tier T1: kept up to date by counted state\n"));
    for Step { depth, what, cost, keeps } in &steps.all {
        output::line(&format!("{}{what}  [{cost}; keeps {keeps}]", "  ".repeat(*depth)));
    }
    for why in &steps.failures {
        output::line(&format!("rows may be left out: {why}"));
    }
    output::line(&match cells.zip(bytes) {
        Some((cells, bytes)) => {
            format!("\n{cells} cells in the lake, about {} KiB in memory", bytes.div_ceil(1024))
        }
        None => "\nno lake yet: it takes about 300 bytes a cell".to_owned(),
    });
    Ok(())
}

/// How many cells the lake has of it; `None` without a lake.
fn cells(config: &Config, explain: &Explain) -> Result<Option<u64>, Failure> {
    let lake = match Lake::open_reader(lake_root(config, explain.lake.as_deref())) {
        Err(LakeError::NoLake { .. }) if explain.lake.is_none() => return Ok(None),
        lake => lake?,
    };
    let table = match Table::open(&lake, CURRENT, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(Some(0)),
        table => table?,
    };
    let files: Vec<_> = table.files().map(AsRef::as_ref).collect();
    let mut count = 0;
    for batch in table.read(&files, Some(&["kpi"]))? {
        let batch = batch?;
        let keys = batch.column_by_name("kpi").and_then(|own| own.as_string_opt::<i32>());
        let own = keys.into_iter().flatten().filter(|key| *key == Some(explain.kpi.as_str()));
        count += own.count() as u64;
    }
    Ok(Some(count))
}

impl Steps {
    fn add(&mut self, catalog: &Catalog, definition: &Definition, depth: usize) {
        let (cost, keeps) = costs(&definition.formula);
        let what = format!("{} = {}", definition.key, formula(definition));
        match &definition.formula {
            Formula::Flow { contract, time, .. } => {
                self.put(depth, format!("{what}, by {time}"), cost, keeps);
                self.put(depth + 1, format!("read {contract}"), "constant", "nothing");
            }
            Formula::Ratio { numerator, denominator } => {
                self.put(depth, what, cost, keeps);
                let above = numerator.iter().map(|term| term.kpi.as_str());
                let mut parts: Vec<&str> = above.chain([denominator.as_str()]).collect();
                parts.sort_unstable();
                parts.dedup();
                for part in parts.into_iter().filter_map(|part| catalog.get(part)) {
                    self.add(catalog, part, depth + 1);
                }
            }
            Formula::OfView { view, .. } => {
                self.put(depth, what, cost, keeps);
                let view = catalog.views().iter().find(|own| own.name() == view);
                let Some(explain) = view.map(views::View::explain) else { return };
                for node in explain.nodes {
                    self.put(depth + 1 + node.depth, node.what, node.cost, node.keeps);
                }
                self.failures.extend(explain.failures);
            }
            Formula::Converted { of, .. } => {
                self.put(depth, what, cost, keeps);
                if let Some(of) = catalog.get(of) {
                    self.add(catalog, of, depth + 1);
                }
            }
        }
    }

    fn put(&mut self, depth: usize, what: String, cost: &'static str, keeps: &'static str) {
        self.all.push(Step { depth, what, cost, keeps });
    }
}

/// What a changed row costs a formula, and what it keeps.
fn costs(formula: &Formula) -> (&'static str, &'static str) {
    match formula {
        Formula::Flow { aggregate, .. } => match aggregate {
            Aggregate::Count | Aggregate::Sum(_) => {
                ("a cell of each grain and window", "each series and period")
            }
            Aggregate::Distinct(_) => {
                ("a cell of each grain and window", "each series and period, with its values")
            }
            Aggregate::Min(_) | Aggregate::Max(_) => (
                "a cell of each grain and window, by the logarithm of its values",
                "each series and period, with its values in order",
            ),
            Aggregate::Percentile { .. } => (
                "a cell of each grain and window, by its different values",
                "each series and period, with its values in order",
            ),
            Aggregate::Allocated(_) => {
                ("every day that the row overlaps", "each series and period")
            }
        },
        Formula::Ratio { .. } => ("constant", "nothing but what its parts do"),
        Formula::OfView { .. } => ("a cell of each grain and window", "each series and period"),
        Formula::Converted { .. } => {
            ("a day; every day that a changed rate holds for", "each series and day, exact")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_kpi_that_comes_with_weir_has_steps_down_to_what_it_reads() {
        let contracts: Vec<_> = schemas::contract::all_that_come()
            .iter()
            .map(|(_, text)| schemas::Contract::parse(text).unwrap())
            .collect();
        let views = gold::view_file::accept(&gold::view_file::built_in(), &contracts).unwrap();
        let catalog: Arc<Catalog> =
            gold::catalog::with_built_in(Vec::new(), &contracts, views).unwrap();
        for definition in catalog.definitions() {
            let mut steps = Steps::default();
            steps.add(&catalog, definition, 0);
            let first = &steps.all[0];
            assert!(first.depth == 0 && first.what.starts_with(&*definition.key), "{first:?}");
            assert!(steps.all.iter().any(|step| step.what.starts_with("read ")), "{steps:?}");
        }
        let mut steps = Steps::default();
        steps.add(&catalog, catalog.get("average_deal").unwrap(), 0);
        let told: Vec<_> = steps.all.iter().map(|own| (own.depth, own.what.as_str())).collect();
        assert_eq!(told[0], (0, "average_deal = won_amount / deals_won"));
        assert!(told[1].0 == 1 && told[1].1.starts_with("deals_won = COUNT(*) FROM"), "{told:?}");
        assert_eq!(told[2], (2, "read opportunities"));
    }
}
