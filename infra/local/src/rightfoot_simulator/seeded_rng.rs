//! Chance that can be repeated: the same seed and the same words draw the same.

use sha2::{Digest, Sha256};

/// Draws by the name of what is drawn for, so that neither order nor number of draws matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeededRng {
    seed: u64,
}

impl SeededRng {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(self, end: u64, labels: &[&str]) -> u64 {
        let drawn = self.number(labels).checked_rem(u128::from(end)).unwrap_or_default();
        u64::try_from(drawn).unwrap_or_default()
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(self, options: &[T], labels: &[&str]) -> Option<T> {
        let index = self.below(u64::try_from(options.len()).unwrap_or_default(), labels);
        options.get(usize::try_from(index).unwrap_or_default()).copied()
    }

    /// A UUID.
    pub(super) fn uuid(self, labels: &[&str]) -> String {
        uuid::Builder::from_random_bytes(self.number(labels).to_be_bytes()).into_uuid().to_string()
    }

    fn number(self, labels: &[&str]) -> u128 {
        let mut hasher = Sha256::new_with_prefix(self.seed.to_be_bytes());
        for label in labels {
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
    fn chance_is_the_same_for_the_same_seed_and_words_only() {
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
