//! The worker: `worker`, `worker requeue [failed]`; the rest it calls itself.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use axum::routing::get;
use axum::{Router, http::header};
use discovery::blobs::Blobs;
use discovery::config::Config;
use discovery::documents::Status;
use discovery::metrics::{CONTENT_TYPE, WorkerMetrics};
use discovery::ocr::Ocr;
use discovery::store::Store;
use discovery::worker::{self, Worker};
use discovery::{confine, documents, pdf, queue};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

const USAGE: &str = "usage: worker [run | requeue [failed]]";

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        // Children of `run`; they need no logs and no threads.
        ["confined", seconds, program, ..] => confined(seconds, program, &arguments[3..]),
        ["pdf-text", pdf, report] => {
            pdf::write_report(Path::new(pdf), Path::new(report)).map_err(Error::from)
        }
        [] | ["run"] => start(run()),
        ["requeue"] => start(requeue(Status::NeedsOcr)),
        ["requeue", "failed"] => start(requeue(Status::Failed)),
        ["-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn confined(seconds: &str, program: &str, arguments: &[String]) -> Result<(), Error> {
    let error = confine::become_program(seconds.parse()?, Path::new(program), arguments);
    Err(format!("cannot run `{program}`: {error}").into())
}

fn start(future: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    discovery::log::start();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

async fn run() -> Result<(), Error> {
    let config = Config::worker()?;
    let store = Store::open(config.database_url.as_deref(), &config.data_dir)?;
    let blobs = Blobs::open(&config.data_dir)
        .map_err(|error| format!("cannot use `{}`: {error}", config.data_dir.display()))?;
    store.check_schema().await?;
    hint_at_requeue(&store, &config.ocr_languages).await?;
    let metrics = WorkerMetrics::new()?;
    serve_metrics(&config, metrics.clone()).await?;
    let worker = Arc::new(Worker {
        store,
        blobs,
        metrics,
        name: format!("{}", std::process::id()),
        program: std::env::current_exe()?,
        lease: config.lease,
        ocr_languages: config.ocr_languages,
        heartbeat_file: config.heartbeat_file,
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopping) = watch::channel(false);
    let ended = tokio::spawn(worker::run(worker, config.concurrency, stopping));
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    info!("stopping: finishing the document in hand");
    stop.send_replace(true);
    ended.await?;
    info!("stopped");
    Ok(())
}

/// Documents that wait for Tesseract while it is there: someone should know.
async fn hint_at_requeue(store: &Store, ocr_languages: &str) -> Result<(), Error> {
    if Ocr::find(ocr_languages).is_none() {
        warn!("Tesseract is not installed: scanned pages and images will wait as `needs_ocr`");
        return Ok(());
    }
    let counts = documents::count(store).await?;
    let waiting = counts.into_iter().find(|(status, _)| *status == Status::NeedsOcr);
    if let Some((_, n @ 1..)) = waiting {
        warn!(n, "documents need character recognition, which is there now: run `worker requeue`");
    }
    Ok(())
}

async fn serve_metrics(config: &Config, metrics: WorkerMetrics) -> Result<(), Error> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on `{}`: {error}", config.listen))?;
    info!(address = %listener.local_addr()?, "serving metrics");
    let text = move || async move {
        ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode().unwrap_or_default())
    };
    let router = Router::new().route("/metrics", get(text));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}

async fn requeue(status: Status) -> Result<(), Error> {
    let config = Config::worker()?;
    let store = Store::open(config.database_url.as_deref(), &config.data_dir)?;
    store.check_schema().await?;
    let n_queued = queue::requeue(&store, status).await?;
    println!("{n_queued} documents queued again");
    Ok(())
}
