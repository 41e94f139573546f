//! Events whose payload is no longer stored.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::connector::Fault;
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_event_id, extract_body, text};

use crate::worker::forged_webhooks::alert_with;

/// The payload's parts are gone: neither relay nor worker can ever process the event, and an operator must see it.
#[tokio::test]
async fn p7_an_event_whose_payload_is_gone_goes_to_quarantine() {
    for parts_expired in [true, false] {
        let world = World::new().await;
        let body = extract_body("e-1").replace("150.00", &format!("\"{}\"", tests::random_hex(20_000, 1)));
        world.inject_fault("SendMessage", Fault::AccessDenied);
        world.deliver_fynapse(&body).await;
        world.stack.connector.clear_fault_plan();
        world.expire_items("payload#").await;
        if parts_expired {
            let mut record = world.event_record("fynapse/event/e-1").await;
            record.insert("parts_expire_at".to_owned(), AttributeValue::N("1".to_owned()));
            world.put_item(record).await;
        }
        // Past `RELAY_AGE_MS`: the record is due for the relay.
        world.advance(Duration::from_secs(31));
        let run = world.run_relay().await.unwrap().unwrap();
        assert_eq!((run["quarantined"].as_u64(), run["sent"].as_u64()), (Some(1), Some(0)));
        assert_eq!(world.quarantined().await[0].0, "payload_gone");
        assert!(!world.event_record("fynapse/event/e-1").await.contains_key("due"), "due for ever");
    }
}

#[tokio::test]
async fn p7_an_alert_whose_payload_is_gone_goes_to_quarantine_and_not_round_and_round() {
    let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
    let many: Vec<_> = (0..200).map(|n| format!("user-{n}")).collect();
    let many: Vec<_> = many.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    it.world.deliver_rightfoot(alert_with("b-1", "u-1", &many)).await;
    it.world.expire_items("payload#").await;
    let outcome = it.world.run_worker_once().await;
    assert_eq!((outcome.deleted, outcome.failed), (1, 0));
    let items = it.world.items().await;
    let quarantined = items.iter().find(|item| text(item, "reason") == "payload_gone").unwrap();
    assert_eq!(text(quarantined, "event_id"), alert_event_id("b-1", "u-1"));
}
