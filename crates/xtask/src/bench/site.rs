//! A built site: requests per second beside nginx that serves the same files.
//!
//! The same headers that ours sets are not asked of nginx; it sets its own. Both have one process
//! that serves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Effort;
use super::load::{CONNECTIONS, Round, round_at};
use super::report::Target;
use super::section::Section;
use super::servers::{Running, await_listener, free_addresses};
use super::stats::median;
use crate::tools;

const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
/// Until the files are older than what ours takes for a rebuild that may go on; a site mostly is.
const SETTLE: Duration = Duration::from_secs(4);
/// Sizes of the files, bytes.
const FILES: [(&str, usize); 2] = [("index.html", 1024), ("app-3f2a9c1b.js", 100 * 1024)];

pub(super) fn measure(program: &Path, effort: Effort) -> Result<Section> {
    let (n_rounds, seconds) = (effort.of(ROUNDS), effort.seconds(SECONDS));
    let directory = tempfile::tempdir().context("cannot create a directory")?;
    let site = directory.path().join("site");
    fs::create_dir(&site)?;
    for (name, bytes) in FILES {
        fs::write(site.join(name), "x".repeat(bytes))?;
    }
    let [ours, theirs] = free_addresses()?;
    let _ours = Running::start(
        Command::new(program)
            .args(["--listen", "off", "--access-log", "off", "--static"])
            .arg(&site)
            .args(["--ingress", &ours.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )?;
    let nginx = tools::find("nginx", &["/usr/sbin"])
        .context("`nginx` is not installed\nhelp: cargo xtask tools")?;
    let conf = directory.path().join("nginx.conf");
    fs::write(&conf, configuration(directory.path(), &site, theirs))?;
    let _theirs = Running::start(
        Command::new(nginx)
            .arg("-c")
            .arg(&conf)
            .arg("-e")
            .arg(directory.path().join("errors"))
            .stdin(Stdio::null()),
    )?;
    std::thread::sleep(SETTLE);
    await_listener(ours)?;
    await_listener(theirs)?;
    let mut rows = Vec::new();
    let mut targets = Vec::new();
    let whats =
        ["a page of 1 KiB, requests/s beside nginx", "a file of 100 KiB, requests/s beside nginx"];
    for ((name, _), what) in FILES.into_iter().zip(whats) {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..n_rounds {
            for (address, rounds) in [ours, theirs].into_iter().zip(&mut rounds) {
                rounds.push(round_at(&format!("http://{address}/{name}"), seconds, &[])?);
            }
        }
        let rate = |rounds: &[Round]| median(rounds.iter().map(|round| round.requests_per_second));
        let [ours, theirs] = [rate(&rounds[0]), rate(&rounds[1])];
        rows.push(vec![what.to_owned(), format!("{ours:.0}"), format!("{theirs:.0}")]);
        let ratio = ours / theirs;
        targets.push(Target {
            what,
            wanted: ">= 1.00 x".into(),
            measured: format!("{ratio:.2} x"),
            is_met: ratio >= 1.0,
        });
    }
    Ok(Section {
        title: "A static site",
        method: format!(
            "`wrk -t1 -c{CONNECTIONS} -d{seconds}s`, {n_rounds} rounds in turns, no access log; \
             nginx with `sendfile`, one worker, no headers of ours."
        ),
        columns: ["file", "`plimsoll run --static`", "nginx"].map(str::to_owned).to_vec(),
        rows,
        targets,
    })
}

fn configuration(directory: &Path, site: &Path, listen: std::net::SocketAddr) -> String {
    let (directory, site) = (directory.display(), site.display());
    let user = if nix::unistd::Uid::effective().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}worker_processes 1;\ndaemon off;\npid {directory}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n  keepalive_requests 10000000;\n\
         \x20 sendfile on;\n  access_log off;\n  types {{ text/html html; text/javascript js; }}\n\
         \x20 client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n\
         \x20 fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n\
         \x20 scgi_temp_path {directory}/scgi;\n\
         \x20 server {{ listen {listen}; root {site}; }}\n}}\n"
    )
}
