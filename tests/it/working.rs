//! From the queue to the effect: the worker over the real adapters and the embedded engines.

mod alerts;
mod bounds;
mod forgeries;
mod forms;
mod late;
mod lost_answers;
mod matrix;
mod messages;
mod quota;
mod replays;
mod stories;
mod untracked;
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
