//! What `weir verify` says: checks, their counts, and what to do about those that fail.

use serde_json::{Value, json};

use crate::commands::Failure;
use crate::output;

/// How many problems of a check are spelled out.
const EXAMPLES_MAX: usize = 5;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It holds.
    Ok,
    /// It does not hold.
    Failed,
    /// It could not be made. Counts as failed: nothing was proved.
    Unknown,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "FAILED",
            Status::Unknown => "unknown",
        }
    }
}

/// One check of one table or KPI.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// What is checked: `seals`, `bronze`, `epoch`, `silver`, `kpi` or `history`.
    pub(crate) name: &'static str,
    /// The table or KPI.
    pub(crate) subject: String,
    /// What was counted, with its unit.
    pub(crate) counts: Vec<(&'static str, u64)>,
    /// What else there is to know.
    pub(crate) notes: Vec<String>,
    problems: Vec<String>,
    problem_count: u64,
    unknown: Option<String>,
    advice: &'static str,
}

impl Check {
    /// A check that holds until something else is said; `advice` is what to do when it does not.
    pub(crate) fn new(name: &'static str, subject: &str, advice: &'static str) -> Check {
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
    pub(crate) fn unknown(
        name: &'static str,
        subject: &str,
        advice: &'static str,
        reason: String,
    ) -> Check {
        Check { unknown: Some(reason), ..Check::new(name, subject, advice) }
    }

    /// Notes a problem.
    pub(crate) fn problem(&mut self, text: impl FnOnce() -> String) {
        self.problem_count += 1;
        if self.problems.len() < EXAMPLES_MAX {
            self.problems.push(text());
        }
    }

    /// Notes problems of which some are spelled out.
    pub(crate) fn problems(&mut self, count: u64, examples: impl IntoIterator<Item = String>) {
        self.problem_count += count;
        let room = EXAMPLES_MAX.saturating_sub(self.problems.len());
        self.problems.extend(examples.into_iter().take(room));
    }

    /// Says that nothing is proved, and why.
    pub(crate) fn doubt(&mut self, reason: String) {
        self.unknown.get_or_insert(reason);
    }

    /// Counts something.
    pub(crate) fn count(&mut self, unit: &'static str, number: usize) {
        self.counts.push((unit, number as u64));
    }

    /// How it ended.
    pub(crate) fn status(&self) -> Status {
        match (&self.unknown, self.problem_count) {
            (_, 1..) => Status::Failed,
            (Some(_), 0) => Status::Unknown,
            (None, 0) => Status::Ok,
        }
    }

    /// The problems that are spelled out.
    #[cfg(test)]
    pub(crate) fn spelled_out(&self) -> &[String] {
        &self.problems
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

    fn print(&self, subject_width: usize) {
        let number = |(unit, n): &(&str, u64)| format!("{} {unit}", output::count(*n));
        let mut said: Vec<String> = self.counts.iter().map(number).collect();
        if self.problem_count > 0 {
            said.push(format!("{} problems", output::count(self.problem_count)));
        }
        let (status, subject) = (self.status().name(), &self.subject);
        let counts = said.join(", ");
        let text = format!("{status:<7}  {:<7}  {subject:<subject_width$}  {counts}", self.name);
        output::line(text.trim_end());
        let spelled_out = self.unknown.iter().chain(&self.problems);
        spelled_out.for_each(|text| output::line(&format!("         - {text}")));
        let more = self.problem_count.saturating_sub(self.problems.len() as u64);
        if more > 0 && !self.problems.is_empty() {
            output::line(&format!("         - and {} more", output::count(more)));
        }
        self.notes.iter().for_each(|note| output::line(&format!("         note: {note}")));
        if self.status() != Status::Ok {
            output::line(&format!("         what to do: {}", self.advice));
        }
    }
}

/// Every check of a lake.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// The lake's folder.
    pub(crate) lake: String,
    /// The epoch at which silver and gold were compared.
    pub(crate) epoch: Option<u64>,
    /// Its clock.
    pub(crate) as_of: Option<String>,
    /// The checks, in the order in which they build on each other.
    pub(crate) checks: Vec<Check>,
}

impl Report {
    /// How many checks do not hold or could not be made.
    pub(crate) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| check.status() != Status::Ok).count()
    }

    /// Prints it, as text or as JSON.
    pub(crate) fn print(&self, as_json: bool) {
        if as_json {
            output::json(&self.to_json());
            return;
        }
        let width = self.checks.iter().map(|check| check.subject.chars().count()).max();
        self.checks.iter().for_each(|check| check.print(width.unwrap_or(0)));
        output::line(&self.summary());
    }

    /// All of it, for scripts.
    pub(crate) fn to_json(&self) -> Value {
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
    pub(crate) fn summary(&self) -> String {
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

    /// Success, or the failure that makes the command exit with 1.
    pub(crate) fn outcome(&self) -> Result<(), Failure> {
        if self.failed() == 0 { Ok(()) } else { Err(Failure::Check(self.summary())) }
    }
}
