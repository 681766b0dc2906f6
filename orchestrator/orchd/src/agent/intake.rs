//! Takes assignments in: on disk first, then to everyone on this host who acts on them.
//!
//! The last assignment is kept, so that a restarted daemon knows what its containers are for
//! while no manager can be reached.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use orch_core::dispatch::Assignment;
use orch_core::ids::NodeId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::durable;
use crate::netplane::NetPlane;

/// Pause before an assignment that could not be written is written again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The file of the last assignment.
#[derive(Debug, Clone)]
pub struct Kept {
    path: PathBuf,
    node: NodeId,
}

/// What is in it.
#[derive(Serialize, Deserialize)]
struct Content {
    node: NodeId,
    assignment: Option<Assignment>,
}

impl Kept {
    /// The file in the agent's `folder`, for the assignments of `node`.
    pub fn new(folder: &Path, node: NodeId) -> Self {
        Self {
            path: file(folder),
            node,
        }
    }

    /// The last assignment; `None` when there was none, or it was that of another membership.
    pub fn load(&self) -> anyhow::Result<Option<Assignment>> {
        let content = read(&self.path)?.filter(|content| content.node == self.node);
        Ok(content.and_then(|content| content.assignment))
    }

    /// The node whose assignment is kept in `folder`.
    pub fn owner(folder: &Path) -> anyhow::Result<Option<NodeId>> {
        Ok(read(&file(folder))?.map(|content| content.node))
    }

    async fn save(&self, assignment: &Assignment) -> anyhow::Result<()> {
        let content = Content {
            node: self.node.clone(),
            assignment: Some(assignment.clone()),
        };
        let bytes = rmp_serde::to_vec_named(&content).context("cannot encode the assignment")?;
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || durable::write(&path, &bytes))
            .await?
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("assignment")
}

fn read(path: &Path) -> anyhow::Result<Option<Content>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let content = rmp_serde::from_slice(&bytes);
    content
        .map(Some)
        .with_context(|| format!("{} is damaged", path.display()))
}

/// Takes in what comes through the link. Ends when the link does.
pub async fn take_in(
    mut incoming: watch::Receiver<Option<Assignment>>,
    kept: Kept,
    plane: NetPlane,
    outgoing: watch::Sender<Option<Arc<Assignment>>>,
) {
    // What came before this task was spawned counts as changed.
    incoming.mark_changed();
    while incoming.changed().await.is_ok() {
        let Some(assignment) = incoming.borrow_and_update().clone() else {
            continue;
        };
        let known = outgoing
            .borrow()
            .as_ref()
            .is_some_and(|last| last.same_content(&assignment));
        if !known {
            // A container that is started for a task must be known to belong to it after a crash.
            if let Err(error) = kept.save(&assignment).await {
                tracing::error!(error = %format!("{error:#}"), "an assignment waits");
                tokio::time::sleep(RETRY_PAUSE).await;
                incoming.mark_changed();
                continue;
            }
        }
        plane.set_desired(assignment.network.clone());
        if !known {
            outgoing.send_replace(Some(Arc::new(assignment)));
        }
    }
}

#[cfg(test)]
mod tests {
    use orch_core::network::DesiredNetwork;

    use super::*;

    fn assignment(version: u64) -> Assignment {
        Assignment {
            version,
            tasks: Vec::new(),
            networks: Vec::new(),
            network: DesiredNetwork::default(),
            host_ports: Default::default(),
            heartbeat_period: Duration::from_secs(5),
            role: orch_core::objects::node::Role::Worker,
            member: None,
        }
    }

    #[tokio::test]
    async fn the_last_assignment_of_this_membership_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let node = NodeId::from_random(1);
        let kept = Kept::new(folder.path(), node.clone());
        assert_eq!(kept.load().unwrap(), None);
        assert_eq!(Kept::owner(folder.path()).unwrap(), None);
        kept.save(&assignment(7)).await.unwrap();
        assert_eq!(kept.load().unwrap(), Some(assignment(7)));
        assert_eq!(Kept::owner(folder.path()).unwrap(), Some(node));
        let other = Kept::new(folder.path(), NodeId::from_random(2));
        assert_eq!(other.load().unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_said_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(file(folder.path()), b"nonsense").unwrap();
        let kept = Kept::new(folder.path(), NodeId::from_random(1));
        assert!(kept.load().unwrap_err().to_string().contains("damaged"));
    }
}
