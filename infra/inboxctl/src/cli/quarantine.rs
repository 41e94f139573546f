//! `inboxctl quarantine`.

use std::num::NonZeroUsize;

use clap::{Args, Subcommand};
use inbox_core::delivery::Subject;
use inbox_core::inbox::QuarantineReason;
use inbox_core::quarantine::QuarantineId;

use super::value_parsers::{parse_quarantine_id, parse_reason};
use super::{AuditArgs, ConfirmArgs, PageArgs};

#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List the open items, the newest first.
    List(ListQuarantineArgs),
    /// Show one item.
    Show(ShowQuarantinedArgs),
    /// Read items again by the present code, and record what they are; or put the events that they were on their way again.
    Replay(ReplayQuarantinedArgs),
    /// Close items of which nothing shall become, such as a flood by a URL that leaked. Nothing is deleted.
    Discard(DiscardQuarantinedArgs),
}

#[derive(Args)]
pub(crate) struct ListQuarantineArgs {
    /// Kept for this reason.
    #[arg(long, value_parser = parse_reason)]
    pub(crate) reason: Option<QuarantineReason>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

#[derive(Args)]
pub(crate) struct ShowQuarantinedArgs {
    /// The item, as `list` prints it: `<provider>/<sha256>`, or `<provider>/<subject>/<sha256>` if it came by a minted URL.
    #[arg(value_parser = parse_quarantine_id)]
    pub(crate) item: QuarantineId,
    /// Print the bytes: they may hold personal data.
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Args)]
pub(crate) struct ReplayQuarantinedArgs {
    /// The items, as `list` prints them.
    #[arg(value_parser = parse_quarantine_id, required_unless_present = "reason", conflicts_with = "reason")]
    pub(crate) items: Vec<QuarantineId>,
    /// All open items that are kept for this reason, the oldest first.
    #[arg(long, value_parser = parse_reason)]
    pub(crate) reason: Option<QuarantineReason>,
    /// With --reason: how many at the most.
    #[arg(long, default_value = "100", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Also what was signed longer ago than records are kept: if it was recorded then, it may be published again as new.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Args)]
pub(crate) struct DiscardQuarantinedArgs {
    /// The items, as `list` prints them.
    #[arg(value_parser = parse_quarantine_id, required_unless_present = "subject", conflicts_with = "subject")]
    pub(crate) items: Vec<QuarantineId>,
    /// All open items that came by the URL of this subject, the oldest first.
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<Subject>,
    /// With --subject: only those that are kept for this reason.
    #[arg(long, value_parser = parse_reason, requires = "subject")]
    pub(crate) reason: Option<QuarantineReason>,
    /// With --subject: how many at the most.
    #[arg(long, default_value = "100", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}
