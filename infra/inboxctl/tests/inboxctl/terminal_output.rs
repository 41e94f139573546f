//! Writing to stdout and stderr: closed pipes, full disks and control characters.

use std::process::Stdio;

use crate::{CliHarness, inboxctl_command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_early_is_no_failure() {
    let harness = CliHarness::new().await;
    let env = [("AWS_ENDPOINT_URL", harness.aws_url.as_str())];
    for (words, code) in [("due", 0), ("--json due", 0), ("--bus nowhere doctor", 1)] {
        let mut child =
            inboxctl_command(words, &env).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().await.unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), stderr.as_str()), (Some(code), ""), "{words}");
    }
    let mut child = inboxctl_command("--table nowhere due", &env).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(1), "stderr is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_a_failure() {
    let harness = CliHarness::new().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let env = [("AWS_ENDPOINT_URL", harness.aws_url.as_str())];
    let child = inboxctl_command("due", &env).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(ended.stderr).unwrap(),
        "error: cannot write the output: No space left on device (os error 28)\n"
    );
}

/// Of C0 and C1, a bidi override, a line separator, a zero-width space and a tag, by which text hides or pretends.
const DECEPTIVE_CHARACTERS: [(char, &str, &str); 8] = [
    ('\u{7f}', "\\u{7f}", "\\u007f"),
    ('\u{9b}', "\\u{9b}", "\\u009b"),
    ('\u{202e}', "\\u{202e}", "\\u202e"),
    ('\u{2028}', "\\u{2028}", "\\u2028"),
    ('\u{200b}', "\\u{200b}", "\\u200b"),
    ('\u{2066}', "\\u{2066}", "\\u2066"),
    ('\u{feff}', "\\u{feff}", "\\ufeff"),
    ('\u{e0041}', "\\u{e0041}", "\\udb40\\udc41"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_characters_from_senders_are_escaped() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    let tricks: String = DECEPTIVE_CHARACTERS.iter().map(|it| it.0).collect();
    // No HTTP library lets DEL into a header.
    let agent = format!("evil{}agent", tricks.trim_start_matches('\u{7f}'));
    let headers = serde_json::json!({"user-agent": agent, "webhook-signature": world.sign("{")});
    world.invoke_webhook(tests::gateway_event("/webhooks/fynapse", headers, b"{", None)).await;
    let body = format!(r#"{{"event_id":"e-1","event_type":"t{tricks}","data":{{}}}}"#);
    world.deliver_fynapse(&body).await;
    world.mark_done("fynapse/event/e-1").await;
    let item = format!("fynapse/{}", inbox_core::event::payload_hash(b"{"));
    for (words, is_header) in [
        (format!("quarantine show {item}"), true),
        ("events list".to_owned(), false),
        ("events show fynapse/event/e-1 --reveal".to_owned(), false),
        (format!("events replay fynapse/event/e-1 --by ada --why 'a{tricks}'"), false),
    ] {
        for json in ["", "--json "] {
            let ran = harness.run(&format!("{json}{words}")).await;
            let printed = format!("{}{}", ran.stdout, ran.stderr);
            for (raw, text, escaped) in DECEPTIVE_CHARACTERS.into_iter().skip(usize::from(is_header)) {
                assert!(!printed.contains(raw), "{raw:?}: {printed}");
                let shown = if json.is_empty() { text } else { escaped };
                assert!(printed.contains(shown), "{raw:?}: {printed}");
            }
            if is_header && !json.is_empty() {
                assert_eq!(ran.json()["headers"]["user-agent"], agent, "it is the same JSON");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_are_for_terminals_and_never_in_json() {
    let harness = CliHarness::new().await;
    harness.world.deliver_fynapse(r#"{"event_id":"e-1","event_type":"t","data":{}}"#).await;
    harness.world.run_worker().await;
    let run = async |words: &str, env: &[(&str, &str)]| {
        let env = [&[("AWS_ENDPOINT_URL", harness.aws_url.as_str())], env].concat();
        let ran = harness.run_with_env(words, &env).await;
        format!("{}{}", ran.stdout, ran.stderr)
    };
    let forced = [("CLICOLOR_FORCE", "1")];
    for (words, painted) in [
        ("doctor", "\u{1b}[32mok\u{1b}[0m"),
        ("events list", "\u{1b}[1mEVENT"),
        ("events show e-1", "    \u{1b}[32mdone\u{1b}[0m\n"),
        ("timeline e-1", "fynapse/event/e-1: \u{1b}[32mdone\u{1b}[0m "),
        ("--table nowhere due", "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m dynamodb"),
    ] {
        assert!(run(words, &forced).await.contains(painted), "{words}");
        for plain in [vec![], vec![("NO_COLOR", "1")]] {
            assert!(!run(words, &plain).await.contains('\u{1b}'), "{words} {plain:?}");
        }
        assert!(!run(&format!("--json {words}"), &forced).await.contains('\u{1b}'), "{words}");
    }
}
