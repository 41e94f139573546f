//! Embedded DynamoDB: a server that speaks its wire format, and a short cut past the server's HTTP.

use anyhow::Context;
use axum::body::Bytes;
use dynoxide::{Database, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use winterbaume_core::{MockRequest, MockResponse};

/// A database and the server in front of it, which ends when this is dropped.
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
            // Over plain HTTP: the system's certificates are not read.
            http: reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?,
        })
    }

    /// Answers a request of any client: the server checks what a well-made client never gets wrong.
    pub(super) async fn handle(&self, request: MockRequest) -> MockResponse {
        let mut headers = request.headers;
        headers.remove("host");
        headers.remove("content-length");
        let sent = self.http.post(&self.server_url).headers(headers).body(request.body).send().await;
        let answer = async {
            let answer = sent?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            Ok::<_, reqwest::Error>(MockResponse { status, headers, body: answer.bytes().await? })
        };
        answer.await.unwrap_or_else(|_| MockResponse::json(500, r#"{"__type":"InternalServerError"}"#))
    }

    /// Answers a request of the SDK's without the server, if it is one of those that a running system makes and it succeeds.
    ///
    /// HTTP is a third of what a call costs in an unoptimised build. Nothing was done where this returns `None`, and the
    /// server, which alone can put an error into the wire format, then answers.
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

fn call_if_ok<Request: DeserializeOwned, Answer: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> Result<Answer>,
) -> Option<MockResponse> {
    let answer = operation(serde_json::from_slice(body).ok()?).ok()?;
    let body = Bytes::from(serde_json::to_vec(&answer).ok()?);
    Some(MockResponse { status: 200, headers: Default::default(), body })
}
