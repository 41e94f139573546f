//! `inboxctl console`: serves the console until Ctrl-C, or until its terminal is closed.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use inbox_console::Console;
use tempfile::{NamedTempFile, TempDir};

use crate::console_host::{ConsoleOptions, bind_console};
use crate::output::Rendered;
use crate::target::Target;
use crate::terminal;

#[derive(Args)]
pub(crate) struct ConsoleArgs {
    /// Port on 127.0.0.1; 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Change nothing: no replay, no redrive, no test delivery.
    #[arg(long)]
    read_only: bool,
    /// Do not open a browser.
    #[arg(long)]
    no_open: bool,
    /// Skip the checks of event-worker: you read the queue yourself.
    #[arg(long)]
    no_worker: bool,
    /// Your name, which forms suggest for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME")]
    by: Option<String>,
}

pub(crate) async fn serve(target: &Arc<Target>, args: ConsoleArgs) -> anyhow::Result<Rendered> {
    let options = ConsoleOptions {
        port: args.port,
        is_read_only: args.read_only,
        has_worker: !args.no_worker,
        by: args.by,
    };
    let console = bind_console(Arc::clone(target), options).await.context("--port")?;
    print_address(&console, args.read_only, target.is_json)?;
    // Before the page is written: it must be deleted however the console is stopped.
    let stopped = stop_signal().context("cannot wait for Ctrl-C")?;
    // Held while the browser reads it.
    let _page = if args.no_open { None } else { open_browser(console.url()) };
    tokio::select! {
        () = console.serve() => {}
        () = stopped => {}
    }
    Ok(Rendered { text: String::new(), exit_code: 0 })
}

/// Future that ends with Ctrl-C, SIGTERM or SIGHUP. From now on, they no longer end the process.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// Future that ends with Ctrl-C: only Unix has the other signals.
#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move { drop(interrupt.recv().await) })
}

fn print_address(console: &Console, is_read_only: bool, is_json: bool) -> anyhow::Result<()> {
    let (url, power) = (console.url(), if is_read_only { "see what you can see" } else { "act as you" });
    let text = if is_json {
        format!("{}\n", serde_json::json!({ "url": url }))
    } else {
        format!("Console    {url}\nWhoever has this address can {power}. Ctrl-C stops the console.\n")
    };
    terminal::print(&text).context("cannot write the output")
}

/// Opens the browser on a private page that leads to the console: other users of this machine see the arguments of a
/// process. The page is deleted with the returned directory. Without a browser, the printed address is all there is.
fn open_browser(url: &str) -> Option<(TempDir, NamedTempFile)> {
    let program = browser_opener()?;
    let (dir, page) = write_page(url).ok()?;
    let mut command = Command::new(program);
    command.arg(page.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A browser that does not open is no failure: the address is printed.
    command.spawn().ok().map(|_| (dir, page))
}

/// Writes the page. Only its owner may enter the directory, and read the file.
fn write_page(url: &str) -> io::Result<(TempDir, NamedTempFile)> {
    let dir = private_temporary_directory()?;
    let mut page = tempfile::Builder::new().suffix(".html").tempfile_in(dir.path())?;
    let text = format!(
        "<!doctype html><title>Balance Inbox</title><meta http-equiv=\"refresh\" content=\"0; url={url}\">\
         <a href=\"{url}\">Open the console</a>\n"
    );
    page.write_all(text.as_bytes())?;
    page.flush()?;
    Ok((dir, page))
}

/// A directory that only its owner may enter, so that others do not even see the name of the page.
fn private_temporary_directory() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("inboxctl-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir()
}

/// Program that opens a file in the browser; `None` without a display.
fn browser_opener() -> Option<&'static str> {
    if cfg!(target_os = "macos") {
        return Some("open");
    }
    if cfg!(windows) {
        return Some("explorer");
    }
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    has_display.then_some("xdg-open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn other_users_cannot_read_the_page_that_holds_the_token() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, page) = write_page("http://127.0.0.1:3003/?token=abc").unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(page.path())), (0o700, 0o600));
        let text = std::fs::read_to_string(page.path()).unwrap();
        assert!(text.contains("content=\"0; url=http://127.0.0.1:3003/?token=abc\""), "{text}");
        let path = dir.path().to_owned();
        drop((dir, page));
        assert!(!path.exists(), "it is gone when the console stops");
    }
}
