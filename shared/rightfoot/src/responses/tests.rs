use super::*;
use proptest::prelude::*;

fn named(id: &str) -> Id {
    Id::new(id).unwrap()
}

fn at(text: &str) -> UnixMillis {
    UnixMillis::from_rfc3339(text).unwrap()
}

/// The only row of a page, or the field because of which it is skipped.
fn single_row<T>(mut page: ResponsePage<T>) -> Result<T, &'static str> {
    match page.skipped.by_field().collect::<Vec<_>>()[..] {
        [] => Ok(page.rows.remove(0)),
        [(field, 1)] if page.rows.is_empty() => Err(field),
        _ => panic!("{:?} beside {} rows", page.skipped, page.rows.len()),
    }
}

fn row(json: &str) -> Result<Balance, &'static str> {
    let body = format!(r#"{{"balances":[{json}]}}"#);
    single_row(parse_balance_page(body.as_bytes(), &named("b")).unwrap())
}

fn entry(json: &str) -> Result<HistoryEntry, &'static str> {
    let body = format!(r#"{{"history":[{json}]}}"#);
    single_row(parse_history_page(body.as_bytes(), &named("a")).unwrap())
}

fn failed(list: &str) -> Vec<FailedAuthorizer> {
    let body = format!(r#"{{"batch_id":"b","failed_authorizers":{list}}}"#);
    parse_submitted_batch(body.as_bytes()).unwrap().failed_authorizers
}

fn without_id(error: &str) -> FailedAuthorizer {
    FailedAuthorizer { error: error.to_owned(), ..Default::default() }
}

#[test]
fn a_status_code_is_read_from_either_field() {
    for (json, code) in [
        (r#"{"authorizer_unique_id":"a","balance":1,"balance_status_code":0,"status_code":7}"#, 0),
        (r#"{"authorizer_unique_id":"a","balance":null,"balance_status_code":2560}"#, 2560),
        (r#"{"authorizer_unique_id":"a","balance":null,"balance_status_code":77777,"status_code":1}"#, 77777),
        (r#"{"authorizer_unique_id":"a","balance":null,"status_code":3310}"#, 3310),
        (r#"{"authorizer_unique_id":"a","balance_status_code":null,"status_code":3310}"#, 3310),
        (r#"{"authorizer_unique_id":"a","balance":1,"balance_status_code":0,"status_code":"SUCCESS"}"#, 0),
        (r#"{"authorizer_unique_id":"a","balance":null,"balance_status_code":3200,"status_code":{}}"#, 3200),
        (r#"{"authorizer_unique_id":"a","balance":1,"balance_status_code":"0"}"#, 0),
        (r#"{"authorizer_unique_id":"a","balance":1,"balance_status_code":0.0}"#, 0),
        (r#"{"authorizer_unique_id":"a","balance":null,"balance_status_code":"3300.0"}"#, 3300),
        (r#"{"authorizer_unique_id":"a","balance":1,"status_code":"SUCCESS"}"#, 0),
        (r#"{"authorizer_unique_id":"a","balance":null,"status_code":"NO_MATCH"}"#, 9000),
        (r#"{"authorizer_unique_id":"a","balance":-83.68}"#, 0),
        (r#"{"authorizer_unique_id":"a","balance":null}"#, 9000),
        (r#"{"authorizer_unique_id":"a"}"#, 9000),
    ] {
        assert_eq!(row(json).unwrap().status_code, code, "{json}");
    }
}

#[test]
fn a_balance_keeps_its_digits() {
    for amount in ["150.00", "150", "-83.68", "0.10", "9007199254740993.01"] {
        let read = row(&format!(r#"{{"authorizer_unique_id":"a","balance":{amount}}}"#)).unwrap();
        assert_eq!(read.amount.unwrap().to_string(), amount);
    }
}

#[test]
fn a_balance_as_text_is_an_amount() {
    for (balance, amount) in [(r#""150.00""#, "150.00"), (r#"" -83.68 ""#, "-83.68"), (r#""0.0""#, "0.0")] {
        let read = row(&format!(r#"{{"authorizer_unique_id":"a","balance":{balance}}}"#)).unwrap();
        assert_eq!((read.amount.unwrap().to_string().as_str(), read.status_code), (amount, 0));
    }
}

#[test]
fn a_balance_without_one_meaning_is_skipped_unless_its_check_has_failed() {
    for odd in [r#""1,523.47""#, r#""$150""#, r#""""#, "true", "{}", "[1]", "1e99"] {
        for code in ["", r#","balance_status_code":0"#, r#","status_code":"0""#] {
            let read = row(&format!(r#"{{"authorizer_unique_id":"a","balance":{odd}{code}}}"#));
            assert_eq!(read, Err("balance"), "{odd}{code}");
        }
        let failed =
            row(&format!(r#"{{"authorizer_unique_id":"a","balance":{odd},"balance_status_code":"3300"}}"#))
                .unwrap();
        assert_eq!((failed.amount, failed.status_code), (None, 3300), "{odd}");
    }
}

#[test]
fn a_documented_status_code_without_a_meaning_is_not_replaced_by_another_field() {
    for odd in [r#""SUCCESS""#, r#""""#, "0.5", "true", "[]", "1e99"] {
        let read = row(&format!(
            r#"{{"authorizer_unique_id":"a","balance":1,"balance_status_code":{odd},"status_code":0}}"#
        ));
        assert_eq!(read, Err("balance_status_code"), "{odd}");
    }
}

#[test]
fn an_unreadable_row_does_not_affect_the_others() {
    let page = parse_balance_page(
        br#"{"balances":[{"authorizer_unique_id":"a","balance":"1.00","balance_status_code":0,"status_code":"SUCCESS"},
            null, 7, ["b"], {"authorizer_unique_id":"c","balance":"?"}, {"balance":1}, {"authorizer_unique_id":"d"}]}"#,
        &named("b"),
    )
    .unwrap();
    assert_eq!(page.rows.iter().map(|row| row.authorizer.as_str()).collect::<Vec<_>>(), ["a", "d"]);
    let skipped: Vec<_> = page.skipped.by_field().collect();
    assert_eq!(skipped, [("authorizer_unique_id", 1), ("balance", 1), ("row", 3)]);
    assert_eq!(page.skipped.rows(), 5);
    let page = parse_history_page(
        br#"{"history":[{"run_at":"2024-12-12T02:30:00","batch_id":"b-2"},{"run_at":"2024-12-11T02:30:00Z","batch_id":null},
            {"run_at":"?","batch_id":"b-0"},{"run_at":"2024-12-10T02:30:00+0000","batch_id":"b-1"}]}"#,
        &named("a"),
    )
    .unwrap();
    let run = |run_at, batch| HistoryEntry { run_at: at(run_at), batch_id: named(batch) };
    assert_eq!(page.rows, [run("2024-12-12T02:30:00Z", "b-2"), run("2024-12-10T02:30:00Z", "b-1")]);
    assert_eq!(page.skipped.by_field().collect::<Vec<_>>(), [("batch_id", 1), ("run_at", 1)]);
}

#[test]
fn a_row_without_a_usable_id_is_skipped() {
    let long = format!("\"{}\"", "x".repeat(513));
    for odd in ["null", "\"\"", "true", "{}", "[\"a\"]", r#""\ud800""#, long.as_str()] {
        assert_eq!(
            row(&format!(r#"{{"authorizer_unique_id":{odd},"balance":1}}"#)),
            Err("authorizer_unique_id")
        );
        let read = entry(&format!(r#"{{"run_at":"2024-12-12T02:30:00Z","batch_id":{odd}}}"#));
        assert_eq!(read, Err("batch_id"), "{odd}");
    }
    assert_eq!(row(r#"{"balance":1}"#), Err("authorizer_unique_id"));
}

#[test]
fn an_id_may_be_a_number_and_is_taken_as_it_is_written() {
    assert_eq!(row(r#"{"authorizer_unique_id":1286672,"balance":1}"#).unwrap().authorizer, named("1286672"));
    assert_eq!(row(r#"{"authorizer_unique_id":1.50,"balance":1}"#).unwrap().authorizer, named("1.50"));
    assert_eq!(row(r#"{"authorizer_unique_id":"\u00e9\n","balance":1}"#).unwrap().authorizer, named("é\n"));
}

#[test]
fn a_history_entry_needs_a_time() {
    for odd in ["null", "\"\"", "\"2024-12-12\"", "1733970600", "true"] {
        assert_eq!(entry(&format!(r#"{{"run_at":{odd},"batch_id":"b"}}"#)), Err("run_at"), "{odd}");
    }
    assert_eq!(entry(r#"{"batch_id":"b"}"#), Err("run_at"));
    for same in [
        "2024-12-12T02:30:00",
        "2024-12-12T02:30:00+0000",
        "2024-12-12 02:30:00",
        "2024-12-12T03:30:00+01:00",
    ] {
        let read = entry(&format!(r#"{{"run_at":"{same}","batch_id":"b"}}"#)).unwrap();
        assert_eq!(read.run_at, at("2024-12-12T02:30:00Z"), "{same}");
    }
}

#[test]
fn anything_but_one_object_with_the_fields_is_invalid() {
    let id = named("b");
    for body in ["", "x", "[]", "3", "null", "\"text\"", "{", "{}", "{}}", "{\"a\":1,}", "\u{feff}"] {
        let body = body.as_bytes();
        assert_eq!(parse_balance_page(body, &id).err(), Some(NOT_AN_OBJECT));
        assert_eq!(parse_history_page(body, &id).err(), Some(NOT_AN_OBJECT));
        let expected = if body == b"{}" { NO_TOTAL } else { NOT_AN_OBJECT };
        assert_eq!(parse_schedule(body, &id).err(), Some(expected));
        let no_post = parse_submitted_batch(body).err().zip(parse_created_schedule(body).err());
        assert!(matches!(no_post, Some((ApiError::InvalidResponse(_), ApiError::InvalidResponse(_)))));
    }
    let bom = |json: &str| format!("\u{feff}{json}").into_bytes();
    assert!(parse_balance_page(&bom(r#"{"balances":[]}"#), &id).is_ok());
    assert!(parse_history_page(&bom(r#"{"history":[]}"#), &id).is_ok());
    assert!(parse_schedule(&bom(r#"{"total_authorizers":1}"#), &id).is_ok());
    assert!(parse_submitted_batch(&bom(r#"{"batch_id":"b"}"#)).is_ok());
    assert!(parse_created_schedule(&bom(r#"{"schedule_id":"s"}"#)).is_ok());
}

#[test]
fn invalid_utf8_affects_only_the_value_that_holds_it() {
    let page = parse_history_page(
        b"{\"history\":[{\"run_at\":\"2024-12-12T02:30:00Z\",\"batch_id\":\"b-1\",\"error_message\":\"Institut\xe9\"},
            {\"run_at\":\"2024-12-11T02:30:00Z\",\"batch_id\":\"b-\xe9\"}]}",
        &named("a"),
    )
    .unwrap();
    assert_eq!(page.rows, [HistoryEntry { run_at: at("2024-12-12T02:30:00Z"), batch_id: named("b-1") }]);
    assert_eq!(page.skipped.by_field().collect::<Vec<_>>(), [("batch_id", 1)]);
    let page = parse_balance_page(
        b"{\"balances\":[{\"authorizer_unique_id\":\"\xff\",\"balance\":1},{\"authorizer_unique_id\":\"a\",\"balance\":\"1\xff\"},
            {\"authorizer_unique_id\":\"b\",\"balance\":1,\"name\":\"\xff\"}]}",
        &named("b"),
    )
    .unwrap();
    assert_eq!(page.rows.iter().map(|row| row.authorizer.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(page.skipped.by_field().collect::<Vec<_>>(), [("authorizer_unique_id", 1), ("balance", 1)]);
    assert_eq!(parse_submitted_batch(b"{\"batch_id\":\"\xff\"}").err(), Some(NO_ID));
}

#[test]
fn an_array_is_not_taken_for_an_object() {
    // Arrays that hold every field in the order in which it is declared.
    let id = named("b");
    assert_eq!(parse_balance_page(br#"["b",[],false,null]"#, &id).err(), Some(NOT_AN_OBJECT));
    assert_eq!(parse_history_page(br#"["b",[],false,null]"#, &id).err(), Some(NOT_AN_OBJECT));
    assert_eq!(parse_schedule(br#"["b",null,null,150]"#, &id).err(), Some(NOT_AN_OBJECT));
    assert_eq!(row(r#"["a",1,0,0]"#), Err("row"));
    assert_eq!(entry(r#"["2024-12-12T02:30:00Z","b"]"#), Err("row"));
    assert_eq!(parse_submitted_batch(br#"["b"]"#).err(), Some(NOT_AN_OBJECT));
    assert_eq!(parse_created_schedule(br#"["b"]"#).err(), Some(NOT_AN_OBJECT));
}

#[test]
fn a_field_that_comes_twice_is_ambiguous() {
    assert_eq!(row(r#"{"authorizer_unique_id":"a","balance":1,"balance":2}"#), Err("row"));
    assert_eq!(
        parse_balance_page(br#"{"balances":[],"balances":[]}"#, &named("b")).err(),
        Some(NOT_AN_OBJECT)
    );
}

#[test]
fn an_answer_about_another_id_is_invalid() {
    let elsewhere = Some(ApiError::InvalidResponse("about another id than requested"));
    assert_eq!(parse_balance_page(br#"{"batch_id":"c","balances":[]}"#, &named("b")).err(), elsewhere);
    assert_eq!(
        parse_history_page(br#"{"authorizer_unique_id":"c","history":[]}"#, &named("b")).err(),
        elsewhere
    );
    assert_eq!(parse_schedule(br#"{"schedule_id":"c","total_authorizers":1}"#, &named("b")).err(), elsewhere);
    for same in [r#"{"batch_id":"ab-1","balances":[]}"#, r#"{"batch_id":null,"balances":[]}"#] {
        assert!(parse_balance_page(same.as_bytes(), &named("AB-1")).is_ok(), "{same}");
    }
}

#[test]
fn without_has_more_a_token_says_that_there_is_more() {
    let page = |more: &str| {
        parse_balance_page(format!(r#"{{"balances":[]{more}}}"#).as_bytes(), &named("b"))
            .map(|page| (page.has_more, page.next_token))
    };
    let token = |token: &str| Some(token.to_owned());
    assert_eq!(page(""), Ok((false, None)));
    assert_eq!(page(r#","next_page_token":null"#), Ok((false, None)));
    assert_eq!(page(r#","next_page_token":"""#), Ok((false, None)));
    assert_eq!(page(r#","next_page_token":"t""#), Ok((true, token("t"))));
    assert_eq!(page(r#","has_more":null,"next_page_token":500"#), Ok((true, token("500"))));
    for no in ["false", r#""false""#, r#""False""#, "0", r#""0""#] {
        for unused in [r#""t""#, "null", "{}", "true"] {
            let read = page(&format!(r#","has_more":{no},"next_page_token":{unused}"#));
            assert_eq!(read, Ok((false, None)), "{no} {unused}");
        }
    }
    // A value that cannot be parsed does not mean that this was the last page.
    for yes in ["true", r#""true""#, r#""True""#, "1", r#""yes""#, "{}"] {
        assert_eq!(
            page(&format!(r#","has_more":{yes},"next_page_token":"t""#)),
            Ok((true, token("t"))),
            "{yes}"
        );
        assert_eq!(page(&format!(r#","has_more":{yes},"next_page_token":null"#)), Ok((true, None)), "{yes}");
        assert_eq!(page(&format!(r#","has_more":{yes}"#)), Ok((true, None)), "{yes}");
    }
    assert_eq!(
        page(r#","next_page_token":{}"#),
        Err(ApiError::InvalidResponse("a page token that cannot be sent"))
    );
}

#[test]
fn a_list_is_a_list_or_null() {
    let rows = |list: &str| {
        parse_balance_page(format!(r#"{{"balances":{list}}}"#).as_bytes(), &named("b"))
            .map(|page| page.rows.len())
    };
    assert_eq!(rows("null"), Ok(0));
    for odd in ["{}", "\"\"", "3"] {
        assert_eq!(rows(odd), Err(NOT_A_LIST), "{odd}");
    }
}

#[test]
fn schedule_times_are_nullable_and_otherwise_valid() {
    let state = |fields: &str| {
        parse_schedule(format!(r#"{{{fields}"total_authorizers":1}}"#).as_bytes(), &named("s"))
    };
    let never = ScheduleState { last_run_at: None, next_run_at: None, total_authorizers: 1 };
    assert_eq!(state(""), Ok(never));
    assert_eq!(state(r#""last_run_at":null,"next_run_at":null,"#), Ok(never));
    assert_eq!(state(r#""last_run_at":"","next_run_at":"","#), Ok(never));
    assert_eq!(state(r#""last_run_at":"yesterday","#), Err(NO_TIME));
    let run = ScheduleState { last_run_at: Some(at("2024-12-12T02:30:00Z")), ..never };
    assert_eq!(state(r#""last_run_at":"2024-12-12T02:30:00+0000","#), Ok(run));
    let total = |total: &str| {
        let body = format!(r#"{{"total_authorizers":{total}}}"#);
        parse_schedule(body.as_bytes(), &named("s")).map(|state| state.total_authorizers)
    };
    for same in ["150", "150.0", "\"150\"", "\" 150 \"", "1.5e2"] {
        assert_eq!(total(same), Ok(150), "{same}");
    }
    for odd in ["null", "-1", "1.5", "\"\"", "\"many\"", "true", "[150]"] {
        assert_eq!(total(odd), Err(NO_TOTAL), "{odd}");
    }
    assert_eq!(parse_schedule(b"{}", &named("s")), Err(NO_TOTAL));
}

#[test]
fn a_batch_exists_whatever_its_other_fields_hold() {
    for beside in [
        r#""submitted_at":17,"failed_authorizers":null,"warnings":null"#,
        r#""submitted_at":"now","failed_authorizers":[],"warnings":[]"#,
        r#""submitted_at":{},"message":[],"failed_authorizers":[]"#,
        r#""batch_id":"b","error":null"#,
    ] {
        let read = parse_submitted_batch(format!(r#"{{"batch_id":"b",{beside}}}"#).as_bytes()).unwrap();
        let plain = SubmittedBatch {
            batch_id: named("b"),
            submitted_at: None,
            failed_authorizers: vec![],
            warnings: vec![],
        };
        assert_eq!(read, plain);
    }
    let latin_1 =
        parse_submitted_batch(b"{\"batch_id\":\"b\",\"warnings\":[\"Latin-1: \xe9\",null,7,{\"row\":1}]}")
            .unwrap();
    assert_eq!(latin_1.warnings, ["Latin-1: \u{fffd}", "7", r#"{"row":1}"#]);
}

#[test]
fn without_a_usable_id_the_outcome_is_unknown() {
    for body in ["{}", r#"{"batch_id":null}"#, r#"{"batch_id":""}"#, r#"{"batch_id":{}}"#] {
        assert_eq!(parse_submitted_batch(body.as_bytes()).err(), Some(NO_ID), "{body}");
        assert_eq!(parse_created_schedule(body.as_bytes()).err(), Some(NO_ID), "{body}");
    }
}

#[test]
fn failed_authorizers_are_counted_in_whatever_form_they_come() {
    let plain = |id: &str| FailedAuthorizer { authorizer: Some(named(id)), ..Default::default() };
    assert_eq!(
        failed(r#"["5e6f7g8h",17,null,true]"#),
        [plain("5e6f7g8h"), plain("17"), without_id(""), without_id("true")]
    );
    assert_eq!(failed(r#"[{}]"#), [without_id("")]);
    assert_eq!(failed(r#"{"authorizer_unique_id":"5e6f7g8h"}"#), [plain("5e6f7g8h")]);
    assert_eq!(failed(r#""5e6f7g8h""#), [plain("5e6f7g8h")]);
    let long = "x".repeat(513);
    assert_eq!(failed(&format!("[\"{long}\"]")), [without_id(&long)]);

    let odd = failed(r#"[{"authorizer_unique_id":[],"error":{"code":1},"account_type":2,"row_number":"4"}]"#);
    let expected = FailedAuthorizer {
        authorizer: None,
        error: r#"{"code":1}"#.to_owned(),
        account_type: Some("2".to_owned()),
        row_number: Some(4),
    };
    assert_eq!(odd, [expected]);
    assert_eq!(failed(r#"[{"error":null,"row_number":-4}]"#), [without_id("")]);
}

#[test]
fn an_error_names_its_authorizers_or_none() {
    let item =
        r#"{"authorizer_unique_id":"5e6f7g8h","error":"ssn","account_type":"ACCOUNT_NUMBER","row_number":4}"#;
    let body =
        format!(r#"{{"status":"error","error":{{"code":"X","details":{{"failed_authorizers":[{item}]}}}}}}"#);
    let expected = FailedAuthorizer {
        authorizer: Some(named("5e6f7g8h")),
        error: "ssn".to_owned(),
        account_type: Some("ACCOUNT_NUMBER".to_owned()),
        row_number: Some(4),
    };
    assert_eq!(parse_failed_authorizers_of_error(body.as_bytes()), [expected]);
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"error":[]}"#,
        r#"{"error":{"details":"no"}}"#,
        r#"{"error":{"details":{}}}"#,
    ] {
        assert_eq!(parse_failed_authorizers_of_error(body.as_bytes()), [], "{body}");
    }
}

#[test]
fn a_created_schedule_has_the_times_that_are_readable() {
    let both = br#"{"schedule_id":"s","expires_at":"2025-01-15T00:00:00Z","next_run_at":null}"#;
    let expected = CreatedSchedule {
        schedule_id: named("s"),
        expires_at: Some(at("2025-01-15T00:00:00Z")),
        next_run_at: None,
    };
    assert_eq!(parse_created_schedule(both), Ok(expected));
}

/// JSON of any shape, made of the words that the parsers look for.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("\"2024-12-12T02:30:00Z\"".to_owned()),
        "-?[1-9][0-9]{0,40}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?",
        "\"[a-z0-9 é]{0,6}\"",
        any::<bool>().prop_map(|flag| flag.to_string()),
    ];
    let name = prop::sample::select(vec![
        "batch_id",
        "balances",
        "authorizer_unique_id",
        "balance",
        "balance_status_code",
        "status_code",
        "has_more",
        "next_page_token",
        "history",
        "run_at",
        "schedule_id",
        "last_run_at",
        "total_authorizers",
        "error",
        "details",
        "failed_authorizers",
        "warnings",
        "row_number",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let field = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(field, 0..7).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    })
}

fn run_all_parsers(body: &[u8]) {
    let id = named("b");
    let _ = (parse_balance_page(body, &id), parse_history_page(body, &id), parse_schedule(body, &id));
    let _ =
        (parse_submitted_batch(body), parse_created_schedule(body), parse_failed_authorizers_of_error(body));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        run_all_parsers(&body);
    }

    #[test]
    fn no_json_makes_a_reader_panic(body in json()) {
        run_all_parsers(body.as_bytes());
    }

    #[test]
    fn every_row_of_a_list_is_read_or_counted_as_skipped(rows in prop::collection::vec(json(), 0..6)) {
        let list = rows.join(",");
        let page = parse_balance_page(format!(r#"{{"balances":[{list}]}}"#).as_bytes(), &named("b")).unwrap();
        prop_assert_eq!(page.rows.len() as u64 + page.skipped.rows(), rows.len() as u64);
        let page = parse_history_page(format!(r#"{{"history":[{list}]}}"#).as_bytes(), &named("a")).unwrap();
        prop_assert_eq!(page.rows.len() as u64 + page.skipped.rows(), rows.len() as u64);
    }

    #[test]
    fn a_batch_is_never_lost(id in "[a-z0-9-]{1,36}", failed in json(), warnings in json(), at in json()) {
        let body = format!(r#"{{"failed_authorizers":{failed},"warnings":{warnings},"submitted_at":{at},"batch_id":"{id}"}}"#);
        prop_assert_eq!(parse_submitted_batch(body.as_bytes()).map(|read| read.batch_id), Ok(named(&id)));
    }
}

#[test]
fn no_depth_makes_a_reader_panic() {
    for body in [
        "[".repeat(200_000),
        "{\"error\":".repeat(200_000),
        format!("{{\"balances\":{}", "[".repeat(200_000)),
    ] {
        run_all_parsers(body.as_bytes());
    }
}
