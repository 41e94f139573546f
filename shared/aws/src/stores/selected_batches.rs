//! The batches that a list of events is restricted to.

use inbox_core::id::Id;

/// Batches to which a list of events is restricted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectedBatches {
    /// Their ids, each once, the newest first.
    pub ids: Vec<Id>,
    /// True if a limit was met before all of them were found.
    pub is_truncated: bool,
}

impl SelectedBatches {
    /// The batches that are in both.
    pub(crate) fn and(self, other: &Self) -> Self {
        let sizes = [(self.is_truncated, self.ids.len()), (other.is_truncated, other.ids.len())];
        let ids: Vec<_> = self.ids.into_iter().filter(|id| other.ids.contains(id)).collect();
        // Whatever the other one lacks: nothing is missing if all of a complete selection are in both.
        let has_all = sizes.iter().any(|(is_truncated, count)| !is_truncated && ids.len() == *count);
        let is_complete = has_all || sizes.iter().all(|(is_truncated, _)| !is_truncated);
        Self { ids, is_truncated: !is_complete }
    }
}
