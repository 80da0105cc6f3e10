//! `weir kpis backfill`: a KPI computed anew from silver.
//!
//! # Guarantees
//! - Nothing is computed here: the decision is kept, and whoever writes the lake obeys it.

use std::path::PathBuf;

use clap::Args;
use engine::cells::{self, Asked};
use engine::definitions;
use lake::Lake;
use schemas::{Decision, DefinitionKind, Grain};
use serde_json::json;

use crate::commands::consent::Consent;
use crate::commands::setup::{lake_root, open};
use crate::commands::{decisions, obeyed};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// Which KPI to compute anew.
#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The KPI's key.
    pub(super) kpi: String,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(config: &Config, backfill: &Backfill) -> Result<(), Failure> {
    let Backfill { kpi, lake: flag, consent, json } = backfill;
    let lake = open(config, flag.as_deref())?;
    let held = definitions::in_force(&lake)?.unwrap_or_default();
    if held.newest(DefinitionKind::Kpi, kpi).is_none() {
        return Err(Failure::Usage(format!(
            "the KPI `{kpi}` is not in force in `{}`, and is computed when it comes into force: `weir kpis apply` puts \
             it there",
            lake_root(config, flag.as_deref()).display()
        )));
    }
    let (epoch, cells) = count(&lake, &[kpi.as_str()])?;
    if !consent.yes {
        print(kpi, epoch, cells, *json);
        return consent.asked(lake_root(config, flag.as_deref()));
    }
    let decision = Decision::RebuildKpi { kpi: kpi.clone(), epoch };
    let decided = decisions::decide(config, &lake, decision, "weir kpis backfill")?;
    let mut note = format!("cells of the KPI as of epoch {epoch}: {cells}");
    if let Some(taken) = decided.epoch() {
        let done = obeyed::wait(&lake, taken, || definitions::is_computed(&lake, kpi))?;
        note = format!("{note}; {}", done.said("it is computed anew"));
    }
    decided.print(&format!("that KPI `{kpi}` is computed anew"), Some(&note), *json);
    Ok(())
}

/// How many cells these KPIs have in the table of current values, windows included, and as of which epoch.
pub(super) fn count(lake: &Lake, kpis: &[&str]) -> Result<(u64, usize), Failure> {
    let kpis = kpis.iter().map(|kpi| (*kpi).to_owned()).collect();
    let grains = Grain::ALL.into_iter().chain(Grain::WINDOWS).collect();
    let asked = Asked { kpis, tenant: None, grains };
    let found = cells::current(lake, &asked).map_err(Failure::Stopped)?;
    Ok((found.as_of.map_or(0, |(epoch, _)| epoch), found.cells.len()))
}

fn print(kpi: &str, epoch: u64, cells: usize, as_json: bool) {
    if as_json {
        return output::json(&json!({ "kpi": kpi, "epoch": epoch, "cells": cells }));
    }
    output::line(&format!(
        "KPI `{kpi}`: {} cells as of epoch {epoch}, which would be computed anew from silver; its alerts and its history \
         stay, and clients of the stream get a snapshot",
        output::count(cells as u64)
    ));
}
