//! The server from outside: what it answers, what it refuses, and what it withstands.

mod contract;
mod page;
mod rest;
mod serve;
mod server;
mod support;
mod tenants;
