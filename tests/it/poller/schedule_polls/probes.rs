//! Schedules some of whose probe authorizers cannot be read.

use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use tests::rightfoot_world::daily_schedule_request;
use tests::{DAY, HOUR, MINUTE, SUBJECT};

use super::super::request_minutes;
use super::{completions_and_alerts, count_alarms, run_batch_ids, world_without_webhooks};
use crate::metrics_recorder::Counters;

/// If every probe is forbidden or unknown, that is an answer: asking again would not find the run.
#[tokio::test]
async fn a_run_of_which_no_probe_can_be_seen_alarms_after_a_day() {
    for status in [403, 404] {
        let counters = Counters::default();
        let _counting = metrics::set_default_local_recorder(&counters);
        let it = world_without_webhooks(|rightfoot| rightfoot.schedule_day = HOUR * 48).await;
        it.request(daily_schedule_request(SUBJECT, &["a", "b"])).await;
        let path_contains = "/history".to_owned();
        let unseen = ScriptedResponse {
            path_contains,
            response: CannedResponse::Status(status),
            remaining_uses: None,
        };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![unseen]);
        it.advance(HOUR * 48).await;
        assert_eq!(count_alarms(&it, MINUTE * 30, DAY).await, 1, "{status}");
        assert_eq!(counters.count("schedule_alarm", "run_not_found"), 1, "{status}");
    }
}

#[tokio::test]
async fn p5_one_probe_that_can_be_seen_is_enough() {
    for (unseen, answer) in [("a", 403), ("a", 404), ("a", 500), ("b", 500)] {
        let it = world_without_webhooks(|_| {}).await;
        it.request(daily_schedule_request(SUBJECT, &["a", "b"])).await;
        let path_contains = format!("/authorizers/{unseen}/");
        let scripted = ScriptedResponse {
            path_contains,
            response: CannedResponse::Status(answer),
            remaining_uses: None,
        };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
        it.run_in_steps(MINUTE * 10, MINUTE * 110).await;
        assert_eq!(
            it.world.drain_event_ids().await,
            completions_and_alerts(&run_batch_ids(&it)),
            "{unseen} {answer}"
        );
    }
}

#[tokio::test]
async fn p5_while_no_probe_answers_a_schedule_is_asked_for_again_and_nothing_is_lost() {
    let it = world_without_webhooks(|_| {}).await;
    it.request(daily_schedule_request(SUBJECT, &["a", "b"])).await;
    let down = ScriptedResponse {
        path_contains: "/history".to_owned(),
        response: CannedResponse::Html,
        remaining_uses: None,
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![down]);
    it.rightfoot.clear_requests();
    assert_eq!(count_alarms(&it, MINUTE * 5, MINUTE * 115).await, 0);
    let mut minutes = request_minutes(&it);
    minutes.dedup();
    // Ten minutes after the run, and then with pauses of 5, 10 and at most 15 minutes.
    assert_eq!(minutes, [70, 75, 85, 100, 115]);
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.run_in_steps(MINUTE * 5, MINUTE * 45).await;
    assert_eq!(it.world.drain_event_ids().await, completions_and_alerts(&run_batch_ids(&it)[..2]));
}
