//! The start of a function's process, and its loop of invocations.

use std::fmt;
use std::io::Stdout;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::Collector;
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::config::{CommonConfig, restart_without_empty_endpoint};
use crate::telemetry;
use crate::telemetry::invocation_log::InvocationLog;

/// The started process of a Lambda function.
pub struct FunctionProcess {
    /// Clients of the services that functions call.
    pub clients: Clients,
    log: InvocationLog<Stdout>,
    metrics: &'static Collector,
}

/// Starts logs and metrics, and creates the clients. The caller then warms up what its function needs, and
/// calls [`FunctionProcess::run`].
///
/// # Errors
///
/// An error ends the cold start. Lambda reports its text.
pub async fn boot(common: &CommonConfig) -> Result<FunctionProcess, Error> {
    restart_without_empty_endpoint()?;
    let log = InvocationLog::new(std::io::stdout());
    telemetry::init_logging(common.log_level, log.clone());
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).ok_or("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    Ok(FunctionProcess { clients, log, metrics })
}

impl FunctionProcess {
    /// Handles invocations until Lambda ends the process. The lines and metrics of each are written before Lambda gets the
    /// response: after that, it may freeze the process.
    pub async fn run<Payload, Response, E, F>(
        self,
        mut handler: impl FnMut(LambdaEvent<Payload>) -> F,
    ) -> Result<(), Error>
    where
        Payload: for<'de> Deserialize<'de>,
        Response: Serialize,
        E: Into<Diagnostic> + fmt::Debug,
        F: Future<Output = Result<Response, E>>,
    {
        let Self { log, metrics, .. } = &self;
        let flush_metrics = || telemetry::flush_metrics(metrics);
        lambda_runtime::run(service_fn(|event| log.run(flush_metrics, handler(event)))).await
    }
}
