//! Claims about the redis probe, with a real server.
