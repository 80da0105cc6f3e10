//! The least of an HTTP client: requests one after the other over one connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most that an answer's head may take.
const HEAD_MAX: usize = 16 << 10;

/// A connection that is kept.
#[derive(Debug)]
pub struct Http {
    socket: TcpStream,
    address: String,
    buffer: Vec<u8>,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: &str) -> io::Result<Http> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Http { socket, address: address.to_owned(), buffer: Vec::new() })
    }

    /// The status and the length of what is there.
    ///
    /// # Errors
    /// When the connection breaks, or the answer has no length.
    pub async fn get(&mut self, target: &str, token: &str) -> io::Result<(u16, usize)> {
        let (status, body) = self.read_all(target, token).await?;
        Ok((status, body.len()))
    }

    /// The status and what is there.
    ///
    /// # Errors
    /// When the connection breaks, or the answer has no length.
    pub async fn read_all(&mut self, target: &str, token: &str) -> io::Result<(u16, Vec<u8>)> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            self.address
        );
        self.socket.write_all(request.as_bytes()).await?;
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(io::Error::other("the head of an answer does not end"));
            }
            self.read().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let (status, length) = parse(&head).ok_or_else(|| io::Error::other(head.clone()))?;
        while self.buffer.len() < end + length {
            self.read().await?;
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        Ok((status, body))
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Status and length of a head in lower case.
fn parse(head: &str) -> Option<(u16, usize)> {
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = lines.rev().find(|(name, _)| *name == "content-length")?;
    Some((status, length.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_heads() {
        let head = "http/1.1 200 ok\r\ncontent-type: x\r\ncontent-length: 17\r\n\r\n";
        assert_eq!(parse(head), Some((200, 17)));
        assert_eq!(parse("http/1.1 200 ok\r\n\r\n"), None);
    }
}
