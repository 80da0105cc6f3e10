//! Labelled series from files that are not part of this repository.
//!
//! # Guarantees
//! - A file that cannot be read, or has a line that means nothing, is an error and not a shorter series.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::Micros;

use crate::failure::Failure;

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
    /// The usual distance of two values, in microseconds.
    pub fn step(&self) -> i64 {
        let mut steps: Vec<i64> =
            self.times.iter().zip(self.times.iter().skip(1)).map(|(a, b)| b.0 - a.0).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied().unwrap_or(0).max(1)
    }
}

/// The series of the layout of the Numenta Anomaly Benchmark: those of `data` that `labels` knows.
///
/// # Errors
/// When a file cannot be read.
pub fn nab(folder: &Path) -> Result<Vec<Labelled>, Failure> {
    let path = folder.join("labels/combined_windows.json");
    let text = std::fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let labels: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&text).map_err(|error| worthless(&path, &error.to_string()))?;
    let mut all = Vec::new();
    for (name, windows) in labels {
        let path = folder.join("data").join(&name);
        if !path.exists() {
            continue;
        }
        let mut series = read(&path, &name)?;
        for (from, to) in windows {
            let (Some(from), Some(to)) = (Micros::parse(&from), Micros::parse(&to)) else {
                return Err(worthless(&path, "has a window that is no time"));
            };
            let start = series.times.partition_point(|at| *at < from);
            let end = series.times.partition_point(|at| *at <= to);
            if end > start {
                series.windows.push((start, end - 1));
            }
        }
        all.push(series);
    }
    Ok(all)
}

/// The series of the layout of Microsoft's cloud monitoring data: every CSV file below `folder`.
///
/// # Errors
/// When a file cannot be read.
pub fn microsoft(folder: &Path) -> Result<Vec<Labelled>, Failure> {
    let mut paths = Vec::new();
    for sub in entries(folder)? {
        if sub.is_dir() {
            paths.extend(entries(&sub)?.into_iter().filter(|path| is_csv(path)));
        } else if is_csv(&sub) {
            paths.push(sub);
        }
    }
    paths.sort();
    let name = |path: &Path| {
        path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
    };
    paths.iter().map(|path| read(path, &name(path))).collect()
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "csv")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = std::fs::read_dir(folder).map_err(Failure::io("list", folder))?;
    let mut paths = Vec::new();
    for entry in read {
        paths.push(entry.map_err(Failure::io("list", folder))?.path());
    }
    Ok(paths)
}

/// Reads time, value and, where there is a third column, whether the value is anomalous.
fn read(path: &Path, name: &str) -> Result<Labelled, Failure> {
    let text = std::fs::read_to_string(path).map_err(Failure::io("read", path))?;
    let (category, file) = name.rsplit_once('/').unwrap_or(("", name));
    let mut series = Labelled {
        category: category.to_owned(),
        name: file.to_owned(),
        times: Vec::new(),
        values: Vec::new(),
        windows: Vec::new(),
    };
    for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.is_empty()) {
        let mut cells = line.split(',').map(|cell| cell.trim().trim_matches('"'));
        let at = cells.next().and_then(Micros::parse);
        let cell = cells.next();
        if cell == Some("") {
            // Nothing was measured; the labelled files say so by an empty cell.
            continue;
        }
        let value = cell.and_then(|cell| cell.parse::<f64>().ok());
        let (Some(at), Some(value)) = (at, value) else {
            return Err(worthless(path, &format!("line {} is no time and value", number + 1)));
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

fn worthless(path: &Path, why: &str) -> Failure {
    Failure::Worthless(format!("`{}`: {why}", path.display()))
}
