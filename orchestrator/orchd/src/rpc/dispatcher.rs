//! The dispatcher's calls: sessions, heartbeats, reports, attachments.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use orch_core::control;
use orch_core::dispatch::{self, Acknowledged, Acknowledgement, Assignment, Drain, TaskReport};
use orch_core::ids::{NetworkId, NodeId};
use orch_core::network::Family;
use orch_core::objects::node::{NodeDescription, TakenPort};
use orch_core::store::State;
use orch_core::time::Timestamp;
use orch_proto::{
    AcknowledgeRequest, AcknowledgeResponse, AttachRequest, AttachResponse, DetachRequest,
    DetachResponse, HeartbeatRequest, HeartbeatResponse, LeaveRequest, LeaveResponse, Manager,
    NameAttachmentRequest, NameAttachmentResponse, ReportPortsRequest, ReportPortsResponse,
    ReportTasksRequest, ReportTasksResponse, SessionMessage, SessionRequest,
    SyncAttachmentsRequest, SyncAttachmentsResponse, dispatcher_server,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::access::Peer;
use super::{clock, wire};
use crate::manager::{ManagerHandle, SessionEvent, now};

/// Changes so close to each other travel as one assignment.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Serves the nodes' agents.
pub(super) struct Dispatcher {
    manager: ManagerHandle,
    acknowledged: watch::Sender<Acknowledged>,
    stop: CancellationToken,
}

impl Dispatcher {
    /// Sessions end with `stop`.
    pub(super) fn new(manager: ManagerHandle, stop: CancellationToken) -> Self {
        Self {
            manager,
            acknowledged: watch::Sender::default(),
            stop,
        }
    }
}

fn parse_address(text: &str) -> Result<IpAddr, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument(format!("\"{text}\" is not an address")))
}

/// Follows the state for one session and sends the node's assignment whenever it differs.
struct Feed {
    node: NodeId,
    session: String,
    manager: ManagerHandle,
    out: mpsc::Sender<Result<SessionMessage, Status>>,
    acknowledged: watch::Receiver<Acknowledged>,
    drain: Drain,
    /// When time alone changes what the node is told; some, as long as tasks are held back.
    held_until: Option<Timestamp>,
    sent: Option<(Assignment, Vec<Manager>)>,
}

/// Waits until the moment; `None` is for ever.
async fn until(moment: Option<Timestamp>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.since(now())).await,
        None => std::future::pending().await,
    }
}

impl Feed {
    async fn run(mut self) {
        let mut states = self.manager.watch();
        let mut leadership = self.manager.leadership();
        // Another manager that leads has a session for the node.
        while leadership.borrow_and_update().established {
            // A slow node holds up its own feed only, and then gets the latest assignment.
            let out = self.out.clone();
            let Ok(permit) = out.reserve().await else {
                break;
            };
            let state = states.borrow_and_update().clone();
            match self.next(&state) {
                Ok(None) => drop(permit),
                Ok(Some(message)) => permit.send(Ok(message)),
                Err(status) => {
                    permit.send(Err(status));
                    break;
                }
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { break },
                () = self.out.closed() => break,
                changed = leadership.changed() => if changed.is_err() { break },
                Ok(()) = self.acknowledged.changed(), if self.held_until.is_some() => {}
                () = until(self.held_until) => {}
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
        tracing::info!(node = %self.node, session = self.session, "session ended");
        let (node, session) = (self.node, self.session);
        let broken = SessionEvent::Broken { node, session };
        self.manager.session(broken).await;
    }

    fn next(&mut self, state: &State) -> Result<Option<SessionMessage>, Status> {
        let mut assignment = dispatch::assignment(state, &self.node).ok_or_else(|| {
            Status::permission_denied(format!("node {} was removed from this swarm", self.node))
        })?;
        let acknowledged = self.acknowledged.borrow_and_update().clone();
        self.held_until = self
            .drain
            .hold_back(&mut assignment, state, &acknowledged, now());
        let managers = managers(state);
        if let Some((sent, sent_managers)) = &self.sent
            && sent.same_content(&assignment)
            && *sent_managers == managers
        {
            return Ok(None);
        }
        let message = SessionMessage {
            session_id: self.session.clone(),
            assignment: wire::encode(&assignment)?,
            managers: managers.clone(),
        };
        self.sent = Some((assignment, managers));
        Ok(Some(message))
    }
}

fn managers(state: &State) -> Vec<Manager> {
    state
        .nodes()
        .filter_map(|node| {
            let address = node.manager.as_ref()?.address.to_string();
            Some(Manager {
                node_id: node.id.to_string(),
                address,
            })
        })
        .collect()
}

#[tonic::async_trait]
impl dispatcher_server::Dispatcher for Dispatcher {
    type SessionStream = ReceiverStream<Result<SessionMessage, Status>>;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let node = Peer::of(&request)?.node;
        let request = request.into_inner();
        let address = parse_address(&request.address)?;
        let description: NodeDescription =
            wire::decode_request("node description", &request.description)?;
        let session = format!("{:032x}", rand::random::<u128>());
        let opened = SessionEvent::Opened {
            node: node.clone(),
            session: session.clone(),
        };
        self.manager.session(opened).await;
        let of = node.clone();
        self.manager
            .write(move |tx| control::open_session(tx, &of, description, address))
            .await
            .map_err(wire::write_refused)?;
        tracing::info!(%node, session, %address, "session opened");
        let (out, stream) = mpsc::channel(1);
        let feed = Feed {
            node,
            session,
            manager: self.manager.clone(),
            out,
            acknowledged: self.acknowledged.subscribe(),
            drain: Drain::default(),
            held_until: None,
            sent: None,
        };
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(feed.run()).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let session = request.into_inner().session_id;
        let (alive, answer) = oneshot::channel();
        self.manager
            .session(SessionEvent::Beat {
                node,
                session,
                alive,
            })
            .await;
        match answer.await {
            Ok(true) => Ok(Response::new(HeartbeatResponse {
                time_ms: clock::milliseconds(SystemTime::now()),
            })),
            Ok(false) => Err(Status::not_found("the session is over; register again")),
            Err(_) => Err(Status::unavailable("the manager is stopping")),
        }
    }

    async fn report_tasks(
        &self,
        request: Request<ReportTasksRequest>,
    ) -> Result<Response<ReportTasksResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let reports: Vec<TaskReport> =
            wire::decode_request("task report", &request.into_inner().reports)?;
        self.manager
            .write(move |tx| {
                control::report_tasks(tx, &node, &reports);
                Ok(())
            })
            .await
            .map_err(wire::write_refused)?;
        Ok(Response::new(ReportTasksResponse {}))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let said: Acknowledgement =
            wire::decode_request("acknowledgement", &request.into_inner().acknowledgement)?;
        tracing::debug!(%node, version = said.version, "data plane in force");
        self.acknowledged.send_if_modified(|known| {
            let known = known.entry(node).or_default();
            let news = said.version >= known.version && said != *known;
            if news {
                *known = said;
            }
            news
        });
        Ok(Response::new(AcknowledgeResponse {}))
    }

    async fn attach(
        &self,
        request: Request<AttachRequest>,
    ) -> Result<Response<AttachResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let AttachRequest {
            endpoint,
            network_id,
            address,
            ipv6,
        } = request.into_inner();
        let network =
            NetworkId::parse(&network_id).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let address = if address.is_empty() {
            None
        } else {
            Some(parse_address(&address)?)
        };
        let wanted = control::AttachRequest {
            endpoint,
            network,
            address,
            family: if ipv6 { Family::V6 } else { Family::V4 },
        };
        let task = self
            .manager
            .write(move |tx| control::attach(tx, &node, wanted))
            .await
            .map_err(wire::write_refused)?;
        Ok(Response::new(AttachResponse {
            task: wire::encode(&task)?,
        }))
    }

    async fn name_attachment(
        &self,
        request: Request<NameAttachmentRequest>,
    ) -> Result<Response<NameAttachmentResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let NameAttachmentRequest { endpoint, names } = request.into_inner();
        self.manager
            .write(move |tx| {
                control::name_attachment(tx, &node, &endpoint, &names);
                Ok(())
            })
            .await
            .map_err(wire::write_refused)?;
        Ok(Response::new(NameAttachmentResponse {}))
    }

    async fn report_ports(
        &self,
        request: Request<ReportPortsRequest>,
    ) -> Result<Response<ReportPortsResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let taken: BTreeSet<TakenPort> =
            wire::decode_request("list of ports", &request.into_inner().ports)?;
        for TakenPort {
            protocol,
            port,
            holder,
        } in &taken
        {
            tracing::warn!(%node, port, %protocol, holder, "a published port is taken there too");
        }
        self.manager
            .write(move |tx| control::report_ports(tx, &node, taken))
            .await
            .map_err(wire::write_refused)?;
        Ok(Response::new(ReportPortsResponse {}))
    }

    async fn detach(
        &self,
        request: Request<DetachRequest>,
    ) -> Result<Response<DetachResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let endpoint = request.into_inner().endpoint;
        self.manager
            .write(move |tx| {
                control::detach(tx, &node, &endpoint);
                Ok(())
            })
            .await
            .map_err(wire::write_refused)?;
        Ok(Response::new(DetachResponse {}))
    }

    async fn sync_attachments(
        &self,
        request: Request<SyncAttachmentsRequest>,
    ) -> Result<Response<SyncAttachmentsResponse>, Status> {
        let node = Peer::of(&request)?.node;
        let live = request.into_inner().endpoints.into_iter().collect();
        self.manager
            .write(move |tx| {
                control::sync_attachments(tx, &node, &live);
                Ok(())
            })
            .await
            .map_err(wire::write_refused)?;
        Ok(Response::new(SyncAttachmentsResponse {}))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let node = Peer::of(&request)?.node;
        self.manager
            .session(SessionEvent::Closed { node: node.clone() })
            .await;
        let (of, group) = (node.clone(), self.manager.group());
        self.manager
            .write(move |tx| control::leave(tx, &of, &group))
            .await
            .map_err(wire::write_refused)?;
        tracing::info!(%node, "the node left");
        Ok(Response::new(LeaveResponse {}))
    }
}
