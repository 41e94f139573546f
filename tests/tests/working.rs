//! From the queue to the effect: the worker over the real adapters and the embedded engines.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test's own code: a surprise shall end the test"
)]

#[path = "working/alerts.rs"]
mod alerts;
#[path = "working/bounds.rs"]
mod bounds;
#[path = "polling/counters.rs"]
mod counters;
#[path = "working/forgeries.rs"]
mod forgeries;
#[path = "working/forms.rs"]
mod forms;
#[path = "working/late.rs"]
mod late;
#[path = "working/lost_answers.rs"]
mod lost_answers;
#[path = "working/matrix.rs"]
mod matrix;
#[path = "working/messages.rs"]
mod messages;
#[path = "working/quota.rs"]
mod quota;
#[path = "working/replays.rs"]
mod replays;
#[path = "working/stories.rs"]
mod stories;
#[path = "working/untracked.rs"]
mod untracked;
#[path = "working/waiting.rs"]
mod waiting;

use tests::{Item, text};

/// A row of the table `balances` in words: authorizer, balance, code and its meaning.
fn in_words(item: &Item) -> String {
    // A number, or null and nothing else.
    let balance = &item["balance"];
    let balance = balance
        .as_n()
        .cloned()
        .unwrap_or_else(|_| balance.as_null().is_ok().then(|| "null".to_owned()).unwrap());
    format!("{} {balance} {} {}", text(item, "pk"), item["status_code"].as_n().unwrap(), text(item, "status"))
}
