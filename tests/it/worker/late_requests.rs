//! Requests that arrive after their worker has given up and another one has gone on.

use std::time::Duration;

use inbox_aws::stores::{AlertClaim, ClaimedEvent, DueKey, EventClaim, RelayClaim, Stores, WriteOutcome};
use inbox_core::effect::RequeueDetails;
use inbox_core::effect::alert::{ThresholdCrossing, ThresholdSource};
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use inbox_core::quarantine::QuarantineReason;
use local::connector::Fault;
use tests::{MINUTE, World, alert_body, alert_event_id, extract_body};

async fn claim_event(stores: &Stores, key: &EventKey, world: &World) -> ClaimedEvent {
    let claim = stores.processing.claim_event(key, world.now()).await.unwrap();
    let work = if let EventClaim::Acquired(work) = claim { Some(*work) } else { None };
    work.unwrap()
}

/// Otherwise the older claim, which expires earlier, would replace the younger one, and the other event's worker
/// would publish the alert while this one does.
#[tokio::test]
async fn p10_a_claim_of_an_alert_that_arrives_late_does_not_take_the_place_of_a_younger_one() {
    let world = World::new().await;
    assert_eq!(world.deliver_rightfoot(alert_body("b-1", "u-1")).await.status, 200);
    let stores = world.stores();
    let met = ThresholdCrossing {
        authorizer: Id::new("user-123").unwrap(),
        institution: None,
        balance: "150.00".parse().unwrap(),
        threshold: "100.00".parse().unwrap(),
        threshold_source: ThresholdSource::Webhook,
    };
    let key = EventKey::from_event_id(&alert_event_id("b-1", "u-1")).unwrap();
    let first = claim_event(&stores, &key, &world).await;
    let connector = &world.stack.connector;
    world.inject_fault_once(Fault::AppliedLater, |_| true);
    let claim = stores.processing.claim_alert(&first, &met, world.now()).await.unwrap();
    assert!(matches!(claim, AlertClaim::Acquired(_)), "the second attempt: {claim:?}");
    assert_eq!(
        stores
            .processing
            .requeue(&first, world.now().plus(MINUTE), &RequeueDetails::with_reason("not_ready"), world.now())
            .await
            .unwrap(),
        WriteOutcome::Applied
    );

    world.advance(MINUTE);
    let second = claim_event(&stores, &key, &world).await;
    let claim = stores.processing.claim_alert(&second, &met, world.now()).await.unwrap();
    assert!(matches!(claim, AlertClaim::Acquired(_)), "{claim:?}");
    let effect = async || world.item("rightfoot#batch#b-1", "effect#alert#user-123").await.unwrap();
    let stands = effect().await;
    assert_eq!(connector.delayed_count(), 1);
    connector.apply_delayed(Fault::AppliedLater).await;
    assert_eq!(effect().await, stands);
}

/// Otherwise the record would be due again, and then expire with the next mark, before the item that leads to it.
#[tokio::test]
async fn p7_a_record_quarantined_by_the_relay_is_not_requeued_by_a_worker_whose_claim_expired() {
    let world = World::new().await;
    world.inject_fault("UpdateItem", Fault::CrashBefore);
    world.deliver_fynapse(extract_body("e-1")).await;
    world.stack.connector.clear_fault_plan();
    let (stores, key) = (world.stores(), EventKey::from_event_id("fynapse/event/e-1").unwrap());
    let work = claim_event(&stores, &key, &world).await;

    world.advance(Duration::from_secs(PROCESSING_CLAIM_SECS + 1));
    let place = DueKey { due_at: world.now(), pk: key.pk(), sk: key.sk() };
    let due = stores.outbox.read_due_records(&[place]).await.unwrap().records.pop().unwrap();
    let claim = stores.outbox.claim_record(due, world.now()).await.unwrap();
    let relayed = if let RelayClaim::Acquired(relayed) = claim { Some(relayed) } else { None }.unwrap();
    let given_up = stores
        .outbox
        .quarantine_claimed(&relayed, QuarantineReason::QueueRefused, world.now())
        .await
        .unwrap();
    assert_eq!(given_up, WriteOutcome::Applied);

    let stands = world.event_record("fynapse/event/e-1").await;
    let later = world.now().plus(MINUTE);
    assert_eq!(
        stores
            .processing
            .requeue(&work, later, &RequeueDetails::with_reason("not_ready"), world.now())
            .await
            .unwrap(),
        WriteOutcome::Conflict
    );
    assert_eq!(world.event_record("fynapse/event/e-1").await, stands);
}

/// Otherwise the event would be blocked until that claim expires; and if the worker's last write is late as well, it
/// would end an event that an operator has requeued.
#[tokio::test]
async fn p10_a_claim_that_arrives_after_it_was_ended_is_void() {
    let world = World::new().await;
    assert_eq!(world.deliver_fynapse(extract_body("e-1")).await.status, 200);
    let (stores, key) = (world.stores(), EventKey::from_event_id("fynapse/event/e-1").unwrap());
    let connector = &world.stack.connector;
    world.inject_fault_once(Fault::AppliedLater, |_| true);
    let work = claim_event(&stores, &key, &world).await;
    assert_eq!(
        stores
            .processing
            .requeue(&work, world.now().plus(MINUTE), &RequeueDetails::with_reason("not_ready"), world.now())
            .await
            .unwrap(),
        WriteOutcome::Applied
    );

    let stands = world.event_record("fynapse/event/e-1").await;
    assert_eq!(connector.delayed_count(), 1);
    connector.apply_delayed(Fault::AppliedLater).await;
    assert_eq!(world.event_record("fynapse/event/e-1").await, stands);
}
