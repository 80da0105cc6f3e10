//! Lakes for tests: records go through the core, bronze and barriers as in a run, at chosen clocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gold::view_file::ViewFile;
use gold::{Catalog, CellRow, ViewTables};
use lake::Lake;
use pipeline::bronze::BronzeWriter;
use pipeline::record::{RawBatch, TopicPartition};
use schemas::{CONTROL, Clock, Contract, ControlRecord, Decision, Feed, Micros};
use serde_json::json;
use tokio::runtime::Runtime;

use super::super::{Report, Subject, verify};
use crate::core::Core;
use crate::core::epoch::Epoch;
use crate::flush::barrier::Flusher;
use crate::flush::recover::{Inputs, Recovered, recover};
use crate::{Stop, Topics, tokio_runtime};

const TOPIC: &str = "shop.public.orders";
const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;

/// A wall clock that stands still: lakes of tests are made at chosen instants.
#[derive(Debug)]
pub(in crate::verify) struct Still;

impl Clock for Still {
    fn now(&self) -> Micros {
        Micros(1_795_244_400_000_000)
    }
}

pub(super) struct Shop {
    pub(super) lake: Lake,
    pub(super) runtime: Runtime,
    /// The clock of the last epoch.
    pub(super) now: Micros,
    topic: String,
    key: &'static str,
    topics: Topics,
    pub(super) catalog: Arc<Catalog>,
    views: Vec<ViewFile>,
    core: Core,
    bronze: BronzeWriter,
    flusher: Flusher,
    stop: Stop,
    flushed: u64,
    next: BTreeMap<i32, i64>,
    holes: BTreeMap<i32, i64>,
    _folder: tempfile::TempDir,
}

pub(super) fn contracts() -> Vec<Contract> {
    let built_in = schemas::contract::built_in();
    built_in.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect()
}

/// A live change of an order that was placed the day before.
pub(super) fn order(id: &str, lsn: u64, amount: &str, status: &str) -> String {
    json!({
        "op": "u",
        "before": null,
        "after": {
            "order_id": id,
            "tenant_id": "t1",
            "customer_id": format!("c-{id}"),
            "status": status,
            "amount": amount,
            "currency": "EUR",
            "channel": "web",
            "campaign": null,
            "placed_at": "2026-11-20T10:15:00Z",
            "recognized_at": (status == "recognized").then_some("2026-11-20T12:00:00Z"),
            "updated_at": "2026-11-21T07:00:00Z",
        },
        "source": { "lsn": lsn, "ts_ms": 1_795_244_400_000_u64 + lsn, "snapshot": "false" },
        "ts_ms": 1_795_244_400_000_u64,
    })
    .to_string()
}

pub(super) fn deleted(id: &str, lsn: u64) -> String {
    json!({
        "op": "d",
        "before": { "order_id": id },
        "after": null,
        "source": { "lsn": lsn, "ts_ms": 1_795_244_400_000_u64 + lsn, "snapshot": "false" },
    })
    .to_string()
}

/// A charge for the first hour of a day; the first position is that of a snapshot.
pub(super) fn charge(id: &str, tenant: &str, day: Micros, cost: &str, lsn: u64) -> String {
    let is_snapshot = lsn == 1;
    json!({
        "op": if is_snapshot { "r" } else { "c" },
        "before": null,
        "after": {
            "charge_id": id,
            "tenant_id": tenant,
            "service_name": "db",
            "charge_category": "Usage",
            "billed_cost": cost,
            "effective_cost": cost,
            "billing_currency": "USD",
            "resource_id": null,
            "charge_period_start": day.to_string(),
            "charge_period_end": day.plus(3_600 * SECOND).to_string(),
            "tags": null,
            "updated_at": "2026-11-21T07:00:00Z",
        },
        "source": {
            "lsn": lsn,
            "ts_ms": 1_795_244_400_000_u64 + lsn,
            "snapshot": if is_snapshot { "true" } else { "false" },
        },
        "ts_ms": 1_795_244_400_000_u64,
    })
    .to_string()
}

fn inputs(lake: &Lake, topics: &Topics, contracts: Vec<Contract>, views: &[ViewFile]) -> Inputs {
    let views = gold::view_file::accept(views, &contracts).unwrap();
    let catalog = gold::catalog::with_built_in(Vec::new(), &contracts, views).unwrap();
    let catalog = Arc::unwrap_or_clone(catalog).with_view_tables(ViewTables::Own);
    let catalog = Arc::new(catalog);
    Inputs {
        now: Still.now(),
        lake: lake.clone(),
        ledger_dir: lake.state_dir().join("ledger"),
        durable: false,
        silver: lake::keyed::Deletes::Mark,
        contracts,
        topics: topics.clone(),
        catalog,
        meters: Arc::default(),
        definitions: Vec::new(),
    }
}

impl Shop {
    pub(super) fn new() -> Shop {
        Shop::with_topic(TOPIC)
    }

    pub(super) fn with_topic(topic: &str) -> Shop {
        Shop::of(topic, "orders", "order_id", Vec::new())
    }

    /// Orders, and these views over them.
    pub(super) fn with_views(views: Vec<ViewFile>) -> Shop {
        Shop::of(TOPIC, "orders", "order_id", views)
    }

    /// Nine days of the same cost, then a charge that is none of the usual ones.
    pub(super) fn alarmed() -> Shop {
        let mut shop = Shop::of_costs();
        let today = shop.now.0.div_euclid(DAY) * DAY;
        let names: Vec<String> = (0..9).map(|day| format!("c{day}")).collect();
        let charges = (0_i64..).zip(&names);
        let history: Vec<_> = charges
            .map(|(day, name)| {
                let charge = charge(name, "t1", Micros(today - day * DAY), "100", 1);
                (0, name.as_str(), Some(charge))
            })
            .collect();
        shop.epoch(&history);
        shop.tick();
        shop.epoch(&[(0, "more", Some(charge("more", "t1", Micros(today), "50", 2)))]);
        shop.tick();
        shop.flush();
        shop
    }

    pub(super) fn of_costs() -> Shop {
        Shop::of("shop.public.costs", "costs", "charge_id", Vec::new())
    }

    fn of(topic: &str, contract: &str, key: &'static str, views: Vec<ViewFile>) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("lake");
        let lake = Lake::open_writer(&root, Duration::ZERO, Arc::new(Still)).unwrap();
        let runtime = tokio_runtime().unwrap();
        let topics: Topics = [(("kafka".to_owned(), topic.to_owned()), contract.into())].into();
        let inputs = inputs(&lake, &topics, contracts(), &views);
        let (catalog, stop) = (Arc::clone(&inputs.catalog), Stop::default());
        let recovered = recover(&inputs, &mut [], runtime.handle(), &stop).unwrap();
        let Recovered { core, bronze, flusher, .. } = recovered;
        Shop {
            lake,
            runtime,
            now: Micros::parse("2026-11-21T07:00:00Z").unwrap(),
            topic: topic.to_owned(),
            key,
            topics,
            catalog,
            views,
            core,
            bronze,
            flusher,
            stop,
            flushed: 0,
            next: BTreeMap::new(),
            holes: BTreeMap::new(),
            _folder: folder,
        }
    }

    /// The same lake under a new process, which begins with a tick.
    pub(super) fn restart(self) -> Shop {
        let Shop { core, bronze, flusher, .. } = self;
        drop((core, bronze, flusher));
        let inputs = inputs(&self.lake, &self.topics, contracts(), &self.views);
        let stop = Stop::default();
        let recovered = recover(&inputs, &mut [], self.runtime.handle(), &stop).unwrap();
        let Recovered { core, bronze, flusher, .. } = recovered;
        let mut shop = Shop { core, bronze, flusher, stop, ..self };
        shop.catalog = inputs.catalog;
        shop.tick();
        shop
    }

    /// The same with other views.
    pub(super) fn restart_with(mut self, views: Vec<ViewFile>) -> Shop {
        self.views = views;
        self.restart()
    }

    /// Orders placed, changed, cancelled, deleted and restated, a poisoned record, two barriers.
    pub(super) fn filled() -> Shop {
        let mut shop = Shop::new();
        shop.epoch(&[
            (0, "1", Some(order("1", 10, "10.50", "placed"))),
            (0, "2", Some(order("2", 11, "20", "placed"))),
            (1, "3", Some(order("3", 12, "30", "cancelled"))),
        ]);
        shop.epoch(&[(0, "4", Some(order("4", 13, "44.0001", "recognized"))), (1, "5", None)]);
        shop.tick();
        shop.flush();
        shop.epoch(&[
            (0, "1", Some(order("1", 20, "11", "recognized"))),
            (0, "2", Some(deleted("2", 21))),
            (0, "2", None),
            (1, "6", Some("{poison".to_owned())),
        ]);
        // Late: order 3 was changed at a higher position before.
        shop.epoch(&[
            (1, "3", Some(order("3", 12, "31", "paid"))),
            (0, "7", Some(order("7", 30, "7", "paid"))),
        ]);
        shop.epoch(&[(1, "3", Some(order("3", 40, "30", "cancelled")))]);
        shop.tick();
        shop.flush();
        shop
    }

    /// The number of the last epoch.
    pub(super) fn last(&self) -> u64 {
        self.core.last().unwrap().id
    }

    pub(super) fn subject(&self) -> Subject {
        Subject {
            lake: self.lake.clone(),
            contracts: contracts(),
            catalog: Arc::clone(&self.catalog),
            definitions: Vec::new(),
            topics: self.topics.clone(),
            skips: Default::default(),
        }
    }

    pub(super) fn verify(&self, deep: bool) -> Report {
        verify(&self.subject(), deep).unwrap()
    }

    /// One epoch of (partition, key, value), a second later.
    pub(super) fn epoch(&mut self, records: &[(i32, &str, Option<String>)]) {
        self.now = self.now.plus(SECOND);
        let mut batches: BTreeMap<i32, RawBatch> = BTreeMap::new();
        for (partition, key, value) in records {
            let next = self.next.entry(*partition).or_insert(0);
            let batch = batches.entry(*partition).or_insert_with(|| {
                let mut batch = RawBatch::new(Arc::new(TopicPartition {
                    source: "kafka".into(),
                    topic: self.topic.as_str().into(),
                    incarnation: "i1".into(),
                    partition: *partition,
                }));
                *next += self.holes.remove(partition).unwrap_or(0);
                batch.set_first_prev_offset(*next);
                batch
            });
            let key = json!({ (self.key): key }).to_string();
            let value = value.as_ref().map(String::as_bytes);
            batch.push(*next, Some(self.now.0 / 1000), Some(key.as_bytes()), value, &[]);
            *next += 1;
        }
        let epoch = self.core.cut(batches.into_values().collect(), self.now);
        self.process(epoch);
    }

    /// Time passes: every timer of the history fires.
    pub(super) fn tick(&mut self) {
        self.now = self.now.plus(20 * SECOND);
        self.process(Epoch::tick(self.core.last(), self.now));
    }

    /// The next epoch goes on so many offsets later, as if they were lost on the way.
    pub(super) fn skip_offsets(&mut self, partition: i32, offsets: i64) {
        self.holes.insert(partition, offsets);
    }

    /// All values of its core.
    pub(super) fn cells(&self) -> Vec<CellRow> {
        self.core.gold().snapshot()
    }

    /// What it is after a start with these contracts; what a feed hears before that goes to `feed`.
    pub(super) fn restarted(&self, contracts: Vec<Contract>, feed: Box<dyn Feed>) -> Recovered {
        let inputs = inputs(&self.lake, &self.topics, contracts, &self.views);
        let stop = Stop::default();
        recover(&inputs, &mut [feed], self.runtime.handle(), &stop).unwrap()
    }

    /// Somebody decides, in an epoch of its own.
    pub(super) fn decide(&mut self, decision: Decision) {
        self.now = self.now.plus(SECOND);
        let mut batch = RawBatch::new(Arc::new(TopicPartition {
            source: CONTROL.into(),
            topic: CONTROL.into(),
            incarnation: "i1".into(),
            partition: 0,
        }));
        batch.set_first_prev_offset(0);
        let (id, by) = ("d1".to_owned(), "a test".to_owned());
        let record = ControlRecord { id, at: self.now, by, decision }.to_json();
        batch.push(0, Some(self.now.0 / 1000), None, Some(record.as_bytes()), &[]);
        let epoch = self.core.cut(vec![batch], self.now);
        self.process(epoch);
    }

    /// Whether its start computed KPIs anew because that was decided.
    pub(super) fn is_repaired(&self) -> bool {
        self.core.is_repaired()
    }

    fn process(&mut self, epoch: Epoch) {
        let (records, _) = self.core.fold(epoch);
        self.bronze.append(Arc::new(records)).unwrap();
    }

    pub(super) fn commit_bronze(&mut self) {
        self.runtime.block_on(self.bronze.commit(self.flushed)).unwrap();
    }

    /// Alerts in memory.
    pub(super) fn alerts_held(&self) -> usize {
        self.core.watch().slots().len()
    }

    /// Bronze, and a barrier that nobody is told of, as before a crash.
    pub(super) fn flush_unsaid(&mut self) -> u64 {
        self.commit_bronze();
        let job = self.core.barrier().unwrap();
        let epoch = job.stamp.id;
        assert!(self.flusher.flush(job), "{:?}", self.stop.failure());
        epoch
    }

    /// Bronze, a barrier, and the word that it is complete.
    pub(super) fn flush(&mut self) {
        self.flushed = self.flush_unsaid();
        self.commit_bronze();
    }
}
