//! What `weir check` finds of a Kafka source: its brokers, its topics, and how it keeps its secrets.

use std::time::Duration;

use gold::nearest::nearest;
use pipeline::source::{Cluster, KafkaConfig, Unanswered, names_transactions, probe};
use schemas::chain;

use super::{Finding, Level};
use crate::config::{PlainSecret, variable_of};

/// How long a broker may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Asks a broker for its topics. Topics that are not there yet are only warned of.
pub(super) fn check(config: &KafkaConfig) -> Vec<Finding> {
    let subject = format!("broker {}", config.brokers);
    let cluster = match probe(config, ANSWER) {
        Ok(cluster) => cluster,
        Err(unanswered) => return vec![silent(&subject, &unanswered)],
    };
    let brokers = cluster.brokers;
    let mut findings = vec![Finding::ok(&subject, format!("answers; {brokers} brokers"))];
    findings.extend(config.topics.iter().map(|(topic, contract)| {
        let partitions = cluster.topics.get(topic).copied().unwrap_or(0);
        if partitions > 0 {
            let text = format!("{partitions} partitions, contract {contract}");
            return Finding::ok(&format!("topic {topic}"), text);
        }
        missing(topic, &cluster)
    }));
    findings.extend(config.transactions.iter().map(|topic| metadata(config, topic, &cluster)));
    findings
}

/// What is there of the metadata topic, and whether changes name their transactions.
fn metadata(config: &KafkaConfig, topic: &str, cluster: &Cluster) -> Finding {
    let subject = format!("transactions {topic}");
    let partitions = cluster.topics.get(topic).copied().unwrap_or(0);
    if partitions == 0 {
        let near = cluster.topics.keys().map(String::as_str).filter(|name| !name.starts_with("__"));
        let text = format!("does not exist{}: nothing is kept whole", nearest(topic, near));
        let advice = "set `provide.transaction.metadata=true` in the connector, which writes to \
                      `<topic.prefix>.transaction`, or correct `transactions` of the source";
        return Finding::new(&subject, Level::Warning, text, advice);
    }
    match names_transactions(config, cluster, ANSWER) {
        Some(false) => {
            let text = "the newest change names no transaction: none is kept whole";
            let advice = "set `provide.transaction.metadata=true` in the connector, or take `transactions` out of \
                          the source";
            Finding::new(&subject, Level::Warning, text, advice)
        }
        Some(true) => {
            let text = format!("{partitions} partitions; changes name their transactions");
            Finding::ok(&subject, text)
        }
        None => Finding::ok(&subject, format!("{partitions} partitions; no change to look at yet")),
    }
}

fn silent(subject: &str, unanswered: &Unanswered) -> Finding {
    match unanswered {
        Unanswered::Config(error) => {
            let advice = "correct [sources.librdkafka]";
            Finding::new(subject, Level::Configuration, chain(error), advice)
        }
        Unanswered::Silent { cause: Some(cause), reason } => {
            let level = if cause.is_refusal() { Level::Refused } else { Level::Unreachable };
            Finding::new(subject, level, format!("{}: {reason}", cause.what()), cause.advice())
        }
        Unanswered::Silent { cause: None, reason } => {
            let text = format!("no answer within {} s: {reason}", ANSWER.as_secs());
            let advice = "check that the broker runs, that `brokers` names it, and what \
                          [sources.librdkafka] says about TLS and SASL";
            Finding::new(subject, Level::Unreachable, text, advice)
        }
    }
}

fn missing(topic: &str, cluster: &Cluster) -> Finding {
    let near = cluster.topics.keys().map(String::as_str).filter(|name| !name.starts_with("__"));
    let text = format!("does not exist{}", nearest(topic, near));
    let advice = "create it or correct the name under [sources.topics]; `weir run` waits for it";
    Finding::new(&format!("topic {topic}"), Level::Warning, text, advice)
}

/// Warns of a secret that stands in the configuration file.
pub(super) fn plain(secret: &PlainSecret) -> Finding {
    let PlainSecret { source, property } = secret;
    let text = format!("`{property}` of source `{source}` stands in the configuration file");
    let variable = variable_of(source, property);
    let advice = format!(
        "put it alone into a file and name that as `\"{property}_file\"`, or set {variable}"
    );
    Finding::new(&format!("secrets {source}"), Level::Warning, text, advice)
}

/// Warns when a broker's certificate is not looked at.
pub(super) fn unverified(config: &KafkaConfig) -> Option<Finding> {
    let value = config.librdkafka.0.get("enable.ssl.certificate.verification")?;
    (value == "false").then(|| {
        let text = "`enable.ssl.certificate.verification` is false: any broker is believed, and \
                    given the password";
        let advice = "remove it, and name the authority's file in `ssl.ca.location`";
        Finding::new(&format!("broker {}", config.brokers), Level::Warning, text, advice)
    })
}
