//! `local`, as a process.

#![expect(clippy::unwrap_used, reason = "a test's own code")]

use std::net::TcpListener;
use std::process::{Command, Stdio};

/// How it ends with these words and variables: its exit code, and what it says on stderr.
fn fails(words: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut local = Command::new(env!("CARGO_BIN_EXE_local"));
    local.args(words.split(' ')).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    let ended = local.output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let (code, error) = fails("--rightfoot-api https://api.example", &[("RIGHTFOOT_API_KEY", "")]);
    assert_eq!(code, Some(2));
    assert!(error.contains("not provided:\n  --rightfoot-api-key <KEY>\n"), "{error}");
}

#[test]
fn a_url_has_a_scheme() {
    for option in ["--webhook-base-url", "--rightfoot-api"] {
        let words = format!("--memory --http-port 0 --aws-port 0 {option} inbox.example.com");
        let key = ("RIGHTFOOT_API_KEY", "k");
        let (code, error) = fails(&words, &[key]);
        assert_ne!(code, Some(0));
        assert!(error.contains(option) && error.contains("inbox.example.com"), "{error}");
    }
}

#[test]
fn all_taken_ports_are_named_at_once() {
    let taken = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [http, aws, rightfoot] = taken.each_ref().map(|it| it.local_addr().unwrap().port());
    let words = format!("--memory --http-port {http} --aws-port {aws} --rightfoot-port {rightfoot}");
    let (code, error) = fails(&words, &[]);
    assert_eq!(code, Some(1));
    for named in [
        format!("{http} (--http-port)"),
        format!("{aws} (--aws-port)"),
        format!("{rightfoot} (--rightfoot-port)"),
    ] {
        assert!(error.contains(&format!("port {named}: ")), "{error}");
    }
}
