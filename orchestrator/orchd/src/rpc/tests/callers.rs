//! Who may call what, and who gets in at all.

use super::*;

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
            Access::Members(_) | Access::Peers => Code::Unauthenticated,
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
    let removed = member(&server.root, 999, Role::Manager);
    let gone = NodeId::from_random(999);
    server
        .manager
        .handle
        .write(move |tx| {
            control::admit_node(tx, &gone, Role::Worker, Availability::Active)?;
            control::remove_node(tx, &gone, true)
        })
        .await
        .unwrap();
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
        let allowed: &[Role] = match access {
            Access::Anyone => continue,
            Access::Members(allowed) => allowed,
            Access::Peers => &[Role::Manager],
        };
        for (node, role) in [(WORKER, Role::Worker), (MANAGER, Role::Manager)] {
            let node = Credentials::identity(&member(&server.root, node, role)).clone();
            let table = [(*method, *access)];
            let decided = decide(&table, method, Some(node), &state);
            assert_eq!(
                decided.is_ok(),
                allowed.contains(&role),
                "{method} {role:?}"
            );
        }
        // A certificate outlives what its node is trusted with.
        let demoted = member(&server.root, WORKER, Role::Manager)
            .identity()
            .clone();
        let decided = decide(&[(*method, *access)], method, Some(demoted), &state);
        let any = allowed.contains(&Role::Worker) || *access == Access::Peers;
        assert_eq!(decided.is_ok(), any, "{method}");
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
    // The cluster's pool, and the range of the one network that it has.
    let expected = ["10.0.0.0/8", "10.0.0.0/24"].map(|range| range.parse().unwrap());
    assert_eq!(terms.ranges, expected);
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
    ];
    for (token, words) in cases {
        let error = join(&server, token).await;
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(server.manager.handle.state(), before);
}
