//! Request bodies as the providers document them, and invalid ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::OutgoingDelivery;

/// A Fynapse event with `data`, a JSON text, as its business payload.
pub fn fynapse_event(event_id: &str, event_type: &str, data: &str) -> OutgoingDelivery {
    let body = format!(
        r#"{{"event_id":"{event_id}","event_type":"{event_type}","metadata":{{}},"event_timestamp":"2026-11-22T14:00:00Z","data":{data}}}"#
    );
    OutgoingDelivery::new(format!("fynapse/event/{event_id}"), body)
}

/// A `balance.extracted` event. Its numbers have digits that a conversion to floats would lose.
pub fn balance_extracted(event_id: &str) -> OutgoingDelivery {
    let data = r#"{ "account": "40-118", "currency": "EUR", "amount": 150.00, "rate": 1.10E+0 }"#;
    fynapse_event(event_id, "balance.extracted", data)
}

/// Rightfoot's webhook for a complete batch.
pub fn batch_completed(batch_id: &str, event_uuid: &str) -> OutgoingDelivery {
    let body = format!(
        r#"{{"event_uuid":"{event_uuid}","type":"BALANCE_BATCH_COMPLETED","batch_id":"{batch_id}"}}"#
    );
    OutgoingDelivery::new(format!("rightfoot/batch/{batch_id}/completed"), body)
}

/// The balance of `user-<n>` in a [`threshold_alert`].
pub fn balance_in_alert(n: usize) -> String {
    format!("{}.50", 150 + n)
}

/// Rightfoot's alert webhook for a run of which this many authorizers met their threshold of 100.00.
pub fn threshold_alert(batch_id: &str, event_uuid: &str, authorizers: usize) -> OutgoingDelivery {
    // Written as text, so that amounts keep their two decimals.
    let alerts: Vec<_> = (0..authorizers)
        .map(|n| {
            format!(
                r#"{{"authorizer_unique_id":"user-{n}","institution_name":"First National Bank","balance":{},"threshold_amount":100.00}}"#,
                balance_in_alert(n)
            )
        })
        .collect();
    let body = format!(
        r#"{{"event_uuid":"{event_uuid}","type":"BALANCE_THRESHOLD_ALERT","schedule_id":"6ddd3761","batch_id":"{batch_id}","alerts":[{}],"timestamp":"2026-11-22T14:00:00Z"}}"#,
        alerts.join(",")
    );
    OutgoingDelivery::new(format!("rightfoot/batch/{batch_id}/alert/{event_uuid}"), body)
}

/// A Rightfoot webhook of an undocumented type, filled up to about `bytes`.
pub fn unknown_type(batch_id: &str, bytes: usize) -> OutgoingDelivery {
    let body = format!(
        r#"{{"event_uuid":"u","type":"BALANCE_CARD_UPDATED","batch_id":"{batch_id}","filler":"{}"}}"#,
        "abcdefgh".repeat(bytes / 8)
    );
    OutgoingDelivery::new(format!("rightfoot/unknown-type/{batch_id}"), body)
}

/// The first half of a body: malformed JSON.
pub fn truncated(original: &OutgoingDelivery) -> OutgoingDelivery {
    let body = original.body.slice(..original.body.len() / 2);
    OutgoingDelivery::new(format!("broken/{}", original.id), body)
}

/// The same JSON without the field `name`.
pub fn without_field(original: &OutgoingDelivery, name: &str) -> OutgoingDelivery {
    // Renamed instead of removed, so that all other bytes stay as they are.
    let body = String::from_utf8_lossy(&original.body).replacen(&format!("\"{name}\":"), "\"x\":", 1);
    OutgoingDelivery::new(format!("without-{name}/{}", original.id), body)
}

/// A random JSON string of about `bytes`, in base64, so that compression saves at most a quarter.
pub fn incompressible_json(seed: u64, bytes: usize) -> String {
    // Base64 makes four characters of three bytes.
    let mut raw = vec![0; bytes / 4 * 3];
    StdRng::seed_from_u64(seed).fill_bytes(&mut raw);
    format!("\"{}\"", STANDARD.encode(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn json(outgoing: &OutgoingDelivery) -> Value {
        serde_json::from_slice(&outgoing.body).unwrap()
    }

    #[test]
    fn bodies_are_those_of_the_documents() {
        let extract = json(&balance_extracted("a3ef"));
        let keys: Vec<_> = extract.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["data", "event_id", "event_timestamp", "event_type", "metadata"]);
        assert_eq!(
            json(&batch_completed("5d3c", "f47a")),
            serde_json::json!({"event_uuid": "f47a", "type": "BALANCE_BATCH_COMPLETED", "batch_id": "5d3c"})
        );
        let alert = json(&threshold_alert("d0b1", "7b6f", 2));
        assert_eq!(alert["alerts"].as_array().unwrap().len(), 2);
        assert_eq!(alert["type"], "BALANCE_THRESHOLD_ALERT");
    }

    #[test]
    fn invalid_bodies_differ_in_one_way() {
        let original = balance_extracted("a3ef");
        assert!(serde_json::from_slice::<Value>(&truncated(&original).body).is_err());
        let less = json(&without_field(&original, "event_type"));
        assert!(less.get("event_type").is_none());
        assert_eq!(less["event_id"], "a3ef");
    }

    #[test]
    fn incompressible_json_is_json_and_the_same_for_the_same_seed() {
        let text = incompressible_json(7, 4_000);
        assert_eq!(text.len(), 4_002);
        assert!(serde_json::from_str::<String>(&text).is_ok());
        assert_eq!(text, incompressible_json(7, 4_000));
        assert_ne!(text, incompressible_json(8, 4_000));
    }
}
