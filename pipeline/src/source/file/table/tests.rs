//! Tests of the module `table`.

use std::io::Write;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::source::file::{row_place, wrong_line};
use crate::source::reread::read_again;
use crate::source::{Mapping, Reached};

const WIDE: Limits =
    Limits { records: 10_000, bytes: 1 << 24, partition_records: 10_000, partition_bytes: 1 << 24 };

fn source(path: &Path, kind: Kind, progress: &Progress) -> TableFiles {
    let mut source = TableFiles::new(
        FileConfig {
            name: "bills".to_owned(),
            path: path.to_owned(),
            contract: Some(Mapping::from("costs")),
            topics: BTreeMap::new(),
            snapshots: Default::default(),
        },
        kind,
    );
    source.start(progress).unwrap();
    source
}

fn shown(batch: &RawBatch) -> Vec<String> {
    let of = batch.topic();
    let row = |record: crate::record::RawRecord<'_>| {
        let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
        match wrong_line(of, &record) {
            Some(wrong) => format!("{} {value} ({wrong})", record.offset),
            None => format!("{} {} {value}", record.offset, row_place(&record, true)),
        }
    };
    batch.iter().map(row).collect()
}

/// What a start behind `progress` gives up to the end.
fn run(path: &Path, kind: Kind, progress: &mut Progress) -> Vec<String> {
    let mut source = source(path, kind, progress);
    source.stop_at_end().unwrap();
    let (mut rows, narrow) = (Vec::new(), Limits { records: 2, ..WIDE });
    loop {
        let mut batches = Vec::new();
        let pulled =
            source.poll(Duration::ZERO, Duration::from_secs(9), &narrow, &mut batches).unwrap();
        for batch in &batches {
            let (from, next) = batch.span().unwrap();
            let before = progress.get(&**batch.topic()).map_or(0, |reached| reached.next);
            assert_eq!(from, before, "a batch begins where the one before ended");
            progress.insert(batch.topic().as_ref().clone(), Reached { next, last: None });
        }
        rows.extend(batches.iter().flat_map(shown));
        if pulled.at_end {
            return rows;
        }
    }
}

fn once(path: &Path, kind: Kind) -> Vec<String> {
    run(path, kind, &mut Progress::new())
}

const BILL: &str = "\u{feff}ChargeId,BilledCost,Tags\r\n1,0.50,\"{\"\"team\"\":\"\"a\"\"}\"\r\n\r\n\
                    2,,\"two\nlines, and a comma\"\r\n3,1.5\r\n\"4\",7,x";

#[test]
fn rows_of_csv_are_json_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bill.csv");
    std::fs::write(&path, BILL).unwrap();
    let expected = [
        r#"0 line 2 {"ChargeId":"1","BilledCost":"0.50","Tags":"{\"team\":\"a\"}"}"#,
        r#"1 line 4 {"ChargeId":"2","BilledCost":null,"Tags":"two\nlines, and a comma"}"#,
        "2 3,1.5 (line 6 has 2 cells, and the first line names 3 columns)",
        r#"3 line 7 {"ChargeId":"4","BilledCost":"7","Tags":"x"}"#,
    ];
    assert_eq!(once(&path, Kind::Csv), expected);
    let packed = folder.path().join("bill.csv.gz");
    let mut out = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
    out.write_all(BILL.as_bytes()).unwrap();
    out.finish().unwrap();
    assert_eq!(once(&packed, Kind::Csv), expected);
}

#[test]
fn what_is_no_table_is_one_record_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for (kind, bytes, says) in [
        (Kind::Csv, &b"a,b,a\n1,2,3\n"[..], "names column \"a\" twice"),
        (Kind::Csv, b"a\xff,b\n1,2\n", "first line is not UTF-8"),
        (Kind::Csv, b"a,b\n1,\xff\n", "line 2, column \"b\": not UTF-8"),
        (Kind::Parquet, b"PAR1 and no more", "the file is no Parquet"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let rows = once(&path, kind);
        assert!(rows.len() == 1 && rows[0].contains(says), "{rows:?}");
    }
    std::fs::write(&path, b"").unwrap();
    assert_eq!(once(&path, Kind::Csv), [""; 0], "nothing is there yet");
    std::fs::write(&path, b"a,b\n").unwrap();
    assert_eq!(once(&path, Kind::Csv), [""; 0]);
    let packed = folder.path().join("y.gz");
    std::fs::remove_file(&path).unwrap();
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all("a,b\n".repeat(9_999).as_bytes()).unwrap();
    let mut bytes = out.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&packed, bytes).unwrap();
    let rows = once(&packed, Kind::Csv);
    let last = rows.last().unwrap();
    assert!(last.contains("cannot be read behind line"), "{last}");
}

fn parquet(path: &Path, from: i64, count: i64) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let names = (from..from + count).map(|id| (id % 3 != 0).then(|| format!("n{id}")));
    let names: ArrayRef = Arc::new(names.collect::<StringArray>());
    let batch = RecordBatch::try_from_iter([("Id", ids), ("Name", names)]).unwrap();
    let mut out = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    out.write(&batch).unwrap();
    out.close().unwrap();
}

#[test]
fn a_start_goes_on_behind_the_last_row_and_reads_no_row_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    parquet(&path, 0, 3_000);
    let all = once(&path, Kind::Parquet);
    assert_eq!(all.len(), 3_000);
    assert!(
        all[0].ends_with(r#"{"Id":0,"Name":null}"#) && all[7].contains(r#"{"Id":7,"Name":"n7"}"#)
    );
    for stop in [0_usize, 1, 1_023, 1_024, 2_999, 3_000] {
        let mut source = source(&path, Kind::Parquet, &Progress::new());
        source.stop_at_end().unwrap();
        let mut batches = Vec::new();
        let limits = Limits { records: stop.max(1), ..WIDE };
        source.poll(Duration::ZERO, Duration::from_secs(9), &limits, &mut batches).unwrap();
        let (from, next) = batches[0].span().unwrap();
        assert_eq!((from, next), (0, i64::try_from(stop.max(1)).unwrap()));
        let of = batches[0].topic().as_ref().clone();
        let mut progress: Progress = [(of, Reached { next, last: None })].into();
        let rest = run(&path, Kind::Parquet, &mut progress);
        assert_eq!(rest, all[stop.max(1)..]);
        assert_eq!(run(&path, Kind::Parquet, &mut progress), [""; 0]);
    }
}

#[test]
fn another_content_is_another_life_and_the_old_one_is_missed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bill.csv");
    let mut progress = Progress::new();
    std::fs::write(&path, "a,b\n1,x\n2,y\n").unwrap();
    assert_eq!(run(folder.path(), Kind::Csv, &mut progress).len(), 2);
    let first = progress.keys().next().unwrap().clone();
    std::fs::write(&path, "a,b\n1,z\n").unwrap();
    assert_eq!(run(folder.path(), Kind::Csv, &mut progress), [r#"0 line 2 {"a":"1","b":"z"}"#]);
    let span = Span {
        source: "bills".to_owned(),
        topic: "bill.csv".to_owned(),
        incarnation: first.incarnation.to_string(),
        partition: 0,
        from: 1,
        to: 2,
    };
    let soon = Instant::now() + Duration::from_secs(9);
    let mut again = source(folder.path(), Kind::Csv, &progress);
    let lost = read_again(&mut again, std::slice::from_ref(&span), soon).unwrap_err().to_string();
    assert!(lost.contains("another content") && lost.contains("bill.csv"), "{lost}");
    std::fs::write(&path, "a,b\n1,x\n2,y\n").unwrap();
    let read = read_again(&mut again, std::slice::from_ref(&span), soon).unwrap();
    assert_eq!(shown(&read[0]), [r#"1 line 3 {"a":"2","b":"y"}"#]);
    assert_eq!(run(folder.path(), Kind::Csv, &mut progress), [""; 0], "a content is read once");
    let beyond = Span { to: 3, ..span };
    assert!(
        read_again(&mut again, &[beyond], soon).unwrap_err().to_string().contains("ends at row 2")
    );
}

#[test]
fn a_followed_file_is_read_when_it_stays_and_anew_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bill.csv");
    std::fs::write(&path, "a,b\n1,x\n").unwrap();
    let mut source = source(folder.path(), Kind::Csv, &Progress::new());
    let poll = |source: &mut TableFiles| {
        let (mut batches, wait) = (Vec::new(), Duration::from_millis(2_600));
        let pulled = source.poll(wait, Duration::ZERO, &WIDE, &mut batches).unwrap();
        assert!(batches.len() < 2 && !pulled.at_end);
        (batches.iter().flat_map(shown).collect::<Vec<_>>(), pulled.notices)
    };
    assert_eq!(poll(&mut source).0, [r#"0 line 2 {"a":"1","b":"x"}"#]);
    std::fs::write(&path, "a,b\n1,x\n2,y\n").unwrap();
    let (rows, notices) = poll(&mut source);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        matches!(&notices[..], [Notice::Replaced { .. }, Notice::Assigned { .. }]),
        "{notices:?}"
    );
    assert_eq!(poll(&mut source).0, [""; 0]);
    std::fs::write(&path, "a,b\n1,x\n2,y\n").unwrap();
    assert_eq!(poll(&mut source).0, [""; 0], "written anew with the same content");
    std::fs::write(folder.path().join("next.csv"), "a,b\n3,z\n").unwrap();
    assert_eq!(poll(&mut source).0.len(), 1);
}
