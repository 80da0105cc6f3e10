//! What business series do, with the truth known: scenarios that are played through the detector.
//!
//! Each is a shop of orders, revenue, cost and return, in hours and days, to which something happens; a few
//! have the parts of its cost too. The same epochs, ticks and cells reach the detector as in an engine.
//!
//! # Guarantees
//! - The same seed gives the same report, on every machine but for the last bits of logarithms.
//! - Nothing of it is used by the detector.
//!
//! # Non-guarantees
//! - A generator is kinder than a business: what is found here is not always found there.

mod arrival;
mod dates;
mod plan;
mod play;
mod size;
mod tally;
#[cfg(test)]
mod tests;
mod trouble;
mod usual;

use schemas::Grain;

use self::plan::Plan;
use self::tally::{Tally, tally};
use crate::chance::Chance;

/// Orders in a usual hour of the shops.
const VOLUMES: [f64; 3] = [30.0, 300.0, 3_000.0];

/// A scenario: its name, what happens, and how a shop of a volume to which it happens is made.
struct Scenario {
    name: &'static str,
    about: &'static str,
    make: fn(&mut Chance, f64) -> Plan,
}

const fn line(
    name: &'static str,
    about: &'static str,
    make: fn(&mut Chance, f64) -> Plan,
) -> Scenario {
    Scenario { name, about, make }
}

/// Every scenario.
static REGISTRY: [Scenario; 40] = [
    line("shop", "nothing happens", usual::shop),
    line("growth", "2 % more each week", usual::growth),
    line("sparse", "a hundredth of the orders", usual::sparse),
    line("bursty", "one order in forty is a hundred times as large", usual::bursty),
    line("heavy_tails", "hours are off by a heavy-tailed law", usual::heavy_tails),
    line("weekend_only", "nothing from Monday to Friday", usual::weekend_only),
    line("night_zeros", "nothing at night", usual::night_zeros),
    line("fee_on_the_first", "a fee each 1st, known from the third on", dates::fee_on_the_first),
    line("month_end", "two busy last days, known from the third month on", dates::month_end),
    line("quarter_end", "three busy last days, known from the third on", dates::quarter_end),
    line("holiday_unknown", "two quiet days", dates::holiday_unknown),
    line("holiday_known", "two quiet days that a calendar names", dates::holiday_known),
    line("clocks_in_berlin", "the clocks change in Berlin", dates::clocks_in_berlin),
    line("clocks_in_new_york", "the clocks change in New York", dates::clocks_in_new_york),
    line("campaign_unplanned", "three days with 80 % more", dates::campaign_unplanned),
    line("campaign_planned", "the same, as people have said", dates::campaign_planned),
    line("price_list", "prices rise by a quarter", dates::price_list),
    line("leaves", "a tenant leaves", dates::leaves),
    line("late_hours", "bills come 4 to 6 hours late", arrival::late_hours),
    line("late_mornings", "bills come at eight for the day before", arrival::late_mornings),
    line("late_days", "bills come 30 hours late", arrival::late_days),
    line(
        "late_and_dear",
        "bills come at eight, and one day costs 60 % more",
        arrival::late_and_dear,
    ),
    line("outage_of_the_source", "nothing arrives for 6 hours", arrival::outage_of_the_source),
    line("backfill", "a month of history is loaded again", arrival::backfill),
    line("snapshot_again", "a snapshot of an hour", arrival::snapshot_again),
    line("replay", "three days are read again", arrival::replay),
    line("loaded_twice", "a day is loaded twice, and put right", arrival::loaded_twice),
    line("credit", "a credit in one hour", trouble::credit),
    line("refund", "a refund in one hour", trouble::refund),
    line("level_shift", "half as much again from a day on", trouble::level_shift),
    line("slow_drift", "1.5 % less each day", trouble::slow_drift),
    line("outage_of_the_business", "5 hours without orders", trouble::outage_of_the_business),
    line("wrong_rate", "a day converted a third too high", trouble::wrong_rate),
    line("corrected", "an hour five times too high, then right", trouble::corrected),
    line("flapping", "up and down around the threshold in an hour", trouble::flapping),
    line("flapping_hours", "every other hour 60 % more", trouble::flapping_hours),
    line("one_cause", "forty services 60 % dearer", trouble::one_cause),
    line("one_service", "one of forty services four times as dear", trouble::one_service),
    line("launch", "a tenant begins on a half day", trouble::launch),
    line("ramp_up", "a tenant begins and grows", trouble::ramp_up),
];

/// What came of one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// Series of all its shops.
    pub series: usize,
    /// Alerts that opened; one that opens again counts again.
    pub alerts: usize,
    /// Alerts that nothing explains, each in words.
    pub wrong: Vec<String>,
    /// What had to be found, and what of it was not.
    pub causes: usize,
    /// Those that were not.
    pub missed: usize,
    /// The median of the minutes from a cause to its first alert.
    pub minutes: Option<f64>,
    /// Alerts for each cause that was found.
    pub per_cause: Option<f64>,
    /// False alerts for each series and week.
    pub wrong_per_week: f64,
    /// The same alerts by volume and grain.
    pub parts: Vec<Part>,
}

/// The alerts of a scenario at one volume and grain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Orders in a usual hour.
    pub volume: f64,
    /// The grain.
    pub grain: Grain,
    /// Alerts that opened.
    pub alerts: usize,
    /// Those that nothing explains.
    pub wrong: usize,
}

/// How many of changes of one size were found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Power {
    /// The grain of the buckets.
    pub grain: Grain,
    /// Buckets in a row that are off.
    pub buckets: usize,
    /// By how many standard deviations.
    pub sigmas: f64,
    /// How many there were.
    pub tried: usize,
    /// How many were found.
    pub found: usize,
}

/// The names of all scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|own| own.name)
}

/// Plays a scenario with so many shops of each volume; `None` when there is no such scenario.
pub fn scenario(name: &str, seed: u64, shops: usize) -> Option<Outcome> {
    let (number, own) = REGISTRY.iter().enumerate().find(|(_, own)| own.name == name)?;
    let mut all = Tally::default();
    let mut parts = Vec::new();
    for (place, volume) in VOLUMES.iter().enumerate() {
        let mut by_grain = [[0_usize; 2]; 2];
        for shop in 0..shops {
            let salt = ((number * VOLUMES.len() + place) * 1_000 + shop) as u64;
            let mut chance = Chance::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt);
            let one = tally(&(own.make)(&mut chance, *volume));
            let words = |wrong: String| format!("{volume} an hour, shop {shop}: {wrong}");
            all.wrong.extend(one.wrong.into_iter().map(words));
            all.series += one.series;
            all.series_weeks += one.series_weeks;
            all.alerts += one.alerts;
            all.causes += one.causes;
            all.missed += one.missed;
            all.due += one.due;
            all.minutes.extend(one.minutes);
            for (sum, own) in by_grain.iter_mut().flatten().zip(one.by_grain.iter().flatten()) {
                *sum += own;
            }
        }
        let grains = [Grain::Hour, Grain::Day].into_iter().zip(by_grain);
        let part = |(grain, [alerts, wrong]): (Grain, [usize; 2])| Part {
            volume: *volume,
            grain,
            alerts,
            wrong,
        };
        parts.extend(grains.map(part));
    }
    all.minutes.sort_by(f64::total_cmp);
    let found = all.causes - all.missed;
    Some(Outcome {
        name: own.name,
        about: own.about,
        series: all.series,
        alerts: all.alerts,
        wrong_per_week: all.wrong.len() as f64 / all.series_weeks.max(1.0),
        wrong: all.wrong,
        causes: all.causes,
        missed: all.missed,
        minutes: all.minutes.get(all.minutes.len() / 2).copied(),
        per_cause: (found > 0).then(|| all.due as f64 / found as f64),
        parts,
    })
}

/// How large a change must be to be found, from so many shops of each volume.
pub fn power(seed: u64, shops: usize) -> Vec<Power> {
    size::curve(seed, shops)
}
