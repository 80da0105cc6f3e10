//! Tests of the module `embedded`.

use super::*;
use crate::source::reread::read_again;
use crate::source::{Notice, Reached};
use xxhash_rust::xxh3::Xxh3;

const WIDE: Limits =
    Limits { records: 5_000, bytes: 16 << 20, partition_records: 2_000, partition_bytes: 8 << 20 };

/// Records of 600 to 790 bytes that are a function of their coordinates.
#[derive(Clone, Copy)]
struct Numbered;

impl Regenerate for Numbered {
    fn record(&self, topic: &str, partition: i32, offset: i64) -> Regenerated {
        let size = 600 + usize::try_from(offset % 190).unwrap();
        let mut value = format!("{topic}/{partition}/{offset}/").into_bytes();
        value.resize(size, b'x');
        let key = Some(offset.to_string().into_bytes());
        let value = (offset % 100 != 99).then_some(value);
        Regenerated { key, value, timestamp: Some(1_000_000 + offset) }
    }
}

fn send_all(broker: &Arc<EmbeddedBroker>, base: i64, count: i64) -> std::thread::JoinHandle<()> {
    let broker = Arc::clone(broker);
    std::thread::spawn(move || {
        for offset in base..base + count {
            for partition in 0..2 {
                let r = Numbered.record("orders", partition, offset);
                let (key, value) = (r.key.as_deref(), r.value.as_deref());
                broker.send("orders", partition, key, value, r.timestamp).unwrap();
            }
        }
    })
}

fn key(partition: i32) -> TopicPartition {
    TopicPartition {
        source: Arc::from("demo"),
        topic: Arc::from("orders"),
        incarnation: Arc::from(INCARNATION),
        partition,
    }
}

#[test]
fn paced_records_arrive_once_in_order_and_can_be_made_again() {
    let broker = EmbeddedBroker::start(&[("orders", 2)]).unwrap();
    let mut source = EmbeddedSource::new("demo", &broker, Box::new(Numbered)).unwrap();
    let base = 1_000_i64;
    let reached = Reached { next: base, last: None };
    source.start(&[(key(0), reached), (key(1), reached)].into_iter().collect()).unwrap();
    let sender = send_all(&broker, base, 25_000);
    let mut next = [base; 2];
    let mut hashes = [Xxh3::new(), Xxh3::new()];
    let until = Instant::now() + Duration::from_secs(60);
    while next.iter().any(|n| *n < base + 25_000) {
        assert!(Instant::now() < until, "stuck at {next:?}");
        let mut batches = Vec::new();
        let wait = Duration::from_millis(100);
        let pulled = source.poll(wait, Duration::from_millis(10), &WIDE, &mut batches).unwrap();
        for notice in pulled.notices {
            assert!(matches!(notice, Notice::Assigned { from, .. } if from == base), "{notice}");
        }
        for batch in &batches {
            let at = usize::try_from(batch.topic().partition).unwrap();
            assert_eq!(batch.span().unwrap().0, next[at]);
            for record in batch.iter() {
                assert_eq!(record.offset, next[at]);
                next[at] += 1;
            }
            batch.hash_into(&mut hashes[at]);
        }
    }
    sender.join().unwrap();
    for (partition, hash) in [(0, &hashes[0]), (1, &hashes[1])] {
        let span = Span {
            source: "demo".to_owned(),
            topic: "orders".to_owned(),
            incarnation: INCARNATION.to_owned(),
            partition,
            from: base,
            to: base + 25_000,
        };
        let again = read_again(&mut source, &[span], until).unwrap();
        let mut same = Xxh3::new();
        again[0].hash_into(&mut same);
        assert_eq!(same.digest128(), hash.digest128());
    }
}

#[test]
fn a_sender_waits_for_the_reader_and_fails_without_one() {
    let broker = EmbeddedBroker::start(&[("orders", 2)]).unwrap();
    let source = EmbeddedSource::new("demo", &broker, Box::new(Numbered)).unwrap();
    let sending = Arc::clone(&broker);
    let sender = std::thread::spawn(move || {
        let value = vec![b'x'; 1_000];
        let mut sent = 0_usize;
        while sending.send("orders", 0, None, Some(&value), None).is_ok() {
            sent += 1;
        }
        sent
    });
    std::thread::sleep(Duration::from_millis(500));
    drop(source);
    let sent = sender.join().unwrap();
    assert!(sent <= OUTSTANDING_BYTES / 1_064 + 1, "{sent} records were let through");
    let error = broker.send("other", 0, None, None, None).unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}
