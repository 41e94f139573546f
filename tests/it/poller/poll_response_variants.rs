//! Undocumented forms of Rightfoot's responses: a form with one clear meaning is accepted, any other is skipped and
//! counted.

use local::rightfoot_simulator::{Behaviour, CannedResponse, ScriptedResponse, WebhookLoss};
use serde_json::{Value, json};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{DAY, HOUR, MINUTE, number, polled_alerts_event_id};

use super::{completion_event_id, id_and_origin, set_balances, submit_batch, tracked_item};
use crate::metrics_recorder::Counters;

const BALANCES: &str = "/v1/balances";
const HISTORY: &str = "/v1/monitoring/authorizers/";
const SCHEDULE: &str = "/v1/monitoring/schedules/";

fn scripted_response(path_contains: &str, answer: CannedResponse) -> ScriptedResponse {
    ScriptedResponse { path_contains: path_contains.to_owned(), response: answer, remaining_uses: None }
}

/// Polls a batch ten minutes after its submission, with this response; returns also the report.
async fn poll_with_response(answer: CannedResponse) -> (RightfootWorld, String, Value) {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        set_balances(rightfoot, &[("a", "150.00"), ("b", "null")]);
        rightfoot.scripted_responses = vec![scripted_response(BALANCES, answer)];
    })
    .await;
    let batch = submit_batch(&it, "payroll", &["a", "b"]).await;
    it.advance(MINUTE * 10).await;
    let run = it.run_poller().await.unwrap();
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
        let (it, batch, run) = poll_with_response(answer).await;
        assert_eq!((&run["recorded"], &run["failed"]), (&json!(1), &json!(0)), "{answer:?}");
        assert_eq!(
            it.world.drain_ids_and_origins().await,
            [id_and_origin(completion_event_id(&batch), "poll")],
            "{answer:?}"
        );
        assert_eq!(it.world.due_polls().await, [], "{answer:?}");
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
        let (it, batch, run) = poll_with_response(CannedResponse::Edited(edits)).await;
        assert_eq!((&run["recorded"], &run["failed"]), (&json!(0), &json!(0)), "{field}");
        assert_eq!(
            (counters.count("row_skipped", field), counters.count("row_skipped", "")),
            (1, 1),
            "{field}"
        );
        it.run_in_steps(HOUR, DAY).await;
        assert!(tracked_item(&it, &batch).await.contains_key("overdue_at"), "{field}");
        assert_eq!(it.world.drain_event_ids().await, Vec::<String>::new(), "{field}");
    }
}

/// A schedule whose day lasts an hour, with one authorizer above the threshold and no webhooks.
fn hourly_schedule(rightfoot: &mut Behaviour) {
    rightfoot.webhook_loss = WebhookLoss::All;
    rightfoot.schedule_day = HOUR;
    set_balances(rightfoot, &[("a", "150.00")]);
}

/// Polls the schedule with this response two hours after its creation. Its first run is complete in minute 65.
async fn runs_with_responses(
    history: CannedResponse,
    schedule: CannedResponse,
) -> (RightfootWorld, Vec<String>) {
    let it = RightfootWorld::with_behaviour(hourly_schedule).await;
    it.request(daily_schedule_request("watch", &["a"])).await;
    it.advance(MINUTE * 115).await;
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses =
            vec![scripted_response(HISTORY, history), scripted_response(SCHEDULE, schedule)];
    });
    it.run_poller().await.unwrap();
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
        let (it, runs) = runs_with_responses(history, schedule).await;
        assert_eq!(runs.len(), 1);
        let item = it.world.item(&format!("rightfoot#batch#{}", runs[0]), "tracked").await;
        let expected = item.and_then(|item| number(&item, "expected"));
        assert_eq!(expected, Some(1), "{history:?} {schedule:?}");
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.run_in_steps(MINUTE * 10, MINUTE * 30).await;
        let mut both = vec![completion_event_id(&runs[0]), polled_alerts_event_id(&runs[0], &["a"])];
        both.sort();
        let event_ids: Vec<_> =
            it.world.drain_event_ids().await.into_iter().filter(|id| id.contains(&runs[0])).collect();
        assert_eq!(event_ids, both, "{history:?} {schedule:?}");
    }
}

#[tokio::test]
async fn p5_a_row_that_cannot_be_read_holds_up_no_alert_of_the_others() {
    let it = RightfootWorld::with_behaviour(hourly_schedule).await;
    it.rightfoot.configure(|rightfoot| set_balances(rightfoot, &[("a", "150.00"), ("b", "200.00")]));
    it.request(daily_schedule_request("watch", &["a", "b"])).await;
    it.run_in_steps(MINUTE * 5, MINUTE * 80).await;
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)]);
    let unreadable = scripted_response(&run, CannedResponse::Edited(&[(":200.00", ":\"200.00 USD\"")]));
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![unreadable]);
    it.run_in_steps(MINUTE * 5, MINUTE * 30).await;
    assert_eq!(it.world.drain_event_ids().await, [polled_alerts_event_id(&run, &["a"])], "once");
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.run_in_steps(MINUTE * 5, MINUTE * 15).await;
    assert_eq!(it.world.drain_event_ids().await, [polled_alerts_event_id(&run, &["b"])]);
    assert!(!tracked_item(&it, &run).await.contains_key("due"), "all is known now");
}

#[tokio::test]
async fn a_row_of_a_history_that_cannot_be_read_is_counted_and_found_once_it_can_be() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let nameless = CannedResponse::Edited(&[("\"batch_id\"", "\"batch\"")]);
    let (it, runs) = runs_with_responses(nameless, CannedResponse::Edited(&[])).await;
    assert_eq!((counters.count("row_skipped", "batch_id"), counters.count("row_skipped", "")), (1, 1));
    assert_eq!(it.world.item(&format!("rightfoot#batch#{}", runs[0]), "tracked").await, None);
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.run_in_steps(MINUTE * 5, MINUTE * 5).await;
    assert!(it.world.item(&format!("rightfoot#batch#{}", runs[0]), "tracked").await.is_some());
}
