//! Claims about the postgres probe, with a real server.
