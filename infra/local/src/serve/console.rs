//! The console of the local system.

use inboxctl::{LocalInbox, bind_local_console};
use tokio::task::JoinHandle;

use super::ServeOptions;

/// Port of the console if none is chosen, behind those of the other endpoints.
const DEFAULT_PORT: u16 = 9003;

/// Serves the console of a system whose AWS endpoint answers already, and prints its address with the token. Without a
/// chosen port, any free one will do if the default one is taken.
///
/// # Errors
///
/// The chosen port is taken.
pub(super) async fn serve(
    options: &ServeOptions,
    aws_url: &str,
    http_url: &str,
) -> anyhow::Result<JoinHandle<()>> {
    let local = LocalInbox { aws_url, http_url, has_worker: options.worker };
    let port = options.console_port;
    let console = match (bind_local_console(port.unwrap_or(DEFAULT_PORT), local).await, port) {
        (Err(_), None) => bind_local_console(0, local).await?,
        (bound, _) => bound?,
    };
    println!("Console                    {}", console.url());
    Ok(tokio::spawn(console.serve()))
}
