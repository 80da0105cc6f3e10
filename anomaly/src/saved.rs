//! The scorer's state as records: everything but alerts, which are rows, and cells, which are loaded.
//!
//! # Guarantees
//! - What is read back goes on exactly from where it was written: floats are kept as their bits.
//! - Records of another version are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::state::{SavedError, encode};
use schemas::{
    Alert, Calendar, CellKey, Cells, EpochId, FrozenObserver, KpiInfo, Micros, ModelsInForce,
    OriginName, Records, Saved, StatePart,
};
use serde::{Deserialize, Serialize};

use crate::alert_book::FrozenAlerts;
use crate::entry::{Entry, Name};
use crate::lateness::Lateness;
use crate::outlook::{Learner, Outlook};
use crate::policy::Track;
use crate::regression::Trained;
use crate::rules::REGISTRY;
use crate::series_book::FrozenSeries;

/// The version of the records.
const VERSION: u8 = 8;
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

/// What a scorer has but once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) cursor: Option<Micros>,
    /// Until when origins lag.
    pub(crate) lags: Vec<(OriginName, Micros)>,
    /// Buckets that changed while they were held, though not by a backlog, by the places of their series.
    pub(crate) held: Vec<(usize, Micros)>,
    pub(crate) epoch: EpochId,
}

/// The same with the version of all records.
#[derive(Debug, Serialize, Deserialize)]
struct Versioned {
    version: u8,
    head: Head,
}

/// One series.
#[derive(Debug, Serialize, Deserialize)]
struct Series {
    name: Name,
    first: Micros,
    next: Micros,
    stale: bool,
    late: Lateness,
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
            late: entry.late.clone(),
            learner: entry.learner.clone(),
            outlooks: entry.outlooks.clone(),
            tracks: tracks.map(|(rule, track)| (rule.name().to_owned(), track.clone())).collect(),
        }
    }
}

/// A scorer at one epoch.
#[derive(Debug)]
pub(crate) struct Frozen {
    head: Versioned,
    series: FrozenSeries,
    alerts: FrozenAlerts,
}

impl Frozen {
    pub(crate) fn new(head: Head, series: FrozenSeries, alerts: FrozenAlerts) -> Frozen {
        Frozen { head: Versioned { version: VERSION, head }, series, alerts }
    }
}

impl FrozenObserver for Frozen {
    fn parts(&self) -> Vec<StatePart<'_>> {
        vec![StatePart::head(HEAD, &self.head), StatePart::new(SERIES, &self.series)]
    }

    fn changed_alerts(&self) -> &[u32] {
        &self.alerts.changed
    }

    fn forgotten_alerts(&self) -> &[u32] {
        &self.alerts.forgotten
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

/// The regressions that are in force in a saved state, each by a cell of its series at no period; none where the state
/// is of another version.
pub fn in_force(saved: &Saved) -> BTreeMap<CellKey, Arc<Trained>> {
    let is_own = saved.head::<Versioned>(HEAD).is_ok_and(|own| own.version == VERSION);
    let series = saved.values::<Series>(SERIES).filter(|_| is_own);
    let trained = |own: Series| Some((own.name.cell(Micros(0)), own.learner.trained?));
    series.filter_map(|own| trained(own.ok()?.1)).collect()
}

/// The same as they are published.
pub fn models_in_force(saved: &Saved) -> ModelsInForce {
    let mut models = ModelsInForce::default();
    in_force(saved).into_iter().for_each(|(of, own)| models.put(of, Some(own.to_text().into())));
    models
}

/// Reads the state back: `put` is given every series of a KPI that is `kept`, and its place.
pub(crate) fn read(
    saved: &Saved,
    (kpis, calendar): (&[KpiInfo], &Calendar),
    cells: &dyn Cells,
    kept: &dyn Fn(&str) -> bool,
    put: &mut dyn FnMut(usize, Entry),
) -> Result<Head, LoadError> {
    let Versioned { version, head } = saved.head(HEAD)?;
    if version != VERSION {
        return Err(LoadError::Version(version));
    }
    for series in saved.values::<Series>(SERIES) {
        let (place, Series { name, first, next, stale, late, learner, outlooks, tracks }) = series?;
        if !kept(&name.kpi) {
            continue;
        }
        let unknown = || LoadError::Kpi(Arc::clone(&name.kpi));
        let mut entry = Entry::new(kpis, calendar, name.clone(), first).ok_or_else(unknown)?;
        entry.id = cells.series(&name.kpi, &name.tenant, &name.dims);
        (entry.next, entry.stale, entry.late) = (next, stale, late);
        (entry.learner, entry.outlooks) = (learner, outlooks);
        for (rule, track) in tracks {
            let own = REGISTRY.iter().zip(&mut entry.tracks).find(|(own, _)| own.name() == rule);
            own.into_iter().for_each(|(_, own)| own.clone_from(&track));
        }
        put(place as usize, entry);
    }
    Ok(head)
}
