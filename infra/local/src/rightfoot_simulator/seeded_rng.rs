//! Repeatable random values: the same seed and labels give the same value.

use sha2::{Digest, Sha256};

/// Derives values from a hash of seed and labels, so that neither order nor number of draws matters. Changing a label
/// changes ids and balances.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeededRng {
    seed: u64,
}

impl SeededRng {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(super) fn below(self, end: u64, labels: &[&str]) -> u64 {
        // The remainder favours small numbers, but of 128 bits by too little to matter.
        let drawn = self.number(labels).checked_rem(u128::from(end)).unwrap_or_default();
        u64::try_from(drawn).unwrap_or_default()
    }

    /// One of the options; `None` if there are none.
    pub(super) fn pick<T: Copy>(self, options: &[T], labels: &[&str]) -> Option<T> {
        let index = self.below(u64::try_from(options.len()).unwrap_or_default(), labels);
        options.get(usize::try_from(index).unwrap_or_default()).copied()
    }

    /// A version 4 UUID.
    pub(super) fn uuid(self, labels: &[&str]) -> String {
        uuid::Builder::from_random_bytes(self.number(labels).to_be_bytes()).into_uuid().to_string()
    }

    fn number(self, labels: &[&str]) -> u128 {
        let mut hasher = Sha256::new_with_prefix(self.seed.to_be_bytes());
        for label in labels {
            // The length separates labels: ["ab", "c"] differs from ["a", "bc"].
            hasher.update(label.len().to_be_bytes());
            hasher.update(label.as_bytes());
        }
        let digest = hasher.finalize();
        digest.iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_for_the_same_seed_and_labels_only() {
        let rng = SeededRng::new(7);
        assert_eq!(rng.uuid(&["batch", "1"]), SeededRng::new(7).uuid(&["batch", "1"]));
        for other in
            [SeededRng::new(8).uuid(&["batch", "1"]), rng.uuid(&["batch1", ""]), rng.uuid(&["batch", "2"])]
        {
            assert_ne!(other, rng.uuid(&["batch", "1"]));
        }
        assert_eq!(uuid::Uuid::parse_str(&rng.uuid(&[])).unwrap().get_version_num(), 4);
    }

    #[test]
    fn draws_stay_below_their_end() {
        let rng = SeededRng::new(7);
        assert!((0..100).all(|n: u32| rng.below(3, &[&n.to_string()]) < 3));
        assert_eq!((rng.below(0, &[]), rng.pick::<u8>(&[], &[]), rng.pick(&[9], &[])), (0, None, Some(9)));
    }
}
