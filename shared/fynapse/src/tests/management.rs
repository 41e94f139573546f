//! The calls about secrets and subscriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use inbox_core::fynapse_api::credentials::ClientCredentials;
use inbox_core::id::Id;
use tokio::net::TcpListener;

use crate::{ApiError, ClientConfig, FynapseClient, FynapseSession, NewSubscription, UnavailableReason};

/// A session at a stub that answers `calls` in this order, and demands a token.
async fn session(calls: &'static [(&'static str, u16, &'static str)]) -> (FynapseSession, Arc<AtomicUsize>) {
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let counter = counter.clone();
        async move {
            if uri.path() == "/auth/token" {
                return (StatusCode::OK, r#"{"access_token":"t-0"}"#);
            }
            assert_eq!(headers["authorization"], "Bearer t-0");
            let (expected, status, answer) = calls[counter.fetch_add(1, Ordering::SeqCst)];
            let body = std::str::from_utf8(&body).unwrap();
            assert_eq!(format!("{method} {uri} {body}").trim_end(), expected);
            (StatusCode::from_u16(status).unwrap(), answer)
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    let mut config = ClientConfig::new(url, None).unwrap();
    config.backoff_base = Duration::from_millis(1);
    let credentials = ClientCredentials::parse(r#"{"client_id":"c","client_secret":"s"}"#).unwrap();
    (FynapseClient::new(config).unwrap().session(credentials), done)
}

#[tokio::test]
async fn secrets_are_listed_made_read_and_rotated() {
    let (session, done) = session(&[
        ("GET /api/v1/event-deliveries/secrets", 200, r#"{"data":[{"id":"s/1","name":"n","value":null}]}"#),
        (r#"POST /api/v1/event-deliveries/secrets {"name":"n"}"#, 201, r#"{"id":"s/1","value":"v-1"}"#),
        ("GET /api/v1/event-deliveries/secrets/s%2F1", 200, r#"{"value":"v-2"}"#),
        ("POST /api/v1/event-deliveries/secrets/s%2F1/rotate {}", 200, r#"{"value":"v-3"}"#),
    ])
    .await;
    let listed = session.secrets().await.unwrap();
    let id = listed[0].id.clone();
    assert_eq!((id.as_str(), listed[0].name.as_str(), listed.len()), ("s/1", "n", 1));
    assert_eq!(session.create_secret("n").await.unwrap().expose(), "v-1");
    assert_eq!(session.secret_value(&id).await.unwrap().expose(), "v-2");
    assert_eq!(session.rotate_secret(&id).await.unwrap().expose(), "v-3");
    assert_eq!(done.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_subscription_names_its_secret_and_its_types_of_events() {
    const EXPECTED: &str = concat!(
        r#"POST /api/v1/event-deliveries/subscriptions {"name":"n","endpointUrl":"https://inbox.test/webhooks/fynapse","#,
        r#""secretRef":"s","eventTypes":["balance.extracted"]}"#
    );
    let new = NewSubscription {
        name: "n",
        endpoint_url: "https://inbox.test/webhooks/fynapse",
        secret_ref: "s",
        event_types: &["balance.extracted"],
    };
    let (session, _) = session(&[(EXPECTED, 201, r#"{"id":7,"name":"n"}"#), (EXPECTED, 200, "")]).await;
    let made = session.create_subscription(&new).await.unwrap().unwrap();
    assert_eq!(made.id.as_str(), "7");
    assert_eq!(session.create_subscription(&new).await, Ok(None));
}

#[tokio::test]
async fn what_changes_something_is_sent_once() {
    let (session, done) = session(&[
        (r#"POST /api/v1/event-deliveries/secrets {"name":"n"}"#, 503, ""),
        (r#"POST /api/v1/event-deliveries/secrets {"name":"n"}"#, 409, ""),
        (r#"POST /api/v1/event-deliveries/secrets {"name":"n"}"#, 200, r#"{"id":"1"}"#),
        ("GET /api/v1/event-deliveries/secrets", 200, "<html>"),
    ])
    .await;
    let unavailable = ApiError::Unavailable(UnavailableReason::ServerError);
    assert_eq!(session.create_secret("n").await, Err(unavailable));
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(session.create_secret("n").await, Err(ApiError::Declined(409)));
    let no_value = ApiError::InvalidResponse("an answer without the secret's value");
    assert_eq!(session.create_secret("n").await, Err(no_value));
    assert_eq!(session.secrets().await, Err(ApiError::InvalidResponse("a list that is not JSON")));
    assert_eq!(
        session.rotate_secret(&Id::new("..").unwrap()).await,
        Err(ApiError::InvalidResponse("an id that is not a valid path segment"))
    );
    assert_eq!(done.load(Ordering::SeqCst), 4);
}
