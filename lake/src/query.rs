//! SQL over tables at fixed versions, by DataFusion.
//!
//! # Guarantees
//! - A query sees exactly the live rows of the version that was registered, as checked when it
//!   was opened; later commits do not show.
//! - Values are those in the files: decimals stay decimals.
//!
//! # Non-guarantees
//! - Partition columns come last, whatever their place in the table.
//! - Vacuum must not pass the registered versions while queries run.

use std::fmt;
use std::path::Path as FilePath;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use deltalake::logstore::object_store::ObjectMeta;
use deltalake::logstore::object_store::path::Path;

use crate::error::LakeError;
use crate::folder::Lake;
use crate::table::{At, Table};
use crate::vector;
use crate::version::DataFile;

/// A session with `tables`: (name in SQL, table, version or the newest). Blocking while it opens.
pub fn session(
    lake: &Lake,
    tables: &[(&str, &str, Option<i64>)],
) -> Result<SessionContext, LakeError> {
    let context = SessionContext::new();
    for (name, table, version) in tables {
        let at = version.map_or(At::Newest, At::Version);
        register(&context, name, &Table::open(lake, table, at)?)?;
    }
    Ok(context)
}

/// Makes the files that are live in `table` now known as `name_in_sql`.
pub fn register(
    context: &SessionContext,
    name_in_sql: &str,
    table: &Table,
) -> Result<(), LakeError> {
    let files: Vec<&DataFile> = table.files().map(AsRef::as_ref).collect();
    register_files(context, name_in_sql, table, &files)
}

/// The same of some of these files only: of those that may hold what is asked for.
pub fn register_files(
    context: &SessionContext,
    name_in_sql: &str,
    table: &Table,
    files: &[&DataFile],
) -> Result<(), LakeError> {
    let provider = LiveFiles::new(table, files);
    provider
        .and_then(|provider| context.register_table(name_in_sql, Arc::new(provider)))
        .map_err(LakeError::engine("register table", table.name()))?;
    Ok(())
}

/// The live files of one version of a table.
struct LiveFiles {
    name: String,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
}

impl fmt::Debug for LiveFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveFiles").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LiveFiles {
    fn new(table: &Table, files: &[&DataFile]) -> Result<LiveFiles> {
        let all = table.schema();
        let column = |name: &String| Ok(Arc::new(all.field_with_name(name)?.clone()));
        let partition: Vec<Arc<Field>> =
            table.partition_columns().iter().map(column).collect::<Result<_>>()?;
        let files = files.iter().copied().map(|file| {
            let placed = partitioned_file(table.folder(), file, &partition)?;
            if file.live_rows() == file.rows {
                return Ok(placed);
            }
            let gone = table.gone(file).map_err(|error| DataFusionError::External(error.into()))?;
            let rows = u32::try_from(file.rows).unwrap_or(u32::MAX);
            let live = vector::selection(&gone, std::iter::once((0, rows)));
            Ok(placed.with_extension(ParquetRowSelection::new(live)))
        });
        Ok(LiveFiles {
            name: table.name().to_owned(),
            files: files.collect::<Result<_>>()?,
            schema: TableSchema::builder(table.file_schema())
                .with_table_partition_cols(partition)
                .build(),
        })
    }

    fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut source = ParquetSource::new(self.schema.clone());
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(Arc::clone(self.schema.table_schema()))?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let parts = state.config().target_partitions().max(1);
        let groups = FileGroup::new(self.files.clone()).split_files(parts);
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
                .with_file_groups(groups)
                .with_projection_indices(projection.cloned())?
                .with_limit(limit)
                .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn partitioned_file(
    folder: &FilePath,
    file: &DataFile,
    partition: &[Arc<Field>],
) -> Result<PartitionedFile> {
    let value = |field: &Arc<Field>| match file.partition.get(field.name()) {
        Some(Some(text)) => ScalarValue::try_from_string(text.clone(), field.data_type()),
        _ => ScalarValue::try_from(field.data_type()),
    };
    let path = Path::from_absolute_path(folder.join(&file.path))
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let modified = chrono::DateTime::from_timestamp_millis(file.modified_ms).unwrap_or_default();
    let meta = ObjectMeta {
        location: path,
        last_modified: modified,
        size: file.size,
        e_tag: None,
        version: None,
    };
    let values = partition.iter().map(value).collect::<Result<_>>()?;
    Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values))
}

impl TableProvider for LiveFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn scan<'life0, 'life1, 'life2, 'life3, 'async_trait>(
        &'life0 self,
        state: &'life1 dyn Session,
        projection: Option<&'life2 Vec<usize>>,
        filters: &'life3 [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(self.plan(state, projection, filters, limit)))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Statistics skip row groups; the exact filter stays above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
