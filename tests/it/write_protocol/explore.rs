//! A breadth-first explorer: every state once, and the shortest way to the first violation.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A protocol: the state it starts in, the steps from a state, and what must not be.
pub(crate) trait Model {
    /// Everything that the steps depend on.
    type State: Copy + Eq + Hash;

    /// The state at the start.
    fn start(&self) -> Self::State;

    /// Adds every step that can be made next, and the state after it.
    fn steps(&self, state: &Self::State, to: &mut Steps<Self::State>);

    /// The promise that this state breaks, if it breaks one.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;
}

/// Steps, and the states after them.
pub(crate) type Steps<S> = Vec<(Step, S)>;

/// One step, as a trace tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Who makes it.
    pub(crate) who: &'static str,
    /// Which of them.
    pub(crate) which: usize,
    /// What is done.
    pub(crate) what: &'static str,
    /// How it ends.
    pub(crate) how: &'static str,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.who, self.which, self.what)?;
        if self.how.is_empty() { Ok(()) } else { write!(f, " ({})", self.how) }
    }
}

/// What an exploration came to.
#[derive(Debug)]
pub(crate) struct Explored {
    /// States that were seen.
    pub(crate) states: usize,
    /// Whether those are all that can be reached. A violation ends the exploration.
    pub(crate) is_complete: bool,
    /// The first promise that was broken, and the steps that lead there.
    pub(crate) violation: Option<(&'static str, Vec<Step>)>,
}

impl Explored {
    /// The steps to the violation, one a line.
    pub(crate) fn trace(&self) -> String {
        let (promise, steps) = self.violation.as_ref().map_or(("none", &[][..]), |it| (it.0, &it.1));
        let lines = steps.iter().enumerate().map(|(nth, step)| format!("\n  {:>2}. {step}", nth + 1));
        format!("{promise}{}", lines.collect::<String>())
    }
}

/// Explores until a promise is broken, nothing is left, or so many states were seen.
pub(crate) fn explore<M: Model>(model: &M, most: usize) -> Explored {
    let start = model.start();
    let mut seen = Seen::default();
    seen.insert(fingerprint(&start), 0);
    let (mut level, mut steps) = (vec![start], Vec::new());
    while !level.is_empty() {
        let mut next = Vec::new();
        for state in &level {
            let here = fingerprint(state);
            if let Some(promise) = model.violation(state) {
                let violation = Some((promise, way_to(model, &seen, here)));
                return Explored { states: seen.len(), is_complete: false, violation };
            }
            steps.clear();
            model.steps(state, &mut steps);
            for (_, after) in &steps {
                if let Entry::Vacant(new) = seen.entry(fingerprint(after)) {
                    new.insert(here);
                    next.push(*after);
                }
            }
            if seen.len() >= most {
                return Explored { states: seen.len(), is_complete: false, violation: None };
            }
        }
        level = next;
    }
    Explored { states: seen.len(), is_complete: true, violation: None }
}

/// By each state's fingerprint, that of the state from which it was reached first.
type Seen = HashMap<u64, u64, BuildHasherDefault<AsItIs>>;

/// The steps from the start to the state of this fingerprint.
fn way_to<M: Model>(model: &M, seen: &Seen, end: u64) -> Vec<Step> {
    let start = model.start();
    let mut way = vec![end];
    while let Some(before) = way.last().and_then(|at| seen.get(at)).filter(|before| **before != 0) {
        way.push(*before);
    }
    let (mut state, mut made) = (start, Vec::new());
    for wanted in way.iter().rev().skip(1) {
        let mut steps = Vec::new();
        model.steps(&state, &mut steps);
        let found = steps.into_iter().find(|(_, after)| fingerprint(after) == *wanted);
        let Some((step, after)) = found else { break };
        made.push(step);
        state = after;
    }
    made
}

fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut hasher = Fold(0x9e37_79b9_7f4a_7c15);
    state.hash(&mut hasher);
    hasher.finish()
}

/// A fast hash of many small numbers: unoptimised, the standard one would set the pace.
struct Fold(u64);

impl Fold {
    fn fold(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for Fold {
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

/// A fingerprint is its own hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
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
