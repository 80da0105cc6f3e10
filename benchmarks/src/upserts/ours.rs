//! Upserts by Weir's lake: the same calls as a barrier makes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use lake::keyed::{Deletes, KeyedTable};
use lake::{At, Lake, Table, TableSpec};
use schemas::{Clock, Micros};
use tokio::runtime::Handle;

use super::rows::{Rows, schema};
use super::worthless;
use crate::failure::Failure;
use crate::machine;

const NAME: &str = "silver/orders";

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Micros {
        machine::now()
    }
}

/// A keyed table of Weir.
#[derive(Debug)]
pub struct Keyed {
    lake: Lake,
    keyed: KeyedTable,
    runtime: Handle,
    epoch: i64,
}

impl Keyed {
    /// A new table in `folder` that holds all of `rows`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(folder: &Path, rows: &Rows, runtime: &Handle) -> Result<Keyed, Failure> {
        let lake = Lake::open_writer(folder, Duration::ZERO, Arc::new(WallClock))
            .map_err(worthless("open the lake"))?;
        let spec = TableSpec {
            name: NAME.to_owned(),
            schema: schema(),
            partition_columns: Vec::new(),
            description: "orders".to_owned(),
        };
        let table = runtime.block_on(Table::open_or_create(&lake, &spec));
        let table = table.map_err(worthless("create the table"))?;
        let keyed = KeyedTable::new(table, Deletes::Mark);
        let mut keyed = Keyed { lake, keyed, runtime: runtime.clone(), epoch: 0 };
        keyed.flush(rows, &[], true)?;
        Ok(keyed)
    }

    /// Brings the table up to date: decides, writes, syncs, commits.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&mut self, rows: &Rows, changed: &[u32], whole: bool) -> Result<(), Failure> {
        self.epoch += 1;
        let plan = self.keyed.plan(rows, changed, whole);
        let staged = self.keyed.stage(&plan, rows).map_err(worthless("write the rows"))?;
        let progress = vec![("weir/epoch".to_owned(), self.epoch)];
        let committed = self.runtime.block_on(self.keyed.commit(&plan, &staged, progress));
        committed.map_err(worthless("commit"))?;
        Ok(())
    }

    /// A round of compaction. Returns the rows that it wrote.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn compact(&mut self, idle_after: Duration) -> Result<usize, Failure> {
        let done = self.runtime.block_on(self.keyed.compact(idle_after));
        Ok(done.map_err(worthless("compact"))?.rows)
    }

    /// Live rows and files of the table as its log says.
    pub fn shape(&self) -> (u64, usize) {
        (self.keyed.table().row_count(), self.keyed.table().files().count())
    }

    /// Opens the table anew and finds the place of every row by its key. Returns the time.
    ///
    /// # Errors
    /// When it cannot be read, or a row is missing or twice.
    pub fn open_and_index(&self) -> Result<Duration, Failure> {
        let start = Instant::now();
        let table = Table::open(&self.lake, NAME, At::Newest).map_err(worthless("open"))?;
        let files: Vec<(String, u64)> =
            table.files().map(|file| (file.path.clone(), file.live_rows())).collect();
        let expected = table.row_count();
        let mut seen = 0_u64;
        let mut keyed = KeyedTable::new(table, Deletes::Mark);
        for (path, live) in files {
            let mut slots = Vec::with_capacity(usize::try_from(live).unwrap_or(0));
            let table = keyed.table();
            let file = table.file(&path).ok_or_else(|| Failure::Worthless("no file".into()))?;
            let batches = table.read(&[file.as_ref()], None).map_err(worthless("read"))?;
            for batch in batches {
                let batch = batch.map_err(worthless("read"))?;
                let ids = batch.column(0).as_string::<i32>();
                slots.extend(ids.iter().map(|id| id.and_then(|id| id.get(2..)?.parse().ok())));
            }
            seen += live;
            keyed.load(&path, &slots).map_err(worthless("load"))?;
        }
        if seen != expected || u64::try_from(keyed.live()) != Ok(expected) {
            return Err(Failure::Worthless(format!("{} of {expected} rows found", keyed.live())));
        }
        Ok(start.elapsed())
    }
}
