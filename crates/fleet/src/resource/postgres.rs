//! A Postgres from installed binaries, in a private data directory: where it is, whom it runs as.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use manifest::plan::Postgres;
use manifest::template::Output;
use nix::sys::signal::Signal;

use super::postgres_setup::Cluster;
use super::{Outputs, Place, Provided, Unavailable, account, kept, programs};
use crate::driver::{Account, Check, Launch, Program, Setup};

/// Where data goes when the account of the server cannot reach the directory of the application.
const FALLBACK: &str = "/var/tmp";

pub(super) fn provide(
    name: &str,
    postgres: &Postgres,
    place: &Place<'_>,
) -> Result<Provided, Unavailable> {
    let disk = |path: &Path, error: &std::io::Error| Unavailable::Disk {
        name: name.to_owned(),
        path: path.display().to_string(),
        problem: error.to_string(),
    };
    let account =
        account::for_servers().map_err(|()| Unavailable::NoAccount { name: name.to_owned() })?;
    fs::create_dir_all(place.data).map_err(|error| disk(place.data, &error))?;
    let (base, elsewhere) = home(name, place.data, account.as_ref());
    account::make_directory(account.as_ref(), &base).map_err(|error| disk(&base, &error))?;
    let directory = base.join("cluster");
    let bin = choose_version(name, postgres, place, &directory)?;
    let kept = kept::recall(place.data, name, &directory).map_err(|e| disk(place.data, &e))?;
    let database = database_name(place.app);
    let address = super::address(kept.port);
    let outputs = Outputs::from([
        (Output::Url, format!("postgres://{database}:{}@{address}/{database}", kept.password)),
        (Output::Host, "127.0.0.1".to_owned()),
        (Output::Port, kept.port.to_string()),
        (Output::User, database.clone()),
        (Output::Password, kept.password.clone()),
        (Output::Name, database.clone()),
    ]);
    let cluster = Cluster {
        bin: bin.clone(),
        directory: directory.clone(),
        account: account.clone(),
        database,
        password: kept.password,
        extensions: postgres.extensions.clone(),
    };
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={}", kept.port),
        // Whoever may read a directory could otherwise connect; a login by TCP needs the password.
        "unix_socket_directories=".to_owned(),
        "log_destination=stderr".to_owned(),
        "logging_collector=off".to_owned(),
        "log_line_prefix=".to_owned(),
    ];
    let mut args = vec!["-D".to_owned(), directory.display().to_string()];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    let launch = Launch::Process(Box::new(Program {
        program: bin.join("postgres"),
        args,
        env: [("LC_MESSAGES".to_owned(), "C".to_owned())].into(),
        directory: base,
        account,
        ports: vec![kept.port],
        // Fast shutdown: clients are cut, data is flushed. SIGTERM would wait for the clients.
        stop_signal: Signal::SIGINT,
        setup: Setup::Postgres(cluster),
        check: Check::Postgres(address),
    }));
    let note = match (elsewhere, other_version(postgres, &bin)) {
        (Some(elsewhere), Some(other)) => Some(format!("{other}; {elsewhere}")),
        (elsewhere, other) => elsewhere.or(other),
    };
    Ok(Provided { launch, outputs, port: Some(kept.port), note })
}

/// The directory of a resource's data, and what to say about it when it is an unexpected one.
fn home(name: &str, data: &Path, account: Option<&Account>) -> (PathBuf, Option<String>) {
    let wanted = data.join(name);
    let Some(account) = account.filter(|account| !account::can_reach(account, data)) else {
        // What was made elsewhere, when it could not be reached, stays where it is.
        let before = kept::directory_of(data, name).and_then(|at| Some(at.parent()?.to_owned()));
        return (before.filter(|at| at.is_dir()).unwrap_or(wanted), None);
    };
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let other = Path::new(FALLBACK).join(format!("plimsoll-{:016x}-{name}", hasher.finish()));
    let note = format!(
        "Postgres does not run as root, and `{}` cannot reach `{}`; the data is in `{}`",
        account.name,
        data.display(),
        other.display()
    );
    (other, Some(note))
}

/// What to say when another version runs than is wanted.
fn other_version(postgres: &Postgres, bin: &Path) -> Option<String> {
    let (wanted, found) = (&postgres.version, version_of(bin));
    (found != *wanted).then(|| format!("Postgres {wanted} is wanted; this is Postgres {found}"))
}

/// The programs of the version that made the data; for new data the wanted version if it is
/// installed, else the newest.
fn choose_version(
    name: &str,
    postgres: &Postgres,
    place: &Place<'_>,
    directory: &Path,
) -> Result<PathBuf, Unavailable> {
    let path = (place.variable)("PATH").unwrap_or_default();
    let directories = programs::postgres_directories(&path);
    let Some(newest) = directories.first() else {
        let version = &postgres.version;
        return Err(Unavailable::NotInstalled {
            name: name.to_owned(),
            what: "a Postgres server",
            program: "initdb",
            install: programs::install("postgresql", &format!("postgresql@{version}")),
            variable: super::variable_of(name),
        });
    };
    let with = |version: &str| directories.iter().find(|bin| version_of(bin) == version);
    let Ok(found) = fs::read_to_string(directory.join("PG_VERSION")) else {
        return Ok(with(&postgres.version).unwrap_or(newest).clone());
    };
    let found = found.trim();
    with(found).cloned().ok_or_else(|| Unavailable::OtherVersion {
        name: name.to_owned(),
        found: found.to_owned(),
        installed: directories.iter().map(|bin| version_of(bin)).collect::<Vec<_>>().join(", "),
        directory: directory.display().to_string(),
    })
}

/// The major version of the programs in a directory: from its path, else from what they say.
fn version_of(bin: &Path) -> String {
    let of_path = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let of_path = of_path.map(|name| name.strip_prefix("postgresql@").unwrap_or(name));
    if let Some(version) = of_path.filter(|name| name.parse::<u32>().is_ok()) {
        return version.to_owned();
    }
    let said = std::process::Command::new(bin.join("postgres")).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let number =
        said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    number.and_then(|word| word.split('.').next()).unwrap_or_default().to_owned()
}

/// A name that needs no quotes anywhere: letters, digits and underscores.
fn database_name(app: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = app.chars().map(plain).collect();
    // These belong to Postgres itself.
    if name.starts_with("pg_")
        || ["postgres", "template0", "template1", "public", "user"].contains(&name.as_str())
    {
        return format!("app_{name}");
    }
    name
}
