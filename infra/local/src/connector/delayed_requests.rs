//! Requests that are applied later than their callers waited for them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;

use super::{AwsCall, AwsConnector, CallOutcome, Fault, lock};

/// A request that is still on its way.
pub(super) struct DelayedRequest {
    pub(super) call: AwsCall,
    pub(super) fault: Fault,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl AwsConnector {
    /// Requests that are still on their way.
    pub fn delayed_count(&self) -> usize {
        lock(&self.inner.delayed).len() + self.inner.applying_count.load(Ordering::SeqCst)
    }

    /// Applies, in the order in which they were made, the requests that this fault keeps on their way.
    pub async fn apply_delayed(&self, fault: Fault) {
        self.apply_matching(|delayed| delayed.fault == fault).await;
        // What a call was applying that was given up meanwhile.
        while self.inner.applying_count.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Applies the attempts before this one, of the same call, that wait for it to be answered.
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
            self.inner.applying_count.fetch_add(selected.len(), Ordering::SeqCst);
            selected
        };
        if selected.is_empty() {
            return;
        }
        let connector = self.clone();
        // In a task of its own: whoever waits here may be timed out, and the request arrives all the same.
        let applying = tokio::spawn(async move {
            for DelayedRequest { call, headers, body, .. } in selected {
                let answer = connector.inner.emulator.handle_sdk(headers, body).await;
                connector.log_outcome(&call, CallOutcome::AppliedLate(answer.status));
                connector.inner.applying_count.fetch_sub(1, Ordering::SeqCst);
            }
        });
        let _ = applying.await;
    }
}
