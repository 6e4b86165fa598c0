//! The page of figures, and the verdict on each target.
//!
//! Pure: figures in, text out. A missed target is called a miss.

use std::fmt::Write as _;

use super::inits::OURS;
use super::latency::Latency;
use super::load::{CONNECTIONS, Load, Loads};
use super::machine::Facts;
use super::section::Section;
use super::servers::{DIRECT, Footprint, INGRESS, INGRESS_LOG, NGINX, NGINX_BARE, NGINX_LOG};
use super::start::{ALONE, DIRECTLY, Start};
use super::{Run, as_mib as mib};

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Figures {
    pub starts: Vec<Start>,
    pub requests: Option<Requests>,
    pub sections: Vec<Section>,
}

/// What was measured of requests to the application, the ingress and nginx.
pub(super) struct Requests {
    pub idle: Footprint,
    pub latencies: Vec<Latency>,
    pub loads: Loads,
}

/// Targets: resident memory, added start, added median, throughput of nginx.
const MEMORY_MIB_MAX: f64 = 10.0;
const START_ADDED_MS_MAX: f64 = 20.0;
const WHOLE_MS_MAX: f64 = 5.0;
const ALONE_MS_MAX: f64 = 1.5;
const P50_ADDED_US_MAX: f64 = 100.0;
const THROUGHPUT_RATIO_MIN: f64 = 1.0;

/// One target: what, the wanted, the measured, whether it was met.
pub(super) struct Target {
    pub what: &'static str,
    pub wanted: String,
    pub measured: String,
    pub is_met: bool,
}

/// The targets in lines for a terminal.
pub(super) fn verdicts(figures: &Figures) -> String {
    let own = targets(figures);
    let lines = own.iter().chain(of_sections(figures)).map(|target| {
        format!(
            "{:<5} {:<44} wanted {:<16} measured {}\n",
            verdict(target.is_met),
            target.what,
            target.wanted,
            target.measured
        )
    });
    lines.collect()
}

/// The whole page.
pub(super) fn page(run: &Run, facts: &Facts, figures: &Figures) -> String {
    let mut page = "# Benchmarks\n\n\
        <!-- Written by `cargo xtask bench runtime`. Do not edit: the next run overwrites it. -->\n\n\
        Figures of one run on one machine, everything that is compared measured in turns.\n\
        They are read by people and fail no build.\n\n## Targets\n\n\
        | target | wanted | measured | |\n| --- | --- | --- | --- |\n"
        .to_owned();
    for Target { what, wanted, measured, is_met } in
        targets(figures).iter().chain(of_sections(figures))
    {
        let _ = writeln!(page, "| {what} | {wanted} | {measured} | {} |", verdict(*is_met));
    }
    page.push_str("\n## Machine\n\n");
    for (name, value) in &facts.0 {
        let _ = writeln!(page, "* {name}: {value}");
    }
    if !figures.starts.is_empty() {
        starts(&mut page, run, &figures.starts);
    }
    if let Some(requests) = &figures.requests {
        memory(&mut page, requests);
        latencies(&mut page, run, &requests.latencies);
        loads(&mut page, run, &requests.loads.rows);
    }
    page.extend(figures.sections.iter().map(Section::markdown));
    page
}

fn of_sections(figures: &Figures) -> impl Iterator<Item = &Target> {
    figures.sections.iter().flat_map(|section| &section.targets)
}

fn targets(figures: &Figures) -> Vec<Target> {
    let mut targets = start_targets(&figures.starts);
    targets.extend(figures.requests.as_ref().map(request_targets).into_iter().flatten());
    targets
}

fn start_targets(starts: &[Start]) -> Vec<Target> {
    let mut targets = Vec::new();
    let main_ms = |name| starts.iter().find(|s| s.name == name).map(|s| s.to_main_ms);
    if let (Some(ours), Some(direct)) = (main_ms(OURS), main_ms(DIRECTLY)) {
        let added = ours - direct;
        targets.push(Target {
            what: "added to the start of a program, median",
            wanted: format!("< {START_ADDED_MS_MAX} ms"),
            measured: format!("{added:.2} ms"),
            is_met: added < START_ADDED_MS_MAX,
        });
    }
    for (what, name, most) in [
        ("whole run of `/bin/true`, median", OURS, WHOLE_MS_MAX),
        ("the same without an engine, median", ALONE, ALONE_MS_MAX),
    ] {
        let start = starts.iter().find(|start| start.name == name);
        targets.extend(start.map(|start| Target {
            what,
            wanted: format!("<= {most} ms"),
            measured: format!("{:.2} ms", start.whole_ms),
            is_met: start.whole_ms <= most,
        }));
    }
    targets
}

fn request_targets(requests: &Requests) -> Vec<Target> {
    let mut targets = vec![
        memory_target("resident memory, idle", requests.idle),
        memory_target("resident memory, under load", requests.loads.footprint),
    ];
    let p50 = |name| requests.latencies.iter().find(|l| l.name == name).map(|l| l.p50_us);
    for (what, name) in [
        ("added to a request at p50, no access log", INGRESS),
        ("added to a request at p50, access log", INGRESS_LOG),
    ] {
        if let (Some(ours), Some(direct)) = (p50(name), p50(DIRECT)) {
            let added = ours - direct;
            targets.push(Target {
                what,
                wanted: format!("< {P50_ADDED_US_MAX} us"),
                measured: format!("{added:.0} us"),
                is_met: added < P50_ADDED_US_MAX,
            });
        }
    }
    let rate =
        |name| requests.loads.rows.iter().find(|l| l.name == name).map(|l| l.requests_per_second);
    for (what, ours, peer) in [
        ("requests/s against nginx with the same duties, no access log", INGRESS, NGINX),
        ("requests/s against nginx with the same duties, access log", INGRESS_LOG, NGINX_LOG),
        ("requests/s against nginx that only forwards", INGRESS, NGINX_BARE),
    ] {
        if let (Some(ours), Some(peer)) = (rate(ours), rate(peer)) {
            let ratio = ours / peer;
            targets.push(Target {
                what,
                wanted: format!(">= {THROUGHPUT_RATIO_MIN:.2} x"),
                measured: format!("{ratio:.2} x"),
                is_met: ratio >= THROUGHPUT_RATIO_MIN,
            });
        }
    }
    targets
}

fn memory_target(what: &'static str, footprint: Footprint) -> Target {
    let Footprint { guard, engine } = footprint;
    let together_mib = mib(guard.with_same_program(engine));
    let sum_mib = mib(guard.rss_kib + engine.rss_kib);
    Target {
        what,
        wanted: format!("< {MEMORY_MIB_MAX} MiB"),
        measured: format!("{together_mib:.1} MiB (sum of RSS: {sum_mib:.1} MiB)"),
        is_met: together_mib < MEMORY_MIB_MAX,
    }
}

fn starts(page: &mut String, run: &Run, starts: &[Start]) {
    let _ = write!(
        page,
        "\n## Start\n\n\
         A program that notes the time at which its `main` began, started {} times in each \
         way, in turns.\n\
         The last column is a whole run of `/bin/true`, from the spawn until its exit was seen.\n\
         `plimsoll-run` has its admin listener and its engine; nothing is switched off. With \
         `--logs raw --redact off --listen off` there is nothing for an engine to do, and the guard \
         is alone.\n\n\
         | started | to `main`, median | p99 | added, median | `/bin/true`, whole run |\n\
         | --- | --- | --- | --- | --- |\n",
        run.starts
    );
    let direct = starts.iter().find(|start| start.name == DIRECTLY).map_or(0.0, |s| s.to_main_ms);
    for start in starts {
        let _ = writeln!(
            page,
            "| {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms |",
            start.name,
            start.to_main_ms,
            start.to_main_p99_ms,
            start.to_main_ms - direct,
            start.whole_ms
        );
    }
}

fn memory(page: &mut String, requests: &Requests) {
    page.push_str(
        "\n## Memory\n\n\
         From `smaps_rollup`: RSS counts shared pages in full, PSS divides them among those that \
         share them (here four processes: two guards, two engines).\n\
         Guard and engine run the same program; together, its pages are in memory once: the \
         anonymous pages of both and the greater number of file pages. This is judged.\n\
         Under load is the greatest reading after any round of load on the ingress without access \
         log.\n\n\
         | process | idle RSS | idle PSS | under load RSS | under load PSS |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let (idle, load) = (requests.idle, requests.loads.footprint);
    for (name, idle, load) in
        [("guard", idle.guard, load.guard), ("engine", idle.engine, load.engine)]
    {
        let _ = writeln!(
            page,
            "| {name} | {:.1} MiB | {:.1} MiB | {:.1} MiB | {:.1} MiB |",
            mib(idle.rss_kib),
            mib(idle.pss_kib),
            mib(load.rss_kib),
            mib(load.pss_kib)
        );
    }
    let _ = writeln!(
        page,
        "| together | {:.1} MiB | - | {:.1} MiB | - |",
        mib(idle.guard.with_same_program(idle.engine)),
        mib(load.guard.with_same_program(load.engine))
    );
}

fn latencies(page: &mut String, run: &Run, latencies: &[Latency]) {
    let _ = write!(
        page,
        "\n## One request after another\n\n\
         One connection to each server, one request in flight, {} requests to each, in turns \
         of a hundred.\n\n\
         | server | p50 | p90 | p99 | added at p50 |\n| --- | --- | --- | --- | --- |\n",
        run.requests
    );
    let direct = latencies.iter().find(|latency| latency.name == DIRECT).map_or(0.0, |l| l.p50_us);
    for latency in latencies {
        let _ = writeln!(
            page,
            "| {} | {:.0} us | {:.0} us | {:.0} us | {:.0} us |",
            latency.name,
            latency.p50_us,
            latency.p90_us,
            latency.p99_us,
            latency.p50_us - direct
        );
    }
}

fn loads(page: &mut String, run: &Run, loads: &[Load]) {
    let _ = write!(
        page,
        "\n## Under load\n\n\
         `wrk -t1 -c{CONNECTIONS} -d{}s --latency`, {} rounds on each server in turns; \
         medians over the rounds.\n\
         The application answers 12 bytes from one thread; the engine is one thread, nginx \
         has one worker; \
         both keep their connections to the application.\n\
         The access log of the ingress is a JSON line with the trace, through the guard to a file; \
         that of nginx is a JSON line of the fields it knows, to a file in pieces of 64 KiB.\n\
         With the same duties, nginx sets a request id, a trace and the forwarded fields; \
         it still counts nothing by route and continues no trace.\n\
         `wrk` is a closed loop and shares the cores with what it measures: the percentiles \
         are those of a \
         saturated machine.\n\
         Processor time per request is that of the proxy's own processes, and does not depend \
         on who else runs.\n\n\
         | server | requests/s | p50 | p99 | processor time per request | errors |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        run.seconds, run.rounds
    );
    for load in loads {
        let cpu = load.cpu_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.1} us"));
        let _ = writeln!(
            page,
            "| {} | {:.0} | {:.2} ms | {:.2} ms | {cpu} | {} |",
            load.name,
            load.requests_per_second,
            load.p50_us / 1e3,
            load.p99_us / 1e3,
            load.n_errors
        );
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISS" }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    fn figures(ours_us: f64, ours_rate: f64) -> Figures {
        let start =
            |name, to_main_ms| Start { name, to_main_ms, to_main_p99_ms: 9.0, whole_ms: 2.0 };
        let latency = |name, p50_us| Latency { name, p50_us, p90_us: 2.0, p99_us: 3.0 };
        let load = |name, requests_per_second| Load {
            name,
            requests_per_second,
            p50_us: 1.0,
            p99_us: 2.0,
            cpu_us: None,
            n_errors: 0,
        };
        let memory = Memory { rss_kib: 4096, pss_kib: 1024, anonymous_kib: 512 };
        let footprint = Footprint { guard: memory, engine: memory };
        Figures {
            starts: vec![start(DIRECTLY, 1.0), start(OURS, 3.0)],
            requests: Some(Requests {
                idle: footprint,
                latencies: vec![latency(DIRECT, 50.0), latency(INGRESS, ours_us)],
                loads: Loads {
                    rows: vec![load(INGRESS, ours_rate), load(NGINX, 1000.0)],
                    footprint,
                },
            }),
            sections: Vec::new(),
        }
    }

    #[test]
    fn a_missed_target_is_called_a_miss() {
        let missed = verdicts(&figures(151.0, 999.0));
        assert_eq!(missed.matches("MISS").count(), 2, "{missed}");
        let met = verdicts(&figures(149.0, 1000.0));
        assert_eq!(met.matches("MISS").count(), 0, "{met}");
    }

    #[test]
    fn what_was_not_measured_has_no_verdict() {
        assert!(!verdicts(&figures(1.0, 1.0)).contains("nginx, access log"));
    }
}
