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

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};

use inbox_core::effect::status_code_name;
use inbox_core::id::Id;
use inbox_core::limits::BALANCES_PER_WRITE;
use inbox_core::rightfoot_api::Balance;
use inbox_core::time::UnixMillis;

use crate::backoff::Backoff;
use crate::table::value::Item;
use crate::{AwsError, AwsErrorKind};

const WRITE: &str = "dynamodb:BatchWriteItem";
/// Retries of the unprocessed items of a call.
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
        let mut item = Item::from([
            ("pk".to_owned(), text(row.authorizer.as_str())),
            ("sk".to_owned(), text(sort_key(checked_at, source.batch_id))),
        ]);
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set("balance", row.amount.map_or(AttributeValue::Null(true), number));
        set("status_code", number(row.status_code));
        set("status", text(status_code_name(row.status_code)));
        set("batch_id", text(source.batch_id.as_str()));
        if let Some(schedule_id) = source.schedule_id {
            set("schedule_id", text(schedule_id.as_str()));
        }
        if self.retention_days > 0 {
            set("expires_at", number(checked_at.secs().plus_days(self.retention_days).0));
        }
        item
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The sort key of a check. Its digits have a fixed width, so keys sort by time.
fn sort_key(checked_at: UnixMillis, batch_id: &Id) -> String {
    // A negative number would not sort as text.
    format!("{:015}#{}", checked_at.0.max(0), batch_id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use inbox_core::limits::ID_MAX_BYTES;

    #[test]
    fn sort_keys_order_by_time_and_fit_into_the_size_limit() {
        let batch_id = Id::new("b").unwrap();
        assert_eq!(sort_key(UnixMillis(1_795_356_000_123), &batch_id), "001795356000123#b");
        assert!(sort_key(UnixMillis(999), &batch_id) < sort_key(UnixMillis(1_000), &batch_id));
        assert_eq!(sort_key(UnixMillis(-5), &batch_id), "000000000000000#b");
        let longest = Id::new("x".repeat(ID_MAX_BYTES)).unwrap();
        assert!(sort_key(UnixMillis(0), &longest).len() <= 1_024);
    }
}
