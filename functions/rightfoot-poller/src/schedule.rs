//! Looking after a schedule: finding its runs in the histories of its probes.

use std::collections::BTreeSet;
use std::sync::Arc;

use inbox_aws::inbox::Written;
use inbox_aws::telemetry::count_reason;
use inbox_core::event::Id;
use inbox_core::poll::Observation;
use inbox_core::poll::schedule::{Alarm, Plan, Seen, Watched, after_asking};
use inbox_core::rightfoot::HistoryEntry;
use inbox_rightfoot::{ApiKey, Rightfoot};

use crate::Poller;
use crate::run::{Course, Trouble};

impl Poller {
    pub(crate) async fn look_after_schedule(&self, schedule_id: &Id, course: &Course) -> Result<(), Trouble> {
        let inbox = self.recorder.inbox();
        let Some(mut story) = inbox.schedule_story(schedule_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !story.tracking.is_due(now) {
            return Ok(()); // the index lagged
        }
        if course.is_pausing() {
            course.run().left += 1;
            return Ok(());
        }
        let planned = self.cadence.again(now, story.watched.polls);
        let polls = story.watched.polls.saturating_add(1);
        if inbox.put_off(&mut story.tracking, polls, planned).await? == Written::Overtaken {
            return Ok(());
        }
        course.run().asked += 1;
        let observed = self.observe_schedule(&story.watched, course).await;
        let mut batches = BTreeSet::new();
        if let Observation::Answered(seen) = &observed {
            batches.extend(seen.history.iter().map(|entry| entry.batch_id.clone()));
        }
        let known = inbox.known(&batches).await?;
        let now = self.recorder.clock().now();
        let plan = after_asking(&story.watched, &observed, &known, planned, &self.cadence, now);
        raise(plan.alarm, schedule_id, course);
        match plan.next {
            None => drop(inbox.settle(&story.tracking, now).await?),
            Some(next) if !plan.runs.is_empty() || next != planned => {
                if inbox.move_on(&story, &plan, next, &self.cadence, now).await? == Written::Applied {
                    course.run().runs_found += plan.runs.len();
                    log_runs(&plan, schedule_id);
                }
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The schedule, and what its probes' histories show. A probe that is not found or not ours shows nothing, as
    /// long as the schedule itself does.
    async fn observe_schedule(&self, watched: &Watched, course: &Course) -> Observation<Seen> {
        let id = &watched.schedule_id;
        let state = self.account.ask(|client, key| async move { client.schedule(&key, id).await }).await;
        let state = match course.observe(id, state).answered() {
            Ok(state) => state,
            Err(instead) => return instead,
        };
        let since = watched.floor(&self.cadence, self.recorder.clock().now());
        let mut history: Vec<HistoryEntry> = Vec::new();
        let mut heard = false;
        for probe in &watched.probes {
            let ask =
                |client: Rightfoot, key: Arc<ApiKey>| async move { client.history(&key, probe, since).await };
            let answer = self.account.ask(ask).await;
            match course.observe(id, answer) {
                Observation::Answered(entries) => {
                    heard = true;
                    history.extend(entries);
                }
                Observation::NotReady | Observation::Refused => heard = true,
                Observation::Unanswered => {}
                Observation::Unauthorized => return Observation::Unauthorized,
                Observation::RateLimited { retry_after } => return Observation::RateLimited { retry_after },
            }
        }
        if heard { Observation::Answered(Seen { state, history }) } else { Observation::Unanswered }
    }
}

fn raise(alarm: Option<Alarm>, schedule_id: &Id, course: &Course) {
    let reason = match alarm {
        None => return,
        Some(Alarm::Stopped) => "stopped",
        Some(Alarm::RunNotFound) => "run_not_found",
        Some(Alarm::Unanswered) => "unanswered",
    };
    course.run().schedule_alarms += 1;
    count_reason("schedule_alarm", None, reason);
    tracing::warn!(target: "poll", schedule_id = schedule_id.as_str(), reason, "schedule");
}

fn log_runs(plan: &Plan, schedule_id: &Id) {
    for run in &plan.runs {
        let (schedule_id, batch_id) = (schedule_id.as_str(), run.batch_id.as_str());
        tracing::info!(target: "poll", schedule_id, batch_id, "run found");
    }
}
