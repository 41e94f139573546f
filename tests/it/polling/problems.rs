//! What an item keeps of its polls: that they come to nothing, why, since when, and how many of them in a row.

use inbox_aws::inbox::WriteOutcome;
use inbox_core::event::Id;
use inbox_core::poll::problem::PollProblem;
use local::rightfoot_simulator::{CannedResponse, WebhookLoss, ScriptedResponse};
use tests::rightfoot::{MINUTE, RightfootWorld, daily};
use tests::{Item, SUBJECT, number, text};

use super::{HOUR, submitted, tracked};

/// The reason, the time of the first poll, and its number.
fn problem(item: &Item) -> Option<(String, i64, i64)> {
    let fields = item.get("poll_problem")?.as_m().unwrap();
    let number = |name: &str| number(fields, name).unwrap();
    Some((text(fields, "reason").to_owned(), number("since"), number("first_poll")))
}

fn answer(it: &RightfootWorld, path_contains: &str, answer: CannedResponse) {
    let scripted = ScriptedResponse { path_contains: path_contains.to_owned(), response: answer, remaining_uses: Some(usize::MAX) };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
}

/// A batch that takes a day, and whose webhooks get lost.
async fn slow() -> (RightfootWorld, String) {
    let it = RightfootWorld::with(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.processing_time = HOUR * 24;
    })
    .await;
    let batch = submitted(&it, "payroll-1", &["a"]).await;
    (it, batch)
}

#[tokio::test]
async fn p9_polls_that_come_to_nothing_are_told_by_the_batch_until_one_is_answered() {
    let (it, batch) = slow().await;
    answer(&it, "/v1/balances", CannedResponse::Html);
    it.pass(MINUTE * 10).await;
    it.poll().await.unwrap();
    let since = it.world.now().0;
    assert_eq!(problem(&tracked(&it, &batch).await), Some(("broken".to_owned(), since, 1)));

    // The same again is nothing new: only the batch is put off.
    it.pass(MINUTE * 5).await;
    it.world.system.connector.clear_call_log();
    it.poll().await.unwrap();
    let calls = it.world.system.connector.call_log().into_iter().map(|(call, _)| call.operation);
    assert_eq!(calls.filter(|operation| operation == "UpdateItem").count(), 1);
    let item = tracked(&it, &batch).await;
    assert_eq!((problem(&item), number(&item, "polls")), (Some(("broken".to_owned(), since, 1)), Some(2)));

    answer(&it, "/v1/balances", CannedResponse::Status(500));
    it.pass(MINUTE * 10).await;
    it.poll().await.unwrap();
    assert_eq!(problem(&tracked(&it, &batch).await), Some(("unavailable".to_owned(), since, 1)));

    // It is not complete, and that is an answer.
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.pass(MINUTE * 15).await;
    it.poll().await.unwrap();
    let item = tracked(&it, &batch).await;
    assert_eq!((problem(&item), item.contains_key("due")), (None, true));

    answer(&it, "/v1/balances", CannedResponse::Status(503));
    it.pass(MINUTE * 15).await;
    it.poll().await.unwrap();
    let again = it.world.now().0;
    assert_eq!(problem(&tracked(&it, &batch).await), Some(("unavailable".to_owned(), again, 5)));

    // It has ended: nothing is wrong with it any more.
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.pass(HOUR * 25).await;
    it.poll().await.unwrap();
    let item = tracked(&it, &batch).await;
    assert_eq!((problem(&item), item.contains_key("due")), (None, false));
}

#[tokio::test]
async fn a_refused_key_and_a_pause_are_told_by_the_batch() {
    for (answered, reason) in [
        (CannedResponse::RetryAfter { status: 429, secs: 3_600 }, "rate_limited"),
        (CannedResponse::Status(401), "unauthorized"),
    ] {
        let (it, batch) = slow().await;
        answer(&it, "/v1/balances", answered);
        it.pass(MINUTE * 10).await;
        drop(it.poll().await);
        let since = it.world.now().0;
        let found = problem(&tracked(&it, &batch).await);
        assert_eq!(found, Some((reason.to_owned(), since, 1)), "{answered:?}");
    }
}

#[tokio::test]
async fn a_schedule_tells_why_it_does_not_run_and_why_it_is_not_answered() {
    for (status, reason) in [(404, "stopped"), (403, "stopped"), (500, "unavailable")] {
        let it = RightfootWorld::with(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.schedule_day = HOUR;
        })
        .await;
        let schedule = it.ask(daily(SUBJECT, &["a"])).await;
        let pk = format!("rightfoot#schedule#{}", schedule["schedule_id"].as_str().unwrap());
        let found = async || problem(&it.world.item(&pk, "tracked").await.unwrap());
        answer(&it, "/schedules/", CannedResponse::Status(status));
        it.live_by(MINUTE * 10, MINUTE * 70).await;
        let since = it.world.now().0;
        assert_eq!(found().await, Some((reason.to_owned(), since, 1)), "{status}");
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.live_by(MINUTE * 5, MINUTE * 35).await;
        assert_eq!(found().await, None, "{status}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_batchs_polls_voids_nobodys_write() {
    let (it, batch) = slow().await;
    let inbox = it.world.inbox();
    let batch_id = Id::new(batch.as_str()).unwrap();
    let mut seen = inbox.batch_progress(&batch_id).await.unwrap().unwrap().tracking;
    let later = it.world.now().plus(HOUR);
    assert_eq!(inbox.defer_before_poll(&mut seen, 1, later).await.unwrap(), WriteOutcome::Applied);
    let before = tracked(&it, &batch).await;

    let since = it.world.now();
    let broken = PollProblem { reason: "broken".to_owned(), since, first_poll: 1 };
    assert_eq!(inbox.set_poll_problem(&seen, Some(&broken)).await.unwrap(), WriteOutcome::Applied);
    let mut after = tracked(&it, &batch).await;
    assert_eq!(problem(&after), Some(("broken".to_owned(), since.0, 1)));
    after.remove("poll_problem");
    assert_eq!(after, before, "neither its revision nor whose write was the last");

    // Whoever saw it before writes as if nothing had been noted; and is not voided by a note that comes late.
    let mut early = seen.clone();
    assert_eq!(inbox.defer_before_poll(&mut early, 2, later).await.unwrap(), WriteOutcome::Applied);
    let before = tracked(&it, &batch).await;
    assert_eq!(
        inbox.set_poll_problem(&seen, Some(&PollProblem { first_poll: 7, ..broken })).await.unwrap(),
        WriteOutcome::Conflict
    );
    assert_eq!(tracked(&it, &batch).await, before);
    assert_eq!(inbox.finish_tracking(&early, it.world.now()).await.unwrap(), WriteOutcome::Applied);
    assert_eq!(problem(&tracked(&it, &batch).await), None);
}
