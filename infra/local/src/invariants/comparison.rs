//! Comparison of the items that must exist with those that do.

use std::collections::BTreeMap;

/// Expected and actual items, by name.
pub(super) struct Comparison<E, A>(BTreeMap<String, (Option<E>, Vec<A>)>);

impl<E, A> Comparison<E, A> {
    pub(super) fn of(
        expected: impl IntoIterator<Item = (String, E)>,
        actual: impl IntoIterator<Item = (String, A)>,
    ) -> Self {
        let expected = expected.into_iter().map(|(name, item)| (name, (Some(item), Vec::new())));
        let mut items: BTreeMap<String, (Option<E>, Vec<A>)> = expected.collect();
        for (name, item) in actual {
            items.entry(name).or_insert_with(|| (None, Vec::new())).1.push(item);
        }
        Self(items)
    }

    /// Names of the items for which the condition holds.
    pub(super) fn names_where(&self, is_wrong: impl Fn(Option<&E>, &[A]) -> bool) -> Vec<String> {
        let wrong = self.0.iter().filter(|(_, (expected, actual))| is_wrong(expected.as_ref(), actual));
        wrong.map(|(name, _)| name.clone()).collect()
    }

    /// Number of all actual items.
    pub(super) fn copies(&self) -> usize {
        self.0.values().map(|(_, actual)| actual.len()).sum()
    }

    pub(super) fn missing(&self) -> Vec<String> {
        self.names_where(|_, actual| actual.is_empty())
    }

    pub(super) fn unexpected(&self) -> Vec<String> {
        self.names_where(|expected, _| expected.is_none())
    }

    pub(super) fn repeated(&self) -> Vec<String> {
        self.names_where(|_, actual| actual.len() > 1)
    }

    /// Expected items of which at least one copy is not as expected.
    pub(super) fn altered(&self, is_same: impl Fn(&E, &A) -> bool) -> Vec<String> {
        self.names_where(|expected, actual| {
            expected.is_some_and(|expected| !actual.iter().all(|it| is_same(expected, it)))
        })
    }
}
