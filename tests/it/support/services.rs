//! Kafka, PostgreSQL and Connect through the scripts in `tests/services`.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where Kafka answers.
pub(crate) const BROKERS: &str = "127.0.0.1:19092";

/// One test at a time uses services: some stop and kill them.
static SERVICES: Mutex<()> = Mutex::new(());

/// The right to use the services until it is dropped.
pub(crate) type Held = MutexGuard<'static, ()>;

/// Waits for the services; Kafka runs afterwards.
pub(crate) fn kafka() -> Held {
    let held = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
    script("kafka.sh", &["start"]);
    held
}

/// Waits for the services; the Kafka with TLS runs afterwards.
pub(crate) fn secure_kafka() -> Held {
    let held = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
    script("secure-kafka.sh", &["start"]);
    held
}

/// Runs a service script; it must succeed.
pub(crate) fn script(name: &str, arguments: &[&str]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
    let output = Command::new(&path).args(arguments).output().unwrap();
    expect_success(&format!("{name} {}", arguments.join(" ")), &output);
    String::from_utf8(output.stdout).unwrap()
}

/// A fresh topic with this name.
pub(crate) fn fresh_topic(name: &str, partitions: u32) {
    script("kafka.sh", &["delete-topic", name]);
    script("kafka.sh", &["topic", name, &partitions.to_string()]);
}

/// Runs SQL in a database and returns its rows, columns parted by tabs.
pub(crate) fn sql(database: &str, text: &str) -> String {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    script("postgres.sh", &["psql", "-d", database, "-qAt", "-F", "\t", "-f", &path])
}

fn expect_success(what: &str, output: &Output) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed ({}):\n{error}", output.status);
}
