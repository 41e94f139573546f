//! A receiver with scripted responses, for tests of the senders.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use inbox_core::time::UnixMillis;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{SenderClient, SimClock};

/// A request that the receiver got.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ReceivedRequest {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Script = dyn Fn(usize) -> (u16, Option<u64>) + Send + Sync;

/// A receiver on a free port, and an auto-advancing clock for its senders.
pub(crate) struct StubReceiver {
    pub(crate) url: String,
    pub(crate) clock: SimClock,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct StubState(Arc<Script>, Arc<Mutex<Vec<ReceivedRequest>>>);

impl StubReceiver {
    /// Answers the nth request, counted from 0, with a status and optionally a `Retry-After` in seconds.
    pub(crate) async fn responding(
        script: impl Fn(usize) -> (u16, Option<u64>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::default();
        let routes =
            Router::new().fallback(handle).with_state(StubState(Arc::new(script), Arc::clone(&requests)));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, clock: SimClock::auto_advancing(UnixMillis(1_767_323_045_000)), requests, server }
    }

    pub(crate) fn http(&self) -> SenderClient {
        SenderClient::new(self.clock.clone(), 7, 4).unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for StubReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(StubState(script, requests)): State<StubState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let index = {
        let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(ReceivedRequest { path: parts.uri.path().to_owned(), headers: parts.headers, body });
        requests.len() - 1
    };
    let (status, retry_after) = script(index);
    let mut response = Response::builder().status(status);
    if let Some(secs) = retry_after {
        response = response.header("retry-after", secs.to_string());
    }
    response.body(Body::from("{}")).unwrap()
}
