//! Watches the engine for what becomes of task containers.
//!
//! One task looks, so that two looks at one container are never told in the wrong order. It
//! follows the engine's events, looks again at whatever they name, and lists everything whenever
//! the engine has been away.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use orch_core::agent::Container;
use orch_core::ids::{NodeId, TaskId};
use tokio::sync::mpsc;

use crate::engine::{Engine, EngineError};

/// Pause before an engine that is away is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Observations and requests that wait at most.
const QUEUE: usize = 64;

/// What was seen.
#[derive(Debug)]
pub enum Observation {
    /// All task containers of this node.
    All(BTreeMap<TaskId, Container>),
    /// One task's container, or that there is none.
    One(TaskId, Option<Container>),
}

/// A request to look at one task's container.
#[derive(Debug)]
pub struct Look {
    /// The task.
    pub task: TaskId,
    /// Id or name of its container.
    pub container: String,
}

/// The tasks' end of the observer.
pub struct Observer {
    /// What was seen, in the order it was seen.
    pub seen: mpsc::Receiver<Observation>,
    /// Requests to look.
    pub looks: mpsc::Sender<Look>,
}

/// The observer, to be spawned, and the end to it.
pub fn observe(engine: Engine, node: NodeId) -> (Observer, impl Future<Output = ()>) {
    let (found, seen) = mpsc::channel(QUEUE);
    let (looks, requests) = mpsc::channel(QUEUE);
    (
        Observer { seen, looks },
        Watcher {
            engine,
            node,
            found,
            requests,
        }
        .run(),
    )
}

/// Why watching stopped.
enum Stop {
    /// The engine is away.
    Engine(EngineError),
    /// Nobody listens any more.
    Unheard,
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

struct Watcher {
    engine: Engine,
    node: NodeId,
    found: mpsc::Sender<Observation>,
    requests: mpsc::Receiver<Look>,
}

impl Watcher {
    async fn run(mut self) {
        let mut away = false;
        loop {
            match self.watch(&mut away).await {
                Stop::Unheard => return,
                Stop::Engine(error) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%error, "the container engine is away; waiting for it");
                    }
                }
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn watch(&mut self, away: &mut bool) -> Stop {
        match self.follow(away).await {
            Ok(()) => Stop::Unheard,
            Err(stop) => stop,
        }
    }

    /// Lists everything, then follows events and requests.
    async fn follow(&mut self, away: &mut bool) -> Result<(), Stop> {
        // Events from before the list are told again rather than missed.
        let mut events = self
            .engine
            .container_events(&self.node, SystemTime::now())?;
        let all = self.engine.task_containers(&self.node).await?;
        if std::mem::replace(away, false) {
            tracing::info!("the container engine is back");
        }
        self.tell(Observation::All(all)).await?;
        loop {
            let (task, container) = tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => (event.task, event.container),
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(self.hung_up().into()),
                },
                request = self.requests.recv() => match request {
                    Some(look) => (look.task, look.container),
                    None => return Ok(()),
                },
            };
            let seen = self.engine.inspect_task_container(&container).await?;
            let container = seen
                .filter(|seen| seen.task == task)
                .map(|seen| seen.container);
            self.tell(Observation::One(task, container)).await?;
        }
    }

    async fn tell(&self, observation: Observation) -> Result<(), Stop> {
        self.found
            .send(observation)
            .await
            .map_err(|_| Stop::Unheard)
    }

    fn hung_up(&self) -> EngineError {
        self.engine.unreachable("it hung up")
    }
}
