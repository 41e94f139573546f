//! Answers in other forms than the documented ones: what has one clear meaning is stored and told, and a batch with a row that
//! has none is not complete.

use std::time::Duration;

use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use serde_json::json;
use tests::rightfoot::{MINUTE, RightfootWorld};
use tests::{completed, completion};

use super::forgeries::reasons;
use super::in_words;
use crate::counters::Counters;

fn answering(answer: CannedResponse) -> ScriptedResponse {
    ScriptedResponse { path_contains: "/v1/balances".to_owned(), response: answer, remaining_uses: None }
}

/// Its completion is delivered, and the worker looks twice, more than a minute apart.
async fn worked(answer: CannedResponse, expected: Option<u64>) -> RightfootWorld {
    let it = RightfootWorld::known("b-1", &[("a", "150.00"), ("b", "null")]).await;
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![answering(answer)]);
    if let Some(expected) = expected {
        it.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": expected})).await;
    }
    it.world.rightfoot(completion("b-1", "u-1")).await;
    it.world.work().await;
    it.world.pass(Duration::from_secs(121));
    it.world.relay().await.unwrap().unwrap();
    it.world.work().await;
    it
}

#[tokio::test]
async fn p10_balances_are_stored_and_told_in_whatever_form_of_one_meaning_they_are_shown() {
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
            let it = worked(answer, expected).await;
            assert_eq!(it.world.told().await, [completed("b-1")], "{answer:?}");
            let stored: Vec<_> = it.world.balances().await.iter().map(in_words).collect();
            assert_eq!(stored, ["a 150 0 success", "b null 3300 institution_not_supported"], "{answer:?}");
        }
    }
}

#[tokio::test]
async fn p9_a_batch_with_a_row_that_cannot_be_read_is_not_told_and_goes_to_quarantine_at_the_deadline() {
    // Fewer are expected than are there, or nobody knows how many: the row that cannot be read is somebody's.
    for expected in [Some(1), None] {
        let counters = Counters::default();
        let _counting = metrics::set_default_local_recorder(&counters);
        let it = worked(CannedResponse::Edited(&[(":150.00", ":\"$150\"")]), expected).await;
        assert_eq!(it.world.told().await, [""; 0], "{expected:?}");
        let stored: Vec<_> = it.world.balances().await.iter().map(in_words).collect();
        assert_eq!(stored, ["b null 3300 institution_not_supported"]);
        assert_eq!((counters.count("row_skipped", "balance"), counters.count("row_skipped", "")), (2, 2));
        for _ in 0..25 {
            it.world.pass(MINUTE * 60);
            it.world.relay().await.unwrap().unwrap();
            it.world.work().await;
        }
        assert_eq!(it.world.told().await, [""; 0], "{expected:?}");
        assert_eq!(reasons(&it).await, ["incomplete"], "{expected:?}");
    }
}

#[tokio::test]
async fn p5_a_list_that_says_more_and_names_no_page_is_whole_only_for_who_knows_how_many_there_are() {
    let endless = CannedResponse::Edited(&[("\"has_more\":false", "\"has_more\":true")]);
    let tracked = worked(endless, Some(2)).await;
    assert_eq!(tracked.world.told().await, [completed("b-1")]);
    let untracked = worked(endless, None).await;
    assert_eq!(untracked.world.told().await, [""; 0]);
    untracked.ask(json!({"action": "track_batch", "batch_id": "b-1", "expected": 2})).await;
    untracked.world.pass(MINUTE * 16);
    untracked.world.relay().await.unwrap().unwrap();
    untracked.world.work().await;
    assert_eq!(untracked.world.told().await, [completed("b-1")], "now it is known");
}
