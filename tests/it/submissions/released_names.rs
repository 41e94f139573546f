//! Released names and late results: a batch that was created under a released name after all, a late rejection, and
//! an operator who ends a submission whose name has changed hands.

use inbox_core::audit::OperatorAction;
use local::connector::Fault;
use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use serde_json::{Value, json};
use tests::interleave::{explore_interleavings, run_in_order};
use tests::operator::test_operator;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{World, text};

use super::caller_interleavings::{
    CallerProcess, assert_nothing_made_twice, outcomes_of_both, spawn_caller, start_caller,
};
use super::{
    COMPLETED, PENDING, RELEASED, RequestOutcome, expect_answer, expect_error, outcome_name, post_count,
    release_name, reworded, state_attributes, submission_item, tracked_items,
};

/// A batch was created, and its response is under way, when a second caller is rejected. This rejection does not
/// release the name, so no other submission begins under it.
#[tokio::test]
async fn p9_a_refusal_beside_a_batch_that_was_made_frees_no_name() {
    let it = RightfootWorld::new().await;
    let request = submit_batch_request("s", &["a", "b"]);
    let mut first = start_caller(&it, request.to_string()).await;
    first.step().await;
    first.step().await;
    assert_eq!(it.rightfoot.batches().len(), 1);
    it.rightfoot.configure(|rightfoot| {
        let answer = CannedResponse::Status(400);
        rightfoot.scripted_responses = vec![ScriptedResponse {
            path_contains: "balance_request".to_owned(),
            response: answer,
            remaining_uses: Some(1),
        }];
    });
    let second = start_caller(&it, reworded(&request)).await;
    assert_eq!(outcome_name(&second.finish().await), "DeclinedAfterAttempts");
    let other = start_caller(&it, submit_batch_request("s", &["c"]).to_string()).await;
    assert_eq!(outcome_name(&other.finish().await), "SubmissionIdConflict");
    assert_eq!(expect_answer(first.finish().await)["batch_id"], it.rightfoot.batches()[0].batch_id.as_str());
    assert_nothing_made_twice(&it, 1, &[]).await;
}

/// A caller was answered that there is no batch, and released the name while the batch was being created. Another
/// submission has begun.
async fn name_taken_meanwhile(it: &RightfootWorld, request: &Value, other: &Value) -> [CallerProcess; 2] {
    let mut first = start_caller(it, request.to_string()).await;
    first.step().await;
    first.step().await;
    release_name(&it.world, "s").await;
    let mut second = start_caller(it, other.to_string()).await;
    second.step().await;
    second.step().await;
    [first, second]
}

#[tokio::test]
async fn p9_a_batch_whose_name_was_taken_is_tracked_and_reported_and_completes_nothing() {
    let it = RightfootWorld::new().await;
    let (request, other) = (submit_batch_request("s", &["a", "b"]), submit_batch_request("s", &["c"]));
    let [first, second] = name_taken_meanwhile(&it, &request, &other).await;
    let made = it.rightfoot.batches()[0].batch_id.clone();
    let refused = expect_error(first.finish().await);
    assert_eq!(refused.name(), "SubmissionOvertaken");
    assert_eq!(
        refused.to_string(),
        format!(
            "Rightfoot created the batch {made}, and it is tracked. But its submission_id was freed, or completed with \
             something else, meanwhile: it does not name this batch, and the next submission needs another id"
        )
    );
    assert_eq!(
        state_attributes(&submission_item(&it.world, "s").await.unwrap()),
        PENDING,
        "it is the other one's"
    );
    assert_eq!(text(&tracked_items(&it.world).await[0], "pk"), format!("rightfoot#batch#{made}"));
    assert_eq!(text(&tracked_items(&it.world).await[0], "subject"), "s");

    let others = expect_answer(second.finish().await)["batch_id"].clone();
    assert_eq!(others, it.rightfoot.batches()[1].batch_id.as_str());
    assert_nothing_made_twice(&it, 2, &[]).await;
    assert_eq!(it.request(other).await["batch_id"], others);
    assert_eq!(expect_error(it.world.request(request).await).name(), "SubmissionIdConflict");
    let submission = submission_item(&it.world, "s").await.unwrap();
    assert_eq!(state_attributes(&submission), COMPLETED);
    assert_eq!(submission["audit_entries"].as_l().unwrap().len(), 1, "who freed the name is known");
}

#[tokio::test]
async fn p9_a_schedule_whose_name_was_taken_is_tracked_and_reported() {
    let it = RightfootWorld::new().await;
    let other = submit_batch_request("s", &["c"]);
    let [first, second] = name_taken_meanwhile(&it, &daily_schedule_request("s", &["a"]), &other).await;
    let made = it.rightfoot.schedules()[0].schedule_id.clone();
    let refused = expect_error(first.finish().await);
    assert_eq!(refused.name(), "SubmissionOvertaken");
    let expected =
        format!("Rightfoot created the schedule {made}, and it is tracked. But its submission_id was freed,");
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    assert_eq!(expect_answer(second.finish().await)["batch_id"], it.rightfoot.batches()[0].batch_id.as_str());
    assert_nothing_made_twice(&it, 2, &[]).await;
}

#[tokio::test]
async fn p9_a_batch_whose_name_was_taken_and_that_cannot_be_tracked_is_reported() {
    let it = RightfootWorld::new().await;
    let mut first = spawn_caller(&it, async |world: World| {
        let fault = Fault::AccessDenied;
        world.inject_fault("TransactWriteItems", fault);
        world.request(submit_batch_request("s", &["a"])).await
    })
    .await;
    first.step().await;
    first.step().await;
    release_name(&it.world, "s").await;
    it.request(submit_batch_request("s", &["c"])).await;
    let made = it.rightfoot.batches()[0].batch_id.clone();
    let refused = expect_error(first.finish().await);
    let expected = format!(
        "Rightfoot created the batch {made}, and it may not be tracked yet (dynamodb:TransactWriteItems: \
         AccessDeniedException): call track_batch with that id, and this submission_id as subject. But"
    );
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    let track = json!({"action": "track_batch", "batch_id": made, "expected": 1, "subject": "s"});
    assert_eq!(it.request(track).await["status"], "tracked");
    assert_nothing_made_twice(&it, 2, &[]).await;
}

/// The outcome of a submission arrives late, and its name was not reused: the name belongs to it again.
#[tokio::test]
async fn p9_a_batch_that_was_made_after_all_is_its_submissions_if_the_name_is_still_free() {
    let it = RightfootWorld::new().await;
    let mut first = start_caller(&it, submit_batch_request("s", &["a", "b"]).to_string()).await;
    first.step().await;
    first.step().await;
    release_name(&it.world, "s").await;
    let made = expect_answer(first.finish().await);
    assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), COMPLETED);
    assert_eq!(it.request(submit_batch_request("s", &["a", "b"])).await, made);
    assert_nothing_made_twice(&it, 1, &[]).await;
}

/// An operator releases the submission's name, and another caller submits under it.
async fn release_and_submit(world: World) -> RequestOutcome {
    let stores = world.stores();
    let seen = stores.submissions.submission(&"s".parse().unwrap()).await.unwrap().unwrap();
    if !seen.is_completed() {
        let by = test_operator().audit_entry(OperatorAction::Conclude, world.now());
        stores.submissions.release_submission(&seen, &by).await.unwrap();
    }
    world.request(submit_batch_request("s", &["c"])).await
}

/// Ids of this authorizer's batches, each of which must be tracked once.
async fn batches_of(it: &RightfootWorld, authorizer: &str) -> Vec<String> {
    let batches = it.rightfoot.batches().into_iter();
    let made: Vec<_> = batches.filter(|it| it.authorizers[0] == authorizer).map(|it| it.batch_id).collect();
    let tracked = tracked_items(&it.world).await;
    for batch in &made {
        let pk = format!("rightfoot#batch#{batch}");
        assert_eq!(tracked.iter().filter(|item| text(item, "pk") == pk).count(), 1, "{authorizer}");
    }
    made
}

/// The first caller has put, and has four steps left. The others have eight: two of the operator, then the put that
/// finds the released submission, the put in its place, the POST, and three of the completion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_p9_what_was_made_is_tracked_and_reported_to_its_caller_in_every_order_with_a_release() {
    let all = explore_interleavings(|order| async move {
        let it = RightfootWorld::new().await;
        let mut first =
            start_caller(&it, submit_batch_request("s", &["a"]).to_string()).await.interleave_only(5);
        assert!(first.step().await);
        let second = spawn_caller(&it, release_and_submit).await.interleave_only(8);
        let interleaving = run_in_order(vec![first, second], &order).await;
        let order = &interleaving.order;
        let [first, second] = outcomes_of_both(&interleaving);
        let (mine, others) = (batches_of(&it, "a").await, batches_of(&it, "c").await);
        let stands = match [outcome_name(&first), outcome_name(&second)] {
            ["done", "SubmissionIdConflict"] => {
                assert_eq!(
                    (expect_answer(first)["batch_id"].as_str(), others.len()),
                    (Some(&*mine[0]), 0),
                    "{order:?}"
                );
                &mine
            }
            ["SubmissionOvertaken", "done"] => {
                assert!(expect_error(first).to_string().contains(&mine[0]), "{order:?}");
                assert_eq!(expect_answer(second)["batch_id"], others[0].as_str(), "{order:?}");
                &others
            }
            words => panic!("{order:?}: {words:?}"),
        };
        assert_eq!((mine.len(), others.len() <= 1), (1, true), "{order:?}");
        let submission = submission_item(&it.world, "s").await.unwrap();
        assert_eq!(state_attributes(&submission), COMPLETED, "{order:?}");
        assert_eq!(text(&submission, "batch_id"), stands[0], "{order:?}");
        interleaving
    })
    .await;
    assert_eq!(all.len(), 495);
}

/// An operator enters the outcome of a submission, and its name is reused before that is written.
#[tokio::test]
async fn p5_an_operators_statement_about_a_submission_does_not_apply_to_the_next_one_of_its_name() {
    let it = RightfootWorld::new().await;
    let dying = it.world.another_process();
    dying.inject_fault("PutItem", Fault::CrashAfter);
    assert_eq!(dying.request(submit_batch_request("s", &["a"])).await, None);
    let track = json!({"action": "track_batch", "batch_id": "b-1", "expected": 1, "submission_id": "s"});
    let mut operator = start_caller(&it, track.to_string()).await;
    operator.step().await;
    release_name(&it.world, "s").await;
    let mut other = start_caller(&it, submit_batch_request("s", &["c"]).to_string()).await;
    other.step().await;
    other.step().await;
    let refused = expect_error(operator.finish().await);
    assert_eq!(refused.name(), "SubmissionOvertaken");
    assert_eq!(
        refused.to_string(),
        "submission_id: this id was freed meanwhile; nothing was done. Check what it names now before you try again"
    );
    assert_eq!(state_attributes(&submission_item(&it.world, "s").await.unwrap()), PENDING);
    expect_answer(other.finish().await);
    assert_nothing_made_twice(&it, 1, &[]).await;
}

/// The response to the write that releases the name is lost, and its retry fails its condition: the name is released
/// nevertheless.
#[tokio::test]
async fn a_refusal_whose_write_is_not_answered_says_that_the_name_is_free() {
    let it = RightfootWorld::new().await;
    let mut request = submit_batch_request("s", &["a"]);
    request["authorizers"][0]["ssn"] = "".into();
    let failing = it.world.another_process();
    failing.lose_response(|call| call.operation == "UpdateItem");
    let refused = expect_error(failing.request(request).await);
    assert_eq!(refused.name(), "RightfootDeclined");
    assert!(refused.to_string().contains("the submission_id is free again"), "{refused}");
    assert_eq!(
        (state_attributes(&submission_item(&it.world, "s").await.unwrap()).as_slice(), post_count(&it)),
        (&RELEASED[..], 1)
    );
}
