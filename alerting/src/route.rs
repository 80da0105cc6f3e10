//! Routes: ways to people, one file each, and the list of them.
//!
//! A route is added by a file in `route/` and a line in [`KINDS`].
//!
//! # Guarantees
//! - A route sends what it is given and says what came of it. It keeps nothing, waits for nothing but its receiver,
//!   and decides nothing about when and what to send.

mod alertmanager;
mod email;
mod log;
mod pagerduty;
mod slack;
mod webhook;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Client;
use schemas::Micros;
use tokio::sync::Notify;

use crate::digest::Digest;
use crate::error::DeliveryError;
use crate::heartbeat::SignOfLife;
use crate::matching::Match;
use crate::notice::Notice;
use crate::quiet::Quiet;
use crate::settings::RouteSettings;
use crate::suppressed::Reading;
use crate::tally::Tally;

/// A delivery under way.
pub(crate) type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'a>>;

/// A way to people.
pub(crate) trait Route: Send + Sync {
    /// Tells them this.
    fn deliver<'a>(&'a self, notice: &'a Notice, now: Micros) -> Sending<'a>;

    /// Whether it can bring a digest.
    fn brings_digests(&self) -> bool {
        true
    }

    /// Whether something goes on at the receiver until it hears the end: that does not wait for quiet hours to end.
    fn keeps_going(&self) -> bool {
        false
    }

    /// Asks which alerts the receiver does not pass on, where it says that.
    fn read_back(&self) -> Option<Reading<'_>> {
        None
    }

    /// How often the receiver wants to hear again of what goes on, if it forgets otherwise.
    fn repeats(&self) -> Option<Duration> {
        None
    }

    /// Says again what goes on, and what ended lately.
    fn repeat<'a>(&'a self, _standing: &'a [Notice], _now: Micros) -> Sending<'a> {
        Box::pin(async { Ok(()) })
    }

    /// Says that Weir is alive, where the receiver can miss it.
    fn sign_of_life<'a>(&'a self, _sign: &'a SignOfLife) -> Option<Sending<'a>> {
        None
    }
}

/// A route with its name, and what it takes.
pub(crate) struct Taker {
    pub(crate) name: String,
    pub(crate) matching: Match,
    pub(crate) quiet: Option<Quiet>,
    pub(crate) digest: Option<Digest>,
    pub(crate) route: Box<dyn Route>,
    /// Something waits for it.
    pub(crate) wake: Notify,
    pub(crate) tally: Arc<Tally>,
    /// Why the last try failed.
    pub(crate) why: Mutex<String>,
}

impl Taker {
    /// A route by its settings.
    ///
    /// # Errors
    /// When its settings are not those of its kind; the text names the route and the setting.
    pub(crate) fn make(settings: &RouteSettings, client: &Client) -> Result<Taker, String> {
        let wrong = |why: String| named(settings, &why);
        let quiet = settings.quiet.as_ref().map(Quiet::read).transpose().map_err(wrong)?;
        let digest = settings.digest.as_ref().map(Digest::read).transpose().map_err(wrong)?;
        let route = make(settings, client)?;
        if digest.is_some() && !route.brings_digests() {
            let text = format!("a route of kind `{}` brings no `digest`", settings.kind);
            return Err(wrong(text));
        }
        if digest.is_some() && quiet.is_some() {
            let text = "has `digest` and `quiet`; a digest is sent at its time: leave one out";
            return Err(wrong(text.to_owned()));
        }
        Ok(Taker {
            name: settings.name.clone(),
            matching: settings.effective_match(),
            quiet,
            digest,
            route,
            wake: Notify::new(),
            tally: Arc::default(),
            why: Mutex::default(),
        })
    }

    pub(crate) fn takes(&self, notice: &Notice) -> bool {
        self.matching.takes(notice)
    }

    /// Until when a notice of it waits, where it falls into quiet hours.
    pub(crate) fn holds(&self, notice: &Notice, now: Micros) -> Option<Micros> {
        let waits = !(notice.kind.is_last() && self.route.keeps_going());
        self.quiet.as_ref().filter(|_| waits)?.holds(notice.severity, now)
    }
}

/// Makes a route from its settings.
type Make = fn(&RouteSettings, &Client) -> Result<Box<dyn Route>, String>;

/// The kinds of routes by their names.
const KINDS: [(&str, Make); 6] = [
    ("alertmanager", alertmanager::make),
    ("email", email::make),
    ("log", log::make),
    ("pagerduty", pagerduty::make),
    ("slack", slack::make),
    ("webhook", webhook::make),
];

/// The names of the kinds of routes.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

/// What is wrong with a route.
fn named(settings: &RouteSettings, why: &str) -> String {
    format!("[[alerts.routes]] `{}`: {why}", settings.name)
}

fn make(settings: &RouteSettings, client: &Client) -> Result<Box<dyn Route>, String> {
    let named = |why: String| named(settings, &why);
    let make = KINDS.iter().find(|(name, _)| *name == settings.kind).map(|(_, make)| make);
    let make = make.ok_or_else(|| {
        let all: Vec<&str> = kinds().collect();
        named(format!("kind `{}` is none of {}", settings.kind, all.join(", ")))
    })?;
    let mail = settings.from.is_some() || !settings.to.is_empty();
    if mail && settings.kind != "email" {
        return Err(named("`from` and `to` are of e-mail only".to_owned()));
    }
    make(settings, client).map_err(named)
}
