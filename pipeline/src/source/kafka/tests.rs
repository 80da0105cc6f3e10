//! Against librdkafka's mock cluster.

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::*;
use crate::source::Reached;
use crate::source::Step;
use crate::source::reread::{self, read_again};

type Mock = MockCluster<'static, DefaultProducerContext>;

const WIDE: Limits = Limits {
    records: 100_000,
    bytes: 1 << 30,
    partition_records: 100_000,
    partition_bytes: 1 << 30,
};

fn config(brokers: &str, topics: &[&str]) -> KafkaConfig {
    let named = topics.iter().map(|t| ((*t).to_owned(), "orders".into())).collect();
    KafkaConfig { refresh_ms: 200, ask_broker: Some(1), ..KafkaConfig::new(brokers, named) }
}

fn produce(mock: &Mock, topic: &str, partition: i32, values: std::ops::Range<u32>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
    for value in values {
        let text = value.to_string();
        let headers = rdkafka::message::OwnedHeaders::new()
            .insert(rdkafka::message::Header { key: "h", value: Some("1") })
            .insert(rdkafka::message::Header { key: "none", value: None::<&str> });
        let mut record = BaseRecord::to(topic).partition(partition).key("k").timestamp(1_700);
        record = record.payload(&text).headers(headers);
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn started(config: KafkaConfig, progress: &Progress) -> KafkaSource {
    let mut source = KafkaSource::new(config).unwrap();
    source.start(progress).unwrap();
    source
}

/// Polls until `done` says so, or 20 s.
fn collect(
    source: &mut KafkaSource,
    limits: &Limits,
    mut done: impl FnMut(&[RawBatch], &[Notice]) -> bool,
) -> (Vec<RawBatch>, Vec<Notice>) {
    let (mut batches, mut notices) = (Vec::new(), Vec::new());
    let until = Instant::now() + Duration::from_secs(20);
    while !done(&batches, &notices) {
        assert!(Instant::now() < until, "{notices:?} {batches:?}");
        let wait = Duration::from_millis(50);
        let pulled = source.poll(wait, Duration::from_millis(5), limits, &mut batches).unwrap();
        notices.extend(pulled.notices);
    }
    (batches, notices)
}

fn count(batches: &[RawBatch]) -> usize {
    batches.iter().map(RawBatch::len).sum()
}

fn values(batches: &[RawBatch], topic: &str, partition: i32) -> Vec<u32> {
    let text = |v: Option<&[u8]>| std::str::from_utf8(v.unwrap()).unwrap().parse().unwrap();
    batches
        .iter()
        .filter(|b| *b.topic().topic == *topic && b.topic().partition == partition)
        .flat_map(|b| b.iter().map(|r| text(r.value)).collect::<Vec<u32>>())
        .collect()
}

fn span(partition: &TopicPartition, from: i64, to: i64) -> Span {
    Span {
        source: partition.source.to_string(),
        topic: partition.topic.to_string(),
        incarnation: partition.incarnation.to_string(),
        partition: partition.partition,
        from,
        to,
    }
}

#[test]
fn records_arrive_whole_in_order_from_every_partition() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 2, 1).unwrap();
    produce(&mock, "orders", 0, 0..500);
    produce(&mock, "orders", 1, 500..700);
    let brokers = mock.bootstrap_servers();
    let mut source = started(config(&brokers, &["orders"]), &Progress::new());
    let (batches, notices) = collect(&mut source, &WIDE, |b, _| count(b) == 700);
    assert_eq!(values(&batches, "orders", 0), (0..500).collect::<Vec<_>>());
    assert_eq!(values(&batches, "orders", 1), (500..700).collect::<Vec<_>>());
    let assigned = |n: &&Notice| matches!(n, Notice::Assigned { from: 0, .. });
    assert_eq!(notices.iter().filter(assigned).count(), 2, "{notices:?}");
    let record = batches[0].get(0).unwrap();
    assert_eq!((record.offset, record.prev_offset), (0, 0));
    assert_eq!((record.key, record.timestamp), (Some(&b"k"[..]), Some(schemas::Micros(1_700_000))));
    assert_eq!(record.headers.len(), 2);
    assert_eq!((&*record.headers[0].key, &record.headers[1].value), ("h", &None));
    let id = &batches[0].topic().incarnation;
    assert_eq!(id.len(), 22, "a topic id: {id}");
}

#[test]
fn progress_is_continued_and_spans_are_read_again() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 1, 1).unwrap();
    produce(&mock, "orders", 0, 0..300);
    let brokers = mock.bootstrap_servers();
    let mut first = started(config(&brokers, &["orders"]), &Progress::new());
    let (batches, _) = collect(&mut first, &WIDE, |b, _| count(b) == 300);
    let partition = Arc::clone(batches[0].topic());
    drop(first);
    let reached = Reached { next: 250, last: None };
    let progress = [((*partition).clone(), reached)].into_iter().collect();
    let mut second = started(config(&brokers, &["orders"]), &progress);
    let (batches, _) = collect(&mut second, &WIDE, |b, _| count(b) == 50);
    assert_eq!(values(&batches, "orders", 0), (250..300).collect::<Vec<_>>());
    assert_eq!(batches[0].span(), Some((250, batches[0].len() as i64 + 250)));

    let soon = || Instant::now() + Duration::from_secs(10);
    let spans = [span(&partition, 10, 40), span(&partition, 40, 40), span(&partition, 40, 300)];
    let again = read_again(&mut second, &spans, soon()).unwrap();
    assert_eq!(again.iter().map(RawBatch::len).collect::<Vec<_>>(), [30, 0, 260]);
    assert_eq!(again[0].span(), Some((10, 40)));
    assert_eq!(values(&again, "orders", 0), (10..300).collect::<Vec<_>>());
    let lost = read_again(&mut second, &[span(&partition, 290, 301)], soon()).unwrap_err();
    assert!(lost.to_string().contains("ends at 300"), "{lost}");
    let mut other = span(&partition, 0, 1);
    other.incarnation = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let lost = read_again(&mut second, &[other], soon()).unwrap_err();
    assert!(lost.to_string().contains("created again"), "{lost}");
}

#[test]
fn one_poll_keeps_to_its_limits_and_a_backlog_starves_nobody() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("big", 1, 1).unwrap();
    mock.create_topic("small", 1, 1).unwrap();
    produce(&mock, "big", 0, 0..20_000);
    produce(&mock, "small", 0, 0..5);
    let mut source =
        started(config(&mock.bootstrap_servers(), &["big", "small"]), &Progress::new());
    let limits = Limits { records: 1_000, partition_records: 400, ..WIDE };
    let (mut all, mut polls) = (Vec::new(), 0);
    while count(&all) < 20_005 {
        let mut batches = Vec::new();
        let wait = Duration::from_millis(500);
        let pulled = source.poll(wait, Duration::from_millis(5), &limits, &mut batches).unwrap();
        assert!(batches.iter().all(|b| b.len() <= 400) && count(&batches) <= 1_000);
        assert_eq!(pulled.records, count(&batches));
        polls += 1;
        assert!(polls < 2_000);
        all.append(&mut batches);
        if polls == 5 {
            // By now everything is fetched, and the backlog waits in its queue.
            std::thread::sleep(Duration::from_millis(500));
        } else if polls == 6 {
            assert_eq!(values(&all, "small", 0).len(), 5, "starved");
        }
    }
    assert_eq!(values(&all, "big", 0), (0..20_000).collect::<Vec<_>>());
}

#[test]
fn a_missing_topic_is_named_and_read_when_it_appears() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 1, 1).unwrap();
    produce(&mock, "orders", 0, 0..3);
    let brokers = mock.bootstrap_servers();
    let mut source = started(config(&brokers, &["orders", "later"]), &Progress::new());
    let is_missing =
        |n: &Notice| matches!(n, Notice::TopicMissing { topic } if &**topic == "later");
    let (batches, _) =
        collect(&mut source, &WIDE, |b, n| count(b) == 3 && n.iter().any(is_missing));
    assert_eq!(count(&batches), 3);
    mock.create_topic("later", 1, 1).unwrap();
    produce(&mock, "later", 0, 0..4);
    let (batches, _) = collect(&mut source, &WIDE, |b, _| count(b) == 4);
    assert_eq!(values(&batches, "later", 0), [0, 1, 2, 3]);
}

#[test]
fn the_end_is_fixed_once() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 2, 1).unwrap();
    produce(&mock, "orders", 0, 0..100);
    let mut source = started(config(&mock.bootstrap_servers(), &["orders"]), &Progress::new());
    source.stop_at_end().unwrap();
    produce(&mock, "orders", 0, 100..200);
    produce(&mock, "orders", 1, 0..50);
    let (mut batches, mut at_end) = (Vec::new(), false);
    for _ in 0..200 {
        let wait = Duration::from_millis(20);
        at_end = source.poll(wait, Duration::ZERO, &WIDE, &mut batches).unwrap().at_end;
        if at_end {
            break;
        }
    }
    assert!(at_end);
    assert_eq!(count(&batches), 100);
}

#[test]
fn an_offset_that_the_broker_lacks_stops_its_topic_only() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("short", 1, 1).unwrap();
    mock.create_topic("fine", 1, 1).unwrap();
    produce(&mock, "short", 0, 0..10);
    let brokers = mock.bootstrap_servers();
    let mut source = started(config(&brokers, &["short"]), &Progress::new());
    let (batches, _) = collect(&mut source, &WIDE, |b, _| count(b) == 10);
    let partition = (**batches[0].topic()).clone();
    drop(source);
    let progress = [(partition, Reached { next: 99, last: None })].into_iter().collect();
    let mut source = started(config(&brokers, &["short", "fine"]), &progress);
    let halted = |n: &Notice| matches!(n, Notice::Halted { topic, wanted: 99, low: 0, high: 10, .. } if &**topic == "short");
    collect(&mut source, &WIDE, |_, n| n.iter().any(halted));
    produce(&mock, "fine", 0, 0..7);
    let (batches, _) = collect(&mut source, &WIDE, |b, _| count(b) == 7);
    assert!(batches.iter().all(|b| &*b.topic().topic == "fine"));
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 1, 1).unwrap();
    produce(&mock, "orders", 0, 0..10);
    let mut source = started(config(&mock.bootstrap_servers(), &["orders"]), &Progress::new());
    collect(&mut source, &WIDE, |b, _| count(b) == 10);
    mock.broker_down(-1).unwrap();
    let down = |n: &Notice| matches!(n, Notice::Disconnected { .. });
    collect(&mut source, &WIDE, |_, n| n.iter().any(down));
    mock.broker_up(-1).unwrap();
    let up = |n: &Notice| matches!(n, Notice::Reconnected { .. });
    collect(&mut source, &WIDE, |_, n| n.iter().any(up));
    produce(&mock, "orders", 0, 10..20);
    let (batches, _) = collect(&mut source, &WIDE, |b, _| count(b) == 10);
    assert_eq!(values(&batches, "orders", 0), (10..20).collect::<Vec<_>>());
}

#[test]
fn a_topic_under_another_id_is_a_new_incarnation() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 1, 1).unwrap();
    produce(&mock, "orders", 0, 0..10);
    let partition = TopicPartition {
        source: Arc::from("kafka"),
        topic: Arc::from("orders"),
        incarnation: Arc::from("BBBBBBBBBBBBBBBBBBBBBB"),
        partition: 0,
    };
    let progress = [(partition, Reached { next: 5, last: None })].into_iter().collect();
    let mut source = started(config(&mock.bootstrap_servers(), &["orders"]), &progress);
    let (batches, notices) = collect(&mut source, &WIDE, |b, _| count(b) == 10);
    assert_eq!(values(&batches, "orders", 0), (0..10).collect::<Vec<_>>());
    assert!(notices.iter().any(|n| matches!(n, Notice::Recreated { .. })), "{notices:?}");
}

/// Five records in each partition of `orders`.
fn produce_everywhere(mock: &Mock, partitions: i32) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
    for partition in 0..partitions {
        for value in ["0", "1", "2", "3", "4"] {
            let record = BaseRecord::to("orders").partition(partition).key("k").payload(value);
            producer.send(record).unwrap();
        }
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// The spans of whole partitions with `each` records.
fn whole_spans(
    source: &KafkaSource,
    incarnation: &Arc<str>,
    partitions: i32,
    each: i64,
) -> Vec<Span> {
    let name = Arc::from(source.name());
    let key = |partition| TopicPartition {
        source: Arc::clone(&name),
        topic: Arc::from("orders"),
        incarnation: Arc::clone(incarnation),
        partition,
    };
    (0..partitions).map(|partition| span(&key(partition), 0, each)).collect()
}

#[test]
fn many_partitions_are_read_again_in_short_steps() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 300, 1).unwrap();
    produce_everywhere(&mock, 300);
    mock.broker_round_trip_time(1, Duration::from_millis(40)).unwrap();
    let brokers = mock.bootstrap_servers();
    let mut source = KafkaSource::new(config(&brokers, &["orders"])).unwrap();
    let spans = whole_spans(&source, &Arc::from("0"), 300, 5);
    let mut reading = source.reread(&spans).unwrap();
    let (mut steps, mut before) = (0, 0);
    let until = Instant::now() + Duration::from_secs(30);
    let batches = loop {
        assert!(Instant::now() < until, "{before} records after {steps} steps");
        steps += 1;
        match reading.step(Instant::now() + Duration::from_millis(30)) {
            Ok(Step::Whole(batches)) => break batches,
            Ok(Step::Partly(records)) => {
                assert!(records > before, "{records} after {before}");
                before = records;
            }
            Err(SourceError::Unreachable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(steps > 3, "one step brought all: the test proves nothing");
    assert_eq!(batches.iter().map(RawBatch::len).collect::<Vec<_>>(), vec![5; 300]);
    assert!(batches.iter().zip(0..).all(|(batch, at)| batch.topic().partition == at));
}

#[test]
fn a_broker_that_is_away_costs_waiting_and_nothing_that_was_read() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("orders", 200, 1).unwrap();
    produce_everywhere(&mock, 200);
    mock.broker_round_trip_time(1, Duration::from_millis(100)).unwrap();
    let brokers = mock.bootstrap_servers();
    let mut source = KafkaSource::new(config(&brokers, &["orders"])).unwrap();
    let spans = whole_spans(&source, &Arc::from("0"), 200, 5);
    let mut reading = source.reread(&spans).unwrap();
    let until = Instant::now() + Duration::from_secs(40);
    let (mut read, mut was_away, mut silent) = (0, false, 0);
    let batches = loop {
        assert!(Instant::now() < until, "{read} records");
        if read > 0 && !was_away {
            mock.broker_down(1).unwrap();
            was_away = true;
        }
        match reading.step(Instant::now() + Duration::from_millis(200)) {
            Ok(Step::Whole(batches)) => break batches,
            Ok(Step::Partly(records)) => {
                assert!(records > read, "{records} after {read}");
                read = records;
            }
            Err(SourceError::Unreachable { .. }) => {
                silent += u32::from(was_away);
                if silent == 3 {
                    mock.broker_up(1).unwrap();
                }
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(silent >= 3, "the broker was never away while records were owed");
    assert_eq!(reread::count(&batches), 1_000);
}
