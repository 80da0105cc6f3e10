//! A client of the stream that believes nothing, for tests of the running product.
//!
//! It keeps what the stream tells it, goes on where it was when the server has been away, and
//! compares what it holds with what REST answers at the same epoch.
//!
//! # Guarantees
//! - No code of the server is used: frames are read as plain JSON, REST over a plain socket.
//! - Whatever breaks a rule of the stream is an error that names the frame.
//!
//! # Non-guarantees
//! - A delete of a cell that was never told of, and an upsert that changes nothing, are counted and
//!   not judged: several epochs may come as one frame. Only a comparison at an epoch judges values.

mod link;
mod rest;
mod view;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;
use link::{Heard, Link};
pub use view::View;

/// How long one wait for a frame takes, before other things are looked at.
const STEP: Duration = Duration::from_millis(50);

/// Between two attempts to reach a server that is away.
const PAUSE: Duration = Duration::from_millis(100);

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Host and port of the server.
    pub address: String,
    /// The token.
    pub token: String,
    /// The tenant, KPI and grain that are wanted; all of them unless given.
    pub tenant: Option<String>,
    /// See `tenant`.
    pub kpi: Option<String>,
    /// See `tenant`.
    pub grain: Option<String>,
    /// How long the server may be away, and how long a comparison may take.
    pub patience: Duration,
    /// Between two comparisons with REST while running; none unless given.
    pub compare_every: Option<Duration>,
    /// At the end, wait until this offset is reached.
    pub until_offset: u64,
}

impl Options {
    /// Everything that a token may see, with half a minute of patience.
    pub fn new(address: &str, token: &str) -> Options {
        Options {
            address: address.to_owned(),
            token: token.trim().to_owned(),
            tenant: None,
            kpi: None,
            grain: None,
            patience: Duration::from_secs(30),
            compare_every: None,
            until_offset: 0,
        }
    }

    fn filter(&self) -> Vec<(&'static str, &str)> {
        let fields = [("tenant", &self.tenant), ("kpi", &self.kpi), ("grain", &self.grain)];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Frames with cells.
    pub updates: u64,
    /// Cells in them that have a value.
    pub upserts: u64,
    /// Cells in them that are gone.
    pub deletes: u64,
    /// Deletes of cells that were not known.
    pub unknown_deletes: u64,
    /// Upserts of what was known already.
    pub unchanged_upserts: u64,
    /// Frames that say how far everything is.
    pub progress: u64,
    /// Whole snapshots.
    pub snapshots: u64,
    /// Times that the connection was lost.
    pub lost: u64,
    /// Times that it went on where it was.
    pub resumed: u64,
    /// Times that it had to begin anew.
    pub restarted: u64,
    /// Comparisons with REST at the same epoch; all of them agreed.
    pub compared: u64,
    /// Cells held at the end.
    pub cells: u64,
    /// The offset reached at the end.
    pub offset: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = [
            ("updates", self.updates),
            ("upserts", self.upserts),
            ("deletes", self.deletes),
            ("unknown deletes", self.unknown_deletes),
            ("unchanged upserts", self.unchanged_upserts),
            ("progress", self.progress),
            ("snapshots", self.snapshots),
            ("lost", self.lost),
            ("resumed", self.resumed),
            ("restarted", self.restarted),
            ("compared", self.compared),
            ("cells", self.cells),
            ("offset", self.offset),
        ];
        figures.iter().try_for_each(|(name, figure)| writeln!(f, "{name:<22}{figure:>12}"))
    }
}

/// Follows the stream until `stop`, then compares with REST a last time. Blocks: to be called in a
/// thread of its own.
///
/// # Errors
/// When a rule is broken, REST says something else, or the server is away for too long.
pub fn follow(options: &Options, stop: &AtomicBool) -> Result<Figures, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::at("no runtime"))?.block_on(async {
        let mut follower = Follower::new(options);
        let mut compared_at = Instant::now();
        while !stop.load(Ordering::Acquire) {
            follower.step().await?;
            if options.compare_every.is_some_and(|every| compared_at.elapsed() >= every)
                && follower.link.is_some()
            {
                follower.try_compare().await?;
                compared_at = Instant::now();
            }
        }
        follower.finish().await
    })
}

struct Follower<'a> {
    options: &'a Options,
    view: View,
    link: Option<Link>,
    /// Since when there is no connection.
    away_since: Instant,
}

impl<'a> Follower<'a> {
    fn new(options: &'a Options) -> Follower<'a> {
        let view = View::default();
        Follower { options, view, link: None, away_since: Instant::now() }
    }

    /// Takes a frame, or waits for one for a moment, or tries to connect. Whether it took one that
    /// carries cells.
    async fn step(&mut self) -> Result<bool, Error> {
        let Some(link) = &mut self.link else {
            self.connect().await?;
            return Ok(false);
        };
        match link.hear(STEP).await? {
            Heard::Nothing => Ok(false),
            Heard::Frame(frame) => self.view.take(&frame),
            Heard::Lost(reason) => {
                self.lose(&reason);
                Ok(false)
            }
        }
    }

    fn lose(&mut self, _reason: &str) {
        self.view.figures.lost += 1;
        (self.link, self.away_since) = (None, Instant::now());
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let opened = Link::open(&self.options.address, &self.options.token).await;
        let mut link = match opened {
            Ok(link) => link,
            Err(error) if self.away_since.elapsed() < self.options.patience => {
                drop(error);
                tokio::time::sleep(PAUSE).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut wish = json!({"type": "subscribe", "id": view::ID, "channel": "kpi"});
        for (name, value) in self.options.filter() {
            wish["filter"][name] = value.into();
        }
        if let Some(since) = self.view.since() {
            wish["since"] = since;
        }
        self.view.begin(wish.get("since").is_some());
        if link.say(&wish).await.is_ok() {
            self.link = Some(link);
        }
        Ok(())
    }

    /// One attempt to compare with REST at its epoch; whether it came to that.
    async fn try_compare(&mut self) -> Result<bool, Error> {
        let (epoch, cells) = match rest::cells(self.options).await {
            Ok(answer) => answer,
            // It may be about to be away.
            Err(_) => return Ok(false),
        };
        let begin = Instant::now();
        while begin.elapsed() < self.options.patience {
            match self.view.reached() {
                // An update may have gone past it: then the next attempt counts.
                Some(reached) if reached > epoch => return Ok(false),
                Some(reached) if reached == epoch => {
                    self.view.compare(epoch, &cells)?;
                    return Ok(true);
                }
                _ => {}
            }
            let before = self.view.reached();
            let had_cells = self.step().await?;
            if self.link.is_none() {
                return Ok(false);
            }
            // Progress over the epoch: nothing changed up to there.
            let passed = self.view.reached().is_some_and(|reached| reached > epoch);
            if passed && !had_cells && before.is_some() {
                self.view.compare(epoch, &cells)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reaches what it must, and compares.
    async fn finish(&mut self) -> Result<Figures, Error> {
        let begin = Instant::now();
        loop {
            let is_there = self.view.reached().is_some_and(|at| at >= self.options.until_offset);
            if is_there && self.link.is_some() && self.try_compare().await? {
                return Ok(self.view.figures());
            }
            if begin.elapsed() > self.options.patience {
                let reached = self.view.reached();
                return Err(Error::new(format!(
                    "no comparison with REST in {:?}: reached {reached:?}, wanted {}",
                    self.options.patience, self.options.until_offset
                )));
            }
            self.step().await?;
        }
    }
}

/// A cell's name and what it says, out of a frame or a REST answer.
fn split(cell: &Value) -> (String, String) {
    let field = |name: &str| cell.get(name).cloned().unwrap_or(Value::Null);
    let name = ["kpi", "tenant", "dims", "grain", "period_start"].map(field);
    let says = ["value", "unit", "status"].map(field);
    (json!(name).to_string(), json!(says).to_string())
}
