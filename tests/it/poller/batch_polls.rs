//! Batches: announced by a webhook, found by the poller, or overdue.

use local::rightfoot_simulator::{CannedResponse, IncompleteBatchResponse, ScriptedResponse, WebhookLoss};
use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, authorizer_json, submit_batch_request};
use tests::{HOUR, MINUTE, SUBJECT, completion_body, number};

use super::{
    completion_event_id, id_and_origin, minute, request_minutes, set_balances, submit_batch,
    submit_without_inbox, tracked_item,
};
use crate::metrics_recorder::Counters;

async fn world_without_webhooks() -> RightfootWorld {
    RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await
}

#[tokio::test]
async fn p5_a_batch_whose_webhook_came_is_complete_without_a_question() {
    let it = RightfootWorld::new().await;
    let batch = submit_batch(&it, "payroll-1", &["a", "b", "c"]).await;
    it.rightfoot.clear_requests();
    it.run_for(MINUTE * 30).await;
    assert_eq!(
        it.world.drain_ids_and_origins().await,
        [id_and_origin(completion_event_id(&batch), "webhook")]
    );
    assert_eq!(it.rightfoot.requests().len(), 0);
    assert_eq!(it.world.due_polls().await, []);
}

#[tokio::test]
async fn p5_a_batch_whose_webhook_was_lost_is_found_complete_by_the_first_poll() {
    let it = world_without_webhooks().await;
    let batch = submit_batch(&it, "payroll-1", &["a", "b", "c"]).await;
    it.rightfoot.clear_requests();
    it.run_for(MINUTE * 9).await;
    assert_eq!((it.world.drain_event_ids().await.len(), it.rightfoot.requests().len()), (0, 0));
    it.run_for(MINUTE).await;
    assert_eq!(it.world.drain_ids_and_origins().await, [id_and_origin(completion_event_id(&batch), "poll")]);
    it.run_for(MINUTE * 20).await;
    assert_eq!(request_minutes(&it), [10]);
    assert_eq!(it.world.due_polls().await, []);
    let tracked = tracked_item(&it, &batch).await;
    let (done_at, expires_at) =
        (number(&tracked, "done_at").unwrap(), number(&tracked, "expires_at").unwrap());
    assert_eq!(expires_at, done_at / 1_000 + 30 * 86_400, "kept for thirty days");
}

#[tokio::test]
async fn p3_p5_a_late_webhook_is_a_duplicate_and_counted() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = world_without_webhooks().await;
    let batch = submit_batch(&it, SUBJECT, &["a"]).await;
    it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
    assert_eq!(counters.count("found_by_poll", ""), 1);
    for late in 1..=2 {
        let response = it.world.deliver_rightfoot(completion_body(&batch, "u-1")).await;
        assert_eq!((response.status, response.body.as_str()), (200, r#"{"status":"duplicate"}"#));
        assert_eq!(counters.count("late_webhook", "rightfoot"), late);
    }
    assert_eq!(counters.count("payload_differs", "rightfoot"), 0, "it has an event_uuid, and means the same");
    it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
    assert_eq!(it.world.drain_ids_and_origins().await, [id_and_origin(completion_event_id(&batch), "poll")]);
}

#[tokio::test]
async fn p5_a_slow_batch_is_asked_for_less_and_less_often_and_is_not_complete_before_it_is() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.processing_time = MINUTE * 66;
    })
    .await;
    let batch = submit_batch(&it, "payroll-1", &["a", "b", "c"]).await;
    it.rightfoot.clear_requests();
    it.run_for(MINUTE * 69).await;
    assert_eq!(
        it.world.drain_event_ids().await,
        Vec::<String>::new(),
        "has_more is false, and rows are missing"
    );
    it.run_for(MINUTE).await;
    assert_eq!(it.world.drain_ids_and_origins().await, [id_and_origin(completion_event_id(&batch), "poll")]);
    // After ten minutes, and then with pauses of 5, 10 and at most 15 minutes.
    assert_eq!(request_minutes(&it), [10, 15, 25, 40, 55, 70]);
}

#[tokio::test]
async fn whom_rightfoot_refused_and_whose_check_failed_is_not_waited_for() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        set_balances(rightfoot, &[("a", "1.00"), ("b", "null"), ("c", "failed")]);
    })
    .await;
    let mut request = submit_batch_request("payroll-1", &["a", "b", "c", "refused"]);
    request["authorizers"][3] = authorizer_json("refused");
    request["authorizers"][3].as_object_mut().unwrap().remove("ssn");
    let answer = it.request(request).await;
    assert_eq!(answer["failed_authorizers"][0]["authorizer_unique_id"], "refused");
    it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
    let batch = answer["batch_id"].as_str().unwrap();
    assert_eq!(it.world.drain_ids_and_origins().await, [id_and_origin(completion_event_id(batch), "poll")]);
}

#[tokio::test]
async fn p9_a_batch_that_is_never_complete_is_overdue_at_the_first_answer_after_its_deadline() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.processing_time = HOUR * 999).await;
    let batch = submit_batch(&it, SUBJECT, &["a", "b", "c"]).await;
    it.rightfoot.clear_requests();
    it.run_in_steps(MINUTE * 5, MINUTE * 25).await;
    it.run_in_steps(MINUTE * 15, MINUTE * 1_410).await;
    assert_eq!(request_minutes(&it).last(), Some(&1_435), "five minutes before the deadline");
    let due: Vec<_> = it.world.due_polls().await.iter().map(|(_, due_at)| minute(*due_at)).collect();
    assert_eq!((due, counters.count("overdue", "")), (vec![1_450], 0));
    it.advance(MINUTE * 15).await;
    assert_eq!(it.run_poller().await.unwrap()["overdue"], 1);
    assert_eq!((it.world.due_polls().await, counters.count("overdue", "")), (vec![], 1));
    let item = tracked_item(&it, &batch).await;
    assert_eq!(number(&item, "overdue_at"), Some(it.world.now().0));
    assert!(item.contains_key("expires_at") && !item.contains_key("done_at"));
    assert_eq!(it.world.drain_event_ids().await, Vec::<String>::new());

    assert_eq!(it.world.deliver_rightfoot(completion_body(&batch, "u-1")).await.status, 200);
    assert_eq!(
        it.world.drain_ids_and_origins().await,
        [id_and_origin(completion_event_id(&batch), "webhook")],
        "better late than never"
    );
}

#[tokio::test]
async fn p9_while_rightfoot_is_silent_a_batch_stays_due_for_days() {
    for (becomes, ends_as, events) in [("complete", "done_at", 1), ("never", "overdue_at", 0)] {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.incomplete_batch_response = IncompleteBatchResponse::NotFound404;
            if becomes == "never" {
                rightfoot.processing_time = HOUR * 999;
            }
        })
        .await;
        let batch = submit_batch(&it, "payroll-1", &["a"]).await;
        let down = ScriptedResponse {
            path_contains: "/v1/".to_owned(),
            response: CannedResponse::Status(502),
            remaining_uses: None,
        };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![down]);
        for half_days in 1..=10 {
            it.advance(HOUR * 12).await;
            let run = it.run_poller().await.unwrap();
            assert_eq!((&run["polled"], &run["failed"], &run["overdue"]), (&json!(1), &json!(1), &json!(0)));
            assert_eq!(
                run["overdue_unanswered"],
                json!(u64::from(half_days >= 2)),
                "past the deadline that alarms"
            );
        }
        let next = it.world.now().plus(MINUTE * 15);
        assert_eq!(it.world.due_polls().await, [(format!("rightfoot#batch#{batch}"), next)]);
        assert!(!tracked_item(&it, &batch).await.contains_key("expires_at"), "what is due never expires");

        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.run_in_steps(MINUTE * 15, MINUTE * 15).await;
        assert!(tracked_item(&it, &batch).await.contains_key(ends_as), "{becomes}");
        assert_eq!(it.world.drain_event_ids().await.len(), events);
        assert_eq!(it.world.due_polls().await, []);
    }
}

#[tokio::test]
async fn p5_a_batch_that_was_submitted_by_other_means_is_found_once_it_is_tracked() {
    let it = world_without_webhooks().await;
    let batch =
        submit_without_inbox(&it, json!({"authorizers": [authorizer_json("a"), authorizer_json("b")]})).await;
    let track = |expected| json!({"action": "track_batch", "batch_id": batch, "expected": expected});
    assert_eq!(it.request(track(2)).await["status"], "tracked");
    assert_eq!(it.request(track(2)).await["status"], "already_tracked");
    it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
    assert_eq!(it.world.drain_ids_and_origins().await, [id_and_origin(completion_event_id(&batch), "poll")]);
    assert_eq!(it.world.due_polls().await, []);
}

#[tokio::test]
async fn a_repeated_submission_ends_with_the_same_batch() {
    let it = RightfootWorld::new().await;
    let first = it.submit_batch("payroll-1", &["a", "b"]).await;
    assert_eq!(it.submit_batch("payroll-1", &["a", "b"]).await, first);
    let other = it.world.request(submit_batch_request("payroll-1", &["a", "c"])).await.unwrap().unwrap_err();
    assert_eq!(other.name(), "SubmissionIdConflict");
    assert_ne!(it.submit_batch("payroll-2", &["a", "b"]).await["batch_id"], first["batch_id"]);
    assert_eq!(it.rightfoot.batches().len(), 2);
}
