//! A receiver of webhooks that notes when it was told of which tenant, and can be down.
//!
//! # Guarantees
//! - The time of a request is taken when all of it is here, before it is answered.
//! - While it is down, every connection is closed without an answer, as by a process that is gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use schemas::Micros;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::machine;

/// The most that a request may take.
const REQUEST_MAX: usize = 4 << 20;

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Instants at which a receiver was told that an alert of a tenant opened, by tenant.
pub type Arrivals = BTreeMap<String, Vec<Micros>>;

/// A receiver on loopback; it ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub url: String,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    arrivals: Mutex<Arrivals>,
    is_down: AtomicBool,
}

impl State {
    fn note(&self, tenants: Vec<String>, at: Micros) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in tenants {
            arrivals.entry(tenant).or_default().push(at);
        }
    }
}

impl Receiver {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> Result<Receiver, Failure> {
        let refused = || Failure::io("listen on", Path::new("127.0.0.1"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(refused())?;
        let url = format!("http://{}/", listener.local_addr().map_err(refused())?);
        let state = Arc::new(State::default());
        let served = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Ok(Receiver { url, state, serving })
    }

    /// Answers nothing from now on, or answers again.
    pub fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::SeqCst);
    }

    /// What it was told so far.
    pub fn arrivals(&self) -> Arrivals {
        self.state.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut bytes = Vec::new();
    while bytes.len() < REQUEST_MAX {
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
        while let Some(body) = take_request(&mut bytes) {
            let at = machine::now();
            if state.is_down.load(Ordering::SeqCst) {
                return;
            }
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            state.note(opened(&body), at);
            if stream.write_all(TAKEN).await.is_err() {
                return;
            }
        }
    }
}

/// Takes the body of a whole request off the front.
fn take_request(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.rev().find(|(name, _)| *name == "content-length");
    let length = length.and_then(|(_, text)| text.trim().parse().ok()).unwrap_or(0);
    let body = bytes.get(end..end.checked_add(length)?)?.to_vec();
    bytes.drain(..end + length);
    Some(body)
}

/// The tenants of the alerts that a body says have opened: of Weir's webhook, or of Alertmanager's.
fn opened(body: &Value) -> Vec<String> {
    let tenant = |holder: &Value| holder["tenant"].as_str().map(str::to_owned);
    if body["type"] == "alert.opened" {
        return tenant(&body["alert"]).into_iter().collect();
    }
    let alerts = body["alerts"].as_array().into_iter().flatten();
    let firing = alerts.filter(|alert| alert["status"] == "firing");
    firing.filter_map(|alert| tenant(&alert["labels"])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_when_they_are_whole() {
        let mut bytes = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{".to_vec();
        assert_eq!(take_request(&mut bytes), None);
        bytes.extend_from_slice(b"}POST");
        assert_eq!(take_request(&mut bytes), Some(b"{}".to_vec()));
        assert_eq!(bytes, b"POST");
    }

    #[test]
    fn openings_are_told_by_webhooks_of_both_kinds() {
        let own = serde_json::json!({"type": "alert.opened", "alert": {"tenant": "a"}});
        assert_eq!(opened(&own), ["a"]);
        let own = serde_json::json!({"type": "alert.resolved", "alert": {"tenant": "a"}});
        assert_eq!(opened(&own), [""; 0]);
        let theirs = serde_json::json!({"alerts": [
            {"status": "firing", "labels": {"tenant": "b"}},
            {"status": "resolved", "labels": {"tenant": "c"}},
            {"status": "firing", "labels": {"alertname": "WeirAlive"}},
        ]});
        assert_eq!(opened(&theirs), ["b"]);
    }
}
