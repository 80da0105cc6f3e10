//! The auditor of a run: groups of cells computed again from silver, one at a time, beside everything else.
//!
//! # Guarantees
//! - Silver and gold are read at one flushed epoch, by SQL that shares no code with what is checked.
//! - A group whose tables are too large for the budget is passed over, and that is counted; so is one that takes
//!   too long, or whose files cannot be read.
//! - Every second audit looks again at a group that was not as computed, as long as there is one.
//!
//! # Non-guarantees
//! - It is a sample: what nobody has drawn yet may be wrong. `weir verify` looks at everything.

mod choose;
mod doubted;
pub(crate) mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gold::Catalog;
use gold::audit::group::{self, Detail, Group, GroupFinding, Slice};
use lake::{At, DataFile, Lake, LakeError, Table};
use pipeline::bronze::CLOCK;
use rows::columns;
use schemas::{EpochId, Grain, Micros, chain};

use crate::run::Count;
use crate::settings::AuditSettings;
use crate::tables::CURRENT;
use crate::verify::{Pin, Pinned, pin};
use choose::{Dice, Seen};

pub(crate) use doubted::{Doubted, News};

/// What a core reads of tables in a second, for sure: bytes of their files.
const BYTES_A_SECOND: u64 = 32 << 20;
/// An audit ends after so many times its budget: it may have to wait for a core.
const PATIENCE: u32 = 10;
/// The most memory of a query.
const MEMORY: usize = 128 << 20;
/// Rows of current values that one group is chosen from.
const SAMPLE: usize = 16;
/// How often an audit looks whether the run ends.
const LOOK: Duration = Duration::from_millis(50);

/// What audits of a run found.
#[derive(Debug, Default)]
pub struct Audits {
    /// Groups that were as computed.
    pub ok: Count,
    /// Groups that were not.
    pub mismatch: Count,
    /// Groups that were not computed.
    pub passed_over: Count,
    /// Cells that were not as computed.
    pub cells: Count,
}

/// What came of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Mismatch(Vec<Detail>),
    /// Why it was not done.
    PassedOver(String),
}

impl Verdict {
    /// As the table has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Mismatch(_) => "mismatch",
            Verdict::PassedOver(_) => "passed_over",
        }
    }
}

/// One audit.
#[derive(Debug, Clone)]
pub(crate) struct Audited {
    /// The epoch that tables were compared at, and its clock.
    pub(crate) epoch: EpochId,
    pub(crate) clock: Micros,
    pub(crate) group: Group,
    pub(crate) cells: usize,
    pub(crate) mismatches: usize,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

/// How many bytes of files an audit may read with a budget.
fn bytes_for(budget: Duration) -> u64 {
    let bytes = budget.as_micros().saturating_mul(u128::from(BYTES_A_SECOND)) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Chooses groups and computes them again.
pub(crate) struct Auditor {
    lake: Lake,
    catalog: Arc<Catalog>,
    /// Every KPI with each of its grains.
    audited: Vec<(Arc<str>, Grain)>,
    settings: AuditSettings,
    dice: Dice,
    /// Epochs before it were computed under other definitions.
    from: EpochId,
    /// The last epoch at which tables were compared, and its clock.
    last: (EpochId, Micros),
}

impl Auditor {
    /// An auditor that chooses by `seed`, and compares nothing at epochs before `from`.
    pub(crate) fn new(
        lake: Lake,
        catalog: Arc<Catalog>,
        settings: AuditSettings,
        seed: u64,
        from: EpochId,
    ) -> Auditor {
        let audited = group::audited(&catalog);
        let last = (0, Micros(0));
        Auditor { lake, catalog, audited, settings, dice: Dice::new(seed), from, last }
    }

    /// Makes one audit. `None` where there is nothing to compare yet, and where the run ends meanwhile.
    pub(crate) fn once(&mut self, group: Group, is_ending: &dyn Fn() -> bool) -> Option<Audited> {
        let begun = Instant::now();
        let pinned = match self.pinned(&group) {
            Ok(pinned) => pinned?,
            Err(reason) => {
                tracing::warn!("an audit was passed over: {reason}");
                return Some(self.passed_over(group, reason, begun));
            }
        };
        self.last = (u64::try_from(pinned.epoch).unwrap_or(0), pinned.clock);
        let group = match group.clone().at(&self.catalog, pinned.clock) {
            Ok(group) => group,
            Err(error) => return Some(self.passed_over(group, chain(&error), begun)),
        };
        let (found, verdict) = match self.compare(&group, &pinned, is_ending) {
            Ok(found) if found.mismatches == 0 => (found, Verdict::Ok),
            Ok(found) => (found.clone(), Verdict::Mismatch(found.details)),
            Err(_) if is_ending() => return None,
            Err(reason) => (GroupFinding::default(), Verdict::PassedOver(reason)),
        };
        let (epoch, clock) = self.last;
        Some(Audited {
            epoch,
            clock,
            group,
            cells: found.cells,
            mismatches: found.mismatches,
            verdict,
            took: begun.elapsed(),
        })
    }

    /// An audit that was not done, for this reason.
    pub(crate) fn passed_over(&self, group: Group, reason: String, begun: Instant) -> Audited {
        let (epoch, clock) = self.last;
        Audited {
            epoch,
            clock,
            group,
            cells: 0,
            mismatches: 0,
            verdict: Verdict::PassedOver(reason),
            took: begun.elapsed(),
        }
    }

    /// Draws a group; `None` where there are no cells. What cannot be read is said, and tried again.
    pub(crate) fn draw(&mut self) -> Option<Group> {
        let drawn = self.sample();
        let said =
            |reason| tracing::warn!("no group of cells could be drawn for an audit: {reason}");
        let (seen, clock) = drawn.map_err(said).ok()??;
        let seen = choose::pick(&seen, clock, &mut self.dice)?;
        Some(choose::group(seen, &self.audited, clock, &mut self.dice))
    }

    /// Some rows of a file of current values, and the clock of these.
    fn sample(&mut self) -> Result<Option<(Vec<Seen>, Micros)>, String> {
        let table = match Table::open(&self.lake, CURRENT, At::Newest) {
            Err(LakeError::NoTable { .. }) => return Ok(None),
            table => table.map_err(|e| chain(&e))?,
        };
        let Some(clock) = table.progress(CLOCK).map(Micros) else { return Ok(None) };
        let most = bytes_for(self.settings.budget);
        let files: Vec<&DataFile> =
            table.files().map(|file| &**file).filter(|file| file.size <= most).collect();
        let ends: Vec<Option<i64>> =
            files.iter().map(|file| file.range_i64("period_end").map(|(_, last)| last)).collect();
        let Some(file) = choose::file(&ends, clock, &mut self.dice) else { return Ok(None) };
        let Some(file) = files.get(file) else { return Ok(None) };
        let wanted = choose::places(file.live_rows(), SAMPLE, &mut self.dice);
        let names = ["kpi", "tenant_id", "grain", "period_start", "period_end"];
        let (mut seen, mut before) = (Vec::new(), 0);
        for batch in table.read(&[*file], Some(&names)).map_err(|e| chain(&e))? {
            let batch = batch.map_err(|e| chain(&e))?;
            let rows = before..before + batch.num_rows() as u64;
            let own = wanted.iter().filter(|place| rows.contains(*place));
            let own: Vec<usize> =
                own.filter_map(|place| usize::try_from(place - before).ok()).collect();
            seen.extend(Seen::read(&batch, &own).map_err(|e| chain(&e))?);
            before = rows.end;
        }
        Ok((!seen.is_empty()).then_some((seen, clock)))
    }

    /// The tables that a group needs at one epoch; `None` where there is none under these definitions yet.
    fn pinned(&self, group: &Group) -> Result<Option<Pinned>, String> {
        let contracts = self.catalog.contracts_of(&group.kpi).into_iter();
        let mut names: Vec<String> = contracts.map(|own| format!("silver/{own}")).collect();
        names.push(CURRENT.to_owned());
        match pin(&self.lake, &names)? {
            Pin::At(pinned) => {
                let is_theirs = u64::try_from(pinned.epoch).is_ok_and(|epoch| epoch >= self.from);
                Ok(Some(pinned).filter(|_| is_theirs))
            }
            Pin::Nothing(_) => Ok(None),
        }
    }

    /// Computes a group again and compares it.
    fn compare(
        &self,
        group: &Group,
        pinned: &Pinned,
        is_ending: &dyn Fn() -> bool,
    ) -> Result<GroupFinding, String> {
        let slices = group::slices(&self.catalog, group, pinned.clock).map_err(|e| chain(&e))?;
        let context = group::small_session(MEMORY).map_err(|e| chain(&e))?;
        let mut bytes = 0;
        let mut register = |name: &str, table: &str, may_hold: &dyn Fn(&DataFile) -> bool| {
            let of =
                pinned.tables.get(table).ok_or_else(|| format!("there is no table {table}"))?;
            let files: Vec<&DataFile> =
                of.files().map(|file| &**file).filter(|file| may_hold(file)).collect();
            bytes += files.iter().map(|file| file.size).sum::<u64>();
            lake::query::register_files(&context, name, of, &files).map_err(|e| chain(&e))
        };
        register("kpi_current", CURRENT, &|file| group.may_be_in(file))?;
        for slice in &slices {
            let table = format!("silver/{}", slice.contract);
            register(&slice.registered(), &table, &|file| slice.may_be_in(file))?;
        }
        let most = bytes_for(self.settings.budget);
        if bytes > most {
            return Err(format!(
                "it would read {bytes} bytes, and audit.budget is enough for {most}"
            ));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("could not start the runtime: {e}"))?;
        let audit = async {
            let found = self.query(&context, group, &slices, pinned.clock);
            tokio::select! {
                found = found => found,
                reason = ended(self.settings.budget.saturating_mul(PATIENCE), is_ending) => Err(reason),
            }
        };
        let found = runtime.block_on(audit);
        // A reader that is on its way is not waited for.
        runtime.shutdown_background();
        found
    }

    async fn query(
        &self,
        context: &datafusion::prelude::SessionContext,
        group: &Group,
        slices: &[Slice],
        clock: Micros,
    ) -> Result<GroupFinding, String> {
        let found = group::audit_group(context, &self.catalog, group, slices, clock).await;
        found.map_err(|e| chain(&e))
    }
}

impl Audited {
    /// Counts it.
    pub(crate) fn count(&self, audits: &Audits) {
        match self.verdict {
            Verdict::Ok => audits.ok.add(1),
            Verdict::Mismatch(_) => audits.mismatch.add(1),
            Verdict::PassedOver(_) => audits.passed_over.add(1),
        }
        audits.cells.add(self.mismatches as u64);
    }
}

/// Comes back when so much time is over, or the run ends, and says which.
async fn ended(limit: Duration, is_ending: &dyn Fn() -> bool) -> String {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        tokio::time::sleep(LOOK.min(limit)).await;
        if is_ending() {
            return "the run ends".to_owned();
        }
    }
    format!("it took longer than {} ms, {PATIENCE} times audit.budget", limit.as_millis())
}

impl Seen {
    /// The cells in these rows of current values.
    fn read(
        batch: &arrow::array::RecordBatch,
        rows: &[usize],
    ) -> Result<Vec<Seen>, rows::ColumnError> {
        let (kpis, tenants) = (columns::text(batch, "kpi")?, columns::text(batch, "tenant_id")?);
        let grains = columns::text(batch, "grain")?;
        let starts = columns::timestamp(batch, "period_start")?;
        let ends = columns::timestamp(batch, "period_end")?;
        let read = |row: &usize| {
            Some(Seen {
                group: Group {
                    kpi: kpis.value(*row).to_owned(),
                    tenant: tenants.value(*row).to_owned(),
                    grain: Grain::parse(grains.value(*row))?,
                    period_start: Micros(starts.value(*row)),
                },
                period_end: Micros(ends.value(*row)),
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_so_many_bytes() {
        assert_eq!(bytes_for(Duration::from_secs(1)), 32 << 20);
        assert_eq!(bytes_for(Duration::from_millis(250)), 8 << 20);
        assert_eq!(bytes_for(Duration::ZERO), 0);
        assert_eq!(bytes_for(Duration::MAX), u64::MAX);
    }

    #[test]
    fn what_takes_too_long_and_what_the_run_ends_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limit = Duration::from_millis(20);
        assert!(runtime.block_on(ended(limit, &|| false)).contains("longer than 20 ms"));
        assert_eq!(runtime.block_on(ended(Duration::from_secs(600), &|| true)), "the run ends");
    }
}
