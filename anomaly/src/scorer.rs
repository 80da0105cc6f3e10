//! The observer: which bucket is judged when, and what becomes of alerts.
//!
//! ```text
//! epoch    observe: too high is said at once; late corrections are judged again
//! timer    30 s after each hour: judges the bucket that is over, learns it, predicts the next
//!
//! of a series that is held, because an origin that feeds it lags:
//! epoch    observe: that it is there; corrections may resolve
//! timer    nothing
//! settle   1 s after the last quiet row of the origin: learns what is over, silently; judges running buckets that
//!          changed in that second
//! ```
//!
//! # Guarantees
//! - Alerts are a function of epochs, updates and cells. A tick does what the next epoch would do before its
//!   rows, to series that are not held by it; how many ticks there are changes nothing.
//! - Nothing opens of a series while it is held, nor for buckets that ended while it was. Origins that do not
//!   feed it change nothing of that.
//! - All work is bounded: a series is caught up with over five weeks of hours and half a year of days
//!   at most, and so are timers after a silence.
//! - An alert that may be forgotten never opens again: none opens for a bucket that ended over
//!   [`OLD_US`] ago.
//!
//! # Non-guarantees
//! - Series are never forgotten, as cells are not. Alerts are, by a freeze, once they are long over.
//! - A timer that fires before records which are on their way have been read takes their absence for
//!   nothing having arrived; their arrival corrects it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use schemas::answer::Verdict as Opinion;
use schemas::{
    Alert, Calendar, CellKey, Cells, EpochId, EpochStamp, FrozenObserver, Grain, KpiInfo,
    KpiUpdate, Micros, Models, ModelsInForce, Observer, OriginName, Saved, SeriesId, Sight,
};

use crate::alert_book::AlertBook;
use crate::entry::{Entry, Name};
use crate::incident;
use crate::lags::Lags;
use crate::lateness::{LATENESS, whole_until};
use crate::policy::{Moment, RETELL_US, Step};
use crate::raised::{Raiser, Stamp};
use crate::rules::{Bucket, REGISTRY, Verdict};
use crate::saved::{self, Frozen, Head};
use crate::series_book::SeriesBook;

/// Hours whose timers fire one by one after a silence; before them it is only learned.
const HOURS_FIRED: i64 = 35 * 24;
/// Alerts are for buckets that end within so many periods of the clock.
const NEAR_PERIODS: i64 = 2;
/// No alert opens for a bucket that ended so long ago: it may have been resolved and forgotten.
const OLD_US: i64 = 28 * 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// Changes when equal epochs give other alerts.
const VERSION: &str = "weir-anomaly-10";

/// Forecasts every series, judges its buckets and keeps alerts.
pub struct Scorer {
    kpis: Vec<KpiInfo>,
    calendar: Arc<Calendar>,
    series: SeriesBook,
    /// The end of the newest hour whose timer has fired.
    cursor: Option<Micros>,
    /// The origins whose backlogs are being read.
    lags: Lags,
    /// Running buckets that epochs without quiet rows changed while they were held, by the places of their series.
    held: BTreeMap<usize, Micros>,
    /// Alerts whose figures have changed since they were shown: when to look again, the series and
    /// the bucket.
    owed: BTreeSet<(Micros, usize, Micros)>,
    /// The last epoch with records.
    epoch: EpochId,
    /// The clock of the last epoch or tick.
    clock: Micros,
    alerts: AlertBook,
}

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scorer")
            .field("series", &self.series.len())
            .field("alerts", &self.alerts.len())
            .finish_non_exhaustive()
    }
}

impl Scorer {
    /// A scorer of these KPIs that has seen nothing.
    pub fn new(kpis: Vec<KpiInfo>) -> Scorer {
        Scorer {
            kpis,
            calendar: Arc::default(),
            series: SeriesBook::new(),
            cursor: None,
            lags: Lags::default(),
            held: BTreeMap::new(),
            owed: BTreeSet::new(),
            epoch: 0,
            clock: Micros::default(),
            alerts: AlertBook::new(Vec::new()),
        }
    }

    /// The same, the periods of the KPIs being those of another calendar.
    #[must_use]
    pub fn with_calendar(mut self, calendar: Arc<Calendar>) -> Scorer {
        self.calendar = calendar;
        self
    }

    /// The place of the series of an update, which is new when it is not known.
    fn place(&mut self, update: &KpiUpdate) -> Option<usize> {
        let grain = update.key.grain;
        if let Some(place) = self.series.find(update.series, grain) {
            return Some(place);
        }
        let name = Name {
            kpi: Arc::clone(&update.key.kpi),
            tenant: Arc::clone(&update.key.tenant),
            dims: Arc::clone(&update.key.dims),
            grain,
        };
        let place = match self.series.find_name(&name) {
            Some(place) => place,
            None => {
                let first = update.key.period_start;
                self.series.add(Entry::new(&self.kpis, &self.calendar, name, first)?)
            }
        };
        self.series.set_id(place, update.series);
        Some(place)
    }

    /// What is remembered of a series at a grain.
    pub(crate) fn entry(&self, id: SeriesId, grain: Grain) -> Option<&Entry> {
        self.series.get(self.series.find(id, grain)?)
    }

    /// Puts a series that was saved at its place.
    fn restore(&mut self, place: usize, entry: Entry) {
        let open = entry.tracks.iter().filter_map(|track| track.open.as_ref());
        let owing = open.filter(|episode| episode.owes);
        self.owed.extend(owing.map(|own| (own.told.plus(RETELL_US), place, own.shown)));
        self.series.put(place, entry);
    }

    /// Teaches the series at `place` everything before `end`.
    fn learn(&mut self, place: usize, end: Micros, cells: &dyn Cells) {
        if self.series.get(place).is_some_and(|entry| !entry.has_learned(end))
            && let Some(entry) = self.series.get_mut(place)
        {
            entry.learn_before(end, cells);
        }
    }

    /// Learns silently what is over at `at`, of the series that are chosen and not held.
    fn catch_up(&mut self, at: Micros, sight: Sight<'_>, chosen: impl Fn(&Name) -> bool) {
        let boundary = whole_until(at);
        let Scorer { series, lags, .. } = self;
        series.learn_all(sight.cells, |entry| {
            let is_due = chosen(&entry.name) && !lags.hold(&entry.name, sight.feeding);
            is_due.then(|| entry.frontier(boundary))
        });
    }

    /// Origins are quiet in the epoch with this clock. One that has ceased to lag before begins anew.
    fn lag(&mut self, quiet: &[OriginName], clock: Micros, sight: Sight<'_>) {
        let is_over = |own: &OriginName, until: Micros| until <= clock && quiet.contains(own);
        while let Some((at, origin)) = self.lags.take(is_over) {
            self.settle(at, &origin, sight);
        }
        quiet.iter().for_each(|origin| self.lags.note(origin, clock));
    }

    /// An origin has ceased to lag.
    fn settle(&mut self, at: Micros, origin: &OriginName, sight: Sight<'_>) {
        let is_fed = |name: &Name| sight.feeding.feeds(origin, &name.kpi, &name.tenant);
        self.catch_up(at, sight, is_fed);
        let Scorer { series, lags, .. } = self;
        let is_free = |place: usize| {
            let name = series.get(place).map(|entry| &entry.name);
            name.is_none_or(|name| is_fed(name) && !lags.hold(name, sight.feeding))
        };
        let free: Vec<_> = self.held.extract_if(.., |place, _| is_free(*place)).collect();
        let stamp = Stamp { at, epoch: self.epoch };
        for (place, start) in free {
            if self.series.get(place).is_some_and(|entry| !entry.is_closed(start)) {
                self.judge(place, start, Moment::Running, stamp, sight.cells);
            }
        }
    }

    /// Fires the timers that are due.
    fn fire(&mut self, clock: Micros, sight: Sight<'_>) {
        let newest = whole_until(clock);
        let Some(mut cursor) = self.cursor else { return };
        let oldest = newest.plus(-HOURS_FIRED.saturating_mul(HOUR_US));
        if cursor < oldest {
            self.catch_up(oldest.plus(LATENESS), sight, |_| true);
            cursor = oldest;
        }
        while cursor < newest {
            cursor = cursor.plus(HOUR_US);
            self.settle_while(|until| until < cursor.plus(LATENESS), sight);
            self.cursor = Some(cursor);
            self.close(cursor, sight);
        }
        self.settle_while(|until| until <= clock, sight);
    }

    fn settle_while(&mut self, is_over: impl Fn(Micros) -> bool, sight: Sight<'_>) {
        while let Some((at, origin)) = self.lags.take(|_, until| is_over(until)) {
            self.settle(at, &origin, sight);
        }
    }

    /// Closes the buckets that end at `boundary`, or, where days begin within an hour, since the one before.
    fn close(&mut self, boundary: Micros, sight: Sight<'_>) {
        let cells = sight.cells;
        let stamp = Stamp { at: boundary.plus(LATENESS), epoch: self.epoch };
        for place in self.series.in_order() {
            let Some(entry) = self.series.get(place) else { continue };
            let is_first = |at: Micros| at.0.saturating_sub(entry.start(at).0) < HOUR_US;
            let (ends, is_due) = (is_first(boundary), is_first(boundary.plus(-entry.wait())));
            if !(ends || is_due) || self.lags.hold(&entry.name, sight.feeding) {
                continue;
            }
            if ends {
                let ended = entry.later(entry.start(boundary), -1);
                self.series.get_mut(place).into_iter().for_each(|entry| entry.end(ended, cells));
            }
            let Some(entry) = self.series.get(place) else { continue };
            let running = entry.frontier(boundary);
            if boundary.plus(-entry.wait()).0.saturating_sub(running.0) >= HOUR_US {
                continue;
            }
            let bucket = entry.later(running, -1);
            self.learn(place, bucket, cells);
            if self.series.get(place).is_some_and(|entry| entry.next == bucket) {
                self.judge(place, bucket, Moment::Close, stamp, cells);
                self.learn(place, running, cells);
            }
            // What has arrived of the next bucket had no forecast until now.
            self.judge(place, running, Moment::Running, stamp, cells);
        }
    }

    /// Looks again at the alerts whose figures may follow their buckets now.
    fn retell(&mut self, stamp: Stamp, sight: Sight<'_>) {
        let mut held = Vec::new();
        while self.owed.first().is_some_and(|(due, ..)| *due <= stamp.at) {
            let Some(owed @ (_, place, start)) = self.owed.pop_first() else { break };
            let Some(entry) = self.series.get(place) else { continue };
            if self.lags.hold(&entry.name, sight.feeding) {
                held.push(owed);
                continue;
            }
            let moment = if entry.is_closed(start) { Moment::Late } else { Moment::Running };
            self.judge(place, start, moment, stamp, sight.cells);
        }
        self.owed.extend(held);
    }

    /// Sees one update; `quiet` when its series is held.
    fn update(&mut self, stamp: Stamp, quiet: bool, update: &KpiUpdate, cells: &dyn Cells) {
        let Some(place) = self.place(update) else { return };
        let start = update.key.period_start;
        if update.value.is_some()
            && self.series.get(place).is_some_and(|entry| !entry.is_noted(start))
            && let Some(entry) = self.series.get_mut(place)
        {
            entry.note(start);
        }
        let outdates =
            |entry: &Entry| !entry.stale && entry.is_closed(start) && entry.learner.seen > 0;
        if quiet
            && self.series.get(place).is_some_and(outdates)
            && let Some(entry) = self.series.get_mut(place)
        {
            entry.stale = true;
        }
        let Some(entry) = self.series.get(place) else { return };
        let end = entry.later(start, 1);
        let after = stamp.at.0.saturating_sub(end.0);
        if !quiet
            && after > LATENESS
            && entry.is_late(start, after, cells)
            && let Some(entry) = self.series.get_mut(place)
        {
            entry.note_late(start, after, cells);
        }
        let Some(entry) = self.series.get(place) else { return };
        let far = after.saturating_abs() > NEAR_PERIODS * entry.step + entry.wait();
        let moment = match entry.is_closed(start) {
            _ if quiet || far => Moment::Quiet,
            true => Moment::Late,
            false => Moment::Running,
        };
        self.judge(place, start, moment, stamp, cells);
    }

    /// Keeps a running bucket in mind that something which is no backlog changed: it is judged when nothing holds
    /// its series any more.
    fn hold(&mut self, update: &KpiUpdate) {
        let (start, place) = (update.key.period_start, self.place(update));
        let running =
            |place: &usize| self.series.get(*place).is_some_and(|own| !own.is_closed(start));
        if let Some(place) = place.filter(running) {
            let held = self.held.entry(place).or_insert(start);
            *held = start.max(*held);
        }
    }

    /// Judges one bucket by every rule that watches it.
    fn judge(
        &mut self,
        place: usize,
        start: Micros,
        moment: Moment,
        stamp: Stamp,
        cells: &dyn Cells,
    ) {
        let is_old = |entry: &Entry| entry.later(start, 1) < stamp.at.plus(-OLD_US);
        let moment = match self.series.get(place) {
            Some(entry) if is_old(entry) => Moment::Quiet,
            _ => moment,
        };
        for (number, rule) in REGISTRY.iter().enumerate() {
            let Some(entry) = self.series.get(place) else { return };
            let Some(track) = entry.tracks.get(number) else { return };
            // What a bucket in doubt says corrects nothing that was said of it before.
            if track.knows(start) && entry.is_in_doubt(start, cells) {
                continue;
            }
            let is_watched = entry.watched.get(number).copied().unwrap_or(false);
            if !is_watched || (moment == Moment::Quiet && !track.knows(start)) {
                continue;
            }
            let outlook = entry.outlook(start).or_else(|| {
                let is_ahead = moment == Moment::Running && is_watched;
                is_ahead.then(|| entry.outlook_ahead(start, cells)).flatten()
            });
            let against = rule.against();
            if outlook.is_none() && against.is_none() && moment != Moment::Close {
                continue;
            }
            let Some(kpi) = self.kpis.get(entry.kpi) else { return };
            let bucket = Bucket {
                running: moment != Moment::Close && !entry.is_closed(start),
                held: track.knows(start),
                is_whole: entry.is_wait_known(),
                ..Bucket::whole(entry, (*rule, kpi), (start, outlook), cells)
            };
            let verdict = match entry.is_planned(start) {
                true => Verdict::Unknown,
                false => rule.judge(&bucket).toward(kpi.watching.direction),
            };
            let is_news = matches!(verdict, Verdict::Anomalous(_)) && moment != Moment::Quiet;
            // Only the end of a bucket says anything of what was not anomalous before.
            let is_told = moment == Moment::Close || track.knows(start);
            if !is_news && (track.is_idle() || !is_told) {
                continue;
            }
            let Some(entry) = self.series.get_mut(place) else { return };
            let Some(track) = entry.tracks.get_mut(number) else { return };
            let taken = track.judge(start, verdict, moment, entry.step, stamp.at);
            if let Step::Later(due) = taken {
                self.owed.insert((due, place, start));
            }
            let (kpis, series) = (&self.kpis, &self.series);
            let mut raiser = Raiser { kpis, series, cells, alerts: &mut self.alerts };
            raiser.take(place, number, taken, stamp);
        }
    }

    /// Gives the alerts that have opened their incidents.
    fn group(&mut self) {
        let opened = self.alerts.take_opened();
        incident::group(&mut self.alerts, (&self.kpis, &self.calendar), opened);
    }
}

impl Observer for Scorer {
    fn fingerprint(&self) -> String {
        let planned = self.calendar.planned_identity();
        planned.map_or(VERSION.to_owned(), |planned| format!("{VERSION} planned {planned}"))
    }

    fn next_due(&self) -> Option<Micros> {
        let timer = || Some(self.cursor?.plus(HOUR_US + LATENESS));
        let settle = self.lags.first().into_iter();
        settle.chain(timer()).min().filter(|_| !self.series.is_empty())
    }

    fn advance(
        &mut self,
        epoch: &EpochStamp,
        is_tick: bool,
        quiet: &[OriginName],
        sight: Sight<'_>,
    ) {
        let clock = epoch.clock;
        self.clock = clock;
        self.cursor.get_or_insert_with(|| whole_until(clock));
        self.lag(quiet, clock, sight);
        self.fire(clock, sight);
        if !is_tick {
            self.epoch = epoch.id;
        }
        self.group();
    }

    fn observe(&mut self, epoch: &EpochStamp, updates: &[KpiUpdate], sight: Sight<'_>) {
        let stamp = Stamp { at: epoch.clock, epoch: epoch.id };
        // Updates come in key order: those of a KPI and tenant stand together.
        let mut before: Option<(&CellKey, bool)> = None;
        for update in updates.iter().filter(|update| update.key.grain <= Grain::Day) {
            let CellKey { kpi, tenant, .. } = &update.key;
            let known = before.filter(|(own, _)| own.kpi == *kpi && own.tenant == *tenant);
            let quiet = match known {
                Some((_, quiet)) => quiet,
                None => self.lags.hold_tenant(kpi, tenant, sight.feeding),
            };
            before = Some((&update.key, quiet));
            self.update(stamp, quiet, update, sight.cells);
            if quiet && !epoch.quiet {
                self.hold(update);
            }
        }
        // Only here, and not by a timer: how many ticks there were must change nothing.
        self.retell(stamp, sight);
        self.group();
    }

    fn train(&mut self, models: &Models) -> usize {
        self.series.train(models)
    }

    fn models(&self) -> Arc<ModelsInForce> {
        Arc::clone(self.series.models())
    }

    fn heed(&mut self, alert: &str, before: Option<Opinion>, verdict: Opinion) -> bool {
        // One that may have been forgotten already teaches nothing any more.
        let held = self.alerts.find(alert).filter(|(_, own)| !own.is_long_over(self.clock));
        held.is_some_and(|(_, alert)| self.series.heed(&alert.key, before, verdict))
    }

    fn take_changes(&mut self) -> Vec<Alert> {
        self.alerts.take_changes()
    }

    fn alerts(&self) -> Vec<Alert> {
        self.alerts.all()
    }

    fn alert(&self, id: &str) -> Option<(u32, &Alert)> {
        self.alerts.find(id)
    }

    fn adopt(&mut self, alert: Alert) -> Option<u32> {
        self.alerts.add(alert)
    }

    fn forget(&mut self, ids: &[Arc<str>]) {
        ids.iter().for_each(|id| self.alerts.remove(id));
    }

    fn freeze(&mut self) -> Box<dyn FrozenObserver> {
        let Scorer { cursor, epoch, .. } = *self;
        let alerts = self.alerts.freeze(self.clock);
        let held = self.held.iter().map(|(place, start)| (*place, *start)).collect();
        let head = Head { cursor, lags: self.lags.saved(), held, epoch };
        Box::new(Frozen::new(head, self.series.freeze(), alerts))
    }

    fn load(
        &mut self,
        saved: &Saved,
        alerts: Vec<Alert>,
        cells: &dyn Cells,
        kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        let mut loaded = Scorer::new(self.kpis.clone()).with_calendar(Arc::clone(&self.calendar));
        let mut put = |place: usize, entry: Entry| loaded.restore(place, entry);
        let known = (self.kpis.as_slice(), &*self.calendar);
        let head = saved::read(saved, known, cells, kept, &mut put);
        let Head { cursor, lags, held, epoch } = head.map_err(|error| error.to_string())?;
        (loaded.cursor, loaded.epoch) = (cursor, epoch);
        loaded.lags = Lags::restore(lags);
        loaded.held = held.into_iter().collect();
        loaded.alerts = AlertBook::new(alerts);
        *self = loaded;
        Ok(())
    }
}
