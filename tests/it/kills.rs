//! SIGKILL at random instants while Kafka is being read, and the proof that the oracle would notice.
//!
//! `tests/kill.sh 200` runs the first test with 200 kills.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{Log, Options, Report, Workload, check_lake};
use rand::Rng;
use rand::rngs::StdRng;

use crate::support::services::{self, BROKERS};
use crate::support::stream::{Producer, options, read_topics};
use crate::support::{Place, log_entries, seeded};

/// A kill comes this many milliseconds after the start, at random; later where starts take longer.
const KILL_AFTER: std::ops::Range<u64> = 50..1500;

/// The longest wait for a kill.
const KILL_AFTER_MAX: u64 = 10_000;

/// Two in three kills must find a run that has not ended; one in three one that has committed: where fewer have, the next
/// one waits for that.
const COMMITTED_SHARE: u64 = 3;

/// What happens between start and end.
struct Plan {
    name: &'static str,
    kills: u64,
    events: u64,
    program: Option<PathBuf>,
    defect: &'static str,
}

/// What happened.
struct Outcome {
    place: Place,
    topics: BTreeMap<String, String>,
    expected: Log,
    committed: u64,
    recovery: Vec<Duration>,
}

#[test]
fn kill_at_random_instants_loses_nothing_and_doubles_nothing() {
    let held = services::kafka();
    let kills = std::env::var("WEIR_KILLS").ok().map_or(20, |text| text.parse().unwrap());
    let events = (kills * 6_000).clamp(60_000, 400_000);
    let plan = Plan { name: "kill", kills, events, program: None, defect: "" };
    let outcome = plan.run(&mut seeded("kills on Kafka"));
    outcome.place.succeeds(&["run", "--until-end"]);
    let report = outcome.check();
    let mut recovery = outcome.recovery.clone();
    recovery.sort();
    let at = |share: usize| recovery.get((recovery.len() * share / 100).min(recovery.len() - 1));
    println!("Kafka: {kills} kills, {} after a new commit", outcome.committed);
    println!(
        "start to first commit: p50 {:?}, p95 {:?}, max {:?}",
        at(50),
        at(95),
        recovery.last()
    );
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.bronze.records, events);
    assert_eq!(report.bronze.unreadable_versions, 0);
    assert!(report.bronze.versions > outcome.committed);
    assert!(outcome.committed * COMMITTED_SHARE >= kills, "too few kills hit a run at work");
    // Alerts and scores too, against a run over the same epochs that nothing disturbed.
    let proof = outcome.place.succeeds(&["verify", "--deep", "--json"]).json();
    let alerts = proof["checks"].as_array().unwrap().iter().find(|c| c["check"] == "alerts");
    let alerts = &alerts.expect("alerts are compared")["counts"]["alerts"];
    println!("alerts compared with an undisturbed run: {alerts}");
    assert!(alerts.as_u64() > Some(0), "no alert, no proof");
    outcome.clean_up();
    drop(held);
}

/// Bronze that stores its progress in a commit of its own, before the rows, must not pass.
#[test]
fn kill_of_a_planted_defect_is_noticed() {
    let held = services::kafka();
    let program = Some(defective());
    let plan = Plan { name: "defect", kills: 6, events: 30_000, program, defect: "progress-apart" };
    let outcome = plan.run(&mut seeded("planted defect"));
    outcome.place.weir(&["run", "--until-end"]);
    let report = outcome.check();
    println!("planted defect `progress-apart`: {report}");
    let bronze = &report.bronze;
    assert!(bronze.drift + bronze.holes + bronze.lost > 0, "not noticed:\n{report}");
    assert!(!report.is_clean());
    outcome.clean_up();
    drop(held);
}

/// The binary with planted defects, built beside the product.
fn defective() -> PathBuf {
    let release = PathBuf::from(env!("CARGO_BIN_EXE_weir")).parent().unwrap().to_path_buf();
    let mut cargo = Command::new("cargo");
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Build scripts of dependencies watch variables that cargo sets for tests: with them, this build
    // and the next one outside of tests would compile everything again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") && !matches!(&*text, "CARGO_HOME" | "CARGO_TERM_COLOR") {
            cargo.env_remove(&name);
        }
    }
    cargo.args(["build", "--release", "--locked", "--features", "defects"]);
    cargo.args(["--bin", "weir-defective", "--target-dir"]).arg(release.parent().unwrap());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    release.join("weir-defective")
}

impl Plan {
    fn topic(&self, of: &str) -> String {
        let table = of.rsplit('.').next().unwrap();
        format!("it-{}-{}.{table}", self.name, std::process::id())
    }

    /// Produces, starts and kills; the lake is left as the last kill left it.
    fn run(&self, rng: &mut StdRng) -> Outcome {
        let (orders, costs) = (self.topic("shop.orders"), self.topic("shop.costs"));
        for topic in [&orders, &costs] {
            services::fresh_topic(topic, 4);
        }
        let mut place = Place::new().with_variable("WEIR_DEFECT", self.defect);
        if let Some(program) = &self.program {
            place = place.with_program(program.clone());
        }
        let before = "lake.flush_interval = \"100ms\"\nlake.barrier_interval = \"500ms\"\n";
        place.configure_kafka(before, BROKERS, &[(&orders, "orders"), (&costs, "costs")]);
        let stop = AtomicBool::new(false);
        let sent = AtomicU64::new(0);
        let seed = rng.random();
        let mut kills = Kills::new(rng, &place, &["run"], KILL_AFTER.end);
        std::thread::scope(|scope| {
            scope.spawn(|| self.produce(seed, &stop, &sent));
            for _ in 0..self.kills {
                assert!(kills.once(), "ended by itself");
            }
            stop.store(true, Ordering::SeqCst);
        });
        let Kills { committed, recovery, .. } = kills;
        let expected = read_topics(&[&orders, &costs]);
        assert_eq!(expected.len() as u64, self.events, "the broker holds what was produced");
        let topics = [(orders, "orders".into()), (costs, "costs".into())].into();
        Outcome { place, topics, expected, committed, recovery }
    }

    /// Evenly over the time that the kills are expected to take; what is left at their end at once.
    fn produce(&self, seed: u64, stop: &AtomicBool, sent: &AtomicU64) {
        const PART: u64 = 200;
        let mut orders = Producer::new(&self.topic("shop.orders"));
        let mut costs = Producer::new(&self.topic("shop.costs"));
        let time = Duration::from_millis(1_000 * self.kills);
        let begin = Instant::now();
        for record in Workload::new(options(seed, self.events)) {
            let producer = if record.topic.ends_with("orders") { &mut orders } else { &mut costs };
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            producer.send(key.unwrap_or_default(), value.unwrap_or_default());
            let sent = sent.fetch_add(1, Ordering::SeqCst) + 1;
            let due = time.mul_f64(sent as f64 / self.events as f64);
            if sent.is_multiple_of(PART) && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
        }
        orders.finish();
        costs.finish();
    }
}

/// Starts and kills.
pub(crate) struct Kills<'a> {
    rng: &'a mut StdRng,
    place: &'a Place,
    arguments: &'a [&'a str],
    end: u64,
    /// Kills, and those of runs that had committed to bronze.
    done: u64,
    pub(crate) committed: u64,
    recovery: Vec<Duration>,
}

impl<'a> Kills<'a> {
    /// Kills of `arguments`, within `end` milliseconds after each start.
    pub(crate) fn new(
        rng: &'a mut StdRng,
        place: &'a Place,
        arguments: &'a [&'a str],
        end: u64,
    ) -> Kills<'a> {
        Kills { rng, place, arguments, end, done: 0, committed: 0, recovery: Vec::new() }
    }

    /// Starts and kills once; false when the run had ended by itself.
    pub(crate) fn once(&mut self) -> bool {
        let entries = || log_entries(self.place.lake(), "bronze/changes").len();
        let before = entries();
        let mut run = self.place.start(self.arguments);
        let at = Duration::from_millis(self.rng.random_range(KILL_AFTER.start..self.end));
        let mut first_commit = None;
        let is_behind = self.committed * COMMITTED_SHARE < self.done;
        let latest = Duration::from_millis(KILL_AFTER_MAX);
        let waits = |since: Duration, committed: bool| {
            since < at || (is_behind && !committed && since < latest)
        };
        while waits(run.started.elapsed(), first_commit.is_some()) && run.is_running() {
            std::thread::sleep(Duration::from_millis(5));
            if first_commit.is_none() && entries() > before {
                first_commit = Some(run.started.elapsed());
            }
        }
        let ran = run.kill();
        self.done += 1;
        self.committed += u64::from(ran && first_commit.is_some());
        if first_commit.is_none() {
            self.end = (self.end * 3 / 2).min(KILL_AFTER_MAX);
        }
        self.recovery.extend(first_commit);
        ran
    }
}

impl Outcome {
    fn check(&self) -> Report {
        let options = Options { topics: self.topics.clone(), bronze_only: false };
        check_lake(self.place.lake(), Some(&self.expected), &options).unwrap()
    }

    fn clean_up(&self) {
        for topic in self.topics.keys() {
            services::script("kafka.sh", &["delete-topic", topic]);
        }
    }
}
