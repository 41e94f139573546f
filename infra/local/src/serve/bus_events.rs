//! Events on the bus: logs each one, and forwards it if `local` was asked to.

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, JoinSet};

use crate::api_destination::{ApiDestination, PublishedEvent};

/// Logs the events, and delivers them to `destination`, until the handle is aborted.
pub(super) fn spawn(
    mut events: UnboundedReceiver<String>,
    destination: Option<ApiDestination>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        // Aborts the deliveries when it is dropped.
        let mut deliveries = JoinSet::new();
        while let Some(json) = events.recv().await {
            let event = describe(json);
            let (detail_type, event_id) = (event.detail_type.as_str(), event.event_id.as_str());
            tracing::info!(target: "bus", outcome = "published", detail_type, event_id);
            if let Some(destination) = destination.clone() {
                deliveries.spawn(async move { destination.deliver(&event).await });
            }
            while deliveries.try_join_next().is_some() {}
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope {
    id: String,
    detail_type: String,
    detail: Value,
}

/// Names an event by what may be logged (P8): other ids in the detail contain those of authorizers.
fn describe(json: String) -> PublishedEvent {
    let Ok(Envelope { id, detail_type, detail }) = serde_json::from_str(&json) else {
        return PublishedEvent { json, detail_type: String::new(), event_id: String::new() };
    };
    // Anybody can put events on the bus, with any detail.
    let event_id = detail.get("event_id").and_then(Value::as_str).map_or(id, str::to_owned);
    PublishedEvent { json, detail_type, event_id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_the_inbox_event_that_it_results_from() {
        let described = |detail: &str| {
            let event = describe(format!(r#"{{"id":"eb-1","detail-type":"T","detail":{detail}}}"#));
            (event.detail_type, event.event_id)
        };
        let named = |id: &str| ("T".to_owned(), id.to_owned());
        assert_eq!(
            described(r#"{"id":"x/authorizer","event_id":"fynapse/event/e-1"}"#),
            named("fynapse/event/e-1")
        );
        assert_eq!(described("{}"), named("eb-1"));
        assert_eq!(described(r#"{"event_id":5}"#), named("eb-1"));
    }
}
