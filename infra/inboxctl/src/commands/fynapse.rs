//! `inboxctl fynapse missed`.

mod missed;

use clap::Subcommand;

use crate::output::Rendered;
use crate::target::Target;
use missed::MissedCommand;

#[derive(Subcommand)]
pub(crate) enum FynapseCommand {
    /// Deliveries of Fynapse's whose event is missing here.
    #[command(subcommand)]
    Missed(MissedCommand),
}

impl FynapseCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::Missed(command) => command.run(target).await,
        }
    }
}
