//! A write that was applied and whose answer was lost: the SDK sends it again, its condition no longer holds, and still it was
//! applied.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::connector::{AwsCall, Fault};
use tests::rightfoot::{MINUTE, RightfootWorld};
use tests::{World, alerted, completed, extract, number, text};

use super::forgeries::alert_of;

/// How an event ends that a worker has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    PutBack,
    Quarantined,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Done, Self::PutBack, Self::Quarantined];

    fn event_id(self) -> String {
        match self {
            Self::Done => "fynapse/event/e-1".to_owned(),
            Self::PutBack => completed("nowhere"),
            Self::Quarantined => alerted("b-1", "u-1"),
        }
    }

    fn leaves(self) -> &'static str {
        match self {
            Self::Done => "done_at",
            Self::PutBack => "due_at",
            Self::Quarantined => "quarantined_at",
        }
    }

    /// An event on the queue that ends so.
    async fn set_up() -> RightfootWorld {
        let it = RightfootWorld::known_run("b-1", &[("a", "150.00")]).await;
        it.world.rightfoot(tests::completion("nowhere", "u-0")).await;
        it
    }
}

/// The number of the last update that the worker makes of this event.
async fn last_update(ending: Ending) -> usize {
    let it = prepared(ending).await;
    it.world.work().await;
    let log = it.world.system.connector.call_log();
    let is_update = |call: &AwsCall| call.operation == "UpdateItem" && call.event_ids.contains(&ending.event_id());
    log.iter().filter(|(call, _)| is_update(call)).map(|(call, _)| call.index).next_back().unwrap()
}

async fn prepared(ending: Ending) -> RightfootWorld {
    let it = Ending::set_up().await;
    it.world.drain().await;
    match ending {
        Ending::Done => drop(it.world.fynapse(extract("e-1")).await),
        Ending::PutBack => it.world.send_again(&completed("nowhere")).await,
        Ending::Quarantined => {
            it.world.rightfoot(alert_of("b-1", "u-1", &[("stranger", "500", "100")])).await;
        }
    }
    it.world.system.connector.clear_call_log();
    it
}

#[tokio::test]
async fn p10_an_ending_whose_answer_was_lost_is_written_and_its_message_acknowledged() {
    for ending in Ending::ALL {
        let at = last_update(ending).await;
        let it = prepared(ending).await;
        it.world.system.connector.set_fault_plan(move |call| (call.index == at).then_some(Fault::TimeoutAfter));
        let worked = it.world.work_once().await;
        assert_eq!((worked.deleted, worked.failed), (1, 0), "{ending:?}");
        assert!(number(&it.world.record(&ending.event_id()).await, ending.leaves()).is_some(), "{ending:?}");
    }
}

#[tokio::test]
async fn p2_a_relays_claim_whose_answer_was_lost_is_used_and_not_left_to_run_out() {
    let world = World::new().await;
    world.system.connector.set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
    world.fynapse(extract("e-1")).await;
    world.pass(Duration::from_secs(31));
    world.system.connector.clear_call_log();
    let first_update = AtomicBool::new(true);
    world.system.connector.set_fault_plan(move |call| {
        let is_claim = call.operation == "UpdateItem" && first_update.swap(false, Ordering::SeqCst);
        is_claim.then_some(Fault::TimeoutAfter)
    });
    let run = world.relay().await.unwrap().unwrap();
    assert_eq!((run["found"].as_u64(), run["sent"].as_u64()), (Some(1), Some(1)));
    assert_eq!(world.drain_ids().await, ["fynapse/event/e-1"]);
}

#[tokio::test]
async fn p9_a_batch_that_was_put_off_is_asked_for_although_the_answer_was_lost() {
    let it = RightfootWorld::new().await;
    it.submit("payroll", &["a"]).await;
    it.world.pass(MINUTE * 11);
    it.world.system.connector.clear_call_log();
    let first_update = AtomicBool::new(true);
    it.world.system.connector.set_fault_plan(move |call| {
        let is_put_off = call.operation == "UpdateItem" && first_update.swap(false, Ordering::SeqCst);
        is_put_off.then_some(Fault::TimeoutAfter)
    });
    assert_eq!(it.poll().await.unwrap()["asked"], 1);
}

/// The parts of a payload are gone: neither relay nor worker can ever deal with the event, and an operator must see it.
#[tokio::test]
async fn p7_an_event_whose_payload_is_gone_goes_to_quarantine() {
    for parts_expired in [true, false] {
        let world = World::new().await;
        let body = extract("e-1").replace("150.00", &format!("\"{}\"", tests::noise(20_000, 1)));
        world.system.connector.set_fault_plan(|call| (call.operation == "SendMessage").then_some(Fault::AccessDenied));
        world.fynapse(&body).await;
        world.system.connector.clear_fault_plan();
        world.forget("payload#").await;
        if parts_expired {
            let mut record = world.record("fynapse/event/e-1").await;
            record.insert("parts_expire_at".to_owned(), AttributeValue::N("1".to_owned()));
            world.put(record).await;
        }
        world.pass(Duration::from_secs(31));
        let run = world.relay().await.unwrap().unwrap();
        assert_eq!((run["quarantined"].as_u64(), run["sent"].as_u64()), (Some(1), Some(0)));
        assert_eq!(world.quarantined().await[0].0, "payload_gone");
        assert!(!world.record("fynapse/event/e-1").await.contains_key("due"), "due for ever");
    }
}

#[tokio::test]
async fn p7_an_alert_whose_payload_is_gone_goes_to_quarantine_and_not_round_and_round() {
    let it = RightfootWorld::known_run("b-1", &[("a", "150.00")]).await;
    let many: Vec<_> = (0..200).map(|n| format!("user-{n}")).collect();
    let many: Vec<_> = many.iter().map(|id| (id.as_str(), "150.00", "100")).collect();
    it.world.rightfoot(alert_of("b-1", "u-1", &many)).await;
    it.world.forget("payload#").await;
    let worked = it.world.work_once().await;
    assert_eq!((worked.deleted, worked.failed), (1, 0));
    let kept = it.world.items().await;
    let kept = kept.iter().find(|item| text(item, "reason") == "payload_gone").unwrap();
    assert_eq!(text(kept, "event_id"), alerted("b-1", "u-1"));
}
