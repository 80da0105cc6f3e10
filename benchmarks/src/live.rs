//! The product while it runs and serves.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::http::Http;
use crate::process;
use crate::topic::Topic;

/// How long it may take to be ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// `weir run`, killed when dropped.
#[derive(Debug)]
pub struct Live {
    /// Host and port of its API.
    pub address: String,
    /// Its lake.
    pub lake: PathBuf,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Live {
    /// Starts it over a topic of orders, with its lake in `folder`, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(
        program: &Path,
        folder: &Path,
        topic: &Topic,
        settings: &str,
    ) -> Result<Live, Failure> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.map_err(Failure::io("find a port on", Path::new("127.0.0.1")))?;
        let (lake, config) = (folder.join("lake"), folder.join("weir.toml"));
        let transactions = topic.metadata.as_ref();
        let transactions =
            transactions.map(|metadata| format!("transactions = \"{}\"\n", metadata.name));
        let transactions = transactions.unwrap_or_default();
        let text = format!(
            "lake.uri = \"{}\"\napi.listen = \"{address}\"\n{settings}\n[[sources]]\n\
             kind = \"kafka\"\nbrokers = \"{}\"\ngroup = \"weir-benchmarks\"\n{transactions}[sources.topics]\n\
             \"{}\" = \"orders\"\n",
            lake.display(),
            topic.brokers,
            topic.name
        );
        std::fs::write(&config, text).map_err(Failure::io("write", &config))?;
        let log = folder.join("weir.log");
        let out = File::create(&log).map_err(Failure::io("create", &log))?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(&config)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out)
            .spawn()
            .map_err(Failure::io("start", program))?;
        let (address, program) = (address.to_string(), program.to_owned());
        let live = Live { address, lake, program, config, log, child };
        live.wait().await?;
        Ok(live)
    }

    async fn wait(&self) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Ok(mut http) = Http::open(&self.address).await
                && http.get("/readyz", "").await.is_ok_and(|(status, _)| status == 200)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(self.complain("it did not get ready"))
    }

    fn complain(&self, what: &str) -> Failure {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        Failure::Worthless(format!("`weir run`: {what}:\n{said}"))
    }

    /// A token for every tenant.
    ///
    /// # Errors
    /// When none is made.
    pub fn token(&self, subject: &str) -> Result<String, Failure> {
        let output = Command::new(&self.program)
            .args(["token", "mint", "--tenant", "*", "--sub", subject, "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .output()
            .map_err(Failure::io("start", &self.program))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::Worthless(format!("`weir token mint` failed: {said}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Memory that it has now, in KiB.
    pub fn memory_kib(&self) -> Option<f64> {
        process::resident_kib(self.child.id())
    }

    /// Stops it as an operator would, and waits until it has flushed.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub fn stop(mut self) -> Result<(), Failure> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let sent = sent.map_err(Failure::io("send a signal with", Path::new("kill")))?;
        if !sent.success() {
            return Err(self.complain("it was gone before it was to stop"));
        }
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let ended = self.child.try_wait().map_err(Failure::io("wait for", &self.program))?;
            match ended {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.complain(&format!("it ended with {status}"))),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(self.complain("it does not stop"))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Already over, if all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
