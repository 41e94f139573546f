//! Model of the erasure of one published alert, beside two events that name it: the items `effect#alert#…` and
//! `effect#erased#…`, as `shared/aws/src/stores/personal_data/erase.rs` and `shared/aws/src/stores/processing/alert_claims.rs` write
//! them.
//!
//! Each event has a worker: it claims the alert, looks whether the alert was erased, publishes, and marks. The operator reads the
//! effect, writes the other item if the alert was published, and deletes the effect. Any of them may die at any step, and a request may
//! be applied long after its sender has died.

use super::explorer::{Model, Step, Steps};
use super::{assert_holds, assert_mutant_found};

/// A condition or an order of the code that a test drops. The exploration must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErasureMutant {
    /// The worker looks for the erasure before its claim.
    LookFirst,
    /// The effect is deleted before the other item is written.
    DeleteFirst,
    /// The effect is deleted although a worker holds a claim on it.
    DeleteClaimed,
    /// The effect is deleted although it was published since it was read.
    DeletePublished,
}

/// A configuration of the model.
#[derive(Clone, Copy, Debug, Default)]
struct ErasureModel {
    /// Deaths of a worker or the operator.
    deaths: u8,
    /// Requests among these that are applied later.
    delays: u8,
    mutant: Option<ErasureMutant>,
}

/// The effect. A claim is the number of its worker, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Effect {
    claim: u8,
    is_claim_over: bool,
    /// Number of the publication that was marked last; 0 for none.
    published: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum WorkerPhase {
    #[default]
    Idle,
    Look,
    Claim,
    Publish,
    Mark,
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum OperatorPhase {
    #[default]
    Read,
    Put(Effect),
    Delete(Effect),
    /// Only the mutant writes the other item last.
    PutLate,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    Claim { worker: u8, expired: u8 },
    Mark { worker: u8 },
    Put,
    Delete { seen: Effect },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct ErasureState {
    effect: Option<Effect>,
    is_erased: bool,
    workers: [WorkerPhase; 2],
    operator: OperatorPhase,
    delayed: Option<Request>,
    deaths: u8,
    delays: u8,
    publications: u8,
    /// Publications that are left: the first one, and one for each whose mark is not known to be applied.
    allowed: i8,
}

impl Model for ErasureModel {
    type State = ErasureState;

    fn initial(&self) -> ErasureState {
        let Self { deaths, delays, .. } = *self;
        ErasureState { deaths, delays, allowed: 1, ..ErasureState::default() }
    }

    fn next_steps(&self, state: &ErasureState, to: &mut Steps<ErasureState>) {
        for worker in [1, 2] {
            self.step_worker(state, worker, to);
        }
        self.step_operator(state, to);
        if let Some(request) = state.delayed {
            let mut after = ErasureState { delayed: None, ..*state };
            self.apply(&mut after, request);
            to.push((step("environment", 0, "a delayed request arrives"), after));
        }
        if let Some(effect) = state.effect.filter(|effect| effect.claim != 0 && !effect.is_claim_over)
            && matches!(state.workers[usize::from(effect.claim - 1)], WorkerPhase::Idle | WorkerPhase::Done)
        {
            let mut after = *state;
            after.effect = Some(Effect { is_claim_over: true, ..effect });
            to.push((step("environment", 0, "the claim runs out"), after));
        }
    }

    fn violation(&self, state: &ErasureState) -> Option<&'static str> {
        (state.allowed < 0).then_some("P5: an alert is published twice, and every outcome was known")
    }
}

impl ErasureModel {
    /// Applies a write; `false` if its condition does not hold.
    fn apply(&self, state: &mut ErasureState, request: Request) -> bool {
        match request {
            Request::Claim { worker, expired } => {
                let effect = state.effect.unwrap_or_default();
                let is_free = effect.claim == 0
                    || effect.claim == worker
                    || (effect.is_claim_over && effect.claim == expired);
                let is_applied = is_free && effect.published == 0;
                if is_applied {
                    state.effect = Some(Effect { claim: worker, is_claim_over: false, ..effect });
                }
                is_applied
            }
            Request::Mark { worker } => {
                let Some(effect) = state.effect else { return false };
                let claim = if effect.claim == worker { 0 } else { effect.claim };
                state.effect = Some(Effect { claim, published: state.publications.max(1), ..effect });
                true
            }
            Request::Put => {
                state.is_erased = true;
                true
            }
            Request::Delete { seen } => {
                let Some(effect) = state.effect else { return true };
                let is_unclaimed = effect.claim == 0
                    || (effect.is_claim_over && effect.claim == seen.claim)
                    || self.mutant == Some(ErasureMutant::DeleteClaimed);
                let is_as_read =
                    effect.published == seen.published || self.mutant == Some(ErasureMutant::DeletePublished);
                if is_unclaimed && is_as_read {
                    state.effect = None;
                }
                is_unclaimed && is_as_read
            }
        }
    }

    fn step_worker(&self, state: &ErasureState, worker: u8, to: &mut Steps<ErasureState>) {
        let at = usize::from(worker - 1);
        let looks_first = self.mutant == Some(ErasureMutant::LookFirst);
        let expired = state.effect.filter(|effect| effect.is_claim_over).map_or(0, |effect| effect.claim);
        let (phase, claim) = (state.workers[at], Request::Claim { worker, expired });
        let mut after = *state;
        let (action, request) = match phase {
            WorkerPhase::Done => return,
            WorkerPhase::Idle => {
                after.workers[at] = if looks_first { WorkerPhase::Look } else { WorkerPhase::Claim };
                ("begins", None)
            }
            WorkerPhase::Look => {
                let next = if looks_first { WorkerPhase::Claim } else { WorkerPhase::Publish };
                after.workers[at] = if state.is_erased { WorkerPhase::Done } else { next };
                ("looks for an erasure", None)
            }
            WorkerPhase::Claim => {
                let is_published = state.effect.is_some_and(|effect| effect.published != 0);
                after.workers[at] = match (self.apply(&mut after, claim), looks_first) {
                    (true, false) => WorkerPhase::Look,
                    (true, true) => WorkerPhase::Publish,
                    (false, _) if is_published => WorkerPhase::Done,
                    (false, _) => WorkerPhase::Idle,
                };
                ("claims", Some(claim))
            }
            WorkerPhase::Publish => {
                after.publications += 1;
                after.allowed -= 1;
                after.workers[at] = WorkerPhase::Mark;
                ("publishes", None)
            }
            WorkerPhase::Mark => {
                self.apply(&mut after, Request::Mark { worker });
                after.workers[at] = WorkerPhase::Done;
                ("marks", Some(Request::Mark { worker }))
            }
        };
        to.push((step("worker", worker, action), after));
        if state.deaths > 0 && phase != WorkerPhase::Idle {
            let mut dead = ErasureState { deaths: state.deaths - 1, ..*state };
            dead.workers[at] = WorkerPhase::Idle;
            // Published, and nobody knows.
            dead.allowed += i8::from(phase == WorkerPhase::Mark);
            die(&dead, "worker", worker, request, to);
        }
    }

    fn step_operator(&self, state: &ErasureState, to: &mut Steps<ErasureState>) {
        let deletes_first = self.mutant == Some(ErasureMutant::DeleteFirst);
        let mut after = *state;
        let (action, request) = match state.operator {
            OperatorPhase::Done => return,
            OperatorPhase::Read => {
                // Without an effect, the operator may look again later.
                let Some(seen) = state.effect else { return };
                let is_put_first = seen.published != 0 && !deletes_first;
                after.operator =
                    if is_put_first { OperatorPhase::Put(seen) } else { OperatorPhase::Delete(seen) };
                ("reads the effect", None)
            }
            OperatorPhase::Put(seen) => {
                self.apply(&mut after, Request::Put);
                after.operator = OperatorPhase::Delete(seen);
                ("writes the erasure", Some(Request::Put))
            }
            OperatorPhase::Delete(seen) => {
                let request = Request::Delete { seen };
                let is_applied = self.apply(&mut after, request);
                after.operator = match is_applied {
                    true if deletes_first && seen.published != 0 => OperatorPhase::PutLate,
                    // An alert that comes again can be erased again.
                    true | false => OperatorPhase::Read,
                };
                ("deletes the effect", Some(request))
            }
            OperatorPhase::PutLate => {
                self.apply(&mut after, Request::Put);
                after.operator = OperatorPhase::Done;
                ("writes the erasure late", Some(Request::Put))
            }
        };
        to.push((step("operator", 0, action), after));
        if state.deaths > 0 && state.operator != OperatorPhase::Read {
            let dead = ErasureState { deaths: state.deaths - 1, operator: OperatorPhase::Read, ..*state };
            die(&dead, "operator", 0, request, to);
        }
    }
}

/// A process dies before its request is applied, which may then arrive later.
fn die(
    dead: &ErasureState,
    actor: &'static str,
    index: u8,
    request: Option<Request>,
    to: &mut Steps<ErasureState>,
) {
    to.push((step(actor, index, "dies"), *dead));
    if dead.delays > 0 && dead.delayed.is_none() && request.is_some() {
        let delayed = ErasureState { delays: dead.delays - 1, delayed: request, ..*dead };
        to.push((step(actor, index, "dies, and its request is delayed"), delayed));
    }
}

fn step(actor: &'static str, actor_index: u8, action: &'static str) -> Step {
    Step { actor, actor_index: usize::from(actor_index), action, outcome: "" }
}

#[test]
fn p5_an_alert_is_published_once_whatever_is_erased_meanwhile() {
    assert_holds(&ErasureModel { deaths: 3, delays: 2, mutant: None });
}

#[test]
fn a_worker_looks_for_an_erasure_after_its_claim() {
    let mutant = Some(ErasureMutant::LookFirst);
    assert_mutant_found(&ErasureModel { mutant, ..ErasureModel::default() }, "P5");
}

#[test]
fn an_erasure_is_written_before_the_effect_is_deleted() {
    let mutant = Some(ErasureMutant::DeleteFirst);
    assert_mutant_found(&ErasureModel { mutant, ..ErasureModel::default() }, "P5");
}

#[test]
fn an_effect_that_a_worker_has_claimed_is_not_deleted() {
    let mutant = Some(ErasureMutant::DeleteClaimed);
    assert_mutant_found(&ErasureModel { mutant, ..ErasureModel::default() }, "P5");
}

#[test]
fn an_effect_that_was_published_since_it_was_read_is_not_deleted() {
    let mutant = Some(ErasureMutant::DeletePublished);
    assert_mutant_found(&ErasureModel { deaths: 1, delays: 0, mutant }, "P5");
}
