//! One connection: its timers, its messages, its subscriptions.
//!
//! # Guarantees
//! - What a client has been sent is known by one offset for each subscription. Nothing is queued for
//!   it: when it can take more, it gets what changed since.
//! - Every wait has an end: a client that takes nothing, says nothing or says too much is closed.
//! - A client that takes what it is sent, however slowly, is not called mute: its answer may stand behind
//!   all of that.
//! - The clock of `progress` frames never goes back, and moves on while nothing changes.
//! - A place is given back however the connection ends.

use std::io;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use rand::Rng;
use schemas::Micros;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;
use super::admission::Slot;
use super::close::{self, End, Verdict};
use super::hub::ConnectionEntry;
use super::outlet::Outlet;
use super::page::text;
use super::request::{self, Request, Subscribe};
use super::session::{Session, first_claims};
use super::subscription::Subscription;
use crate::claims::{Claims, Refused};
use crate::rate::{MessageRate, quota};

/// The most that a client which takes what it is sent may need for an answer, in time limits of one
/// that does not.
const SLOW_PONGS: u32 = 6;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    entry: ConnectionEntry,
    slot: Slot,
    outlet: Outlet,
    session: Option<Session>,
    subscriptions: Vec<Subscription>,
    messages: MessageRate,
    /// When there is no session by then, it ends.
    connect_by: Instant,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    /// The clock of the last progress frame.
    told: Micros,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, slot: Slot, socket: WebSocket) -> Connection {
        let now = Instant::now();
        let limits = &shared.limits;
        let entry = shared.hub.enter();
        Connection {
            outlet: Outlet::new(Arc::clone(&shared), Arc::clone(&entry.handle), socket),
            entry,
            slot,
            session: None,
            subscriptions: Vec::new(),
            messages: MessageRate::direct(quota(limits.messages_per_second, limits.message_burst)),
            connect_by: now + limits.connect_timeout,
            heard_at: now,
            pinged_at: None,
            told: Micros(i64::MIN),
            shared,
        }
    }

    /// Serves until the end. `claims` are those of the upgrade's own token.
    pub(crate) async fn run(mut self, claims: Option<Claims>) {
        let begun = match claims {
            Some(claims) => self.begin(claims).await,
            None => Ok(()),
        };
        let end = match begun {
            Ok(()) => self.serve().await,
            Err(end) => end,
        };
        match end {
            End::Gone => {
                self.shared.counts.gone();
                self.outlet.hear_out(self.shared.limits.close_timeout).await;
            }
            End::Close(verdict) => {
                self.shared.counts.closed(verdict.code);
                self.outlet.close(verdict).await;
            }
        }
    }

    async fn serve(&mut self) -> End {
        let mut behind = false;
        loop {
            let step = async {
                if let Some(code) = self.entry.handle.verdict() {
                    return Err(self.dismiss(code).await);
                }
                let due = self.due();
                if Instant::now() >= due {
                    behind |= self.tick().await?;
                }
                let handle = Arc::clone(&self.entry.handle);
                tokio::select! {
                    biased;
                    incoming = self.outlet.receive() => self.receive(incoming).await?,
                    () = std::future::ready(()), if behind => behind = self.pump().await?,
                    () = handle.wake.notified() => behind = true,
                    () = sleep_until(due) => {}
                }
                Ok(())
            };
            if let Err(end) = step.await {
                return end;
            }
        }
    }

    /// The next moment at which something is to be done unasked.
    fn due(&self) -> Instant {
        let Some(session) = &self.session else { return self.connect_by };
        let limits = &self.shared.limits;
        let life = match self.pinged_at {
            Some(at) => self.pong_by(at),
            None => self.heard_at + limits.ping_interval,
        };
        session.ends_at.min(life).min(self.outlet.progress_at())
    }

    /// When a client that was asked for a sign of life at `at` counts as mute: what it takes meanwhile
    /// stands before its answer.
    fn pong_by(&self, at: Instant) -> Instant {
        let wait = self.shared.limits.pong_timeout;
        (at.max(self.outlet.taken_at()) + wait).min(at + wait * SLOW_PONGS)
    }

    /// Does what is due; whether there may be something to send.
    async fn tick(&mut self) -> Result<bool, End> {
        let now = Instant::now();
        let limits = &self.shared.limits;
        let Some(session) = &self.session else {
            return Err(End::close(close::CONNECT_TIMEOUT, "no `connect` in time"));
        };
        if now >= session.ends_at {
            return Err(End::close(close::TOKEN, "the token has expired"));
        }
        match self.pinged_at {
            Some(at) if now >= self.pong_by(at) => {
                return Err(End::close(close::NO_PONG, "no sign of life in time"));
            }
            None if now >= self.heard_at + limits.ping_interval => {
                self.outlet.send(text("{}".into())).await?;
                self.pinged_at = Some(Instant::now());
            }
            _ => {}
        }
        if now < self.outlet.progress_at() {
            return Ok(false);
        }
        self.outlet.put_off_progress();
        self.report_progress().await
    }

    /// Says how far everything is, if it is; else whether there is something to send.
    async fn report_progress(&mut self) -> Result<bool, End> {
        let mut least = None;
        for subscription in &mut self.subscriptions {
            let Some(mark) = subscription.catch_up() else { return Ok(true) };
            if least.is_none_or(|least: super::page::Mark| mark.offset < least.offset) {
                least = Some(mark);
            }
        }
        // Without a subscription it would say nothing that the client could rely on.
        let Some(mark) = least else { return Ok(false) };
        // An epoch may have been published a moment ago; what was said of the one before still holds.
        let as_of = self.shared.clock_at(mark).max(self.told);
        self.told = as_of;
        let frame = format!(
            "{{\"type\":\"progress\",\"offset\":{},\"as_of\":\"{as_of}\",\"watermark\":\"{as_of}\",{}}}",
            mark.offset,
            self.shared.degradation(mark)
        );
        self.outlet.send(text(frame)).await?;
        Ok(false)
    }

    async fn receive(&mut self, incoming: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match incoming {
            None | Some(Ok(Message::Close(_))) => return Err(End::Gone),
            Some(Err(error)) if is_broken(&error) => return Err(End::Gone),
            Some(Err(error)) => return Err(End::close(close::BAD_FRAME, broken_rule(&error))),
            Some(Ok(message)) => message,
        };
        let now = Instant::now();
        (self.heard_at, self.pinged_at) = (now, None);
        if self.messages.check().is_err() {
            return Err(End::close(close::TOO_MANY, "too many messages"));
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                return Err(End::close(
                    close::BAD_FRAME,
                    "binary messages are not for this protocol",
                ));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(()),
        };
        let request = request::parse(&text).map_err(|error| End::close(close::BAD_FRAME, error))?;
        match request {
            Request::Pong => Ok(()),
            Request::Connect(token) => self.connect(&token).await,
            _ if self.session.is_none() => {
                Err(End::close(close::BAD_FRAME, "the first message must be `connect`"))
            }
            Request::Refresh(token) => self.refresh(&token).await,
            Request::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Request::Unsubscribe(id) => {
                self.subscriptions.retain(|subscription| subscription.id != id);
                Ok(())
            }
        }
    }

    /// `connect`: the first token, or, after the header's, the same as `refresh`.
    async fn connect(&mut self, token: &str) -> Result<(), End> {
        if self.session.is_some() {
            return self.refresh(token).await;
        }
        let wait = close::left(self.connect_by);
        let claims = first_claims(&self.shared, token, wait).await?;
        self.begin(claims).await
    }

    async fn begin(&mut self, claims: Claims) -> Result<(), End> {
        let session = Session::begin(&mut self.outlet, &mut self.slot, claims).await?;
        self.session = Some(session);
        Ok(())
    }

    /// Another token of the same subject, which must still allow every subscription.
    async fn refresh(&mut self, token: &str) -> Result<(), End> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let Some(ttl) = session.refresh(&mut self.outlet, token).await? else { return Ok(()) };
        let refused = self.subscriptions.iter().find_map(|subscription| {
            let id = subscription.id;
            subscription.recheck(&session.claims).err().map(|refused| (id, refused))
        });
        if let Some((id, refused)) = refused {
            return Err(self.forbid(id, &refused).await);
        }
        let frame = format!("{{\"type\":\"refreshed\",\"token_ttl_s\":{}}}", ttl.as_secs());
        self.outlet.send(text(frame)).await
    }

    async fn subscribe(&mut self, mut wish: Subscribe) -> Result<(), End> {
        let Some(session) = &self.session else { return Ok(()) };
        let (id, generation) = (wish.id, Arc::clone(&session.generation));
        if self.subscriptions.iter().any(|subscription| subscription.id == id) {
            let text = format!("there is a subscription with the id {id} already");
            let code = (close::DUPLICATE_ID, "duplicate_id");
            return Err(self.outlet.fail_finally(id, code, &text).await);
        }
        if self.subscriptions.len() >= self.shared.limits.subscriptions {
            let text = format!("{} subscriptions are the most", self.subscriptions.len());
            return Err(self.outlet.fail_finally(id, (close::TOO_MANY, "too_many"), &text).await);
        }
        if let Err(refused) = session.bind(&mut wish) {
            return Err(self.forbid(id, &refused).await);
        }
        let opened = Subscription::open(&mut self.outlet, &generation, wish).await?;
        self.subscriptions.extend(opened);
        Ok(())
    }

    /// The end of a client that asked for what its token does not allow.
    async fn forbid(&mut self, id: u64, refused: &Refused) -> End {
        let code = (close::FORBIDDEN, "forbidden");
        self.outlet.fail_finally(id, code, &refused.to_string()).await
    }

    /// Sends every subscription what it lacks, one step each; whether there may be more.
    async fn pump(&mut self) -> Result<bool, End> {
        let mut sent = false;
        for subscription in &mut self.subscriptions {
            sent |= subscription.feed(&mut self.outlet).await?;
        }
        Ok(sent)
    }

    /// The last words that the code asks for.
    async fn dismiss(&mut self, code: u16) -> End {
        if code == close::SHUTDOWN && self.session.is_some() {
            self.outlet.leave();
            let wait = self.shared.limits.close_timeout;
            let last = async {
                self.flush().await?;
                self.report_progress().await?;
                let spread = self.shared.connections().clamp(1_000, 10_000);
                let after = rand::rng().random_range(100..=spread);
                let frame = format!(
                    "{{\"type\":\"disconnect\",\"code\":{code},\"reconnect_after_ms\":{after}}}"
                );
                self.outlet.send(text(frame)).await
            };
            if let Ok(Err(end)) = timeout(wait, last).await {
                return end;
            }
        }
        End::Close(Verdict::of(code))
    }

    /// Sends everything that is published, without waiting for the hub.
    async fn flush(&mut self) -> Result<(), End> {
        for subscription in &mut self.subscriptions {
            subscription.feed_rest(&mut self.outlet).await?;
        }
        Ok(())
    }
}

/// What is wrong with something that is no message, in the words of the protocol.
fn broken_rule(error: &axum::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("too long") || text.contains("too big") {
        "a message is longer than 64 KiB"
    } else if text.to_lowercase().contains("utf-8") {
        "a message is not UTF-8 text"
    } else {
        "what was sent is no WebSocket message"
    }
}

/// Whether the connection itself is broken, as opposed to what came over it.
fn is_broken(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<io::Error>() {
            return true;
        }
        cause = error.source();
    }
    // Ends without a closing handshake are protocol errors to the library below.
    let text = error.to_string();
    text.contains("closing handshake") || text.contains("onnection closed")
}
