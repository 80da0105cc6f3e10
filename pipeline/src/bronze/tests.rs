//! Tests of the module `bronze`.

use super::*;
use crate::record::QuietRows;

fn partition(topic: &str, number: i32) -> TopicPartition {
    TopicPartition {
        source: "a/b".into(),
        topic: topic.into(),
        incarnation: "x-_1".into(),
        partition: number,
    }
}

#[test]
fn app_ids_are_read_back() {
    for of in [partition("shop.public.orders", 0), partition("t", 41)] {
        assert_eq!(parse_app(&app_id(&of)), Some(of));
    }
    for other in ["weir/epoch", "weir/clock", "weir/flushed", "someone/else/a/b/1"] {
        assert_eq!(parse_app(other), None, "{other}");
    }
}

#[test]
fn progress_is_the_end_of_the_rows() {
    let mut batch = RawBatch::new(Arc::new(partition("t", 1)));
    batch.push(4, None, None, Some(b"x"), &[]);
    batch.push(9, None, None, None, &[]);
    let stamp = EpochStamp { id: 7, clock: Micros(50), quiet: true };
    let epoch = EpochRecords { stamp, batches: vec![batch], errors: vec![Vec::new()] };
    let progress = progress(&[Arc::new(epoch)], Some(stamp), 3);
    let expected = [("weir/a/b/t/x-_1/1", 10), (CLOCK, 50), (EPOCH, 7), (FLUSHED, 3)];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(app, n)| (app.to_owned(), n)).collect();
    assert_eq!(progress.into_iter().collect::<BTreeMap<_, _>>(), expected);
}

#[tokio::test]
async fn what_was_committed_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let lake =
        lake::Lake::open_writer(folder.path(), std::time::Duration::ZERO, Arc::new(FixedClock))
            .unwrap();
    let table = Table::open_or_create(&lake, &spec()).await.unwrap();
    let mut writer = BronzeWriter::new(table).unwrap();
    for id in 1..=5_u64 {
        let offset = i64::try_from(id).unwrap() * 10;
        let mut batch = RawBatch::new(Arc::new(partition("t", 0)));
        batch.set_first_prev_offset(offset - 10);
        batch.push(offset, Some(3), Some(b"k"), Some(b"v"), &[("h", Some(b"1")), ("n", None)]);
        batch.push(offset + 1, None, None, None, &[]);
        // Of the second epoch the second row is quiet, of the fourth all.
        batch.set_quiet(match id {
            2 => QuietRows::Each(vec![false, true]),
            4 => QuietRows::All,
            _ => QuietRows::None,
        });
        let clock = Micros(i64::try_from(id).unwrap() * 1_000);
        let stamp = EpochStamp { id, clock, quiet: id == 2 || id == 4 };
        let errors = vec![vec![(1, "broken".to_owned())]];
        writer.append(Arc::new(EpochRecords { stamp, batches: vec![batch], errors })).unwrap();
        if id % 2 == 0 {
            assert_eq!(writer.commit(0).await.unwrap(), Some(stamp));
        }
    }
    assert_eq!(writer.commit(4).await.unwrap().map(|stamp| stamp.id), Some(5));
    assert!(!writer.is_pending(4));
    let table = Table::open(&lake, TABLE, lake::At::Newest).unwrap();
    let held = held(&table);
    assert_eq!((held.epoch, held.clock, held.flushed), (5, Micros(5_000), 4));
    assert_eq!(held.next.into_iter().collect::<Vec<_>>(), [(partition("t", 0), 52)]);
    let epochs: Vec<_> = replay(&table, 1, 4).unwrap().map(Result::unwrap).collect();
    assert_eq!(
        epochs.iter().map(|e| (e.stamp.id, e.stamp.quiet)).collect::<Vec<_>>(),
        [(2, true), (3, false), (4, true)]
    );
    assert!(epochs.iter().all(|e| e.errors == [[(1, "broken".to_owned())]]));
    let bits = epochs.iter().map(|e| [0, 1].map(|at| e.batches[0].quiet().has(at)));
    assert_eq!(bits.collect::<Vec<_>>(), [[false, true], [false; 2], [true; 2]]);
    let first = &epochs[0].batches[0];
    let record = first.get(0).unwrap();
    assert_eq!(
        (record.offset, record.prev_offset, record.timestamp),
        (20, 10, Some(Micros(3_000)))
    );
    assert_eq!(
        (record.key, record.value, record.headers.len()),
        (Some(&b"k"[..]), Some(&b"v"[..]), 2)
    );
    let tombstone = first.get(1).unwrap();
    assert_eq!((tombstone.offset, tombstone.prev_offset, tombstone.value), (21, 21, None));
}

#[derive(Debug)]
struct FixedClock;

impl schemas::Clock for FixedClock {
    fn now(&self) -> Micros {
        Micros(1_000_000)
    }
}

/// Small batches are copied, large ones lent: what is read back is the same.
#[tokio::test]
async fn large_batches_are_read_back_as_small_ones_are() {
    let folder = tempfile::tempdir().unwrap();
    let wait = std::time::Duration::ZERO;
    let lake = lake::Lake::open_writer(folder.path(), wait, Arc::new(FixedClock)).unwrap();
    let mut writer =
        BronzeWriter::new(Table::open_or_create(&lake, &spec()).await.unwrap()).unwrap();
    let value = |at: usize| vec![u8::try_from(at % 251).unwrap(); at % 7 * 1_000];
    let mut written = Vec::new();
    for (number, records) in [3, 900, 5, 700, 700].into_iter().enumerate() {
        let mut batch = RawBatch::new(Arc::new(partition("t", i32::try_from(number).unwrap())));
        for at in 0..records {
            let own = value(at + number);
            let value = (at % 5 != 1).then_some(own.as_slice());
            let headers: &[(&str, Option<&[u8]>)] = if at % 9 == 2 { &[("h", None)] } else { &[] };
            batch.push(i64::try_from(at * 2).unwrap(), Some(7), Some(b"k"), value, headers);
        }
        assert_eq!(batch.value_bytes().len() > 1 << 20, records > 10);
        written.push(batch);
    }
    let stamp = EpochStamp { id: 1, clock: Micros(5), quiet: true };
    let errors = (0..5).map(|at| vec![(at % 3, "broken".to_owned())]).collect();
    let epoch = EpochRecords { stamp, batches: written.clone(), errors };
    writer.append(Arc::new(epoch)).unwrap();
    writer.commit(0).await.unwrap();
    let table = Table::open(&lake, TABLE, lake::At::Newest).unwrap();
    let epochs: Vec<_> = replay(&table, 0, 1).unwrap().map(Result::unwrap).collect();
    assert_eq!(epochs.len(), 1);
    assert_eq!(epochs[0].batches.len(), written.len());
    for (read, wrote) in epochs[0].batches.iter().zip(&written) {
        assert!(read.iter().eq(wrote.iter()), "{:?}", wrote.topic());
    }
    let broken = |batch: arrow::record_batch::RecordBatch| {
        batch["decode_error"].len() - batch["decode_error"].null_count()
    };
    let files: Vec<_> = table.files().collect();
    let files: Vec<_> = files.iter().map(|file| file.as_ref()).collect();
    let errors: usize = table.read(&files, None).unwrap().map(|b| broken(b.unwrap())).sum();
    assert_eq!(errors, 5);
}

#[tokio::test]
async fn last_records_are_found_in_whichever_file_they_are() {
    use crate::source::{LastRecord, record_hash};
    let folder = tempfile::tempdir().unwrap();
    let wait = std::time::Duration::ZERO;
    let lake = lake::Lake::open_writer(folder.path(), wait, Arc::new(FixedClock)).unwrap();
    let mut writer =
        BronzeWriter::new(Table::open_or_create(&lake, &spec()).await.unwrap()).unwrap();
    let of = |number| TopicPartition { incarnation: "file".into(), ..partition("t", number) };
    let mut expected = BTreeMap::new();
    // Partition 0 in the first commit only, 1 and 2 in all; offsets of 1 and 2 are the same.
    for id in 1..=3_i64 {
        let mut batches = Vec::new();
        for number in i32::from(id > 1)..3 {
            let mut batch = RawBatch::new(Arc::new(of(number)));
            for offset in [id * 10, id * 10 + 4] {
                let value = format!("{number} {offset}");
                batch.push(offset, Some(offset), None, Some(value.as_bytes()), &[]);
            }
            let last = batch.get(1).unwrap();
            expected
                .insert(of(number), LastRecord { offset: last.offset, hash: record_hash(&last) });
            batches.push(batch);
        }
        let stamp = EpochStamp { id: id.unsigned_abs(), clock: Micros(id), quiet: false };
        let errors = vec![Vec::new(); batches.len()];
        writer.append(Arc::new(EpochRecords { stamp, batches, errors })).unwrap();
        writer.commit(0).await.unwrap();
    }
    let table = writer.table();
    let wanted = held(table).next;
    assert_eq!(last_records(table, wanted.clone()).unwrap(), expected);
    let gone = wanted.into_iter().map(|(of, next)| (of, next + 1)).collect();
    assert_eq!(last_records(table, gone).unwrap(), BTreeMap::new());
    assert_eq!(last_records(table, BTreeMap::new()).unwrap(), BTreeMap::new());
}
