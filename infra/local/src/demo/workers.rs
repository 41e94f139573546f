//! The demo's two worker processes and the evidence they leave. Some messages go to the first only, others to both at
//! once, as a standard queue may deliver a message twice.

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
use crate::stack::Stack;

/// Interval at which an empty queue is polled, in real time.
const RECEIVE_INTERVAL: Duration = Duration::from_millis(50);

/// Two worker processes. Clones share them.
#[derive(Clone)]
pub(super) struct Workers {
    processes: [Stack; 2],
    /// Duration of a worker's claim, in real time.
    claim_duration: Duration,
    busy: Arc<AtomicUsize>,
    seen: Arc<Mutex<WorkerEvidence>>,
}

/// The messages that the workers received, and their interruptions.
#[derive(Clone, Debug, Default)]
pub(super) struct WorkerEvidence {
    /// Bodies of all messages, by SQS message id.
    pub(super) messages: BTreeMap<String, String>,
    /// By event id: the invocations with that event in which a worker crashed or outlasted its claim.
    pub(super) interruptions: BTreeMap<String, usize>,
    /// Number of worker crashes.
    pub(super) crashes: usize,
    /// Events whose message was delivered to both workers at once.
    pub(super) twice: BTreeSet<String>,
}

impl Workers {
    /// Starts two processes beside this one.
    pub(super) async fn start(stack: &Stack, sim_clock: &SimClock) -> Self {
        let processes = [stack.another_process(), stack.another_process()];
        for process in &processes {
            // A cold start loads the key as well.
            process.worker.load_api_key().await;
        }
        let claim_duration = sim_clock.real_duration(Duration::from_secs(PROCESSING_CLAIM_SECS));
        Self { processes, claim_duration, busy: Arc::default(), seen: Arc::default() }
    }

    /// Receives and processes messages until the handles are aborted.
    pub(super) fn spawn(&self) -> [JoinHandle<()>; 2] {
        // Both triggers receive from the same queue, so chance decides which messages both workers get.
        let [first, _] = &self.processes;
        let (alone, both) = (self.clone(), self.clone());
        [
            first.sqs_trigger().run(RECEIVE_INTERVAL, move |event| {
                let workers = alone.clone();
                async move { workers.invoke_first(event).await }
            }),
            first.sqs_trigger().run(RECEIVE_INTERVAL, move |event| {
                let workers = both.clone();
                async move { workers.invoke_both(event).await }
            }),
        ]
    }

    /// Has `plan` decide from now on which of the workers' AWS calls fail.
    pub(super) fn set_fault_plan(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        let plan = Arc::new(plan);
        for process in &self.processes {
            let plan = plan.clone();
            process.connector.set_fault_plan(move |call| plan(call));
        }
    }

    /// Returns `true` if neither worker is processing a message.
    pub(super) fn are_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0
    }

    /// The evidence so far.
    pub(super) fn seen(&self) -> WorkerEvidence {
        self.with_seen(|evidence| evidence.clone())
    }

    /// Their AWS calls so far, with outcomes.
    pub(super) fn log(&self) -> Vec<(AwsCall, CallOutcome)> {
        self.processes.iter().flat_map(|process| process.connector.call_log()).collect()
    }

    async fn invoke_first(&self, event: SqsEvent) -> Option<SqsBatchResponse> {
        // Before the invocation, so that the messages of a worker that crashes are known, too.
        self.note(&event);
        let [first, _] = &self.processes;
        self.invoke(&first.worker, event).await
    }

    /// Reports as failed only what both workers report as failed: each of them would delete what it has processed.
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
            // A crashed worker has no response and deletes nothing, so the other one's counts.
            (one, other) => one.or(other),
        }
    }

    async fn invoke(&self, worker: &EventWorker, event: SqsEvent) -> Option<SqsBatchResponse> {
        let (events, started) = (events_of(&event), Instant::now());
        self.busy.fetch_add(1, Ordering::SeqCst);
        let response = until_crash(worker.handle(event)).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        // After its claim expired, another worker may have processed the same event meanwhile.
        if response.is_none() || started.elapsed() >= self.claim_duration {
            self.with_seen(|seen| {
                seen.crashes += usize::from(response.is_none());
                events.into_iter().for_each(|id| *seen.interruptions.entry(id).or_default() += 1);
            });
        }
        response
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
