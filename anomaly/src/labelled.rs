//! Series that people have labelled, and how much of what they named a detector finds.
//!
//! # Guarantees
//! - One configuration, the product's own, for all series. No score sees a later number, and no series' length, range
//!   or label is looked at to make one.
//! - What is fitted to labels is called so.
//!
//! # Non-guarantees
//! - Public series are not those of a business.

pub mod compared;
pub mod hourly;
pub mod nab;

use schemas::Micros;

/// A series with labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// Its folder.
    pub category: String,
    /// Its file.
    pub name: String,
    /// When each value was taken.
    pub times: Vec<Micros>,
    /// The values.
    pub values: Vec<f64>,
    /// What people call anomalous: places, both included, ascending.
    pub windows: Vec<(usize, usize)>,
}

impl Labelled {
    /// Reads lines of time, value and, where there is a third column, whether the value is anomalous; the first line
    /// names the columns. A line whose value is empty is passed over: nothing was measured.
    ///
    /// # Errors
    /// Says which line is no time and value.
    pub fn parse(name: &str, text: &str) -> Result<Labelled, String> {
        let (category, file) = name.rsplit_once('/').unwrap_or(("", name));
        let mut series = Labelled {
            category: category.to_owned(),
            name: file.to_owned(),
            times: Vec::new(),
            values: Vec::new(),
            windows: Vec::new(),
        };
        for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty())
        {
            let mut cells = line.split(',').map(|cell| cell.trim().trim_matches('"'));
            let at = cells.next().and_then(Micros::parse);
            let cell = cells.next();
            if cell == Some("") {
                continue;
            }
            let value =
                cell.and_then(|cell| cell.parse::<f64>().ok()).filter(|own| own.is_finite());
            let (Some(at), Some(value)) = (at, value) else {
                return Err(format!("line {} is no time and value", number + 1));
            };
            let place = series.values.len();
            if cells.next().is_some_and(|label| label == "1") {
                match series.windows.last_mut() {
                    Some((_, end)) if *end + 1 == place => *end = place,
                    _ => series.windows.push((place, place)),
                }
            }
            series.times.push(at);
            series.values.push(value);
        }
        Ok(series)
    }

    /// Notes that people call what lies between two instants, both included, anomalous.
    pub fn window(&mut self, from: Micros, to: Micros) {
        let start = self.times.partition_point(|at| *at < from);
        let end = self.times.partition_point(|at| *at <= to);
        if end > start {
            self.windows.push((start, end - 1));
        }
    }

    /// The usual distance of two values, in microseconds.
    pub fn step(&self) -> i64 {
        let mut steps: Vec<i64> =
            self.times.iter().zip(self.times.iter().skip(1)).map(|(a, b)| b.0 - a.0).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(0).max(1)
    }
}

/// The categories of some series, each once, sorted.
pub fn categories(all: &[Labelled]) -> Vec<&str> {
    let mut categories: Vec<&str> = all.iter().map(|own| own.category.as_str()).collect();
    categories.sort_unstable();
    categories.dedup();
    categories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_values_and_labels_become_windows() {
        let text = "time,value,label\n\"2026-01-01T00:00:00Z\",5,0\n2026-01-01 01:00:00,6.5,1\n\
                    2026-01-01T02:00:00Z,,1\n2026-01-01T03:00:00Z,7,1\n2026-01-01T04:00:00Z,8,0\n";
        let series = Labelled::parse("web/a.csv", text).unwrap();
        assert_eq!((&*series.category, &*series.name), ("web", "a.csv"));
        assert_eq!(series.values, [5.0, 6.5, 7.0, 8.0]);
        assert_eq!(series.windows, [(1, 2)]);
        assert_eq!(series.step(), 3_600_000_000);
        for bad in ["a\nyesterday,5", "a\n2026-01-01T00:00:00Z,many", "a\n2026-01-01T00:00:00Z"] {
            let error = Labelled::parse("b.csv", bad).unwrap_err();
            assert_eq!(error, "line 2 is no time and value");
        }
    }
}
