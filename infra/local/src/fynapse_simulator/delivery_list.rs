//! Answers of the list of deliveries, in each shape and style of paging.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::behaviour::{ListPaging, ListShape, SimulatedList};
use super::state::SimulatedDelivery;

/// The address of links. Whoever follows it instead of taking its parameters gets nowhere.
const LINK_BASE: &str = "https://fynapse.invalid/deliveries";

/// The query of a request, by name.
pub(super) type Query = HashMap<String, String>;

/// The answer to a request; an error if a parameter is not accepted.
pub(super) fn answer(
    list: &SimulatedList,
    deliveries: &[SimulatedDelivery],
    query: &Query,
) -> Result<String, &'static str> {
    let mut rows: Vec<_> = deliveries.iter().collect();
    if !list.is_oldest_first {
        rows.reverse();
    }
    let number = |name: &str| query.get(name).map(|value| value.parse::<usize>().map_err(|_| "not a number"));
    let number = |name: &str| number(name).transpose();
    let limit = number("limit")?.unwrap_or(list.page_rows).clamp(1, list.page_rows);
    let page = match list.paging {
        ListPaging::FromZero => number("page")?.unwrap_or(0),
        ListPaging::FromOne => {
            number("page")?.unwrap_or(1).checked_sub(1).ok_or("pages are counted from 1")?
        }
        ListPaging::Cursor => number("cursor")?.unwrap_or(0),
        ListPaging::Link => number("start")?.unwrap_or(0),
        ListPaging::None if query.is_empty() => return Ok(body(list, &rows, Map::new())),
        ListPaging::None => return Err("no parameter is accepted"),
    };
    let pages = rows.len().div_ceil(limit);
    if list.declines_pages_beyond_end && page >= pages {
        return Err("no such page");
    }
    let shown: Vec<_> = rows.iter().copied().skip(page * limit).take(limit).collect();
    Ok(body(list, &shown, page_fields(list, page, pages, rows.len(), limit)))
}

/// The fields beside the list.
fn page_fields(
    list: &SimulatedList,
    page: usize,
    pages: usize,
    total: usize,
    limit: usize,
) -> Map<String, Value> {
    let next = (page + 1 < pages).then_some(page + 1);
    let first = usize::from(list.paging == ListPaging::FromOne);
    let fields = match (list.paging, list.shape) {
        (ListPaging::Cursor, _) => json!({"nextCursor": next.map(|next| next.to_string())}),
        (ListPaging::Link, _) => {
            json!({"links": {"next": next.map(|next| format!("{LINK_BASE}?start={next}"))}})
        }
        (ListPaging::None, _) => json!({}),
        (ListPaging::FromZero | ListPaging::FromOne, ListShape::FrameworkPage) => {
            json!({"number": page + first, "last": next.is_none(), "totalElements": total, "size": limit})
        }
        (ListPaging::FromZero | ListPaging::FromOne, ListShape::Envelope | ListShape::Array) => {
            json!({"page": page + first, "limit": limit, "totalSize": total, "totalPages": pages})
        }
    };
    fields.as_object().cloned().unwrap_or_default()
}

fn body(list: &SimulatedList, rows: &[&SimulatedDelivery], fields: Map<String, Value>) -> String {
    let rows: Vec<_> = rows.iter().map(|row| item(list, row)).collect();
    let rows = rows.join(",");
    let name = match list.shape {
        // Nothing can stand beside an array.
        ListShape::Array => return format!("[{rows}]"),
        ListShape::Envelope => "data",
        ListShape::FrameworkPage => "content",
    };
    let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
    format!("{{\"{name}\":[{rows}]{fields}}}")
}

fn item(list: &SimulatedList, delivery: &SimulatedDelivery) -> String {
    let event_id = list.has_event_ids.then_some(&delivery.event_id);
    let key = list.has_idempotency_keys.then_some(&delivery.idempotency_key);
    let at = list.has_times.then_some(delivery.created_at);
    let created_at = at.map(inbox_core::time::UnixMillis::rfc3339);
    let status = delivery.status.as_str();
    let attempts = json!([{"id": format!("attempt-{}", delivery.id), "status": status, "httpStatus": 200}]);
    // The body as it was sent: no number of it is converted.
    let payload = list.has_payloads.then(|| RawValue::from_string(delivery.body.clone()).ok()).flatten();
    let payload = payload.map_or_else(|| "null".to_owned(), |raw| raw.get().to_owned());
    match list.shape {
        ListShape::Envelope => format!(
            r#"{{"id":"{}","status":"{status}","eventId":{},"idempotencyKey":{},"eventType":"balance.extracted","createdAt":{},"attempts":{attempts},"payload":{payload}}}"#,
            delivery.id,
            json!(event_id),
            json!(key),
            json!(created_at),
        ),
        ListShape::Array => format!(
            r#"{{"id":"{}","status":"{status}","idempotency_key":{},"created_at":{},"event_type":"balance.extracted","event":{{"event_id":{},"body":{payload}}}}}"#,
            delivery.id,
            json!(key),
            json!(at.map(|at| at.secs().0)),
            json!(event_id),
        ),
        ListShape::FrameworkPage => {
            let text = if list.has_payloads { json!(delivery.body) } else { Value::Null };
            json!({
                "deliveryId": delivery.id,
                "status": status,
                "event": {"id": event_id, "eventType": "balance.extracted"},
                "request": {"headers": {"Idempotency-Key": key}, "body": text},
                "createdAt": at.map(|at| at.0),
            })
            .to_string()
        }
    }
}
