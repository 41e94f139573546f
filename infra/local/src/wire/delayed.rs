//! Requests that are applied later than their callers waited for them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;

use super::{Call, Fate, Fault, Wire, locked};

/// A request that is still on its way.
pub(super) struct Delayed {
    pub(super) call: Call,
    pub(super) fault: Fault,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Wire {
    /// Requests that are still on their way.
    pub fn delayed(&self) -> usize {
        locked(&self.inner.delayed).len() + self.inner.arriving.load(Ordering::SeqCst)
    }

    /// Applies, in the order in which they were made, the requests that this fault keeps on their way.
    pub async fn apply_delayed(&self, fault: Fault) {
        self.apply_those(|delayed| delayed.fault == fault).await;
        // What a call was applying that was given up meanwhile.
        while self.inner.arriving.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Applies the attempts before this one, of the same call, that wait for it to be answered.
    pub(super) async fn apply_attempts_before(&self, call: &Call, body: &Bytes) {
        self.apply_those(|delayed| {
            delayed.fault == Fault::AppliedAfterRetry
                && delayed.call.operation == call.operation
                && delayed.body == *body
        })
        .await;
    }

    async fn apply_those(&self, which: impl Fn(&Delayed) -> bool) {
        let those: Vec<Delayed> = {
            let mut delayed = locked(&self.inner.delayed);
            let (those, others) = std::mem::take(&mut *delayed).into_iter().partition(which);
            *delayed = others;
            self.inner.arriving.fetch_add(those.len(), Ordering::SeqCst);
            those
        };
        if those.is_empty() {
            return;
        }
        let wire = self.clone();
        // In a task of its own: whoever waits here may be timed out, and the request arrives all the same.
        let arrive = tokio::spawn(async move {
            for Delayed { call, headers, body, .. } in those {
                let answer = wire.inner.engine.answer_sdk(headers, body).await;
                wire.close(&call, Fate::Late(answer.status));
                wire.inner.arriving.fetch_sub(1, Ordering::SeqCst);
            }
        });
        let _ = arrive.await;
    }
}
