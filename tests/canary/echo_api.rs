//! A stand-in for Rightfoot's API that quotes all that it received wherever a response has room for text.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use local::stack;
use serde_json::{Value, json};
use tests::bind_listener;
use tokio::task::JoinHandle;

/// The API. Its answer to a POST depends on the first authorizer's id, up to the first dash.
#[derive(Clone, Default)]
pub(crate) struct EchoApi(Arc<Mutex<EchoState>>);

#[derive(Default)]
struct EchoState {
    posted_bodies: Vec<String>,
    get_count: usize,
}

impl EchoApi {
    /// Serves the API; returns its URL and its task.
    pub(crate) async fn serve(&self) -> (String, JoinHandle<()>) {
        let (listener, url) = bind_listener().await;
        (url, stack::spawn_server(listener, Router::new().fallback(answer).with_state(self.clone())))
    }

    /// Bodies of all POSTs.
    pub(crate) fn posted_bodies(&self) -> Vec<String> {
        self.0.lock().unwrap().posted_bodies.clone()
    }
}

async fn answer(
    State(api): State<EchoApi>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = api.0.lock().unwrap();
    if method == Method::POST {
        let body = String::from_utf8(body.to_vec()).unwrap();
        // As at Rightfoot, the same bytes give the same batch.
        let number =
            state.posted_bodies.iter().position(|one| *one == body).unwrap_or(state.posted_bodies.len());
        state.posted_bodies.push(body.clone());
        return answer_post(number, &body, &headers);
    }
    state.get_count += 1;
    let quoted = state.posted_bodies.concat();
    answer_get(&uri, state.get_count, &quoted, state.posted_bodies.last())
}

fn answer_post(number: usize, body: &str, headers: &HeaderMap) -> Response {
    let request: Value = serde_json::from_str(body).unwrap();
    let rows = request["authorizers"].as_array().unwrap();
    let first = rows[0]["authorizer_unique_id"].as_str().unwrap();
    let key = headers[header::AUTHORIZATION].to_str().unwrap();
    let quote = |status: StatusCode| {
        let error =
            json!({"message": format!("{key} {body}"), "details": {"failed_authorizers": failed_rows(rows)}});
        (status, json!({"error": error}).to_string()).into_response()
    };
    match first.split('-').next().unwrap() {
        "refuse" => quote(StatusCode::BAD_REQUEST),
        "denied" => quote(StatusCode::UNAUTHORIZED),
        "taken" => quote(StatusCode::CONFLICT),
        "trouble" => quote(StatusCode::BAD_GATEWAY),
        "garbage" => (StatusCode::CREATED, format!("{key} {body}")).into_response(),
        mode => {
            let mut made = json!({
                "batch_id": format!("batch-{number}"),
                "schedule_id": format!("schedule-{number}"),
                "submitted_at": "2026-01-02T03:04:05Z",
                "message": body,
            });
            if mode == "partly" {
                let url = &request["webhook_url"];
                made["failed_authorizers"] = failed_rows(&rows[1..]);
                made["warnings"] =
                    json!([format!("{url} cannot be reached"), body, rows[0], rows[0].to_string()]);
            }
            (StatusCode::CREATED, made.to_string()).into_response()
        }
    }
}

/// Failed rows that quote their authorizer's data; and rows that cannot be assigned to an authorizer.
fn failed_rows(rows: &[Value]) -> Value {
    let mut refused: Vec<_> = rows
        .iter()
        .zip(1..)
        .map(|(row, number)| {
            let (name, ssn) = (row["first_name"].as_str().unwrap(), row["ssn"].as_str().unwrap());
            json!({
                "authorizer_unique_id": row["authorizer_unique_id"],
                "error": format!("{ssn} is not {name}'s: {row}"),
                "account_type": format!("of {}", row["account_number"]),
                "row_number": number,
            })
        })
        .collect();
    if let Some(row) = rows.first() {
        refused.push(json!({"error": row.to_string(), "account_type": row}));
        refused.push(json!({"authorizer_unique_id": row["ssn"], "error": ""}));
        refused.push(json!({"authorizer_unique_id": row["first_name"], "error": row["ssn"]}));
        refused.push(json!(format!("{} {}", row["first_name"], row["debit_card_number"])));
        refused.push(row.clone());
    }
    refused.into()
}

/// Answers a GET: every other time with an error status or an invalid body.
fn answer_get(uri: &Uri, nth: usize, quoted: &str, last_body: Option<&String>) -> Response {
    let status = [200, 500, 200, 403, 200, 429, 200, 404, 200, 418][nth % 10];
    let status = StatusCode::from_u16(status).unwrap();
    if status != StatusCode::OK {
        return (status, quoted.to_owned()).into_response();
    }
    if nth % 8 == 2 {
        return (status, format!("<html>{quoted}")).into_response();
    }
    let rows: Value = last_body.map(|body| serde_json::from_str(body).unwrap()).unwrap_or_default();
    let rows = rows["authorizers"].as_array().cloned().unwrap_or_default();
    let answer = if uri.path().contains("/schedules/") {
        json!({
            "name": quoted,
            "last_run_at": "2026-01-02T03:05:00Z",
            "next_run_at": null,
            "total_authorizers": rows.len(),
        })
    } else if uri.path().contains("/history") {
        let entry = json!({"run_at": "2026-01-02T03:05:00Z", "batch_id": "run-1", "error_message": quoted});
        json!({"history": [entry], "has_more": false})
    } else {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|mut row| {
                row["balance"] = 150.into();
                row["balance_status_code"] = 0.into();
                row
            })
            .collect();
        json!({"balances": rows, "has_more": false, "message": quoted})
    };
    (status, answer.to_string()).into_response()
}
