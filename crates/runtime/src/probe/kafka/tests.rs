//! Claims about the kafka probe, with a real server.
