//! The lines that events of each function give.

use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that these events give, with colours, and without the time.
fn coloured_lines(is_verbose: bool, log: impl FnOnce()) -> Vec<String> {
    let output = Output::default();
    let writer = output.clone();
    let layer = TextLines::new(move || writer.clone(), is_verbose);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect()
}

fn lines(is_verbose: bool, log: impl FnOnce()) -> Vec<String> {
    let coloured = coloured_lines(is_verbose, log);
    coloured.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
}

const EVENT: &str = "fynapse/event/a3efc743-ac6c-463b-aa19-4dd9c45b5b96";
const BATCH: &str = "5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83";

fn log_delivery() {
    tracing::info!(
        target: "delivery", provider = "fynapse", outcome = "recorded", status = 200_u16, event_id = EVENT,
        event_type = "balance.extracted", bytes = 165, duration_ms = 30, request_id = "r-1"
    );
}

#[test]
fn a_delivery_is_one_short_line() {
    assert_eq!(lines(false, log_delivery), ["fynapse    200 received   a3efc743…  165 B  30 ms"]);
    let verbose = format!("fynapse    200 received   balance.extracted  {EVENT}  165 B  30 ms  request r-1");
    assert_eq!(lines(true, log_delivery), [verbose]);
    let failed = lines(false, || {
        tracing::info!(
            target: "delivery", provider = "rightfoot", outcome = "rejected", status = 403_u16,
            reason = "mismatch", bytes = 9, duration_ms = 1
        );
        tracing::warn!(
            target: "delivery", provider = "fynapse", outcome = "unavailable", status = 503_u16,
            error = %"dynamodb:PutItem: throttled", bytes = 9, duration_ms = 1
        );
    });
    assert_eq!(
        failed,
        [
            "rightfoot  403 rejected   mismatch  9 B  1 ms",
            "fynapse    503 unavailable  9 B  1 ms  dynamodb:PutItem: throttled",
        ]
    );
}

#[test]
fn the_colour_of_the_outcome_says_whether_to_look_closer() {
    let log = || {
        log_delivery();
        tracing::info!(target: "delivery", outcome = "duplicate", status = 200_u16);
        tracing::info!(target: "delivery", outcome = "quarantined", status = 200_u16);
        tracing::info!(target: "delivery", outcome = "unavailable", status = 503_u16);
    };
    let coloured = coloured_lines(false, log);
    let has = |index: usize, text: &str| coloured[index].contains(text);
    assert!(has(0, "\u{1b}[32m200 received\u{1b}[0m"), "{coloured:?}");
    assert!(!has(1, "\u{1b}"), "{coloured:?}");
    assert!(has(2, "\u{1b}[33m200 quarantined\u{1b}[0m"), "{coloured:?}");
    assert!(has(3, "\u{1b}[31m503 unavailable\u{1b}[0m"), "{coloured:?}");
}

#[test]
fn the_worker_names_the_reason_and_a_short_id() {
    let completed = format!("rightfoot/batch/{BATCH}/completed");
    let shown = lines(false, || {
        tracing::info!(target: "worker", event_id = EVENT, outcome = "done", took_ms = 62);
        tracing::info!(
            target: "worker", event_id = completed, outcome = "requeued", reason = "not_complete",
            requeues = 2, took_ms = 7
        );
        tracing::warn!(target: "worker", event_id = completed, outcome = "returned", reason = "aws_error");
    });
    assert_eq!(
        shown,
        [
            "worker     done           a3efc743…  62 ms",
            "worker     requeued       not_complete  5d3c6bbb…/completed  attempt 3  7 ms",
            "worker     returned       aws_error  5d3c6bbb…/completed",
        ]
    );
}

#[test]
fn runs_without_a_result_are_shown_only_if_asked_for() {
    let log = || {
        tracing::debug!(target: "relay", due = 0, sent = 0, failed = 0, quarantined = 0, remaining = 0);
        tracing::info!(target: "poller", due = 1, polled = 1, recorded = 0, failed = 0, remaining = 0);
        tracing::info!(target: "poller", due = 2, polled = 2, recorded = 1, runs_found = 1, failed = 0);
        tracing::info!(target: "relay", due = 1, sent = 0, failed = 0, error = %"sqs:SendMessage: timeout");
    };
    let with_result =
        ["poller     1 recorded, 1 runs found", "relay      nothing done   sqs:SendMessage: timeout"];
    assert_eq!(lines(false, log), with_result);
    assert_eq!(
        lines(true, log)[..2],
        ["relay      nothing done", "poller     nothing done   due=1  polled=1"]
    );
}

#[test]
fn an_answer_to_a_forwarded_event_says_what_follows() {
    let shown = lines(false, || {
        tracing::warn!(
            target: "forward", outcome = "retry", no_answer = "no connection", detail_type = "BalanceExtracted",
            event_id = EVENT, attempt = 1, retry_in_ms = 840, took_ms = 1
        );
        tracing::error!(
            target: "forward", outcome = "given_up", status = 404, reason = "not retried",
            detail_type = "BalanceExtracted", event_id = EVENT, attempt = 1, took_ms = 1
        );
    });
    assert_eq!(
        shown,
        [
            "forward    no connection, retry in 0.8 s  BalanceExtracted  a3efc743…",
            "forward    404 given up   not retried  BalanceExtracted  a3efc743…  1 ms",
        ]
    );
}

#[test]
fn any_other_line_shows_all_its_fields() {
    let shown = lines(false, || {
        tracing::info!(
            target: "requests", action = "submit_batch", subject = "payroll-1", outcome = "done",
            batch_id = BATCH
        );
        tracing::warn!(target: "poller", batch_id = BATCH, polls = 3, "overdue");
        tracing::warn!(target: "secrets", why = %"access denied", "secret not loaded");
    });
    assert_eq!(
        shown,
        [
            "requests   done           submit_batch  payroll-1  batch 5d3c6bbb…",
            "poller     overdue        batch 5d3c6bbb…  polls=3",
            "secrets    secret not loaded  access denied",
        ]
    );
}

#[test]
fn p8_what_a_sender_chose_cannot_control_the_terminal() {
    let shown = lines(true, || {
        tracing::info!(target: "delivery", status = 200_u16, event_type = "a\u{1b}[2J\n\u{202e}b", outcome = "recorded");
    });
    assert_eq!(shown, [r"           200 received   a\u{1b}[2J\n\u{202e}b"]);
}
