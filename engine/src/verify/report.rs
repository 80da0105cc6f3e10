//! Checks of a lake: their counts, their problems, and what to do about those that fail.

use serde_json::{Value, json};

/// How many problems of a check are spelled out.
const EXAMPLES_MAX: usize = 5;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    Ok,
    /// It does not hold.
    Failed,
    /// It could not be made. Counts as failed: nothing was proved.
    Unknown,
}

impl Status {
    /// The word in which it is told.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "FAILED",
            Status::Unknown => "unknown",
        }
    }
}

/// One check of one table or KPI.
#[derive(Debug, Clone)]
pub struct Check {
    /// What is checked: `seals`, `bronze`, `epoch`, `letters`, `silver`, `kpi`, `view`, `history` or
    /// `alerts`.
    pub name: &'static str,
    /// The table or KPI.
    pub subject: String,
    /// What was counted, with its unit.
    pub counts: Vec<(&'static str, u64)>,
    /// What else there is to know.
    pub notes: Vec<String>,
    problems: Vec<String>,
    problem_count: u64,
    unknown: Option<String>,
    advice: &'static str,
}

impl Check {
    /// A check that holds until something else is said; `advice` is what to do when it does not.
    pub(super) fn new(name: &'static str, subject: &str, advice: &'static str) -> Check {
        Check {
            name,
            subject: subject.to_owned(),
            counts: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
            problem_count: 0,
            unknown: None,
            advice,
        }
    }

    /// A check that could not be made.
    pub(super) fn unknown(
        name: &'static str,
        subject: &str,
        advice: &'static str,
        reason: String,
    ) -> Check {
        Check { unknown: Some(reason), ..Check::new(name, subject, advice) }
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problem_count += 1;
        if self.problems.len() < EXAMPLES_MAX {
            self.problems.push(text());
        }
    }

    /// Notes problems of which some are spelled out.
    pub(super) fn problems(&mut self, count: u64, examples: impl IntoIterator<Item = String>) {
        self.problem_count += count;
        let room = EXAMPLES_MAX.saturating_sub(self.problems.len());
        self.problems.extend(examples.into_iter().take(room));
    }

    /// Says that nothing is proved, and why.
    pub(super) fn doubt(&mut self, reason: String) {
        self.unknown.get_or_insert(reason);
    }

    /// Counts something.
    pub(super) fn count(&mut self, unit: &'static str, number: usize) {
        self.counts.push((unit, number as u64));
    }

    /// How it ended.
    pub fn status(&self) -> Status {
        match (&self.unknown, self.problem_count) {
            (_, 1..) => Status::Failed,
            (Some(_), 0) => Status::Unknown,
            (None, 0) => Status::Ok,
        }
    }

    /// The problems that are spelled out, five at most.
    pub fn spelled_out(&self) -> &[String] {
        &self.problems
    }

    /// The number of problems, spelled out or not.
    pub fn problem_count(&self) -> u64 {
        self.problem_count
    }

    /// Why nothing is proved.
    pub fn reason(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// What to do when it does not hold.
    pub fn advice(&self) -> &'static str {
        self.advice
    }

    fn to_json(&self) -> Value {
        let counts: serde_json::Map<_, _> =
            self.counts.iter().map(|(unit, n)| ((*unit).to_owned(), json!(n))).collect();
        let fine = self.status() == Status::Ok;
        json!({
            "check": self.name,
            "subject": self.subject,
            "status": self.status().name().to_lowercase(),
            "counts": counts,
            "problem_count": self.problem_count,
            "problems": self.problems,
            "unknown": self.unknown,
            "notes": self.notes,
            "advice": (!fine).then_some(self.advice),
        })
    }
}

/// Every check of a lake.
#[derive(Debug, Clone)]
pub struct Report {
    /// The lake's folder.
    pub lake: String,
    /// The epoch at which silver and gold were compared.
    pub epoch: Option<u64>,
    /// Its clock.
    pub as_of: Option<String>,
    /// The checks, in the order in which they build on each other.
    pub checks: Vec<Check>,
}

impl Report {
    /// How many checks do not hold or could not be made.
    pub fn failed(&self) -> usize {
        self.checks.iter().filter(|check| check.status() != Status::Ok).count()
    }

    /// All of it, for scripts.
    pub fn to_json(&self) -> Value {
        json!({
            "lake": self.lake,
            "ok": self.failed() == 0,
            "epoch": self.epoch,
            "as_of": self.as_of,
            "failed": self.failed(),
            "checks": self.checks.iter().map(Check::to_json).collect::<Vec<_>>(),
        })
    }

    /// The last line.
    pub fn summary(&self) -> String {
        let all = self.checks.len();
        let at = match (&self.epoch, &self.as_of) {
            (Some(epoch), Some(as_of)) => format!(" at epoch {epoch} ({as_of})"),
            _ => String::new(),
        };
        match self.failed() {
            0 => format!("all {all} checks hold{at}"),
            failed => format!("{failed} of {all} checks do not hold{at}"),
        }
    }
}
