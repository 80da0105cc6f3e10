//! Receivers of notices: an HTTP server and a mail server that keep what they are sent, on loopback.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A POST as it came.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// What a server does with a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It takes it.
    Takes,
    /// It says nothing for longer than anybody waits.
    Hangs,
    /// It closes the connection without an answer.
    Resets,
    /// It answers this, and did not take it.
    Answers(&'static str),
}

/// No client waits so long for an answer.
const HANGS: Duration = Duration::from_secs(30);

/// An HTTP server that takes every POST, or refuses all of them while it is down.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) port: u16,
    posts: Arc<Mutex<Vec<Post>>>,
    is_down: Arc<AtomicBool>,
    /// What it does, in turns.
    moods: Arc<Mutex<VecDeque<Mood>>>,
}

impl Webhook {
    pub(crate) fn start() -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (posts, is_down, moods) = (Arc::default(), Arc::default(), Arc::default());
        let webhook = Webhook { port, posts, is_down, moods };
        let served = webhook.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        webhook
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Answers 503 from now on, or not any more.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Does these things in turns from now on; of none it takes everything.
    pub(crate) fn set_moods(&self, moods: &[Mood]) {
        *self.moods.lock().unwrap() = moods.iter().copied().collect();
    }

    fn mood(&self) -> Mood {
        if self.is_down.load(Ordering::SeqCst) {
            return Mood::Answers("503 Down");
        }
        let mut moods = self.moods.lock().unwrap();
        let step = usize::from(!moods.is_empty());
        moods.rotate_left(step);
        moods.back().copied().unwrap_or(Mood::Takes)
    }

    /// What came so far.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Some(post) = read(&mut reader) {
            let status = match self.mood() {
                Mood::Takes => {
                    self.posts.lock().unwrap().push(post);
                    "200 OK"
                }
                Mood::Hangs => return std::thread::sleep(HANGS),
                Mood::Resets => return,
                Mood::Answers(status) => status,
            };
            if write!(writer, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// The next POST of a connection.
fn read(reader: &mut impl BufRead) -> Option<Post> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Post { headers, body: serde_json::from_slice(&body).ok()? })
}

/// A mail server that takes every mail.
#[derive(Debug, Clone)]
pub(crate) struct MailServer {
    pub(crate) port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    pub(crate) fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = MailServer { port, mails: Arc::default() };
        let served = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                served.serve(stream);
            }
        });
        server
    }

    /// The mails so far, headers and all.
    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }

    /// A session of SMTP as far as a client needs it.
    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes());
        drop(say("220 test"));
        while let Some(line) = lines.next() {
            let answer = match line.get(..4).unwrap_or_default() {
                "EHLO" | "HELO" => "250 test",
                "DATA" => {
                    drop(say("354 go on"));
                    let mail: Vec<String> = lines.by_ref().take_while(|line| line != ".").collect();
                    self.mails.lock().unwrap().push(mail.join("\n"));
                    "250 taken"
                }
                "QUIT" => {
                    drop(say("221 bye"));
                    return;
                }
                _ => "250 ok",
            };
            drop(say(answer));
        }
    }
}
