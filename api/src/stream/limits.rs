//! Every bound and time limit of the stream.

use std::time::Duration;

/// Bounds and time limits. The defaults are the documented ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections that have not authenticated yet.
    pub unauthenticated: usize,
    /// Connections of one token subject.
    pub per_subject: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Different filters at once, over all connections.
    pub cohorts: usize,
    /// Large snapshots and catch-ups in memory at once.
    pub bulk_reads: usize,
    /// Messages that a client may send at once.
    pub message_burst: u32,
    /// Messages per second that it may send on and on.
    pub messages_per_second: u32,
    /// Until a connection must have authenticated.
    pub connect_timeout: Duration,
    /// Until a client must have taken one frame.
    pub send_timeout: Duration,
    /// Until it must have taken a whole snapshot or catch-up.
    pub bulk_timeout: Duration,
    /// Silence of a client after which it is asked for a sign of life.
    pub ping_interval: Duration,
    /// How long it may take to answer.
    pub pong_timeout: Duration,
    /// Silence of the server after which it says how far it is.
    pub progress_interval: Duration,
    /// How long a connection outlives its token.
    pub expiry_grace: Duration,
    /// Time for closing politely when there is little of it.
    pub close_timeout: Duration,
    /// How long a client that is closed may take to read up to the reason.
    pub linger: Duration,
    /// Least time between two frames of a filter, for each subscriber that it has.
    pub pace: Duration,
    /// The most that [`StreamLimits::pace`] may add up to.
    pub pace_max: Duration,
    /// Alerts that a client may be behind.
    pub alerts_behind: usize,
    /// Bytes of alerts that a client may be behind.
    pub alert_bytes_behind: usize,
    /// Origins (`https://example.org`) that may connect besides the one that the page came from.
    pub allowed_origins: Vec<String>,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            connections: 4_096,
            unauthenticated: 1_024,
            per_subject: 64,
            subscriptions: 128,
            cohorts: 8_192,
            bulk_reads: 16,
            // A client that subscribes to all it may at once must not be refused.
            message_burst: 256,
            messages_per_second: 20,
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(10),
            bulk_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            progress_interval: Duration::from_secs(5),
            expiry_grace: Duration::from_secs(25),
            close_timeout: Duration::from_secs(1),
            linger: Duration::from_secs(10),
            pace: Duration::from_micros(50),
            pace_max: Duration::from_millis(250),
            alerts_behind: 1_000,
            alert_bytes_behind: 1 << 20,
            allowed_origins: Vec::new(),
        }
    }
}
