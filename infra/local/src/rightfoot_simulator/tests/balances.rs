//! E3: rows, pages, and the response before a batch is complete.

use super::*;
use crate::rightfoot_simulator::{IncompleteBatchResponse, PageTokenParam};

/// The default processing time, after which all rows are available.
const READY: Duration = Duration::from_secs(300);

#[tokio::test]
async fn balances_are_answered_as_documented_and_to_the_last_digit() {
    let rig = TestRig::with_behaviour(|behaviour| {
        let balances =
            [("a0", "150.00"), ("a1", "-83.68"), ("a2", "null"), ("a3", "7"), ("a4", "1.50E+2"), ("a5", "?")];
        behaviour.balances = balances.map(|(id, text)| (id.to_owned(), text.to_owned())).into();
    })
    .await;
    let batch_id = rig.submit(batch_of(6)).await;
    rig.advance(READY);
    let text = rig.text(&format!("/v1/balances?batchId={batch_id}")).await;
    let row = |n: usize, balance: &str, at: &str, code: u32| {
        format!(
            r#"{{"authorizer_unique_id":"a{n}","balance":{balance},"timestamp":"2026-01-02T03:{at}Z","balance_status_code":{code},"status_code":{code}}}"#
        )
    };
    let rows = [
        row(0, "150.00", "04:55", 0),
        row(1, "-83.68", "05:45", 0),
        row(2, "null", "06:35", 3300),
        row(3, "7", "07:25", 0),
        row(4, "1.50E+2", "08:15", 0),
        row(5, "null", "09:05", 9000),
    ];
    let expected = format!(
        r#"{{"batch_id":"{batch_id}","total_processed":6,"balances":[{}],"has_more":false,"next_page_token":null}}"#,
        rows.join(",")
    );
    assert_eq!(text, expected);
    let rows = &rig.sim.batches()[0].rows;
    assert_eq!((rows[4].balance.as_deref(), rows[5].balance.as_deref()), (Some("1.50E+2"), None));
}

#[tokio::test]
async fn balances_are_fixed_when_the_batch_starts() {
    let rig = TestRig::new().await;
    let batch_id = rig.submit(batch_of(1)).await;
    let before = rig.sim.batches();
    rig.sim.configure(|behaviour| {
        behaviour.balances.insert("a0".to_owned(), "1".to_owned());
        behaviour.processing_time = DAY;
    });
    assert_eq!(rig.sim.batches(), before);
    rig.advance(READY);
    assert_eq!(rig.get(&format!("/v1/balances?batchId={batch_id}")).await.1["total_processed"], 1);
}

#[tokio::test]
async fn an_unknown_batch_is_404_and_none_is_400() {
    let rig = TestRig::new().await;
    let (status, answer) = rig.get("/v1/balances?batchId=x").await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("NOT_FOUND")));
    assert_eq!(rig.get("/v1/balances?batch_id=x").await.0, 400);
    assert_eq!(rig.post("/v1/balances?batchId=x", "").await.0, 405);
}

#[tokio::test]
async fn fifty_rows_are_a_page_and_a_hundred_at_most() {
    let rig = TestRig::new().await;
    let batch_id = rig.submit(batch_of(120)).await;
    rig.advance(READY);
    for (limit, rows) in [("", 50), ("&limit=1", 1), ("&limit=100", 100)] {
        let (_, page) = rig.get(&format!("/v1/balances?batchId={batch_id}{limit}")).await;
        assert_eq!(
            (page["balances"].as_array().unwrap().len(), &page["total_processed"]),
            (rows, &json!(120))
        );
        assert_eq!((&page["has_more"], page["next_page_token"].is_string()), (&json!(true), true));
    }
    assert_eq!(rig.get(&format!("/v1/balances?batchId={batch_id}&limit=101")).await.0, 400);
}

/// The first row of page one, and of the next page if the token has this name.
async fn second_page(rig: &TestRig, batch_id: &str, name: &str) -> String {
    let path = format!("/v1/balances?batchId={batch_id}&limit=2");
    let (_, first) = rig.get(&path).await;
    let token = first["next_page_token"].as_str().unwrap().replace('+', "%2B");
    let (status, second) = rig.get(&format!("{path}&{name}={token}")).await;
    assert_eq!(status, 200);
    second["balances"][0]["authorizer_unique_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_token_is_read_only_under_the_configured_name() {
    let rig = TestRig::new().await;
    let batch_id = rig.submit(batch_of(5)).await;
    rig.advance(READY);
    for (param, new, old) in [
        (PageTokenParam::New, "a2", "a0"),
        (PageTokenParam::Old, "a0", "a2"),
        (PageTokenParam::Both, "a2", "a2"),
        (PageTokenParam::Ignored, "a0", "a0"),
    ] {
        rig.sim.configure(|behaviour| behaviour.page_token_param = param);
        assert_eq!(second_page(&rig, &batch_id, "next_page_token").await, new, "{param:?}");
        assert_eq!(second_page(&rig, &batch_id, "nextPageToken").await, old, "{param:?}");
    }
}

#[tokio::test]
async fn all_pages_together_are_all_rows_once() {
    let rig = TestRig::new().await;
    let batch_id = rig.submit(batch_of(7)).await;
    rig.advance(READY);
    let (mut token, mut ids, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let (_, page) = rig.get(&format!("/v1/balances?batchId={batch_id}&limit=3{token}")).await;
        ids.extend(each(&page["balances"], "authorizer_unique_id").into_iter().map(str::to_owned));
        pages += 1;
        if page["has_more"] == false {
            assert!(page["next_page_token"].is_null());
            break;
        }
        token = format!("&next_page_token={}", page["next_page_token"].as_str().unwrap().replace('+', "%2B"));
    }
    assert_eq!((pages, ids), (3, (0..7).map(|n| format!("a{n}")).collect()));
}

#[tokio::test]
async fn an_incomplete_batch_responds_as_configured() {
    for (before, status, processed) in [
        (IncompleteBatchResponse::FewerRows, 200, json!(2)),
        (IncompleteBatchResponse::EmptyList, 200, json!(0)),
        (IncompleteBatchResponse::Accepted202, 202, json!(null)),
        (IncompleteBatchResponse::NotFound404, 404, json!(null)),
        (IncompleteBatchResponse::TooEarly425, 425, json!(null)),
    ] {
        let rig = TestRig::with_behaviour(|behaviour| behaviour.incomplete_batch_response = before).await;
        let path = format!("/v1/balances?batchId={}", rig.submit(batch_of(4)).await);
        rig.advance(READY - Duration::from_millis(75_001));
        let (early_status, early) = rig.get(&path).await;
        assert_eq!((early_status, &early["total_processed"]), (status, &processed), "{before:?}");
        if status == 200 {
            let rows = early["balances"].as_array().unwrap().len();
            assert_eq!((json!(rows), &early["has_more"]), (processed, &json!(false)), "{before:?}");
        }
        rig.advance(Duration::from_millis(75_001));
        let (final_status, whole) = rig.get(&path).await;
        assert_eq!((final_status, &whole["total_processed"]), (200, &json!(4)), "{before:?}");
    }
}

#[tokio::test]
async fn a_batch_of_somebody_else_is_complete_at_once_and_sends_nothing() {
    let rig = TestRig::new().await;
    let known = |rows: &[(&str, &str)]| -> Vec<_> {
        rows.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
    };
    rig.sim.add_completed_batch("theirs", &known(&[("a0", "150.00"), ("a1", "null")]));
    rig.sim.add_completed_batch("theirs", &known(&[("a0", "1.00")]));
    let expected = concat!(
        r#"{"batch_id":"theirs","total_processed":2,"balances":["#,
        r#"{"authorizer_unique_id":"a0","balance":150.00,"timestamp":"2026-01-02T03:04:05Z","balance_status_code":0,"status_code":0},"#,
        r#"{"authorizer_unique_id":"a1","balance":null,"timestamp":"2026-01-02T03:04:05Z","balance_status_code":3300,"status_code":3300}"#,
        r#"],"has_more":false,"next_page_token":null}"#
    );
    assert_eq!(rig.text("/v1/balances?batchId=theirs").await, expected);
    rig.advance(DAY);
    rig.sim.tick().await;
    assert_eq!((rig.sim.webhooks(), rig.sim.expected_alerts().len()), (vec![], 0));
}
