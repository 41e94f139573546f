//! `inboxctl submissions list|show|conclude`.

mod conclude;
mod list;

use clap::Subcommand;

use crate::commands::timeline::{self, TimelineArgs};
use crate::output::Rendered;
use crate::target::Target;
use conclude::ConcludeSubmissionArgs;
use list::ListSubmissionsArgs;

#[derive(Subcommand)]
pub(crate) enum SubmissionsCommand {
    /// List submissions, newest first.
    List(ListSubmissionsArgs),
    /// Show one submission, and what it created.
    Show(TimelineArgs),
    /// End a submission whose outcome is unknown and that created nothing. If it created a batch or schedule, call
    /// rightfoot-requests with track_batch or track_schedule and its submission_id instead.
    Conclude(ConcludeSubmissionArgs),
}

impl SubmissionsCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::List(args) => target.render(&list::list(target, args).await?),
            Self::Show(args) => target.render(&timeline::show_submission(target, args).await?),
            Self::Conclude(args) => target.render(&conclude::conclude(target, args).await?),
        }
    }
}
