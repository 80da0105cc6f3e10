//! How fast commits and files are. Not run by default: `cargo test -- --ignored speed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use super::tests_support::*;
use super::*;

fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * part / 100]
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_commits() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let lake = lake(folder.path());
    let mut table = Table::open_or_create(&lake, &spec("bronze/changes")).await.unwrap();
    let (mut files, mut commits) = (Vec::new(), Vec::new());
    for number in 0..600 {
        let start = Instant::now();
        let commit = append(&table, number * 1_000, number * 1_000 + 1_000);
        files.push(start.elapsed());
        let start = Instant::now();
        table.commit(&commit).await.unwrap();
        commits.push(start.elapsed());
        if table.checkpoint_due() {
            let start = Instant::now();
            table.checkpoint().run().unwrap();
            println!("checkpoint of {} files: {:?}", table.files().count(), start.elapsed());
        }
    }
    for (name, times) in [("file of 1,000 rows", &mut files), ("commit", &mut commits)] {
        let (p50, p99) = (percentile(times, 50), percentile(times, 99));
        println!("{name}: p50 {p50:?} p99 {p99:?}");
    }
    let start = Instant::now();
    let again = Table::open_or_create(&lake, &spec("bronze/changes")).await.unwrap();
    println!("open at version {}: {:?}", again.version(), start.elapsed());
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_files() {
    const BATCH: i64 = 5_000;
    let folder = tempfile::tempdir_in(".").unwrap();
    let lake = lake(folder.path());
    let schema = Schema::new(vec![
        Field::new("topic", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
    ]);
    let spec = TableSpec {
        name: "bronze/changes".to_owned(),
        schema: Arc::new(schema),
        partition_columns: Vec::new(),
        description: String::new(),
    };
    let table = Table::open_or_create(&lake, &spec).await.unwrap();
    let value = |it: i64| {
        let hash = (it as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let columns: String = (0..14)
            .map(|at| format!("\"column_{at}\":\"{:x}\",", hash.rotate_left(at * 5)))
            .collect();
        format!(
            "{{\"before\":null,\"after\":{{{columns}\"id\":{it}}},\"source\":{{\"lsn\":{it},\"table\":\"orders\",\"db\":\"shop\",\"schema\":\"public\",\"connector\":\"postgresql\",\"ts_ms\":179524440{it}}}}}"
        )
    };
    let batches: Vec<RecordBatch> = (0..60)
        .map(|batch| {
            let rows = || batch * BATCH..(batch + 1) * BATCH;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(rows().map(|_| "shop.public.orders"))),
                Arc::new(Int64Array::from_iter_values(rows())),
                Arc::new(BinaryArray::from_iter_values(
                    rows().map(|it| format!("{{\"id\":{it}}}")),
                )),
                Arc::new(BinaryArray::from_iter_values(rows().map(value))),
            ];
            RecordBatch::try_new(table.file_schema(), columns).unwrap()
        })
        .collect();
    let start = Instant::now();
    let mut writer = table.file_writer(&[]).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    let encoded = start.elapsed();
    let file = writer.finish().unwrap();
    let bytes: usize = value(BATCH).len();
    println!(
        "{} rows of {bytes} B: {:.0} rows/s to encode, {:?} in all, {} B on disk a row",
        file.rows(),
        file.rows() as f64 / encoded.as_secs_f64(),
        start.elapsed(),
        file.size() / file.rows()
    );
}
