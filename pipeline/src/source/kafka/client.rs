//! The librdkafka client of a source, set so that nothing is read twice or jumped over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::cause::{Cause, Heard};
use crate::source::{ConfigError, KafkaConfig, Properties};

/// Bytes that one fetch may bring for one partition.
const FETCH_BYTES: &str = "4194304";

/// Bytes that the fetches of a reading again may bring for all partitions together.
const REREAD_BYTES: usize = 8 << 20;

/// What librdkafka said outside of any partition.
#[derive(Debug, Default)]
pub(super) struct Context {
    said: Mutex<Said>,
    /// librdkafka may repeat values of these; secrets are already read from their files.
    properties: Properties,
}

#[derive(Debug, Default)]
struct Said {
    /// The connection is lost, or was never there.
    down: bool,
    heard: Heard,
}

impl Context {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether connections were complained about since the last call, and what is known of it.
    pub(super) fn take_down(&self) -> Option<(Option<Cause>, String)> {
        let mut said = self.said();
        let down = std::mem::take(&mut said.down);
        down.then(|| (said.heard.cause(), said.heard.explain("no connection")))
    }

    /// What was said of connections since a broker answered.
    pub(super) fn heard(&self) -> Heard {
        self.said().heard.clone()
    }

    /// The cause that is known, if any, and the words for it; `text` where nothing was said.
    pub(super) fn explain(&self, text: &str) -> (Option<Cause>, String) {
        let said = self.said();
        (said.heard.cause(), said.heard.explain(&self.properties.mask(text)))
    }

    /// A broker answers: what was said before is history.
    pub(super) fn answered(&self) {
        *self.said() = Said::default();
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Connection troubles arrive as errors as well, and are said once, as notices. Some, such as
        // that of a listener that wants TLS, are logged only.
        let message = self.properties.mask(message);
        if facility == "FAIL" && Cause::of(&message).is_some() {
            self.said().heard.hear(without_thread(&message));
        }
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
            let mut said = self.said();
            said.down = true;
            said.heard.hear(&reason);
        }
        tracing::debug!(target: "librdkafka", ?code, "{reason}");
    }
}

/// A message of librdkafka's log without the name of its thread: `[thrd:...]: MESSAGE`.
fn without_thread(message: &str) -> &str {
    match message.split_once("]: ") {
        Some((thread, rest)) if thread.starts_with("[thrd:") => rest,
        _ => message,
    }
}

impl ConsumerContext for Context {}

/// A consumer for `partitions` partitions, with nothing assigned yet.
pub(super) fn connect(
    config: &KafkaConfig,
    partitions: usize,
) -> Result<Arc<BaseConsumer<Context>>, ConfigError> {
    create(config, settings(config, partitions)?)
}

/// A consumer that reads parts of many partitions: it fetches little more than they hold.
pub(super) fn connect_to_reread(
    config: &KafkaConfig,
    partitions: usize,
) -> Result<Arc<BaseConsumer<Context>>, ConfigError> {
    let (mut settings, properties) = settings(config, usize::MAX)?;
    let share = (REREAD_BYTES / partitions.max(1)).clamp(REREAD_BYTES / 128, REREAD_BYTES / 8);
    settings.set("fetch.message.max.bytes", share.to_string());
    create(config, (settings, properties))
}

fn create(
    config: &KafkaConfig,
    (settings, properties): (ClientConfig, Properties),
) -> Result<Arc<BaseConsumer<Context>>, ConfigError> {
    let context = Context { properties: properties.clone(), ..Context::default() };
    let created = settings.create_with_context(context);
    created.map(Arc::new).map_err(|e| refused(config, &properties, &e))
}

/// Refuses what librdkafka would refuse, without a client: no thread, no connection.
pub(super) fn check(config: &KafkaConfig) -> Result<(), ConfigError> {
    let (settings, properties) = settings(config, 1)?;
    let native = settings.create_native_config();
    native.map(drop).map_err(|e| refused(config, &properties, &e))
}

fn refused(config: &KafkaConfig, properties: &Properties, error: &KafkaError) -> ConfigError {
    let reason = match error {
        // As a whole it would repeat the value, and the property may be a misspelt secret.
        KafkaError::ClientConfig(_, reason, property, _) => format!("`{property}`: {reason}"),
        error => error.to_string(),
    };
    let mut reason = properties.mask(&reason);
    if reason.contains("ssl.key") || reason.contains("ssl.keystore") {
        reason.push_str("; is it the right file, and `ssl.key.password_file` its password?");
    }
    ConfigError::Refused { name: config.name.clone(), reason }
}

/// librdkafka's settings, and the properties of the configuration with their secrets.
fn settings(
    config: &KafkaConfig,
    partitions: usize,
) -> Result<(ClientConfig, Properties), ConfigError> {
    config.librdkafka.check()?;
    let properties = config.librdkafka.resolve(&config.name)?;
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
        // That a listener wants TLS or a login is told by its closed connection only.
        .set_log_level(RDKafkaLogLevel::Info);
    for (property, value) in &properties.0 {
        client.set(property, value);
    }
    Ok((client, properties))
}
