//! The tenants that an origin has ever fed: what waits in its backlog may be of any of them.
//!
//! # Guarantees
//! - Eight bytes a tenant: hashes in order. Of two tenants with one hash, which nobody will meet, one is taken
//!   for the other.

use std::sync::Arc;

use schemas::RowRef;
use schemas::contract::DEFAULT_TENANT;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::TableFold;
use crate::decode::PreparedContract;

/// Hashes of tenants, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fed(Arc<Vec<u64>>);

impl Fed {
    pub(super) fn add(&mut self, tenant: &[u8]) {
        let hash = xxh3_64(tenant);
        if let Err(at) = self.0.binary_search(&hash) {
            Arc::make_mut(&mut self.0).insert(at, hash);
        }
    }

    fn has(&self, tenant: &[u8]) -> bool {
        self.0.binary_search(&xxh3_64(tenant)).is_ok()
    }
}

/// The tenant of a row, as KPIs name it.
fn tenant<'a>(row: RowRef<'a>, column: usize) -> &'a [u8] {
    let named = row.text_bytes(column).filter(|tenant| !tenant.is_empty());
    named.unwrap_or(DEFAULT_TENANT.as_bytes())
}

/// The tenant of a row that comes, unless that of `old`, the one before it, is the same.
pub(super) fn new_tenant<'a>(
    contract: &'a PreparedContract,
    old: Option<&[u8]>,
    new: &'a [u8],
) -> Option<&'a [u8]> {
    let (layout, column) = (contract.layout(), contract.contract().tenant);
    let new = tenant(layout.row(new), column);
    old.is_none_or(|old| tenant(layout.row(old), column) != new).then_some(new)
}

impl TableFold {
    /// Whether an origin has ever fed a row of a tenant.
    pub fn has_fed(&self, origin: &str, tenant: &str) -> bool {
        let own = self.origins.number(origin).and_then(|number| self.origins.get(number));
        own.is_some_and(|own| own.fed.has(tenant.as_bytes()))
    }
}
