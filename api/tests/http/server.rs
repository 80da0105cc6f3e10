//! Connections that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::ServerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{World, start};

struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
    world: World,
}

impl Running {
    fn new(limits: ServerLimits) -> Running {
        let world = World::recovering(limits, false);
        world.app.store.start(start());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            drop(stopped.await);
        };
        let (app, router) = (Arc::clone(&world.app), world.router.clone());
        let server = tokio::spawn(api::serve(listener, app, router, shutdown));
        Running { address, stop: Some(stop), server, world }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a text and reads all that is answered until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A reset after the answer is as good as a close.
        drop(tokio::time::timeout(Duration::from_secs(5), read).await.expect("no end"));
        String::from_utf8(answer).unwrap()
    }

    async fn is_alive(&self) -> bool {
        let get = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        self.exchange(get).await.starts_with("HTTP/1.1 200 OK")
    }
}

/// Waits until the server closes a connection.
async fn closed(stream: &mut TcpStream, within: Duration) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(within, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn slow_headers_and_idle_connections_are_cut_off() {
    let header_timeout = Duration::from_millis(600);
    let running = Running::new(ServerLimits { header_timeout, ..ServerLimits::default() });
    let began = Instant::now();
    let mut silent = running.connect().await;
    let mut dribbling = running.connect().await;
    let (mut reader, mut writer) = dribbling.split();
    let dribble = async {
        writer.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        // Every byte comes in time; all of them together do not.
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = Vec::new();
    let end = async {
        drop(reader.read_to_end(&mut answer).await);
    };
    tokio::select! { () = end => {}, () = dribble => {} }
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(closed(&mut silent, Duration::from_secs(2)).await, "a silent one stays open");

    let mut kept = running.connect().await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    assert!(closed(&mut kept, Duration::from_secs(3)).await, "an idle one stays open");
    assert!(running.is_alive().await);
}

#[tokio::test]
async fn a_thousand_idle_connections_leave_room_for_others() {
    let running = Running::new(ServerLimits { connections: 1100, ..ServerLimits::default() });
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(running.connect().await);
    }
    let began = Instant::now();
    for _ in 0..50 {
        assert!(running.is_alive().await);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let metrics = running.world.ask("/metrics", &[]).await.text;
    let open = metrics.lines().find_map(|line| line.strip_prefix("weir_http_connections "));
    let open: u32 = open.unwrap().parse().unwrap();
    assert!((1000..1100).contains(&open), "{open} connections are counted");
    drop(idle);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let running = Running::new(ServerLimits { connections: 3, ..ServerLimits::default() });
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(running.connect().await);
    }
    // All three are accepted when this one is, as they are accepted in order.
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let refused = running.exchange(get).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("retry-after: 1") && head.contains("application/problem+json"));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), body.len());
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], 503);
    open.pop();
    for _ in 0..50 {
        if running.is_alive().await {
            let metrics = running.world.ask("/metrics", &[]).await.text;
            assert!(
                metrics.lines().any(|line| line.starts_with("weir_http_connections_refused_total"))
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a place that became free is not used");
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_not_read() {
    let running = Running::new(ServerLimits::default());
    let header = "x".repeat(20_000);
    let answer = running
        .exchange(&format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-a: {header}\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("problem+json"), "{answer}");
    let header = "x".repeat(200_000);
    let answer =
        running.exchange(&format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: {header}")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let lines = "x-a: 1\r\n".repeat(200);
    let answer =
        running.exchange(&format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{lines}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let address = "x".repeat(10_000);
    let answer = running
        .exchange(&format!("GET /{address} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 414 ") && answer.contains("problem+json"), "{answer}");
    let body = "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc";
    let answer = running.exchange(body).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("problem+json"), "{answer}");
    // A body of unknown length is never waited for.
    let body = "GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let answer = running.exchange(body).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(running.is_alive().await);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let running = Running::new(ServerLimits::default());
    let head = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for (chunks, status) in [(1, 200), (4, 200), (5, 413), (60, 413)] {
        let answer = running.exchange(&format!("{head}{}0\r\n\r\n", chunk.repeat(chunks))).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{chunks}: {answer}");
    }
    // One that never ends is answered, too.
    let answer = running.exchange(&format!("{head}{}", chunk.repeat(8))).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("problem+json"), "{answer}");
    assert!(running.is_alive().await);
}

#[tokio::test]
async fn a_request_says_whom_it_is_for() {
    let running = Running::new(ServerLimits::default());
    let rest = "connection: close\r\n\r\n";
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n", 200),
    ] {
        let answer = running.exchange(&format!("{head}{rest}")).await;
        let (line, _) = answer.split_once("\r\n").unwrap();
        assert!(line.contains(&format!(" {status} ")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let write_timeout = Duration::from_millis(500);
    let running = Running::new(ServerLimits { write_timeout, ..ServerLimits::default() });
    let mut greedy = running.connect().await;
    let get = "GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(10);
    let began = Instant::now();
    // It asks on and on and reads no answer, until buffers on both sides are full.
    let asking = async { while greedy.write_all(get.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), asking).await.expect("never cut off");
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(running.is_alive().await);
}

#[tokio::test]
async fn stopping_takes_two_seconds_at_most() {
    let shutdown = Duration::from_millis(700);
    let mut running = Running::new(ServerLimits { shutdown, ..ServerLimits::default() });
    let mut idle = running.connect().await;
    let mut half = running.connect().await;
    half.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    assert!(running.is_alive().await);
    let began = Instant::now();
    running.stop.take().unwrap().send(()).unwrap();
    running.server.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_millis(1200), "{:?}", began.elapsed());
    assert!(closed(&mut idle, Duration::from_secs(1)).await);
    assert!(closed(&mut half, Duration::from_secs(1)).await);
    assert!(TcpStream::connect(running.address).await.is_err(), "it still accepts");
}
