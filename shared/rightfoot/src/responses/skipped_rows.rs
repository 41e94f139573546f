//! Rows that cannot be read: the others of their list count all the same.

use std::collections::BTreeMap;

use inbox_aws::telemetry::count_with_reason;

/// How many rows of a list were skipped, by the field that is missing or has no one clear meaning. What the rows hold is
/// not kept (P8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkippedRows(BTreeMap<&'static str, u64>);

impl SkippedRows {
    /// How many rows these are.
    pub fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    /// The fields, each with its number of rows; `row` stands for one that is no object, or holds a field twice.
    pub fn by_field(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(field, rows)| (*field, *rows))
    }

    pub(super) fn add(&mut self, SkipReason(field): SkipReason) {
        *self.0.entry(field).or_default() += 1;
    }

    /// Adds those of another page.
    pub(crate) fn extend(&mut self, page: &Self) {
        for (field, rows) in page.by_field() {
            *self.0.entry(field).or_default() += rows;
        }
    }

    /// Counts them in the metric `row_skipped`.
    pub(crate) fn emit_metrics(&self) {
        for (field, rows) in self.by_field() {
            (0..rows).for_each(|_| count_with_reason("row_skipped", None, field));
        }
    }
}

/// The field for which a row cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SkipReason(pub(super) &'static str);
