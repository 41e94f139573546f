//! Runs fault matrices: every AWS call of a scenario is combined with every fault that fits it, in a world of its
//! own; then the system recovers, and the scenario checks the result. A delayed request is applied after its retry
//! was answered, or during the recovery.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, StreamExt};
use inbox_aws::iam::Resource;
use local::connector::{AwsCall, AwsConnector, CallOutcome, Fault};

/// Work whose AWS calls are combined with faults.
pub trait Scenario: Copy + fmt::Debug + Send + Sync + 'static {
    /// A world in which the work is about to be done.
    type Scene: Send + Sync;
    /// Outcome of the work under a fault.
    type Outcome: Send;

    /// Prepares everything before the work's own calls. The connector's call log is empty afterwards.
    fn set_up(self) -> impl Future<Output = Self::Scene> + Send;

    /// Connector of the process that does the work.
    fn connector(scene: &Self::Scene) -> &AwsConnector;

    /// Does the work.
    fn run(self, scene: &Self::Scene) -> impl Future<Output = Self::Outcome> + Send;

    /// Lets the system recover without faults, applies the delayed requests meanwhile, and checks the result.
    fn recover(
        cell: &Cell<Self>,
        scene: Self::Scene,
        outcome: Self::Outcome,
    ) -> impl Future<Output = CellResult> + Send;

    /// The calls that are combined with faults, of all calls of the scenario.
    fn faulted_calls(calls: &[AwsCall]) -> Vec<AwsCall> {
        calls.to_vec()
    }

    /// Faults that fit this call, besides those that fit any call of its kind.
    fn further_faults(_call: &AwsCall) -> &'static [Fault] {
        &[]
    }

    /// Durations with which this fault is injected.
    fn durations(self, _fault: Fault) -> &'static [FaultDuration] {
        &[FaultDuration::Once, FaultDuration::Persistent]
    }
}

/// Duration of a fault: one call, or every later call of the same operation until the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultDuration {
    /// The faulted call only.
    Once,
    /// The faulted call and every later call of that operation.
    Persistent,
}

/// A scenario with a fault in one of its calls.
#[derive(Clone, Debug)]
pub struct Cell<S> {
    /// The scenario.
    pub scenario: S,
    /// The first faulted call.
    pub call: AwsCall,
    /// The fault.
    pub fault: Fault,
    /// Its duration.
    pub duration: FaultDuration,
    /// All calls of the scenario without faults.
    pub calls: Arc<[AwsCall]>,
}

/// Result of a cell whose checks have passed.
pub struct CellResult {
    /// What happened, for the printed table.
    pub summary: String,
    /// Number of times that the event was repeated.
    pub repeats: usize,
    /// Number of times that it may and must be repeated (P3, P10).
    pub allowed: usize,
}

impl<S: Scenario> Cell<S> {
    /// Index of the scenario's last call of this operation.
    pub fn last_index(&self, operation: &str) -> usize {
        self.calls.iter().rfind(|call| call.operation == operation).unwrap().index
    }

    /// The faulted call is recognized by what it does, because the order of calls that are made side by side may differ.
    fn fault_plan(&self) -> impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + use<S> {
        let (faulted, fault, duration) = (self.call.clone(), self.fault, self.duration);
        let equals = move |call: &AwsCall| {
            (&call.operation, &call.event_ids) == (&faulted.operation, &faulted.event_ids)
        };
        let equal_before = self.calls.iter().take_while(|call| call.index < self.call.index);
        let nth = equal_before.filter(|call| equals(call)).count();
        let operation = self.call.operation.clone();
        let equal_calls = AtomicUsize::new(0);
        move |call| {
            let is_first_hit = equals(call) && equal_calls.fetch_add(1, Ordering::SeqCst) == nth;
            let is_hit = match duration {
                FaultDuration::Once => is_first_hit,
                FaultDuration::Persistent => {
                    call.operation == operation && equal_calls.load(Ordering::SeqCst) > nth
                }
            };
            is_hit.then_some(fault)
        }
    }

    async fn run(self) -> CellResult {
        let scene = self.scenario.set_up().await;
        let connector = S::connector(&scene).clone();
        connector.set_fault_plan(self.fault_plan());
        let outcome = self.scenario.run(&scene).await;
        connector.clear_fault_plan();
        connector.apply_delayed(Fault::AppliedAfterRetry).await;
        let result = S::recover(&self, scene, outcome).await;
        assert_eq!(connector.delayed_count(), 0, "never applied");
        let is_late = |(_, outcome): &(_, _)| matches!(outcome, CallOutcome::AppliedLate(_));
        assert_eq!(connector.call_log().iter().any(is_late), self.fault.is_delay(), "applied late");
        result
    }
}

impl<S: fmt::Debug> fmt::Display for Cell<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, call, fault, duration, .. } = self;
        let (scenario, fault) = (format!("{scenario:?}"), format!("{fault:?}"));
        write!(f, "{scenario:<24}{:>2} {:<20}{fault:<18}{duration:?}", call.index, call.operation)
    }
}

/// Runs the matrix of these scenarios, each given with its number of calls. Prints one row per cell, and panics if a
/// cell panicked or repeated the event more or less often than allowed.
#[expect(clippy::print_stdout, reason = "a table for whoever looks at a failure")]
pub async fn run_matrix<S: Scenario>(scenarios: &[(S, usize)]) {
    const CONCURRENCY: usize = 8;
    let mut cells = Vec::new();
    for (scenario, call_count) in scenarios {
        let calls = dry_run(*scenario).await;
        assert_eq!(calls.len(), *call_count, "{scenario:?}: {calls:#?}");
        cells.extend(cells_of(*scenario, calls));
    }
    let running = stream::iter(cells).map(|cell| async move {
        let name = cell.to_string();
        (name, tokio::spawn(cell.run()).await)
    });
    let results: Vec<_> = running.buffered(CONCURRENCY).collect().await;
    let mut violations = Vec::new();
    for (cell, result) in &results {
        match result {
            Ok(CellResult { summary, repeats, allowed }) => {
                println!("{cell:<76} {summary} repeats {repeats} allowed {allowed}");
                if repeats != allowed {
                    violations.push(format!("{repeats} repeats where {allowed} are allowed: {cell}"));
                }
            }
            Err(panicked) => violations.push(format!("{panicked}: {cell}")),
        }
    }
    println!("{} cells", results.len());
    let (failed, all) = (violations.len(), results.len());
    assert!(violations.is_empty(), "{failed} of {all} cells:\n{}", violations.join("\n"));
}

/// Calls of the scenario without faults. The queries of the index, one per shard, are equal, so only the first is
/// kept.
pub async fn dry_run<S: Scenario>(scenario: S) -> Vec<AwsCall> {
    let scene = scenario.set_up().await;
    scenario.run(&scene).await;
    let mut calls: Vec<_> = S::connector(&scene).call_log().into_iter().map(|(call, _)| call).collect();
    let is_of_index =
        |call: &AwsCall| call.permissions.iter().any(|it| it.resource == Some(Resource::DueIndex));
    let first = calls.iter().position(is_of_index);
    calls.retain(|call| !is_of_index(call) || Some(call.index) == first);
    calls
}

/// Every call that the scenario names, combined with every fault that fits it; a read cannot be late.
fn cells_of<S: Scenario>(scenario: S, calls: Vec<AwsCall>) -> Vec<Cell<S>> {
    let calls: Arc<[AwsCall]> = calls.into();
    let mut cells = Vec::new();
    for call in S::faulted_calls(&calls) {
        let late: &[Fault] = if call.is_read() { &[] } else { &Fault::FOR_ANY_WRITE };
        for fault in Fault::FOR_ANY_CALL.iter().chain(late).chain(S::further_faults(&call)) {
            cells.extend(scenario.durations(*fault).iter().map(|duration| Cell {
                scenario,
                call: call.clone(),
                fault: *fault,
                duration: *duration,
                calls: calls.clone(),
            }));
        }
    }
    cells
}
