//! Messages between guard and engine.
