//! Scans of the table, for searches that no index serves: of the first part of the table, or page by page.

use super::Table;
use super::expression::{Condition, Placeholders};
use super::value::Item;
use crate::AwsError;

const SCAN: &str = "dynamodb:Scan";

/// Most pages of the table that one call reads: about 1 MB each.
const SCAN_PAGES_MAX: usize = 32;

impl Table {
    /// Reads a page of the whole table, about 1 MB, and returns where the next one begins. Strongly consistent.
    pub(crate) async fn scan_page(&self, start: Option<Item>) -> Result<(Vec<Item>, Option<Item>), AwsError> {
        let scan = self.db.scan().table_name(&self.name).consistent_read(true).set_exclusive_start_key(start);
        let page = scan.send().await.map_err(|error| AwsError::from_sdk_error(SCAN, &error))?;
        Ok((page.items.unwrap_or_default(), page.last_evaluated_key))
    }

    /// Reads items that match `filter` and that `read` accepts, in no order: at most `limit`. The boolean is `true` if the table has
    /// a part that was not read.
    pub(crate) async fn scan<T>(
        &self,
        filter: &Condition,
        limit: usize,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Result<(Vec<T>, bool), AwsError> {
        let mut placeholders = Placeholders::default();
        let expression = placeholders.condition(filter);
        let (names, values) = (placeholders.take_names(), placeholders.take_values());
        let (mut found, mut start) = (Vec::new(), None);
        for _ in 0..SCAN_PAGES_MAX {
            let scan = self
                .db
                .scan()
                .table_name(&self.name)
                .filter_expression(&expression)
                .set_expression_attribute_names(names.clone())
                .set_expression_attribute_values(values.clone())
                .set_exclusive_start_key(start);
            let page = scan.send().await.map_err(|error| AwsError::from_sdk_error(SCAN, &error))?;
            let mut matching = page.items().iter().filter_map(&read);
            found.extend(matching.by_ref().take(limit - found.len()));
            start = page.last_evaluated_key.clone();
            if found.len() == limit || start.is_none() {
                return Ok((found, start.is_some() || matching.next().is_some()));
            }
        }
        Ok((found, true))
    }
}
