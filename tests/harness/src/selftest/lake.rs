//! Writes small lakes: parquet files and log entries, without a Delta library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, ListBuilder, RecordBatch, StringArray, StructBuilder, TimestampMicrosecondArray,
};
use arrow::array::{BinaryBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use schemas::{ColumnType, Contract, Micros};
use serde_json::{Value, json};

use crate::Log;
use crate::bronze::Record;
use crate::event::{Cell, Decoded, decode};
use crate::fold::{Fold, SilverRow};
use crate::history::{History, HistoryRow, Quiet};
use crate::kpis::{self, CellId, CellValue, Sums};
use crate::tables::CurrentRow;
use crate::workload::{Options, Workload};

/// A lake in memory: what is to be written.
pub(super) struct Lake {
    pub(super) log: Log,
    /// Records of each bronze commit.
    versions: Vec<Vec<Record>>,
    txns: Vec<BTreeMap<String, i64>>,
    contracts: BTreeMap<String, Contract>,
    pub(super) silver: Silver,
    pub(super) current: BTreeMap<CellId, CurrentRow>,
    pub(super) windows: BTreeMap<CellId, CellValue>,
    pub(super) history: Vec<HistoryRow>,
    barrier: (i64, i64),
    /// Added to the barrier that silver claims.
    pub(super) ahead: i64,
    /// Whether the deletion vector of `silver/orders` is written.
    pub(super) vector: bool,
}

/// Rows of each silver table.
pub(super) struct Silver(BTreeMap<String, BTreeMap<String, SilverRow>>);

impl std::ops::Index<&str> for Silver {
    type Output = BTreeMap<String, SilverRow>;
    fn index(&self, name: &str) -> &Self::Output {
        &self.0[name]
    }
}

impl std::ops::IndexMut<&str> for Silver {
    fn index_mut(&mut self, name: &str) -> &mut Self::Output {
        self.0.get_mut(name).unwrap()
    }
}

/// Records of an epoch.
const RECORDS: i64 = 20;

/// Epochs in threes that follow each other by three seconds; the threes spread over the span.
fn clock(options: &Options, epoch: i64) -> i64 {
    let epochs = i64::try_from(options.events).unwrap() / RECORDS;
    let span = i64::from(options.span_days) * 86_400_000_000;
    options.now.0 - span + span / epochs * (epoch - epoch % 3) + epoch % 3 * 3_000_000
}

impl Lake {
    pub(super) fn sample() -> Lake {
        Lake::sample_up_to(30)
    }

    /// 600 records in 30 epochs and 10 commits; silver and gold stand at epoch `barrier`.
    pub(super) fn sample_up_to(barrier: i64) -> Lake {
        let options = Options {
            events: 600,
            snapshot: 40,
            span_days: 2,
            poison: 0.03,
            redelivery: 0.02,
            ..Options::default()
        };
        Lake::of(&options, barrier)
    }

    /// The lake of these options.
    pub(super) fn of(options: &Options, barrier: i64) -> Lake {
        let log = Workload::log(options);
        let records = records(options);
        let (mut fold, mut sums) = (Fold::new(BTreeMap::new()).unwrap(), Sums::default());
        let mut history = History::default();
        let mut waiting = records.iter().peekable();
        for epoch in 1..=barrier {
            let clock = clock(options, epoch);
            history.timers(clock);
            let (mut touched, mut contracts) = (BTreeSet::new(), BTreeSet::new());
            let mut ours: Vec<&Record> = Vec::new();
            ours.extend(std::iter::from_fn(|| waiting.next_if(|r| r.epoch == epoch)));
            ours.sort_by(|a, b| {
                (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset))
            });
            for record in ours {
                let delta = fold.apply(record);
                delta.gone.iter().for_each(|(c, _, row)| touched.extend(sums.take(c, row)));
                delta.come.iter().for_each(|(c, _, row)| touched.extend(sums.add(c, row)));
                contracts.extend(delta.contract);
            }
            let mut quiet = Quiet::default();
            if epoch <= 3 {
                quiet = Quiet { contracts, cells: touched.clone() };
            }
            history.epoch((epoch, clock), &quiet, &touched, &sums);
        }
        let barrier = (barrier, clock(options, barrier) + 500_000);
        history.timers(barrier.1);
        let current = history.current().map(|(id, value, epoch, as_of)| {
            (id.clone(), (value, epoch, as_of, kpis::unit(id.kpi).unwrap().to_owned()))
        });
        let contracts: BTreeMap<String, Contract> =
            fold.contracts().map(|(name, c)| (name.to_owned(), c.clone())).collect();
        let silver: BTreeMap<String, _> =
            contracts.keys().map(|name| (name.clone(), fold.silver(name))).collect();
        let rows = silver.iter().flat_map(|(name, rows)| rows.values().map(|r| (&**name, &r.row)));
        let windows = kpis::windows(rows, barrier.1);
        let mut lake = Lake {
            log,
            versions: records.chunks(records.len().div_ceil(10)).map(<[Record]>::to_vec).collect(),
            txns: Vec::new(),
            contracts,
            silver: Silver(silver),
            current: current.collect(),
            windows,
            history: history.rows().to_vec(),
            barrier,
            ahead: 0,
            vector: true,
        };
        lake.txns = lake.versions.iter().map(|records| progress(records)).collect();
        lake
    }

    pub(super) fn records(&mut self) -> impl Iterator<Item = &mut Record> {
        self.versions.iter_mut().flatten()
    }

    pub(super) fn record(&mut self, index: usize) -> &mut Record {
        self.records().nth(index).unwrap()
    }

    /// Drops a record; `patch` makes the next one claim that nothing was there.
    pub(super) fn drop_record(&mut self, patch: bool) {
        let gone = self.versions[4].remove(7);
        let next = self.records().find(|r| {
            (&r.topic, r.partition, r.prev_offset) == (&gone.topic, gone.partition, gone.offset + 1)
        });
        next.unwrap().prev_offset -= i64::from(patch);
    }

    pub(super) fn double_record(&mut self) {
        let dead = self.versions[5].iter().find(|r| r.value.is_none()).unwrap().clone();
        self.versions[5].push(dead);
    }

    pub(super) fn drift(&mut self) {
        let progress = self.txns[4].iter_mut().find(|(app, _)| app.starts_with("weir/kafka/"));
        *progress.unwrap().1 += 1;
    }

    pub(super) fn forget_progress(&mut self) {
        self.txns[4].retain(|app, _| app.matches('/').count() == 1);
    }

    pub(super) fn turn_clock_back(&mut self) {
        self.records().filter(|r| r.epoch == 20).for_each(|r| r.epoch_clock -= 86_400_000_000);
    }

    pub(super) fn break_chain(&mut self) {
        self.versions[6][8].prev_offset -= 1;
    }

    pub(super) fn write(&self, root: &Path) {
        self.write_bronze(root);
        let (epoch, clock) = (self.barrier.0 + self.ahead, self.barrier.1);
        let txns = BTreeMap::from([("weir/epoch".into(), epoch), ("weir/clock".into(), clock)]);
        for (name, contract) in &self.contracts {
            let rows: Vec<&SilverRow> = self.silver[name].values().collect();
            let table = root.join("silver").join(name);
            let mut add = add("f.parquet");
            let batch = silver_batch(contract, &rows, name == "orders");
            if name == "orders" && self.vector {
                add["deletionVector"] = vector(&table);
            }
            write_file(&table, "f.parquet", &batch);
            write_entries(
                &table,
                &batch,
                &[],
                vec![vec![json!({"add": add})]],
                std::slice::from_ref(&txns),
            );
        }
        let current = self
            .current
            .iter()
            .map(|(id, (value, epoch, as_of, unit))| (id, value, *epoch, *as_of, unit.as_str()));
        let windows = self
            .windows
            .iter()
            .map(|(id, value)| (id, value, epoch, clock, kpis::unit(id.kpi).unwrap()));
        let current = kpi_columns(current.chain(windows).collect());
        let history = self.history.iter().map(|row| {
            (&row.cell, &row.value, row.epoch, row.as_of, kpis::unit(row.cell.kpi).unwrap())
        });
        let mut history = kpi_columns(history.collect());
        let closed: BooleanArray = self.history.iter().map(|row| Some(row.closed)).collect();
        let restated: BooleanArray = self.history.iter().map(|row| Some(row.restatement)).collect();
        history.push(("closed".into(), Arc::new(closed)));
        history.push(("restatement".into(), Arc::new(restated)));
        for (name, columns) in [("gold/kpi_current", current), ("gold/kpi_history", history)] {
            let table = root.join(name);
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            write_file(&table, "f.parquet", &batch);
            let adds = vec![vec![json!({"add": add("f.parquet")})]];
            let txns = [BTreeMap::from([
                ("weir/epoch".into(), self.barrier.0),
                ("weir/clock".into(), clock),
            ])];
            write_entries(&table, &batch, &[], adds, &txns);
        }
    }

    fn write_bronze(&self, root: &Path) {
        let table = root.join("bronze/changes");
        let mut commits = Vec::new();
        for (version, records) in self.versions.iter().enumerate() {
            let mut actions = Vec::new();
            let mut by_day: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
            for record in records {
                by_day.entry(Micros(record.epoch_clock).date()).or_default().push(record);
            }
            for (day, records) in by_day {
                let path = format!("day={day}/{version}.parquet");
                write_file(&table, &path, &bronze_batch(&records));
                let mut add = add(&path.replace('=', "%3D"));
                add["partitionValues"] = json!({"day": day});
                actions.push(json!({"add": add}));
            }
            commits.push(actions);
        }
        let sample = bronze_batch(&[]);
        write_entries(&table, &sample, &["day"], commits, &self.txns);
    }
}

fn records(options: &Options) -> Vec<Record> {
    let fold = Fold::new(BTreeMap::new()).unwrap();
    let contracts: BTreeMap<_, _> = fold.contracts().collect();
    let mut records = Vec::new();
    for (produced, index) in Workload::new(options.clone()).zip(0_i64..) {
        let contract = contracts[produced.topic.rsplit('.').next().unwrap()];
        let decoded = decode(contract, produced.key.as_deref(), produced.value.as_deref());
        let epoch = index / RECORDS + 1;
        records.push(Record {
            source: "kafka".into(),
            topic: produced.topic.into(),
            incarnation: "i1".into(),
            partition: produced.partition,
            offset: produced.offset,
            prev_offset: produced.offset,
            timestamp: Some(produced.ts_ms * 1000),
            key: produced.key,
            value: produced.value,
            headers: vec![("h".into(), Some(b"v".to_vec())), ("n".into(), None)],
            decode_error: if let Decoded::Undecodable(why) = decoded { Some(why) } else { None },
            epoch,
            epoch_clock: clock(options, epoch),
            quiet: epoch <= 3,
        });
    }
    records
}

fn progress(records: &[Record]) -> BTreeMap<String, i64> {
    let mut txns = BTreeMap::new();
    for record in records {
        txns.insert(record.app_id(), record.offset + 1);
        txns.insert("weir/epoch".into(), record.epoch);
        txns.insert("weir/clock".into(), record.epoch_clock);
    }
    txns
}

fn add(path: &str) -> Value {
    json!({"path": path, "partitionValues": {}, "size": 1, "modificationTime": 0, "dataChange": true})
}

/// A vector that deletes row 0, in a file of its own.
fn vector(table: &Path) -> Value {
    let mut bitmap = 1_681_511_377_u32.to_le_bytes().to_vec();
    bitmap.extend(1_u64.to_le_bytes());
    for word in [0_u32, 12_346, 1] {
        bitmap.extend(word.to_le_bytes());
    }
    for half in [0_u16, 0, 16, 0, 0] {
        bitmap.extend(half.to_le_bytes());
    }
    let size = u32::try_from(bitmap.len()).unwrap();
    let file = [&[1][..], &size.to_be_bytes(), &bitmap, &[0; 4]].concat();
    std::fs::create_dir_all(table).unwrap();
    let path = table.join("vector.bin");
    std::fs::write(&path, file).unwrap();
    json!({"storageType": "p", "pathOrInlineDv": path, "offset": 1, "sizeInBytes": size,
        "cardinality": 1})
}

fn write_file(table: &Path, path: &str, batch: &RecordBatch) {
    let path = table.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Entry 0 creates the table, the commits follow.
fn write_entries(
    table: &Path,
    batch: &RecordBatch,
    partitions: &[&str],
    commits: Vec<Vec<Value>>,
    txns: &[BTreeMap<String, i64>],
) {
    let names = batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let fields = names.iter().map(|name| json!({"name": name, "type": "string"}));
    let days = partitions.iter().map(|name| json!({"name": name, "type": "date"}));
    let schema = json!({"type": "struct", "fields": fields.chain(days).collect::<Vec<_>>()});
    let metadata =
        json!({"metaData": {"schemaString": schema.to_string(), "partitionColumns": partitions}});
    let log = table.join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let mut entries = vec![vec![metadata]];
    for (adds, txns) in commits.into_iter().zip(txns) {
        let txns = txns.iter().map(|(id, v)| json!({"txn": {"appId": id, "version": v}}));
        entries.push(adds.into_iter().chain(txns).collect());
    }
    for (version, actions) in entries.into_iter().enumerate() {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        std::fs::write(log.join(format!("{version:020}.json")), lines.join("\n")).unwrap();
    }
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn decimals(values: impl Iterator<Item = Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    let array: Decimal128Array = values.collect();
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn bronze_batch(records: &[&Record]) -> RecordBatch {
    let rows = || records.iter();
    let fields =
        vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)];
    let mut headers = ListBuilder::new(StructBuilder::from_fields(fields, 0));
    for record in rows() {
        for (key, value) in &record.headers {
            let entry = headers.values();
            entry.field_builder::<StringBuilder>(0).unwrap().append_value(key);
            entry.field_builder::<BinaryBuilder>(1).unwrap().append_option(value.as_deref());
            entry.append(true);
        }
        headers.append(!record.headers.is_empty());
    }
    let binary = |get: fn(&Record) -> Option<&[u8]>| -> ArrayRef {
        Arc::new(rows().map(|r| get(r)).collect::<BinaryArray>())
    };
    let long = |get: fn(&Record) -> i64| -> ArrayRef {
        Arc::new(rows().map(|r| get(r)).collect::<Int64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("source", texts(rows().map(|r| Some(r.source.as_str())))),
        ("topic", texts(rows().map(|r| Some(r.topic.as_str())))),
        ("incarnation", texts(rows().map(|r| Some(r.incarnation.as_str())))),
        ("partition", Arc::new(rows().map(|r| r.partition).collect::<Int32Array>())),
        ("offset", long(|r| r.offset)),
        ("prev_offset", long(|r| r.prev_offset)),
        ("kafka_timestamp", times(rows().map(|r| r.timestamp))),
        ("key", binary(|r| r.key.as_deref())),
        ("value", binary(|r| r.value.as_deref())),
        ("headers", Arc::new(headers.finish())),
        ("decode_error", texts(rows().map(|r| r.decode_error.as_deref()))),
        ("epoch", long(|r| r.epoch)),
        ("epoch_clock", times(rows().map(|r| Some(r.epoch_clock)))),
        ("quiet", Arc::new(rows().map(|r| Some(r.quiet)).collect::<BooleanArray>())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// `shadow` puts an older copy of the last row first: the one that the vector deletes.
fn silver_batch(contract: &Contract, rows: &[&SilverRow], shadow: bool) -> RecordBatch {
    let mut rows = rows.to_vec();
    let old = rows.last().map(|last| SilverRow { epoch: -1, ..(*last).clone() });
    rows.splice(0..0, old.iter().filter(|_| shadow));
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (index, column) in contract.columns.iter().enumerate() {
        let cells = || rows.iter().map(|row| &row.row[index]);
        /// The values of one kind of cell, null where there is another.
        macro_rules! values {
            ($kind:path, $of:expr) => {
                cells().map(|cell| if let $kind(value) = cell { Some($of(value)) } else { None })
            };
        }
        let array: ArrayRef = match column.kind {
            ColumnType::Text | ColumnType::Json => texts(values!(Cell::Text, String::as_str)),
            ColumnType::Decimal { precision, scale } => {
                let scale = i8::try_from(scale).unwrap();
                decimals(values!(Cell::Decimal, i128::clone), precision, scale)
            }
            ColumnType::Timestamp => times(values!(Cell::Time, i64::clone)),
            ColumnType::Bigint => {
                Arc::new(values!(Cell::Whole, i64::clone).collect::<Int64Array>())
            }
            ColumnType::Double => {
                let doubles = values!(Cell::Double, |bits: &u64| f64::from_bits(*bits));
                Arc::new(doubles.collect::<Float64Array>())
            }
            ColumnType::Boolean => {
                Arc::new(values!(Cell::Flag, bool::clone).collect::<BooleanArray>())
            }
            ColumnType::Date => Arc::new(values!(Cell::Date, i32::clone).collect::<Date32Array>()),
        };
        columns.push((column.name.clone(), array));
    }
    columns.push(("_epoch".into(), Arc::new(rows.iter().map(|r| r.epoch).collect::<Int64Array>())));
    columns.push(("_position".into(), texts(rows.iter().map(|r| Some(r.position.as_str())))));
    columns.push(("_origin".into(), texts(rows.iter().map(|r| Some(r.origin.as_str())))));
    let unknown = |row: &SilverRow| {
        let cells = contract.columns.iter().zip(row.row.iter());
        let names = cells.filter(|(_, cell)| **cell == Cell::Unknown).map(|(c, _)| &c.name);
        let names: Vec<_> = names.collect();
        (!names.is_empty()).then(|| json!(names).to_string())
    };
    let unknown: Vec<_> = rows.iter().map(|row| unknown(row)).collect();
    columns.push(("_unknown".into(), texts(unknown.iter().map(Option::as_deref))));
    let doubt = |(row, unknown): (&&SilverRow, &Option<String>)| {
        let is_outdated = row.row.len() > contract.columns.len();
        let unknown = unknown.as_ref().map(|_| "unknown");
        if is_outdated { Some("dead letter") } else { unknown }
    };
    columns.push(("_doubt".into(), texts(rows.iter().zip(&unknown).map(doubt))));
    RecordBatch::try_from_iter(columns).unwrap()
}

type KpiRow<'a> = (&'a CellId, &'a CellValue, i64, i64, &'a str);

fn kpi_columns(rows: Vec<KpiRow<'_>>) -> Vec<(String, ArrayRef)> {
    let rows = || rows.iter();
    let number = |get: fn(&CellValue) -> Option<i128>| decimals(rows().map(|r| get(r.1)), 38, 10);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("kpi", texts(rows().map(|r| Some(r.0.kpi)))),
        ("tenant_id", texts(rows().map(|r| Some(&*r.0.tenant)))),
        ("dims", texts(rows().map(|r| Some(&*r.0.dims)))),
        ("grain", texts(rows().map(|r| Some(r.0.grain.name())))),
        ("period_start", times(rows().map(|r| Some(r.0.start)))),
        ("value", number(|v| v.value)),
        ("numerator", number(|v| v.numerator)),
        ("denominator", number(|v| v.denominator)),
        ("unit", texts(rows().map(|r| Some(r.4)))),
        ("status", texts(rows().map(|r| Some(r.1.status)))),
        ("epoch", Arc::new(rows().map(|r| r.2).collect::<Int64Array>())),
        ("as_of", times(rows().map(|r| Some(r.3)))),
    ];
    columns.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}
