//! Tests of parsing requests, and of the bytes and fingerprints made from them.

use super::submission::{FingerprintMatch, fingerprint, is_repeatable, match_fingerprint};
use super::*;
use crate::secret_keys::{KeyCodec, Keys};
use proptest::prelude::*;

const URL: &str = "https://x.example/webhooks/rightfoot/payroll-1.mac";

fn parse_text(request: &str) -> Result<RightfootRequest, InvalidRequest> {
    parse(&RawValue::from_string(request.to_owned()).unwrap())
}

fn error(request: &str) -> String {
    match parse_text(request) {
        Err(error) => error.to_string(),
        Ok(request) => panic!("{request:?}"),
    }
}

fn batch(request: &str) -> SubmitBatch {
    match parse_text(request) {
        Ok(RightfootRequest::SubmitBatch(batch)) => batch,
        other => panic!("{other:?}"),
    }
}

fn schedule(request: &str) -> CreateSchedule {
    match parse_text(request) {
        Ok(RightfootRequest::CreateSchedule(schedule)) => schedule,
        other => panic!("{other:?}"),
    }
}

fn keys(value: &str) -> Keys {
    Keys::parse(value, KeyCodec::Utf8).unwrap()
}

#[test]
fn a_batch_is_passed_on_with_its_url_and_nothing_else_changed() {
    let parsed = batch(
        r#"{"action":"submit_batch","submission_id":"payroll-1","authorizers":[
            {"ssn":"078-05-1120","authorizer_unique_id":"a-1","address":{"zip_code":"90210","city":"M\u00fcnchen"},
             "date_of_birth":{"day":1,"month":1,"year":1980},"limit":150.00,"tags":[],"more":{}}]}"#,
    );
    assert_eq!(parsed.submission_id.as_str(), "payroll-1");
    assert_eq!(
        String::from_utf8(parsed.body(URL)).unwrap(),
        concat!(
            r#"{"authorizers":[{"address":{"city":"München","zip_code":"90210"},"authorizer_unique_id":"a-1","#,
            r#""date_of_birth":{"day":1,"month":1,"year":1980},"limit":150.00,"more":{},"ssn":"078-05-1120","tags":[]}],"#,
            r#""webhook_url":"https://x.example/webhooks/rightfoot/payroll-1.mac"}"#
        )
    );
}

#[test]
fn p5_equivalent_requests_give_the_same_bytes() {
    let one = r#"{"action":"submit_batch","submission_id":"s","authorizers":[{"authorizer_unique_id":"a","ssn":"1/2"}]}"#;
    let same = r#" { "authorizers" : [ { "ssn" : "1\/2", "authorizer_unique_id" : "\u0061" } ], "submission_id":"s", "action":"submit_batch" } "#;
    assert_eq!(batch(one).body(URL), batch(same.trim()).body(URL));
    let other = one.replace("1/2", "1/3");
    assert_ne!(batch(one).body(URL), batch(&other).body(URL));
}

#[test]
fn an_error_names_the_field_and_quotes_no_value() {
    let submit = |rest: &str| format!(r#"{{"action":"submit_batch",{rest}}}"#);
    let rows = |rows: &str| submit(&format!(r#""submission_id":"s","authorizers":{rows}"#));
    for (request, expected) in [
        ("[]".to_owned(), "the request: is not a JSON object"),
        ("{}".to_owned(), "action: is missing"),
        (r#"{"action":7}"#.to_owned(), "action: is not a string"),
        (
            r#"{"action":"submit"}"#.to_owned(),
            "action: is not one of submit_batch, create_schedule, track_batch, track_schedule, webhook_url",
        ),
        (submit(r#""authorizers":[]"#), "submission_id: is missing"),
        (
            submit(r#""submission_id":"a b","authorizers":[]"#),
            "submission_id: is not 1 to 64 of A-Z a-z 0-9 _ -",
        ),
        (submit(r#""submission_id":"s""#), "authorizers: is missing"),
        (rows("{}"), "authorizers: is not an array"),
        (rows("[]"), "authorizers: is empty"),
        (rows(r#"["078-05-1120"]"#), "authorizers[0]: is not a JSON object"),
        (rows(r#"[{"ssn":"078-05-1120"}]"#), "authorizers[0].authorizer_unique_id: is missing"),
        (rows(r#"[{"authorizer_unique_id":7}]"#), "authorizers[0].authorizer_unique_id: is not a string"),
        (
            rows(r#"[{"authorizer_unique_id":""}]"#),
            "authorizers[0].authorizer_unique_id: is not an id of 1 to 512 bytes",
        ),
        (
            rows(
                r#"[{"authorizer_unique_id":"a"},{"authorizer_unique_id":"b"},{"authorizer_unique_id":"\u0061"}]"#,
            ),
            "authorizers[2].authorizer_unique_id: is the same as that of authorizers[0]",
        ),
        (rows(r#"[{"authorizer_unique_id":"a","ssn":"1","ssn":"2"}]"#), "authorizers[0]: has a field twice"),
        (
            rows(&format!(r#"[{{"authorizer_unique_id":"a","x":{}1{}}}]"#, "[".repeat(20), "]".repeat(20))),
            "authorizers[0]: is nested too deeply",
        ),
        (
            submit(r#""submission_id":"s","webhook_url":"https://x","authorizers":[]"#),
            "webhook_url: is set by the inbox; leave it out",
        ),
        (
            submit(r#""submission_id":"s","authorizers":[{"authorizer_unique_id":"a"}],"authoriser":[]"#),
            "the request: has authoriser, which this action does not take",
        ),
        (
            submit(r#""submission_id":"s","authorizers":[{"authorizer_unique_id":"a"}],"078-05-1120":1"#),
            "the request: has a field, which this action does not take",
        ),
    ] {
        assert_eq!(error(&request), expected, "{request}");
    }
    let many = vec![r#"{"authorizer_unique_id":"a-N"}"#; 1_001];
    let many: Vec<_> = many.iter().enumerate().map(|(n, row)| row.replace('N', &n.to_string())).collect();
    assert_eq!(
        error(&rows(&format!("[{}]", many.join(",")))),
        "authorizers: has more than 1000 elements, Rightfoot's limit for one batch"
    );
    batch(&rows(&format!("[{}]", many[..1_000].join(","))));
}

#[test]
fn an_error_of_a_track_request_names_the_field() {
    for (request, expected) in [
        (r#"{"action":"webhook_url"}"#.to_owned(), "subject: is missing"),
        (r#"{"action":"track_batch","batch_id":"b"}"#.to_owned(), "expected: is missing"),
        (r#"{"action":"track_batch","batch_id":"b","expected":1.5}"#.to_owned(), "expected: is not a whole number"),
        (
            r#"{"action":"track_batch","batch_id":"b","expected":0}"#.to_owned(),
            "expected: must be at least 1",
        ),
        (
            r#"{"action":"track_batch","batch_id":"b","expected":2,"failed_authorizer_ids":["x","x"]}"#.to_owned(),
            "failed_authorizer_ids[1]: is a duplicate",
        ),
        (
            r#"{"action":"track_batch","batch_id":"b","expected":2,"subject":"s","submission_id":"s"}"#.to_owned(),
            "subject: must not be given beside submission_id, which is the subject",
        ),
        (r#"{"action":"track_schedule","schedule_id":"s"}"#.to_owned(), "probe_authorizers: is missing"),
        (
            r#"{"action":"track_schedule","schedule_id":"s","probe_authorizers":[]}"#.to_owned(),
            "probe_authorizers: must have 1 to 10 elements",
        ),
        (
            r#"{"action":"track_schedule","schedule_id":"s","probe_authorizers":["p"],"thresholds":{"default":"5"}}"#
                .to_owned(),
            "thresholds.default: is not a number of at most 28 digits",
        ),
        (
            r#"{"action":"track_schedule","schedule_id":"s","probe_authorizers":["p"],"thresholds":{"authorizers":{"jane":"x"}}}"#
                .to_owned(),
            "thresholds.authorizers[0]: is not a number of at most 28 digits",
        ),
        (
            r#"{"action":"track_schedule","schedule_id":"s","probe_authorizers":["p"],"expires_at":"soon"}"#.to_owned(),
            "expires_at: is neither YYYY-MM-DD nor RFC 3339",
        ),
        (
            r#"{"action":"track_schedule","schedule_id":"s","probe_authorizers":["p"],"interval_days":31}"#.to_owned(),
            "interval_days: must be 1 to 30",
        ),
    ] {
        assert_eq!(error(&request), expected, "{request}");
    }
}

#[test]
fn a_tracked_batch_may_be_as_large_as_a_csv_upload() {
    let track = |failed: usize| {
        let failed: Vec<_> = (0..failed).map(|n| format!("\"a-{n}\"")).collect();
        let failed = failed.join(",");
        parse_text(&format!(
            r#"{{"action":"track_batch","batch_id":"b","expected":5000,"failed_authorizer_ids":[{failed}]}}"#
        ))
    };
    for failed in [1_200, 5_000] {
        let Ok(RightfootRequest::TrackBatch(track)) = track(failed) else { panic!("{failed}") };
        assert_eq!((track.expected, track.failed.len()), (5_000, failed));
    }
    assert_eq!(
        track(5_001).unwrap_err().to_string(),
        "failed_authorizer_ids: has more than 5000 elements, Rightfoot's limit for one batch"
    );
}

#[test]
fn a_schedule_keeps_its_thresholds_and_is_found_by_its_first_authorizers() {
    let request = r#"{"action":"create_schedule","submission_id":"weekly","name":"Weekly","interval_days":7,
        "time_of_day":"02:30","start_at":"2026-12-01","expires_at":"2027-01-15","threshold_amount":100.00,
        "authorizers":[{"authorizer_unique_id":"a"},{"authorizer_unique_id":"b","threshold_amount":50},
                       {"authorizer_unique_id":"c"},{"authorizer_unique_id":"d"}]}"#;
    let parsed = schedule(request);
    let probes: Vec<_> = parsed.probes.iter().map(Id::as_str).collect();
    assert_eq!(probes, ["a", "b", "c"]);
    let threshold = |name| parsed.thresholds.of(&Id::new(name).unwrap()).map(|it| it.to_string());
    assert_eq!((threshold("a").as_deref(), threshold("b").as_deref()), (Some("100.00"), Some("50")));
    assert_eq!(parsed.interval, Some(DAY * 7));
    assert_eq!(parsed.expires_at.map(UnixMillis::rfc3339).as_deref(), Some("2027-01-16T00:00:00.000Z"));
    assert_eq!(
        String::from_utf8(parsed.body(URL)).unwrap(),
        concat!(
            r#"{"authorizers":[{"authorizer_unique_id":"a"},{"authorizer_unique_id":"b","threshold_amount":50},"#,
            r#"{"authorizer_unique_id":"c"},{"authorizer_unique_id":"d"}],"expires_at":"2027-01-15","interval_days":7,"#,
            r#""name":"Weekly","start_at":"2026-12-01","threshold_amount":100.00,"time_of_day":"02:30","#,
            r#""webhook":"https://x.example/webhooks/rightfoot/payroll-1.mac"}"#
        )
    );
    let own = schedule(&request.replace(r#""name""#, r#""probe_authorizers":["d"],"name""#));
    assert_eq!(own.probes, [Id::new("d").unwrap()]);
    let stranger = request.replace(r#""name""#, r#""probe_authorizers":["d","e"],"name""#);
    assert_eq!(error(&stranger), "probe_authorizers[1]: is not one of the authorizers");
    assert_eq!(
        error(&request.replace("50}", "\"50\"}")),
        "authorizers[1].threshold_amount: is not a number of at most 28 digits"
    );
    assert_eq!(error(&request.replace("\"Weekly\"", "\"\"")), "name: must have 1 to 255 characters");
}

#[test]
fn a_tracked_batch_is_bound_to_the_given_subject() {
    let bound = |rest: &str| {
        let request = format!(r#"{{"action":"track_batch","batch_id":"b","expected":3{rest}}}"#);
        match parse_text(&request) {
            Ok(RightfootRequest::TrackBatch(track)) => track.binding,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bound(""), SubjectBinding::None);
    assert_eq!(bound(r#","subject":"x""#), SubjectBinding::Subject("x".parse().unwrap()));
    assert_eq!(bound(r#","submission_id":"x""#), SubjectBinding::Submission("x".parse().unwrap()));
    assert_eq!(bound(r#","subject":null"#), SubjectBinding::None);
}

#[test]
fn a_submission_matches_its_fingerprint_under_every_accepted_key() {
    let made = fingerprint(b"body", &keys("old")).unwrap();
    assert_eq!(match_fingerprint(b"body", &made, &keys("old")), FingerprintMatch::Yes);
    assert_eq!(match_fingerprint(b"body", &made, &keys(r#"["new","old"]"#)), FingerprintMatch::Yes);
    assert_eq!(match_fingerprint(b"another", &made, &keys(r#"["new","old"]"#)), FingerprintMatch::No);
    assert_eq!(match_fingerprint(b"body", &made, &keys("new")), FingerprintMatch::UnknownKey);
    assert_eq!(fingerprint(b"body", &Keys::default()), None);
    // printf %s 'rightfoot-submission/v1:body' | openssl dgst -sha256 -hmac old
    assert_eq!(made.mac, "daa10cd370b8277257225f624d435ee097620161e7828cb60cd59869ae587fd3");
}

#[test]
fn the_same_bytes_are_sent_again_only_while_rightfoot_remembers_them() {
    let hours = |n: i64| UnixMillis(n * 3_600_000);
    assert!(is_repeatable(hours(0), hours(23).minus(Duration::from_millis(1))));
    assert!(!is_repeatable(hours(0), hours(23)));
}

proptest! {
    #[test]
    fn parsing_a_request_never_panics(text in r#"[{}\[\]":,a-z0-9\\ ]{0,60}"#) {
        if let Ok(raw) = RawValue::from_string(text) {
            let _ = parse(&raw);
        }
    }

    #[test]
    fn p8_no_error_quotes_a_value(name in "[a-z_]{1,12}", secret in "[1-9][0-9]{8}") {
        for value in [format!("\"{secret}\""), secret.clone(), format!("[{secret}]"), format!("{{\"{secret}\":1}}")] {
            for action in ["submit_batch", "create_schedule", "track_batch", "track_schedule", "webhook_url"] {
                let request = format!(r#"{{"action":"{action}","{name}":{value},"authorizers":[{value}]}}"#);
                if let Err(error) = parse_text(&request) {
                    prop_assert!(!error.to_string().contains(&secret), "{error}");
                }
            }
        }
    }
}
