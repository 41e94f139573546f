//! Check that each function runs the code that its stack has deployed.
//!
//! CloudFormation compares templates, not functions: code that was uploaded another way keeps running after a deployment of the
//! version that the stack already has.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudformation::types::TemplateStage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::check_result::CheckResult;
use crate::aws_error::{ResourceRef, WithResource, explain};
use crate::sigv4_client::{AwsService, SigV4Client};
use crate::target::Target;

const CHECK: &str = "function code";
pub(super) const LAMBDA: AwsService = AwsService { sdk_id: "Lambda", signing_name: "lambda" };
const S3: AwsService = AwsService { sdk_id: "S3", signing_name: "s3" };
const GET_CONFIGURATION: &str = "lambda:GetFunctionConfiguration";
const GET_OBJECT: &str = "s3:GetObject";
/// Characters that are percent-encoded in the path of an S3 object.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Longest wait for a zip.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Lambda accepts no larger zip from S3 (250 MiB).
const ZIP_MAX_BYTES: usize = 250 << 20;

/// A function and the zip in S3 that the stack has deployed to it.
#[derive(Debug, PartialEq, Eq)]
struct DeployedFunction {
    function: String,
    bucket: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionConfiguration {
    code_sha256: String,
}

/// Compares the code of all functions. `None` if no stack is named: the deployed code is unknown then.
pub(super) async fn check(target: &Target) -> Option<CheckResult> {
    let stack = target.stack_name()?;
    let compared = match (deployed_functions(target, stack).await, SigV4Client::new(target, RESPONSE_TIMEOUT))
    {
        (Ok(deployed), Ok(aws)) => {
            let is_same =
                async |it: DeployedFunction| (runs_deployed_code(target, &aws, &it).await, it.function);
            join_all(deployed.into_iter().map(is_same)).await
        }
        (Err(why), _) | (_, Err(why)) => {
            return Some(CheckResult::skipped(CHECK, format!("not compared: {why:#}")));
        }
    };
    Some(check_from(&compared))
}

fn check_from(compared: &[(Result<bool, String>, String)]) -> CheckResult {
    let functions_where = |is: bool| compared.iter().filter(move |it| it.0 == Ok(is)).map(|it| it.1.as_str());
    let differ: Vec<_> = functions_where(false).collect();
    let why = compared.iter().find_map(|it| it.0.as_ref().err());
    let mut found = match &differ[..] {
        [] => {
            format!("{} of {} run what the stack has deployed", functions_where(true).count(), compared.len())
        }
        differ => format!("{}: not the code that the stack has deployed", differ.join(", ")),
    };
    if compared.is_empty() {
        return CheckResult::skipped(CHECK, "not compared: the stack's template names no function's zip");
    }
    if let Some(why) = why {
        let _ = write!(found, "; not compared: {why}");
    }
    match (differ.is_empty(), why) {
        (false, _) => {
            let advice = "a rollback may leave it running: infra/README.md, \"Upgrade and roll back\", has the commands that bring the stack's code back";
            CheckResult::warn(CHECK, found, advice)
        }
        // Skipped, not unknown: an operator need not have the permissions for this check.
        (true, Some(_)) => CheckResult::skipped(CHECK, found),
        (true, None) => CheckResult::ok(CHECK, found),
    }
}

/// Reads the functions and zips from the stack's template after its transform, which names the zips.
async fn deployed_functions(target: &Target, stack: &str) -> anyhow::Result<Vec<DeployedFunction>> {
    let resource = ResourceRef::new("stack", stack, "--stack");
    let client = aws_sdk_cloudformation::Client::new(&target.sdk);
    let result =
        client.get_template().stack_name(stack).template_stage(TemplateStage::Processed).send().await;
    let answer = result
        .map_err(|error| AwsError::from_sdk_error("cloudformation:GetTemplate", &error))
        .with_resource(&resource)?;
    let template = serde_json::from_str(answer.template_body().unwrap_or_default())
        .map_err(|_| anyhow::anyhow!("the template of {resource} is not JSON"))?;
    Ok(parse_functions(&template, stack, &unmet_conditions(target)))
}

/// Conditions of the template that the stack's parameters do not meet.
fn unmet_conditions(target: &Target) -> Vec<String> {
    let providers = Provider::ALL.iter().filter(|provider| target.disabled_text(**provider).is_some());
    let providers = providers.map(|provider| format!("With{}", ProviderSpec::of(*provider).title));
    let worker = target.is_worker_disabled().then(|| "WithEventWorker".to_owned());
    let auditor = target.is_auditor_disabled().then(|| "WithFynapseAuditor".to_owned());
    providers.chain(worker).chain(auditor).collect()
}

fn parse_functions(template: &Value, stack: &str, unmet_conditions: &[String]) -> Vec<DeployedFunction> {
    let resources =
        template.get("Resources").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
    let is = |resource: &Value, field: &str, value: &str| resource.get(field).is_some_and(|it| it == value);
    let functions = resources
        .filter(|it| is(it, "Type", "AWS::Lambda::Function"))
        // The template lists every function, also those that the stack is deployed without.
        .filter(|it| !unmet_conditions.iter().any(|condition| is(it, "Condition", condition)));
    let parse_function = |resource: &Value| {
        let text = |path| resource.pointer(path).and_then(Value::as_str);
        Some(DeployedFunction {
            function: text("/Properties/FunctionName/Fn::Sub")?.replace("${AWS::StackName}", stack),
            bucket: text("/Properties/Code/S3Bucket")?.to_owned(),
            key: text("/Properties/Code/S3Key")?.to_owned(),
        })
    };
    functions.filter_map(parse_function).collect()
}

/// Compares the code hash of a function with the zip that the stack has deployed; `Err` says why that is not possible.
async fn runs_deployed_code(
    target: &Target,
    aws: &SigV4Client<'_>,
    deployed: &DeployedFunction,
) -> Result<bool, String> {
    let DeployedFunction { function, bucket, key } = deployed;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(target.now().0.unsigned_abs());
    let describe_error = |kind, name: &str| {
        let resource = ResourceRef::new(kind, name, "--stack");
        move |fault: AwsError| explain(&fault, &resource)
    };
    let path = format!("/2015-03-31/functions/{function}/configuration");
    let running = aws.get_json(&LAMBDA, GET_CONFIGURATION, &path, now).await;
    let FunctionConfiguration { code_sha256: running } =
        running.map_err(describe_error("function", function))?;
    let path = format!("/{bucket}/{}", utf8_percent_encode(key, RESERVED));
    let zip = async {
        let mut answer = aws.get(&S3, GET_OBJECT, &path, now).await?;
        code_sha256(&mut answer).await.map_err(|cause| AwsError { action: GET_OBJECT, kind: cause })
    };
    let deployed = zip.await.map_err(describe_error("object", &format!("{bucket}/{key}")))?;
    Ok(running == deployed)
}

/// `CodeSha256` of a zip, as Lambda computes it: base64 of its SHA-256.
async fn code_sha256(zip: &mut reqwest::Response) -> Result<String, AwsErrorKind> {
    let (mut digest, mut remaining_bytes) = (Sha256::new(), ZIP_MAX_BYTES);
    // Hashed in chunks: a zip may be too large to hold in memory for each function at once.
    while let Some(chunk) = zip.chunk().await.map_err(|_| AwsErrorKind::Connection)? {
        remaining_bytes = remaining_bytes.checked_sub(chunk.len()).ok_or(AwsErrorKind::UnreadableResponse)?;
        digest.update(&chunk);
    }
    Ok(STANDARD.encode(digest.finalize()))
}
