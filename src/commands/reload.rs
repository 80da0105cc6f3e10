//! What a run is made of, and what follows it in the same process when decisions ask for that: the same once more, or
//! with definitions and settings as the files have them by then.
//!
//! # Guarantees
//! - Files that `weir run` would refuse end no run: what is in force stays so, and what is wrong is said.
//! - A run ends for another one only when all that the other needs has been found good.
//! - The lake, where it is, and what is listened on, told and accepted as tokens stay as they were at the start of the
//!   process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{Meters, Reloads, Stop, Topics, Wish};
use gold::Catalog;
use pipeline::source::Source;
use schemas::{Clock, Contract, DefinitionChange, Micros};

use super::load;
use super::setup::{self, Refusal, Setup};
use crate::config::{Config, Effective};
use crate::failure::Failure;
use crate::wall_clock::WallClock;

/// Between looks at what was asked for.
const LOOK: Duration = Duration::from_millis(50);
/// The key of the trouble that files are wrong.
const REFUSED: &str = "definitions";
/// That of one run having ended and the next one not serving yet.
pub(crate) const UNDER_WAY: &str = "reload";

/// What a run is made of.
pub(crate) struct Plan {
    pub(crate) parts: Parts,
    pub(crate) sources: Vec<Box<dyn Source>>,
}

/// The same without what is used up by a run.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) effective: Arc<Effective>,
    pub(crate) topics: Topics,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) definitions: Vec<DefinitionChange>,
    /// A little before the files were read.
    read_at: Micros,
}

impl Plan {
    /// What the files say. `serves`: whether the API is started.
    ///
    /// # Errors
    /// When they are refused.
    pub(crate) fn read(file: Option<&Path>, serves: bool) -> Result<Plan, Failure> {
        let read_at = WallClock.now();
        let effective = load(file)?;
        let setup = setup::prepare(&effective.config, serves);
        Ok(Plan::of(effective, setup.map_err(|refusals| setup::failure(&refusals))?, read_at))
    }

    fn of(effective: Effective, setup: Setup, read_at: Micros) -> Plan {
        let Setup { sources, topics, contracts, catalog, definitions } = setup;
        let effective = Arc::new(effective);
        let parts = Parts { effective, topics, contracts, catalog, definitions, read_at };
        Plan { parts, sources }
    }
}

impl Parts {
    /// The settings.
    pub(crate) fn config(&self) -> &Config {
        &self.effective.config
    }

    /// The same run once more.
    ///
    /// # Errors
    /// When a source cannot be opened again.
    pub(crate) fn again(&self) -> Result<Plan, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let sources = setup::sources(self.config(), &self.contracts, &mut refusals);
        match refusals.is_empty() {
            true => Ok(Plan { parts: self.clone(), sources }),
            false => Err(refusals),
        }
    }

    /// A run with what the files say by now, and the settings of which they say something else and that stay.
    fn renewed(&self, file: Option<&Path>) -> Result<(Plan, Vec<String>), Vec<Refusal>> {
        let read_at = WallClock.now();
        let configuration =
            |failure: Failure| vec![setup::refusal("configuration", failure.to_string(), None)];
        let mut effective = load(file).map_err(configuration)?;
        let fixed = effective.keep_fixed(&self.effective);
        let setup = setup::prepare(&effective.config, true)?;
        Ok((Plan::of(effective, setup, read_at), fixed))
    }
}

/// Looks after what decisions ask another run for.
pub(crate) struct Reloader<'a> {
    pub(crate) file: Option<&'a Path>,
    pub(crate) running: &'a Parts,
    pub(crate) reloads: &'a Reloads,
    pub(crate) meters: &'a Meters,
    /// That of the run.
    pub(crate) stop: &'a Stop,
}

impl Reloader<'_> {
    /// Waits until the run ends, and ends it when another one is to follow: that one.
    pub(crate) fn work(&self) -> Option<Plan> {
        while !self.stop.is_asked() {
            std::thread::sleep(LOOK);
            if let Some(next) = self.next(self.reloads.take()) {
                let text = "another run is being begun in the same process, by decision: numbers stand still until then";
                self.meters.troubles.set_around(UNDER_WAY, text);
                self.stop.ask();
                return Some(next);
            }
        }
        None
    }

    /// The run that is asked for; `None` when there is none to begin.
    fn next(&self, wish: Wish) -> Option<Plan> {
        // What was decided before the files were read was obeyed by reading them.
        let renewed = wish.definitions.filter(|at| *at >= self.running.read_at);
        if renewed.is_some()
            && let Some(plan) = self.renewed()
        {
            return Some(plan);
        }
        if !wish.cells {
            return None;
        }
        match self.running.again() {
            Ok(plan) => {
                tracing::info!("the run ends for another one, which computes KPIs anew");
                Some(plan)
            }
            Err(refusals) => {
                let said = setup::failure(&refusals);
                tracing::error!("KPIs are computed anew at the next start only: {said}");
                None
            }
        }
    }

    fn renewed(&self) -> Option<Plan> {
        match self.running.renewed(self.file) {
            Ok((plan, fixed)) => {
                self.meters.troubles.clear(REFUSED);
                if !fixed.is_empty() {
                    let fixed = fixed.join(", ");
                    tracing::warn!(
                        "{fixed}: what the files say of it by now is not used before a restart"
                    );
                }
                tracing::info!(
                    "the run ends for another one, with definitions as the files say them by now"
                );
                Some(plan)
            }
            Err(refusals) => {
                let said = setup::failure(&refusals);
                let text = format!(
                    "changed definitions are not in force, and those from before are: {said}; then run `weir kpis \
                     apply`"
                );
                tracing::error!("{text}");
                self.meters.troubles.set_around(REFUSED, &text);
                None
            }
        }
    }
}
