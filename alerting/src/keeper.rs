//! The keeper: from what is new of alerts to what is written into the outbox.
//!
//! # Guarantees
//! - What is new is compared with what people know, and written before anything else is heard. A store that fails
//!   is tried again until it takes it, and said.
//! - A store that was never written begins with what is over as known: nobody is told of last week's alerts.
//! - Of an incident people are told once, by the alert that leads it; see [`crate::told`].
//! - An alert that people know to be open and that has not been in the lake for a while is withdrawn.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use schemas::{Alert, Answers, Clock, Micros, chain};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::digest::compose;
use crate::feed::Heard;
use crate::notice::{Kind, Notice, Words, id};
use crate::outbox::{Addressed, Outbox, Wait, Written};
use crate::own_troubles::{OwnTroubles, PREFIX, Trouble};
use crate::route::Taker;
use crate::surroundings::Surroundings;
use crate::told::{Company, News, Told, news};

/// How often troubles are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Between tries of a store that fails.
const RETRY: Duration = Duration::from_secs(1);
/// How often the outbox is tidied.
const TIDY: Duration = Duration::from_secs(3_600);

/// Compares and writes.
pub(crate) struct Keeper {
    pub(crate) outbox: Outbox,
    pub(crate) takers: Vec<Arc<Taker>>,
    pub(crate) words: Words,
    pub(crate) heard: Arc<Heard>,
    pub(crate) around: Arc<dyn Surroundings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) told: HashMap<String, Told>,
    pub(crate) is_new: bool,
    pub(crate) own: OwnTroubles,
    /// Open alerts that were not among all, and since when.
    pub(crate) missing: HashMap<String, Instant>,
    pub(crate) withdraw_after: Duration,
    /// Alerts of which there is more to tell later: they are muted, or flap.
    pub(crate) waiting: BTreeMap<String, Alert>,
    /// Up to when digests were made, by route.
    pub(crate) digested: HashMap<String, Micros>,
    /// Becomes true when nothing more is to be heard.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Keeper {
    /// Hears until it is to end.
    pub(crate) async fn run(mut self) {
        let heard = Arc::clone(&self.heard);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            tokio::select! {
                _ = self.ending.changed() => return,
                news = heard.news() => {
                    if let Some(all) = &news.all {
                        self.begin(all).await;
                    }
                    let mut written = self.compare(news.changed.values());
                    if news.has_answers {
                        written.append(self.compare_waiting());
                    }
                    self.write(written).await;
                }
                _ = look.tick() => self.look().await,
                _ = tidy.tick() => {
                    if let Err(error) = self.outbox.tidy(self.clock.now()).await {
                        tracing::warn!("old deliveries were not deleted: {}", chain(&error));
                    }
                }
            }
        }
    }

    /// Compares all alerts with what people know.
    async fn begin(&mut self, alerts: &[Alert]) {
        let mut written = Written { begins: self.is_new, ..Written::default() };
        if self.is_new {
            for alert in alerts.iter().filter(|alert| !alert.is_open()) {
                let told = Told { is_open: false, ..Told::begin(alert.severity, 1) };
                self.told.insert(alert.id.to_string(), told.clone());
                written.told.push((alert.id.to_string(), told));
            }
            self.is_new = false;
        }
        let there: HashSet<&str> = alerts.iter().map(|alert| &*alert.id).collect();
        self.told.retain(|id, told| told.is_open || there.contains(id.as_str()));
        let is_gone =
            |id: &str, told: &Told| told.is_open && !there.contains(id) && !id.starts_with(PREFIX);
        let gone =
            self.told.iter().filter(|(id, told)| is_gone(id, told)).map(|(id, _)| id.clone());
        let gone: HashSet<String> = gone.collect();
        self.missing.retain(|id, _| gone.contains(id));
        for id in gone {
            self.missing.entry(id).or_insert_with(Instant::now);
        }
        self.waiting.clear();
        written.append(self.compare(alerts.iter()));
        self.write(written).await;
    }

    /// What is to be told of these alerts.
    fn compare<'a>(&mut self, alerts: impl Iterator<Item = &'a Alert>) -> Written {
        let mut written = Written::default();
        let (answers, now) = (self.heard.answers(), self.clock.now());
        let mut alerts: Vec<&Alert> = alerts.collect();
        alerts.sort_by_key(|alert| turn(alert));
        for alert in &alerts {
            self.missing.remove(&*alert.id);
            let heard = self.heard(alert);
            let company = self.company(alert, &heard, &answers);
            let before = self.told.get(&*alert.id);
            let answer = answers.of(alert);
            let News { kinds, mut known, waits } = news(before, alert, (&answer, company), now);
            match waits {
                true => drop(self.waiting.insert(alert.id.to_string(), Alert::clone(alert))),
                false => drop(self.waiting.remove(&*alert.id)),
            }
            if before == Some(&known) {
                continue;
            }
            for kind in kinds {
                let mut notice = self.words.notice(alert, kind, known.round, &answers);
                if known.flaps {
                    notice.flaps();
                }
                if kind == Kind::Opened {
                    let same = |own: &&Alert| own.incident == alert.incident && own.id != alert.id;
                    let others = alerts.iter().copied().chain(self.waiting.values()).filter(same);
                    self.words.relate(&mut notice, others.filter(|own| own.is_open()));
                }
                self.address(notice, &heard, &mut known, &mut written);
            }
            self.told.insert(alert.id.to_string(), known.clone());
            written.told.push((alert.id.to_string(), known));
        }
        written
    }

    /// The routes that were told of another open alert of its incident that matters as much.
    fn heard(&self, alert: &Alert) -> BTreeSet<String> {
        let others = self.others(alert).filter(|told| told.severity >= alert.severity);
        others.flat_map(|told| told.routes.iter().cloned()).collect()
    }

    /// What people know of the other alerts of its incident that go on.
    fn others(&self, alert: &Alert) -> impl Iterator<Item = &Told> {
        let (own, incident) = (Arc::clone(&alert.id), Arc::clone(&alert.incident));
        let is_other = move |(id, told): &(&String, &Told)| {
            told.is_open && told.incident == *incident && **id != *own
        };
        self.told.iter().filter(is_other).map(|(_, told)| told)
    }

    /// What the other alerts of its incident are to an alert.
    fn company(&self, alert: &Alert, heard: &BTreeSet<String>, answers: &Answers) -> Company {
        let has_heard = |taker: &Arc<Taker>, notice: &Notice| {
            !taker.takes(notice) || heard.contains(&taker.name)
        };
        let is_told = !heard.is_empty() && {
            let notice = self.words.notice(alert, Kind::Opened, 1, answers);
            self.takers.iter().all(|taker| has_heard(taker, &notice))
        };
        let is_behind = |held: &Alert| {
            let is_muted = answers.of(held).muted_until.is_some();
            held.incident == alert.incident && held.id != alert.id && held.is_open() && !is_muted
        };
        let goes_on = !alert.is_open()
            && self.waiting.values().any(is_behind)
            && self.others(alert).next().is_none();
        Company { is_told, goes_on }
    }

    /// What is to be told by now of those that wait.
    fn compare_waiting(&mut self) -> Written {
        let waiting: Vec<Alert> = self.waiting.values().cloned().collect();
        self.compare(waiting.iter())
    }

    /// Says that an alert should not have been, as it was told last.
    async fn withdraw(&mut self, alert: &str, written: &mut Written) {
        let Some(mut told) = self.told.remove(alert) else { return };
        match self.outbox.last_notice(alert).await {
            Ok(Some(last)) => {
                let notice = withdrawn(last, told.round, self.clock.now());
                self.address(notice, &BTreeSet::new(), &mut told, written);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("alert {alert} ends unsaid: {}", chain(&error)),
        }
        written.told.push((alert.to_owned(), Told { is_open: false, ..told }));
    }

    /// Adds a delivery for each route that takes the notice and has not `heard` of another alert instead, and for
    /// those who heard of this one before; of its end only for those.
    fn address(
        &self,
        notice: Notice,
        heard: &BTreeSet<String>,
        told: &mut Told,
        written: &mut Written,
    ) {
        let now = self.clock.now();
        let takes = |taker: &Arc<Taker>| {
            !notice.kind.is_last() && taker.takes(&notice) && !heard.contains(&taker.name)
        };
        for taker in &self.takers {
            if takes(taker) || told.routes.contains(&taker.name) {
                told.routes.insert(taker.name.clone());
                let wait = match (&taker.digest, taker.holds(&notice, now)) {
                    (Some(_), _) => Wait::Digest,
                    (None, Some(until)) => Wait::Until(until),
                    (None, None) => Wait::No,
                };
                let (route, notice) = (taker.name.clone(), notice.clone());
                written.deliveries.push(Addressed { route, notice, wait });
            }
        }
    }

    /// Looks at what time has brought: alerts that are missing for long, those that flapped and are calm, and Weir's
    /// own troubles.
    async fn look(&mut self) {
        let is_over = |since: &Instant| since.elapsed() >= self.withdraw_after;
        let gone =
            self.missing.iter().filter(|(_, since)| is_over(since)).map(|(id, _)| id.clone());
        for id in gone.collect::<Vec<_>>() {
            self.missing.remove(&id);
            let mut written = Written::default();
            self.withdraw(&id, &mut written).await;
            self.write(written).await;
        }
        let written = self.compare_waiting();
        self.write(written).await;
        self.look_at_troubles().await;
        self.make_digests().await;
    }

    /// Makes the digests that are due.
    async fn make_digests(&mut self) {
        let now = self.clock.now();
        for taker in &self.takers {
            let Some((date, upto)) = taker.digest.as_ref().map(|digest| digest.due(now)) else {
                continue;
            };
            if self.digested.get(&taker.name).is_some_and(|done| *done >= upto) {
                continue;
            }
            let link = self.words.public_url.as_deref();
            let compose = |collected: &[Notice]| compose(&taker.name, &date, collected, link);
            match self.outbox.digest(&taker.name, upto, compose, now).await {
                Ok(()) => {
                    self.digested.insert(taker.name.clone(), upto);
                    taker.wake.notify_one();
                }
                Err(error) => {
                    let route = &taker.name;
                    tracing::warn!(route, "a digest is not made yet: {}", chain(&error));
                }
            }
        }
    }

    async fn look_at_troubles(&mut self) {
        let now = self.clock.now();
        let degraded = self.heard.degraded();
        let reasons =
            degraded.iter().map(|reason| Trouble { text: reason.told(now), is_slight: false });
        let troubles: Vec<Trouble> = self.around.troubles().into_iter().chain(reasons).collect();
        let link = self.words.public_url.as_deref();
        let Some(notice) = self.own.step(&troubles, now, link) else { return };
        let alert = notice.alert.clone();
        let mut told = match self.told.remove(&alert) {
            Some(told) => Told { severity: notice.severity, ..told },
            None => Told::begin(notice.severity, 1),
        };
        told.is_open = !notice.kind.is_last();
        let mut written = Written::default();
        self.address(notice, &BTreeSet::new(), &mut told, &mut written);
        if told.is_open {
            self.told.insert(alert.clone(), told.clone());
        }
        written.told.push((alert, told));
        self.write(written).await;
    }

    /// Writes it, however long that takes, and wakes those who send.
    async fn write(&self, written: Written) {
        if written.is_empty() {
            return;
        }
        while let Err(error) = self.outbox.write(&written, self.clock.now()).await {
            let text = format!(
                "alerts cannot be written to their store, and nobody is told of new ones: {}",
                chain(&error)
            );
            tracing::error!("{text}");
            self.around.set("alerts.store", Some(&text));
            tokio::time::sleep(RETRY).await;
        }
        self.around.set("alerts.store", None);
        for taker in &self.takers {
            taker.wake.notify_one();
        }
    }
}

/// Whose turn it is among alerts that are compared at once: those that lead an incident open before the others
/// and end after them.
fn turn(alert: &Alert) -> u8 {
    match (alert.incident == alert.id, alert.is_open()) {
        (true, true) => 0,
        (false, _) => 1,
        (true, false) => 2,
    }
}

/// The end of what was told last.
fn withdrawn(last: Notice, round: u32, now: Micros) -> Notice {
    let mut notice = Notice {
        id: id(&last.alert, Kind::Withdrawn, last.severity, round),
        kind: Kind::Withdrawn,
        ends_at: Some(now),
        ..last
    };
    let summary =
        format!("{}: withdrawn, what made it open is not in the lake any more", notice.alert);
    notice.annotations.insert("summary".to_owned(), summary);
    if let Some(body) = notice.body.as_object_mut() {
        body.insert("state".to_owned(), "withdrawn".into());
        body.insert("resolved_at".to_owned(), now.to_string().into());
    }
    notice
}
