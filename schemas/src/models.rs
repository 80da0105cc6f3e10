//! Models of detectors: what was trained on series, as a decision that puts it in force.
//!
//! A decision carries the models themselves: bronze alone says what was in force when, and replay trains nothing.
//!
//! [`ModelsInForce`] are those that hold now, for whoever shows what a detector expects.
//!
//! # Guarantees
//! - What a model's text means, only its detector knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kpi::CellKey;
use crate::time::{Grain, Micros};

/// Series that one decision is of at most: its record stays small.
pub const SERIES_MAX: usize = 200;

/// Models of one detector for series of one KPI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// The detector.
    pub detector: String,
    /// The KPI.
    pub kpi: String,
    /// One a series.
    pub series: Vec<ModelOf>,
}

/// The model of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelOf {
    /// The tenant.
    pub tenant: String,
    /// The dimensions, as canonical JSON.
    pub dims: String,
    /// The grain.
    #[serde(with = "grain")]
    pub grain: Grain,
    /// The model; `None`: there is none any more.
    pub model: Option<String>,
}

/// The models that are in force, by series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelsInForce {
    /// Their texts, by a cell of the series at no period.
    texts: BTreeMap<CellKey, Arc<str>>,
}

impl ModelsInForce {
    /// Puts a model in force for the series of a cell, or none.
    pub fn put(&mut self, series: CellKey, model: Option<Arc<str>>) {
        let series = CellKey { period_start: Micros(0), ..series };
        match model {
            Some(model) => drop(self.texts.insert(series, model)),
            None => drop(self.texts.remove(&series)),
        }
    }

    /// The model of the series of a cell.
    pub fn of(&self, series: CellKey) -> Option<&str> {
        let series = CellKey { period_start: Micros(0), ..series };
        self.texts.get(&series).map(|text| &**text)
    }
}

mod grain {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::time::Grain;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(grain: &Grain, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(grain.name())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Grain, D::Error> {
        let text = String::deserialize(from)?;
        Grain::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no grain")))
    }
}
