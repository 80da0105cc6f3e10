//! One run of the product over a topic, into a lake of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use schemas::Micros;

use crate::failure::Failure;
use crate::process::{self, Usage};
use crate::topic::Topic;

/// Its first word that records are coming.
const ASSIGNED: &str = "reading topic";
/// Its last words.
const STOPPED: &str = "everything is flushed";

/// What one run took.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What the process used, start and end included.
    pub usage: Usage,
    /// Seconds from the assignment of partitions to the end of the last flush.
    pub seconds: f64,
    /// Records in bronze per second, between 10 % and 90 % of all; from the times of its commits.
    pub middle_rate: Option<f64>,
    /// The numbers of the last log line.
    pub counts: BTreeMap<String, u64>,
    /// `weir verify` on the lake; `None` when it was not asked for.
    pub verify: Option<Verify>,
}

/// How `weir verify` ended.
#[derive(Debug, Clone)]
pub struct Verify {
    /// Its exit code.
    pub code: Option<i32>,
    /// How long it took.
    pub seconds: f64,
    /// What it printed.
    pub output: String,
}

impl Verify {
    /// Whether the lake holds what its source said.
    pub fn passed(&self) -> bool {
        self.code == Some(0)
    }

    /// What it printed, without the checks that hold.
    pub fn complaints(&self) -> String {
        let wrong = self.output.lines().filter(|line| !line.starts_with("ok "));
        wrong.collect::<Vec<_>>().join("\n")
    }
}

/// Where one run works.
#[derive(Debug)]
pub struct Run<'a> {
    /// The binary.
    pub program: &'a Path,
    /// An empty folder.
    pub folder: &'a Path,
    /// What it reads.
    pub topic: &'a Topic,
    /// Keys of the configuration that come first, for trying other settings.
    pub settings: &'a str,
    /// Whether the lake is verified afterwards.
    pub verify: bool,
}

impl Run<'_> {
    /// Runs to the end of the topic.
    ///
    /// # Errors
    /// When it fails, or took other than all records.
    pub fn measure(&self) -> Result<Figures, Failure> {
        let lake = self.folder.join("lake");
        let config = self.configure(&lake)?;
        let log = self.folder.join("weir.log");
        let out = File::create(&log).map_err(Failure::io("create", &log))?;
        let begin = Instant::now();
        let child = Command::new(self.program)
            .args(["run", "--until-end", "--config"])
            .arg(&config)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .map_err(Failure::io("start", self.program))?;
        let usage = process::watch(child, begin)?;
        let said = std::fs::read_to_string(&log).map_err(Failure::io("read", &log))?;
        if !usage.status.success() {
            let text = format!("`weir run` ended with {}:\n{said}", usage.status);
            return Err(Failure::Worthless(text));
        }
        let (seconds, counts) = read_log(&said)
            .ok_or_else(|| Failure::Worthless(format!("the log is not as expected:\n{said}")))?;
        let taken = counts.get("events").copied().unwrap_or(0);
        if taken != self.topic.records {
            let text = format!("it took {taken} records of {}:\n{said}", self.topic.records);
            return Err(Failure::Worthless(text));
        }
        let verify = if self.verify { Some(verify(self.program, &config)?) } else { None };
        let middle_rate = middle_rate(&lake);
        Ok(Figures { usage, seconds, middle_rate, counts, verify })
    }

    fn configure(&self, lake: &Path) -> Result<PathBuf, Failure> {
        let path = self.folder.join("weir.toml");
        let text = format!(
            "lake.uri = \"{}\"\napi.listen = \"127.0.0.1:0\"\n{}\n[[sources]]\nkind = \"kafka\"\n\
             brokers = \"{}\"\ngroup = \"weir-benchmarks\"\n[sources.topics]\n\"{}\" = \"orders\"\n",
            lake.display(),
            self.settings,
            self.topic.brokers,
            self.topic.name
        );
        std::fs::write(&path, text).map_err(Failure::io("write", &path))?;
        Ok(path)
    }
}

/// Has a lake verified, with the configuration, because that says which contract a topic has.
///
/// # Errors
/// When the product cannot be started.
pub fn verify(program: &Path, config: &Path) -> Result<Verify, Failure> {
    let begin = Instant::now();
    let output = Command::new(program)
        .args(["verify", "--config"])
        .arg(config)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::io("start", program))?;
    let texts = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Verify { code: output.status.code(), seconds, output: texts.concat() })
}

/// Seconds between the first and the last word, and the numbers of the last.
fn read_log(log: &str) -> Option<(f64, BTreeMap<String, u64>)> {
    let at = |line: &str| Micros::parse(line.split_whitespace().next()?);
    let first = at(log.lines().find(|line| line.contains(ASSIGNED))?)?;
    let line = log.lines().find(|line| line.contains(STOPPED))?;
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    let counts = pairs.filter_map(|(name, text)| Some((name.to_owned(), text.parse().ok()?)));
    Some((seconds(at(line)?.0 - first.0), counts.collect()))
}

#[expect(clippy::cast_precision_loss, reason = "durations of minutes are exact in a float")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// From the rows and times of bronze's commits.
fn middle_rate(lake: &Path) -> Option<f64> {
    let log = std::fs::read_dir(lake.join("bronze/changes/_delta_log")).ok()?;
    let paths = log.flatten().map(|entry| entry.path());
    let mut commits: Vec<(i64, u64)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| commit(&std::fs::read_to_string(path).ok()?))
        .collect();
    commits.sort_unstable();
    let total: u64 = commits.iter().map(|(_, rows)| rows).sum();
    let mut sum = 0;
    let reached = commits.iter().map(|&(ms, rows)| {
        sum += rows;
        (ms, sum)
    });
    let reached: Vec<(i64, u64)> = reached.collect();
    let after = |share: u64| reached.iter().find(|(_, sum)| sum * 10 >= total * share);
    let ((from, low), (to, high)) = (after(1)?, after(9)?);
    let span = seconds((to - from) * 1000);
    let rows = u32::try_from(high - low).ok()?;
    (span > 0.0).then(|| f64::from(rows) / span)
}

/// When a commit was made, and its rows.
fn commit(text: &str) -> Option<(i64, u64)> {
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let info = lines.map(|line: serde_json::Value| line["commitInfo"].clone());
    let info = info.into_iter().find(|info| info.is_object())?;
    Some((info["timestamp"].as_i64()?, info["rowCount"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_log_of_a_run() {
        let log = "2026-11-21T10:35:42.5Z  INFO source `kafka`: reading topic `t` partition 0 from offset 0\n\
                   2026-11-21T10:35:44.0Z  INFO stopped, everything is flushed events=17 barrier_ms=53\n";
        let (seconds, counts) = read_log(log).unwrap();
        assert!((seconds - 1.5).abs() < 1e-9);
        assert_eq!((counts["events"], counts["barrier_ms"]), (17, 53));
        assert!(read_log("").is_none());
    }

    #[test]
    fn reads_commits() {
        let text = "{\"commitInfo\":{\"timestamp\":5,\"rowCount\":17}}\n{\"txn\":{}}\n";
        assert_eq!(commit(text), Some((5, 17)));
        assert_eq!(commit("{\"txn\":{}}"), None);
    }
}
