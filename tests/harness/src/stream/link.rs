//! One connection to the stream.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::error::Error;

/// How long a server may take to answer an upgrade.
const OPENING: Duration = Duration::from_secs(5);

/// From this code on, connecting again does not help; 4401 is about the token.
const FINAL: u16 = 4400;

pub(super) enum Heard {
    /// Not in this time.
    Nothing,
    Frame(Value),
    /// The connection is gone; it may be tried again.
    Lost(String),
}

pub(super) struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Link {
    /// Connects and sends the token.
    pub(super) async fn open(address: &str, token: &str) -> Result<Link, Error> {
        let url = format!("ws://{address}/api/v1/stream");
        let mut request = url.clone().into_client_request().map_err(Error::at(&url))?;
        let protocol = "kpi.v1".parse().map_err(Error::at("kpi.v1"))?;
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let opening = tokio::time::timeout(OPENING, connect_async(request)).await;
        let (socket, _) = opening.map_err(Error::at(&url))?.map_err(Error::at(&url))?;
        let mut link = Link { socket };
        link.say(&json!({"type": "connect", "token": token})).await?;
        Ok(link)
    }

    pub(super) async fn say(&mut self, frame: &Value) -> Result<(), Error> {
        let message = Message::Text(frame.to_string().into());
        self.socket.send(message).await.map_err(Error::at("the stream"))
    }

    /// The next frame, if there is one within this time. Signs of life are given on the way.
    pub(super) async fn hear(&mut self, wait: Duration) -> Result<Heard, Error> {
        let Ok(next) = tokio::time::timeout(wait, self.socket.next()).await else {
            return Ok(Heard::Nothing);
        };
        match next {
            None => Ok(Heard::Lost("the connection ended".into())),
            Some(Err(error)) => Ok(Heard::Lost(error.to_string())),
            Some(Ok(Message::Text(text))) if text.as_str() == "{}" => {
                match self.say(&json!({})).await {
                    Ok(()) => Ok(Heard::Nothing),
                    Err(error) => Ok(Heard::Lost(error.to_string())),
                }
            }
            Some(Ok(Message::Text(text))) => {
                let frame = serde_json::from_str(&text).map_err(Error::at("a frame"))?;
                Ok(Heard::Frame(frame))
            }
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                    (u16::from(frame.code), frame.reason.to_string())
                });
                let text = format!("closed with {code} {reason}");
                if code >= FINAL { Err(Error::new(text)) } else { Ok(Heard::Lost(text)) }
            }
            Some(Ok(Message::Binary(_))) => Err(Error::new("a binary frame")),
            Some(Ok(_)) => Ok(Heard::Nothing),
        }
    }
}
