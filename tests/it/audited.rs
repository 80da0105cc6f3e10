//! The auditor of a run, from outside: groups of cells are computed again while records come and over restarts, and a
//! damaged cell is found, said and written again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use harness::delta_log::DeltaLog;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::live::{SOON, get, mint, port, ready};
use crate::support::http::request;
use crate::support::stream::{append, options, records};
use crate::support::{Place, Weir, wait_until};

const OFTEN: &str =
    "lake.barrier_interval = \"200ms\"\naudit.interval = \"50ms\"\naudit.budget = \"10s\"\n";

/// A row of `gold/audit`.
#[derive(Debug)]
struct Row {
    kpi: String,
    grain: String,
    status: String,
    cells: i64,
    mismatches: i64,
    details: Option<String>,
    epoch: i64,
}

fn rows(lake: &Path) -> Vec<Row> {
    let root = lake.join("gold/audit");
    if !DeltaLog::exists(&root) {
        return Vec::new();
    }
    let log = DeltaLog::open(&root).unwrap();
    let mut rows = Vec::new();
    for file in log.at(log.newest()).files {
        let read = log.read(&file, None, |batch| {
            let text = |name: &str, at| batch[name].as_string::<i32>().value(at).to_owned();
            let count = |name: &str, at| batch[name].as_primitive::<Int64Type>().value(at);
            rows.extend((0..batch.num_rows()).map(|at| Row {
                kpi: text("kpi", at),
                grain: text("grain", at),
                status: text("status", at),
                cells: count("cells", at),
                mismatches: count("mismatches", at),
                details: batch["details"].is_valid(at).then(|| text("details", at)),
                epoch: count("epoch", at),
            }));
            Ok(())
        });
        read.unwrap();
    }
    rows
}

/// What the metrics say of audits: by status, and of cells that differ.
fn metrics(port: u16) -> BTreeMap<String, u64> {
    let text = request("GET", port, "/metrics", None).body;
    let own = text.lines().filter(|line| line.starts_with("weir_audit"));
    own.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    })
    .collect()
}

fn made(port: u16, status: &str) -> u64 {
    metrics(port)[&format!("weir_audits_total{{status=\"{status}\"}}")]
}

/// Whether a reason why answers may be wrong has these words. Some records of the stream cannot be read, which is one.
fn says_of(port: u16, token: &str, words: &str) -> bool {
    get(port, "/api/v1/meta", token)["reasons"].to_string().contains(words)
}

fn start(place: &Place) -> (Weir, u16, String) {
    let mut run = place.start(&["run"]);
    let port = port(&mut run);
    ready(port);
    (run, port, mint(place, &[]))
}

#[test]
fn audits_are_made_beside_changes_and_over_restarts_and_add_up() {
    let place = Place::new();
    place.configure_files(OFTEN);
    let all = records(&options(71, 6_000));
    let (mut ok, mut mismatches) = (0, 0);
    for (number, part) in all.chunks(2_000).enumerate() {
        let (run, port, _) = start(&place);
        for (at, few) in part.chunks(200).enumerate() {
            append(&place.path(&format!("input/{number}-{at:03}.ndjson")), few);
            let before = made(port, "ok");
            wait_until("there are some more audits", SOON, || made(port, "ok") >= before + 2);
        }
        let told = metrics(port);
        assert_eq!(told["weir_audit_mismatches_total"], 0, "{told:?}\n{}", run.log());
        ok += made(port, "ok");
        run.stops();
    }
    let rows = rows(place.lake());
    let of = |status: &str| rows.iter().filter(|row| row.status == status).count() as u64;
    mismatches += of("mismatch");
    assert_eq!(mismatches, 0, "{rows:?}");
    // An audit may have been made between the last look at the metrics and the end.
    assert!((ok..=ok + 30).contains(&of("ok")), "{ok} were said, {} are there", of("ok"));
    assert!(of("passed_over") * 10 <= of("ok"), "{rows:?}");
    assert!(rows.iter().all(|row| row.mismatches == 0));
    assert!(rows.iter().filter(|row| row.cells > 0).count() * 2 > rows.len(), "{rows:?}");
    let different = |of: &dyn Fn(&Row) -> String| {
        rows.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(different(&|row| row.kpi.clone()) > 4, "few KPIs: {rows:?}");
    assert!(different(&|row| row.grain.clone()) > 4, "few grains: {rows:?}");
    assert!(different(&|row| row.epoch.to_string()) > 4, "few epochs: {rows:?}");
    let listed = place.succeeds(&["tables", "list"]).stdout;
    assert!(listed.contains("gold/audit"), "{listed}");
    place.succeeds(&["verify"]);
    let backup = place.path("backup").display().to_string();
    place.succeeds(&["tables", "export", "--to", &backup]);
    place.succeeds(&["verify", "--lake", &backup]);
}

#[test]
fn none_are_made_where_the_interval_is_nothing() {
    let place = Place::new();
    place.configure_files("audit.interval = \"0s\"\nlake.barrier_interval = \"100ms\"\n");
    append(&place.path("input/a.ndjson"), &records(&options(72, 200)));
    let (run, port, _) = start(&place);
    wait_until("there is a barrier", SOON, || place.lake().join("gold/kpi_current").exists());
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(metrics(port).values().sum::<u64>(), 0);
    run.stops();
    assert!(!place.lake().join("gold/audit").exists());
}

/// Writes a file of current values again, one KPI's values other than they were, in as many bytes.
pub(crate) fn damage(path: &Path, kpi: &str) -> bool {
    let size = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let mut is_hit = false;
    let mut other = |batch: RecordBatch| {
        let (kpis, values) =
            (batch["kpi"].as_string::<i32>(), batch["value"].as_primitive::<Decimal128Type>());
        let changed = (0..batch.num_rows()).map(|at| {
            let is_own = kpis.value(at) == kpi;
            is_hit |= is_own;
            values.is_valid(at).then(|| values.value(at) + i128::from(is_own))
        });
        let changed = Decimal128Array::from_iter(changed).with_precision_and_scale(38, 10).unwrap();
        let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
        arrays[schema.index_of("value").unwrap()] = Arc::new(changed);
        RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap()
    };
    let batches: Vec<RecordBatch> =
        reader.build().unwrap().map(|batch| other(batch.unwrap())).collect();
    let write = |padding: usize| {
        let pad = KeyValue::new("pad".to_owned(), "x".repeat(padding));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(19).unwrap()))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_key_value_metadata(Some(vec![pad]));
        let mut bytes = Vec::new();
        let properties = Some(properties.build());
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), properties).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.close().unwrap();
        bytes
    };
    if !is_hit {
        return false;
    }
    // A small file leaves no room for what is written otherwise here.
    let Some(mut padding) = size.checked_sub(write(0).len()) else { return false };
    let mut bytes = write(padding);
    while bytes.len() > size {
        let beyond = bytes.len() - size;
        let Some(less) = padding.checked_sub(beyond) else { return false };
        padding = less;
        bytes = write(padding);
    }
    // The length of the padding is written in one byte more at some lengths, and no file has that size.
    assert_eq!(bytes.len(), size);
    let staged = path.with_extension("other");
    fs::write(&staged, bytes).unwrap();
    fs::rename(staged, path).unwrap();
    true
}

#[test]
fn a_damaged_cell_is_found_said_and_written_again() {
    let place = Place::new();
    place.configure_files(&format!("lake.compact = false\n{OFTEN}"));
    append(&place.path("input/a.ndjson"), &records(&options(73, 1_500)));
    place.succeeds(&["run", "--until-end"]);
    let (mut run, port, token) = start(&place);
    wait_until("an audit is made", SOON, || made(port, "ok") > 2);
    let table = place.lake().join("gold/kpi_current");
    let files = fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|own| own == "parquet"));
    let hits = files.filter(|path| damage(path, "orders")).count();
    assert!(hits > 0, "nothing was damaged");
    run.wait_for("audit: KPI `orders` of tenant", SOON);
    run.wait_for("the KPI `orders` is written again", SOON);
    // The process helps itself: the KPI is computed anew, once.
    run.wait_for("the KPI `orders` is computed anew from silver", SOON);
    run.wait_for("another run serves", SOON);
    let audits = made(port, "ok");
    wait_until("audits go on", SOON, || made(port, "ok") > audits + 2);
    let told = metrics(port);
    assert!(made(port, "mismatch") > 0 && told["weir_audit_mismatches_total"] > 0, "{told:?}");
    wait_until("nothing is said of it", SOON, || !says_of(port, &token, "KPI `orders`"));
    let log = run.log();
    assert_eq!(log.matches("is computed anew from silver, as was decided").count(), 1, "{log}");
    run.stops();
    let found = rows(place.lake());
    let found: Vec<&Row> = found.iter().filter(|row| row.status == "mismatch").collect();
    assert!(!found.is_empty() && found.iter().all(|row| row.kpi == "orders"), "{found:?}");
    for row in found {
        assert!(row.mismatches > 0 && row.mismatches <= row.cells, "{row:?}");
        let details = row.details.as_deref().unwrap();
        let details: serde_json::Value = serde_json::from_str(details).unwrap();
        let cell = &details["cells"][0];
        let number = |name: &str| cell[name].as_str().unwrap().to_owned();
        assert_ne!(number("expected"), number("found"), "{row:?}");
        assert!(cell["dims"].is_object(), "{row:?}");
    }
    place.succeeds(&["verify"]);
    let (run, ..) = start(&place);
    assert!(!run.log().contains("computed anew"), "{}", run.log());
    run.stops();
}

#[test]
fn a_kpi_that_stays_wrong_is_computed_anew_once_and_named_until_it_is_right() {
    let place = Place::new();
    // Barriers are rare: what is damaged stays so for a while.
    let rare = OFTEN.replace("200ms", "10s");
    place.configure_files(&format!("lake.compact = false\n{rare}"));
    append(&place.path("input/a.ndjson"), &records(&options(74, 1_500)));
    place.succeeds(&["run", "--until-end"]);
    let (mut run, port, token) = start(&place);
    let damaged = || {
        let table = place.lake().join("gold/kpi_current");
        let files = fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|own| own == "parquet"));
        assert!(files.filter(|path| damage(path, "orders")).count() > 0);
    };
    wait_until("an audit is made", SOON, || made(port, "ok") > 2);
    damaged();
    run.wait_for("another run serves", SOON);
    wait_until("nothing is said of it", SOON, || !says_of(port, &token, "KPI `orders`"));
    // Wrong once more: what is wrong again is not cured by computing it anew again.
    let before = made(port, "ok");
    wait_until("audits go on", SOON, || made(port, "ok") > before + 2);
    damaged();
    wait_until("answers are degraded", SOON, || {
        says_of(port, &token, "computing the KPI anew has not ended it")
    });
    assert_eq!(request("GET", port, "/readyz", None).status, 200, "it may be asked all the same");
    let answer = get(port, "/api/v1/kpis?kpi=orders&grain=day", &token);
    assert_eq!(answer["degraded"], true, "{answer}");
    let log = run.log();
    assert_eq!(log.matches("is computed anew from silver, as was decided").count(), 1, "{log}");
    run.stops();
}
