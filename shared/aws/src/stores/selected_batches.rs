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
        let ids = self.ids.into_iter().filter(|id| other.ids.contains(id)).collect();
        Self { ids, is_truncated: self.is_truncated || other.is_truncated }
    }
}
