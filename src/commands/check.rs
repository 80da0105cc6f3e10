//! `weir check`: configuration, brokers, files and lake, and what to do for each failure.
//!
//! # Guarantees
//! - Nothing is consumed and no offset is committed. In the lake's folder one empty file is made and
//!   removed, to see that it can be written.
//! - It exits with 2 when the configuration is wrong, 3 when a broker cannot be reached or refuses us, 1
//!   otherwise.

mod kafka;
mod sent;
mod spelled;
mod values;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::Duration;

use clap::Args;
use engine::Topics;
use gold::Catalog;
use gold::catalog::Why;
use lake::{LOG_ENTRIES_MAX, Lake, WorkDir};
use pipeline::source::{FileConfig, SourceConfig};
use schemas::{Calendar, Contract, Micros, chain};
use serde_json::{Value, json};

use super::doubt::{Line, Waiting};
use super::setup::{self, Refusal, lake_root};
use crate::config::Config;
use crate::failure::Failure;
use crate::{output, serve};

/// Free space below which something should be done, and below which nothing goes on, in KiB.
const FREE_LOW: u64 = 2 << 20;
const FREE_NONE: u64 = 128 << 10;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How bad a finding is, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warning,
    Problem,
    Unreachable,
    /// The broker answers, and will not have us.
    Refused,
    Configuration,
}

/// One line of the answer.
#[derive(Debug)]
struct Finding {
    subject: String,
    level: Level,
    text: String,
    advice: Option<String>,
}

impl Finding {
    fn ok(subject: &str, text: impl Into<String>) -> Finding {
        Finding { subject: subject.into(), level: Level::Ok, text: text.into(), advice: None }
    }

    fn new(
        subject: &str,
        level: Level,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        let advice = Some(advice.into());
        Finding { subject: subject.into(), level, text: text.into(), advice }
    }

    fn refused(refusal: Refusal) -> Finding {
        let Refusal { subject, text, advice } = refusal;
        Finding { subject, level: Level::Configuration, text, advice: advice.map(str::to_owned) }
    }

    fn word(&self) -> &'static str {
        match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem | Level::Configuration => "PROBLEM",
            Level::Unreachable => "DOWN",
            Level::Refused => "REFUSED",
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "check": self.subject,
            "status": self.word().to_lowercase(),
            "text": self.text,
            "advice": self.advice,
        })
    }
}

pub(crate) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let mut config = config.clone();
    config.lake.uri = lake_root(&config, arguments.lake.as_deref()).to_path_buf();
    let (mut findings, refusals) = configuration(&config);
    let is_fine = |subject: &str| refusals.iter().all(|refusal| refusal.subject != subject);
    for source in &config.sources {
        match source {
            _ if !is_fine(&format!("source {}", source.name())) => {}
            SourceConfig::Kafka(config) => {
                findings.extend(kafka::check(config));
                findings.extend(kafka::unverified(config));
            }
            SourceConfig::File(file) => findings.push(check_file(file)),
        }
    }
    findings.extend(config.plain_secrets.iter().map(kafka::plain));
    findings.extend(check_log(&config));
    let root = &config.lake.uri;
    if is_fine(&format!("lake {}", root.display())) {
        findings.extend(check_lake(root));
        if let Ok((contracts, catalog)) = setup::definitions(&config) {
            findings.extend(spelled::check(&contracts, &catalog));
            findings.extend(values::check(root, &contracts));
            findings.extend(waiting(root, &contracts, &setup::topics(&config, &contracts)));
        }
        // The setting speaks of the configured lake.
        if arguments.lake.is_none() {
            findings.extend(check_work_dir(root, config.lake.work_dir()));
        }
    }
    if is_fine("api") {
        findings.extend(check_listen(&config));
    }
    findings.extend(refusals.into_iter().map(Finding::refused));
    if arguments.json {
        output::json(&findings.iter().map(Finding::to_json).collect());
    } else {
        print(&findings);
    }
    outcome(&findings)
}

fn print(findings: &[Finding]) {
    let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let Finding { subject, text, advice, .. } = finding;
        output::line(&format!("{:<7}  {subject:<width$}  {text}", finding.word()));
        if let Some(advice) = advice {
            output::line(&format!("         what to do: {advice}"));
        }
    }
}

fn outcome(findings: &[Finding]) -> Result<(), Failure> {
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let bad = findings.iter().filter(|finding| finding.level > Level::Warning).count();
    let text = format!("{bad} of {} checks found a problem", findings.len());
    match worst {
        Level::Ok | Level::Warning => Ok(()),
        Level::Problem => Err(Failure::Check(text)),
        Level::Unreachable | Level::Refused => Err(Failure::Unreachable(text)),
        Level::Configuration => Err(Failure::Usage(text)),
    }
}

/// What the configuration describes, or why it is refused.
fn configuration(config: &Config) -> (Vec<Finding>, Vec<Refusal>) {
    let setup = match setup::prepare(config, true) {
        Ok(setup) => setup,
        Err(refusals) => return (Vec::new(), refusals),
    };
    let names: Vec<_> = setup.contracts.iter().map(|contract| contract.name.as_str()).collect();
    let kpis = setup.catalog.definitions().len();
    let mut findings = vec![
        Finding::ok("contracts", names.join(", ")),
        Finding::ok("kpis", format!("{kpis} definitions{}", resting(&setup.catalog))),
        Finding::ok("calendar", calendar(config.time.calendar())),
    ];
    findings.extend(sent::sent(&config.lake.uri, &setup.contracts));
    (findings, Vec::new())
}

/// How many KPIs rest, and for want of which contracts.
fn resting(catalog: &Catalog) -> String {
    let resting = catalog.resting();
    if resting.is_empty() {
        return String::new();
    }
    let contracts: BTreeSet<&str> = resting
        .iter()
        .filter_map(|own| match &own.why {
            Why::NoTopic(contract) => Some(contract.as_str()),
            Why::Unfit(_) => None,
        })
        .collect();
    let unfit = resting.iter().filter(|own| matches!(own.why, Why::Unfit(_))).count();
    let contracts = contracts.into_iter().collect::<Vec<_>>().join(", ");
    let mut text = " in force".to_owned();
    if unfit < resting.len() {
        let idle = resting.len() - unfit;
        text.push_str(&format!("; {idle} rest, because no topic is of {contracts}"));
    }
    if unfit > 0 {
        text.push_str(&format!("; {unfit} rest, because they do not fit the contracts"));
    }
    text
}

/// Dead letters and rows in doubt.
fn waiting(root: &Path, contracts: &[Contract], topics: &Topics) -> Vec<Finding> {
    let Ok(lake) = Lake::open_reader(root) else { return Vec::new() };
    match Waiting::of(&lake, contracts, topics) {
        Ok(waiting) => {
            let found = |own: Line| Finding::new(&own.about, Level::Warning, own.text, own.advice);
            waiting.lines().into_iter().map(found).collect()
        }
        Err(error) => {
            let text = format!("cannot be counted: {error}");
            vec![Finding::new("dead letters", Level::Warning, text, "`weir verify` tells more")]
        }
    }
}

/// The calendar in words.
fn calendar(calendar: &Calendar) -> String {
    let shape = calendar.shape();
    let week = if shape.from_sunday { "Sunday" } else { "Monday" };
    let mut text = format!("days of {}, weeks from {week}", calendar.zone());
    if shape.year_from != 1 {
        text.push_str(&format!(", years from month {}", shape.year_from));
    }
    let zones: Vec<String> =
        calendar.zones().map(|(tenant, zone)| format!("{tenant} in {zone}")).collect();
    if !zones.is_empty() {
        text.push_str(&format!("; tenants with a zone of their own: {}", zones.join(", ")));
    }
    for (tenant, periods) in calendar.planned() {
        let of = tenant.map_or("all tenants".to_owned(), |tenant| format!("`{tenant}`"));
        let (times, first) =
            (periods.all_planned().intervals(), periods.all_planned().intervals().first());
        if let Some((from, _, title)) = first {
            let day = Micros::midnight(periods.day(*from)).date();
            text.push_str(&format!(
                "; planned for {of}: {} times, first {title} on {day}",
                times.len()
            ));
        }
    }
    if !calendar.is_utc() {
        text.push_str(&format!(" (zones of release {})", schemas::zone::release()));
    }
    text
}

fn check_file(config: &FileConfig) -> Finding {
    let subject = format!("files {}", config.path.display());
    match setup::files(&config.path) {
        Err(reason) => {
            Finding { advice: None, ..Finding::new(&subject, Level::Configuration, reason, "") }
        }
        Ok(0) => {
            let advice = "nothing will be read until files are there";
            Finding::new(&subject, Level::Warning, "the folder is empty", advice)
        }
        Ok(1) => Finding::ok(&subject, "can be read"),
        Ok(files) => Finding::ok(&subject, format!("{files} files can be read")),
    }
}

fn check_lake(root: &Path) -> Vec<Finding> {
    let subject = format!("lake {}", root.display());
    let mut findings = Vec::new();
    let exists = root.join("_weir").is_dir();
    match exists.then(|| Lake::open_reader(root)) {
        None | Some(Err(lake::LakeError::NoLake { .. })) => {
            findings.push(Finding::ok(&subject, "is not there yet; `weir run` creates it"));
        }
        Some(Ok(_)) => findings.push(match lock_holder(&root.join("_weir").join("lock")) {
            Some(process) => Finding::ok(&subject, format!("in use by process {process}")),
            None => Finding::ok(&subject, "not in use"),
        }),
        Some(Err(error)) => {
            let advice = "see the message; `weir verify` tells more";
            findings.push(Finding::new(&subject, Level::Problem, chain(&error), advice));
        }
    }
    let folder = nearest_folder(root);
    findings.push(check_writable(&folder));
    findings.push(check_space(&folder));
    findings
}

/// Holds `lake.work_dir` against where the lake has its ledger, control file and saved state.
fn check_work_dir(root: &Path, wanted: Option<&Path>) -> Option<Finding> {
    let subject = "working folder";
    let lake = Lake::open_reader(root).ok()?;
    Some(match lake.find_work_dir(wanted) {
        Ok(WorkDir { folder, is_own: false, is_used: false }) => {
            let text = format!("{} has none of the lake's files", folder.display());
            let advice = "fine before the first `weir run`; otherwise mount its disk or correct \
                          `lake.work_dir`: without them silver and gold are built again from bronze";
            Finding::new(subject, Level::Warning, text, advice)
        }
        Ok(found) => Finding::ok(subject, found.folder.display().to_string()),
        Err(error) => {
            let advice = "see the message; `weir run` would be refused";
            Finding::new(subject, Level::Problem, chain(&error), advice)
        }
    })
}

/// The process that holds the lake's lock. A shared lock is tried and given back at once.
fn lock_holder(lock: &Path) -> Option<String> {
    let mut file = File::open(lock).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            let read = file.read_to_string(&mut process).is_ok();
            let process = process.trim();
            Some(if read && !process.is_empty() { process.into() } else { "unknown".into() })
        }
        _ => None,
    }
}

/// Says how far back the log of bronze goes when the number of its entries allows less than is asked.
fn check_log(config: &Config) -> Option<Finding> {
    let settings = config.settings(Path::new(""));
    let entries = u32::try_from(LOG_ENTRIES_MAX).unwrap_or(u32::MAX);
    let allowed = settings.flush_interval.saturating_mul(entries);
    let wanted = settings.upkeep.log_retention;
    let hours = |span: Duration| format!("{:.1} h", span.as_secs_f64() / 3_600.0);
    (allowed < wanted).then(|| {
        let (allowed, wanted) = (hours(allowed), hours(wanted));
        Finding::ok(
            "log of bronze",
            format!("{entries} entries are kept, {allowed} of commits; `lake.log_retention` asks for {wanted}"),
        )
    })
}

/// The folder itself, or the nearest one above it that is there.
fn nearest_folder(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|folder| folder.is_dir());
    found.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

fn check_writable(folder: &Path) -> Finding {
    let subject = format!("folder {}", folder.display());
    let probe = folder.join(format!(".weir-check-{}", std::process::id()));
    match File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::ok(&subject, "can be written"),
        Err(error) => {
            let advice = "let this user write there, or set [lake] uri to another folder";
            Finding::new(&subject, Level::Problem, format!("cannot be written: {error}"), advice)
        }
    }
}

fn check_space(folder: &Path) -> Finding {
    let subject = "disk space";
    let Some(free) = free_kib(folder) else {
        let advice = "look for yourself: `df` gave no answer";
        return Finding::new(subject, Level::Warning, "free space is unknown", advice);
    };
    let text = format!("{} MiB free", output::count(free >> 10));
    let advice = "free some, or move the lake to a larger disk; weir holds epochs in memory while \
                  the disk is full";
    match free {
        0..FREE_NONE => Finding::new(subject, Level::Problem, text, advice),
        FREE_NONE..FREE_LOW => Finding::new(subject, Level::Warning, text, advice),
        _ => Finding::ok(subject, text),
    }
}

/// Free space in KiB, as `df` tells it: the system call needs code that this project does without.
fn free_kib(folder: &Path) -> Option<u64> {
    let answer = Process::new("df").arg("-Pk").arg(folder).output().ok()?;
    parse_df(&String::from_utf8_lossy(&answer.stdout))
}

fn parse_df(answer: &str) -> Option<u64> {
    answer.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

fn check_listen(config: &Config) -> Option<Finding> {
    let address = serve::address(config).ok()?;
    let subject = format!("listen {}", config.api.listen);
    Some(match std::net::TcpListener::bind(address) {
        Ok(_) => Finding::ok(&subject, "free"),
        Err(error) => {
            let advice = "fine while `weir run` runs; otherwise set [api] listen to a free port";
            Finding::new(&subject, Level::Warning, format!("cannot be bound: {error}"), advice)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit() {
        let at = |level| Finding::new("x", level, "y", "z");
        assert!(outcome(&[Finding::ok("a", "b"), at(Level::Warning)]).is_ok());
        assert!(matches!(outcome(&[at(Level::Problem)]), Err(Failure::Check(_))));
        let down = [at(Level::Problem), at(Level::Unreachable)];
        assert!(matches!(outcome(&down), Err(Failure::Unreachable(_))));
        let wrong = [at(Level::Configuration), at(Level::Unreachable)];
        assert!(matches!(outcome(&wrong), Err(Failure::Usage(_))));
    }

    #[test]
    fn reads_the_free_space_that_df_tells() {
        let answer = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                      overlay 100 40 60 40% /\n";
        assert_eq!(parse_df(answer), Some(60));
        assert_eq!(parse_df("df: no such file"), None);
    }

    #[test]
    fn names_the_process_that_holds_the_lake() {
        let folder = tempfile::tempdir().unwrap();
        let clock = std::sync::Arc::new(crate::wall_clock::WallClock);
        let root = folder.path().join("lake");
        assert!(check_lake(&root).iter().all(|finding| finding.level == Level::Ok));
        let lake = Lake::open_writer(&root, Duration::ZERO, clock).unwrap();
        let lock = root.join("_weir/lock");
        assert_eq!(lock_holder(&lock), Some(std::process::id().to_string()));
        drop(lake);
        assert_eq!(lock_holder(&lock), None);
    }

    #[test]
    fn a_working_folder_is_held_against_that_of_the_lake() {
        let place = tempfile::tempdir().unwrap();
        let (root, work) = (place.path().join("lake"), place.path().join("work"));
        assert!(check_work_dir(&root, None).is_none(), "no lake yet");
        let clock = std::sync::Arc::new(crate::wall_clock::WallClock);
        drop(Lake::open_writer_with(&root, Some(&work), Duration::ZERO, clock).unwrap());
        let level = |wanted| check_work_dir(&root, wanted).unwrap().level;
        assert_eq!(level(Some(&work)), Level::Warning, "nothing is there");
        std::fs::write(work.join("control.ndjson"), "").unwrap();
        assert_eq!(level(Some(&work)), Level::Ok);
        for wanted in [None, Some(place.path().join("other"))] {
            let found = check_work_dir(&root, wanted.as_deref()).unwrap();
            assert_eq!(found.level, Level::Problem);
            for says in ["control.ndjson", "/work", "lake.work_dir"] {
                assert!(found.text.contains(says), "{}", found.text);
            }
        }
        assert!(!place.path().join("other").exists(), "nothing is made");
    }

    #[test]
    fn a_file_source_that_is_missing_is_an_error_of_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = |path: PathBuf| FileConfig {
            snapshots: Default::default(),
            name: "file".into(),
            path,
            contract: None,
            topics: Default::default(),
        };
        assert_eq!(check_file(&config(folder.path().join("none"))).level, Level::Configuration);
        assert_eq!(check_file(&config(folder.path().to_path_buf())).level, Level::Warning);
        std::fs::write(folder.path().join("a.jsonl"), "{}").unwrap();
        assert_eq!(check_file(&config(folder.path().to_path_buf())).level, Level::Ok);
    }
}
