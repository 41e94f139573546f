//! `inboxctl fynapse missed show`.

use clap::Args;
use inbox_aws::items::MissedDeliveryItem;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::find_missed;
use crate::audit::AuditLine;
use crate::output::{Render, Timestamp, line, render_fields};
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Args)]
pub(crate) struct ShowMissedArgs {
    /// The delivery's id, or the beginning of one among the newest ones.
    #[arg(value_parser = parse_id)]
    delivery: Id,
}

/// Details of a missed delivery.
#[derive(Serialize)]
pub(crate) struct MissedDetails {
    pub(super) delivery: String,
    pub(super) reason: &'static str,
    pub(super) event: Option<String>,
    idempotency_key: Option<String>,
    event_type: Option<String>,
    /// Time of its creation at Fynapse.
    pub(super) created_at: Option<Timestamp>,
    pub(super) found_at: Timestamp,
    pub(super) resolved_at: Option<Timestamp>,
    /// What happened, and what to do.
    advice: &'static str,
    audit_entries: Vec<AuditLine>,
}

impl From<&MissedDeliveryItem> for MissedDetails {
    fn from(missed: &MissedDeliveryItem) -> Self {
        Self {
            delivery: missed.reference.as_str().to_owned(),
            reason: missed.reason.as_str(),
            event: missed.event.as_ref().map(|key| key.event_id()),
            idempotency_key: missed.idempotency_key.as_ref().map(|key| key.as_str().to_owned()),
            event_type: missed.event_type.clone(),
            created_at: missed.created_at.map(Timestamp),
            found_at: Timestamp(missed.found_at),
            resolved_at: missed.resolved_at.map(Timestamp),
            advice: missed.reason.advice(),
            audit_entries: AuditLine::from_entries(&missed.audit_entries),
        }
    }
}

pub(super) async fn show(target: &Target, args: ShowMissedArgs) -> anyhow::Result<MissedDetails> {
    let missed = find_missed(&target.stores()?, &target.inbox_table()?, &args.delivery).await?;
    Ok(MissedDetails::from(&missed))
}

impl Render for MissedDetails {
    fn to_text(&self, now: UnixMillis) -> String {
        let mut text = render_fields([
            ("delivery", Some(self.delivery.clone())),
            ("reason", Some(self.reason.to_owned())),
            ("event", self.event.clone()),
            ("type", self.event_type.clone()),
            ("idempotency key", self.idempotency_key.clone()),
            ("created", self.created_at.map(|at| at.with_age(now))),
            ("found", Some(self.found_at.with_age(now))),
            ("resolved", Some(self.resolved_at.map_or("no".to_owned(), |at| at.with_age(now)))),
        ]);
        text.extend(self.audit_entries.iter().map(|it| format!("operator: {}\n", line(&it.to_text(now)))));
        if self.resolved_at.is_none() {
            text.push_str(&format!("\n{}\n", self.advice));
        }
        text
    }
}
