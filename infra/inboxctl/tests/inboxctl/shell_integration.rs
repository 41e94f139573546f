//! Completions, manual pages and the short help.

use crate::{CliHarness, snapshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completions_and_manual_need_no_aws_and_know_every_command() {
    let harness = CliHarness::new().await;
    let nowhere = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    for (words, marks) in [
        (
            "completions bash",
            [
                "complete -F _inboxctl",
                "compgen -W \"recorded sent claimed",
                "compgen -W \"unreadable unknown_type",
            ],
        ),
        ("completions zsh", ["#compdef inboxctl", "dead-letters", "--why"]),
        ("completions fish", ["complete -c inboxctl", "dead-letters", "-l why"]),
        ("man", [".TH inboxctl 1", "inboxctl\\-dead\\-letters", "Table in which the worker stores balances"]),
    ] {
        let ran = harness.run_with_env(words, &nowhere).await;
        assert_eq!((ran.exit_code, ran.stderr.as_str()), (0, ""), "{words}");
        for mark in marks {
            assert!(ran.stdout.contains(mark), "{words}: {mark}");
        }
    }
    let unknown = harness.run_with_env("completions tcsh", &nowhere).await;
    assert_eq!(unknown.exit_code, 2, "{}", unknown.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_gets_a_manual_page_for_each_command() {
    let harness = CliHarness::new().await;
    let dir = std::env::temp_dir().join(format!("inboxctl-man-{}", uuid::Uuid::new_v4()));
    let ran = harness.run_with_env(&format!("man --dir '{}'", dir.display()), &[]).await;
    assert_eq!(ran.exit_code, 0, "{}", ran.transcript());
    for page in ["inboxctl.1", "inboxctl-events.1", "inboxctl-events-replay.1"] {
        let text = std::fs::read_to_string(dir.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    std::fs::remove_dir_all(dir).unwrap();
    let file = harness.run_with_env("man --dir /dev/null", &[]).await;
    assert_eq!(file.exit_code, 1);
    assert!(file.stderr.starts_with("error: cannot create /dev/null: "), "{}", file.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_help_of_a_command_fits_a_screen() {
    let harness = CliHarness::new().await;
    let help = harness.run("events list -h").await;
    assert!(help.stdout.lines().count() <= 40, "{}", help.stdout);
    snapshot!(help.transcript());
}
