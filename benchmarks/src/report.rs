//! Figures as Markdown.

use std::fmt::Write;
use std::time::Duration;

use crate::ceiling::Stage;
use crate::weir::Figures;

/// Everything that one call of the ingest benchmark found.
#[derive(Debug)]
pub struct Ingest {
    /// The command line.
    pub command: String,
    /// When, as a date.
    pub date: String,
    /// The machine, as list items.
    pub machine: String,
    /// The load average before the first measurement.
    pub load: String,
    /// Changes in the topic; rates are of these.
    pub changes: f64,
    /// All records, tombstones included.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: f64,
    /// Every pass of every stage of the ceiling.
    pub ceiling: Vec<(Stage, Duration)>,
    /// Every run of the product.
    pub runs: Vec<Figures>,
}

/// The median; zero of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|at| values.get(at)).copied().unwrap_or(upper);
    f64::midpoint(lower, upper)
}

impl Ingest {
    /// The median rate of a stage.
    pub fn ceiling_rate(&self, stage: Stage) -> f64 {
        let of_stage = self.ceiling.iter().filter(|(of, _)| *of == stage);
        median(of_stage.map(|(_, took)| self.changes / took.as_secs_f64()).collect())
    }

    /// The median rate of the product.
    pub fn rate(&self) -> f64 {
        self.median_of(|run| self.changes / run.seconds)
    }

    fn median_of(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        median(self.runs.iter().map(figure).collect())
    }

    /// The report.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let mean = self.bytes / self.changes;
        let (changes, records) = (grouped(self.changes), self.records);
        let title = format!("# Ingest, {}\n\n`{}`\n", self.date, self.command);
        drop(writeln!(out, "{title}\n{}- load average at the start: {}", self.machine, self.load));
        drop(writeln!(
            out,
            "- {changes} changes of {mean:.0} bytes ({records} records with tombstones)\n"
        ));
        self.write_ceiling(&mut out);
        self.write_runs(&mut out);
        self.write_summary(&mut out);
        out
    }

    fn write_ceiling(&self, out: &mut String) {
        let header = "## Ceiling: one thread over librdkafka\n\n\
                      | stage | events/s, median | of each pass |\n|---|---|---|";
        drop(writeln!(out, "{header}"));
        for stage in Stage::ALL {
            let of_stage = self.ceiling.iter().filter(|(of, _)| *of == stage);
            let each: Vec<String> =
                of_stage.map(|(_, took)| grouped(self.changes / took.as_secs_f64())).collect();
            let rate = grouped(self.ceiling_rate(stage));
            drop(writeln!(out, "| {} | {rate} | {} |", stage.name(), each.join(", ")));
        }
    }

    fn write_runs(&self, out: &mut String) {
        let header = "\n## `weir run --until-end`, a fresh lake each\n\n\
            | run | seconds | process s | events/s | MB/s | 10-90 % events/s | CPU s | \
            CPU s per 1M | peak RSS MiB | epochs | bronze commits | barriers | mean barrier ms | \
            verify |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";
        drop(writeln!(out, "{header}"));
        for (number, run) in self.runs.iter().enumerate() {
            let count = |name: &str| run.counts.get(name).copied().unwrap_or(0);
            let verify = match run.verify {
                Some((Some(0), seconds)) => format!("passed in {seconds:.0} s"),
                Some((code, _)) => format!("FAILED with {code:?}"),
                None => "not run".into(),
            };
            drop(writeln!(
                out,
                "| {} | {:.2} | {:.2} | {} | {:.0} | {} | {:.2} | {:.2} | {:.0} | {} | {} | {} | {} | {verify} |",
                number + 1,
                run.seconds,
                run.usage.wall.as_secs_f64(),
                grouped(self.changes / run.seconds),
                self.bytes / run.seconds / 1e6,
                run.middle_rate.map_or_else(|| "-".into(), grouped),
                run.usage.cpu,
                run.usage.cpu / self.changes * 1e6,
                run.usage.peak_mib,
                count("epochs"),
                count("bronze_commits"),
                count("barriers"),
                count("barrier_ms") / count("barriers").max(1),
            ));
        }
        let threads = self.runs.last().map(|run| run.usage.threads.as_slice()).unwrap_or_default();
        let busiest = threads.iter().take(10).map(|(name, cpu)| format!("{name} {cpu:.2}"));
        let busiest: Vec<String> = busiest.collect();
        drop(writeln!(out, "\nCPU seconds by thread, last run: {}.", busiest.join(", ")));
    }

    fn write_summary(&self, out: &mut String) {
        let (rate, ceiling) = (self.rate(), self.ceiling_rate(Stage::Parquet));
        drop(writeln!(
            out,
            "\n## Median of {} runs\n\n| events/s | of the ceiling with Parquet | CPU s per 1M | \
             peak RSS MiB | 10-90 % events/s |\n|---|---|---|---|---|\n\
             | {} | {:.2} | {:.2} | {:.0} | {} |\n",
            self.runs.len(),
            grouped(rate),
            rate / ceiling,
            self.median_of(|run| run.usage.cpu) / self.changes * 1e6,
            self.median_of(|run| run.usage.peak_mib),
            grouped(median(self.runs.iter().filter_map(|run| run.middle_rate).collect())),
        ));
        out.push_str(
            "Seconds run from the assignment of partitions to the end of the last flush: they \
             include filling the\nfirst queues, the wait for timers that are due within a second, \
             the last bronze commit and the last\nbarrier. Process seconds include starting and \
             making an empty lake, too.\n",
        );
    }
}

/// Rounded to a whole number, with thousands separators.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_thousands() {
        assert_eq!(grouped(median(vec![3.0, 1.0, 2.0])), "2");
        assert_eq!(grouped(median(vec![4000.0, 1000.0])), "2,500");
        assert_eq!(grouped(median(Vec::new())), "0");
    }
}
