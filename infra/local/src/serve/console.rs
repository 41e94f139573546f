//! The console of the local system.

use inboxctl::{LocalInbox, bind_local_console};
use tokio::task::JoinHandle;

use super::ServeOptions;

/// Port of the console if none is chosen, behind those of the other endpoints.
const DEFAULT_PORT: u16 = 9003;

/// Serves the console of a system whose AWS endpoint answers already. Prints its address with the token, and returns it. Without a
/// chosen port, any free one will do if the default one is taken.
///
/// # Errors
///
/// The chosen port is taken.
pub(super) async fn serve(
    options: &ServeOptions,
    aws_url: &str,
    http_url: &str,
) -> anyhow::Result<(JoinHandle<()>, String)> {
    let local =
        LocalInbox { aws_url, http_url, has_worker: options.worker, poll_timing: options.poll_timing };
    let port = options.console_port;
    let console = match (bind_local_console(port.unwrap_or(DEFAULT_PORT), local).await, port) {
        (Err(_), None) => bind_local_console(0, local).await?,
        (bound, _) => bound?,
    };
    let url = console.url().to_owned();
    println!("Console                    {url}");
    Ok((tokio::spawn(console.serve()), url))
}
