//! `weir run`: the pipeline against the configured sources.

use std::sync::Arc;

use alerting::Alerting;
use clap::Args;
use engine::{Meters, Outcome, Run, Stop, Stopped};

use super::setup::{self, Setup, open_lake, tokio_runtime};
use crate::alerts;
use crate::config::Config;
use crate::failure::Failure;
use crate::retraining;
use crate::serve::{Served, Serving};
use crate::wall_clock::WallClock;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Stop at the end offsets that are there at the start; API and stream are not started then.
    #[arg(long)]
    until_end: bool,
}

pub(crate) fn execute(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    let setup = setup::prepare(&config, !arguments.until_end);
    let Setup { sources, topics, contracts, catalog, definitions } =
        setup.map_err(|e| setup::failure(&e))?;
    let runtime = tokio_runtime()?;
    let stop = Stop::default();
    stop.on_signals(runtime.handle()).map_err(|e| Failure::Stopped(e.to_string()))?;
    let meters = Arc::new(Meters::default());
    let Some(lake) = open_lake(&config, &stop)? else { return Ok(()) };
    let mut serving = None;
    let mut told = None;
    if !arguments.until_end {
        told = alerts::start(&config, lake.work_dir(), &catalog, &meters, &runtime)?;
        serving = Serving::start(&Served {
            config: &config,
            catalog: &catalog,
            contracts: &contracts,
            meters: &meters,
            stop: &stop,
            runtime: runtime.handle(),
            page_session: false,
            told: told.as_ref(),
            work_dir: lake.work_dir(),
        })?;
        if serving.is_none() {
            return Ok(());
        }
    }
    let retraining = (!arguments.until_end)
        .then(|| retraining::start(&config, &lake, &catalog, &stop))
        .flatten();
    let run = Run {
        settings: config.settings(lake.work_dir()),
        lake,
        contracts,
        catalog,
        topics,
        sources,
        until_end: arguments.until_end,
        clock: Arc::new(WallClock),
        stop: stop.clone(),
        meters: Arc::clone(&meters),
        feeds: serving.iter().map(Serving::feed).chain(told.iter().map(Alerting::feed)).collect(),
        definitions,
    };
    let outcome = engine::run(run, runtime.handle());
    stop.ask();
    // It ends with the series that it is at.
    drop(retraining.map(std::thread::JoinHandle::join));
    if let Some(serving) = serving {
        serving.finish(&runtime);
    }
    if let Some(told) = told {
        runtime.block_on(told.stop());
    }
    let outcome = match outcome {
        Err(asked @ Stopped::Asked) => {
            tracing::info!("{asked}");
            return Ok(());
        }
        outcome => outcome?,
    };
    say_the_end(&meters, &outcome);
    // Whoever runs to the end wants to know that the numbers are those of the end.
    let wrong = [outcome.halted, outcome.missing].concat();
    if arguments.until_end && !wrong.is_empty() {
        return Err(Failure::Check(wrong.join("; ")));
    }
    Ok(())
}

fn say_the_end(meters: &Meters, outcome: &Outcome) {
    tracing::info!(
        events = meters.events.get(),
        epochs = meters.epochs.get(),
        dead_letters = meters.dead_letters.get(),
        bronze_commits = meters.bronze_commits.get(),
        barriers = meters.barriers.get(),
        barrier_ms = meters.barrier_ms.get(),
        rows = outcome.rows,
        cells = outcome.cells.len(),
        "stopped, everything is flushed"
    );
}
