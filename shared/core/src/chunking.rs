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
    // `None` behind an item that is too large: not even an empty one may join it.
    let mut remaining_bytes = None;
    for item in items {
        let size = size_of(&item);
        let after = remaining_bytes.and_then(|bytes: usize| bytes.checked_sub(size));
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < limits.max_entries && after.is_some() => {
                chunk.push(item);
                remaining_bytes = after;
            }
            _ => {
                chunks.push(vec![item]);
                remaining_bytes = limits.max_bytes.checked_sub(size);
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_joins_an_item_that_is_larger_than_the_limit() {
        let limits = ChunkLimits { max_entries: 10, max_bytes: 5 };
        assert_eq!(
            chunk_by_size(vec![6, 0, 5, 0, 1], limits, |size| *size),
            [vec![6], vec![0, 5, 0], vec![1]]
        );
    }

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
