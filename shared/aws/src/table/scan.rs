//! Scans of the whole table, for the lists of operators: a part at a time.

use super::Table;
use super::expression::{Condition, Placeholders};
use super::key::Key;
use super::value::Item;
use crate::AwsError;

/// Most pages of the table that one call reads: about 1 MB each.
const SCAN_PAGES_MAX: usize = 32;

/// The place in the table after which a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanCursor {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

/// One part of a list.
#[derive(Clone, Debug)]
pub struct ScanPage<T> {
    /// The items that matched.
    pub items: Vec<T>,
    /// Cursor of the next part; `None` at the end of the table.
    pub next: Option<ScanCursor>,
}

impl Table {
    /// Reads items that match `filter` and that `read` accepts: at most `limit`, after `after`.
    pub(crate) async fn scan<T>(
        &self,
        filter: &Condition,
        after: Option<ScanCursor>,
        limit: usize,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Result<ScanPage<T>, AwsError> {
        let mut placeholders = Placeholders::default();
        let expression = placeholders.condition(filter);
        let (names, values) = (placeholders.take_names(), placeholders.take_values());
        let mut start = after.map(|cursor| Key::new(cursor.pk, cursor.sk).to_item());
        let mut found = Vec::new();
        for _ in 0..SCAN_PAGES_MAX {
            let scan = self
                .db
                .scan()
                .table_name(&self.name)
                .filter_expression(&expression)
                .set_expression_attribute_names(names.clone())
                .set_expression_attribute_values(values.clone())
                .set_exclusive_start_key(start);
            let page =
                scan.send().await.map_err(|error| AwsError::from_sdk_error("dynamodb:Scan", &error))?;
            for item in page.items() {
                found.extend(read(item));
                // The next part begins after this item, not after the page, so that none is left out.
                if found.len() >= limit {
                    return Ok(ScanPage { items: found, next: cursor_at(item) });
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(ScanPage { items: found, next: start.as_ref().and_then(cursor_at) })
    }
}

fn cursor_at(item: &Item) -> Option<ScanCursor> {
    let Key { pk, sk } = Key::of_item(item)?;
    Some(ScanCursor { pk, sk })
}
