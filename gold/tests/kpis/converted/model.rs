//! Converted money by the words of the definition alone: rows, rates, and what every cell must say.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use schemas::{Grain, Micros, Status};

use crate::zones::{self, zone};

pub(crate) const TO: &str = "EUR";
const LONG: [Grain; 5] = [Grain::Day, Grain::Week, Grain::Month, Grain::Quarter, Grain::Year];
const WINDOWS: [(Grain, u64); 3] =
    [(Grain::Last7Days, 7), (Grain::Last30Days, 30), (Grain::Last90Days, 90)];

/// A sale; the tenant that is empty is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sale {
    pub(crate) tenant: &'static str,
    pub(crate) currency: Option<&'static str>,
    pub(crate) channel: &'static str,
    pub(crate) amount: Option<i64>,
    pub(crate) fee: i64,
    pub(crate) at: i64,
    pub(crate) in_doubt: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rate {
    pub(crate) tenant: Option<&'static str>,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) day: i32,
    /// With ten digits.
    pub(crate) rate: Option<i64>,
    pub(crate) in_doubt: bool,
}

/// By cell its value and status.
pub(crate) type Values = BTreeMap<String, (Option<i128>, Status)>;

pub(crate) fn date(tenant: &str, at: i64) -> NaiveDate {
    zones::date(zone(tenant), at)
}

pub(crate) fn midnight(tenant: &str, date: NaiveDate) -> i64 {
    zones::midnight(zone(tenant), date)
}

fn number(date: NaiveDate) -> i32 {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    i32::try_from(date.signed_duration_since(epoch).num_days()).unwrap()
}

/// What one of a currency is worth on a day for a tenant: with ten digits, and whether that is in doubt.
fn rate(
    rates: &BTreeMap<i64, Rate>,
    tenant: &str,
    currency: Option<&str>,
    day: i32,
) -> (Option<i128>, bool) {
    if currency == Some(TO) {
        return (Some(10_i128.pow(10)), false);
    }
    let known = |of: Option<&str>| -> Vec<&Rate> {
        let known = rates.values().filter(|own| own.tenant == of && Some(own.from) == currency);
        let known: Vec<&Rate> = known.filter(|own| own.to == TO && own.day <= day).collect();
        let last = known.iter().map(|own| own.day).max();
        known.into_iter().filter(|own| Some(own.day) == last).collect()
    };
    let own = known(Some(tenant));
    let last = if own.is_empty() { known(None) } else { own };
    let greatest = last.iter().filter_map(|own| own.rate).filter(|rate| *rate > 0).max();
    (greatest.map(i128::from), last.iter().any(|own| own.in_doubt))
}

/// Twenty digits cut to ten, half to even.
fn rounded(number: i128) -> i128 {
    let one = 10_i128.pow(10);
    let (whole, rest) = (number.div_euclid(one), number.rem_euclid(one));
    let is_up = rest * 2 > one || (rest * 2 == one && whole % 2 != 0);
    whole + i128::from(is_up)
}

/// What is added up of a KPI.
#[derive(Default)]
struct Total {
    exact: i128,
    lacks: bool,
    in_doubt: bool,
}

/// A converted KPI: its dimension beside the currency, what it sums, its grains, whether it has windows.
type Kpi = (&'static str, bool, fn(&Sale) -> i64, &'static [Grain], bool);

const KPIS: [Kpi; 3] = [
    ("sold_converted", true, |sale| sale.amount.unwrap_or(0), &LONG, true),
    ("net_converted", false, |sale| sale.amount.unwrap_or(0) - sale.fee, &LONG, true),
    ("fees_converted", false, |sale| sale.fee, &[Grain::Month, Grain::Week], false),
];

/// Every cell, of all sales and rates.
pub(crate) fn expected(
    sales: &BTreeMap<i64, Sale>,
    rates: &BTreeMap<i64, Rate>,
    now: i64,
) -> Values {
    let mut cells = Values::new();
    for (kpi, by_channel, of, grains, has_windows) in KPIS {
        // Sums by currency and day, of each series.
        type Days = BTreeMap<(Option<&'static str>, NaiveDate), (i64, bool)>;
        let mut series: BTreeMap<(&str, String), Days> = BTreeMap::new();
        for sale in sales.values() {
            let tenant = if sale.tenant.is_empty() { "default" } else { sale.tenant };
            let dims = match by_channel {
                true => format!("{{\"channel\":\"{}\"}}", sale.channel),
                false => "{}".to_owned(),
            };
            let days = series.entry((tenant, dims)).or_default();
            let day = days.entry((sale.currency, date(tenant, sale.at))).or_default();
            *day = (day.0 + of(sale), day.1 || sale.in_doubt);
        }
        for ((tenant, dims), days) in series {
            let mut periods: BTreeMap<String, Total> = BTreeMap::new();
            let today = date(tenant, now);
            for ((currency, day), (sum, in_doubt)) in days {
                let mut names = BTreeSet::new();
                for grain in grains {
                    let start = Micros(midnight(tenant, zones::period(*grain, day).0));
                    names.insert(format!("{grain} {start}"));
                }
                let past = today.signed_duration_since(day).num_days();
                for (window, length) in WINDOWS.iter().filter(|_| has_windows) {
                    if (0..i64::try_from(*length).unwrap()).contains(&past) {
                        names.insert(window.to_string());
                    }
                }
                if has_windows && past >= 0 && number(day) >= 0 {
                    names.insert(Grain::Always.to_string());
                }
                let (rate, doubted) = rate(rates, tenant, currency, number(day));
                for name in names {
                    let total = periods.entry(name).or_default();
                    // Cents are numbers with ten digits after so many zeros.
                    let exact = rate.map(|rate| i128::from(sum) * 10_i128.pow(8) * rate);
                    total.exact += exact.unwrap_or(0);
                    total.lacks |= exact.is_none();
                    total.in_doubt |= in_doubt || doubted;
                }
            }
            for (name, total) in periods {
                let value = (!total.lacks).then(|| rounded(total.exact));
                let status = match (total.in_doubt, total.lacks) {
                    (true, _) => Status::InDoubt,
                    (false, true) => Status::NoData,
                    (false, false) => Status::Ok,
                };
                cells.insert(format!("{kpi} {tenant} {dims} {name}"), (value, status));
            }
        }
    }
    cells
}
