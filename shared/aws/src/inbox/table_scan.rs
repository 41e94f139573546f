//! Scans the whole table for the lists of operators, a part at a time.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Inbox;
use crate::AwsError;
use crate::item::{self, Item, string};

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

impl Inbox {
    pub(super) async fn scan<T>(
        &self,
        filter: ScanFilter,
        after: Option<ScanCursor>,
        limit: usize,
        read: impl Fn(&Item) -> Option<T>,
    ) -> Result<ScanPage<T>, AwsError> {
        let mut start = after.map(|cursor| item::key(&cursor.pk, &cursor.sk));
        let mut found = Vec::new();
        for _ in 0..SCAN_PAGES_MAX {
            let scan = self
                .db
                .scan()
                .table_name(&self.table)
                .filter_expression(&filter.expression)
                // DynamoDB rejects empty maps of names or values.
                .set_expression_attribute_names((!filter.names.is_empty()).then(|| filter.names.clone()))
                .set_expression_attribute_values((!filter.values.is_empty()).then(|| filter.values.clone()))
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

/// A filter expression, with its names and values.
pub(super) struct ScanFilter {
    expression: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl ScanFilter {
    pub(super) fn new(expression: &str) -> Self {
        Self { expression: expression.to_owned(), names: HashMap::new(), values: HashMap::new() }
    }

    pub(super) fn and(&mut self, condition: &str, name: &str, value: AttributeValue) {
        self.expression.push_str(&format!(" AND {condition}"));
        self.values.insert(name.to_owned(), value);
    }
}

fn cursor_at(item: &Item) -> Option<ScanCursor> {
    Some(ScanCursor { pk: string(item, "pk")?.to_owned(), sk: string(item, "sk")?.to_owned() })
}
