//! Transactions: several writes, all or none.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;

use crate::{AwsError, AwsErrorKind};

/// The name in errors. A transaction needs the permissions of the writes in it.
pub(super) const WRITE: &str = "dynamodb:TransactWriteItems";

/// Pauses before each retry of a transaction that conflicted with another one. The SDK does not retry these.
const BACKOFF_MS: [u64; 4] = [40, 80, 160, 320];

/// Outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionOutcome {
    /// All was written.
    Applied,
    /// A condition did not hold, and nothing was written.
    ConditionFailed,
}

/// Runs a transaction. After an error the outcome is unknown.
pub(super) async fn write(
    db: &Client,
    writes: Vec<TransactWriteItem>,
) -> Result<TransactionOutcome, AwsError> {
    let mut pauses = BACKOFF_MS.into_iter();
    loop {
        let error = match db.transact_write_items().set_transact_items(Some(writes.clone())).send().await {
            Ok(_) => return Ok(TransactionOutcome::Applied),
            Err(error) => error,
        };
        let Some(codes) = cancellation_codes(error.as_service_error()) else {
            return Err(AwsError::from_sdk_error(WRITE, &error));
        };
        // A failed condition is final; other reasons, a conflict or throttling, may pass.
        if codes.iter().any(|code| code == "ConditionalCheckFailed") {
            return Ok(TransactionOutcome::ConditionFailed);
        }
        let Some(pause_ms) = pauses.next() else {
            // A write that did not cause the cancellation has the code `None`.
            let code = codes.into_iter().find(|code| code != "None").unwrap_or_default();
            return Err(AwsError { action: WRITE, kind: AwsErrorKind::Service(code) });
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// The reason code of each write, if the transaction was cancelled.
fn cancellation_codes(error: Option<&TransactWriteItemsError>) -> Option<Vec<String>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error else { return None };
    let code =
        |reason: &aws_sdk_dynamodb::types::CancellationReason| reason.code().unwrap_or("None").to_owned();
    Some(cancelled.cancellation_reasons().iter().map(code).collect())
}
