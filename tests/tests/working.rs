//! From the queue to the effect: the worker over the real adapters and the embedded engines.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's own code: a surprise shall end the test"
)]

#[path = "working/alerts.rs"]
mod alerts;
#[path = "working/bounds.rs"]
mod bounds;
#[path = "working/forgeries.rs"]
mod forgeries;
#[path = "working/messages.rs"]
mod messages;
#[path = "working/stories.rs"]
mod stories;
#[path = "working/waiting.rs"]
mod waiting;

use aws_sdk_dynamodb::types::AttributeValue;
use tests::{Item, text};

/// A row of the table `balances` in words: authorizer, balance, code and its meaning.
fn in_words(item: &Item) -> String {
    let balance = match &item["balance"] {
        AttributeValue::N(number) => number.clone(),
        AttributeValue::Null(true) => "null".to_owned(),
        other => panic!("{other:?}"),
    };
    format!("{} {balance} {} {}", text(item, "pk"), item["status_code"].as_n().unwrap(), text(item, "status"))
}
