//! P8: nothing that is printed shows the key, an id, a URL or a body.

use std::error::Error;
use std::fmt::Debug;

use super::stub::{StubServer, reply};
use super::{KEY, client, config, id, key};
use crate::{ApiError, ClientConfig};

/// Every secret or personal text of these tests holds this word.
const CANARY: &str = "canary";

fn debug_hides(value: &impl Debug) {
    let shown = format!("{value:?} {value:#?}");
    assert!(!shown.contains(CANARY) && !shown.contains("127.0.0.1") && !shown.contains("1523"), "{shown}");
}

fn hides(error: &impl Error) {
    debug_hides(error);
    let shown = error.to_string();
    assert!(!shown.contains(CANARY) && !shown.contains("127.0.0.1") && !shown.contains("http://"), "{shown}");
    assert!(error.source().is_none(), "a source would be printed with it");
}

#[tokio::test]
async fn p8_answers_show_nothing_of_what_they_hold() {
    let batch = r#"{"batch_id":"canary","failed_authorizers":[{"authorizer_unique_id":"canary","error":"canary","account_type":"canary"}],"warnings":["canary"]}"#;
    let stub = StubServer::with([reply(201, batch)]).await;
    let submitted = client(&stub).submit_batch(&key(), "{}").await.unwrap();
    debug_hides(&submitted);
    debug_hides(&submitted.failed_authorizers);

    let stub = StubServer::with([reply(201, r#"{"schedule_id":"canary"}"#)]).await;
    debug_hides(&client(&stub).create_schedule(&key(), "{}").await.unwrap());

    let stub = StubServer::with([reply(
        200,
        r#"{"balances":[{"authorizer_unique_id":"canary","balance":1523.47}]}"#,
    )])
    .await;
    let balances = client(&stub).balances(&key(), &id("canary")).await.unwrap();
    assert_eq!(
        format!("{balances:?}"),
        "BatchBalances { rows: 1, reached_last_page: true, skipped: SkippedRows({}) }"
    );
    debug_hides(&balances);
    debug_hides(&balances.rows);
}

#[tokio::test]
async fn p8_errors_show_nothing_of_what_was_sent_or_received() {
    let body = r#"{"batch_id":{"canary":1},"error":{"message":"canary","details":{"failed_authorizers":[{"authorizer_unique_id":"canary","error":"canary"}]}}}"#;
    for status in [200, 201, 302, 400, 401, 403, 404, 409, 418, 429, 500, 503] {
        let stub =
            StubServer::with([reply(status, body).with("location", "/canary").with("retry-after", "60")])
                .await;
        hides(&client(&stub).submit_batch(&key(), r#"{"canary":1}"#).await.unwrap_err());
        hides(&client(&stub).create_schedule(&key(), r#"{"canary":1}"#).await.unwrap_err());
        hides(&client(&stub).balances(&key(), &id("canary")).await.unwrap_err());
        hides(&client(&stub).schedule(&key(), &id("canary")).await.unwrap_err());
    }
    // Nothing listens on this port: the underlying error names the URL.
    let nowhere = crate::RightfootClient::new(config("http://127.0.0.1:1/canary")).unwrap();
    let error = nowhere.balances(&key(), &id("canary")).await.unwrap_err();
    assert!(matches!(error, ApiError::Unavailable(_)));
    hides(&error);
}

#[test]
fn p8_the_client_its_key_and_its_configuration_show_nothing() {
    assert!(KEY.contains(CANARY));
    assert_eq!(format!("{:?}", key()), "ApiKey(..)");
    debug_hides(&key().bearer());
    let config = config("http://127.0.0.1:1/canary");
    debug_hides(&config);
    let api = crate::RightfootClient::new(config).unwrap();
    assert_eq!(format!("{api:?}"), "RightfootClient");
    hides(&ClientConfig::new("https://user:canary@127.0.0.1", None).unwrap_err());
    hides(&crate::ApiKey::new("canary canary").unwrap_err());
    hides(&crate::ClientBuildError);
}
