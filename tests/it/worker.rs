//! The worker, from the queue to the effect, over the real adapters and the emulators.

mod alert_effects;
mod api_quota;
mod balance_response_variants;
mod batch_item_failures;
mod event_effects;
pub(crate) mod forged_webhooks;
mod large_batches;
mod late_requests;
mod lost_responses;
mod publication_counts;
mod replays;
mod requeue_backoff;
mod untracked_batches;
mod worker_fault_matrix;

use tests::{Item, text};

/// A row of the table `balances` as text: authorizer, balance, code and its meaning.
fn describe_row(item: &Item) -> String {
    // Either a number or an explicit null.
    let balance = &item["balance"];
    let balance = balance
        .as_n()
        .cloned()
        .unwrap_or_else(|_| balance.as_null().is_ok().then(|| "null".to_owned()).unwrap());
    format!("{} {balance} {} {}", text(item, "pk"), item["status_code"].as_n().unwrap(), text(item, "status"))
}
