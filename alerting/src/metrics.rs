//! What the metrics say of deliveries.
//!
//! # Guarantees
//! - Labels are names of routes, which the configuration bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::tally::Tally;

/// The routes by name, with what became of their deliveries.
pub type Tallies = Vec<(String, Arc<Tally>)>;

/// Adds them to what is scraped.
pub fn register(registry: &mut Registry, tallies: Tallies) {
    registry.register_collector(Box::new(Routes(tallies)));
}

#[derive(Debug)]
struct Routes(Tallies);

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let text = "Tries to deliver notices of alerts, by route and result";
        let mut family =
            encoder.encode_descriptor("weir_alert_deliveries", text, None, MetricType::Counter)?;
        for (route, tally) in &self.0 {
            let results =
                [("delivered", &tally.delivered), ("failed", &tally.failed), ("lost", &tally.lost)];
            for (result, count) in results {
                let labels = [("route", route.as_str()), ("result", result)];
                let metric = ConstCounter::new(count.load(Ordering::Relaxed));
                metric.encode(family.encode_family(&labels)?)?;
            }
        }
        let text = "Notices of alerts that wait for their receiver, by route";
        let mut family = encoder.encode_descriptor(
            "weir_alert_deliveries_waiting",
            text,
            None,
            MetricType::Gauge,
        )?;
        for (route, tally) in &self.0 {
            let waiting = i64::try_from(tally.waiting.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            ConstGauge::new(waiting).encode(family.encode_family(&[("route", route.as_str())])?)?;
        }
        Ok(())
    }
}
