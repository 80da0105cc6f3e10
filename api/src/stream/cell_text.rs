//! Changed cells as text, one behind the other in one buffer: what most frames are made of.
//!
//! # Guarantees
//! - The text of a cell is, byte for byte, that of [`crate::wire::Cell`], and of a cell that is gone that of
//!   [`CellName`].
//! - What names a series is made into text once for its cells that follow each other.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::{CellValue, Grain, KpiInfo, Micros, Unit};

use super::page::{Piece, quoted};
use crate::store::{CellChange, SeriesName};
use crate::wire::{Dims, decimal, json, unit_of};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// The first instant of the year 10000, whose text is longer.
const LONG_YEARS_US: i64 = 253_402_300_800_000_000;
/// One, as the mantissa of a value.
const ONE: u64 = 10_u64.pow(schemas::decimal::VALUE_SCALE);
/// The digits after the point.
const FRACTION: usize = schemas::decimal::VALUE_SCALE as usize;

/// About what a cell takes.
const CELL_BYTES: usize = 224;

/// Where a cell's text lies in its buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    from: usize,
    to: usize,
    is_gone: bool,
}

/// Writes cells.
#[derive(Debug)]
pub(crate) struct CellText<'a> {
    kpis: &'a [KpiInfo],
    text: String,
    /// The series of the last cell, its text up to the grain, and its unit.
    series: Option<Arc<SeriesName>>,
    head: String,
    unit: Unit,
    /// Midnights as text, by the day.
    days: HashMap<i64, String>,
}

impl<'a> CellText<'a> {
    /// Nothing yet, with room for about so many cells.
    pub(crate) fn new(kpis: &'a [KpiInfo], cells: usize) -> CellText<'a> {
        CellText {
            kpis,
            text: String::with_capacity(cells * CELL_BYTES),
            series: None,
            head: String::new(),
            unit: Unit::Ratio,
            days: HashMap::new(),
        }
    }

    /// Writes a changed cell.
    pub(crate) fn write(&mut self, change: &CellChange) -> Written {
        let CellChange { series, grain, period_start, value, window } = change;
        let from = self.text.len();
        // The period of a window that is gone names nothing.
        let start = window.as_ref().map_or(*period_start, |window| window.start);
        self.name(series, *grain, (window.is_some() || !grain.is_window()).then_some(start));
        if let Some(window) = window {
            self.text.push_str(",\"period_end\":\"");
            self.start(window.end);
            self.text.push('"');
        }
        match value {
            Some(value) => self.value(value),
            None => self.text.push('}'),
        }
        Written { from, to: self.text.len(), is_gone: value.is_none() }
    }

    /// A cell that was written.
    pub(crate) fn piece(&self, written: Written) -> Piece<'_> {
        let text = self.text.get(written.from..written.to).unwrap_or_default();
        if written.is_gone { Piece::Delete(text) } else { Piece::Upsert(text) }
    }

    fn name(&mut self, series: &Arc<SeriesName>, grain: Grain, start: Option<Micros>) {
        if self.series.as_ref().is_none_or(|last| !Arc::ptr_eq(last, series)) {
            let SeriesName { tenant, kpi, dims } = &**series;
            let (name, tenant, dims) = (quoted(kpi), quoted(tenant), json(&Dims(dims)));
            self.head =
                format!("{{\"kpi\":{name},\"tenant\":{tenant},\"dims\":{dims},\"grain\":\"");
            self.unit = unit_of(self.kpis, kpi);
            self.series = Some(Arc::clone(series));
        }
        self.text.push_str(&self.head);
        self.text.push_str(grain.name());
        let Some(start) = start else {
            return self.text.push_str("\",\"period_start\":null");
        };
        self.text.push_str("\",\"period_start\":\"");
        self.start(start);
        self.text.push('"');
    }

    /// When a period starts, which is at a whole hour as a rule.
    fn start(&mut self, start: Micros) {
        if start.0 % HOUR_US != 0 || !(0..LONG_YEARS_US).contains(&start.0) {
            return self.text.push_str(&start.to_string());
        }
        let (day, hour) = (start.0 / DAY_US, start.0 % DAY_US / HOUR_US);
        let midnight = self.days.entry(day).or_insert_with(|| Micros(day * DAY_US).to_string());
        // 2026-11-21T00:00:00Z
        self.text.push_str(midnight.get(..11).unwrap_or_default());
        self.text.extend([hour / 10, hour % 10].map(digit));
        self.text.push_str(midnight.get(13..).unwrap_or_default());
    }

    fn value(&mut self, value: &CellValue) {
        match value.value {
            None => self.text.push_str(",\"value\":null"),
            Some(mantissa) => {
                self.text.push_str(",\"value\":\"");
                self.decimal(mantissa);
                self.text.push('"');
            }
        }
        self.text.push_str(",\"unit\":\"");
        self.text.push_str(self.unit.name());
        self.text.push_str("\",\"status\":\"");
        self.text.push_str(value.status.name());
        self.text.push_str("\"}");
    }

    /// A mantissa as decimal text, without trailing zeros.
    fn decimal(&mut self, mantissa: i128) {
        let Ok(amount) = u64::try_from(mantissa.unsigned_abs()) else {
            return self.text.push_str(&decimal(mantissa));
        };
        if mantissa < 0 {
            self.text.push('-');
        }
        self.digits(amount / ONE, 1);
        let fraction = amount % ONE;
        if fraction != 0 {
            self.text.push('.');
            self.digits(fraction, FRACTION);
            self.text.truncate(self.text.trim_end_matches('0').len());
        }
    }

    /// A number in at least so many digits.
    fn digits(&mut self, mut number: u64, least: usize) {
        let mut reversed = [b'0'; 20];
        let mut len = 0;
        for place in &mut reversed {
            if number == 0 && len >= least {
                break;
            }
            *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            len += 1;
        }
        let digits = reversed.iter().take(len).rev();
        self.text.extend(digits.map(|digit| char::from(*digit)));
    }
}

fn digit(number: i64) -> char {
    char::from(b'0' + u8::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use schemas::{Good, Status, Window};

    use super::*;
    use crate::store::ServedCell;
    use crate::wire::{Cell, CellName};

    fn random_value(random: &mut StdRng) -> CellValue {
        let number: i128 = match random.random_range(0..6) {
            0 => random.random(),
            1 => i128::from(random.random::<u64>()),
            2 => i128::from(random.random_range(-30..30)),
            3 => i128::from(random.random_range(-30..30)) * i128::from(ONE),
            4 => i128::from(random.random_range(-9_999_999..9_999_999)) * 1_000_000,
            _ => [0, i128::MAX, i128::MIN, u64::MAX.into(), -i128::from(ONE) - 1]
                [random.random_range(0..5)],
        };
        let status = Status::ALL[random.random_range(0..Status::ALL.len())];
        let value = random.random_bool(0.9).then_some(number);
        CellValue { value, numerator: Some(1), denominator: None, status }
    }

    fn random_start(random: &mut StdRng) -> Micros {
        let hour = |hours: i64| hours.saturating_mul(HOUR_US);
        Micros(match random.random_range(0..5) {
            0 => random.random(),
            1 => hour(random.random_range(-3_000_000_000..3_000_000_000)),
            2 => [i64::MIN, i64::MAX, LONG_YEARS_US, LONG_YEARS_US - HOUR_US, 0, -HOUR_US]
                [random.random_range(0..6)],
            3 => random.random_range(0..LONG_YEARS_US),
            _ => hour(random.random_range(495_000..500_000)),
        })
    }

    #[test]
    fn cells_are_written_as_the_published_form_says() {
        let mut random = StdRng::seed_from_u64(3);
        let name = |kpi: &str, tenant: &str, dims: &str| {
            Arc::new(SeriesName { kpi: kpi.into(), tenant: tenant.into(), dims: dims.into() })
        };
        let series = [
            name("orders", "t1", r#"{"currency":"USD"}"#),
            name("orders", "t\"2\n\u{1f600}\u{1}", "{}"),
            name("gone \\ k", "", r#"{"a": null, "b":"\u00e9"}"#),
            name("orders", "t1", "not JSON"),
        ];
        let info = KpiInfo {
            key: "orders".into(),
            title: String::new(),
            description: None,
            unit: Unit::Count,
            good: Good::Up,
            group: None,
            kind: schemas::KpiKind::Flow,
            dims: Vec::new(),
            grains: schemas::Grains::ALL,
            windows: schemas::Grains::WINDOWS,
            breakdown_of: None,
            parts: Vec::new(),
            is_net: false,
            currency: None,
            watching: schemas::Watching::default(),
        };
        let kpis = [info];
        let mut text = CellText::new(&kpis, 1);
        let mut all = Vec::new();
        for _ in 0..20_000 {
            let every = Grain::ALL.into_iter().chain(Grain::WINDOWS).collect::<Vec<_>>();
            let grain = every[random.random_range(0..every.len())];
            let start = random_start(&mut random);
            let value = random.random_bool(0.8).then(|| random_value(&mut random));
            let window = value.filter(|_| grain.is_window()).map(|_| Window {
                start,
                end: random_start(&mut random),
                previous: None,
                year: None,
            });
            let change = CellChange {
                series: Arc::clone(&series[random.random_range(0..series.len())]),
                grain,
                period_start: if grain.is_window() { Micros(0) } else { start },
                value,
                window: window.clone().map(Arc::new),
            };
            let name = &change.series;
            let unit = unit_of(&kpis, &name.kpi);
            let window = window.as_ref();
            let served = |value: CellValue| ServedCell {
                series: name,
                grain,
                period_start: start,
                value,
                window,
            };
            let expected = match change.value {
                Some(value) => json(&Cell::served(served(value), unit)),
                None => json(&CellName::new(&name.cell(grain, start))),
            };
            all.push((text.write(&change), change.value.is_none(), expected));
        }
        for (written, is_gone, expected) in &all {
            match text.piece(*written) {
                Piece::Delete(text) => assert!(*is_gone && text == expected, "{text} {expected}"),
                Piece::Upsert(text) => assert!(!*is_gone && text == expected, "{text} {expected}"),
            }
        }
    }
}
