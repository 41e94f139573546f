//! What the demo submits to Rightfoot, and callers who repeat a submission until they have its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::senders::Pace;
use crate::stack::Stack;
use crate::connector::until_crash;

/// Authorizers of the batches, one batch after the other; `LARGEST` is on top.
const SIZES: [usize; 8] = [3, 250, 40, 7, 120, 15, 60, 300];
/// Which batch has as many authorizers as Rightfoot takes.
const LARGEST: (usize, usize) = (6, 1_000);
/// Of every third batch, every tenth authorizer is one that Rightfoot refuses.
const REFUSED_EVERY: usize = 10;
/// Authorizers of the schedule.
const SCHEDULED: usize = 40;
/// The schedule's threshold for whom has none of its own.
const DEFAULT_THRESHOLD: &str = "2500";
/// Every fourth authorizer of the schedule has the first of these, and every fourth the second.
const OWN_THRESHOLDS: [&str; 2] = ["100.50", "4000.00"];
/// A caller repeats a submission after so long, in the demo's time.
const REPEAT_PAUSE: Duration = Duration::from_secs(10);
/// Answers that a caller wants: the second one must be the first one again.
const ANSWERS_WANTED: usize = 2;

/// A request of a caller, under the caller's own name of it.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    submission_id: String,
    request: Box<RawValue>,
}

/// A submission, and what its caller heard at each repetition.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) submission_id: String,
    pub(super) heard: Vec<Heard>,
}

/// What the caller of a function hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The process died.
    Death,
    /// It was not done, or its outcome is not known; the error's name.
    Refusal(&'static str),
    /// It was done.
    Answer {
        /// The id of the batch or the schedule.
        made: String,
        /// The authorizers that Rightfoot refused.
        failed: BTreeSet<String>,
    },
}

impl Submitted {
    /// The answers among what was heard: id, and refused authorizers.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.heard.iter().filter_map(|heard| match heard {
            Heard::Answer { made, failed } => Some((made.as_str(), failed)),
            Heard::Death | Heard::Refusal(_) => None,
        })
    }
}

/// Batches of the same few hundred people, some of whom Rightfoot refuses.
pub(super) fn batches(range: Range<usize>) -> anyhow::Result<Vec<Submission>> {
    range.map(batch).collect()
}

fn batch(number: usize) -> anyhow::Result<Submission> {
    let (largest, most) = LARGEST;
    let size = SIZES.get(number % SIZES.len()).copied().filter(|_| number != largest).unwrap_or(most);
    let is_refused = |n: usize| number.is_multiple_of(3) && n % REFUSED_EVERY == REFUSED_EVERY - 1;
    let authorizers: Vec<_> = (0..size)
        .map(|n| {
            let mut person = person(n);
            if is_refused(n) {
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
    Submission::new(submission_id, &request.to_string())
}

/// A schedule of people who are in the batches, too. It runs once a day, for so many days.
pub(super) fn schedule(days: u32) -> anyhow::Result<Submission> {
    let submission_id = "watch".to_owned();
    let authorizers: Vec<_> = (0..SCHEDULED).map(scheduled).collect::<Result<_, _>>()?;
    // As text: an amount keeps its digits.
    let request = format!(
        r#"{{"action":"create_schedule","submission_id":"{submission_id}","name":"Demo","interval_days":1,"expires_in_days":{days},"threshold_amount":{DEFAULT_THRESHOLD},"authorizers":[{}]}}"#,
        authorizers.join(",")
    );
    Submission::new(submission_id, &request)
}

/// From which balance on each authorizer of the schedule is to be alerted of.
pub(super) fn thresholds() -> BTreeMap<String, &'static str> {
    (0..SCHEDULED).map(|n| (name(n), own_threshold(n).unwrap_or(DEFAULT_THRESHOLD))).collect()
}

fn own_threshold(n: usize) -> Option<&'static str> {
    OWN_THRESHOLDS.get(n % 4).copied()
}

fn scheduled(n: usize) -> anyhow::Result<String> {
    let mut fields = serde_json::to_string(&person(n))?;
    if let Some(threshold) = own_threshold(n) {
        fields.pop();
        fields.push_str(&format!(r#","threshold_amount":{threshold}}}"#));
    }
    Ok(fields)
}

fn name(n: usize) -> String {
    format!("user-{n:04}")
}

fn person(n: usize) -> Map<String, Value> {
    let fields = [
        ("authorizer_unique_id", name(n)),
        ("first_name", "Jane".to_owned()),
        ("last_name", "Doe".to_owned()),
        ("ssn", format!("0780{n:05}")),
        ("account_number", format!("000{n:09}")),
        ("routing_number", "021000021".to_owned()),
    ];
    fields.map(|(name, value)| (name.to_owned(), Value::String(value))).into_iter().collect()
}

impl Submission {
    fn new(submission_id: String, request: &str) -> anyhow::Result<Self> {
        let request = RawValue::from_string(request.to_owned()).context("a submission that is not JSON")?;
        Ok(Self { submission_id, request })
    }
}

/// Submits again and again, the very same request, until it is answered, and once more after that; or until its time
/// is up. A process that died is followed by a new one, which loads its secrets anew.
pub(super) async fn insist(system: Stack, pace: Pace, submission: Submission, by: Instant) -> Submitted {
    let Submission { submission_id, request } = submission;
    let mut submitted = Submitted { submission_id, heard: Vec::new() };
    let mut requests = system.requests.clone();
    while submitted.answers().count() < ANSWERS_WANTED && Instant::now() < by {
        if !submitted.heard.is_empty() {
            pace.sleep(REPEAT_PAUSE).await;
        }
        let heard = match until_crash(requests.handle(&request)).await {
            None => Heard::Death,
            Some(Err(refusal)) => Heard::Refusal(refusal.name()),
            Some(Ok(answer)) => read(&answer),
        };
        if heard == Heard::Death {
            requests = system.another_process().requests;
        }
        submitted.heard.push(heard);
    }
    submitted
}

fn read(answer: &Value) -> Heard {
    let made = answer.get("batch_id").or_else(|| answer.get("schedule_id")).and_then(Value::as_str);
    let failed = answer.get("failed_authorizers").and_then(Value::as_array).into_iter().flatten();
    let failed = failed.filter_map(|failed| failed.get("authorizer_unique_id")?.as_str());
    Heard::Answer { made: made.unwrap_or_default().to_owned(), failed: failed.map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorizers(submission: &Submission) -> Vec<Value> {
        let request: Value = serde_json::from_str(submission.request.get()).unwrap();
        request["authorizers"].as_array().unwrap().clone()
    }

    #[test]
    fn batches_are_small_and_large_and_some_of_their_authorizers_are_refused() {
        let batches: Vec<_> = batches(0..24).unwrap().iter().map(authorizers).collect();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes[..9], [3, 250, 40, 7, 120, 15, 1_000, 300, 3]);
        assert_eq!(sizes.iter().max(), Some(&1_000));
        let refused = |batch: &Vec<Value>| batch.iter().filter(|row| row.get("ssn").is_none()).count();
        assert_eq!(batches.iter().map(refused).collect::<Vec<_>>()[..8], [0, 0, 0, 0, 0, 0, 100, 0]);
    }

    #[test]
    fn the_schedule_is_of_people_who_are_in_every_batch_and_have_thresholds_of_three_kinds() {
        let schedule = schedule(3).unwrap();
        let of = |n: usize| thresholds()[&name(n)];
        assert_eq!([of(0), of(1), of(2), of(3), of(4)], ["100.50", "4000.00", "2500", "2500", "100.50"]);
        assert!(schedule.request.get().contains(r#""threshold_amount":100.50}"#));
        assert_eq!(authorizers(&schedule).len(), thresholds().len());
        assert_eq!(authorizers(&schedule)[2], authorizers(&batches(0..1).unwrap()[0])[2]);
    }
}
