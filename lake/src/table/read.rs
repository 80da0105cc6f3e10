//! Reading rows back: Parquet, batch by batch, without the rows that are gone.
//!
//! # Guarantees
//! - Memory is bounded by one batch and one row group's pages, whatever the size of the files.
//! - Rows come in the order of the files given and, within a file, as they were written.
//! - A range is exact: files and row groups outside it are skipped, rows outside it are dropped.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Datum, Int64Array, Scalar, StringArray, new_null_array,
};
use arrow::compute::kernels::cmp::{gt_eq, lt_eq};
use arrow::compute::{and, cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use roaring::RoaringBitmap;

use super::Table;
use crate::error::LakeError;
use crate::log::RESTORE;
use crate::store::Store;
use crate::vector::{self, DeletionVector};
use crate::version::DataFile;

const ROWS_PER_BATCH: usize = 8_192;

/// An iterator over the rows of some files.
#[derive(Debug)]
pub struct Batches {
    files: VecDeque<Source>,
    schema: SchemaRef,
    in_files: Vec<String>,
    range: Option<Range>,
    table: String,
    store: Arc<dyn Store>,
    current: Option<(Source, ParquetRecordBatchReader)>,
}

/// What reading needs to know of a file.
#[derive(Debug)]
struct Source {
    path: String,
    partition: BTreeMap<String, Option<String>>,
    vector: Option<DeletionVector>,
}

#[derive(Debug, Clone)]
struct Range {
    column: String,
    values: RangeInclusive<i64>,
}

impl Table {
    /// The rows of `files`, with the columns named in `projection` (all, if `None`).
    pub fn read(
        &self,
        files: &[&DataFile],
        projection: Option<&[&str]>,
    ) -> Result<Batches, LakeError> {
        self.batches(files, projection, None)
    }

    /// As [`Table::read`], but only rows whose integer or timestamp `column` is within `range`.
    pub fn read_range(
        &self,
        files: &[&DataFile],
        projection: Option<&[&str]>,
        column: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Batches, LakeError> {
        if self.columns.in_files.field_with_name(column).is_err() {
            return Err(self.no_column(column));
        }
        let within = |file: &&&DataFile| {
            file.range_i64(column)
                .is_none_or(|(min, max)| max >= *range.start() && min <= *range.end())
        };
        let files: Vec<&DataFile> = files.iter().filter(within).copied().collect();
        let range = Range { column: column.to_owned(), values: range };
        self.batches(&files, projection, Some(range))
    }

    fn batches(
        &self,
        files: &[&DataFile],
        projection: Option<&[&str]>,
        range: Option<Range>,
    ) -> Result<Batches, LakeError> {
        let schema = match projection {
            None => self.schema(),
            Some(names) => {
                let field = |name: &&str| {
                    let field = self.columns.all.field_with_name(name);
                    field.cloned().map_err(|_| self.no_column(name))
                };
                Arc::new(Schema::new(names.iter().map(field).collect::<Result<Vec<_>, _>>()?))
            }
        };
        let stored = |name: &&String| !self.columns.partition.contains(*name);
        let names = schema.fields().iter().map(|field| field.name());
        let mut in_files: Vec<String> = names.filter(stored).cloned().collect();
        in_files.extend(range.as_ref().map(|range| range.column.clone()));
        Ok(Batches {
            files: files.iter().map(|file| self.source(file)).collect(),
            schema,
            in_files,
            range,
            table: self.name.clone(),
            store: Arc::clone(&self.log.store),
            current: None,
        })
    }

    fn source(&self, file: &DataFile) -> Source {
        Source {
            path: file.path.clone(),
            partition: file.partition.clone(),
            vector: file.vector.clone(),
        }
    }

    /// The numbers of the rows of a live file that are gone.
    pub(crate) fn gone(&self, file: &DataFile) -> Result<RoaringBitmap, LakeError> {
        let Some(vector) = &file.vector else { return Ok(RoaringBitmap::new()) };
        let store = &*self.log.store;
        vector.rows(store).map_err(|detail| damaged(&self.name, store, &file.path, detail))
    }

    fn no_column(&self, name: &str) -> LakeError {
        let detail = format!("there is no column {name} in its files");
        LakeError::Schema { table: self.name.clone(), detail }
    }
}

impl Batches {
    /// The columns of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The files that are still to be opened.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    fn open(&self, source: &Source) -> Result<ParquetRecordBatchReader, LakeError> {
        let (store, path) = (&*self.store, &source.path);
        let opened = store.open(path).map_err(LakeError::at("read", store, path))?;
        let fault = || LakeError::engine_at("read", store, path);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(fault())?;
        let names = self.in_files.iter().map(String::as_str);
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let wanted = |group: &RowGroupMetaData| match &self.range {
            Some(range) => range.may_be_in(group),
            None => true,
        };
        let groups = builder.metadata().row_groups().iter().enumerate();
        let kept: Vec<usize> = groups.filter(|(_, it)| wanted(it)).map(|(at, _)| at).collect();
        if let Some(vector) = &source.vector {
            let gone = vector.rows(store);
            let gone = gone.map_err(|detail| damaged(&self.table, store, path, detail))?;
            let groups = places(builder.metadata().row_groups());
            let groups = groups.enumerate().filter(|(at, _)| kept.contains(at));
            let live = vector::selection(&gone, groups.map(|(_, place)| place));
            builder = builder.with_row_selection(live);
        }
        if self.range.is_some() {
            builder = builder.with_row_groups(kept);
        }
        let builder = builder.with_projection(mask).with_batch_size(ROWS_PER_BATCH);
        builder.build().map_err(fault())
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        loop {
            let Some((file, reader)) = &mut self.current else {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                let reader = self.open(&file)?;
                self.current = Some((file, reader));
                continue;
            };
            let Some(batch) = reader.next() else {
                self.current = None;
                continue;
            };
            let batch = batch
                .and_then(|batch| finish(&self.schema, self.range.as_ref(), file, &batch))
                .map_err(LakeError::engine_at("read", &*self.store, &file.path))?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }
}

/// The first row and the number of rows of each row group.
fn places(groups: &[RowGroupMetaData]) -> impl Iterator<Item = (u32, u32)> {
    groups.iter().scan(0_u32, |next, group| {
        let rows = u32::try_from(group.num_rows()).unwrap_or(u32::MAX);
        let first = std::mem::replace(next, next.saturating_add(rows));
        Some((first, rows))
    })
}

fn damaged(table: &str, store: &dyn Store, path: &str, detail: String) -> LakeError {
    let (table, file) = (table.to_owned(), store.place(path));
    LakeError::Damaged { table, file, detail, advice: RESTORE }
}

/// Adds the partition columns, puts the columns in order and drops rows outside the range.
fn finish(
    schema: &SchemaRef,
    range: Option<&Range>,
    file: &Source,
    batch: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let filtered;
    let batch = match range {
        None => batch,
        Some(range) => {
            filtered = filter_record_batch(batch, &range.rows(batch)?)?;
            &filtered
        }
    };
    let rows = batch.num_rows();
    let columns = schema.fields().iter().map(|field| {
        if let Some(value) = file.partition.get(field.name()) {
            return constant(value.as_deref(), field, rows);
        }
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows)),
        }
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.files.clear();
            self.current = None;
        }
        step.transpose()
    }
}

impl Range {
    fn may_be_in(&self, group: &RowGroupMetaData) -> bool {
        let own = |path: &[String]| matches!(path, [only] if *only == self.column);
        let column = group.columns().iter().find(|it| own(it.column_path().parts()));
        let bounds = match column.and_then(|column| column.statistics()) {
            Some(Statistics::Int32(s)) => {
                s.min_opt().zip(s.max_opt()).map(|(min, max)| (i64::from(*min), i64::from(*max)))
            }
            Some(Statistics::Int64(s)) => {
                s.min_opt().zip(s.max_opt()).map(|(min, max)| (*min, *max))
            }
            _ => None,
        };
        bounds.is_none_or(|(min, max)| max >= *self.values.start() && min <= *self.values.end())
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let column = batch.column_by_name(&self.column);
        let missing = || ArrowError::SchemaError(format!("no column {}", self.column));
        let values = cast(column.ok_or_else(missing)?, &DataType::Int64)?;
        let bound = |value: i64| Scalar::new(Int64Array::from(vec![value]));
        let (low, high) = (bound(*self.values.start()), bound(*self.values.end()));
        let values: &dyn Datum = &values;
        and(&gt_eq(values, &low)?, &lt_eq(values, &high)?)
    }
}

/// A partition column: the same value in every row.
fn constant(value: Option<&str>, field: &Field, rows: usize) -> Result<ArrayRef, ArrowError> {
    let texts: StringArray = std::iter::repeat_n(value, rows).collect();
    cast(&texts, field.data_type())
}
