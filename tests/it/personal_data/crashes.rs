//! An erasure that ends after any of its writes, or whose response is lost, is completed by the next one.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, StreamExt};
use local::connector::{AwsCall, Fault, until_crash};
use serde_json::{Map, Value, json};
use tests::rightfoot_world::RightfootWorld;

use super::{PERSON, SIBLING, assert_nowhere, erase, extract_naming, found_kinds, settle};
use crate::worker::forged_webhooks::alert_with;

fn is_write(call: &AwsCall) -> bool {
    !call.is_read()
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
    for _ in 0..2 {
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

/// What is there of the other person, before and after.
const OF_SIBLING: [(&str, usize); 4] =
    [("balance", 1), ("alert_effect", 1), ("event_payload", 1), ("schedule", 1)];

/// Erases the person with a fault in one of the writes, and then once more without.
async fn erase_twice(at: usize, fault: Fault) {
    let it = with_parts().await;
    let world = &it.world;
    world.drain_bus_ids().await;
    let count = AtomicUsize::new(0);
    world.stack.connector.set_fault_plan(move |call| {
        let is_hit = is_write(call) && count.fetch_add(1, Ordering::SeqCst) == at;
        is_hit.then_some(fault)
    });
    let first = until_crash(world.erase_person(PERSON)).await;
    world.stack.connector.clear_fault_plan();
    // After a time-out, the SDK repeats the request.
    let is_complete = first.is_some_and(|left| left.unwrap().is_empty());
    assert_eq!(is_complete, fault == Fault::TimeoutAfter);
    assert_eq!(erase(world).await, []);
    assert_nowhere(world, PERSON).await;
    assert!(world.items().await.iter().all(|item| !item.contains_key("parts_to_delete")));
    assert_eq!(found_kinds(world, SIBLING).await, OF_SIBLING);
    // A late webhook about the same alert publishes nothing.
    world.deliver_rightfoot(alert_with("b-1", "u-9", &[(PERSON, "150.00", "100")])).await;
    settle(world).await;
    assert_eq!(world.drain_bus_ids().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_after_a_crash_at_any_write_the_next_erasure_removes_the_rest() {
    let it = with_parts().await;
    assert_eq!(erase(&it.world).await, []);
    assert_eq!(found_kinds(&it.world, SIBLING).await, OF_SIBLING);
    let log = it.world.stack.connector.call_log();
    let writes: Vec<_> =
        log.iter().filter(|(call, _)| is_write(call)).map(|(call, _)| call.operation.as_str()).collect();
    let (update, delete) = ("UpdateItem", "DeleteItem");
    let expected = [
        // The audit entry, the balance; what stays of the alert, and the alert.
        vec!["TransactWriteItems", delete, update, delete],
        // The extract and its part; the alerts, whose part the quarantined bytes name, too; these, and the part.
        vec![update, delete, update, update, update, update, delete, update],
        // A part with the new thresholds, the schedule, the part with the old ones.
        vec!["PutItem", update, delete, update],
    ];
    assert_eq!(writes, expected.concat());
    let cells = (0..writes.len())
        .flat_map(|at| [Fault::CrashBefore, Fault::CrashAfter, Fault::TimeoutAfter].map(|fault| (at, fault)));
    let running = stream::iter(cells)
        .map(async |(at, fault)| (at, fault, tokio::spawn(erase_twice(at, fault)).await))
        .buffered(8);
    for (at, fault, ended) in running.collect::<Vec<_>>().await {
        assert!(ended.is_ok(), "write {at} ({}), {fault:?}: {ended:?}", writes[at]);
    }
}
