//! The submission's fault matrix: every AWS call of a submission is combined with every fault, once or for the rest
//! of the process; then the caller retries in different JSON at another process, with and without a rotation of the
//! URL key in between. Delayed writes are applied after their own retry was answered, or after the caller's.
//!
//! `cargo test -p tests --test it submissions::submission_fault_matrix:: -- --nocapture` prints the table.

use std::fmt::Write as _;
use std::sync::Arc;

use local::connector::{AwsCall, Fault};
use serde_json::{Value, json};
use tests::fault_injection::{FaultDuration, assert_late_requests_applied, possible_faults};
use tests::rightfoot_world::{
    MINUTE, RightfootWorld, authorizer_json, daily_schedule_request, submit_batch_request,
};
use tests::{Item, completion_body, number, random_hex, text};

use super::{
    COMPLETED, OLD_KEY, PENDING, RequestOutcome, expect_answer, outcome_name, post_count, reworded,
    rotate_url_key, state_attributes, submission_item, token, tracked_items, url_in,
};

/// Authorizers of the large scenario that Rightfoot rejects.
const REJECTED_AUTHORIZERS: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    /// A batch of two authorizers.
    Batch,
    /// The same, after a first caller died that had posted it.
    BatchAgain,
    /// A batch of which Rightfoot rejects so many authorizers that they do not fit into an item or the answer.
    PartlyRefused,
    /// A schedule.
    Schedule,
}

#[derive(Clone, Debug)]
struct Cell {
    scenario: Scenario,
    rotated: bool,
    call: AwsCall,
    /// Positions of the API key's fetch and of the transaction among the scenario's calls.
    key: usize,
    transaction: usize,
    fault: Fault,
    duration: FaultDuration,
}

#[derive(Debug)]
struct CellResult {
    cell: Cell,
    first_outcome: &'static str,
    first_posts: usize,
    retry_outcome: &'static str,
    retry_posts: usize,
}

impl Scenario {
    const ALL: [Self; 4] = [Self::Batch, Self::BatchAgain, Self::PartlyRefused, Self::Schedule];

    fn request(self, name: &str) -> Value {
        match self {
            Self::Batch | Self::BatchAgain => submit_batch_request(name, &["a", "b"]),
            Self::PartlyRefused => {
                let mut request = submit_batch_request(name, &["a", "b"]);
                for seed in 0..REJECTED_AUTHORIZERS as u64 {
                    let mut refused = authorizer_json(&random_hex(60, seed));
                    refused["ssn"] = Value::Null;
                    request["authorizers"].as_array_mut().unwrap().push(refused);
                }
                request
            }
            Self::Schedule => daily_schedule_request(name, &["a", "b"]),
        }
    }

    fn authorizer_count(self) -> usize {
        match self {
            Self::Batch | Self::BatchAgain | Self::Schedule => 2,
            Self::PartlyRefused => 2 + REJECTED_AUTHORIZERS,
        }
    }
}

/// Prepares the state before the scenario's own calls.
async fn set_up(it: &RightfootWorld, scenario: Scenario, name: &str) {
    if scenario == Scenario::BatchAgain {
        let dying = it.world.another_process();
        dying
            .stack
            .connector
            .set_fault_plan(|call| (call.operation == "GetItem").then_some(Fault::CrashBefore));
        assert_eq!(outcome_name(&dying.request(scenario.request(name)).await), "died");
    }
}

/// Calls of the scenario without faults.
async fn calls_of(scenario: Scenario) -> Vec<AwsCall> {
    let it = RightfootWorld::new().await;
    set_up(&it, scenario, "s").await;
    it.request(scenario.request("s")).await;
    it.world.stack.connector.call_log().into_iter().map(|(call, _)| call).collect()
}

impl Cell {
    /// Expected outcome of the first attempt.
    fn expected_first_outcome(&self) -> &'static str {
        // The SDK retries after these.
        let is_passing = self.fault.is_delay()
            || [Fault::Throttled, Fault::ServerError, Fault::ResetBefore, Fault::TimeoutAfter]
                .contains(&self.fault);
        match (self.call.operation.as_str(), self.call.index) {
            _ if is_crash(self.fault) => "died",
            _ if is_passing && self.duration == FaultDuration::Once => "done",
            ("GetSecretValue", 0) => "UrlKeyUnavailable",
            ("GetSecretValue", _) => "RightfootUnauthorized",
            _ if self.scenario == Scenario::Schedule && self.call.index > self.key => "ScheduleNotTracked",
            _ => "AwsCallFailed",
        }
    }

    /// Returns `true` if the first attempt posted to Rightfoot, which it does after the second secret.
    fn is_posted(&self) -> bool {
        self.expected_first_outcome() == "done" || self.call.index > self.key
    }

    /// Returns `true` if the first attempt stored the outcome.
    fn is_completed(&self) -> bool {
        let is_applied = matches!(
            self.fault,
            Fault::TimeoutAfter | Fault::MalformedResponse | Fault::CrashAfter | Fault::AppliedAfterRetry
        );
        self.expected_first_outcome() == "done"
            || self.call.index > self.transaction
            || (self.call.index == self.transaction && is_applied)
    }

    /// Expected outcome of the retry.
    fn expected_retry_outcome(&self) -> &'static str {
        let is_unknown = self.is_posted() && !self.is_completed();
        if self.scenario == Scenario::Schedule && is_unknown { "ScheduleNameTaken" } else { "done" }
    }
}

fn is_crash(fault: Fault) -> bool {
    matches!(fault, Fault::CrashBefore | Fault::CrashAfter)
}

async fn run_cell(it: &RightfootWorld, name: &str, cell: &Cell) -> CellResult {
    let made_before = it.rightfoot.batches().len() + it.rightfoot.schedules().len();
    let bodies_before = it.rightfoot.post_bodies().len();
    set_up(it, cell.scenario, name).await;
    let (posted_before, request) = (post_count(it), cell.scenario.request(name));
    let first = it.world.another_process();
    first.stack.connector.set_fault_plan(cell.duration.fault_plan(&cell.call, cell.fault));
    let outcome = first.request(request.clone()).await;
    first.stack.connector.apply_delayed(Fault::AppliedAfterRetry).await;
    assert_eq!(outcome_name(&outcome), cell.expected_first_outcome(), "the first attempt");
    let first_posts = post_count(it) - posted_before;
    assert_eq!(first_posts, usize::from(cell.is_posted()), "of the first attempt");
    if cell.rotated {
        rotate_url_key(&it.world, &json!(["new", OLD_KEY]).to_string()).await;
    }
    let again = it.world.another_process().request_raw(&reworded(&request)).await;
    first.stack.connector.apply_delayed(Fault::AppliedLater).await;
    assert_late_requests_applied(&first.stack.connector, cell.fault);
    assert_eq!(outcome_name(&again), cell.expected_retry_outcome(), "the retry");
    let again_posts = post_count(it) - posted_before - first_posts;
    assert_eq!(again_posts, usize::from(!cell.is_completed()), "of the retry");

    let made = it.rightfoot.batches().len() + it.rightfoot.schedules().len();
    assert_eq!(made, made_before + 1, "made at Rightfoot");
    let url = url_in(&it.rightfoot.post_bodies()[bodies_before..]);
    let row = CellResult {
        first_outcome: outcome_name(&outcome),
        first_posts,
        retry_outcome: outcome_name(&again),
        retry_posts: again_posts,
        cell: cell.clone(),
    };
    let batch = match cell.scenario {
        Scenario::Batch | Scenario::BatchAgain | Scenario::PartlyRefused => {
            assert_one_batch(it, name, cell.scenario, &outcome, expect_answer(again)).await
        }
        Scenario::Schedule => assert_one_schedule(it, name, &request, &outcome, again).await,
    };
    let webhook =
        it.world.another_process().deliver_rightfoot_to(token(&url), completion_body(&batch, "u-1")).await;
    assert_eq!(webhook.body, r#"{"status":"received"}"#, "the URL proves nothing");
    if cell.rotated {
        rotate_url_key(&it.world, OLD_KEY).await;
    }
    row
}

/// The item tracked under this name. Panics unless the submission's outcome is stored.
async fn assert_one_tracked(it: &RightfootWorld, name: &str) -> Item {
    assert_eq!(state_attributes(&submission_item(&it.world, name).await.unwrap()), COMPLETED);
    let mut tracked = tracked_items(&it.world).await;
    tracked.retain(|item| text(item, "subject") == name);
    assert_eq!(tracked.len(), 1, "tracked under its own subject");
    tracked.remove(0)
}

/// Checks that there is one batch, tracked once, with the same answer each time. Returns its id.
async fn assert_one_batch(
    it: &RightfootWorld,
    name: &str,
    scenario: Scenario,
    first: &RequestOutcome,
    answer: Value,
) -> String {
    let batch_id = it.rightfoot.batches().pop().unwrap().batch_id;
    assert_eq!(answer["batch_id"], batch_id.as_str());
    assert_eq!(answer["failed_authorizers"].as_array().unwrap().len(), scenario.authorizer_count() - 2);
    if let Some(Ok(first)) = first {
        assert_eq!(*first, answer, "the retry is answered otherwise");
    }
    let tracked = assert_one_tracked(it, name).await;
    assert_eq!(text(&tracked, "pk"), format!("rightfoot#batch#{batch_id}"));
    assert_eq!(number(&tracked, "expected"), i64::try_from(scenario.authorizer_count()).ok());
    batch_id
}

/// Checks that there is one schedule, tracked once (if need be by an operator), with the same answer each time.
/// Returns a batch id that could be its run.
async fn assert_one_schedule(
    it: &RightfootWorld,
    name: &str,
    request: &Value,
    first: &RequestOutcome,
    again: RequestOutcome,
) -> String {
    let id = it.rightfoot.schedules().pop().unwrap().schedule_id;
    if again.as_ref().is_some_and(Result::is_err) {
        assert_eq!(state_attributes(&submission_item(&it.world, name).await.unwrap()), PENDING);
        let track = json!({"action": "track_schedule", "schedule_id": id, "submission_id": name, "probe_authorizers": ["a"]});
        assert_eq!(it.request(track).await, json!({"schedule_id": id, "status": "tracked"}));
    }
    let posts_so_far = post_count(it);
    let answered = it.world.another_process().request(request.clone()).await;
    let answered = expect_answer(answered);
    assert_eq!(post_count(it), posts_so_far);
    assert_eq!(answered["schedule_id"], id.as_str());
    for outcome in [first, &again] {
        if let Some(Ok(answer)) = outcome {
            assert_eq!(*answer, answered, "another repetition is answered otherwise");
        }
    }
    assert_eq!(text(&assert_one_tracked(it, name).await, "pk"), format!("rightfoot#schedule#{id}"));
    format!("run-{name}")
}

/// Checks that nothing is due but the schedules: a batch's completion came by webhook.
async fn assert_nothing_due(it: &RightfootWorld, scenario: Scenario, cells: usize) {
    if scenario == Scenario::Schedule {
        assert_eq!(it.world.due_polls().await.len(), cells);
        return;
    }
    it.world.advance(MINUTE * 10);
    let polled = it.run_poller().await.unwrap();
    assert_eq!((&polled["settled"], &polled["polled"]), (&json!(cells), &json!(0)));
    assert_eq!(it.world.due_polls().await, []);
}

/// Every call of the scenario, combined with every fault.
async fn cells_of(scenario: Scenario) -> Vec<Cell> {
    let calls = calls_of(scenario).await;
    let last = |operation: &str| calls.iter().rposition(|call| call.operation == operation).unwrap();
    let (key, transaction) = (last("GetSecretValue"), last("TransactWriteItems"));
    let mut cells = Vec::new();
    let faults = |call| possible_faults(call).into_iter().map(move |fault| (call, fault));
    for (call, fault) in calls.iter().flat_map(faults) {
        // A crash happens once, with and without a rotation; of the other faults, the persistent ones have a
        // rotation.
        let duration = if is_crash(fault) { FaultDuration::Once } else { FaultDuration::Persistent };
        for (duration, rotated) in [(FaultDuration::Once, false), (duration, true)] {
            cells.push(Cell { scenario, rotated, call: call.clone(), key, transaction, fault, duration });
        }
    }
    cells
}

/// Runs some cells of a scenario in one world, one after the other. Returns the table and the violations.
async fn run_cells(scenario: Scenario, cells: Vec<Cell>) -> (String, Vec<String>) {
    let it = Arc::new(RightfootWorld::new().await);
    let (mut table, mut violations) = (String::new(), Vec::new());
    for (nth, cell) in cells.iter().cloned().enumerate() {
        let (cell_name, it) = (format!("{cell:?}"), it.clone());
        match tokio::spawn(async move { run_cell(&it, &format!("s-{nth}"), &cell).await }).await {
            Ok(row) => write_row(&mut table, &row),
            Err(panicked) => violations.push(format!("{panicked}: {cell_name}")),
        }
    }
    if violations.is_empty() {
        assert_nothing_due(&it, scenario, cells.len()).await;
    }
    (table, violations)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_retry_after_any_fault_of_any_call_ends_with_the_same_batch_tracked_once() {
    const CELLS_PER_WORLD: usize = 22;
    let (mut all, mut count) = (Vec::new(), 0);
    for scenario in Scenario::ALL {
        let cells = cells_of(scenario).await;
        count += cells.len();
        let worlds = cells.chunks(CELLS_PER_WORLD).map(<[_]>::to_vec);
        all.extend(worlds.map(|some| tokio::spawn(run_cells(scenario, some))));
    }
    let (mut table, mut violations) = (String::new(), Vec::new());
    for world in all {
        let (rows, errors) = world.await.unwrap();
        table.push_str(&rows);
        violations.extend(errors);
    }
    println!("{table}{count} cells");
    // Every call with eight faults, and every write with two more, in two ways.
    assert_eq!(count, 16 * (7 + 8 + 10 + 7) + 4 * (2 + 2 + 5 + 2));
    assert!(violations.is_empty(), "{} of {count} cells:\n{}", violations.len(), violations.join("\n"));
}

fn write_row(table: &mut String, row: &CellResult) {
    let Cell { scenario, rotated, call, fault, duration, .. } = &row.cell;
    let _ = writeln!(
        table,
        "{:<14}{:>2} {:<20}{:<16}{:<5}{:<9} first {:<22}{} POST  again {:<18}{} POST",
        format!("{scenario:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{duration:?}"),
        if *rotated { "rotated" } else { "" },
        row.first_outcome,
        row.first_posts,
        row.retry_outcome,
        row.retry_posts
    );
}
