//! Writes that were applied and whose response was lost: the SDK sends them again, their condition fails, and the
//! code recognizes that they were applied.

use std::time::Duration;

use local::connector::{AwsCall, Fault};
use tests::rightfoot_world::RightfootWorld;
use tests::{MINUTE, World, alert_event_id, completion_event_id, extract_body, number};

use super::forged_webhooks::alert_with;

/// The way in which a claimed event ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    Requeued,
    Quarantined,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Done, Self::Requeued, Self::Quarantined];

    fn event_id(self) -> String {
        match self {
            Self::Done => "fynapse/event/e-1".to_owned(),
            Self::Requeued => completion_event_id("nowhere"),
            Self::Quarantined => alert_event_id("b-1", "u-1"),
        }
    }

    fn final_attribute(self) -> &'static str {
        match self {
            Self::Done => "done_at",
            Self::Requeued => "due_at",
            Self::Quarantined => "quarantined_at",
        }
    }

    /// An event on the queue that ends in this way.
    async fn set_up() -> RightfootWorld {
        let it = RightfootWorld::with_run("b-1", &[("a", "150.00")]).await;
        it.world.deliver_rightfoot(tests::completion_body("nowhere", "u-0")).await;
        it
    }
}

/// Number of the worker's last update of this event.
async fn last_update_index(ending: Ending) -> usize {
    let it = prepare_event(ending).await;
    it.world.run_worker().await;
    let log = it.world.stack.connector.call_log();
    let is_update =
        |call: &AwsCall| call.operation == "UpdateItem" && call.event_ids.contains(&ending.event_id());
    log.iter().filter(|(call, _)| is_update(call)).map(|(call, _)| call.index).next_back().unwrap()
}

async fn prepare_event(ending: Ending) -> RightfootWorld {
    let it = Ending::set_up().await;
    it.world.drain_queue().await;
    match ending {
        Ending::Done => drop(it.world.deliver_fynapse(extract_body("e-1")).await),
        Ending::Requeued => it.world.resend_event(&completion_event_id("nowhere")).await,
        Ending::Quarantined => {
            it.world.deliver_rightfoot(alert_with("b-1", "u-1", &[("stranger", "500", "100")])).await;
        }
    }
    it.world.stack.connector.clear_call_log();
    it
}

#[tokio::test]
async fn p10_an_ending_whose_answer_was_lost_is_written_and_its_message_acknowledged() {
    for ending in Ending::ALL {
        let at = Box::pin(last_update_index(ending)).await;
        let it = prepare_event(ending).await;
        it.world.lose_response(move |call| call.index == at);
        let outcome = it.world.run_worker_once().await;
        assert_eq!((outcome.deleted, outcome.failed), (1, 0), "{ending:?}");
        assert!(
            number(&it.world.event_record(&ending.event_id()).await, ending.final_attribute()).is_some(),
            "{ending:?}"
        );
    }
}

#[tokio::test]
async fn p2_a_relays_claim_whose_answer_was_lost_is_used_and_not_left_to_run_out() {
    let world = World::new().await;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    world.deliver_fynapse(extract_body("e-1")).await;
    // Past `RELAY_AGE_MS`: the record is due for the relay.
    world.advance(Duration::from_secs(31));
    world.stack.connector.clear_call_log();
    world.lose_response(|call| call.operation == "UpdateItem");
    let run = world.run_relay().await.unwrap().unwrap();
    assert_eq!((run["due"].as_u64(), run["sent"].as_u64()), (Some(1), Some(1)));
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"]);
}

#[tokio::test]
async fn p9_a_batch_that_was_put_off_is_asked_for_although_the_answer_was_lost() {
    let it = RightfootWorld::new().await;
    it.submit_batch("payroll", &["a"]).await;
    it.world.advance(MINUTE * 11);
    it.world.stack.connector.clear_call_log();
    it.world.lose_response(|call| call.operation == "UpdateItem");
    assert_eq!(it.run_poller().await.unwrap()["polled"], 1);
}
