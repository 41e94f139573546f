//! An erasure that ends after any of its writes, or whose response is lost, is completed by the next one.

use std::sync::atomic::{AtomicUsize, Ordering};

use local::connector::{AwsCall, Fault, until_crash};
use serde_json::{Map, Value, json};
use tests::rightfoot_world::RightfootWorld;

use super::{PERSON, SIBLING, assert_nowhere, erase, extract_naming, found_kinds, settle};
use crate::worker::forged_webhooks::alert_with;

fn is_write(call: &AwsCall) -> bool {
    !call.is_read() && call.operation != "DescribeTable"
}

/// An alert, a payload in parts that a quarantined copy names, too, and a schedule.
async fn with_parts() -> RightfootWorld {
    let it = RightfootWorld::with_batch("b-1", &[(PERSON, "150.00"), (SIBLING, "200")]).await;
    let world = &it.world;
    let many: Vec<_> = (0..100).map(|n| format!("nobody-{n}")).collect();
    let mut alerts: Vec<_> = many.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    alerts.extend([(PERSON, "150.00", "100"), (SIBLING, "200", "100")]);
    world.deliver_rightfoot(alert_with("b-1", "u-1", &alerts)).await;
    world.deliver_fynapse(extract_naming("e-1", &[PERSON], true)).await;
    world.deliver_fynapse(extract_naming("e-2", &[SIBLING], true)).await;
    world.store_balances("b-1", None, &[(PERSON, Some("150.00")), (SIBLING, Some("200"))]).await;
    it.request(json!({
        "action": "track_schedule", "schedule_id": "s-1", "probe_authorizers": [PERSON, SIBLING], "interval_days": 1,
        "thresholds": {"authorizers": many_thresholds()}, "expires_at": "2026-12-31",
    }))
    .await;
    for _ in 0..8 {
        settle(world).await;
    }
    world.stack.connector.clear_call_log();
    it
}

/// So many thresholds that they are stored in parts.
fn many_thresholds() -> Map<String, Value> {
    let names = (0..300).map(|n| format!("person-{n}")).chain([PERSON.to_owned()]);
    names.map(|name| (name, 100.into())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_after_a_crash_at_any_write_the_next_erasure_removes_the_rest() {
    let dry_run = with_parts().await;
    let before = dry_run.world.drain_bus_ids().await;
    dry_run.world.stack.connector.clear_call_log();
    assert_eq!(erase(&dry_run.world).await, []);
    let of_sibling = [("balance", 1), ("alert_effect", 1), ("event_payload", 1), ("schedule", 1)];
    assert_eq!(found_kinds(&dry_run.world, SIBLING).await, of_sibling);
    let log = dry_run.world.stack.connector.call_log();
    let writes: Vec<_> = log.iter().map(|(call, _)| call).filter(|call| is_write(call)).cloned().collect();
    // The audit entry, the balance, the tombstone and the effect, and two payloads, the quarantined bytes and thresholds in parts.
    assert!(writes.len() >= 14, "{writes:#?}");
    for at in 0..writes.len() {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::TimeoutAfter] {
            let it = with_parts().await;
            let world = &it.world;
            assert_eq!(world.drain_bus_ids().await, before);
            world.stack.connector.clear_call_log();
            let count = AtomicUsize::new(0);
            world.stack.connector.set_fault_plan(move |call| {
                let is_hit = is_write(call) && count.fetch_add(1, Ordering::SeqCst) == at;
                is_hit.then_some(fault)
            });
            let first = until_crash(world.erase_person(PERSON)).await;
            world.stack.connector.clear_fault_plan();
            assert_eq!(first.is_none(), fault != Fault::TimeoutAfter, "{at} {fault:?}");
            if fault == Fault::TimeoutAfter {
                // The SDK repeats the request.
                assert_eq!(first.unwrap().unwrap(), [], "{at}: {:?}", writes[at]);
            }
            assert_eq!(erase(world).await, [], "{at} {fault:?}: {:?}", writes[at]);
            assert_nowhere(world, PERSON).await;
            let items = world.items().await;
            assert!(items.iter().all(|item| !item.contains_key("parts_to_delete")), "{at} {fault:?}");
            assert_eq!(found_kinds(world, SIBLING).await, of_sibling, "{at} {fault:?}");
            // A late webhook about the same alert publishes nothing.
            world.deliver_rightfoot(alert_with("b-1", "u-9", &[(PERSON, "150.00", "100")])).await;
            settle(world).await;
            assert_eq!(world.drain_bus_ids().await, Vec::<String>::new(), "{at} {fault:?}");
        }
    }
}
