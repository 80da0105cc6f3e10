//! The server from outside: what it answers, what it refuses, and what it withstands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod answers;
mod compare;
mod contract;
mod csv;
mod explain;
mod forecast;
mod listing;
mod page;
mod past;
mod probes;
mod rest;
mod score;
mod serve;
mod server;
mod support;
mod tenants;
mod top;
