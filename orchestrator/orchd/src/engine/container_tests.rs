//! Rules of turning a task into the engine's container request.

use orch_core::ids::{ServiceId, TaskId};
use orch_core::network::{Subnet, Vni};
use orch_core::objects::Meta;
use orch_core::objects::network::NetworkSpec;
use orch_core::objects::task::{
    DnsConfig, LogDriver, ResourceAmounts, TaskSpec, TaskStatus, Ulimit,
};
use orch_core::task_state::{DesiredState, TaskState};
use orch_core::time::Timestamp;

use super::*;

fn network(number: u128, name: &str, subnet: &str) -> Network {
    let range: IpNet = subnet.parse().unwrap();
    Network {
        id: NetworkId::from_random(number),
        meta: Meta::default(),
        spec: NetworkSpec {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            attachable: false,
            internal: false,
            ingress: false,
            ipv6: false,
            ipam: Vec::new(),
            driver_options: BTreeMap::new(),
        },
        vni: Vni::MIN,
        subnets: vec![Subnet {
            range,
            gateway: range.hosts().next().unwrap(),
        }],
        last_address: None,
        last_address_v6: None,
    }
}

fn attachment(network: u128, address: &str) -> NetworkAttachment {
    NetworkAttachment {
        network: NetworkId::from_random(network),
        addresses: vec![address.parse().unwrap()],
        aliases: vec!["alias".to_owned()],
    }
}

fn task(spec: TaskSpec) -> Task {
    Task {
        id: TaskId::from_random(7),
        meta: Meta::default(),
        owner: TaskOwner::Service {
            id: ServiceId::from_random(1),
            name: "web".to_owned(),
            slot: 3,
        },
        spec,
        spec_version: 1,
        node: Some(NodeId::from_random(2)),
        status: TaskStatus {
            state: TaskState::Assigned,
            since: Timestamp::default(),
            message: String::new(),
            error: String::new(),
            container: None,
        },
        desired: DesiredState::Running,
        not_before: None,
        attachments: vec![attachment(1, "10.0.1.5/24"), attachment(2, "10.0.2.9/24")],
        running_since: None,
    }
}

fn convert(spec: TaskSpec) -> Result<NewContainer, SpecError> {
    let networks = [
        network(1, "front", "10.0.1.0/24"),
        network(2, "back", "10.0.2.0/24"),
    ];
    let networks = networks.into_iter().map(|n| (n.id.clone(), n)).collect();
    new_container(
        &task(spec),
        &NodeId::from_random(2),
        &networks,
        Resolver::OfEngine,
    )
}

fn of_container(container: ContainerSpec) -> Result<NewContainer, SpecError> {
    convert(TaskSpec {
        container,
        ..TaskSpec::default()
    })
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn name_labels_and_networks() {
    let labels = pairs(&[("tier", "web"), (labels::TASK_ID, "forged")]);
    let new = of_container(ContainerSpec {
        labels,
        ..ContainerSpec::default()
    })
    .unwrap();
    let id = TaskId::from_random(7).to_string();
    assert_eq!(new.name, format!("web.3.{id}"));
    let all = new.body.labels.unwrap();
    let value = |key: &str| all[key].clone();
    assert_eq!(value("tier"), "web");
    assert_eq!(value(labels::TASK), "");
    assert_eq!(value(labels::TASK_ID), id);
    assert_eq!(value(labels::TASK_NAME), new.name);
    assert_eq!(value(labels::NODE_ID), NodeId::from_random(2).to_string());
    assert_eq!(
        value(labels::SERVICE_ID),
        ServiceId::from_random(1).to_string()
    );
    assert_eq!(value(labels::SERVICE_NAME), "web");
    assert_eq!(
        new.body.host_config.unwrap().network_mode.as_deref(),
        Some("front")
    );

    let address = |settings: &EndpointSettings| {
        settings
            .ipam_config
            .as_ref()
            .unwrap()
            .ipv4_address
            .clone()
            .unwrap()
    };
    let at_creation = new
        .body
        .networking_config
        .unwrap()
        .endpoints_config
        .unwrap();
    assert_eq!(at_creation.len(), 1);
    assert_eq!(address(&at_creation["front"]), "10.0.1.5");
    let [(name, settings)] = new.further_networks.as_slice() else {
        panic!("one more")
    };
    assert_eq!(
        (name.as_str(), address(settings).as_str()),
        ("back", "10.0.2.9")
    );
    assert_eq!(settings.aliases, None);
}

#[test]
fn an_empty_spec_leaves_everything_to_image_and_engine() {
    let new = of_container(ContainerSpec {
        image: "busybox".to_owned(),
        ..Default::default()
    });
    let body = new.unwrap().body;
    assert_eq!(body.image.as_deref(), Some("busybox"));
    let host = body.host_config.unwrap();
    assert_eq!(
        host.restart_policy.unwrap().name,
        Some(RestartPolicyNameEnum::NO)
    );
    assert_eq!((body.entrypoint, body.cmd, body.env), (None, None, None));
    assert_eq!(
        (body.user, body.working_dir, body.hostname),
        (None, None, None)
    );
    assert_eq!(
        (body.healthcheck, body.stop_signal, body.stop_timeout),
        (None, None, None)
    );
    assert_eq!(
        (host.init, host.dns, host.mounts, host.log_config),
        (None, None, None, None)
    );
    assert_eq!(
        (host.nano_cpus, host.memory, host.pids_limit),
        (None, None, None)
    );
}

#[test]
fn process_settings() {
    let spec = ContainerSpec {
        command: strings(&["/entry"]),
        args: strings(&["-v"]),
        hostname: Some("h".to_owned()),
        env: strings(&["A=1"]),
        dir: Some("/srv".to_owned()),
        user: Some("1000:1000".to_owned()),
        groups: strings(&["audio"]),
        tty: true,
        open_stdin: true,
        read_only: true,
        init: Some(true),
        stop_signal: Some("SIGINT".to_owned()),
        stop_grace_period: Some(Duration::from_millis(1500)),
        ..ContainerSpec::default()
    };
    let body = of_container(spec).unwrap().body;
    assert_eq!(body.entrypoint, Some(strings(&["/entry"])));
    assert_eq!(body.cmd, Some(strings(&["-v"])));
    assert_eq!(body.hostname.as_deref(), Some("h"));
    assert_eq!(body.env, Some(strings(&["A=1"])));
    assert_eq!(body.working_dir.as_deref(), Some("/srv"));
    assert_eq!(body.user.as_deref(), Some("1000:1000"));
    assert_eq!((body.tty, body.open_stdin), (Some(true), Some(true)));
    assert_eq!(body.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(body.stop_timeout, Some(2));
    let host = body.host_config.unwrap();
    assert_eq!(host.group_add, Some(strings(&["audio"])));
    assert_eq!((host.readonly_rootfs, host.init), (Some(true), Some(true)));
}

#[test]
fn health_names_and_kernel_settings() {
    let spec = ContainerSpec {
        healthcheck: Some(Healthcheck {
            test: strings(&["CMD-SHELL", "true"]),
            interval: Some(Duration::from_secs(1)),
            timeout: Some(Duration::from_millis(20)),
            retries: 3,
            start_period: Some(Duration::from_secs(2)),
            start_interval: Some(Duration::from_millis(1)),
        }),
        hosts: strings(&["10.1.1.1 db database", "::1 six"]),
        dns: DnsConfig {
            nameservers: vec!["9.9.9.9".parse().unwrap()],
            search: strings(&["example.org"]),
            options: strings(&["ndots:2"]),
        },
        sysctls: pairs(&[("net.core.somaxconn", "99")]),
        capability_add: strings(&["NET_ADMIN"]),
        capability_drop: strings(&["ALL"]),
        ulimits: vec![Ulimit {
            name: "nofile".to_owned(),
            soft: 1,
            hard: -1,
        }],
        ..ContainerSpec::default()
    };
    let body = of_container(spec).unwrap().body;
    let health = HealthConfig {
        test: Some(strings(&["CMD-SHELL", "true"])),
        interval: Some(1_000_000_000),
        timeout: Some(20_000_000),
        retries: Some(3),
        start_period: Some(2_000_000_000),
        start_interval: Some(1_000_000),
    };
    assert_eq!(body.healthcheck, Some(health));
    let host = body.host_config.unwrap();
    let hosts = strings(&["db:10.1.1.1", "database:10.1.1.1", "six:::1"]);
    assert_eq!(host.extra_hosts, Some(hosts));
    assert_eq!(host.dns, Some(strings(&["9.9.9.9"])));
    assert_eq!(host.dns_search, Some(strings(&["example.org"])));
    assert_eq!(host.dns_options, Some(strings(&["ndots:2"])));
    assert_eq!(host.sysctls.unwrap()["net.core.somaxconn"], "99");
    assert_eq!(host.cap_add, Some(strings(&["NET_ADMIN"])));
    assert_eq!(host.cap_drop, Some(strings(&["ALL"])));
    let limit = &host.ulimits.unwrap()[0];
    assert_eq!(
        (limit.name.as_deref(), limit.soft, limit.hard),
        (Some("nofile"), Some(1), Some(-1))
    );
}

#[test]
fn mounts() {
    let of = |source| Mount {
        target: "/data".to_owned(),
        source,
        read_only: true,
    };
    let bind = MountSource::Bind {
        path: "/host".to_owned(),
        propagation: Some("rslave".to_owned()),
    };
    let volume = MountSource::Volume {
        name: Some("vol".to_owned()),
        labels: pairs(&[("l", "1")]),
        driver: Some("local".to_owned()),
        options: pairs(&[("o", "2")]),
        no_copy: true,
    };
    let tmpfs = MountSource::Tmpfs {
        size_bytes: Some(4096),
        mode: Some(0o1777),
    };
    let spec = ContainerSpec {
        mounts: vec![of(bind), of(volume), of(tmpfs)],
        ..Default::default()
    };
    let mounts = of_container(spec)
        .unwrap()
        .body
        .host_config
        .unwrap()
        .mounts
        .unwrap();
    for mount in &mounts {
        assert_eq!(
            (mount.target.as_deref(), mount.read_only),
            (Some("/data"), Some(true))
        );
    }
    assert_eq!(
        (mounts[0].typ, mounts[0].source.as_deref()),
        (Some(MountType::BIND), Some("/host"))
    );
    let propagation = mounts[0].bind_options.as_ref().unwrap().propagation;
    assert_eq!(propagation, Some(MountBindOptionsPropagationEnum::RSLAVE));
    assert_eq!(
        (mounts[1].typ, mounts[1].source.as_deref()),
        (Some(MountType::VOLUME), Some("vol"))
    );
    let options = mounts[1].volume_options.as_ref().unwrap();
    assert_eq!(
        (options.no_copy, &options.labels.as_ref().unwrap()["l"][..]),
        (Some(true), "1")
    );
    let driver = options.driver_config.as_ref().unwrap();
    assert_eq!(driver.name.as_deref(), Some("local"));
    assert_eq!(driver.options.as_ref().unwrap()["o"], "2");
    assert_eq!(mounts[2].typ, Some(MountType::TMPFS));
    let options = mounts[2].tmpfs_options.as_ref().unwrap();
    assert_eq!(
        (options.size_bytes, options.mode),
        (Some(4096), Some(0o1777))
    );
}

#[test]
fn resources_and_log_driver() {
    let spec = TaskSpec {
        resources: Resources {
            limits: ResourceAmounts {
                nano_cpus: 500_000_000,
                memory_bytes: 1 << 20,
                pids: 9,
            },
            reservations: ResourceAmounts {
                nano_cpus: 1,
                memory_bytes: 1 << 19,
                pids: 0,
            },
        },
        log_driver: Some(LogDriver {
            name: "json-file".to_owned(),
            options: pairs(&[("max-size", "1m")]),
        }),
        ..TaskSpec::default()
    };
    let host = convert(spec).unwrap().body.host_config.unwrap();
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.memory, Some(1 << 20));
    assert_eq!(host.pids_limit, Some(9));
    assert_eq!(host.memory_reservation, Some(1 << 19));
    let log = host.log_config.unwrap();
    assert_eq!(log.typ.as_deref(), Some("json-file"));
    assert_eq!(log.config.unwrap()["max-size"], "1m");
}

#[test]
fn nonsense_is_refused() {
    for line in ["", "10.0.0.1"] {
        let spec = ContainerSpec {
            hosts: strings(&[line]),
            ..ContainerSpec::default()
        };
        assert_eq!(of_container(spec), Err(SpecError::Hosts(line.to_owned())));
    }
    let source = MountSource::Bind {
        path: "/x".to_owned(),
        propagation: Some("sideways".to_owned()),
    };
    let mounts = vec![Mount {
        target: "/y".to_owned(),
        source,
        read_only: false,
    }];
    let spec = ContainerSpec {
        mounts,
        ..ContainerSpec::default()
    };
    assert_eq!(
        of_container(spec),
        Err(SpecError::Propagation("sideways".to_owned()))
    );
    let unknown = new_container(
        &task(TaskSpec::default()),
        &NodeId::from_random(2),
        &BTreeMap::new(),
        Resolver::OfEngine,
    );
    assert_eq!(
        unknown,
        Err(SpecError::UnknownNetwork(NetworkId::from_random(1)))
    );
}

#[test]
fn the_gateway_is_asked_for_names_where_the_engine_would_go_past_it() {
    let networks = BTreeMap::from([
        (
            NetworkId::from_random(1),
            network(1, "front", "10.0.1.0/24"),
        ),
        (NetworkId::from_random(2), network(2, "back", "10.0.2.0/24")),
    ]);
    let servers = |nameservers: &[&str], resolver| {
        let mut spec = TaskSpec::default();
        spec.container.dns.nameservers = nameservers
            .iter()
            .map(|server| server.parse().unwrap())
            .collect();
        let new = new_container(&task(spec), &NodeId::from_random(2), &networks, resolver);
        new.unwrap().body.host_config.unwrap().dns
    };
    assert_eq!(servers(&[], Resolver::OfEngine), None);
    assert_eq!(
        servers(&[], Resolver::Gateway),
        Some(strings(&["10.0.1.1"]))
    );
    let given = Some(strings(&["9.9.9.9"]));
    assert_eq!(servers(&["9.9.9.9"], Resolver::Gateway), given);
}
