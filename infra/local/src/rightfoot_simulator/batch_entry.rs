//! A batch: its request, its results, and their progress over time.

use inbox_core::time::UnixMillis;

use super::behaviour::Behaviour;
use super::dollar_amount::DollarAmount;
use super::seeded_rng::SeededRng;
use super::snapshot::{SimulatedBalance, SimulatedBatch};

const INSTITUTION_NOT_SUPPORTED: u32 = 3300;
const OTHER_ERROR: u32 = 9000;
/// Status codes of failed checks (shared/providers/rightfoot.md, "Status codes"), with texts for E9 (not documented).
const CHECK_FAILURES: [(u32, &str); 6] = [
    (INSTITUTION_NOT_SUPPORTED, "Institution not supported"),
    (3200, "Account closed"),
    (3000, "No tax ID match"),
    (3100, "No date of birth match"),
    (3400, "No match with supplied authorizer info"),
    (OTHER_ERROR, "Other error"),
];
/// Percentage of random checks that fail.
const FAILED_CHECK_PERCENT: u64 = 10;
/// Least random balance, and the size of the range.
const RANDOM_BALANCE_CENTS: (i64, u64) = (-20_000, 500_000);

/// An authorizer to check.
#[derive(Clone, Debug)]
pub(super) struct RequestedAuthorizer {
    pub(super) id: String,
    /// Balance from which an alert is due.
    pub(super) threshold: Option<DollarAmount>,
}

/// The inputs of a new batch.
#[derive(Debug)]
pub(super) struct NewBatch {
    pub(super) id: String,
    /// `None` for an on-demand batch.
    pub(super) schedule_id: Option<String>,
    pub(super) webhook_url: Option<String>,
    pub(super) authorizers: Vec<RequestedAuthorizer>,
    pub(super) failed_authorizers: Vec<String>,
}

/// A batch. Its results are fixed when it starts; only their visibility depends on the time.
#[derive(Debug)]
pub(super) struct BatchEntry {
    pub(super) id: String,
    pub(super) schedule_id: Option<String>,
    is_submitted: bool,
    pub(super) webhook_url: Option<String>,
    pub(super) started_at: UnixMillis,
    pub(super) completes_at: UnixMillis,
    rows: Vec<BalanceCheck>,
    failed_authorizers: Vec<String>,
    /// True once its completion webhook was created.
    pub(super) has_completion_webhook: bool,
    /// True once its alert webhooks were created.
    pub(super) has_alert_webhooks: bool,
}

/// A batch's result for one authorizer.
#[derive(Debug)]
pub(super) struct BalanceCheck {
    pub(super) authorizer: String,
    pub(super) balance: Option<DollarAmount>,
    pub(super) status_code: u32,
    pub(super) threshold: Option<DollarAmount>,
    /// Time from which the result is available.
    pub(super) at: UnixMillis,
}

impl BatchEntry {
    pub(super) fn start(rng: SeededRng, behaviour: &Behaviour, now: UnixMillis, new_batch: NewBatch) -> Self {
        let NewBatch { id, schedule_id, webhook_url, authorizers, failed_authorizers } = new_batch;
        let processing = behaviour.processing_time;
        let count = u32::try_from(authorizers.len()).unwrap_or(u32::MAX).max(1);
        let row =
            |(number, RequestedAuthorizer { id: authorizer, threshold }): (u32, RequestedAuthorizer)| {
                let result = match behaviour.balances.get(&authorizer) {
                    Some(text) => parse_configured_balance(text),
                    None => random_balance(rng, &id, &authorizer),
                };
                let (balance, status_code) = result;
                // Evenly spread, so that the last result completes the batch.
                let at = now.plus(processing.saturating_mul(number) / count);
                BalanceCheck { authorizer, balance, status_code, threshold, at }
            };
        let rows = (1..).zip(authorizers).map(row).collect();
        Self {
            completes_at: now.plus(processing),
            started_at: now,
            rows,
            failed_authorizers,
            has_completion_webhook: false,
            has_alert_webhooks: false,
            id,
            schedule_id,
            is_submitted: true,
            webhook_url,
        }
    }

    /// Creates a complete batch whose webhooks are already sent; balances as in [`Behaviour::balances`].
    pub(super) fn completed(now: UnixMillis, id: &str, balances: &[(String, String)]) -> Self {
        let row = |(authorizer, text): &(String, String)| {
            let (balance, status_code) = parse_configured_balance(text);
            BalanceCheck { authorizer: authorizer.clone(), balance, status_code, threshold: None, at: now }
        };
        Self {
            id: id.to_owned(),
            schedule_id: None,
            is_submitted: false,
            webhook_url: None,
            started_at: now,
            completes_at: now,
            rows: balances.iter().map(row).collect(),
            failed_authorizers: Vec::new(),
            has_completion_webhook: true,
            has_alert_webhooks: true,
        }
    }

    pub(super) fn is_complete(&self, now: UnixMillis) -> bool {
        self.completes_at <= now
    }

    /// Time at which half of the processing time is over.
    pub(super) fn half_processed_at(&self) -> UnixMillis {
        self.started_at.plus(self.completes_at.since(self.started_at) / 2)
    }

    /// The results that are available by `now`.
    pub(super) fn available_rows(&self, now: UnixMillis) -> &[BalanceCheck] {
        // A binary search will do: the rows are ordered by time.
        let found = self.rows.partition_point(|row| row.at <= now);
        self.rows.get(..found).unwrap_or_default()
    }

    /// Ids of the accepted authorizers.
    pub(super) fn authorizers(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.authorizer.as_str())
    }

    /// The result for an authorizer.
    pub(super) fn row_for(&self, authorizer: &str) -> Option<&BalanceCheck> {
        self.rows.iter().find(|row| row.authorizer == authorizer)
    }

    /// The results of a run that need an alert; none for an on-demand batch.
    pub(super) fn rows_over_threshold(&self) -> impl Iterator<Item = &BalanceCheck> {
        self.rows.iter().filter(|row| self.schedule_id.is_some() && row.meets_threshold())
    }

    pub(super) fn snapshot(&self) -> SimulatedBatch {
        SimulatedBatch {
            batch_id: self.id.clone(),
            schedule_id: self.schedule_id.clone(),
            is_submitted: self.is_submitted,
            authorizers: self.rows.iter().map(|row| row.authorizer.clone()).collect(),
            failed_authorizers: self.failed_authorizers.clone(),
            started_at: self.started_at,
            completes_at: self.completes_at,
            rows: self.rows.iter().map(BalanceCheck::snapshot).collect(),
        }
    }
}

impl BalanceCheck {
    /// E9's text for a failed check; `None` for a successful one.
    pub(super) fn error_message(&self) -> Option<&'static str> {
        let message_of =
            |(code, message): &(u32, &'static str)| (*code == self.status_code).then_some(*message);
        CHECK_FAILURES.iter().find_map(message_of)
    }

    fn meets_threshold(&self) -> bool {
        let both = self.balance.as_ref().zip(self.threshold.as_ref());
        both.is_some_and(|(balance, threshold)| balance.meets(threshold))
    }

    fn snapshot(&self) -> SimulatedBalance {
        SimulatedBalance {
            authorizer: self.authorizer.clone(),
            balance: self.balance.as_ref().map(|balance| balance.as_str().to_owned()),
            status_code: self.status_code,
        }
    }
}

fn parse_configured_balance(text: &str) -> (Option<DollarAmount>, u32) {
    match DollarAmount::parse(text) {
        Some(amount) => (Some(amount), 0),
        None if text == "null" => (None, INSTITUTION_NOT_SUPPORTED),
        None => (None, OTHER_ERROR),
    }
}

fn random_balance(rng: SeededRng, batch_id: &str, authorizer: &str) -> (Option<DollarAmount>, u32) {
    if rng.below(100, &["fails", batch_id, authorizer]) < FAILED_CHECK_PERCENT {
        let failure = rng.pick(&CHECK_FAILURES, &["failure", batch_id, authorizer]);
        return (None, failure.map_or(OTHER_ERROR, |(code, _)| code));
    }
    // Some are negative, as the documents allow (shared/providers/rightfoot.md, "Read balances").
    let (least, range) = RANDOM_BALANCE_CENTS;
    let cents = least.saturating_add_unsigned(rng.below(range, &["balance", batch_id, authorizer]));
    (DollarAmount::from_cents(cents), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seed: u64, id: &str, authorizers: usize) -> BatchEntry {
        let authorizers =
            (0..authorizers).map(|n| RequestedAuthorizer { id: format!("a{n}"), threshold: None }).collect();
        let new_batch = NewBatch {
            id: id.to_owned(),
            schedule_id: None,
            webhook_url: None,
            authorizers,
            failed_authorizers: vec![],
        };
        BatchEntry::start(SeededRng::new(seed), &Behaviour::default(), UnixMillis(0), new_batch)
    }

    #[test]
    fn random_balances_are_repeatable_have_two_decimals_and_some_fail() {
        let rows = batch(7, "b", 500).snapshot().rows;
        assert_eq!(rows, batch(7, "b", 500).snapshot().rows);
        assert_ne!(rows, batch(8, "b", 500).snapshot().rows);
        assert_ne!(rows, batch(7, "c", 500).snapshot().rows);
        let failed_authorizers = rows.iter().filter(|row| row.balance.is_none());
        assert!(failed_authorizers.clone().all(|row| row.status_code >= 3000));
        assert!((20..100).contains(&failed_authorizers.count()));
        let balances: Vec<_> = rows.iter().filter_map(|row| row.balance.as_deref()).collect();
        assert!(balances.iter().all(|text| text.split_once('.').unwrap().1.len() == 2));
        assert!(balances.iter().any(|text| text.starts_with('-')));
    }

    #[test]
    fn rows_appear_one_by_one_and_the_last_completes_the_batch() {
        let batch = batch(7, "b", 4);
        let found = |secs: i64| batch.available_rows(UnixMillis(secs * 1_000)).len();
        assert_eq!([0, 74, 75, 150, 299, 300].map(found), [0, 0, 1, 2, 3, 4]);
        assert!(!batch.is_complete(UnixMillis(299_999)) && batch.is_complete(UnixMillis(300_000)));
        assert_eq!(batch.half_processed_at(), UnixMillis(150_000));
    }
}
