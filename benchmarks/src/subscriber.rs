//! A client of the stream that notes when frames came, and does as little as possible beside that.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use schemas::Micros;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::failure::Failure;
use crate::machine;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A frame that completes an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The offset.
    pub offset: u64,
    /// That epoch's clock.
    pub as_of: Micros,
    /// When it was here.
    pub received: Micros,
    /// Whether it carries cells, as opposed to progress.
    pub has_cells: bool,
}

/// One connection with one subscription to the KPIs that a filter takes.
#[derive(Debug)]
pub struct Subscriber {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Subscriber {
    /// Connects and takes the snapshot.
    ///
    /// # Errors
    /// When the server does not give one.
    pub async fn open(address: &str, token: &str, filter: &Value) -> Result<Subscriber, Failure> {
        let wrong = |what: String| Failure::Worthless(format!("the stream at {address}: {what}"));
        let url = format!("ws://{address}/api/v1/stream");
        let mut request = url.into_client_request().map_err(|error| wrong(error.to_string()))?;
        let protocol = "kpi.v1".parse().map_err(|_| wrong("kpi.v1".into()))?;
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let opened = tokio::time::timeout(PATIENCE, connect_async(request)).await;
        let opened = opened.map_err(|_| wrong("no answer".into()))?;
        let (socket, _) = opened.map_err(|error| wrong(error.to_string()))?;
        let mut subscriber = Subscriber { socket };
        subscriber.say(&json!({"type": "connect", "token": token})).await?;
        let wish = json!({"type": "subscribe", "id": 1, "channel": "kpi", "filter": filter});
        subscriber.say(&wish).await?;
        loop {
            let text = subscriber.hear().await?;
            if text.contains("\"type\":\"snapshot\"") && text.ends_with("\"more\":false}") {
                return Ok(subscriber);
            }
            if text.contains("\"type\":\"error\"") {
                return Err(wrong(text));
            }
        }
    }

    /// The next frame that completes an offset.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn next(&mut self) -> Result<Frame, Failure> {
        loop {
            let text = self.hear().await?;
            let received = machine::now();
            if let Some(frame) = read(&text, received) {
                return Ok(frame);
            }
        }
    }

    async fn say(&mut self, frame: &Value) -> Result<(), Failure> {
        let sent = self.socket.send(Message::Text(frame.to_string().into())).await;
        sent.map_err(|error| Failure::Worthless(format!("the stream: {error}")))
    }

    async fn hear(&mut self) -> Result<String, Failure> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) if text.as_str() == "{}" => {
                    self.say(&json!({})).await?;
                }
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return Err(Failure::Worthless(format!("the stream ended: {other:?}"))),
            }
        }
    }
}

/// Without reading the cells: thousands of clients in one process would measure themselves.
fn read(text: &str, received: Micros) -> Option<Frame> {
    let has_cells = text.starts_with("{\"type\":\"kpi_update\"");
    if !has_cells && !text.starts_with("{\"type\":\"progress\"") || text.ends_with("\"more\":true}")
    {
        return None;
    }
    let after = |field: &str| text.split_once(field).map(|(_, rest)| rest);
    let offset = after("\"offset\":")?.split([',', '}']).next()?.parse().ok()?;
    let as_of = Micros::parse(after("\"as_of\":\"")?.split('"').next()?)?;
    Some(Frame { offset, as_of, received, has_cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_completes_an_offset() {
        let text = r#"{"type":"kpi_update","id":1,"offset":815,"as_of":"2026-11-21T10:00:00.5Z","upserts":[],"deletes":[]}"#;
        let frame = read(text, Micros(7)).unwrap();
        assert_eq!((frame.offset, frame.has_cells), (815, true));
        assert_eq!(frame.as_of.to_string(), "2026-11-21T10:00:00.500Z");
        assert_eq!(read(&text.replace("[]}", "[],\"more\":true}"), Micros(7)), None);
        assert_eq!(read(r#"{"type":"connected","offset":1}"#, Micros(7)), None);
        let text =
            r#"{"type":"progress","offset":9,"as_of":"2026-11-21T10:00:00Z","watermark":"x"}"#;
        assert_eq!(
            read(text, Micros(7)).map(|frame| (frame.offset, frame.has_cells)),
            Some((9, false))
        );
    }
}
