//! What the two programs count, in Prometheus' text format.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// The content type of [`encode`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The backend's counters.
#[derive(Debug, Clone)]
pub struct BackendMetrics {
    registry: Registry,
    /// Uploads by `result`: `created`, `existing`, `refused`, `failed`.
    pub uploads: IntCounterVec,
    /// Bytes received in uploads that were kept or known.
    pub upload_bytes: IntCounter,
    /// Seconds per search.
    pub search_duration: Histogram,
    /// Documents by `status`.
    pub documents: IntGaugeVec,
}

/// The worker's counters.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    registry: Registry,
    /// Jobs waiting or running.
    pub queue_depth: IntGauge,
    /// Jobs given up.
    pub jobs_dead: IntGauge,
    /// Attempts by `result`: `ready`, `needs_ocr`, `retried`, `failed`, `lost`, `released`.
    pub jobs: IntCounterVec,
    /// Seconds per document, from claim to result.
    pub job_duration: Histogram,
    /// Seconds per page or image in Tesseract.
    pub ocr_duration: Histogram,
}

impl BackendMetrics {
    /// Starts at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        Ok(Self {
            uploads: counters(
                &registry,
                ("discovery_uploads_total", "Uploads by result."),
                &["created", "existing", "refused", "failed"],
            )?,
            upload_bytes: {
                let counter =
                    IntCounter::new("discovery_upload_bytes_total", "Bytes received in uploads.")?;
                registry.register(Box::new(counter.clone()))?;
                counter
            },
            search_duration: histogram(
                &registry,
                ("discovery_search_duration_seconds", "Duration of a search."),
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0],
            )?,
            documents: {
                let opts = Opts::new("discovery_documents", "Documents by status.");
                let gauges = IntGaugeVec::new(opts, &["status"])?;
                registry.register(Box::new(gauges.clone()))?;
                gauges
            },
            registry,
        })
    }

    /// All of them as text.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        encode(&self.registry)
    }
}

impl WorkerMetrics {
    /// Starts at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        Ok(Self {
            queue_depth: gauge(
                &registry,
                ("discovery_queue_depth", "Documents waiting to be read or being read."),
            )?,
            jobs_dead: gauge(&registry, ("discovery_jobs_dead", "Jobs given up."))?,
            jobs: counters(
                &registry,
                ("discovery_jobs_total", "Attempts to read a document, by result."),
                &["ready", "needs_ocr", "retried", "failed", "lost", "released"],
            )?,
            job_duration: histogram(
                &registry,
                ("discovery_job_duration_seconds", "Time to read one document."),
                &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0],
            )?,
            ocr_duration: histogram(
                &registry,
                ("discovery_ocr_duration_seconds", "Time of character recognition per page."),
                &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0],
            )?,
            registry,
        })
    }

    /// All of them as text.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        encode(&self.registry)
    }
}

fn encode(registry: &Registry) -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

fn gauge(registry: &Registry, (name, help): (&str, &str)) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(
    registry: &Registry,
    (name, help): (&str, &str),
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let histogram = Histogram::with_opts(opts)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// Every result exists from the start: a counter that appears late looks like a restart.
fn counters(
    registry: &Registry,
    (name, help): (&str, &str),
    results: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), &["result"])?;
    for result in results {
        counters.with_label_values(&[result]).inc_by(0);
    }
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}
