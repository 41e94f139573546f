//! What was found of a person, and what was erased of it, as it is printed.

use std::collections::BTreeMap;

use inbox_aws::stores::{Erasure, FoundItem, FoundPersonalData, PersonalDataKind, WhyLeft};
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::output::{Render, Timestamp, pluralize, render_table};

/// Items of a kind that a text lists.
const LISTED_MAX: usize = 20;
/// Where a person's data may be that is not searched.
const NOT_SEARCHED: &str = "\
Not searched: messages on the queue (for 14 days at most), backups of the tables (35 days), what rules of the bus have passed
on, and the provider itself. Logs and metrics hold no ids.
";
/// What an erasure leaves on purpose.
const WHAT_STAYS: &str = "\
These stay: records of events without their payloads, hashes of payloads, a hash for each published alert, ids of batches and
schedules. They keep what comes again from acting twice.
";

/// What is stored of a person, or was.
#[derive(Serialize)]
pub(super) struct PersonReport {
    is_dry_run: bool,
    /// `None` if nothing was to be erased: a search, a dry run, or no confirmation.
    erased: Option<usize>,
    /// Number of items by kind.
    found: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    kinds: BTreeMap<PersonalDataKind, usize>,
    items: Vec<ItemRow>,
    /// Messages of the dead-letter queue that name the person; `None` if it could not be read.
    dead_letters: Option<usize>,
    /// Items of the table `inbox` that were examined.
    examined: u64,
    /// Payloads that could not be searched, because parts of them are gone or damaged.
    unsearchable_payloads: usize,
    #[serde(skip)]
    is_show: bool,
    #[serde(skip)]
    is_revealed: bool,
}

#[derive(Serialize)]
struct ItemRow {
    kind: &'static str,
    pk: String,
    sk: String,
    /// Why it cannot be erased, or was not; `None` if it can be or was.
    left: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checked_at: Option<Timestamp>,
    /// Decimal, as stored; `None` if the check failed. Absent unless it is revealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<Option<String>>,
    #[serde(skip)]
    why_left: Option<WhyLeft>,
}

impl PersonReport {
    pub(super) fn new(found: &FoundPersonalData, dead_letters: Option<usize>, is_revealed: bool) -> Self {
        let mut kinds = BTreeMap::new();
        for item in &found.items {
            *kinds.entry(item.kind).or_default() += 1;
        }
        Self {
            is_dry_run: false,
            erased: None,
            found: kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
            kinds,
            items: found.items.iter().map(|item| ItemRow::new(item, is_revealed)).collect(),
            dead_letters,
            examined: found.examined,
            unsearchable_payloads: found.unsearchable_payloads,
            is_show: false,
            is_revealed,
        }
    }

    pub(super) fn of_search(self) -> Self {
        Self { is_show: true, ..self }
    }

    pub(super) fn of_dry_run(self) -> Self {
        Self { is_dry_run: true, ..self }
    }

    /// Takes the outcome of each item, in their order.
    pub(super) fn with_outcomes(mut self, outcomes: &[Erasure]) -> Self {
        for (row, outcome) in self.items.iter_mut().zip(outcomes) {
            row.why_left = match outcome {
                Erasure::Erased => None,
                Erasure::Left(why) => Some(*why),
            };
            row.left = row.why_left.map(WhyLeft::as_str);
        }
        let erased = outcomes.iter().filter(|outcome| **outcome == Erasure::Erased).count();
        Self { erased: Some(erased), ..self }
    }

    /// The number of items that can be erased.
    pub(super) fn erasable(&self) -> usize {
        self.items.iter().filter(|item| item.why_left.is_none()).count()
    }

    /// The counts by kind, and the items.
    pub(super) fn found_text(&self) -> String {
        let mut text = String::new();
        for (kind, count) in &self.kinds {
            let (one, many) = nouns(*kind);
            text += &format!("{}\n", pluralize(*count as u64, one, many));
            let rows = self.items.iter().filter(|item| item.kind == kind.as_str()).take(LISTED_MAX);
            for row in rows {
                text += &format!("  {}\n", row.to_text());
            }
            if *count > LISTED_MAX {
                text += &format!("  and {} more: --json lists all\n", count - LISTED_MAX);
            }
        }
        text + &self.further_text()
    }

    fn further_text(&self) -> String {
        let mut text = match self.dead_letters {
            None => "The dead-letter queue could not be read.\n".to_owned(),
            Some(0) => String::new(),
            Some(count) => format!(
                "{} in the dead-letter queue: redrive, or wait until SQS deletes them, 14 days after they were sent.\n",
                pluralize(count as u64, "message", "messages")
            ),
        };
        if self.unsearchable_payloads > 0 {
            text += &format!(
                "{} could not be searched, because parts of them have expired.\n",
                pluralize(self.unsearchable_payloads as u64, "payload", "payloads")
            );
        }
        text
    }

    fn left_text(&self) -> String {
        let left = self.items.iter().filter_map(|item| Some((item, item.why_left?)));
        let rows = left.map(|(item, why)| {
            [item.kind.replace('_', " "), format!("{} {}", item.pk, item.sk), explain(why).to_owned()]
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() { String::new() } else { render_table(["LEFT", "ITEM", "BECAUSE"], rows, "") }
    }
}

impl ItemRow {
    fn new(item: &FoundItem, is_revealed: bool) -> Self {
        Self {
            kind: item.kind.as_str(),
            pk: item.pk().to_owned(),
            sk: item.sk().to_owned(),
            left: item.left.map(WhyLeft::as_str),
            checked_at: item.balance.as_ref().map(|balance| Timestamp(balance.checked_at)),
            balance: item
                .balance
                .as_ref()
                .filter(|_| is_revealed)
                .map(|balance| balance.amount.map(|amount| amount.to_string())),
            why_left: item.left,
        }
    }

    fn to_text(&self) -> String {
        let mut text = if self.kind == PersonalDataKind::Balance.as_str() {
            // Its partition key is the id that was given.
            let batch = self.sk.split_once('#').map_or(self.sk.as_str(), |(_, batch)| batch);
            match self.checked_at {
                Some(at) => format!("batch {batch}, {}", at.to_text()),
                None => self.sk.clone(),
            }
        } else {
            format!("{} {}", self.pk, self.sk)
        };
        if let Some(balance) = &self.balance {
            text += &format!(": {}", balance.as_deref().unwrap_or("no balance"));
        }
        match self.why_left {
            Some(why) => text + &format!(" ({})", explain(why)),
            None => text,
        }
    }
}

/// What an item of a kind is called, and several of them.
const fn nouns(kind: PersonalDataKind) -> (&'static str, &'static str) {
    match kind {
        PersonalDataKind::Balance => ("balance", "balances"),
        PersonalDataKind::AlertEffect => ("alert", "alerts"),
        PersonalDataKind::EventPayload => ("payload of an event", "payloads of events"),
        PersonalDataKind::QuarantinedBytes => ("quarantined delivery", "quarantined deliveries"),
        PersonalDataKind::ExcludedAuthorizers => (
            "list of authorizers that Rightfoot did not accept",
            "lists of authorizers that Rightfoot did not accept",
        ),
        PersonalDataKind::Schedule => {
            ("schedule's thresholds and probes", "schedules' thresholds and probes")
        }
        PersonalDataKind::SubmissionAnswer => ("answer to a submission", "answers to submissions"),
        PersonalDataKind::OrphanedPart => ("part of a duplicate's payload", "parts of duplicates' payloads"),
        PersonalDataKind::InterruptedErasure => ("interrupted erasure", "interrupted erasures"),
        PersonalDataKind::AuditReason => ("reason in the audit trail", "reasons in the audit trail"),
        PersonalDataKind::ItemName => ("name of an item", "names of items"),
    }
}

/// Why an item is left, and what to do.
const fn explain(why: WhyLeft) -> &'static str {
    match why {
        WhyLeft::InProgress => "its event is not done yet: repeat later",
        WhyLeft::BatchTracked => "its batch is still polled: repeat when that has ended",
        WhyLeft::OnlyProbe => {
            "the only probe of this schedule: first `schedules update --probe` with another one, or `schedules untrack`"
        }
        WhyLeft::TooYoung => "it may be in use: repeat in an hour",
        WhyLeft::Changed => "it was changed at the same time: repeat",
        WhyLeft::AuditTrail => "the audit trail is not changed, it expires",
        WhyLeft::Name => "somebody has chosen this id as a name, it expires with the item",
        WhyLeft::Unreadable => "this version cannot read it",
    }
}

impl Render for PersonReport {
    fn to_text(&self, _: UnixMillis) -> String {
        let Some(erased) = self.erased else {
            if self.items.is_empty() {
                return format!("nothing is stored under this id\n{}{NOT_SEARCHED}", self.further_text());
            }
            let heading = match (self.is_show, self.is_dry_run) {
                (true, _) => "",
                (false, true) => "would be erased:\n",
                (false, false) => return "nothing was done\n".to_owned(),
            };
            let hint = if self.is_show && !self.is_revealed && self.found.contains_key("balance") {
                "\nThe amounts are not shown: --reveal shows them.\n"
            } else {
                "\n"
            };
            return format!("{heading}{}{hint}{NOT_SEARCHED}", self.found_text());
        };
        let all = pluralize(self.items.len() as u64, "item", "items");
        format!(
            "erased: {erased} of {all}\n{}{}\n{WHAT_STAYS}{NOT_SEARCHED}",
            self.left_text(),
            self.further_text()
        )
    }

    fn is_success(&self) -> bool {
        if self.is_show || self.is_dry_run {
            return true;
        }
        // What stays by design is no reason to repeat the command.
        let stays =
            |item: &ItemRow| matches!(item.why_left, None | Some(WhyLeft::AuditTrail | WhyLeft::Name));
        let is_done = self.erased.is_some() || self.items.is_empty();
        is_done && self.items.iter().all(stays) && self.dead_letters == Some(0)
    }
}
