//! The forecast of a series' next bucket, and how far off it usually is.
//!
//! Thirteen simple predictors are mixed by how well each did lately: the last value, two smoothed levels,
//! medians of the same phase of past days and weeks, what is usual at that hour and on that day of the week, and
//! what a regression says that was trained (all four also moved by their recent error), the same bucket yesterday
//! and a week ago.
//!
//! # Guarantees
//! - A forecast depends on buckets before the one it is for, and on nothing else.
//! - An outlier teaches no more than an error at the edge of the plausible, until outliers have
//!   become the rule.
//! - The same buckets give the same bits.

use serde::{Deserialize, Serialize};

use crate::fit::Fit;
use crate::number::narrow;
use crate::profile::{Profile, Spot};
use crate::shape::{BINS, Seasons, Space};
use crate::tail::{Law, SPREAD_OF_MAD, Tail};

/// Past values.
pub(crate) trait Past {
    /// The value `back` buckets before the one to be forecast, 1 being the newest.
    fn value(&self, back: usize) -> Option<f64>;

    /// How many buckets back the same place on the clock is, `back` buckets being whole days.
    fn moved(&self, back: usize) -> usize {
        back
    }
}

/// Where a bucket is: errors are alike in one tier of the forecast's level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bin {
    pub(crate) tier: usize,
    pub(crate) spot: Spot,
    pub(crate) space: Space,
    /// Where errors are measured.
    pub(crate) gauge: Space,
    /// The size of errors there, where all else is alike: they are remembered in it.
    pub(crate) scale: f64,
    pub(crate) law: Law,
}

/// What learning a bucket came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lesson {
    Usual,
    /// It is an outlier.
    Odd,
    /// The outliers up to it are the new normal.
    Adopted,
}

/// How much a predictor counts for that is off by less than another: this power of their losses.
const SHARPNESS: i32 = 24;
/// The same of minutes, whose best predictor changes.
const SHORT_SHARPNESS: i32 = 12;
/// Predictors in the mix.
pub(crate) const EXPERTS: usize = 13;

/// Errors beyond so many spreads teach as if they were this large.
const WINSOR: f64 = 3.5;
/// And these widen what is usual as if they were this large.
const WIDENS: f64 = 2.5;
/// So many outliers in a row are the new normal.
pub(crate) const ADOPT_AFTER: u32 = 8;
/// Errors before outliers are told from the rest.
const FIRST_ERRORS: u32 = 20;
/// Errors before they are noted.
const FEW_ERRORS: u32 = 8;
/// Weight of the newest error in the loss of a predictor.
const LOSS_PACE: f64 = 0.01;
/// Errors that the one counts for which a regression was measured with.
const TRIED: u8 = 20;
/// Weight of the newest error in the recent spread.
const SPREAD_PACE: f64 = 0.01;
/// The same in the usual spread.
const USUAL_PACE: f64 = 0.0005;
/// How much the recent spread counts: little, for a restless hour would excuse the next.
const RECENT: f64 = 0.25;
/// How much larger a spread is taken for that is made of one error.
const EARLY: f64 = 3.0;
/// Errors from before there was a season count as so many.
const AT_SEASON: u32 = 1;
/// Weight of the newest error in the long-run spread at a level, and errors that this is made of at most.
const STEADY_PACE: f64 = 0.01;
const STEADY: u8 = 100;
const STEADY_PRIOR: f64 = 16.0;
/// A regression on all days is believed unless forecasts were better by more than this, or worse by more than that: then
/// it is not what they are like.
const FIT_WORSE: f64 = 1.3;
const FIT_BETTER: f64 = 1.5;

/// What is remembered of a series: no history, which is read where it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Model {
    /// Buckets learned.
    pub(crate) learned: u32,
    /// Errors that the spreads are made of: those from before there was a season count little.
    pub(crate) known: u32,
    /// Whether its week has been known for a while.
    pub(crate) seasoned: bool,
    /// Outliers in a row up to now.
    pub(crate) run: u32,
    pub(crate) last: f64,
    pub(crate) fast: f64,
    pub(crate) slow: f64,
    /// The recent error of the medians of day and week, of the profile, and of what was trained.
    pub(crate) lifts: [f64; 4],
    /// The recent absolute error of each predictor; NaN before its first.
    pub(crate) losses: [f32; EXPERTS],
    /// Errors that those are the means of.
    pub(crate) counts: [u8; EXPERTS],
    /// What each predicts for the next bucket; NaN for none.
    pub(crate) guesses: [f64; EXPERTS],
    /// The mix of them.
    pub(crate) center: f64,
    /// The recent mean absolute error, and the usual one.
    pub(crate) error: f64,
    pub(crate) usual: f64,
    /// The usual one where the forecast is about as high: noise goes with the level.
    pub(crate) steady: [f32; BINS],
    pub(crate) steadied: [u8; BINS],
    /// How far off a regression on all days is, while there are few.
    pub(crate) fit: Option<Fit>,
    pub(crate) tail: Tail,
    pub(crate) profile: Profile,
}

impl Model {
    /// A model that has seen nothing.
    pub(crate) fn new() -> Model {
        Model {
            learned: 0,
            known: 0,
            seasoned: false,
            run: 0,
            last: f64::NAN,
            fast: f64::NAN,
            slow: f64::NAN,
            lifts: [0.0; 4],
            losses: [f32::NAN; EXPERTS],
            counts: [0; EXPERTS],
            guesses: [f64::NAN; EXPERTS],
            center: f64::NAN,
            error: 0.0,
            usual: 0.0,
            steady: [0.0; BINS],
            steadied: [0; BINS],
            fit: None,
            tail: Tail::new(),
            profile: Profile::new(),
        }
    }

    /// Learns the bucket that was forecast last. `floor` is the least spread that is plausible.
    pub(crate) fn learn(&mut self, value: f64, bin: Bin, floor: f64) -> Lesson {
        if self.learned == 0 {
            (self.last, self.fast, self.slow) = (value, value, value);
            self.learned = 1;
            self.profile.learn(bin.spot, bin.space.sharp(value), bin.law);
            return Lesson::Usual;
        }
        let error = value - self.center;
        let spread = self.recent_spread(bin).max(floor);
        let outlier = self.learned > FIRST_ERRORS && error.abs() > WINSOR * spread;
        self.run = if outlier { self.run.saturating_add(1) } else { 0 };
        let is_odd = outlier && self.run < ADOPT_AFTER;
        let taught = if is_odd { self.center + error.signum() * WINSOR * spread } else { value };
        self.learn_errors((value, taught), spread, is_odd);
        if self.learned > FIRST_ERRORS {
            self.learn_tail(value, bin, floor);
        }
        self.learn_spread(error.abs(), bin, floor);
        self.learned = self.learned.saturating_add(1);
        if outlier && self.run == ADOPT_AFTER {
            (self.last, self.fast, self.slow) = (value, value, value);
            return Lesson::Adopted;
        }
        // A level is no more to be moved by an outlier than a season is.
        let taught = if is_odd { self.center } else { taught };
        self.profile.learn(bin.spot, bin.space.sharp(taught), bin.law);
        self.last = taught;
        self.fast += 0.3 * (taught - self.fast);
        self.slow += 0.05 * (taught - self.slow);
        let is_noted = self.learned > FEW_ERRORS && error.abs() > WINSOR * spread;
        if is_noted && self.run < ADOPT_AFTER { Lesson::Odd } else { Lesson::Usual }
    }

    fn learn_tail(&mut self, value: f64, bin: Bin, floor: f64) {
        let center = bin.space.value(self.center);
        let far = bin.gauge.scaled(bin.space.value(value)) - bin.gauge.scaled(center);
        let bent = bin.gauge.slope(center) / bin.space.slope(center);
        self.tail.learn(far / (self.spread(bin).max(floor) * bent), bin.law);
    }

    fn learn_errors(&mut self, (value, taught): (f64, f64), spread: f64, is_odd: bool) {
        let [_, _, _, day, week, .., usual, _, trained, _] = self.guesses;
        // Nor is what they are moved by.
        for (lift, guess) in self.lifts.iter_mut().zip([day, week, usual, trained]) {
            if guess.is_finite() && !is_odd {
                *lift += 0.2 * (taught - guess - *lift);
            }
        }
        let finite = self.losses.map(f64::from).into_iter().filter(|loss| loss.is_finite());
        let best = finite.fold(f64::INFINITY, f64::min);
        for ((loss, count), guess) in self.losses.iter_mut().zip(&mut self.counts).zip(self.guesses)
        {
            if guess.is_finite() {
                // Who foresaw an outlier has not missed it.
                let missed = (taught - guess).abs().min((value - guess).abs());
                *count = count.saturating_add(1);
                let held = f64::from(*loss);
                *loss = narrow(if held.is_finite() {
                    held + LOSS_PACE.max(1.0 / f64::from(*count)) * (missed - held)
                } else {
                    // A newcomer has to show that it is better than the best.
                    missed.max(if best.is_finite() { best } else { spread })
                });
            }
        }
    }

    fn learn_spread(&mut self, missed: f64, bin: Bin, floor: f64) {
        let (missed, floor) = (missed / bin.scale, floor / bin.scale);
        let cap = |spread: f64| {
            if self.learned > FIRST_ERRORS {
                missed.min(WIDENS * spread.max(floor))
            } else {
                missed
            }
        };
        let [recent, usual] =
            [self.recent_spread(bin), self.usual_spread(bin)].map(|own| cap(own / bin.scale));
        self.known = self.known.saturating_add(1);
        let pace = 1.0 / f64::from(self.known);
        self.error += SPREAD_PACE.max(pace) * (recent - self.error);
        self.usual += USUAL_PACE.max(pace) * (usual - self.usual);
        let tier = self.steady.get_mut(bin.tier).zip(self.steadied.get_mut(bin.tier));
        if let Some((own, seen)) = tier {
            *seen = seen.saturating_add(1);
            let pace = STEADY_PACE.max(1.0 / f64::from(*seen));
            *own = narrow(f64::from(*own) + pace * (usual - f64::from(*own)));
        }
    }

    /// Predicts the next bucket, of which a regression that was trained may say something.
    pub(crate) fn foresee(
        &mut self,
        past: &dyn Past,
        seasons: Seasons,
        space: Space,
        (next, trained): (Spot, Option<(f64, f64)>),
    ) {
        let usual = self.profile.guess(next).map_or(f64::NAN, |own| space.blunt(own));
        let scaled = |value: Option<f64>| value.map_or(f64::NAN, |value| space.scaled(value));
        if let (Some((_, error)), [.., loss, _], [.., count, _]) =
            (trained, &mut self.losses, &mut self.counts)
            && !loss.is_finite()
        {
            // Unlike other newcomers it was tried.
            (*loss, *count) = (narrow(error), TRIED);
        }
        let trained = scaled(trained.map(|(value, _)| value));
        let at = |back: usize| scaled(if back == 0 { None } else { past.value(back) });
        let day = scaled(median::<7>(seasons.day, 3, past));
        let week = scaled(median::<4>(seasons.week, 2, past));
        if !self.seasoned && usize::from(self.counts[4]) > seasons.week {
            self.begin_anew();
        }
        self.guesses = [
            self.last,
            self.fast,
            self.slow,
            day,
            week,
            day + self.lifts[0],
            week + self.lifts[1],
            at(seasons.day),
            at(seasons.week),
            usual,
            usual + self.lifts[2],
            trained,
            trained + self.lifts[3],
        ];
        self.center = self.mix(if seasons.is_long() { SHARPNESS } else { SHORT_SHARPNESS });
    }

    /// What was trained is another now.
    pub(crate) fn forget_trained(&mut self) {
        let ([.., plain, moved], [.., counts, counts_moved]) = (&mut self.losses, &mut self.counts);
        (*plain, *moved, *counts, *counts_moved) = (f32::NAN, f32::NAN, 0, 0);
        let ([.., guess, guess_moved], [.., lift]) = (&mut self.guesses, &mut self.lifts);
        (*guess, *guess_moved, *lift) = (f64::NAN, f64::NAN, 0.0);
    }

    /// Takes errors for so many times as large.
    pub(crate) fn widen(&mut self, factor: f64) {
        (self.error, self.usual) = (self.error * factor, self.usual * factor);
        for own in &mut self.steady {
            *own = narrow(f64::from(*own) * factor);
        }
    }

    /// The season is known for the first time: what errors were like before it was says little.
    fn begin_anew(&mut self) {
        self.seasoned = true;
        self.known = self.known.min(AT_SEASON);
        self.counts = self.counts.map(|count| count.min(8));
        self.steadied = self.steadied.map(|seen| seen.min(1));
        self.tail = Tail::new();
    }

    /// The mean of the predictions, weighted by how small their loss is.
    fn mix(&self, sharpness: i32) -> f64 {
        let losses = self.losses.map(f64::from);
        let least = losses.into_iter().filter(|loss| loss.is_finite());
        let least = least.fold(f64::INFINITY, f64::min);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (guess, loss) in self.guesses.iter().zip(losses) {
            if guess.is_finite() {
                let weight = match loss.is_finite() {
                    true => ((least + 1e-9) / (loss + 1e-9)).powi(sharpness),
                    // Without any loss yet, all are alike; later a newcomer only listens.
                    false if least.is_finite() => 0.0,
                    false => 1.0,
                };
                sum += weight * guess;
                weights += weight;
            }
        }
        if weights > 0.0 { sum / weights } else { self.last }
    }

    /// The usual size of an error in `bin`: what one standard deviation is to a normal one.
    pub(crate) fn spread(&self, bin: Bin) -> f64 {
        self.recent_spread(bin).powf(RECENT) * self.usual_spread(bin).powf(1.0 - RECENT)
    }

    /// The long-run size of an error at this level.
    fn usual_spread(&self, bin: Bin) -> f64 {
        let own = self.steady.get(bin.tier).copied().map_or(0.0, f64::from);
        let seen = f64::from(self.steadied.get(bin.tier).copied().unwrap_or(0).min(STEADY));
        bin.scale * self.early((seen * own + STEADY_PRIOR * self.usual) / (seen + STEADY_PRIOR))
    }

    /// The recent size of an error.
    fn recent_spread(&self, bin: Bin) -> f64 {
        bin.scale * self.early(self.error)
    }

    /// That of a regression on all days, where forecasts are about as good.
    fn fitted(&self, error: f64) -> f64 {
        let own = self.fit.map_or(f64::NAN, |fit| f64::from(fit.error));
        let is_like = error > own / FIT_WORSE && error < own * FIT_BETTER;
        if is_like { own } else { error }
    }

    /// Errors that a spread is made of.
    pub(crate) fn freedom(&self) -> f64 {
        let fit = self.fit.map_or(0, |fit| u32::from(fit.freedom));
        f64::from(self.known.max(fit))
    }

    /// A mean error as a spread. Few errors say little about it: it is taken larger at first.
    fn early(&self, error: f64) -> f64 {
        let wider = if self.fit.is_some() { 0.0 } else { EARLY };
        SPREAD_OF_MAD * self.fitted(error) * (1.0 + wider / f64::from(self.known.max(1)))
    }
}

/// The median of the values 1 to `N` seasons ago, if at least `least` of them are known.
fn median<const N: usize>(season: usize, least: usize, past: &dyn Past) -> Option<f64> {
    if season == 0 {
        return None;
    }
    let mut values = [f64::INFINITY; N];
    let mut known = 0;
    for back in 1..=N {
        if let (Some(value), Some(slot)) = (past.value(back * season), values.get_mut(known)) {
            *slot = value;
            known += 1;
        }
    }
    if known < least {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(known / 2)?;
    let lower = *values.get((known - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}
