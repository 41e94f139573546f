//! The submission's fault matrix: every AWS call of a submission is combined with every fault, once or for the rest
//! of the process; then the caller retries in different JSON at another process, with and without a rotation of the
//! URL key in between. Delayed writes are applied after their own retry was answered, or after the caller's.
//!
//! `cargo test -p tests --test it submissions::submission_fault_matrix:: -- --nocapture` prints the table.

use local::connector::{AwsConnector, Fault};
use local::invariants::{self, Observed, SubmissionLog, SubmissionResponse};
use serde_json::{Value, json};
use tests::fault_injection::is_applied_unseen;
use tests::fault_matrix::{Cell, CellResult, FaultDuration, Scenario, run_matrix};
use tests::rightfoot_world::{RightfootWorld, authorizer_json, daily_schedule_request, submit_batch_request};
use tests::{Item, MINUTE, completion_body, number, random_hex, text};

use super::{
    COMPLETED, OLD_KEY, PENDING, RequestOutcome, expect_answer, outcome_name, post_count, reworded,
    rotate_url_key, state_attributes, submission_item, token, tracked_items, url_in,
};

/// Name of the submission.
const NAME: &str = "s";
/// Authorizers of the large submission that Rightfoot rejects.
const REJECTED_AUTHORIZERS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A batch of two authorizers.
    Batch,
    /// The same, after a first caller died that had posted it.
    BatchAgain,
    /// A batch of which Rightfoot rejects so many authorizers that they do not fit into an item or the answer.
    PartlyRefused,
    /// A schedule.
    Schedule,
}

/// The first attempt at a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Submission {
    kind: Kind,
    /// The URL key is rotated before the retry.
    is_rotated: bool,
}

struct Caller {
    /// Its process is that of the first attempt.
    it: RightfootWorld,
    posts_before: usize,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Batch, Self::BatchAgain, Self::PartlyRefused, Self::Schedule];

    fn request(self) -> Value {
        match self {
            Self::Batch | Self::BatchAgain => submit_batch_request(NAME, &["a", "b"]),
            Self::PartlyRefused => {
                let mut request = submit_batch_request(NAME, &["a", "b"]);
                for seed in 0..REJECTED_AUTHORIZERS as u64 {
                    let mut refused = authorizer_json(&random_hex(60, seed));
                    refused["ssn"] = Value::Null;
                    request["authorizers"].as_array_mut().unwrap().push(refused);
                }
                request
            }
            Self::Schedule => daily_schedule_request(NAME, &["a", "b"]),
        }
    }

    fn authorizer_count(self) -> usize {
        match self {
            Self::Batch | Self::BatchAgain | Self::Schedule => 2,
            Self::PartlyRefused => 2 + REJECTED_AUTHORIZERS,
        }
    }

    fn call_count(self) -> usize {
        match self {
            Self::Batch | Self::Schedule => 7,
            Self::BatchAgain => 8,
            Self::PartlyRefused => 10,
        }
    }
}

/// Expected outcome of the first attempt.
fn expected_first_outcome(cell: &Cell<Submission>) -> &'static str {
    // The SDK retries after these.
    let is_passing = cell.fault.is_delay()
        || [Fault::Throttled, Fault::ServerError, Fault::ResetBefore, Fault::TimeoutAfter]
            .contains(&cell.fault);
    let is_posted = cell.call.index > key_index(cell);
    match (cell.call.operation.as_str(), cell.call.index) {
        _ if is_crash(cell.fault) => "died",
        _ if is_passing && cell.duration == FaultDuration::Once => "done",
        ("GetSecretValue", 0) => "UrlKeyUnavailable",
        ("GetSecretValue", _) => "RightfootUnauthorized",
        _ if cell.scenario.kind == Kind::Schedule && is_posted => "ScheduleNotTracked",
        _ => "AwsCallFailed",
    }
}

/// Index of the call that fetches the API key, the last one before the POST.
fn key_index(cell: &Cell<Submission>) -> usize {
    cell.last_index("GetSecretValue")
}

/// Returns `true` if the first attempt posted to Rightfoot.
fn is_posted(cell: &Cell<Submission>) -> bool {
    expected_first_outcome(cell) == "done" || cell.call.index > key_index(cell)
}

/// Returns `true` if the first attempt stored the outcome, which it does in its last transaction.
fn is_completed(cell: &Cell<Submission>) -> bool {
    let transaction = cell.last_index("TransactWriteItems");
    let is_applied = is_applied_unseen(cell.fault) || cell.fault == Fault::AppliedAfterRetry;
    expected_first_outcome(cell) == "done"
        || cell.call.index > transaction
        || (cell.call.index == transaction && is_applied)
}

/// Expected outcome of the retry.
fn expected_retry_outcome(cell: &Cell<Submission>) -> &'static str {
    let is_unknown = is_posted(cell) && !is_completed(cell);
    if cell.scenario.kind == Kind::Schedule && is_unknown { "ScheduleNameTaken" } else { "done" }
}

fn is_crash(fault: Fault) -> bool {
    matches!(fault, Fault::CrashBefore | Fault::CrashAfter)
}

impl Scenario for Submission {
    type Scene = Caller;
    type Outcome = RequestOutcome;

    async fn set_up(self) -> Caller {
        let it = RightfootWorld::new().await;
        if self.kind == Kind::BatchAgain {
            let dying = it.world.another_process();
            dying.inject_fault("GetItem", Fault::CrashBefore);
            assert_eq!(outcome_name(&dying.request(self.kind.request()).await), "died");
        }
        Caller { posts_before: post_count(&it), it }
    }

    fn connector(caller: &Caller) -> &AwsConnector {
        &caller.it.world.stack.connector
    }

    async fn run(self, caller: &Caller) -> RequestOutcome {
        caller.it.world.request(self.kind.request()).await
    }

    async fn recover(cell: &Cell<Self>, caller: Caller, outcome: RequestOutcome) -> CellResult {
        let (kind, it) = (cell.scenario.kind, &caller.it);
        let first = outcome_name(&outcome);
        assert_eq!(first, expected_first_outcome(cell), "the first attempt");
        let first_posts = post_count(it) - caller.posts_before;
        assert_eq!(first_posts, usize::from(is_posted(cell)), "of the first attempt");
        if cell.scenario.is_rotated {
            rotate_url_key(&it.world, &json!(["new", OLD_KEY]).to_string()).await;
        }
        let again = it.world.another_process().request_raw(&reworded(&kind.request())).await;
        Self::connector(&caller).apply_delayed(Fault::AppliedLater).await;
        let retry = outcome_name(&again);
        assert_eq!(retry, expected_retry_outcome(cell), "the retry");
        let retry_posts = post_count(it) - caller.posts_before - first_posts;
        assert_eq!(retry_posts, usize::from(!is_completed(cell)), "of the retry");

        assert_eq!(it.rightfoot.batches().len() + it.rightfoot.schedules().len(), 1, "made at Rightfoot");
        let url = url_in(&it.rightfoot.post_bodies());
        let mut responses = vec![SubmissionResponse::of(&outcome), SubmissionResponse::of(&again)];
        let batch = match kind {
            Kind::Batch | Kind::BatchAgain | Kind::PartlyRefused => {
                assert_one_batch(it, kind, &outcome, expect_answer(again)).await
            }
            Kind::Schedule => {
                let answered = assert_one_schedule(it, &outcome, again).await;
                responses.push(SubmissionResponse::of(&Some(Ok(answered))));
                "run-1".to_owned()
            }
        };
        let webhook = it.world.deliver_rightfoot_to(token(&url), completion_body(&batch, "u-1")).await;
        assert_eq!(webhook.body, r#"{"status":"received"}"#, "the URL proves nothing");
        assert_nothing_due(it, kind).await;
        let mut run = Observed::read(&it.world.stack).await.unwrap();
        run.rightfoot = it.rightfoot.snapshot();
        run.submissions.push(SubmissionLog { submission_id: NAME.to_owned(), responses });
        invariants::assert_hold(&run, &[invariants::SUBMISSIONS, invariants::TRACKING]);
        let summary = format!("first {first:<22}{first_posts} POST  again {retry:<18}{retry_posts} POST ");
        CellResult { summary, repeats: 0, allowed: 0 }
    }

    /// A crash happens once, with and without a rotation; of the other faults, the persistent ones have a rotation.
    fn durations(self, fault: Fault) -> &'static [FaultDuration] {
        if self.is_rotated && !is_crash(fault) {
            &[FaultDuration::Persistent]
        } else {
            &[FaultDuration::Once]
        }
    }
}

/// The tracked item. Panics unless the submission's outcome is stored.
async fn assert_one_tracked(it: &RightfootWorld) -> Item {
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
    let mut tracked = tracked_items(&it.world).await;
    assert_eq!(tracked.len(), 1, "tracked once");
    let tracked = tracked.remove(0);
    assert_eq!(text(&tracked, "subject"), NAME, "under its own subject");
    tracked
}

/// Checks that there is one batch, tracked once, with the same answer each time. Returns its id.
async fn assert_one_batch(it: &RightfootWorld, kind: Kind, first: &RequestOutcome, answer: Value) -> String {
    let batch_id = it.rightfoot.batches().pop().unwrap().batch_id;
    assert_eq!(answer["batch_id"], batch_id.as_str());
    assert_eq!(answer["failed_authorizers"].as_array().unwrap().len(), kind.authorizer_count() - 2);
    if let Some(Ok(first)) = first {
        assert_eq!(*first, answer, "the retry is answered otherwise");
    }
    let tracked = assert_one_tracked(it).await;
    assert_eq!(text(&tracked, "pk"), format!("rightfoot#batch#{batch_id}"));
    assert_eq!(number(&tracked, "expected"), i64::try_from(kind.authorizer_count()).ok());
    batch_id
}

/// Checks that there is one schedule, tracked once (if need be by an operator), with the same answer each time, which
/// it returns.
async fn assert_one_schedule(it: &RightfootWorld, first: &RequestOutcome, again: RequestOutcome) -> Value {
    let id = it.rightfoot.schedules().pop().unwrap().schedule_id;
    if again.as_ref().is_some_and(Result::is_err) {
        assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), PENDING);
        let track = json!({"action": "track_schedule", "schedule_id": id, "submission_id": NAME, "probe_authorizers": ["a"]});
        assert_eq!(it.request(track).await, json!({"schedule_id": id, "status": "tracked"}));
    }
    let posts_so_far = post_count(it);
    let answered = it.world.another_process().request(Kind::Schedule.request()).await;
    let answered = expect_answer(answered);
    assert_eq!(post_count(it), posts_so_far);
    assert_eq!(answered["schedule_id"], id.as_str());
    for outcome in [first, &again] {
        if let Some(Ok(answer)) = outcome {
            assert_eq!(*answer, answered, "another repetition is answered otherwise");
        }
    }
    assert_eq!(text(&assert_one_tracked(it).await, "pk"), format!("rightfoot#schedule#{id}"));
    answered
}

/// Checks that nothing is due but the schedule: a batch's completion came by webhook.
async fn assert_nothing_due(it: &RightfootWorld, kind: Kind) {
    if kind == Kind::Schedule {
        assert_eq!(it.world.due_polls().await.len(), 1);
        return;
    }
    it.world.advance(MINUTE * 10);
    let polled = it.run_poller().await.unwrap();
    assert_eq!((&polled["settled"], &polled["polled"]), (&json!(1), &json!(0)));
    assert_eq!(it.world.due_polls().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_retry_after_any_fault_of_any_call_ends_with_the_same_batch_tracked_once() {
    let of =
        |kind: Kind| [false, true].map(|is_rotated| (Submission { kind, is_rotated }, kind.call_count()));
    run_matrix(&Kind::ALL.map(of).concat()).await;
}
