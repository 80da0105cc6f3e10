//! The parts of a run, which its caller hands over.

use std::sync::Arc;

use gold::Catalog;
use lake::Lake;
use pipeline::source::Source;
use schemas::{Clock, Contract, DefinitionChange, Feed};

use super::meters::Meters;
use super::reloads::Reloads;
use super::stop::Stop;
use crate::Topics;
use crate::settings::Settings;

/// What a run is made of.
pub struct Run {
    /// Intervals and bounds.
    pub settings: Settings,
    /// The lake, open for writing.
    pub lake: Lake,
    /// The contracts in force.
    pub contracts: Vec<Contract>,
    /// The KPI definitions in force.
    pub catalog: Arc<Catalog>,
    /// The contracts of topics.
    pub topics: Topics,
    /// Where records come from.
    pub sources: Vec<Box<dyn Source>>,
    /// Stop at the end offsets that are there at the start.
    pub until_end: bool,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Ends the run from outside.
    pub stop: Stop,
    /// Counts the run's work.
    pub meters: Arc<Meters>,
    /// Are told of every published epoch, in order. Freshness is measured at the first to take one.
    pub feeds: Vec<Box<dyn Feed>>,
    /// The definitions of this run, which it puts in force where others are.
    pub definitions: Vec<DefinitionChange>,
    /// Are told what decisions ask another run for.
    pub reloads: Reloads,
    /// Whether an earlier run of this process ended for this one. Feeds were told then all that a preview could say,
    /// and hear nothing before this one has recovered.
    pub goes_on: bool,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("settings", &self.settings).finish_non_exhaustive()
    }
}
