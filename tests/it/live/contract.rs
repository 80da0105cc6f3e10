//! The running product against its own OpenAPI description, with generated requests.

use super::{Demo, get};
use crate::support::services::script;

/// How long requests are generated; a development machine may take longer.
const SECONDS: &str = "25";

#[test]
fn schemathesis_finds_nothing() {
    let demo = Demo::start();
    let url = format!("http://127.0.0.1:{}", demo.port);
    script("schemathesis.sh", &[&url, &demo.token, SECONDS]);
    // It is still well afterwards.
    get(demo.port, "/api/v1/meta", &demo.token);
}

#[test]
fn a_thousand_silent_sockets_and_slow_headers_disturb_nobody() {
    use std::io::Write;
    use std::net::TcpStream;
    let demo = Demo::start();
    let connect = || TcpStream::connect(("127.0.0.1", demo.port));
    let mut silent: Vec<TcpStream> = Vec::new();
    for number in 0..1_000 {
        let mut socket = connect().unwrap();
        // Half of them begin a request and never end it.
        if number % 2 == 0 {
            drop(socket.write_all(b"GET /api/v1/kpis HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "));
        }
        silent.push(socket);
    }
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        get(demo.port, "/api/v1/kpis?grain=day", &demo.token);
    }
    assert!(begin.elapsed().as_secs() < 10, "twenty requests took {:?}", begin.elapsed());
    let metrics = crate::support::http::request("GET", demo.port, "/metrics", None).body;
    let resident = metrics.lines().find_map(|line| {
        line.strip_prefix("weir_process_resident_memory_bytes ")?.trim().parse::<f64>().ok()
    });
    let resident = resident.unwrap_or_else(|| panic!("no memory in\n{metrics}"));
    assert!(resident < 2e9, "{resident} bytes for a thousand silent sockets");
    drop(silent);
}
