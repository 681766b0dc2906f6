//! Every call, over real TLS on loopback, with every kind of wrong caller; joining and the link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use orch_core::control;
use orch_core::dispatch::{Acknowledgement, Assignment, TaskReport};
use orch_core::ids::{NodeId, TaskId};
use orch_core::objects::cluster::RootCa;
use orch_core::objects::node::{Availability, NodeDescription, NodeState, Role};
use orch_core::objects::service::{EndpointSpec, ServiceMode};
use orch_core::objects::task::{ContainerSpec, TaskStatus};
use orch_core::objects::{ServiceSpec, TaskSpec};
use orch_core::store::State;
use orch_core::task_state::{DesiredState, TaskState};
use orch_core::time::Timestamp;
use orch_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rustls::ClientConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::access::{Access, TABLE, decide};
use super::client::Admission;
use super::link::{self, LinkConfig};
use super::*;
use crate::manager::tests::{CLUSTER, MANAGER, TestManager};
use crate::pki::ca::new_root;
use crate::pki::credentials::Credentials;
use crate::pki::tls::tests::issue;
use crate::pki::token::{JoinToken, new_tokens};
use crate::pki::{Identity, RootCertificate, tls};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longer than anything here takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// A worker that is a member.
const WORKER: u128 = 200;

struct Server {
    manager: TestManager,
    root: RootCa,
    address: SocketAddr,
}

impl Server {
    async fn start(table: &'static [(&'static str, Access)]) -> Self {
        Self::start_as(table, |root| member(root, MANAGER, Role::Manager)).await
    }

    /// With other credentials than a manager should have.
    async fn start_as(
        table: &'static [(&'static str, Access)],
        credentials: impl FnOnce(&RootCa) -> Credentials,
    ) -> Self {
        let root = new_root(SystemTime::now() - YEAR).unwrap();
        let digest = RootCertificate::from_pem(&root.certificate_pem)
            .unwrap()
            .digest();
        let manager = TestManager::start(root.clone(), new_tokens(digest)).await;
        manager
            .handle
            .write(|tx| {
                let worker = NodeId::from_random(WORKER);
                control::admit_node(tx, &worker, Role::Worker, Availability::Active)
            })
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = credentials(&root);
        let (handle, stop) = (manager.handle.clone(), manager.stop.clone());
        tokio::spawn(async move {
            server::serve_with(table, listener, &credentials, handle, stop)
                .await
                .unwrap();
        });
        Self {
            manager,
            root,
            address,
        }
    }

    fn token(&self, role: Role) -> JoinToken {
        let state = self.manager.handle.state();
        let tokens = &state.cluster().unwrap().join_tokens;
        let text = match role {
            Role::Manager => &tokens.manager,
            Role::Worker => &tokens.worker,
        };
        text.parse().unwrap()
    }

    /// Makes an empty call and returns how it was refused.
    async fn call(&self, config: ClientConfig, method: &str) -> Result<(), RpcError> {
        let (channel, _) = connection::connect(&self.address.to_string(), config).await?;
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = method.parse().unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        client.unary(tonic::Request::new(()), path, codec).await?;
        Ok(())
    }

    async fn refusal(&self, config: ClientConfig, method: &str) -> Option<Code> {
        match self.call(config, method).await {
            Err(RpcError::Refused { code, .. }) => Some(code),
            Ok(()) | Err(_) => None,
        }
    }
}

fn member(root: &RootCa, node: u128, role: Role) -> Credentials {
    issue(root, CLUSTER, node, role, SystemTime::now(), YEAR)
}

fn methods() -> Vec<String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = Vec::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let (package, service) = (file.package(), service.name());
                methods.push(format!("/{package}.{service}/{}", method.name()));
            }
        }
    }
    methods
}

#[test]
fn the_table_knows_every_method_and_no_other() {
    let mut known: Vec<_> = TABLE
        .iter()
        .map(|(method, _)| (*method).to_owned())
        .collect();
    let mut existing = methods();
    known.sort();
    existing.sort();
    assert_eq!(known, existing);
}

fn in_force(version: u64) -> Acknowledgement {
    Acknowledgement {
        version,
        live: Some(Default::default()),
    }
}

#[tokio::test]
async fn without_a_certificate_only_a_certificate_can_be_asked_for() {
    let server = Server::start(TABLE).await;
    let digest = RootCertificate::from_pem(&server.root.certificate_pem)
        .unwrap()
        .digest();
    for (method, access) in TABLE {
        let refused = server.refusal(tls::joining(digest).unwrap(), method).await;
        let expected = match access {
            // The empty request holds no token.
            Access::Anyone => Code::PermissionDenied,
            Access::Members(_) => Code::Unauthenticated,
        };
        assert_eq!(refused, Some(expected), "{method}");
    }
}

#[tokio::test]
async fn strangers_are_refused_on_every_call() {
    let server = Server::start(TABLE).await;
    let now = SystemTime::now();
    let foreign_root = new_root(now).unwrap();
    let foreign = issue(&foreign_root, CLUSTER, WORKER, Role::Worker, now, YEAR);
    let other_cluster = issue(&server.root, CLUSTER + 1, WORKER, Role::Worker, now, YEAR);
    let removed = member(&server.root, 999, Role::Worker);
    for (method, access) in TABLE {
        // A certificate of another authority does not even get a connection: it believes nobody
        // here, and with the right root in hand is not believed.
        assert!(
            server
                .call(tls::client(&foreign).unwrap(), method)
                .await
                .is_err()
        );
        let expected = Some(Code::PermissionDenied);
        assert_eq!(
            *access == Access::Anyone,
            method.contains("IssueCertificate")
        );
        for credentials in [&other_cluster, &removed] {
            let config = tls::client(credentials).unwrap();
            assert_eq!(server.refusal(config, method).await, expected, "{method}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_an_expired_one_gets_no_connection() {
    let server = Server::start(TABLE).await;
    let now = SystemTime::now();
    let expired = expired(&server.root, WORKER, Role::Worker);
    // The foreign certificate comes from a caller that believes this server.
    let foreign_root = new_root(now).unwrap();
    let foreign = issue(&foreign_root, CLUSTER, WORKER, Role::Worker, now, YEAR);
    let trusted = RootCertificate::from_pem(&server.root.certificate_pem).unwrap();
    let foreign = foreign.with_root(trusted);
    for credentials in [expired, foreign] {
        for (method, _) in TABLE {
            let config = tls::client_unchecked(&credentials).unwrap();
            let outcome = server.call(config, method).await;
            // Refused below gRPC: the handshake fails, so no status of a service comes back.
            let refused_by_service = matches!(
                &outcome,
                Err(RpcError::Refused {
                    code: Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument,
                    ..
                })
            );
            assert!(
                outcome.is_err() && !refused_by_service,
                "{method}: {outcome:?}"
            );
            let words = outcome.unwrap_err().to_string();
            assert!(
                words.contains("certificate") || words.contains("alert"),
                "{words}"
            );
        }
    }
}

fn expired(root: &RootCa, node: u128, role: Role) -> Credentials {
    issue(
        root,
        CLUSTER,
        node,
        role,
        SystemTime::now() - YEAR,
        YEAR / 2,
    )
}

fn link_config(
    credentials: Credentials,
    manager: SocketAddr,
) -> LinkConfig<impl Fn() -> std::future::Ready<Result<NodeDescription, RpcError>>> {
    LinkConfig {
        credentials: Arc::new(credentials),
        address: "127.0.0.2".parse().unwrap(),
        managers: vec![manager],
        describe: || {
            let hostname = "w1".to_owned();
            std::future::ready(Ok(NodeDescription {
                hostname,
                ..NodeDescription::default()
            }))
        },
    }
}

#[tokio::test]
async fn neither_members_nor_hosts_with_a_token_believe_an_expired_manager() {
    let server = Server::start_as(TABLE, |root| expired(root, MANAGER, Role::Manager)).await;
    let before = server.manager.handle.state();
    let worker = tls::client(&member(&server.root, WORKER, Role::Worker)).unwrap();
    let as_member = server.call(worker, TABLE[0].0).await.unwrap_err();
    let as_joining = join(&server, server.token(Role::Worker)).await;
    for error in [as_member.to_string(), as_joining] {
        assert!(error.contains("certificate has expired"), "{error}");
        assert!(error.contains(&server.address.to_string()), "{error}");
    }
    assert_eq!(server.manager.handle.state(), before);
}

#[tokio::test]
async fn a_member_does_not_believe_a_manager_of_another_authority() {
    let foreign_root = new_root(SystemTime::now()).unwrap();
    let foreign = |_: &RootCa| member(&foreign_root, MANAGER, Role::Manager);
    let server = Server::start_as(TABLE, foreign).await;
    let worker = tls::client(&member(&server.root, WORKER, Role::Worker)).unwrap();
    let error = server.call(worker, TABLE[0].0).await.unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, RpcError::Untrusted { .. }), "{words}");
    assert!(
        words.contains("not issued by this swarm's authority"),
        "{words}"
    );
}

#[tokio::test]
async fn a_node_that_no_manager_will_have_knows_why() {
    let server = Server::start(TABLE).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let cases = [
        (
            expired(&server.root, WORKER, Role::Worker),
            "node certificate is valid from",
        ),
        (
            member(&server.root, 999, Role::Worker),
            "was removed from this swarm",
        ),
    ];
    for (credentials, words) in cases {
        let mut link = link::open(link_config(credentials, server.address), &tasks, &stop);
        let fault = link.fault.wait_for(Option::is_some);
        let fault = tokio::time::timeout(PATIENCE, fault).await.unwrap();
        let fault = fault.unwrap().clone().unwrap();
        assert!(fault.contains(words), "{fault}");
    }
    stop.cancel();
}

fn web() -> ServiceSpec {
    ServiceSpec {
        name: "web".to_owned(),
        labels: Default::default(),
        task: TaskSpec {
            container: ContainerSpec {
                image: "web:1".to_owned(),
                ..ContainerSpec::default()
            },
            ..TaskSpec::default()
        },
        mode: ServiceMode::Replicated { replicas: 1 },
        networks: Vec::new(),
        update: None,
        rollback: None,
        endpoint: EndpointSpec::default(),
    }
}

#[tokio::test]
async fn a_task_is_told_to_stop_when_nobody_is_led_to_it_any_more() {
    let server = Server::start(TABLE).await;
    let manager = &server.manager.handle;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let worker = member(&server.root, WORKER, Role::Worker);
    let link = link::open(link_config(worker, server.address), &tasks, &stop);
    let mut told = link.node.assignments.clone();
    let mut told = async |condition: fn(&Assignment) -> bool| {
        let met = told.wait_for(|a| a.as_ref().is_some_and(condition));
        let met = tokio::time::timeout(PATIENCE, met).await.unwrap();
        met.unwrap().clone().unwrap()
    };
    let service = manager
        .write(|tx| control::create_service(tx, web()))
        .await
        .unwrap();
    let task = told(|a| a.tasks.len() == 1).await.tasks.remove(0);
    let status = TaskStatus {
        state: TaskState::Running,
        ..task.status
    };
    let report = TaskReport {
        id: task.id,
        status,
    };
    link.node.reports.send(report).await.unwrap();
    told(|a| a.network.frontends.values().any(|p| !p.backends.is_empty())).await;
    manager
        .write(move |tx| control::remove_service(tx, &service))
        .await
        .unwrap();
    // Nobody has acknowledged anything yet.
    let held = told(|a| a.network.frontends.is_empty()).await;
    assert_eq!(held.tasks[0].desired, DesiredState::Running);
    link.client
        .acknowledge(&in_force(held.network.version))
        .await
        .unwrap();
    let stopped = told(|a| a.tasks[0].desired == DesiredState::Remove).await;
    assert_eq!(stopped.network.frontends, held.network.frontends);
    stop.cancel();
}

/// The real table, for managers only.
const MANAGERS_ONLY: &[(&str, Access)] = &[
    (
        "/orch.node.v1.Ca/IssueCertificate",
        Access::Members(&[Role::Manager]),
    ),
    (
        "/orch.node.v1.Dispatcher/Heartbeat",
        Access::Members(&[Role::Manager]),
    ),
];

#[tokio::test]
async fn the_role_in_the_certificate_decides() {
    let server = Server::start(MANAGERS_ONLY).await;
    for (method, _) in MANAGERS_ONLY {
        let worker = tls::client(&member(&server.root, WORKER, Role::Worker)).unwrap();
        assert_eq!(
            server.refusal(worker, method).await,
            Some(Code::PermissionDenied)
        );
    }
    // The manager comes through to the service, which knows no such session.
    let heartbeat = MANAGERS_ONLY[1].0;
    let manager = || tls::client(&member(&server.root, MANAGER, Role::Manager)).unwrap();
    assert_eq!(
        server.refusal(manager(), heartbeat).await,
        Some(Code::NotFound)
    );
    // What the table does not know nobody may call.
    let unlisted = "/orch.node.v1.Dispatcher/Leave";
    assert_eq!(
        server.refusal(manager(), unlisted).await,
        Some(Code::PermissionDenied)
    );
}

#[tokio::test]
async fn every_wrong_role_is_refused_by_the_table() {
    let server = Server::start(TABLE).await;
    let state = server.manager.handle.state();
    for (method, access) in TABLE.iter().chain(MANAGERS_ONLY) {
        let Access::Members(allowed) = access else {
            continue;
        };
        for role in [Role::Worker, Role::Manager] {
            let node = Credentials::identity(&member(&server.root, WORKER, role)).clone();
            let table = [(*method, *access)];
            let decided = decide(&table, method, Some(node), &state);
            assert_eq!(
                decided.is_ok(),
                allowed.contains(&role),
                "{method} {role:?}"
            );
        }
        let nobody: Option<Identity> = None;
        assert!(decide(&[(*method, *access)], method, nobody, &state).is_err());
    }
}

#[test]
fn a_manager_that_is_starting_does_not_say_that_a_node_was_removed() {
    let root = new_root(SystemTime::now()).unwrap();
    let node = member(&root, WORKER, Role::Worker).identity().clone();
    let method = "/orch.node.v1.Dispatcher/Session";
    let refused = decide(TABLE, method, Some(node), &State::default()).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_host_with_the_worker_token_becomes_a_worker() {
    let server = Server::start(TABLE).await;
    let address = server.address.to_string();
    let before = server.manager.handle.state().nodes().count();
    let admission = Admission::connect(&address, server.token(Role::Worker))
        .await
        .unwrap();
    let terms = admission.check().await.unwrap();
    assert_eq!(terms.data_path_port, 4789);
    let pools = &server
        .manager
        .handle
        .state()
        .cluster()
        .unwrap()
        .address_pools
        .clone();
    assert_eq!(&terms.ranges, pools);
    // The call itself takes at most so long.
    assert!(terms.clock.distance() < Duration::from_secs(10));
    assert_eq!(server.manager.handle.state().nodes().count(), before);
    let admitted = admission.request(Availability::Pause).await.unwrap();
    let identity = admitted.credentials.identity();
    assert_eq!(identity.role, Role::Worker);
    let state = server.manager.handle.state();
    let node = state.node(&identity.node).unwrap();
    assert_eq!(node.spec.availability, Availability::Pause);
    // Its certificate is good for calls: it gets as far as the service.
    let config = tls::client(&admitted.credentials).unwrap();
    let heartbeat = "/orch.node.v1.Dispatcher/Heartbeat";
    assert_eq!(
        server.refusal(config, heartbeat).await,
        Some(Code::NotFound)
    );
}

async fn join(server: &Server, token: JoinToken) -> String {
    let joined = async {
        let admission = Admission::connect(&server.address.to_string(), token).await?;
        admission.request(Availability::Active).await
    };
    joined.await.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test]
async fn hosts_without_a_good_token_stay_outside() {
    let server = Server::start(TABLE).await;
    let before = server.manager.handle.state();
    let worker = server.token(Role::Worker);
    let foreign_root = new_root(SystemTime::now()).unwrap();
    let foreign = RootCertificate::from_pem(&foreign_root.certificate_pem)
        .unwrap()
        .digest();
    let cases = [
        (
            JoinToken::generate(foreign),
            "remote CA does not match fingerprint. Expected: ",
        ),
        (
            JoinToken::generate(*worker.digest()),
            "A valid join token is necessary",
        ),
        (server.token(Role::Manager), "this version runs one manager"),
    ];
    for (token, words) in cases {
        let error = join(&server, token).await;
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(server.manager.handle.state(), before);
}

#[tokio::test]
async fn a_link_brings_assignments_takes_reports_and_says_good_bye() {
    let server = Server::start(TABLE).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let config = link_config(member(&server.root, WORKER, Role::Worker), server.address);
    let link = link::open(config, &tasks, &stop);
    let mut assignments = link.node.assignments.clone();
    let first = assignments
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(first.tasks.is_empty());
    let node = NodeId::from_random(WORKER);
    let status = |s: &State| s.node(&node).map(|n| n.status.state);
    let state = server
        .manager
        .wait_for(|s| status(s) == Some(NodeState::Ready))
        .await;
    let joined = state.node(&node).unwrap();
    assert_eq!(joined.description.as_ref().unwrap().hostname, "w1");
    assert_eq!(joined.status.address, Some("127.0.0.2".parse().unwrap()));
    assert_eq!(link.managers.borrow().len(), 1);
    // A report about a task that nobody knows is taken and changes nothing.
    let report = TaskReport {
        id: TaskId::from_random(5),
        status: TaskStatus {
            state: TaskState::Running,
            since: Timestamp::default(),
            message: String::new(),
            error: String::new(),
            container: None,
        },
    };
    link.node.reports.send(report).await.unwrap();
    link.client
        .acknowledge(&in_force(first.version))
        .await
        .unwrap();
    link.client.leave().await.unwrap();
    server
        .manager
        .wait_for(|s| status(s) == Some(NodeState::Down))
        .await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_link_survives_a_manager_that_goes_away() {
    let root = new_root(SystemTime::now()).unwrap();
    // Nobody listens yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let config = link_config(member(&root, WORKER, Role::Worker), address);
    let link = link::open(config, &tasks, &stop);
    let digest = RootCertificate::from_pem(&root.certificate_pem)
        .unwrap()
        .digest();
    let manager = TestManager::start(root.clone(), new_tokens(digest)).await;
    let admitted = |tx: &mut orch_core::store::Tx<'_>| {
        let worker = NodeId::from_random(WORKER);
        control::admit_node(tx, &worker, Role::Worker, Availability::Active)
    };
    manager.handle.write(admitted).await.unwrap();
    for _ in 0..2 {
        let serving = CancellationToken::new();
        let listener = TcpListener::bind(address).await.unwrap();
        let credentials = member(&root, MANAGER, Role::Manager);
        let (handle, token) = (manager.handle.clone(), serving.clone());
        let server =
            tokio::spawn(async move { server::serve(listener, &credentials, handle, token).await });
        // The call waits for the connection.
        link.client.acknowledge(&in_force(1)).await.unwrap();
        serving.cancel();
        server.await.unwrap().unwrap();
        let gone = link.client.disconnected();
        tokio::time::timeout(PATIENCE, gone)
            .await
            .expect("the link notices");
    }
    stop.cancel();
}
