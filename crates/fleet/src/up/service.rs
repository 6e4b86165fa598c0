//! How one service is started: `plimsoll run` with everything that it needs in its environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::env_vars;
use manifest::Plan;
use manifest::names::EnvVar;
use manifest::plan::{Command, Kind, Service, UseTarget};
use manifest::template::{Output, Template};
use nix::sys::signal::Signal;
use serde_json::json;
use wiring::Calls;

use super::values::Values;
use super::{Options, Problem};
use crate::driver::{Check, Program, Setup};

/// Between two probes of a dependency, and for each, milliseconds: a person waits for the answer.
const PROBE_LIMIT_MS: u64 = 500;
/// The same where a probe logs in, which costs the server more than a connection.
const LOGIN_LIMIT_MS: u64 = 1000;
/// Failures in a row that count: one alone may be a machine that is busy with a build.
const PROBE_FALL: u32 = 2;

/// The directory of a service.
pub(super) fn directory(options: &Options, service: &Service) -> PathBuf {
    // `.` components would show in messages and in what is watched.
    options.dir.join(service.path.as_str()).components().collect()
}

/// The program that runs a service.
///
/// # Errors
/// Everything that it lacks.
pub(super) fn program(
    plan: &Plan,
    service: &Service,
    values: &Values<'_>,
) -> Result<Program, Vec<Problem>> {
    let options = values.options;
    let name = service.name.as_str();
    let mut problems = Vec::new();
    let args = args(service, values).unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    });
    let calls = calls(plan, service, values);
    let mut env = environment(service, values, &calls).unwrap_or_else(|found| {
        problems.extend(found);
        BTreeMap::new()
    });
    let port = values.services.get(name).and_then(|address| address.port);
    env.extend(settings(plan, service, values, port));
    env.extend(calls.setting().map(|(name, text)| (name.to_owned(), text)));
    let directory = directory(options, service);
    if !directory.is_dir() {
        let service = name.to_owned();
        problems.push(Problem::NoDirectory { service, path: directory.clone() });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let sock = options.state.socket(name);
    Ok(Program {
        program: options.exe.clone(),
        args,
        env,
        directory,
        account: None,
        ports: port.into_iter().collect(),
        stop_signal: Signal::SIGTERM,
        setup: Setup::RemoveFile(sock.clone()),
        check: Check::Admin(sock),
    })
}

/// Calls to `http` resources, through listeners on ports that are free here.
fn calls(plan: &Plan, service: &Service, values: &Values<'_>) -> Calls {
    let ports = values.services.get(service.name.as_str()).map(|address| &address.calls);
    Calls::of(plan, service, &mut |resource| {
        let url = values.resources.get(resource.as_str())?.get(&Output::Url)?;
        Some((url.clone(), *ports?.get(resource.as_str())?))
    })
}

/// The words of a command with their placeholders filled in.
pub(super) fn words(
    service: &Service,
    command: &Command,
    values: &Values<'_>,
) -> Result<Vec<String>, Problem> {
    match command {
        Command::Shell { shell } => Ok(vec!["sh".into(), "-c".into(), shell.clone()]),
        Command::Exec(words) => {
            words.iter().map(|word| values.fill(service.name.as_str(), word)).collect()
        }
    }
}

/// What the service itself sees: what the manifest says, and its secrets. Calls go where `calls`
/// says.
///
/// # Errors
/// Every value that is missing.
pub(super) fn environment(
    service: &Service,
    values: &Values<'_>,
    calls: &Calls,
) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let name = service.name.as_str();
    let mut env = BTreeMap::new();
    let mut problems = Vec::new();
    let mut put = |key: &str, value: Result<String, Problem>| match value {
        Ok(value) => {
            env.insert(key.to_owned(), value);
        }
        Err(problem) if problems.contains(&problem) => {}
        Err(problem) => problems.push(problem),
    };
    for (key, template) in &service.env {
        if is_address_of_nothing(service, key, template, values) {
            continue;
        }
        let value = template.fill(|part| match calls.address(part) {
            Some(address) => Ok(address.clone()),
            None => values.value_of(name, part),
        });
        put(key.as_str(), value);
    }
    for secret in &service.secrets {
        put(secret.as_str(), values.secret(name, secret));
    }
    if problems.is_empty() { Ok(env) } else { Err(problems) }
}

/// Whether a variable was brought by `uses` of a service without a port, such as a job: what
/// matters then is the order, and there is no address to give.
fn is_address_of_nothing(
    service: &Service,
    key: &EnvVar,
    template: &Template,
    values: &Values<'_>,
) -> bool {
    service.uses.values().any(|used| match &used.target {
        UseTarget::Service(name) => {
            let has_port =
                values.services.get(name.as_str()).is_some_and(|address| address.port.is_some());
            !has_port && used.env.get(key) == Some(template)
        }
        UseTarget::Resource(_) => false,
    })
}

fn args(service: &Service, values: &Values<'_>) -> Result<Vec<String>, Problem> {
    let mut args = vec!["run".to_owned()];
    match (&service.site, &service.run) {
        (Some(site), _) if service.kind == Kind::Static => {
            let files = directory(values.options, service).join(site.dir.as_str());
            args.extend(["--static".into(), files.display().to_string()]);
            if site.spa {
                args.push("--spa".into());
            }
            if let Some(csp) = &site.csp {
                args.extend(["--csp".into(), csp.clone()]);
            }
        }
        (_, Some(run)) => {
            args.push("--".into());
            args.extend(words(service, run, values)?);
        }
        (_, None) => return Err(Problem::NoRun { service: service.name.to_string() }),
    }
    Ok(args)
}

/// What `plimsoll run` itself is told: what it is told everywhere, and what holds on this machine.
fn settings(
    plan: &Plan,
    service: &Service,
    values: &Values<'_>,
    port: Option<u16>,
) -> BTreeMap<String, String> {
    let name = service.name.as_str();
    let options = values.options;
    let mut settings = wiring::settings(plan, service);
    let mut set = |var: &env_vars::Var, value: String| settings.insert(var.name, value);
    set(&env_vars::INSTANCE, format!("{name}-1"));
    set(&env_vars::LISTEN, "off".into());
    set(&env_vars::SOCK, options.state.socket(name).display().to_string());
    set(&env_vars::STATE, options.state.run.join(name).display().to_string());
    if let Some(port) = port {
        set(&env_vars::INGRESS, format!("127.0.0.1:{port}"));
    }
    set(&env_vars::PROBES, probes(plan, service, values).to_string());
    // Nobody but our own edge routes here, and that has switched before the signal comes.
    set(&env_vars::DRAIN, "0s".into());
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What `run` asks to find out whether the dependencies are there, as often as a person waits.
fn probes(plan: &Plan, service: &Service, values: &Values<'_>) -> serde_json::Value {
    let name = service.name.as_str();
    let mut probes =
        wiring::probes(plan, service, &mut |template| values.fill(name, template).ok());
    for used in service.uses.keys() {
        let Some(serde_json::Value::Object(probe)) = probes.get_mut(used) else { continue };
        let is_login = ["postgres", "redis", "kafka"].iter().any(|kind| probe.contains_key(*kind));
        let limit_ms = if is_login { LOGIN_LIMIT_MS } else { PROBE_LIMIT_MS };
        probe.insert("interval_ms".into(), json!(limit_ms));
        probe.insert("timeout_ms".into(), json!(limit_ms));
        probe.insert("fall".into(), json!(PROBE_FALL));
    }
    probes.into()
}
