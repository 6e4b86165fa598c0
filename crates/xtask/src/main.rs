//! Tidy, code generation, benchmarks.
fn main() {}
