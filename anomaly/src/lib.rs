//! Detectors, calibration and alert policy: pure functions of KPI updates, without tokio, IO or clock.
//!
//! A detector implements [`schemas::observe::Observer`]; the binary joins it to the gold step.
