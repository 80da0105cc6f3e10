//! Champion and challenger: whether a regression that is trained anew foresees a series better than what is in force.
//!
//! ```text
//! all but the newest 28 days   teach the challenger
//! the newest 28 days           both forecast bucket by bucket, as the detector does; their errors and what is outside
//!                              of their bands are counted
//! all                          teach the regression that is proposed, where the challenger has won
//! ```
//!
//! # Guarantees
//! - The challenger has seen nothing of what it is tried on.
//! - What does not foresee better by [`BETTER`], or puts more outside of its band, is not proposed.
//! - Equal cells give equal proposals, to the last bit, on one machine.

use std::sync::Arc;

use schemas::{Calendar, Grain, KpiInfo, Micros, Periods};

use crate::backtest::History;
use crate::outlook::LEAST_WEIGHT;
use crate::regression::Trained;
use crate::regression::fit::{Point, fit, least};
use crate::replay::Replay;
use crate::shape::{Place, Shape};

/// Both are tried on so many days.
const TRIED_DAYS: i64 = 28;
/// A challenger's errors must be this share of the champion's at most.
const BETTER: f64 = 0.98;
/// Buckets that must have been forecast by both, as a share of those of the days.
const LEAST_FORECAST: f64 = 0.5;
/// Buckets that teach at most: a year of hours.
const MOST: i64 = 366 * 24;

/// What to train on.
#[derive(Debug, Clone)]
pub struct Training {
    /// The KPI, as it is watched.
    pub kpi: KpiInfo,
    /// The periods of tenants.
    pub calendar: Arc<Calendar>,
    /// Its series at each grain, each with the regression that is in force for it.
    pub series: Vec<(History, Option<Arc<Trained>>)>,
    /// Buckets that end until then are whole.
    pub to: Micros,
}

/// How one did on the days that both are tried on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contest {
    /// The mean error of its forecasts, in the space of the model.
    pub error: f64,
    /// Buckets outside of its band.
    pub outside: usize,
}

/// What came of a challenge.
#[derive(Debug, Clone, PartialEq)]
pub enum Challenge {
    /// The challenger foresees better: what is proposed.
    Won(Arc<Trained>),
    /// What is in force stays.
    Lost,
    /// There was none: why.
    None(&'static str),
}

/// A series that was to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrained {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The dimensions.
    pub dims: Arc<str>,
    /// The grain.
    pub grain: Grain,
    /// The buckets that both were tried on.
    pub buckets: usize,
    /// How the champion did and how the challenger did, where both were tried.
    pub contest: Option<(Contest, Contest)>,
    /// What came of it.
    pub challenge: Challenge,
}

/// A series with what names its buckets.
struct Subject<'a> {
    shape: Shape,
    periods: &'a Periods,
    history: &'a History,
    /// The first bucket both are tried on, and the first that is not over.
    split: Micros,
    end: Micros,
}

/// Trains every series of a KPI and tries what comes of it.
pub fn retrain(training: &Training) -> Vec<Retrained> {
    training.series.iter().filter_map(|(history, held)| one(training, history, held)).collect()
}

fn one(training: &Training, history: &History, held: &Option<Arc<Trained>>) -> Option<Retrained> {
    let grain = history.grain;
    let shape = Shape::of(&training.kpi, grain)?;
    let periods = training.calendar.of(&history.tenant);
    let end = periods.start(grain, training.to);
    let days = TRIED_DAYS * if grain == Grain::Hour { 24 } else { 1 };
    let split = periods.later(grain, end, -days);
    let subject = Subject { shape, periods, history, split, end };
    let (contest, buckets, challenge) = match subject.challenge(held.as_ref()) {
        Ok(came) => came,
        Err(why) => (None, 0, Challenge::None(why)),
    };
    let (tenant, dims) = (Arc::clone(&history.tenant), Arc::clone(&history.dims));
    Some(Retrained { tenant, dims, grain, buckets, contest, challenge })
}

type Came = (Option<(Contest, Contest)>, usize, Challenge);

impl Subject<'_> {
    fn number(&self, at: Micros) -> i64 {
        self.periods.number(self.history.grain, at)
    }

    /// The buckets before an instant that teach, ascending.
    fn points(&self, before: Micros) -> Vec<Point> {
        let grain = self.history.grain;
        let Some((first, _)) = self.history.points.first() else { return Vec::new() };
        // The first is seldom whole.
        let oldest = self.periods.later(grain, before, -MOST);
        let mut at = self.periods.later(grain, *first, 1).max(oldest);
        let mut cells = self.history.points.iter().peekable();
        let mut points = Vec::new();
        while at < before {
            while cells.next_if(|(start, _)| *start < at).is_some() {}
            let cell = cells.peek().filter(|(start, _)| *start == at).map(|(_, cell)| *cell);
            let is_planned = self.periods.planned(grain, at).is_some();
            let observed = self.shape.observe(cell).filter(|_| !is_planned);
            points.extend(observed.map(|own| (Place::of(self.periods, grain, at), own)));
            at = self.periods.later(grain, at, 1);
        }
        let usual =
            points.iter().map(|(_, own)| own.weight).sum::<f64>() / points.len().max(1) as f64;
        points.retain(|(_, own)| own.weight >= LEAST_WEIGHT * usual);
        points.into_iter().map(|(place, own)| (place, own.value)).collect()
    }

    fn challenge(&self, held: Option<&Arc<Trained>>) -> Result<Came, &'static str> {
        let before = self.points(self.split);
        if before.len() < least(self.shape) {
            return Err("too little history before the days that it would be tried on");
        }
        let challenger = fit(self.shape, &before, self.number(self.split));
        let challenger = Arc::new(challenger.ok_or("its values are all alike")?);
        let (champion, challenger) = (self.play(held), self.play(Some(&challenger)));
        let (mut sums, mut outside, mut buckets) = ([0.0, 0.0], [0, 0], 0);
        for both in champion.into_iter().zip(challenger) {
            let (Some(own), Some(other)) = both else { continue };
            buckets += 1;
            sums = [sums[0] + own.0, sums[1] + other.0];
            outside = [outside[0] + usize::from(own.1), outside[1] + usize::from(other.1)];
        }
        let asked = self.number(self.end) - self.number(self.split);
        if (buckets as f64) < LEAST_FORECAST * asked as f64 {
            return Err("too few of its buckets can be judged");
        }
        let of = |at: usize| Contest { error: sums[at] / buckets as f64, outside: outside[at] };
        let (champion, challenger) = (of(0), of(1));
        let has_won =
            challenger.error <= BETTER * champion.error && challenger.outside <= champion.outside;
        let proposed = has_won
            .then(|| fit(self.shape, &self.points(self.end), self.number(self.end)))
            .flatten();
        let challenge =
            proposed.map_or(Challenge::Lost, |trained| Challenge::Won(Arc::new(trained)));
        Ok((Some((champion, challenger)), buckets, challenge))
    }

    /// For each bucket of the days the error of its forecast, and whether it is outside of the band.
    fn play(&self, trained: Option<&Arc<Trained>>) -> Vec<Option<(f64, bool)>> {
        let of = (self.periods, self.history.grain);
        let replay = Replay::new(self.shape, of, &self.history.points, self.split);
        let Some(mut replay) = replay else { return Vec::new() };
        replay.learner.put_in_force(trained.cloned());
        let mut said = Vec::new();
        while replay.at < self.end {
            let (at, outlook) = (replay.at, replay.outlook());
            let is_planned = self.periods.planned(self.history.grain, at).is_some();
            let observed = replay.step().filter(|_| !is_planned);
            if at < self.split {
                continue;
            }
            said.push(outlook.zip(observed).map(|(outlook, own)| {
                let error = (outlook.space.scaled(own.value) - outlook.center).abs();
                (error, outlook.is_anomalous(own.value))
            }));
        }
        said
    }
}

#[cfg(test)]
mod tests;
