//! The workers, and what came to them. Of two processes one is given messages of its own; others go to both at once, as
//! a standard queue may deliver a message twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use event_worker::EventWorker;
use inbox_core::limits::PROCESSING_CLAIM_SECS;
use tokio::task::JoinHandle;

use crate::connector::{AwsCall, CallOutcome, Fault, until_crash};
use crate::inspect::parse_event_id;
use crate::senders::SimClock;
use crate::sqs_trigger::SqsTrigger;
use crate::stack::Stack;

/// Pause between two looks at an empty queue, in real time.
const RECEIVE_INTERVAL: Duration = Duration::from_millis(50);

/// The two of them. Clones share them.
#[derive(Clone)]
pub(super) struct Workers {
    processes: [Stack; 2],
    /// How long a claim lasts, in real time.
    claim_duration: Duration,
    busy: Arc<AtomicUsize>,
    seen: Arc<Mutex<WorkerEvidence>>,
}

/// What came to the workers.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerEvidence {
    /// The bodies of all messages, by the message's own id.
    pub(super) messages: BTreeMap<String, String>,
    /// How often a worker that had to do with an event died, or took longer than its claims last.
    pub(super) interruptions: BTreeMap<String, usize>,
    /// How often a worker died.
    pub(super) crashes: usize,
    /// The events whose messages went to both at once.
    pub(super) twice: BTreeSet<String>,
}

impl Workers {
    /// Two processes beside this one.
    pub(super) async fn start(stack: &Stack, pace: &SimClock) -> Self {
        let processes = [stack.another_process(), stack.another_process()];
        for process in &processes {
            process.worker.load_api_key().await;
        }
        let claim_duration = pace.real_duration(Duration::from_secs(PROCESSING_CLAIM_SECS));
        Self { processes, claim_duration, busy: Arc::default(), seen: Arc::default() }
    }

    /// Has them work until the set is dropped.
    pub(super) fn spawn(&self) -> [JoinHandle<()>; 2] {
        let [first, _] = &self.processes;
        let (alone, both) = (self.clone(), self.clone());
        [
            SqsTrigger::new(first).run(RECEIVE_INTERVAL, move |event| {
                let workers = alone.clone();
                async move { workers.invoke_first(event).await }
            }),
            SqsTrigger::new(first).run(RECEIVE_INTERVAL, move |event| {
                let workers = both.clone();
                async move { workers.invoke_both(event).await }
            }),
        ]
    }

    /// From now on, this decides which of their calls fail.
    pub(super) fn set_fault_plan(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        let plan = Arc::new(plan);
        for process in &self.processes {
            let plan = plan.clone();
            process.connector.set_fault_plan(move |call| plan(call));
        }
    }

    /// Whether neither has anything to do at the moment.
    pub(super) fn are_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0
    }

    /// What came to them until now.
    pub(super) fn seen(&self) -> WorkerEvidence {
        self.with_seen(|evidence| evidence.clone())
    }

    /// Their calls until now, and what became of them.
    pub(super) fn log(&self) -> Vec<(AwsCall, CallOutcome)> {
        self.processes.iter().flat_map(|process| process.connector.call_log()).collect()
    }

    async fn invoke_first(&self, event: SqsEvent) -> Option<SqsBatchResponse> {
        self.note(&event);
        let [first, _] = &self.processes;
        self.invoke(&first.worker, event).await
    }

    /// Each would delete what it is done with: a message comes again only if neither is.
    async fn invoke_both(&self, event: SqsEvent) -> Option<SqsBatchResponse> {
        self.note(&event);
        self.with_seen(|seen| seen.twice.extend(events_of(&event)));
        let [first, second] = &self.processes;
        let invoked =
            tokio::join!(self.invoke(&first.worker, event.clone()), self.invoke(&second.worker, event));
        match invoked {
            (Some(mut one), Some(other)) => {
                one.batch_item_failures.retain(|failure| other.batch_item_failures.contains(failure));
                Some(one)
            }
            (one, other) => one.or(other),
        }
    }

    async fn invoke(&self, worker: &EventWorker, event: SqsEvent) -> Option<SqsBatchResponse> {
        let (events, began) = (events_of(&event), Instant::now());
        self.busy.fetch_add(1, Ordering::SeqCst);
        let answer = until_crash(worker.handle(event)).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        if answer.is_none() || began.elapsed() >= self.claim_duration {
            self.with_seen(|seen| {
                seen.crashes += usize::from(answer.is_none());
                events.into_iter().for_each(|id| *seen.interruptions.entry(id).or_default() += 1);
            });
        }
        answer
    }

    fn note(&self, event: &SqsEvent) {
        let message = |record: &aws_lambda_events::sqs::SqsMessage| {
            Some((record.message_id.clone()?, record.body.clone()?))
        };
        self.with_seen(|seen| seen.messages.extend(event.records.iter().filter_map(message)));
    }

    fn with_seen<T>(&self, f: impl FnOnce(&mut WorkerEvidence) -> T) -> T {
        f(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn events_of(event: &SqsEvent) -> Vec<String> {
    event.records.iter().filter_map(|record| parse_event_id(record.body.as_deref()?)).collect()
}
