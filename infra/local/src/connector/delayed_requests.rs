//! Requests that are applied after their callers got a time-out, as when a network delivers late.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;

use super::{AwsCall, AwsConnector, CallOutcome, Fault, lock};

/// A request that has not been applied yet.
pub(super) struct DelayedRequest {
    pub(super) call: AwsCall,
    pub(super) fault: Fault,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl AwsConnector {
    /// Number of requests that timed out for their callers and have not been applied yet.
    pub fn delayed_count(&self) -> usize {
        lock(&self.inner.delayed).len() + self.inner.applying_count.load(Ordering::SeqCst)
    }

    /// Applies the requests that `fault` delays, in the order in which they were made. Returns once no request is being
    /// applied.
    pub async fn apply_delayed(&self, fault: Fault) {
        self.apply_matching(|delayed| delayed.fault == fault).await;
        // A task whose caller was dropped may still be applying requests.
        while self.inner.applying_count.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Applies earlier attempts at the same call (same operation and body) that were delayed by
    /// [`Fault::AppliedAfterRetry`].
    pub(super) async fn apply_earlier_attempts(&self, call: &AwsCall, body: &Bytes) {
        self.apply_matching(|delayed| {
            delayed.fault == Fault::AppliedAfterRetry
                && delayed.call.operation == call.operation
                && delayed.body == *body
        })
        .await;
    }

    async fn apply_matching(&self, is_selected: impl Fn(&DelayedRequest) -> bool) {
        let selected: Vec<DelayedRequest> = {
            let mut delayed = lock(&self.inner.delayed);
            let (selected, others) = std::mem::take(&mut *delayed).into_iter().partition(is_selected);
            *delayed = others;
            // Counted while the list is still locked, so that `delayed_count` never misses one.
            self.inner.applying_count.fetch_add(selected.len(), Ordering::SeqCst);
            selected
        };
        if selected.is_empty() {
            return;
        }
        let connector = self.clone();
        // In a separate task: the caller may be dropped by its time-out, and the requests must be applied all the same.
        let applying = tokio::spawn(async move {
            for DelayedRequest { call, headers, body, .. } in selected {
                let answer = connector.inner.emulator.handle_sdk(headers, body).await;
                connector.log_outcome(&call, CallOutcome::AppliedLate(answer.status));
                connector.inner.applying_count.fetch_sub(1, Ordering::SeqCst);
            }
        });
        // Awaited, so that the caller cannot make its next call before these requests are applied.
        let _ = applying.await;
    }
}
