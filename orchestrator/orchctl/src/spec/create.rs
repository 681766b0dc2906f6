//! `service create`: flags to a new ServiceSpec.

use serde_json::{Map, Value, json};

use super::{Resolved, Spec, SpecError, common, endpoint_options};
use crate::{
    args::{CreateLists, ServiceCreate, SharedFlags},
    flags::LabelEntry,
};

/// Builds the spec. `env_files` are the entries of `--env-file`, which come before `--env`;
/// `resolved` holds the ids of the networks, secrets and configs that the flags name.
pub fn create(
    args: &ServiceCreate,
    env_files: Vec<String>,
    resolved: &Resolved,
) -> Result<Value, SpecError> {
    let (image, command_args) = args
        .image_and_args
        .split_first()
        .ok_or_else(|| SpecError::new("\"service create\" requires at least 1 argument"))?;
    let mut spec = Spec::default();
    spec.set_some("Name", args.name.as_deref());
    let mut labels = label_map(&args.lists.label);
    let ports: Vec<_> = args.lists.publish.iter().flat_map(|spec| &spec.0).collect();
    endpoint_options::put_addresses(&mut labels, &ports)?;
    endpoint_options::put(&mut labels, &args.shared.endpoint_opt);
    spec.set("Labels", labels);
    spec.set("TaskTemplate.ContainerSpec.Image", with_tag(image));
    spec.set_list("TaskTemplate.ContainerSpec.Args", command_args.to_vec());
    // docker always states these, and inspect shows them.
    spec.set("TaskTemplate.ContainerSpec.Init", false);
    spec.set("TaskTemplate.ContainerSpec.DNSConfig", json!({}));
    spec.set(
        "TaskTemplate.Resources",
        json!({ "Limits": {}, "Reservations": {} }),
    );
    spec.set("TaskTemplate.Placement", json!({}));
    spec.set("TaskTemplate.ForceUpdate", 0);
    spec.set("EndpointSpec.Mode", "vip");
    spec.set("Mode", mode(args)?);
    apply_container_lists(&mut spec, &args.lists, env_files);
    apply_attachments(&mut spec, &args.lists, resolved)?;
    common::apply(&mut spec, &args.shared)?;
    Ok(spec.into_value())
}

/// The mode's JSON; refuses counts where the mode has none.
fn mode(args: &ServiceCreate) -> Result<Value, SpecError> {
    let SharedFlags {
        replicas,
        max_concurrent,
        replicas_max_per_node,
        ..
    } = args.shared;
    let mode = args.mode.as_str();
    if matches!(mode, "global" | "global-job") {
        for (flag, typed) in [
            ("replicas", replicas.is_some()),
            (
                "replicas-max-per-node",
                replicas_max_per_node.is_some_and(|max| max > 0),
            ),
            ("max-concurrent", max_concurrent.is_some()),
        ] {
            if typed {
                return Err(SpecError::new(format!(
                    "{flag} can only be used with replicated or replicated-job mode"
                )));
            }
        }
    }
    match mode {
        "replicated" if max_concurrent.is_some() => Err(SpecError::new(
            "max-concurrent can only be used with replicated-job mode",
        )),
        "replicated" => Ok(json!({ "Replicated": { "Replicas": replicas.unwrap_or(1) } })),
        "global" => Ok(json!({ "Global": {} })),
        "replicated-job" => {
            let total = replicas.unwrap_or(1);
            let concurrent = max_concurrent.unwrap_or(total);
            Ok(json!({
                "ReplicatedJob": { "MaxConcurrent": concurrent, "TotalCompletions": total }
            }))
        }
        "global-job" => Ok(json!({ "GlobalJob": {} })),
        other => Err(SpecError::new(format!(
            "Unknown mode: {other}, only replicated and global supported (and replicated-job and \
             global-job)"
        ))),
    }
}

fn apply_container_lists(spec: &mut Spec, lists: &CreateLists, env_files: Vec<String>) {
    const CONTAINER: &str = "TaskTemplate.ContainerSpec";
    let mut env = Vec::new();
    let typed = lists.env.iter().filter_map(|entry| entry.0.clone());
    for entry in env_files.into_iter().chain(typed) {
        put_env(&mut env, entry);
    }
    spec.set_list(&format!("{CONTAINER}.Env"), env);
    if !lists.container_label.is_empty() {
        spec.set(
            &format!("{CONTAINER}.Labels"),
            label_map(&lists.container_label),
        );
    }
    if !lists.sysctl.is_empty() {
        spec.set(&format!("{CONTAINER}.Sysctls"), label_map(&lists.sysctl));
    }
    let servers = lists.dns.iter().map(ToString::to_string).collect();
    spec.set_list(&format!("{CONTAINER}.DNSConfig.Nameservers"), servers);
    spec.set_list(
        &format!("{CONTAINER}.DNSConfig.Options"),
        lists.dns_option.clone(),
    );
    spec.set_list(
        &format!("{CONTAINER}.DNSConfig.Search"),
        lists.dns_search.clone(),
    );
    spec.set_list(&format!("{CONTAINER}.Groups"), lists.group.clone());
    let hosts = lists
        .host
        .iter()
        .filter_map(|mapping| mapping.to_entry())
        .collect();
    spec.set_list(&format!("{CONTAINER}.Hosts"), hosts);
    let mounts = lists.mount.iter().map(|mount| mount.to_json()).collect();
    spec.set_list(&format!("{CONTAINER}.Mounts"), mounts);
    let ulimits = lists.ulimit.iter().map(|ulimit| ulimit.to_json()).collect();
    spec.set_list(&format!("{CONTAINER}.Ulimits"), ulimits);
}

fn apply_attachments(
    spec: &mut Spec,
    lists: &CreateLists,
    resolved: &Resolved,
) -> Result<(), SpecError> {
    spec.set_list(
        "TaskTemplate.Placement.Constraints",
        lists.constraint.clone(),
    );
    let preferences = lists
        .placement_pref
        .iter()
        .map(|pref| pref.to_json())
        .collect();
    spec.set_list("TaskTemplate.Placement.Preferences", preferences);
    let generic = lists
        .generic_resource
        .iter()
        .map(|resource| resource.to_json())
        .collect();
    spec.set_list(
        "TaskTemplate.Resources.Reservations.GenericResources",
        generic,
    );
    let mut networks: Vec<Value> = lists
        .network
        .iter()
        .map(|attachment| attachment.to_json(resolved.network(&attachment.target)))
        .collect();
    networks.sort_by_key(|network| network["Target"].as_str().map(str::to_owned));
    spec.set_list("TaskTemplate.Networks", networks);
    let ports = lists
        .publish
        .iter()
        .flat_map(|spec| &spec.0)
        .map(|port| port.to_json())
        .collect();
    spec.set_list("EndpointSpec.Ports", ports);
    let mut secrets = Vec::new();
    for reference in &lists.secret {
        secrets.push(reference.to_secret_json(resolved.secret(&reference.source)?));
    }
    spec.set_list("TaskTemplate.ContainerSpec.Secrets", secrets);
    let mut configs = Vec::new();
    for reference in &lists.config {
        configs.push(reference.to_config_json(resolved.config(&reference.source)?));
    }
    spec.set_list("TaskTemplate.ContainerSpec.Configs", configs);
    Ok(())
}

/// An image without tag and digest means `latest`, and lists show that.
pub(super) fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// Adds `KEY=value`, in place of an earlier entry for the same key.
pub(super) fn put_env(env: &mut Vec<String>, entry: String) {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    env.retain(|existing| key(existing) != key(&entry));
    env.push(entry);
}

fn label_map(entries: &[LabelEntry]) -> Map<String, Value> {
    entries
        .iter()
        .map(|entry| (entry.key.clone(), json!(entry.value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, ServiceCommand};

    fn build(line: &[&str]) -> Result<Value, SpecError> {
        let words = ["orchctl", "service", "create"].iter().chain(line);
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Service(ServiceCommand::Create(args)) = cli.command else {
            panic!()
        };
        let resolved = Resolved::for_tests(&[("sandbox", "net1")], &[("key", "sec1")]);
        create(&args, Vec::new(), &resolved)
    }

    #[test]
    fn the_smallest_service_is_what_docker_sends() {
        assert_eq!(
            build(&["--name", "redis", "redis:7"]).unwrap(),
            json!({
                "Name": "redis",
                "Labels": {},
                "TaskTemplate": {
                    "ContainerSpec": {"Image": "redis:7", "Init": false, "DNSConfig": {}},
                    "Resources": {"Limits": {}, "Reservations": {}},
                    "Placement": {},
                    "ForceUpdate": 0
                },
                "Mode": {"Replicated": {"Replicas": 1}},
                "EndpointSpec": {"Mode": "vip"}
            })
        );
    }

    #[test]
    fn flags_after_the_image_belong_to_the_command() {
        let spec = build(&["-d", "busybox", "httpd", "-f", "--name", "x", "-p", "80"]).unwrap();
        let container = &spec["TaskTemplate"]["ContainerSpec"];
        assert_eq!(
            container["Args"],
            json!(["httpd", "-f", "--name", "x", "-p", "80"])
        );
        assert_eq!(spec.get("Name"), None);
        assert_eq!(container["Image"], "busybox:latest");
    }

    #[test]
    fn everything_lands_where_the_api_has_it() {
        let line = "--name web -l a=b --container-label c=d -e A=1 -e A=2 --network sandbox -p \
             8080:80 --publish target=53,protocol=udp --limit-cpu 0.5 --limit-memory 64m \
             --reserve-memory 32m --constraint node.role==worker --placement-pref \
             spread=node.labels.z --restart-condition on-failure --restart-delay 1s \
             --secret key --update-parallelism 2 --update-order start-first --health-cmd \
             true --health-interval 1s --stop-grace-period 3s --host db:10.0.0.1 \
             --entrypoint \"sh -c 'a b'\" --endpoint-mode dnsrr --replicas 3 --log-driver \
             json-file --log-opt max-size=1m --ulimit nofile=10:20 --read-only --tty=false \
             img";
        let words = shlex::split(line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let spec = build(&words).unwrap();
        let container = &spec["TaskTemplate"]["ContainerSpec"];
        assert_eq!(container["Env"], json!(["A=2"]));
        assert_eq!(container["Labels"], json!({"c": "d"}));
        assert_eq!(container["Command"], json!(["sh", "-c", "a b"]));
        assert_eq!(container["Hosts"], json!(["10.0.0.1 db"]));
        assert_eq!(container["Secrets"][0]["SecretID"], "sec1");
        assert_eq!(container["StopGracePeriod"], 3_000_000_000_u64);
        assert_eq!(
            container["Healthcheck"]["Test"],
            json!(["CMD-SHELL", "true"])
        );
        assert_eq!(
            (&container["ReadOnly"], &container["TTY"]),
            (&json!(true), &json!(false))
        );
        let task = &spec["TaskTemplate"];
        assert_eq!(task["Networks"], json!([{"Target": "net1"}]));
        assert_eq!(task["Resources"]["Limits"]["NanoCPUs"], 500_000_000);
        assert_eq!(task["Resources"]["Reservations"]["MemoryBytes"], 33_554_432);
        assert_eq!(
            task["RestartPolicy"],
            json!({"Condition": "on-failure", "Delay": 1_000_000_000, "MaxAttempts": 0})
        );
        assert_eq!(
            task["Placement"]["Constraints"],
            json!(["node.role==worker"])
        );
        assert_eq!(
            task["LogDriver"],
            json!({"Name": "json-file", "Options": {"max-size": "1m"}})
        );
        assert_eq!(spec["EndpointSpec"]["Ports"][1]["Protocol"], "udp");
        assert_eq!(spec["EndpointSpec"]["Mode"], "dnsrr");
        assert_eq!(spec["UpdateConfig"]["Parallelism"], 2);
        assert_eq!(spec["UpdateConfig"]["FailureAction"], "pause");
        assert_eq!(spec["Mode"]["Replicated"]["Replicas"], 3);
    }

    #[test]
    fn modes_refuse_the_counts_they_lack() {
        let error = |line: &[&str]| build(line).unwrap_err().to_string();
        assert!(
            error(&["--mode", "global", "--replicas", "2", "x"]).starts_with("replicas can only")
        );
        assert!(error(&["--max-concurrent", "2", "x"]).starts_with("max-concurrent can only"));
        assert!(error(&["--mode", "mesh", "x"]).starts_with("Unknown mode: mesh"));
        assert!(error(&["--endpoint-mode", "magic", "x"]).contains("use vip, dnsrr"));
        let spec = build(&["--mode", "replicated-job", "--replicas", "4", "x"]).unwrap();
        assert_eq!(
            spec["Mode"],
            json!({"ReplicatedJob": {"MaxConcurrent": 4, "TotalCompletions": 4}})
        );
    }
}
