//! Bands for charts.
