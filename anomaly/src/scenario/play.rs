//! Plays a plan through the detector, as the core does: epochs with a clock, and a tick whenever one is due.
//!
//! # Guarantees
//! - The detector sees what it would see in an engine: cells that have changed, in key order, in the
//!   epoch in which they did.
//!
//! # Non-guarantees
//! - An epoch brings half an hour of records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::decimal::quotient;
use schemas::{
    Against, Alert, CellValue, ChangeRule, Good, Grain, KpiInfo, KpiKind, Micros, Severity, Status,
    Unit, Watching,
};

use super::plan::{Change, HOUR, Plan, SECOND};
use crate::Scorer;
use crate::driver::Driver;

const TENANT: &str = "t";
const ROI: &str = "roi";
const CENT: f64 = 100.0;
const MANTISSA_OF_CENT: i128 = 100_000_000;

/// An alert that opened, perhaps not for the first time.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) kpi: Arc<str>,
    pub(super) dims: Arc<str>,
    pub(super) rule: Arc<str>,
    pub(super) grain: Grain,
    pub(super) bucket: Micros,
    pub(super) at: Micros,
    /// Whether it leads its incident: the others are not told.
    pub(super) leads: bool,
}

fn kpi(key: &str, unit: Unit, good: Good, breakdown_of: Option<&str>) -> KpiInfo {
    KpiInfo {
        key: key.into(),
        title: key.into(),
        description: None,
        unit,
        good,
        group: None,
        kind: if key == ROI { KpiKind::Ratio } else { KpiKind::Flow },
        dims: vec!["currency".into()],
        grains: schemas::Grains::ALL,
        windows: schemas::Grains::WINDOWS,
        breakdown_of: breakdown_of.map(Arc::from),
        parts: Vec::new(),
        is_net: key == ROI,
        currency: None,
        watching: rules(key),
    }
}

/// The rules that come with Weir, as in the files of these KPIs.
fn rules(key: &str) -> Watching {
    let step = |(far, severity): (u32, Severity)| ChangeRule {
        name: if key == "roi" { "roi_drop" } else { "cost_spike" }.into(),
        against: Against::WeekBefore,
        up: (key == "total_cost").then_some(far),
        down: (key == "roi").then_some(far),
        severity,
        budget: None,
    };
    let steps = match key {
        "roi" => [50_000, 100_000, 200_000],
        "total_cost" => [200_000, 500_000, 1_000_000],
        _ => return Watching::default(),
    };
    let severities = [Severity::Warning, Severity::Error, Severity::Critical];
    let rules = steps.into_iter().zip(severities).map(step).collect();
    Watching { rules, ..Watching::default() }
}

fn kpis() -> Vec<KpiInfo> {
    vec![
        kpi("cost_by_service", Unit::Currency, Good::Down, Some("total_cost")),
        kpi("orders", Unit::Count, Good::Up, None),
        kpi("revenue_booked", Unit::Currency, Good::Up, None),
        kpi(ROI, Unit::Ratio, Good::Up, None),
        kpi("total_cost", Unit::Currency, Good::Down, None),
    ]
}

#[expect(clippy::cast_possible_truncation, reason = "amounts of a scenario are small")]
fn mantissa(value: f64) -> i128 {
    (value * CENT).round() as i128 * MANTISSA_OF_CENT
}

/// A plan that is being played.
struct Player<'a> {
    plan: &'a Plan,
    driver: Driver,
    /// The sums of hours and days of each line, as they stand.
    days: Vec<BTreeMap<Micros, i128>>,
    hours: Vec<Vec<i128>>,
    openings: Openings,
    /// The lines that a return is made of: revenue and cost, and the place of the return.
    roi: Option<(usize, usize, usize)>,
}

/// The alerts that opened, and those that are open.
#[derive(Default)]
struct Openings {
    all: Vec<Opening>,
    open: BTreeSet<Arc<str>>,
}

/// Plays it to its end.
pub(super) fn play(plan: &Plan) -> Vec<Opening> {
    let mut player = Player::new(plan);
    let end = plan.at(plan.hours).plus(60 * SECOND);
    for (at, quiet, changes) in epochs(plan).into_iter().filter(|(at, ..)| *at < end) {
        player.tick_to(at);
        player.epoch(at, quiet, &changes);
    }
    player.tick_to(end);
    player.openings.all
}

type Epoch = (Micros, bool, Vec<Change>);

/// Everything that arrives, by its instant.
fn epochs(plan: &Plan) -> Vec<Epoch> {
    let mut changes = plan.changes.clone();
    let snapshot = plan.at(plan.live).plus(31 * SECOND);
    for (line, own) in plan.lines.iter().enumerate() {
        let withheld = |hour: usize| {
            plan.withheld.iter().any(|(of, hours)| *of == line && hours.contains(&hour))
        };
        for (hour, value) in own.hours.iter().enumerate() {
            if *value == 0.0 || withheld(hour) {
                continue;
            }
            let whole = own.late.map_or(plan.at(hour + 1).plus(-10 * SECOND), |at| at(plan, hour));
            let change = Change { at: whole, line, hour, value: *value, quiet: false };
            if hour < plan.live {
                // A snapshot has what had arrived until then.
                let late = whole > snapshot;
                changes.push(if late {
                    change
                } else {
                    Change { at: snapshot, quiet: true, ..change }
                });
                continue;
            }
            if own.late.is_none() {
                let half = if own.kpi == "orders" { (value / 2.0).floor() } else { value / 2.0 };
                let at = plan.at(hour).plus(HOUR / 2);
                changes.push(Change { at, value: half, ..change });
            }
            changes.push(change);
        }
    }
    changes.sort_by_key(|change| (change.at, change.quiet, change.hour, change.line));
    let mut epochs: Vec<Epoch> = Vec::new();
    for change in changes {
        match epochs.last_mut() {
            Some((at, quiet, held)) if *at == change.at && *quiet == change.quiet => {
                held.push(change)
            }
            _ => epochs.push((change.at, change.quiet, vec![change])),
        }
    }
    epochs
}

impl<'a> Player<'a> {
    fn new(plan: &'a Plan) -> Player<'a> {
        let scorer = Scorer::new(kpis()).with_calendar(Arc::clone(&plan.calendar));
        let mut driver = Driver::new(scorer);
        let tenant = TENANT.into();
        for line in &plan.lines {
            driver.add(&line.kpi.into(), &tenant, &line.dims);
        }
        let of = |kpi: &str| plan.lines.iter().position(|line| line.kpi == kpi);
        let sides = of("revenue_booked").zip(of("total_cost"));
        let dims = plan.lines.first().map(|line| &line.dims);
        let roi = sides
            .zip(dims)
            .map(|((revenue, cost), dims)| (revenue, cost, driver.add(&ROI.into(), &tenant, dims)));
        Player {
            plan,
            driver,
            days: vec![BTreeMap::new(); plan.lines.len()],
            hours: vec![vec![0; plan.hours]; plan.lines.len()],
            openings: Openings::default(),
            roi,
        }
    }

    /// Lets timers fire that are due before an instant.
    fn tick_to(&mut self, at: Micros) {
        let Player { driver, openings, .. } = self;
        driver.tick_to(at, |due, alerts| openings.take(due, alerts));
    }

    fn epoch(&mut self, clock: Micros, quiet: bool, changes: &[Change]) {
        self.driver.begin(clock, quiet);
        for change in changes {
            self.apply(*change);
        }
        let alerts = self.driver.finish();
        self.openings.take(clock, alerts);
    }

    /// Changes the cells of an hour and of its day.
    fn apply(&mut self, change: Change) {
        let hour = self.plan.at(change.hour);
        let day = self.plan.periods().start(Grain::Day, hour);
        let value = mantissa(change.value);
        let Some(held) =
            self.hours.get_mut(change.line).and_then(|hours| hours.get_mut(change.hour))
        else {
            return;
        };
        let more = value - *held;
        if more == 0 {
            return;
        }
        *held = value;
        let Some(days) = self.days.get_mut(change.line) else { return };
        let sum = days.entry(day).or_default();
        *sum += more;
        let sum = *sum;
        for (grain, start, value) in [(Grain::Hour, hour, value), (Grain::Day, day, sum)] {
            let cell = CellValue {
                value: Some(value),
                numerator: None,
                denominator: None,
                status: Status::Ok,
            };
            self.driver.set(change.line, grain, start, cell);
            self.returned(change.line, grain, start);
        }
    }

    /// The return follows from revenue and cost.
    fn returned(&mut self, line: usize, grain: Grain, start: Micros) {
        let Some((revenue, cost, place)) = self.roi else { return };
        if line != revenue && line != cost {
            return;
        }
        let side = |of: usize| self.driver.cell(of, grain, start)?.value;
        let (revenue, cost) = (side(revenue).unwrap_or(0), side(cost).unwrap_or(0));
        let (n, d) = (revenue - cost, cost);
        let value = quotient(n, d);
        let status = if value.is_some() { Status::Ok } else { Status::NoData };
        let cell = CellValue { value, numerator: Some(n), denominator: Some(d), status };
        self.driver.set(place, grain, start, cell);
    }
}

impl Openings {
    /// Notes which alerts opened.
    fn take(&mut self, at: Micros, alerts: Vec<Alert>) {
        for alert in alerts {
            if !alert.is_open() {
                self.open.remove(&alert.id);
            } else if self.open.insert(Arc::clone(&alert.id)) {
                self.all.push(Opening {
                    kpi: Arc::clone(&alert.key.kpi),
                    dims: Arc::clone(&alert.key.dims),
                    rule: Arc::clone(&alert.rule),
                    grain: alert.key.grain,
                    bucket: alert.key.period_start,
                    at,
                    leads: alert.incident == alert.id,
                });
            }
        }
    }
}
