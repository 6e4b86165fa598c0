//! A small document-discovery platform: upload, read (with OCR where needed), search.
//!
//! Two programs share this library: `backend` answers HTTP, `worker` reads the documents.
//! They meet only in the database (`store`, `queue`) and in a directory of files (`blobs`).

pub mod config;
pub mod log;

pub mod blobs;
pub mod documents;
pub mod queue;
pub mod search;
pub mod store;

pub mod sentences;
pub mod words;

pub mod confine;
pub mod extract;
pub mod ocr;
pub mod pdf;
pub mod worker;

pub mod api;
pub mod metrics;
pub mod problem;
pub mod seed;
pub mod upload;
