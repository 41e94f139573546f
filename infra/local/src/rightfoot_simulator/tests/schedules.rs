//! Schedules and history: E5, E6 and E9.

use super::*;
use crate::rightfoot_simulator::PageTokenParam;

const E5: &str = "/v1/monitoring/scheduled_balance_request";

#[tokio::test]
async fn a_schedule_is_answered_as_documented() {
    let rig = TestRig::new().await;
    let request = with(daily("Daily", &["a", "b"]), "expires_at", json!("2026-01-04"));
    let (status, answer) = rig.post(E5, request).await;
    let schedule_id = answer["schedule_id"].as_str().unwrap();
    uuid::Uuid::parse_str(schedule_id).unwrap();
    let expected = json!({
        "schedule_id": schedule_id,
        "name": "Daily",
        "message": "Schedule created successfully",
        "expires_at": "2026-01-04T00:00:00Z",
        "next_run_at": "2026-01-03T02:30:00Z",
    });
    assert_eq!((status, &answer), (201, &expected));
    let expected = json!({
        "schedule_id": schedule_id,
        "name": "Daily",
        "last_run_at": null,
        "next_run_at": "2026-01-03T02:30:00Z",
        "total_authorizers": 2,
    });
    assert_eq!(rig.get(&format!("/v1/monitoring/schedules/{schedule_id}")).await, (200, expected));
    assert_eq!(rig.get("/v1/monitoring/schedules/x").await.0, 404);
}

#[tokio::test]
async fn a_name_is_accepted_once_and_a_bad_row_fails_the_whole_request() {
    let rig = TestRig::new().await;
    rig.schedule(daily("Daily", &["a"])).await;
    let (status, answer) = rig.post(E5, daily("Daily", &["b"])).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("CONFLICT")));
    let (status, answer) = rig.post(E5, daily("Other", &["a", ""])).await;
    assert_eq!(status, 400);
    assert_eq!(answer["error"]["details"]["failed_authorizers"][0]["row_number"], 2);
    assert_eq!(rig.sim.schedules().len(), 1);
}

#[tokio::test]
async fn it_runs_when_due_and_ends_with_the_final_run() {
    let rig = TestRig::new().await;
    let id = rig.schedule(with(daily("Daily", &["a"]), "expires_at", json!("2026-01-04"))).await;
    let path = format!("/v1/monitoring/schedules/{id}");
    let state = |answer: Value| (answer["last_run_at"].clone(), answer["next_run_at"].clone());
    rig.advance(DAY);
    let (third, fourth) = (json!("2026-01-03T02:30:00Z"), json!("2026-01-04T02:30:00Z"));
    assert_eq!(state(rig.get(&path).await.1), (third, fourth.clone()));
    rig.advance(DAY * 10);
    assert_eq!(state(rig.get(&path).await.1), (fourth, json!(null)));
    let batches = rig.sim.batches();
    assert_eq!(batches.len(), 2);
    assert!(batches.iter().all(|batch| batch.schedule_id.as_deref() == Some(&id)));
    assert_ne!(batches[0].batch_id, batches[1].batch_id);
    let runs = &rig.sim.schedules()[0].runs;
    assert_eq!(batches[1].started_at, runs[1].run_at);
    assert_eq!((batches[1].batch_id.as_str(), runs.len()), (runs[1].batch_id.as_str(), 2));
}

#[tokio::test]
async fn with_short_days_overdue_runs_are_created_together() {
    let rig = TestRig::with_behaviour(|behaviour| {
        behaviour.schedule_day = Duration::from_millis(1_500);
        behaviour.processing_time = Duration::ZERO;
    })
    .await;
    let id = rig.schedule(daily("Daily", &["a"])).await;
    rig.advance(Duration::from_millis(1_499));
    assert!(rig.sim.batches().is_empty());
    rig.advance(Duration::from_millis(1_501));
    let (_, history) = rig.get("/v1/monitoring/authorizers/a/history").await;
    let expected = ["2026-01-02T03:04:08Z", "2026-01-02T03:04:06.500Z"];
    assert_eq!(each(&history["history"], "run_at"), expected);
    let (_, schedule) = rig.get(&format!("/v1/monitoring/schedules/{id}")).await;
    assert_eq!(schedule["last_run_at"], "2026-01-02T03:04:08Z");
    assert_eq!(schedule["next_run_at"], "2026-01-02T03:04:09.500Z");
}

#[tokio::test]
async fn request_frequency_does_not_change_the_runs() {
    let batches_after = |steps: u32| async move {
        let rig = TestRig::with_behaviour(|behaviour| behaviour.schedule_day = MINUTE).await;
        rig.schedule(daily("one", &["a"])).await;
        rig.schedule(with(daily("two", &["a", "b"]), "interval_days", json!(2))).await;
        for _ in 0..steps {
            rig.advance(MINUTE * 12 / steps);
            rig.sim.tick().await;
        }
        rig.sim.batches()
    };
    let all_at_once = batches_after(1).await;
    assert_eq!(all_at_once.len(), 18);
    assert_eq!(all_at_once, batches_after(48).await);
}

#[tokio::test]
async fn last_run_at_is_the_start_or_the_completion() {
    let rig = TestRig::with_behaviour(|behaviour| behaviour.schedule_day = MINUTE * 10).await;
    let path = format!("/v1/monitoring/schedules/{}", rig.schedule(daily("Daily", &["a"])).await);
    rig.advance(MINUTE * 11);
    assert_eq!(rig.get(&path).await.1["last_run_at"], "2026-01-02T03:14:05Z");
    rig.sim.configure(|behaviour| behaviour.last_run_at_is_completion = true);
    assert_eq!(rig.get(&path).await.1["last_run_at"], json!(null));
    rig.advance(MINUTE * 4);
    assert_eq!(rig.get(&path).await.1["last_run_at"], "2026-01-02T03:19:05Z");
}

#[tokio::test]
async fn a_run_appears_in_the_history_when_it_is_complete_and_the_lag_is_over() {
    let rig = TestRig::with_behaviour(|behaviour| {
        behaviour.schedule_day = DAY * 2;
        behaviour.history_lag = MINUTE * 2;
        let balances = [("a", "150.00"), ("b", "null")];
        behaviour.balances = balances.map(|(id, text)| (id.to_owned(), text.to_owned())).into();
    })
    .await;
    rig.schedule(daily("Daily", &["a", "b"])).await;
    rig.advance(DAY * 2 + MINUTE * 7 - Duration::from_millis(1));
    let (status, history) = rig.get("/v1/monitoring/authorizers/a/history").await;
    assert_eq!((status, &history["history"], &history["total_count"]), (200, &json!([]), &json!(0)));
    rig.advance(Duration::from_millis(1));
    let batch_id = &rig.sim.batches()[0].batch_id;
    let expected = |id: &str, entry: &str| {
        format!(
            r#"{{"authorizer_unique_id":"{id}","total_count":1,"history":[{{"run_at":"2026-01-04T03:04:05Z","batch_id":"{batch_id}",{entry}}}],"next_page_token":null,"has_more":false}}"#
        )
    };
    let success = r#""balance_amount":150.00,"status":"success","error_message":null"#;
    assert_eq!(rig.text("/v1/monitoring/authorizers/a/history").await, expected("a", success));
    let failed = r#""balance_amount":null,"status":"failed","error_message":"Institution not supported""#;
    assert_eq!(rig.text("/v1/monitoring/authorizers/b/history").await, expected("b", failed));
    assert_eq!(rig.get("/v1/monitoring/authorizers/c/history").await.0, 404);
}

#[tokio::test]
async fn the_history_lists_on_demand_batches_if_configured() {
    let rig = TestRig::with_behaviour(|behaviour| behaviour.schedule_day = MINUTE * 10).await;
    rig.schedule(daily("Daily", &["a0"])).await;
    let on_demand = rig.submit(batch_of(1)).await;
    rig.advance(MINUTE * 15);
    let path = "/v1/monitoring/authorizers/a0/history";
    let (_, history) = rig.get(path).await;
    let run = rig.sim.schedules()[0].runs[0].batch_id.clone();
    assert_eq!(each(&history["history"], "batch_id"), [run.as_str()]);
    rig.sim.configure(|behaviour| behaviour.history_includes_on_demand = true);
    let (_, history) = rig.get(path).await;
    assert_eq!(each(&history["history"], "batch_id"), [run.as_str(), on_demand.as_str()]);
}

#[tokio::test]
async fn the_history_comes_in_pages_the_newest_first() {
    let rig = TestRig::with_behaviour(|behaviour| {
        behaviour.schedule_day = MINUTE;
        behaviour.page_token_param = PageTokenParam::Old;
    })
    .await;
    rig.schedule(daily("Daily", &["a/b"])).await;
    rig.advance(MINUTE * 5 + MINUTE * 12);
    let path = "/v1/monitoring/authorizers/a%2Fb/history";
    let (_, first) = rig.get(path).await;
    assert_eq!((&first["total_count"], &first["has_more"]), (&json!(12), &json!(true)));
    let runs: Vec<_> = rig.sim.schedules()[0].runs.iter().map(|run| run.batch_id.clone()).collect();
    let newest_first: Vec<_> = runs[..12].iter().rev().map(String::as_str).collect();
    assert_eq!(each(&first["history"], "batch_id"), newest_first[..10]);
    let token = first["next_page_token"].as_str().unwrap().replace('+', "%2B");
    let (_, second) = rig.get(&format!("{path}?nextPageToken={token}")).await;
    assert_eq!(each(&second["history"], "batch_id"), newest_first[10..]);
    assert_eq!(second["next_page_token"], json!(null));
    let (_, ignored) = rig.get(&format!("{path}?limit=10&next_page_token={token}")).await;
    assert_eq!(ignored["history"], first["history"]);
}
