//! The table `balances`: the checked balances of each authorizer.
//!
//! | attribute | holds |
//! |---|---|
//! | `pk` | the authorizer |
//! | `sk` | the time of the check, as milliseconds of fixed width, and the batch: a descending query begins with the latest |
//! | `balance` | the balance in dollars, exact; `NULL` if the check failed |
//! | `status_code`, `status` | Rightfoot's code, and its meaning |
//! | `batch_id`, `schedule_id` | where the balance comes from; `schedule_id` only if the batch is known to be a schedule's run |
//! | `expires_at` | the time, in seconds, from which DynamoDB may delete it; absent if it is kept for ever |
//!
//! The index `batch` has the partition key `batch_id`, the sort key `pk`, and all attributes: a query of it has the balances of a
//! batch. It is eventually consistent. [`crate::stores::StoredBalances`] reads both.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};

use inbox_core::effect::status_code_name;
use inbox_core::id::Id;
use inbox_core::limits::BALANCES_PER_WRITE;
use inbox_core::rightfoot_api::Balance;
use inbox_core::time::UnixMillis;

use crate::backoff::Backoff;
use crate::items::BalanceItem;
use crate::table::value::Item;
use crate::{AwsError, AwsErrorKind};

const WRITE: &str = "dynamodb:BatchWriteItem";
/// Retries of the unprocessed items of a call.
///
/// All balances of a batch are one partition of the index `batch`, which takes 1,000 writes a second. While it is busy, DynamoDB
/// leaves items unprocessed. These pauses last 1.55 s together, in which the partition takes 1,550 items. At the same time, the
/// worker has at most fifty calls of 25 items under way (by default five instances, ten messages each), so each of them gets its
/// turn, even if all are about one batch. A batch of 5,000 authorizers is 200 calls, one after another, each with its own pauses:
/// five seconds of the minute that the worker has for a message. If a call fails all the same, the message returns, and the next
/// attempt writes the same items again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), 5);

/// Writes the table `balances`.
#[derive(Clone, Debug)]
pub struct BalancesTable {
    db: Client,
    table: String,
    retention_days: u64,
}

/// The origin of a list of balances.
#[derive(Clone, Copy, Debug)]
pub struct BalanceSource<'a> {
    /// The batch.
    pub batch_id: &'a Id,
    /// The schedule that the batch is a run of, if that is known.
    pub schedule_id: Option<&'a Id>,
    /// Receipt of the batch's event: the time of rows that do not say when their check was made.
    pub received_at: UnixMillis,
}

impl BalancesTable {
    /// Creates a client of this table. Balances are kept for `retention_days` after their check; 0 keeps them
    /// for ever.
    pub fn new(db: Client, table: impl Into<String>, retention_days: u64) -> Self {
        Self { db, table: table.into(), retention_days }
    }

    /// Stores rows, at most one per authorizer. Storing the same rows again writes the same items.
    pub async fn store(&self, rows: &[Balance], source: &BalanceSource<'_>) -> Result<(), AwsError> {
        for chunk in rows.chunks(BALANCES_PER_WRITE) {
            let writes =
                chunk.iter().map(|row| self.put(self.to_item(row, source))).collect::<Result<_, _>>()?;
            self.write(writes).await?;
        }
        Ok(())
    }

    /// Writes items, and retries unprocessed ones with growing pauses.
    async fn write(&self, mut writes: Vec<WriteRequest>) -> Result<(), AwsError> {
        let mut backoff = BACKOFF;
        loop {
            let write = self.db.batch_write_item().request_items(&self.table, writes).send().await;
            let answer = write.map_err(|error| AwsError::from_sdk_error(WRITE, &error))?;
            writes = answer
                .unprocessed_items
                .and_then(|mut tables| tables.remove(&self.table))
                .unwrap_or_default();
            // DynamoDB answers 200 even if it left items unprocessed.
            if writes.is_empty() {
                return Ok(());
            }
            if !backoff.pause().await {
                return Err(AwsError {
                    action: WRITE,
                    kind: AwsErrorKind::Service("UnprocessedItems".to_owned()),
                });
            }
        }
    }

    fn put(&self, item: Item) -> Result<WriteRequest, AwsError> {
        let put = PutRequest::builder()
            .set_item(Some(item))
            .build()
            .map_err(|_| AwsError::unreadable_item(WRITE))?;
        Ok(WriteRequest::builder().put_request(put).build())
    }

    fn to_item(&self, row: &Balance, source: &BalanceSource<'_>) -> Item {
        // Not the present time: storing a row again must write the same item.
        let checked_at = row.checked_at.unwrap_or(source.received_at);
        let expires_at = checked_at.secs().plus_days(self.retention_days);
        let item = BalanceItem {
            authorizer: row.authorizer.clone(),
            batch_id: source.batch_id.clone(),
            schedule_id: source.schedule_id.cloned(),
            amount: row.amount,
            status_code: row.status_code,
            status: status_code_name(row.status_code).to_owned(),
            checked_at,
        };
        item.to_item((self.retention_days > 0).then_some(expires_at))
    }
}
