//! Every AWS call of a submission, times everything that can go wrong with a call, once or for the rest of the
//! process; then the caller's retry in other words, at another process, with and without a rotation of the URL key
//! in between. What is applied late is applied after its retry was answered, or after the caller's.
//!
//! `cargo test -p tests --test it submitting::matrix:: -- --nocapture` prints the table.

use std::fmt::Write as _;
use std::sync::Arc;

use local::connector::{AwsCall, Fault};
use serde_json::{Value, json};
use tests::matrix::{Lasts, all_came, faults_of};
use tests::rightfoot::{MINUTE, RightfootWorld, authorizer, daily, submission};
use tests::{Item, completion, noise, number, text};

use super::{
    CONCLUDED, Heard, OLD_KEY, PENDING, answer, posts, reworded, rotate, state_of, submitted, token, tracked,
    url_in, word,
};

/// Authorizers of the large scene that Rightfoot refuses.
const REFUSED: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// A batch of two.
    Batch,
    /// The same, after a first caller died that has posted it.
    BatchAgain,
    /// A batch of which Rightfoot refuses so many that neither they nor the answer fit into an item.
    PartlyRefused,
    /// A schedule.
    Schedule,
}

#[derive(Clone, Debug)]
struct Cell {
    scene: Scene,
    rotated: bool,
    call: AwsCall,
    /// Where in the undisturbed scene Rightfoot's key is loaded, and where the transaction stands.
    key: usize,
    transaction: usize,
    fault: Fault,
    lasts: Lasts,
}

#[derive(Debug)]
struct Row {
    cell: Cell,
    first: &'static str,
    first_posts: usize,
    again: &'static str,
    again_posts: usize,
}

impl Scene {
    const ALL: [Self; 4] = [Self::Batch, Self::BatchAgain, Self::PartlyRefused, Self::Schedule];

    fn request(self, name: &str) -> Value {
        match self {
            Self::Batch | Self::BatchAgain => submission(name, &["a", "b"]),
            Self::PartlyRefused => {
                let mut request = submission(name, &["a", "b"]);
                for seed in 0..REFUSED as u64 {
                    let mut refused = authorizer(&noise(60, seed));
                    refused["ssn"] = Value::Null;
                    request["authorizers"].as_array_mut().unwrap().push(refused);
                }
                request
            }
            Self::Schedule => daily(name, &["a", "b"]),
        }
    }

    fn expected(self) -> usize {
        match self {
            Self::Batch | Self::BatchAgain | Self::Schedule => 2,
            Self::PartlyRefused => 2 + REFUSED,
        }
    }
}

/// What stands before the scene begins.
async fn set_the_scene(it: &RightfootWorld, scene: Scene, name: &str) {
    if scene == Scene::BatchAgain {
        let dying = it.world.another();
        dying.system.connector.set_fault_plan(|call| (call.operation == "GetItem").then_some(Fault::CrashBefore));
        assert_eq!(word(&dying.ask(scene.request(name)).await), "died");
    }
}

/// The calls of the undisturbed scene.
async fn calls_of(scene: Scene) -> Vec<AwsCall> {
    let it = RightfootWorld::new().await;
    set_the_scene(&it, scene, "s").await;
    it.ask(scene.request("s")).await;
    it.world.system.connector.call_log().into_iter().map(|(call, _)| call).collect()
}

impl Cell {
    /// What the caller hears of the first attempt.
    fn first(&self) -> &'static str {
        // After these the SDK tries again.
        let is_passing = self.fault.is_delay()
            || [Fault::Throttled, Fault::ServerError, Fault::ResetBefore, Fault::TimeoutAfter]
                .contains(&self.fault);
        match (self.call.operation.as_str(), self.call.index) {
            _ if is_crash(self.fault) => "died",
            _ if is_passing && self.lasts == Lasts::Once => "done",
            ("GetSecretValue", 0) => "UrlKeyUnavailable",
            ("GetSecretValue", _) => "RightfootUnauthorized",
            _ if self.scene == Scene::Schedule && self.call.index > self.key => "ScheduleNotWatched",
            _ => "AwsCallFailed",
        }
    }

    /// Whether the first attempt has asked Rightfoot: it does after the second secret.
    fn is_posted(&self) -> bool {
        self.first() == "done" || self.call.index > self.key
    }

    /// Whether the first attempt has written down what came of it.
    fn is_concluded(&self) -> bool {
        let is_applied = matches!(
            self.fault,
            Fault::TimeoutAfter | Fault::MalformedResponse | Fault::CrashAfter | Fault::AppliedAfterRetry
        );
        self.first() == "done"
            || self.call.index > self.transaction
            || (self.call.index == self.transaction && is_applied)
    }

    /// What the caller hears of the retry.
    fn again(&self) -> &'static str {
        let is_unknown = self.is_posted() && !self.is_concluded();
        if self.scene == Scene::Schedule && is_unknown { "ScheduleNameTaken" } else { "done" }
    }
}

/// Whether the process ends with it.
fn is_crash(fault: Fault) -> bool {
    matches!(fault, Fault::CrashBefore | Fault::CrashAfter)
}

async fn play(it: &RightfootWorld, name: &str, cell: &Cell) -> Row {
    let made_before = it.rightfoot.batches().len() + it.rightfoot.schedules().len();
    let bodies_before = it.rightfoot.post_bodies().len();
    set_the_scene(it, cell.scene, name).await;
    let (posted_before, request) = (posts(it), cell.scene.request(name));
    let first = it.world.another();
    first.system.connector.set_fault_plan(cell.lasts.plan(&cell.call, cell.fault));
    let heard = first.ask(request.clone()).await;
    first.system.connector.apply_delayed(Fault::AppliedAfterRetry).await;
    assert_eq!(word(&heard), cell.first(), "the first attempt");
    let first_posts = posts(it) - posted_before;
    assert_eq!(first_posts, usize::from(cell.is_posted()), "of the first attempt");
    if cell.rotated {
        rotate(&it.world, &json!(["new", OLD_KEY]).to_string()).await;
    }
    let again = it.world.another().ask_in_words(&reworded(&request)).await;
    first.system.connector.apply_delayed(Fault::AppliedLater).await;
    all_came(&first.system.connector, cell.fault);
    assert_eq!(word(&again), cell.again(), "the retry");
    let again_posts = posts(it) - posted_before - first_posts;
    assert_eq!(again_posts, usize::from(!cell.is_concluded()), "of the retry");

    let made = it.rightfoot.batches().len() + it.rightfoot.schedules().len();
    assert_eq!(made, made_before + 1, "made at Rightfoot");
    let url = url_in(&it.rightfoot.post_bodies()[bodies_before..]);
    let row = Row { first: word(&heard), first_posts, again: word(&again), again_posts, cell: cell.clone() };
    let batch = match cell.scene {
        Scene::Batch | Scene::BatchAgain | Scene::PartlyRefused => {
            one_batch(it, name, cell.scene, &heard, answer(again)).await
        }
        Scene::Schedule => one_schedule(it, name, &request, &heard, again).await,
    };
    let webhook = it.world.another().rightfoot_to(token(&url), completion(&batch, "u-1")).await;
    assert_eq!(webhook.body, r#"{"status":"received"}"#, "the URL proves nothing");
    if cell.rotated {
        rotate(&it.world, OLD_KEY).await;
    }
    row
}

/// What is tracked under this name; the outcome of the submission must be written down.
async fn one_tracked(it: &RightfootWorld, name: &str) -> Item {
    assert_eq!(state_of(&submitted(&it.world, name).await.unwrap()), CONCLUDED);
    let mut tracked = tracked(&it.world).await;
    tracked.retain(|item| text(item, "subject") == name);
    assert_eq!(tracked.len(), 1, "tracked under its own subject");
    tracked.remove(0)
}

/// One batch, tracked once, and answered the same each time. Returns its id.
async fn one_batch(it: &RightfootWorld, name: &str, scene: Scene, first: &Heard, answer: Value) -> String {
    let batch_id = it.rightfoot.batches().pop().unwrap().batch_id;
    assert_eq!(answer["batch_id"], batch_id.as_str());
    assert_eq!(answer["failed_authorizers"].as_array().unwrap().len(), scene.expected() - 2);
    if let Some(Ok(first)) = first {
        assert_eq!(*first, answer, "the retry is answered otherwise");
    }
    let tracked = one_tracked(it, name).await;
    assert_eq!(text(&tracked, "pk"), format!("rightfoot#batch#{batch_id}"));
    assert_eq!(number(&tracked, "expected"), i64::try_from(scene.expected()).ok());
    batch_id
}

/// One schedule, tracked once, if need be by the operator's hand, and answered the same each time. Returns the id
/// of a batch that may be its run.
async fn one_schedule(
    it: &RightfootWorld,
    name: &str,
    request: &Value,
    first: &Heard,
    again: Heard,
) -> String {
    let id = it.rightfoot.schedules().pop().unwrap().schedule_id;
    if again.as_ref().is_some_and(Result::is_err) {
        assert_eq!(state_of(&submitted(&it.world, name).await.unwrap()), PENDING);
        let track = json!({"action": "track_schedule", "schedule_id": id, "submission_id": name, "probe_authorizers": ["a"]});
        assert_eq!(it.ask(track).await, json!({"schedule_id": id, "status": "tracked"}));
    }
    let posts_so_far = posts(it);
    let answered = it.world.another().ask(request.clone()).await;
    let answered = answer(answered);
    assert_eq!(posts(it), posts_so_far);
    assert_eq!(answered["schedule_id"], id.as_str());
    for heard in [first, &again] {
        if let Some(Ok(heard)) = heard {
            assert_eq!(*heard, answered, "another repetition is answered otherwise");
        }
    }
    assert_eq!(text(&one_tracked(it, name).await, "pk"), format!("rightfoot#schedule#{id}"));
    format!("run-{name}")
}

/// Nothing more is due than what is to be looked after: no batch, as its webhook came, and every schedule.
async fn nothing_is_left(it: &RightfootWorld, scene: Scene, cells: usize) {
    if scene == Scene::Schedule {
        assert_eq!(it.world.polls_due().await.len(), cells);
        return;
    }
    it.world.pass(MINUTE * 10);
    let polled = it.poll().await.unwrap();
    assert_eq!((&polled["settled"], &polled["asked"]), (&json!(cells), &json!(0)));
    assert_eq!(it.world.polls_due().await, []);
}

/// Every call of the scene, times every fault.
async fn cells_of(scene: Scene) -> Vec<Cell> {
    let calls = calls_of(scene).await;
    let last = |operation: &str| calls.iter().rposition(|call| call.operation == operation).unwrap();
    let (key, transaction) = (last("GetSecretValue"), last("TransactWriteItems"));
    let mut cells = Vec::new();
    let faults = |call| faults_of(call).into_iter().map(move |fault| (call, fault));
    for (call, fault) in calls.iter().flat_map(faults) {
        // A crash is once, with and without a rotation; of other faults, the lasting ones have it.
        let lasts = if is_crash(fault) { Lasts::Once } else { Lasts::On };
        for (lasts, rotated) in [(Lasts::Once, false), (lasts, true)] {
            cells.push(Cell { scene, rotated, call: call.clone(), key, transaction, fault, lasts });
        }
    }
    cells
}

/// Plays some cells of a scene in one world, one after the other. What went wrong is said, not thrown.
async fn play_some(scene: Scene, cells: Vec<Cell>) -> (String, Vec<String>) {
    let it = Arc::new(RightfootWorld::new().await);
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (nth, cell) in cells.iter().cloned().enumerate() {
        let (named, it) = (format!("{cell:?}"), it.clone());
        match tokio::spawn(async move { play(&it, &format!("s-{nth}"), &cell).await }).await {
            Ok(row) => write_row(&mut table, &row),
            Err(panicked) => wrong.push(format!("{panicked}: {named}")),
        }
    }
    if wrong.is_empty() {
        nothing_is_left(&it, scene, cells.len()).await;
    }
    (table, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_retry_after_any_fault_of_any_call_ends_with_the_same_batch_tracked_once() {
    const CELLS_PER_WORLD: usize = 22;
    let (mut all, mut count) = (Vec::new(), 0);
    for scene in Scene::ALL {
        let cells = cells_of(scene).await;
        count += cells.len();
        let worlds = cells.chunks(CELLS_PER_WORLD).map(<[_]>::to_vec);
        all.extend(worlds.map(|some| tokio::spawn(play_some(scene, some))));
    }
    let (mut table, mut wrong) = (String::new(), Vec::new());
    for world in all {
        let (rows, errors) = world.await.unwrap();
        table.push_str(&rows);
        wrong.extend(errors);
    }
    println!("{table}{count} cells");
    // Every call with eight faults, and every write with two more, in two ways.
    assert_eq!(count, 16 * (7 + 8 + 10 + 7) + 4 * (2 + 2 + 5 + 2));
    assert!(wrong.is_empty(), "{} of {count} cells:\n{}", wrong.len(), wrong.join("\n"));
}

fn write_row(table: &mut String, row: &Row) {
    let Cell { scene, rotated, call, fault, lasts, .. } = &row.cell;
    let _ = writeln!(
        table,
        "{:<14}{:>2} {:<20}{:<16}{:<5}{:<9} first {:<22}{} POST  again {:<18}{} POST",
        format!("{scene:?}"),
        call.index,
        call.operation,
        format!("{fault:?}"),
        format!("{lasts:?}"),
        if *rotated { "rotated" } else { "" },
        row.first,
        row.first_posts,
        row.again,
        row.again_posts
    );
}
