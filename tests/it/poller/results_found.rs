//! The number of results that polls have found, as the batch keeps it for operators.

use inbox_aws::stores::{BatchFilter, PageStart};
use inbox_core::batch_results::ResultsReader;
use inbox_core::origin::Origin;
use local::rightfoot_simulator::{CannedResponse, IncompleteBatchResponse, ScriptedResponse, WebhookLoss};
use tests::rightfoot_world::{RightfootWorld, authorizer_json, submit_batch_request};
use tests::{HOUR, MINUTE, SUBJECT, completion_body, number};

use super::{minute, submit_batch, tracked_item};

/// A batch whose three rows come one by one within 66 minutes, and whose webhooks are lost.
async fn slow_batch() -> (RightfootWorld, String) {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.processing_time = MINUTE * 66;
    })
    .await;
    let batch = submit_batch(&it, SUBJECT, &["a", "b", "c"]).await;
    (it, batch)
}

/// Number of results, and the minute of the first poll that has shown it.
async fn results_found(it: &RightfootWorld, batch: &str) -> Option<(i64, i64)> {
    let item = tracked_item(it, batch).await;
    let fields = item.get("results_found")?.as_m().unwrap();
    let since = number(fields, "since").unwrap() - tests::START.0;
    Some((number(fields, "count").unwrap(), since / 60_000))
}

#[tokio::test]
async fn the_results_that_polls_find_are_noted_when_their_number_changes() {
    let (it, batch) = slow_batch().await;
    let mut noted = Vec::new();
    for (pause, writes) in [(10, 2), (5, 1), (10, 2), (15, 1), (15, 2), (15, 3)] {
        it.advance(MINUTE * pause).await;
        it.world.stack.connector.clear_call_log();
        assert_eq!(it.run_poller().await.unwrap()["polled"], 1);
        let calls = it.world.stack.connector.call_log();
        let count = calls.iter().filter(|(call, _)| call.operation == "UpdateItem").count();
        assert_eq!(count, writes, "after {} minutes", minute(it.world.now()));
        noted.push(results_found(&it, &batch).await.unwrap());
    }
    assert_eq!(noted, [(0, 10), (0, 10), (1, 25), (1, 25), (2, 55), (3, 70)]);
    let item = tracked_item(&it, &batch).await;
    // Six times deferred, and ended.
    assert_eq!((number(&item, "rev"), number(&item, "polls")), (Some(8), Some(6)));
    assert!(item.contains_key("done_at"));
}

#[tokio::test]
async fn a_poll_without_a_list_leaves_the_results_that_were_found() {
    let (it, batch) = slow_batch().await;
    it.run_in_steps(MINUTE * 5, MINUTE * 25).await;
    assert_eq!(results_found(&it, &batch).await, Some((1, 25)));
    let html = ScriptedResponse {
        path_contains: "/v1/balances".to_owned(),
        response: CannedResponse::Html,
        remaining_uses: Some(usize::MAX),
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![html]);
    it.run_in_steps(MINUTE * 15, MINUTE * 15).await;
    assert!(tracked_item(&it, &batch).await.contains_key("poll_problem"));
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses.clear();
        rightfoot.incomplete_batch_response = IncompleteBatchResponse::NotFound404;
    });
    it.run_in_steps(MINUTE * 15, MINUTE * 15).await;
    let item = tracked_item(&it, &batch).await;
    assert!(!item.contains_key("poll_problem"), "not ready is an answer");
    assert_eq!(results_found(&it, &batch).await, Some((1, 25)));
}

#[tokio::test]
async fn an_overdue_batch_says_how_many_of_its_results_came() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.processing_time = HOUR * 40).await;
    let batch = submit_batch(&it, SUBJECT, &["a", "b", "c"]).await;
    it.run_in_steps(MINUTE * 15, HOUR * 25).await;
    assert!(tracked_item(&it, &batch).await.contains_key("overdue_at"));
    let timeline = it.world.stores().operator.timeline(&format!("rightfoot#batch#{batch}")).await.unwrap();
    assert_eq!(timeline.batch_results().unwrap().to_short_text(), "1 / 3");
}

#[tokio::test]
async fn whom_rightfoot_excluded_is_neither_found_nor_expected() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let mut request = submit_batch_request(SUBJECT, &["a", "b", "refused"]);
    request["authorizers"][2] = authorizer_json("refused");
    request["authorizers"][2].as_object_mut().unwrap().remove("ssn");
    let batch = it.request(request).await["batch_id"].as_str().unwrap().to_owned();
    let pk = format!("rightfoot#batch#{batch}");
    let results = async || it.world.stores().operator.timeline(&pk).await.unwrap().batch_results().unwrap();
    assert_eq!(results().await.to_short_text(), "? / 2");
    it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
    assert_eq!((results().await.to_short_text().as_str(), results().await.published), ("2 / 2", None));
    it.world.run_worker().await;
    let (found, published) = (results().await.found.unwrap(), results().await.published.unwrap());
    assert_eq!((found.count, found.by, minute(found.since)), (2, ResultsReader::Poll, 10));
    assert_eq!((published.count, published.origin, published.at), (2, Origin::Poll, it.world.now()));
}

#[tokio::test]
async fn a_batch_whose_webhook_came_takes_its_results_from_the_completion() {
    let (it, batch) = slow_batch().await;
    it.advance(MINUTE * 67).await;
    it.world.deliver_rightfoot(completion_body(&batch, "u-1")).await;
    it.world.run_worker().await;
    it.run_poller().await.unwrap();
    assert_eq!(results_found(&it, &batch).await, None, "it was never polled");
    let operator = it.world.stores().operator;
    let listed = operator.list_batches(&BatchFilter::default(), &PageStart::Newest, 10).await.unwrap();
    let batches = listed.items;
    let completions =
        operator.completions_of(batches.iter().map(|batch| &batch.tracked.batch_id)).await.unwrap();
    let results = batches[0].results(completions.get(&batches[0].tracked.batch_id));
    assert_eq!(results.to_short_text(), "3 / 3");
    assert_eq!(results.published.map(|published| published.origin), Some(Origin::Webhook));
}
