//! The reference fold and the pipeline's fold, on random histories: deletes, late and doubled records,
//! values left out, columns that are missing, records that cannot be read, truncates, snapshots that sweep, sources that go back, tombstones that end.

use std::sync::Arc;

use lake::keyed::FrozenRows;
use pipeline::decode::{ChangeBatch, PreparedContract, Scratch, decode_batch, registry};
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::silver::{POSITION_COLUMN, SilverRow, TableFold};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{Contract, EpochStamp, Micros};
use serde_json::{Value, json};

use super::super::reference::{Reference, State};

const CONTRACT: &str = "name='t'\nformat='debezium-json'\nkey=['id']\ntenant='tenant'\n\
    columns=[{name='id',type='text',required=true},{name='tenant',type='text'},\
             {name='a',type='text'},{name='n',type='decimal(18,4)'}]";

const MINUTE: i64 = 60_000_000;

fn event(random: &mut StdRng, calm: bool) -> (Option<String>, Option<Value>) {
    let id = format!("k{}", random.random_range(0..6));
    let key = Some(json!({ "id": id }).to_string());
    let lsn: u64 = random.random_range(1..if calm { 400 } else { 40 });
    // A calm source's clock grows with its position; another one may have gone back.
    let wild = !calm && random.random_range(0..12) == 0;
    let ts = if wild { random.random_range(0..60) } else { lsn };
    let marker = match random.random_range(0..12) {
        0 => "first",
        1 => "true",
        2 => "last",
        3 => "incremental",
        _ => "false",
    };
    let marker = if calm { "false" } else { marker };
    let table = ["orders", "orders_eu"][random.random_range(0..2)];
    let mut source = json!({ "ts_ms": ts, "snapshot": marker, "table": table });
    match random.random_range(0..8) {
        0 if !calm => {}
        1..=4 => {
            source["lsn"] = json!(lsn);
            if random.random_range(0..2) == 0 {
                let commit = lsn.saturating_sub(random.random_range(0..9));
                source["sequence"] =
                    json!(json!([commit.to_string(), lsn.to_string()]).to_string());
            }
        }
        _ => {
            source["file"] = json!("bin.000001");
            source["pos"] = json!(lsn);
            source["server_id"] = json!(random.random_range(0..if calm { 1 } else { 3 }));
        }
    }
    let a = match random.random_range(0..4) {
        0 => Value::Null,
        1 => json!("__debezium_unavailable_value"),
        _ => json!(format!("v{}", random.random_range(0..3))),
    };
    let n = if random.random_range(0..6) == 0 { "1,5" } else { "1.5" };
    let mut after = json!({ "id": id, "tenant": "t", "a": a, "n": n });
    let left = ["a", "n", "tenant"].get(random.random_range(0..20));
    left.into_iter().for_each(|name| drop(after.as_object_mut().unwrap().remove(*name)));
    let op = match random.random_range(0..20) {
        0 if !calm => "t",
        1..=4 => "d",
        5 => return (key, None),
        _ if marker != "false" => "r",
        _ => "u",
    };
    let value = match op {
        "t" => json!({ "op": op, "source": source, "before": null, "after": null }),
        "d" => json!({ "op": op, "source": source, "before": { "id": id }, "after": null }),
        _ => json!({ "op": op, "source": source, "before": null, "after": after }),
    };
    ((op != "t").then_some(key).flatten(), Some(value))
}

fn batches(random: &mut StdRng, next: &mut [i64; 3], calm: bool) -> Vec<RawBatch> {
    let mut batches = Vec::new();
    for partition in 0..3_i32 {
        let mut batch = RawBatch::new(Arc::new(TopicPartition {
            source: "s".into(),
            topic: "t".into(),
            incarnation: "i".into(),
            partition,
        }));
        let next = &mut next[usize::try_from(partition).unwrap()];
        for _ in 0..random.random_range(0..4) {
            let (key, value) = event(random, calm);
            let mut value = value.map(|value| value.to_string());
            if let Some(text) = value.as_mut().filter(|_| random.random_range(0..12) == 0) {
                text.truncate(9);
            }
            let (key, value) =
                (key.as_ref().map(String::as_bytes), value.as_ref().map(String::as_bytes));
            let other = json!({ "id": format!("k{}", random.random_range(0..6)) }).to_string();
            let header = match random.random_range(0..12) {
                0 => Some("__debezium.newkey"),
                1 => Some("__debezium.oldkey"),
                _ => None,
            };
            let headers: Vec<_> =
                header.map(|name| (name, Some(other.as_bytes()))).into_iter().collect();
            batch.push(*next, None, key, value, &headers);
            *next += 1;
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
    }
    batches
}

/// Key, row, position, epoch and origin.
type Rows = Vec<(Vec<u8>, Vec<u8>, String, u64, String)>;

fn history(seed: u64) -> (Rows, Rows, bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let calm = seed.is_multiple_of(3);
    let contract = PreparedContract::new(Contract::parse(CONTRACT).unwrap()).unwrap();
    let contract = Arc::new(contract);
    let decoder = registry::find("debezium-json").unwrap();
    let mut fold = TableFold::new(Arc::clone(&contract));
    let mut reference = Reference::default();
    let (mut scratch, mut changes) = (Scratch::default(), ChangeBatch::default());
    let (mut next, mut clock) = ([0; 3], Micros(1_000 * MINUTE));
    for id in 1..=30 {
        let pause = [1, 10, MINUTE / 2, 2 * MINUTE, 3 * 24 * 60 * MINUTE];
        clock = clock.plus(pause[random.random_range(0..if calm { 4 } else { 5 })]);
        let stamp = EpochStamp { id, clock, quiet: false };
        fold.fire(clock, &mut fold.no_changes());
        reference.advance(clock);
        for batch in batches(&mut random, &mut next, calm) {
            decode_batch(decoder, &contract, &batch, &mut scratch, &mut changes);
            changes.promise_whole(seed.is_multiple_of(2));
            fold.apply(&changes, &stamp, &mut fold.no_changes());
            reference.take_batch(&contract, &changes, id, clock);
        }
    }
    let frozen = fold.freeze();
    let own = frozen.live_slots().filter_map(|slot| {
        let SilverRow { row, epoch, origin, .. } = frozen.silver_row(slot)?;
        let mut key = Vec::new();
        contract.key_of(contract.layout().row(&row), &mut key);
        let batch = frozen.batch(&[slot]).unwrap();
        let position = rows::columns::text(&batch, POSITION_COLUMN).unwrap().value(0).to_owned();
        Some((key, row.to_vec(), position, epoch, origin.to_string()))
    });
    let other = reference.rows.iter().filter_map(|((origin, key), held)| match &held.state {
        State::Row { bytes, epoch } => {
            Some((key.clone(), bytes.to_vec(), held.position(), *epoch, origin.clone()))
        }
        State::Gone(_) => None,
    });
    let (mut own, mut other): (Rows, Rows) = (own.collect(), other.collect());
    own.sort();
    other.sort();
    assert_eq!(fold.halts().count(), reference.halted().count(), "seed {seed}");
    (own, other, fold.halts().next().is_some())
}

#[test]
fn both_folds_agree_on_random_histories() {
    let (mut rows, mut halts) = (0, 0);
    for seed in 0..3_000 {
        let (own, other, halted) = history(seed);
        assert_eq!(own, other, "seed {seed}");
        rows += own.len();
        halts += usize::from(halted);
    }
    assert!(rows > 3_000 && halts > 25, "{rows} rows, {halts} halts: the histories say something");
}
