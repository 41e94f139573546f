//! The console of the local system.

use inboxctl::{LocalInbox, bind_local_console};
use tokio::task::JoinHandle;

/// Port of the console if none is chosen, behind those of the other endpoints.
const DEFAULT_PORT: u16 = 9003;

/// A console that is served, and its address with the token.
pub(super) struct ServedConsole {
    pub(super) url: String,
    pub(super) task: JoinHandle<()>,
}

/// Serves the console of a system whose AWS endpoint answers already. Without a chosen port, any free one will do if the
/// default one is taken.
///
/// # Errors
///
/// The chosen port is taken.
pub(super) async fn serve(port: Option<u16>, local: LocalInbox<'_>) -> anyhow::Result<ServedConsole> {
    let console = match (bind_local_console(port.unwrap_or(DEFAULT_PORT), local).await, port) {
        (Err(_), None) => bind_local_console(0, local).await?,
        (bound, _) => bound?,
    };
    let url = console.url().to_owned();
    let task = tokio::spawn(async move { drop(console.serve().await) });
    Ok(ServedConsole { url, task })
}
