//! The demo's submissions to Rightfoot, and callers that repeat a submission until it succeeds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::connector::until_crash;
use crate::invariants::{SubmissionLog, SubmissionResponse};
use crate::senders::SimClock;
use crate::stack::Stack;

/// Numbers of authorizers of successive batches, cyclically; [`LARGEST_BATCH`] is an exception.
const BATCH_SIZES: [usize; 8] = [3, 250, 40, 7, 120, 15, 60, 300];
/// Number of the largest batch, and its size: Rightfoot's limit of authorizers.
const LARGEST_BATCH: (usize, usize) = (6, 1_000);
/// In every third batch, every tenth authorizer is invalid, so Rightfoot reports it as failed.
const INVALID_EVERY: usize = 10;
/// Number of authorizers of the schedule.
const SCHEDULED_AUTHORIZERS: usize = 40;
/// The schedule's threshold for authorizers without one of their own.
const DEFAULT_THRESHOLD: &str = "2500";
/// Every fourth authorizer of the schedule has the first of these, and every fourth the second.
const OWN_THRESHOLDS: [&str; 2] = ["100.50", "4000.00"];
/// Pause before a caller repeats a submission, in simulated time.
const REPEAT_DELAY: Duration = Duration::from_secs(10);
/// Successful responses that a caller waits for: a second one, to check that a repetition gives the same response.
const REQUIRED_SUCCESSES: usize = 2;

/// A request and its submission id, which makes it idempotent.
#[derive(Clone, Debug)]
pub(super) struct PlannedSubmission {
    submission_id: String,
    request: Box<RawValue>,
}

/// Batches of the same people, some of them with invalid authorizers ([`INVALID_EVERY`]).
pub(super) fn batches(range: Range<usize>) -> anyhow::Result<Vec<PlannedSubmission>> {
    range.map(batch).collect()
}

fn batch(number: usize) -> anyhow::Result<PlannedSubmission> {
    let (largest, largest_size) = LARGEST_BATCH;
    let size = BATCH_SIZES
        .get(number % BATCH_SIZES.len())
        .copied()
        .filter(|_| number != largest)
        .unwrap_or(largest_size);
    let is_invalid = |n: usize| number.is_multiple_of(3) && n % INVALID_EVERY == INVALID_EVERY - 1;
    let authorizers: Vec<_> = (0..size)
        .map(|n| {
            let mut person = person(n);
            if is_invalid(n) {
                // Without `ssn` and `ein`, Rightfoot reports the authorizer as failed.
                person.remove("ssn");
            }
            person
        })
        .collect();
    let submission_id = format!("payroll-{number:02}");
    let request = json!({
        "action": "submit_batch",
        "submission_id": submission_id,
        "authorizers": authorizers,
    });
    PlannedSubmission::new(submission_id, &request.to_string())
}

/// A daily schedule that expires in `days` days, of people who are in the batches, too.
pub(super) fn schedule(days: u32) -> anyhow::Result<PlannedSubmission> {
    let submission_id = "daily-schedule".to_owned();
    let authorizers: Vec<_> = (0..SCHEDULED_AUTHORIZERS).map(scheduled_person).collect::<Result<_, _>>()?;
    // As text, so that amounts keep their digits.
    let request = format!(
        r#"{{"action":"create_schedule","submission_id":"{submission_id}","name":"Demo","interval_days":1,"expires_in_days":{days},"threshold_amount":{DEFAULT_THRESHOLD},"authorizers":[{}]}}"#,
        authorizers.join(",")
    );
    PlannedSubmission::new(submission_id, &request)
}

/// Alert threshold of each authorizer of the schedule, as written in the request.
pub(super) fn thresholds() -> BTreeMap<String, String> {
    (0..SCHEDULED_AUTHORIZERS)
        .map(|n| (authorizer_id(n), own_threshold(n).unwrap_or(DEFAULT_THRESHOLD).to_owned()))
        .collect()
}

fn own_threshold(n: usize) -> Option<&'static str> {
    OWN_THRESHOLDS.get(n % 4).copied()
}

fn scheduled_person(n: usize) -> anyhow::Result<String> {
    let mut fields = serde_json::to_string(&person(n))?;
    if let Some(threshold) = own_threshold(n) {
        // Added to the text, so that the amount keeps its digits.
        fields.pop();
        fields.push_str(&format!(r#","threshold_amount":{threshold}}}"#));
    }
    Ok(fields)
}

fn authorizer_id(n: usize) -> String {
    format!("user-{n:04}")
}

fn person(n: usize) -> Map<String, Value> {
    let fields = [
        ("authorizer_unique_id", authorizer_id(n)),
        ("first_name", "Jane".to_owned()),
        ("last_name", "Doe".to_owned()),
        ("ssn", format!("0780{n:05}")),
        ("account_number", format!("000{n:09}")),
        ("routing_number", "021000021".to_owned()),
    ];
    fields.map(|(name, value)| (name.to_owned(), Value::String(value))).into_iter().collect()
}

impl PlannedSubmission {
    fn new(submission_id: String, request: &str) -> anyhow::Result<Self> {
        let request = RawValue::from_string(request.to_owned()).context("a submission that is not JSON")?;
        Ok(Self { submission_id, request })
    }
}

/// Repeats the same request until it has succeeded [`REQUIRED_SUCCESSES`] times, or until the time `until`. A crashed
/// process is followed by a new one, which loads its secrets anew.
pub(super) async fn submit_until_succeeded(
    stack: Stack,
    sim_clock: SimClock,
    submission: PlannedSubmission,
    until: Instant,
) -> SubmissionLog {
    let PlannedSubmission { submission_id, request } = submission;
    let mut log = SubmissionLog { submission_id, responses: Vec::new() };
    let mut requests = stack.requests.clone();
    while log.successes().count() < REQUIRED_SUCCESSES && Instant::now() < until {
        if !log.responses.is_empty() {
            sim_clock.sleep(REPEAT_DELAY).await;
        }
        let response = SubmissionResponse::of(&until_crash(requests.handle(&request)).await);
        if response == SubmissionResponse::Crashed {
            requests = stack.another_process().requests;
        }
        log.responses.push(response);
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorizers(submission: &PlannedSubmission) -> Vec<Value> {
        let request: Value = serde_json::from_str(submission.request.get()).unwrap();
        request["authorizers"].as_array().unwrap().clone()
    }

    #[test]
    fn batches_are_small_and_large_and_some_of_their_authorizers_are_invalid() {
        let batches: Vec<_> = batches(0..24).unwrap().iter().map(authorizers).collect();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes[..9], [3, 250, 40, 7, 120, 15, 1_000, 300, 3]);
        assert_eq!(sizes.iter().max(), Some(&1_000));
        let invalid = |batch: &Vec<Value>| batch.iter().filter(|row| row.get("ssn").is_none()).count();
        assert_eq!(batches.iter().map(invalid).collect::<Vec<_>>()[..8], [0, 0, 0, 0, 0, 0, 100, 0]);
    }

    #[test]
    fn the_schedule_is_of_people_who_are_in_every_batch_and_have_thresholds_of_three_kinds() {
        let schedule = schedule(3).unwrap();
        let of = |n: usize| thresholds()[&authorizer_id(n)].clone();
        assert_eq!([of(0), of(1), of(2), of(3), of(4)], ["100.50", "4000.00", "2500", "2500", "100.50"]);
        assert!(schedule.request.get().contains(r#""threshold_amount":100.50}"#));
        assert_eq!(authorizers(&schedule).len(), thresholds().len());
        assert_eq!(authorizers(&schedule)[2], authorizers(&batches(0..1).unwrap()[0])[2]);
    }
}
