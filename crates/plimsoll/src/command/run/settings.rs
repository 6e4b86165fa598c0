//! From the words of flags and variables to the `Settings` of the runtime.
//!
//! Every word is looked at, so that all problems are reported at once, each with its flag.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use contract::env_vars::{self, Var};
use runtime::egress::{self, EgressSettings};
use runtime::error::Error;
use runtime::ingress::GuardSettings;
use runtime::logs::{RedactSettings, parse_max_line};
use runtime::outbox;
use runtime::publish::settings::PublishSettings;
use runtime::secret::{self, settings::SecretSettings};
use runtime::settings::{
    IngressSettings, Settings, StopSettings, Workload, parse_address, parse_duration, parse_listen,
    parse_rewrites,
};
use runtime::telemetry::TelemetrySettings;

/// Set by Kubernetes in every container.
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Understands everything that was given.
pub(super) fn settings(
    given: &BTreeMap<&'static str, OsString>,
    command: &[OsString],
) -> Result<Settings, Vec<anyhow::Error>> {
    let mut words = Words { given, problems: Vec::new() };
    let mut settings = Settings::new(workload(&mut words, command));
    identity(&mut words, &mut settings);
    listeners(&mut words, &mut settings);
    application(&mut words, &mut settings);
    settings.stop = stop(&mut words);
    if let Some(probes) = words.parsed(&env_vars::PROBES, parse_probes) {
        settings.probes = probes;
    }
    if let Some(secrets) = words.parsed(&env_vars::SECRETS, parse_secrets) {
        settings.secrets = secrets;
    }
    settings.secrets.strict |= words.switch(&env_vars::STRICT_SECRETS).unwrap_or(false);
    if let Some(details) = words.parsed(&env_vars::DETAILS, str::parse) {
        settings.details = details;
    }
    if let Some(egress) = words.parsed(&env_vars::EGRESS, parse_egress) {
        settings.egress = egress;
    }
    if let Some(outbox) = words.parsed(&env_vars::OUTBOX, |text| Ok(outbox::parse(text)?)) {
        settings.outbox = Some(outbox);
    }
    if let Some(timeout) = words.parsed(&env_vars::START_TIMEOUT, parse_duration) {
        settings.start_timeout = timeout;
    }
    if let Some(logs) = words.parsed(&env_vars::LOGS, str::parse) {
        settings.logs = logs;
    }
    log_lines(&mut words, &mut settings);
    settings.publish = words.parsed(&env_vars::PUBLISH, parse_publish);
    settings.state = words.path(&env_vars::STATE);
    settings.audit_log = words.path(&env_vars::AUDIT_LOG);
    settings.termination_log = words.path(&env_vars::TERMINATION_LOG);
    settings.exec = words.switch(&env_vars::EXEC).unwrap_or(false);
    settings.telemetry = TelemetrySettings::from_variables(|name| std::env::var(name).ok());
    let mut problems = words.problems;
    if let Err(errors) = settings.check() {
        problems.extend(errors.into_iter().map(anyhow::Error::from));
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn workload(words: &mut Words<'_>, command: &[OsString]) -> Workload {
    let spa = words.switch(&env_vars::SPA).unwrap_or(false);
    let csp = words.text(&env_vars::CSP);
    match (command.split_first(), words.path(&env_vars::STATIC)) {
        (Some((program, args)), None) => {
            Workload::Command { program: program.clone(), args: args.to_vec() }
        }
        (None, None) if words.text(&env_vars::OUTBOX).is_some() => Workload::Engine,
        (None, directory) => {
            Workload::Static { directory: directory.unwrap_or_default(), spa, csp }
        }
        (Some(_), Some(directory)) => {
            words.problems.push(anyhow!(
                "both a command and `--static` say what to run\nhelp: leave one of them out"
            ));
            Workload::Static { directory, spa, csp }
        }
    }
}

fn identity(words: &mut Words<'_>, settings: &mut Settings) {
    let identity = &mut settings.identity;
    if let Some(service) = words.text(&env_vars::SERVICE) {
        identity.service = service;
    }
    if let Some(instance) = words.text(&env_vars::INSTANCE) {
        identity.instance = instance;
    }
    identity.environment = words.text(&env_vars::ENV);
    identity.version = words.text(&env_vars::RELEASE);
}

fn listeners(words: &mut Words<'_>, settings: &mut Settings) {
    if let Some(listen) = words.parsed(&env_vars::LISTEN, parse_listen) {
        settings.admin.listen = listen;
    }
    settings.admin.sock = words.path(&env_vars::SOCK);
    let routes = words.text(&env_vars::ROUTES).unwrap_or_default();
    let access_log = words.switch(&env_vars::ACCESS_LOG).unwrap_or(true);
    let app_health = words.switch(&env_vars::APP_HEALTH).unwrap_or(false);
    let guards = GuardSettings {
        trusted_proxies: words.text(&env_vars::TRUSTED_PROXIES),
        rate_limit: words.text(&env_vars::RATE_LIMIT),
        jwt: words.text(&env_vars::JWT),
        policy: words.text(&env_vars::POLICY),
    };
    settings.ingress =
        words.parsed(&env_vars::INGRESS, parse_address).map(|listen| IngressSettings {
            listen,
            routes: listed(&routes).map(str::to_owned).collect(),
            access_log,
            app_health,
            guards,
        });
}

fn application(words: &mut Words<'_>, settings: &mut Settings) {
    let app = &mut settings.app;
    app.port = words.parsed(&env_vars::APP_PORT, |text| {
        text.parse().ok().filter(|port| *port != 0).ok_or_else(|| Error::Settings {
            problem: format!("`{text}` is not a port"),
            help: "give a number from 1 to 65535",
        })
    });
    app.metrics = words.text(&env_vars::APP_METRICS);
    app.ready_http = words.text(&env_vars::READY_HTTP);
    app.live_http = words.text(&env_vars::LIVE_HTTP);
    if let Some(started) = words.parsed(&env_vars::STARTED, str::parse) {
        app.started = started;
    }
    if let Some(scope) = words.parsed(&env_vars::SIGNAL_SCOPE, str::parse) {
        app.signal_scope = scope;
    }
    if let Some(rewrites) = words.parsed(&env_vars::SIGNAL_REWRITE, parse_rewrites) {
        app.signal_rewrite = rewrites;
    }
    if let Some(codes) = words.parsed(&env_vars::SUCCESS_EXIT_CODES, parse_codes) {
        app.success_exit_codes = codes;
    }
}

fn log_lines(words: &mut Words<'_>, settings: &mut Settings) {
    let lines = &mut settings.lines;
    if let Some(redact) = words.parsed(&env_vars::REDACT, RedactSettings::parse) {
        lines.redact = redact;
    }
    if let Some(multiline) = words.parsed(&env_vars::MULTILINE, str::parse) {
        lines.multiline = multiline;
    }
    if let Some(on_block) = words.parsed(&env_vars::ON_BLOCK, str::parse) {
        lines.on_block = on_block;
    }
    if let Some(max_line) = words.parsed(&env_vars::MAX_LINE, parse_max_line) {
        lines.max_line = max_line;
    }
}

fn stop(words: &mut Words<'_>) -> StopSettings {
    let is_kubernetes = std::env::var_os(KUBERNETES).is_some();
    let drain = words
        .parsed(&env_vars::DRAIN, parse_duration)
        .unwrap_or_else(|| StopSettings::drain_default(is_kubernetes));
    let mut stop = StopSettings { drain, ..StopSettings::default() };
    if let Some(grace) = words.parsed(&env_vars::STOP_GRACE, parse_duration) {
        stop.grace = grace;
    }
    if let Some(signal) = words.parsed(&env_vars::STOP_SIGNAL, str::parse) {
        stop.signal = signal;
    }
    if let Some(linger) = words.parsed(&env_vars::LINGER, parse_duration) {
        stop.linger = linger;
    }
    match words.parsed(&env_vars::STOP_BUDGET, parse_duration) {
        Some(budget) if budget > Duration::ZERO => stop.within(budget),
        _ => stop,
    }
}

/// What was given, and what was wrong with it so far.
struct Words<'a> {
    given: &'a BTreeMap<&'static str, OsString>,
    problems: Vec<anyhow::Error>,
}

impl Words<'_> {
    /// A path, in whatever bytes; an empty one counts as not given.
    fn path(&self, var: &Var) -> Option<PathBuf> {
        self.given.get(var.name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// A text; an empty one counts as not given, as charts like to leave variables empty.
    fn text(&mut self, var: &Var) -> Option<String> {
        let value = self.given.get(var.name).filter(|value| !value.is_empty())?;
        let text = value.to_str().map(str::to_owned);
        if text.is_none() {
            let lossy = value.to_string_lossy();
            self.problems.push(anyhow!("{}: `{lossy}` is not valid UTF-8", said_by(var)));
        }
        text
    }

    /// What a parser makes of a text.
    fn parsed<T>(&mut self, var: &Var, parse: impl Fn(&str) -> Result<T, Error>) -> Option<T> {
        let text = self.text(var)?;
        parse(&text).with_context(|| said_by(var)).map_err(|e| self.problems.push(e)).ok()
    }

    /// `on` or `off`.
    fn switch(&mut self, var: &Var) -> Option<bool> {
        self.parsed(var, |text| match text {
            "on" | "true" | "1" => Ok(true),
            "off" | "false" | "0" => Ok(false),
            _ => {
                Err(Error::Word { what: "switch", text: text.to_owned(), accepted: "`on`, `off`" })
            }
        })
    }
}

/// Where a word came from, as far as a person must know to find it.
fn said_by(var: &Var) -> String {
    format!("`{}` (`{}`)", var.flag, var.name)
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_codes(text: &str) -> Result<Vec<u8>, Error> {
    listed(text).map(str::parse).collect::<Result<_, _>>().map_err(|_| Error::Settings {
        problem: format!("`{text}` is not a list of exit codes"),
        help: "give numbers from 0 to 255, for example `0,143`",
    })
}

fn parse_probes(text: &str) -> Result<BTreeMap<String, serde_json::Value>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Settings {
        problem: format!("not a JSON object of probes: {error}"),
        help: r#"for example `{"db": {"tcp": "127.0.0.1:5432"}}`"#,
    })
}

fn parse_egress(text: &str) -> Result<EgressSettings, Error> {
    egress::parse(text).map_err(|problems| Error::Egress { problems })
}

fn parse_secrets(text: &str) -> Result<SecretSettings, Error> {
    Ok(secret::settings::parse(text)?)
}

fn parse_publish(text: &str) -> Result<PublishSettings, Error> {
    runtime::publish::settings::parse(text).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Result<Settings, Vec<String>> {
        let given = pairs.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
        settings(&given, &["true".into()])
            .map_err(|problems| problems.iter().map(|e| format!("{e:#}")).collect())
    }

    #[test]
    fn nothing_given_is_the_runtimes_default() {
        let command = Workload::Command { program: "true".into(), args: Vec::new() };
        let mut expected = Settings::new(command);
        let settings = of(&[]).unwrap();
        expected.stop.drain = settings.stop.drain;
        assert_eq!(settings, expected);
    }

    #[test]
    fn every_problem_is_reported_with_its_flag() {
        let problems = of(&[
            ("PLIMSOLL_DRAIN", "20"),
            ("PLIMSOLL_LOGS", "xml"),
            ("PLIMSOLL_APP_PORT", "0"),
            ("PLIMSOLL_PROBES", "[]"),
            ("PLIMSOLL_SPA", "maybe"),
        ])
        .unwrap_err();
        for flag in ["--drain", "--logs", "--app-port", "--probes", "--spa"] {
            assert!(problems.iter().any(|problem| problem.contains(flag)), "{flag}: {problems:?}");
        }
        assert_eq!(problems.len(), 5);
    }

    #[test]
    fn an_empty_variable_is_not_given() {
        let names = env_vars::ALL.iter().map(|var| (var.name, "")).collect::<Vec<_>>();
        assert_eq!(of(&names).unwrap(), of(&[]).unwrap());
    }

    #[test]
    fn every_flag_of_the_table_is_read() {
        for var in env_vars::ALL {
            // Bytes that are not UTF-8 are wrong for every word that is not a path.
            use std::os::unix::ffi::OsStringExt;
            let given = [(var.name, OsString::from_vec(vec![0xff]))].into();
            let is_wrong = settings(&given, &["true".into()]).is_err();
            let changes = match settings(&given, &["true".into()]) {
                Ok(settings) => {
                    settings.admin.sock.is_some()
                        || settings.state.is_some()
                        || settings.termination_log.is_some()
                        || settings.audit_log.is_some()
                }
                Err(_) => false,
            };
            assert!(is_wrong || changes, "nobody reads `{}`", var.name);
        }
    }
}
