//! Probes of the app's own paths: `--live-http` for `/live`, `--ready-http` for `/ready`.
//!
//! The app has answered before it counts as started, so these begin then, and begin as up. They end
//! when the app is asked to stop: that it no longer answers is then as it should be. Invariant: an
//! app that never started is not called dead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::bodies::Severity;
use tokio::task::JoinSet;

use super::settings::{FALL_DEFAULT, Http, HttpUrl, Statuses, TIMEOUT_DEFAULT};
use super::{Kind, LogBeats, ProbeSettings, Probes, Watch};
use crate::board::{Board, Gates};
use crate::logs::Sink;
use crate::metrics::Metrics;
use crate::settings::AppSettings;

/// The time between two questions.
const INTERVAL: Duration = Duration::from_secs(2);

/// Asks the app's own paths from its start on. Must be called inside a tokio runtime.
#[must_use]
pub fn spawn_own(
    app: &AppSettings,
    board: &Arc<Board>,
    metrics: &Arc<Metrics>,
    sink: &Sink,
) -> Probes {
    let live = (app.live_http.as_deref(), "app.live", Gates { live: true, ..Gates::default() });
    let ready = (app.ready_http.as_deref(), "app.ready", Gates { ready: true, ..Gates::default() });
    let mut tasks = JoinSet::new();
    for (path, name, gates) in [live, ready] {
        let (Some(path), Some(port)) = (path, app.port) else { continue };
        let address = SocketAddr::new(app.host, port);
        // What is no path was refused before anything started.
        let Ok(uri) = format!("http://{address}{path}").parse() else { continue };
        let http = Http {
            url: HttpUrl::Ready(uri),
            expect: vec![Statuses { first: 200, last: 299 }],
            contains: None,
            headers: Vec::new(),
        };
        let settings = ProbeSettings {
            kind: Kind::Http(http),
            severity: Severity::Hard,
            gates,
            interval: INTERVAL,
            timeout: TIMEOUT_DEFAULT,
            fall: FALL_DEFAULT,
            rise: 1,
        };
        let reports = (board, metrics, sink);
        let watch = Watch::new(name.to_owned(), settings, true, &LogBeats::default(), reports);
        tasks.spawn(watch.run());
    }
    Probes { _tasks: tasks }
}
