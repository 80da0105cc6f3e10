//! What would have fired: the cells of a KPI as they are now, played through the detector in the order of their time.
//!
//! ```text
//! 10 s before the end of each bucket   its whole value, at once
//! timers                               as they are due: 30 s behind each hour
//! ```
//!
//! # Guarantees
//! - No lookahead: what is said of a bucket depends on cells of buckets that began until then, and budgets likewise.
//! - What is played is bounded by [`Limits`], and what was left out is said.
//!
//! # Non-guarantees
//! - Cells are final values. What came late, was corrected or was a backlog is not known any more: a value is there
//!   when its bucket ends, so that what is too high is said later than it would be, and nothing is ever late.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use schemas::{
    Alert, Calendar, CellKey, CellValue, Grain, KpiInfo, Micros, Periods, Severity, Status,
};

use crate::Scorer;
use crate::driver::Driver;
use crate::entry::Entry;
use crate::number::float;
use crate::rules::REGISTRY;

const SECOND: i64 = 1_000_000;
/// How long before its end a bucket has its value.
const ARRIVES: i64 = 10 * SECOND;
/// How long after the last full hour the replay ends: its timers have fired.
const SETTLES: i64 = 60 * SECOND;
const WEEK_US: f64 = 7.0 * 86_400.0 * 1e6;
/// Halvings of an interval in which a start is looked for.
const HALVINGS: u32 = 64;

/// The cells of one series at one grain, ascending.
#[derive(Debug, Clone)]
pub struct History {
    /// The KPI.
    pub kpi: Arc<str>,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The dimensions.
    pub dims: Arc<str>,
    /// The grain: hour or day; others are not judged.
    pub grain: Grain,
    /// The cells, each at the start of its period.
    pub points: Vec<(Micros, CellValue)>,
}

impl History {
    /// Cells, in the order of their keys, by series.
    pub fn of(cells: Vec<(CellKey, CellValue)>) -> Vec<History> {
        let mut all: Vec<History> = Vec::new();
        for (key, cell) in cells {
            let CellKey { kpi, tenant, dims, grain, period_start } = key;
            let is_last = |own: &&mut History| {
                (&own.kpi, &own.tenant, &own.dims, own.grain) == (&kpi, &tenant, &dims, grain)
            };
            match all.last_mut().filter(is_last) {
                Some(own) => own.points.push((period_start, cell)),
                None => {
                    let points = vec![(period_start, cell)];
                    all.push(History { kpi, tenant, dims, grain, points });
                }
            }
        }
        all
    }
}

/// What is played at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Series at one grain each; the first of them are played.
    pub lines: usize,
    /// Buckets of all of them; the newest are played.
    pub buckets: i64,
}

/// What to play.
#[derive(Debug, Clone)]
pub struct Question {
    /// The KPI, as it would be watched.
    pub kpi: KpiInfo,
    /// The periods of tenants.
    pub calendar: Arc<Calendar>,
    /// Its series at each grain, in the order in which they are told.
    pub series: Vec<History>,
    /// The KPIs that are budgets of its rules.
    pub budgets: Vec<History>,
    /// Buckets that begin before this only teach.
    pub from: Option<Micros>,
    /// Buckets that end until then are played.
    pub to: Micros,
    /// What is played at most.
    pub limits: Limits,
}

/// An alert that would have opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// When it would have been said.
    pub said_at: Micros,
    /// The alert as it opened.
    pub alert: Alert,
    /// The most that it became.
    pub severity: Severity,
    /// Its newest anomalous bucket.
    pub last: Micros,
    /// When it would have been resolved, and why.
    pub resolved: Option<(Micros, Arc<str>)>,
}

impl Fired {
    /// What the answer is sorted by.
    fn order(&self) -> (Micros, &str, &str, Grain) {
        let key = &self.alert.key;
        (self.said_at, &key.tenant, &key.dims, key.grain)
    }
}

/// A bucket that was played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Played {
    /// Where it starts.
    pub start: Micros,
    /// What it says; none of a ratio without one.
    pub value: Option<f64>,
    /// What was expected of it: the least that is normal, the middle, and the most.
    pub band: Option<[f64; 3]>,
}

/// A series at one grain that was played.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The dimensions.
    pub dims: Arc<str>,
    /// The grain.
    pub grain: Grain,
    /// Its buckets from the start that was asked for.
    pub buckets: Vec<Played>,
}

/// What would have fired.
#[derive(Debug, Clone, PartialEq)]
pub struct Backtest {
    /// The start of the first bucket that was played; none where there was none.
    pub first: Option<Micros>,
    /// Whether older buckets were left out because there were too many.
    pub is_shortened: bool,
    /// Series that were left out because there were too many.
    pub left_out: usize,
    /// The series that were played, each at its grain.
    pub lines: Vec<Line>,
    /// Tenants and dimensions among them, and the weeks of each added up.
    pub series: usize,
    /// Weeks of all series.
    pub series_weeks: f64,
    /// Buckets from the start that was asked for.
    pub buckets: usize,
    /// Those of them of which enough was known to judge them.
    pub judged: usize,
    /// The alerts, in the order in which they would have been said; of one instant, by tenant and dimensions.
    pub fired: Vec<Fired>,
}

/// A line while it is played.
struct Track<'a> {
    place: usize,
    history: &'a History,
    periods: Arc<Periods>,
    /// The next bucket, and the first point that is not before it.
    next: Micros,
    at: usize,
}

/// Plays the cells.
pub fn backtest(question: &Question) -> Backtest {
    let Question { kpi, calendar, limits, .. } = question;
    let scorer = Scorer::new(vec![kpi.clone()]).with_calendar(Arc::clone(calendar));
    let mut driver = Driver::new(scorer);
    let whole = |own: &&History| own.grain <= Grain::Day && !own.points.is_empty();
    let chosen: Vec<&History> = question.series.iter().filter(whole).take(limits.lines).collect();
    let left_out = question.series.iter().filter(whole).count() - chosen.len();
    let (begin, is_shortened) = begin(question, &chosen);
    let tracks = chosen.iter().filter_map(|own| Track::new(question, own, begin, &mut driver));
    let mut stage = Stage {
        question,
        tracks: tracks.collect(),
        budgets: Budgets::new(&question.budgets, &mut driver),
        out: Backtest {
            first: None,
            is_shortened,
            left_out,
            lines: Vec::new(),
            series: 0,
            series_weeks: 0.0,
            buckets: 0,
            judged: 0,
            fired: Vec::new(),
        },
        open: BTreeMap::new(),
    };
    stage.size();
    stage.play(&mut driver);
    stage.out.fired.sort_by(|a, b| a.order().cmp(&b.order()));
    stage.out
}

/// From where on all of it is little enough, and whether that leaves something out.
fn begin(question: &Question, chosen: &[&History]) -> (Micros, bool) {
    let firsts = chosen.iter().filter_map(|own| Some(own.points.first()?.0));
    let first = firsts.min().unwrap_or(question.to);
    let count = |from: Micros| -> i64 {
        let of = |own: &&History| {
            let periods = question.calendar.of(&own.tenant);
            let own_first = own.points.first().map_or(question.to, |(at, _)| *at);
            let number = |at: Micros| periods.number(own.grain, at);
            (number(question.to) - number(own_first.max(from))).max(0)
        };
        chosen.iter().map(of).sum()
    };
    if count(first) <= question.limits.buckets {
        return (first, false);
    }
    let (mut too_early, mut late) = (first.0, question.to.0);
    for _ in 0..HALVINGS {
        let middle = too_early + (late - too_early) / 2;
        match count(Micros(middle)) > question.limits.buckets {
            true => too_early = middle,
            false => late = middle,
        }
    }
    (Micros(late), true)
}

impl<'a> Track<'a> {
    fn new(
        question: &Question,
        history: &'a History,
        begin: Micros,
        driver: &mut Driver,
    ) -> Option<Track<'a>> {
        let periods = Arc::clone(question.calendar.of(&history.tenant));
        let first = history.points.first()?.0;
        let mut next = periods.start(history.grain, first.max(begin));
        if next < begin {
            next = periods.later(history.grain, next, 1);
        }
        let known = driver.find(&history.kpi, &history.tenant, &history.dims);
        let place =
            known.unwrap_or_else(|| driver.add(&history.kpi, &history.tenant, &history.dims));
        let at = history.points.partition_point(|(start, _)| *start < next);
        Some(Track { place, history, periods, next, at })
    }

    fn end(&self) -> Micros {
        self.periods.end(self.history.grain, self.next)
    }

    /// The cell of the next bucket.
    fn cell(&self) -> Option<CellValue> {
        let (start, cell) = self.history.points.get(self.at)?;
        (*start == self.next).then_some(*cell)
    }

    fn step(&mut self) {
        self.at += usize::from(self.cell().is_some());
        self.next = self.periods.later(self.history.grain, self.next, 1);
    }
}

/// The cells of budgets: each is known once its period begins.
struct Budgets {
    /// By their starts, the newest first.
    points: Vec<(Micros, usize, Grain, CellValue)>,
}

impl Budgets {
    fn new(budgets: &[History], driver: &mut Driver) -> Budgets {
        let mut points = Vec::new();
        for own in budgets {
            let place = driver.add(&own.kpi, &own.tenant, &own.dims);
            points.extend(own.points.iter().map(|(start, cell)| (*start, place, own.grain, *cell)));
        }
        points.sort_by_key(|(start, ..)| Reverse(*start));
        Budgets { points }
    }

    fn put(&mut self, until: Micros, driver: &mut Driver) {
        while let Some((start, place, grain, cell)) = self.points.pop_if(|own| own.0 <= until) {
            driver.put(place, grain, start, cell);
        }
    }
}

/// What is being played.
struct Stage<'a> {
    question: &'a Question,
    tracks: Vec<Track<'a>>,
    budgets: Budgets,
    out: Backtest,
    /// The alerts that are open, by id, and where they stand; those from before the start that was asked for do not.
    open: BTreeMap<Arc<str>, Option<usize>>,
}

impl Stage<'_> {
    /// Notes what there is to play.
    fn size(&mut self) {
        let Stage { question, tracks, out, .. } = self;
        out.first = tracks.iter().map(|own| own.next).filter(|own| *own < question.to).min();
        let mut weeks: BTreeMap<usize, Micros> = BTreeMap::new();
        for track in tracks {
            let History { tenant, dims, grain, .. } = track.history;
            let (tenant, dims) = (Arc::clone(tenant), Arc::clone(dims));
            out.lines.push(Line { tenant, dims, grain: *grain, buckets: Vec::new() });
            let from = question.from.map_or(track.next, |from| from.max(track.next));
            let held = weeks.entry(track.place).or_insert(from);
            *held = from.min(*held);
        }
        out.series = weeks.len();
        let span = |from: &Micros| (question.to.0 - from.0).max(0) as f64 / WEEK_US;
        out.series_weeks = weeks.values().map(span).sum();
    }

    fn play(&mut self, driver: &mut Driver) {
        let to = self.question.to;
        let ends = self.tracks.iter().enumerate().map(|(line, own)| Reverse((own.end(), line)));
        let mut ends: BinaryHeap<_> = ends.filter(|Reverse((end, _))| *end <= to).collect();
        while let Some(Reverse((end, _))) = ends.peek().copied() {
            let mut due = Vec::new();
            while ends.peek().is_some_and(|Reverse((own, _))| *own == end) {
                due.extend(ends.pop().map(|Reverse((_, line))| line));
            }
            self.bucket(end.plus(-ARRIVES), &due, driver);
            for line in due {
                let Some(track) = self.tracks.get_mut(line) else { continue };
                track.step();
                let next = track.end();
                if next <= to {
                    ends.push(Reverse((next, line)));
                }
            }
        }
        let settled = Grain::Hour.start(to).plus(SETTLES);
        driver.tick_to(settled, |at, alerts| self.take(at, alerts));
    }

    /// Plays the buckets of some lines that end together.
    fn bucket(&mut self, at: Micros, due: &[usize], driver: &mut Driver) {
        driver.tick_to(at, |at, alerts| self.take(at, alerts));
        self.budgets.put(at, driver);
        driver.begin(at, false);
        for track in due.iter().filter_map(|line| self.tracks.get(*line)) {
            if let Some(cell) = track.cell() {
                driver.set(track.place, track.history.grain, track.next, cell);
            }
        }
        let alerts = driver.finish();
        self.take(at, alerts);
        for line in due {
            self.note(*line, driver);
        }
    }

    /// Notes what was expected of the next bucket of a line, and what it says.
    fn note(&mut self, line: usize, driver: &Driver) {
        let Some(track) = self.tracks.get(line) else { return };
        let (start, grain) = (track.next, track.history.grain);
        if self.question.from.is_some_and(|from| start < from) {
            return;
        }
        let (scorer, cells) = driver.scorer();
        let entry = driver.series(track.place).and_then(|id| scorer.entry(id, grain));
        let outlook = entry
            .and_then(|entry| entry.outlook(start).or_else(|| entry.outlook_ahead(start, cells)));
        let compares = |entry: &Entry| {
            let mut rules =
                REGISTRY.iter().zip(entry.watched).filter(|(_, is_watched)| *is_watched);
            rules.any(|(rule, _)| {
                let against = rule.against();
                let of = |own| entry.baseline(own, &self.question.kpi.watching, start, cells);
                against.and_then(of).is_some()
            })
        };
        let cell = track.cell();
        let is_flow = entry.is_some_and(|entry| entry.shape.flow);
        let value = match cell {
            None => is_flow.then_some(0.0),
            Some(cell) => cell.value.filter(|_| cell.status == Status::Ok).map(float),
        };
        self.out.buckets += 1;
        let is_known = outlook.is_some() || entry.is_some_and(compares);
        self.out.judged += usize::from(value.is_some() && is_known);
        let band = outlook.map(|own| own.shown(value.is_some_and(|value| value < 0.0)));
        if let Some(line) = self.out.lines.get_mut(line) {
            line.buckets.push(Played { start, value, band });
        }
    }

    /// Takes the alerts that changed.
    fn take(&mut self, at: Micros, alerts: Vec<Alert>) {
        for alert in alerts {
            let Some(place) = self.open.get(&alert.id).copied() else {
                if alert.is_open() {
                    self.opened(at, alert);
                }
                continue;
            };
            let known = place.and_then(|place| self.out.fired.get_mut(place));
            if !alert.is_open() {
                self.open.remove(&alert.id);
            }
            let Some(own) = known else { continue };
            own.severity = own.severity.max(alert.severity);
            own.last = own.last.max(alert.key.period_start);
            let why = || alert.resolution.clone().unwrap_or_default();
            own.resolved = alert.resolved_at.map(|at| (at, why()));
        }
    }

    /// Notes an alert that has opened.
    fn opened(&mut self, at: Micros, alert: Alert) {
        let last = alert.key.period_start;
        let is_asked = self.question.from.is_none_or(|from| last >= from);
        self.open.insert(Arc::clone(&alert.id), is_asked.then_some(self.out.fired.len()));
        if is_asked {
            let severity = alert.severity;
            self.out.fired.push(Fired { said_at: at, alert, severity, last, resolved: None });
        }
    }
}

#[cfg(test)]
mod tests;
