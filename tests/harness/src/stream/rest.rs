//! REST over a plain socket: one request, one answer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Options, split};
use crate::error::Error;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// All periods that there can be.
const ALWAYS: &str = "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z";

/// The epoch and cells that `GET /api/v1/kpis` answers.
pub(super) async fn cells(options: &Options) -> Result<(u64, BTreeMap<String, String>), Error> {
    let mut target = format!("/api/v1/kpis?{ALWAYS}");
    for (name, value) in options.filter() {
        target.push_str(&format!("&{name}={value}"));
    }
    let answer = tokio::time::timeout(PATIENCE, get(options, &target)).await;
    let answer = answer.map_err(Error::at(&target))??;
    let epoch = answer["epoch"].as_u64();
    let (Some(epoch), Some(kpis)) = (epoch, answer["kpis"].as_array()) else {
        return Err(Error::new(format!("{target} has no epoch or no cells")));
    };
    let cells: BTreeMap<String, String> = kpis.iter().map(split).collect();
    if cells.len() != kpis.len() {
        return Err(Error::new(format!("{target} has a cell twice")));
    }
    Ok((epoch, cells))
}

async fn get(options: &Options, target: &str) -> Result<Value, Error> {
    let address = &options.address;
    let mut socket = TcpStream::connect(address).await.map_err(Error::at(address))?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Connection: close\r\n\r\n",
        options.token
    );
    socket.write_all(request.as_bytes()).await.map_err(Error::at(address))?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.map_err(Error::at(address))?;
    let body = body(&answer).map_err(Error::at(target))?;
    serde_json::from_slice(&body).map_err(Error::at(target))
}

/// The body of an answer with status 200.
fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, rest) = answer.split_at(end.ok_or("an answer without an end of its head")?);
    let rest = rest.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(format!(
            "{} {}",
            head.lines().next().unwrap_or_default(),
            String::from_utf8_lossy(rest)
        ));
    }
    if head.contains("transfer-encoding: chunked") { unchunk(rest) } else { Ok(rest.to_vec()) }
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let end =
            rest.windows(2).position(|two| two == b"\r\n").ok_or("a chunk without a length")?;
        let (line, after) = rest.split_at(end);
        let line = String::from_utf8_lossy(line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|error| format!("`{size}`: {error}"))?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(after.get(2..2 + size).ok_or("a chunk is cut off")?);
        rest = after.get(4 + size..).ok_or("a chunk is cut off")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers_of_both_kinds() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(body(plain), Ok(b"{}".to_vec()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(body(chunked), Ok(b"abc0123456789".to_vec()));
        assert!(body(b"HTTP/1.1 401 Unauthorized\r\n\r\n{}").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").is_err());
    }
}
