//! The figures as OpenMetrics 1.0 text.

use std::fmt;
use std::slice;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::families::{Family, Sample, Samples};
use crate::error::{Error, Result};

/// What the text is, for the header.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of all families.
pub(super) fn text(families: Vec<Family>) -> Result<String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposed(Arc::new(families))));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| Error::internal("the metrics did not encode"))?;
    Ok(text)
}

#[derive(Debug)]
struct Exposed(Arc<Vec<Family>>);

impl Collector for Exposed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, samples } in self.0.iter() {
            let metric = encoder.encode_descriptor(name, help, None, kind(samples))?;
            put(samples, metric)?;
        }
        Ok(())
    }
}

fn kind(samples: &Samples) -> MetricType {
    match samples {
        Samples::Counter(_) => MetricType::Counter,
        Samples::Gauge(_) => MetricType::Gauge,
        Samples::Histogram(_) => MetricType::Histogram,
        Samples::Info(_) => MetricType::Info,
    }
}

fn put(samples: &Samples, mut metric: MetricEncoder<'_>) -> fmt::Result {
    match samples {
        Samples::Counter(samples) => samples.iter().try_for_each(|sample| put_counter(sample, &mut metric)),
        Samples::Gauge(samples) => samples.iter().try_for_each(|Sample { label, value }| match label {
            Some(label) => metric.encode_family(&slice::from_ref(label))?.encode_gauge(value),
            None => metric.encode_gauge(value),
        }),
        Samples::Histogram(histogram) => histogram.encode(metric),
        Samples::Info(labels) => metric.encode_info(labels),
    }
}

fn put_counter(Sample { label, value }: &Sample, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    match label {
        Some(label) => {
            metric.encode_family(&slice::from_ref(label))?.encode_counter::<NoLabelSet, f64, f64>(value, None)
        }
        None => metric.encode_counter::<NoLabelSet, f64, f64>(value, None),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::histogram::Histogram;

    use super::*;

    #[test]
    fn each_kind_has_its_lines() {
        let sample = |label: Option<&'static str>, value| Sample { label: label.map(|of| ("of", of.into())), value };
        let histogram = Histogram::new([1.0]);
        histogram.observe(0.5);
        histogram.observe(3.0);
        let families = vec![
            Family {
                name: "a",
                help: "One",
                samples: Samples::Counter(vec![sample(Some("x"), 3.0), sample(None, 0.5)]),
            },
            Family { name: "b", help: "Two", samples: Samples::Gauge(vec![sample(None, 7.0)]) },
            Family { name: "c", help: "Three", samples: Samples::Histogram(histogram) },
            Family { name: "d", help: "Four", samples: Samples::Info(vec![("version", "1".into())]) },
        ];
        let expected = "# HELP a One\n# TYPE a counter\na_total{of=\"x\"} 3.0\na_total 0.5\n\
            # HELP b Two\n# TYPE b gauge\nb 7.0\n\
            # HELP c Three\n# TYPE c histogram\nc_sum 3.5\nc_count 2\nc_bucket{le=\"1.0\"} 1\nc_bucket{le=\"+Inf\"} 2\n\
            # HELP d Four\n# TYPE d info\nd_info{version=\"1\"} 1\n# EOF\n";
        assert_eq!(text(families).unwrap(), expected);
    }
}
