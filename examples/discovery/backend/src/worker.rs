//! The worker: takes jobs, reads documents, shows that it is alive.
//!
//! Each of `concurrency` loops claims one job at a time. While a document is read, its lease is
//! extended and its progress noted; a lost lease (the document was deleted, or another worker
//! thought us dead) ends the reading at once. A database that is away is waited for.
//!
//! Invariant: the heartbeat is touched by the loops themselves, at least every [`TICK`], so it
//! goes stale exactly when they no longer turn.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

use crate::blobs::Blobs;
use crate::documents::{self, Status};
use crate::extract::{ExtractError, Pages, Progress, Reader};
use crate::metrics::WorkerMetrics;
use crate::ocr::Ocr;
use crate::queue::{self, Job, Reading};
use crate::sentences::{SENTENCES_MAX, sentences};
use crate::store::{Store, now_ms};

/// How often an idle loop looks for work, and a busy one notes its progress.
pub const TICK: Duration = Duration::from_millis(500);
/// How long a loop that is told to stop may go on with its document.
pub const FINISH_LIMIT: Duration = Duration::from_secs(8);
/// The pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// What the loops share.
#[derive(Debug)]
pub struct Worker {
    /// The database.
    pub store: Store,
    /// The files.
    pub blobs: Blobs,
    /// The counters.
    pub metrics: WorkerMetrics,
    /// A name that no other worker has.
    pub name: String,
    /// This program: it confines the programs that read hostile files.
    pub program: PathBuf,
    /// How long a job is ours without a sign of life.
    pub lease: Duration,
    /// The languages to recognise.
    pub ocr_languages: String,
    /// Touched as long as the loops turn.
    pub heartbeat_file: Option<PathBuf>,
}

enum Outcome {
    Read(Result<Pages, ExtractError>),
    LeaseLost,
    Stopped,
}

/// Runs `concurrency` loops until `stop` turns true and their documents are done or given back.
pub async fn run(worker: Arc<Worker>, concurrency: usize, stop: watch::Receiver<bool>) {
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        loops.spawn(take_jobs(Arc::clone(&worker), stop.clone()));
    }
    let gauges = tokio::spawn(measure(Arc::clone(&worker)));
    loops.join_all().await;
    gauges.abort();
}

async fn take_jobs(worker: Arc<Worker>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        worker.touch_heartbeat();
        let pause = match work_once(&worker, &mut stop).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => TICK,
            Err(error) => {
                warn!(%error, "the database is not available");
                DATABASE_PAUSE
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut stop) => {}
        }
    }
}

/// Does one job, if there is one.
pub async fn work_once(
    worker: &Worker,
    stop: &mut watch::Receiver<bool>,
) -> Result<bool, sqlx::Error> {
    let job = queue::claim(&worker.store, &worker.name, now_ms(), worker.lease).await?;
    let Some(job) = job else { return Ok(false) };
    let started = Instant::now();
    let outcome = if job.attempts > queue::ATTEMPTS_MAX {
        // Whoever had it before died every time: the document must not take this one along.
        let why = format!("{} workers died while reading this document", job.attempts - 1);
        Outcome::Read(Err(ExtractError::Unreadable(why)))
    } else {
        read(worker, &job, stop).await?
    };
    let mut settling = std::pin::pin!(settle(worker, &job, outcome));
    let result = loop {
        // A long document takes its time to be written down; each statement has a limit.
        match timeout(TICK, &mut settling).await {
            Ok(result) => break result?,
            Err(_) => worker.touch_heartbeat(),
        }
    };
    worker.metrics.jobs.with_label_values(&[result]).inc();
    worker.metrics.job_duration.observe(started.elapsed().as_secs_f64());
    let (document, seconds) = (&job.document_id, started.elapsed().as_secs_f64());
    info!(document, result, attempt = job.attempts, seconds, "job done");
    Ok(true)
}

async fn read(
    worker: &Worker,
    job: &Job,
    stop: &mut watch::Receiver<bool>,
) -> Result<Outcome, sqlx::Error> {
    let Some(document) = documents::get(&worker.store, &job.document_id).await? else {
        return Ok(Outcome::LeaseLost);
    };
    let path = worker.blobs.path(&job.document_id);
    let (progress, mut progress_seen) = watch::channel(Progress::default());
    let reader = Reader {
        worker: &worker.program,
        ocr: Ocr::find(&worker.ocr_languages),
        metrics: &worker.metrics,
        progress: &progress,
    };
    let reading = reader.read(&path, &document.media_type);
    tokio::pin!(reading);
    let mut stopping = std::pin::pin!(async {
        stopped(stop).await;
        sleep(FINISH_LIMIT).await;
    });
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut extended = Instant::now();
    loop {
        tokio::select! {
            result = &mut reading => return Ok(Outcome::Read(result)),
            () = &mut stopping => return Ok(Outcome::Stopped),
            _ = ticks.tick() => {}
        }
        worker.touch_heartbeat();
        if progress_seen.has_changed().unwrap_or(false) {
            let Progress { pages_done, pages_total } = *progress_seen.borrow_and_update();
            let id = &job.document_id;
            let noted = documents::set_progress(&worker.store, id, pages_done, pages_total).await;
            if let Err(error) = noted {
                warn!(%error, "cannot note the progress");
            }
        }
        if extended.elapsed() >= worker.lease / 3 {
            match queue::extend(&worker.store, job, now_ms(), worker.lease).await {
                Ok(true) => extended = Instant::now(),
                Ok(false) => return Ok(Outcome::LeaseLost),
                // The next tick tries again; when the lease ends meanwhile, `finish` will know.
                Err(error) => warn!(%error, "cannot extend the lease"),
            }
        }
    }
}

/// Writes down what came out. Returns the label for the counter.
async fn settle(worker: &Worker, job: &Job, outcome: Outcome) -> Result<&'static str, sqlx::Error> {
    let (is_ours, result) = match outcome {
        Outcome::LeaseLost => (false, "lost"),
        Outcome::Stopped => (queue::release(&worker.store, job, now_ms()).await?, "released"),
        Outcome::Read(Ok(pages)) => {
            let reading = tokio::task::spawn_blocking(move || to_reading(&pages)).await;
            let reading = reading.map_err(|error| sqlx::Error::Io(error.into()))?;
            let result = reading.status.name();
            (queue::finish(&worker.store, job, &reading).await?, result)
        }
        Outcome::Read(Err(error)) => {
            let can_retry = matches!(error, ExtractError::NotTried(_));
            let why = error.to_string();
            warn!(document = job.document_id, error = why, can_retry, "cannot read the document");
            let is_ours = queue::fail(&worker.store, job, &why, can_retry, now_ms()).await?;
            let is_retried = can_retry && job.attempts < queue::ATTEMPTS_MAX;
            (is_ours, if is_retried { "retried" } else { "failed" })
        }
    };
    Ok(if is_ours { result } else { "lost" })
}

fn to_reading(pages: &Pages) -> Reading {
    let n_pages = pages.texts.len();
    let status = if pages.n_unread > 0 { Status::NeedsOcr } else { Status::Ready };
    let sentences = sentences(&pages.texts);
    let note = match (pages.n_unread, pages.note.as_str()) {
        (0, "") if sentences.is_empty() => "no text was found".to_owned(),
        (0, "") if sentences.len() == SENTENCES_MAX => {
            format!("only the first {SENTENCES_MAX} sentences can be found")
        }
        (0, note) => note.to_owned(),
        (1, _) if n_pages == 1 => "a picture: reading it needs Tesseract".to_owned(),
        (n, _) => format!("{n} of {n_pages} pages are pictures: reading them needs Tesseract"),
    };
    Reading { sentences, n_pages, status, note }
}

/// Keeps the gauges fresh; they show the queue, whoever works on it.
async fn measure(worker: Arc<Worker>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(depth) = queue::depth(&worker.store).await {
            worker.metrics.queue_depth.set(depth.waiting + depth.running);
            worker.metrics.jobs_dead.set(depth.dead);
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|is_stopping| *is_stopping).await.is_err() {
        // Nobody is left who could say stop.
        pending::<()>().await;
    }
}

impl Worker {
    fn touch_heartbeat(&self) {
        if let Some(file) = &self.heartbeat_file
            && let Err(error) = touch(file)
        {
            error!(file = %file.display(), %error, "cannot touch the heartbeat file");
        }
    }
}

fn touch(file: &Path) -> std::io::Result<()> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    file.set_modified(std::time::SystemTime::now())
}
