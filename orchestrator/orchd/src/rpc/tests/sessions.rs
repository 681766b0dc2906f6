//! A node and its manager: assignments, reports, and whom a node believes.

use orch_proto::HeartbeatRequest;

use super::*;
use crate::rpc::client::{LeaderSearch, dispatcher as link_client};
use crate::rpc::renewal::Renewer;

fn in_force(version: u64) -> Acknowledgement {
    Acknowledgement {
        version,
        live: Some(Default::default()),
    }
}

fn link_config(
    credentials: Credentials,
    manager: SocketAddr,
) -> LinkConfig<impl Fn() -> std::future::Ready<Result<NodeDescription, RpcError>>> {
    link_with(lasting(credentials), manager)
}

fn link_with(
    credentials: watch::Receiver<Arc<Credentials>>,
    manager: SocketAddr,
) -> LinkConfig<impl Fn() -> std::future::Ready<Result<NodeDescription, RpcError>>> {
    LinkConfig {
        credentials,
        address: "127.0.0.2".parse().unwrap(),
        managers: vec![manager],
        tick: Duration::from_millis(50),
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
        let credentials = lasting(credentials);
        let server = tokio::spawn(async move {
            server::serve(listener, credentials, handle, nobody(), token).await
        });
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

#[tokio::test]
async fn a_certificate_is_renewed_while_the_session_goes_on() {
    let server = Server::start(TABLE).await;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    // Nine tenths of its life are over.
    let signed = SystemTime::now() - YEAR.mul_f64(0.9);
    let old = issue(&server.root, CLUSTER, WORKER, Role::Worker, signed, YEAR);
    let end = old.lifetime().unwrap().end;
    let credentials = watch::Sender::new(Arc::new(old));
    let mut latest = credentials.subscribe();
    let config = link_with(credentials.subscribe(), server.address);
    let link = link::open(config, &tasks, &stop);
    let mut first = link.node.assignments.clone();
    first.wait_for(Option::is_some).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let renewer = Renewer {
        client: link.client.clone(),
        credentials,
        dir: dir.path().to_owned(),
        assignments: link.node.assignments.clone(),
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(renewer.run()));
    tokio::select! {
        () = link.client.disconnected() => panic!("the connection ended"),
        changed = latest.changed() => changed.unwrap(),
    }
    let renewed = Arc::clone(&latest.borrow());
    assert!(renewed.lifetime().unwrap().end > end);
    assert_eq!(renewed.identity().node, NodeId::from_random(WORKER));
    assert_eq!(renewed.identity().role, Role::Worker);
    let kept = Credentials::load(dir.path()).unwrap();
    assert_eq!(kept.lifetime().unwrap(), renewed.lifetime().unwrap());
    let heartbeat = "/orch.node.v1.Dispatcher/Heartbeat";
    let config = tls::client(&kept).unwrap();
    assert_eq!(
        server.refusal(config, heartbeat).await,
        Some(Code::NotFound)
    );
    stop.cancel();
}

#[tokio::test]
async fn a_manager_shows_its_latest_certificate_and_keeps_its_connections() {
    let root = new_root(SystemTime::now()).unwrap();
    let digest = RootCertificate::from_pem(&root.certificate_pem)
        .unwrap()
        .digest();
    let manager = TestManager::start(root.clone(), new_tokens(digest)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let credentials = watch::Sender::new(Arc::new(member(&root, MANAGER, Role::Manager)));
    let (handle, stop) = (manager.handle.clone(), CancellationToken::new());
    tokio::spawn(server::serve(
        listener,
        credentials.subscribe(),
        handle,
        nobody(),
        stop.clone(),
    ));
    let connect = async || {
        let config = tls::client(&member(&root, MANAGER, Role::Manager)).unwrap();
        connection::connect(&address, config).await.unwrap()
    };
    let (channel, before) = connect().await;
    let second = member(&root, MANAGER, Role::Manager);
    credentials.send_replace(Arc::new(second));
    let (_, after) = connect().await;
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1], "the root stays");
    // A call on the old connection gets as far as the service.
    let mut client = link_client(channel);
    let unknown = client
        .heartbeat(HeartbeatRequest::default())
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    stop.cancel();
}

#[tokio::test]
async fn the_leader_is_found_by_what_the_others_say() {
    let [one, two, three] = [1, 2, 3].map(|n| SocketAddr::from(([192, 0, 2, n], 2377)));
    let unreachable = || RpcError::Unreachable {
        manager: "gone".to_owned(),
        reason: "it is gone".to_owned(),
    };
    let mut search = LeaderSearch::among(&[one, two]);
    assert_eq!(search.next().unwrap(), one);
    let leader = Some(three);
    search
        .failed(one, RpcError::NotLeader { leader })
        .await
        .unwrap();
    // It died in between: who named it hears of the next one.
    assert_eq!(search.next().unwrap(), three);
    search.failed(three, unreachable()).await.unwrap();
    assert_eq!(search.next().unwrap(), two);
    search.failed(two, unreachable()).await.unwrap();
    assert_eq!(search.next().unwrap(), one);
    search.failed(one, unreachable()).await.unwrap();
    assert!(search.next().unwrap_err().to_string().contains("is gone"));
    // What one refuses the others refuse.
    let mut search = LeaderSearch::among(&[one, two]);
    let refused = RpcError::BadAnswer("no".to_owned());
    assert!(search.failed(one, refused).await.is_err());
}

#[test]
fn a_refusal_says_where_the_leader_is() {
    let leader = SocketAddr::from(([192, 0, 2, 1], 2377));
    for known in [Some(leader), None] {
        let error = RpcError::from(wire::not_leader(known));
        assert!(matches!(error, RpcError::NotLeader { leader } if leader == known));
    }
    let other = RpcError::from(tonic::Status::unavailable("starting"));
    assert!(matches!(other, RpcError::Refused { .. }));
}
