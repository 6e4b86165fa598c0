//! What is measured under load: the application itself, the ingress in front of it, nginx in front
//! of it.
//!
//! Two applications of the same kind: one behind an ingress without access log, one behind an
//! ingress with it. nginx runs one worker, as the engine is one thread, with kept-alive connections
//! to the same applications. Once it only forwards; twice it does what the ingress does as far as
//! it can: a request id, a trace, the forwarded fields, and a JSON line per request or none.
//!
//! Invariant: everything that was started here is gone when [`Servers`] is dropped.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::memory::{self, Memory};
use crate::tools;

/// How long a server may take to listen, and to stop.
const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long a server is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// Everything that runs.
pub(super) struct Servers {
    /// What requests are sent to, the direct one first.
    pub targets: Vec<Target>,
    /// The guard whose ingress has no access log, and that of the one with it.
    guards: Vec<Running>,
    _nginx: Running,
    _directory: TempDir,
}

/// One server to send requests to.
pub(super) struct Target {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Processes that make up the proxy; none for the application itself.
    pub pids: Vec<u32>,
}

/// Memory of the two processes of a `plimsoll-run`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Footprint {
    pub guard: Memory,
    pub engine: Memory,
}

pub(super) const DIRECT: &str = "the application directly";
pub(super) const INGRESS: &str = "ingress, no access log";
pub(super) const INGRESS_LOG: &str = "ingress, access log";
pub(super) const NGINX_BARE: &str = "nginx, only forwarding";
pub(super) const NGINX: &str = "nginx, same duties, no access log";
pub(super) const NGINX_LOG: &str = "nginx, same duties, access log";

/// What nginx does beside forwarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duties {
    None,
    Fields,
    FieldsAndLog,
}

/// The fields that the ingress sets on each request, as far as nginx can.
const FIELDS: &str = r#"      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id always;
      proxy_set_header Traceparent "00-$request_id-0000000000000001-01";
      proxy_set_header Forwarded "for=$remote_addr;host=\"$host\";proto=$scheme";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
"#;
/// The fields of the ingress's access line that nginx knows; written in pieces of 64 KiB.
const LOG_FORMAT: &str = concat!(
    r#"  log_format lines escape=json '{"ts":"$time_iso8601","level":"info","msg":"request","#,
    r#""method":"$request_method","path":"$uri","status":$status,"duration":$request_time,"#,
    r#""bytes_out":$body_bytes_sent,"trace_id":"$request_id","request_id":"$request_id","#,
    r#""client":"$remote_addr"}';"#,
    "\n",
);

impl Servers {
    /// Starts all, and waits until each answers.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        let [app, app_log, ingress, ingress_log, bare, nginx, nginx_log] = free_addresses()?;
        let quiet = start_ingress(program, directory.path(), app, ingress, "off")?;
        let logging = start_ingress(program, directory.path(), app_log, ingress_log, "on")?;
        let proxied = [
            (bare, app, Duties::None),
            (nginx, app, Duties::Fields),
            (nginx_log, app_log, Duties::FieldsAndLog),
        ];
        let nginx_process = start_nginx(directory.path(), &proxied)?;
        for address in [app, app_log, ingress, ingress_log, bare, nginx, nginx_log] {
            await_listener(address)?;
        }
        std::thread::sleep(SETTLE);
        let nginx_pids = nginx_process.tree();
        let target = |name, address, pids| Target { name, address, pids };
        let targets = vec![
            target(DIRECT, app, Vec::new()),
            target(INGRESS, ingress, own_processes(program, &quiet)),
            target(NGINX, nginx, nginx_pids.clone()),
            target(NGINX_BARE, bare, nginx_pids.clone()),
            target(INGRESS_LOG, ingress_log, own_processes(program, &logging)),
            target(NGINX_LOG, nginx_log, nginx_pids),
        ];
        let guards = vec![quiet, logging];
        Ok(Self { targets, guards, _nginx: nginx_process, _directory: directory })
    }

    /// Memory of the ingress without access log.
    pub(super) fn memory(&self) -> Result<Footprint> {
        let guard = self.guards.first().context("no guard runs")?.pid();
        let engine = self.targets.iter().find(|target| target.name == INGRESS);
        let engine = engine.and_then(|target| target.pids.iter().find(|pid| **pid != guard));
        let engine = engine.context("the guard has no engine")?;
        Ok(Footprint { guard: memory::of(guard)?, engine: memory::of(*engine)? })
    }
}

/// The guard and its engine: the processes of the tree that run our program.
fn own_processes(program: &Path, guard: &Running) -> Vec<u32> {
    let program = program.canonicalize().unwrap_or_else(|_| program.to_path_buf());
    guard.tree().into_iter().filter(|pid| memory::executable(*pid) == program).collect()
}

fn start_ingress(
    program: &Path,
    directory: &Path,
    app: SocketAddr,
    ingress: SocketAddr,
    access_log: &str,
) -> Result<Running> {
    let output = directory.join(format!("run-{access_log}.log"));
    let output =
        File::create(&output).with_context(|| format!("cannot create `{}`", output.display()))?;
    let this = std::env::current_exe().context("cannot find this program")?;
    Running::start(
        Command::new(program)
            .arg("--")
            .arg(this)
            .arg("bench-upstream")
            .env("PLIMSOLL_LISTEN", "off")
            .env("PLIMSOLL_SOCK", directory.join(format!("run-{access_log}.sock")))
            .env("PLIMSOLL_INGRESS", ingress.to_string())
            .env("PLIMSOLL_APP_PORT", app.port().to_string())
            .env("PLIMSOLL_ACCESS_LOG", access_log)
            .stdout(output.try_clone()?)
            .stderr(output),
    )
}

/// Starts nginx with one server per row: where it listens, what is behind it, its duties.
fn start_nginx(directory: &Path, proxied: &[(SocketAddr, SocketAddr, Duties)]) -> Result<Running> {
    let nginx = tools::find("nginx", &["/usr/sbin"])
        .context("`nginx` is not installed\nhelp: cargo xtask tools")?;
    let path = directory.join("nginx.conf");
    std::fs::write(&path, nginx_configuration(directory, proxied))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let errors = directory.join("nginx-error.log");
    Running::start(
        Command::new(nginx).arg("-c").arg(&path).arg("-e").arg(errors).stdin(Stdio::null()),
    )
}

fn nginx_configuration(directory: &Path, proxied: &[(SocketAddr, SocketAddr, Duties)]) -> String {
    let directory = directory.display();
    let servers: String = proxied
        .iter()
        .enumerate()
        .map(|(index, (listen, app, duties))| {
            let log = match duties {
                Duties::None | Duties::Fields => "off".to_owned(),
                Duties::FieldsAndLog => format!("{directory}/access.log lines buffer=64k"),
            };
            let fields = if *duties == Duties::None { "" } else { FIELDS };
            format!(
                "  upstream app{index} {{ server {app}; keepalive 128; keepalive_requests 10000000; }}\n\
                 \x20 server {{\n    listen {listen};\n    access_log {log};\n\
                 \x20   location / {{\n      proxy_pass http://app{index};\n\
                 \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n\
                 \x20     proxy_set_header Host $host;\n{fields}    }}\n  }}\n"
            )
        })
        .collect();
    let user = if nix::unistd::Uid::effective().is_root() { "user root;\n" } else { "" };
    format!(
        "{user}worker_processes 1;\ndaemon off;\npid {directory}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n  keepalive_requests 10000000;\n\
         \x20 client_body_temp_path {directory}/body;\n  proxy_temp_path {directory}/proxy;\n\
         \x20 fastcgi_temp_path {directory}/fastcgi;\n  uwsgi_temp_path {directory}/uwsgi;\n\
         \x20 scgi_temp_path {directory}/scgi;\n{LOG_FORMAT}{servers}}}\n"
    )
}

/// Addresses on loopback that nobody listens on now.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address).context("no port is free")?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

pub(super) fn await_listener(address: SocketAddr) -> Result<()> {
    let began = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        if began.elapsed() > START_LIMIT {
            bail!("nobody listened on `{address}` within {START_LIMIT:?}: {error}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A process that is stopped when this is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self(child))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// This process and all below it.
    pub(super) fn tree(&self) -> Vec<u32> {
        let mut pids = vec![self.pid()];
        let mut index = 0;
        while let Some(pid) = pids.get(index) {
            pids.extend(memory::children(*pid));
            index += 1;
        }
        pids
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).map(Pid::from_raw).map_err(io::Error::other)?;
        Ok(kill(pid, signal)?)
    }

    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    fn stop(&mut self) -> io::Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        let began = Instant::now();
        while self.0.try_wait()?.is_none() {
            if began.elapsed() > STOP_LIMIT {
                self.0.kill()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("bench: process {} could not be stopped: {error}", self.pid());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_accepts_its_configuration_and_passes_requests_on() {
        if tools::find("nginx", &["/usr/sbin"]).is_none() {
            eprintln!("SKIPPED: `nginx` is not installed");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let [listen] = free_addresses().unwrap();
        let proxied = [(listen, app.local_addr().unwrap(), Duties::FieldsAndLog)];
        let nginx = start_nginx(directory.path(), &proxied).unwrap();
        await_listener(listen).unwrap();
        let client = std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let mut stream = TcpStream::connect(listen).unwrap();
            stream.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let (mut stream, _) = app.accept().unwrap();
        let mut head = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(&stream), &mut head).unwrap();
        io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        assert_eq!(head, "GET /x HTTP/1.1\r\n");
        assert!(client.join().unwrap().ends_with("\r\n\r\nok"));
        drop(nginx);
        assert!(TcpStream::connect(listen).is_err(), "nginx is still there");
    }
}
