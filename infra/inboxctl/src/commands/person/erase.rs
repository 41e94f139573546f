//! `inboxctl person erase`.

use anyhow::bail;
use clap::Args;
use inbox_aws::stores::{Erasure, FoundPersonalData, PersonalData, PersonalDataKind};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::id::Id;
use inbox_core::person::mentions_person;

use super::report::PersonReport;
use crate::audit::{parse_by, parse_why};
use crate::aws_error::{ResourceRef, WithResource};
use crate::confirm::{ConfirmArgs, is_confirmed};
use crate::output::pluralize;
use crate::target::Target;
use crate::terminal;
use crate::value_parsers::parse_id;

/// Items between two lines of progress.
const PROGRESS_EVERY: usize = 500;

#[derive(Args)]
pub(crate) struct ErasePersonArgs {
    /// Rightfoot's authorizer, or the id that Fynapse's payloads carry. Always the whole id.
    #[arg(value_parser = parse_id)]
    authorizer: Id,
    /// Show what would be erased, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Your name, for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by, required_unless_present = "dry_run")]
    by: Option<String>,
    /// Reason, for the audit trail. It must not contain the id: the audit entry names nobody.
    #[arg(long, value_name = "TEXT", value_parser = parse_why, required_unless_present = "dry_run")]
    why: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) async fn erase(target: &Target, args: ErasePersonArgs) -> anyhow::Result<PersonReport> {
    let person = &args.authorizer;
    let operator = Operator { name: args.by.unwrap_or_default(), reason: args.why.unwrap_or_default() };
    if mentions_person(&operator.reason, person) || mentions_person(&operator.name, person) {
        bail!("--why and --by must not contain the id: the audit entry stays, and names nobody");
    }
    let (store, table) = (target.personal_data()?, target.inbox_table()?);
    let (mut found, dead_letters) = super::find(target, &store, person).await?;
    let report = PersonReport::new(&found, dead_letters, false);
    if args.dry_run {
        return Ok(report.of_dry_run());
    }
    if found.items.is_empty() || !is_confirmed(target, &args.confirm, &plan_text(&report, &operator))? {
        return Ok(report);
    }
    let entry = operator.audit_entry(OperatorAction::Erase, target.now());
    store.record_erasure(&found, &entry).await.with_resource(&table)?;
    let outcomes = erase_all(target, &store, &table, person, &mut found).await?;
    Ok(report.with_outcomes(&outcomes))
}

async fn erase_all(
    target: &Target,
    store: &PersonalData,
    table: &ResourceRef,
    person: &Id,
    found: &mut FoundPersonalData,
) -> anyhow::Result<Vec<Erasure>> {
    let mut outcomes = Vec::new();
    let balances_table = target.balances_table()?;
    // One after another: whether a part may go depends on the items that were erased before.
    for at in 0..found.items.len() {
        let is_balance = found.items.get(at).is_some_and(|item| item.kind == PersonalDataKind::Balance);
        let resource = if is_balance { &balances_table } else { table };
        outcomes.push(Box::pin(store.erase(person, found, at, target.now())).await.with_resource(resource)?);
        if outcomes.len() % PROGRESS_EVERY == 0 && !target.is_json {
            terminal::print_notice(&format!("{} of {} items\n", outcomes.len(), found.items.len()));
        }
    }
    Ok(outcomes)
}

fn plan_text(report: &PersonReport, operator: &Operator) -> String {
    format!(
        "Erase {} of one person, by {}, because: {}\n{}Payloads are erased as a whole, and their events cannot be processed again. \
         This cannot be undone, except from a backup.",
        pluralize(report.erasable() as u64, "item", "items"),
        operator.name,
        operator.reason,
        report.found_text()
    )
}
