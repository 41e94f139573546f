//! Every alarm of infra/monitoring.yaml is quiet while the system is healthy, and notifies in time of the fault that it is for.
//!
//! - [`cloudwatch`]: a model of how CloudWatch evaluates alarms. `documented_examples` compares it with AWS's examples.
//! - [`series`]: values of metrics, by minute.
//! - [`recordings`]: our own metrics. The values come from lines of EMF that the functions wrote in `recorded_runs`, and are
//!   kept in tests/fixtures/alarm_recordings.json. Nightly, they are recorded anew and compared.
//! - [`aws_metrics`]: AWS's metrics, derived from ours by stated rules.
//! - [`weeks`]: weeks of a healthy system; `extract_run` is a run of 100,000 events in one of them.
//! - [`faults`]: the fault of each alarm, and the time in which it notifies.
//! - [`repeats`]: how often it notifies of what happens again.

mod aws_metrics;
mod cloudwatch;
mod documented_examples;
mod extract_run;
mod faults;
mod recorded_runs;
mod recordings;
mod repeats;
mod series;
mod weeks;
