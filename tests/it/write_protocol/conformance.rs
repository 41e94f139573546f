//! Conformance of the models with the code: random walks apply the same operations to a model and to the real adapters,
//! and compare the results and the items after each.
//!
//! Reads and claims are kept and used again later, when they are stale. Some responses are lost, so that the SDK
//! repeats the call. Time advances only in steps of sixteen minutes, after which everything that was due later is due
//! and every claim has expired.

mod alert_conformance;
mod batch_conformance;
mod event_conformance;
mod submission_conformance;

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::time::Duration;

use local::connector::AwsCall;
use tests::World;

/// Longer than the relay's longest pause and a worker's claim.
const ALL_CLAIMS_EXPIRED: Duration = Duration::from_secs(16 * 60);

/// A model and the code, side by side.
trait Comparison: Sized {
    /// A step of a walk.
    type Operation: Copy + Debug + 'static;
    /// Operations with their relative frequencies: those that end an item are rarer than others.
    const OPERATIONS: &[(usize, Self::Operation)];

    async fn new(walk: Walk) -> Self;
    fn world(&self) -> &World;
    fn walk(&mut self) -> &mut Walk;
    /// Applies an operation to both, and compares the results. Changes nothing if its prerequisites are missing.
    async fn apply(&mut self, operation: Self::Operation);
    /// Compares the items.
    async fn compare(&self, operation: Self::Operation);
}

/// Runs so many random walks of so many steps each. Panics unless these outcomes were among theirs.
async fn assert_conformance<C: Comparison>(walks: u64, steps: usize, expected: &[&str]) {
    let mut seen = BTreeSet::new();
    for seed in 1..=walks {
        let mut comparison = C::new(Walk::new(seed)).await;
        for _ in 0..steps {
            let operation = comparison.walk().pick_weighted(C::OPERATIONS);
            println!("{seed}: {operation:?}");
            // On the heap, because the futures of the SDK's calls are large.
            Box::pin(comparison.apply(operation)).await;
            comparison.world().stack.connector.clear_fault_plan();
            comparison.compare(operation).await;
        }
        seen.append(&mut comparison.walk().outcomes);
    }
    let missing: Vec<_> = expected.iter().filter(|outcome| !seen.contains(**outcome)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}; met: {seen:?}");
}

/// The random choices of a walk, and its outcomes so far.
struct Walk {
    rng_state: u64,
    /// Kinds of writes with their results.
    outcomes: BTreeSet<String>,
}

impl Walk {
    /// The same seed makes the same choices.
    fn new(seed: u64) -> Self {
        Self { rng_state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), outcomes: BTreeSet::new() }
    }

    fn note(&mut self, write: impl Display, result: impl Display) {
        self.outcomes.insert(format!("{write}: {result}"));
    }

    fn below(&mut self, sides: usize) -> usize {
        self.rng_state ^= self.rng_state << 13;
        self.rng_state ^= self.rng_state >> 7;
        self.rng_state ^= self.rng_state << 17;
        usize::try_from(self.rng_state >> 33).unwrap() % sides
    }

    /// Number of attempts at a call: two if the first response is lost.
    fn pick_attempts(&mut self) -> usize {
        1 + usize::from(self.below(4) == 0)
    }

    /// Loses the response to the next of these writes, or none: the SDK repeats it, and the code recognizes that it was
    /// applied. Returns the number of attempts.
    fn maybe_lose_response(&mut self, world: &World, is_write: fn(&AwsCall) -> bool) -> usize {
        let attempts = self.pick_attempts();
        if attempts == 2 {
            world.lose_response(is_write);
        }
        attempts
    }

    /// Picks an element; the last one more often than any other.
    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() {
            return None;
        }
        let at = if self.below(2) == 0 { all.len() - 1 } else { self.below(all.len()) };
        Some(all[at].clone())
    }

    fn pick_weighted<T: Copy>(&mut self, all: &[(usize, T)]) -> T {
        let mut at = self.below(all.iter().map(|(weight, _)| weight).sum());
        for (weight, element) in all {
            if at < *weight {
                return *element;
            }
            at -= weight;
        }
        unreachable!("the weights are exhausted")
    }
}
