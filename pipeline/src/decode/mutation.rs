//! Damaged events: whatever the bytes, a record becomes one change or one error.

use proptest::prelude::*;
use proptest::sample::Index;
use schemas::{Contract, contract};

use super::*;
use crate::record::TopicPartition;

const EVENTS: [(&str, &str); 6] = [
    (
        r#"{"order_id":5}"#,
        r#"{"before":null,"after":{"order_id":5,"tenant_id":"acme","customer_id":null,"status":"pa\u00efd","amount":"19.9900","currency":"EUR","channel":"web","campaign":"x\\y","placed_at":"2026-01-02T03:04:05.123456Z","recognized_at":null,"updated_at":"2026-01-02T03:04:05.123456Z"},"source":{"connector":"postgresql","ts_ms":1795252754102,"snapshot":"false","sequence":"[null,\"26391584\"]","lsn":26391584},"op":"u","ts_ms":1795252754184}"#,
    ),
    (
        r#"{"schema":{"type":"struct"},"payload":{"order_id":5}}"#,
        r#"{"schema":{"fields":[{"field":"after","fields":[{"field":"order_id","type":"int64"},{"field":"amount","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"4"}},{"field":"placed_at","name":"io.debezium.time.Timestamp"}]}]},"payload":{"after":{"order_id":5,"status":"paid","amount":"AMNOAA==","currency":"EUR","placed_at":1767323045123,"updated_at":"2026-01-02T03:04:05Z"},"source":{"file":"bin.000003","pos":154,"row":2},"op":"r"}}"#,
    ),
    (r#"{"order_id":5}"#, r#"{"before":{"order_id":5},"after":null,"source":{"lsn":7},"op":"d"}"#),
    (
        r#"{"scale":0,"value":"AQ=="}"#,
        r#"{"after":{"order_id":{"scale":0,"value":"AQ=="},"customer_id":{"scale":-3,"value":"fw=="},"status":"paid","amount":{"scale":2,"value":"BNI="},"currency":"EUR","channel":["__debezium_unavailable_value"],"campaign":{ "__debezium_unavailable_value": "__debezium_unavailable_value" },"placed_at":"2026-01-02 03:04+0200","updated_at":"2026-01-02T03:04:05-03"},"source":{"scn":"900"},"op":"u"}"#,
    ),
    ("", r#"{"source":{"lsn":7},"op":"t"}"#),
    (r#""5""#, r#"{"status":"END","id":"571:2","event_count":2,"ts_ms":5}"#),
];

#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, u8),
    Insert(Index, Vec<u8>),
    Repeat(Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..6),
        Just(br#""amount":1e999,"#.to_vec()),
        Just(br#""amount":{"scale":-2147483648,"value":"fw=="},"#.to_vec()),
        Just(br#""after":null,"#.to_vec()),
        Just(br#""payload":{},"#.to_vec()),
        Just("[{\"a\":".repeat(3000).into_bytes()),
        Just(b"-".to_vec()),
        Just(b"99999999999999999999".to_vec()),
        Just(b"\\ud800".to_vec()),
        Just("\u{feff}".as_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), any::<u8>()).prop_map(|(at, len)| Damage::Remove(at, len)),
        (any::<Index>(), piece).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match damage {
        Damage::Flip(at, byte) => bytes[at.index(len)] ^= byte,
        Damage::Cut(at) => bytes.truncate(at.index(len)),
        Damage::Remove(at, count) => {
            let from = at.index(len);
            bytes.drain(from..(from + usize::from(*count)).min(len));
        }
        Damage::Insert(at, piece) => {
            let from = at.index(len);
            bytes.splice(from..from, piece.iter().copied());
        }
        Damage::Repeat(at, count) => {
            let from = at.index(len);
            let piece = bytes[from..(from + usize::from(*count)).min(len)].to_vec();
            bytes.splice(from..from, piece);
        }
    }
}

fn orders() -> PreparedContract {
    let (_, text) =
        contract::built_in().into_iter().find(|(name, _)| *name == "orders.toml").unwrap();
    PreparedContract::new(Contract::parse(text).unwrap()).unwrap()
}

fn decode(
    contract: &PreparedContract,
    key: &[u8],
    value: &[u8],
    scratch: &mut Scratch,
) -> ChangeBatch {
    let topic = TopicPartition {
        source: "s".into(),
        topic: "t".into(),
        incarnation: "i".into(),
        partition: 0,
    };
    let mut batch = RawBatch::new(topic.into());
    batch.push(1, None, (!key.is_empty()).then_some(key), Some(value), &[]);
    let mut out = ChangeBatch::default();
    decode_batch(&DebeziumJson, contract, &batch, scratch, &mut out);
    let unreadable = out.iter().filter(|change| change.change.kind == ChangeKind::Unreadable);
    assert_eq!((out.len(), unreadable.count()), (1, out.errors().len()));
    for ChangeRef { change, key, row, .. } in out.iter() {
        if change.kind == ChangeKind::Upsert {
            let row = contract.layout().row(row);
            let mut own = Vec::new();
            contract.key_of(row, &mut own);
            assert_eq!(own, key);
            for (index, column) in contract.columns().iter().enumerate() {
                assert!(!column.required || !row.is_null(index), "{} is null", column.name);
            }
        }
    }
    out
}

fn plain(out: &ChangeBatch) -> String {
    format!("{:?} {:?}", out.iter().collect::<Vec<_>>(), out.errors())
}

#[test]
fn the_undamaged_events_are_good() {
    for (key, value) in EVENTS {
        let out = decode(&orders(), key.as_bytes(), value.as_bytes(), &mut Scratch::default());
        assert!(out.errors().is_empty(), "{value}: {:?}", out.errors());
    }
}

#[test]
fn large_and_deep_values_end_in_time() {
    let contract = orders();
    let mut scratch = Scratch::default();
    let (key, value) = EVENTS[0];
    let huge = value.replace("web", &"x".repeat(10 << 20));
    assert!(decode(&contract, key.as_bytes(), huge.as_bytes(), &mut scratch).errors().is_empty());
    let deep = "[".repeat(5 << 20);
    for place in ["null", "\"web\"", "1795252754184", "\"EUR\"", "\"u\""] {
        let bomb = value.replacen(place, &deep, 1);
        let out = decode(&contract, key.as_bytes(), bomb.as_bytes(), &mut scratch);
        assert_eq!(out.errors().len(), 1, "{place}");
        let open =
            value.replacen(place, &format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000)), 1);
        decode(&contract, key.as_bytes(), open.as_bytes(), &mut scratch);
    }
    let out = decode(&contract, deep.as_bytes(), value.as_bytes(), &mut scratch);
    assert!(out.errors().is_empty(), "a key that is no json names nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn damaged_events_never_panic_and_memory_of_earlier_ones_changes_nothing(
        event in 0..EVENTS.len(),
        in_key in proptest::bool::weighted(0.2),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let contract = orders();
        let (key, value) = EVENTS[event];
        let (mut key, mut value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let mut warm = Scratch::default();
        decode(&contract, &key, &value, &mut warm);
        for damage in &damages {
            apply(damage, if in_key { &mut key } else { &mut value });
        }
        let with_memory = decode(&contract, &key, &value, &mut warm);
        let without = decode(&contract, &key, &value, &mut Scratch::default());
        prop_assert_eq!(plain(&with_memory), plain(&without));
    }
}
