//! The way out of a connection: its socket, and how long the client may take for what is sent.
//!
//! # Guarantees
//! - A frame that is not taken in time ends the connection; nothing is queued behind it.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::poll;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::bulk::Bulk;
use super::close::{self, End, Verdict};
use super::cohort::Handle;
use super::page::{quoted, text};

/// A socket with the times that its client is judged by.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Arc<Handle>,
    socket: WebSocket,
    /// When a frame last had to wait for the client to take what came before it.
    taken_at: Instant,
    /// When the server next says how far it is.
    progress_at: Instant,
    /// The client is being sent its last frames.
    is_leaving: bool,
}

impl Outlet {
    /// The way out to a client that has taken nothing yet.
    pub(super) fn new(shared: Arc<Shared>, handle: Arc<Handle>, socket: WebSocket) -> Outlet {
        let now = Instant::now();
        let progress_at = now + shared.limits.progress_interval;
        Outlet { shared, handle, socket, taken_at: now, progress_at, is_leaving: false }
    }

    /// The next message of the client.
    pub(super) async fn receive(&mut self) -> Option<Result<Message, axum::Error>> {
        self.socket.recv().await
    }

    /// When a frame last had to wait.
    pub(super) fn taken_at(&self) -> Instant {
        self.taken_at
    }

    /// When the server next says how far it is.
    pub(super) fn progress_at(&self) -> Instant {
        self.progress_at
    }

    /// Puts off the next report of progress.
    pub(super) fn put_off_progress(&mut self) {
        self.progress_at = Instant::now() + self.shared.limits.progress_interval;
    }

    /// From now on, what is sent are the last frames.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Sends one frame that carries data.
    pub(super) async fn send_data(&mut self, message: Message) -> Result<(), End> {
        self.send(message).await?;
        self.put_off_progress();
        Ok(())
    }

    /// Sends one frame.
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

    /// Sends pages that belong together.
    pub(super) async fn send_bulk(&mut self, id: u64, bulk: &Bulk) -> Result<(), End> {
        let until = Instant::now() + self.shared.limits.bulk_timeout;
        for page in &bulk.pages {
            if close::left(until).is_zero() {
                return Err(End::close(close::SLOW, "a snapshot was not taken in time"));
            }
            if let Some(code) = self.handle.verdict().filter(|_| !self.is_leaving) {
                return Err(End::Close(Verdict::of(code)));
            }
            self.send_data(page.message(id)).await?;
        }
        Ok(())
    }

    /// Tells of a failure that leaves the connection open.
    pub(super) async fn fail(
        &mut self,
        id: Option<u64>,
        code: &str,
        message: &str,
    ) -> Result<(), End> {
        let id = id.map_or_else(String::new, |id| format!("\"id\":{id},"));
        let message = quoted(message);
        let frame = format!("{{\"type\":\"error\",{id}\"code\":\"{code}\",\"message\":{message}}}");
        self.send(text(frame)).await
    }

    /// Tells of a failure that closes it.
    pub(super) async fn fail_finally(
        &mut self,
        id: u64,
        (code, name): (u16, &str),
        message: &str,
    ) -> End {
        match self.fail(Some(id), name, message).await {
            Err(end) => end,
            Ok(()) => End::close(code, message),
        }
    }

    /// Closes with a reason that the client gets the time to read.
    pub(super) async fn close(&mut self, verdict: Verdict) {
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
    pub(super) async fn hear_out(&mut self, wait: Duration) {
        let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        drop(timeout(wait, rest).await);
    }
}
