//! Planted defects: wrong on purpose behind a switch, so that tests can prove that they would fail.
//! Only compiled with the feature `defects`, which no release has.

use std::sync::atomic::{AtomicU8, Ordering};

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Plants the defect with this name (`retraction`: the old row of an update that moves to another
/// group stays in the old group); any other name removes it.
pub fn set(name: &str) {
    PLANTED.store(u8::from(name == "retraction"), Ordering::SeqCst);
}

pub(crate) fn skips_retraction() -> bool {
    PLANTED.load(Ordering::SeqCst) == 1
}
