//! Records to Arrow: the column builders of bronze.
//!
//! # Guarantees
//! - The rows are the same whether the values of a batch are copied or lent.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use schemas::EpochStamp;

use super::EpochRecords;
use crate::record::{Header, RawBatch};

/// A batch with this many bytes lends its values to Arrow instead of having them copied.
const LENT_BYTES_MIN: usize = 512 << 10;

/// Rows waiting to be written, as columns in the order of the schema.
#[derive(Debug)]
pub(super) struct Rows {
    schema: SchemaRef,
    bytes: usize,
    source: StringBuilder,
    topic: StringBuilder,
    incarnation: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    prev_offset: Int64Builder,
    timestamp: TimestampMicrosecondBuilder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    headers: ListBuilder<StructBuilder>,
    error: StringBuilder,
    epoch: Int64Builder,
    clock: TimestampMicrosecondBuilder,
    quiet: BooleanBuilder,
}

impl Rows {
    pub(super) fn new(schema: SchemaRef) -> Rows {
        Rows {
            bytes: 0,
            source: StringBuilder::new(),
            topic: StringBuilder::new(),
            incarnation: StringBuilder::new(),
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            prev_offset: Int64Builder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            headers: headers_builder(&schema),
            error: StringBuilder::new(),
            epoch: Int64Builder::new(),
            clock: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            quiet: BooleanBuilder::new(),
            schema,
        }
    }

    /// Bytes of the keys and values waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the records of one batch of an epoch; `errors` are (record, reason), ascending.
    pub(super) fn append(
        &mut self,
        stamp: &EpochStamp,
        batch: &RawBatch,
        errors: &[(usize, String)],
    ) {
        batch.iter().for_each(|record| self.value.append_option(record.value));
        self.append_besides_values(stamp, batch, errors);
        self.bytes += batch.bytes() + batch.len() * 64;
    }

    /// The rows of one batch of an epoch by themselves, without copying its values; nothing may be
    /// waiting. `None` when it is too large for one array: then it is to be appended.
    pub(super) fn lend(
        &mut self,
        epoch: &Arc<EpochRecords>,
        at: usize,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let Some(batch) = epoch.batches.get(at) else { return Ok(None) };
        let Some(offsets) = offsets(batch) else { return Ok(None) };
        let present: NullBuffer = batch.value_ends().map(|(_, present)| present).collect();
        let lent = Lent { epoch: Arc::clone(epoch), at };
        let bytes = Buffer::from(bytes::Bytes::from_owner(lent));
        let values = BinaryArray::try_new(offsets, bytes, Some(present))?;
        let errors = epoch.errors.get(at).map(Vec::as_slice).unwrap_or_default();
        self.append_besides_values(&epoch.stamp, batch, errors);
        self.finish_with(Arc::new(values)).map(Some)
    }

    fn append_besides_values(
        &mut self,
        stamp: &EpochStamp,
        batch: &RawBatch,
        errors: &[(usize, String)],
    ) {
        let epoch = i64::try_from(stamp.id).unwrap_or(i64::MAX);
        let of = batch.topic();
        let mut errors = errors.iter().peekable();
        for (index, record) in batch.iter().enumerate() {
            self.source.append_value(&of.source);
            self.topic.append_value(&of.topic);
            self.incarnation.append_value(&of.incarnation);
            self.partition.append_value(of.partition);
            self.offset.append_value(record.offset);
            self.prev_offset.append_value(record.prev_offset);
            self.timestamp.append_option(record.timestamp.map(|at| at.0));
            self.key.append_option(record.key);
            append_headers(&mut self.headers, record.headers);
            let error = errors.next_if(|(at, _)| *at == index);
            self.error.append_option(error.map(|(_, reason)| reason.as_str()));
            self.epoch.append_value(epoch);
            self.clock.append_value(stamp.clock.0);
            self.quiet.append_value(batch.quiet().has(index));
        }
    }

    /// Takes the rows waiting, if any.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.bytes == 0 {
            return Ok(None);
        }
        self.bytes = 0;
        let values = Arc::new(self.value.finish());
        self.finish_with(values).map(Some)
    }

    fn finish_with(&mut self, values: ArrayRef) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.incarnation.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.prev_offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            values,
            Arc::new(self.headers.finish()),
            Arc::new(self.error.finish()),
            Arc::new(self.epoch.finish()),
            Arc::new(self.clock.finish()),
            Arc::new(self.quiet.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }

    /// Forgets the rows waiting.
    pub(super) fn clear(&mut self) {
        *self = Rows::new(Arc::clone(&self.schema));
    }
}

/// The values of one batch, kept alive by whoever reads them.
struct Lent {
    epoch: Arc<EpochRecords>,
    at: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.epoch.batches.get(self.at).map(RawBatch::value_bytes).unwrap_or_default()
    }
}

/// Whether the values of a batch are worth lending.
pub(super) fn is_large(batch: &RawBatch) -> bool {
    batch.value_bytes().len() >= LENT_BYTES_MIN
}

/// Where the values of a batch start and end; `None` when Arrow cannot count that far.
fn offsets(batch: &RawBatch) -> Option<OffsetBuffer<i32>> {
    let mut offsets = Vec::with_capacity(batch.len() + 1);
    offsets.push(0);
    for (end, _) in batch.value_ends() {
        offsets.push(i32::try_from(end).ok()?);
    }
    Some(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}

fn headers_builder(schema: &SchemaRef) -> ListBuilder<StructBuilder> {
    let element =
        schema.field_with_name("headers").ok().and_then(|field| match field.data_type() {
            DataType::List(element) => Some(Arc::clone(element)),
            _ => None,
        });
    let fields = element.as_ref().and_then(|element| match element.data_type() {
        DataType::Struct(fields) => Some(fields.clone()),
        _ => None,
    });
    let entries = StructBuilder::new(
        fields.unwrap_or_default(),
        vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())],
    );
    match element {
        Some(element) => ListBuilder::new(entries).with_field(element),
        None => ListBuilder::new(entries),
    }
}

fn append_headers(list: &mut ListBuilder<StructBuilder>, headers: &[Header]) {
    let entries = list.values();
    for header in headers {
        if let Some(key) = entries.field_builder::<StringBuilder>(0) {
            key.append_value(&header.key);
        }
        if let Some(value) = entries.field_builder::<BinaryBuilder>(1) {
            value.append_option(header.value.as_deref());
        }
        entries.append(true);
    }
    list.append(!headers.is_empty());
}
