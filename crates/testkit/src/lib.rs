//! Real processes, ports and files for tests. A dev-dependency only.
