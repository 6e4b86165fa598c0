//! How many retries a dependency may cost, as a pure machine.
//!
//! Every call pays for a part of a retry, and a few a second are free: when everything fails, the
//! dependency gets `1 + budget` times its load and not `1 + max` times. It deliberately does not
//! decide what may be retried. Invariant: over any time, retries are at most `budget` times the
//! calls, and `budget_min` a second, and what was saved up.

use std::time::Duration;

use super::settings::Retries;

/// How long what is free is saved up.
const SAVED: f64 = 10.0;
/// How many calls are saved up.
const CALLS_SAVED: f64 = 100.0;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A call begins.
    Called,
    /// A retry is wanted.
    Retry,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Retry.
    Grant,
    /// Do not.
    Deny,
}

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    ratio: f64,
    free: f64,
    tokens: f64,
    counted: Option<Duration>,
}

impl Budget {
    /// One that has saved up what a second gives.
    pub(super) fn new(retries: &Retries) -> Self {
        let (ratio, free) = (retries.budget, retries.budget_min);
        Self { ratio, free, tokens: free, counted: None }
    }

    /// Takes one event; what comes back is to be done.
    pub(super) fn on(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let since = now.saturating_sub(self.counted.unwrap_or(now));
        self.counted = Some(now);
        self.pay(since.as_secs_f64() * self.free);
        match event {
            Event::Called => {
                self.pay(self.ratio);
                Vec::new()
            }
            Event::Retry if self.tokens >= 1.0 => {
                self.tokens -= 1.0;
                vec![Effect::Grant]
            }
            Event::Retry => vec![Effect::Deny],
        }
    }

    fn pay(&mut self, tokens: f64) {
        let most = (self.free * SAVED + self.ratio * CALLS_SAVED).max(self.tokens);
        self.tokens = (self.tokens + tokens).min(most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn five_calls_pay_for_one_retry() {
        let retries = Retries { budget: 0.2, budget_min: 0.0, ..Retries::default() };
        let mut budget = Budget::new(&retries);
        let now = Duration::ZERO;
        assert_eq!(budget.on(Event::Retry, now), [Effect::Deny]);
        for _ in 0..6 {
            budget.on(Event::Called, now);
        }
        assert_eq!(budget.on(Event::Retry, now), [Effect::Grant]);
        assert_eq!(budget.on(Event::Retry, now), [Effect::Deny]);
    }

    proptest! {
        #[test]
        fn retries_never_exceed_what_was_paid(
            steps in prop::collection::vec((any::<bool>(), 0..500u64), 0..500),
            ratio in 0.0..1.0f64, free in 0.0..20.0f64,
        ) {
            let retries = Retries { budget: ratio, budget_min: free, ..Retries::default() };
            let mut budget = Budget::new(&retries);
            let (mut now, mut n_calls, mut n_retries) = (Duration::ZERO, 0u32, 0u32);
            for (is_call, wait) in steps {
                now += Duration::from_millis(wait);
                if is_call {
                    n_calls += 1;
                    budget.on(Event::Called, now);
                } else if budget.on(Event::Retry, now) == [Effect::Grant] {
                    n_retries += 1;
                }
                let paid = f64::from(n_calls) * ratio + free * (now.as_secs_f64() + 1.0);
                prop_assert!(f64::from(n_retries) <= paid + 1e-6);
            }
        }
    }
}
