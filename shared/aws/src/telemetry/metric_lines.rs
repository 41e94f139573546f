//! Merges the metrics of an invocation with each other and with a line of the log.
//!
//! Both are JSON objects. In CloudWatch's embedded metric format (EMF), a line may have several directives, each with
//! its own dimensions and metrics. Their values are members of the line itself, and the line may have other members.
//! So what is merged must not use one name for two different values. (Source: Amazon CloudWatch User Guide,
//! "Specification: Embedded metric format", sections "Root node", "MetricDirective object" and "DimensionSet",
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.)
//!
//! Of its limits, the collector keeps those on the values of a metric (100) and the dimensions of a set (30).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most metrics of one line. The specification allows as many in each directive.
const MAX_METRICS: usize = 100;

/// Member of a line that makes it EMF.
const METADATA: &str = "_aws";

/// Merges `documents`, which are lines of EMF, into `last_line`, and returns the lines to write. A document whose names
/// would conflict gets a line of its own, and so do all of them if there is no last line.
pub(super) fn merge(last_line: Option<&str>, documents: &str) -> String {
    let mut written = String::with_capacity(last_line.map_or(0, str::len) + documents.len());
    let mut lines: Vec<_> = last_line.and_then(Line::parse).into_iter().collect();
    if lines.is_empty() {
        written.extend(last_line);
    }
    for text in documents.lines() {
        let Ok(document) = serde_json::from_str::<Document>(text) else {
            // No line that the collector writes, but metrics are not lost for that.
            written.extend([text, "\n"]);
            continue;
        };
        match lines.iter_mut().find(|line| line.accepts(&document)) {
            Some(line) => line.add(document),
            None => lines.push(Line::of(document)),
        }
    }
    lines.into_iter().for_each(|line| line.write_to(&mut written));
    written
}

/// A line of EMF.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(rename = "_aws")]
    metadata: Metadata,
    /// Values of its metrics and dimensions.
    #[serde(flatten)]
    values: Map<String, Value>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: Vec<Directive>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    /// Each metric is counted once for each of these sets.
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Metric>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

/// A line that metrics are added to.
#[derive(Debug)]
struct Line<'a> {
    /// Text of the members that it has in the log, between its braces. It is not printed again, so it stays escaped.
    text: &'a str,
    /// All its members, except [`METADATA`].
    members: Map<String, Value>,
    /// Names of the members that metrics have added.
    added: Vec<String>,
    metadata: Option<Metadata>,
}

impl<'a> Line<'a> {
    /// `None` if the line is no JSON object, or has metrics already.
    fn parse(line: &'a str) -> Option<Self> {
        let members: Map<_, _> = serde_json::from_str(line).ok()?;
        let text = line.trim_end().strip_prefix('{')?.strip_suffix('}')?;
        let is_free = !members.contains_key(METADATA);
        is_free.then_some(Self { text, members, added: Vec::new(), metadata: None })
    }

    fn of(document: Document) -> Self {
        let mut line = Self { text: "", members: Map::new(), added: Vec::new(), metadata: None };
        line.add(document);
        line
    }

    /// True if each name of the document is new, or has the same value here.
    fn accepts(&self, document: &Document) -> bool {
        let mine = self.metadata.iter().flat_map(|metadata| &metadata.directives);
        let metrics: usize =
            mine.chain(&document.metadata.directives).map(|directive| directive.metrics.len()).sum();
        let mut values = document.values.iter();
        metrics <= MAX_METRICS
            && values.all(|(name, value)| self.members.get(name).is_none_or(|own| own == value))
    }

    fn add(&mut self, document: Document) {
        for (name, value) in document.values {
            if !self.members.contains_key(&name) {
                self.added.push(name.clone());
                self.members.insert(name, value);
            }
        }
        let Some(metadata) = &mut self.metadata else {
            self.metadata = Some(document.metadata);
            return;
        };
        for directive in document.metadata.directives {
            let same =
                |it: &&mut Directive| it.namespace == directive.namespace && it.metrics == directive.metrics;
            match metadata.directives.iter_mut().find(same) {
                Some(same) => same.dimensions.extend(directive.dimensions),
                None => metadata.directives.push(directive),
            }
        }
    }

    fn write_to(self, out: &mut String) {
        let metadata = self.metadata.and_then(|metadata| serde_json::to_string(&metadata).ok());
        let metadata = metadata.map(|json| format!("\"{METADATA}\":{json}"));
        let values = self
            .added
            .iter()
            .filter_map(|name| Some(format!("{}:{}", Value::from(name.as_str()), self.members.get(name)?)));
        let text = Some(self.text.to_owned()).filter(|text| !text.is_empty());
        let members: Vec<_> = text.into_iter().chain(metadata).chain(values).collect();
        out.extend(["{", &members.join(","), "}\n"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"level":"INFO","provider":"fynapse","reason":"mismatch","quarantined":1}"#;

    /// A document as the collector writes it.
    fn document(dimensions: &str, metrics: &str, values: &str) -> String {
        let directive = format!(r#""Dimensions":[[{dimensions}]],"Metrics":[{metrics}]"#);
        let directive = format!(r#"{{"Namespace":"N",{directive}}}"#);
        format!("{{\"_aws\":{{\"Timestamp\":7,\"CloudWatchMetrics\":[{directive}]}},{values}}}\n")
    }

    fn counted(dimensions: &str, name: &str, values: &str) -> String {
        document(dimensions, &format!(r#"{{"Name":"{name}"}}"#), values)
    }

    #[test]
    fn a_line_has_its_fields_and_the_metrics_of_every_set_of_dimensions() {
        let age = r#"{"Name":"received"},{"Name":"signature_age","Unit":"Seconds"}"#;
        let received =
            document(r#""provider""#, age, r#""provider":"fynapse","received":1,"signature_age":[3.0]"#);
        let total = counted("", "key_refused", r#""key_refused":2"#);
        let merged = merge(Some(&format!("{LINE}\n")), &(received + &total));
        let expected = concat!(
            r#"{"level":"INFO","provider":"fynapse","reason":"mismatch","quarantined":1,"#,
            r#""_aws":{"Timestamp":7,"CloudWatchMetrics":["#,
            r#"{"Namespace":"N","Dimensions":[["provider"]],"#,
            r#""Metrics":[{"Name":"received"},{"Name":"signature_age","Unit":"Seconds"}]},"#,
            r#"{"Namespace":"N","Dimensions":[[]],"Metrics":[{"Name":"key_refused"}]}]},"#,
            r#""received":1,"signature_age":[3.0],"key_refused":2}"#,
            "\n",
        );
        assert_eq!(merged, expected);
    }

    /// The field `quarantined` of a run's line is the metric, too.
    #[test]
    fn what_is_counted_by_reason_and_in_total_is_one_directive_if_both_are_the_same() {
        let by_reason = r#""provider":"fynapse","reason":"mismatch","quarantined":1"#;
        let documents = counted("", "quarantined", r#""quarantined":1"#)
            + &counted(r#""provider","reason""#, "quarantined", by_reason);
        let directive =
            r#"{"Namespace":"N","Dimensions":[[],["provider","reason"]],"Metrics":[{"Name":"quarantined"}]}"#;
        let expected = format!(
            "{},\"_aws\":{{\"Timestamp\":7,\"CloudWatchMetrics\":[{directive}]}}}}\n",
            LINE.strip_suffix('}').unwrap()
        );
        assert_eq!(merge(Some(LINE), &documents), expected);
    }

    /// Two reasons: one name, two values.
    #[test]
    fn a_name_with_two_values_is_on_two_lines() {
        let reason = |reason: &str, count: u8| {
            counted(r#""reason""#, "returned", &format!(r#""reason":"{reason}","returned":{count}"#))
        };
        let total = counted("", "returned", r#""returned":3"#);
        let documents = total + &reason("aws_error", 1) + &reason("timed_out", 2);
        assert_eq!(merge(None, &documents), documents);
        // The line has another reason than any document, so only the total fits.
        let merged = merge(Some(LINE), &documents);
        let lines: Vec<_> = merged.lines().collect();
        assert_eq!(lines.len(), 3, "{merged}");
        assert!(
            lines[0].starts_with(LINE.strip_suffix('}').unwrap()) && lines[0].ends_with(r#""returned":3}"#)
        );
        assert!(lines[1].ends_with(r#""reason":"aws_error","returned":1}"#));
        assert!(lines[2].ends_with(r#""reason":"timed_out","returned":2}"#));
    }

    #[test]
    fn without_a_line_the_metrics_are_lines_of_their_own() {
        let documents = counted("", "relayed", r#""relayed":1"#) + &counted("", "polled", r#""polled":2"#);
        let expected = concat!(
            r#"{"_aws":{"Timestamp":7,"CloudWatchMetrics":["#,
            r#"{"Namespace":"N","Dimensions":[[]],"Metrics":[{"Name":"relayed"}]},"#,
            r#"{"Namespace":"N","Dimensions":[[]],"Metrics":[{"Name":"polled"}]}]},"relayed":1,"polled":2}"#,
            "\n",
        );
        assert_eq!(merge(None, &documents), expected);
    }

    #[test]
    fn a_line_is_written_as_it_is_if_there_is_nothing_to_merge() {
        let escaped = "{\"id\":\"b\\u202e\"}\n";
        assert_eq!(merge(Some(escaped), ""), escaped);
        assert_eq!(merge(None, ""), "");
    }

    #[test]
    fn escapes_of_the_line_stay() {
        let merged = merge(Some("{\"id\":\"b\\u202e\"}\n"), &counted("", "polled", r#""polled":2"#));
        assert!(merged.starts_with(r#"{"id":"b\u202e","_aws":"#), "{merged}");
    }

    #[test]
    fn a_line_without_fields_takes_metrics() {
        assert_eq!(
            merge(Some("{}\n"), &counted("", "polled", r#""polled":2"#)),
            counted("", "polled", r#""polled":2"#)
        );
    }

    #[test]
    fn what_cannot_be_parsed_is_not_lost() {
        let polled = counted("", "polled", r#""polled":2"#);
        assert_eq!(merge(Some("no JSON\n"), &polled), format!("no JSON\n{polled}"));
        let with_metrics = counted("", "relayed", r#""relayed":1"#);
        assert_eq!(merge(Some(&with_metrics), &polled), format!("{with_metrics}{polled}"));
        assert_eq!(merge(Some("{}\n"), "no JSON\n"), "no JSON\n{}\n");
    }

    #[test]
    fn a_line_has_at_most_a_hundred_metrics() {
        let document = |from: u8, to: u8| {
            let names: Vec<_> = (from..to).map(|n| format!(r#"{{"Name":"m{n}"}}"#)).collect();
            let values: Vec<_> = (from..to).map(|n| format!(r#""m{n}":1"#)).collect();
            document("", &names.join(","), &values.join(","))
        };
        let count = |documents: &str| merge(Some("{}\n"), documents).lines().count();
        assert_eq!(count(&(document(0, 60) + &document(60, 100))), 1);
        assert_eq!(count(&(document(0, 60) + &document(60, 101))), 2);
    }
}
