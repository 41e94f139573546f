//! The poller's fault matrix: every AWS call of a run that finds a completion, an alert or a schedule's run, times
//! everything that can go wrong with a call, once or for the rest of the process; then later runs. What is applied late is
//! applied after its retry was answered, or after the next run.
//!
//! In every cell P2 and P5 hold, and the event is repeated exactly as often as P3 allows there.

use std::fmt::Write as _;

use futures::stream::{self, StreamExt};
use inbox_core::limits::DUE_SHARDS;
use local::rightfoot_simulator::WebhookLoss;
use local::connector::{AwsCall, CallOutcome, Fault};
use tests::matrix::{Lasts, all_came, faults_of, is_applied, is_lost_send, judge};
use tests::rightfoot::{MINUTE, RightfootWorld, daily};
use tests::{Item, SUBJECT, found_alerts, text};

use super::{HOUR, balances, completed, submitted};

/// What the run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Completion,
    Alert,
    NewRun,
}

#[derive(Clone, Debug)]
struct Cell {
    scene: Scene,
    call: AwsCall,
    fault: Fault,
    lasts: Lasts,
}

struct Row {
    cell: Cell,
    answer: String,
    repeats: usize,
    allowed: usize,
    rounds: usize,
}

/// What is due when the scene begins, and the batch that it is about.
async fn set_the_scene(scene: Scene) -> (RightfootWorld, String) {
    let it = RightfootWorld::with(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR * 12;
        balances(rightfoot, &[("a", "150.00")]);
    })
    .await;
    if scene == Scene::Completion {
        let batch = submitted(&it, SUBJECT, &["a"]).await;
        it.pass(MINUTE * 10).await;
        return (it, batch);
    }
    it.ask(daily(SUBJECT, &["a"])).await;
    it.pass(HOUR * 12 + MINUTE * 10).await;
    let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
    if scene == Scene::Alert {
        for _ in 0..2 {
            it.poll().await.unwrap();
        }
        assert_eq!(it.world.drain_ids().await, [completed(&run)]);
        it.pass(MINUTE * 20).await;
    }
    (it, run)
}

/// The calls of the undisturbed scene. Of the sixteen looks at the index, the first stands for all.
async fn calls_of(scene: Scene) -> Vec<AwsCall> {
    let (it, _) = set_the_scene(scene).await;
    let process = it.world.another();
    process.poll().await.unwrap().unwrap();
    let calls = process.system.connector.call_log().into_iter().map(|(call, _)| call);
    calls.filter(|call| call.index == 0 || call.index >= usize::from(DUE_SHARDS)).collect()
}

/// The events that the scene ends with, and which of them the faulty process may have sent.
fn events(scene: Scene, batch: &str) -> (Vec<String>, Option<String>) {
    match scene {
        Scene::Completion => (vec![completed(batch)], Some(completed(batch))),
        Scene::Alert => (vec![found_alerts(batch, &["a"])], Some(found_alerts(batch, &["a"]))),
        Scene::NewRun => (vec![found_alerts(batch, &["a"]), completed(batch)], None),
    }
}

/// How often the event may come again in this cell, from what was seen on the wire.
fn allowed(event: &str, log: &[(AwsCall, CallOutcome)]) -> usize {
    let about = |operation: &'static str| {
        log.iter()
            .filter(move |(call, _)| call.operation == operation && call.event_ids.iter().any(|id| id == event))
    };
    // Sent, and the answer lost: each of these is on the queue, and its sender does not know.
    let lost_answers = about("SendMessage").filter(|(_, fate)| is_lost_send(fate)).count();
    // Sent and known to be, but never written down in this process.
    let sent = about("SendMessage").any(|(_, fate)| *fate == CallOutcome::Answered(200));
    let marked = about("UpdateItem").any(|(_, fate)| is_applied(fate));
    lost_answers + usize::from(sent && !marked)
}

/// Whether all is known about the batch, and nothing is left to do but to watch the schedule.
async fn is_settled(it: &RightfootWorld, batch: &str) -> bool {
    let pk = format!("rightfoot#batch#{batch}");
    let items = it.world.items().await;
    let due = items.iter().filter(|item| item.contains_key("due"));
    due.clone().all(|item| text(item, "pk").starts_with("rightfoot#schedule#"))
        && items.iter().any(|item| text(item, "pk") == pk && item.contains_key("done_at"))
}

async fn play(cell: Cell) -> Row {
    let (it, batch) = set_the_scene(cell.scene).await;
    let process = it.world.another();
    process.system.connector.set_fault_plan(cell.lasts.plan(&cell.call, cell.fault));
    let answer = match process.poll().await {
        None => "died".to_owned(),
        Some(Ok(_)) => "done".to_owned(),
        Some(Err(failed)) => failed.error_type,
    };
    process.system.connector.apply_delayed(Fault::AppliedAfterRetry).await;
    let (events, sent_here) = events(cell.scene, &batch);
    let allowed = sent_here.map_or(0, |event| allowed(&event, &process.system.connector.call_log()));

    // The next process is healthy. What was put off is due again after five minutes.
    let mut rounds = 0;
    while process.system.connector.delayed_count() > 0 || !is_settled(&it, &batch).await {
        rounds += 1;
        assert!(rounds <= 6, "P2, P9: not settled an hour later: {:?}", it.world.due().await);
        it.live_by(MINUTE * 10, MINUTE * 10).await;
        process.system.connector.apply_delayed(Fault::AppliedLater).await;
    }
    all_came(&process.system.connector, cell.fault);
    let repeats = check(&it, &batch, &events).await;
    Row { cell, answer, repeats, allowed, rounds }
}

/// P2 and P5 at the end of a cell. Returns how often the events were repeated.
async fn check(it: &RightfootWorld, batch: &str, events: &[String]) -> usize {
    let mut messages = it.world.drain_ids().await;
    let all = messages.len();
    messages.dedup();
    assert_eq!(messages, events, "P2");
    let pk = format!("rightfoot#batch#{batch}");
    let story: Vec<Item> = it.world.items().await.into_iter().filter(|item| text(item, "pk") == pk).collect();
    let count = |sk: &str| story.iter().filter(|item| text(item, "sk").starts_with(sk)).count();
    let is_run = it.rightfoot.batches()[0].schedule_id.is_some();
    assert_eq!(
        (count("tracked"), count("completed"), count("alert#poll-")),
        (1, 1, usize::from(is_run)),
        "P5"
    );
    assert_eq!(story.len(), 2 + usize::from(is_run), "P5: nothing else");
    assert!(story.iter().all(|item| item.contains_key("expires_at") && !item.contains_key("overdue_at")));
    all - events.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_p5_p9_hold_in_every_cell() {
    let mut cells = Vec::new();
    for (scene, expected) in [(Scene::Completion, 8), (Scene::Alert, 11), (Scene::NewRun, 7)] {
        let calls = calls_of(scene).await;
        assert_eq!(calls.len(), expected, "{scene:?}: {calls:?}");
        for call in calls {
            for fault in faults_of(&call) {
                cells.extend([Lasts::Once, Lasts::On].map(|lasts| Cell {
                    scene,
                    call: call.clone(),
                    fault,
                    lasts,
                }));
            }
        }
    }
    let played = stream::iter(cells).map(|cell| async move {
        let named = format!("{cell:?}");
        (named, tokio::spawn(play(cell)).await)
    });
    let played: Vec<_> = played.buffered(16).collect().await;
    judge(&played, |row| (row.repeats, row.allowed), write_row);
}

fn write_row(table: &mut String, row: &Row) {
    let Cell { scene, call, fault, lasts } = &row.cell;
    let _ = writeln!(
        table,
        "{:<11}{:>2} {:<19}{:<16}{:<5} run {:<22} repeats {} allowed {} settled after {} runs",
        format!("{scene:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{lasts:?}"),
        row.answer,
        row.repeats,
        row.allowed,
        row.rounds
    );
}
