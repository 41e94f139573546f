//! The poller's fault matrix: every AWS call of a run that finds a completion, an alert or a schedule's run is
//! combined with every fault, once or for the rest of the process; later runs follow. Delayed writes are applied
//! after their retry was answered, or after the next run.
//!
//! In every cell P2 and P5 hold, and the event is repeated exactly as often as P3 allows there.

use local::connector::{AwsConnector, Fault};
use local::invariants::{self, Observed};
use local::rightfoot_simulator::WebhookLoss;
use tests::fault_injection::allowed_repeats;
use tests::fault_matrix::{Cell, CellResult, Scenario, run_matrix};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{HOUR, Item, MINUTE, SUBJECT, World, polled_alerts_event_id, text};

use super::{completion_event_id, set_balances, submit_batch};

/// The kind of event that the run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Completion,
    Alert,
    NewRun,
}

/// A due batch or schedule.
struct DuePoll {
    it: RightfootWorld,
    /// The batch, or the schedule's run.
    batch: String,
    /// The process that polls.
    poller: World,
}

impl Found {
    /// Prepares what is due; returns the world and the batch's id.
    async fn due(self) -> (RightfootWorld, String) {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.schedule_day = HOUR * 12;
            set_balances(rightfoot, &[("a", "150.00")]);
        })
        .await;
        if self == Self::Completion {
            let batch = submit_batch(&it, SUBJECT, &["a"]).await;
            it.advance(MINUTE * 10).await;
            return (it, batch);
        }
        it.request(daily_schedule_request(SUBJECT, &["a"])).await;
        it.advance(HOUR * 12 + MINUTE * 10).await;
        let run = it.rightfoot.schedules()[0].runs[0].batch_id.clone();
        if self == Self::Alert {
            for _ in 0..2 {
                it.run_poller().await.unwrap();
            }
            assert_eq!(it.world.drain_event_ids().await, [completion_event_id(&run)]);
            it.advance(MINUTE * 20).await;
        }
        (it, run)
    }

    /// The events expected at the end, and the one that the faulty process may have sent.
    fn expected_events(self, batch: &str) -> (Vec<String>, Option<String>) {
        let (completion, alert) = (completion_event_id(batch), polled_alerts_event_id(batch, &["a"]));
        match self {
            Self::Completion => (vec![completion.clone()], Some(completion)),
            Self::Alert => (vec![alert.clone()], Some(alert)),
            Self::NewRun => (vec![alert, completion], None),
        }
    }
}

impl DuePoll {
    /// Returns `true` if every event of the batch is recorded and only the schedule is still due.
    async fn is_settled(&self) -> bool {
        let pk = format!("rightfoot#batch#{}", self.batch);
        let items = self.it.world.items().await;
        let due = items.iter().filter(|item| item.contains_key("due"));
        due.clone().all(|item| text(item, "pk").starts_with("rightfoot#schedule#"))
            && items.iter().any(|item| text(item, "pk") == pk && item.contains_key("done_at"))
    }

    /// Checks P2 and P5 at the end of a cell. Returns the number of repeats on the queue.
    async fn assert_found_once(&self, events: &[String]) -> usize {
        let mut run = Observed::read(&self.it.world.stack).await.unwrap();
        run.rightfoot = self.it.rightfoot.snapshot();
        run.thresholds.insert("a".to_owned(), "100".to_owned());
        run.calls.extend(self.poller.stack.connector.call_log());
        invariants::assert_hold(&run, &[invariants::RECORDS, invariants::ALERTS, invariants::TRACKING]);
        let mut messages: Vec<_> = run.messages.into_iter().map(|message| message.id).collect();
        messages.sort();
        let all = messages.len();
        messages.dedup();
        assert_eq!(messages, events, "P2");
        let pk = format!("rightfoot#batch#{}", self.batch);
        let items: Vec<Item> =
            self.it.world.items().await.into_iter().filter(|item| text(item, "pk") == pk).collect();
        let count = |sk: &str| items.iter().filter(|item| text(item, "sk").starts_with(sk)).count();
        let is_run = self.it.rightfoot.batches()[0].schedule_id.is_some();
        assert_eq!(
            (count("tracked"), count("completed"), count("alert#poll-")),
            (1, 1, usize::from(is_run)),
            "P5"
        );
        assert_eq!(items.len(), 2 + usize::from(is_run), "P5: nothing else");
        assert!(items.iter().all(|item| item.contains_key("expires_at") && !item.contains_key("overdue_at")));
        all - events.len()
    }
}

impl Scenario for Found {
    type Scene = DuePoll;
    /// Outcome of the run, in a word.
    type Outcome = String;

    async fn set_up(self) -> DuePoll {
        let (it, batch) = self.due().await;
        DuePoll { poller: it.world.another_process(), it, batch }
    }

    fn connector(scene: &DuePoll) -> &AwsConnector {
        &scene.poller.stack.connector
    }

    async fn run(self, scene: &DuePoll) -> String {
        match scene.poller.run_poller().await {
            None => "died".to_owned(),
            Some(Ok(_)) => "done".to_owned(),
            Some(Err(failed)) => failed.error_type,
        }
    }

    async fn recover(cell: &Cell<Self>, scene: DuePoll, outcome: String) -> CellResult {
        let connector = Self::connector(&scene);
        let (events, sent_here) = cell.scenario.expected_events(&scene.batch);
        let allowed = sent_here.map_or(0, |event| allowed_repeats(&connector.call_log(), &event));
        // The next process has no faults. A deferred item is due again after five minutes.
        let mut rounds = 0;
        while connector.delayed_count() > 0 || !scene.is_settled().await {
            rounds += 1;
            assert!(rounds <= 6, "P2, P9: not settled an hour later: {:?}", scene.it.world.due_items().await);
            scene.it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
            connector.apply_delayed(Fault::AppliedLater).await;
        }
        let repeats = scene.assert_found_once(&events).await;
        CellResult { summary: format!("run {outcome:<22} settled after {rounds} runs"), repeats, allowed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_p3_p5_p9_hold_in_every_cell() {
    run_matrix(&[(Found::Completion, 8), (Found::Alert, 11), (Found::NewRun, 6)]).await;
}
