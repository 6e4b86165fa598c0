//! Claims about the machine: by hand where the order matters, at random for what must always hold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn item(name: &str, uses: &[ItemId]) -> ItemSpec {
    ItemSpec {
        name: name.into(),
        uses: uses.to_vec(),
        tasks: vec![],
        lifetime: Lifetime::Serves,
        restart: Restart::Always,
        start_limit_ms: 60_000,
        stop_limit_ms: 25_000,
    }
}

fn task(kind: TaskKind, owner: ItemId, uses: &[ItemId], after: &[TaskId]) -> TaskSpec {
    TaskSpec { kind, owner, uses: uses.to_vec(), after: after.to_vec(), limit_ms: 600_000 }
}

/// db <- api (builds and migrates) <- web; worker shares build and migration of api.
fn shop() -> Spec {
    let mut api = item("api", &[0]);
    api.tasks = vec![0, 1];
    let mut worker = item("worker", &[0]);
    worker.tasks = vec![0, 1];
    Spec {
        items: vec![item("db", &[]), api, item("web", &[1]), worker],
        tasks: vec![task(TaskKind::Build, 1, &[], &[]), task(TaskKind::Migrate, 1, &[0], &[0])],
        keeps_going: false,
    }
}

const DB: ItemId = 0;
const API: ItemId = 1;
const WEB: ItemId = 2;
const WORKER: ItemId = 3;

fn start(item: ItemId, run: u32) -> Effect {
    Effect::Start { item, run }
}

fn ready(item: ItemId, run: u32) -> Event {
    Event::Ready { item, run }
}

fn exited(item: ItemId, run: u32, code: i32) -> Event {
    let result = if code == 0 { Ok(()) } else { Err(format!("exit code {code}")) };
    Event::Exited { item, run, result }
}

fn built(task: TaskId, run: u32) -> Event {
    Event::TaskEnded { task, run, result: Ok(()) }
}

fn broken(task: TaskId, run: u32) -> Event {
    Event::TaskEnded { task, run, result: Err("exit code 1".into()) }
}

/// The effects without words.
fn on(machine: &mut Machine, event: Event, now: Millis) -> Vec<Effect> {
    let mut effects = machine.on(event, now);
    effects.retain(|effect| !matches!(effect, Effect::Say(..)));
    effects
}

fn states(machine: &Machine) -> Vec<State> {
    (0..machine.spec.items.len()).map(|id| machine.view(id).state).collect()
}

fn running_shop() -> Machine {
    let mut m = Machine::new(shop(), 1);
    m.on(Event::Begin, 0);
    m.on(ready(DB, 1), 1);
    m.on(built(0, 1), 2);
    m.on(built(1, 1), 3);
    m.on(ready(API, 1), 4);
    m.on(ready(WORKER, 1), 5);
    m.on(ready(WEB, 1), 6);
    assert!(m.has_completed());
    m
}

#[test]
fn a_platform_starts_in_the_order_of_its_uses_and_runs_a_shared_task_once() {
    let mut m = Machine::new(shop(), 1);
    let first = on(&mut m, Event::Begin, 0);
    assert_eq!(first, [Effect::RunTask { task: 0, run: 1 }, start(DB, 1)]);
    assert_eq!(m.view(API).state, State::Building);
    assert_eq!(on(&mut m, built(0, 1), 1), [], "the migration waits for the database");
    assert_eq!(on(&mut m, ready(DB, 1), 2), [Effect::RunTask { task: 1, run: 1 }]);
    assert_eq!(m.view(WORKER).state, State::Migrating);
    assert_eq!(on(&mut m, built(1, 1), 3), [start(API, 1), start(WORKER, 1)]);
    assert_eq!(m.view(WEB).waits_for, [API]);
    assert_eq!(on(&mut m, ready(API, 1), 4), [start(WEB, 1)]);
    m.on(ready(WORKER, 1), 5);
    assert!(!m.has_completed());
    m.on(ready(WEB, 1), 6);
    assert!(m.has_completed());
}

#[test]
fn first_data_is_loaded_once_however_often_files_change() {
    let mut spec = shop();
    spec.tasks.push(task(TaskKind::Seed, 1, &[0], &[0, 1]));
    spec.items[API].tasks.push(2);
    let mut m = Machine::new(spec, 1);
    m.on(Event::Begin, 0);
    m.on(ready(DB, 1), 1);
    m.on(built(0, 1), 2);
    let after_migration = on(&mut m, built(1, 1), 3);
    assert_eq!(after_migration, [Effect::RunTask { task: 2, run: 1 }, start(WORKER, 1)]);
    assert_eq!(on(&mut m, built(2, 1), 4), [start(API, 1)]);
    m.on(ready(API, 1), 5);
    let after_change = on(&mut m, Event::Changed(API), 6);
    assert_eq!(after_change, [Effect::RunTask { task: 0, run: 2 }]);
    assert_eq!(on(&mut m, built(0, 2), 7), [Effect::RunTask { task: 1, run: 2 }]);
    let runs_again = |effect: &Effect| matches!(effect, Effect::RunTask { task: 2, .. });
    assert!(!on(&mut m, built(1, 2), 8).iter().any(runs_again));
}

#[test]
fn a_stop_goes_in_reverse_order_of_uses() {
    let mut m = running_shop();
    let stop = |item| Effect::Stop { item, run: 1 };
    assert_eq!(on(&mut m, Event::Shutdown, 10), [stop(WEB), stop(WORKER)]);
    assert_eq!(on(&mut m, exited(WEB, 1, 0), 11), [stop(API)]);
    assert_eq!(on(&mut m, exited(WORKER, 1, 0), 12), []);
    assert_eq!(on(&mut m, exited(API, 1, 143), 13), [stop(DB)]);
    assert!(!m.is_over());
    on(&mut m, exited(DB, 1, 0), 14);
    assert!(m.is_over());
    assert_eq!(m.first_failure(), None);
}

#[test]
fn a_second_shutdown_kills_everything_that_lives() {
    let mut m = running_shop();
    m.on(Event::Shutdown, 10);
    let killed = on(&mut m, Event::Shutdown, 11);
    assert_eq!(killed.len(), 4);
    assert!(killed.iter().all(|effect| matches!(effect, Effect::Kill { .. })));
}

#[test]
fn what_does_not_end_in_time_is_killed_and_at_last_given_up() {
    let mut m = running_shop();
    m.on(Event::Shutdown, 10);
    m.on(exited(WORKER, 1, 0), 10);
    assert_eq!(m.next_deadline(), Some(25_010));
    let killed = on(&mut m, Event::Tick, 25_010);
    assert_eq!(killed, [Effect::Kill { item: WEB, run: 1 }]);
    let next = on(&mut m, Event::Tick, 25_010 + KILL_LIMIT_MS);
    assert_eq!(next, [Effect::Stop { item: API, run: 1 }]);
}

#[test]
fn a_child_that_exits_at_once_ends_the_first_start() {
    let mut m = Machine::new(shop(), 1);
    m.on(Event::Begin, 0);
    m.on(ready(DB, 1), 1);
    m.on(built(0, 1), 2);
    m.on(built(1, 1), 3);
    let effects = on(&mut m, exited(API, 1, 3), 4);
    assert_eq!(effects, [Effect::Stop { item: WORKER, run: 1 }]);
    assert_eq!(on(&mut m, exited(WORKER, 1, 0), 5), [Effect::Stop { item: DB, run: 1 }]);
    m.on(exited(DB, 1, 0), 6);
    assert!(m.is_over());
    assert_eq!(m.first_failure(), Some((API, "exit code 3")));
}

#[test]
fn what_falls_on_its_first_step_has_not_started_even_if_it_was_ready() {
    let spec = Spec { items: vec![item("bot", &[]), item("web", &[])], ..Spec::default() };
    let mut m = Machine::new(spec.clone(), 1);
    m.on(Event::Begin, 0);
    m.on(ready(0, 1), 10);
    m.on(ready(1, 1), 20);
    assert!(m.has_completed());
    assert_eq!(on(&mut m, exited(0, 1, 3), 30), [Effect::Stop { item: 1, run: 1 }]);
    assert_eq!(m.first_failure(), Some((0, "exit code 3")));

    let mut m = Machine::new(spec, 1);
    m.on(Event::Begin, 0);
    m.on(ready(0, 1), 10);
    m.on(ready(1, 1), 20);
    m.on(exited(0, 1, 3), SETTLE_MS + 20);
    assert_eq!(m.view(0).state, State::Backoff);
}

#[test]
fn on_the_way_down_a_gate_that_times_out_waits_for_the_users_to_end() {
    let mut m = running_shop();
    m.on(exited(DB, 1, 1), 2_000);
    let deadline = m.view(DB).deadline.unwrap();
    assert_eq!(on(&mut m, Event::Tick, deadline), [start(DB, 2)]);
    m.on(Event::Shutdown, deadline + 59_000);
    assert_eq!(on(&mut m, Event::Tick, deadline + 60_000), []);
    assert_eq!(m.view(DB).state, State::Starting);
}

#[test]
fn a_gate_that_never_passes_ends_the_first_start_and_says_what_was_lacking() {
    let mut m = Machine::new(shop(), 1);
    m.on(Event::Begin, 0);
    m.on(Event::Unready { item: DB, run: 1, reason: "connection refused".into() }, 5);
    let effects = on(&mut m, Event::Tick, 60_000);
    assert_eq!(effects, [Effect::Stop { item: DB, run: 1 }]);
    m.on(exited(DB, 1, 0), 60_001);
    let reason = "was not ready within 60 s: connection refused";
    assert_eq!(m.first_failure(), Some((DB, reason)));
    assert!(m.is_over());
}

#[test]
fn keeping_going_leaves_the_rest_running_when_one_fails_at_first() {
    let mut spec = shop();
    spec.keeps_going = true;
    let mut m = Machine::new(spec, 1);
    m.on(Event::Begin, 0);
    m.on(broken(0, 1), 1);
    m.on(ready(DB, 1), 2);
    assert_eq!(states(&m), [State::Ready, State::Failed, State::Waiting, State::Failed]);
    assert!(!m.is_stopping());
}

#[test]
fn five_failures_in_the_window_are_a_crash_loop_and_a_stable_time_clears_them() {
    let mut m = running_shop();
    let mut now = 2_000;
    let mut pauses = vec![];
    for run in 1..=5 {
        m.on(exited(WORKER, run, 1), now);
        let deadline = m.view(WORKER).deadline.unwrap();
        pauses.push(deadline - now);
        if run < 5 {
            assert_eq!(m.view(WORKER).state, State::Backoff);
            now = deadline;
            assert_eq!(on(&mut m, Event::Tick, now), [start(WORKER, run + 1)]);
            m.on(ready(WORKER, run + 1), now);
        }
    }
    assert_eq!(m.view(WORKER).state, State::CrashLooping);
    assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    now = m.view(WORKER).deadline.unwrap();
    m.on(Event::Tick, now);
    m.on(ready(WORKER, 6), now);
    m.on(Event::Tick, now + STABLE_MS);
    m.on(exited(WORKER, 6, 1), now + STABLE_MS);
    assert_eq!(m.view(WORKER).state, State::Backoff);
    assert_eq!(m.view(DB).state, State::Ready, "the rest stays");
}

#[test]
fn a_change_builds_first_and_replaces_the_process_after() {
    let mut m = running_shop();
    assert_eq!(on(&mut m, Event::Changed(API), 20), [Effect::RunTask { task: 0, run: 2 }]);
    assert_eq!(m.view(API).state, State::Ready, "the old process serves during the build");
    assert_eq!(on(&mut m, built(0, 2), 21), [Effect::RunTask { task: 1, run: 2 }]);
    let stops = [Effect::Stop { item: API, run: 1 }, Effect::Stop { item: WORKER, run: 1 }];
    assert_eq!(on(&mut m, built(1, 2), 22), stops);
    assert_eq!(on(&mut m, exited(API, 1, 0), 23), [start(API, 2)]);
    assert_eq!(m.view(WEB).state, State::Ready, "what uses it stays");
}

#[test]
fn a_failed_build_keeps_the_old_process_serving_and_says_so() {
    let mut m = running_shop();
    m.on(Event::Changed(API), 20);
    let effects = m.on(broken(0, 2), 21);
    let says_so = |effect: &Effect| {
        matches!(effect, Effect::Say(API, Report::TaskFailed { keeps_serving: true, .. }))
    };
    assert!(effects.iter().any(says_so), "{effects:?}");
    assert_eq!(states(&m), [State::Ready; 4]);
    assert_eq!(m.view(API).error, Some("build failed: exit code 1"));
    m.on(Event::Changed(API), 30);
    m.on(built(0, 3), 31);
    let effects = on(&mut m, built(1, 2), 32);
    assert!(effects.contains(&Effect::Stop { item: API, run: 1 }), "{effects:?}");
}

#[test]
fn after_a_failed_build_a_crashed_process_starts_again_from_what_was_built_before() {
    let mut m = running_shop();
    m.on(Event::Changed(API), 20);
    m.on(broken(0, 2), 21);
    m.on(exited(API, 1, 1), 2_000);
    let deadline = m.view(API).deadline.unwrap();
    // The migration was to run after the build, and waits for one that succeeds.
    assert_eq!(on(&mut m, Event::Tick, deadline), [start(API, 2)]);
}

#[test]
fn a_change_during_a_build_builds_again_before_anything_is_replaced() {
    let mut m = running_shop();
    m.on(Event::Changed(API), 20);
    assert_eq!(on(&mut m, Event::Changed(API), 21), []);
    assert_eq!(on(&mut m, built(0, 2), 22), [Effect::RunTask { task: 0, run: 3 }]);
}

#[test]
fn a_stopped_item_stays_down_until_it_is_started() {
    let mut m = running_shop();
    assert_eq!(on(&mut m, Event::Stop(WEB), 20), [Effect::Stop { item: WEB, run: 1 }]);
    m.on(exited(WEB, 1, 0), 21);
    m.on(Event::Changed(WEB), 22);
    assert_eq!(m.view(WEB).state, State::Stopped);
    assert_eq!(on(&mut m, Event::Start(WEB), 23), [start(WEB, 2)]);
}

#[test]
fn a_job_runs_to_its_end_and_holds_back_what_uses_it() {
    let mut seed = item("seed", &[]);
    seed.lifetime = Lifetime::Once;
    let spec = Spec { items: vec![seed, item("api", &[0])], ..Spec::default() };
    let mut m = Machine::new(spec, 1);
    assert_eq!(on(&mut m, Event::Begin, 0), [start(0, 1)]);
    assert_eq!(on(&mut m, ready(0, 1), 1), []);
    assert_eq!(on(&mut m, exited(0, 1, 0), 2), [start(1, 1)]);
    assert_eq!(m.view(0).state, State::Done);
}

#[test]
fn what_runs_on_demand_runs_only_when_asked() {
    let mut nightly = item("nightly", &[]);
    nightly.lifetime = Lifetime::OnDemand;
    let mut m = Machine::new(Spec { items: vec![nightly], ..Spec::default() }, 1);
    assert_eq!(on(&mut m, Event::Begin, 0), []);
    assert!(m.has_completed());
    assert_eq!(on(&mut m, Event::Start(0), 1), [start(0, 1)]);
    m.on(exited(0, 1, 0), 2);
    assert_eq!(m.view(0).state, State::Done);
}

#[test]
fn what_a_former_process_says_is_ignored() {
    let mut m = running_shop();
    m.on(exited(WEB, 1, 1), 2_000);
    let deadline = m.view(WEB).deadline.unwrap();
    m.on(Event::Tick, deadline);
    assert_eq!(m.on(ready(WEB, 1), deadline), []);
    assert_eq!(m.on(exited(WEB, 1, 1), deadline), []);
    assert_eq!(m.view(WEB).state, State::Starting);
}

/// A world that carries effects out and knows what is alive.
#[derive(Default)]
struct World {
    live: BTreeMap<ItemId, u32>,
    tasks: BTreeMap<TaskId, u32>,
}

impl World {
    fn carry_out(&mut self, machine: &Machine, effects: &[Effect]) -> Result<(), TestCaseError> {
        for effect in effects {
            match effect {
                Effect::Start { item, run } => {
                    prop_assert!(!self.live.contains_key(item), "two processes of one item");
                    for used in &machine.spec.items[*item].uses {
                        prop_assert!(machine.items[*used].is_met(), "started before its uses");
                    }
                    self.live.insert(*item, *run);
                }
                Effect::Stop { item, run } => {
                    prop_assert_eq!(self.live.get(item), Some(run));
                    let uses_it = |id: &ItemId| machine.spec.items[*id].uses.contains(item);
                    let has_user = self.live.keys().any(uses_it);
                    prop_assert!(!(machine.is_stopping() && has_user), "stopped before its users");
                }
                Effect::Say(item, Report::WouldNotDie) => {
                    self.live.remove(item);
                }
                Effect::Kill { .. } | Effect::Say(..) => {}
                Effect::RunTask { task, run } => {
                    prop_assert!(!self.tasks.contains_key(task), "one task twice at once");
                    let builds = self
                        .tasks
                        .keys()
                        .filter(|id| machine.spec.tasks[**id].kind == TaskKind::Build);
                    let is_build = machine.spec.tasks[*task].kind == TaskKind::Build;
                    prop_assert!(!is_build || builds.count() == 0, "two builds at once");
                    self.tasks.insert(*task, *run);
                }
                Effect::KillTask { task, .. } => {
                    self.tasks.remove(task);
                }
            }
        }
        Ok(())
    }
}

/// One thing that may happen next; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Live(u8, usize),
    Task(bool, usize),
    Person(u8, usize),
    Stale(u8, usize),
    Wait(u32),
    Deadline,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8, any::<usize>()).prop_map(|(what, n)| Step::Live(what, n)),
        3 => (any::<bool>(), any::<usize>()).prop_map(|(ok, n)| Step::Task(ok, n)),
        2 => (0..5_u8, any::<usize>()).prop_map(|(what, n)| Step::Person(what, n)),
        1 => (0..3_u8, any::<usize>()).prop_map(|(what, n)| Step::Stale(what, n)),
        1 => (0..40_000_u32).prop_map(Step::Wait),
        2 => Just(Step::Deadline),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let one = (any::<u16>(), any::<u8>(), 0..8_u8, 0..3_u8);
    (proptest::collection::vec(one, 1..7), any::<bool>()).prop_map(|(rows, keeps_going)| {
        let tasks = vec![
            task(TaskKind::Build, 0, &[], &[]),
            task(TaskKind::Build, 0, &[], &[]),
            task(TaskKind::Migrate, 0, &[], &[0]),
        ];
        let items = rows.iter().enumerate().map(|(id, (uses, own_tasks, lifetime, restart))| {
            let mut spec = item(&format!("i{id}"), &[]);
            spec.uses = (0..id).filter(|used| uses >> used & 1 == 1).collect();
            spec.tasks = match own_tasks % 4 {
                0 => vec![],
                1 => vec![0],
                2 => vec![1],
                _ => vec![0, 2],
            };
            spec.lifetime = match lifetime {
                0 => Lifetime::Once,
                1 => Lifetime::OnDemand,
                _ => Lifetime::Serves,
            };
            spec.restart =
                [Restart::Always, Restart::OnFailure, Restart::Never][usize::from(*restart)];
            spec
        });
        Spec { items: items.collect(), tasks, keeps_going }
    })
}

fn event(step: &Step, world: &mut World, machine: &Machine, now: &mut Millis) -> Event {
    let pick = |n: usize, len: usize| n.checked_rem(len);
    match *step {
        Step::Live(what, n) => {
            let Some(at) = pick(n, world.live.len()) else { return Event::Tick };
            let (item, run) = world.live.iter().nth(at).map(|(i, r)| (*i, *r)).unwrap();
            match what {
                0 | 1 => Event::Ready { item, run },
                2 => Event::Unready { item, run, reason: "refused".into() },
                _ => {
                    world.live.remove(&item);
                    exited(item, run, i32::try_from(n % 2).unwrap())
                }
            }
        }
        Step::Task(is_ok, n) => {
            let Some(at) = pick(n, world.tasks.len()) else { return Event::Tick };
            let (task, run) = world.tasks.iter().nth(at).map(|(t, r)| (*t, *r)).unwrap();
            world.tasks.remove(&task);
            if is_ok { built(task, run) } else { broken(task, run) }
        }
        Step::Person(what, n) => {
            let item = n % machine.spec.items.len();
            match what {
                0 => Event::Changed(item),
                1 => Event::Start(item),
                2 => Event::Stop(item),
                3 => Event::Restart(item),
                _ if n % 8 == 0 => Event::Shutdown,
                _ => Event::Tick,
            }
        }
        Step::Stale(what, n) => match what {
            0 => ready(n % 9, u32::MAX),
            1 => exited(n % 9, u32::MAX, 1),
            _ => built(n % 9, u32::MAX),
        },
        Step::Wait(ms) => {
            *now += u64::from(ms);
            Event::Tick
        }
        Step::Deadline => {
            *now = machine.next_deadline().unwrap_or(*now).max(*now);
            Event::Tick
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_the_order_holds_and_a_shutdown_ends_with_nothing_alive(
        spec in spec(),
        steps in proptest::collection::vec(step(), 0..120),
        seed in any::<u64>(),
    ) {
        let mut machine = Machine::new(spec, seed);
        let mut world = World::default();
        let mut now = 0;
        let effects = machine.on(Event::Begin, now);
        world.carry_out(&machine, &effects)?;
        for step in &steps {
            let event = event(step, &mut world, &machine, &mut now);
            let effects = machine.on(event, now);
            world.carry_out(&machine, &effects)?;
            let due = machine.next_deadline();
            prop_assert!(due.is_none_or(|at| at > now || !matches!(step, Step::Deadline)));
        }
        let effects = machine.on(Event::Shutdown, now);
        world.carry_out(&machine, &effects)?;
        while let Some((item, run)) = world.live.pop_first() {
            let mut rest = vec![(item, run)];
            rest.extend(std::mem::take(&mut world.live));
            for (item, run) in rest {
                let is_asked = machine.items[item].state == State::Stopping;
                if !is_asked {
                    world.live.insert(item, run);
                    continue;
                }
                let effects = machine.on(exited(item, run, 0), now);
                world.carry_out(&machine, &effects)?;
            }
            prop_assert!(world.live.is_empty() || world.live.keys().any(|id| {
                machine.items[*id].state == State::Stopping
            }), "nobody was asked to end");
        }
        prop_assert!(machine.is_over());
        prop_assert!(world.tasks.is_empty());
    }

    #[test]
    fn a_platform_whose_items_behave_is_ready_in_the_end(spec in spec(), seed in any::<u64>()) {
        let mut machine = Machine::new(spec, seed);
        let mut world = World::default();
        let effects = machine.on(Event::Begin, 0);
        world.carry_out(&machine, &effects)?;
        for now in 1..64 {
            if machine.has_completed() {
                break;
            }
            let mut events: Vec<Event> =
                std::mem::take(&mut world.tasks).into_iter().map(|(t, r)| built(t, r)).collect();
            for (item, run) in world.live.clone() {
                match machine.spec.items[item].lifetime {
                    Lifetime::Serves => events.push(ready(item, run)),
                    _ => {
                        world.live.remove(&item);
                        events.push(exited(item, run, 0));
                    }
                }
            }
            for event in events {
                let effects = machine.on(event, now);
                world.carry_out(&machine, &effects)?;
            }
        }
        prop_assert!(machine.has_completed(), "{:?}", states(&machine));
    }
}
