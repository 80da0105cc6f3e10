//! Stopping: a signal, the end of the input, or a failure that no thread can go on from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use schemas::EpochId;

/// Shared by all threads of a run.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    own: Arc<Inner>,
    /// That of the process, where this is one of several runs of it.
    process: Option<Arc<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    asked: AtomicBool,
    /// Whether that was by a signal.
    is_signalled: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Stop {
    /// That of one run of several: it ends with this one, and by itself without ending this one.
    #[must_use]
    pub fn of_run(&self) -> Stop {
        Stop { own: Arc::default(), process: Some(Arc::clone(&self.own)) }
    }

    /// Asks every thread to finish what it holds and end.
    pub fn ask(&self) {
        self.own.asked.store(true, Ordering::SeqCst);
    }

    /// Whether the run is ending.
    pub fn is_asked(&self) -> bool {
        self.own.is_asked() || self.process.as_ref().is_some_and(|process| process.is_asked())
    }

    /// Whether the process is ending, so that nobody waits for a disk any longer. A run that ends for another one
    /// waits.
    pub fn is_final(&self) -> bool {
        self.process.as_ref().unwrap_or(&self.own).is_asked()
    }

    /// Whether a signal has ended the process.
    pub fn is_signalled(&self) -> bool {
        self.process.as_ref().unwrap_or(&self.own).is_signalled.load(Ordering::SeqCst)
    }

    /// A signal ends the process.
    pub fn signal(&self) {
        self.own.is_signalled.store(true, Ordering::SeqCst);
        self.ask();
    }

    /// Ends the run because `reason`; the first reason is the one reported.
    pub fn fail(&self, reason: String) {
        tracing::error!("{reason}");
        self.own.failure.lock().get_or_insert(reason);
        self.ask();
    }

    /// Why the run failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.own.failure.lock().clone()
    }

    /// Turns the first SIGINT or SIGTERM into [`Stop::signal`], and ends the process at the second.
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
                stop.signal();
            }
        });
        Ok(())
    }
}

impl Inner {
    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_its_process_and_not_the_process_with_it() {
        let process = Stop::default();
        let (first, second) = (process.of_run(), process.of_run());
        first.fail("broken".to_owned());
        assert!(first.is_asked() && !first.is_final());
        assert!(!process.is_asked() && !second.is_asked() && second.failure().is_none());
        process.ask();
        assert!(second.is_asked() && second.is_final() && process.is_final());
        assert!(!process.is_signalled(), "it was asked by itself");
        process.signal();
        assert!(process.is_signalled() && second.is_signalled());
        let alone = Stop::default();
        alone.ask();
        assert!(alone.is_final(), "a run that is alone is the process");
    }
}
