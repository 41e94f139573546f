//! Reads of the table `balances` for an operator: the balances of a batch, and the checks of an authorizer.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;

use inbox_core::id::Id;
use inbox_core::limits::{RETENTION_MIN_DAYS, SELECTED_BATCHES_MAX};

use super::list_cursor::ListCursor;
use super::list_page::{ExaminedPart, ListPage, PageStart};
use super::selected_batches::SelectedBatches;
use crate::AwsError;
use crate::items::BalanceItem;
use crate::table::attribute::Attribute;
use crate::table::expression::Condition;
use crate::table::key::Key;
use crate::table::value::{Item, ToAttribute};
use crate::table::{QUERY, Table};

/// The index of the table by batch.
const BATCH_INDEX: &str = "batch";

/// Reads stored balances, with the operator's own credentials.
#[derive(Clone, Debug)]
pub struct StoredBalances {
    table: Table,
}

/// A list of balances: the checks of one batch, or of one authorizer.
enum BalanceList<'a> {
    /// Read from the index, by authorizer.
    OfBatch(&'a Id),
    /// Read from the table, the newest first.
    OfAuthorizer(&'a Id),
}

impl StoredBalances {
    /// Creates a reader of this table.
    pub fn new(db: Client, table: impl Into<String>) -> Self {
        // Nothing is written, so the retention is of no account.
        Self { table: Table::new(db, table, RETENTION_MIN_DAYS) }
    }

    /// Lists the balances of a batch, in the order of their authorizers: an "older" page has the next authorizers. One query of the
    /// index, which is eventually consistent.
    pub async fn list_of_batch(
        &self,
        batch_id: &Id,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<BalanceItem>, AwsError> {
        self.page(&BalanceList::OfBatch(batch_id), start, limit).await
    }

    /// Lists the checks of an authorizer, the newest first. One strongly consistent query.
    pub async fn list_of_authorizer(
        &self,
        authorizer: &Id,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<BalanceItem>, AwsError> {
        self.page(&BalanceList::OfAuthorizer(authorizer), start, limit).await
    }

    /// Finds the batches of the newest checks of an authorizer, [`SELECTED_BATCHES_MAX`] at most. One strongly consistent query.
    pub async fn batches_of(&self, authorizer: &Id) -> Result<SelectedBatches, AwsError> {
        let page = self.list_of_authorizer(authorizer, &PageStart::Newest, SELECTED_BATCHES_MAX).await?;
        let mut seen = BTreeSet::new();
        let ids = page.items.into_iter().map(|check| check.batch_id);
        Ok(SelectedBatches {
            ids: ids.filter(|id| seen.insert(id.clone())).collect(),
            is_truncated: page.older.is_some(),
        })
    }

    async fn page(
        &self,
        list: &BalanceList<'_>,
        start: &PageStart,
        limit: usize,
    ) -> Result<ListPage<BalanceItem>, AwsError> {
        // One more than the page has shows whether there is another page.
        let wanted = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
        let query = self
            .table
            .query(&list.condition(), &[])
            .set_index_name(list.index().map(str::to_owned))
            .consistent_read(list.index().is_none())
            .scan_index_forward(list.is_ascending() != start.is_read_backwards())
            .limit(wanted)
            .set_exclusive_start_key(start.cursor().and_then(|cursor| list.start_key(cursor)));
        let answer = query.send().await.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
        // An item that cannot be read is an error: a balance that is left out would look like one that is not there.
        let items: Option<Vec<_>> = answer.items().iter().map(BalanceItem::from_item).collect();
        let mut items = items.ok_or(AwsError::unreadable_item(QUERY))?;
        let has_more = items.len() > limit || answer.last_evaluated_key.is_some();
        items.truncate(limit);
        let examined = ExaminedPart {
            first: items.first().map(place),
            last: items.last().map(place),
            count: items.len(),
            has_more,
        };
        Ok(ListPage::new(start, items, examined))
    }
}

fn place(balance: &BalanceItem) -> ListCursor {
    let Key { pk, sk } = balance.key();
    ListCursor { at: balance.checked_at, pk, sk }
}

impl BalanceList<'_> {
    fn condition(&self) -> Condition {
        match self {
            Self::OfBatch(batch_id) => Attribute::BatchId.equals(*batch_id),
            Self::OfAuthorizer(authorizer) => Attribute::Pk.equals(*authorizer),
        }
    }

    const fn index(&self) -> Option<&'static str> {
        match self {
            Self::OfBatch(_) => Some(BATCH_INDEX),
            Self::OfAuthorizer(_) => None,
        }
    }

    const fn is_ascending(&self) -> bool {
        matches!(self, Self::OfBatch(_))
    }

    /// The key behind which a page begins; `None` if the cursor is of no balance.
    fn start_key(&self, cursor: &ListCursor) -> Option<Item> {
        // A cursor comes from outside. DynamoDB refuses empty keys, and a partition other than the query's.
        if cursor.pk.is_empty() || cursor.sk.is_empty() {
            return None;
        }
        Some(match self {
            Self::OfAuthorizer(authorizer) => Key::new(authorizer.as_str(), &cursor.sk).to_item(),
            Self::OfBatch(batch_id) => {
                let mut key = cursor.key().to_item();
                key.insert(Attribute::BatchId.name().to_owned(), batch_id.to_attribute());
                key
            }
        })
    }
}
