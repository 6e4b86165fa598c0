//! How a service runs: instances, limits, ending, health. Mostly defaults, and they are opinions.

use super::{
    Resolver,
    environment::start,
    origin::{Origin, join},
};
use crate::{
    diagnostics::{Code, Problem},
    merge::{Field, Loose},
    plan::{
        Drain, Environment, Gpu, Health, Heartbeat, HeartbeatVia, Kind, Limits, MetricsEndpoint,
        Overlap, QueueScale, Scale, Schedule, Security, Signal, Stop, Target, Watch,
    },
    raw::service::{RawQueueScale, RawService},
    span::Spanned,
    units::{Bytes, MilliCpu, Millis, Ppm},
};

/// User and group id of the distroless images' `nonroot`.
const NON_ROOT: u32 = 65_532;

impl Resolver<'_> {
    /// The long form of a key, and its path; the short one became long when it was read.
    fn long<T: Clone + Default>(
        &mut self,
        at: &str,
        key: &str,
        field: &Field<Loose<T>>,
    ) -> (String, T) {
        let origin = field.get().map_or(Origin::Default, |raw| self.written(raw.span));
        self.note(at, key, origin);
        let raw = field.value().map(|loose| loose.value.clone()).unwrap_or_default();
        (join(at, key), raw)
    }

    pub(super) fn scale(
        &mut self,
        at: &str,
        service: &RawService,
        kind: Kind,
        environment: &Environment,
    ) -> Scale {
        let (at, raw) = self.long(at, "scale", &service.scale);
        let at = at.as_str();
        let usual = match kind {
            Kind::Web | Kind::Static if environment.production => 2,
            Kind::Web | Kind::Static | Kind::Worker | Kind::Cron | Kind::Job => 1,
        };
        let max = self.opt(at, "max", &raw.max);
        let min = self.or(at, "min", &raw.min, || usual.min(max.unwrap_or(usual)));
        if let (Some(max), Some(max_at)) = (max, raw.max.get())
            && max < min
        {
            let message = format!("`max` is {max}, below `min`, which is {min}");
            let mut problem = Problem::error(Code::InvalidValue, message).at(max_at.span, "");
            if let Some(min_at) = raw.min.get() {
                problem = problem.at(min_at.span, "`min` is here");
            }
            self.tell(problem.help("raise `max` or lower `min`"));
        }
        let max = max.unwrap_or(min);
        let memory = self.opt(at, "memory", &raw.memory);
        let latency = self.opt(at, "latency", &raw.latency);
        let queue = raw.queue.get().and_then(|queue| self.queue(at, queue));
        let is_open = max > min && memory.is_none() && latency.is_none() && queue.is_none();
        let cpu =
            self.opt(at, "cpu", &raw.cpu).or_else(|| is_open.then_some(Ppm::from_percent(70)));
        Scale { min, max, cpu, memory, latency, queue }
    }

    fn queue(&mut self, at: &str, queue: &Spanned<RawQueueScale>) -> Option<QueueScale> {
        let at = &join(at, "queue");
        let raw = &queue.value;
        if !raw.metric.is_set() || raw.target.value().is_none_or(|target| *target == 0) {
            let message = "`queue` needs a `metric` and a `target` above 0";
            let help = "write `queue: {metric: queue_depth, target: 30}`";
            let problem = Problem::error(Code::MissingKey, message).at(start(queue.span), "");
            self.tell(problem.help(help));
        }
        let metric = self.opt(at, "metric", &raw.metric)?;
        let target = self.opt(at, "target", &raw.target)?;
        Some(QueueScale { metric, target })
    }

    pub(super) fn limits(&mut self, at: &str, service: &RawService, kind: Kind) -> Limits {
        let raw = service.limits.value().cloned().unwrap_or_default();
        let at = &join(at, "limits");
        let is_site = kind == Kind::Static;
        let cpu = self.or(at, "cpu", &raw.cpu, || MilliCpu(if is_site { 250 } else { 1000 }));
        let memory =
            self.or(at, "memory", &raw.memory, || Bytes::from_mib(if is_site { 128 } else { 512 }));
        let cpu_request =
            self.or(at, "cpu_request", &raw.cpu_request, || MilliCpu((cpu.0 / 4).max(1)));
        let memory_request =
            self.or(at, "memory_request", &raw.memory_request, || Bytes(memory.0 / 2));
        let fits = [
            ("cpu", cpu_request.0 <= cpu.0, raw.cpu_request.get().map(|field| field.span)),
            ("memory", memory_request <= memory, raw.memory_request.get().map(|field| field.span)),
        ];
        for (key, fits, span) in fits {
            if let (false, Some(span)) = (fits, span) {
                let message = format!("`{key}_request` is above the limit `{key}`");
                let problem = Problem::error(Code::InvalidValue, message).at(span, "");
                self.tell(problem.help(format!("raise `{key}` or lower `{key}_request`")));
            }
        }
        let pids = self.or(at, "pids", &raw.pids, || 512);
        Limits { cpu, memory, pids, cpu_request, memory_request }
    }

    pub(super) fn security(&mut self, at: &str, service: &RawService) -> Security {
        let raw = service.security.value().cloned().unwrap_or_default();
        let at = &join(at, "security");
        Security {
            user: self.or(at, "user", &raw.user, || NON_ROOT),
            read_only_root: self.or(at, "read_only_root", &raw.read_only_root, || true),
            capabilities: self.list(at, "capabilities", &raw.capabilities, Vec::new),
            writable: self.list(at, "writable", &raw.writable, || vec!["/tmp".to_owned()]),
        }
    }

    pub(super) fn stop(&mut self, at: &str, service: &RawService) -> Stop {
        let (at, raw) = self.long(at, "stop", &service.stop);
        Stop {
            grace: self.or(&at, "grace", &raw.grace, || Millis::from_secs(20)),
            signal: self.or(&at, "signal", &raw.signal, || Signal::Term),
        }
    }

    pub(super) fn drain(
        &mut self,
        at: &str,
        service: &RawService,
        environment: &Environment,
    ) -> Drain {
        let (at, raw) = self.long(at, "drain", &service.drain);
        let notice = match environment.target {
            Target::Local | Target::Host => 0,
            Target::Kubernetes | Target::Ecs | Target::CloudRun => 5,
        };
        let limit = self.or(&at, "limit", &raw.limit, || Millis::from_secs(30));
        Drain {
            delay: self.or(&at, "delay", &raw.delay, || Millis::from_secs(notice)),
            limit,
            streams: self.or(&at, "streams", &raw.streams, || limit.max(Millis::from_secs(300))),
            overlap: self.or(&at, "overlap", &raw.overlap, || Overlap::StartFirst),
        }
    }

    pub(super) fn gpu(&mut self, at: &str, service: &RawService) -> Option<Gpu> {
        let (at, raw) = self.long(at, "gpu", &service.gpu);
        let count = self.or(&at, "count", &raw.count, || 1);
        let model = self.opt(&at, "model", &raw.model);
        let cuda = self.opt(&at, "cuda", &raw.cuda).map(|cuda| cuda.0);
        (service.gpu.is_set() && count > 0).then_some(Gpu { count, model, cuda })
    }

    pub(super) fn health(&mut self, at: &str, service: &RawService) -> Health {
        let (at, raw) = self.long(at, "health", &service.health);
        Health {
            live: self.opt(&at, "live", &raw.live),
            ready: self.opt(&at, "ready", &raw.ready),
            interval: self.or(&at, "interval", &raw.interval, || Millis::from_secs(5)),
            timeout: self.or(&at, "timeout", &raw.timeout, || Millis::from_secs(2)),
            fall: self.or(&at, "fall", &raw.fall, || 3),
            rise: self.or(&at, "rise", &raw.rise, || 1),
            start_timeout: self
                .or(&at, "start_timeout", &raw.start_timeout, || Millis::from_secs(60)),
        }
    }

    pub(super) fn heartbeat(&mut self, at: &str, service: &RawService) -> Option<Heartbeat> {
        let (at, raw) = self.long(at, "heartbeat", &service.heartbeat);
        let span = service.heartbeat.get()?.span;
        let file = raw.file.value().cloned().map(HeartbeatVia::File);
        let log = raw.log.value().cloned().map(HeartbeatVia::Log);
        let http = raw.http.value().filter(|is_on| **is_on).map(|_| HeartbeatVia::Http);
        let mut written = [file, log, http].into_iter().flatten();
        let via = written.next().unwrap_or(HeartbeatVia::Notify);
        if written.next().is_some() {
            let message = "`heartbeat` comes from more than one place";
            let problem = Problem::error(Code::Conflict, message).at(start(span), "");
            self.tell(problem.help("keep one of `file`, `log` and `http`"));
        }
        let max_age = self.or(&at, "max_age", &raw.max_age, || Millis::from_secs(60));
        Some(Heartbeat { via, max_age })
    }

    pub(super) fn metrics_endpoint(
        &mut self,
        at: &str,
        service: &RawService,
    ) -> Option<MetricsEndpoint> {
        let (at, raw) = self.long(at, "metrics", &service.metrics);
        let port = self.opt(&at, "port", &raw.port);
        let path = self
            .or(&at, "path", &raw.path, || "/metrics".parse().expect("a plain path is a URL path"));
        service.metrics.is_set().then_some(MetricsEndpoint { port, path })
    }

    pub(super) fn watch(&mut self, at: &str, service: &RawService) -> Watch {
        let (at, raw) = self.long(at, "watch", &service.watch);
        Watch {
            paths: self.list(&at, "paths", &raw.paths, Vec::new),
            ignore: self.list(&at, "ignore", &raw.ignore, Vec::new),
            enabled: self.or(&at, "enabled", &raw.enabled, || true),
        }
    }

    pub(super) fn schedule(&mut self, at: &str, service: &RawService) -> Option<Schedule> {
        let (at, raw) = self.long(at, "schedule", &service.schedule);
        let span = service.schedule.get()?.span;
        if !raw.cron.is_set() {
            let problem = Problem::error(Code::MissingKey, "`schedule` has no `cron`");
            let help = "write five fields: `cron: \"0 3 * * *\"`";
            self.tell(problem.at(start(span), "").help(help));
        }
        Some(Schedule {
            timezone: self.or(&at, "timezone", &raw.timezone, || "UTC".to_owned()),
            timeout: self.or(&at, "timeout", &raw.timeout, || Millis::from_secs(3600)),
            cron: self.opt(&at, "cron", &raw.cron)?.0,
        })
    }
}
