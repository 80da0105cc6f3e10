//! The binary as a child process, and the folder that it works in.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a command may take that is expected to end by itself.
pub(crate) const COMMAND: Duration = Duration::from_secs(120);

/// How long a run may take to end after SIGTERM: three seconds are promised, on a machine of its own.
pub(crate) const STOP: Duration = Duration::from_secs(10);

/// A folder with a lake, a configuration and the logs of what ran there.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    lake: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
    runs: AtomicU32,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that runs; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Weir {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    pub(crate) started: Instant,
}

impl Place {
    /// An empty folder; nothing is configured yet.
    pub(crate) fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_weir"));
        Place { folder, lake, program, environment: Vec::new(), runs: AtomicU32::new(0) }
    }

    /// Keeps the lake somewhere else.
    pub(crate) fn with_lake(self, lake: PathBuf) -> Place {
        Place { lake, ..self }
    }

    /// Runs another program than the product.
    pub(crate) fn with_program(self, program: PathBuf) -> Place {
        Place { program, ..self }
    }

    /// Sets a variable for everything that runs here.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Place {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path inside the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The lake.
    pub(crate) fn lake(&self) -> &Path {
        &self.lake
    }

    /// Writes the configuration: the lake, a free port, then `rest`. Keys of `[lake]` come first.
    pub(crate) fn configure(&self, rest: &str) -> &Place {
        let lake = self.lake.display();
        let text = format!("lake.uri = \"{lake}\"\napi.listen = \"127.0.0.1:0\"\n{rest}");
        std::fs::write(self.path("weir.toml"), text).unwrap();
        self
    }

    /// Configures a file source with the coordinates of both tables' topics.
    pub(crate) fn configure_files(&self, before: &str) -> &Place {
        let path = self.path("input");
        std::fs::create_dir_all(&path).unwrap();
        let path = path.display();
        self.configure(&format!(
            "{before}\n[[sources]]\nkind = \"file\"\npath = \"{path}\"\n[sources.topics]\n\
             \"shop.public.orders\" = \"orders\"\n\"shop.public.costs\" = \"costs\"\n"
        ))
    }

    /// Configures a Kafka source: topic, contract.
    pub(crate) fn configure_kafka(
        &self,
        before: &str,
        brokers: &str,
        topics: &[(&str, &str)],
    ) -> &Place {
        let topics: String = topics
            .iter()
            .map(|(topic, contract)| format!("\"{topic}\" = \"{contract}\"\n"))
            .collect();
        self.configure(&format!(
            "{before}\n[[sources]]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n\
             group = \"weir-it\"\n[sources.topics]\n{topics}"
        ))
    }

    /// A command with the configuration of this place, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).args(arguments);
        if self.path("weir.toml").exists() {
            command.arg("--config").arg(self.path("weir.toml"));
        }
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("WEIR") || text.starts_with("KAFKA_") || text == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Starts a command with the configuration of this place.
    pub(crate) fn start(&self, arguments: &[&str]) -> Weir {
        let number = self.runs.fetch_add(1, Ordering::SeqCst);
        let (stdout, stderr) =
            (self.path(&format!("{number}.out")), self.path(&format!("{number}.err")));
        let mut command = self.command(arguments);
        command.stdout(File::create(&stdout).unwrap());
        command.stderr(File::create(&stderr).unwrap());
        let started = Instant::now();
        let child = command.spawn().unwrap();
        Weir { child, stdout, stderr, started }
    }

    /// Runs a command to its end.
    pub(crate) fn weir(&self, arguments: &[&str]) -> Done {
        self.start(arguments).wait(COMMAND)
    }

    /// Runs a command that must exit with 0.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> Done {
        self.weir(arguments).exits(0)
    }
}

impl Done {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that a message has all these parts.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Done {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in stderr:\n{}", self.stderr);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|error| panic!("no JSON ({error}):\n{}", self.stdout))
    }
}

impl Weir {
    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits until the log has `text`.
    pub(crate) fn wait_for(&mut self, text: &str, limit: Duration) {
        self.wait_while_running(&format!("weir says `{text}`"), limit, |weir| {
            weir.log().contains(text)
        });
    }

    /// Waits until something holds while the process runs.
    pub(crate) fn wait_while_running(
        &mut self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut(&Weir) -> bool,
    ) -> Duration {
        let begin = Instant::now();
        while !holds(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) before {what}; its log:\n{}", self.log());
            let seconds = limit.as_secs();
            assert!(
                begin.elapsed() < limit,
                "{seconds} s passed before {what}; log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        begin.elapsed()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL; whether it still ran.
    pub(crate) fn kill(mut self) -> bool {
        let ran = self.is_running();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        ran
    }

    /// SIGTERM, and how long the end took.
    pub(crate) fn stop(self) -> (Done, Duration) {
        let begin = Instant::now();
        signal("TERM", self.pid());
        let done = self.wait(Duration::from_secs(60));
        (done, begin.elapsed())
    }

    /// SIGTERM; it must end well and in time.
    pub(crate) fn stops(self) -> Done {
        let (done, took) = self.stop();
        let done = done.exits(0);
        assert!(took < STOP, "stopping took {took:?}:\n{}", done.stderr);
        done
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self, limit: Duration) -> Done {
        let begin = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > limit {
                let log = self.log();
                panic!("still running after {} s; its log:\n{log}", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let read =
            |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Done { code: status.code(), stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal by name.
pub(crate) fn signal(name: &str, pid: u32) {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}
