//! Deliveries that Fynapse gave up or cancelled: nothing of them ever arrives. Its API lists them, and the auditor must find exactly these.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use inbox_aws::stores::{MissedFilter, PageStart};
use inbox_core::delivery::Provider;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;

use crate::fynapse_simulator::FynapseSimulator;
use crate::invariants::{ExpectedOutcome, SentDelivery, Violation};
use crate::senders::{OutgoingDelivery, payloads};
use crate::stack::{INVOCATION_TIMEOUT, Stack};

/// The event ids of deliveries that never arrive, and how they ended.
const UNDELIVERED: [(&str, DeliveryStatus); 5] = [
    ("undelivered-1", DeliveryStatus::DeadLetter),
    ("undelivered-2", DeliveryStatus::DeadLetter),
    ("undelivered-3", DeliveryStatus::DeadLetter),
    ("undelivered-4", DeliveryStatus::Cancelled),
    ("undelivered-5", DeliveryStatus::Cancelled),
];

/// Lists `delivered` and the deliveries that never arrive at the simulated Fynapse, and runs the auditor.
///
/// Returns the deliveries that it did not find to be missed, and those that it should not have found.
pub(super) async fn audit(
    stack: &Stack,
    fynapse: &FynapseSimulator,
    delivered: &[SentDelivery],
) -> anyhow::Result<Vec<Violation>> {
    let is_delivered =
        |it: &&SentDelivery| it.provider == Provider::Fynapse && it.expected == ExpectedOutcome::Enqueued;
    for sent in delivered.iter().filter(is_delivered) {
        let outgoing = OutgoingDelivery::new(sent.id.clone(), sent.body.clone());
        fynapse.add_ended(&outgoing, DeliveryStatus::Delivered);
    }
    let mut undelivered = BTreeSet::new();
    for (event_id, status) in UNDELIVERED {
        let outgoing = payloads::balance_extracted(event_id);
        fynapse.add_ended(&outgoing, status);
        undelivered.insert(outgoing.id);
    }
    let run = stack.auditor.handle(INVOCATION_TIMEOUT).await;
    run.map_err(|error| anyhow!("the auditor: {}", error.error_type))?;
    let newest = PageStart::Newest;
    let listed = stack.stores.operator.list_missed_deliveries(&MissedFilter::default(), &newest, 100).await;
    let missed = listed.context("list the missed deliveries")?.items;
    let found: BTreeSet<String> =
        missed.iter().filter_map(|it| it.event.as_ref().map(|key| key.event_id())).collect();
    Ok(differences(&undelivered, &found))
}

/// The differences between the deliveries that the auditor had to find and those that it found.
fn differences(undelivered: &BTreeSet<String>, found: &BTreeSet<String>) -> Vec<Violation> {
    let violation = |description, ids: BTreeSet<String>| Violation {
        promise: "",
        description,
        ids: ids.into_iter().collect(),
    };
    let violations = [
        violation("undelivered, and not found by the auditor", undelivered - found),
        violation("found to be missed by the auditor, and delivered", found - undelivered),
    ];
    violations.into_iter().filter(|it| !it.ids.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_was_not_found_and_one_that_was_found_wrongly_are_violations() {
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        let found = |undelivered: &[&str], found: &[&str]| {
            let differences = differences(&ids(undelivered), &ids(found));
            differences.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(&["a", "b"], &["b", "a"]), Vec::<String>::new());
        assert_eq!(
            found(&["a", "b"], &["b", "c"]),
            [
                "undelivered, and not found by the auditor: a",
                "found to be missed by the auditor, and delivered: c"
            ]
        );
    }
}
