//! Which tasks are listed, and how they look.

use std::sync::Arc;

use orch_core::ids::TaskId;

use super::*;
use crate::api::fixtures::{network, state};

fn listed(filters: Value) -> Vec<String> {
    let shown = filtered(&state(), &filters.to_string()).unwrap();
    shown
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["ID"].as_str().unwrap().to_owned())
        .collect()
}

fn ids(bits: &[u128]) -> Vec<String> {
    bits.iter()
        .map(|bits| TaskId::from_random(*bits).to_string())
        .collect()
}

#[test]
fn lists_are_narrowed_as_docker_narrows_them() {
    let cases: [(Value, &[u128]); 12] = [
        (json!({}), &[10, 11, 12]),
        (json!({"service": ["web"]}), &[10, 11]),
        (json!({"service": {"web": true, "db": true}}), &[10, 11, 12]),
        (
            json!({"service": ["web"], "desired-state": ["running"]}),
            &[10],
        ),
        (json!({"service": ["web"], "_up-to-date": ["true"]}), &[10]),
        (json!({"_up-to-date": ["false"]}), &[11]),
        (json!({"name": ["web.1"]}), &[10, 11]),
        (json!({"label": ["app=db"]}), &[12]),
        (json!({"id": [TaskId::from_random(12).as_str()]}), &[12]),
        (json!({"runtime": ["attachment"]}), &[13]),
        (json!({"runtime": ["container"]}), &[10, 11, 12]),
        (json!({"name": ["db"], "desired-state": ["shutdown"]}), &[]),
    ];
    for (filters, expected) in cases {
        assert_eq!(listed(filters.clone()), ids(expected), "{filters}");
    }
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let refused = |filters: Value| {
        filtered(&state(), &filters.to_string())
            .unwrap_err()
            .status()
    };
    assert_eq!(refused(json!({"service": ["nosuch"]})), 404);
    assert_eq!(refused(json!({"node": ["nosuch"]})), 404);
    assert_eq!(refused(json!({"desired-state": ["happy"]})), 400);
    assert_eq!(refused(json!({"_up-to-date": ["maybe"]})), 400);
    assert_eq!(refused(json!({"colour": ["red"]})), 400);
}

#[test]
fn a_task_is_shown_as_docker_shows_it() {
    let state = state();
    let found = Arc::clone(state.task(&TaskId::from_random(10)).unwrap());
    let shown = task::render(&found, &state);
    assert_eq!(shown["Slot"], 1);
    assert_eq!(shown["ServiceID"], ServiceId::from_random(1).as_str());
    assert_eq!(shown["NodeID"], NodeId::from_random(9).as_str());
    assert_eq!(shown["DesiredState"], "running");
    assert_eq!(
        shown["Status"],
        json!({
            "Timestamp": "2023-11-14T22:13:20Z", "State": "running", "Message": "started",
            "ContainerStatus": {"ContainerID": "c1", "PID": 42, "ExitCode": 0}, "PortStatus": {}
        })
    );
    let attachment = &shown["NetworksAttachments"][0];
    assert_eq!(attachment["Addresses"], json!(["10.0.10.5/24"]));
    assert_eq!(attachment["Network"]["ID"], network().id.as_str());
    assert_eq!(attachment["Network"]["Spec"]["Name"], "sandbox");
    assert_eq!(attachment["Network"]["DriverState"]["Name"], "overlay");
    assert_eq!(attachment["Network"]["Version"]["Index"], 7);
}

#[test]
fn an_attached_container_is_shown_as_an_attachment() {
    let state = state();
    let found = Arc::clone(state.task(&TaskId::from_random(13)).unwrap());
    let shown = task::render(&found, &state);
    assert_eq!(shown["Spec"]["NetworkAttachmentSpec"]["ContainerID"], "c1");
    assert_eq!(shown.get("ServiceID"), None);
}
