//! `weir eval rs`: whether the causes that are named are those that are true, over cases whose truth is known.
//!
//! # Guarantees
//! - One configuration for all cases. The truth is read to judge, and no method sees it.
//! - But for the times, what it prints follows from the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anomaly::causes::layout::{self, Named, Truth};
use anomaly::causes::trial::{METHODS, Method, Tally};
use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

/// The file that says what is true.
const TRUTH: &str = "anomaly.yaml";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder with `anomaly.yaml` and a CSV file for each case, or the one above it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came of all cases.
#[derive(Debug)]
struct Report {
    cases: Vec<Outcome>,
    leaves: usize,
    methods: Vec<Measured>,
}

/// What the search, which is the first method, named in a case.
#[derive(Debug)]
struct Outcome {
    truth: Truth,
    named: BTreeSet<Named>,
}

/// What came of one method.
#[derive(Debug)]
struct Measured {
    method: Method,
    tally: Tally,
    /// Milliseconds of each case, ascending.
    times: Vec<f64>,
}

impl Measured {
    /// The least time that this part of all cases did not exceed.
    fn time(&self, part: f64) -> f64 {
        let exceeded = self.times.iter().enumerate();
        let rank = part * self.times.len() as f64;
        let mut reached = exceeded.filter(|(at, _)| *at as f64 + 1.0 >= rank);
        reached.next().map_or(0.0, |(_, time)| *time)
    }
}

pub(super) fn execute(arguments: &Arguments) -> Result<(), Failure> {
    let report = measure(&arguments.data)?;
    match arguments.json {
        true => output::json(&as_json(&report)),
        false => print(&report),
    }
    Ok(())
}

/// The folder that has the truth: the one that was named, or `RS` in it.
fn folder_of(data: &Path) -> Result<PathBuf, Failure> {
    let tried = [data.to_owned(), data.join("RS")];
    tried.into_iter().find(|folder| folder.join(TRUTH).is_file()).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has no {TRUTH}, and no RS/{TRUTH}: `--data` takes a folder with {TRUTH} and a CSV file for each case",
            data.display()
        ))
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|e| Failure::Usage(format!("{} cannot be read: {e}", file.display())))
}

fn refused(file: &Path, error: &layout::LayoutError) -> Failure {
    Failure::Usage(format!("{}, {error}", file.display()))
}

fn measure(data: &Path) -> Result<Report, Failure> {
    let folder = folder_of(data)?;
    let file = folder.join(TRUTH);
    let truths = layout::truths(&read(&file)?).map_err(|e| refused(&file, &e))?;
    if truths.is_empty() {
        return Err(Failure::Usage(format!("{} names no case", file.display())));
    }
    let fresh = |method: Method| Measured { method, tally: Tally::default(), times: Vec::new() };
    let mut report =
        Report { cases: Vec::new(), leaves: 0, methods: METHODS.map(fresh).into_iter().collect() };
    for truth in truths {
        let own = folder.join(format!("{}.csv", truth.data));
        let case = layout::case(&read(&own)?, truth.timestamp).map_err(|e| refused(&own, &e))?;
        if let Some(dim) =
            truth.causes.iter().flat_map(Named::keys).find(|d| !case.dims.contains(d))
        {
            return Err(Failure::Usage(format!(
                "{}, line {}: `{}` has a cause in `{dim}`, and {} has no such column",
                file.display(),
                truth.line,
                truth.data,
                own.display()
            )));
        }
        report.leaves += case.parts.len();
        let mut first = None;
        for measured in &mut report.methods {
            let begin = Instant::now();
            let named = measured.method.name_causes(&case);
            measured.times.push(begin.elapsed().as_secs_f64() * 1e3);
            measured.tally.count(&truth.causes, &named);
            first.get_or_insert(named);
        }
        report.cases.push(Outcome { truth, named: first.unwrap_or_default() });
    }
    for measured in &mut report.methods {
        measured.times.sort_by(f64::total_cmp);
    }
    Ok(report)
}

fn as_json(report: &Report) -> Value {
    let method = |own: &Measured| {
        json!({
            "method": own.method.name,
            "what": own.method.about,
            "found": own.tally.found,
            "wrong": own.tally.wrong,
            "missed": own.tally.missed,
            "precision": own.tally.precision(),
            "recall": own.tally.recall(),
            "f1": own.tally.f1(),
            "cases_right": own.tally.right,
            "ms_p50": own.time(0.5),
            "ms_p99": own.time(0.99),
        })
    };
    let case = |own: &Outcome| {
        json!({
            "case": own.truth.data,
            "timestamp": own.truth.timestamp,
            "truth": own.truth.causes,
            "named": own.named,
        })
    };
    json!({
        "cases": report.cases.len(),
        "elements": elements(report),
        "leaves": report.leaves,
        "methods": report.methods.iter().map(method).collect::<Vec<_>>(),
        "outcomes": report.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

/// The elements that are true, over all cases.
fn elements(report: &Report) -> usize {
    report.cases.iter().map(|own| own.truth.causes.len()).sum()
}

fn print(report: &Report) {
    output::line(&format!(
        "{} cases with {} elements behind them, and {} leaves",
        output::count(report.cases.len() as u64),
        output::count(elements(report) as u64),
        output::count(report.leaves as u64),
    ));
    let row = |own: &Measured| {
        vec![
            own.method.name.to_owned(),
            format!("{:.3}", own.tally.f1()),
            format!("{:.3}", own.tally.precision()),
            format!("{:.3}", own.tally.recall()),
            own.tally.found.to_string(),
            own.tally.wrong.to_string(),
            own.tally.missed.to_string(),
            format!("{}/{}", own.tally.right, own.tally.cases),
            format!("{:.2}", own.time(0.5)),
            format!("{:.2}", own.time(0.99)),
            own.method.about.to_owned(),
        ]
    };
    let rows: Vec<_> = report.methods.iter().map(row).collect();
    let header = [
        "method",
        "F1",
        "precision",
        "recall",
        "found",
        "wrong",
        "missed",
        "cases right",
        "ms p50",
        "ms p99",
        "what",
    ];
    output::table(&header, &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cases of three CDNs and three devices: in the first iOS behind CDN 2 fails, in the second CDN 3.
    fn folder(truth: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TRUTH), truth).unwrap();
        let bad: [fn(u32, &str) -> bool; 2] =
            [|cdn, device| cdn == 2 && device == "ios", |cdn, _| cdn == 3];
        for (name, is_bad) in ["a b", "c"].iter().zip(bad) {
            let mut text = "min,cdn,device,value,cnt\n".to_owned();
            for minute in (60..=360).step_by(60) {
                for cdn in 1..=3 {
                    for (device, count) in [("ios", 500), ("tv", 1000), ("web", 2000)] {
                        let part = if minute == 300 && is_bad(cdn, device) { 4 } else { 100 };
                        text += &format!("{minute},{cdn},{device},{},{count}\n", count / part);
                    }
                }
            }
            std::fs::write(folder.path().join(format!("{name}.csv")), text).unwrap();
        }
        folder
    }

    const BOTH: &str = "- data: a b\n  timestamp: 300\n  cause: {'cdn':2, 'device':'ios'}\n- data: c\n  timestamp: 300\n  cause: [{'cdn':3}, {'device':'tv'}]\n";

    #[test]
    fn a_folder_is_measured_with_what_is_beside() {
        let folder = folder(BOTH);
        let report = measure(folder.path()).unwrap();
        let told = as_json(&report);
        assert_eq!(
            (&told["cases"], &told["elements"], &told["leaves"]),
            (&2.into(), &3.into(), &18.into())
        );
        let [weir, _, adtributor, largest] = report.methods.as_slice() else { panic!("{told:#}") };
        assert_eq!(weir.method.name, "weir");
        assert_eq!(weir.tally, Tally { cases: 2, right: 1, found: 2, wrong: 0, missed: 1 });
        assert_eq!((adtributor.tally.found, largest.tally.found), (1, 1));
        assert_eq!(told["outcomes"][0]["named"], told["outcomes"][0]["truth"]);
        assert_eq!(told["outcomes"][1]["named"], json!([{ "cdn": "3" }]));
        print(&report);
    }

    #[test]
    fn times_are_by_rank() {
        let times = (1..=200).map(f64::from).collect();
        let measured = Measured { method: METHODS[0], tally: Tally::default(), times };
        let near = |part: f64, time: f64| (measured.time(part) - time).abs() < 1e-9;
        assert!(near(0.5, 100.0) && near(0.99, 198.0) && near(1.0, 200.0));
    }

    #[test]
    fn a_folder_above_will_do() {
        let (above, own) = (tempfile::tempdir().unwrap(), folder(BOTH));
        std::fs::rename(own.path(), above.path().join("RS")).unwrap();
        assert_eq!(measure(above.path()).unwrap().cases.len(), 2);
    }

    #[test]
    fn a_folder_without_such_data_is_refused_with_what_is_wrong() {
        let said = |truth: &str| match measure(folder(truth).path()).unwrap_err() {
            Failure::Usage(said) => said,
            other => panic!("{other}"),
        };
        let empty = tempfile::tempdir().unwrap();
        let none = measure(empty.path()).unwrap_err();
        assert!(none.to_string().contains("has no anomaly.yaml"), "{none}");
        assert_eq!(none.code(), 2);
        for (truth, what) in [
            ("", "anomaly.yaml names no case"),
            ("- data: a b\n  cause: {'cdn':2}\n", "anomaly.yaml, line 1: `a b` has no timestamp"),
            ("- data: z\n  timestamp: 300\n  cause: {'cdn':2}\n", "z.csv cannot be read"),
            (
                "- data: c\n  timestamp: 9\n  cause: {'cdn':2}\n",
                "c.csv, line 1: no row has the minute 9",
            ),
            ("- data: c\n  timestamp: 300\n  cause: {'isp':2}\n", "`c` has a cause in `isp`, and "),
        ] {
            let said = said(truth);
            assert!(said.contains(what), "{truth}: {said}");
        }
    }
}
