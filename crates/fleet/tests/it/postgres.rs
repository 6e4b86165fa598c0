//! Claims about the local Postgres, with a real one. Skipped, aloud, where none is installed.

use std::path::Path;
use std::process::Command;

use fleet::driver::Driver;
use fleet::resource::{Place, Provided, Unavailable, provide};
use manifest::plan::{Postgres, PostgresVia, Resource, ResourceSpec};
use manifest::template::{Output, Template};

use crate::stage::{Stage, directory, has};

fn database(extensions: &[&str]) -> Resource {
    let postgres = Postgres {
        version: "15".into(),
        extensions: extensions.iter().map(|name| (*name).to_owned()).collect(),
        backup: None,
        via: PostgresVia::Local,
    };
    Resource { name: "db".parse().unwrap(), spec: ResourceSpec::Postgres(postgres) }
}

fn provided(data: &Path, resource: &Resource) -> Result<Provided, Unavailable> {
    let variable = |name: &str| (name == "PATH").then(|| std::env::var(name).ok()).flatten();
    let fill = |template: &Template| Ok(template.to_string());
    provide(resource, &Place { app: "My-Shop", data, variable: &variable, fill: &fill })
}

fn is_installed() -> bool {
    let is_there = has("initdb")
        || std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut all| all.next().is_some());
    if !is_there {
        eprintln!("SKIPPED: no Postgres server is installed here");
    }
    is_there && has("psql")
}

fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql").args([url, "-qtAc", sql]).output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    String::from_utf8_lossy(&said).trim().to_owned()
}

#[tokio::test]
async fn a_database_is_made_once_needs_its_password_and_keeps_its_data() {
    if !is_installed() {
        return;
    }
    let data = directory();
    let first = provided(data.path(), &database(&[])).unwrap();
    let url = first.outputs[&Output::Url].clone();
    assert_eq!(first.outputs[&Output::Name], "my_shop");
    let mut stage = Stage::new(vec![("it", first.launch)], vec![]);
    stage.driver.start(0, 1);
    stage.ready().await;
    assert_eq!(psql(&url, "create table t as select 7 as n; select n from t"), "7");
    assert_eq!(psql(&url, "select lower('É')"), "é");
    let wrong = url.replace(&first.outputs[&Output::Password], "guess");
    assert!(psql(&wrong, "select 1").contains("password authentication failed"));
    stage.stop(1).await;

    let second = provided(data.path(), &database(&[])).unwrap();
    assert_eq!(second.outputs, first.outputs);
    stage.driver.start(0, 2);
    stage.ready().await;
    assert_eq!(psql(&url, "select n from t"), "7");
    // Killed, it leaves a lock file behind, and starts all the same.
    stage.driver.kill(0, 2);
    assert!(stage.exited().await.is_err());
    stage.driver.start(0, 3);
    stage.ready().await;
    assert_eq!(psql(&url, "select n from t"), "7");
    stage.stop(3).await;
}

#[tokio::test]
async fn data_goes_where_the_account_of_the_server_can_reach_and_that_is_said() {
    if !is_installed() || !nix::unistd::geteuid().is_root() {
        return;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), mode(0o700)).unwrap();
    let it = provided(closed.path(), &database(&[])).unwrap();
    let note = it.note.unwrap();
    assert!(note.contains("cannot reach"), "{note}");
    let elsewhere = note.rsplit('`').nth(1).unwrap();
    assert!(elsewhere.starts_with("/var/tmp/plimsoll-"), "{note}");
    let mut stage = Stage::new(vec![("it", it.launch)], vec![]);
    stage.driver.start(0, 1);
    stage.ready().await;
    stage.stop(1).await;
    // Reachable later, the data stays where it is.
    std::fs::set_permissions(closed.path(), mode(0o755)).unwrap();
    let again = provided(closed.path(), &database(&[])).unwrap();
    assert_eq!(again.outputs, it.outputs);
    let fleet::driver::Launch::Process(program) = again.launch else { panic!() };
    assert_eq!(program.directory, Path::new(elsewhere));
    std::fs::remove_dir_all(elsewhere).unwrap();
}

#[tokio::test]
async fn an_extension_that_is_not_installed_is_named_with_the_package() {
    if !is_installed() {
        return;
    }
    let data = directory();
    let it = provided(data.path(), &database(&["no_such_extension"])).unwrap();
    let mut stage = Stage::new(vec![("it", it.launch)], vec![]);
    stage.driver.start(0, 1);
    let error = stage.exited().await.unwrap_err();
    assert!(error.contains("extension `no_such_extension` cannot be made"), "{error}");
    assert!(error.contains("help: install it"), "{error}");
}

#[test]
fn data_of_another_major_version_is_refused_with_the_ways_out() {
    if !is_installed() {
        return;
    }
    let data = directory();
    let cluster = data.path().join("db/cluster");
    std::fs::create_dir_all(&cluster).unwrap();
    std::fs::write(cluster.join("PG_VERSION"), "9\n").unwrap();
    let error = provided(data.path(), &database(&[])).unwrap_err().to_string();
    assert!(error.contains("has data of Postgres 9"), "{error}");
    assert!(error.contains("help: or throw the data away"), "{error}");
}

#[test]
fn without_a_server_the_three_ways_to_get_one_are_said() {
    let data = directory();
    let nothing = |_: &str| None;
    let fill = |template: &Template| Ok(template.to_string());
    let place = Place { app: "shop", data: data.path(), variable: &nothing, fill: &fill };
    let redis = manifest::plan::Redis {
        version: "7".into(),
        persistent: true,
        via: manifest::plan::RedisVia::Local,
    };
    let cache = Resource { name: "cache".parse().unwrap(), spec: ResourceSpec::Redis(redis) };
    let error = provide(&cache, &place).unwrap_err().to_string();
    assert!(error.contains("apt-get install redis-server") || cfg!(target_os = "macos"), "{error}");
    assert!(error.contains("PLIMSOLL_CACHE_URL=<url> plimsoll up"), "{error}");
    assert!(error.contains("via: url"), "{error}");
}

#[test]
fn a_url_from_outside_gives_every_output_and_nothing_is_started() {
    let data = directory();
    let variable = |name: &str| {
        (name == "PLIMSOLL_DB_URL").then(|| "postgres://me:p%40ss@db.example:6000/shop".to_owned())
    };
    let fill = |template: &Template| Ok(template.to_string());
    let place = Place { app: "shop", data: data.path(), variable: &variable, fill: &fill };
    let it = provide(&database(&[]), &place).unwrap();
    let output = |output| it.outputs[&output].as_str();
    assert_eq!(output(Output::Host), "db.example");
    assert_eq!(output(Output::Port), "6000");
    assert_eq!(output(Output::User), "me");
    assert_eq!(output(Output::Password), "p@ss");
    assert_eq!(output(Output::Name), "shop");
    assert!(matches!(it.launch, fleet::driver::Launch::Elsewhere(_)));
}
