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
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::poll;
use rand::Rng;
use schemas::Micros;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;
use super::admission::Slot;
use super::bucket::Bucket;
use super::close::{self, Verdict};
use super::hub::Entry;
use super::page::text;
use super::request::{self, Request};
use super::session::Session;
use super::subscription::Subscription;
use crate::claims::Claims;

/// The most that a client which takes what it is sent may need for an answer, in time limits of one
/// that does not.
const SLOW_PONGS: u32 = 6;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client left, or the network did.
    Gone,
    /// The server closes it.
    Close(Verdict),
}

impl End {
    pub(crate) fn close(code: u16, reason: impl Into<String>) -> End {
        End::Close(Verdict::new(code, reason))
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Entry,
    pub(super) slot: Slot,
    socket: WebSocket,
    pub(super) session: Option<Session>,
    pub(super) subscriptions: Vec<Subscription>,
    bucket: Bucket,
    /// When there is no session by then, it ends.
    pub(super) connect_by: Instant,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    /// When a frame last had to wait for the client to take what came before it.
    taken_at: Instant,
    progress_at: Instant,
    /// The clock of the last progress frame.
    told: Micros,
    /// It is being sent its last frames.
    pub(super) is_leaving: bool,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, slot: Slot, socket: WebSocket) -> Connection {
        let now = Instant::now();
        let limits = &shared.limits;
        Connection {
            entry: shared.hub.enter(),
            slot,
            socket,
            session: None,
            subscriptions: Vec::new(),
            bucket: Bucket::new(limits.message_burst, limits.messages_per_second, now),
            connect_by: now + limits.connect_timeout,
            heard_at: now,
            pinged_at: None,
            taken_at: now,
            told: Micros(i64::MIN),
            progress_at: now + limits.progress_interval,
            is_leaving: false,
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
                self.hear_out(self.shared.limits.close_timeout).await;
            }
            End::Close(verdict) => {
                self.shared.counts.closed(verdict.code);
                self.close(verdict).await;
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
                    incoming = self.socket.recv() => self.receive(incoming).await?,
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
        session.ends_at.min(life).min(self.progress_at)
    }

    /// When a client that was asked for a sign of life at `at` counts as mute: what it takes meanwhile
    /// stands before its answer.
    fn pong_by(&self, at: Instant) -> Instant {
        let wait = self.shared.limits.pong_timeout;
        (at.max(self.taken_at) + wait).min(at + wait * SLOW_PONGS)
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
                self.send(text("{}".into())).await?;
                self.pinged_at = Some(Instant::now());
            }
            _ => {}
        }
        if now < self.progress_at {
            return Ok(false);
        }
        self.progress_at = now + self.shared.limits.progress_interval;
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
        self.send(text(frame)).await?;
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
        if !self.bucket.take(now) {
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

    /// Sends every subscription what it lacks, one step each; whether there may be more.
    async fn pump(&mut self) -> Result<bool, End> {
        let mut sent = false;
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        for subscription in &mut subscriptions {
            sent |= self.feed(subscription).await?;
        }
        self.subscriptions = subscriptions;
        Ok(sent)
    }

    /// Sends one frame that carries data.
    pub(super) async fn send_data(&mut self, message: Message) -> Result<(), End> {
        self.send(message).await?;
        self.progress_at = Instant::now() + self.shared.limits.progress_interval;
        Ok(())
    }

    pub(super) async fn send(&mut self, message: Message) -> Result<(), End> {
        let bytes = match &message {
            Message::Text(text) => text.len(),
            _ => 0,
        };
        let mut sent = pin!(self.socket.send(message));
        let result = match poll!(sent.as_mut()) {
            Poll::Ready(result) => Ok(result),
            Poll::Pending => {
                let result = timeout(self.shared.limits.send_timeout, sent).await;
                // It went through because the client took what was there before.
                self.taken_at = Instant::now();
                result
            }
        };
        match result {
            Err(_) => Err(End::close(close::SLOW, "frames were not taken in time")),
            Ok(Err(_)) => Err(End::Gone),
            Ok(Ok(())) => {
                self.shared.counts.frame(bytes);
                Ok(())
            }
        }
    }

    /// The last words that the code asks for.
    async fn dismiss(&mut self, code: u16) -> End {
        if code == close::SHUTDOWN && self.session.is_some() {
            self.is_leaving = true;
            let wait = self.shared.limits.close_timeout;
            let last = async {
                self.flush().await?;
                self.report_progress().await?;
                let spread = self.shared.connections().clamp(1_000, 10_000);
                let after = rand::rng().random_range(100..=spread);
                let frame = format!(
                    "{{\"type\":\"disconnect\",\"code\":{code},\"reconnect_after_ms\":{after}}}"
                );
                self.send(text(frame)).await
            };
            if let Ok(Err(end)) = timeout(wait, last).await {
                return end;
            }
        }
        End::Close(Verdict::of(code))
    }

    /// Sends everything that is published, without waiting for the hub.
    async fn flush(&mut self) -> Result<(), End> {
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        for subscription in &mut subscriptions {
            self.feed_rest(subscription).await?;
        }
        self.subscriptions = subscriptions;
        Ok(())
    }

    async fn close(&mut self, verdict: Verdict) {
        let limits = &self.shared.limits;
        let wait = match verdict.code {
            close::SHUTDOWN => limits.close_timeout,
            _ => limits.linger,
        };
        let frame = CloseFrame { code: verdict.code, reason: verdict.reason.into() };
        let sent = self.socket.send(Message::Close(Some(frame)));
        if matches!(timeout(wait, sent).await, Ok(Ok(()))) {
            self.hear_out(wait).await;
        }
    }

    /// Reads on until the client has closed too: a socket that is dropped before takes back what the
    /// client has not read yet, the reason included.
    async fn hear_out(&mut self, wait: Duration) {
        let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        drop(timeout(wait, rest).await);
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

/// The rest of a time limit.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
