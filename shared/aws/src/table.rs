//! The table `inbox`, as requests to DynamoDB: typed keys, attributes and conditions go in, items come out.
//!
//! Which items there are is in [`crate::items`], who may write what when is in [`crate::stores`].

pub(crate) mod attribute;
mod delete;
pub(crate) mod expression;
pub(crate) mod key;
pub(crate) mod new_item;
mod scan;
mod transaction;
pub(crate) mod update;
pub(crate) mod value;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::{AwsError, AwsErrorKind};
use attribute::Attribute;
use expression::{Condition, Placeholders};
use key::Key;
use update::Update;
use value::{Item, read};

pub(crate) const GET: &str = "dynamodb:GetItem";
pub(crate) const PUT: &str = "dynamodb:PutItem";
pub(crate) const UPDATE: &str = "dynamodb:UpdateItem";
pub(crate) const DELETE: &str = "dynamodb:DeleteItem";
pub(crate) const QUERY: &str = "dynamodb:Query";
pub(crate) const BATCH_GET: &str = "dynamodb:BatchGetItem";
/// A transaction needs the permissions of the writes in it, and none for itself.
pub(crate) const TRANSACT: &str = "dynamodb:TransactWriteItems";

/// Most keys in one `BatchGetItem` (DynamoDB's own limit).
pub(crate) const BATCH_GET_KEYS_MAX: usize = 100;
/// Pauses before keys that DynamoDB left unprocessed are requested again.
const UNPROCESSED_KEYS_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), 4);

/// A client of the table `inbox`.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) db: Client,
    pub(crate) name: String,
    /// Days for which a finished record is kept.
    pub(crate) retention_days: u64,
}

/// Outcome of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The write was applied.
    Applied,
    /// Another writer was first; nothing was changed.
    Conflict,
}

/// Outcome of a conditional write, with the item that decided it.
pub(crate) enum Written {
    /// The write was applied.
    Applied,
    /// The condition did not hold. The item is as it was then; `None` if there is none, or the endpoint is too old to return it.
    ConditionFailed(Option<Item>),
}

impl Written {
    /// The outcome if a failed condition can also mean that this very request was applied, and its response lost:
    /// `is_own` recognises the item then.
    pub(crate) fn unless_own(self, is_own: impl FnOnce(&Item) -> bool) -> WriteOutcome {
        match self {
            Self::Applied => WriteOutcome::Applied,
            Self::ConditionFailed(existing) if existing.as_ref().is_some_and(is_own) => WriteOutcome::Applied,
            Self::ConditionFailed(_) => WriteOutcome::Conflict,
        }
    }
}

impl Table {
    /// Creates a client of this table. A finished record is kept for `retention_days`, at least thirty.
    pub fn new(db: Client, name: impl Into<String>, retention_days: u64) -> Self {
        Self { db, name: name.into(), retention_days }
    }

    /// Reads an item. Strongly consistent.
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Item>, AwsError> {
        let get =
            self.db.get_item().table_name(&self.name).set_key(Some(key.to_item())).consistent_read(true);
        get.send().await.map(|answer| answer.item).map_err(|error| AwsError::from_sdk_error(GET, &error))
    }

    /// Reads an item of one kind. Strongly consistent.
    ///
    /// # Errors
    ///
    /// Also if the item cannot be read by `from_item`.
    pub(crate) async fn get_as<T>(
        &self,
        key: &Key,
        from_item: impl FnOnce(&Item) -> Option<T>,
    ) -> Result<Option<T>, AwsError> {
        let item = self.get(key).await?;
        item.map(|item| from_item(&item).ok_or(AwsError::unreadable_item(GET))).transpose()
    }

    /// Reads at most [`BATCH_GET_KEYS_MAX`] items, in no order. Strongly consistent.
    pub(crate) async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, AwsError> {
        let mut backoff = UNPROCESSED_KEYS_BACKOFF;
        let mut remaining: Vec<_> = keys.iter().map(Key::to_item).collect();
        let mut found = Vec::new();
        while !remaining.is_empty() {
            let (items, unprocessed) = self.get_some(remaining).await?;
            found.extend(items);
            remaining = unprocessed;
            if !remaining.is_empty() && !backoff.pause().await {
                return Err(AwsError { action: BATCH_GET, kind: AwsErrorKind::UnreadableResponse });
            }
        }
        Ok(found)
    }

    /// Requests items once. Returns those that came, and the keys that DynamoDB left unprocessed.
    pub(crate) async fn get_some(&self, keys: Vec<Item>) -> Result<(Vec<Item>, Vec<Item>), AwsError> {
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .build()
            .map_err(|_| AwsError::unreadable_item(BATCH_GET))?;
        let read = self.db.batch_get_item().request_items(&self.name, request).send().await;
        let mut answer = read.map_err(|error| AwsError::from_sdk_error(BATCH_GET, &error))?;
        let items = answer.responses.take().and_then(|mut all| all.remove(&self.name)).unwrap_or_default();
        let unprocessed = answer.unprocessed_keys().and_then(|tables| tables.get(&self.name));
        Ok((items, unprocessed.map(|left| left.keys().to_vec()).unwrap_or_default()))
    }

    /// A query by this condition on the keys: of these attributes, or of all if none is named.
    pub(crate) fn query(&self, key_condition: &Condition, attributes: &[Attribute]) -> QueryFluentBuilder {
        let mut placeholders = Placeholders::default();
        let expression = placeholders.condition(key_condition);
        let names: Vec<_> = attributes.iter().map(|attribute| placeholders.name(*attribute)).collect();
        self.db
            .query()
            .table_name(&self.name)
            .key_condition_expression(expression)
            .set_projection_expression((!names.is_empty()).then(|| names.join(", ")))
            .set_expression_attribute_names(placeholders.take_names())
            .set_expression_attribute_values(placeholders.take_values())
    }

    /// Puts an item on a condition. If it does not hold, the existing item comes back.
    pub(crate) async fn put(&self, item: Item, condition: &Condition) -> Result<Written, AwsError> {
        let put = self.put_request(item, condition);
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        written(PUT, put.send().await.map(drop))
    }

    /// Puts an item on a condition, and does nothing if it does not hold. The existing item, which may be large, is not returned.
    pub(crate) async fn put_if(&self, item: Item, condition: &Condition) -> Result<(), AwsError> {
        written(PUT, self.put_request(item, condition).send().await.map(drop)).map(drop)
    }

    fn put_request(&self, item: Item, condition: &Condition) -> PutItemFluentBuilder {
        let mut placeholders = Placeholders::default();
        let expression = placeholders.condition(condition);
        self.db
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(expression)
            .set_expression_attribute_names(placeholders.take_names())
            .set_expression_attribute_values(placeholders.take_values())
    }

    /// Updates an item. If the condition does not hold, the existing item comes back. After an error the outcome is unknown, and
    /// after a failed condition, too, if the response of an applied attempt was lost: see [`Table::update_once`] and
    /// [`Written::unless_own`].
    pub(crate) async fn update(&self, update: Update) -> Result<Written, AwsError> {
        let request = self.update_request(update);
        let request =
            request.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        written(UPDATE, request.send().await.map(drop))
    }

    /// Updates an item, where it does not matter what the existing one is like. A repetition after a lost response is a conflict.
    pub(crate) async fn update_if(&self, update: Update) -> Result<WriteOutcome, AwsError> {
        let written = written(UPDATE, self.update_request(update).send().await.map(drop))?;
        Ok(written.unless_own(|_| false))
    }

    /// Updates an item, and returns it as it is afterwards.
    pub(crate) async fn update_returning(
        &self,
        update: Update,
    ) -> Result<Result<Item, Option<Item>>, AwsError> {
        let request = self
            .update_request(update)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(answer) => answer.attributes.map(Ok).ok_or(AwsError::unreadable_item(UPDATE)),
            Err(error) => match written(UPDATE, Err(error))? {
                Written::Applied => Err(AwsError::unreadable_item(UPDATE)),
                Written::ConditionFailed(existing) => Ok(Err(existing)),
            },
        }
    }

    /// Updates an item, and recognises an attempt of its own that was applied although its response was lost.
    pub(crate) async fn update_once(&self, update: Update) -> Result<WriteOutcome, AwsError> {
        // The SDK retries such a request, and by then the condition no longer holds.
        let id = Uuid::new_v4().simple().to_string();
        let update = update.set(Attribute::WriteId, id.as_str());
        let written = self.update(update).await?;
        Ok(written.unless_own(|item| read::<String>(item, Attribute::WriteId).is_some_and(|its| its == id)))
    }

    fn update_request(&self, mut update: Update) -> UpdateItemFluentBuilder {
        let condition = update.condition_expression();
        self.db
            .update_item()
            .table_name(&self.name)
            .set_key(Some(update.key.to_item()))
            .update_expression(update.update_expression())
            .set_condition_expression(condition)
            .set_expression_attribute_names(update.placeholders.take_names())
            .set_expression_attribute_values(update.placeholders.take_values())
    }
}

/// An error of a write that can have a condition.
trait ConditionalWriteError {
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

fn written<E, R>(action: &'static str, result: Result<(), SdkError<E, R>>) -> Result<Written, AwsError>
where
    E: ConditionalWriteError + ProvideErrorMetadata,
{
    let Err(error) = result else { return Ok(Written::Applied) };
    match error.as_service_error().and_then(E::condition_failure) {
        Some(failure) => Ok(Written::ConditionFailed(failure.item().cloned())),
        None => Err(AwsError::from_sdk_error(action, &error)),
    }
}
