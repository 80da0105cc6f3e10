//! End-to-end scenarios and criterion benches.
