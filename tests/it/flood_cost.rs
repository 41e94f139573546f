//! What a flood of forgeries costs: infra/OPERATIONS.md counts the bytes that the deployed binaries log for one, at the template's
//! limits.

use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;
use local::stack::{FYNAPSE_SECRET, RIGHTFOOT_URL_KEY_SECRET};
use serde_json::{Value, json};
use tests::lambda_process::{AwsEndpoint, RuntimeResult};
use tests::{World, completion_body, gateway_event};

use crate::log_lines::{GENUINE, access_line, event_uuid, usual_lines};
use crate::tidy::{read_file, template};

/// Bytes of a gigabyte in AWS's price lists.
const GIB: f64 = 1_073_741_824.0;
/// Dollars per gigabyte of logs.
const LOGS_PRICE: f64 = 0.50;

/// A forgery that is as expensive as any: only its MAC is wrong.
fn forgery(provider: Provider) -> Value {
    match provider {
        Provider::Fynapse => GENUINE.signed_with("another").invocation(),
        Provider::Rightfoot => {
            let token = format!("nightly.{}", "A".repeat(43));
            let path = format!("/webhooks/rightfoot/{token}");
            let headers = json!({"content-type": "application/json"});
            let body = completion_body(&event_uuid(1), &event_uuid(2));
            let mut invocation = gateway_event(&path, headers, body.as_bytes(), Some(&token));
            invocation["requestContext"]["requestId"] = crate::log_lines::REQUEST_ID.into();
            invocation
        }
    }
}

/// The line that the function writes for a forgery.
async fn forged_line(provider: Provider) -> String {
    let world = World::new().await;
    let aws = AwsEndpoint::serve(&world).await;
    let secret = match provider {
        Provider::Fynapse => ("FYNAPSE_SIGNING_SECRET_ID", FYNAPSE_SECRET),
        Provider::Rightfoot => ("RIGHTFOOT_URL_KEY_SECRET_ID", RIGHTFOOT_URL_KEY_SECRET),
    };
    let env = [secret, ("METRICS_NAMESPACE", "BalanceInbox/balance-inbox")];
    let mut function = aws.start(&format!("{}-webhook", provider.as_str()), &env).await;
    let RuntimeResult::Response(response) = function.invoke(forgery(provider)).await else {
        panic!("no response")
    };
    assert_eq!(response["statusCode"], 403);
    let lines = usual_lines(&function.stop().await);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains(r#""outcome":"rejected","status":403,"reason":"mismatch""#), "{line}");
    line.clone()
}

/// Bytes that a forgery logs, the access log's among them.
async fn forged_bytes(provider: Provider) -> usize {
    let route = match provider {
        Provider::Fynapse => "POST /webhooks/fynapse",
        Provider::Rightfoot => "POST /webhooks/rightfoot/{token}",
    };
    access_line(route, "403").len() + forged_line(provider).await.len()
}

/// Most deliveries that the gateway lets through in a day, in millions.
fn millions_a_day(provider: Provider) -> f64 {
    let parameter = format!("{}RateLimit", ProviderSpec::of(provider).title);
    template()["Parameters"][parameter]["Default"].as_f64().unwrap() * 86_400.0 / 1e6
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_say_what_a_forgery_logs_and_what_a_flood_of_them_costs() {
    let dollars =
        |bytes: usize, millions: f64| format!("{:.2}", bytes as f64 * millions * 1e6 / GIB * LOGS_PRICE);
    let (fynapse, rightfoot) =
        (forged_bytes(Provider::Fynapse).await, forged_bytes(Provider::Rightfoot).await);
    let (of_fynapse, of_rightfoot) = (millions_a_day(Provider::Fynapse), millions_a_day(Provider::Rightfoot));
    let text = read_file("infra/OPERATIONS.md").replace('\n', " ");
    for expected in [
        format!(
            "| logs | {of_fynapse} M × {fynapse} B ({of_rightfoot} M × {rightfoot} B), × 0.50 per GB | {} | {} |",
            dollars(fynapse, of_fynapse),
            dollars(rightfoot, of_rightfoot),
        ),
        format!(
            "| HTTP API | {of_fynapse} M ({of_rightfoot} M) requests × 1.00 | {of_fynapse:.2} | {of_rightfoot:.2} |"
        ),
        format!("{} a million", dollars(access_line("POST /webhooks/fynapse", "429").len(), 1.0)),
    ] {
        assert!(text.contains(&expected), "infra/OPERATIONS.md does not say: {expected}");
    }
}
