//! The console that `local` serves: its address is the first thing that is printed.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, StatusCode};

use crate::local_process::IN_MEMORY_ON_FREE_PORTS;

/// Starts `local` on free ports, with its console on this one.
fn start(console_port: &str) -> Child {
    let mut local = Command::new(env!("CARGO_BIN_EXE_local"));
    local.args(IN_MEMORY_ON_FREE_PORTS);
    local.args(["--console-port", console_port]).env_clear();
    local.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn the_consoles_address_is_printed_first_and_it_shows_the_local_inbox() {
    let mut process = start("0");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    // Browsers know the printed name; not every system finds it.
    let (_, rest) = first.strip_prefix("Console ").unwrap().trim().rsplit_once(".localhost").unwrap();
    let url = format!("http://127.0.0.1{rest}");
    // Everything is served by now.
    assert!(lines.any(|line| line == "ready"));
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let typed = client.get(&url).header("sec-fetch-site", "none").header("sec-fetch-dest", "document");
    let signed_in = typed.send().await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let checks = url.split_once("/?").unwrap().0.to_owned() + "/checks";
    let own = client.get(checks).header("sec-fetch-site", "same-origin").header("cookie", cookie);
    let page = own.send().await.unwrap().text().await.unwrap();
    // A new inbox has nothing that fails, and the checks that AWS alone allows are left out.
    assert!(page.contains("all well") && page.contains("checks do not apply here"), "{page}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_chosen_port_that_is_taken_is_an_error_that_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = start(&port).wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("--console-port") && error.contains(&port), "{error}");
}
