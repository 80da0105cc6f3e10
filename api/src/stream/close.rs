//! Close codes, and how connections end. 4000 to 4099 say: connect again, with back-off. 44xx are final,
//! except 4401.

use std::time::Duration;

use tokio::time::Instant;

/// The client did not take frames in time.
pub const SLOW: u16 = 4008;
/// The client gave no sign of life.
pub const NO_PONG: u16 = 4009;
/// What the client has cannot be continued: it must subscribe anew.
pub const INSUFFICIENT_STATE: u16 = 4010;
/// The server stops, or goes on with another store.
pub const SHUTDOWN: u16 = 4012;
/// Something the server needs is not there at the moment.
pub const TRY_LATER: u16 = 4013;
/// A message that is not of the protocol.
pub const BAD_FRAME: u16 = 4400;
/// The token is not accepted, or has expired. Connect again with another one.
pub const TOKEN: u16 = 4401;
/// The token does not allow what was asked.
pub const FORBIDDEN: u16 = 4403;
/// No token in time.
pub const CONNECT_TIMEOUT: u16 = 4408;
/// A subscription with this id exists.
pub const DUPLICATE_ID: u16 = 4409;
/// Too many connections, subscriptions or messages.
pub const TOO_MANY: u16 = 4429;

/// Bytes of a reason that a close frame has room for.
const REASON_MAX: usize = 123;

/// How the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// One of the codes above.
    pub(crate) code: u16,
    /// What happened; at most as long as a close frame can hold.
    pub(crate) reason: String,
}

impl Verdict {
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Verdict {
        let mut reason: String = reason.into();
        let mut end = reason.len().min(REASON_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Verdict { code, reason }
    }

    /// The reason of a code that one word explains.
    pub(crate) fn of(code: u16) -> Verdict {
        let reason = match code {
            INSUFFICIENT_STATE => "the stream was rebuilt; connect again for a snapshot",
            SHUTDOWN => "the server stops, or goes on with other definitions; connect again",
            _ => "",
        };
        Verdict::new(code, reason)
    }
}

/// End of a connection.
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

/// The rest of a time limit.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
