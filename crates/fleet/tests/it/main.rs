//! Claims about `fleet` from outside: real processes, real servers, no fixed ports.

#[cfg(test)]
mod driver;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod stage;
