//! `inboxctl quarantine list|show|replay|discard`.

mod discard;
mod item_ref;
mod list;
mod preview;
mod replay;
mod show;

use clap::Subcommand;

use crate::output::Rendered;
use crate::target::Target;
use discard::DiscardQuarantinedArgs;
use list::ListQuarantineArgs;
use replay::ReplayQuarantinedArgs;
use show::ShowQuarantinedArgs;

#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List items, newest first: the open ones, unless --state says otherwise.
    List(ListQuarantineArgs),
    /// Show one item.
    Show(ShowQuarantinedArgs),
    /// Parse items again with the current code and record their events, or requeue the events that were quarantined.
    Replay(ReplayQuarantinedArgs),
    /// Close items that shall not be processed, such as a flood by a leaked URL. Deletes nothing.
    Discard(DiscardQuarantinedArgs),
}

impl QuarantineCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list::list(target, args).await?),
            Self::Show(args) => target.render(&show::show(target, args).await?),
            Self::Replay(args) => target.render(&replay::replay(target, args).await?),
            Self::Discard(args) => target.render(&discard::discard(target, args).await?),
        }
    }
}
