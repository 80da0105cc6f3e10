//! Records to Arrow: the column builders of bronze.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use schemas::EpochStamp;

use crate::record::{Header, RawBatch};

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
            self.value.append_option(record.value);
            append_headers(&mut self.headers, record.headers);
            let error = errors.next_if(|(at, _)| *at == index);
            self.error.append_option(error.map(|(_, reason)| reason.as_str()));
            self.epoch.append_value(epoch);
            self.clock.append_value(stamp.clock.0);
            self.quiet.append_value(stamp.quiet);
        }
        self.bytes += batch.bytes() + batch.len() * 64;
    }

    /// Takes the rows waiting, if any.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.bytes == 0 {
            return Ok(None);
        }
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.source.finish()),
            Arc::new(self.topic.finish()),
            Arc::new(self.incarnation.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.prev_offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.headers.finish()),
            Arc::new(self.error.finish()),
            Arc::new(self.epoch.finish()),
            Arc::new(self.clock.finish()),
            Arc::new(self.quiet.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map(Some)
    }

    /// Forgets the rows waiting.
    pub(super) fn clear(&mut self) {
        *self = Rows::new(Arc::clone(&self.schema));
    }
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
