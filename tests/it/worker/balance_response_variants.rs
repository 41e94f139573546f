//! Undocumented forms of balances: a form with one clear meaning is stored and published; a batch with a row that
//! cannot be read is not complete.

use std::time::Duration;

use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use serde_json::json;
use tests::rightfoot_world::RightfootWorld;
use tests::{HOUR, MINUTE, completion_body, completion_event_id};

use super::describe_row;
use super::forged_webhooks::quarantine_reasons;
use crate::metrics_recorder::Counters;

fn balances_response(answer: CannedResponse) -> ScriptedResponse {
    ScriptedResponse { path_contains: "/v1/balances".to_owned(), response: answer, remaining_uses: None }
}

/// Delivers the completion, and runs the worker twice, more than a minute apart.
async fn process_with_response(answer: CannedResponse, expected: Option<u64>) -> RightfootWorld {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00"), ("b", "null")]).await;
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![balances_response(answer)]);
    if let Some(expected) = expected {
        it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": expected})).await;
    }
    it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    it.world.run_worker().await;
    // Past `REQUEUE_DELAY_SECS` and `SNAPSHOTS_APART_MIN_SECS`, 60 s each.
    it.world.advance(Duration::from_secs(121));
    it.world.run_relay().await.unwrap().unwrap();
    it.world.run_worker().await;
    it
}

#[tokio::test]
async fn p10_balances_in_every_unambiguous_form_are_stored_and_published() {
    for answer in [
        CannedResponse::Gzip,
        CannedResponse::Edited(&[
            (":150.00", ":\" 150.00 \""),
            ("_status_code\":0", "_status_code\":\"0.0\""),
            (",\"status_code\":", ",\"status_code\":\"?\",\"code\":"),
            ("Z\",", "+0000\","),
            ("\"has_more\":false", "\"has_more\":\"False\""),
            ("{\"batch_id\"", "\u{feff}{\"batch_id\""),
        ]),
    ] {
        for expected in [Some(2), None] {
            let it = process_with_response(answer, expected).await;
            assert_eq!(it.world.drain_bus_ids().await, [completion_event_id("b-1")], "{answer:?}");
            let stored: Vec<_> = it.world.stored_balances().await.iter().map(describe_row).collect();
            assert_eq!(stored, ["a 150 0 success", "b null 3300 institution_not_supported"], "{answer:?}");
        }
    }
}

#[tokio::test]
async fn p9_a_batch_with_an_unreadable_row_is_not_published_and_is_quarantined_at_the_deadline() {
    // Whether fewer rows are expected or the number is unknown: the row that cannot be read may be anybody's.
    for expected in [Some(1), None] {
        let counters = Counters::default();
        let _counting = metrics::set_default_local_recorder(&counters);
        let it = process_with_response(CannedResponse::Edited(&[(":150.00", ":\"$150\"")]), expected).await;
        assert_eq!(it.world.drain_bus_ids().await, [""; 0], "{expected:?}");
        let stored: Vec<_> = it.world.stored_balances().await.iter().map(describe_row).collect();
        assert_eq!(stored, ["b null 3300 institution_not_supported"]);
        assert_eq!((counters.count("row_skipped", "balance"), counters.count("row_skipped", "")), (2, 2));
        for _ in 0..25 {
            it.world.advance(HOUR);
            it.world.run_relay().await.unwrap().unwrap();
            it.world.run_worker().await;
        }
        assert_eq!(it.world.drain_bus_ids().await, [""; 0], "{expected:?}");
        assert_eq!(quarantine_reasons(&it).await, ["incomplete"], "{expected:?}");
    }
}

#[tokio::test]
async fn p5_a_list_that_says_more_and_names_no_page_is_whole_only_for_who_knows_how_many_there_are() {
    let endless = CannedResponse::Edited(&[("\"has_more\":false", "\"has_more\":true")]);
    let tracked = process_with_response(endless, Some(2)).await;
    assert_eq!(tracked.world.drain_bus_ids().await, [completion_event_id("b-1")]);
    let untracked = process_with_response(endless, None).await;
    assert_eq!(untracked.world.drain_bus_ids().await, [""; 0]);
    untracked.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2})).await;
    untracked.world.advance(MINUTE * 16);
    untracked.world.run_relay().await.unwrap().unwrap();
    untracked.world.run_worker().await;
    assert_eq!(untracked.world.drain_bus_ids().await, [completion_event_id("b-1")], "now it is known");
}
