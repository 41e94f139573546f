//! Submissions through `rightfoot-requests`: after any failure or crash, repeating the same request yields the same
//! batch or schedule, created once and tracked once.

mod caller_interleavings;
mod post_failures;
mod released_names;
mod schedule_submissions;
mod submission_fault_matrix;
mod submission_retries;
mod track_requests;

use inbox_aws::stores::WriteOutcome;
use inbox_core::audit::OperatorAction;
use local::stack::RIGHTFOOT_URL_KEY_SECRET;
use rightfoot_requests::RequestError;
use serde_json::Value;
use tests::operator::test_operator;
use tests::rightfoot_world::RightfootWorld;
use tests::{Item, World, text};

/// Outcome for the caller; `None` if the function died.
type RequestOutcome = Option<Result<Value, RequestError>>;

const BATCH_PATH: &str = "/v1/balance_requests";
const SCHEDULE_PATH: &str = "/v1/monitoring/scheduled_balance_request";
/// URL key with which every world begins.
const OLD_KEY: &str = "local-rightfoot-url-key";

/// Short name of an outcome, for tables.
fn outcome_name(outcome: &RequestOutcome) -> &'static str {
    match outcome {
        None => "died",
        Some(Ok(_)) => "done",
        Some(Err(error)) => error.name(),
    }
}

/// The error of an outcome. Panics if there is none.
fn expect_error(outcome: RequestOutcome) -> RequestError {
    match outcome {
        Some(Err(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

/// The answer of an outcome. Panics if there is none.
fn expect_answer(outcome: RequestOutcome) -> Value {
    match outcome {
        Some(Ok(answer)) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

/// The same request in different JSON: fields in another order, blanks between tokens, and needless escapes.
fn reworded(request: &Value) -> String {
    match request {
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| format!("{} :\t{}", escaped(name), reworded(value));
            format!("{{\n {} }}", fields.iter().rev().map(field).collect::<Vec<_>>().join(" ,\r\n"))
        }
        Value::Array(items) => {
            format!("[ {} ]", items.iter().map(reworded).collect::<Vec<_>>().join(" , "))
        }
        Value::String(text) => escaped(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => request.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

/// Number of POSTs to Rightfoot.
fn post_count(it: &RightfootWorld) -> usize {
    it.rightfoot.requests().iter().filter(|request| request.method == "POST").count()
}

/// The webhook URL that Rightfoot got. Panics unless all POSTs had the same bytes.
fn posted_url(it: &RightfootWorld) -> String {
    url_in(&it.rightfoot.post_bodies())
}

fn url_in(bodies: &[Vec<u8>]) -> String {
    assert!(bodies.iter().all(|body| *body == bodies[0]), "other bytes than the first time");
    let body: Value = serde_json::from_slice(&bodies[0]).unwrap();
    let url = body.get("webhook_url").or(body.get("webhook")).unwrap();
    url.as_str().unwrap().to_owned()
}

/// Token of a webhook URL.
fn token(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Replaces the secret with the URL key.
async fn rotate_url_key(world: &World, value: &str) {
    let put = world.stack.inspector.secrets.put_secret_value().secret_id(RIGHTFOOT_URL_KEY_SECRET);
    put.secret_string(value).send().await.unwrap();
}

/// Releases the name of a submission that created nothing, as an operator would.
async fn release_name(world: &World, submission_id: &str) {
    let stores = world.stores();
    let seen = stores.submissions.submission(&submission_id.parse().unwrap()).await.unwrap().unwrap();
    let by = test_operator().audit_entry(OperatorAction::Conclude, world.now());
    assert_eq!(stores.submissions.release_submission(&seen, &by).await, Ok(WriteOutcome::Applied));
}

/// Every tracked item, by its partition key.
async fn tracked_items(world: &World) -> Vec<Item> {
    let mut all: Vec<_> =
        world.items().await.into_iter().filter(|item| text(item, "sk") == "tracked").collect();
    all.sort_by_key(|item| text(item, "pk").to_owned());
    all
}

/// The item of a submission.
async fn submission_item(world: &World, submission_id: &str) -> Option<Item> {
    world.item(&format!("rightfoot#submission#{submission_id}"), "submitted").await
}

/// The attributes of a submission that describe its state.
fn state_attributes(submission: &Item) -> Vec<&'static str> {
    let names = ["done_at", "due", "expires_at", "abandoned_at", "declined_at", "webhook_url"];
    names.into_iter().filter(|name| submission.contains_key(*name)).collect()
}

/// State of a submission with a known outcome.
const COMPLETED: [&str; 2] = ["done_at", "expires_at"];
/// State of a submission with an unknown outcome.
const PENDING: [&str; 2] = ["due", "webhook_url"];
/// State of a submission that created nothing and whose name is free again.
const RELEASED: [&str; 2] = ["expires_at", "declined_at"];
