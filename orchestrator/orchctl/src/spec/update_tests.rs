//! `service update`: what each flag does to a spec, and that it does nothing else.

use clap::Parser;
use serde_json::{Value, json};

use super::{Resolved, SpecError, scale, update};
use crate::args::{Cli, Command, ServiceCommand};

fn apply(spec: Value, line: &[&str]) -> Result<Value, SpecError> {
    let words = ["orchctl", "service", "update"]
        .iter()
        .chain(line)
        .chain(&["redis"]);
    let cli = Cli::try_parse_from(words).unwrap();
    let Command::Service(ServiceCommand::Update(args)) = cli.command else {
        panic!()
    };
    let resolved = Resolved::for_tests(&[("sandbox", "net1"), ("old", "net0")], &[]);
    update(spec, &args, &resolved)
}

fn redis() -> Value {
    json!({
        "Name": "redis", "Labels": {"a": "1"}, "Unknown": {"Field": [1, null]},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "redis:7", "Env": ["A=1", "B=2"], "Future": true},
            "Networks": [{"Target": "net0", "Aliases": ["x"]}]
        },
        "Mode": {"Replicated": {"Replicas": 2}},
        "EndpointSpec": {"Mode": "vip", "Ports": [
            {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"}
        ]}
    })
}

#[test]
fn nothing_typed_changes_nothing() {
    assert_eq!(apply(redis(), &[]).unwrap(), redis());
}

#[test]
fn publishing_a_port_touches_only_the_ports() {
    let mut expected = redis();
    expected["EndpointSpec"]["Ports"] = json!([
        {"Protocol": "tcp", "TargetPort": 6379, "PublishedPort": 6379, "PublishMode": "ingress"},
        {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"}
    ]);
    assert_eq!(
        apply(redis(), &["--publish-add", "6379:6379"]).unwrap(),
        expected
    );
    let back = apply(expected, &["--publish-rm", "6379"]).unwrap();
    assert_eq!(back, redis());
    assert_eq!(
        apply(redis(), &["--publish-add", "8080:80"]).unwrap(),
        redis()
    );
    let gone = apply(redis(), &["--publish-rm", "80"]).unwrap();
    assert_eq!(gone["EndpointSpec"], json!({"Mode": "vip"}));
    let kept = apply(redis(), &["--publish-rm", "80/udp"]).unwrap();
    assert_eq!(kept, redis());
}

#[test]
fn env_and_labels_add_replace_and_remove() {
    let spec = apply(
        redis(),
        &[
            "--env-add",
            "B=3",
            "--env-rm",
            "A",
            "--label-add",
            "b=2",
            "--label-rm",
            "a",
        ],
    )
    .unwrap();
    assert_eq!(spec["TaskTemplate"]["ContainerSpec"]["Env"], json!(["B=3"]));
    assert_eq!(spec["Labels"], json!({"b": "2"}));
}

#[test]
fn networks_go_by_id() {
    let spec = apply(
        redis(),
        &["--network-add", "sandbox", "--network-rm", "old"],
    )
    .unwrap();
    assert_eq!(
        spec["TaskTemplate"]["Networks"],
        json!([{"Target": "net1"}])
    );
    let error = apply(redis(), &["--network-add", "old"])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "service is already attached to network old");
}

#[test]
fn force_image_args_and_replicas() {
    let spec = apply(
        redis(),
        &[
            "--force",
            "--image",
            "redis:8",
            "--args",
            "a 'b c'",
            "--replicas",
            "0",
        ],
    )
    .unwrap();
    assert_eq!(spec["TaskTemplate"]["ForceUpdate"], 1);
    assert_eq!(spec["TaskTemplate"]["ContainerSpec"]["Image"], "redis:8");
    assert_eq!(
        spec["TaskTemplate"]["ContainerSpec"]["Args"],
        json!(["a", "b c"])
    );
    assert_eq!(spec["Mode"]["Replicated"]["Replicas"], 0);
    let global = json!({"Mode": {"Global": {}}});
    assert!(apply(global.clone(), &["--replicas", "2"]).is_err());
    assert!(scale(global, 2).is_err());
}

#[test]
fn hosts_mounts_and_constraints() {
    let spec = apply(
        redis(),
        &[
            "--host-add",
            "db:10.0.0.1",
            "--mount-add",
            "src=v,dst=/v",
            "--constraint-add",
            "node.role==worker",
        ],
    )
    .unwrap();
    let container = &spec["TaskTemplate"]["ContainerSpec"];
    assert_eq!(container["Hosts"], json!(["10.0.0.1 db"]));
    assert_eq!(container["Mounts"][0]["Target"], "/v");
    let spec = apply(
        spec,
        &[
            "--host-rm",
            "db",
            "--mount-rm",
            "/v",
            "--constraint-rm",
            "node.role==worker",
        ],
    )
    .unwrap();
    assert_eq!(
        spec["TaskTemplate"]["ContainerSpec"],
        redis()["TaskTemplate"]["ContainerSpec"]
    );
    assert_eq!(spec["TaskTemplate"].get("Placement"), Some(&json!({})));
}

#[test]
fn endpoint_options_are_labels_and_go_with_their_port() {
    let optioned = apply(
        redis(),
        &[
            "--endpoint-opt",
            "affinity=client-ip:60",
            "--endpoint-opt",
            "publish.80/tcp.allow=10.0.0.0/8,192.0.2.7",
            "--publish-add",
            "192.0.2.1:8080:80",
        ],
    )
    .unwrap();
    let mut expected = redis();
    expected["Labels"] = json!({
        "a": "1",
        "orch.endpoint.affinity": "client-ip:60",
        "orch.endpoint.publish.80/tcp.address": "192.0.2.1",
        "orch.endpoint.publish.80/tcp.allow": "10.0.0.0/8,192.0.2.7"
    });
    assert_eq!(optioned, expected);
    let freed = apply(optioned.clone(), &["--endpoint-opt-rm", "affinity"]).unwrap();
    assert_eq!(freed["Labels"]["orch.endpoint.affinity"], Value::Null);
    let unpublished = apply(optioned, &["--publish-rm", "80"]).unwrap();
    assert_eq!(
        unpublished["Labels"],
        json!({"a": "1", "orch.endpoint.affinity": "client-ip:60"})
    );
}

#[test]
fn a_target_port_has_one_address() {
    let add = ["--publish-add", "192.0.2.1:81:80", "--publish-add", "82:80"];
    let error = apply(redis(), &add).unwrap_err().to_string();
    assert!(error.contains("target port 80/tcp is published at 192.0.2.1 and elsewhere"));
}
