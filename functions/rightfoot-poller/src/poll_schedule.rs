//! Polls a schedule: finds its runs in the histories of its probe authorizers.

use std::collections::BTreeSet;
use std::sync::Arc;

use inbox_aws::items::ScheduleItem;
use inbox_aws::stores::WriteOutcome;
use inbox_aws::telemetry::metrics;
use inbox_core::id::Id;
use inbox_core::limits::SCHEDULE_UPDATE_TRIES_MAX;
use inbox_core::poll::PollResult;
use inbox_core::poll::problem::{AWS_ERROR, PollProblem};
use inbox_core::poll::schedule::{
    ScheduleAlarm, SchedulePlan, ScheduleSnapshot, TrackedSchedule, plan_after_poll,
};
use inbox_core::rightfoot_api::HistoryEntry;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiKey, RightfootClient};

use crate::RightfootPoller;
use crate::poll_run::{RunContext, RunError, failure_name, log_overtaken, log_skipped_rows};

impl RightfootPoller {
    pub(crate) async fn poll_schedule(&self, schedule_id: &Id, context: &RunContext) -> Result<(), RunError> {
        let Some(mut schedule) = self.tracking.tracked_schedule(schedule_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !schedule.tracking.is_due(now) {
            // The index may lag behind the table: the item has changed since.
            return Ok(());
        }
        if context.is_rate_limited() {
            context.summary().remaining += 1;
            return Ok(());
        }
        let next_poll_at = self.poll_timing.next_poll_at(now, schedule.schedule.polls);
        let polls = schedule.schedule.polls.saturating_add(1);
        if self.polls.defer_before_poll(&mut schedule.tracking, polls, next_poll_at).await?
            == WriteOutcome::Conflict
        {
            // Another run has deferred it first, and polls it.
            return Ok(());
        }
        context.summary().polled += 1;
        let (poll_result, failure) = self.fetch_schedule(&schedule.schedule, context).await;
        let mut batches = BTreeSet::new();
        if let PollResult::Answered(snapshot) = &poll_result {
            batches.extend(snapshot.history.iter().map(|entry| entry.batch_id.clone()));
        }
        let written = self
            .save_poll_result(&mut schedule, &poll_result, failure, &batches, next_poll_at, context)
            .await;
        if written.is_err() {
            // Best effort: if AWS fails as a whole, this fails, too.
            let _ = self.save_poll_problem(&schedule.tracking, Some(AWS_ERROR), polls).await;
        }
        written
    }

    /// Saves the result of a poll of a schedule. If an alert expedites the schedule at the same time, neither is lost: the item is
    /// read again, and becomes due at the time that the alert has set.
    async fn save_poll_result(
        &self,
        schedule: &mut ScheduleItem,
        poll_result: &PollResult<ScheduleSnapshot>,
        failure: Option<&'static str>,
        batches: &BTreeSet<Id>,
        next_poll_at: UnixMillis,
        context: &RunContext,
    ) -> Result<(), RunError> {
        let schedule_id = schedule.schedule.schedule_id.clone();
        // Limited, since anybody who holds a URL can expedite the schedule again and again.
        for attempt in 0..SCHEDULE_UPDATE_TRIES_MAX {
            // Read for each attempt: a batch of the history may have been tracked since.
            let owners = self.polls.owners_of(batches).await?;
            let now = self.recorder.clock().now();
            let plan = plan_after_poll(
                &schedule.schedule,
                poll_result,
                &owners,
                next_poll_at,
                &self.poll_timing,
                now,
            );
            // Once per poll, however often its result has to be written.
            if attempt == 0 {
                report_alarm(plan.alarm, &schedule_id, context);
            }
            let reason = failure.or(plan.alarm.map(alarm_name));
            let polls = schedule.schedule.polls.saturating_add(1);
            let Some(next) = plan.next_poll_at else {
                let written = self.polls.finish_tracking(&schedule.tracking, None, now).await?;
                log_overtaken(written, schedule_id.as_str(), "finish_tracking");
                return Ok(());
            };
            // The schedule was deferred to this time before it was polled, so there is no new state.
            if plan.new_runs.is_empty() && next == next_poll_at {
                return Ok(self.save_poll_problem(&schedule.tracking, reason, polls).await?);
            }
            // Due earlier than planned: it was expedited since it was deferred.
            let expedited_to = schedule.tracking.due_at.filter(|due_at| *due_at < next_poll_at);
            let next = expedited_to.map_or(next, |due_at| due_at.min(next));
            let problem = PollProblem::updated(schedule.tracking.problem.as_ref(), reason, polls, now);
            let written = self
                .polls
                .advance_schedule(schedule, &plan, problem.as_ref(), next, &self.poll_timing, now)
                .await?;
            if written == WriteOutcome::Applied {
                context.summary().runs_found += plan.new_runs.len();
                log_runs_found(&plan, &schedule_id);
                return Ok(());
            }
            metrics::SCHEDULE_OVERTAKEN.add(1);
            tracing::warn!(target: "poller", schedule_id = schedule_id.as_str(), attempt, "write conflict");
            match self.tracking.tracked_schedule(&schedule_id).await? {
                Some(fresh) if schedule.tracking.has_same_rev(&fresh.tracking) => {
                    schedule.tracking = fresh.tracking
                }
                // Another run has deferred it since, and polls it.
                Some(_) | None => return Ok(()),
            }
        }
        // Nothing is lost: the schedule is due again, and the next poll finds the same runs.
        Ok(())
    }

    /// Fetches the state of a schedule and the histories of its probes. A probe that is not found or not ours counts as an empty
    /// history. The second value is the stable name of the failure, if the poll was not answered.
    async fn fetch_schedule(
        &self,
        schedule: &TrackedSchedule,
        context: &RunContext,
    ) -> (PollResult<ScheduleSnapshot>, Option<&'static str>) {
        let id = &schedule.schedule_id;
        let state = self.account.call(|client, key| async move { client.schedule(&key, id).await }).await;
        let mut failure = failure_name(&state);
        let state = match context.handle_answer(id, state).into_answer() {
            Ok(state) => state,
            Err(other_result) => return (other_result, failure),
        };
        let since = schedule.history_start(&self.poll_timing, self.recorder.clock().now());
        let mut history: Vec<HistoryEntry> = Vec::new();
        let mut any_probe_answered = false;
        for probe in &schedule.probes {
            let ask = |client: RightfootClient, key: Arc<ApiKey>| async move {
                client.history(&key, probe, since).await
            };
            let answer = self.account.call(ask).await;
            failure = failure_name(&answer).or(failure);
            match context.handle_answer(id, answer) {
                PollResult::Answered(read) => {
                    any_probe_answered = true;
                    log_skipped_rows("history", id, &read.skipped);
                    history.extend(read.entries);
                }
                PollResult::NotReady | PollResult::Denied => any_probe_answered = true,
                PollResult::Unanswered => {}
                // The key is at fault, so the other probes would get the same answer.
                PollResult::Unauthorized => return (PollResult::Unauthorized, failure),
                PollResult::RateLimited { retry_after } => {
                    return (PollResult::RateLimited { retry_after }, failure);
                }
            }
        }
        if any_probe_answered {
            (PollResult::Answered(ScheduleSnapshot { state, history }), None)
        } else {
            (PollResult::Unanswered, failure)
        }
    }
}

/// The stable name of an alarm: its reason in metrics and logs.
const fn alarm_name(alarm: ScheduleAlarm) -> &'static str {
    match alarm {
        ScheduleAlarm::Stopped => "stopped",
        ScheduleAlarm::RunNotFound => "run_not_found",
        ScheduleAlarm::Unanswered => "unanswered",
    }
}

fn report_alarm(alarm: Option<ScheduleAlarm>, schedule_id: &Id, context: &RunContext) {
    let Some(reason) = alarm.map(alarm_name) else { return };
    context.summary().schedule_alarms += 1;
    metrics::SCHEDULE_ALARM.add(reason, 1);
    tracing::warn!(target: "poller", schedule_id = schedule_id.as_str(), reason, "schedule alarm");
}

fn log_runs_found(plan: &SchedulePlan, schedule_id: &Id) {
    for run in &plan.new_runs {
        let (schedule_id, batch_id) = (schedule_id.as_str(), run.batch_id.as_str());
        tracing::info!(target: "poller", schedule_id, batch_id, "run found");
    }
}
