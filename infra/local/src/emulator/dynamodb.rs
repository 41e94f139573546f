//! DynamoDB emulator (dynoxide): an HTTP server with DynamoDB's wire format, and direct calls that bypass HTTP.

use anyhow::Context;
use axum::body::Bytes;
use dynoxide::{Database, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use winterbaume_core::{MockRequest, MockResponse};

/// A database and its server, which is stopped on drop.
pub(super) struct DynamoDb {
    database: Database,
    server_url: String,
    server: JoinHandle<()>,
    http: reqwest::Client,
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl DynamoDb {
    pub(super) async fn start(database: Database) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let server_url = format!("http://{}/", listener.local_addr()?);
        Ok(Self {
            database: database.clone(),
            server_url,
            server: tokio::spawn(dynoxide::server::serve_on(listener, database)),
            // Plain HTTP needs no certificates, so the system's are not loaded.
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?,
        })
    }

    /// Handles a request of any client through the server, which also validates the request.
    pub(super) async fn handle(&self, request: MockRequest) -> MockResponse {
        let mut headers = request.headers;
        // These two describe the client's request; reqwest sets them for its own.
        headers.remove("host");
        headers.remove("content-length");
        let sent = self.http.post(&self.server_url).headers(headers).body(request.body).send().await;
        let response = async {
            let response = sent?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>(MockResponse { status, headers, body: response.bytes().await? })
        };
        // A 500, because the SDK retries it, as it retries a broken connection to AWS.
        response.await.unwrap_or_else(|_| MockResponse::json(500, r#"{"__type":"InternalServerError"}"#))
    }

    /// Handles a request of the SDK without the server. `None` if the operation is not one that the functions use, or if it
    /// fails; then nothing was applied, and the server must handle the request.
    pub(super) fn handle_directly(&self, operation: &str, body: &[u8]) -> Option<MockResponse> {
        let database = &self.database;
        match operation {
            "BatchGetItem" => call_if_ok(body, |request| database.batch_get_item(request)),
            "DeleteItem" => call_if_ok(body, |request| database.delete_item(request)),
            "GetItem" => call_if_ok(body, |request| database.get_item(request)),
            "PutItem" => call_if_ok(body, |request| database.put_item(request)),
            "Query" => call_if_ok(body, |request| database.query(request)),
            "Scan" => call_if_ok(body, |request| database.scan(request)),
            "TransactWriteItems" => call_if_ok(body, |request| database.transact_write_items(request)),
            "UpdateItem" => call_if_ok(body, |request| database.update_item(request)),
            _ => None,
        }
    }
}

fn call_if_ok<Request: DeserializeOwned, Response: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> Result<Response>,
) -> Option<MockResponse> {
    // An error is dropped: only the server can put it into the wire format.
    let response = operation(serde_json::from_slice(body).ok()?).ok()?;
    let body = Bytes::from(serde_json::to_vec(&response).ok()?);
    Some(MockResponse { status: 200, headers: Default::default(), body })
}
