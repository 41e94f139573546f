//! `inboxctl fynapse setup|rotate|missed`.

mod at_fynapse;
mod missed;
mod rotate;
mod setup;
mod signing_secret;

use clap::Subcommand;

use crate::output::Rendered;
use crate::target::Target;
use at_fynapse::ManageArgs;
use missed::MissedCommand;

#[derive(Subcommand)]
pub(crate) enum FynapseCommand {
    /// Have Fynapse deliver to this inbox: make the secret that it signs with, store its value, and make a subscription.
    ///
    /// Does only what is left to do, so it can be repeated.
    Setup(ManageArgs),
    /// Have Fynapse make a new value of the secret that it signs with, and store it in front of the stored ones.
    ///
    /// If the value of an earlier rotation was not stored, only stores that.
    Rotate(ManageArgs),
    /// Deliveries of Fynapse's whose event is missing here.
    #[command(subcommand)]
    Missed(MissedCommand),
}

impl FynapseCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::Setup(args) => target.render(&setup::setup(target, args).await?),
            Self::Rotate(args) => target.render(&rotate::rotate(target, args).await?),
            Self::Missed(command) => command.run(target).await,
        }
    }
}
