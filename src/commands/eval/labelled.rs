//! `weir eval nab` and `weir eval ms`: how much the detector finds of what people have labelled, and how often it is
//! wrong, on series from files that are not part of Weir.
//!
//! # Guarantees
//! - A file that cannot be read, or has a line that means nothing, is an error and not a shorter series.
//! - What it prints follows from the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anomaly::labelled::Labelled;
use anomaly::labelled::hourly::{self, Found};
use anomaly::labelled::nab::{self, FALSE, Report, Tally, Threshold};
use clap::Args;
use schemas::Micros;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

/// The file that says what people have labelled.
const WINDOWS: &str = "labels/combined_windows.json";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder with the series.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn nab(arguments: &Arguments) -> Result<(), Failure> {
    let all = windowed(&arguments.data)?;
    let report = nab::evaluate(&all);
    match arguments.json {
        true => output::json(&nab_json(all.len(), &report)),
        false => print_nab(all.len(), &report),
    }
    Ok(())
}

pub(crate) fn ms(arguments: &Arguments) -> Result<(), Failure> {
    let all = flagged(&arguments.data)?;
    let lines = hourly::evaluate(&all);
    if arguments.json {
        let line = |own: &hourly::Line| {
            let Found { events, found, alerts, wrong, weeks } = own.found;
            json!({
                "detector": own.name, "threshold": own.threshold, "events": events, "found": found,
                "alerts": alerts, "false": wrong, "series_weeks": weeks,
            })
        };
        let lines: Vec<Value> = lines.iter().map(line).collect();
        output::json(&json!({ "series": all.len(), "detectors": lines }));
        return Ok(());
    }
    output::line(&format!("{} series", all.len()));
    let row = |own: &hourly::Line| {
        let Found { events, found, alerts, wrong, weeks } = own.found;
        vec![
            own.name.clone(),
            own.threshold.clone(),
            format!("{} ({found}/{events})", percent(found, events)),
            alerts.to_string(),
            wrong.to_string(),
            percent(wrong, alerts),
            format!("{:.3}", wrong as f64 / weeks.max(1e-9)),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let header =
        ["detector", "threshold", "found", "alerts", "false", "of alerts", "false a series-week"];
    output::table(&header, &rows);
    Ok(())
}

/// `part` of `whole` in percent, and `-` of nothing.
fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", 100.0 * part as f64 / whole as f64)
}

fn words(threshold: Threshold) -> String {
    match threshold {
        Threshold::Own => "its own".to_owned(),
        Threshold::Crossed => "fitted to other series".to_owned(),
        Threshold::Fitted(best) => format!("{best:.3}, fitted to these labels"),
    }
}

fn score(tally: &Tally, price: f64) -> Option<f64> {
    (tally.windows > 0).then(|| tally.score(price))
}

fn print_nab(series: usize, report: &Report) {
    output::line(&format!("{series} series"));
    let row = |names: [String; 2], tally: &Tally| {
        let scores = FALSE.map(|(_, price)| {
            score(tally, price).map_or_else(|| "-".to_owned(), |own| format!("{own:.1}"))
        });
        let counts = [
            format!("{}/{}", tally.hit, tally.windows),
            tally.alerts.to_string(),
            tally.outside.to_string(),
            percent(tally.outside, tally.alerts),
        ];
        names.into_iter().chain(scores).chain(counts).collect::<Vec<String>>()
    };
    let [standard, low] = FALSE.map(|(name, _)| name);
    let header = |first, second| {
        [first, second, standard, low, "windows hit", "alerts", "false", "of alerts"]
    };
    let line = |own: &nab::Line| row([own.detector.to_owned(), words(own.threshold)], &own.tally);
    let rows: Vec<_> = report.lines.iter().map(line).collect();
    output::table(&header("detector", "threshold"), &rows);
    output::line("");
    let category = |(name, series, tally): &(String, usize, Tally)| {
        row([name.clone(), series.to_string()], tally)
    };
    let rows: Vec<_> = report.categories.iter().map(category).collect();
    output::table(&header("category, Weir at its own", "series"), &rows);
    for own in &report.resampled {
        output::line(&format!(
            "{}: {:.1} to {:.1} in 9 of 10 draws of the series; above range novelty in {:.0} % of them",
            own.profile,
            own.low,
            own.high,
            100.0 * own.above
        ));
    }
}

fn nab_json(series: usize, report: &Report) -> Value {
    let told = |tally: &Tally| {
        let [standard, low] = FALSE.map(|(_, price)| score(tally, price));
        json!({
            "standard": standard, "low_fp": low, "windows": tally.windows, "hit": tally.hit,
            "alerts": tally.alerts, "false": tally.outside,
        })
    };
    let line = |own: &nab::Line| {
        json!({
            "detector": own.detector,
            "threshold": words(own.threshold),
            "result": told(&own.tally),
        })
    };
    let category = |(name, series, tally): &(String, usize, Tally)| json!({ "category": name, "series": series, "result": told(tally) });
    let drawn = |own: &nab::Resampled| {
        json!({
            "score": own.profile, "low": own.low, "high": own.high, "above_range_novelty": own.above,
        })
    };
    json!({
        "series": series,
        "detectors": report.lines.iter().map(line).collect::<Vec<_>>(),
        "categories": report.categories.iter().map(category).collect::<Vec<_>>(),
        "resampled": report.resampled.iter().map(drawn).collect::<Vec<_>>(),
    })
}

/// The series of the layout of the Numenta Anomaly Benchmark: those of `data` that `labels` knows.
fn windowed(folder: &Path) -> Result<Vec<Labelled>, Failure> {
    let path = folder.join(WINDOWS);
    let labels: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text(&path)?)
        .map_err(|error| worthless(&path, &format!("is no list of windows: {error}")))?;
    let mut all = Vec::new();
    for (name, windows) in labels {
        let file = folder.join("data").join(&name);
        if !file.exists() {
            continue;
        }
        let mut series = parse(&file, &name)?;
        for (from, to) in windows {
            let (Some(from), Some(to)) = (Micros::parse(&from), Micros::parse(&to)) else {
                return Err(worthless(&path, &format!("has a window of {name} that is no time")));
            };
            series.window(from, to);
        }
        all.push(series);
    }
    some(all, folder, "has none of the files that its labels name, below `data`")
}

/// Every CSV file of a folder and of those in it.
fn flagged(folder: &Path) -> Result<Vec<Labelled>, Failure> {
    let is_csv = |path: &Path| path.extension().is_some_and(|extension| extension == "csv");
    let mut paths = Vec::new();
    for entry in entries(folder)? {
        match entry.is_dir() {
            true => paths.extend(entries(&entry)?.into_iter().filter(|path| is_csv(path))),
            false if is_csv(&entry) => paths.push(entry),
            false => {}
        }
    }
    paths.sort();
    let name = |path: &Path| {
        path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/")
    };
    let all = paths.iter().map(|path| parse(path, &name(path))).collect::<Result<Vec<_>, _>>()?;
    some(all, folder, "has no CSV file, and no folder in it has")
}

fn some(all: Vec<Labelled>, folder: &Path, why: &str) -> Result<Vec<Labelled>, Failure> {
    if all.is_empty() { Err(worthless(folder, why)) } else { Ok(all) }
}

fn parse(path: &Path, name: &str) -> Result<Labelled, Failure> {
    Labelled::parse(name, &text(path)?).map_err(|why| worthless(path, &why))
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| unread(path, &error))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed = std::fs::read_dir(folder).map_err(|error| unread(folder, &error))?;
    listed
        .map(|entry| entry.map(|own| own.path()).map_err(|error| unread(folder, &error)))
        .collect()
}

fn unread(path: &Path, error: &std::io::Error) -> Failure {
    let (path, data) =
        (path.display(), "`--data` names a folder as docs/reference/commands.md says");
    Failure::Usage(format!("could not read `{path}`: {error}; {data}"))
}

fn worthless(path: &Path, why: &str) -> Failure {
    Failure::Usage(format!("`{}` {why}", path.display()))
}
