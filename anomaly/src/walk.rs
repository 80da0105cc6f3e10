//! The model over plain numbers with any bucket length: for measuring it on foreign data.
//!
//! # Guarantees
//! - It is the model that watches KPIs, with the same constants. No number depends on a later one.

use crate::model::Past;
use crate::outlook::Learner;
use crate::shape::{BINS, Observed, Place, Seasons, Shape, Tuning};

/// What the numbers are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Buckets in a day; 0 when buckets are no shorter than a day.
    pub day: usize,
    /// Buckets in a week.
    pub week: usize,
    /// The phase of the first number within the day (or the week, without days).
    pub phase: usize,
    /// Whether they count events.
    pub count: bool,
    /// Buckets to learn before one is judged.
    pub warm: u32,
}

/// What the model says of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// What it expected.
    pub expected: f64,
    /// The least that is normal.
    pub lower: f64,
    /// The most that is normal.
    pub upper: f64,
    /// The distance in robust standard deviations.
    pub z: f64,
    /// How likely chance is to give such a distance.
    pub p: f64,
    /// Whether it is outside of the band: what opens an alert.
    pub anomalous: bool,
}

struct Slice<'a> {
    values: &'a [f64],
}

impl Past for Slice<'_> {
    fn value(&self, back: usize) -> Option<f64> {
        let at = self.values.len().checked_sub(back)?;
        self.values.get(at).copied()
    }
}

/// Scores each of `values` from those before it; `None` while there are too few.
pub fn walk(values: &[f64], series: Series) -> Vec<Option<Score>> {
    let Series { day, week, phase, count, warm } = series;
    let shape = Shape {
        seasons: Seasons { day, week },
        log: true,
        count,
        flow: true,
        warm,
        dated: false,
        patient: week <= 168,
        net: false,
        tuning: Tuning::default(),
    };
    let length = if day > 0 { day } else { week.max(1) };
    let bin = |at: usize| {
        let phase = (at + phase) % length;
        if length <= BINS { phase } else { phase * BINS / length }
    };
    let place = |at: usize| Place {
        number: i64::try_from(at).unwrap_or(i64::MAX),
        phase: bin(at),
        day: i64::try_from(at / length).unwrap_or(0),
    };
    let mut learner = Learner::new();
    let mut scores = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        scores.push(learner.outlook(shape, place(at)).map(|outlook| Score {
            expected: outlook.expected,
            lower: outlook.lower,
            upper: outlook.upper,
            z: outlook.z(*value),
            p: outlook.p(shape, *value),
            anomalous: outlook.is_anomalous(*value),
        }));
        let (known, _) = values.split_at(at + 1);
        let observed = Observed { value: *value, weight: 1.0 };
        learner.learn(shape, Some(observed), (place(at), place(at + 1)), &Slice { values: known });
    }
    scores
}
