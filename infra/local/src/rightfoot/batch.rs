//! A batch: what it was asked, and what it finds.

use inbox_core::time::UnixMillis;

use super::amount::Amount;
use super::behaviour::Behaviour;
use super::chance::Chance;
use super::seen::{BatchSeen, RowSeen};

const INSTITUTION_NOT_SUPPORTED: u32 = 3300;
const OTHER_ERROR: u32 = 9000;
/// Codes of failed checks (shared/providers/rightfoot.md, "Status codes") and how E9 might word them.
const FAILURES: [(u32, &str); 6] = [
    (INSTITUTION_NOT_SUPPORTED, "Institution not supported"),
    (3200, "Account closed"),
    (3000, "No tax ID match"),
    (3100, "No date of birth match"),
    (3400, "No match with supplied authorizer info"),
    (OTHER_ERROR, "Other error"),
];
/// Of a hundred checks, so many fail.
const FAILING_PERCENT: u64 = 10;
/// Balances by chance lie between these.
const CENTS: (i64, u64) = (-20_000, 500_000);

/// An authorizer that is to be checked.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) id: String,
    /// From where on an alert is owed.
    pub(super) threshold: Option<Amount>,
}

/// What makes a batch.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: String,
    /// `None` for an on-demand batch.
    pub(super) schedule_id: Option<String>,
    pub(super) webhook: Option<String>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) failed: Vec<String>,
}

/// A batch. What it finds is settled when it begins; only what is shown of it depends on the time.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) schedule_id: Option<String>,
    pub(super) webhook: Option<String>,
    pub(super) begun_at: UnixMillis,
    pub(super) ready_at: UnixMillis,
    rows: Vec<Row>,
    failed: Vec<String>,
    /// Whether the webhook of its completion has been made.
    pub(super) completion_told: bool,
    /// Whether the webhooks of its alerts have been made.
    pub(super) alerts_told: bool,
}

/// What a batch finds about one authorizer.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) authorizer: String,
    pub(super) balance: Option<Amount>,
    pub(super) status_code: u32,
    pub(super) threshold: Option<Amount>,
    /// When it is found.
    pub(super) at: UnixMillis,
}

impl Batch {
    pub(super) fn begin(chance: Chance, behaviour: &Behaviour, now: UnixMillis, order: Order) -> Self {
        let Order { id, schedule_id, webhook, wanted, failed } = order;
        let processing = behaviour.processing;
        let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX).max(1);
        let row = |(number, Wanted { id: authorizer, threshold }): (u32, Wanted)| {
            let found = match behaviour.balances.get(&authorizer) {
                Some(text) => as_told(text),
                None => by_chance(chance, &id, &authorizer),
            };
            let (balance, status_code) = found;
            let at = now.plus(processing.saturating_mul(number) / count);
            Row { authorizer, balance, status_code, threshold, at }
        };
        let rows = (1..).zip(wanted).map(row).collect();
        Self {
            ready_at: now.plus(processing),
            begun_at: now,
            rows,
            failed,
            completion_told: false,
            alerts_told: false,
            id,
            schedule_id,
            webhook,
        }
    }

    /// A batch that is complete and has been told to whoever submitted it: balances as in [`Behaviour::balances`].
    pub(super) fn known(now: UnixMillis, id: &str, balances: &[(String, String)]) -> Self {
        let row = |(authorizer, text): &(String, String)| {
            let (balance, status_code) = as_told(text);
            Row { authorizer: authorizer.clone(), balance, status_code, threshold: None, at: now }
        };
        Self {
            id: id.to_owned(),
            schedule_id: None,
            webhook: None,
            begun_at: now,
            ready_at: now,
            rows: balances.iter().map(row).collect(),
            failed: Vec::new(),
            completion_told: true,
            alerts_told: true,
        }
    }

    pub(super) fn is_ready(&self, now: UnixMillis) -> bool {
        self.ready_at <= now
    }

    /// When half of the processing time is over.
    pub(super) fn half_ready_at(&self) -> UnixMillis {
        self.begun_at.plus(self.ready_at.since(self.begun_at) / 2)
    }

    /// What has been found by now.
    pub(super) fn rows_found(&self, now: UnixMillis) -> &[Row] {
        let found = self.rows.partition_point(|row| row.at <= now);
        self.rows.get(..found).unwrap_or_default()
    }

    /// Who is checked.
    pub(super) fn authorizers(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.authorizer.as_str())
    }

    /// What is found about an authorizer.
    pub(super) fn row_of(&self, authorizer: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.authorizer == authorizer)
    }

    /// The rows that an alert is owed for.
    pub(super) fn alerting(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| self.schedule_id.is_some() && row.meets_threshold())
    }

    pub(super) fn seen(&self) -> BatchSeen {
        BatchSeen {
            batch_id: self.id.clone(),
            schedule_id: self.schedule_id.clone(),
            authorizers: self.rows.iter().map(|row| row.authorizer.clone()).collect(),
            failed: self.failed.clone(),
            begun_at: self.begun_at,
            ready_at: self.ready_at,
            rows: self.rows.iter().map(Row::seen).collect(),
        }
    }
}

impl Row {
    /// Why there is no balance, in words.
    pub(super) fn error(&self) -> Option<&'static str> {
        let word = |(code, words): &(u32, &'static str)| (*code == self.status_code).then_some(*words);
        FAILURES.iter().find_map(word)
    }

    fn meets_threshold(&self) -> bool {
        let both = self.balance.as_ref().zip(self.threshold.as_ref());
        both.is_some_and(|(balance, threshold)| balance.meets(threshold))
    }

    fn seen(&self) -> RowSeen {
        RowSeen {
            authorizer: self.authorizer.clone(),
            balance: self.balance.as_ref().map(|balance| balance.text().to_owned()),
            status_code: self.status_code,
        }
    }
}

fn as_told(text: &str) -> (Option<Amount>, u32) {
    match Amount::parse(text) {
        Some(amount) => (Some(amount), 0),
        None if text == "null" => (None, INSTITUTION_NOT_SUPPORTED),
        None => (None, OTHER_ERROR),
    }
}

fn by_chance(chance: Chance, batch_id: &str, authorizer: &str) -> (Option<Amount>, u32) {
    if chance.below(100, &["fails", batch_id, authorizer]) < FAILING_PERCENT {
        let failure = chance.pick(&FAILURES, &["failure", batch_id, authorizer]);
        return (None, failure.map_or(OTHER_ERROR, |(code, _)| code));
    }
    let (least, range) = CENTS;
    let cents = least.saturating_add_unsigned(chance.below(range, &["balance", batch_id, authorizer]));
    (Amount::of_cents(cents), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seed: u64, id: &str, authorizers: usize) -> Batch {
        let wanted = (0..authorizers).map(|n| Wanted { id: format!("a{n}"), threshold: None }).collect();
        let order = Order { id: id.to_owned(), schedule_id: None, webhook: None, wanted, failed: vec![] };
        Batch::begin(Chance::new(seed), &Behaviour::default(), UnixMillis(0), order)
    }

    #[test]
    fn balances_by_chance_are_repeatable_have_two_decimals_and_some_fail() {
        let rows = batch(7, "b", 500).seen().rows;
        assert_eq!(rows, batch(7, "b", 500).seen().rows);
        assert_ne!(rows, batch(8, "b", 500).seen().rows);
        assert_ne!(rows, batch(7, "c", 500).seen().rows);
        let failed = rows.iter().filter(|row| row.balance.is_none());
        assert!(failed.clone().all(|row| row.status_code >= 3000));
        assert!((20..100).contains(&failed.count()));
        let balances: Vec<_> = rows.iter().filter_map(|row| row.balance.as_deref()).collect();
        assert!(balances.iter().all(|text| text.split_once('.').unwrap().1.len() == 2));
        assert!(balances.iter().any(|text| text.starts_with('-')));
    }

    #[test]
    fn rows_are_found_one_after_the_other_and_the_last_one_makes_it_ready() {
        let batch = batch(7, "b", 4);
        let found = |secs: i64| batch.rows_found(UnixMillis(secs * 1_000)).len();
        assert_eq!([0, 74, 75, 150, 299, 300].map(found), [0, 0, 1, 2, 3, 4]);
        assert!(!batch.is_ready(UnixMillis(299_999)) && batch.is_ready(UnixMillis(300_000)));
        assert_eq!(batch.half_ready_at(), UnixMillis(150_000));
    }
}
