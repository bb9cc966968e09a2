//! Numbers for a scrape. Bounded label sets, never a name of a visitor.
//!
//! Each crate that counts declares its own metrics; here they become text (OpenMetrics 1.0).

use std::borrow::Cow;
use std::fmt::Write;

/// Who counts.
pub trait Measured: Send + Sync {
    /// All numbers of this moment.
    fn measure(&self) -> Vec<Metric>;
}

/// Names and values, in an order that stays the same.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// One metric with all its label sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Without the `_total` that counters get in the text.
    pub name: &'static str,
    /// A sentence without a full stop.
    pub help: &'static str,
    pub kind: MetricKind,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub labels: Labels,
    pub value: u64,
}

impl Metric {
    pub fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Metric {
        Metric { name, help, kind: MetricKind::Counter, samples }
    }

    pub fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Metric {
        Metric { name, help, kind: MetricKind::Gauge, samples }
    }
}

impl Sample {
    /// The only number of a metric.
    pub fn one(value: u64) -> Vec<Sample> {
        vec![Sample { labels: Vec::new(), value }]
    }

    /// A number for each value of one label.
    pub fn by(label: &'static str, samples: &[(&'static str, u64)]) -> Vec<Sample> {
        samples
            .iter()
            .map(|(name, value)| Sample { labels: vec![(label, Cow::Borrowed(*name))], value: *value })
            .collect()
    }
}

/// The text of a scrape.
pub fn openmetrics(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for metric in metrics {
        // Writing to a string does not fail.
        let _ = metric.write(&mut text);
    }
    text.push_str("# EOF\n");
    text
}

impl Metric {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Metric { name, help, kind, samples } = self;
        let (kind, suffix) = match kind {
            MetricKind::Counter => ("counter", "_total"),
            MetricKind::Gauge => ("gauge", ""),
        };
        writeln!(text, "# HELP {name} {help}.")?;
        writeln!(text, "# TYPE {name} {kind}")?;
        for Sample { labels, value } in samples {
            write!(text, "{name}{suffix}")?;
            for (index, (label, value)) in labels.iter().enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                write!(text, "{label}=\"{}\"", escaped(value))?;
            }
            text.push_str(if labels.is_empty() { "" } else { "}" });
            writeln!(text, " {value}")?;
        }
        Ok(())
    }
}

/// A label's value as the text form wants it (OpenMetrics 1.0, "escaped-string").
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_openmetrics() {
        let odd = Sample { labels: vec![("name", r#"a"b\"#.into()), ("port", "tcp/22".into())], value: 5 };
        let text = openmetrics(&[
            Metric::gauge("bartizan_generation", "Revision in force", Sample::one(3)),
            Metric::counter("bartizan_requests", "Requests", Sample::by("status", &[("2xx", 7), ("5xx", 0)])),
            Metric::counter("bartizan_app_connects", "Let in", vec![odd]),
            Metric::counter("bartizan_none", "Nothing", Vec::new()),
        ]);
        let expect = r#"
# HELP bartizan_generation Revision in force.
# TYPE bartizan_generation gauge
bartizan_generation 3
# HELP bartizan_requests Requests.
# TYPE bartizan_requests counter
bartizan_requests_total{status="2xx"} 7
bartizan_requests_total{status="5xx"} 0
# HELP bartizan_app_connects Let in.
# TYPE bartizan_app_connects counter
bartizan_app_connects_total{name="a\"b\\",port="tcp/22"} 5
# HELP bartizan_none Nothing.
# TYPE bartizan_none counter
# EOF
"#;
        assert_eq!(text, expect.trim_start());
    }
}
