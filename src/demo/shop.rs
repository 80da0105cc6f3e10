//! The generated shop as a source: an embedded broker, a sender paced by the clock, and the
//! re-making of records for recovery.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::Topics;
use parking_lot::Mutex;
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::source::{
    EmbeddedBroker, EmbeddedSource, Lag, Limits, Progress, Pulled, Regenerate, Regenerated, Reread,
    Source, SourceError,
};
use schemas::{Clock, Micros, Span};
use serde::{Deserialize, Serialize};

use super::generator::{Generator, GeneratorConfig, Table};

/// The source's name, part of the app ids in the lake.
pub(crate) const SOURCE: &str = "demo";

/// The file in the lake's state folder by which a lake of the demo is recognised.
const PLAN_FILE: &str = "demo.json";

/// The generator's edition. It changes with the bytes of a seed.
const EDITION: u32 = 2;

/// The longest a sender sleeps before it looks whether it is to end.
const NAP: Duration = Duration::from_millis(50);

/// What is generated, as kept in the lake.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Which generator made it: another one gives other bytes for the same plan.
    #[serde(default)]
    edition: u32,
    seed: u64,
    start: i64,
    tenants: usize,
    history_days: u32,
    business_rate: f64,
    partitions: i32,
    #[serde(skip)]
    pub(crate) rate: f64,
    /// End after this many records.
    #[serde(skip)]
    pub(crate) events: Option<u64>,
}

impl Plan {
    /// A new plan: `business_rate` live records per second of generated time.
    pub(crate) fn new(seed: u64, start: Micros, history_days: u32, business_rate: f64) -> Plan {
        let usual = GeneratorConfig::new(seed, start);
        Plan {
            edition: EDITION,
            seed,
            start: start.0,
            tenants: usual.tenants,
            history_days,
            business_rate,
            partitions: usual.partitions,
            rate: business_rate,
            events: None,
        }
    }

    /// Whether a lake with this state folder is one of the demo.
    pub(crate) fn is_kept_in(state: &Path) -> bool {
        state.join(PLAN_FILE).is_file()
    }

    /// The plan that a lake holds, or this one, which the lake then holds.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn kept_in(self, state: &Path) -> Result<Plan, String> {
        let path = state.join(PLAN_FILE);
        let place = path.display();
        if path.is_file() {
            let text =
                std::fs::read(&path).map_err(|e| format!("could not read `{place}`: {e}"))?;
            let kept = serde_json::from_slice::<Plan>(&text);
            let kept = kept.map_err(|e| format!("`{place}` is no plan of a demo: {e}"))?;
            if kept.edition != EDITION {
                return Err(format!(
                    "`{place}` is of a demo of another version, whose shop had other records: give the demo an empty \
                     folder by `--lake`"
                ));
            }
            return Ok(Plan { rate: self.rate, events: self.events, ..kept });
        }
        let text = serde_json::to_vec_pretty(&self).map_err(|e| e.to_string())?;
        std::fs::write(&path, text).map_err(|e| format!("could not write `{place}`: {e}"))?;
        Ok(self)
    }

    /// Where history ends.
    pub(crate) fn start(&self) -> Micros {
        Micros(self.start)
    }

    /// The generator of this plan.
    pub(crate) fn config(&self) -> GeneratorConfig {
        GeneratorConfig {
            seed: self.seed,
            start: self.start(),
            tenants: self.tenants,
            history_days: self.history_days,
            rate: self.rate,
            business_rate: self.business_rate,
            partitions: self.partitions,
        }
    }
}

/// Topic to contract, for the pipeline.
pub(crate) fn topics() -> Topics {
    let entry = |table: Table| ((SOURCE.into(), table.topic().into()), table.name().into());
    Table::ALL.into_iter().map(entry).collect()
}

/// The source. Its sender starts when the pipeline says from which offsets on.
pub(crate) struct Shop {
    inner: EmbeddedSource,
    broker: Arc<EmbeddedBroker>,
    plan: Plan,
    clock: Arc<dyn Clock>,
    sender: Option<Sender>,
    seen: u64,
}

struct Sender {
    thread: std::thread::JoinHandle<()>,
    ended: Arc<Mutex<Option<u64>>>,
}

impl Shop {
    /// Starts the broker; sends nothing yet.
    ///
    /// # Errors
    /// When the embedded broker cannot start.
    pub(crate) fn new(plan: Plan, clock: Arc<dyn Clock>) -> Result<Shop, SourceError> {
        let topics = Table::ALL.map(|table| (table.topic(), plan.partitions));
        let broker = EmbeddedBroker::start(&topics)?;
        let again = Again(Mutex::new(Generator::new(plan.config())));
        let inner = EmbeddedSource::new(SOURCE, &broker, Box::new(again))?;
        Ok(Shop { inner, broker, plan, clock, sender: None, seen: 0 })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.broker.close();
        if let Some(sender) = self.sender.take() {
            drop(sender.thread.join());
        }
    }
}

struct Again(Mutex<Generator>);

impl Regenerate for Again {
    fn record(&self, topic: &str, partition: i32, offset: i64) -> Regenerated {
        let mut generator = self.0.lock();
        generator.record(topic, partition, offset).map_or_else(Regenerated::default, |event| {
            Regenerated {
                key: Some(event.key.to_vec()),
                value: event.value.map(<[u8]>::to_vec),
                timestamp: Some(event.timestamp.0.div_euclid(1000)),
            }
        })
    }
}

/// Sends until the broker is closed or `events` have been sent.
fn send(
    broker: &EmbeddedBroker,
    generator: &mut Generator,
    events: Option<u64>,
    clock: &dyn Clock,
) -> Result<u64, SourceError> {
    let mut sent = 0;
    while events.is_none_or(|events| sent < events) {
        let event = generator.next();
        while let Ok(early) = u64::try_from(event.at.0 - clock.now().0) {
            if early == 0 || broker.is_closed() {
                break;
            }
            std::thread::sleep(NAP.min(Duration::from_micros(early)));
        }
        let millis = event.timestamp.0.div_euclid(1000);
        broker.send(event.topic, event.partition, Some(event.key), event.value, Some(millis))?;
        sent += 1;
    }
    Ok(sent)
}

impl Source for Shop {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn replayable(&self) -> bool {
        self.inner.replayable()
    }

    fn start(&mut self, progress: &Progress) -> Result<(), SourceError> {
        self.inner.start(progress)?;
        let offset = |(of, reached): (&TopicPartition, &pipeline::source::Reached)| {
            ((of.topic.to_string(), of.partition), reached.next)
        };
        let offsets: BTreeMap<(String, i32), i64> = progress.iter().map(offset).collect();
        let done: i64 = offsets.values().sum();
        let left = |events: u64| events.saturating_sub(u64::try_from(done).unwrap_or(0));
        let events = self.plan.events.map(left);
        let mut generator = Generator::resume(self.plan.config(), &offsets);
        let (broker, clock) = (Arc::clone(&self.broker), Arc::clone(&self.clock));
        let ended = Arc::new(Mutex::new(None));
        let said = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            if let Ok(sent) = send(&broker, &mut generator, events, clock.as_ref()) {
                *said.lock() = Some(sent);
            }
        });
        self.sender = Some(Sender { thread, ended });
        Ok(())
    }

    fn stop_at_end(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    fn poll(
        &mut self,
        wait: Duration,
        linger: Duration,
        limits: &Limits,
        into: &mut Vec<RawBatch>,
    ) -> Result<Pulled, SourceError> {
        let mut pulled = self.inner.poll(wait, linger, limits, into)?;
        self.seen += pulled.records as u64;
        let ended = self.sender.as_ref().and_then(|sender| *sender.ended.lock());
        pulled.at_end = ended.is_some_and(|sent| self.seen >= sent);
        Ok(pulled)
    }

    fn reread<'a>(&'a mut self, spans: &'a [Span]) -> Result<Box<dyn Reread + 'a>, SourceError> {
        self.inner.reread(spans)
    }

    fn lag(&self) -> Vec<Lag> {
        self.inner.lag()
    }

    fn commit_group_offsets(&mut self, progress: &[(Arc<TopicPartition>, i64)]) {
        self.inner.commit_group_offsets(progress);
    }
}
