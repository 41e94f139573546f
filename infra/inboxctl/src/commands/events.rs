//! `inboxctl events list|show|replay`.

mod bulk_replay;
mod event_ref;
mod list;
mod replay;
pub(crate) mod show;

use clap::Subcommand;

use crate::output::Rendered;
use crate::target::Target;
use list::ListEventsArgs;
use replay::ReplayEventsArgs;
use show::ShowEventArgs;

#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// List events, newest first.
    List(ListEventsArgs),
    /// Show one event.
    Show(ShowEventArgs),
    /// Send done events again: their effects happen again and carry the number of the replay. With --since: all of a time range.
    /// With --lost: events whose message was lost.
    Replay(ReplayEventsArgs),
}

impl EventsCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list::list(target, args).await?),
            Self::Show(args) => target.render(&show::show(target, args).await?),
            Self::Replay(args) => replay::run(target, args).await,
        }
    }
}
