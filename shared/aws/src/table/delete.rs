//! Deletes of items. Only operators delete; everything else expires.

use super::attribute::Attribute;
use super::expression::{Condition, Placeholders};
use super::key::Key;
use super::{DELETE, Table, WriteOutcome};
use crate::AwsError;

impl Table {
    /// Deletes an item on a condition. An item that is not there meets it: another attempt may have deleted it.
    pub(crate) async fn delete_if(&self, key: &Key, condition: Condition) -> Result<WriteOutcome, AwsError> {
        let mut placeholders = Placeholders::default();
        let expression = placeholders.condition(&Attribute::Pk.is_missing().or(condition));
        let delete = self
            .db
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key.to_item()))
            .condition_expression(expression)
            .set_expression_attribute_names(placeholders.take_names())
            .set_expression_attribute_values(placeholders.take_values());
        match delete.send().await {
            Ok(_) => Ok(WriteOutcome::Applied),
            Err(error)
                if error.as_service_error().is_some_and(|it| it.is_conditional_check_failed_exception()) =>
            {
                Ok(WriteOutcome::Conflict)
            }
            Err(error) => Err(AwsError::from_sdk_error(DELETE, &error)),
        }
    }
}
