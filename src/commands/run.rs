//! `weir run`: the pipeline against the configured sources.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use gold::Catalog;
use lake::{Lake, LakeError};
use pipeline::source::SourceConfig;
use schemas::{Clock, Contract};

use super::setup::{self, Setup};
use super::{Failure, chain};
use crate::config::Config;
use crate::runtime::meters::Meters;
use crate::runtime::stop::Stop;
use crate::runtime::{self, Nobody, Run, Subscriber, contracts};
use crate::serve::{Served, Serving};
use crate::wall_clock::WallClock;

/// How long a start waits for another process to leave the lake.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Between tries.
const LOCK_RETRY: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Stop at the end offsets that are there at the start; API and stream are not started then.
    #[arg(long)]
    until_end: bool,
}

pub(crate) fn execute(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    let setup = setup::prepare(&config, !arguments.until_end);
    let Setup { sources, topics, contracts, catalog } = setup.map_err(|e| setup::failure(&e))?;
    let runtime = tokio_runtime()?;
    let stop = Stop::default();
    stop.on_signals(runtime.handle()).map_err(|e| Failure::Stopped(e.to_string()))?;
    let meters = Arc::new(Meters::default());
    let Some(lake) = open_lake(&config, &stop)? else { return Ok(()) };
    let mut serving = None;
    if !arguments.until_end {
        serving = Serving::start(&Served {
            config: &config,
            catalog: &catalog,
            meters: &meters,
            stop: &stop,
            runtime: runtime.handle(),
            page_session: false,
        })?;
        if serving.is_none() {
            return Ok(());
        }
    }
    let nobody = || Box::new(Nobody) as Box<dyn Subscriber>;
    let run = Run {
        lake,
        config,
        contracts,
        catalog,
        topics,
        sources,
        until_end: arguments.until_end,
        clock: Arc::new(WallClock),
        stop,
        meters: Arc::clone(&meters),
        subscriber: serving.as_ref().map_or_else(nobody, Serving::subscriber),
    };
    let outcome = runtime::run(run, runtime.handle());
    if let Some(serving) = serving {
        serving.finish(&runtime);
    }
    let outcome = outcome?;
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
    // Whoever runs to the end wants to know that the numbers are those of the end.
    if arguments.until_end && !outcome.halted.is_empty() {
        return Err(Failure::Check(outcome.halted.join("; ")));
    }
    Ok(())
}

/// The lake, locked for writing; `None` when the run is to stop before another process has left it.
pub(crate) fn open_lake(config: &Config, stop: &Stop) -> Result<Option<Lake>, Failure> {
    let (begin, mut said) = (Instant::now(), false);
    loop {
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        match Lake::open_writer(&config.lake.uri, Duration::ZERO, clock) {
            Err(LakeError::LakeInUse { .. }) if stop.is_asked() => return Ok(None),
            Err(error @ LakeError::LakeInUse { .. }) if begin.elapsed() < LOCK_WAIT => {
                if !said {
                    tracing::warn!("trying for {} s: {error}", LOCK_WAIT.as_secs());
                    said = true;
                }
                std::thread::sleep(LOCK_RETRY);
            }
            opened => return Ok(Some(opened?)),
        }
    }
}

/// Contracts and KPI definitions in force.
pub(crate) fn definitions(config: &Config) -> Result<(Vec<Contract>, Arc<Catalog>), Failure> {
    let contracts = contracts::load(config.contracts.folder()).map_err(Failure::Usage)?;
    let own = config.gold.folder().map(gold::definition::load_dir).transpose();
    let own = own.map_err(|e| Failure::Usage(chain(&e)))?.unwrap_or_default();
    let catalog = gold::catalog::with_built_in(own, &contracts);
    Ok((contracts, catalog.map_err(|e| Failure::Usage(chain(&e)))?))
}

/// (source, topic) to contract; the topic `*` stands for every other topic of the source.
pub(crate) type Topics = BTreeMap<(String, String), String>;

/// The contracts of all configured topics.
pub(crate) fn topics(config: &Config) -> Topics {
    let mut topics = Topics::new();
    for source in &config.sources {
        let (named, every) = match source {
            SourceConfig::Kafka(kafka) => (&kafka.topics, None),
            SourceConfig::File(file) => (&file.topics, file.contract.as_ref()),
        };
        let every = every.map(|contract| ("*".to_owned(), contract.clone()));
        for (topic, contract) in named.clone().into_iter().chain(every) {
            topics.insert((source.name().to_owned(), topic), contract);
        }
    }
    topics
}

/// The runtime on which tables are committed.
pub(crate) fn tokio_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::Stopped(format!("could not start the runtime: {e}")))
}
