//! What the stock CLI posts (recorded from docker 28.2), and random specs there and back.

use orch_core::ids::NetworkId;
use orch_core::network::Protocol;
use orch_core::objects::task::{self, MountSource};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// `docker service create --name redis --replicas 1 redis:7`.
fn plain() -> Value {
    json!({
        "Name": "redis", "Labels": {},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "redis:7", "Init": false, "DNSConfig": {}},
            "Resources": {"Limits": {}, "Reservations": {}},
            "Placement": {}, "ForceUpdate": 0
        },
        "Mode": {"Replicated": {"Replicas": 1}}, "EndpointSpec": {"Mode": "vip"}
    })
}

/// `docker service create` with about every flag that a replicated service can have.
fn full() -> Value {
    serde_json::from_str(include_str!("service_create_full.json")).unwrap()
}

fn refused(place: &str, value: Value) -> String {
    let mut body = full();
    let (parent, name) = place.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    decode(&body).unwrap_err().to_string()
}

#[test]
fn what_the_cli_posts_becomes_a_spec_and_comes_back() {
    for body in [plain(), full()] {
        let spec = decode(&body).unwrap();
        let shown = json!(encode(&spec));
        assert_eq!(decode(&shown), Ok(spec));
    }
}

#[test]
fn a_plain_service_is_shown_as_docker_shows_it() {
    let spec = decode(&plain()).unwrap();
    assert_eq!(
        json!(encode(&spec)),
        json!({
            "Name": "redis", "Labels": {},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "redis:7", "Init": false, "DNSConfig": {}, "Isolation": "default"
                },
                "Resources": {"Limits": {}, "Reservations": {}},
                "Placement": {}, "ForceUpdate": 0, "Runtime": "container"
            },
            "Mode": {"Replicated": {"Replicas": 1}}, "EndpointSpec": {"Mode": "vip"}
        })
    );
}

#[test]
fn a_mode_without_replicas_has_one() {
    for mode in [json!({"Replicated": {}}), json!({}), Value::Null] {
        let mut body = plain();
        body["Mode"] = mode;
        assert_eq!(
            decode(&body).unwrap().mode,
            model::ServiceMode::Replicated { replicas: 1 }
        );
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let cases = [
        (
            "/Mode/Global",
            json!({}),
            "field Mode.Global is not supported yet",
        ),
        (
            "/TaskTemplate/ContainerSpec/Secrets",
            json!([{"SecretName": "s"}]),
            "field TaskTemplate.ContainerSpec.Secrets is not supported yet",
        ),
        (
            "/TaskTemplate/ContainerSpec/Privileges",
            json!({"NoNewPrivileges": true}),
            "field TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges is not supported yet",
        ),
        (
            "/TaskTemplate/ContainerSpec/Isolation",
            json!("hyperv"),
            "field TaskTemplate.ContainerSpec.Isolation: value \"hyperv\" is not supported yet",
        ),
        (
            "/TaskTemplate/Runtime",
            json!("plugin"),
            "field TaskTemplate.Runtime: value \"plugin\" is not supported yet",
        ),
        (
            "/TaskTemplate/Networks/0/DriverOpts",
            json!({"o": ""}),
            "field Networks.DriverOpts.o is not supported yet",
        ),
        (
            "/TaskTemplate/ContainerSpec/Mounts/0/TmpfsOptions",
            json!({"SizeBytes": 1}),
            "field TaskTemplate.ContainerSpec.Mounts[0].TmpfsOptions.SizeBytes \
             is not supported yet",
        ),
        (
            "/TaskTemplate/Resources/Reservations/GenericResources",
            json!([{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}}]),
            "field TaskTemplate.Resources.Reservations.GenericResources is not supported yet",
        ),
    ];
    for (place, value, expected) in cases {
        assert_eq!(refused(place, value), expected, "{place}");
    }
}

#[test]
fn nonsense_is_refused_with_what_would_make_sense() {
    let cases = [
        (
            "/EndpointSpec/Mode",
            json!("lvs"),
            "\"lvs\" is not one of vip, dnsrr",
        ),
        (
            "/UpdateConfig/Order",
            json!("both"),
            "\"both\" is not one of stop-first, start-first",
        ),
        (
            "/UpdateConfig/MaxFailureRatio",
            json!(1.5),
            "1.5 is not between 0 and 1",
        ),
        (
            "/EndpointSpec/Ports/0/TargetPort",
            json!(70_000),
            "70000 is not a port",
        ),
        (
            "/EndpointSpec/Ports/0/TargetPort",
            json!(0),
            "invalid TargetPort: it must be given",
        ),
        (
            "/TaskTemplate/ContainerSpec/Mounts/0/Type",
            json!("npipe"),
            "not one of bind, volume",
        ),
        (
            "/Mode/Replicated/Replicas",
            json!(-1),
            "Mode.Replicated.Replicas: invalid value",
        ),
        (
            "/Mode/Replicated/Replicas",
            json!("3"),
            "Mode.Replicated.Replicas: invalid type",
        ),
        ("/Labels", json!(["a"]), "Labels: invalid type"),
    ];
    for (place, value, expected) in cases {
        let message = refused(place, value);
        assert!(message.contains(expected), "{place}: {message}");
    }
}

#[test]
fn networks_are_resolved_in_both_places() {
    let id = NetworkId::from_random(7);
    let mut body = plain();
    body["Networks"] = json!([{"Target": "old"}]);
    body["TaskTemplate"]["Networks"] = json!([{"Target": "new"}]);
    let resolved = task_spec::resolve_networks(&mut body, |name| match name {
        "old" | "new" => Ok(id.clone()),
        other => Err(other.to_owned()),
    });
    assert_eq!(resolved, Ok(()));
    let spec = decode(&body).unwrap();
    assert_eq!(spec.networks[0].target, id);
    assert_eq!(spec.task.networks[0].target, id);
}

fn text() -> impl Strategy<Value = String> {
    "[a-z]{1,6}"
}

fn span() -> impl Strategy<Value = Duration> {
    (1..=i64::MAX as u64).prop_map(Duration::from_nanos)
}

fn map() -> impl Strategy<Value = Labels> {
    btree_map(text(), "[a-z]{0,4}", 0..3)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec("[a-z]{0,4}", 0..3)
}

fn mount() -> impl Strategy<Value = task::Mount> {
    let source = prop_oneof![
        (text(), option::of(text()))
            .prop_map(|(path, propagation)| MountSource::Bind { path, propagation }),
        (
            option::of(text()),
            map(),
            option::of(text()),
            map(),
            any::<bool>()
        )
            .prop_map(
                |(name, labels, driver, options, no_copy)| MountSource::Volume {
                    name,
                    labels,
                    driver,
                    options,
                    no_copy
                }
            ),
        (option::of(1_u64..), option::of(1_u32..))
            .prop_map(|(size_bytes, mode)| MountSource::Tmpfs { size_bytes, mode }),
    ];
    (text(), source, any::<bool>()).prop_map(|(target, source, read_only)| task::Mount {
        target,
        source,
        read_only,
    })
}

fn healthcheck() -> impl Strategy<Value = task::Healthcheck> {
    let spans = (
        option::of(span()),
        option::of(span()),
        option::of(span()),
        option::of(span()),
    );
    (texts(), spans, any::<u64>()).prop_map(|(test, spans, retries)| task::Healthcheck {
        test,
        interval: spans.0,
        timeout: spans.1,
        retries,
        start_period: spans.2,
        start_interval: spans.3,
    })
}

fn dns() -> impl Strategy<Value = task::DnsConfig> {
    (vec(any::<std::net::IpAddr>(), 0..3), texts(), texts()).prop_map(
        |(nameservers, search, options)| task::DnsConfig {
            nameservers,
            search,
            options,
        },
    )
}

fn container() -> impl Strategy<Value = task::ContainerSpec> {
    let words = (
        option::of(text()),
        option::of(text()),
        option::of(text()),
        option::of(text()),
    );
    let lists = (
        texts(),
        texts(),
        texts(),
        texts(),
        texts(),
        texts(),
        texts(),
    );
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        option::of(any::<bool>()),
    );
    let parts = (
        option::of(span()),
        option::of(healthcheck()),
        dns(),
        vec(mount(), 0..3),
        map(),
        vec((text(), -1_i64.., -1_i64..), 0..2),
    );
    (text(), map(), words, lists, flags, parts).prop_map(
        |(image, labels, words, lists, flags, parts)| task::ContainerSpec {
            image,
            labels,
            hostname: words.0,
            dir: words.1,
            user: words.2,
            stop_signal: words.3,
            command: lists.0,
            args: lists.1,
            env: lists.2,
            groups: lists.3,
            hosts: lists.4,
            capability_add: lists.5,
            capability_drop: lists.6,
            tty: flags.0,
            open_stdin: flags.1,
            read_only: flags.2,
            init: flags.3,
            stop_grace_period: parts.0,
            healthcheck: parts.1,
            dns: parts.2,
            mounts: parts.3,
            sysctls: parts.4,
            ulimits: parts
                .5
                .into_iter()
                .map(|(name, soft, hard)| task::Ulimit { name, soft, hard })
                .collect(),
        },
    )
}

fn amounts() -> impl Strategy<Value = task::ResourceAmounts> {
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(nano_cpus, memory_bytes, pids)| {
        task::ResourceAmounts {
            nano_cpus,
            memory_bytes,
            pids,
        }
    })
}

fn restart() -> impl Strategy<Value = task::RestartPolicy> {
    let condition = prop::sample::select(
        words::RESTART_CONDITIONS
            .iter()
            .map(|(_, meaning)| *meaning)
            .collect::<Vec<_>>(),
    );
    (
        condition,
        option::of(span()),
        any::<u64>(),
        option::of(span()),
    )
        .prop_map(
            |(condition, delay, max_attempts, window)| task::RestartPolicy {
                condition,
                delay,
                max_attempts,
                window,
            },
        )
}

fn networks() -> impl Strategy<Value = Vec<task::NetworkAttachmentConfig>> {
    let network =
        (any::<u128>(), texts()).prop_map(|(bits, aliases)| task::NetworkAttachmentConfig {
            target: NetworkId::from_random(bits),
            aliases,
            driver_options: Labels::new(),
        });
    vec(network, 0..3)
}

fn task_spec() -> impl Strategy<Value = task::TaskSpec> {
    let placement = (texts(), texts(), any::<u64>(), vec((text(), text()), 0..3)).prop_map(
        |(constraints, preferences, max_replicas, platforms)| task::Placement {
            constraints,
            preferences,
            max_replicas,
            platforms,
        },
    );
    let log_driver = (text(), map()).prop_map(|(name, options)| task::LogDriver { name, options });
    (
        container(),
        (amounts(), amounts()),
        option::of(restart()),
        placement,
        networks(),
        option::of(log_driver),
        any::<u64>(),
    )
        .prop_map(
            |(container, amounts, restart, placement, networks, log_driver, force_update)| {
                task::TaskSpec {
                    container,
                    resources: task::Resources {
                        limits: amounts.0,
                        reservations: amounts.1,
                    },
                    restart,
                    placement,
                    networks,
                    log_driver,
                    force_update,
                }
            },
        )
}

fn update_config() -> impl Strategy<Value = model::UpdateConfig> {
    use model::{FailureAction as A, UpdateOrder as O};
    (
        any::<u64>(),
        prop_oneof![Just(Duration::ZERO), span()],
        prop::sample::select(vec![A::Pause, A::Continue, A::Rollback]),
        option::of(span()),
        0..=1_000_000_u32,
        prop::sample::select(vec![O::StopFirst, O::StartFirst]),
    )
        .prop_map(
            |(parallelism, delay, failure_action, monitor, millionths, order)| {
                model::UpdateConfig {
                    parallelism,
                    delay,
                    failure_action,
                    monitor,
                    max_failure_millionths: millionths,
                    order,
                }
            },
        )
}

fn endpoint_spec() -> impl Strategy<Value = model::EndpointSpec> {
    use model::{EndpointMode as M, PublishMode as P};
    let port = (
        "[a-z]{0,4}",
        prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        1..=u16::MAX,
        option::of(1..=u16::MAX),
        prop::sample::select(vec![P::Ingress, P::Host]),
    )
        .prop_map(
            |(name, protocol, target, published, mode)| model::PortConfig {
                name,
                protocol,
                target,
                published,
                mode,
            },
        );
    (
        prop::sample::select(vec![M::Vip, M::DnsRoundRobin]),
        vec(port, 0..3),
    )
        .prop_map(|(mode, ports)| model::EndpointSpec { mode, ports })
}

fn service_spec() -> impl Strategy<Value = model::ServiceSpec> {
    (
        text(),
        map(),
        task_spec(),
        any::<u64>(),
        networks(),
        option::of(update_config()),
        option::of(update_config()),
        endpoint_spec(),
    )
        .prop_map(
            |(name, labels, task, replicas, networks, update, rollback, endpoint)| {
                model::ServiceSpec {
                    name,
                    labels,
                    task,
                    mode: model::ServiceMode::Replicated { replicas },
                    networks,
                    update,
                    rollback,
                    endpoint,
                }
            },
        )
}

proptest! {
    #[test]
    fn every_spec_survives_the_wire(spec in service_spec()) {
        let wire = json!(encode(&spec)).to_string();
        let parsed: Value = serde_json::from_str(&wire).unwrap();
        prop_assert_eq!(decode(&parsed), Ok(spec));
    }
}
