//! Tests of the module `record`.

use super::*;

fn topic() -> Arc<TopicPartition> {
    Arc::new(TopicPartition {
        source: "s".into(),
        topic: "t".into(),
        incarnation: "i".into(),
        partition: 3,
    })
}

fn sample() -> RawBatch {
    let mut batch = RawBatch::new(topic());
    batch.set_first_prev_offset(5);
    batch.push(7, Some(1), Some(b"k"), Some(b"v"), &[]);
    batch.push(8, None, None, Some(b""), &[("h", Some(b"x")), ("n", None)]);
    batch.push(12, Some(-1), Some(b""), None, &[]);
    batch
}

fn hash(batch: &RawBatch) -> u128 {
    let mut hash = Xxh3::new();
    batch.hash_into(&mut hash);
    hash.digest128()
}

#[test]
fn reads_back_what_was_pushed() {
    let batch = sample();
    let first = batch.get(0).unwrap();
    assert_eq!((first.offset, first.prev_offset, first.timestamp), (7, 5, Some(Micros(1000))));
    assert_eq!(
        (first.key, first.value, first.headers.len()),
        (Some(&b"k"[..]), Some(&b"v"[..]), 0)
    );
    let second = batch.get(1).unwrap();
    assert_eq!((second.prev_offset, second.timestamp, second.key), (8, None, None));
    assert_eq!(second.value, Some(&b""[..]), "empty is not null");
    assert_eq!(
        (&*second.headers[0].key, second.headers[0].value.as_deref()),
        ("h", Some(&b"x"[..]))
    );
    assert_eq!(second.headers[1].value, None);
    let third = batch.get(2).unwrap();
    assert_eq!((third.prev_offset, third.key, third.value), (9, Some(&b""[..]), None));
    assert_eq!((batch.len(), batch.bytes(), batch.span()), (3, 2, Some((5, 13))));
    assert_eq!(batch.get(3), None);
}

#[test]
fn splits_keep_every_record_and_the_chain() {
    for at in 0..=4 {
        let mut front = sample();
        let back = front.split_off(at);
        let both: Vec<_> = front.iter().chain(back.iter()).collect();
        let whole = sample();
        assert_eq!(both, whole.iter().collect::<Vec<_>>(), "at {at}");
        assert_eq!(front.len(), at.min(3));
        assert_eq!(front.bytes() + back.bytes(), whole.bytes());
    }
}

#[test]
fn the_hash_sees_every_part() {
    let change: [fn(&mut RawBatch); 7] = [
        |b| b.push(1, None, None, None, &[]),
        |b| b.push(2, None, None, None, &[]),
        |b| b.push(1, Some(0), None, None, &[]),
        |b| b.push(1, None, Some(b""), None, &[]),
        |b| b.push(1, None, None, Some(b""), &[]),
        |b| b.push(1, None, None, None, &[("", None)]),
        |b| b.push(1, None, None, None, &[("", Some(b""))]),
    ];
    let mut hashes: Vec<u128> = change
        .iter()
        .map(|push| {
            let mut batch = sample();
            push(&mut batch);
            hash(&batch)
        })
        .collect();
    hashes.push(hash(&sample()));
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn the_hash_is_what_ledgers_hold() {
    assert_eq!(format!("{:032x}", hash(&sample())), "92f56edd62b264c26bc2ef7ef5e06db6");
}
