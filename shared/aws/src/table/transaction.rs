//! Transactions: several writes, all or none.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem, Update as UpdateRequest};

use super::expression::{Condition, Placeholders};
use super::update::Update;
use super::value::Item;
use super::{TRANSACT, Table, WriteOutcome};
use crate::backoff::Backoff;
use crate::{AwsError, AwsErrorKind};

/// Pauses before each retry of a transaction that conflicted with another one. The SDK does not retry these.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(40), 4);
const UNREADABLE_ITEM: AwsError = AwsError::unreadable_item(TRANSACT);

impl Table {
    /// Runs a transaction. After an error the outcome is unknown.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<WriteOutcome, AwsError> {
        let mut backoff = BACKOFF;
        loop {
            let request = self.db.transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = request.send().await else { return Ok(WriteOutcome::Applied) };
            let Some(codes) = cancellation_codes(error.as_service_error()) else {
                return Err(AwsError::from_sdk_error(TRANSACT, &error));
            };
            // A failed condition is final; other reasons, a conflict or throttling, may pass.
            if codes.iter().any(|code| code == "ConditionalCheckFailed") {
                return Ok(WriteOutcome::Conflict);
            }
            if !backoff.pause().await {
                // A write that did not cause the cancellation has the code `None`.
                let code = codes.into_iter().find(|code| code != "None").unwrap_or_default();
                return Err(AwsError { action: TRANSACT, kind: AwsErrorKind::Service(code) });
            }
        }
    }

    /// A put on a condition, as part of a transaction.
    pub(crate) fn transact_put(
        &self,
        item: Item,
        condition: &Condition,
    ) -> Result<TransactWriteItem, AwsError> {
        let mut placeholders = Placeholders::default();
        let expression = placeholders.condition(condition);
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(expression)
            .set_expression_attribute_names(placeholders.take_names())
            .set_expression_attribute_values(placeholders.take_values())
            .build()
            .map_err(|_| UNREADABLE_ITEM)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// An update, as part of a transaction.
    pub(crate) fn transact_update(&self, mut update: Update) -> Result<TransactWriteItem, AwsError> {
        let condition = update.condition_expression();
        let update = UpdateRequest::builder()
            .table_name(&self.name)
            .set_key(Some(update.key.to_item()))
            .update_expression(update.update_expression())
            .set_condition_expression(condition)
            .set_expression_attribute_names(update.placeholders.take_names())
            .set_expression_attribute_values(update.placeholders.take_values())
            .build()
            .map_err(|_| UNREADABLE_ITEM)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// The reason code of each write, if the transaction was cancelled.
fn cancellation_codes(error: Option<&TransactWriteItemsError>) -> Option<Vec<String>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error else { return None };
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    Some(cancelled.cancellation_reasons().iter().map(code).collect())
}
