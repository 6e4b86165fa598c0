//! The platform as its users meet it: real processes, real sockets, both databases.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy allows this in the tests themselves only"
)]

mod api;
mod hostile;
mod platform;
mod postgres;
mod queue;
mod worker;

/// Runs each claim on SQLite and on Postgres.
macro_rules! on_both {
    ($($claim:ident)*) => {
        mod on_sqlite {
            $(#[test] fn $claim() { super::$claim(&crate::platform::Platform::sqlite()); })*
        }
        mod on_postgres {
            $(#[test] fn $claim() {
                if let Some(cluster) = crate::postgres::Cluster::shared() {
                    super::$claim(&crate::platform::Platform::postgres(cluster));
                }
            })*
        }
    };
}
pub(crate) use on_both;
