//! Arrow schemas as Delta writes them.
//!
//! # Guarantees
//! - The canonical Arrow schema of a table is the one that its Delta schema converts to, so that a
//!   schema survives being stored and read.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};

use crate::error::LakeError;

/// The columns of a table: all of them, and those that are in its data files.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) all: SchemaRef,
    pub(crate) in_files: SchemaRef,
    pub(crate) partition: Vec<String>,
}

/// The Delta `schemaString` of an Arrow schema.
pub(crate) fn to_delta(table: &str, schema: &Schema) -> Result<String, LakeError> {
    let delta: StructType = schema
        .try_into_kernel()
        .map_err(LakeError::engine("convert the schema of table", table))?;
    serde_json::to_string(&delta).map_err(LakeError::engine("write the schema of table", table))
}

/// The columns described by a Delta `schemaString`.
pub(crate) fn from_delta(
    table: &str,
    text: &str,
    partition: &[String],
) -> Result<Columns, LakeError> {
    let delta: StructType =
        serde_json::from_str(text).map_err(LakeError::engine("read the schema of table", table))?;
    let all: Schema = (&delta)
        .try_into_arrow()
        .map_err(LakeError::engine("convert the schema of table", table))?;
    if let Some(unknown) = partition.iter().find(|name| all.field_with_name(name).is_err()) {
        let detail = format!("the partition column {unknown} is not in the schema");
        return Err(LakeError::Schema { table: table.to_owned(), detail });
    }
    let kept = all.fields().iter().filter(|field| !partition.contains(field.name()));
    let in_files = Schema::new(kept.map(Arc::clone).collect::<Vec<_>>());
    Ok(Columns { all: Arc::new(all), in_files: Arc::new(in_files), partition: partition.to_vec() })
}

/// Says how the schema in the table differs from the wanted one; `None` if it does not.
pub(crate) fn difference(held: &Columns, wanted: &Columns) -> Option<String> {
    if held.partition != wanted.partition {
        return Some(format!(
            "the table is partitioned by {:?}, expected {:?}",
            held.partition, wanted.partition
        ));
    }
    for field in wanted.all.fields() {
        match held.all.field_with_name(field.name()) {
            Err(_) => return Some(format!("column {} is not in the table", field.name())),
            Ok(other) if other.data_type() != field.data_type() => {
                return Some(format!(
                    "column {} is {} in the table, expected {}",
                    field.name(),
                    other.data_type(),
                    field.data_type()
                ));
            }
            Ok(other) if other.is_nullable() != field.is_nullable() => {
                return Some(format!("column {} differs in whether it may be null", field.name()));
            }
            Ok(_) => {}
        }
    }
    if let Some(extra) =
        held.all.fields().iter().find(|field| wanted.all.field_with_name(field.name()).is_err())
    {
        return Some(format!("the table has the column {}, which is not expected", extra.name()));
    }
    let names = |columns: &Columns| -> Vec<String> {
        columns.all.fields().iter().map(|field| field.name().clone()).collect()
    };
    (names(held) != names(wanted)).then(|| "the columns are in another order".to_owned())
}

/// Whether the wanted schema is the held one and columns more, anywhere among them, all of which may be null.
pub(crate) fn is_widened(held: &Columns, wanted: &Columns) -> bool {
    let is_held = |field: &&Arc<Field>| held.all.field_with_name(field.name()).is_ok();
    let kept: Vec<Arc<Field>> = wanted.all.fields().iter().filter(is_held).cloned().collect();
    let kept = Columns { all: Arc::new(Schema::new(kept)), ..wanted.clone() };
    let mut added = wanted.all.fields().iter().filter(|field| !is_held(field));
    difference(held, &kept).is_none() && added.all(|field| field.is_nullable())
}
