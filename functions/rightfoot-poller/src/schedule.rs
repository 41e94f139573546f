//! Looking after a schedule: finding its runs in the histories of its probes.

use std::collections::BTreeSet;
use std::sync::Arc;

use inbox_aws::inbox::{ScheduleStory, Written};
use inbox_aws::telemetry::count_reason;
use inbox_core::event::Id;
use inbox_core::limits::MOVES_MAX;
use inbox_core::poll::Observation;
use inbox_core::poll::problem::{FAULT, PollProblem};
use inbox_core::poll::schedule::{Alarm, Plan, Seen, Watched, after_asking};
use inbox_core::rightfoot::HistoryEntry;
use inbox_core::time::UnixMillis;
use inbox_rightfoot::{ApiKey, Rightfoot};

use crate::Poller;
use crate::run::{Course, Trouble, failed_by, log_skipped, note_overtaken};

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
            return Ok(()); // another run asks
        }
        course.run().asked += 1;
        let (observed, failed_by) = self.observe_schedule(&story.watched, course).await;
        let mut batches = BTreeSet::new();
        if let Observation::Answered(seen) = &observed {
            batches.extend(seen.history.iter().map(|entry| entry.batch_id.clone()));
        }
        let written = self.write_down(&mut story, &observed, failed_by, &batches, planned, course).await;
        if written.is_err() {
            // Best effort: if AWS fails as a whole, this fails, too.
            let _ = self.note_problem(&story.tracking, Some(FAULT), polls).await;
        }
        written
    }

    /// Writes down what was seen of a schedule. Whoever hurries it meanwhile does not void that, and is not passed over: it
    /// is read again, and due again as soon as he has asked.
    async fn write_down(
        &self,
        story: &mut ScheduleStory,
        observed: &Observation<Seen>,
        failed_by: Option<&'static str>,
        batches: &BTreeSet<Id>,
        planned: UnixMillis,
        course: &Course,
    ) -> Result<(), Trouble> {
        let inbox = self.recorder.inbox();
        let schedule_id = story.watched.schedule_id.clone();
        for attempt in 0..MOVES_MAX {
            let known = inbox.known(batches).await?;
            let now = self.recorder.clock().now();
            let plan = after_asking(&story.watched, observed, &known, planned, &self.cadence, now);
            if attempt == 0 {
                raise(plan.alarm, &schedule_id, course);
            }
            let reason = failed_by.or(plan.alarm.map(name_of));
            let polls = story.watched.polls.saturating_add(1);
            let Some(next) = plan.next else {
                let written = inbox.settle(&story.tracking, now).await?;
                note_overtaken(written, schedule_id.as_str(), "settle");
                return Ok(());
            };
            if plan.runs.is_empty() && next == planned {
                return Ok(self.note_problem(&story.tracking, reason, polls).await?);
            }
            // Due before it was planned: it has been hurried since it was put off.
            let hurried = story.tracking.due_at.filter(|due_at| *due_at < planned);
            let next = hurried.map_or(next, |due_at| due_at.min(next));
            let problem = PollProblem::after(story.tracking.problem.as_ref(), reason, polls, now);
            let moved = inbox.move_on(story, &plan, problem.as_ref(), next, &self.cadence, now).await?;
            if moved == Written::Applied {
                course.run().runs_found += plan.runs.len();
                log_runs(&plan, &schedule_id);
                return Ok(());
            }
            metrics::counter!("schedule_overtaken").increment(1);
            tracing::warn!(target: "poll", schedule_id = schedule_id.as_str(), attempt, "overtaken");
            match inbox.schedule_story(&schedule_id).await? {
                Some(fresh) if story.tracking.is_as_in(&fresh.tracking) => story.tracking = fresh.tracking,
                // Another run has put it off since, and asks.
                Some(_) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The schedule, and what its probes' histories show. A probe that is not found or not ours shows nothing, as
    /// long as the schedule itself does. And why there was no answer if there was none.
    async fn observe_schedule(
        &self,
        watched: &Watched,
        course: &Course,
    ) -> (Observation<Seen>, Option<&'static str>) {
        let id = &watched.schedule_id;
        let state = self.account.ask(|client, key| async move { client.schedule(&key, id).await }).await;
        let mut why = failed_by(&state);
        let state = match course.observe(id, state).answered() {
            Ok(state) => state,
            Err(instead) => return (instead, why),
        };
        let since = watched.floor(&self.cadence, self.recorder.clock().now());
        let mut history: Vec<HistoryEntry> = Vec::new();
        let mut heard = false;
        for probe in &watched.probes {
            let ask =
                |client: Rightfoot, key: Arc<ApiKey>| async move { client.history(&key, probe, since).await };
            let answer = self.account.ask(ask).await;
            why = failed_by(&answer).or(why);
            match course.observe(id, answer) {
                Observation::Answered(read) => {
                    heard = true;
                    log_skipped("history", id, &read.skipped);
                    history.extend(read.entries);
                }
                Observation::NotReady | Observation::Refused => heard = true,
                Observation::Unanswered => {}
                Observation::Unauthorized => return (Observation::Unauthorized, why),
                Observation::RateLimited { retry_after } => {
                    return (Observation::RateLimited { retry_after }, why);
                }
            }
        }
        if heard {
            (Observation::Answered(Seen { state, history }), None)
        } else {
            (Observation::Unanswered, why)
        }
    }
}

/// The alarm's stable name.
const fn name_of(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::Stopped => "stopped",
        Alarm::RunNotFound => "run_not_found",
        Alarm::Unanswered => "unanswered",
    }
}

fn raise(alarm: Option<Alarm>, schedule_id: &Id, course: &Course) {
    let Some(reason) = alarm.map(name_of) else { return };
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
