//! The auditor: events that Fynapse never delivered are found, and so are those that are not here although it did.

use std::time::Duration;

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use serde_json::{Value, json};
use tests::fynapse_world::FynapseWorld;
use tests::{DAY, HOUR, MINUTE, number, text};

mod check_faults;
mod list_variants;

/// The counts of a run, without those that are 0 or false.
fn counts(response: &Value) -> Value {
    let mut counts = response.as_object().unwrap().clone();
    counts["listed"].as_object_mut().unwrap().retain(|_, count| *count != 0);
    counts.retain(|_, count| *count != 0 && *count != false && !count.is_null());
    Value::Object(counts)
}

fn missed(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(delivery, reason)| ((*delivery).to_owned(), (*reason).to_owned())).collect()
}

#[tokio::test]
async fn an_event_that_was_delivered_and_recorded_is_settled() {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    it.world.advance(HOUR);
    let expected = json!({"pages": 1, "listed": {"DELIVERED": 1}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), expected);
    assert_eq!(it.missed().await, []);
}

#[tokio::test]
async fn what_fynapse_gave_up_or_cancelled_is_found_once() {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    it.add_ended("e-2", DeliveryStatus::DeadLetter);
    it.add_ended("e-3", DeliveryStatus::Cancelled);
    it.add_ended("e-4", DeliveryStatus::Pending);
    let listed = json!({"CANCELLED": 1, "DEAD_LETTER": 1, "DELIVERED": 1, "PENDING": 1});
    let first = json!({"pages": 1, "listed": listed, "missed": 2, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), first);
    let found = missed(&[("delivery-e-2", "dead_letter"), ("delivery-e-3", "cancelled")]);
    assert_eq!(it.missed().await, found);
    let item = it.world.item("fynapse#delivery#delivery-e-2", "missed").await.unwrap();
    for (name, value) in
        [("event_id", "fynapse/event/e-2"), ("idempotency_key", "key-e-2"), ("type", "balance.extracted")]
    {
        assert_eq!(text(&item, name), value, "{name}");
    }
    let start = tests::START;
    assert_eq!((number(&item, "created_at"), number(&item, "listed_at")), (Some(start.0), Some(start.0)));
    assert_eq!(number(&item, "expires_at"), Some(start.secs().0 + 400 * 86_400));

    it.world.advance(MINUTE * 15);
    let again = json!({"pages": 1, "listed": listed, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), again);
    assert_eq!(it.missed().await, found);
}

#[tokio::test]
async fn an_event_that_came_all_the_same_is_not_missed() {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    // Recorded, but every answer was lost: for Fynapse no attempt succeeded.
    it.add_ended("e-1", DeliveryStatus::DeadLetter);
    let expected = json!({"pages": 1, "listed": {"DEAD_LETTER": 1}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), expected);
}

#[tokio::test]
async fn p1_an_event_that_was_accepted_and_is_not_here_is_the_loudest_alarm() {
    let it = FynapseWorld::new().await;
    for event_id in ["e-1", "e-2"] {
        it.deliver(event_id).await;
    }
    it.world.expire_items("fynapse#event#e-2").await;
    it.world.advance(MINUTE * 4);
    let listed = json!({"DELIVERED": 2});
    let young = json!({"pages": 1, "listed": listed, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), young, "not judged yet");
    it.world.advance(MINUTE * 15);
    let lost = json!({"pages": 1, "listed": listed, "lost": 1, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), lost);
    assert_eq!(it.missed().await, missed(&[("delivery-e-2", "lost")]));
    it.world.advance(MINUTE * 15);
    assert_eq!(counts(&it.run_auditor().await), young, "once");
}

#[tokio::test]
async fn p1_a_lost_event_gets_its_second_look_however_old_it_is() {
    // Found in the first check of all, which reads deliveries of any age; and after an outage of the auditor.
    for (age, outage) in [(DAY * 6, MINUTE * 15), (MINUTE * 15, DAY * 6)] {
        let it = FynapseWorld::new().await;
        for event_id in ["e-1", "e-2"] {
            it.deliver(event_id).await;
        }
        it.world.expire_items("fynapse#event#e-2").await;
        it.world.advance(age);
        assert_eq!(it.run_auditor().await["lost"], 0, "the first look");
        it.world.advance(outage);
        it.deliver("e-3").await;
        assert_eq!(it.run_auditor().await["lost"], 1, "{age:?} {outage:?}");
        it.world.advance(MINUTE * 15);
        assert_eq!(it.run_auditor().await["lost"], 0, "once");
    }
}

#[tokio::test]
async fn a_record_that_has_expired_is_not_lost() {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    it.deliver("e-2").await;
    it.world.expire_items("fynapse#event#e-2").await;
    it.world.advance(DAY * 29);
    let expected = json!({"pages": 1, "listed": {"DELIVERED": 2}, "not_comparable": 1, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), expected);
}

#[tokio::test]
async fn p7_a_quarantined_delivery_is_here() {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    // Valid, but signed an hour ago.
    let outgoing = it.add_ended("e-2", DeliveryStatus::Delivered);
    let signature = it.world.sign(&outgoing.body);
    it.world.advance(HOUR);
    let answer = it.world.deliver_fynapse_with(&outgoing.body, &signature, Some("another-key")).await;
    assert_eq!((answer.status, it.world.quarantined().await.len()), (403, 1));
    let expected = json!({"pages": 1, "listed": {"DELIVERED": 2}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), expected, "by the event's id in the quarantined bytes");
    // Not JSON, so that only its key tells what it is.
    let outgoing = it.add_ended("e-3", DeliveryStatus::Delivered);
    let unreadable = "{";
    let signature = it.world.sign(unreadable);
    it.world.deliver_fynapse_with(unreadable, &signature, Some("key-e-3")).await;
    it.world.advance(HOUR);
    let expected = json!({"pages": 1, "listed": {"DELIVERED": 3}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), expected, "{outgoing:?}");
}

#[tokio::test]
async fn p4_a_payload_in_the_list_is_recorded_with_the_origin_poll() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.has_payloads = true);
    let outgoing = it.add_ended("e-1", DeliveryStatus::DeadLetter);
    let expected =
        json!({"pages": 1, "listed": {"DEAD_LETTER": 1}, "missed": 1, "recovered": 1, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), expected);
    let record = it.world.item("fynapse#event#e-1", "event").await.unwrap();
    assert_eq!((text(&record, "origin"), text(&record, "idempotency_key")), ("poll", "key-e-1"));
    assert_eq!(record["payload"].as_b().unwrap().as_ref(), outgoing.body.as_ref());
    assert_eq!(it.world.drain_event_ids().await, ["fynapse/event/e-1"]);
    assert_eq!(it.missed().await, [], "nothing is left to do");
    it.world.advance(MINUTE * 15);
    let settled = json!({"pages": 1, "listed": {"DEAD_LETTER": 1}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), settled);

    // A webhook that comes all the same is a duplicate, and is not compared byte for byte.
    let reply =
        it.world.deliver_fynapse_with(&outgoing.body, &it.world.sign(&outgoing.body), Some("key-e-1")).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"status":"duplicate"}"#));
}

#[tokio::test]
async fn a_long_list_is_read_over_several_runs() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.page_rows = 1);
    for number in 0..150 {
        it.add_ended(&format!("e-{number}"), DeliveryStatus::Pending);
        it.world.advance(Duration::from_secs(1));
    }
    assert_eq!(counts(&it.run_auditor().await), json!({"pages": 100, "listed": {"PENDING": 100}}));
    let state = it.world.item("fynapse#subscription#local-subscription", "check").await.unwrap();
    let progress: Value = serde_json::from_str(text(&state, "progress")).unwrap();
    assert_eq!(progress["next_page"], json!({"number": {"page": 100, "first": 0}}));
    assert_eq!((&progress["rows"], &progress["must_read_again"]), (&json!(100), &json!(false)));
    let rest = json!({"pages": 50, "listed": {"PENDING": 50}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), rest);
    // The next check reads the newest ones, and those of the overlap of 90 hours.
    it.world.advance(DAY * 4);
    assert_eq!(it.run_auditor().await["pages"], 100);
    assert_eq!(it.run_auditor().await["is_complete"], true);
    it.add_ended("e-new", DeliveryStatus::Pending);
    it.world.advance(MINUTE * 15);
    let newest = json!({"pages": 2, "listed": {"PENDING": 2}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), newest);
}

#[tokio::test]
async fn a_session_that_ends_during_a_run_is_begun_again() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| {
        list.page_rows = 1;
        list.session_ends_after = Duration::ZERO;
    });
    it.add_ended("e-1", DeliveryStatus::Pending);
    let Err(refused) = it.try_auditor().await.unwrap() else { panic!("no session lasts") };
    assert_eq!(refused.error_type, "FynapseUnauthorized");
    it.fynapse.configure(|list| list.session_ends_after = MINUTE * 5);
    assert_eq!(it.run_auditor().await["is_complete"], true);
    // Each run begins its own.
    it.world.advance(MINUTE * 15);
    assert_eq!(it.run_auditor().await["is_complete"], true);
}
