//! Change streams: written to files, produced into Kafka, and read back from it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::workload::{Options, Produced};
use harness::{Log, Workload};
use schemas::Micros;
use serde_json::json;

use super::services::BROKERS;

/// The stream of a seed, up to the present hour.
///
/// Some of its periods are running, so that closing them is tested too.
pub(crate) fn options(seed: u64, events: u64) -> Options {
    const HOUR: i64 = 3_600_000_000;
    #[allow(clippy::disallowed_methods, reason = "the stream ends now, on the product's clock")]
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let now = i64::try_from(now).unwrap() / HOUR * HOUR;
    Options { seed, events, now: Micros(now), ..Options::default() }
}

/// All records of a stream.
pub(crate) fn records(options: &Options) -> Vec<Produced> {
    Workload::new(options.clone()).collect()
}

/// The log that these records make.
pub(crate) fn log(records: &[Produced]) -> Log {
    let mut log = Log::default();
    for r in records {
        log.insert(r.topic, r.partition, r.offset, r.key.as_deref(), r.value.as_deref());
    }
    log
}

/// Appends records as lines with coordinates; a name that ends in `.gz` is packed.
pub(crate) fn append(path: &Path, records: &[Produced]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut lines = String::new();
    for r in records {
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned())
        };
        let line = json!({"topic": r.topic, "partition": r.partition, "offset": r.offset,
            "key": text(&r.key), "value": text(&r.value)});
        lines.push_str(&format!("{line}\n"));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        pack(file, lines.as_bytes());
    } else {
        file.write_all(lines.as_bytes()).unwrap();
    }
}

fn pack(file: File, bytes: &[u8]) {
    let mut packed = GzEncoder::new(file, Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap();
}

/// A producer that keeps its connection: `kcat` with records on its standard input.
#[derive(Debug)]
pub(crate) struct Producer {
    child: Child,
    input: Option<ChildStdin>,
}

impl Producer {
    /// Produces into `topic`, partitions chosen by key as Kafka's own clients do.
    pub(crate) fn new(topic: &str) -> Producer {
        Producer::at(BROKERS, topic)
    }

    /// As [`Producer::new`], with other brokers.
    fn at(brokers: &str, topic: &str) -> Producer {
        let mut command = Command::new("kcat");
        command.args(["-P", "-b", brokers, "-t", topic, "-K", "\t", "-Z"]);
        command.args(["-X", "partitioner=murmur2_random", "-X", "enable.idempotence=true"]);
        command.args(["-X", "linger.ms=5"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let input = child.stdin.take();
        Producer { child, input }
    }

    /// Sends one record; no value is a tombstone.
    pub(crate) fn send(&mut self, key: &[u8], value: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(&[key, b"\t", value, b"\n"].concat()).unwrap();
    }

    /// Waits until everything is acknowledged.
    pub(crate) fn finish(mut self) {
        self.input.take();
        assert!(self.child.wait().unwrap().success(), "kcat lost records");
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Produces records into topics named by `topic`, and waits for all acknowledgements.
pub(crate) fn produce(records: &[Produced], topic: impl Fn(&str) -> String) {
    produce_at(BROKERS, records, topic);
}

/// As [`produce`], with other brokers.
pub(crate) fn produce_at(brokers: &str, records: &[Produced], topic: impl Fn(&str) -> String) {
    let mut producers = std::collections::BTreeMap::new();
    for record in records {
        let producer = producers
            .entry(record.topic)
            .or_insert_with(|| Producer::at(brokers, &topic(record.topic)));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        producer.send(key.unwrap_or_default(), value.unwrap_or_default());
    }
    producers.into_values().for_each(Producer::finish);
}

/// Reads whole topics with a consumer that is not the product: the log as the broker holds it.
pub(crate) fn read_topics(topics: &[&str]) -> Log {
    read_topics_at(BROKERS, topics)
}

/// As [`read_topics`], with other brokers.
pub(crate) fn read_topics_at(brokers: &str, topics: &[&str]) -> Log {
    let mut log = Log::default();
    for topic in topics {
        let format = "%p %o %K %S\n%k%s\n";
        let mut command = Command::new("kcat");
        command.args([
            "-C",
            "-b",
            brokers,
            "-t",
            topic,
            "-o",
            "beginning",
            "-e",
            "-q",
            "-f",
            format,
        ]);
        command.args(["-X", "isolation.level=read_committed"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut rest = output.stdout.as_slice();
        while !rest.is_empty() {
            rest = read_record(topic, rest, &mut log).expect("kcat keeps its format");
        }
    }
    log
}

fn read_record<'a>(topic: &str, bytes: &'a [u8], log: &mut Log) -> Option<&'a [u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = bytes.split_at(end);
    let mut numbers = std::str::from_utf8(head).ok()?.split(' ').map(str::parse::<i64>);
    let mut number = || numbers.next()?.ok();
    let (partition, offset, key, value) = (number()?, number()?, number()?, number()?);
    let (key, rest) = take(rest.get(1..)?, key)?;
    let (value, rest) = take(rest, value)?;
    log.insert(topic, i32::try_from(partition).ok()?, offset, key, value);
    rest.get(1..)
}

/// `length` bytes; -1 stands for null.
#[allow(clippy::type_complexity, reason = "maybe bytes, and what is left")]
fn take(bytes: &[u8], length: i64) -> Option<(Option<&[u8]>, &[u8])> {
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() => {
            let (taken, rest) = bytes.split_at(length);
            Some((Some(taken), rest))
        }
        Ok(_) => None,
        Err(_) => Some((None, bytes)),
    }
}
