//! Commands change nothing if this machine's clock is wrong: its times would be stored in the table.

use std::time::{Duration, SystemTime};

use axum::http::HeaderValue;
use axum::middleware::map_response;
use axum::response::Response;
use local::lambda_api::aws_endpoint;
use local::stack;
use tests::{completion_body, extract_body};

use crate::{CliHarness, bind_listener};

/// Serves AWS with a clock that is this many seconds behind the one of `inboxctl`; returns its URL.
async fn aws_behind(harness: &CliHarness, secs: i64) -> String {
    let listener = bind_listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let set_date = move |mut response: Response| async move {
        let span = Duration::from_secs(secs.unsigned_abs());
        let now = SystemTime::now();
        let date = if secs > 0 { now - span } else { now + span };
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(date)).unwrap();
        response.headers_mut().insert("date", date);
        response
    };
    let routes = aws_endpoint(&harness.world.stack, url.clone()).layer(map_response(set_date));
    stack::spawn_server(listener, routes);
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_changes_nothing() {
    let harness = CliHarness::with_system_clock().await;
    let world = &harness.world;
    world.put_item(crate::operator_actions::pending_submission("s-1")).await;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.run_worker().await;
    world.deliver_rightfoot("{").await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    harness.send_dead_letter(&world.drain_queue().await.remove(0).body).await;
    let before = world.items().await;
    let (ahead, behind) = (aws_behind(&harness, 180).await, aws_behind(&harness, -180).await);
    for url in [&ahead, &behind] {
        for words in [
            "events replay fynapse/event/e-1 --by ada --why x --yes",
            "quarantine replay --reason unreadable --by ada --why x --yes",
            "quarantine discard --subject demo --by ada --why x --yes",
            "batches track b-2 --expected 1 --by ada --why drill --yes",
            "dead-letters redrive --by ada --why x --yes",
            "submissions conclude s-1 --none --by ada --why x --yes",
        ] {
            let ran = harness.run_with_env(words, &[("AWS_ENDPOINT_URL", url)]).await;
            assert_eq!(ran.exit_code, 1, "{}", ran.transcript());
            let message = ran
                .stderr
                .strip_prefix("error: this machine's clock says ")
                .unwrap_or_else(|| panic!("{}", ran.transcript()));
            let (ours, theirs) = message.split_once(", AWS's says ").unwrap();
            let theirs = theirs.split_once(": ").unwrap().0;
            let at = |time: &str| inbox_core::time::UnixMillis::from_rfc3339(time).unwrap().0;
            let skew_ms = at(ours) - at(theirs);
            let expected = if url == &ahead { 180_000 } else { -180_000 };
            assert!((skew_ms - expected).abs() < 30_000, "{skew_ms}");
        }
        assert_eq!(
            harness.run_with_env("due", &[("AWS_ENDPOINT_URL", url)]).await.exit_code,
            0,
            "reading is allowed"
        );
    }
    assert_eq!(world.items().await, before);
    let near = aws_behind(&harness, 60).await;
    let words = "events replay fynapse/event/e-1 --by ada --why x --yes";
    assert_eq!(harness.run_with_env(words, &[("AWS_ENDPOINT_URL", &near)]).await.exit_code, 0);
    assert_eq!(
        harness.run("dead-letters redrive --by ada --why x --yes").await.exit_code,
        0,
        "the message is still there"
    );
}
