//! Figures as Markdown.

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
        let mean = self.bytes / self.changes;
        let head = format!(
            "# Ingest, {}\n\n`{}`\n\n{}- load average at the start: {}\n- {} changes of {mean:.0} \
             bytes ({} records with tombstones)\n",
            self.date,
            self.command,
            self.machine,
            self.load,
            grouped(self.changes),
            self.records
        );
        let parts = [head, self.ceiling_table(), self.run_table(), self.faults(), self.summary()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn ceiling_table(&self) -> String {
        let mut out = "## Ceiling: one thread over librdkafka\n\n\
                       | stage | events/s, median | of each pass |\n|---|---|---|\n"
            .to_owned();
        for stage in Stage::ALL {
            let of_stage = self.ceiling.iter().filter(|(of, _)| *of == stage);
            let each: Vec<String> =
                of_stage.map(|(_, took)| grouped(self.changes / took.as_secs_f64())).collect();
            let rate = grouped(self.ceiling_rate(stage));
            out.push_str(&format!("| {} | {rate} | {} |\n", stage.name(), each.join(", ")));
        }
        out
    }

    fn run_table(&self) -> String {
        let mut out = "## `weir run --until-end`, a fresh lake each\n\n\
            | run | seconds | process s | events/s | MB/s | 10-90 % events/s | CPU s per 1M | \
            peak RSS MiB | epochs | bronze commits | barriers | mean barrier ms | verify |\n\
            |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
        for (number, run) in self.runs.iter().enumerate() {
            let count = |name: &str| run.counts.get(name).copied().unwrap_or(0);
            let verify = match &run.verify {
                Some(verify) if verify.passed() => format!("passed in {:.0} s", verify.seconds),
                Some(verify) => format!("FAILED, exit code {:?}", verify.code),
                None => "not run".into(),
            };
            let cells = [
                (number + 1).to_string(),
                format!("{:.2}", run.seconds),
                format!("{:.2}", run.usage.wall.as_secs_f64()),
                grouped(self.changes / run.seconds),
                format!("{:.0}", self.bytes / run.seconds / 1e6),
                run.middle_rate.map_or_else(|| "-".into(), grouped),
                format!("{:.2}", run.usage.cpu / self.changes * 1e6),
                format!("{:.0}", run.usage.peak_mib),
                count("epochs").to_string(),
                count("bronze_commits").to_string(),
                count("barriers").to_string(),
                (count("barrier_ms") / count("barriers").max(1)).to_string(),
                verify,
            ];
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        let threads = self.runs.last().map(|run| run.usage.threads.as_slice()).unwrap_or_default();
        let busiest = threads.iter().take(6).map(|(name, cpu)| format!("{name} {cpu:.2}"));
        let busiest: Vec<String> = busiest.collect();
        out.push_str(&format!("\nCPU seconds by thread, last run: {}.\n", busiest.join(", ")));
        out
    }

    /// What `weir verify` found wrong.
    fn faults(&self) -> String {
        let failed = self.runs.iter().filter_map(|run| run.verify.as_ref());
        let failed = failed.filter(|verify| !verify.passed());
        let texts: Vec<String> =
            failed.map(|verify| format!("```text\n{}\n```\n", verify.complaints())).collect();
        if texts.is_empty() {
            return String::new();
        }
        format!("## These lakes did not verify: the figures are worthless\n\n{}", texts.join("\n"))
    }

    fn summary(&self) -> String {
        let (rate, ceiling) = (self.rate(), self.ceiling_rate(Stage::Parquet));
        format!(
            "## Median of {} runs\n\n| events/s | of the ceiling with Parquet | CPU s per 1M | \
             peak RSS MiB | 10-90 % events/s |\n|---|---|---|---|---|\n\
             | {} | {:.2} | {:.2} | {:.0} | {} |\n\n\
             Seconds run from the assignment of partitions to the end of the last flush. They \
             include the wait for\ntimers that are due within a second, the last bronze commit and \
             the last barrier. Process seconds\ninclude starting and making an empty lake, too.\n",
            self.runs.len(),
            grouped(rate),
            rate / ceiling,
            self.median_of(|run| run.usage.cpu) / self.changes * 1e6,
            self.median_of(|run| run.usage.peak_mib),
            grouped(median(self.runs.iter().filter_map(|run| run.middle_rate).collect())),
        )
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
