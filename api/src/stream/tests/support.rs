//! A server on a port of its own, and a client that speaks plain JSON.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::routing::get;
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use schemas::{Clock, Micros, Start};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::history::{self, Shared, kpis};
use crate::claims::{AuthError, Claims, Scope, Tenants, TokenCheck};
use crate::health::{Health, Report};
use crate::store::Store;
use crate::stream::{StreamLimits, Streams};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// `subject tenant scopes seconds`, with commas between scopes.
struct Words(Arc<dyn Clock>);

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

impl TokenCheck for Words {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Claims, AuthError>> {
        async move {
            let words: Vec<&str> = token.split(' ').collect();
            let [subject, tenant, scopes, seconds] = words.as_slice() else {
                return Err(match token {
                    "down" => AuthError::Unavailable("no keys".into()),
                    _ => AuthError::Invalid("it has no signature".into()),
                });
            };
            let seconds: f64 = seconds.parse().unwrap();
            let left = Duration::from_secs_f64(seconds).as_micros();
            Ok(Claims {
                subject: (*subject).into(),
                tenants: match *tenant {
                    "*" => Tenants::All,
                    one => Tenants::One(one.into()),
                },
                scopes: scopes.split(',').filter_map(Scope::parse).collect(),
                expires_at: self.0.now().plus(left.try_into().unwrap()),
            })
        }
        .boxed()
    }
}

struct Elapsed(Instant);

impl Clock for Elapsed {
    fn now(&self) -> Micros {
        Micros(self.0.elapsed().as_micros().try_into().unwrap())
    }
}

struct Slowly;

impl Health for Slowly {
    fn report(&self) -> Report {
        Report { troubles: vec!["source `a` is \"slow\"".into()], ..Report::default() }
    }
}

/// A token for everything.
pub(super) const ALL: &str = "ann * kpi:read,alerts:read 3600";

/// Limits under which tests need not wait.
pub(super) fn quick() -> StreamLimits {
    StreamLimits {
        per_subject: 1_000,
        progress_interval: Duration::from_millis(100),
        close_timeout: Duration::from_millis(300),
        linger: Duration::from_millis(300),
        ..StreamLimits::default()
    }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Store>,
    pub(super) streams: Arc<Streams>,
    pub(super) history: Shared,
}

impl Server {
    /// With nothing published yet.
    pub(super) async fn start(limits: StreamLimits) -> Server {
        let server = Server::recovering(limits).await;
        server.store.start(Start { generation: "g1".into(), ..Start::default() });
        server
    }

    /// That has not recovered.
    pub(super) async fn recovering(limits: StreamLimits) -> Server {
        let store = Store::new(kpis());
        let clock: Arc<dyn Clock> = Arc::new(Elapsed(Instant::now()));
        let tokens = Arc::new(Words(Arc::clone(&clock)));
        let streams = Streams::new(Arc::clone(&store), tokens, Arc::new(Slowly), clock, limits);
        let of_route = Arc::clone(&streams);
        let route = get(move |headers: HeaderMap, ws: WebSocketUpgrade| {
            let streams = Arc::clone(&of_route);
            async move { streams.upgrade(&headers, ws).await }
        });
        let app = Router::new().route("/api/v1/stream", route);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = crate::server::bounded(listener).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Server { address, store, streams, history: Shared::default() }
    }

    pub(super) fn publish(&self, values: Vec<(schemas::CellKey, Option<schemas::CellValue>)>) {
        history::publish(&self.store, &self.history, values);
    }

    /// One cell changes; all values differ.
    pub(super) fn publish_one(&self, number: i128) {
        let key = history::key("orders", "t1", "EUR", schemas::Grain::Day, 0);
        self.publish(vec![(key, Some(history::value(number)))]);
    }

    /// Upgrades with these headers; the error is the HTTP status.
    pub(super) async fn upgrade(&self, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
        let url = format!("ws://{}/api/v1/stream", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Client { socket, is_mute: false }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects with the first message.
    pub(super) async fn connect(&self, token: &str) -> Client {
        let protocol = ("sec-websocket-protocol", "kpi.v1");
        let mut client = self.upgrade(&[protocol]).await.unwrap();
        client.say(&json!({"type": "connect", "token": token})).await;
        let connected = client.hear("connected").await;
        assert_eq!(connected["generation"], "g1");
        client
    }

    pub(super) async fn wait_for(&self, what: &str, holds: impl Fn(&Streams) -> bool) {
        let begin = Instant::now();
        while !holds(&self.streams) {
            let counters = self.streams.counters();
            assert!(begin.elapsed() < PATIENCE, "{what}: {counters:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(super) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(super) is_mute: bool,
}

/// What came over a socket.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Frame(Value),
    Closed(u16, String),
    Gone,
}

impl Client {
    pub(super) async fn say(&mut self, frame: &Value) {
        self.say_raw(Message::Text(frame.to_string().into())).await;
    }

    pub(super) async fn say_raw(&mut self, message: Message) {
        // A server that has closed already is what some tests are about.
        drop(self.socket.send(message).await);
    }

    pub(super) async fn next(&mut self) -> Heard {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let next = tokio::time::timeout_at(until, self.socket.next());
            match next.await.expect("the server says something") {
                Some(Ok(Message::Text(text))) if text.as_str() == "{}" => {
                    if !self.is_mute {
                        self.say(&json!({})).await;
                    }
                }
                Some(Ok(Message::Text(text))) => {
                    return Heard::Frame(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => {
                    drop(other);
                    return Heard::Gone;
                }
            }
        }
    }

    /// The next frame that is no progress must be of this type.
    pub(super) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Heard::Frame(frame) if frame["type"] == kind => return frame,
                Heard::Frame(frame) if frame["type"] == "progress" => {}
                other => panic!("waited for {kind}: {other:?}"),
            }
        }
    }

    /// The code and reason of the close frame, whatever comes before.
    pub(super) async fn hear_close(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Heard::Frame(_) => {}
                Heard::Closed(code, reason) => return (code, reason),
                Heard::Gone => panic!("gone without a close frame"),
            }
        }
    }

    pub(super) async fn subscribe(&mut self, id: u64, filter: Value) -> Value {
        let frame = json!({"type": "subscribe", "id": id, "channel": "kpi", "filter": filter});
        self.say(&frame).await;
        self.hear("snapshot").await
    }
}
