//! Partition and sort keys of the table inbox, and the short hashes of ids in its sets.
//!
//! The keys of events are in [`crate::event`], those of quarantined deliveries in [`crate::quarantine`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::id::Id;
use crate::subject::Subject;
use crate::time::UnixMillis;

/// The prefix of a missed delivery's partition key; what identifies the delivery follows.
pub const MISSED_DELIVERY_PK_PREFIX: &str = "fynapse#delivery#";

/// The partition key of a missed delivery.
pub fn missed_delivery_pk(reference: &Id) -> String {
    format!("{MISSED_DELIVERY_PK_PREFIX}{}", reference.as_str())
}

/// The partition key of the state of a Fynapse subscription's delivery checks.
pub fn fynapse_subscription_pk(subscription_id: &Id) -> String {
    format!("fynapse#subscription#{}", subscription_id.as_str())
}

/// The partition key of all items of a batch.
pub fn batch_pk(batch_id: &Id) -> String {
    format!("rightfoot#batch#{}", batch_id.as_str())
}

/// The partition key of all items of a schedule.
pub fn schedule_pk(schedule_id: &Id) -> String {
    format!("rightfoot#schedule#{}", schedule_id.as_str())
}

/// The partition key of a submission's item.
pub fn submission_pk(submission_id: &str) -> String {
    format!("rightfoot#submission#{submission_id}")
}

/// The partition key of all items of a subject.
pub fn subject_pk(subject: &Subject) -> String {
    format!("rightfoot#subject#{subject}")
}

/// The sort key, in the subject's partition, of the item that holds the open events received on the day of
/// `since`, in UTC.
pub fn open_events_sk(since: UnixMillis) -> String {
    let at = since.rfc3339();
    format!("open#{}", at.split('T').next().unwrap_or(&at))
}

/// Hashes a text to 22 characters: 16 bytes of SHA-256 as base64url. For sets of ids, which must fit into one
/// item.
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_events_of_a_subject_have_an_item_for_each_day() {
        let end_of_day = UnixMillis(1_767_398_399_999);
        assert_eq!(open_events_sk(end_of_day), "open#2026-01-02");
        assert_eq!(open_events_sk(UnixMillis(end_of_day.0 + 1)), "open#2026-01-03");
        assert_eq!(subject_pk(&"payroll-1".parse().unwrap()), "rightfoot#subject#payroll-1");
        // printf %s rightfoot/batch/b-1/completed | openssl dgst -sha256 -binary | head -c 16 | basenc --base64url
        assert_eq!(short_hash("rightfoot/batch/b-1/completed"), "Jr93xGI6qIuj0DsqUjzU5w");
    }
}
