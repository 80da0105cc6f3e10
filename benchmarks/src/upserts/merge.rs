//! Upserts by delta-rs: MERGE with an update of what matches and an insert of what does not.

use std::path::Path;

use datafusion::prelude::{SessionContext, col};
use deltalake::DeltaTable;
use url::Url;

use super::rows::{Rows, schema};
use super::worthless;
use crate::failure::Failure;

/// Rows of one append while the table is made.
const APPEND_ROWS: u32 = 1_000_000;

/// A table that delta-rs writes.
#[derive(Debug)]
pub struct Merged {
    table: DeltaTable,
}

impl Merged {
    /// A new table in `folder` that holds all of `rows`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn create(folder: &Path, rows: &Rows) -> Result<Merged, Failure> {
        std::fs::create_dir_all(folder).map_err(Failure::io("create", folder))?;
        let url = Url::from_directory_path(folder)
            .map_err(|()| Failure::Worthless("the folder's path is not absolute".into()))?;
        let mut table = DeltaTable::try_from_url(url).await.map_err(worthless("open"))?;
        let mut from = 0;
        while from < rows.count() {
            let to = rows.count().min(from.saturating_add(APPEND_ROWS));
            let batch = rows.of(&(from..to).collect::<Vec<u32>>())?;
            table = table.write([batch]).await.map_err(worthless("write with delta-rs"))?;
            from = to;
        }
        Ok(Merged { table })
    }

    /// Brings the rows of `changed` up to date.
    ///
    /// # Errors
    /// When delta-rs refuses.
    pub async fn upsert(&mut self, rows: &Rows, changed: &[u32]) -> Result<(), Failure> {
        let batch = rows.of(changed)?;
        let source = SessionContext::new().read_batch(batch).map_err(worthless("read the rows"))?;
        let same = col("target.order_id").eq(col("source.order_id"));
        let names: Vec<String> = schema().fields().iter().map(|it| it.name().clone()).collect();
        let from = |name: &String| col(format!("source.{name}"));
        let merge = self.table.clone().merge(source, same);
        let merge = merge.with_source_alias("source").with_target_alias("target");
        let merge = merge.when_matched_update(|update| {
            names.iter().fold(update, |update, name| update.update(name.as_str(), from(name)))
        });
        let merge = merge.map_err(worthless("plan the merge"))?.when_not_matched_insert(|insert| {
            names.iter().fold(insert, |insert, name| insert.set(name.as_str(), from(name)))
        });
        let merged = merge.map_err(worthless("plan the merge"))?.await;
        self.table = merged.map_err(worthless("merge"))?.0;
        Ok(())
    }

    /// The number of rows.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub async fn count(&self) -> Result<usize, Failure> {
        let context = SessionContext::new();
        let provider = self.table.table_provider().await.map_err(worthless("open"))?;
        let frame = context.read_table(provider).map_err(worthless("read"))?;
        frame.count().await.map_err(worthless("count"))
    }
}
