//! The thread of audits: when the next one is due, and what becomes of what it finds.
//!
//! # Guarantees
//! - One audit at a time, at a lower priority than everything between a record and a client.
//! - A KPI of which cells were found other than silver says is named in what is wrong with the run until they are as
//!   they should be, and a decision to compute it anew is recorded once a process.
//! - An audit that fails, however it does, ends no run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use gold::Catalog;
use lake::Lake;
use pipeline::source::ControlFile;
use schemas::{Clock, ControlRecord, Decision, EpochId, chain};
use tokio::runtime::Handle;

use super::loops::{Alarm, Shared};
use super::threads::{Turn, spawn};
use crate::audit::table::AuditLog;
use crate::audit::{Audited, Auditor, Doubted, News, Verdict};
use crate::flush::recover::Inputs;
use crate::settings::{AuditSettings, Settings};
use crate::upkeep::{Task, Upkeep};

/// How often the thread looks whether the run ends.
const LOOK: Duration = Duration::from_millis(50);

/// What audits of a run need.
#[derive(Debug)]
pub(super) struct Auditing {
    lake: Lake,
    catalog: Arc<Catalog>,
    settings: AuditSettings,
    upkeep: Upkeep,
    control: ControlFile,
}

impl Auditing {
    /// `None` where there are to be none.
    pub(super) fn new(
        inputs: &Inputs,
        settings: &Settings,
        control: &ControlFile,
    ) -> Option<Auditing> {
        Some(Auditing {
            lake: inputs.lake.clone(),
            catalog: Arc::clone(&inputs.catalog),
            settings: settings.audit?,
            upkeep: settings.upkeep,
            control: control.clone(),
        })
    }
}

/// Starts the thread, where there are to be audits; it ends when what is returned is dropped. Tables at epochs before
/// `from` are not compared.
///
/// # Errors
/// When the operating system refuses it.
pub(super) fn start<'scope>(
    auditing: Option<Auditing>,
    scope: &'scope Scope<'scope, '_>,
    from: EpochId,
    (tasks, clock, runtime, shared): (SyncSender<Task>, &'scope dyn Clock, &Handle, &'scope Shared),
) -> Result<Option<SyncSender<()>>, String> {
    let Some(auditing) = auditing else { return Ok(None) };
    let (going, ended) = sync_channel(0);
    let Auditing { lake, catalog, settings, upkeep, control } = auditing;
    let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
    tracing::debug!(seed, "groups of cells are audited");
    let (meters, runtime) = (Arc::clone(&shared.meters), runtime.clone());
    let log = AuditLog::new(lake.clone(), upkeep, tasks, meters, runtime);
    let auditor = Auditor::new(lake, catalog, settings, seed, from);
    let desk = Desk { control, clock, shared };
    let thread = Auditors { auditor, log, doubted: Doubted::default(), desk };
    spawn(scope, "audit", Turn::Background, move || thread.work(&ended, settings.interval))?;
    Ok(Some(going))
}

/// The thread.
struct Auditors<'a> {
    auditor: Auditor,
    log: AuditLog,
    doubted: Doubted,
    desk: Desk<'a>,
}

impl Auditors<'_> {
    fn work(mut self, ended: &Receiver<()>, interval: Duration) {
        let shared = self.desk.shared;
        let _alarm = Alarm(&shared.stop, "audit");
        while rest(ended, interval) && !shared.is_ending() {
            let Some(audited) = self.audit() else { continue };
            audited.count(&shared.meters.audits);
            let news = self.doubted.take(&audited);
            self.desk.say(&audited, news);
            let is_urgent = matches!(news, News::Doubted | News::Another);
            self.log.add(self.desk.clock.now(), audited, is_urgent);
        }
        self.log.commit(self.desk.clock.now());
    }

    /// One audit; a panic of it is one that was passed over.
    fn audit(&mut self) -> Option<Audited> {
        let (begun, shared) = (Instant::now(), self.desk.shared);
        let (auditor, mut group) = (&mut self.auditor, self.doubted.again());
        let once = || {
            group = group.take().or_else(|| auditor.draw());
            auditor.once(group.clone()?, &|| shared.is_ending())
        };
        catch_unwind(AssertUnwindSafe(once)).unwrap_or_else(|_| {
            tracing::error!("an audit panicked; see above, and report it");
            group.map(|group| self.auditor.passed_over(group, "it panicked".to_owned(), begun))
        })
    }
}

/// Waits for so long; false when nobody wants audits any longer.
fn rest(ended: &Receiver<()>, interval: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let left = interval.saturating_sub(begun.elapsed());
        match ended.recv_timeout(left.min(LOOK)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) if left <= LOOK => return true,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Says what audits find, and decides what follows.
struct Desk<'a> {
    control: ControlFile,
    clock: &'a dyn Clock,
    shared: &'a Shared,
}

impl Desk<'_> {
    fn say(&self, audited: &Audited, news: News) {
        let Audited { epoch, group, cells, mismatches, .. } = audited;
        let (kpi, tenant, grain, start) =
            (&group.kpi, &group.tenant, group.grain, group.period_start);
        let trouble = format!("audit/{kpi}");
        let differs = || {
            format!(
                "tenant {tenant} by {grain} {start}: {mismatches} of {cells} cells differ from silver"
            )
        };
        if let (Verdict::Mismatch(details), News::Doubted | News::Another) =
            (&audited.verdict, news)
        {
            let first = details.first();
            let first = first.map(|own| format!(", as {}: {}", own.dims, own.problem));
            let (differs, first) = (differs(), first.unwrap_or_default());
            tracing::error!(epoch, "audit: KPI `{kpi}` of {differs}{first}");
        }
        match (&audited.verdict, news) {
            (Verdict::Mismatch(_), News::Doubted) => {
                let follows = self.decide(kpi, *epoch);
                let text = format!(
                    "numbers of KPI `{kpi}` may be wrong: an audit found of {} (the table gold/audit says which); {follows}",
                    differs()
                );
                self.shared.meters.troubles.set_wrong(&trouble, &text);
            }
            (Verdict::Mismatch(_), _) => {
                tracing::debug!(epoch, "audit: KPI `{kpi}` of {}", differs())
            }
            (_, News::Well) => {
                self.shared.meters.troubles.clear(&trouble);
                tracing::info!(
                    epoch,
                    "audit: KPI `{kpi}` is again as silver says, where it was not"
                );
            }
            (Verdict::PassedOver(reason), _) => {
                tracing::debug!("audit of KPI `{kpi}` by {grain} passed over: {reason}");
            }
            (Verdict::Ok, _) => {}
        }
    }

    /// Decides that a KPI is computed anew, and says what follows. Once a process: what is wrong again is not cured
    /// so.
    fn decide(&self, kpi: &str, epoch: EpochId) -> &'static str {
        let rebuilt = &self.shared.meters.rebuilt;
        if !rebuilt.lock().insert(kpi.to_owned()) {
            return "computing the KPI anew has not ended it: run `weir verify`, and report what it says";
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let decision = Decision::RebuildKpi { kpi: kpi.to_owned(), epoch };
        let record =
            ControlRecord { id, at: self.clock.now(), by: "weir run".to_owned(), decision };
        if let Err(error) = self.control.append(&record) {
            rebuilt.lock().remove(kpi);
            tracing::error!("KPI `{kpi}` is not computed anew: {}", chain(&error));
            return "that it is computed anew could not be recorded";
        }
        "the KPI is computed anew from silver"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_ends_with_the_run() {
        let (going, ended) = sync_channel(0);
        let begun = Instant::now();
        assert!(rest(&ended, Duration::from_millis(120)));
        assert!(begun.elapsed() >= Duration::from_millis(120));
        assert!(rest(&ended, Duration::ZERO));
        drop(going);
        assert!(!rest(&ended, Duration::from_secs(3_600)));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
