//! Arguments of `inboxctl quarantine`.

use std::num::NonZeroUsize;

use clap::{Args, Subcommand};
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::subject::Subject;

use super::value_parsers::{parse_quarantine_id, parse_reason};
use super::{AuditArgs, ConfirmArgs, PageArgs};

#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List the open items, newest first.
    List(ListQuarantineArgs),
    /// Show one item.
    Show(ShowQuarantinedArgs),
    /// Parse items again with the current code and record their events, or requeue the events that were quarantined.
    Replay(ReplayQuarantinedArgs),
    /// Close items that shall not be processed, such as a flood by a leaked URL. Deletes nothing.
    Discard(DiscardQuarantinedArgs),
}

#[derive(Args)]
pub(crate) struct ListQuarantineArgs {
    /// Only items quarantined for this reason.
    #[arg(long, value_parser = parse_reason)]
    pub(crate) reason: Option<QuarantineReason>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

#[derive(Args)]
pub(crate) struct ShowQuarantinedArgs {
    /// Item as `list` prints it: `<provider>/<sha256>`, or `<provider>/<subject>/<sha256>` if it came by a minted URL.
    #[arg(value_parser = parse_quarantine_id)]
    pub(crate) item: QuarantineId,
    /// Print the bytes, which may hold personal data.
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Args)]
pub(crate) struct ReplayQuarantinedArgs {
    /// Items as `list` prints them.
    #[arg(value_parser = parse_quarantine_id, required_unless_present = "reason", conflicts_with = "reason")]
    pub(crate) items: Vec<QuarantineId>,
    /// All open items of this reason, oldest first.
    #[arg(long, value_parser = parse_reason)]
    pub(crate) reason: Option<QuarantineReason>,
    /// With --reason: maximum number of items.
    #[arg(long, default_value = "100", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Also replay deliveries older than the retention of records; if one was recorded then, it may be published again as new.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Args)]
pub(crate) struct DiscardQuarantinedArgs {
    /// Items as `list` prints them.
    #[arg(value_parser = parse_quarantine_id, required_unless_present = "subject", conflicts_with = "subject")]
    pub(crate) items: Vec<QuarantineId>,
    /// All open items that came by the URL of this subject, oldest first.
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<Subject>,
    /// With --subject: only items of this reason.
    #[arg(long, value_parser = parse_reason, requires = "subject")]
    pub(crate) reason: Option<QuarantineReason>,
    /// With --subject: maximum number of items.
    #[arg(long, default_value = "100", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}
