//! `weir run`: the pipeline against the configured sources, in one run after another when decisions ask for it.

use std::path::Path;
use std::sync::Arc;

use alerting::Alerting;
use clap::Args;
use engine::{Meters, Outcome, Reloads, Run, Stop, Stopped};
use lake::Lake;
use tokio::runtime::Runtime;

use super::reload::{Parts, Plan, Reloader};
use super::setup::{self, open_lake, tokio_runtime};
use crate::alerts;
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

pub(crate) fn execute(file: Option<&Path>, arguments: &Arguments) -> Result<(), Failure> {
    let plan = Plan::read(file, !arguments.until_end)?;
    let runtime = tokio_runtime()?;
    let stop = Stop::default();
    stop.on_signals(runtime.handle()).map_err(|e| Failure::Stopped(e.to_string()))?;
    let meters = Arc::new(Meters::default());
    let Some(lake) = open_lake(plan.parts.config(), &stop)? else { return Ok(()) };
    let mut process = Process {
        file,
        until_end: arguments.until_end,
        lake,
        runtime: &runtime,
        stop,
        meters,
        reloads: Reloads::default(),
        told: None,
        serving: None,
    };
    if !arguments.until_end && !process.serve(&plan.parts)? {
        return Ok(());
    }
    let outcome = process.run_all(plan);
    let (meters, outcome) = (process.end(), outcome?);
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

/// What all runs of the process have in common.
struct Process<'a> {
    file: Option<&'a Path>,
    until_end: bool,
    lake: Lake,
    runtime: &'a Runtime,
    stop: Stop,
    meters: Arc<Meters>,
    reloads: Reloads,
    told: Option<Alerting>,
    serving: Option<Serving>,
}

impl Process<'_> {
    /// Starts alerting and the API. `false` when the process is to stop before another one has left the port.
    fn serve(&mut self, parts: &Parts) -> Result<bool, Failure> {
        let config = parts.config();
        let work_dir = self.lake.work_dir();
        self.told = alerts::start(config, work_dir, &parts.catalog, &self.meters, self.runtime)?;
        self.serving = Serving::start(&self.served(parts))?;
        Ok(self.serving.is_some())
    }

    fn served<'a>(&'a self, parts: &'a Parts) -> Served<'a> {
        Served {
            config: parts.config(),
            catalog: &parts.catalog,
            contracts: &parts.contracts,
            meters: &self.meters,
            stop: &self.stop,
            runtime: self.runtime.handle(),
            page_session: false,
            told: self.told.as_ref(),
            work_dir: self.lake.work_dir(),
        }
    }

    /// One run after another, until none is to follow; how the last one ended.
    fn run_all(&self, mut plan: Plan) -> Result<Result<Outcome, Stopped>, Failure> {
        let mut is_first = true;
        loop {
            let (outcome, next) = self.run_one(plan, is_first)?;
            let goes_on = matches!(outcome, Ok(_) | Err(Stopped::Asked)) && !self.stop.is_asked();
            let Some(next) = next.filter(|_| goes_on) else { return Ok(outcome) };
            (plan, is_first) = (next, false);
        }
    }

    /// One run: how it ended, and the run that is to follow it.
    fn run_one(
        &self,
        plan: Plan,
        is_first: bool,
    ) -> Result<(Result<Outcome, Stopped>, Option<Plan>), Failure> {
        let (Plan { parts, sources }, stop) = (plan, self.stop.of_run());
        let mut feeds = Vec::new();
        if let Some(serving) = &self.serving {
            feeds.push(match is_first {
                true => serving.feed(),
                false => serving.next_feed(&self.served(&parts)),
            });
        }
        if let Some(told) = &self.told {
            told.kpis().set(parts.catalog.infos());
            feeds.push(told.feed());
        }
        let run = Run {
            settings: parts.config().settings(self.lake.work_dir()),
            lake: self.lake.clone(),
            contracts: parts.contracts.clone(),
            catalog: Arc::clone(&parts.catalog),
            topics: parts.topics.clone(),
            sources,
            until_end: self.until_end,
            clock: Arc::new(WallClock),
            stop: stop.clone(),
            meters: Arc::clone(&self.meters),
            feeds,
            definitions: parts.definitions.clone(),
            reloads: self.reloads.clone(),
            goes_on: !is_first,
        };
        if self.until_end {
            let outcome = engine::run(run, self.runtime.handle());
            return Ok((outcome, self.rebuild(&parts)?));
        }
        let retraining = retraining::start(parts.config(), &self.lake, &parts.catalog, &stop);
        let (file, reloads, meters) = (self.file, &self.reloads, &*self.meters);
        let reloader = Reloader { file, running: &parts, reloads, meters, stop: &stop };
        let ended = std::thread::scope(|scope| {
            let next = scope.spawn(|| reloader.work());
            let outcome = engine::run(run, self.runtime.handle());
            stop.ask();
            (outcome, next.join().ok().flatten())
        });
        // It ends with the series that it is at.
        drop(retraining.map(std::thread::JoinHandle::join));
        Ok(ended)
    }

    /// After a batch run: one more, when a decision wants a KPI computed anew.
    fn rebuild(&self, parts: &Parts) -> Result<Option<Plan>, Failure> {
        let wish = self.reloads.take();
        let again = || parts.again().map_err(|refusals| setup::failure(&refusals));
        wish.cells.then(again).transpose()
    }

    /// Ends what is around the runs.
    fn end(self) -> Arc<Meters> {
        self.stop.ask();
        if let Some(serving) = self.serving {
            serving.finish(self.runtime);
        }
        if let Some(told) = self.told {
            self.runtime.block_on(told.stop());
        }
        self.meters
    }
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
