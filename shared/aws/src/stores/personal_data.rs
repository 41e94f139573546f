//! What is stored of a person: found by a scan of the whole table `inbox` and a query of the table `balances`, and erased.
//!
//! ```text
//!  item      payload out, payload_erased_at, parts_to_delete if rev=seen and over ── delete parts ── parts_to_delete gone
//!  document  without the person, parts_to_delete           if rev=seen             ── delete parts ── parts_to_delete gone
//!  alert     put effect#erased#<hash> ── delete effect#alert#<id> if not claimed
//!  balance   delete
//! ```
//!
//! No index leads from a person to the items that hold the id, because most of them hold it inside a payload. Each write names what
//! was read. After a crash, the same erasure completes what is left: an item names its parts until they are deleted.
//!
//! What is still at work is left, and reported: its payload is needed, or the poller would find the same again.

mod erase;
mod parts;
mod search;

use std::fmt;

use aws_sdk_dynamodb::Client;
use strum::IntoStaticStr;

use inbox_core::audit::{AuditEntry, AuditSubject};
use inbox_core::id::Id;
use inbox_core::limits::RETENTION_MIN_DAYS;
use inbox_core::time::UnixMillis;

use crate::AwsError;
use crate::items::BalanceItem;
use crate::table::key::Key;
use crate::table::{QUERY, Table};
use crate::table::{attribute::Attribute, value::Item};
use parts::StoredParts;
use search::Search;

/// Finds and erases what is stored of a person, with the operator's own credentials.
#[derive(Clone, Debug)]
pub struct PersonalData {
    inbox: Table,
    balances: Table,
}

/// The kinds of items that hold a person's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PersonalDataKind {
    /// A stored balance.
    Balance,
    /// An alert of the person that was published or claimed.
    AlertEffect,
    /// The payload of an event.
    EventPayload,
    /// The bytes of a quarantined delivery.
    QuarantinedBytes,
    /// The authorizers of a batch that Rightfoot did not accept.
    ExcludedAuthorizers,
    /// The thresholds or probes of a schedule.
    Schedule,
    /// The answer to a submission.
    SubmissionAnswer,
    /// A part of a payload that no item names: its event was a duplicate.
    OrphanedPart,
    /// Parts that an interrupted erasure has left, of this person or another one.
    InterruptedErasure,
    /// The reason in an audit entry.
    AuditReason,
    /// The name of an item: somebody has used the person's id for something else.
    ItemName,
}

/// Why an item is not erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum WhyLeft {
    /// Its event is not over.
    InProgress,
    /// Its batch is still polled.
    BatchTracked,
    /// The person is the only probe of a schedule that is still polled.
    OnlyProbe,
    /// It may still be named by an item that is being written.
    TooYoung,
    /// It was changed at the same time.
    Changed,
    /// It is part of the audit trail.
    AuditTrail,
    /// It names the item.
    Name,
    /// This version cannot read the item.
    Unreadable,
}

impl PersonalDataKind {
    /// The name shown to operators.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl WhyLeft {
    /// The name shown to operators.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An item that holds a person's id.
#[derive(Clone, PartialEq, Eq)]
pub struct FoundItem {
    /// Its kind.
    pub kind: PersonalDataKind,
    /// Why it cannot be erased, as far as that is known before it is tried.
    pub left: Option<WhyLeft>,
    /// The balance, if it is one that can be read.
    pub balance: Option<BalanceItem>,
    key: Key,
}

/// Shows no key: it may hold the id of the person (P8).
impl fmt::Debug for FoundItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FoundItem({}, left: {:?})", self.kind.as_str(), self.left)
    }
}

impl FoundItem {
    fn new(kind: PersonalDataKind, key: &Key, left: Option<WhyLeft>) -> Self {
        Self { kind, left, balance: None, key: key.clone() }
    }

    /// Its partition key.
    pub fn pk(&self) -> &str {
        &self.key.pk
    }

    /// Its sort key.
    pub fn sk(&self) -> &str {
        &self.key.sk
    }
}

/// Everything that was found of a person.
#[derive(Debug)]
pub struct FoundPersonalData {
    /// The items, by kind.
    pub items: Vec<FoundItem>,
    /// Number of items of the table `inbox` that were examined.
    pub examined: u64,
    /// Number of payloads whose parts are gone or damaged, so that they could not be searched.
    pub unsearchable_payloads: usize,
    parts: StoredParts,
}

/// Outcome of erasing one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// It does not hold the person's id any more.
    Erased,
    /// It is left as it was.
    Left(WhyLeft),
}

impl PersonalData {
    /// Creates the store. `retention_days` is that of the table `inbox`.
    pub fn new(
        db: Client,
        inbox: impl Into<String>,
        balances: impl Into<String>,
        retention_days: u64,
    ) -> Self {
        Self {
            inbox: Table::new(db.clone(), inbox, retention_days),
            // Nothing is written to it that has an expiry.
            balances: Table::new(db, balances, RETENTION_MIN_DAYS),
        }
    }

    /// The size of the table `inbox`, of which a search reads every byte. DynamoDB updates it every six hours.
    pub async fn inbox_bytes(&self) -> Result<u64, AwsError> {
        let described = self.inbox.db.describe_table().table_name(&self.inbox.name).send().await;
        let described =
            described.map_err(|error| AwsError::from_sdk_error("dynamodb:DescribeTable", &error))?;
        let bytes = described.table.and_then(|table| table.table_size_bytes).unwrap_or_default();
        Ok(u64::try_from(bytes).unwrap_or_default())
    }

    /// Finds all items of the table `inbox` that hold the id of a person. `on_page` is called with the number of items examined so
    /// far.
    pub async fn find_in_inbox(
        &self,
        person: &Id,
        now: UnixMillis,
        mut on_page: impl FnMut(u64),
    ) -> Result<FoundPersonalData, AwsError> {
        let mut search = Search::new(person, self.inbox.retention_days, now);
        let mut start = None;
        loop {
            let (items, next) = self.inbox.scan_page(start).await?;
            items.iter().for_each(|item| search.add(item));
            on_page(search.examined());
            start = next;
            if start.is_none() {
                break;
            }
        }
        let unsearchable_payloads = search.search_parts(&self.inbox).await?;
        let (mut items, examined, parts) = search.finish();
        items.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
        Ok(FoundPersonalData { items, examined, unsearchable_payloads, parts })
    }

    /// Adds the balances of the person.
    pub async fn add_balances(&self, person: &Id, found: &mut FoundPersonalData) -> Result<(), AwsError> {
        let query = self.balances.query(&Attribute::Pk.equals(person), &[]).consistent_read(true);
        let mut items = query.into_paginator().items().send();
        let mut balances = Vec::new();
        while let Some(item) = items.next().await {
            let item: Item = item.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
            let key = Key::of_item(&item).ok_or(AwsError::unreadable_item(QUERY))?;
            // What cannot be read is erased all the same: it is the person's.
            let balance = BalanceItem::from_item(&item);
            balances.push(FoundItem { balance, ..FoundItem::new(PersonalDataKind::Balance, &key, None) });
        }
        found.items.splice(0..0, balances);
        Ok(())
    }

    /// Writes the audit entry of an erasure, which does not name the person. It is written first, so that nothing is erased without
    /// one.
    pub async fn record_erasure(&self, found: &FoundPersonalData, by: &AuditEntry) -> Result<(), AwsError> {
        let to_erase = found.items.iter().filter(|item| item.left.is_none()).count();
        let subject = AuditSubject::Person { found: found.items.len(), to_erase };
        // A conflict is this very request, whose response was lost.
        self.inbox.transact(vec![self.inbox.audit_write(&subject, by)?]).await.map(drop)
    }
}
