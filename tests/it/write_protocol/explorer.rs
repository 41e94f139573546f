//! A breadth-first explorer: it visits every state once, and finds a shortest path to a violation.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A protocol: its initial state, the steps from a state, and the promises.
pub(crate) trait Model {
    /// Everything on which the steps depend.
    type State: Copy + Eq + Hash;

    /// The initial state.
    fn initial(&self) -> Self::State;

    /// Adds every possible next step with the state after it.
    fn next_steps(&self, state: &Self::State, to: &mut Steps<Self::State>);

    /// The promise that this state breaks, if any.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;
}

/// Steps with the states after them.
pub(crate) type Steps<S> = Vec<(Step, S)>;

/// One step of a counterexample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Kind of process.
    pub(crate) actor: &'static str,
    /// Number of the process among its kind, from 1.
    pub(crate) actor_index: usize,
    /// The action.
    pub(crate) action: &'static str,
    /// The outcome.
    pub(crate) outcome: &'static str,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.actor, self.actor_index, self.action)?;
        if self.outcome.is_empty() { Ok(()) } else { write!(f, " ({})", self.outcome) }
    }
}

/// Result of an exploration.
#[derive(Debug)]
pub(crate) struct Exploration {
    /// Number of visited states.
    pub(crate) states: usize,
    /// True if these are all reachable states. A violation ends the exploration early.
    pub(crate) is_complete: bool,
    /// The first broken promise, with the steps that lead to it.
    pub(crate) violation: Option<(&'static str, Vec<Step>)>,
}

impl Exploration {
    /// The steps to the violation, one per line.
    pub(crate) fn counterexample(&self) -> String {
        let (promise, steps) = self.violation.as_ref().map_or(("none", &[][..]), |it| (it.0, &it.1));
        let lines = steps.iter().enumerate().map(|(nth, step)| format!("\n  {:>2}. {step}", nth + 1));
        format!("{promise}{}", lines.collect::<String>())
    }
}

/// Explores until a promise is broken, no state is left, or `max_states` were visited.
pub(crate) fn explore<M: Model>(model: &M, max_states: usize) -> Exploration {
    let start = model.initial();
    let mut visited = Visited::default();
    visited.insert(fingerprint(&start), 0);
    let (mut level, mut steps) = (vec![start], Vec::new());
    while !level.is_empty() {
        let mut next = Vec::new();
        for state in &level {
            let current = fingerprint(state);
            if let Some(promise) = model.violation(state) {
                let violation = Some((promise, path_to(model, &visited, current)));
                return Exploration { states: visited.len(), is_complete: false, violation };
            }
            steps.clear();
            model.next_steps(state, &mut steps);
            for (_, after) in &steps {
                if let Entry::Vacant(new) = visited.entry(fingerprint(after)) {
                    new.insert(current);
                    next.push(*after);
                }
            }
            if visited.len() >= max_states {
                return Exploration { states: visited.len(), is_complete: false, violation: None };
            }
        }
        level = next;
    }
    Exploration { states: visited.len(), is_complete: true, violation: None }
}

/// By the fingerprint of a state, that of the state from which it was reached first.
type Visited = HashMap<u64, u64, BuildHasherDefault<IdentityHasher>>;

/// The steps from the initial state to the state with this fingerprint.
fn path_to<M: Model>(model: &M, seen: &Visited, end: u64) -> Vec<Step> {
    let start = model.initial();
    let mut path = vec![end];
    while let Some(before) = path.last().and_then(|at| seen.get(at)).filter(|before| **before != 0) {
        path.push(*before);
    }
    let (mut state, mut taken) = (start, Vec::new());
    for target in path.iter().rev().skip(1) {
        let mut steps = Vec::new();
        model.next_steps(&state, &mut steps);
        let found = steps.into_iter().find(|(_, after)| fingerprint(after) == *target);
        let Some((step, after)) = found else { break };
        taken.push(step);
        state = after;
    }
    taken
}

fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut hasher = FoldHasher(0x9e37_79b9_7f4a_7c15);
    state.hash(&mut hasher);
    hasher.finish()
}

/// A fast hash of many small numbers; without optimisation, the standard hash would dominate the running time.
struct FoldHasher(u64);

impl FoldHasher {
    fn fold(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for FoldHasher {
    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.fold(0x2545_f491_4f6c_dd1d);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(eight));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.fold(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.fold(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.fold(value.unsigned_abs() as u64);
    }
}

/// Identity hash: a fingerprint is a hash already.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| (all << 8) | u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
