//! What generator, runtime and fleet must agree on, as data. Pure.
