//! To whom it prints.

use std::process::Stdio;

use crate::{Stand, command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_early_is_no_failure() {
    let stand = Stand::new().await;
    let env = [("AWS_ENDPOINT_URL", stand.aws_url.as_str())];
    for (words, code) in [("due", 0), ("--json due", 0), ("--bus nowhere doctor", 1)] {
        let mut child = command(words, &env).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), said.as_str()), (Some(code), ""), "{words}");
    }
    let mut child = command("--table nowhere due", &env).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(1), "nobody hears the error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_a_failure() {
    let stand = Stand::new().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let env = [("AWS_ENDPOINT_URL", stand.aws_url.as_str())];
    let child = command("due", &env).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(ended.stderr).unwrap(),
        "error: what was found cannot be printed: No space left on device (os error 28)\n"
    );
}
