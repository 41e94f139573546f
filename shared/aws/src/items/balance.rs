//! Stored balances, the items of the table `balances`: one for each check of an authorizer.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;

use inbox_core::id::Id;
use inbox_core::rightfoot_api::Amount;
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{Item, ToAttribute, read};

/// The balance, or `NULL`.
const BALANCE: &str = "balance";
/// Rightfoot's number for the result of the check.
const STATUS_CODE: &str = "status_code";
/// Its meaning.
const STATUS: &str = "status";

/// The balance of an authorizer in a batch.
#[derive(Clone, PartialEq, Eq)]
pub struct BalanceItem {
    /// The authorizer whose balance it is.
    pub authorizer: Id,
    /// The batch that checked it.
    pub batch_id: Id,
    /// The schedule that the batch is a run of, if that was known.
    pub schedule_id: Option<Id>,
    /// The balance in dollars; `None` if the check failed.
    pub amount: Option<Amount>,
    /// Rightfoot's code; 0 for success.
    pub status_code: i64,
    /// The meaning of the code.
    pub status: String,
    /// Time of the check.
    pub checked_at: UnixMillis,
}

/// Leaves out authorizer and amount: personal data (P8).
impl fmt::Debug for BalanceItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BalanceItem(status {})", self.status_code)
    }
}

impl BalanceItem {
    /// The item as it is stored, with the time from which DynamoDB may delete it.
    pub(crate) fn to_item(&self, expires_at: Option<UnixSecs>) -> Item {
        let number = |value: String| AttributeValue::N(value);
        let balance = self.amount.map_or(AttributeValue::Null(true), |amount| number(amount.to_string()));
        let mut item = self.key().to_item();
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set(BALANCE, balance);
        set(STATUS_CODE, number(self.status_code.to_string()));
        set(STATUS, self.status.as_str().to_attribute());
        set(Attribute::BatchId.name(), self.batch_id.to_attribute());
        if let Some(schedule_id) = &self.schedule_id {
            set(Attribute::ScheduleId.name(), schedule_id.to_attribute());
        }
        if let Some(expires_at) = expires_at {
            set(Attribute::ExpiresAt.name(), expires_at.to_attribute());
        }
        item
    }

    /// Reads a balance; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let key = Key::of_item(item)?;
        let balance = item.get(BALANCE)?;
        let amount = if balance.is_null() { None } else { Some(balance.as_n().ok()?.parse().ok()?) };
        Some(Self {
            authorizer: Id::new(key.pk)?,
            batch_id: read(item, Attribute::BatchId)?,
            schedule_id: read(item, Attribute::ScheduleId),
            amount,
            status_code: item.get(STATUS_CODE)?.as_n().ok()?.parse().ok()?,
            status: item.get(STATUS)?.as_s().ok()?.clone(),
            checked_at: UnixMillis(key.sk.split_once('#')?.0.parse().ok()?),
        })
    }

    /// Its key. The digits of the time have a fixed width, so the keys of an authorizer sort by time.
    pub(crate) fn key(&self) -> Key {
        // A negative number would not sort as text.
        let sk = format!("{:015}#{}", self.checked_at.0.max(0), self.batch_id.as_str());
        Key::new(self.authorizer.as_str(), sk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inbox_core::limits::ID_MAX_BYTES;

    fn checked_at(at: i64, batch_id: &str) -> BalanceItem {
        BalanceItem {
            authorizer: Id::new("jane").unwrap(),
            batch_id: Id::new(batch_id).unwrap(),
            schedule_id: None,
            amount: Some("-150.50".parse().unwrap()),
            status_code: 0,
            status: "success".to_owned(),
            checked_at: UnixMillis(at),
        }
    }

    #[test]
    fn sort_keys_order_by_time_and_fit_into_the_size_limit() {
        let sort_key = |at, batch_id: &str| checked_at(at, batch_id).key().sk;
        assert_eq!(sort_key(1_795_356_000_123, "b"), "001795356000123#b");
        assert!(sort_key(999, "b") < sort_key(1_000, "b"));
        assert_eq!(sort_key(-5, "b"), "000000000000000#b");
        assert!(sort_key(0, &"x".repeat(ID_MAX_BYTES)).len() <= 1_024);
    }

    #[test]
    fn a_balance_is_read_as_it_was_stored() {
        let balance = checked_at(5, "a#b");
        let failed = BalanceItem {
            amount: None,
            status_code: 3_300,
            status: "institution_not_supported".to_owned(),
            schedule_id: Id::new("s-1"),
            ..balance.clone()
        };
        for item in [balance, failed] {
            assert_eq!(BalanceItem::from_item(&item.to_item(Some(UnixSecs(9)))), Some(item));
        }
    }

    #[test]
    fn what_is_no_balance_is_never_read_as_a_failed_check() {
        let stored = checked_at(5, "b").to_item(None);
        for name in ["pk", "sk", BALANCE, STATUS_CODE, STATUS, "batch_id"] {
            let mut item = stored.clone();
            item.remove(name);
            assert_eq!(BalanceItem::from_item(&item), None, "without {name}");
        }
        let mut odd = stored.clone();
        odd.insert(BALANCE.to_owned(), AttributeValue::S("150".to_owned()));
        assert_eq!(BalanceItem::from_item(&odd), None);
    }

    #[test]
    fn p8_debug_shows_neither_authorizer_nor_balance() {
        assert_eq!(format!("{:?}", checked_at(5, "b")), "BalanceItem(status 0)");
    }
}
