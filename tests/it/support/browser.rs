//! A headless Chromium driven over its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::services::script;

/// No answer of the browser may take longer.
const ANSWER: Duration = Duration::from_secs(30);

/// A browser process with a profile of its own.
pub(crate) struct Browser {
    child: Child,
    port: u16,
    _profile: tempfile::TempDir,
}

/// One page.
pub(crate) struct Page {
    runtime: Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    /// What the page wrote to the console as an error, and exceptions that nobody caught.
    pub(crate) errors: Vec<String>,
}

impl Browser {
    /// Starts Chromium, which is installed where it is missing.
    pub(crate) fn start() -> Browser {
        script("chromium.sh", &[]);
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars"]);
        command.args(["--disable-background-networking", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg("about:blank").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            line.unwrap().strip_prefix("DevTools listening on ws://").map(str::to_owned)
        });
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("chromium says where its DevTools listen");
        let port = address.split('/').next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        Browser { child, port, _profile: profile }
    }

    /// Opens a page of this size; `before` is JavaScript that runs before the page's own.
    pub(crate) fn open(&self, url: &str, size: (u32, u32), before: &str) -> Page {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = super::http::request("PUT", self.port, "/json/new?about:blank", None);
        let target: Value = serde_json::from_str(&answer.body).unwrap();
        let address = target["webSocketDebuggerUrl"].as_str().unwrap().to_owned();
        let (socket, _) = runtime.block_on(tokio_tungstenite::connect_async(address)).unwrap();
        let mut page = Page { runtime, socket, calls: 0, errors: Vec::new() };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({}));
        }
        let (width, height) = size;
        page.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
        page.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": before }));
        page.call("Page.navigate", json!({ "url": url }));
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Page {
    /// Calls a DevTools method and returns its result.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let call = json!({"id": id, "method": method, "params": parameters}).to_string();
        let Page { runtime, socket, errors, .. } = self;
        let answer = runtime.block_on(async {
            socket.send(Message::text(call)).await.unwrap();
            tokio::time::timeout(ANSWER, async {
                loop {
                    let message = socket.next().await.expect("the browser lives").unwrap();
                    let Message::Text(text) = message else { continue };
                    let said: Value = serde_json::from_str(&text).unwrap();
                    if said["id"] == json!(id) {
                        return said;
                    }
                    errors.extend(error_in(&said));
                }
            })
            .await
        });
        let answer = answer.unwrap_or_else(|_| panic!("{method} was not answered"));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The value of a JavaScript expression.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// The value of an expression as text.
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Waits until a JavaScript condition holds.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, condition: &str, limit: Duration) {
        let begin = Instant::now();
        while self.eval(&format!("Boolean({condition})")) != json!(true) {
            if begin.elapsed() > limit {
                let text = self.text("document.body.innerText");
                let errors = self.errors.join("\n");
                panic!(
                    "{condition} did not come true within {limit:?}; errors: {errors}\npage:\n{text}"
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes a picture of the page.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(picture["data"].as_str().unwrap())
            .unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn error_in(said: &Value) -> Option<String> {
    let text = match said["method"].as_str()? {
        "Runtime.exceptionThrown" => said["params"]["exceptionDetails"].to_string(),
        "Runtime.consoleAPICalled" if said["params"]["type"] == "error" => {
            said["params"]["args"].to_string()
        }
        "Log.entryAdded" if said["params"]["entry"]["level"] == "error" => {
            said["params"]["entry"]["text"].to_string()
        }
        _ => return None,
    };
    Some(text)
}
