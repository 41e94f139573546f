//! One page of the list of deliveries.

use serde_json::value::RawValue;

use super::json_tree::{DEPTH_MAX, Fields, Node, text};
use super::listed_delivery::{ListedDelivery, own_id};
use super::page_hints::PageHints;
use crate::id::Id;
use crate::json::strip_bom;

/// The fields that are searched, for the message about an answer without them.
pub const SEARCHED_FIELDS: &str = "status (PENDING, DELIVERED, DEAD_LETTER or CANCELLED), id, eventId or event_id, idempotencyKey, createdAt";

/// The most names in a shape.
const SHAPE_NAMES_MAX: usize = 60;
/// The longest name in a shape.
const SHAPE_NAME_MAX_BYTES: usize = 40;

/// A page of deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The deliveries, in the order of the answer.
    pub deliveries: Vec<ListedDelivery>,
    /// The ids of the objects with a `status` that is not documented.
    pub unknown_statuses: Vec<Id>,
    /// What the answer says about other pages.
    pub hints: PageHints,
}

/// An answer that is no page of deliveries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAnswer {
    /// Not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// JSON without a delivery, and not an empty list.
    #[error(
        "the answer has no delivery that can be read; searched for {SEARCHED_FIELDS}; the answer is {shape}"
    )]
    NoDeliveries {
        /// The names and types of the answer, without its values.
        shape: String,
    },
}

/// Reads a page. An empty list is a page without deliveries.
pub fn parse_page(body: &[u8]) -> Result<DeliveryPage, UnusableAnswer> {
    let json = std::str::from_utf8(strip_bom(body)).map_err(|_| UnusableAnswer::NotJson)?;
    let raw: &RawValue = serde_json::from_str(json).map_err(|_| UnusableAnswer::NotJson)?;
    let mut found = Found::default();
    found.search(raw, 0);
    let hints = match Node::of(raw) {
        Node::Object(fields) => PageHints::from_fields(&fields),
        Node::Array(_) | Node::Scalar => PageHints::default(),
    };
    let is_empty = found.deliveries.is_empty() && found.unknown_statuses.is_empty();
    let hints = if is_empty { hints } else { hints.without_zero_totals() };
    if is_empty && !is_empty_list(raw) && !hints.give_no_delivery() {
        return Err(UnusableAnswer::NoDeliveries { shape: shape(raw) });
    }
    Ok(DeliveryPage { deliveries: found.deliveries, unknown_statuses: found.unknown_statuses, hints })
}

#[derive(Default)]
struct Found {
    deliveries: Vec<ListedDelivery>,
    unknown_statuses: Vec<Id>,
}

impl Found {
    /// Collects the deliveries in a value. What is below a delivery, such as its attempts, is not another one.
    fn search(&mut self, raw: &RawValue, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        match Node::of(raw) {
            Node::Object(fields) => match (ListedDelivery::from_fields(&fields), id_with_status(&fields)) {
                (Some(delivery), _) => self.deliveries.push(delivery),
                // The whole answer may be an object with an id and a state, which holds the list.
                (None, Some(id)) if depth > 0 => self.unknown_statuses.push(id),
                (None, _) => fields.values().for_each(|value| self.search(value, depth + 1)),
            },
            Node::Array(elements) => elements.iter().for_each(|value| self.search(value, depth + 1)),
            Node::Scalar => {}
        }
    }
}

/// The id of an object that has a `status`.
fn id_with_status(fields: &Fields<'_>) -> Option<Id> {
    text(fields.get("status")?)?;
    own_id(fields)
}

/// Returns `true` if there are arrays in a value or in the objects of it, and all of them are empty.
fn is_empty_list(raw: &RawValue) -> bool {
    let mut arrays = Vec::new();
    collect_arrays(raw, 0, &mut arrays);
    !arrays.is_empty() && arrays.iter().all(|length| *length == 0)
}

/// Collects the lengths of the arrays in a value and in the objects of it.
fn collect_arrays(raw: &RawValue, depth: usize, lengths: &mut Vec<usize>) {
    match Node::of(raw) {
        Node::Object(_) if depth > DEPTH_MAX => {}
        Node::Object(fields) => fields.values().for_each(|value| collect_arrays(value, depth + 1, lengths)),
        Node::Array(elements) => lengths.push(elements.len()),
        Node::Scalar => {}
    }
}

/// The names and types of a JSON value, such as `{data:[{id:text}],page:number}`. It has no values (P8).
fn shape(raw: &RawValue) -> String {
    let (mut written, mut names_left) = (String::new(), SHAPE_NAMES_MAX);
    write_shape(raw, 0, &mut names_left, &mut written);
    written
}

fn write_shape(raw: &RawValue, depth: usize, names_left: &mut usize, written: &mut String) {
    match Node::of(raw) {
        Node::Object(_) | Node::Array(_) if depth > DEPTH_MAX => written.push('…'),
        Node::Object(fields) => {
            written.push('{');
            for (at, (name, value)) in fields.iter().enumerate() {
                if *names_left == 0 {
                    written.push('…');
                    break;
                }
                *names_left -= 1;
                if at > 0 {
                    written.push(',');
                }
                written.push_str(shown_name(name));
                written.push(':');
                write_shape(value, depth + 1, names_left, written);
            }
            written.push('}');
        }
        Node::Array(elements) => {
            written.push('[');
            // The elements of a list are alike.
            if let Some(first) = elements.first() {
                write_shape(first, depth + 1, names_left, written);
            }
            written.push(']');
        }
        Node::Scalar => written.push_str(scalar_type(raw)),
    }
}

/// A field's name. One with a digit or a blank may be an id or a person's name, and is not shown.
fn shown_name(name: &str) -> &str {
    let is_word = |letter: char| letter.is_ascii_alphabetic() || ['_', '-'].contains(&letter);
    if !name.is_empty() && name.len() <= SHAPE_NAME_MAX_BYTES && name.chars().all(is_word) {
        name
    } else {
        "?"
    }
}

fn scalar_type(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "text",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

#[cfg(test)]
mod tests;
