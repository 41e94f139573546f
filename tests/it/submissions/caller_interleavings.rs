//! Two callers with one submission, in every interleaving of their steps.
//!
//! A step is one AWS call or one request to Rightfoot. The first caller has five between which others can come: put,
//! POST, read the submission, read what is tracked, write both. The second has six: after its put it also begins a
//! retry. The final read and the secrets are no steps, because nothing that they read changes.

use inbox_core::poll::PollTiming;
use inbox_rightfoot::{AccountConfig, RightfootClient};
use local::connector::{AwsCall, Fault};
use local::stack::{self, RIGHTFOOT_API_KEY_SECRET, RIGHTFOOT_URL_KEY_SECRET};
use rightfoot_requests::RightfootRequests;
use serde_json::{Value, json};
use tests::interleave::{HeldApi, Interleaving, SteppedProcess, explore_interleavings, run_in_order};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{MINUTE, World, text};

use super::{
    COMPLETED, PENDING, RELEASED, RequestOutcome, expect_answer, expect_error, outcome_name, post_count,
    release_name, reworded, state_attributes, submission_item, tracked_items,
};

/// Steps of the first caller.
const FIRST_CALLER_STEPS: usize = 5;
/// Steps of the second caller.
const SECOND_CALLER_STEPS: usize = 6;

pub(crate) type CallerProcess = SteppedProcess<RequestOutcome>;

/// Starts a caller with this request.
pub(crate) async fn start_caller(it: &RightfootWorld, request: String) -> CallerProcess {
    spawn_caller(it, async move |world: World| world.request_raw(&request).await).await
}

/// Spawns `work` as a process of its own, whose requests to Rightfoot are steps, too.
pub(crate) async fn spawn_caller<F>(it: &RightfootWorld, work: impl FnOnce(World) -> F) -> CallerProcess
where
    F: Future<Output = RequestOutcome> + Send + 'static,
{
    let api = HeldApi::serve(it.rightfoot.routes()).await;
    let is_step = |call: &AwsCall| call.operation != "GetSecretValue";
    let process = SteppedProcess::spawn(&it.world, is_step, |mut world| {
        world.stack.requests = requests_function(&world, &api.url);
        work(world)
    });
    process.with_held_api(api)
}

/// The function in a process of its own, with the API at this URL.
pub(crate) fn requests_function(world: &World, api_url: &str) -> RightfootRequests {
    let config = rightfoot_requests::Config {
        common: stack::common_config(&world.stack.events_queue_url),
        rightfoot: AccountConfig {
            client: RightfootClient::new(inbox_rightfoot::ClientConfig::new(api_url, None).unwrap()).unwrap(),
            secret_id: RIGHTFOOT_API_KEY_SECRET.to_owned(),
        },
        poll_timing: PollTiming::default(),
        url_key_secret_id: RIGHTFOOT_URL_KEY_SECRET.to_owned(),
        webhook_base_url: "https://h.example".to_owned(),
    };
    RightfootRequests::new(&config, &world.stack.unrestricted_clients(), world.stack.clock.clone())
}

/// Runs two callers in this order, the first of which has put already; the second sends the same request in different
/// JSON.
async fn run_two_callers(
    it: &RightfootWorld,
    request: &Value,
    order: &[usize],
) -> Interleaving<RequestOutcome> {
    let mut first = start_caller(it, request.to_string()).await.interleave_only(FIRST_CALLER_STEPS);
    assert!(first.step().await);
    let second = start_caller(it, reworded(request)).await.interleave_only(SECOND_CALLER_STEPS);
    run_in_order(vec![first, second], order).await
}

/// Like [`run_two_callers`], but the first caller may be the later one, and dies after `lived` steps.
async fn run_dying_caller(
    it: &RightfootWorld,
    lived: usize,
    request: &Value,
    order: &[usize],
) -> Interleaving<RequestOutcome> {
    let dying = start_caller(it, request.to_string()).await.crash_after(lived);
    let other = start_caller(it, reworded(request)).await.interleave_only(SECOND_CALLER_STEPS);
    run_in_order(vec![dying, other], order).await
}

/// Steps with an effect, before or after which a caller dies: put, begin a retry, POST.
const DEATHS: std::ops::RangeInclusive<usize> = 0..=3;

/// Outcomes of two callers, neither of which died.
pub(crate) fn outcomes_of_both<T: Clone>(interleaving: &Interleaving<T>) -> [T; 2] {
    [0, 1].map(|process: usize| interleaving.outcomes[process].clone().unwrap())
}

/// Checks that Rightfoot has so many batches and schedules, each tracked once.
pub(crate) async fn assert_nothing_made_twice(it: &RightfootWorld, made: usize, order: &[usize]) {
    assert_eq!(it.rightfoot.batches().len() + it.rightfoot.schedules().len(), made, "{order:?}");
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
    let all = explore_interleavings(|order| async move {
        let it = RightfootWorld::new().await;
        let interleaving = run_two_callers(&it, &submit_batch_request("s", &["a", "b"]), &order).await;
        let (order, [one, other]) = (&interleaving.order, outcomes_of_both(&interleaving).map(expect_answer));
        assert_eq!(one, other, "{order:?}");
        assert_eq!(one["batch_id"], it.rightfoot.batches()[0].batch_id.as_str(), "{order:?}");
        assert_nothing_made_twice(&it, 1, order).await;
        interleaving
    })
    .await;
    assert_eq!(all.len(), 210);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_caller_that_dies_beside_another_leaves_one_batch_in_every_order() {
    let mut count = 0;
    for lived in DEATHS {
        let all = explore_interleavings(move |order| async move {
            let it = RightfootWorld::new().await;
            let request = submit_batch_request("s", &["a", "b"]);
            let interleaving = run_dying_caller(&it, lived, &request, &order).await;
            let (order, other) = (&interleaving.order, interleaving.outcomes[1].clone().unwrap());
            assert_eq!(
                expect_answer(other)["batch_id"],
                it.rightfoot.batches()[0].batch_id.as_str(),
                "{order:?}"
            );
            assert_nothing_made_twice(&it, 1, order).await;
            interleaving
        });
        count += all.await.len();
    }
    assert_eq!(count, 117);
}

/// Of two callers, one may find the name taken by the other's schedule. A repeated request returns that schedule.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_callers_at_once_make_one_schedule_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let it = RightfootWorld::new().await;
        let request = daily_schedule_request("s", &["a", "b"]);
        let interleaving = run_two_callers(&it, &request, &order).await;
        let (order, outcomes) = (&interleaving.order, outcomes_of_both(&interleaving));
        let words = outcomes.each_ref().map(outcome_name);
        assert!(words.contains(&"done"), "{order:?}: {words:?}");
        assert!(
            words.iter().all(|word| ["done", "ScheduleNameTaken"].contains(word)),
            "{order:?}: {words:?}"
        );
        assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), COMPLETED, "{order:?}");
        let posts_so_far = post_count(&it);
        let again = it.request(request).await;
        assert_eq!(post_count(&it), posts_so_far, "{order:?}");
        for outcome in outcomes.into_iter().flatten().flatten() {
            assert_eq!(outcome, again, "{order:?}");
        }
        assert_eq!(again["schedule_id"], it.rightfoot.schedules()[0].schedule_id.as_str(), "{order:?}");
        assert_nothing_made_twice(&it, 1, order).await;
        interleaving
    })
    .await;
    assert_eq!(all.len(), 54);
}

/// If the caller that dies has created the schedule, its name is taken, and the submission stays open until its
/// outcome is entered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_dies_beside_another_leaves_one_schedule_in_every_order() {
    let mut count = 0;
    for lived in DEATHS {
        let all = explore_interleavings(move |order| async move {
            let it = RightfootWorld::new().await;
            let request = daily_schedule_request("s", &["a", "b"]);
            let interleaving = run_dying_caller(&it, lived, &request, &order).await;
            let (order, outcome) = (&interleaving.order, interleaving.outcomes[1].clone().unwrap());
            let id = it.rightfoot.schedules()[0].schedule_id.clone();
            let state = async || state_attributes(&submission_item(&it.world, "s").await.unwrap());
            if outcome_name(&outcome) == "ScheduleNameTaken" {
                assert_eq!(state().await, PENDING, "{order:?}");
                let track = json!({"action": "track_schedule", "schedule_id": id, "submission_id": "s", "probe_authorizers": ["a"]});
                assert_eq!(it.request(track).await["status"], "tracked", "{order:?}");
            } else {
                assert_eq!(expect_answer(outcome)["schedule_id"], id.as_str(), "{order:?}");
            }
            assert_eq!(state().await, COMPLETED, "{order:?}");
            assert_nothing_made_twice(&it, 1, order).await;
            interleaving
        });
        count += all.await.len();
    }
    assert_eq!(count, 108);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_callers_at_once_with_other_people_one_is_refused_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let it = RightfootWorld::new().await;
        let both = vec![
            start_caller(&it, submit_batch_request("s", &["a"]).to_string()).await.interleave_only(2),
            start_caller(&it, submit_batch_request("s", &["b"]).to_string()).await.interleave_only(2),
        ];
        let interleaving = run_in_order(both, &order).await;
        let order = &interleaving.order;
        let words = outcomes_of_both(&interleaving).each_ref().map(outcome_name);
        let expected =
            if order[0] == 0 { ["done", "SubmissionIdConflict"] } else { ["SubmissionIdConflict", "done"] };
        assert_eq!(words, expected, "{order:?}");
        assert_eq!(post_count(&it), 1, "{order:?}");
        assert_nothing_made_twice(&it, 1, order).await;
        interleaving
    })
    .await;
    assert_eq!(all.len(), 4);
}

/// Two operators enter different outcomes of one submission.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_of_two_batches_assigned_to_a_submission_one_wins_in_every_order() {
    let all = explore_interleavings(|order| async move {
        let it = RightfootWorld::new().await;
        let dying = it.world.another_process();
        dying.inject_fault("PutItem", Fault::CrashAfter);
        assert_eq!(dying.request(submit_batch_request("s", &["a"])).await, None);
        let track = |batch_id: &str| {
            json!({"action": "track_batch", "batch_id": batch_id, "expected": 1, "submission_id": "s"})
                .to_string()
        };
        let both = vec![
            start_caller(&it, track("b-x")).await.interleave_only(4),
            start_caller(&it, track("b-y")).await.interleave_only(4),
        ];
        let interleaving = run_in_order(both, &order).await;
        let order = &interleaving.order;
        let mut words = outcomes_of_both(&interleaving).each_ref().map(outcome_name);
        words.sort_unstable();
        assert_eq!(words, ["TrackingConflict", "done"], "{order:?}");
        let made = submission_item(&it.world, "s").await.unwrap()["batch_id"].as_s().unwrap().clone();
        let tracked = tracked_items(&it.world).await;
        assert_eq!(tracked.len(), 1, "{order:?}");
        assert_eq!(text(&tracked[0], "pk"), format!("rightfoot#batch#{made}"), "{order:?}");
        interleaving
    })
    .await;
    assert_eq!(all.len(), 70);
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
    let mut first = start_caller(&it, batch_that_is_rejected().to_string()).await;
    first.step().await;
    release_name(&it.world, "s").await;
    assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), RELEASED);
    let mut corrected = start_caller(&it, submit_batch_request("s", &["a", "b"]).to_string()).await;
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
    assert_nothing_made_twice(&it, 1, &[]).await;
}

/// Of two rejected callers, neither can know that the other was rejected.
#[tokio::test]
async fn a_refusal_of_two_callers_at_once_frees_the_name_only_by_an_operator() {
    let it = RightfootWorld::new().await;
    let mut first = start_caller(&it, batch_that_is_rejected().to_string()).await;
    first.step().await;
    let second = start_caller(&it, batch_that_is_rejected().to_string()).await;
    for caller in [second, first] {
        assert_eq!(outcome_name(&caller.finish().await), "DeclinedAfterAttempts");
        assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), PENDING);
    }
    release_name(&it.world, "s").await;
    it.request(submit_batch_request("s", &["a", "b"])).await;
    assert_nothing_made_twice(&it, 1, &[]).await;
}

/// The poller defers the submission during the POST; that must not keep its name from being released.
#[tokio::test]
async fn a_refusal_frees_a_submission_that_the_poller_has_put_off_meanwhile() {
    let it = RightfootWorld::new().await;
    let mut only = start_caller(&it, batch_that_is_rejected().to_string()).await;
    only.step().await;
    it.world.advance(MINUTE * 15);
    assert_eq!(it.run_poller().await.unwrap()["submissions_unknown"], 1);
    assert_eq!(outcome_name(&only.finish().await), "RightfootDeclined");
    assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), RELEASED);
}
