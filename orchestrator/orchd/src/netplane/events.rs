//! Flow events for several listeners, while there are any.
//!
//! The kernel's ring has one reader, and telling costs every conversation something. So the owner
//! starts one reader with the first listener and ends it after the last.

use std::time::Duration;

use orch_dataplane::{DataPlane, Error, FlowEvent, FlowEvents};
use tokio::sync::{broadcast, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::Command;

/// Events that a slow listener may be behind; it then loses the oldest ones and is told so.
const BACKLOG: usize = 1024;
/// Time between two looks at whether anybody still listens.
const LOOK: Duration = Duration::from_secs(1);

/// The running reader.
pub(super) struct Telling {
    events: broadcast::Sender<FlowEvent>,
    _reader: AbortOnDropHandle<()>,
}

impl Telling {
    /// Has the programs tell, and starts the reader. It asks the owner to end it by `commands`.
    pub fn start(plane: &mut DataPlane, commands: mpsc::Sender<Command>) -> Result<Self, Error> {
        let ring = plane.flow_events()?;
        plane.tell_events(true)?;
        let (events, _) = broadcast::channel(BACKLOG);
        let reader = tokio::spawn(read(ring, events.clone(), commands));
        Ok(Self {
            events,
            _reader: AbortOnDropHandle::new(reader),
        })
    }

    /// The events from now on.
    pub fn listen(&self) -> broadcast::Receiver<FlowEvent> {
        self.events.subscribe()
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.events.receiver_count() > 0
    }
}

async fn read(
    mut ring: FlowEvents,
    events: broadcast::Sender<FlowEvent>,
    commands: mpsc::Sender<Command>,
) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            event = ring.next() => match event {
                // Nobody listens at the moment: the owner decides.
                Ok(event) => drop(events.send(event)),
                Err(error) => {
                    tracing::warn!(%error, "flow events can no longer be read");
                    return;
                }
            },
            _ = look.tick() => {
                if events.receiver_count() == 0 && commands.send(Command::Unheard).await.is_err() {
                    return;
                }
            }
        }
    }
}
