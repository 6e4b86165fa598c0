//! The language: text in, a `Manifest` with spans, and a `Plan` resolved for one environment. Pure.
