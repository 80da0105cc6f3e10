//! The KPIs that there are, as notices name them: exchanged when definitions change. Clones are the same.

use std::sync::Arc;

use parking_lot::RwLock;
use schemas::KpiInfo;

/// What is known of KPIs.
#[derive(Debug, Clone, Default)]
pub struct KpiInfos(Arc<RwLock<Vec<KpiInfo>>>);

impl KpiInfos {
    /// There are exactly these from now on.
    pub fn set(&self, kpis: Vec<KpiInfo>) {
        *self.0.write() = kpis;
    }

    /// The KPI with this key.
    pub(crate) fn get(&self, key: &str) -> Option<KpiInfo> {
        self.0.read().iter().find(|info| *info.key == *key).cloned()
    }
}

impl From<Vec<KpiInfo>> for KpiInfos {
    fn from(kpis: Vec<KpiInfo>) -> KpiInfos {
        KpiInfos(Arc::new(RwLock::new(kpis)))
    }
}
