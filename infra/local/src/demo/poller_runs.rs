//! The runs of the demo's poller, and the windows in which faults are injected.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::connector::until_crash;
use crate::invariants::PollerRun;
use crate::run_every::run_every;
use crate::stack::{INVOCATION_TIMEOUT, Stack};

/// Counts starts and ends of fault injection: odd while faults are injected. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultWindow(Arc<AtomicUsize>);

impl FaultWindow {
    /// Starts or ends fault injection.
    pub(super) fn toggle(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn current(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Results of the poller's runs. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct PollerRuns(Arc<Mutex<Vec<PollerRun>>>);

impl PollerRuns {
    /// All results so far, in order.
    pub(super) fn all(&self) -> Vec<PollerRun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the poller at this interval (real time) until the handle is aborted.
    pub(super) fn run_poller_every(
        &self,
        interval: Duration,
        stack: &Stack,
        fault_window: &FaultWindow,
    ) -> JoinHandle<()> {
        let (runs, poller, fault_window) = (self.clone(), stack.poller.clone(), fault_window.clone());
        run_every(interval, move || {
            let (runs, poller, fault_window) = (runs.clone(), poller.clone(), fault_window.clone());
            async move {
                let before = fault_window.current();
                let error = match until_crash(poller.handle(INVOCATION_TIMEOUT)).await {
                    Some(Ok(_)) => None,
                    Some(Err(error)) => Some(format!("{}: {}", error.error_type, error.error_message)),
                    None => Some("crashed".to_owned()),
                };
                // An even count means no open window; an unchanged one, that none was opened meanwhile.
                let is_fault_free = before.is_multiple_of(2) && fault_window.current() == before;
                let run = PollerRun { is_fault_free, error };
                runs.0.lock().unwrap_or_else(PoisonError::into_inner).push(run);
            }
        })
    }
}
