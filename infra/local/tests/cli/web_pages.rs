//! Web pages in a browser on the same machine: they can send requests to any of its ports.

use std::collections::BTreeSet;
use std::fs;

use reqwest::Client;
use serde_json::Value;

use crate::local_process::LocalProcess;

/// URLs without path that `local` has announced, by 127.0.0.1: the console's has a name of its own.
fn announced_urls(local: &LocalProcess) -> BTreeSet<String> {
    let words = local.announced.iter().flat_map(|line| line.split_whitespace());
    let urls = words.filter_map(|word| word.strip_prefix("http://")?.split_once(':'));
    let own = urls.filter(|(name, _)| *name == "127.0.0.1" || name.ends_with(".localhost"));
    own.map(|(_, rest)| format!("http://127.0.0.1:{}", rest.split(['/', '?']).next().unwrap())).collect()
}

/// Addresses on which a process listens.
fn listening_urls(process: u32) -> BTreeSet<String> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    let sockets: BTreeSet<_> = targets.map(|target| target.to_string_lossy().into_owned()).collect();
    let table = |name| fs::read_to_string(format!("/proc/{process}/net/{name}")).unwrap_or_default();
    let (v4, v6) = (table("tcp"), table("tcp6"));
    let lines = v4.lines().chain(v6.lines()).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The state 0A is TCP_LISTEN.
    let own = lines.filter(|line| line[3] == "0A" && sockets.contains(&format!("socket:[{}]", line[9])));
    own.map(|line| {
        let (address, port) = line[1].split_once(':').unwrap();
        assert_eq!(address, "0100007F", "not 127.0.0.1");
        format!("http://127.0.0.1:{}", u16::from_str_radix(port, 16).unwrap())
    })
    .collect()
}

async fn call_dynamodb(client: &Client, aws_url: &str, operation: &str, body: &str) -> (u16, Value) {
    let signature = "AWS4-HMAC-SHA256 Credential=k/20260102/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=s";
    let request = client
        .post(aws_url)
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20260102T030405Z")
        .header("authorization", signature);
    let response = request.body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

/// A page finds any port by trying them all.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_port_is_open_but_those_announced() {
    let local = LocalProcess::start(&[]);
    let announced = announced_urls(&local);
    assert_eq!(
        announced.len(),
        5,
        "webhook routes, AWS endpoint, Fynapse, Rightfoot, console: {announced:?}"
    );
    assert_eq!(listening_urls(local.process.id()), announced);
    let client = Client::builder().no_proxy().build().unwrap();
    let aws = local.announced.iter().find_map(|line| line.strip_prefix("AWS endpoint ")).unwrap().trim();
    let (status, tables) = call_dynamodb(&client, aws, "ListTables", "{}").await;
    assert_eq!((status, &tables["TableNames"]), (200, &serde_json::json!(["balances", "inbox"])));
    let (status, error) = call_dynamodb(&client, aws, "DescribeTable", r#"{"TableName":"none"}"#).await;
    let error_type = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
    assert_eq!((status, &error["__type"]), (400, &error_type.into()), "{error}");
    assert_eq!(listening_urls(local.process.id()), announced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_is_refused_on_every_port() {
    let local = LocalProcess::start(&[]);
    let client = Client::builder().no_proxy().build().unwrap();
    let mut urls = announced_urls(&local);
    // What a page can send without asking first, to the path that the default key makes known.
    let rightfoot =
        local.announced.iter().find_map(|line| line.strip_prefix("Rightfoot's webhook_url ")).unwrap();
    urls.insert(rightfoot.trim().to_owned());
    let event = r#"{"event_uuid":"f47ac10b-58cc-4372-a567-0e02b2c3d479","type":"BALANCE_BATCH_COMPLETED","batch_id":"b-1"}"#;
    for url in urls {
        for origin in ["https://evil.test", "null"] {
            let request = client.post(&url).header("origin", origin).header("content-type", "text/plain");
            let response = request.body(event).send().await.unwrap();
            assert_eq!(response.status(), 403, "{origin} {url}");
            assert!(!response.headers().contains_key("access-control-allow-origin"), "{origin} {url}");
        }
    }
    let tunnelled = client.post(rightfoot.trim()).header("host", "inbox.tunnel.test").body(event);
    assert_eq!(tunnelled.send().await.unwrap().status(), 200, "a provider sends no Origin");
}
