//! `inboxctl fynapse missed resolve`.

use anyhow::bail;
use clap::Args;
use inbox_aws::stores::WriteOutcome;
use inbox_core::audit::OperatorAction;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::missed_to_change;
use crate::audit::AuditArgs;
use crate::aws_error::WithResource;
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::Render;
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Args)]
pub(crate) struct ResolveMissedArgs {
    /// The delivery's id, or a short one of the last `fynapse missed list`.
    #[arg(value_parser = parse_id)]
    delivery: Id,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Result of resolving a missed delivery.
#[derive(Serialize)]
pub(crate) struct ResolveReport {
    delivery: String,
    status: &'static str,
}

pub(super) async fn resolve(target: &Target, args: ResolveMissedArgs) -> anyhow::Result<ResolveReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let missed = missed_to_change(target, &stores, &table, &args.delivery).await?;
    let delivery = missed.reference.as_str().to_owned();
    if missed.resolved_at.is_some() {
        bail!("delivery {delivery} is resolved already");
    }
    let operator = args.audit.operator();
    let plan = format!(
        "Resolve the missed delivery {delivery} ({}), by {}, because: {}\nIts event stays missing. Nothing reminds of it any more.",
        missed.reason.as_str(),
        operator.name,
        operator.reason,
    );
    if !is_confirmed(target, &args.confirm, &plan)? {
        return Ok(ResolveReport { delivery, status: "not_confirmed" });
    }
    let entry = operator.audit_entry(OperatorAction::Resolve, target.now());
    match stores.operator.resolve_missed_delivery(&missed, &entry).await.with_resource(&table)? {
        WriteOutcome::Applied => Ok(ResolveReport { delivery, status: "resolved" }),
        WriteOutcome::Conflict => bail!("delivery {delivery} was resolved by somebody else at the same time"),
    }
}

impl Render for ResolveReport {
    fn to_text(&self, _: UnixMillis) -> String {
        format!("{}: {}\n", self.delivery, self.status.replace('_', " "))
    }

    fn is_success(&self) -> bool {
        self.status != "not_confirmed"
    }
}
