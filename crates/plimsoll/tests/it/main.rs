//! The binaries, run as users run them.

mod cli;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod cluster_release;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod images;
#[cfg(test)]
mod render;
#[cfg(test)]
mod run_chaos;
mod run_contract;
mod run_drain;
#[cfg(test)]
mod run_egress;
mod run_exit;
#[cfg(test)]
mod run_frameworks;
#[cfg(test)]
mod run_guard_alone;
mod run_guard_compat;
mod run_guard_docker;
mod run_guard_ending;
mod run_guard_engine;
mod run_guard_signals;
mod run_harness;
mod run_ingress;
#[cfg(test)]
mod run_ingress_bad_input;
#[cfg(test)]
mod run_kafka;
#[cfg(test)]
mod run_logs;
#[cfg(test)]
mod run_outbox;
#[cfg(test)]
mod run_probes;
#[cfg(test)]
mod run_probes_real;
#[cfg(test)]
mod run_publish;
#[cfg(test)]
mod run_secrets;
#[cfg(test)]
mod run_secrets_aws;
#[cfg(test)]
mod run_secrets_vault;
mod run_stop;
#[cfg(test)]
mod run_traces;
mod up;
#[cfg(test)]
mod up_fails;
#[cfg(test)]
mod up_harness;
#[cfg(test)]
mod up_lives;
#[cfg(test)]
mod up_serves;
#[cfg(test)]
mod verify;
