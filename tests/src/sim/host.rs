//! A host: the real agent's decisions over a simulated engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orch_core::agent::{self, Action, Container, ContainerState, Health, Step};
use orch_core::dispatch::{Assignment, TaskReport};
use orch_core::ids::{NodeId, TaskId};
use orch_core::objects::node::Role;
use orch_core::objects::task::TaskStatus;

use super::{Violation, ensure};

/// What a host wants to happen next.
#[derive(Debug)]
pub(super) enum Wish {
    /// Send this to the managers.
    Report(TaskReport),
    /// Have the engine do this; it takes time.
    Act(TaskId, Action),
}

/// A host of the cluster.
#[derive(Debug)]
pub(super) struct Host {
    pub id: NodeId,
    pub address: IpAddr,
    /// Whether its link works.
    pub linked: bool,
    /// Whether its daemon runs.
    pub alive: bool,
    /// Whether the host itself is up.
    pub powered: bool,
    /// Whether it left the cluster for good.
    pub gone: bool,
    /// Lives of its daemon so far: what an earlier one began is void.
    pub daemon: u64,
    /// Sessions so far: what was sent in an earlier one is void.
    pub session: u64,
    /// The manager that it has a session with, and that one's life.
    pub connected: Option<(usize, u64)>,
    /// Whether it is on its way to become a manager.
    pub enrolling: bool,
    /// Endpoints of containers that somebody attached.
    pub endpoints: BTreeSet<String>,
    /// The engine's containers; they outlive the daemon.
    pub containers: BTreeMap<TaskId, Container>,
    /// Tasks that ever ran here.
    started: BTreeSet<TaskId>,
    assignment: Option<Assignment>,
    statuses: BTreeMap<TaskId, TaskStatus>,
    busy: BTreeSet<TaskId>,
}

impl Host {
    pub(super) fn new(id: NodeId, address: IpAddr) -> Self {
        Self {
            id,
            address,
            linked: true,
            alive: true,
            powered: true,
            gone: false,
            daemon: 0,
            session: 0,
            connected: None,
            enrolling: false,
            endpoints: BTreeSet::new(),
            containers: BTreeMap::new(),
            started: BTreeSet::new(),
            assignment: None,
            statuses: BTreeMap::new(),
            busy: BTreeSet::new(),
        }
    }

    /// Whether the managers can talk to it.
    pub(super) fn reachable(&self) -> bool {
        self.linked && self.alive && !self.gone
    }

    /// Whether its kernel answers the managers.
    pub(super) fn answers(&self) -> bool {
        self.linked && self.powered && !self.gone
    }

    /// Takes an assignment, unless a newer one came first.
    pub(super) fn assign(&mut self, assignment: Assignment) -> Vec<Wish> {
        if self
            .assignment
            .as_ref()
            .is_some_and(|a| a.version >= assignment.version)
        {
            return Vec::new();
        }
        for task in &assignment.tasks {
            let ours = self
                .statuses
                .remove(&task.id)
                .unwrap_or_else(|| task.status.clone());
            self.statuses
                .insert(task.id.clone(), agent::furthest(ours, &task.status));
        }
        let mut concerned: BTreeSet<TaskId> = self.statuses.keys().cloned().collect();
        concerned.extend(self.containers.keys().cloned());
        self.assignment = Some(assignment);
        concerned
            .into_iter()
            .flat_map(|id| self.drive(&id))
            .collect()
    }

    /// Follows the agent's decisions for one task as far as they go at once.
    pub(super) fn drive(&mut self, id: &TaskId) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let Some(assignment) = &self.assignment else {
            return wishes;
        };
        let task = assignment.tasks.iter().find(|t| t.id == *id);
        let unknown = || TaskStatus {
            state: orch_core::task_state::TaskState::Assigned,
            since: Default::default(),
            message: String::new(),
            error: String::new(),
            container: None,
        };
        while !self.busy.contains(id) {
            let status = self.statuses.get(id).cloned().unwrap_or_else(unknown);
            match agent::next(task, &status, self.containers.get(id)) {
                Step::Report(status) => {
                    self.statuses.insert(id.clone(), status.clone());
                    wishes.push(Wish::Report(TaskReport {
                        id: id.clone(),
                        status,
                    }));
                }
                Step::Act(action) => {
                    self.busy.insert(id.clone());
                    wishes.push(Wish::Act(id.clone(), action));
                }
                Step::Wait => break,
                Step::Forget => {
                    self.statuses.remove(id);
                    break;
                }
            }
        }
        wishes
    }

    /// The engine is done with an action, well or not.
    pub(super) fn acted(
        &mut self,
        id: &TaskId,
        action: Action,
        well: bool,
    ) -> Result<Vec<Wish>, Violation> {
        self.busy.remove(id);
        let mut wishes = Vec::new();
        if well {
            self.engine_does(id, action)?;
        } else if let Some(status) =
            agent::refused(action, "the engine said no", self.containers.get(id))
        {
            self.statuses.insert(id.clone(), status.clone());
            wishes.push(Wish::Report(TaskReport {
                id: id.clone(),
                status,
            }));
        }
        wishes.extend(self.drive(id));
        Ok(wishes)
    }

    /// A task's process runs once at most, whatever becomes of daemons and messages.
    fn engine_does(&mut self, id: &TaskId, action: Action) -> Result<(), Violation> {
        let state = match action {
            Action::Prepare => ContainerState::Created,
            Action::Start => {
                let fresh = self.started.insert(id.clone());
                ensure!(fresh, "{} runs task {id} again", self.id);
                ContainerState::Running {
                    pid: 1,
                    health: Health::Unchecked,
                }
            }
            Action::Stop => ended(0),
            Action::Remove => {
                self.containers.remove(id);
                return Ok(());
            }
        };
        self.containers.insert(
            id.clone(),
            Container {
                id: id.to_string(),
                state,
            },
        );
        Ok(())
    }

    /// A container's process ended by itself. `false` when it does not run.
    pub(super) fn exit(&mut self, id: &TaskId, code: i64) -> bool {
        let Some(container) = self.containers.get_mut(id) else {
            return false;
        };
        let running = matches!(container.state, ContainerState::Running { .. });
        if running {
            container.state = ended(code);
        }
        running
    }

    /// The daemon dies; the engine and its containers go on.
    pub(super) fn kill_daemon(&mut self) {
        self.alive = false;
        self.connected = None;
        self.enrolling = false;
        self.daemon += 1;
        self.assignment = None;
        self.statuses.clear();
        self.busy.clear();
    }

    /// The whole host dies: its containers end, what was attached is gone.
    pub(super) fn crash(&mut self) {
        self.kill_daemon();
        self.powered = false;
        self.endpoints.clear();
        let running: Vec<TaskId> = self.containers.keys().cloned().collect();
        for id in running {
            self.exit(&id, 137);
        }
    }

    /// A new session begins: the managers may have missed anything.
    pub(super) fn register(&mut self) -> Vec<TaskReport> {
        self.assignment = None;
        let known = self.statuses.iter();
        known
            .map(|(id, status)| TaskReport {
                id: id.clone(),
                status: status.clone(),
            })
            .collect()
    }

    /// What it is trusted with, as it was told last.
    pub(super) fn role(&self) -> Option<Role> {
        self.assignment.as_ref().map(|assignment| assignment.role)
    }

    /// Whether the managers do not know it as this member of the raft group any more.
    pub(super) fn is_disowned(&self, member: u64, since: u64) -> bool {
        let told = self.assignment.as_ref();
        told.is_some_and(|assignment| assignment.disowns(member, since))
    }

    /// The tasks whose processes run, truly.
    pub(super) fn running(&self) -> impl Iterator<Item = &TaskId> {
        let running = |c: &Container| matches!(c.state, ContainerState::Running { .. });
        self.containers
            .iter()
            .filter(move |(_, c)| running(c))
            .map(|(id, _)| id)
    }
}

fn ended(exit_code: i64) -> ContainerState {
    ContainerState::Ended {
        exit_code,
        out_of_memory: false,
        error: String::new(),
    }
}
