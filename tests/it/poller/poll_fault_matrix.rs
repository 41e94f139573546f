//! The poller's fault matrix: every AWS call of a run that finds a completion, an alert or a schedule's run is
//! combined with every fault, once or for the rest of the process; later runs follow. Delayed writes are applied
//! after their retry was answered, or after the next run.
//!
//! In every cell P2 and P5 hold, and the event is repeated exactly as often as P3 allows there.

use std::fmt::Write as _;

use futures::stream::{self, StreamExt};
use inbox_core::limits::DUE_SHARDS;
use local::connector::{AwsCall, CallOutcome, Fault};
use local::rightfoot_simulator::WebhookLoss;
use tests::fault_injection::{
    FaultDuration, assert_late_requests_applied, assert_table, is_applied, is_send_outcome_unknown,
    possible_faults,
};
use tests::rightfoot_world::{MINUTE, RightfootWorld, daily_schedule_request};
use tests::{Item, SUBJECT, polled_alerts_event_id, text};

use super::{HOUR, completion_event_id, set_balances, submit_batch};

/// The kind of event that the run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Completion,
    Alert,
    NewRun,
}

#[derive(Clone, Debug)]
struct Cell {
    scenario: Scenario,
    call: AwsCall,
    fault: Fault,
    duration: FaultDuration,
}

struct CellResult {
    cell: Cell,
    answer: String,
    repeats: usize,
    allowed: usize,
    runs_until_settled: usize,
}

/// Prepares what is due; returns the world and the batch's id.
async fn set_up(scenario: Scenario) -> (RightfootWorld, String) {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR * 12;
        set_balances(rightfoot, &[("a", "150.00")]);
    })
    .await;
    if scenario == Scenario::Completion {
        let batch = submit_batch(&it, SUBJECT, &["a"]).await;
        it.advance(MINUTE * 10).await;
        return (it, batch);
    }
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    it.advance(HOUR * 12 + MINUTE * 10).await;
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    if scenario == Scenario::Alert {
        for _ in 0..2 {
            it.run_poller().await.unwrap();
        }
        assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)]);
        it.advance(MINUTE * 20).await;
    }
    (it, run)
}

/// Calls of the scenario without faults. The sixteen queries of the index are equal, so only the first is kept.
async fn calls_of(scenario: Scenario) -> Vec<AwsCall> {
    let (it, _) = set_up(scenario).await;
    let process = it.world.another_process();
    process.run_poller().await.unwrap().unwrap();
    let calls = process.stack.connector.call_log().into_iter().map(|(call, _)| call);
    calls.filter(|call| call.index == 0 || call.index >= usize::from(DUE_SHARDS)).collect()
}

/// The events expected at the end, and the one that the faulty process may have sent.
fn expected_events(scenario: Scenario, batch: &str) -> (Vec<String>, Option<String>) {
    match scenario {
        Scenario::Completion => (vec![completion_event_id(batch)], Some(completion_event_id(batch))),
        Scenario::Alert => {
            (vec![polled_alerts_event_id(batch, &["a"])], Some(polled_alerts_event_id(batch, &["a"])))
        }
        Scenario::NewRun => (vec![polled_alerts_event_id(batch, &["a"]), completion_event_id(batch)], None),
    }
}

/// Returns how often the event may be repeated on the queue in this cell (P3), derived from the log of its calls.
fn allowed_repeats(event: &str, log: &[(AwsCall, CallOutcome)]) -> usize {
    let about = |operation: &'static str| {
        log.iter().filter(move |(call, _)| {
            call.operation == operation && call.event_ids.iter().any(|id| id == event)
        })
    };
    // Sent, and the answer lost: each of these is on the queue and its sender does not know.
    let lost_answers = about("SendMessage").filter(|(_, outcome)| is_send_outcome_unknown(outcome)).count();
    // Sent and known to be sent, but the mark was never applied by this process.
    let sent = about("SendMessage").any(|(_, outcome)| *outcome == CallOutcome::Answered(200));
    let marked = about("UpdateItem").any(|(_, outcome)| is_applied(outcome));
    lost_answers + usize::from(sent && !marked)
}

/// Returns `true` if every event of the batch is recorded and only the schedule is still due.
async fn is_settled(it: &RightfootWorld, batch: &str) -> bool {
    let pk = format!("rightfoot#batch#{batch}");
    let items = it.world.items().await;
    let due = items.iter().filter(|item| item.contains_key("due"));
    due.clone().all(|item| text(item, "pk").starts_with("rightfoot#schedule#"))
        && items.iter().any(|item| text(item, "pk") == pk && item.contains_key("done_at"))
}

async fn run_cell(cell: Cell) -> CellResult {
    let (it, batch) = set_up(cell.scenario).await;
    let process = it.world.another_process();
    process.stack.connector.set_fault_plan(cell.duration.fault_plan(&cell.call, cell.fault));
    let answer = match process.run_poller().await {
        None => "died".to_owned(),
        Some(Ok(_)) => "done".to_owned(),
        Some(Err(failed)) => failed.error_type,
    };
    process.stack.connector.apply_delayed(Fault::AppliedAfterRetry).await;
    let (events, sent_here) = expected_events(cell.scenario, &batch);
    let allowed = sent_here.map_or(0, |event| allowed_repeats(&event, &process.stack.connector.call_log()));

    // The next process has no faults. A deferred item is due again after five minutes.
    let mut rounds = 0;
    while process.stack.connector.delayed_count() > 0 || !is_settled(&it, &batch).await {
        rounds += 1;
        assert!(rounds <= 6, "P2, P9: not settled an hour later: {:?}", it.world.due_items().await);
        it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
        process.stack.connector.apply_delayed(Fault::AppliedLater).await;
    }
    assert_late_requests_applied(&process.stack.connector, cell.fault);
    let repeats = assert_found_once(&it, &batch, &events).await;
    CellResult { cell, answer, repeats, allowed, runs_until_settled: rounds }
}

/// Checks P2 and P5 at the end of a cell. Returns the number of repeats on the queue.
async fn assert_found_once(it: &RightfootWorld, batch: &str, events: &[String]) -> usize {
    let mut messages = it.world.drain_event_ids().await;
    let all = messages.len();
    messages.dedup();
    assert_eq!(messages, events, "P2");
    let pk = format!("rightfoot#batch#{batch}");
    let items: Vec<Item> = it.world.items().await.into_iter().filter(|item| text(item, "pk") == pk).collect();
    let count = |sk: &str| items.iter().filter(|item| text(item, "sk").starts_with(sk)).count();
    let is_run = it.rightfoot.batches()[0].schedule_id.is_some();
    assert_eq!(
        (count("tracked"), count("completed"), count("alert#poll-")),
        (1, 1, usize::from(is_run)),
        "P5"
    );
    assert_eq!(items.len(), 2 + usize::from(is_run), "P5: nothing else");
    assert!(items.iter().all(|item| item.contains_key("expires_at") && !item.contains_key("overdue_at")));
    all - events.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_p5_p9_hold_in_every_cell() {
    let mut cells = Vec::new();
    for (scenario, expected) in [(Scenario::Completion, 8), (Scenario::Alert, 11), (Scenario::NewRun, 7)] {
        let calls = calls_of(scenario).await;
        assert_eq!(calls.len(), expected, "{scenario:?}: {calls:?}");
        for call in calls {
            for fault in possible_faults(&call) {
                cells.extend([FaultDuration::Once, FaultDuration::Persistent].map(|duration| Cell {
                    scenario,
                    call: call.clone(),
                    fault,
                    duration,
                }));
            }
        }
    }
    let results = stream::iter(cells).map(|cell| async move {
        let name = format!("{cell:?}");
        (name, tokio::spawn(run_cell(cell)).await)
    });
    let results: Vec<_> = results.buffered(16).collect().await;
    assert_table(&results, |row| (row.repeats, row.allowed), write_row);
}

fn write_row(table: &mut String, row: &CellResult) {
    let Cell { scenario, call, fault, duration } = &row.cell;
    let _ = writeln!(
        table,
        "{:<11}{:>2} {:<19}{:<16}{:<5} run {:<22} repeats {} allowed {} settled after {} runs",
        format!("{scenario:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{duration:?}"),
        row.answer,
        row.repeats,
        row.allowed,
        row.runs_until_settled
    );
}
