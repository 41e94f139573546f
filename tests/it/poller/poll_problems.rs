//! Failing polls, as an item remembers them: the reason, the time of the first, and how many in a row.

use inbox_aws::stores::{PollNote, WriteOutcome};
use inbox_core::id::Id;
use inbox_core::poll::problem::PollProblem;
use local::rightfoot_simulator::{CannedResponse, ScriptedResponse, WebhookLoss};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{DAY, HOUR, Item, MINUTE, SUBJECT, number, text};

use super::{submit_batch, tracked_item};

/// The reason, the time of the first failing poll, and their number.
fn poll_problem(item: &Item) -> Option<(String, i64, i64)> {
    let fields = item.get("poll_problem")?.as_m().unwrap();
    let number = |name: &str| number(fields, name).unwrap();
    Some((text(fields, "reason").to_owned(), number("since"), number("first_poll")))
}

fn set_response(it: &RightfootWorld, path_contains: &str, answer: CannedResponse) {
    let scripted = ScriptedResponse {
        path_contains: path_contains.to_owned(),
        response: answer,
        remaining_uses: Some(usize::MAX),
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
}

/// A batch that takes a day, and whose webhooks are lost.
async fn slow_batch() -> (RightfootWorld, String) {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.processing_time = DAY;
    })
    .await;
    let batch = submit_batch(&it, "payroll-1", &["a"]).await;
    (it, batch)
}

#[tokio::test]
async fn p9_failing_polls_are_noted_on_the_batch_until_one_is_answered() {
    let (it, batch) = slow_batch().await;
    set_response(&it, "/v1/balances", CannedResponse::Html);
    it.advance(MINUTE * 10).await;
    it.run_poller().await.unwrap();
    let since = it.world.now().0;
    assert_eq!(
        poll_problem(&tracked_item(&it, &batch).await),
        Some(("invalid_response".to_owned(), since, 1))
    );

    // The same problem again changes only the next time of polling.
    it.advance(MINUTE * 5).await;
    it.world.stack.connector.clear_call_log();
    it.run_poller().await.unwrap();
    let calls = it.world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation);
    assert_eq!(calls.filter(|operation| operation == "UpdateItem").count(), 1);
    let item = tracked_item(&it, &batch).await;
    assert_eq!(
        (poll_problem(&item), number(&item, "polls")),
        (Some(("invalid_response".to_owned(), since, 1)), Some(2))
    );

    set_response(&it, "/v1/balances", CannedResponse::Status(500));
    it.advance(MINUTE * 10).await;
    it.run_poller().await.unwrap();
    assert_eq!(poll_problem(&tracked_item(&it, &batch).await), Some(("unavailable".to_owned(), since, 1)));

    // An incomplete batch is an answer, so the problem is over.
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.advance(MINUTE * 15).await;
    it.run_poller().await.unwrap();
    let item = tracked_item(&it, &batch).await;
    assert_eq!((poll_problem(&item), item.contains_key("due")), (None, true));

    set_response(&it, "/v1/balances", CannedResponse::Status(503));
    it.advance(MINUTE * 15).await;
    it.run_poller().await.unwrap();
    let again = it.world.now().0;
    assert_eq!(poll_problem(&tracked_item(&it, &batch).await), Some(("unavailable".to_owned(), again, 5)));

    // A batch that has ended has no problem any more.
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.advance(HOUR * 25).await;
    it.run_poller().await.unwrap();
    let item = tracked_item(&it, &batch).await;
    assert_eq!((poll_problem(&item), item.contains_key("due")), (None, false));
}

#[tokio::test]
async fn a_rejected_key_and_a_pause_are_noted_on_the_batch() {
    for (answered, reason) in [
        (CannedResponse::RetryAfter { status: 429, secs: 3_600 }, "rate_limited"),
        (CannedResponse::Status(401), "unauthorized"),
    ] {
        let (it, batch) = slow_batch().await;
        set_response(&it, "/v1/balances", answered);
        it.advance(MINUTE * 10).await;
        drop(it.run_poller().await);
        let since = it.world.now().0;
        let found = poll_problem(&tracked_item(&it, &batch).await);
        assert_eq!(found, Some((reason.to_owned(), since, 1)), "{answered:?}");
    }
}

#[tokio::test]
async fn a_schedule_notes_why_it_does_not_run_and_why_a_poll_failed() {
    for (status, reason) in [(404, "stopped"), (403, "stopped"), (500, "unavailable")] {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.schedule_day = HOUR;
        })
        .await;
        let schedule = it.request(daily_schedule_request(SUBJECT, &["a"])).await;
        let pk = format!("rightfoot#schedule#{}", schedule["schedule_id"].as_str().unwrap());
        let found = async || poll_problem(&it.world.item(&pk, "tracked").await.unwrap());
        set_response(&it, "/schedules/", CannedResponse::Status(status));
        it.run_in_steps(MINUTE * 10, MINUTE * 70).await;
        let since = it.world.now().0;
        assert_eq!(found().await, Some((reason.to_owned(), since, 1)), "{status}");
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.run_in_steps(MINUTE * 5, MINUTE * 35).await;
        assert_eq!(found().await, None, "{status}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_batchs_polls_voids_nobodys_write() {
    let (it, batch) = slow_batch().await;
    let stores = it.world.stores();
    let batch_id = Id::new(batch.as_str()).unwrap();
    let mut seen = stores.polls.batch_progress(&batch_id).await.unwrap().unwrap().tracking.clone();
    let later = it.world.now().plus(HOUR);
    assert_eq!(stores.polls.defer_before_poll(&mut seen, 1, later).await.unwrap(), WriteOutcome::Applied);
    let before = tracked_item(&it, &batch).await;

    let since = it.world.now();
    let broken = PollProblem { reason: "invalid_response".to_owned(), since, first_poll: 1 };
    let note = |problem| PollNote { problem: Some(problem), results_found: None };
    assert_eq!(stores.polls.note_poll(&seen, &note(broken.clone())).await.unwrap(), WriteOutcome::Applied);
    let mut after = tracked_item(&it, &batch).await;
    assert_eq!(poll_problem(&after), Some(("invalid_response".to_owned(), since.0, 1)));
    after.remove("poll_problem");
    assert_eq!(after, before, "neither its revision nor whose write was the last");

    // A write based on an earlier read is still applied after the note, and a late note does not void it.
    let mut early = seen.clone();
    assert_eq!(stores.polls.defer_before_poll(&mut early, 2, later).await.unwrap(), WriteOutcome::Applied);
    let before = tracked_item(&it, &batch).await;
    assert_eq!(
        stores.polls.note_poll(&seen, &note(PollProblem { first_poll: 7, ..broken })).await.unwrap(),
        WriteOutcome::Conflict
    );
    assert_eq!(tracked_item(&it, &batch).await, before);
    assert_eq!(
        stores.polls.finish_tracking(&early, None, it.world.now()).await.unwrap(),
        WriteOutcome::Applied
    );
    assert_eq!(poll_problem(&tracked_item(&it, &batch).await), None);
}
