//! The start of a function's process, and its loop of invocations.

use std::fmt;

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::Collector;
use metrics_cloudwatch_embedded::lambda::service;
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::config::{CommonConfig, restart_without_empty_endpoint};
use crate::telemetry;

/// The started process of a Lambda function.
pub struct FunctionProcess {
    /// Clients of the services that functions call.
    pub clients: Clients,
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
    telemetry::init_logging(common.log_level, std::io::stdout);
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).ok_or("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    Ok(FunctionProcess { clients, metrics })
}

impl FunctionProcess {
    /// Handles invocations until Lambda ends the process. The metrics are written after each of them.
    pub async fn run<Payload, Response, E, F>(
        self,
        handler: impl FnMut(LambdaEvent<Payload>) -> F,
    ) -> Result<(), Error>
    where
        Payload: for<'de> Deserialize<'de>,
        Response: Serialize,
        E: Into<Diagnostic> + fmt::Debug,
        F: Future<Output = Result<Response, E>>,
    {
        service::run(self.metrics, service_fn(handler)).await
    }
}
