//! One pass over the JSON of an event: where its parts lie, without copying them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::PreparedContract;
use crate::decode::json::{RowSeed, RowShape, not_an_object};
use crate::decode::names::{NameSeed, Piece, piece};
use crate::decode::source_block::{Source, SourceSeed};

/// What the fields beside the row say about messages that are no changes of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hints {
    pub(super) clock: bool,
    pub(super) status: bool,
    pub(super) id: bool,
    pub(super) ddl: bool,
    pub(super) database: bool,
    /// Fields that no Debezium message has.
    pub(super) unknown: bool,
}

/// The parts of an event.
#[derive(Debug, Clone, Default)]
pub(super) struct Envelope {
    pub(super) op: Option<Piece>,
    pub(super) before: Option<Piece>,
    pub(super) after: RowShape,
    pub(super) source: Option<Source>,
    pub(super) hints: Hints,
    pub(super) schema: Option<Piece>,
    /// What `payload` holds, where there is one.
    pub(super) payload: RowShape,
}

pub(super) enum Field {
    Op,
    Before,
    After,
    Source,
    Clock,
    Transaction,
    Schema,
    Payload,
    Status,
    Id,
    Ddl,
    Database,
    Unknown,
}

fn field(name: &str) -> Field {
    match name {
        "op" => Field::Op,
        "before" => Field::Before,
        "after" => Field::After,
        "source" => Field::Source,
        "ts_ms" | "ts_us" | "ts_ns" => Field::Clock,
        "transaction" | "event_count" | "data_collections" | "message" => Field::Transaction,
        "schema" => Field::Schema,
        "payload" => Field::Payload,
        "status" => Field::Status,
        "id" => Field::Id,
        "ddl" | "tableChanges" => Field::Ddl,
        "databaseName" | "schemaName" => Field::Database,
        _ => Field::Unknown,
    }
}

/// Reads an event, or (inside one that carries its schema) its payload.
pub(super) struct EnvelopeSeed<'a> {
    pub(super) contract: &'a PreparedContract,
    pub(super) base: usize,
    pub(super) cells: &'a mut Vec<Option<Piece>>,
    pub(super) envelope: &'a mut Envelope,
    pub(super) inside_payload: bool,
}

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_> {
    type Value = RowShape;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<RowShape, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_> {
    type Value = RowShape;

    not_an_object!();

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<RowShape, A::Error> {
        while let Some(field) = map.next_key_seed(NameSeed(field))? {
            self.field(&field, &mut map)?;
        }
        Ok(RowShape::Row)
    }
}

impl EnvelopeSeed<'_> {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let envelope = &mut *self.envelope;
        let hints = &mut envelope.hints;
        match field {
            Field::Op => {
                envelope.op = Some(piece(self.base, map.next_value::<&'de RawValue>()?.get()));
                return Ok(());
            }
            Field::Before => {
                envelope.before = Some(piece(self.base, map.next_value::<&'de RawValue>()?.get()));
                return Ok(());
            }
            Field::After => {
                let shape = map.next_value_seed(self.row_seed())?;
                self.envelope.after = shape;
                return Ok(());
            }
            Field::Source => {
                envelope.source = Some(map.next_value_seed(SourceSeed { base: self.base })?);
                return Ok(());
            }
            Field::Schema if !self.inside_payload => {
                envelope.schema = Some(piece(self.base, map.next_value::<&'de RawValue>()?.get()));
                return Ok(());
            }
            Field::Payload if !self.inside_payload => return self.payload(map),
            Field::Clock => hints.clock = true,
            Field::Transaction => {}
            Field::Status => hints.status = true,
            Field::Id => hints.id = true,
            Field::Ddl => hints.ddl = true,
            Field::Database => hints.database = true,
            Field::Schema | Field::Payload | Field::Unknown => hints.unknown = true,
        }
        map.next_value::<IgnoredAny>()?;
        Ok(())
    }

    fn row_seed(&mut self) -> RowSeed<'_> {
        RowSeed { contract: self.contract, base: self.base, cells: self.cells }
    }

    fn payload<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        let schema = self.envelope.schema.take();
        *self.envelope = Envelope { schema, ..Envelope::default() };
        let inner = EnvelopeSeed {
            contract: self.contract,
            base: self.base,
            cells: self.cells,
            envelope: self.envelope,
            inside_payload: true,
        };
        let shape = map.next_value_seed(inner)?;
        self.envelope.payload = shape;
        Ok(())
    }
}
