//! Rows of a list that could not be parsed; the other rows count all the same.

use std::collections::BTreeMap;

use inbox_aws::telemetry::metrics;

/// The number of skipped rows of a list, by the field that is missing or ambiguous. The contents of the rows
/// are not kept (P8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkippedRows(BTreeMap<&'static str, u64>);

impl SkippedRows {
    /// The number of skipped rows.
    pub fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    /// The fields, each with its number of rows; `row` stands for a row that is not an object, or has a field
    /// twice.
    pub fn by_field(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(field, rows)| (*field, *rows))
    }

    pub(super) fn add(&mut self, SkipReason(field): SkipReason) {
        *self.0.entry(field).or_default() += 1;
    }

    /// Adds the skipped rows of another page.
    pub(crate) fn extend(&mut self, page: &Self) {
        for (field, rows) in page.by_field() {
            *self.0.entry(field).or_default() += rows;
        }
    }

    /// Counts them in the metric `row_skipped`.
    pub(crate) fn emit_metrics(&self) {
        for (field, rows) in self.by_field() {
            metrics::ROW_SKIPPED.add(field, rows);
        }
    }
}

/// The field because of which a row is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SkipReason(pub(super) &'static str);
