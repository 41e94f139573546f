//! Answers in other forms than the documented ones: what has one clear meaning is taken, and what has none is skipped
//! and counted.

use local::rightfoot_simulator::{Behaviour, CannedResponse, WebhookLoss, ScriptedResponse};
use serde_json::{Value, json};
use tests::rightfoot::{MINUTE, RightfootWorld, daily};
use tests::{found_alerts, number};

use super::{HOUR, balances, completed, submitted, told, tracked};
use crate::counters::Counters;

const BALANCES: &str = "/v1/balances";
const HISTORY: &str = "/v1/monitoring/authorizers/";
const SCHEDULE: &str = "/v1/monitoring/schedules/";

fn scripted(path_contains: &str, answer: CannedResponse) -> ScriptedResponse {
    ScriptedResponse { path_contains: path_contains.to_owned(), response: answer, remaining_uses: None }
}

/// Ten minutes after it was submitted, a batch is asked for and answered so; how many events were found.
async fn found(answer: CannedResponse) -> (RightfootWorld, String, Value) {
    let it = RightfootWorld::with(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        balances(rightfoot, &[("a", "150.00"), ("b", "null")]);
        rightfoot.scripted_responses = vec![scripted(BALANCES, answer)];
    })
    .await;
    let batch = submitted(&it, "payroll", &["a", "b"]).await;
    it.pass(MINUTE * 10).await;
    let run = it.poll().await.unwrap();
    (it, batch, run)
}

#[tokio::test]
async fn p5_a_batch_is_found_in_whatever_form_of_one_meaning_it_is_shown() {
    for answer in [
        CannedResponse::Gzip,
        CannedResponse::Edited(&[(",\"status_code\":0", ",\"status_code\":\"SUCCESS\"")]),
        CannedResponse::Edited(&[
            ("_status_code\":0", "_status_code\":\"0\""),
            ("_status_code\":3300", "_status_code\":3300.0"),
        ]),
        CannedResponse::Edited(&[(":150.00", ":\"150.00\"")]),
        CannedResponse::Edited(&[("\"has_more\":false", "\"has_more\":\"false\"")]),
        CannedResponse::Edited(&[("\"has_more\":false", "\"has_more\":true")]),
        CannedResponse::Edited(&[("Z\",", "\",")]),
        CannedResponse::Edited(&[("Z\",", "+0000\",")]),
        CannedResponse::Edited(&[("{\"batch_id\"", "\u{feff}{\"batch_id\"")]),
    ] {
        let (it, batch, run) = found(answer).await;
        assert_eq!((&run["found"], &run["failed"]), (&json!(1), &json!(0)), "{answer:?}");
        assert_eq!(it.world.drain_origins().await, [told(completed(&batch), "poll")], "{answer:?}");
        assert_eq!(it.world.polls_due().await, [], "{answer:?}");
    }
}

#[tokio::test]
async fn p9_a_batch_with_a_row_that_cannot_be_read_is_never_complete_and_is_counted() {
    for (edits, field) in [
        (&[(":150.00", ":\"1,150.00\"")], "balance"),
        (&[("_status_code\":0", "_status_code\":\"SUCCESS\"")], "balance_status_code"),
        (&[("\"authorizer_unique_id\":\"a\"", "\"authorizer_unique_id\":null")], "authorizer_unique_id"),
        (&[("{\"authorizer_unique_id\":\"a\"", "\"?\",{\"authorizer_unique_id\":\"a\"")], "row"),
    ] {
        let counters = Counters::default();
        let _counting = metrics::set_default_local_recorder(&counters);
        let (it, batch, run) = found(CannedResponse::Edited(edits)).await;
        assert_eq!((&run["found"], &run["failed"]), (&json!(0), &json!(0)), "{field}");
        assert_eq!(
            (counters.count("row_skipped", field), counters.count("row_skipped", "")),
            (1, 1),
            "{field}"
        );
        it.live_by(HOUR, HOUR * 24).await;
        assert!(tracked(&it, &batch).await.contains_key("overdue_at"), "{field}");
        assert_eq!(it.world.drain_ids().await, Vec::<String>::new(), "{field}");
    }
}

/// One person, who meets the threshold, hourly days, and no webhook.
fn hourly(rightfoot: &mut Behaviour) {
    rightfoot.webhook_loss = WebhookLoss::All;
    rightfoot.schedule_day = HOUR;
    balances(rightfoot, &[("a", "150.00")]);
}

/// The first run is complete in minute 65; two hours after its creation the schedule is asked for, and answered so.
async fn runs_found(history: CannedResponse, schedule: CannedResponse) -> (RightfootWorld, Vec<String>) {
    let it = RightfootWorld::with(hourly).await;
    it.ask(daily("watch", &["a"])).await;
    it.pass(MINUTE * 115).await;
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses = vec![scripted(HISTORY, history), scripted(SCHEDULE, schedule)];
    });
    it.poll().await.unwrap();
    let runs = it.rightfoot.schedules()[0].runs.iter().map(|run| run.batch_id.clone()).collect();
    (it, runs)
}

#[tokio::test]
async fn p5_a_run_is_found_in_whatever_form_of_one_meaning_it_is_shown() {
    let as_it_is = CannedResponse::Edited(&[]);
    let endless = CannedResponse::Edited(&[("\"has_more\":false", "\"has_more\":true")]);
    for (history, schedule) in [
        (endless, as_it_is),
        (CannedResponse::Gzip, CannedResponse::Gzip),
        (
            CannedResponse::Edited(&[(
                "\"history\":[",
                "\"history\":[{\"run_at\":\"2026-01-02T03:04:05Z\",\"batch_id\":null},",
            )]),
            as_it_is,
        ),
        (CannedResponse::Edited(&[("Z\",", "\",")]), CannedResponse::Edited(&[("Z\"", "+0000\"")])),
        (as_it_is, CannedResponse::Edited(&[("\"total_authorizers\":1", "\"total_authorizers\":\"1\"")])),
        (as_it_is, CannedResponse::Edited(&[("\"total_authorizers\":1", "\"total_authorizers\":1.0")])),
        (
            CannedResponse::Edited(&[("{\"authorizer", "\u{feff}{\"authorizer")]),
            CannedResponse::Edited(&[("{", "\u{feff}{")]),
        ),
    ] {
        let (it, runs) = runs_found(history, schedule).await;
        assert_eq!(runs.len(), 1);
        let item = it.world.item(&format!("rightfoot#batch#{}", runs[0]), "tracked").await;
        let expected = item.and_then(|item| number(&item, "expected"));
        assert_eq!(expected, Some(1), "{history:?} {schedule:?}");
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.live_by(MINUTE * 10, MINUTE * 30).await;
        let mut both = vec![completed(&runs[0]), found_alerts(&runs[0], &["a"])];
        both.sort();
        let told: Vec<_> =
            it.world.drain_ids().await.into_iter().filter(|id| id.contains(&runs[0])).collect();
        assert_eq!(told, both, "{history:?} {schedule:?}");
    }
}

#[tokio::test]
async fn p5_a_row_that_cannot_be_read_holds_up_no_alert_of_the_others() {
    let it = RightfootWorld::with(hourly).await;
    it.rightfoot.configure(|rightfoot| balances(rightfoot, &[("a", "150.00"), ("b", "200.00")]));
    it.ask(daily("watch", &["a", "b"])).await;
    it.live_by(MINUTE * 5, MINUTE * 80).await;
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    assert_eq!(it.world.drain_ids().await, [completed(&run)]);
    let unreadable = scripted(&run, CannedResponse::Edited(&[(":200.00", ":\"200.00 USD\"")]));
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![unreadable]);
    it.live_by(MINUTE * 5, MINUTE * 30).await;
    assert_eq!(it.world.drain_ids().await, [found_alerts(&run, &["a"])], "once");
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.live_by(MINUTE * 5, MINUTE * 15).await;
    assert_eq!(it.world.drain_ids().await, [found_alerts(&run, &["b"])]);
    assert!(!tracked(&it, &run).await.contains_key("due"), "all is known now");
}

#[tokio::test]
async fn a_row_of_a_history_that_cannot_be_read_is_counted_and_found_once_it_can_be() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let nameless = CannedResponse::Edited(&[("\"batch_id\"", "\"batch\"")]);
    let (it, runs) = runs_found(nameless, CannedResponse::Edited(&[])).await;
    assert_eq!((counters.count("row_skipped", "batch_id"), counters.count("row_skipped", "")), (1, 1));
    assert_eq!(it.world.item(&format!("rightfoot#batch#{}", runs[0]), "tracked").await, None);
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.live_by(MINUTE * 5, MINUTE * 5).await;
    assert!(it.world.item(&format!("rightfoot#batch#{}", runs[0]), "tracked").await.is_some());
}
