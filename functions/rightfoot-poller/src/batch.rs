//! Looking after a batch: one query if its webhook came, one question and its pages if not.

use std::collections::BTreeSet;

use inbox_aws::Fault;
use inbox_aws::inbox::{BatchStory, Written};
use inbox_core::event::Id;
use inbox_core::poll::Observation;
use inbox_core::poll::batch::{AlertWatch, Question, Rows, Step, Then, Thresholds, after_asking, first_step};

use crate::Poller;
use crate::run::{Course, Trouble};

impl Poller {
    pub(crate) async fn look_after_batch(&self, batch_id: &Id, course: &Course) -> Result<(), Trouble> {
        let inbox = self.recorder.inbox();
        let Some(story) = inbox.batch_story(batch_id).await? else { return Ok(()) };
        let now = self.recorder.clock().now();
        if !story.tracking.is_due(now) {
            return Ok(()); // the index lagged
        }
        match first_step(&story.tracked, story.completed_at, &self.cadence, now) {
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
        if inbox.put_off(&mut story.tracking, polls, planned).await? == Written::Overtaken {
            return Ok(());
        }
        story.tracked.failed = inbox.refused(&story).await?;
        course.run().asked += 1;
        let observed = self.observe_rows(&story.tracked.batch_id, course).await;
        let now = self.recorder.clock().now();
        let is_past_deadline = story.tracked.is_past_deadline(now);
        if is_past_deadline && !observed.is_answer() {
            course.run().overdue_unanswered += 1;
            metrics::counter!("overdue_unanswered").increment(1);
        }
        if is_past_deadline && question == Question::Complete {
            thresholds = self.thresholds_of(&story).await?;
        }
        let watch = AlertWatch { alerted: self.alerted_by_now(&story, &thresholds).await?, thresholds };
        let plan = after_asking(&story.tracked, question, &watch, &observed, planned, &self.cadence, now);
        // First what was found, then what becomes of the batch: who dies in between finds it recorded.
        if let Some(event) = &plan.record {
            self.record(event, course).await?;
        }
        self.finish(&story, plan.then, course).await
    }

    /// Whom a webhook has told of by now: read after Rightfoot has answered, because one may have come meanwhile.
    async fn alerted_by_now(
        &self,
        story: &BatchStory,
        thresholds: &Thresholds,
    ) -> Result<BTreeSet<Id>, Fault> {
        if thresholds.is_empty() {
            return Ok(BTreeSet::new());
        }
        let inbox = self.recorder.inbox();
        let fresh = inbox.batch_story(&story.tracked.batch_id).await?;
        inbox.alerted(fresh.as_ref().unwrap_or(story)).await
    }

    async fn observe_rows(&self, batch_id: &Id, course: &Course) -> Observation<Rows> {
        let answer =
            self.account.ask(|client, key| async move { client.balances(&key, batch_id).await }).await;
        let rows = answer.map(|read| Rows {
            balances: read.rows.into_iter().map(|row| (row.authorizer.clone(), row)).collect(),
            reached_last_page: read.reached_last_page,
        });
        course.observe(batch_id, rows)
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
        let now = self.recorder.clock().now();
        match then {
            Then::AsPlanned => {}
            Then::Later(at) => drop(inbox.postpone(tracking, at).await?),
            Then::Done => {
                if inbox.settle(tracking, now).await? == Written::Applied {
                    course.run().settled += 1;
                }
            }
            Then::Overdue => {
                // Said before it is written: said twice is better than never.
                course.run().overdue += 1;
                metrics::counter!("overdue").increment(1);
                let batch_id = story.tracked.batch_id.as_str();
                tracing::warn!(target: "poll", batch_id, polls = story.tracked.polls, "overdue");
                inbox.give_up_waiting(tracking, now).await?;
            }
        }
        Ok(())
    }
}
