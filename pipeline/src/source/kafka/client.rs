//! The librdkafka client of a source, set so that nothing is read twice or jumped over.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::source::{ConfigError, KafkaConfig, Properties};

/// Bytes that one fetch may bring for one partition.
const FETCH_BYTES: &str = "4194304";

/// What librdkafka said outside of any partition.
#[derive(Debug, Default)]
pub(super) struct Context {
    down: Mutex<Option<String>>,
    /// librdkafka may repeat values of these.
    properties: Properties,
}

impl Context {
    /// The last complaint about connections since the last call.
    pub(super) fn take_down(&self) -> Option<String> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Connection troubles arrive as errors as well, and are said once, as notices.
        let message = self.properties.mask(message);
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.properties.mask(reason);
        let code = error.rdkafka_error_code();
        if matches!(
            code,
            Some(
                RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::Resolve
                    | RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::SSL
            )
        ) {
            *self.down.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        }
        tracing::debug!(target: "librdkafka", ?code, "{reason}");
    }
}

impl ConsumerContext for Context {}

/// A consumer for `partitions` partitions, with nothing assigned yet.
pub(super) fn connect(
    config: &KafkaConfig,
    partitions: usize,
) -> Result<Arc<BaseConsumer<Context>>, ConfigError> {
    let context = Context { properties: config.librdkafka.clone(), ..Context::default() };
    let created = settings(config, partitions)?.create_with_context(context);
    created.map(Arc::new).map_err(|e| refused(config, &e))
}

/// Refuses what librdkafka would refuse, without a client: no thread, no connection.
pub(super) fn check(config: &KafkaConfig) -> Result<(), ConfigError> {
    let native = settings(config, 1)?.create_native_config();
    native.map(drop).map_err(|e| refused(config, &e))
}

fn refused(config: &KafkaConfig, error: &KafkaError) -> ConfigError {
    let reason = match error {
        // As a whole it would repeat the value, and the property may be a misspelt secret.
        KafkaError::ClientConfig(_, reason, property, _) => format!("`{property}`: {reason}"),
        error => error.to_string(),
    };
    let reason = config.librdkafka.mask(&reason);
    ConfigError::Refused { name: config.name.clone(), reason }
}

fn settings(config: &KafkaConfig, partitions: usize) -> Result<ClientConfig, ConfigError> {
    config.librdkafka.check()?;
    // With queues of their own, the bound holds for each partition.
    let share = (u64::from(config.prefetch_mib) * 1024 / partitions.max(1) as u64).max(1024);
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("group.id", &config.group)
        .set("client.id", "weir")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.message.max.bytes", FETCH_BYTES)
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", share.to_string())
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("log_level", "4");
    for (property, value) in &config.librdkafka.0 {
        client.set(property, value);
    }
    Ok(client)
}
