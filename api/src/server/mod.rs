//! Connections: accepting, bounding and ending them.
//!
//! # Guarantees
//! - There are never more than [`ServerLimits::connections`](crate::ServerLimits) at a time, streams included;
//!   one more is answered 503 and closed.
//! - Of what is sent, the system holds little for a client that does not take it: see [`bounded`].
//! - A client that is slow to send its headers, keeps an idle connection, or takes nothing of what is
//!   sent to it, is cut off. The limits say when.
//! - After the shutdown signal nothing new is accepted; open requests get [`ServerLimits::shutdown`](crate::ServerLimits) to end.
//!
//! # Non-guarantees
//! - Headers beyond 64 KiB or 100 lines are answered 431 by the HTTP library, without a body.

mod connection;

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::app::App;
use connection::Connection;

/// Bytes that a connection buffers of what it reads or writes.
const BUFFER_MAX: usize = 64 << 10;
/// Bytes that the system may hold of what was sent to a client and not taken. It counts its own
/// bookkeeping in and doubles the number for that.
const SEND_BUFFER: u32 = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Connections that are being told that there is no room; beyond them, they are closed unanswered.
const REFUSALS_MAX: usize = 64;
/// How long telling one takes at most.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// How long accepting rests when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What those are told.
const NO_ROOM: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 140\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"detail\":\"there are too many connections; close some or try again in 1 s\"}\n";

/// A listener whose connections hold [`SEND_BUFFER`] bytes of what a client has not taken. Left to
/// itself the system lets them grow to megabytes, all of which a slow client of the stream would have
/// to read before it comes to what is new.
///
/// # Errors
/// When the listener cannot be used.
pub(crate) fn bounded(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    let socket = std::net::TcpStream::from(OwnedFd::from(listener));
    let socket = TcpSocket::from_std_stream(socket);
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.listen(BACKLOG)
}

/// Serves connections until `shutdown` is over. Of `app` only limits and counters are kept.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    app: Arc<App>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = bounded(listener)?;
    let limits = app.limits.clone();
    let (connections, refused) = (app.metrics.connections().clone(), app.metrics.refused().clone());
    drop(app);
    let room = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let (stop, stopping) = watch::channel(false);
    let mut open = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        // Connections that have ended must not pile up in the set.
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                let gauge = connections.clone();
                let connection = Connection::new(stream, permit, gauge, limits.write_timeout);
                let router = router.clone();
                open.spawn(run(connection, router, limits.header_timeout, stopping.clone()));
            }
            Err(_) => {
                refused.inc();
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        drop(tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream)).await);
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown, all).await.is_err() {
        open.abort_all();
    }
    Ok(())
}

/// Serves the requests of one connection.
async fn run(
    connection: Connection,
    router: Router,
    header_timeout: Duration,
    stopping: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER_MAX)
        .keep_alive(true);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(connection), service).with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(stopping) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Without a sender the server is gone, which is a stop too.
    drop(stopping.wait_for(|stop| *stop).await);
}

/// Says that there is no room. What the client sent is read first: closing with unread bytes would
/// make the system throw the answer away.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let mut unread = [0; 4096];
    stream.readable().await?;
    drop(stream.try_read(&mut unread));
    stream.write_all(NO_ROOM.as_bytes()).await?;
    stream.shutdown().await?;
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
