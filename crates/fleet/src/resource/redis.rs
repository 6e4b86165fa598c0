//! A Redis from an installed binary, in a private directory, with a password.

use std::fs;
use std::path::Path;

use manifest::plan::Redis;
use manifest::template::Output;
use nix::sys::signal::Signal;

use super::{Outputs, Place, Provided, Unavailable, kept, programs};
use crate::driver::{Check, Launch, Program, Setup};

pub(super) fn provide(
    name: &str,
    redis: &Redis,
    place: &Place<'_>,
) -> Result<Provided, Unavailable> {
    let path = (place.variable)("PATH").unwrap_or_default();
    let program = ["redis-server", "valkey-server"]
        .iter()
        .find_map(|program| programs::in_path(program, &path))
        .ok_or_else(|| Unavailable::NotInstalled {
            name: name.to_owned(),
            what: "a Redis server",
            program: "redis-server",
            install: programs::install("redis-server", "redis"),
            variable: super::variable_of(name),
        })?;
    let directory = place.data.join(name);
    let disk = |path: &Path, error: &std::io::Error| Unavailable::Disk {
        name: name.to_owned(),
        path: path.display().to_string(),
        problem: error.to_string(),
    };
    fs::create_dir_all(&directory).map_err(|error| disk(&directory, &error))?;
    let kept = kept::recall(place.data, name, &directory).map_err(|e| disk(place.data, &e))?;
    let config = directory.join("redis.conf");
    let text = config_of(kept.port, &kept.password, redis.persistent);
    // The password is in a file, not among the arguments, which every user of the machine sees.
    kept::write_private(&config, text.as_bytes()).map_err(|error| disk(&config, &error))?;
    let address = super::address(kept.port);
    let outputs = Outputs::from([
        (Output::Url, format!("redis://:{}@{address}/0", kept.password)),
        (Output::Host, "127.0.0.1".to_owned()),
        (Output::Port, kept.port.to_string()),
        (Output::Password, kept.password.clone()),
    ]);
    let launch = Launch::Process(Box::new(Program {
        program,
        args: vec!["redis.conf".into()],
        env: [].into(),
        directory,
        account: None,
        ports: vec![kept.port],
        stop_signal: Signal::SIGTERM,
        setup: Setup::Nothing,
        check: Check::Redis { address, password: Some(kept.password) },
    }));
    Ok(Provided { launch, outputs, port: Some(kept.port), note: None })
}

/// `dir` is the working directory, which the driver sets: a path in this file would need quoting.
fn config_of(port: u16, password: &str, is_persistent: bool) -> String {
    let appendonly = if is_persistent { "yes" } else { "no" };
    let save = if is_persistent { "" } else { "save \"\"\n" };
    format!(
        "bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\ndaemonize no\n\
         dir .\nappendonly {appendonly}\n{save}"
    )
}
