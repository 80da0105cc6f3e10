//! Questions to the brokers of a source, for `weir check`: what topics are there, or why no answer; and
//! whether the newest changes name their transactions.
//!
//! # Guarantees
//! - No offset is committed, and of a topic at most the newest records are read.
//! - A broker whose certificate is not accepted is sent no password, not even to find out why.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use schemas::{Micros, Span};

use super::cause::Cause;
use super::client::{self, Context};
use super::reread;
use crate::record::RawBatch;
use crate::source::{ConfigError, KafkaConfig, transactions};

/// How long one question may take before librdkafka's events are looked at.
const QUESTION: Duration = Duration::from_millis(250);

/// Records that are looked at of each partition: deletes are followed by one that says nothing.
const NEWEST: i64 = 4;

/// What the brokers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// How many brokers there are.
    pub brokers: usize,
    /// Topics and how many partitions they have.
    pub topics: BTreeMap<String, usize>,
}

/// Why they say nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// librdkafka refused the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No answer, and why, as far as that is known.
    #[error("{reason}")]
    Silent {
        /// Why.
        cause: Option<Cause>,
        /// librdkafka's words, without secrets.
        reason: String,
    },
}

/// Asks the brokers of a source for their topics.
///
/// # Errors
/// When the configuration is refused, or there is no answer in time.
pub fn probe(config: &KafkaConfig, wait: Duration) -> Result<Cluster, Unanswered> {
    let asked = ask(config, wait);
    let Err(Unanswered::Silent { cause: Some(Cause::Certificate), reason }) = asked else {
        return asked;
    };
    // The same without a look at the host name. Without SASL, so that the password stays here.
    let mut nameless = config.clone();
    for (property, value) in
        [("security.protocol", "SSL"), ("ssl.endpoint.identification.algorithm", "none")]
    {
        nameless.librdkafka.0.insert(property.to_owned(), value.to_owned());
    }
    let cause = match ask(&nameless, wait) {
        Err(Unanswered::Silent { cause: Some(Cause::Certificate), .. }) => Cause::Authority,
        Ok(_) | Err(Unanswered::Silent { cause: Some(_), .. }) => Cause::HostName,
        Err(_) => Cause::Certificate,
    };
    Err(Unanswered::Silent { cause: Some(cause), reason })
}

/// Whether the newest change among the newest records of the topics names its transaction; `None` where no
/// change is among them, or they cannot be read before `wait` is over.
pub fn names_transactions(config: &KafkaConfig, cluster: &Cluster, wait: Duration) -> Option<bool> {
    let deadline = Instant::now() + wait;
    let client = client::connect(config, 1).ok()?;
    let mut newest: Option<(Option<Micros>, bool)> = None;
    for topic in config.topics.keys() {
        let mut spans = Vec::new();
        for partition in 0..cluster.topics.get(topic).copied().unwrap_or(0) {
            let partition = i32::try_from(partition).ok()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((low, high)) = client.fetch_watermarks(topic, partition, left) else {
                return newest.map(|(_, names)| names);
            };
            let from = high.saturating_sub(NEWEST).max(low);
            let (source, topic, incarnation) = (config.name.clone(), topic.clone(), "0".to_owned());
            let span = Span { source, topic, incarnation, partition, from, to: high };
            spans.extend((from < high).then_some(span));
        }
        if spans.is_empty() {
            continue;
        }
        // One client for all of them.
        let batches = reread::read(config, &spans, deadline).unwrap_or_default();
        let records = batches.iter().flat_map(RawBatch::iter);
        let found = records.filter_map(|r| Some((r.timestamp, transactions::names_one(&r)?)));
        newest = newest.max(found.max());
    }
    newest.map(|(_, names)| names)
}

fn ask(config: &KafkaConfig, wait: Duration) -> Result<Cluster, Unanswered> {
    let client = client::connect(config, 1)?;
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = client.fetch_metadata(None, left.min(QUESTION));
        let error = match answer {
            Ok(metadata) => return Ok(cluster(&metadata)),
            Err(error) => error.to_string(),
        };
        serve_events(&client);
        let heard = client.context().heard();
        if heard.cause().is_some_and(Cause::is_refusal) || Instant::now() >= deadline {
            let reason = heard.text().map(str::to_owned).unwrap_or(error);
            return Err(Unanswered::Silent { cause: heard.cause(), reason });
        }
        // A question fails at once while every broker is known to be down.
        std::thread::sleep(QUESTION / 5);
    }
}

/// What librdkafka says of connections is queued, and handed to the context while polling.
fn serve_events(client: &BaseConsumer<Context>) {
    for _ in 0..16 {
        drop(client.poll(Duration::ZERO));
    }
}

fn cluster(metadata: &Metadata) -> Cluster {
    let topic = |t: &rdkafka::metadata::MetadataTopic| (t.name().to_owned(), t.partitions().len());
    Cluster {
        brokers: metadata.brokers().len(),
        topics: metadata.topics().iter().map(topic).collect(),
    }
}
