//! A stub server: returns the configured responses and records the requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use futures::stream;

/// A recorded request.
#[derive(Clone)]
pub(super) struct RecordedRequest {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl RecordedRequest {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A parameter of the query, decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let url = reqwest::Url::parse(&format!("http://stub{}", self.target)).unwrap();
        url.query_pairs().find(|(at, _)| at == name).map(|(_, value)| value.into_owned())
    }
}

/// A configured response.
#[derive(Clone)]
pub(super) struct StubReply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<Bytes>,
    sends_length: bool,
    delay: Duration,
}

pub(super) fn reply(status: u16, body: impl Into<Bytes>) -> StubReply {
    StubReply { status, headers: vec![], body: vec![body.into()], sends_length: true, delay: Duration::ZERO }
}

impl StubReply {
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn delayed_by(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the body in chunks of this many bytes, without its length.
    pub(super) fn in_chunks(mut self, size: usize) -> Self {
        self.body = self.body.concat().chunks(size).map(Bytes::copy_from_slice).collect();
        self.sends_length = false;
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let body = if self.sends_length {
            Body::from(self.body.concat())
        } else {
            Body::from_stream(stream::iter(self.body.into_iter().map(Ok::<_, std::io::Error>)))
        };
        response.body(body).unwrap()
    }
}

/// The stub server. It stops with the test's runtime.
pub(super) struct StubServer {
    base_url: String,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
}

impl StubServer {
    /// Returns these responses in order; the last one repeats.
    pub(super) async fn with(replies: impl IntoIterator<Item = StubReply>) -> Self {
        let replies: Vec<_> = replies.into_iter().collect();
        Self::with_handler(move |asked, _| replies[asked.min(replies.len() - 1)].clone()).await
    }

    /// Responds by the number of the request, from 0, and the request.
    pub(super) async fn with_handler(
        answer: impl Fn(usize, &RecordedRequest) -> StubReply + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::<Mutex<Vec<RecordedRequest>>>::default();
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        let handler = move |request: Request| {
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            async move {
                let (head, body) = request.into_parts();
                let recorded = RecordedRequest {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    headers: head.headers,
                    body: to_bytes(body, usize::MAX).await.unwrap(),
                };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(recorded.clone());
                    log.len() - 1
                };
                let reply = answer(number, &recorded);
                tokio::time::sleep(reply.delay).await;
                reply.into_response()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
        Self { base_url, requests: seen }
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}
