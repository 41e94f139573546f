//! Several writes, all of them or none.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::TransactWriteItem;

use crate::{AwsError, AwsErrorKind};

/// It needs the permissions of the writes in it.
pub(super) const WRITE: &str = "dynamodb:TransactWriteItems";

/// Pauses before another attempt at a transaction that met another one. The SDK makes none itself.
const BACKOFF_MS: [u64; 4] = [40, 80, 160, 320];

/// What a transaction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionOutcome {
    /// All was written.
    Applied,
    /// A condition did not hold, and nothing was written.
    ConditionFailed,
}

/// Writes. On a fault the outcome is unknown.
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
        if codes.iter().any(|code| code == "ConditionalCheckFailed") {
            return Ok(TransactionOutcome::ConditionFailed);
        }
        let Some(pause_ms) = pauses.next() else {
            let code = codes.into_iter().find(|code| code != "None").unwrap_or_default();
            return Err(AwsError { action: WRITE, kind: AwsErrorKind::Service(code) });
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Why each write was not made, if the transaction was cancelled.
fn cancellation_codes(error: Option<&TransactWriteItemsError>) -> Option<Vec<String>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error else { return None };
    let code =
        |reason: &aws_sdk_dynamodb::types::CancellationReason| reason.code().unwrap_or("None").to_owned();
    Some(cancelled.cancellation_reasons().iter().map(code).collect())
}
