//! What a service's users are promised, checked for promises that cannot be kept or measured.

use std::collections::BTreeMap;

use super::{Resolver, environment::start, origin::join};
use crate::{
    diagnostics::{Code, Problem},
    merge::{Field, Table},
    plan::{Availability, CustomSlo, Freshness, Latency, Sli, Slo, Success},
    raw::{
        service::RawService,
        slo::{RawCustomSlo, RawLatency},
    },
    span::{Span, Spanned},
    units::{Millis, Ppm},
};

const DAY: Millis = Millis::from_secs(86_400);

/// Windows for which alert thresholds are known, in days.
const WINDOWS: [u64; 5] = [7, 14, 28, 30, 90];

impl Resolver<'_> {
    pub(super) fn slo(&mut self, at: &str, service: &RawService) -> Slo {
        let raw = service.slo.value().cloned().unwrap_or_default();
        let at = &join(at, "slo");
        let window = self.or(at, "window", &raw.window, || Millis(30 * DAY.0));
        let is_known = WINDOWS.iter().any(|days| window.0 == days * DAY.0);
        if let (Some(written), false) = (raw.window.get(), is_known) {
            let problem = Problem::error(
                Code::InvalidValue,
                format!("there are no alert thresholds for a window of {window}"),
            );
            self.tell(problem.at(written.span, "").help("write 7d, 14d, 28d, 30d or 90d"));
        }
        let availability = raw.availability.get().and_then(|spanned| {
            let at = &join(at, "availability");
            let objective = self.objective(at, &spanned.value.value.objective, spanned.span)?;
            Some(Availability { objective })
        });
        let success = raw.success.get().and_then(|spanned| {
            let (at, raw) = (&join(at, "success"), &spanned.value.value);
            let objective = self.objective(at, &raw.objective, spanned.span)?;
            Some(Success { objective, jobs: self.opt(at, "jobs", &raw.jobs) })
        });
        let freshness = raw.freshness.get().and_then(|spanned| {
            let (at, raw) = (&join(at, "freshness"), &spanned.value.value);
            let objective = match raw.objective {
                Field::Set(_) => self.objective(at, &raw.objective, spanned.span)?,
                Field::Absent | Field::Null(_) => Ppm::from_percent(99),
            };
            let dataset = self.opt(at, "dataset", &raw.dataset);
            let Some(max_age) = self.opt(at, "max_age", &raw.max_age) else {
                let problem = Problem::error(Code::MissingKey, "`freshness` has no `max_age`");
                self.tell(problem.at(start(spanned.span), "").help("write `max_age: 15m`"));
                return None;
            };
            Some(Freshness { max_age, objective, dataset })
        });
        let latency = raw.latency.get().and_then(|latency| self.latency(at, latency));
        let custom = self.custom(at, &raw.custom);
        Slo { window, availability, latency, success, freshness, custom }
    }

    /// A share above 0 and below 100 %: everything else leaves no budget, or nothing but budget.
    fn objective(&mut self, at: &str, field: &Field<Ppm>, whole: Span) -> Option<Ppm> {
        let Some(objective) = self.opt(at, "objective", field) else {
            let problem = Problem::error(Code::MissingKey, "this promise has no `objective`");
            self.tell(problem.at(start(whole), "").help("write a percentage: `objective: 99.5`"));
            return None;
        };
        if objective == Ppm::WHOLE || objective.parts() == 0 {
            let span = field.get().map_or(whole, |written| written.span);
            let message = format!("an objective of {objective} cannot be kept or measured");
            let problem = Problem::error(Code::InvalidValue, message).at(span, "");
            self.tell(problem.help("write more than 0 and less than 100: `99.9`"));
            return None;
        }
        Some(objective)
    }

    fn latency(&mut self, at: &str, spanned: &Spanned<RawLatency>) -> Option<Latency> {
        let (at, raw) = (&join(at, "latency"), &spanned.value);
        let percentiles = [
            (50, "p50", &raw.p50),
            (90, "p90", &raw.p90),
            (95, "p95", &raw.p95),
            (99, "p99", &raw.p99),
        ];
        let written: Vec<_> = percentiles
            .into_iter()
            .filter_map(|(p, key, field)| Some((p, key, field.get()?)))
            .collect();
        let [(percent, key, threshold)] = written.as_slice() else {
            let message = "`latency` needs exactly one percentile";
            let problem = Problem::error(Code::MissingKey, message).at(start(spanned.span), "");
            self.tell(problem.help("write one of p50, p90, p95, p99: `latency: {p95: 300ms}`"));
            return None;
        };
        let origin = self.written(threshold.span);
        self.note(at, "threshold", origin.clone());
        self.note(at, key, origin);
        let percentile = Ppm::from_percent(*percent);
        let objective = match raw.objective {
            Field::Set(_) => self.objective(at, &raw.objective, spanned.span)?,
            Field::Absent | Field::Null(_) => percentile,
        };
        Some(Latency {
            percentile,
            threshold: threshold.value,
            objective,
            route: self.opt(at, "route", &raw.route),
            histogram: self.opt(at, "histogram", &raw.histogram),
        })
    }

    fn custom(
        &mut self,
        at: &str,
        field: &Field<Table<String, RawCustomSlo>>,
    ) -> BTreeMap<String, CustomSlo> {
        let mut custom = BTreeMap::new();
        for (name, key, spanned) in field.value().into_iter().flat_map(Table::iter) {
            let at = &join(at, &format!("custom.{name}"));
            let raw = &spanned.value;
            let texts = (raw.good.value(), raw.bad.value(), raw.total.value());
            let sli = match texts {
                (Some(good), None, Some(total)) => {
                    Some(Sli::Good { good: good.clone(), total: total.clone() })
                }
                (None, Some(bad), Some(total)) => {
                    Some(Sli::Bad { bad: bad.clone(), total: total.clone() })
                }
                _ => {
                    let message = "an objective needs `total`, and either `good` or `bad`";
                    let problem = Problem::error(Code::MissingKey, message).at(key, "");
                    self.tell(problem.help("write Prometheus selectors, not queries"));
                    None
                }
            };
            let objective = self.objective(at, &raw.objective, spanned.span);
            if let (Some(objective), Some(sli)) = (objective, sli) {
                custom.insert(name.clone(), CustomSlo { objective, sli });
            }
        }
        custom
    }
}
