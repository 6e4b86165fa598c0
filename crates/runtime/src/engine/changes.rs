//! From what the guard knows now and knew before to the events of the lifecycle. Pure.
//!
//! Invariant: every change yields its event once, also when several came in one message.

use crate::{
    lifecycle::{Event, Past},
    wire::{App, Snapshot, Stop},
};

/// What happened between two snapshots, in the order that it can have happened.
pub(super) fn between(before: &Snapshot, after: &Snapshot) -> Vec<Event> {
    let mut events = Vec::new();
    if before.app == App::Waiting && after.app != App::Waiting {
        events.push(match after.app {
            App::Failed { code, .. } => Event::SpawnFailed { code },
            _ => Event::Spawned,
        });
    }
    let heard = before.stop.map_or(0, |stop| stop.signals);
    if let Some(stop) = after.stop {
        events.extend((heard..stop.signals).map(|_| stop_event(stop)));
    }
    if let (false, App::Exited { code, .. }) = (is_over(before), after.app) {
        events.push(Event::AppExited { code });
    }
    if after.is_swept && !before.is_swept {
        events.push(Event::Swept);
    }
    events
}

/// What a new engine must know of the life before it.
pub(super) fn past(snapshot: &Snapshot) -> Past {
    let (is_spawned, exited) = match snapshot.app {
        App::Waiting => (false, None),
        App::Failed { code, .. } | App::Exited { code, .. } => (true, Some(code)),
        App::Running { .. } => (true, None),
    };
    Past {
        is_spawned,
        is_started: snapshot.is_started,
        exited,
        stop: snapshot.stop.map(|stop| (stop_event(stop), stop.since)),
        stop_signals: snapshot.stop.map_or(0, |stop| stop.signals),
    }
}

fn stop_event(stop: Stop) -> Event {
    Event::Stop { signal: stop.signal, is_hasty: stop.is_hasty }
}

fn is_over(snapshot: &Snapshot) -> bool {
    matches!(snapshot.app, App::Exited { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::Environment;

    fn snapshot() -> Snapshot {
        Snapshot {
            born: Duration::ZERO,
            run_id: "1-0".into(),
            app: App::Waiting,
            is_started: false,
            is_ready: false,
            stop: None,
            is_swept: false,
            orphans_reaped: 0,
            engine_restarts: 0,
            app_env: Environment::default(),
        }
    }

    #[test]
    fn an_app_that_ends_at_once_was_spawned_before_it_ended() {
        let after = Snapshot {
            app: App::Exited { code: 3, signal: None, at: Duration::ZERO },
            ..snapshot()
        };
        let events = between(&snapshot(), &after);
        assert_eq!(events, [Event::Spawned, Event::AppExited { code: 3 }]);
        assert!(between(&after, &after).is_empty());
    }

    #[test]
    fn signals_that_came_together_are_counted_one_by_one() {
        let stop = Stop { signal: 15, is_hasty: false, since: Duration::ZERO, signals: 3 };
        let after = Snapshot { stop: Some(stop), ..snapshot() };
        assert_eq!(between(&snapshot(), &after).len(), 3);
    }

    #[test]
    fn orphans_are_no_event() {
        let after = Snapshot { orphans_reaped: 5, ..snapshot() };
        assert!(between(&snapshot(), &after).is_empty());
    }
}
