//! From a plan to what the machine and the driver need. Everything that is missing is found here.
//!
//! *Invariant: nothing was started when it fails, and it reports all problems at once.*

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use manifest::Plan;
use manifest::plan::{Command, HeartbeatVia, Item, Kind, Restart, Service, UseTarget};
use wiring::Calls;

use super::values::{Address, Values, secret};
use super::{Error, Options, Problem, service};
use crate::driver::{Launch, TaskLaunch, holder_of, is_free};
use crate::edge;
use crate::machine::{
    ItemId, ItemSpec, Lifetime, Millis, Restart as MachineRestart, Spec, TaskId, TaskKind, TaskSpec,
};
use crate::resource::{self, Place, Provided};

/// How long a build may take: a first one fetches and compiles everything.
const BUILD_LIMIT_MS: Millis = 30 * 60 * 1000;
/// How long the first data may take to load.
const SEED_LIMIT_MS: Millis = 30 * 60 * 1000;
/// How long a resource may take to start: a database may have to recover.
const RESOURCE_START_LIMIT_MS: Millis = 60_000;
/// How long a resource may take to end.
const RESOURCE_STOP_LIMIT_MS: Millis = 20_000;
/// What `run` needs besides the grace of the application: sweep, flush, and some.
const RUN_STOP_EXTRA_MS: Millis = 5_000;

/// A platform, ready to be started.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) spec: Spec,
    pub(crate) launches: Vec<Launch>,
    pub(crate) task_launches: Vec<TaskLaunch>,
    /// Ports on 127.0.0.1, by item.
    pub(crate) ports: BTreeMap<String, u16>,
    /// What the user should know, by item.
    pub(crate) notes: Vec<(String, String)>,
}

/// Resolves everything.
///
/// # Errors
/// All problems at once.
pub(super) fn assemble(plan: &Plan, options: &Options) -> Result<Assembled, Error> {
    let mut problems = Vec::new();
    let provided = provide_all(plan, options, &mut problems);
    let values = Values {
        options,
        resources: provided.iter().map(|(n, p)| (n.clone(), p.outputs.clone())).collect(),
        services: addresses(plan, options)?,
    };
    check_ports(plan, &values, &mut problems);
    let mut assembly = Assembly::new(plan, &values);
    for item in &plan.start_order {
        match item {
            Item::Resource(name) => {
                if let Some(provided) = provided.get(name.as_str()) {
                    assembly.add_resource(name.as_str(), provided);
                }
            }
            Item::Service(name) => {
                let Some(service) = plan.services.get(name) else { continue };
                // Placeholders of a resource that failed already would only say the same again.
                if let Err(found) = assembly.add_service(service) {
                    let is_news = |problem: &Problem| match problem {
                        Problem::NoValue { .. } => provided.len() == plan.resources.len(),
                        _ => true,
                    };
                    problems.extend(found.into_iter().filter(is_news));
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(Error::Problems { problems });
    }
    let mut out = assembly.out;
    out.spec.keeps_going = options.keeps_going;
    for (name, provided) in provided {
        out.ports.extend(provided.port.map(|port| (name.clone(), port)));
        out.notes.extend(provided.note.map(|note| (name, note)));
    }
    Ok(out)
}

fn provide_all(
    plan: &Plan,
    options: &Options,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Provided> {
    let variable = |name: &str| secret(options, name);
    let fill = |template: &manifest::template::Template| {
        let values = Values { options, resources: BTreeMap::new(), services: BTreeMap::new() };
        values.fill("", template).map_err(|problem| match problem {
            Problem::NoSecret { key, .. } => format!("the secret `{key}` has no value here"),
            other => other.to_string(),
        })
    };
    let place = Place {
        app: plan.app.as_str(),
        data: &options.state.data,
        variable: &variable,
        fill: &fill,
    };
    let mut all = BTreeMap::new();
    for (name, resource) in &plan.resources {
        match resource::provide(resource, &place) {
            Ok(provided) => {
                all.insert(name.to_string(), provided);
            }
            Err(unavailable) => problems.push(unavailable.into()),
        }
    }
    all
}

fn addresses(plan: &Plan, options: &Options) -> Result<BTreeMap<String, Address>, Error> {
    let mut all = BTreeMap::new();
    for (name, service) in &plan.services {
        let port = match &service.port {
            Some(port) => Some(port.get()),
            None if matches!(service.kind, Kind::Web | Kind::Static) => Some(free_port(options)?),
            None => None,
        };
        let route = service.route.first();
        let public_url = route.map(|route| edge::public_url(plan, route, options.edge_port));
        let mut calls = BTreeMap::new();
        for (resource, _) in wiring::called(plan, service) {
            calls.insert(resource.to_string(), free_port(options)?);
        }
        all.insert(name.to_string(), Address { port, public_url, calls });
    }
    Ok(all)
}

fn free_port(options: &Options) -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::State {
            intent: "find a free port for",
            path: options.dir.clone(),
            source,
        })
}

/// Every port that something here will listen on must be free now.
fn check_ports(plan: &Plan, values: &Values<'_>, problems: &mut Vec<Problem>) {
    let mut check = |what: String, port: u16, help: String| {
        if !is_free(port) {
            let holder = holder_of(port).unwrap_or_else(|| "another process".into());
            problems.push(Problem::PortTaken { what, port, holder, help });
        }
    };
    if plan.services.values().any(|service| !service.route.is_empty()) {
        let help = "end that process, or choose another: plimsoll up --port <port>";
        check("the edge".into(), values.options.edge_port, help.into());
    }
    for (name, address) in &values.services {
        if let Some(port) = address.port {
            let help = format!("end that process, or give `services.{name}` another `port`");
            check(format!("service `{name}`"), port, help);
        }
    }
}

/// The work in progress: items in start order, and which of them are which.
struct Assembly<'a> {
    plan: &'a Plan,
    values: &'a Values<'a>,
    ids: BTreeMap<String, ItemId>,
    builds: BTreeMap<(PathBuf, Vec<String>), TaskId>,
    /// Build and migration of a service, for those that are `from` it.
    tasks: BTreeMap<String, Vec<TaskId>>,
    out: Assembled,
}

impl<'a> Assembly<'a> {
    fn new(plan: &'a Plan, values: &'a Values<'a>) -> Self {
        let out = Assembled {
            spec: Spec::default(),
            launches: Vec::new(),
            task_launches: Vec::new(),
            ports: BTreeMap::new(),
            notes: Vec::new(),
        };
        let (ids, builds, tasks) = Default::default();
        Self { plan, values, ids, builds, tasks, out }
    }

    fn add(&mut self, spec: ItemSpec, launch: Launch) {
        self.ids.insert(spec.name.clone(), self.out.spec.items.len());
        self.out.spec.items.push(spec);
        self.out.launches.push(launch);
    }

    fn add_resource(&mut self, name: &str, provided: &Provided) {
        let spec = ItemSpec {
            name: name.to_owned(),
            uses: Vec::new(),
            tasks: Vec::new(),
            lifetime: Lifetime::Serves,
            restart: MachineRestart::Always,
            start_limit_ms: RESOURCE_START_LIMIT_MS,
            stop_limit_ms: RESOURCE_STOP_LIMIT_MS,
        };
        self.add(spec, provided.launch.clone());
    }

    fn add_service(&mut self, service: &Service) -> Result<(), Vec<Problem>> {
        let name = service.name.to_string();
        let program = service::program(self.plan, service, self.values)?;
        self.out.ports.extend(program.ports.first().map(|port| (name.clone(), *port)));
        let id = self.out.spec.items.len();
        let mut tasks = match service.from.as_ref().and_then(|from| self.tasks.get(from.as_str())) {
            Some(tasks) => tasks.clone(),
            None => Vec::new(),
        };
        for task in self.own_tasks(service, id)? {
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        self.tasks.insert(name.clone(), tasks.clone());
        let via = service.heartbeat.as_ref().map(|heartbeat| &heartbeat.via);
        if let Some(HeartbeatVia::Notify | HeartbeatVia::Log(_)) = via {
            let note = "its heartbeat is not watched here: only a file and HTTP are so far";
            self.out.notes.push((name.clone(), note.to_owned()));
        }
        let start_limit = self.values.options.start_limit;
        let start_limit_ms = start_limit.map_or(service.health.start_timeout.0, |limit| {
            u64::try_from(limit.as_millis()).unwrap_or(Millis::MAX)
        });
        let spec = ItemSpec {
            name,
            uses: self.uses_of(service),
            tasks,
            lifetime: match service.kind {
                Kind::Job => Lifetime::Once,
                Kind::Cron => Lifetime::OnDemand,
                Kind::Web | Kind::Worker | Kind::Static => Lifetime::Serves,
            },
            restart: match service.restart {
                Restart::Always => MachineRestart::Always,
                Restart::OnFailure => MachineRestart::OnFailure,
                Restart::Never => MachineRestart::Never,
            },
            start_limit_ms,
            stop_limit_ms: service.stop.grace.0 + RUN_STOP_EXTRA_MS,
        };
        self.add(spec, Launch::Process(Box::new(program)));
        Ok(())
    }

    fn uses_of(&self, service: &Service) -> Vec<ItemId> {
        let names = service.uses.values().map(|used| match &used.target {
            UseTarget::Resource(name) => name.as_str(),
            UseTarget::Service(name) => name.as_str(),
        });
        names.filter_map(|name| self.ids.get(name).copied()).collect()
    }

    /// The build of a service, shared with whoever has the same, its migration, and its first data
    /// where those are wanted.
    fn own_tasks(&mut self, service: &Service, owner: ItemId) -> Result<Vec<TaskId>, Vec<Problem>> {
        let values = self.values;
        let env = service::environment(service, values, &Calls::default())?;
        let directory = service::directory(values.options, service);
        let launch = |words| TaskLaunch {
            item: service.name.to_string(),
            words,
            env: env.clone(),
            directory: directory.clone(),
        };
        let mut own = Vec::new();
        if let Some(build) = &service.build {
            let words = service::words(service, build, values).map_err(|problem| vec![problem])?;
            let key = (directory.clone(), words.clone());
            let task = match self.builds.get(&key) {
                Some(task) => *task,
                None => {
                    let spec = TaskSpec {
                        kind: TaskKind::Build,
                        owner,
                        uses: Vec::new(),
                        after: Vec::new(),
                        limit_ms: BUILD_LIMIT_MS,
                    };
                    self.add_task(spec, launch(words))
                }
            };
            self.builds.insert(key, task);
            own.push(task);
        }
        if let Some(migrate) = &service.migrate {
            let words =
                service::words(service, &migrate.run, values).map_err(|problem| vec![problem])?;
            let spec = TaskSpec {
                kind: TaskKind::Migrate,
                owner,
                uses: self.resources_of(service),
                after: own.clone(),
                limit_ms: migrate.timeout.0,
            };
            own.push(self.add_task(spec, launch(words)));
        }
        if let Some(seed) = wanted_seed(service, values) {
            let words = service::words(service, seed, values).map_err(|problem| vec![problem])?;
            let spec = TaskSpec {
                kind: TaskKind::Seed,
                owner,
                uses: self.resources_of(service),
                after: own.clone(),
                limit_ms: SEED_LIMIT_MS,
            };
            own.push(self.add_task(spec, launch(words)));
        }
        Ok(own)
    }

    /// The resources that a service uses: what a migration and first data wait for.
    fn resources_of(&self, service: &Service) -> Vec<ItemId> {
        let is_resource = |id: &ItemId| {
            let name = &self.out.spec.items[*id].name;
            self.plan.resources.keys().any(|resource| resource.as_str() == name)
        };
        self.uses_of(service).into_iter().filter(is_resource).collect()
    }

    fn add_task(&mut self, spec: TaskSpec, launch: TaskLaunch) -> TaskId {
        self.out.spec.tasks.push(spec);
        self.out.task_launches.push(launch);
        self.out.spec.tasks.len() - 1
    }
}

/// What loads the first data of a service, if it is asked for.
fn wanted_seed<'a>(service: &'a Service, values: &Values<'_>) -> Option<&'a Command> {
    service.seed.as_ref().filter(|_| values.options.seeds)
}

#[cfg(test)]
mod tests;
