//! `doctor`, `send` and `url mint` warn of probable mistakes in a secret's value.

use crate::CliHarness;

/// Part of every secret value here; it must never be printed.
const CANARY: &str = "c4n4ry";

async fn create_secret(harness: &CliHarness, name: &str, value: &str) {
    let secrets = &harness.world.stack.inspector.secrets;
    secrets.create_secret().name(name).secret_string(value).send().await.unwrap();
}

/// Status and finding of a check, with a secret of this value in this option.
async fn secret_check(option: &str, check: &str, value: &str) -> (String, String) {
    let harness = CliHarness::with_system_clock().await;
    create_secret(&harness, "tried", value).await;
    let ran = harness.run(&format!("--json {option} tried doctor")).await;
    assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "{}", ran.transcript());
    let report = ran.json();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["check"] == check).unwrap();
    (check["status"].as_str().unwrap().to_owned(), check["finding"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_an_api_key_that_the_functions_refuse_is_a_failure_and_one_in_quotes_a_warning() {
    let refused = "the API key is not of visible ASCII characters only: it has a blank, a line break or another character";
    for (value, status, text) in [
        ("rf_c4n4ry", "ok", "secret tried has a usable value".to_owned()),
        ("rf_c4n4ry\n", "ok", "secret tried has a usable value".to_owned()),
        (
            "rf_c4n4ry ",
            "fail",
            format!("secret tried: {refused}; it has a blank or a line break at its beginning or end"),
        ),
        (
            "rf_c4n4ry\u{a0}",
            "fail",
            format!("secret tried: {refused}; it has a blank or a line break at its beginning or end"),
        ),
        (
            "Bearer rf_c4n4ry",
            "fail",
            format!(
                "secret tried: {refused}; it has a blank, a line break, or a character that is not ASCII (such as a \
                 byte-order mark) inside; the name of an HTTP header or scheme (such as Bearer) at its beginning"
            ),
        ),
        (
            "\"rf_c4n4ry\"",
            "warn",
            "secret tried is used as it is, and has a quotation mark at its beginning or end".to_owned(),
        ),
    ] {
        let actual = secret_check("--rightfoot-api-key", "key of Rightfoot's API", value).await;
        assert_eq!(actual, (status.to_owned(), text), "{value:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_signing_secret_that_is_almost_surely_pasted_wrong_is_warned_of_without_its_value() {
    for (value, suspected) in [
        ("\"c4n4ry\"", "a quotation mark at its beginning or end"),
        (" c4n4ry ", "a blank or a line break at its beginning or end"),
        ("c4n4ry\n\n", "a blank or a line break at its beginning or end"),
        (
            "\u{feff}c4n4ry",
            "a blank, a line break, or a character that is not ASCII (such as a byte-order mark) inside",
        ),
        ("[\"c4n4ry\",\"c4n4ry\"]", "the same element twice"),
    ] {
        for (option, check) in
            [("--fynapse-secret", "secret of Fynapse"), ("--rightfoot-url-key", "key of Rightfoot's URLs")]
        {
            let actual = secret_check(option, check, value).await;
            let expected = format!("secret tried is used as it is, and has {suspected}");
            assert_eq!(actual, ("warn".to_owned(), expected), "{value:?}");
        }
    }
    let blank = secret_check("--fynapse-secret", "secret of Fynapse", "[\"c4n4ry\",\" \"]").await;
    let refused = "secret tried: the secret is empty or has an empty element; it has a blank or a line break at its \
                   beginning or end";
    assert_eq!(blank, ("fail".to_owned(), refused.to_owned()));
}

/// It signs with the same wrong value as the function, so the response is as expected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p8_a_test_delivery_that_is_signed_with_a_suspicious_secret_says_so() {
    let harness = CliHarness::with_system_clock().await;
    create_secret(&harness, "quoted", "\"c4n4ry\"").await;
    let base = &harness.http_url;
    let warned =
        "warning: secret quoted has a quotation mark at its beginning or end: `inboxctl doctor` says more\n";
    let sent = harness.run(&format!("--fynapse-secret quoted --base-url {base} send fynapse")).await;
    assert_eq!(sent.stderr, warned, "{}", sent.transcript());
    let minted = harness.run(&format!("--rightfoot-url-key quoted --base-url {base} url mint demo")).await;
    assert_eq!((minted.exit_code, minted.stderr.as_str()), (0, warned));
    let usual = harness.run(&format!("--base-url {base} send fynapse")).await;
    assert_eq!((usual.exit_code, usual.stderr.as_str()), (0, ""));
}
