//! `inboxctl person show`.

use clap::Args;
use inbox_core::id::Id;

use super::report::PersonReport;
use crate::target::Target;
use crate::value_parsers::parse_id;

#[derive(Args)]
pub(crate) struct ShowPersonArgs {
    /// Rightfoot's authorizer, or the id that Fynapse's payloads carry.
    #[arg(value_parser = parse_id)]
    authorizer: Id,
    /// Print the amounts, which are personal data.
    #[arg(long)]
    reveal: bool,
}

pub(super) async fn show(target: &Target, args: ShowPersonArgs) -> anyhow::Result<PersonReport> {
    let store = target.personal_data()?;
    let (found, dead_letters) = super::find(target, &store, &args.authorizer).await?;
    Ok(PersonReport::new(&found, dead_letters, args.reveal).of_search())
}
