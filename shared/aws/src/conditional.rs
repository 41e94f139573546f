//! Conditional writes to DynamoDB, and their failed conditions.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use uuid::Uuid;

use crate::AwsError;
use crate::inbox::WriteOutcome;
use crate::item::{self, Item, text};

/// An error of a write that can have a condition.
pub(crate) trait ConditionalWriteError {
    fn condition_failure(&self) -> Option<&ConditionalCheckFailedException>;
}

impl ConditionalWriteError for PutItemError {
    fn condition_failure(&self) -> Option<&ConditionalCheckFailedException> {
        if let Self::ConditionalCheckFailedException(failure) = self { Some(failure) } else { None }
    }
}

impl ConditionalWriteError for UpdateItemError {
    fn condition_failure(&self) -> Option<&ConditionalCheckFailedException> {
        if let Self::ConditionalCheckFailedException(failure) = self { Some(failure) } else { None }
    }
}

/// Returns `true` if the write failed because its condition did not hold.
pub(crate) fn condition_failed<E: ConditionalWriteError, R>(error: &SdkError<E, R>) -> bool {
    error.as_service_error().and_then(E::condition_failure).is_some()
}

/// The item that made the condition fail, if there is one and the request asked for it.
pub(crate) fn existing_item<E: ConditionalWriteError, R>(error: &SdkError<E, R>) -> Option<&Item> {
    error.as_service_error()?.condition_failure()?.item()
}

/// Updates an item on a condition. `set` is the update expression without its first word, `SET`.
pub(crate) async fn update(update: UpdateItemFluentBuilder, set: &str) -> Result<WriteOutcome, AwsError> {
    // The SDK retries a request whose response is lost, and by then the condition no longer holds. If the
    // item has this id, the update was applied all the same.
    let id = Uuid::new_v4().simple().to_string();
    let update = update
        .update_expression(format!("SET write_id = :write_id, {set}"))
        .expression_attribute_values(":write_id", text(&id))
        .return_values_on_condition_check_failure(AllOld);
    match update.send().await {
        Ok(_) => Ok(WriteOutcome::Applied),
        Err(error) if condition_failed(&error) => {
            let is_ours = existing_item(&error).is_some_and(|it| item::string(it, "write_id") == Some(&id));
            Ok(if is_ours { WriteOutcome::Applied } else { WriteOutcome::Conflict })
        }
        Err(error) => Err(AwsError::from_sdk_error("dynamodb:UpdateItem", &error)),
    }
}
