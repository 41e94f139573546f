//! Looking after a batch: one read if its webhook came, one question and its pages if not.

use inbox_aws::Fault;
use inbox_aws::inbox::{BatchStory, Written};
use inbox_core::event::{EventKey, Id};
use inbox_core::poll::Observation;
use inbox_core::poll::batch::{
    AlertWatch, Question, Rows, Step, Then, Thresholds, after_asking, explains, first_step,
};
use inbox_core::poll::problem::FAULT;
use inbox_core::time::UnixMillis;

use crate::Poller;
use crate::record::Standing;
use crate::run::{Course, Trouble, failed_by, log_skipped, note_overtaken};

impl Poller {
    pub(crate) async fn look_after_batch(&self, batch_id: &Id, course: &Course) -> Result<(), Trouble> {
        let inbox = self.recorder.inbox();
        let Some(mut story) = inbox.batch_story(batch_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !story.tracking.is_due(now) {
            return Ok(()); // the index lagged
        }
        if story.completion.as_ref().is_some_and(|completion| completion.published_untracked.is_some()) {
            // How many results there must be decides whether that was enough.
            story.tracked.failed = inbox.refused(&story).await?;
        }
        match first_step(&story.tracked, story.completed_at(), &self.cadence, now) {
            Step::Done => self.finish(&story, Then::Done, course).await,
            Step::Later(at) => self.finish(&story, Then::Later(at), course).await,
            Step::Ask(question) => self.ask_about(story, question, course).await,
        }
    }

    async fn ask_about(
        &self,
        mut story: BatchStory,
        question: Question,
        course: &Course,
    ) -> Result<(), Trouble> {
        let inbox = self.recorder.inbox();
        let mut thresholds = Thresholds::default();
        if question == Question::Alerts {
            thresholds = self.thresholds_of(&story).await?;
            if thresholds.is_empty() {
                return self.finish(&story, Then::Done, course).await;
            }
        }
        if course.is_pausing() {
            course.run().left += 1;
            return Ok(());
        }
        let now = self.recorder.clock().now();
        let planned = self.cadence.again(now, story.tracked.polls);
        let polls = story.tracked.polls.saturating_add(1);
        // What others can make large, the list of rows and the alerts, is read after it: the next run begins elsewhere.
        if inbox.put_off(&mut story.tracking, polls, planned).await? == Written::Overtaken {
            return Ok(()); // another run asks
        }
        let asked = self.ask(&mut story, question, thresholds, planned, course).await;
        if asked.is_err() {
            // Best effort: if AWS fails as a whole, this fails, too.
            let _ = self.note_problem(&story.tracking, Some(FAULT), polls).await;
        }
        asked
    }

    /// Asks about a batch that was put off until `planned`.
    async fn ask(
        &self,
        story: &mut BatchStory,
        question: Question,
        mut thresholds: Thresholds,
        planned: UnixMillis,
        course: &Course,
    ) -> Result<(), Trouble> {
        story.tracked.failed = self.recorder.inbox().refused(story).await?;
        course.run().asked += 1;
        let (observed, failed_by) = self.observe_rows(&story.tracked.batch_id, course).await;
        let now = self.recorder.clock().now();
        let is_past_deadline = story.tracked.is_past_deadline(now);
        if is_past_deadline && !observed.is_answer() {
            course.run().overdue_unanswered += 1;
            metrics::counter!("overdue_unanswered").increment(1);
        }
        if is_past_deadline && question == Question::Complete {
            thresholds = self.thresholds_of(story).await?;
        }
        let watch = self.alert_watch(story, thresholds).await?;
        let plan = after_asking(&story.tracked, question, &watch, &observed, planned, &self.cadence, now);
        let results = results(&observed);
        let mut then = plan.then;
        // First what was found, then what becomes of the batch: who dies in between finds it recorded.
        if let Some(event) = &plan.record
            && self.record(event, results, course).await? == Standing::BeingWorked
            && question == Question::Complete
            && !matches!(then, Then::Overdue)
        {
            then = Then::AsPlanned;
        }
        if question == Question::Alerts && then == Then::Done {
            self.review_completion(story, results, course).await?;
        }
        if matches!(then, Then::AsPlanned | Then::Later(_)) {
            self.note_problem(&story.tracking, failed_by, story.tracked.polls.saturating_add(1)).await?;
        }
        self.finish(story, then, course).await
    }

    /// Whom an event has told of by now: read after Rightfoot has answered, because one may have come meanwhile.
    async fn alert_watch(&self, story: &BatchStory, thresholds: Thresholds) -> Result<AlertWatch, Fault> {
        if thresholds.is_empty() {
            return Ok(AlertWatch::default());
        }
        let tracked = &story.tracked;
        let alerted = self.recorder.inbox().alerted(tracked).await?;
        if !explains(tracked.expected, alerted.events) {
            metrics::counter!("alert_flood").increment(1);
            let (batch_id, events, expected) = (tracked.batch_id.as_str(), alerted.events, tracked.expected);
            tracing::warn!(target: "poll", batch_id, events, expected, "more alerts than its authorizers explain");
        }
        let differ = alerted.by.iter().filter(|(of, by)| thresholds.of(of) != Some(**by)).count();
        if differ > 0 {
            metrics::counter!("threshold_differs").increment(u64::try_from(differ).unwrap_or(u64::MAX));
            let batch_id = tracked.batch_id.as_str();
            tracing::warn!(target: "poll", batch_id, alerts = differ, "published by another threshold than the schedule's");
        }
        Ok(AlertWatch { alerted: alerted.whom, thresholds })
    }

    /// A completion that counts may still have been published with fewer results than the API shows now.
    async fn review_completion(
        &self,
        story: &BatchStory,
        results: u64,
        course: &Course,
    ) -> Result<(), Trouble> {
        if story.completion.as_ref().is_some_and(|completion| completion.is_short_of(results)) {
            let key = EventKey::RightfootCompletion { batch_id: story.tracked.batch_id.clone() };
            self.review(&key, None, results, course).await?;
        }
        Ok(())
    }

    /// The rows, and why there was no answer if there was none.
    async fn observe_rows(
        &self,
        batch_id: &Id,
        course: &Course,
    ) -> (Observation<Rows>, Option<&'static str>) {
        let answer =
            self.account.ask(|client, key| async move { client.balances(&key, batch_id).await }).await;
        if let Ok(read) = &answer {
            log_skipped("balances", batch_id, &read.skipped);
        }
        let rows = answer.map(|read| Rows {
            balances: read.rows.into_iter().map(|row| (row.authorizer.clone(), row)).collect(),
            reached_last_page: read.reached_last_page,
            skipped: read.skipped.rows(),
        });
        let failed_by = failed_by(&rows);
        (course.observe(batch_id, rows), failed_by)
    }

    /// The thresholds of a run. They are read when its alerts are to be told: once it is complete, or at its deadline.
    async fn thresholds_of(&self, story: &BatchStory) -> Result<Thresholds, Fault> {
        let inbox = self.recorder.inbox();
        let Some(schedule_id) = &story.tracked.schedule_id else { return Ok(Thresholds::default()) };
        match inbox.schedule_story(schedule_id).await? {
            Some(schedule) => inbox.thresholds(&schedule).await,
            // A schedule outlives its runs. Without its thresholds nobody can say who is to be alerted.
            None => Err(Fault::item("dynamodb:GetItem")),
        }
    }

    async fn finish(&self, story: &BatchStory, then: Then, course: &Course) -> Result<(), Trouble> {
        let (inbox, tracking) = (self.recorder.inbox(), &story.tracking);
        let (now, batch_id) = (self.recorder.clock().now(), story.tracked.batch_id.as_str());
        let (written, write) = match then {
            Then::AsPlanned => return Ok(()),
            Then::Later(at) => (inbox.postpone(tracking, at).await?, "postpone"),
            Then::AlertsAt(at) => (inbox.shown_complete(tracking, at, now).await?, "shown_complete"),
            Then::Done => {
                let written = inbox.settle(tracking, now).await?;
                course.run().settled += usize::from(written == Written::Applied);
                (written, "settle")
            }
            Then::Overdue => {
                // Said before it is written: said twice is better than never.
                course.run().overdue += 1;
                metrics::counter!("overdue").increment(1);
                tracing::warn!(target: "poll", batch_id, polls = story.tracked.polls, "overdue");
                (inbox.give_up_waiting(tracking, now).await?, "give_up_waiting")
            }
        };
        note_overtaken(written, batch_id, write);
        Ok(())
    }
}

/// How many results the API shows.
fn results(observed: &Observation<Rows>) -> u64 {
    match observed {
        Observation::Answered(rows) => u64::try_from(rows.balances.len()).unwrap_or(u64::MAX),
        Observation::NotReady
        | Observation::Refused
        | Observation::Unauthorized
        | Observation::RateLimited { .. }
        | Observation::Unanswered => 0,
    }
}
