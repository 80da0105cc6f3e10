//! The scorer's state as records: everything but alerts, which are rows, and cells, which are loaded.
//!
//! # Guarantees
//! - What is read back goes on exactly from where it was written: floats are kept as their bits.
//! - Records of another version are refused.

use std::sync::Arc;

use schemas::state::{SavedError, encode};
use schemas::{Alert, Cells, EpochId, FrozenObserver, Micros, Records, Saved, StatePart};
use serde::{Deserialize, Serialize};

use crate::alert_book::FrozenAlerts;
use crate::entry::{Entry, Name};
use crate::outlook::{Learner, Outlook};
use crate::policy::Track;
use crate::rules::REGISTRY;
use crate::scorer::{Scorer, new_entry};
use crate::series_book::FrozenSeries;

/// The version of the records.
const VERSION: u8 = 3;
const HEAD: &str = "detector";
const SERIES: &str = "detector/series";

/// Why saved state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Saved(#[from] SavedError),
    #[error(
        "the saved state of detectors has version {0}, and this binary reads version {VERSION}"
    )]
    Version(u8),
    #[error("the saved state of detectors names the KPI `{0}`, which has no definition")]
    Kpi(Arc<str>),
}

/// What there is but once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    version: u8,
    cursor: Option<Micros>,
    settle: Option<Micros>,
    epoch: EpochId,
}

/// One series.
#[derive(Debug, Serialize, Deserialize)]
struct Series {
    name: Name,
    first: Micros,
    next: Micros,
    stale: bool,
    learner: Learner,
    outlooks: Vec<(Micros, Outlook)>,
    /// By the names of their rules, those that remember something.
    tracks: Vec<(String, Track)>,
}

impl Series {
    fn of(entry: &Entry) -> Series {
        let tracks = REGISTRY.iter().zip(&entry.tracks).filter(|(_, track)| !track.is_idle());
        Series {
            name: entry.name.clone(),
            first: entry.first,
            next: entry.next,
            stale: entry.stale,
            learner: entry.learner.clone(),
            outlooks: entry.outlooks.clone(),
            tracks: tracks.map(|(rule, track)| (rule.name().to_owned(), track.clone())).collect(),
        }
    }
}

/// A scorer at one epoch.
#[derive(Debug)]
pub(crate) struct Frozen {
    head: Head,
    series: FrozenSeries,
    alerts: FrozenAlerts,
}

impl Frozen {
    pub(crate) fn of(scorer: &mut Scorer) -> Frozen {
        let Scorer { cursor, settle, epoch, .. } = *scorer;
        Frozen {
            head: Head { version: VERSION, cursor, settle, epoch },
            series: scorer.series.freeze(),
            alerts: scorer.alerts.freeze(),
        }
    }
}

impl FrozenObserver for Frozen {
    fn parts(&self) -> Vec<StatePart<'_>> {
        vec![StatePart::head(HEAD, &self.head), StatePart::new(SERIES, &self.series)]
    }

    fn changed_alerts(&self) -> &[u32] {
        &self.alerts.changed
    }

    fn alert(&self, slot: u32) -> Option<&Alert> {
        self.alerts.get(slot)
    }

    fn alerts_end(&self) -> u32 {
        self.alerts.end()
    }
}

impl Records for &FrozenSeries {
    fn changed(&self) -> Option<&[u32]> {
        Some(&self.changed)
    }

    fn end(&self) -> u32 {
        FrozenSeries::end(self)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let Some(entry) = self.get(number) else { return false };
        encode(&Series::of(entry), out);
        true
    }
}

/// Reads the state into a scorer that is new.
pub(crate) fn read(
    scorer: &mut Scorer,
    saved: &Saved,
    cells: &dyn Cells,
    kept: &dyn Fn(&str) -> bool,
) -> Result<(), LoadError> {
    let Head { version, cursor, settle, epoch } = saved.head(HEAD)?;
    if version != VERSION {
        return Err(LoadError::Version(version));
    }
    (scorer.cursor, scorer.settle, scorer.epoch) = (cursor, settle, epoch);
    for series in saved.values::<Series>(SERIES) {
        let (place, Series { name, first, next, stale, learner, outlooks, tracks }) = series?;
        if !kept(&name.kpi) {
            continue;
        }
        let unknown = || LoadError::Kpi(Arc::clone(&name.kpi));
        let mut entry = new_entry(&scorer.kpis, name.clone(), first).ok_or_else(unknown)?;
        entry.id = cells.series(&name.kpi, &name.tenant, &name.dims);
        (entry.next, entry.stale) = (next, stale);
        (entry.learner, entry.outlooks) = (learner, outlooks);
        for (rule, track) in tracks {
            let own = REGISTRY.iter().zip(&mut entry.tracks).find(|(own, _)| own.name() == rule);
            own.into_iter().for_each(|(_, own)| own.clone_from(&track));
        }
        scorer.restore(place as usize, entry);
    }
    Ok(())
}
