//! Whether each function runs the code that its stack has deployed.
//!
//! CloudFormation compares templates, not functions: code that came another way goes on running after a deployment of the version
//! that the stack already has.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudformation::types::TemplateStage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use inbox_aws::{Cause, Fault};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Check;
use crate::place::{Place, Thing};
use crate::signed_get::{Service, SignedGet};
use crate::trouble::{About, explain};

const CHECK: &str = "code of the functions";
const LAMBDA: Service = Service { id: "Lambda", name: "lambda" };
const S3: Service = Service { id: "S3", name: "s3" };
const GET_CONFIGURATION: &str = "lambda:GetFunctionConfiguration";
const GET_OBJECT: &str = "s3:GetObject";
/// What S3 has encoded in an object's path.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Lambda takes no larger zip from S3.
const ZIP_MAX_BYTES: usize = 250 << 20;

/// A function of the stack, and the zip that the stack has deployed to it.
#[derive(Debug, PartialEq, Eq)]
struct Deployed {
    function: String,
    bucket: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    code_sha256: String,
}

/// `None` if no stack is named: then nobody knows what was deployed.
pub(super) async fn check(at: &Place) -> Option<Check> {
    let stack = at.stack_name()?;
    let compared = match (deployed(at, stack).await, SignedGet::new(at)) {
        (Ok(deployed), Ok(aws)) => {
            let is_same = async |it: Deployed| (is_same(at, &aws, &it).await, it.function);
            join_all(deployed.into_iter().map(is_same)).await
        }
        (Err(why), _) | (_, Err(why)) => {
            return Some(Check::skipped(CHECK, format!("not compared: {why:#}")));
        }
    };
    Some(judge(&compared))
}

fn judge(compared: &[(Result<bool, String>, String)]) -> Check {
    let with = |is: bool| compared.iter().filter(move |it| it.0 == Ok(is)).map(|it| it.1.as_str());
    let differ: Vec<_> = with(false).collect();
    let why = compared.iter().find_map(|it| it.0.as_ref().err());
    let mut found = match &differ[..] {
        [] => format!("{} of {} run what the stack has deployed", with(true).count(), compared.len()),
        differ => format!("{}: not the code that the stack has deployed", differ.join(", ")),
    };
    if compared.is_empty() {
        return Check::skipped(CHECK, "not compared: the stack's template names no function's zip");
    }
    if let Some(why) = why {
        let _ = write!(found, "; not compared: {why}");
    }
    match (differ.is_empty(), why) {
        (false, _) => {
            let advice = "a rollback may leave it running: infra/README.md, \"Upgrade and roll back\", has the commands that bring the stack's code back";
            Check::warn(CHECK, found, advice)
        }
        (true, Some(_)) => Check::skipped(CHECK, found),
        (true, None) => Check::ok(CHECK, found),
    }
}

/// What the stack's template says, after its transform: there it names the zips.
async fn deployed(at: &Place, stack: &str) -> anyhow::Result<Vec<Deployed>> {
    let thing = Thing::new("stack", stack, "--stack");
    let client = aws_sdk_cloudformation::Client::new(&at.sdk);
    let asked = client.get_template().stack_name(stack).template_stage(TemplateStage::Processed).send().await;
    let answer = asked.map_err(|error| Fault::of("cloudformation:GetTemplate", &error)).about(&thing)?;
    let template = serde_json::from_str(answer.template_body().unwrap_or_default())
        .map_err(|_| anyhow::anyhow!("the template of {thing} is not JSON"))?;
    Ok(functions(&template, stack, at.has_no_worker()))
}

fn functions(template: &Value, stack: &str, has_no_worker: bool) -> Vec<Deployed> {
    let resources =
        template.get("Resources").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
    let is = |resource: &Value, field, value| resource.get(field).is_some_and(|it| it == value);
    let functions = resources
        .filter(|it| is(it, "Type", "AWS::Lambda::Function"))
        .filter(|it| !(has_no_worker && is(it, "Condition", "WithEventWorker")));
    let one = |resource: &Value| {
        let text = |path| resource.pointer(path).and_then(Value::as_str);
        Some(Deployed {
            function: text("/Properties/FunctionName/Fn::Sub")?.replace("${AWS::StackName}", stack),
            bucket: text("/Properties/Code/S3Bucket")?.to_owned(),
            key: text("/Properties/Code/S3Key")?.to_owned(),
        })
    };
    functions.filter_map(one).collect()
}

/// Whether a function runs the zip that the stack has deployed to it; or why that is not known.
async fn is_same(at: &Place, aws: &SignedGet<'_>, deployed: &Deployed) -> Result<bool, String> {
    let Deployed { function, bucket, key } = deployed;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(at.now().0.unsigned_abs());
    let in_words = |kind, name: &str| {
        let thing = Thing::new(kind, name, "--stack");
        move |fault: Fault| explain(&fault, &thing)
    };
    let path = format!("/2015-03-31/functions/{function}/configuration");
    let running = async {
        let answer = aws.get(&LAMBDA, GET_CONFIGURATION, &path, now).await?;
        let unreadable = || Fault { action: GET_CONFIGURATION, cause: Cause::Answer };
        let body = answer.bytes().await.map_err(|_| unreadable())?;
        let configuration = serde_json::from_slice::<Configuration>(&body);
        configuration.map(|it| it.code_sha256).map_err(|_| unreadable())
    };
    let running = running.await.map_err(in_words("function", function))?;
    let path = format!("/{bucket}/{}", utf8_percent_encode(key, RESERVED));
    let zip = async {
        let mut answer = aws.get(&S3, GET_OBJECT, &path, now).await?;
        digest(&mut answer).await.map_err(|cause| Fault { action: GET_OBJECT, cause })
    };
    let deployed = zip.await.map_err(in_words("object", &format!("{bucket}/{key}")))?;
    Ok(running == deployed)
}

/// `CodeSha256` of a zip.
async fn digest(zip: &mut reqwest::Response) -> Result<String, Cause> {
    let (mut digest, mut left) = (Sha256::new(), ZIP_MAX_BYTES);
    while let Some(chunk) = zip.chunk().await.map_err(|_| Cause::Connection)? {
        left = left.checked_sub(chunk.len()).ok_or(Cause::Answer)?;
        digest.update(&chunk);
    }
    Ok(STANDARD.encode(digest.finalize()))
}
