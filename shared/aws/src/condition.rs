//! Writes that were refused because their condition did not hold.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use crate::item::Item;

/// The error of a write that can have a condition.
pub(crate) trait Conditional {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException>;
}

impl Conditional for PutItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        if let Self::ConditionalCheckFailedException(refusal) = self { Some(refusal) } else { None }
    }
}

impl Conditional for UpdateItemError {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
        if let Self::ConditionalCheckFailedException(refusal) = self { Some(refusal) } else { None }
    }
}

/// Whether it was the condition that did not hold.
pub(crate) fn refused<E: Conditional, R>(error: &SdkError<E, R>) -> bool {
    error.as_service_error().and_then(E::refusal).is_some()
}

/// The item that stood in the way, if one did and was asked for.
pub(crate) fn standing<E: Conditional, R>(error: &SdkError<E, R>) -> Option<&Item> {
    error.as_service_error()?.refusal()?.item()
}
