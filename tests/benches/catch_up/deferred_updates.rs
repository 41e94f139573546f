//! Updates that are answered at once and applied later: the emulator applies fewer of them in a second than DynamoDB does.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use local::emulator::{Emulator, service_and_operation};

/// Largest request of DynamoDB.
const REQUEST_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The updates that are not applied yet, in the order of their requests.
#[derive(Clone, Default)]
pub(crate) struct DeferredUpdates(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl DeferredUpdates {
    /// A layer that answers each `UpdateItem` as applied.
    pub(crate) fn layer(&self, emulators: Router) -> Router {
        let deferred = self.clone();
        emulators.layer(from_fn(move |request, next| deferred.clone().answer(request, next)))
    }

    async fn answer(self, request: Request, next: Next) -> Response {
        if service_and_operation(request.headers()).1 != "UpdateItem" {
            return next.run(request).await;
        }
        let (head, body) = request.into_parts();
        let body = to_bytes(body, REQUEST_MAX_BYTES).await.unwrap();
        self.0.lock().unwrap().push((head.headers, body));
        ([("content-type", "application/x-amz-json-1.0")], "{}").into_response()
    }

    /// Applies the updates. Panics if one is rejected.
    pub(crate) async fn apply(&self, emulator: &Emulator) {
        let deferred = std::mem::take(&mut *self.0.lock().unwrap());
        for (headers, body) in deferred {
            assert_eq!(emulator.handle(headers, body).await.status, 200);
        }
    }
}
