//! Questions that Rightfoot's documentation leaves open: every plausible answer leads to the same events.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use local::connector::Fault;
use local::rightfoot_simulator::IncompleteBatchResponse as Before;
use local::rightfoot_simulator::{NoFailedAuthorizers, PageTokenParam, WebhookLoss};
use local::senders::retry_policy::RetrySpacing;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{HOUR, MINUTE, SUBJECT};

use super::{alerted_authorizers, as_strs, authorizer_ids, completion_event_id, set_balances, submit_batch};

const BEFORE: [Before; 5] =
    [Before::FewerRows, Before::EmptyList, Before::Accepted202, Before::NotFound404, Before::TooEarly425];
const TOKENS: [PageTokenParam; 4] =
    [PageTokenParam::New, PageTokenParam::Old, PageTokenParam::Both, PageTokenParam::Ignored];
const NONE_FAILED: [NoFailedAuthorizers; 3] =
    [NoFailedAuthorizers::Absent, NoFailedAuthorizers::Null, NoFailedAuthorizers::EmptyList];
const LOSE: [WebhookLoss; 3] = [WebhookLoss::None, WebhookLoss::All, WebhookLoss::Percent(50)];
/// Number of plausible answers to each question.
const OPTION_COUNTS: [usize; 10] =
    [BEFORE.len(), TOKENS.len(), LOSE.len(), NONE_FAILED.len(), 2, 2, 2, 2, 2, 2];

/// The answer chosen for each question.
type OptionChoices = [usize; OPTION_COUNTS.len()];

/// All combinations of the first three answers, and every pair of any two at least once.
fn combinations() -> Vec<OptionChoices> {
    let mut all = Vec::new();
    for before in 0..BEFORE.len() {
        for token in 0..TOKENS.len() {
            for lose in 0..LOSE.len() {
                let number = before * TOKENS.len() + token;
                let none_failed = (number + lose) % NONE_FAILED.len();
                all.push([
                    before,
                    token,
                    lose,
                    none_failed,
                    (before + token / 2 + lose) % 2,
                    (before + token + lose / 2) % 2,
                    (before / 2 + token + lose) % 2,
                    (before + token) % 2,
                    (before / 2 + token / 2) % 2,
                    (token + lose * 2 / 3) % 2,
                ]);
            }
        }
    }
    all
}

async fn world_with(switches: OptionChoices) -> RightfootWorld {
    let [before, token, lose, none_failed, alerts_first, run_ends, on_demand, split, lag, institution] =
        switches;
    RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.schedule_day = HOUR;
        rightfoot.incomplete_batch_response = BEFORE[before];
        rightfoot.page_token_param = TOKENS[token];
        rightfoot.webhook_loss = LOSE[lose];
        rightfoot.no_failed_authorizers = NONE_FAILED[none_failed];
        rightfoot.alerts_before_completion = alerts_first == 1;
        rightfoot.last_run_at_is_completion = run_ends == 1;
        rightfoot.history_includes_on_demand = on_demand == 1;
        rightfoot.max_alerts_per_webhook = (split == 1).then_some(40);
        rightfoot.history_lag = MINUTE * [0, 15][lag];
        rightfoot.includes_institution_name = institution == 1;
    })
    .await
}

/// Polls a batch and two runs of a schedule, all of the same authorizers, until everything is recorded, and checks
/// the events.
async fn assert_same_end(switches: OptionChoices) {
    let it = world_with(switches).await;
    // Without a parameter for the page token there is no second page.
    let people = authorizer_ids(if TOKENS[switches[1]] == PageTokenParam::Ignored { 100 } else { 101 });
    submit_batch(&it, "payroll-1", &as_strs(&people)).await;
    let mut request = daily_schedule_request(SUBJECT, &as_strs(&people));
    request["authorizers"][0]["threshold_amount"] = (-200).into();
    request["authorizers"][1]["threshold_amount"] = 5_000.into();
    it.request(request).await;
    let end = it.world.now().plus(MINUTE * 170);
    while it.world.now() < end {
        it.advance(MINUTE * 10).await;
        let run = it.run_poller().await.unwrap();
        assert_eq!(
            (run["overdue"].as_u64(), run["schedule_alarms"].as_u64()),
            (Some(0), Some(0)),
            "{switches:?}"
        );
        it.world.run_relay().await.unwrap().unwrap();
    }

    let (mut completions, mut alerts) = (Vec::new(), Vec::new());
    for message in it.world.drain_queue().await {
        let batch = message.id.split('/').nth(2).unwrap().to_owned();
        if message.id.contains("/alert/") {
            alerts.extend(alerted_authorizers(&message).into_iter().map(|person| (batch.clone(), person)));
        } else {
            completions.push(message.id);
        }
    }
    completions.sort();
    let mut batches: Vec<_> =
        it.rightfoot.batches().iter().map(|batch| completion_event_id(&batch.batch_id)).collect();
    batches.sort();
    assert_eq!((batches.len(), completions), (3, batches), "P5: {switches:?}");
    alerts.sort();
    let owed = it.rightfoot.expected_alerts();
    assert!(owed.len() > 100, "both runs owe many: {}", owed.len());
    assert_eq!(alerts, Vec::from_iter(owed), "P5: {switches:?}");
    let due: Vec<_> = it.world.due_polls().await.into_iter().map(|(pk, _)| pk).collect();
    assert_eq!(
        due,
        [format!("rightfoot#schedule#{}", it.rightfoot.schedules()[0].schedule_id)],
        "{switches:?}"
    );
    assert_eq!(it.world.due_items().await.len(), 1, "{switches:?}");
    assert_eq!(it.world.quarantined().await, [], "{switches:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_whatever_rightfoots_documents_leave_open_the_end_is_the_same() {
    let all = combinations();
    for one in 0..OPTION_COUNTS.len() {
        for other in 0..one {
            let met: BTreeSet<_> = all.iter().map(|switches| (switches[one], switches[other])).collect();
            assert_eq!(met.len(), OPTION_COUNTS[one] * OPTION_COUNTS[other], "questions {other} and {one}");
        }
    }
    let runs = stream::iter(all).map(|switches| tokio::spawn(assert_same_end(switches)));
    let results: Vec<_> = runs.buffer_unordered(4).collect().await;
    assert_eq!(results.len(), 60);
    let wrong: Vec<_> = results.into_iter().filter_map(Result::err).map(|panic| panic.to_string()).collect();
    assert!(wrong.is_empty(), "{} of 60:\n{}", wrong.len(), wrong.join("\n"));
}

/// A webhook whose response was lost is sent again, with the same event id or a new one, spaced either way.
#[tokio::test]
async fn p5_a_repeated_webhook_is_not_recorded_by_the_poller_again() {
    for timeline in [RetrySpacing::FromPreviousAttempt, RetrySpacing::FromStart] {
        for (reissued, alert_events) in [(false, 1), (true, 2)] {
            let it = RightfootWorld::with_behaviour(|rightfoot| {
                rightfoot.schedule_day = HOUR;
                rightfoot.retry_spacing = timeline;
                rightfoot.new_event_uuid_per_attempt = reissued;
                set_balances(rightfoot, &[("a", "150.00"), ("b", "150.00")]);
            })
            .await;
            it.request(daily_schedule_request(SUBJECT, &["a", "b"])).await;
            it.advance(MINUTE * 64).await;
            // In minute 65 both webhooks are recorded, and their responses are lost.
            it.world.inject_fault("PutItem", Fault::CrashAfter);
            it.advance(MINUTE).await;
            it.world.stack.connector.clear_fault_plan();
            it.run_in_steps(MINUTE, MINUTE * 40).await;
            let run = &it.rightfoot.schedules()[0].runs[0].batch_id;
            let messages = it.world.drain_queue().await;
            let completions =
                messages.iter().filter(|message| message.id == completion_event_id(run)).count();
            let alerts: Vec<_> = messages.iter().filter(|message| message.id.contains("/alert/")).collect();
            assert_eq!((completions, alerts.len()), (1, alert_events), "{timeline:?} {reissued}");
            assert!(
                alerts
                    .iter()
                    .all(|alert| !tests::is_polled_alert(alert) && alerted_authorizers(alert) == ["a", "b"])
            );
        }
    }
}
