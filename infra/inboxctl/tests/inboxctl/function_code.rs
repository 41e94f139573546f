//! The check `function code` of `doctor`: deployed code against running code.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use local::stack;
use serde_json::json;

use crate::CliHarness;

const ZIP: &str = "the zip of the stack";
/// SHA-256 of `ZIP`, as Lambda encodes it.
const ITS_SHA256: &str = "XL7yL85lkzh3V5hz83q+AfaTmcKsvY4SgK+J6ewvVRY=";
const ANOTHER_SHA256: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The call that AWS denies.
#[derive(Clone, Copy, PartialEq)]
enum DeniedCall {
    Nothing,
    Template,
    Configuration,
    Object,
}

/// Serves AWS with a stack `ours` of three functions, where `event-worker` runs this code; returns its URL. `left_out` is the parameter
/// of a part that the stack is deployed without.
async fn serve_aws_stub(
    left_out: &'static str,
    worker_runs: &'static str,
    denied_call: DeniedCall,
) -> String {
    let describe = move |body: String| async move {
        let parameter = format!(
            "<member><ParameterKey>{left_out}</ParameterKey><ParameterValue>false</ParameterValue></member>"
        );
        let stack = format!(
            "<StackName>ours</StackName><CreationTime>2026-01-02T03:04:05Z</CreationTime>\
             <StackStatus>CREATE_COMPLETE</StackStatus><Parameters>{parameter}</Parameters>"
        );
        match body {
            body if body.contains("Action=DescribeStacks") => {
                let result = format!("<Stacks><member>{stack}</member></Stacks>");
                let result = format!("<DescribeStacksResult>{result}</DescribeStacksResult>");
                (StatusCode::OK, format!("<DescribeStacksResponse>{result}</DescribeStacksResponse>"))
            }
            _ if denied_call == DeniedCall::Template => {
                let error = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
                (StatusCode::FORBIDDEN, format!("<ErrorResponse>{error}</ErrorResponse>"))
            }
            body => {
                assert!(body.contains("TemplateStage=Processed"), "{body}");
                let body = template().replace('"', "&quot;");
                let result =
                    format!("<GetTemplateResult><TemplateBody>{body}</TemplateBody></GetTemplateResult>");
                (StatusCode::OK, format!("<GetTemplateResponse>{result}</GetTemplateResponse>"))
            }
        }
    };
    let configuration = move |Path(name): Path<String>, headers: HeaderMap| async move {
        assert_is_signed(&headers, "lambda");
        if denied_call == DeniedCall::Configuration {
            return denied([("x-amzn-errortype", "AccessDeniedException:http://internal/")], "{}");
        }
        let sha256 = if name == "ours-event-worker" { worker_runs } else { ITS_SHA256 };
        (StatusCode::OK, json!({"FunctionName": name, "CodeSha256": sha256}).to_string()).into_response()
    };
    let object = move |Path((bucket, key)): Path<(String, String)>, headers: HeaderMap| async move {
        assert_is_signed(&headers, "s3");
        assert_eq!((bucket.as_str(), key.as_str()), ("zips", "ours/0123 4"));
        if denied_call == DeniedCall::Object {
            return denied([("x-amz-request-id", "1")], "<Error><Code>AccessDenied</Code></Error>");
        }
        (StatusCode::OK, ZIP).into_response()
    };
    let routes = Router::new()
        .route("/", post(describe))
        .route("/2015-03-31/functions/{name}/configuration", get(configuration))
        .route("/{bucket}/{*key}", get(object));
    let listener = crate::bind_listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    stack::spawn_server(listener, routes);
    url
}

fn denied(header: [(&'static str, &'static str); 1], body: &'static str) -> Response {
    (StatusCode::FORBIDDEN, header, body).into_response()
}

fn template() -> String {
    let function = |name: &str| {
        json!({
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": {"Fn::Sub": format!("${{AWS::StackName}}-{name}")},
                "Code": {"S3Bucket": "zips", "S3Key": "ours/0123 4"},
            },
        })
    };
    let mut worker = function("event-worker");
    worker["Condition"] = "WithEventWorker".into();
    let mut webhook = function("fynapse-webhook");
    webhook["Condition"] = "WithFynapse".into();
    let table = json!({"Type": "AWS::DynamoDB::Table"});
    let resources = json!({"A": function("event-relay"), "B": worker, "C": webhook, "D": table});
    json!({"Resources": resources}).to_string()
}

fn assert_is_signed(headers: &HeaderMap, service: &str) {
    let authorization = headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=local/"), "{authorization}");
    assert!(authorization.contains(&format!("/us-east-1/{service}/aws4_request, ")), "{authorization}");
    assert!(
        authorization.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date, "),
        "{authorization}"
    );
    let of_no_body = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(headers["x-amz-content-sha256"], of_no_body);
}

/// The line of the check, without its name.
async fn code_check_line(harness: &CliHarness, words: &str, aws: &str) -> String {
    let env = [
        ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
        ("AWS_ENDPOINT_URL_CLOUDFORMATION", aws),
        ("AWS_ENDPOINT_URL_LAMBDA", aws),
        ("AWS_ENDPOINT_URL_S3", aws),
    ];
    let output = harness.run_with_env(words, &env).await;
    let line = output.stdout.lines().find(|line| line.contains("function code")).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{}", output.transcript())).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_the_stack_did_not_deploy_is_named() {
    let harness = CliHarness::new().await;
    for (left_out, worker_runs, expected) in [
        ("RightfootEnabled", ITS_SHA256, "ok function code 3 of 3 run what the stack has deployed"),
        (
            "RightfootEnabled",
            ANOTHER_SHA256,
            "warn function code ours-event-worker: not the code that the stack has deployed",
        ),
        ("EventWorkerEnabled", ANOTHER_SHA256, "ok function code 2 of 2 run what the stack has deployed"),
        ("FynapseEnabled", ITS_SHA256, "ok function code 2 of 2 run what the stack has deployed"),
    ] {
        let aws = serve_aws_stub(left_out, worker_runs, DeniedCall::Nothing).await;
        assert_eq!(code_check_line(&harness, "--stack ours --table inbox doctor", &aws).await, expected);
    }
}

/// Without the permission, the check names it and `doctor` does not fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_may_not_be_compared_is_said_with_the_permission() {
    let harness = CliHarness::new().await;
    for (denied_call, why) in [
        (
            DeniedCall::Template,
            "cloudformation:GetTemplate on stack ours: AccessDenied — your role needs cloudformation:GetTemplate",
        ),
        (
            DeniedCall::Configuration,
            "lambda:GetFunctionConfiguration on function ours-event-relay: AccessDeniedException — your role needs lambda:GetFunctionConfiguration",
        ),
        (DeniedCall::Object, "s3:GetObject on object 0123 4: AccessDenied — your role needs s3:GetObject"),
    ] {
        let aws = serve_aws_stub("RightfootEnabled", ITS_SHA256, denied_call).await;
        let line = code_check_line(&harness, "--stack ours --table inbox doctor", &aws).await;
        assert!(
            line.starts_with("- function code ") && line.ends_with(&format!("not compared: {why}")),
            "{line}"
        );
    }
}
