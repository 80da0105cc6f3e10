//! What is expected of one bucket, and what a value says against it.
//!
//! # Guarantees
//! - A value is anomalous exactly when it is outside of the band, and the band is known before the
//!   bucket is.
//! - A deviation below six hundredths of what is expected, or five of the series' usual level, is never anomalous; of a
//!   ratio one below a tenth.
//!
//! # Non-guarantees
//! - The band is that of a whole bucket. A bucket that still runs can be too high, not too low.

mod band;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dates::Dates;
use crate::fit::{self, Fit};
use crate::jumps::{Jump, Jumps};
use crate::model::{ADOPT_AFTER, Bin, Lesson, Model, Past};
use crate::number::{narrow, whole};
use crate::odd::Odd;
use crate::records::Records;
use crate::regression::Trained;
use crate::shape::{BINS, Observed, Place, Shape, Space};
use crate::tail::{ALERT, Law};

use band::COUNTS_MAX;
pub(crate) use band::Outlook;

/// The least spread: forecasts better than this are luck.
const FLOOR_LOG: f64 = 0.01;
/// The same for ratios, of the larger of the value and 1 %.
const FLOOR_RATIO: f64 = 0.01;
/// A deviation of less is not worth an alert: of the expected value, of the usual level.
const LEAST_OF_EXPECTED: f64 = 0.06;
const LEAST_OF_LEVEL: f64 = 0.05;
/// The same of ratios, of the expected value and in points.
const LEAST_OF_RATIO: f64 = 0.1;
const LEAST_POINTS: f64 = 0.02;
/// The share of buckets that are not 0, below which a series is too sparse to be judged.
const LEAST_ACTIVE: f64 = 0.25;
/// A denominator below this share of the usual one says nothing.
pub(crate) const LEAST_WEIGHT: f64 = 0.1;
/// Weight of the newest bucket in the usual level.
const LEVEL_PACE: f64 = 0.02;
/// How much wider errors are of what does not come next.
const FARTHER: f64 = 1.25;
/// Two odd values are alike within so many spreads.
const ALIKE: f64 = 4.0;
/// Standard deviations of a normal law that chance exceeds with [`ALERT_P`].
const NORMAL_REACH: f64 = 3.890_591_886;

/// How many times as surprising a bucket must be while its week is not known, and before one is over.
const NOT_SEASONED: f64 = 2.5;
const NEW: f64 = 8.0;
/// The same until so many weeks are known: what is new grows.
const GROWING: f64 = 1.5;
const YOUNG: u32 = 5;
/// The same of ratios: both of their sides are restless.
const RATIO: f64 = 1.25;
/// The same for each alert of which people said that nothing was wrong; for more of them it is no more.
const RELUCTANCE: f64 = 1.2;
pub(crate) const NOES_MOST: u8 = 4;
/// The surprise that two buckets in a row need on one side together, and the second at least, where one alone
/// needs [`ALERT`].
const TOGETHER: f64 = 6.0;
const AGAIN: f64 = 2.4;
/// The same of hours, of which there are more, and of days, of which there are fewer; and how much less one day needs.
const HOURS_TOGETHER: f64 = 6.7;
const HOURS_AGAIN: f64 = 3.0;
const DAYS_TOGETHER: f64 = 5.7;
const DAYS: f64 = 0.95;

/// How surprising the error of a jump must be, too: one in fifty on its side.
const ALONG: f64 = 1.7;

/// A model, and what else is remembered of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learner {
    /// Buckets seen, of which the first only teach how large the series is.
    pub(crate) seen: u32,
    pub(crate) model: Model,
    /// The usual size of a value, of a denominator, and the share of buckets that are not 0.
    pub(crate) level: f64,
    pub(crate) weight: f64,
    pub(crate) active: f64,
    /// The geometric mean of the values that were not 0 before the model began, as a logarithm, and how
    /// many there were: what its space is made with.
    pub(crate) size: f64,
    pub(crate) sized: u32,
    /// The least and the most there ever was.
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) jumps: Jumps,
    /// Which of the newest buckets are no ground for a forecast.
    pub(crate) odd: Odd,
    /// How surprising the newest bucket was, below 0 when it was too low.
    pub(crate) surprise: f32,
    /// Outliers by their dates.
    pub(crate) dates: Dates,
    /// Buckets since outliers became the new normal.
    pub(crate) adopted: u16,
    /// A regression that is in force.
    pub(crate) trained: Option<Arc<Trained>>,
    /// Alerts of which people said that nothing was wrong, less those that they said were right.
    pub(crate) noes: u8,
}

/// The past without what was odd.
struct Sound<'a> {
    past: &'a dyn Past,
    odd: &'a Odd,
    /// The number of the bucket to be forecast.
    of: i64,
}

impl Past for Sound<'_> {
    fn value(&self, back: usize) -> Option<f64> {
        let back = self.past.moved(back);
        let number = self.of.saturating_sub(i64::try_from(back).ok()?);
        if self.odd.has(number) { None } else { self.past.value(back) }
    }
}

impl Learner {
    /// Nothing learned yet.
    pub(crate) fn new() -> Learner {
        Learner {
            seen: 0,
            model: Model::new(),
            level: 0.0,
            weight: 0.0,
            active: 1.0,
            size: 0.0,
            sized: 0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            jumps: Jumps::new(),
            odd: Odd::default(),
            surprise: 0.0,
            dates: Dates::default(),
            adopted: u16::MAX,
            trained: None,
            noes: 0,
        }
    }

    /// Learns the bucket that is over, at its place, and predicts the next one, before which `past` lies.
    pub(crate) fn learn(
        &mut self,
        shape: Shape,
        observed: Option<Observed>,
        (place, next): (Place, Place),
        past: &dyn Past,
    ) {
        let number = place.number;
        self.surprise = self.surprise_of(shape, observed, place);

        let counted = observed.filter(|own| own.weight >= LEAST_WEIGHT * self.weight);
        let is_empty = observed.is_some() && counted.is_none();
        self.odd.note(number, self.seen == 0 || is_empty);
        let pace = LEVEL_PACE.max(1.0 / (f64::from(self.seen) + 1.0));
        if let Some(own) = observed {
            // Also what is too small to be learned moves what is usual, or nothing would ever again.
            self.weight += pace * (own.weight - self.weight);
        }
        if let Some(own) = counted {
            self.level += pace * (own.value.abs() - self.level);
            self.active += pace * (f64::from(u8::from(own.value.abs() > 0.0)) - self.active);
            // The first bucket is passed over: where a series or its history begins, it is seldom whole.
            if self.seen > 0 {
                (self.low, self.high) = (self.low.min(own.value), self.high.max(own.value));
                self.jumps.learn(number, own.value);
            }
            self.seen = self.seen.saturating_add(1);
            if self.model.learned == 0 && own.value.abs() > 0.0 {
                self.sized += 1;
                self.size += (own.value.abs().ln() - self.size) / f64::from(self.sized);
            }
            if let Some(space) = self.space(shape) {
                let floor = floor(shape, space, self.model.center);
                let at = self.bin((shape, space), place);
                let error = space.scaled(own.value) - self.model.center;
                let lesson = self.model.learn(space.scaled(own.value), at, floor);
                self.note(lesson, (place, space.scaled(own.value), error), (shape, space), past);
            }
        }
        if let Some(space) = self.space(shape).filter(|_| self.model.learned > 0) {
            let sound = Sound { past, odd: &self.odd, of: number.saturating_add(1) };
            let is_few = usize::try_from(self.seen).is_ok_and(|seen| seen <= fit::DAYS);
            let is_fit = shape.law() == Law::Days && is_few && self.patience(shape) <= 1.0;
            self.model.fit = if is_fit { Fit::of(&sound, space) } else { None };
            let foreseen = (next.spot(shape.seasons), self.trained_guess(shape, next));
            self.model.foresee(&sound, shape.seasons, space, foreseen);
        }
    }

    /// Puts another regression in force, or none.
    pub(crate) fn put_in_force(&mut self, trained: Option<Arc<Trained>>) {
        self.trained = trained;
        self.model.forget_trained();
    }

    /// What the regression in force says of a bucket.
    fn trained_guess(&self, shape: Shape, place: Place) -> Option<(f64, f64)> {
        self.trained.as_ref()?.guess(shape, place)
    }

    /// One that has learned nothing from buckets, but keeps what was decided.
    pub(crate) fn anew(&self) -> Learner {
        Learner { trained: self.trained.clone(), noes: self.noes, ..Learner::new() }
    }

    /// How many times as surprising a bucket must be after what people said.
    fn reluctance(&self) -> f64 {
        RELUCTANCE.powi(i32::from(self.noes.min(NOES_MOST)))
    }

    /// How surprising a bucket is, as a number with the sign of its error.
    fn surprise_of(&self, shape: Shape, observed: Option<Observed>, place: Place) -> f32 {
        let judged = self.bare(shape, place).zip(observed);
        let judged = judged.filter(|(outlook, own)| own.weight >= outlook.weight);
        judged.map_or(0.0, |(outlook, own)| {
            let sign = if own.value < outlook.expected { -1.0 } else { 1.0 };
            narrow(sign * outlook.surprise(own.value))
        })
    }

    /// Notes an odd bucket, unless the same place a day or a week ago was as odd: twice is a pattern.
    fn note(
        &mut self,
        lesson: Lesson,
        (place, value, error): (Place, f64, f64),
        (shape, space): (Shape, Space),
        past: &dyn Past,
    ) {
        let number = place.number;
        self.adopted = self.adopted.saturating_add(1);
        match lesson {
            Lesson::Usual => {}
            Lesson::Adopted => {
                self.adopted = 0;
                let run = i64::from(ADOPT_AFTER);
                (number - run..number).for_each(|own| self.odd.excuse(own));
            }
            Lesson::Odd => {
                if shape.dated {
                    self.dates.note(place.date(shape.seasons), error);
                }
                let floor = floor(shape, space, self.model.center);
                let near = ALIKE * self.model.spread(self.bin((shape, space), place)).max(floor);
                let mut is_pattern = false;
                for season in
                    [shape.seasons.day, shape.seasons.week].into_iter().filter(|own| *own > 0)
                {
                    // `past` is seen from the next bucket, this one is one back.
                    let back = past.moved(season);
                    let at = number.saturating_sub(i64::try_from(back).unwrap_or(0));
                    let before = past.value(back + 1).map(|own| space.scaled(own));
                    if self.odd.has(at) && before.is_some_and(|own| (own - value).abs() <= near) {
                        self.odd.excuse(at);
                        is_pattern = true;
                    }
                }
                self.odd.note(number, !is_pattern);
            }
        }
    }

    /// Where the error of the forecast is like others: of a ratio by its hour, and of its days anywhere.
    fn bin(&self, (shape, space): (Shape, Space), place: Place) -> Bin {
        let phase = place.phase;
        let tier = match (shape.log, shape.seasons.day > 0) {
            (true, _) => tier(self.model.center, space),
            (false, true) => phase,
            (false, false) => 0,
        };
        let scale = space.scale(space.value(self.model.center));
        let (spot, gauge) = (place.spot(shape.seasons), space.gauge(shape));
        Bin { tier, spot, space, gauge, scale, law: shape.law() }
    }

    /// The space of the model, once it has begun.
    fn space(&self, shape: Shape) -> Option<Space> {
        let is_known = !shape.log || self.sized > 0;
        (is_known && self.seen > shape.sized()).then(|| Space::of(shape, self.size.exp()))
    }

    /// What is expected of the next bucket, at its place; `None` until enough was learned, and
    /// for a series that is 0 most of the time.
    pub(crate) fn outlook(&self, shape: Shape, place: Place) -> Option<Outlook> {
        let mut outlook = self.bare(shape, place)?;
        let expected = outlook.expected;
        let least = match (shape.tuning.least_change, shape.log) {
            (None, true) => (LEAST_OF_EXPECTED * expected.abs()).max(LEAST_OF_LEVEL * self.level),
            (None, false) => LEAST_POINTS.max(LEAST_OF_RATIO * expected.abs()),
            (Some(share), true) => share * expected.abs().max(self.level),
            (Some(points), false) => points,
        };
        let least = least.max(shape.tuning.least_impact);
        outlook.lower = outlook.limit(0).min(expected - least);
        outlook.upper = outlook.limit(1).max(expected + least);
        if let Some(jump) = self.jump(shape, place) {
            let [low, high] = jump.limits();
            let low = low.min(outlook.by_error(0, ALONG)).min(expected - least);
            let high = high.max(outlook.by_error(1, ALONG)).max(expected + least);
            outlook.lower = outlook.lower.max(low);
            outlook.upper = outlook.upper.min(high);
            outlook.jump = jump;
        }
        if let Some(space) = self.space(shape) {
            for other in self.others(shape, place, self.model.center) {
                (outlook.lower, outlook.upper) = outlook.with(space.value(other));
                outlook.wide = true;
            }
        }
        if shape.count && expected < COUNTS_MAX {
            // Cornish and Fisher's expansion: Poisson's law is skewed where counts are small.
            let mean = expected.max(0.0);
            let reach = NORMAL_REACH * (shape.tuning.need * self.reluctance()).sqrt();
            let skew = (reach * reach - 1.0) / 6.0;
            outlook.lower = outlook.lower.min(mean - reach * mean.sqrt() + skew);
            outlook.upper = outlook.upper.max(mean + reach * mean.sqrt() + skew);
        }
        Some(outlook)
    }

    /// What would be a jump at this place: of hours, once more than a week is known.
    fn jump(&self, shape: Shape, place: Place) -> Option<Jump> {
        let week = u32::try_from(shape.seasons.week).unwrap_or(u32::MAX);
        let is_new = shape.patient && self.seen <= week.saturating_add(week / 7);
        if is_new || !shape.log || shape.seasons.day == 0 {
            return None;
        }
        self.jumps.next(place.number, self.level, f64::from(week), shape.tuning.need)
    }

    /// What is expected of a bucket that does not come next; `past` knows nothing of those between.
    pub(crate) fn outlook_ahead(
        &self,
        shape: Shape,
        place: Place,
        past: &dyn Past,
    ) -> Option<Outlook> {
        let space = self.space(shape).filter(|_| self.model.learned > 0)?;
        let mut ahead = self.clone();
        let sound = Sound { past, odd: &self.odd, of: place.number };
        let foreseen = (place.spot(shape.seasons), self.trained_guess(shape, place));
        ahead.model.foresee(&sound, shape.seasons, space, foreseen);
        ahead.model.widen(FARTHER);
        ahead.surprise = 0.0;
        ahead.outlook(shape, place)
    }

    /// Where else a bucket may be: by its date, and where it was before outliers became usual.
    fn others(&self, shape: Shape, place: Place, center: f64) -> impl Iterator<Item = f64> + use<> {
        let dated = self.dates.expected(place.date(shape.seasons)).filter(|_| shape.dated);
        let dated = dated.into_iter().flat_map(move |(low, high)| [center + low, center + high]);
        let is_new = shape.dated && usize::from(self.adopted) < shape.seasons.week;
        let [_, _, _, day, week, .., usual, _, _, _] = self.model.guesses;
        let before =
            [day, week, usual].into_iter().filter(move |guess| is_new && guess.is_finite());
        dated.chain(before)
    }

    /// How many times as surprising a bucket must be while its series is new.
    fn patience(&self, shape: Shape) -> f64 {
        let week = u32::try_from(shape.seasons.week).unwrap_or(u32::MAX);
        match self.seen {
            _ if !shape.patient => 1.0,
            seen if seen <= week.saturating_add(week / 7) => NEW,
            _ if !self.model.seasoned => NOT_SEASONED,
            seen if seen < week.saturating_mul(YOUNG) => GROWING,
            _ => 1.0,
        }
    }

    /// The surprise that an alert needs, below and above.
    fn needs(&self, shape: Shape) -> [f64; 2] {
        let (together, again, part) = match shape.law() {
            Law::Minutes => (TOGETHER, AGAIN, 1.0),
            Law::Hours => (HOURS_TOGETHER, HOURS_AGAIN, 1.0),
            Law::Days => (DAYS_TOGETHER, AGAIN, DAYS),
        };
        let patience = self.patience(shape);
        // Of what is new two in a row are no more than one.
        let again = if patience > 1.0 { ALERT } else { again };
        let calm = if shape.log { 1.0 } else { RATIO };
        let times = part * patience * calm * self.reluctance() * shape.tuning.need;
        let before = f64::from(self.surprise);
        [-before, before].map(|own| times * (together - own).clamp(again, ALERT))
    }

    /// The same without its limits.
    fn bare(&self, shape: Shape, place: Place) -> Option<Outlook> {
        let model = &self.model;
        let sparse = shape.flow && self.active < LEAST_ACTIVE;
        if self.seen < shape.warm || sparse || !model.center.is_finite() {
            return None;
        }
        let (space, center) = (self.space(shape)?, model.center);
        let expected = space.value(center);
        let mut spread =
            model.spread(self.bin((shape, space), place)).max(floor(shape, space, center));
        if shape.count {
            spread = spread.max((expected.max(0.0) + 1.0).sqrt() * space.slope(expected));
        }
        let records = Records::new((self.low, self.high), self.seen, shape.patient);
        let curves = model.tail.curves(shape.law(), model.freedom());
        let weight = LEAST_WEIGHT * self.weight;
        let needs = self.needs(shape);
        let gauge = space.gauge(shape);
        Some(Outlook {
            space: gauge,
            center: gauge.scaled(expected),
            spread: spread * gauge.slope(expected) / space.slope(expected),
            curves,
            records,
            jump: Jump::NONE,
            needs,
            wide: false,
            expected,
            lower: f64::NEG_INFINITY,
            upper: f64::INFINITY,
            weight,
        })
    }
}

/// The tier of a level in a bent space: quarters of an octave around the usual size.
fn tier(center: f64, space: Space) -> usize {
    let octaves = (space.value(center).abs() / space.unit).max(f64::MIN_POSITIVE).log2();
    let steps = (octaves * 4.0 + BINS as f64 / 2.0).round().clamp(0.0, BINS as f64 - 1.0);
    usize::try_from(whole(steps)).unwrap_or(0)
}

fn floor(shape: Shape, space: Space, center: f64) -> f64 {
    if shape.log { FLOOR_LOG } else { FLOOR_RATIO * space.value(center).abs().max(0.01) }
}

#[cfg(test)]
mod tests;
