//! The stream's counters among the metrics.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Streams;

impl Streams {
    /// Adds the stream's counters to `registry`.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Meter(Arc::clone(self))));
    }
}

#[derive(Debug)]
struct Meter(Arc<Streams>);

impl Collector for Meter {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counters = self.0.counters();
        let open = i64::try_from(self.0.connections()).unwrap_or(i64::MAX);
        let (name, help) = ("weir_stream_connections", "Open connections of the stream");
        let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(open).encode(gauge)?;
        for (name, help, value) in [
            ("weir_stream_frames", "Frames sent", counters.frames),
            ("weir_stream_frame_bytes", "Bytes of frames sent, as text", counters.bytes),
            ("weir_stream_snapshots", "Snapshots sent whole", counters.snapshots),
            ("weir_stream_resumed", "Subscriptions that went on where they were", counters.resumed),
            (
                "weir_stream_conflated",
                "Times a slow client got newest values only",
                counters.conflated,
            ),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)?;
        }
        let help = "Connections that the server ended, by close code";
        let mut closes =
            encoder.encode_descriptor("weir_stream_closes", help, None, MetricType::Counter)?;
        for (code, count) in counters.closes {
            let labels = [("code", code.to_string())];
            ConstCounter::new(count).encode(closes.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
