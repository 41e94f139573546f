//! Responses that API Gateway gives without invoking a function are counted from its access log.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::delivery::{Provider, RejectReason};
use inbox_core::providers::{ParseError, ProviderSpec};
use inbox_core::quarantine::QuarantineReason;
use inbox_core::reply::{DeliveryOutcome, reply_for};

use super::documents::section;
use super::monitoring::{alarms, as_written, evaluation_secs, log_metric_filters};
use super::no_offences;
use super::template::{resources, template};

/// Splits an expression at an operator outside of any parentheses.
fn split_outside_parentheses<'a>(expression: &'a str, operator: &str) -> Vec<&'a str> {
    let depth = |text: &str| text.matches('(').count() - text.matches(')').count();
    let ends =
        expression.match_indices(operator).map(|(at, _)| at).filter(|at| depth(&expression[..*at]) == 0);
    let ends: Vec<_> = ends.chain([expression.len()]).collect();
    let starts = [0].into_iter().chain(ends.iter().map(|at| at + operator.len()));
    starts.zip(&ends).map(|(start, end)| expression[start..*end].trim()).collect()
}

/// Evaluates a CloudWatch Logs filter pattern on a line of the access log. Supports `$.field = "pattern"`, `!=`, `&&`
/// and `||`.
fn matches_filter(expression: &str, line: &BTreeMap<&str, &str>) -> bool {
    let (any, all) =
        (split_outside_parentheses(expression, "||"), split_outside_parentheses(expression, "&&"));
    if any.len() > 1 {
        return any.into_iter().any(|part| matches_filter(part, line));
    }
    if all.len() > 1 {
        return all.into_iter().all(|part| matches_filter(part, line));
    }
    if let Some(inside) = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return matches_filter(inside, line);
    }
    let [field, is, value] = expression.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("{expression}")
    };
    let (found, value) = (line[field.strip_prefix("$.").unwrap()], value.trim_matches('"'));
    let alike = value.strip_suffix('*').map_or(found == value, |start| found.starts_with(start));
    alike == (is == "=")
}

/// Route key of each provider.
fn route_keys() -> BTreeMap<Provider, String> {
    let route_key = |provider: &Provider| (*provider, format!("POST {}", ProviderSpec::of(*provider).route));
    Provider::ALL.iter().map(route_key).collect()
}

/// Names of the metric filters that count this line of the access log.
fn counting_metrics(status: &str, integration_status: &str, route_key: &str) -> Vec<String> {
    let line = BTreeMap::from([
        ("status", status),
        ("integrationStatus", integration_status),
        ("routeKey", route_key),
    ]);
    let counts = |pattern: &str| {
        let inside = pattern.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        matches_filter(inside.unwrap().trim(), &line)
    };
    log_metric_filters().into_iter().filter(|(_, pattern)| counts(pattern)).map(|(name, _)| name).collect()
}

#[test]
fn a_filters_expression_is_read_as_cloudwatch_logs_reads_it() {
    let line = BTreeMap::from([("a", "1"), ("b", "xy z")]);
    for (expression, expected) in [
        (r#"$.a = "1""#, true),
        (r#"$.a != "1""#, false),
        (r#"$.b = "xy z""#, true),
        (r#"$.b = "x*""#, true),
        (r#"($.a = "2") && ($.b = "x*")"#, false),
        (r#"($.a = "2") || ($.b = "x*")"#, true),
        (r#"($.a = "1") && (($.b = "no") || ($.b = "xy z"))"#, true),
        (r#"($.a = "2") && (($.b = "no") || ($.b = "xy z"))"#, false),
    ] {
        assert_eq!(matches_filter(expression, &line), expected, "{expression}");
    }
}

/// After a 413, Fynapse never retries a delivery, and our code does not see it.
#[test]
fn what_the_gateway_refuses_by_itself_is_counted_and_what_we_refuse_is_not() {
    let format = &template()["Resources"]["HttpApiStage"]["Properties"]["AccessLogSettings"]["Format"];
    let logged: BTreeMap<String, String> = serde_json::from_str(format.as_str().unwrap()).unwrap();
    for field in ["status", "integrationStatus", "routeKey"] {
        assert_eq!(logged[field], format!("$context.{field}"));
    }
    let routes = resources(&template(), "AWS::ApiGatewayV2::Route").into_values();
    let routes: BTreeSet<_> = routes.map(|route| as_written(&route["Properties"]["RouteKey"])).collect();
    assert_eq!(routes, route_keys().into_values().collect());
    for (provider, route) in &route_keys() {
        let too_many = format!("{}_429", provider.as_str());
        for lambda in ["-", "413"] {
            assert_eq!(counting_metrics("413", lambda, route), ["gateway_413"], "{route}");
        }
        for lambda in ["-", "429"] {
            assert_eq!(counting_metrics("429", lambda, route), [too_many.as_str()]);
        }
        for status in ["400", "403", "404", "431"] {
            assert_eq!(counting_metrics(status, "-", route), ["gateway_4xx"], "{status} {route}");
        }
        assert_eq!(counting_metrics("503", "429", route), no_offences(), "5xx has an alarm of its own");
    }
    assert_eq!(counting_metrics("413", "-", "-"), ["gateway_413"], "refused before its route was known");
    for status in ["400", "403", "404", "429", "431"] {
        assert_eq!(counting_metrics(status, "-", "-"), no_offences(), "{status}: a path that is not ours");
    }
    let outcomes = [
        DeliveryOutcome::Recorded,
        DeliveryOutcome::Quarantined(QuarantineReason::UnknownType),
        DeliveryOutcome::Unreadable(ParseError::NotJson),
        DeliveryOutcome::Stale,
        DeliveryOutcome::Rejected(RejectReason::Mismatch),
        DeliveryOutcome::Unavailable,
    ];
    for (outcome, provider) in
        outcomes.iter().flat_map(|it| Provider::ALL.iter().map(move |provider| (it, *provider)))
    {
        let status = reply_for(provider, outcome).status.to_string();
        for integration_status in ["200", &status] {
            for route in route_keys().values() {
                assert_eq!(
                    counting_metrics(&status, integration_status, route),
                    no_offences(),
                    "{outcome:?}"
                );
            }
        }
    }
}

/// Seconds that an alarm looks back if every one of its periods must be above zero.
fn evaluation_secs_of(id: &str) -> u64 {
    let alarm = &alarms()[id];
    let is_any = alarm["Threshold"] == 0 && alarm["ComparisonOperator"] == "GreaterThanThreshold";
    assert!(is_any && alarm["Statistic"] == "Sum" && alarm.get("DatapointsToAlarm").is_none(), "{alarm}");
    evaluation_secs(alarm)
}

/// A throttled delivery is retried: by Rightfoot for 30 minutes, by Fynapse later in steps of more than 5 minutes, so
/// that the retries of a single run leave a period without one.
#[test]
fn throttling_alarms_only_if_it_lasts() {
    assert_eq!(
        (evaluation_secs_of("RightfootTooManyRequests"), evaluation_secs_of("FynapseTooManyRequests")),
        (5 * 60, 30 * 60)
    );
    const TRIES_SECS: [u64; 6] = [0, 30, 120, 390, 1_200, 3_630];
    let period = alarms()["FynapseTooManyRequests"]["Period"].as_u64().unwrap();
    for jitter in [80, 100, 120] {
        let hit: BTreeSet<_> = TRIES_SECS.map(|at| at * jitter / 100 / period).into();
        assert!((0..6).any(|period| !hit.contains(&period)), "{jitter} %: {hit:?}");
    }
}

/// AWS does not guarantee that these responses are logged: no log entry is no proof.
#[test]
fn what_the_gateway_may_not_log_is_said_where_it_is_watched() {
    let limits = section("functions/README.md", "Limits");
    let text = |id: &str| alarms()[id]["AlarmDescription"].as_str().unwrap().replace('\n', " ");
    for (id, status) in
        [("TooLarge", "413"), ("FynapseTooManyRequests", "429"), ("RightfootTooManyRequests", "429")]
    {
        assert!(text(id).contains("\"might not\" log") && text(id).contains(status), "{id}");
        assert!(limits.contains("might not") && limits.contains(status), "{status} in Limits");
    }
}
