//! Whatever happens to clients: what they hold is what was published, at every offset they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::Grain;
use serde_json::{Value, json};

use super::history::{KPIS, Shared, TENANTS, many, random_changes};
use super::support::{ALL, Client, Heard, Server, quick};
use crate::store::CellFilter;
use crate::stream::StreamLimits;

/// A client that believes nothing.
struct Follower {
    filter: CellFilter,
    wish: Value,
    history: Shared,
    cells: BTreeMap<String, String>,
    /// What it has everything up to.
    reached: u64,
    /// The offset of an update of which more pages are to come.
    pending: Option<u64>,
    has_snapshot: bool,
    /// Nothing has answered its wish to go on yet.
    is_asking: bool,
    frames: u64,
}

fn split(cell: &Value) -> (String, String) {
    // A window moves, and is one cell.
    let is_window = cell["grain"] == Grain::Last7Days.name();
    let start = if is_window { &Value::Null } else { &cell["period_start"] };
    let name = json!({
        "kpi": cell["kpi"], "tenant": cell["tenant"], "dims": cell["dims"],
        "grain": cell["grain"], "period_start": start,
    });
    let value = cell["value"].as_str().map_or_else(|| "null".to_owned(), str::to_owned);
    (name.to_string(), value)
}

impl Follower {
    fn new(filter: CellFilter, wish: Value, history: &Shared) -> Follower {
        let history = Shared::clone(history);
        let (cells, reached, pending) = (BTreeMap::new(), 0, None);
        Follower {
            filter,
            wish,
            history,
            cells,
            reached,
            pending,
            has_snapshot: false,
            is_asking: false,
            frames: 0,
        }
    }

    async fn begin(&mut self, server: &Server, token: &str) -> Client {
        let mut client = server.connect(token).await;
        let mut frame = json!({
            "type": "subscribe", "id": 9, "channel": "kpi", "filter": self.wish,
        });
        // Pages of an unfinished update may have been applied: they come again.
        self.pending = None;
        self.is_asking = self.has_snapshot;
        if self.has_snapshot {
            frame["since"] = json!({"generation": "g1", "offset": self.reached});
        }
        client.say(&frame).await;
        client
    }

    fn take(&mut self, frame: &Value) {
        self.frames += 1;
        let offset = frame["offset"].as_u64().unwrap();
        match frame["type"].as_str().unwrap() {
            "subscribed" => {
                self.is_asking = false;
                assert_eq!(frame["recovered"], true, "{frame}");
                assert_eq!(offset, self.reached);
            }
            "snapshot" => self.take_snapshot(frame, offset),
            "kpi_update" => self.take_update(frame, offset),
            "progress" => {
                assert!(!self.is_asking, "progress before its only subscription");
                assert_eq!(self.pending, None, "progress amid an update");
                assert!(offset >= self.reached, "{offset} after {}", self.reached);
                self.reached = offset;
                self.compare();
            }
            other => panic!("{other}"),
        }
    }

    fn take_snapshot(&mut self, frame: &Value, offset: u64) {
        assert!(!self.has_snapshot);
        for cell in frame["upserts"].as_array().unwrap() {
            let (name, value) = split(cell);
            assert_eq!(self.cells.insert(name, value), None, "twice in a snapshot: {cell}");
        }
        if frame["more"] == false {
            (self.has_snapshot, self.reached) = (true, offset);
            self.compare();
        }
    }

    fn take_update(&mut self, frame: &Value, offset: u64) {
        assert!(self.has_snapshot);
        match self.pending {
            Some(pending) => assert_eq!(offset, pending, "pages belong together"),
            None => assert!(offset > self.reached, "{offset} after {}", self.reached),
        }
        let lists = [&frame["upserts"], &frame["deletes"]].map(|list| list.as_array().unwrap());
        assert!(lists.iter().any(|list| !list.is_empty()), "an update of nothing");
        let history = self.history.lock();
        for (list, gone) in lists.into_iter().zip([false, true]) {
            for cell in list {
                let (name, value) = split(cell);
                assert!(
                    history.changed(&name, self.reached, offset),
                    "it did not change after {} up to {offset}: {name}",
                    self.reached
                );
                if gone {
                    self.cells.remove(&name);
                } else {
                    self.cells.insert(name, value);
                }
            }
        }
        drop(history);
        self.pending = (frame["more"] == true).then_some(offset);
        if self.pending.is_none() {
            self.reached = offset;
            self.compare();
        }
    }

    fn compare(&self) {
        let expected = self.history.lock().at(&self.filter, self.reached);
        assert_eq!(self.cells, expected, "at {} of {:?}", self.reached, self.filter);
    }

    /// Until it has everything up to `last`; with `drops` it reconnects now and then, with `naps`
    /// it does not read for a while.
    async fn follow(mut self, server: &Server, token: &str, last: u64, drops: f64, naps: f64) {
        let mut rng = StdRng::seed_from_u64(token.len() as u64 + last);
        let mut client = self.begin(server, token).await;
        while self.reached < last {
            match client.next().await {
                Heard::Frame(frame) if frame["type"] == "connected" => {}
                Heard::Frame(frame) => self.take(&frame),
                other => panic!("{other:?}"),
            }
            if drops > 0.0 && rng.random_bool(drops) {
                drop(client);
                client = self.begin(server, token).await;
            }
            if naps > 0.0 && rng.random_bool(naps) {
                tokio::time::sleep(Duration::from_millis(rng.random_range(0..80))).await;
            }
        }
        self.compare();
    }
}

/// A random filter, as the store means it and as a client says it, and a token that it needs.
fn random_wish(rng: &mut StdRng) -> (CellFilter, Value, String) {
    let mut filter = CellFilter::default();
    let mut wish = json!({});
    let tenant = TENANTS[rng.random_range(0..3)];
    let mut token = ALL.to_owned();
    match rng.random_range(0..3) {
        0 => {}
        1 => {
            filter.tenant = Some(tenant.into());
            wish["tenant"] = tenant.into();
        }
        _ => {
            // It does not ask for a tenant, but may see one only.
            filter.tenant = Some(tenant.into());
            token = format!("bob {tenant} kpi:read 3600");
        }
    }
    if rng.random_bool(0.5) {
        let kpis: BTreeSet<&str> = (0..2).map(|_| KPIS[rng.random_range(0..3)]).collect();
        wish["kpi"] = json!(kpis);
        filter.kpis = Some(kpis.into_iter().map(Into::into).collect());
    }
    if rng.random_bool(0.3) {
        filter.dims.or("currency", "EUR");
        wish["dims"] = json!({"currency": ["EUR", "EUR"]});
    }
    let grain = match rng.random_range(0..4) {
        0 => Some(Grain::Day),
        1 => Some(Grain::Last7Days),
        _ => None,
    };
    if let Some(grain) = grain {
        filter.grain = Some(grain);
        wish["grain"] = grain.name().into();
    }
    if grain != Some(Grain::Last7Days) && rng.random_bool(0.3) {
        let from = Grain::Day.start(schemas::Micros(1_795_000_000_000_000 - 86_400_000_000));
        filter.from = Some(from);
        wish["from"] = from.to_string().into();
    }
    (filter, wish, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_has_exactly_what_was_published() {
    const EPOCHS: u64 = 400;
    let server = std::sync::Arc::new(Server::start(quick()).await);
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..30 {
        server.publish(random_changes(&mut rng));
    }
    let mut clients = Vec::new();
    for number in 0..36 {
        let (filter, wish, token) = random_wish(&mut rng);
        let follower = Follower::new(filter, wish, &server.history);
        let of_client = std::sync::Arc::clone(&server);
        let (drops, naps) = [(0.0, 0.0), (0.05, 0.0), (0.0, 0.3)][number % 3];
        let late = Duration::from_millis(rng.random_range(0..600));
        clients.push(tokio::spawn(async move {
            tokio::time::sleep(late).await;
            follower.follow(&of_client, &token, 30 + EPOCHS + 1, drops, naps).await;
        }));
    }
    for _ in 0..EPOCHS {
        server.publish(random_changes(&mut rng));
        if rng.random_bool(0.7) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..6))).await;
        }
    }
    // The last epoch changes nothing that anybody wants to see: progress alone tells of it.
    server.publish(Vec::new());
    for client in clients {
        client.await.unwrap();
    }
    let counters = server.streams.counters();
    assert!(counters.resumed > 10, "{counters:?}");
    assert_eq!(counters.snapshots, 36, "{counters:?}");
    assert!(counters.closes.is_empty(), "{counters:?}");
    server.wait_for("places come back", |streams| streams.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_epochs_come_in_pages() {
    let server = Server::start(quick()).await;
    server.publish(many(1_700, 0));
    let mut follower = Follower::new(CellFilter::default(), json!({}), &server.history);
    let mut client = follower.begin(&server, ALL).await;
    let mut pages = 0;
    while follower.reached < 2 {
        if follower.has_snapshot && server.history.lock().last == 1 {
            assert_eq!(pages, 5, "64 KiB a page");
            server.publish(many(1_700, 1));
        }
        let Heard::Frame(frame) = client.next().await else { panic!("closed") };
        follower.take(&frame);
        pages += 1;
    }
    assert_eq!(follower.cells.len(), 1_700);
}

/// A hundred epochs of 1,500 cells are more than a socket holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_gets_the_newest_values() {
    // It does not read for as long as publishing takes, which a busy machine stretches.
    let wait = Duration::from_secs(300);
    let limits = StreamLimits { send_timeout: wait, ping_interval: wait, ..quick() };
    let server = Server::start(limits).await;
    server.publish(many(1_500, 0));
    let mut sleeper = Follower::new(CellFilter::default(), json!({}), &server.history);
    let mut client = sleeper.begin(&server, ALL).await;
    for round in 1..=100 {
        server.publish(many(1_500, round));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while sleeper.reached < 101 {
        let Heard::Frame(frame) = client.next().await else { panic!("closed") };
        sleeper.take(&frame);
    }
    assert!(sleeper.frames < 250, "{} frames of 500", sleeper.frames);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_closed_and_disturbs_nobody() {
    let limits = StreamLimits { send_timeout: Duration::from_secs(6), ..quick() };
    let server = std::sync::Arc::new(Server::start(limits).await);
    server.publish(many(1_500, 0));
    let mut never = Follower::new(CellFilter::default(), json!({}), &server.history);
    let client = never.begin(&server, ALL).await;
    let follower = Follower::new(CellFilter::default(), json!({}), &server.history);
    let of_client = std::sync::Arc::clone(&server);
    let other = tokio::spawn(async move { follower.follow(&of_client, ALL, 101, 0.0, 0.0).await });
    for round in 1..=100 {
        server.publish(many(1_500, round));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    server.wait_for("slow", |streams| streams.counters().slow_closes() == 1).await;
    other.await.unwrap();
    server.wait_for("its place", |streams| streams.connections() == 0).await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_with_one_filter_get_fewer_frames() {
    const CLIENTS: u32 = 60;
    let limits = StreamLimits {
        pace: Duration::from_millis(1),
        progress_interval: Duration::from_secs(2),
        ..quick()
    };
    let server = std::sync::Arc::new(Server::start(limits).await);
    server.publish(many(300, 0));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let follower = Follower::new(CellFilter::default(), json!({}), &server.history);
        let of_client = std::sync::Arc::clone(&server);
        clients.push(tokio::spawn(async move {
            follower.follow(&of_client, ALL, 81, 0.0, 0.0).await;
        }));
    }
    server.wait_for("all are there", |s| s.counters().snapshots == u64::from(CLIENTS)).await;
    let before = server.streams.counters().frames;
    let begin = std::time::Instant::now();
    for round in 1..=80 {
        server.publish(many(3, round));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let each = (server.streams.counters().frames - before) / u64::from(CLIENTS);
    // 60 subscribers and 1 ms for each of them: a frame every 60 ms, and now and then progress.
    let most = begin.elapsed().as_millis() / 60 + 4;
    assert!(u128::from(each) <= most, "{each} frames each, {most} expected");
}
