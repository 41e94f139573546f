//! Looking after a batch: one query if its webhook came, one question and its pages if not.

use inbox_aws::Fault;
use inbox_aws::inbox::{BatchStory, Written};
use inbox_core::event::Id;
use inbox_core::poll::Observation;
use inbox_core::poll::batch::{
    Plan, Question, Rows, Step, Then, Thresholds, after_asking_for_alerts, after_asking_for_completion,
    first_step,
};

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
            Step::Done => {
                let written = inbox.settle(&story.tracking, now).await?;
                course.written(written, |run| run.settled += 1);
                Ok(())
            }
            Step::Later(at) => {
                inbox.postpone(&story.tracking, at).await?;
                Ok(())
            }
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
        let thresholds = match question {
            Question::Complete => Thresholds::default(),
            Question::Alerts => self.thresholds_of(&story).await?,
        };
        let now = self.recorder.clock().now();
        if question == Question::Alerts && thresholds.is_empty() {
            let written = inbox.settle(&story.tracking, now).await?;
            course.written(written, |run| run.settled += 1);
            return Ok(());
        }
        let planned = self.cadence.again(now, story.tracked.polls);
        let polls = story.tracked.polls.saturating_add(1);
        if inbox.put_off(&mut story.tracking, polls, planned).await? == Written::Overtaken {
            return Ok(());
        }
        story.tracked.failed = inbox.refused(&story).await?;
        course.run().asked += 1;
        let observed = self.observe_rows(&story.tracked.batch_id, course).await;
        let now = self.recorder.clock().now();
        let plan = match question {
            Question::Complete => {
                after_asking_for_completion(&story.tracked, &observed, planned, &self.cadence, now)
            }
            Question::Alerts => {
                // Read again: a webhook may have told meanwhile.
                let fresh = inbox.batch_story(&story.tracked.batch_id).await?;
                let alerted = inbox.alerted(fresh.as_ref().unwrap_or(&story)).await?;
                after_asking_for_alerts(&story.tracked, &alerted, &thresholds, &observed, planned, now)
            }
        };
        self.carry_out(plan, &story, course).await
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

    async fn thresholds_of(&self, story: &BatchStory) -> Result<Thresholds, Fault> {
        let inbox = self.recorder.inbox();
        let Some(schedule_id) = &story.tracked.schedule_id else { return Ok(Thresholds::default()) };
        match inbox.schedule_story(schedule_id).await? {
            Some(schedule) => inbox.thresholds(&schedule).await,
            // A schedule outlives its runs. Without its thresholds nobody can say who is to be alerted.
            None => Err(Fault { action: "dynamodb:GetItem", cause: inbox_aws::Cause::Item }),
        }
    }

    /// First what was found, then what becomes of the batch: who dies in between finds it recorded.
    async fn carry_out(&self, plan: Plan, story: &BatchStory, course: &Course) -> Result<(), Trouble> {
        let (inbox, tracking) = (self.recorder.inbox(), &story.tracking);
        if let Some(event) = &plan.record {
            self.record(event, course).await?;
        }
        let now = self.recorder.clock().now();
        match plan.then {
            Then::AsPlanned => {}
            Then::Later(at) => drop(inbox.postpone(tracking, at).await?),
            Then::Done => {
                let written = inbox.settle(tracking, now).await?;
                course.written(written, |run| run.settled += 1);
            }
            Then::Overdue => {
                let written = inbox.give_up_waiting(tracking, now).await?;
                course.written(written, |run| {
                    run.overdue += 1;
                    metrics::counter!("overdue").increment(1);
                    let batch_id = story.tracked.batch_id.as_str();
                    tracing::warn!(target: "poll", batch_id, polls = story.tracked.polls, "overdue");
                });
            }
        }
        Ok(())
    }
}
