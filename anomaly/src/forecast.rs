//! What a period will come to: its buckets that are over, and what the model expects of those to come.
//!
//! # Guarantees
//! - How far off it may be is what the same forecast was off by at earlier instants, as far ahead, from what was known
//!   then.
//! - Nothing is told below zero of a series that never was.
//!
//! # Non-guarantees
//! - A trend is known by how far forecasts fell short of it lately, and not as a trend.
//! - Days that a calendar names are forecast like any other.

use std::sync::Arc;

use schemas::{CellValue, Forecast, Grain, KnownSeries, KpiInfo, Micros, Periods};

use crate::bands::was_below_zero;
use crate::number::{float, mantissa};
use crate::replay::{Replay, in_force};
use crate::shape::Shape;

/// The longest periods that are forecast.
const LONGEST: Grain = Grain::Quarter;
/// Buckets from which a forecast is tried, and the fewest that say how far off it is.
const TRIALS: i64 = 56;
const TRIALS_HOURS: i64 = 14 * 24;
const FEW: usize = 8;
/// The parts of the trials that are below what is told, and above it.
const TAIL: f64 = 0.05;
/// The least that errors are measured by: a share of what is usual.
const LEAST: f64 = 0.1;
/// What trials were off by in the middle counts in full where they are many more than this many periods.
const SHY: f64 = 3.0;

const TOO_LITTLE: &str = "too little is known of it yet";

/// Some buckets one after the other, from the first that is not over.
#[derive(Debug, Clone, Copy)]
struct Span {
    skipped: usize,
    count: usize,
}

/// What was forecast of a span, and from which bucket.
#[derive(Debug, Clone, Copy)]
struct TrialRun {
    from: usize,
    sums: [f64; 2],
}

/// What the period that runs at `at` and the next one will come to.
pub(crate) fn forecast(
    kpi: &KpiInfo,
    (periods, grain): (&Periods, Grain),
    of: &KnownSeries<'_>,
    at: Micros,
) -> Result<[Forecast; 2], Arc<str>> {
    let basis = if grain == Grain::Hour { Grain::Hour } else { Grain::Day };
    let is_near = !grain.is_window() && grain <= LONGEST;
    let shape =
        Shape::of(kpi, basis).filter(|_| is_near).ok_or("hours to quarters are forecast")?;
    if grain != basis && !shape.flow {
        return Err("it does not add up from its days; hours and days are forecast".into());
    }
    let running = periods.start(grain, at);
    let next = periods.end(grain, running);
    let now = periods.start(basis, at);
    let count = |from: Micros, to: Micros| {
        let buckets = periods.number(basis, to) - periods.number(basis, from);
        usize::try_from(buckets).unwrap_or(0)
    };
    let lead = Span { skipped: 0, count: count(now, next) };
    let span = Span { skipped: lead.count, count: count(next, periods.end(grain, next)) };
    let far = lead.count + span.count;
    let trials = if basis == Grain::Hour { TRIALS_HOURS } else { TRIALS };
    let earliest = periods.later(basis, now, -trials - i64::try_from(far).unwrap_or(0));
    let mut replay = Replay::new(shape, (periods, basis), of.points, earliest).ok_or(TOO_LITTLE)?;
    replay.learner.put_in_force(in_force(of.model));
    let mut runs = Vec::new();
    let mut values: Vec<Option<f64>> = Vec::new();
    while replay.at < now {
        if replay.at >= earliest {
            runs.extend(run(&replay, values.len(), [lead, span]));
        }
        values.push(replay.step().map(|own| own.value));
    }
    let today = run(&replay, values.len(), [lead, span]).ok_or(TOO_LITTLE)?;
    let level = replay.learner.level;
    let off = |place: usize, own: Span| Off::of(&runs, &values, (place, own), level);
    let known = Known::of(of.points, (running, now), shape.flow);
    let first = replay.outlook().map_or(0.0, |own| own.expected);
    let gone = (at.0 - now.0) as f64 / (periods.end(basis, now).0 - now.0).max(1) as f64;
    // What has come of the bucket that runs is in what is known already.
    let left = if shape.flow { today.sums[0] - gone * first } else { today.sums[0] };
    let least = if was_below_zero(of.points) { f64::NEG_INFINITY } else { 0.0 };
    let told = |start, so_far, (known, left): (f64, f64), own: Span, off: Option<Off>| {
        let scale = left.abs().max(LEAST * level * own.count as f64);
        let value = |part: f64| mantissa((known + left + part * scale).max(least));
        let (middle, between) = match off {
            Some(off) => (off.middle, value(off.low).zip(value(off.high))),
            None => (0.0, None),
        };
        Some(Forecast { start, so_far, expected: value(middle)?, between })
    };
    let running = told(running, known.so_far, (known.counts, left), lead, off(0, lead));
    let after = told(next, None, (0.0, today.sums[1]), span, off(1, span));
    running.zip(after).map(|(own, next)| [own, next]).ok_or_else(|| TOO_LITTLE.into())
}

/// Forecasts two spans from the next bucket on.
fn run(replay: &Replay<'_>, from: usize, spans: [Span; 2]) -> Option<TrialRun> {
    let mut sums = [0.0; 2];
    for (sum, own) in sums.iter_mut().zip(spans) {
        for bucket in own.skipped..own.skipped + own.count {
            *sum += replay.ahead(bucket)?.expected;
        }
    }
    Some(TrialRun { from, sums })
}

/// What the running period says already.
struct Known {
    so_far: Option<i128>,
    /// What of it is not forecast again.
    counts: f64,
}

impl Known {
    fn of(points: &[(Micros, CellValue)], (from, now): (Micros, Micros), is_flow: bool) -> Known {
        let own = points.iter().filter(|(at, _)| (from..=now).contains(at));
        let mut values = own.filter_map(|(_, cell)| cell.value);
        if !is_flow {
            return Known { so_far: values.next_back(), counts: 0.0 };
        }
        let so_far = values.fold(0_i128, i128::saturating_add);
        Known { so_far: Some(so_far), counts: float(so_far) }
    }
}

/// What forecasts were off by, in scales.
#[derive(Debug, Clone, Copy)]
struct Off {
    low: f64,
    middle: f64,
    high: f64,
}

impl Off {
    fn of(
        runs: &[TrialRun],
        values: &[Option<f64>],
        (place, span): (usize, Span),
        level: f64,
    ) -> Option<Off> {
        let error = |run: &TrialRun| {
            let from = run.from + span.skipped;
            let known = values.get(from..from + span.count)?;
            let actual: f64 = known.iter().copied().sum::<Option<f64>>()?;
            let forecast = *run.sums.get(place)?;
            let scale = forecast.abs().max(LEAST * level * span.count as f64);
            let error = (actual - forecast) / scale;
            error.is_finite().then_some(error)
        };
        let mut errors: Vec<f64> = runs.iter().filter_map(error).collect();
        if errors.len() < FEW {
            return None;
        }
        errors.sort_by(f64::total_cmp);
        let all = errors.len() as f64;
        let at = |part: f64| errors.get(rank(part * all)).copied();
        let median = at(0.5)?;
        // Spans overlap: so many of them say as much as this many apart.
        let apart = all / span.count.max(1) as f64;
        let middle = median * apart / (apart + SHY);
        let wider = 1.0 + 1.0 / apart.max(1.0);
        let low = middle + wider * (at(TAIL)? - median);
        let high = middle + wider * (errors.get(rank(all - 1.0 - TAIL * all))? - median);
        Some(Off { low, middle, high })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn rank(at: f64) -> usize {
    at.max(0.0) as usize
}

#[cfg(test)]
mod tests;
