//! Two callers with one submission, in every interleaving of their steps.
//!
//! A step is one AWS call or one request to Rightfoot. The first caller has five between which others can come: put,
//! POST, read the submission, read what is tracked, write both. The second has six: after its put it also begins a
//! retry. The final read and the secrets are no steps, because nothing that they read changes.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use inbox_core::poll::PollTiming;
use inbox_rightfoot::{AccountConfig, RightfootClient};
use local::connector::{AwsCall, Fault, StepGate};
use local::stack::{self, RIGHTFOOT_API_KEY_SECRET, RIGHTFOOT_URL_KEY_SECRET};
use rightfoot_requests::RightfootRequests;
use serde_json::{Value, json};
use tests::rightfoot_world::{MINUTE, RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{World, text};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{
    COMPLETED, PENDING, RELEASED, RequestOutcome, expect_answer, expect_error, outcome_name, post_count,
    release_name, reworded, state_attributes, submission_item, tracked_items,
};

/// Steps of the first caller.
const FIRST_CALLER_STEPS: usize = 5;
/// Steps of the second caller.
const SECOND_CALLER_STEPS: usize = 6;

/// A request that is held before Rightfoot's API.
struct HeldRequest {
    proceed: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

async fn hold_request(
    State(queue): State<mpsc::UnboundedSender<HeldRequest>>,
    request: Request,
    next: Next,
) -> Response {
    let (go, may_go) = oneshot::channel();
    let (_is_done, done) = oneshot::channel();
    let _ = queue.send(HeldRequest { proceed: go, done });
    let _ = may_go.await;
    next.run(request).await
}

/// A caller's process that stops before each of its steps.
pub(crate) struct CallerProcess {
    calls: StepGate,
    requests: mpsc::UnboundedReceiver<HeldRequest>,
    task: JoinHandle<RequestOutcome>,
    serving: JoinHandle<()>,
}

impl CallerProcess {
    pub(crate) async fn start(it: &RightfootWorld, request: String) -> Self {
        Self::spawn(it, async move |world: World| world.request_raw(&request).await).await
    }

    /// Spawns `work` as a process of its own.
    pub(crate) async fn spawn<F>(it: &RightfootWorld, work: impl FnOnce(World) -> F) -> Self
    where
        F: Future<Output = RequestOutcome> + Send + 'static,
    {
        let (queue, requests) = mpsc::unbounded_channel();
        let api = it.rightfoot.routes().layer(from_fn_with_state(queue, hold_request));
        let (serving, url) = serve(api).await;
        let mut world = it.world.another_process();
        world.stack.requests = requests_function(&world, &url);
        let calls = world.stack.connector.hold_calls(|call: &AwsCall| call.operation != "GetSecretValue");
        let task = tokio::spawn(work(world));
        Self { calls, requests, task, serving }
    }

    /// Runs one step, if the process has one left.
    pub(crate) async fn step(&mut self) {
        if self.task.is_finished() {
            return;
        }
        tokio::select! {
            biased;
            _ = self.calls.step() => {}
            Some(HeldRequest { proceed, done }) = self.requests.recv() => {
                let _ = proceed.send(());
                let _ = done.await;
            }
            outcome = &mut self.task => {
                let outcome = outcome.unwrap();
                self.task = tokio::spawn(async { outcome });
            }
        }
    }

    /// Runs the process to its end.
    pub(crate) async fn finish(mut self) -> RequestOutcome {
        while !self.task.is_finished() {
            self.step().await;
        }
        self.serving.abort();
        self.task.await.unwrap()
    }

    /// Aborts the process between two steps.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        self.serving.abort();
    }
}

async fn serve(api: Router) -> (JoinHandle<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (stack::spawn_server(listener, api), url)
}

/// The function in a process of its own, with the API at this URL.
pub(crate) fn requests_function(world: &World, api_url: &str) -> RightfootRequests {
    let config = rightfoot_requests::Config {
        common: stack::common_config(&world.stack.events_queue_url),
        rightfoot: AccountConfig {
            client: RightfootClient::new(inbox_rightfoot::ClientConfig::new(api_url).unwrap()).unwrap(),
            secret_id: RIGHTFOOT_API_KEY_SECRET.to_owned(),
        },
        poll_timing: PollTiming::default(),
        url_key_secret_id: RIGHTFOOT_URL_KEY_SECRET.to_owned(),
        webhook_base_url: "https://h.example".to_owned(),
    };
    RightfootRequests::new(&config, &world.stack.unrestricted_clients(), world.stack.clock.clone())
}

/// Every way to merge two processes with these numbers of steps, as sequences of process numbers.
pub(crate) fn orders(left: [usize; 2]) -> Vec<Vec<usize>> {
    if left == [0, 0] {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for process in [0, 1].into_iter().filter(|process| left[*process] > 0) {
        let mut rest = left;
        rest[process] -= 1;
        all.extend(orders(rest).into_iter().map(|order| [&[process], order.as_slice()].concat()));
    }
    all
}

/// Interleavings of two living callers; number 0 puts first.
fn orders_of_two_callers() -> Vec<Vec<usize>> {
    orders([FIRST_CALLER_STEPS - 1, SECOND_CALLER_STEPS])
        .into_iter()
        .map(|order| [&[0], order.as_slice()].concat())
        .collect()
}

/// Interleavings in which number 0 dies before or after a step with an effect: put, begin a retry, POST.
fn orders_with_a_crash() -> Vec<Vec<usize>> {
    (0..=3).flat_map(|lived| orders([lived, SECOND_CALLER_STEPS])).collect()
}

/// Runs two callers in this order; the second sends the same request in different JSON.
async fn run_in_order(it: &RightfootWorld, request: &Value, order: &[usize]) -> [CallerProcess; 2] {
    let mut both = [
        CallerProcess::start(it, request.to_string()).await,
        CallerProcess::start(it, reworded(request)).await,
    ];
    for process in order {
        both[*process].step().await;
    }
    both
}

/// Runs every order, several worlds at a time. `scenario` runs the nth submission of its world.
pub(crate) async fn in_every_order<F>(
    orders: Vec<Vec<usize>>,
    scenario: fn(RightfootWorld, usize, Vec<usize>) -> F,
) where
    F: Future<Output = RightfootWorld> + Send + 'static,
{
    let per_world = orders.len().div_ceil(6);
    let worlds = orders.chunks(per_world).map(<[_]>::to_vec).map(|some| {
        tokio::spawn(async move {
            let mut it = RightfootWorld::new().await;
            for (nth, order) in some.into_iter().enumerate() {
                it = scenario(it, nth, order).await;
            }
        })
    });
    for world in worlds.collect::<Vec<_>>() {
        world.await.unwrap();
    }
}

/// Checks that after the nth scenario Rightfoot has that many batches, each tracked once.
pub(crate) async fn assert_nothing_made_twice(it: &RightfootWorld, nth: usize, order: &[usize]) {
    assert_eq!(it.rightfoot.batches().len() + it.rightfoot.schedules().len(), nth + 1, "{order:?}");
    let made = it.rightfoot.batches().into_iter().map(|batch| format!("rightfoot#batch#{}", batch.batch_id));
    let schedules = it.rightfoot.schedules().into_iter();
    let mut made: Vec<_> =
        made.chain(schedules.map(|made| format!("rightfoot#schedule#{}", made.schedule_id))).collect();
    made.sort();
    let tracked = tracked_items(&it.world).await;
    assert_eq!(tracked.iter().map(|item| text(item, "pk")).collect::<Vec<_>>(), made, "{order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_two_callers_at_once_make_one_batch_and_hear_the_same_in_every_order() {
    let all = orders_of_two_callers();
    assert_eq!(all.len(), 210);
    in_every_order(all, |it, nth, order| async move {
        let request = submit_batch_request(&format!("s-{nth}"), &["a", "b"]);
        let [one, other] = run_in_order(&it, &request, &order).await;
        let (one, other) = (expect_answer(one.finish().await), expect_answer(other.finish().await));
        assert_eq!(one, other, "{order:?}");
        assert_eq!(one["batch_id"], it.rightfoot.batches()[nth].batch_id.as_str(), "{order:?}");
        assert_nothing_made_twice(&it, nth, &order).await;
        it
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_caller_that_dies_beside_another_leaves_one_batch_in_every_order() {
    let all = orders_with_a_crash();
    assert_eq!(all.len(), 120);
    in_every_order(all, |it, nth, order| async move {
        let request = submit_batch_request(&format!("s-{nth}"), &["a", "b"]);
        let [dying, other] = run_in_order(&it, &request, &order).await;
        dying.kill().await;
        let other = expect_answer(other.finish().await);
        assert_eq!(other["batch_id"], it.rightfoot.batches()[nth].batch_id.as_str(), "{order:?}");
        assert_nothing_made_twice(&it, nth, &order).await;
        it
    })
    .await;
}

/// Of two callers, one may find the name taken by the other's schedule. A repeated request returns that schedule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_callers_at_once_make_one_schedule_in_every_order() {
    in_every_order(orders_of_two_callers(), |it, nth, order| async move {
        let name = format!("s-{nth}");
        let request = daily_schedule_request(&name, &["a", "b"]);
        let [one, other] = run_in_order(&it, &request, &order).await;
        let outcomes = [one.finish().await, other.finish().await];
        let words = outcomes.each_ref().map(outcome_name);
        assert!(words.contains(&"done"), "{order:?}: {words:?}");
        assert!(
            words.iter().all(|word| ["done", "ScheduleNameTaken"].contains(word)),
            "{order:?}: {words:?}"
        );
        assert_eq!(
            state_attributes(&submission_item(&it.world, &name).await.unwrap()),
            COMPLETED,
            "{order:?}"
        );
        let posts_so_far = post_count(&it);
        let again = it.request(request).await;
        assert_eq!(post_count(&it), posts_so_far, "{order:?}");
        for outcome in outcomes.into_iter().flatten().flatten() {
            assert_eq!(outcome, again, "{order:?}");
        }
        assert_eq!(again["schedule_id"], it.rightfoot.schedules()[nth].schedule_id.as_str(), "{order:?}");
        assert_nothing_made_twice(&it, nth, &order).await;
        it
    })
    .await;
}

/// If the caller that dies has created the schedule, its name is taken, and the submission stays open until its
/// outcome is entered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_dies_beside_another_leaves_one_schedule_in_every_order() {
    in_every_order(orders_with_a_crash(), |it, nth, order| async move {
        let name = format!("s-{nth}");
        let [dying, other] = run_in_order(&it, &daily_schedule_request(&name, &["a", "b"]), &order).await;
        dying.kill().await;
        let outcome = other.finish().await;
        let id = it.rightfoot.schedules()[nth].schedule_id.clone();
        if outcome_name(&outcome) == "ScheduleNameTaken" {
            assert_eq!(state_attributes(&submission_item(&it.world, &name).await.unwrap()), PENDING, "{order:?}");
            let track = json!({"action": "track_schedule", "schedule_id": id, "submission_id": name, "probe_authorizers": ["a"]});
            assert_eq!(it.request(track).await["status"], "tracked", "{order:?}");
        } else {
            assert_eq!(expect_answer(outcome)["schedule_id"], id.as_str(), "{order:?}");
        }
        assert_eq!(state_attributes(&submission_item(&it.world, &name).await.unwrap()), COMPLETED, "{order:?}");
        assert_nothing_made_twice(&it, nth, &order).await;
        it
    })
    .await;
}

#[tokio::test]
async fn of_two_callers_at_once_with_other_people_one_is_refused_in_every_order() {
    for order in orders([2, 2]) {
        let it = RightfootWorld::new().await;
        let mut both = [
            CallerProcess::start(&it, submit_batch_request("s", &["a"]).to_string()).await,
            CallerProcess::start(&it, submit_batch_request("s", &["b"]).to_string()).await,
        ];
        for process in &order {
            both[*process].step().await;
        }
        let [one, other] = both;
        let words = [outcome_name(&one.finish().await), outcome_name(&other.finish().await)];
        let expected =
            if order[0] == 0 { ["done", "SubmissionIdConflict"] } else { ["SubmissionIdConflict", "done"] };
        assert_eq!(words, expected, "{order:?}");
        assert_eq!(post_count(&it), 1, "{order:?}");
        assert_nothing_made_twice(&it, 0, &order).await;
    }
}

/// Two operators enter different outcomes of one submission.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_of_two_batches_assigned_to_a_submission_one_wins_in_every_order() {
    let all = orders([4, 4]);
    assert_eq!(all.len(), 70);
    in_every_order(all, |it, nth, order| async move {
        let name = format!("s-{nth}");
        let dying = it.world.another_process();
        dying
            .stack
            .connector
            .set_fault_plan(|call| (call.operation == "PutItem").then_some(Fault::CrashAfter));
        assert_eq!(dying.request(submit_batch_request(&name, &["a"])).await, None);
        let track_request = |which: &str| {
            let batch_id = format!("b-{nth:02}-{which}");
            json!({"action": "track_batch", "batch_id": batch_id, "expected": 1, "submission_id": name})
                .to_string()
        };
        let mut both = [
            CallerProcess::start(&it, track_request("x")).await,
            CallerProcess::start(&it, track_request("y")).await,
        ];
        for process in &order {
            both[*process].step().await;
        }
        let [one, other] = both;
        let mut words = [outcome_name(&one.finish().await), outcome_name(&other.finish().await)];
        words.sort_unstable();
        assert_eq!(words, ["TrackingConflict", "done"], "{order:?}");
        let made = submission_item(&it.world, &name).await.unwrap()["batch_id"].as_s().unwrap().clone();
        let tracked = tracked_items(&it.world).await;
        assert_eq!(tracked.len(), nth + 1, "{order:?}");
        assert_eq!(text(&tracked[nth], "pk"), format!("rightfoot#batch#{made}"), "{order:?}");
        it
    })
    .await;
}

/// A batch that Rightfoot rejects: it has no social security numbers.
fn batch_that_is_rejected() -> Value {
    let mut request = submit_batch_request("s", &["a", "b"]);
    for authorizer in request["authorizers"].as_array_mut().unwrap() {
        authorizer["ssn"] = "".into();
    }
    request
}

/// When the first caller gets the rejection, the name was released already, and another batch is under way under it.
#[tokio::test]
async fn a_refusal_that_comes_late_frees_no_later_submission() {
    let it = RightfootWorld::new().await;
    let mut first = CallerProcess::start(&it, batch_that_is_rejected().to_string()).await;
    first.step().await;
    release_name(&it.world, "s").await;
    assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), RELEASED);
    let mut corrected = CallerProcess::start(&it, submit_batch_request("s", &["a", "b"]).to_string()).await;
    corrected.step().await;
    corrected.step().await;
    let refused = expect_error(first.finish().await);
    assert_eq!(refused.name(), "RightfootDeclined");
    let expected = "nothing was submitted, and the submission_id is used for another submission by now; a: ";
    assert!(refused.to_string().contains(expected), "{refused}");
    assert_eq!(
        state_attributes(&submission_item(&it.world, "s").await.unwrap()),
        PENDING,
        "it is another one's now"
    );
    expect_answer(corrected.finish().await);
    assert_nothing_made_twice(&it, 0, &[]).await;
}

/// Of two rejected callers, neither can know that the other was rejected.
#[tokio::test]
async fn a_refusal_of_two_callers_at_once_frees_the_name_only_by_an_operator() {
    let it = RightfootWorld::new().await;
    let mut first = CallerProcess::start(&it, batch_that_is_rejected().to_string()).await;
    first.step().await;
    let second = CallerProcess::start(&it, batch_that_is_rejected().to_string()).await;
    for caller in [second, first] {
        assert_eq!(outcome_name(&caller.finish().await), "DeclinedAfterAttempts");
        assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), PENDING);
    }
    release_name(&it.world, "s").await;
    it.request(submit_batch_request("s", &["a", "b"])).await;
    assert_nothing_made_twice(&it, 0, &[]).await;
}

/// The poller defers the submission during the POST; that must not keep its name from being released.
#[tokio::test]
async fn a_refusal_frees_a_submission_that_the_poller_has_put_off_meanwhile() {
    let it = RightfootWorld::new().await;
    let mut only = CallerProcess::start(&it, batch_that_is_rejected().to_string()).await;
    only.step().await;
    it.world.advance(MINUTE * 15);
    assert_eq!(it.run_poller().await.unwrap()["submissions_unknown"], 1);
    assert_eq!(outcome_name(&only.finish().await), "RightfootDeclined");
    assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), RELEASED);
}
