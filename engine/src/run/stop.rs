//! Stopping: a signal, the end of the input, or a failure that no thread can go on from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use schemas::EpochId;

/// Shared by all threads of a run.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    asked: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Stop {
    /// Asks every thread to finish what it holds and end.
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
    }

    /// Whether the run is ending.
    pub fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Ends the run because `reason`; the first reason is the one reported.
    pub fn fail(&self, reason: String) {
        tracing::error!("{reason}");
        self.0.failure.lock().get_or_insert(reason);
        self.ask();
    }

    /// Why the run failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.0.failure.lock().clone()
    }

    /// Turns the first SIGINT or SIGTERM into [`Stop::ask`], and ends the process at the second.
    ///
    /// # Errors
    /// When the operating system refuses the handlers.
    pub fn on_signals(&self, runtime: &tokio::runtime::Handle) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let stop = self.clone();
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        drop(guard);
        runtime.spawn(async move {
            for count in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if count == 1 {
                    std::process::exit(130);
                }
                tracing::info!("stopping: flushing what is held (a second signal ends at once)");
                stop.ask();
            }
        });
        Ok(())
    }
}

/// The highest epoch that reached some stage, to be waited for by another thread.
#[derive(Debug, Clone, Default)]
pub struct Reached(Arc<(Mutex<EpochId>, Condvar)>);

impl Reached {
    /// Says that `epoch` and all before it have reached the stage.
    pub fn set(&self, epoch: EpochId) {
        let mut held = self.0.0.lock();
        if epoch > *held {
            *held = epoch;
            self.0.1.notify_all();
        }
    }

    /// The highest epoch so far.
    pub fn get(&self) -> EpochId {
        *self.0.0.lock()
    }

    /// Waits for `epoch`, but not beyond a failure of the run. Returns whether it was reached.
    pub fn wait(&self, epoch: EpochId, stop: &Stop) -> bool {
        let mut held = self.0.0.lock();
        while *held < epoch {
            if stop.failure().is_some() {
                return false;
            }
            self.0.1.wait_for(&mut held, std::time::Duration::from_millis(50));
        }
        true
    }
}
