//! Tests against a stub of Fynapse's API, over real HTTP.

mod management;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use inbox_core::fynapse_api::credentials::ClientCredentials;
use inbox_core::fynapse_api::paging::PageRequest;
use inbox_core::id::Id;
use inbox_http_client::RESPONSE_MAX_BYTES;
use tokio::net::TcpListener;

use crate::{ApiError, ClientConfig, FynapseClient, FynapseSession, UnavailableReason};

/// The stub's answer to a request, by the number of requests of this kind before it.
type Answer = fn(usize) -> (u16, Vec<u8>);

#[derive(Clone)]
struct Stub {
    token_answer: Answer,
    list_answer: Answer,
    headers: &'static [(&'static str, &'static str)],
    /// The requests: bodies of the token endpoint, and queries with the token of the list.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    fn new(token_answer: Answer, list_answer: Answer) -> Self {
        Self { token_answer, list_answer, headers: &[], seen: Arc::default() }
    }

    fn count(&self, prefix: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|it| it.starts_with(prefix)).count()
    }

    fn record(&self, prefix: &str, text: &str) -> usize {
        let earlier = self.count(prefix);
        self.seen.lock().unwrap().push(format!("{prefix}{text}"));
        earlier
    }

    /// Serves the stub, and begins a session.
    async fn session(&self) -> FynapseSession {
        let routes = Router::new()
            .route("/auth/token", post(token))
            .route("/api/v1/event-deliveries/subscriptions/s-1/deliveries", get(list))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let mut config = ClientConfig::new(url, None).unwrap();
        config.backoff_base = Duration::from_millis(1);
        let credentials = ClientCredentials::parse(r#"{"client_id":"c 1","client_secret":"s&1"}"#).unwrap();
        FynapseClient::new(config).unwrap().session(credentials)
    }
}

async fn token(State(stub): State<Stub>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert!(!headers.contains_key("authorization"));
    let earlier = stub.record("token ", std::str::from_utf8(&body).unwrap());
    respond((stub.token_answer)(earlier), &[])
}

async fn list(State(stub): State<Stub>, request: Request) -> Response {
    let token = request.headers()["authorization"].to_str().unwrap().to_owned();
    let earlier = stub.record("list ", &format!("{} {token}", request.uri().query().unwrap_or("-")));
    respond((stub.list_answer)(earlier), stub.headers)
}

fn respond((status, body): (u16, Vec<u8>), headers: &[(&'static str, &'static str)]) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn new_token(number: usize) -> (u16, Vec<u8>) {
    let body = format!(
        r#"{{"access_token":"t-{number}","expires_in":3600,"token_type":"Bearer","refresh_token":"r"}}"#
    );
    (200, body.into_bytes())
}

fn empty_list(_: usize) -> (u16, Vec<u8>) {
    (200, b"[]".to_vec())
}

async fn deliveries(session: &FynapseSession) -> Result<Vec<u8>, ApiError> {
    session.deliveries(&Id::new("s-1").unwrap(), &PageRequest::FIRST).await
}

#[tokio::test]
async fn a_session_has_one_token_until_it_ends() {
    let stub = Stub::new(new_token, |list| if list == 2 { (401, Vec::new()) } else { empty_list(0) });
    let session = stub.session().await;
    for _ in 0..3 {
        assert_eq!(deliveries(&session).await, Ok(b"[]".to_vec()));
    }
    let form = "token grant_type=client_credentials&client_id=c%201&client_secret=s%261";
    let list = |token| format!("list page=0&limit=100 Bearer t-{token}");
    let expected = [form.to_owned(), list(0), list(0), list(0), form.to_owned(), list(1)];
    assert_eq!(*stub.seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn credentials_are_refused_by_the_token_endpoint_or_with_a_new_token() {
    let refused: [Answer; 3] = [|_| (400, Vec::new()), |_| (401, Vec::new()), |_| (403, Vec::new())];
    for answer in refused {
        let stub = Stub::new(answer, empty_list);
        assert_eq!(deliveries(&stub.session().await).await, Err(ApiError::CredentialsRefused));
        assert_eq!((stub.count("token "), stub.count("list ")), (1, 0));
    }
    let stub = Stub::new(new_token, |_| (401, Vec::new()));
    let session = stub.session().await;
    assert_eq!(deliveries(&session).await, Err(ApiError::CredentialsRefused));
    assert_eq!((stub.count("token "), stub.count("list ")), (1, 1));
    assert_eq!(deliveries(&session).await, Err(ApiError::CredentialsRefused));
    assert_eq!((stub.count("token "), stub.count("list ")), (2, 3), "once more with a new one");
}

#[tokio::test]
async fn what_may_pass_is_tried_three_times() {
    let stub = Stub::new(
        |token| if token < 2 { (503, Vec::new()) } else { new_token(token) },
        |list| if list < 2 { (429, Vec::new()) } else { empty_list(0) },
    );
    assert_eq!(deliveries(&stub.session().await).await, Ok(b"[]".to_vec()));
    assert_eq!((stub.count("token "), stub.count("list ")), (3, 3));
    let stub = Stub::new(new_token, |_| (500, Vec::new()));
    let error = ApiError::Unavailable(UnavailableReason::ServerError);
    assert_eq!(deliveries(&stub.session().await).await, Err(error));
    assert_eq!(stub.count("list "), 3);
    let stub = Stub { headers: &[("retry-after", "60")], ..Stub::new(new_token, |_| (429, Vec::new())) };
    assert_eq!(deliveries(&stub.session().await).await, Err(ApiError::RateLimited));
    assert_eq!(stub.count("list "), 1, "a longer pause is left to the next run");
}

#[tokio::test]
async fn what_is_final_is_named_and_not_repeated() {
    let answers: [(Answer, ApiError); 5] = [
        (|_| (403, Vec::new()), ApiError::Forbidden),
        (|_| (404, Vec::new()), ApiError::NotFound),
        (|_| (400, Vec::new()), ApiError::Declined(400)),
        (|_| (302, Vec::new()), ApiError::InvalidResponse("a redirect")),
        (|_| (200, vec![b' '; RESPONSE_MAX_BYTES + 1]), ApiError::InvalidResponse("too large")),
    ];
    for (answer, expected) in answers {
        let stub = Stub::new(new_token, answer);
        assert_eq!(deliveries(&stub.session().await).await, Err(expected));
        assert_eq!(stub.count("list "), 1);
    }
    let stub = Stub { headers: &[("content-encoding", "br")], ..Stub::new(new_token, empty_list) };
    let encoded = ApiError::InvalidResponse("content-encoding br, which was not asked for");
    assert_eq!(deliveries(&stub.session().await).await, Err(encoded));
    let tokens: [Answer; 3] = [
        |_| (200, b"{}".to_vec()),
        |_| (200, br#"{"access_token":""}"#.to_vec()),
        |_| (200, b"<html>".to_vec()),
    ];
    for token in tokens {
        let stub = Stub::new(token, empty_list);
        let no_token = ApiError::InvalidResponse("an answer without a token");
        assert_eq!(deliveries(&stub.session().await).await, Err(no_token));
    }
}

#[tokio::test]
async fn nothing_listens_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut config = ClientConfig::new(url, None).unwrap();
    config.backoff_base = Duration::from_millis(1);
    let credentials = ClientCredentials::parse(r#"{"client_id":"c","client_secret":"s"}"#).unwrap();
    let session = FynapseClient::new(config).unwrap().session(credentials);
    let error = ApiError::Unavailable(UnavailableReason::NotConnected);
    assert_eq!(deliveries(&session).await, Err(error));
}

#[tokio::test]
async fn p8_neither_an_error_nor_debug_output_shows_what_was_sent_or_received() {
    let stub = Stub::new(new_token, |_| (418, b"secret answer".to_vec()));
    let session = stub.session().await;
    let error = deliveries(&session).await.unwrap_err();
    let config = ClientConfig::new("https://instance.test", None).unwrap();
    let shown =
        format!("{error} {error:?} {session:?} {config:?} {:?}", FynapseClient::new(config.clone()).unwrap());
    for secret in ["c 1", "s&1", "t-0", "secret answer", "instance", "127.0.0.1", "s-1"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
