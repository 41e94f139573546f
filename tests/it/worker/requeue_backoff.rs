//! Effects that cannot happen yet: the event is due again with growing pauses, and the message is acknowledged.

use std::time::Duration;

use local::connector::Fault;
use local::rightfoot_simulator::{CannedResponse, IncompleteBatchResponse, ScriptedResponse};
use tests::rightfoot_world::RightfootWorld;
use tests::{HOUR, MINUTE, World, completion_body, completion_event_id, extract_body, number, text};

/// Seconds until an event is due again.
async fn due_in(world: &World, event_id: &str) -> Option<i64> {
    let record = world.event_record(event_id).await;
    assert!(!record.contains_key("claim_by") && !record.contains_key("expires_at"));
    number(&record, "due_at").filter(|_| record.contains_key("due")).map(|at| (at - world.now().0) / 1_000)
}

fn balances_response(answer: CannedResponse) -> ScriptedResponse {
    ScriptedResponse { path_contains: "/v1/balances".to_owned(), response: answer, remaining_uses: None }
}

#[tokio::test]
async fn while_rightfoot_does_not_answer_an_event_is_requeued_and_sqs_counts_no_failure() {
    for (answer, reason, first) in [
        (CannedResponse::Status(401), "unauthorized", 60),
        (CannedResponse::Status(403), "forbidden", 60),
        (CannedResponse::Status(404), "not_ready", 60),
        (CannedResponse::Status(429), "rate_limited", 60),
        (CannedResponse::RetryAfter { status: 429, secs: 300 }, "rate_limited", 300),
        (CannedResponse::RetryAfter { status: 429, secs: 5 }, "rate_limited", 60),
        (CannedResponse::Status(500), "unavailable", 60),
        (CannedResponse::Html, "invalid_response", 60),
        (CannedResponse::WrongShape, "invalid_response", 60),
        (CannedResponse::Truncated, "unavailable", 60),
    ] {
        let it = RightfootWorld::new().await;
        let submitted = it.submit_batch("payroll", &["a"]).await;
        let id = completion_event_id(submitted["batch_id"].as_str().unwrap());
        it.advance(MINUTE * 6).await;
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![balances_response(answer)]);
        let outcome = it.world.run_worker().await;
        assert_eq!((outcome.deleted, outcome.failed), (1, 0), "{answer:?}");
        assert_eq!(due_in(&it.world, &id).await, Some(first), "{answer:?}");
        let requeued = it.world.event_record(&id).await;
        assert_eq!(
            (text(&requeued, "retry_reason"), number(&requeued, "requeues")),
            (reason, Some(1)),
            "{answer:?}"
        );

        // The second pause is longer. Then Rightfoot answers.
        it.world.advance(Duration::from_secs(301));
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
        assert_eq!(due_in(&it.world, &id).await, Some(first.max(120)), "{answer:?}");
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.world.advance(Duration::from_secs(301));
        it.world.run_relay().await.unwrap().unwrap();
        it.world.run_worker().await;
        assert_eq!(it.world.drain_bus_ids().await, [id], "{answer:?}");
        assert_eq!(it.world.due_items().await.len(), 1, "the batch itself, which the poller settles");
    }
}

#[tokio::test]
async fn p9_an_event_about_which_rightfoot_never_answers_stays_due_beyond_the_deadline() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1")]).await;
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses = vec![balances_response(CannedResponse::Status(401))]
    });
    it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    for _ in 0..(25 * 4) {
        it.world.run_worker().await;
        it.world.advance(MINUTE * 15);
        it.world.run_relay().await.unwrap().unwrap();
    }
    assert_eq!(it.world.quarantined().await, []);
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    for _ in 0..2 {
        it.world.run_worker().await;
        it.world.advance(MINUTE * 15);
        it.world.run_relay().await.unwrap().unwrap();
    }
    it.world.run_worker().await;
    assert_eq!(
        it.world.drain_bus_ids().await,
        [completion_event_id("b-1")],
        "late is complete, by two looks"
    );
}

#[tokio::test]
async fn an_untracked_batch_is_complete_when_two_reads_a_minute_apart_match() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1"), ("b", "null")]).await;
    it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    it.world.run_worker().await;
    assert_eq!(
        (it.world.drain_bus_ids().await, it.world.stored_balances().await.len()),
        (vec![], 2),
        "stored, and not published yet"
    );
    it.rightfoot
        .replace_completed_batch("b-1", &tests::worker_effects::balance_pairs(&[("a", "1"), ("b", "2")]));
    // Past the first requeue delay of 60 s, which is also the least time between two snapshots that count.
    it.world.advance(Duration::from_secs(61));
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    assert_eq!(it.world.drain_bus_ids().await, [""; 0], "it has changed");
    // Past the second requeue delay, which is twice the first.
    it.world.advance(Duration::from_secs(121));
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    let published = it.world.drain_bus().await;
    assert_eq!(published.len(), 1);
    assert_eq!((published[0].detail["found"].as_u64(), published[0].detail.get("expected")), (Some(2), None));
    assert_eq!(it.world.stored_balances().await.len(), 2);
}

#[tokio::test]
async fn a_batch_in_process_is_published_only_when_it_is_complete() {
    for before_completion in [
        IncompleteBatchResponse::FewerRows,
        IncompleteBatchResponse::EmptyList,
        IncompleteBatchResponse::Accepted202,
        IncompleteBatchResponse::NotFound404,
        IncompleteBatchResponse::TooEarly425,
    ] {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.incomplete_batch_response = before_completion;
            rightfoot.processing_time = MINUTE * 30;
        })
        .await;
        let submitted = it.submit_batch("payroll", &["a", "b", "c"]).await;
        let batch = submitted["batch_id"].as_str().unwrap();
        let token = it.world.stack.mint_url_token(&"payroll".parse().unwrap()).unwrap();
        it.advance(MINUTE * 11).await;
        it.world.deliver_rightfoot_to(&token, completion_body(batch, "too-early")).await;
        for _ in 0..8 {
            it.world.run_worker().await;
            assert!(
                it.rightfoot.batches()[0].completes_at <= it.world.now()
                    || it.world.drain_bus_ids().await.is_empty()
            );
            it.advance(MINUTE * 5).await;
            it.world.run_relay().await.unwrap().unwrap();
        }
        it.world.run_worker().await;
        let stored = it.world.stored_balances().await;
        assert_eq!(stored.len(), 3, "{before_completion:?}");
        assert!(number(&it.world.event_record(&completion_event_id(batch)).await, "done_at").is_some());
    }
}

#[tokio::test]
async fn p2_while_the_bus_is_down_events_are_due_again_and_none_becomes_a_dead_letter() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.inject_fault("PutEvents", Fault::ServerError);
    for works in 1..=20 {
        let outcome = world.run_worker().await;
        assert_eq!((outcome.deleted, outcome.failed), (1, 0));
        assert_eq!(number(&world.event_record("fynapse/event/e-1").await, "requeues"), Some(works));
        world.advance(MINUTE * 16);
        world.run_relay().await.unwrap().unwrap();
    }
    world.stack.connector.clear_fault_plan();
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"]);
}

/// An event that waits for its provider is not late: the relay's age counts from the time at which it should be
/// enqueued.
#[tokio::test]
async fn an_event_that_waits_is_not_taken_for_one_that_the_relay_has_not_sent() {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1")]).await;
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses = vec![balances_response(CannedResponse::Status(500))]
    });
    it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    for _ in 0..6 {
        it.world.run_worker().await;
        it.world.advance(MINUTE * 14);
        let run = it.world.run_relay().await.unwrap().unwrap();
        assert!(run["oldest_due_age_secs"].as_u64().unwrap() < 14 * 60, "{run}");
    }
    let record = it.world.event_record(&completion_event_id("b-1")).await;
    let age = Duration::from_millis(
        u64::try_from(it.world.now().0 - number(&record, "received_at").unwrap()).unwrap(),
    );
    assert!(age > HOUR);
}
