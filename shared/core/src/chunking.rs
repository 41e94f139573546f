//! Chunks of entries for a call that sends several at once.

/// The limits of one batched call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// The maximum number of entries.
    pub max_entries: usize,
    /// The maximum size of all entries together, in bytes.
    pub max_bytes: usize,
}

/// Splits items, in order, into chunks within the limits. An item that is larger than the limit gets a chunk
/// of its own.
pub fn chunk_by_size<T>(items: Vec<T>, limits: ChunkLimits, size_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    let mut remaining_bytes = 0;
    for item in items {
        let size = size_of(&item);
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < limits.max_entries && size <= remaining_bytes => chunk.push(item),
            _ => {
                chunks.push(vec![item]);
                remaining_bytes = limits.max_bytes;
            }
        }
        remaining_bytes = remaining_bytes.saturating_sub(size);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_keep_order_and_both_limits(sizes in proptest::collection::vec(0usize..1_100_000, 0..60)) {
            let limits = ChunkLimits { max_entries: 10, max_bytes: 900 * 1024 };
            let cut = chunk_by_size(sizes.clone(), limits, |size| *size);
            prop_assert_eq!(cut.concat(), sizes);
            for batch in &cut {
                prop_assert!((1..=10).contains(&batch.len()));
                prop_assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= 900 * 1024);
            }
        }
    }
}
