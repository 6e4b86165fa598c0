//! Claims about what a plan becomes on this machine, with plans read from manifests.

use std::path::Path;

use super::*;
use crate::driver::Program;
use crate::up::StateDir;

struct Site {
    directory: tempfile::TempDir,
    options: Options,
    plan: Plan,
}

/// A directory with a manifest, and the directories `api` and `web`.
fn site(manifest: &str) -> Site {
    let directory = tempfile::tempdir().unwrap();
    for name in ["api", "web"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let state = StateDir::make(directory.path()).unwrap();
    let dir = directory.path().to_owned();
    let mut options = Options::new(dir, state, "/bin/plimsoll".into());
    options.edge_port = unused_port();
    options.variables.insert("PATH".into(), std::env::var("PATH").unwrap());
    let manifest = manifest::parse(manifest).unwrap_or_else(|problems| panic!("{problems:?}"));
    let plan = manifest::resolve(&manifest, manifest.local_environment())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .plan;
    Site { directory, options, plan }
}

fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program<'a>(assembled: &'a Assembled, name: &str) -> &'a Program {
    let id = assembled.spec.items.iter().position(|item| item.name == name).unwrap();
    match &assembled.launches[id] {
        Launch::Process(program) => program,
        other => panic!("{other:?}"),
    }
}

fn problems(site: &Site) -> Vec<String> {
    match assemble(&site.plan, &site.options).unwrap_err() {
        Error::Problems { problems } => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_from_another_service_shares_its_build_and_migration() {
    let port = unused_port();
    let it = site(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  api: {{path: api, build: make, run: ./api, port: {port}, \
         migrate: ./migrate up, uses: [files]}}\n  worker: {{from: api, run: ./api work}}\n\
         resources: {{files: {{type: volume}}}}\n"
    ));
    let assembled = assemble(&it.plan, &it.options).unwrap();
    let kinds: Vec<_> = assembled.spec.tasks.iter().map(|task| task.kind).collect();
    assert_eq!(kinds, [TaskKind::Build, TaskKind::Migrate]);
    let item = |name: &str| assembled.spec.items.iter().find(|item| item.name == name).unwrap();
    assert_eq!(item("api").tasks, [0, 1]);
    assert_eq!(item("worker").tasks, [0, 1]);
    assert_eq!(assembled.task_launches[1].words, ["./migrate", "up"]);
    assert_eq!(assembled.task_launches[0].directory, it.directory.path().join("api"));
}

#[test]
fn first_data_is_loaded_after_the_migration_if_it_is_asked_for() {
    let port = unused_port();
    let mut it = site(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  api: {{path: api, run: ./api, port: {port}, \
         migrate: ./migrate up, seed: ./api seed samples, uses: [files]}}\n\
         resources: {{files: {{type: volume}}}}\n"
    ));
    let kinds = |it: &Site| -> Vec<_> {
        let assembled = assemble(&it.plan, &it.options).unwrap();
        assembled.spec.tasks.iter().map(|task| task.kind).collect()
    };
    assert_eq!(kinds(&it), [TaskKind::Migrate]);
    it.options.seeds = true;
    assert_eq!(kinds(&it), [TaskKind::Migrate, TaskKind::Seed]);
    let assembled = assemble(&it.plan, &it.options).unwrap();
    assert_eq!(assembled.spec.tasks[1].after, [0]);
    assert_eq!(assembled.spec.tasks[1].uses, assembled.spec.tasks[0].uses);
    assert_eq!(assembled.task_launches[1].words, ["./api", "seed", "samples"]);
}

#[test]
fn a_service_gets_what_it_uses_and_run_gets_the_rest() {
    let port = unused_port();
    let mut it = site(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  api:\n    path: api\n    port: {port}\n    \
         run: ./api --dir ${{resources.files.path}}\n    uses: [files]\n    secrets: [KEY]\n    \
         route: api\nresources: {{files: {{type: volume}}}}\n"
    ));
    it.options.dotenv.insert("KEY".into(), "from the file".into());
    let assembled = assemble(&it.plan, &it.options).unwrap();
    let api = program(&assembled, "api");
    let files = it.options.state.data.join("files").display().to_string();
    assert_eq!(api.program, Path::new("/bin/plimsoll"));
    assert_eq!(api.args, ["run", "--", "./api", "--dir", &files]);
    assert_eq!(api.env["KEY"], "from the file");
    assert_eq!(api.env["PLIMSOLL_INGRESS"], format!("127.0.0.1:{port}"));
    assert_eq!(api.env["PLIMSOLL_LISTEN"], "off");
    assert_eq!(api.env["PLIMSOLL_SERVICE"], "api");
    assert_eq!(api.ports, [port]);
    it.options.variables.insert("KEY".into(), "from outside".into());
    let assembled = assemble(&it.plan, &it.options).unwrap();
    assert_eq!(program(&assembled, "api").env["KEY"], "from outside");
}

#[test]
fn a_used_service_is_probed_and_known_by_its_address() {
    let (api, web) = (unused_port(), unused_port());
    let it = site(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  api: {{path: api, run: ./api, port: {api}, route: api}}\n  \
         web: {{path: web, run: ./web, port: {web}, uses: [api], route: \"@\", \
         env: {{PUBLIC: \"${{services.api.public_url}}\"}}}}\n"
    ));
    let assembled = assemble(&it.plan, &it.options).unwrap();
    let env = &program(&assembled, "web").env;
    assert_eq!(env["PUBLIC"], format!("http://api.localhost:{}", it.options.edge_port));
    let probes: serde_json::Value = serde_json::from_str(&env["PLIMSOLL_PROBES"]).unwrap();
    assert_eq!(probes["api"]["http"], format!("http://127.0.0.1:{api}/ready"));
    let order: Vec<_> = assembled.spec.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(order, ["api", "web"]);
    assert_eq!(assembled.spec.items[1].uses, [0]);
}

#[test]
fn everything_that_is_missing_is_said_at_once_and_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let it = site(&format!(
        "plimsoll: 1\napp: shop\nservices:\n  api: {{path: api, port: {port}, secrets: [KEY]}}\n  \
         gone: {{path: nowhere, run: ./gone, uses: [events]}}\n\
         resources: {{events: {{type: kafka}}}}\n"
    ));
    let problems = problems(&it).join("\n");
    for expected in [
        "resource `events` (kafka, via `",
        "PLIMSOLL_EVENTS_URL=<host:9092,host:9092> plimsoll up",
        &format!("service `api` needs port {port}, which is already taken by `"),
        "service `api` has no run command",
        "service `api` needs the secret `KEY`, which has no value here",
        "service `gone` has its sources in `",
    ] {
        assert!(problems.contains(expected), "no {expected:?} in:\n{problems}");
    }
}

#[test]
fn a_dotenv_file_that_cannot_be_read_is_named_without_its_values() {
    let directory = tempfile::tempdir().unwrap();
    assert!(crate::up::read_dotenv(directory.path()).unwrap().is_empty());
    std::fs::write(directory.path().join(".env"), "A='b c'\nB=hunter2 x'y\n").unwrap();
    let error = crate::up::read_dotenv(directory.path()).unwrap_err().to_string();
    assert!(error.contains(".env`"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
