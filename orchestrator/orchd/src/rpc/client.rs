//! A node's calls to a manager.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use orch_core::dispatch::{Acknowledgement, TaskReport};
use orch_core::ids::NetworkId;
use orch_core::network::Family;
use orch_core::objects::Task;
use orch_core::objects::node::{Availability, Role, TakenPort};
use orch_proto::ca_client::CaClient;
use orch_proto::dispatcher_client::DispatcherClient;
use orch_proto::managers_client::ManagersClient;
use orch_proto::{
    AcknowledgeRequest, AttachRequest, DetachRequest, EnrollRequest, EnrollResponse,
    HeartbeatRequest, IssueCertificateRequest, IssueCertificateResponse, LeaveRequest,
    NameAttachmentRequest, RenewCertificateRequest, ReportPortsRequest, ReportTasksRequest,
    SyncAttachmentsRequest,
};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::ca::availability_name;
use super::clock::ClockOffset;
use super::{RpcError, connection, wire};
use crate::pki::credentials::{Credentials, NodeKey};
use crate::pki::token::JoinToken;
use crate::pki::{RootCertificate, tls};

/// Time that a call may take, a wait for a connection included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a manager is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// Time that a good-bye waits for a connection: a node may leave without one.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

async fn in_time<T>(call: impl Future<Output = Result<T, RpcError>>) -> Result<T, RpcError> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or(Err(RpcError::TimedOut(CALL_TIMEOUT.as_secs())))
}

/// A node's calls to whichever manager it is connected to. A call waits a while for a connection.
#[derive(Debug, Clone)]
pub struct ManagerClient {
    channel: watch::Receiver<Option<Channel>>,
}

impl ManagerClient {
    pub(super) fn new(channel: watch::Receiver<Option<Channel>>) -> Self {
        Self { channel }
    }

    /// Waits until there is no connection.
    #[cfg(test)]
    pub(super) async fn disconnected(&self) {
        let mut channel = self.channel.clone();
        assert!(channel.wait_for(Option::is_none).await.is_ok());
    }

    /// The connection, once there is one.
    async fn channel(&self, patience: Duration) -> Result<Channel, RpcError> {
        let mut channel = self.channel.clone();
        let connected = tokio::time::timeout(patience, channel.wait_for(Option::is_some));
        match connected.await {
            Ok(Ok(channel)) => channel.clone().ok_or(RpcError::NoManager),
            Ok(Err(_)) | Err(_) => Err(RpcError::NoManager),
        }
    }

    async fn connected(&self, patience: Duration) -> Result<DispatcherClient<Channel>, RpcError> {
        self.channel(patience).await.map(dispatcher)
    }

    /// Makes a call that may be made twice; again, for as long as a call may take, when the
    /// manager does not lead any more or its connection is lost.
    async fn call<R, T, F>(
        &self,
        request: R,
        call: impl Fn(DispatcherClient<Channel>, R) -> F,
    ) -> Result<T, RpcError>
    where
        R: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            let client = self.connected(CALL_TIMEOUT).await?;
            let called = async { Ok(call(client, request.clone()).await?.into_inner()) };
            match in_time(called).await {
                Err(error) if error.may_pass() && Instant::now() < deadline => {
                    tracing::debug!(%error, "calling a manager again");
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks for an address, of this family unless it is a certain one, for a container that was
    /// attached on this node's engine. Asking again for the same endpoint gives the same answer.
    pub async fn attach(
        &self,
        endpoint: String,
        network: NetworkId,
        address: Option<IpAddr>,
        family: Family,
    ) -> Result<Task, RpcError> {
        let request = AttachRequest {
            endpoint,
            network_id: network.to_string(),
            address: address.map(|a| a.to_string()).unwrap_or_default(),
            ipv6: family == Family::V6,
        };
        let answer = self
            .call(request, |mut c, r| async move { c.attach(r).await })
            .await?;
        wire::decode_answer(&answer.task)
    }

    /// Gives such an address back.
    pub async fn detach(&self, endpoint: String) -> Result<(), RpcError> {
        let request = DetachRequest { endpoint };
        self.call(request, |mut c, r| async move { c.detach(r).await })
            .await
            .map(drop)
    }

    /// Says which of this node's attachments still exist; the managers drop the others.
    pub async fn sync_attachments(&self, live_endpoints: BTreeSet<String>) -> Result<(), RpcError> {
        let request = SyncAttachmentsRequest {
            endpoints: live_endpoints.into_iter().collect(),
        };
        self.call(
            request,
            |mut c, r| async move { c.sync_attachments(r).await },
        )
        .await
        .map(drop)
    }

    /// Says what a container that was attached on this node's engine is called there.
    pub async fn name_attachment(
        &self,
        endpoint: String,
        names: Vec<String>,
    ) -> Result<(), RpcError> {
        let request = NameAttachmentRequest { endpoint, names };
        self.call(
            request,
            |mut c, r| async move { c.name_attachment(r).await },
        )
        .await
        .map(drop)
    }

    /// Says which published ports processes of this host listen on too.
    pub async fn report_ports(&self, taken: &BTreeSet<TakenPort>) -> Result<(), RpcError> {
        let request = ReportPortsRequest {
            ports: wire::encode(taken)?,
        };
        self.call(request, |mut c, r| async move { c.report_ports(r).await })
            .await
            .map(drop)
    }

    /// Says which data plane is in force on this node.
    pub async fn acknowledge(&self, said: &Acknowledgement) -> Result<(), RpcError> {
        let request = AcknowledgeRequest {
            acknowledgement: wire::encode(said)?,
        };
        self.call(request, |mut c, r| async move { c.acknowledge(r).await })
            .await
            .map(drop)
    }

    /// Reports what became of tasks.
    pub(super) async fn report_tasks(&self, reports: &[TaskReport]) -> Result<(), RpcError> {
        let request = ReportTasksRequest {
            reports: wire::encode(&reports)?,
        };
        self.call(request, |mut c, r| async move { c.report_tasks(r).await })
            .await
            .map(drop)
    }

    /// Says that this node lives; returns how far the manager's clock is from ours.
    pub(super) async fn heartbeat(&self, session_id: String) -> Result<ClockOffset, RpcError> {
        let request = HeartbeatRequest { session_id };
        let client = self.connected(CALL_TIMEOUT).await?;
        let sent = SystemTime::now();
        let call = async move {
            let mut client = client;
            Ok(client.heartbeat(request).await?.into_inner())
        };
        let answer = in_time(call).await?;
        Ok(ClockOffset::of_call(
            sent,
            SystemTime::now(),
            answer.time_ms,
        ))
    }

    /// Asks for a certificate that takes the place of `credentials`, for a key of its own.
    pub(super) async fn renew(&self, credentials: &Credentials) -> Result<Credentials, RpcError> {
        let key = NodeKey::generate()?;
        let request = RenewCertificateRequest {
            csr: key.request()?,
        };
        let mut client = CaClient::new(self.channel(CALL_TIMEOUT).await?);
        let answer =
            in_time(async { Ok(client.renew_certificate(request).await?.into_inner()) }).await?;
        let certificate = CertificateDer::from(answer.certificate);
        let renewed = Credentials::new(&key, certificate, credentials.root().clone())?;
        renewed.check_validity(SystemTime::now())?;
        if renewed.identity().node != credentials.identity().node {
            let other = &renewed.identity().node;
            return Err(RpcError::BadAnswer(format!(
                "a certificate of node {other}"
            )));
        }
        Ok(renewed)
    }

    /// Says good-bye.
    pub async fn leave(&self) -> Result<(), RpcError> {
        let mut client = self.connected(LEAVE_PATIENCE).await?;
        in_time(async { Ok(client.leave(LeaveRequest {}).await.map(drop)?) }).await
    }
}

/// Looks for the manager that leads: asks the given ones in turn, and follows what they say.
pub struct LeaderSearch {
    queue: VecDeque<SocketAddr>,
    deadline: Instant,
    last: RpcError,
}

impl LeaderSearch {
    /// Begins with these managers, and waits for a leader for as long as a call may take.
    pub fn among(managers: &[SocketAddr]) -> Self {
        Self {
            queue: managers.iter().copied().collect(),
            deadline: Instant::now() + CALL_TIMEOUT,
            last: RpcError::NoManager,
        }
    }

    /// Whom to ask next; an error when nobody is left.
    pub fn next(&mut self) -> Result<SocketAddr, RpcError> {
        let nobody = || std::mem::replace(&mut self.last, RpcError::NoManager);
        self.queue.pop_front().ok_or_else(nobody)
    }

    /// Notes why a manager was the wrong one; an error when another would not help.
    pub async fn failed(&mut self, manager: SocketAddr, error: RpcError) -> Result<(), RpcError> {
        match error {
            RpcError::NotLeader { leader } if Instant::now() < self.deadline => {
                // Should the one that leads be gone by now, this one knows better soon.
                self.queue.push_back(manager);
                leader
                    .into_iter()
                    .for_each(|leader| self.queue.push_front(leader));
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
            error @ (RpcError::Unreachable { .. } | RpcError::Untrusted { .. }) => {
                self.last = error;
                Ok(())
            }
            error @ (RpcError::NotLeader { .. }
            | RpcError::NoManager
            | RpcError::Refused { .. }
            | RpcError::TimedOut(_)
            | RpcError::BadAnswer(_)
            | RpcError::Pki(_)) => Err(error),
        }
    }
}

/// A place in the raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its id there.
    pub raft_id: u64,
    /// A version of the state in which it has that place.
    pub version: u64,
}

/// Asks for a place in the raft group, for a manager that serves the others at `address`.
pub async fn enroll(
    credentials: &Credentials,
    managers: &[SocketAddr],
    address: SocketAddr,
) -> Result<Place, RpcError> {
    let mut search = LeaderSearch::among(managers);
    loop {
        let manager = search.next()?;
        match enroll_at(manager, credentials, address).await {
            Ok(place) => return Ok(place),
            Err(error) => search.failed(manager, error).await?,
        }
    }
}

async fn enroll_at(
    manager: SocketAddr,
    credentials: &Credentials,
    address: SocketAddr,
) -> Result<Place, RpcError> {
    let request = EnrollRequest {
        address: address.to_string(),
    };
    let tls = tls::client(credentials)?;
    let (channel, _) = connection::connect(&manager.to_string(), tls).await?;
    let mut client = ManagersClient::new(channel);
    let answer = in_time(async { Ok(client.enroll(request).await?) }).await?;
    let EnrollResponse { raft_id, version } = answer.into_inner();
    Ok(Place { raft_id, version })
}

/// The dispatcher behind a connection.
pub(super) fn dispatcher(channel: Channel) -> DispatcherClient<Channel> {
    DispatcherClient::new(channel)
        .max_decoding_message_size(wire::MAX_MESSAGE)
        .max_encoding_message_size(wire::MAX_MESSAGE)
}

/// A host's way into a cluster: a manager that proved to be the one its token names.
pub struct Admission {
    client: CaClient<Channel>,
    root: RootCertificate,
    token: JoinToken,
}

/// What a host is told when it becomes a node.
pub struct Admitted {
    /// What it proves itself with from now on.
    pub credentials: Credentials,
    /// UDP port of the overlay's tunnels.
    pub data_path_port: u16,
}

/// What a host must know before it becomes a node.
#[derive(Debug)]
pub struct Terms {
    /// UDP port of the overlay's tunnels.
    pub data_path_port: u16,
    /// Ranges that the cluster gives to networks, or gave.
    pub ranges: Vec<IpNet>,
    /// How far the manager's clock is from this host's.
    pub clock: ClockOffset,
    /// What the token makes of the host.
    pub role: Role,
}

impl Admission {
    /// Connects to the manager at `manager` (`host:port`).
    pub async fn connect(manager: &str, token: JoinToken) -> Result<Self, RpcError> {
        let config = tls::joining(*token.digest())?;
        let (channel, shown) = connection::connect(manager, config).await?;
        let root = tls::shown_root(&shown)?;
        Ok(Self {
            client: CaClient::new(channel),
            root,
            token,
        })
    }

    /// Checks the token and asks for what this host must suit. Changes nothing.
    pub async fn check(&self) -> Result<Terms, RpcError> {
        let sent = SystemTime::now();
        let answer = self.issue(Vec::new(), Availability::Active).await?;
        let clock = ClockOffset::of_call(sent, SystemTime::now(), answer.time_ms);
        let range = |text: &String| {
            let bad = |_| RpcError::BadAnswer(format!("{text} is not a range of addresses"));
            text.parse().map_err(bad)
        };
        Ok(Terms {
            data_path_port: data_path_port(&answer)?,
            ranges: answer
                .address_ranges
                .iter()
                .map(range)
                .collect::<Result<_, _>>()?,
            clock,
            role: match answer.manager {
                true => Role::Manager,
                false => Role::Worker,
            },
        })
    }

    /// Becomes a node.
    pub async fn request(&self, availability: Availability) -> Result<Admitted, RpcError> {
        let key = NodeKey::generate()?;
        let answer = self.issue(key.request()?, availability).await?;
        let data_path_port = data_path_port(&answer)?;
        let certificate = CertificateDer::from(answer.certificate);
        let credentials = Credentials::new(&key, certificate, self.root.clone())?;
        Ok(Admitted {
            credentials,
            data_path_port,
        })
    }

    async fn issue(
        &self,
        csr: Vec<u8>,
        availability: Availability,
    ) -> Result<IssueCertificateResponse, RpcError> {
        let request = IssueCertificateRequest {
            token: self.token.to_string(),
            csr,
            availability: availability_name(availability).to_owned(),
        };
        let mut client = self.client.clone();
        in_time(async { Ok(client.issue_certificate(request).await?.into_inner()) }).await
    }
}

fn data_path_port(answer: &IssueCertificateResponse) -> Result<u16, RpcError> {
    u16::try_from(answer.data_path_port)
        .map_err(|_| RpcError::BadAnswer(format!("{} is not a port", answer.data_path_port)))
}
