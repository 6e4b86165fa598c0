//! Images and Compose files of `examples/discovery`, as `plimsoll render` writes them: built, run
//! and used, not only read.
//!
//! Docker is an engine of the test's own, without a registry: what stands in for base images is in
//! `crates/testkit/docker/Dockerfile`. The rented database of production is a server beside the
//! engine's containers, at an address of no network of theirs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Docker, wait_for};

use crate::run_harness::binary;

/// How long what is up may take to do its work, beside compilers.
const PATIENCE: Duration = Duration::from_secs(180);
/// What the images are tagged with.
const VERSION: &str = "1.4.0-3f2a9c1";
/// Where the rented database is: on no network of the containers'.
const RENTED: &str = "10.99.0.1";
/// Each sample and a word that only it holds; the last two are pictures of text.
const SAMPLES: [(&str, &str); 4] = [
    ("load-line-survey.pdf", "freeboard"),
    ("lettre-de-saint-malo.txt", "goelette"),
    ("lighthouse-log-scan.pdf", "kittiwake"),
    ("harbour-notice.png", "kingfisher"),
];

#[test]
fn with_docker_the_images_of_the_example_are_built_and_its_production_serves() {
    let Some(engine) = Docker::start_or_skip() else { return };
    let clock = Instant::now();
    if !engine.load_stand_ins() {
        return;
    }
    said("base images are loaded", clock);
    let project = Project::rendered();
    stand_in(&engine, &project);
    said("base images stand ready", clock);
    build(&engine, &project);
    said("the images are built", clock);
    for service in ["backend", "frontend", "worker"] {
        an_image_says_what_it_is_and_has_no_shell(&engine, service);
    }

    rent_a_database(&engine, &project);
    trust_no_authority(&project, "production");
    let production = Compose { engine: &engine, project: &project, environment: "production" };
    production.done(&["up", "--detach", "--wait", "--wait-timeout", "240"]);
    said("production is up", clock);
    assert_eq!(production.containers().len(), 8, "migration, 3 + 2 + 1, and the edge");
    for container in production.containers() {
        is_confined(&engine, &container);
    }
    for service in ["backend", "frontend", "worker"] {
        answers_its_probes(&engine, &format!("discovery-production-{service}-1"));
    }
    strangers_do_not_meet(&engine);
    serves(&production, "discovery.example");
    said("a document that was dropped is found", clock);
    stops_cleanly(&production);
    said("production has stopped", clock);

    trust_no_authority(&project, "staging");
    secret(&project, "staging/DB_PASSWORD", "sesame");
    let staging = Compose { engine: &engine, project: &project, environment: "staging" };
    staging.done(&["up", "--detach", "--wait", "--wait-timeout", "240"]);
    said("staging is up, with its database in a container", clock);
    serves(&staging, "stg.discovery.example");
    stops_cleanly(&staging);
    said("staging has stopped", clock);

    let dev = Compose { engine: &engine, project: &project, environment: "dev" };
    dev.done(&["config", "--quiet"]);
    drop(engine);
    said("nothing is left", clock);
}

fn said(what: &str, since: Instant) {
    eprintln!("{:>6.1} s: {what}", since.elapsed().as_secs_f32());
}

/// A copy of the example with everything that follows from its manifest.
struct Project {
    directory: tempfile::TempDir,
}

impl Project {
    fn rendered() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/discovery");
        let files = ["backend", "frontend", "samples", "Cargo.lock", "Cargo.toml", "plimsoll.yaml"];
        let copied = Command::new("cp")
            .arg("--recursive")
            .args(files.map(|name| example.join(name)))
            .arg(directory.path())
            .status();
        assert!(copied.unwrap().success());
        let rendered = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(["render", "--dir"])
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }
}

/// Has an image for every name of a base image in the files, and for our own program.
///
/// The crates are beside the compiler, as a mirror would have them. Our program is the one under
/// test: linked to the libraries of this machine, if it is not static, which are put into the
/// images that it will stand in.
fn stand_in(engine: &Docker, project: &Project) {
    let layers = tempfile::tempdir().unwrap();
    let at = |name: &str| layers.path().join(name);
    let vendored = Command::new(env!("CARGO"))
        .args(["vendor", "--quiet", "--locked"])
        .arg(at("crates/usr/local/vendor"))
        .current_dir(project.path())
        .output()
        .unwrap();
    assert!(vendored.status.success(), "{}", String::from_utf8_lossy(&vendored.stderr));

    let program = std::env::var_os("PLIMSOLL_STATIC_BINARY").map_or_else(binary, PathBuf::from);
    fs::create_dir_all(at("program")).unwrap();
    let copy = at("program/plimsoll-run");
    let stripped = Command::new("strip").arg("-o").arg(&copy).arg(&program).status();
    assert!(stripped.unwrap().success());
    let needs = Command::new("ldd").arg(&program).output().unwrap();
    let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
    fs::create_dir_all(at("libraries")).unwrap();
    for library in needs.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = at("libraries").join(library.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }

    for name in base_images(project) {
        let files = match name.split(['/', ':']).next().unwrap() {
            "rust" => Some(at("crates")),
            "gcr.io" => Some(at("libraries")),
            _ => None,
        };
        match name.starts_with("ghcr.io/plimsoll/plimsoll-run:") {
            true => engine.image(&name, "scratch", &at("program")),
            false => engine.stand_in(&name, files.as_deref()),
        }
    }
}

/// The images that the files name and do not build.
fn base_images(project: &Project) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in ["Dockerfile", "frontend/Dockerfile"] {
        let text = project.read(file);
        let mut stages = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
            let (base, stage) = line.split_once(" AS ").unwrap();
            if !stages.contains(base) {
                names.insert(base.to_owned());
            }
            stages.insert(stage.to_owned());
        }
    }
    for file in ["compose.prod.yaml", "compose.staging.yaml"] {
        let text = project.read(file);
        let images = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
        names.extend(images.filter(|image| !image.contains('$')).map(str::to_owned));
    }
    names
}

/// As `docker buildx bake` does, for the architecture of this machine.
fn build(engine: &Docker, project: &Project) {
    let architecture = engine.done(&["version", "--format", "{{.Server.Arch}}"]);
    let platform = format!("*.platform=linux/{architecture}");
    let output = engine
        .command()
        .args(["buildx", "bake", "--set", &platform, "--progress=plain"])
        .envs([("VERSION", VERSION), ("REVISION", "3f2a9c1"), ("SOURCE", "https://git.example/d")])
        .current_dir(project.path())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = log.lines().rev().take(30).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    assert!(output.status.success(), "{}", last.join("\n"));
}

fn an_image_says_what_it_is_and_has_no_shell(engine: &Docker, service: &str) {
    let image = format!("ghcr.io/acme/discovery/{service}:{VERSION}");
    let about: Value = serde_json::from_str(&engine.done(&["image", "inspect", &image])).unwrap();
    let config = &about[0]["Config"];
    assert_eq!(config["User"], "65532:65532", "{service}");
    assert_eq!(config["Entrypoint"][0], "/usr/local/bin/plimsoll-run", "{service}");
    let probe = ["CMD", "/usr/local/bin/plimsoll-run", "probe", "ready"];
    assert_eq!(config["Healthcheck"]["Test"], Value::from(probe.to_vec()), "{service}");
    for (label, value) in [
        ("title", service),
        ("vendor", "discovery"),
        ("version", VERSION),
        ("revision", "3f2a9c1"),
        ("source", "https://git.example/d"),
    ] {
        let label = format!("org.opencontainers.image.{label}");
        assert_eq!(config["Labels"][&label], value, "{service}: {label}");
    }

    let container = engine.done(&["create", &image]);
    let archive = engine.directory().join("tree.tar");
    engine.done(&["export", "--output", &archive.display().to_string(), &container]);
    engine.done(&["rm", &container]);
    let files = Command::new("tar").arg("--list").arg("--file").arg(&archive).output().unwrap();
    let files = String::from_utf8(files.stdout).unwrap();
    assert!(files.contains("usr/local/bin/plimsoll-run"), "{service}: {files}");
    for path in files.lines() {
        let name = path.rsplit('/').next().unwrap();
        let is_tool = ["sh", "bash", "dash", "busybox", "apt-get", "dpkg", "perl"].contains(&name);
        assert!(!is_tool, "{service} has {path}");
    }
}

/// A server that nobody starts with Compose: it is rented. Only a route leads to it.
fn rent_a_database(engine: &Docker, project: &Project) {
    let address = format!("{RENTED}/32");
    let added = engine.inside("ip").args(["address", "add", &address, "dev", "lo"]).status();
    assert!(added.unwrap().success());
    let image = base_images(project).into_iter().find(|name| name.starts_with("postgres:"));
    let mut run = vec!["run", "--detach", "--name", "rented", "--network", "host"];
    for variable in ["POSTGRES_USER=discovery", "POSTGRES_DB=discovery", "POSTGRES_PASSWORD=sesame"]
    {
        run.extend(["--env", variable]);
    }
    let image = image.unwrap();
    run.push(&image);
    engine.done(&run);
    let url = format!("postgres://discovery:sesame@{RENTED}:5432/discovery");
    secret(project, "production/DB_URL", &url);
}

/// As `secrets/README.md` says.
fn secret(project: &Project, name: &str, value: &str) {
    let file = project.path().join("secrets").join(name);
    let directory = file.parent().unwrap();
    fs::create_dir_all(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&file, value).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Lets the edge sign its certificates itself: no authority can be asked from here.
fn trust_no_authority(project: &Project, environment: &str) {
    let file = project.path().join(format!("caddy/{environment}.Caddyfile"));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("\n{\n").count(), 1, "it has one block of options");
    fs::write(file, text.replace("\n{\n", "\n{\n\tlocal_certs\n")).unwrap();
}

/// One environment under Docker Compose.
struct Compose<'a> {
    engine: &'a Docker,
    project: &'a Project,
    environment: &'a str,
}

impl Compose<'_> {
    fn output(&self, args: &[&str]) -> Output {
        let short = if self.environment == "production" { "prod" } else { self.environment };
        let release = format!("{}_VERSION", self.environment.to_uppercase());
        self.engine
            .command()
            .args(["compose", "--ansi=never", "--progress=plain", "--file"])
            .arg(format!("compose.{short}.yaml"))
            .args(args)
            .env(release, VERSION)
            .current_dir(self.project.path())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let output = self.output(args);
        if !output.status.success() {
            let logs = self.output(&["logs", "--tail=15"]);
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "compose {args:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Names of its containers, ended ones too.
    fn containers(&self) -> Vec<String> {
        let names = self.done(&["ps", "--all", "--format", "{{.Name}}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// What the edge answers at a host's address, asked from where its ports are published.
    fn ask(&self, url: &str, more: &[&str]) -> (String, String) {
        let authority = self.engine.directory().join("root.crt");
        let authority = authority.display().to_string();
        let output = self
            .engine
            .inside("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--cacert", &authority])
            .args(["--connect-to", "::127.0.0.1:", "--write-out", "\n%{http_code}"])
            .args(more)
            .arg(url)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap_or_default();
        (code.to_owned(), body.to_owned())
    }
}

/// Not root, no capability, nothing to write to, by what the kernel says of it.
fn is_confined(engine: &Docker, name: &str) {
    let about: Value = serde_json::from_str(&engine.done(&["inspect", name])).unwrap();
    let state = &about[0]["State"];
    if name.contains("-migrate-") {
        assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &0.into()), "{name}");
        return;
    }
    assert_eq!(state["Health"]["Status"], "healthy", "{name}");
    let pid = &state["Pid"];
    let status = engine.read(&format!("/proc/{pid}/status"));
    let field = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        lines.find(|(field, _)| *field == name).map(|(_, value)| value.to_owned())
    };
    let is_edge = name.contains("-edge-");
    // The edge keeps the one for ports below 1024.
    let rights = if is_edge { 1_u64 << 10 } else { 0 };
    assert_eq!(field("CapBnd"), Some(format!("{rights:016x}")), "{name}: {status}");
    assert_eq!(field("NoNewPrivs").as_deref(), Some("1"), "{name}");
    if !is_edge {
        assert_eq!(field("CapEff").as_deref(), Some("0000000000000000"), "{name}");
        assert_eq!(field("Uid").as_deref(), Some("65532\t65532\t65532\t65532"), "{name}");
    }
    let mounts = engine.read(&format!("/proc/{pid}/mountinfo"));
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|flag| flag == "ro"), "{name}: {root}");
}

/// By the program in the image, as the engine asks, and by HTTP from beside it.
fn answers_its_probes(engine: &Docker, name: &str) {
    for probe in ["live", "ready", "started"] {
        engine.done(&["exec", name, "/usr/local/bin/plimsoll-run", "probe", probe]);
    }
    let addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let addresses = engine.done(&["inspect", "--format", addresses, name]);
    let address = addresses.split_whitespace().next().unwrap();
    for path in ["live", "ready", "metrics"] {
        let url = format!("http://{address}:9460/{path}");
        let answer = engine.inside("curl").args(["--silent", "--fail", &url]).output().unwrap();
        assert!(answer.status.success(), "{name}: {url}");
    }
}

/// Nobody is called in the network that leads out, and who calls nobody has no way out.
fn strangers_do_not_meet(engine: &Docker) {
    let inspect = |what: &str, service: &str| {
        engine.done(&["inspect", "--format", what, &format!("discovery-production-{service}-1")])
    };
    let connects = |service: &str, address: &str| {
        let pid = inspect("{{.State.Pid}}", service);
        let mut curl = engine.inside("nsenter");
        curl.args(["--target", &pid, "--net", "curl", "--silent", "--output", "/dev/null"]);
        let ended = curl.args(["--max-time", "3", &format!("http://{address}/")]).status().unwrap();
        // No route or refused, and no answer in time; whatever else it says, it was connected.
        !matches!(ended.code(), Some(7 | 28))
    };
    let backend = |network: &str| {
        let network = format!("discovery-production_{network}");
        let address = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        format!("{}:9460", inspect(&address, "backend"))
    };
    let database = format!("{RENTED}:5432");
    assert!(connects("edge", &backend("backend")), "the edge calls the backend");
    assert!(!connects("edge", &backend("outside")), "in the network that leads out");
    assert!(!connects("worker", &backend("backend")), "the worker does not");
    assert!(connects("worker", &database), "the worker has a way out");
    assert!(!connects("frontend", &database), "the frontend has none");
}

/// The page, and every sample from the drop to the search, through the edge alone.
fn serves(compose: &Compose<'_>, host: &str) {
    let authority = compose.engine.directory().join("root.crt");
    let inside = "edge:/data/caddy/pki/authorities/local/root.crt";
    compose.done(&["cp", inside, &authority.display().to_string()]);
    let (code, _) = compose.ask(&format!("http://{host}/"), &[]);
    assert_eq!(code, "308", "plain HTTP is for nobody");
    let (code, page) = compose.ask(&format!("https://{host}/"), &[]);
    assert_eq!((code.as_str(), page.contains("<title>Discovery</title>")), ("200", true), "{page}");

    for (name, _) in SAMPLES {
        let sample = compose.project.path().join("samples").join(name);
        let form = format!("file=@{}", sample.display());
        let url = format!("https://{host}/v1/documents");
        let (code, body) = compose.ask(&url, &["--form", &form]);
        assert!(["200", "201", "202"].contains(&code.as_str()), "{name}: {code} {body}");
    }
    for (name, word) in SAMPLES {
        wait_for(&format!("`{word}` of {name} to be found"), PATIENCE, || {
            let url = format!("https://api.{host}/v1/search?q={word}");
            let (_, body) = compose.ask(&url, &[]);
            let page: Value = serde_json::from_str(&body).unwrap_or_default();
            page["hits"].as_array().is_some_and(|hits| hits.iter().any(|hit| hit["name"] == name))
        });
    }
}

/// Each process ends by itself, within its time, and nothing is left of them.
fn stops_cleanly(compose: &Compose<'_>) {
    let begun = Instant::now();
    compose.done(&["stop"]);
    assert!(begun.elapsed() < Duration::from_secs(41), "the longest grace of a service");
    for name in compose.containers() {
        let code = compose.engine.done(&["inspect", "--format", "{{.State.ExitCode}}", &name]);
        assert_eq!(code, "0", "{name}");
    }
    for service in ["backend", "frontend", "worker"] {
        let logs = compose.done(&["logs", "--no-log-prefix", service]);
        assert!(logs.contains("shutdown.end"), "{service}: {logs}");
    }
    compose.done(&["down", "--volumes"]);
    let label = format!("label=com.docker.compose.project=discovery-{}", compose.environment);
    for list in [&["ps", "--all"][..], &["volume", "ls"], &["network", "ls"]] {
        let args = [list, &["--quiet", "--filter", &label]].concat();
        assert_eq!(compose.engine.done(&args), "", "{list:?}");
    }
}
