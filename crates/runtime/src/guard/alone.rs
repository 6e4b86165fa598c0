//! The guard without an engine: for `--logs raw --redact off --listen off` and nothing beside it.
//!
//! There is nobody to answer, nothing to probe and no line to look at, so the app writes to our own
//! streams and the guard stops it by the clock. It deliberately knows no setting by name that an
//! engine would need: whatever differs from the plainest of settings starts one.
//!
//! Invariant: a stop takes at most `drain + grace + sweep`, and half a second if the app does not
//! even die of SIGKILL.

use std::{env, time::Duration};

use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, waitid},
};

use super::{
    Guard,
    backstop::{Backstop, SLACK},
};
use crate::{
    logs::RedactSettings,
    notify, secret,
    settings::{LogMode, Settings},
    wire::{App, Environment},
};

/// Whether an engine would have nothing to do.
pub(super) fn is_enough(settings: &Settings) -> bool {
    let mut plain = Settings::new(settings.workload.clone());
    plain.logs = LogMode::Raw;
    plain.lines.redact = RedactSettings::Off;
    plain.admin.listen = None;
    // What the guard itself sees to.
    plain.identity = settings.identity.clone();
    plain.stop = settings.stop;
    plain.app.signal_scope = settings.app.signal_scope;
    plain.app.signal_rewrite = settings.app.signal_rewrite.clone();
    plain.app.success_exit_codes = settings.app.success_exit_codes.clone();
    // Of no effect without an exporter, but for the warnings, which somebody has to write.
    let telemetry = &settings.telemetry;
    if telemetry.export.is_none() && telemetry.warnings.is_empty() {
        plain.telemetry = telemetry.clone();
    }
    let is_told_by_systemd = notify::outward::VARIABLES.iter().any(|it| env::var_os(it).is_some());
    *settings == plain
        && settings.workload.has_app()
        && !is_told_by_systemd
        && secret::inherited_references(&settings.secrets).is_empty()
}

impl Guard<'_> {
    /// Starts the app, if there is no engine to ask for it.
    pub(super) fn keep_app(&mut self) {
        if self.engine.is_absent() {
            self.spawn(Environment::default());
        }
    }

    /// What is to be done next, and when.
    pub(super) fn next_alone(&self) -> Option<(Duration, Backstop)> {
        let stop = self.settings.stop;
        if let Some(since) = self.sweep_since {
            let limit = if self.snapshot.is_swept { Duration::ZERO } else { stop.sweep + SLACK };
            return Some((since + limit, Backstop::Exit));
        }
        if let App::Exited { at, .. } | App::Failed { at, .. } = self.snapshot.app {
            return Some((at, Backstop::Sweep));
        }
        let asked = self.snapshot.stop?;
        let drain = if asked.is_hasty || asked.signals > 1 { Duration::ZERO } else { stop.drain };
        let grace = if asked.signals > 2 { Duration::ZERO } else { stop.grace };
        Some(match (self.terminated_at, self.killed_at) {
            (None, _) => (asked.since + drain, Backstop::Terminate),
            (Some(at), None) => (at + grace, Backstop::Kill),
            (_, Some(at)) => (at + SLACK, Backstop::Sweep),
        })
    }

    /// Whether there is nothing to sweep: whoever had lost its parent would be our child.
    pub(super) fn is_childless(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::All, flags) == Err(Errno::ECHILD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Workload;

    fn plain() -> Settings {
        let mut settings =
            Settings::new(Workload::Command { program: "/bin/true".into(), args: Vec::new() });
        settings.logs = LogMode::Raw;
        settings.lines.redact = RedactSettings::Off;
        settings.admin.listen = None;
        settings
    }

    #[test]
    fn the_plainest_settings_need_no_engine() {
        let mut settings = plain();
        settings.stop.grace = Duration::from_secs(1);
        settings.app.success_exit_codes = vec![143];
        assert!(is_enough(&settings));
    }

    /// What is changed, and how.
    type Change = (&'static str, fn(&mut Settings));

    #[test]
    fn whatever_somebody_must_do_needs_one() {
        let changes: [Change; 7] = [
            ("json", |it| it.logs = LogMode::Json),
            ("redaction", |it| it.lines.redact = RedactSettings::default()),
            ("an endpoint", |it| it.admin.sock = Some("/run/sock".into())),
            ("a probe", |it| drop(it.probes.insert("db".into(), serde_json::Value::Null))),
            ("last lines", |it| it.state = Some("/state".into())),
            ("a port", |it| it.app.port = Some(80)),
            ("a site", |it| {
                it.workload = Workload::Static { directory: "/".into(), spa: false, csp: None };
            }),
        ];
        for (what, change) in changes {
            let mut settings = plain();
            change(&mut settings);
            assert!(!is_enough(&settings), "{what}");
        }
    }
}
