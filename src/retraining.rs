//! The thread of a run that trains models of detectors, now and then.
//!
//! # Guarantees
//! - It reads what is flushed and writes decisions: nothing between a record and a client waits for it, and what fails
//!   in it ends no run.
//! - Over restarts it trains as often as it is told: when it did last is kept in the working folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use engine::Stop;
use gold::Catalog;
use lake::Lake;
use schemas::{Clock, Micros, chain};

use crate::config::Config;
use crate::decisions::Records;
use crate::training::{InForce, saved_models, train, watched};
use crate::wall_clock::WallClock;

/// How often the thread looks whether the run ends.
const LOOK: Duration = Duration::from_millis(200);
/// A lake is trained on for the first time when it is so old.
const FIRST: Duration = Duration::from_secs(3_600);
/// Where it is kept when models were trained last, in the working folder.
const MARK: &str = "retrained";

/// What the thread needs.
struct Retraining {
    lake: Lake,
    catalog: Arc<Catalog>,
    records: Records,
    interval: Duration,
    stop: Stop,
}

/// Starts it, unless it is never to train.
pub(crate) fn start(
    config: &Config,
    lake: &Lake,
    catalog: &Arc<Catalog>,
    stop: &Stop,
) -> Option<JoinHandle<()>> {
    let interval = config.retrain_interval()?;
    let (lake, catalog, stop) = (lake.clone(), Arc::clone(catalog), stop.clone());
    let records = Records::new(config, lake.work_dir());
    let thread = Retraining { lake, catalog, records, interval, stop };
    let started = std::thread::Builder::new().name("retrain".into()).spawn(move || thread.work());
    started
        .inspect_err(|error| tracing::error!("models are not trained while this runs: {error}"))
        .ok()
}

fn mark(lake: &Lake) -> PathBuf {
    lake.work_dir().join(MARK)
}

/// When models were trained last.
fn last(mark: &Path) -> Option<Micros> {
    Micros::parse(fs::read_to_string(mark).ok()?.trim())
}

/// When they are to be trained next.
fn due(last: Option<Micros>, begun: Micros, interval: Duration) -> Micros {
    let micros = |own: Duration| i64::try_from(own.as_micros()).unwrap_or(i64::MAX);
    match last {
        Some(last) => Micros(last.0.saturating_add(micros(interval))),
        None => Micros(begun.0.saturating_add(micros(FIRST.min(interval)))),
    }
}

impl Retraining {
    fn work(self) {
        let (begun, path) = (WallClock.now(), mark(&self.lake));
        let mut last = last(&path);
        while !self.stop.is_asked() {
            let now = WallClock.now();
            if now < due(last, begun, self.interval) {
                std::thread::sleep(LOOK);
                continue;
            }
            if let Err(reason) = self.train() {
                tracing::warn!("models are not trained: {reason}");
            }
            if let Err(error) = fs::write(&path, now.to_string()) {
                tracing::warn!(
                    "could not write {}: {error}; no more is trained until a restart",
                    path.display()
                );
                return;
            }
            last = Some(now);
        }
    }

    fn train(&self) -> Result<(), String> {
        let in_force: InForce = saved_models(&self.lake)?;
        let (mut won, mut tried) = (0, 0);
        for kpi in watched(&self.catalog) {
            if self.stop.is_asked() {
                return Ok(());
            }
            let is_ending = || self.stop.is_asked();
            let outcome = train(&self.lake, &self.catalog, &kpi, &in_force, &is_ending)?;
            let Some(outcome) = outcome else { continue };
            let (own_won, own_tried) = outcome.score();
            (won, tried) = (won + own_won, tried + own_tried);
            if let Some(decision) = outcome.decision() {
                self.records.keep(decision, "weir run").map_err(|e| chain(&e))?;
            }
        }
        tracing::info!(
            "models are trained: {won} of {tried} series foresee better by what the calendar says"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_after_the_interval_or_soon_where_it_never_was() {
        let (week, hour) = (Duration::from_secs(7 * 86_400), 3_600_000_000);
        assert_eq!(due(Some(Micros(5)), Micros(9), week), Micros(5 + 7 * 24 * hour));
        assert_eq!(due(None, Micros(9), week), Micros(9 + hour));
        assert_eq!(due(None, Micros(9), Duration::from_secs(1)), Micros(9 + 1_000_000));
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join(MARK);
        assert_eq!(last(&mark), None);
        fs::write(&mark, "2026-11-30T10:00:00Z").unwrap();
        assert_eq!(last(&mark), Micros::parse("2026-11-30T10:00:00Z"));
    }
}
