//! The driver that starts real processes on this machine.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::child::{Order, Place, live};
use super::launch::{Launch, TaskLaunch};
use super::leftovers::Leftovers;
use super::task::perform;
use super::{Driver, News};
use crate::hub::Hub;
use crate::machine::{Event, ItemId, TaskId};

/// How many news may wait for the engine; processes wait to be heard, they are not lost.
pub const NEWS_MAX: usize = 1024;
/// How many orders may wait for one process: one to stop, one to kill, and repetitions.
const ORDERS_MAX: usize = 8;

/// Starts real processes on this machine.
#[derive(Debug)]
pub struct ProcessDriver {
    items: Vec<(String, Launch)>,
    tasks: Vec<TaskLaunch>,
    news: mpsc::Sender<News>,
    hub: Hub,
    leftovers: Leftovers,
    live: BTreeMap<ItemId, (u32, mpsc::Sender<Order>)>,
    running: BTreeMap<TaskId, (u32, AbortHandle)>,
}

impl ProcessDriver {
    /// A driver of these items and tasks, in the order of the machine's.
    pub fn new(
        items: Vec<(String, Launch)>,
        tasks: Vec<TaskLaunch>,
        news: mpsc::Sender<News>,
        hub: Hub,
        leftovers: Leftovers,
    ) -> Self {
        let (live, running) = (BTreeMap::new(), BTreeMap::new());
        Self { items, tasks, news, hub, leftovers, live, running }
    }

    fn order(&self, item: ItemId, run: u32, order: Order) {
        if let Some((live_run, orders)) = self.live.get(&item)
            && *live_run == run
        {
            // Full or closed: it was told often enough, or has ended.
            let _ = orders.try_send(order);
        }
    }
}

impl Driver for ProcessDriver {
    fn start(&mut self, item: ItemId, run: u32) {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let (name, launch) = self.items[item].clone();
        let place = Place {
            item,
            run,
            name,
            news: self.news.clone(),
            hub: self.hub.clone(),
            leftovers: self.leftovers.clone(),
        };
        tokio::spawn(live(launch, place, orders));
        self.live.insert(item, (run, sender));
    }

    fn stop(&mut self, item: ItemId, run: u32) {
        self.order(item, run, Order::Stop);
    }

    fn kill(&mut self, item: ItemId, run: u32) {
        self.order(item, run, Order::Kill);
    }

    fn run_task(&mut self, task: TaskId, run: u32) {
        let launch = self.tasks[task].clone();
        let (news, hub, leftovers) = (self.news.clone(), self.hub.clone(), self.leftovers.clone());
        let handle = tokio::spawn(async move {
            let result = perform(&launch, &hub, &leftovers, format!("@task-{task}")).await;
            let _ = news.send(News::Machine(Event::TaskEnded { task, run, result })).await;
        });
        self.running.insert(task, (run, handle.abort_handle()));
    }

    fn kill_task(&mut self, task: TaskId, run: u32) {
        if let Some((running, handle)) = self.running.get(&task)
            && *running == run
        {
            handle.abort();
            self.running.remove(&task);
        }
    }
}
