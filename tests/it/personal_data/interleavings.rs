//! An erasure beside a worker that processes another event about the same alert, in every order of their steps.

use std::collections::BTreeSet;

use inbox_aws::stores::{Erasure, PersonalDataKind};
use local::connector::AwsCall;
use tests::interleave::{Interleaving, SteppedProcess, explore_interleavings, run_in_order};
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_event_id, number};

use super::{PERSON, erase, find, person, settle};
use crate::worker::forged_webhooks::alert_with;

/// Writes, and the reads of what is not an event: the batch, and whether an alert was erased.
fn is_step(call: &AwsCall) -> bool {
    match call.operation.as_str() {
        "UpdateItem" | "PutEvents" | "DeleteItem" => true,
        "GetItem" => call.event_ids.is_empty(),
        _ => false,
    }
}

async fn erase_alert(world: World) -> Option<Erasure> {
    let store = world.personal_data();
    // The late event comes after the search.
    let mut found = find(&world, PERSON).await;
    let at = found.items.iter().position(|item| item.kind == PersonalDataKind::AlertEffect)?;
    Some(store.erase(&person(), &mut found, at, world.now()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_p10_an_alert_that_is_erased_beside_a_late_event_is_published_once_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let it = RightfootWorld::with_batch("b-1", &[(PERSON, "150.00")]).await;
        let world = &it.world;
        world.deliver_rightfoot(alert_with("b-1", "u-1", &[(PERSON, "150.00", "100")])).await;
        settle(world).await;
        assert_eq!(world.drain_bus_ids().await.len(), 1);
        world.deliver_rightfoot(alert_with("b-1", "u-2", &[(PERSON, "150.00", "100")])).await;
        let worker = SteppedProcess::spawn(world, is_step, async |world| {
            world.run_worker().await;
            None
        });
        let interleaving =
            run_in_order(vec![worker, SteppedProcess::spawn(world, is_step, erase_alert)], &order).await;
        let erasure = interleaving.outcomes[1].flatten().unwrap();
        assert_eq!(erasure, Erasure::Erased);
        settle(world).await;
        assert_eq!(world.drain_bus_ids().await, Vec::<String>::new(), "{order:?}: published again");
        let late = world.event_record(&alert_event_id("b-1", "u-2")).await;
        assert!(number(&late, "done_at").is_some(), "{order:?}");
        assert_eq!(erase(world).await, [], "{order:?}");
        assert!(find(world, PERSON).await.items.is_empty(), "{order:?}");
        interleaving
    })
    .await;
    assert!(all.len() > 50, "{}", all.len());
    // Only a worker whose claim finds the effect deleted looks whether it was erased.
    let reads = |it: &Interleaving<_>| it.steps[0].iter().filter(|step| *step == "GetItem").count();
    let reads: BTreeSet<_> = all.iter().map(reads).collect();
    assert_eq!(reads.len(), 2, "{reads:?}");
}
