//! The command line of `local`, run as a process.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

#[path = "cli/console.rs"]
mod console;
#[path = "cli/forwarding.rs"]
mod forwarding;
#[path = "cli/local_process.rs"]
mod local_process;
#[path = "cli/web_pages.rs"]
mod web_pages;

use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Runs `local` with these arguments and environment variables. Returns the exit code and stderr. It always fails, because
/// its HTTP port is taken.
fn run_until_failure(args: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut local = Command::new(env!("CARGO_BIN_EXE_local"));
    local.args(["--memory", "--http-port", &port]).args(args.split(' '));
    let output = local.env_clear().envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let (code, error) =
        run_until_failure("--rightfoot-api https://api.example", &[("RIGHTFOOT_API_KEY", "")]);
    assert_eq!(code, Some(2));
    assert!(error.contains("not provided:\n  --rightfoot-api-key <KEY>\n"), "{error}");
}

#[test]
fn a_url_has_a_scheme() {
    for option in ["--webhook-base-url", "--rightfoot-api"] {
        let args = format!("{option} inbox.example.com");
        let (code, error) = run_until_failure(&args, &[("RIGHTFOOT_API_KEY", "k")]);
        assert_ne!(code, Some(0));
        assert!(error.contains(option) && error.contains("inbox.example.com"), "{error}");
    }
}

/// Whoever reaches the AWS endpoint can read the key.
#[test]
fn the_key_of_the_real_rightfoot_is_served_to_this_machine_only() {
    let real = "--rightfoot-api https://api.example --rightfoot-api-key k";
    let refusal = "--bind is only for a Rightfoot on this machine";
    for address in ["172.17.0.1", "0.0.0.0", "::"] {
        let (code, error) = run_until_failure(&format!("--bind {address} {real}"), &[]);
        assert_eq!(code, Some(1));
        assert!(error.contains(refusal), "{error}");
    }
    // Both go on to the port that is taken.
    for fine in [
        format!("--bind 127.0.0.1 {real}"),
        "--bind 0.0.0.0 --rightfoot-api http://localhost:1 --rightfoot-api-key k".to_owned(),
    ] {
        let (code, error) = run_until_failure(&fine, &[]);
        assert_eq!(code, Some(1));
        assert!(!error.contains(refusal) && error.contains("(--http-port)"), "{error}");
    }
}

#[test]
fn all_ports_in_use_are_named_in_one_error() {
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [aws, rightfoot] = taken.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let (code, error) = run_until_failure(&format!("--aws-port {aws} --rightfoot-port {rightfoot}"), &[]);
    assert_eq!(code, Some(1));
    let expected = [
        " (--http-port): ".to_owned(),
        format!(" {aws} (--aws-port): "),
        format!(" {rightfoot} (--rightfoot-port): "),
    ];
    assert!(expected.iter().all(|part| error.contains(part)), "{error}");
}
