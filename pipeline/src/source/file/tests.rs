//! Tests of the module `file`.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use schemas::{Contract, Micros};

use super::*;
use crate::decode::{ChangeBatch, ChangeKind, PreparedContract, Rows, Scratch, decode_batch};
use crate::source::reread::read_again;
use crate::source::{Mapping, Reached};

const WIDE: Limits =
    Limits { records: 1_000, bytes: 1 << 20, partition_records: 1_000, partition_bytes: 1 << 20 };

fn source(path: &Path, contract: Option<&str>, progress: &Progress) -> FileSource {
    let mut source = FileSource::new(FileConfig {
        snapshots: Default::default(),
        name: "file".to_owned(),
        path: path.to_owned(),
        contract: contract.map(Mapping::from),
        topics: BTreeMap::new(),
    });
    source.start(progress).unwrap();
    source
}

fn key(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        source: Arc::from("file"),
        topic: Arc::from(topic),
        incarnation: Arc::from(INCARNATION),
        partition,
    }
}

/// Everything up to the end, as `topic/partition/offset key=value`.
fn all(source: &mut FileSource, limits: &Limits) -> Result<Vec<String>, SourceError> {
    source.stop_at_end()?;
    let mut lines = Vec::new();
    loop {
        let mut batches = Vec::new();
        let pulled = source.poll(Duration::ZERO, Duration::from_secs(9), limits, &mut batches)?;
        assert!(pulled.records <= limits.records);
        lines.extend(batches.iter().flat_map(shown));
        if pulled.at_end {
            return Ok(lines);
        }
    }
}

fn shown(batch: &RawBatch) -> Vec<String> {
    let text = |b: Option<&[u8]>| b.map_or("-".into(), String::from_utf8_lossy).into_owned();
    let topic = batch.topic();
    let line = |r: crate::record::RawRecord<'_>| {
        let at = format!("{}/{}/{}", topic.topic, topic.partition, r.offset);
        format!("{at} {}={}", text(r.key), text(r.value))
    };
    batch.iter().map(line).collect()
}

fn gz(path: &Path, text: &str) {
    let mut out = GzEncoder::new(std::fs::File::create(path).unwrap(), Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap();
}

const LINES: &str = r#"{"topic":"a","partition":0,"offset":5,"key":{"id":1},"value":{"op":"c", "x":1.50}}
{"topic":"b","partition":3,"offset":0,"key":"k\"1","value":"plain \u00e9","timestamp":1700000000000}

{"topic":"a","partition":0,"offset":9,"key":null,"value":null}
"#;

#[test]
fn lines_with_coordinates_keep_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.ndjson"), LINES).unwrap();
    gz(
        &folder.path().join("2.gz"),
        "{\"topic\":\"a\",\"partition\":0,\"offset\":10,\"value\":\"z\"}",
    );
    let mut source = source(folder.path(), None, &Progress::new());
    let lines = all(&mut source, &WIDE).unwrap();
    let expected = [
        r#"a/0/5 {"id":1}={"op":"c", "x":1.50}"#,
        "a/0/9 -=-",
        "a/0/10 -=z",
        "b/3/0 k\"1=plain \u{e9}",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_line_that_is_no_record_becomes_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.ndjson");
    let mut text = b"nonsense\n{\"topic\":\"a\",\"partition\":0,\"offset\":0}\n".to_vec();
    text.extend_from_slice(b"{\"topic\":\"a\",\"partition\":0,\"offset\":0,\"value\":{}}\r\n");
    text.extend_from_slice(b"{\"topic\":\"a\",\"partition\":-1,\"offset\":0,\"value\":{}}\n\xff\n");
    std::fs::write(&path, text).unwrap();
    let mut lines = all(&mut source(&path, None, &Progress::new()), &WIDE).unwrap();
    lines.sort();
    assert_eq!(lines[0], "a/0/0 -={}");
    assert_eq!(lines[1], "in.ndjson/0/0 -=nonsense");
    assert!(lines[2].starts_with("in.ndjson/0/1 -={\"topic\":\"a\""), "{lines:?}");
    assert_eq!(lines.len(), 5);
    // Again, behind the first two bad lines: the rest keeps its offsets.
    let progress = [(key("in.ndjson", 0), Reached { next: 2, last: None })].into_iter().collect();
    let again = all(&mut source(&path, None, &progress), &WIDE).unwrap();
    assert_eq!(again.len(), 3, "{again:?}");
}

#[test]
fn plain_values_take_file_name_and_line_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.json.gz");
    gz(&path, "{\"op\":1}\n\n{\"op\":2}\nbad\n");
    let mut first = source(&path, Some("orders"), &Progress::new());
    let lines = all(&mut first, &WIDE).unwrap();
    let name = "orders.json.gz/0";
    let expected = ["0 -={\"op\":1}", "2 -={\"op\":2}", "3 -=bad"].map(|l| format!("{name}/{l}"));
    assert_eq!(lines, expected);
    let span = Span {
        source: "file".to_owned(),
        topic: "orders.json.gz".to_owned(),
        incarnation: INCARNATION.to_owned(),
        partition: 0,
        from: 1,
        to: 3,
    };
    let soon = Instant::now() + Duration::from_secs(5);
    let again = read_again(&mut first, std::slice::from_ref(&span), soon).unwrap();
    assert_eq!(shown(&again[0]), expected[1..2]);
    // Offset 1 was a blank line: the part that was read began before it.
    assert_eq!(again[0].span(), Some((1, 3)));
    let lost = read_again(&mut first, &[Span { to: 9, ..span }], soon).unwrap_err();
    assert!(lost.to_string().contains("end at offset 4"), "{lost}");
}

#[test]
fn progress_is_skipped_and_a_replaced_record_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    std::fs::write(&path, LINES).unwrap();
    let mut first = source(&path, None, &Progress::new());
    let mut batches = Vec::new();
    first.poll(Duration::ZERO, Duration::ZERO, &WIDE, &mut batches).unwrap();
    let hash = record_hash(&batches[0].get(0).unwrap());
    let at = |hash| Reached { next: 6, last: Some(LastRecord { offset: 5, hash }) };
    let mut lines =
        all(&mut source(&path, None, &[(key("a", 0), at(hash))].into()), &WIDE).unwrap();
    lines.sort();
    assert_eq!(lines.len(), 2, "{lines:?}");
    // The time of the event is no part of what was committed before it was read.
    let with_time = LINES.replace("\"x\":1.50", "\"ts_ms\":15");
    std::fs::write(&path, &with_time).unwrap();
    let bytes = br#"{"op":"c", "ts_ms":15}"#;
    let held = |timestamp| RawRecord {
        offset: 5,
        prev_offset: 5,
        timestamp,
        key: Some(br#"{"id":1}"#),
        value: Some(bytes),
        headers: &[],
    };
    for (timestamp, is_same) in
        [(None, true), (Some(Micros(15_000)), true), (Some(Micros(1)), false)]
    {
        let hash = record_hash(&held(timestamp));
        let again = all(&mut source(&path, None, &[(key("a", 0), at(hash))].into()), &WIDE);
        assert_eq!(again.is_ok(), is_same, "{timestamp:?}");
    }
    std::fs::write(&path, LINES).unwrap();
    let wrong = all(&mut source(&path, None, &[(key("a", 0), at(hash + 1))].into()), &WIDE);
    let error = wrong.unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("offset 5"), "{error}");
}

#[test]
fn limits_cut_and_offsets_that_go_back_stop_after_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let line = |offset: i64| {
        format!("{{\"topic\":\"a\",\"partition\":0,\"offset\":{offset},\"value\":\"v\"}}\n")
    };
    let text: String = (0..50).map(line).collect();
    std::fs::write(folder.path().join("a"), &text).unwrap();
    let narrow = Limits { records: 7, ..WIDE };
    let mut cut = source(folder.path(), None, &Progress::new());
    assert_eq!(all(&mut cut, &narrow).unwrap().len(), 50);
    std::fs::write(folder.path().join("b"), line(50) + &line(20)).unwrap();
    let mut back = source(folder.path(), None, &Progress::new());
    let mut batches = Vec::new();
    back.poll(Duration::ZERO, Duration::from_secs(1), &WIDE, &mut batches).unwrap();
    assert_eq!(batches.iter().map(RawBatch::len).sum::<usize>(), 51);
    let error = back.poll(Duration::ZERO, Duration::ZERO, &WIDE, &mut batches).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("line 2") && error.contains("offset 20"), "{error}");
    assert!(error.contains("after offset 50"), "{error}");
}

#[test]
fn new_lines_and_files_are_picked_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    std::fs::write(&path, "{\"x\":1}\n{\"x\":2").unwrap();
    let mut source = source(folder.path(), Some("orders"), &Progress::new());
    let mut seen = Vec::new();
    let mut poll = |source: &mut FileSource| {
        let mut batches = Vec::new();
        source.poll(Duration::from_millis(2_500), Duration::ZERO, &WIDE, &mut batches).unwrap();
        seen.extend(batches.iter().flat_map(shown));
        seen.clone()
    };
    // The second line is still being written.
    assert_eq!(poll(&mut source), ["a/0/0 -={\"x\":1}"]);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"}\n").unwrap();
    assert_eq!(poll(&mut source).last().unwrap(), "a/0/1 -={\"x\":2}");
    std::fs::write(folder.path().join("b"), "{\"x\":3}\n").unwrap();
    assert_eq!(poll(&mut source).last().unwrap(), "b/0/0 -={\"x\":3}");
    // A last line without an end counts once the file stays as it is.
    file.write_all(b"{\"x\":4}").unwrap();
    assert_eq!(poll(&mut source).last().unwrap(), "a/0/2 -={\"x\":4}");
    std::fs::write(&path, "short").unwrap();
    let mut batches = Vec::new();
    let error = (0..3)
        .find_map(|_| {
            source.poll(Duration::from_secs(1), Duration::ZERO, &WIDE, &mut batches).err()
        })
        .unwrap();
    assert!(error.to_string().contains("now 5 bytes"), "{error}");
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What a start behind `progress` gives up to the end, and what it says besides.
fn run(path: &Path, contract: Option<&str>, progress: &mut Progress) -> (Vec<String>, Vec<String>) {
    let mut source = source(path, contract, progress);
    source.stop_at_end().unwrap();
    let mut batches = Vec::new();
    let wait = Duration::from_secs(9);
    let pulled = source.poll(Duration::ZERO, wait, &WIDE, &mut batches).unwrap();
    assert!(pulled.at_end);
    for batch in &batches {
        let (_, next) = batch.span().unwrap();
        let last = crate::source::last_of(batch);
        progress.insert(batch.topic().as_ref().clone(), Reached { next, last });
    }
    let is_assigned = |notice: &&Notice| matches!(notice, Notice::Assigned { .. });
    let said = pulled.notices.iter().filter(|n| !is_assigned(n)).map(ToString::to_string);
    (batches.iter().flat_map(shown).collect(), said.collect())
}

#[test]
fn a_half_written_last_line_is_left_until_its_end_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut progress = Progress::new();
    append(&path, "{\"x\":0}\n\n{\"x\":");
    let (lines, said) = run(&path, Some("orders"), &mut progress);
    assert_eq!(lines, ["a/0/0 -={\"x\":0}"]);
    let left =
        format!("line 3 of `{}` has no end yet; it is left for the next run", path.display());
    assert_eq!(said, [left]);
    // A whole value is taken without an end, and its end is no line of its own.
    append(&path, "2}");
    let (lines, said) = run(&path, Some("orders"), &mut progress);
    assert_eq!((lines, said.len()), (vec!["a/0/2 -={\"x\":2}".to_owned()], 0));
    append(&path, "\n{\"x\":3}\n12");
    let (lines, said) = run(&path, Some("orders"), &mut progress);
    assert_eq!((lines, said.len()), (vec!["a/0/3 -={\"x\":3}".to_owned()], 1));
    append(&path, "3\n");
    let (lines, said) = run(&path, Some("orders"), &mut progress);
    assert_eq!((lines, said.len()), (vec!["a/0/4 -=123".to_owned()], 0));
}

#[test]
fn a_line_that_is_written_in_pieces_while_it_is_followed_is_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    append(&path, "{\"x\":0}\n");
    let mut source = source(&path, Some("orders"), &Progress::new());
    let mut poll = || {
        let mut batches = Vec::new();
        source.poll(Duration::from_millis(1_300), Duration::ZERO, &WIDE, &mut batches)?;
        Ok::<_, SourceError>(batches.iter().flat_map(shown).collect::<Vec<_>>())
    };
    assert_eq!(poll().unwrap().len(), 1);
    append(&path, "{\"x\"");
    assert_eq!(poll().unwrap(), [""; 0]);
    assert_eq!(poll().unwrap(), [""; 0], "also after it has stayed as it is");
    append(&path, ":1}");
    assert_eq!(poll().unwrap(), ["a/0/1 -={\"x\":1}"]);
    append(&path, "\n{\"x\":2}\n{\"x\":3}");
    assert_eq!(poll().unwrap(), ["a/0/2 -={\"x\":2}", "a/0/3 -={\"x\":3}"]);
    append(&path, ",\n");
    let error = poll().and_then(|_| poll()).unwrap_err().to_string();
    assert!(error.contains("line 4") && error.contains("goes on"), "{error}");
}

#[test]
fn a_replaced_or_shortened_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    append(&path, "{\"x\":0}\n{\"x\":1}\n");
    let mut progress = Progress::new();
    assert_eq!(run(&path, Some("orders"), &mut progress).0.len(), 2);
    assert_eq!(run(&path, Some("orders"), &mut progress).0.len(), 0);
    let refused = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let error = all(&mut source(folder.path(), Some("orders"), &progress), &WIDE).unwrap_err();
        error.to_string()
    };
    let other = refused("{\"q\":0}\n{\"q\":1}\n{\"q\":2}\n");
    assert!(other.contains("line 2") && other.contains("offset 1"), "{other}");
    for shorter in ["{\"x\":0}\n", ""] {
        let error = refused(shorter);
        assert!(error.contains("topic `a`") && error.contains("offset 2 before"), "{error}");
    }
    let blank = refused("\n\n\n{\"x\":0}\n");
    assert!(blank.contains("line 4"), "{blank}");
    // A file that was read and taken away is missed by nobody.
    std::fs::rename(&path, folder.path().join("b")).unwrap();
    let lines = all(&mut source(folder.path(), Some("orders"), &progress), &WIDE).unwrap();
    assert_eq!(lines, ["b/0/3 -={\"x\":0}"]);
}

#[test]
fn a_file_that_is_replaced_by_a_longer_one_while_it_is_followed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let line = |offset: i64| {
        format!("{{\"topic\":\"t\",\"partition\":0,\"offset\":{offset},\"value\":\"{offset}\"}}\n")
    };
    for name in ["a", "a.gz"] {
        let path = folder.path().join(name);
        let write = |text: &str| {
            if name == "a" { std::fs::write(&path, text).unwrap() } else { gz(&path, text) }
        };
        write(&(line(0) + &line(1)));
        let mut source = source(&path, None, &Progress::new());
        let mut poll = || {
            let mut batches = Vec::new();
            source.poll(Duration::from_millis(1_300), Duration::ZERO, &WIDE, &mut batches)?;
            Ok::<_, SourceError>(batches.iter().flat_map(shown).collect::<Vec<_>>())
        };
        assert_eq!(poll().unwrap().len(), 2);
        // Written anew with more at its end: the same file.
        write(&(line(0) + &line(1) + &line(2)));
        assert_eq!(poll().unwrap(), ["t/0/2 -=2"]);
        write(&(line(7) + &line(8) + &line(9) + &line(12)));
        let error = (0..3).find_map(|_| poll().err()).unwrap().to_string();
        assert!(error.contains("line 3: the line is not the one"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn partitions_go_on_in_later_files_when_the_earlier_ones_are_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let line = |offset: i64| {
        format!("{{\"topic\":\"t\",\"partition\":0,\"offset\":{offset},\"value\":\"{offset}\"}}\n")
    };
    let path = folder.path().join("1");
    append(&path, &(line(3) + &line(5)));
    let mut progress = Progress::new();
    assert_eq!(run(folder.path(), None, &mut progress).0.len(), 2);
    std::fs::remove_file(&path).unwrap();
    append(&folder.path().join("2"), &line(7));
    assert_eq!(run(folder.path(), None, &mut progress.clone()).0, ["t/0/7 -=7"]);
    append(&path, &line(3));
    let error = all(&mut source(folder.path(), None, &progress), &WIDE).unwrap_err();
    assert!(error.to_string().contains("offset 5"), "{error}");
}

#[test]
fn what_is_wrong_with_a_line_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let line = |partition: i64, offset: &str| {
        format!(
            "{{\"topic\":\"t\",\"partition\":{partition},\"offset\":{offset},\"value\":{{}}}}\n"
        )
    };
    let text = "\u{feff}".to_owned()
        + &line(0, "7")
        + &line(0, "9223372036854775807")
        + &line(0, "-5")
        + &line(-1, "8")
        + "garbage\n{\"topic\":\"t\"}\n"
        + &line(0, "9223372036854775806");
    std::fs::write(&path, text).unwrap();
    let mut source = source(&path, None, &Progress::new());
    let mut batches = Vec::new();
    source.poll(Duration::ZERO, Duration::from_secs(9), &WIDE, &mut batches).unwrap();
    assert_eq!(shown(&batches[0]), ["t/0/7 -={}", "t/0/9223372036854775806 -={}"]);
    assert_eq!(batches[0].span(), Some((7, i64::MAX)));
    let of = batches[1].topic();
    let wrong: Vec<&str> = batches[1].iter().map(|r| wrong_line(of, &r).unwrap()).collect();
    let says = [
        "offset 9223372036854775807 is not between 0 and 9223372036854775806",
        "offset -5 is not",
        "partition -1 is negative",
        "expected value at line 1 column 1",
        "missing field `partition`",
    ];
    assert_eq!(wrong.len(), says.len());
    for (wrong, says) in wrong.iter().zip(says) {
        assert!(wrong.contains(says), "{wrong}");
    }
    assert_eq!(batches[0].iter().find_map(|r| wrong_line(batches[0].topic(), &r)), None);
    // Nobody knows which rows they are of, and that is said of each.
    let text = "name='t'\nformat='rows'\nkey=['x']\ntenant='x'\ncolumns=[{name='x',type='text'}]";
    let contract = PreparedContract::new(Contract::parse(text).unwrap()).unwrap();
    let (mut out, mut scratch) = (ChangeBatch::default(), Scratch::default());
    decode_batch(&Rows::PLAIN, &contract, &batches[1], &mut scratch, &mut out);
    assert_eq!(out.errors().len(), says.len());
    let unread = out.iter().filter(|own| own.change.kind == ChangeKind::Unreadable);
    assert_eq!(unread.filter(|own| own.key.is_empty()).count(), says.len());
    // Plain values are read behind the mark as well.
    std::fs::write(&path, "\u{feff}{\"x\":1}\n").unwrap();
    assert_eq!(run(&path, Some("orders"), &mut Progress::new()).0, ["in/0/0 -={\"x\":1}"]);
}
