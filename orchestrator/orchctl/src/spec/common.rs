//! The flags that mean the same on `service create` and `service update`: only what was typed is
//! written.

use serde_json::{Value, json};

use super::{Spec, SpecError, capabilities};
use crate::args::{
    HealthFlags, ResourceFlags, RestartFlags, RollbackFlags, SharedFlags, UpdateFlags,
};

/// Applies every typed flag, except `--replicas` and `--max-concurrent`, which depend on the mode.
pub fn apply(spec: &mut Spec, flags: &SharedFlags) -> Result<(), SpecError> {
    apply_container(spec, flags)?;
    capabilities::apply(spec, &flags.cap_add, &flags.cap_drop);
    apply_log_driver(spec, flags);
    spec.set_some(
        "TaskTemplate.Placement.MaxReplicas",
        flags.replicas_max_per_node,
    );
    if let Some(mode) = &flags.endpoint_mode {
        spec.set(
            "EndpointSpec.Mode",
            one_of("--endpoint-mode", mode, &["vip", "dnsrr"])?,
        );
    }
    apply_health(spec, &flags.health)?;
    apply_resources(spec, &flags.resources);
    apply_restart(spec, &flags.restart)?;
    apply_update(spec, &flags.update)?;
    apply_rollback(spec, &flags.rollback)
}

fn apply_container(spec: &mut Spec, flags: &SharedFlags) -> Result<(), SpecError> {
    let mut set = |key: &str, value: Option<Value>| {
        spec.set_some(&format!("TaskTemplate.ContainerSpec.{key}"), value);
    };
    set("Hostname", flags.hostname.as_deref().map(Value::from));
    set("Init", flags.init.map(Value::from));
    set("Isolation", flags.isolation.as_deref().map(Value::from));
    set("OomScoreAdj", flags.oom_score_adj.map(Value::from));
    set("ReadOnly", flags.read_only.map(Value::from));
    set(
        "StopGracePeriod",
        flags.stop_grace_period.map(|period| period.0.into()),
    );
    set("StopSignal", flags.stop_signal.as_deref().map(Value::from));
    set("TTY", flags.tty.map(Value::from));
    set("User", flags.user.as_deref().map(Value::from));
    set("Dir", flags.workdir.as_deref().map(Value::from));
    set(
        "Privileges.CredentialSpec",
        flags.credential_spec.as_ref().map(|spec| spec.to_json()),
    );
    if let Some(entrypoint) = &flags.entrypoint {
        set(
            "Command",
            Some(json!(split_words("--entrypoint", entrypoint)?)),
        );
    }
    match flags.oom_score_adj {
        Some(score) if !(-1000..=1000).contains(&score) => Err(SpecError::new(format!(
            "--oom-score-adj must be between -1000 and 1000: {score}"
        ))),
        _ => Ok(()),
    }
}

fn apply_log_driver(spec: &mut Spec, flags: &SharedFlags) {
    let Some(name) = &flags.log_driver else {
        return;
    };
    let options: serde_json::Map<String, Value> = flags
        .log_opt
        .iter()
        .map(|entry| (entry.key.clone(), json!(entry.value)))
        .collect();
    spec.set("TaskTemplate.LogDriver", json!({ "Name": name }));
    if !options.is_empty() {
        spec.set("TaskTemplate.LogDriver.Options", options);
    }
}

fn apply_health(spec: &mut Spec, flags: &HealthFlags) -> Result<(), SpecError> {
    const CHECK: &str = "TaskTemplate.ContainerSpec.Healthcheck";
    if flags.no_healthcheck {
        spec.set(CHECK, json!({ "Test": ["NONE"] }));
        return Ok(());
    }
    let durations = [
        ("Interval", "--health-interval", flags.health_interval),
        (
            "StartInterval",
            "--health-start-interval",
            flags.health_start_interval,
        ),
        (
            "StartPeriod",
            "--health-start-period",
            flags.health_start_period,
        ),
        ("Timeout", "--health-timeout", flags.health_timeout),
    ];
    for (key, flag, duration) in durations {
        let Some(duration) = duration else { continue };
        if duration.0 < 0 {
            return Err(SpecError::new(format!(
                "{flag} cannot be negative: {duration}"
            )));
        }
        spec.set(&format!("{CHECK}.{key}"), duration.0);
    }
    spec.set_some(&format!("{CHECK}.Retries"), flags.health_retries);
    match flags.health_cmd.as_deref() {
        Some("") => spec.remove(&format!("{CHECK}.Test")),
        Some(command) => spec.set(&format!("{CHECK}.Test"), json!(["CMD-SHELL", command])),
        None if spec.get(&format!("{CHECK}.Test")) == Some(&json!(["NONE"]))
            && spec.object(CHECK).len() > 1 =>
        {
            spec.remove(&format!("{CHECK}.Test"));
        }
        None => {}
    }
    Ok(())
}

fn apply_resources(spec: &mut Spec, flags: &ResourceFlags) {
    let mut set = |key: &str, value: Option<i64>| {
        spec.set_some(&format!("TaskTemplate.Resources.{key}"), value);
    };
    set("Limits.NanoCPUs", flags.limit_cpu.map(|cpus| cpus.0));
    set(
        "Limits.MemoryBytes",
        flags.limit_memory.map(|bytes| bytes.0),
    );
    set("Limits.Pids", flags.limit_pids);
    set(
        "Reservations.NanoCPUs",
        flags.reserve_cpu.map(|cpus| cpus.0),
    );
    set(
        "Reservations.MemoryBytes",
        flags.reserve_memory.map(|bytes| bytes.0),
    );
}

fn apply_restart(spec: &mut Spec, flags: &RestartFlags) -> Result<(), SpecError> {
    const POLICY: &str = "TaskTemplate.RestartPolicy";
    let untouched = flags.restart_condition.is_none()
        && flags.restart_delay.is_none()
        && flags.restart_max_attempts.is_none()
        && flags.restart_window.is_none();
    if untouched {
        return Ok(());
    }
    if !spec.has(POLICY) {
        let default = json!({ "Condition": "any", "Delay": 5_000_000_000_u64, "MaxAttempts": 0 });
        spec.set(POLICY, default);
    }
    if let Some(condition) = &flags.restart_condition {
        let condition = one_of(
            "--restart-condition",
            condition,
            &["none", "on-failure", "any"],
        )?;
        spec.set(&format!("{POLICY}.Condition"), condition);
    }
    spec.set_some(
        &format!("{POLICY}.Delay"),
        flags.restart_delay.map(|delay| delay.0),
    );
    spec.set_some(&format!("{POLICY}.MaxAttempts"), flags.restart_max_attempts);
    spec.set_some(
        &format!("{POLICY}.Window"),
        flags.restart_window.map(|window| window.0),
    );
    Ok(())
}

fn apply_update(spec: &mut Spec, flags: &UpdateFlags) -> Result<(), SpecError> {
    let actions = ["pause", "continue", "rollback"];
    let action = flags.update_failure_action.as_deref();
    let order = flags.update_order.as_deref();
    let typed = Rollout {
        delay: flags.update_delay.map(|delay| delay.0),
        failure_action: optional("--update-failure-action", action, &actions)?,
        max_failure_ratio: flags.update_max_failure_ratio,
        monitor: flags.update_monitor.map(|monitor| monitor.0),
        order: optional("--update-order", order, &["start-first", "stop-first"])?,
        parallelism: flags.update_parallelism,
    };
    typed.apply(spec, "UpdateConfig");
    Ok(())
}

fn apply_rollback(spec: &mut Spec, flags: &RollbackFlags) -> Result<(), SpecError> {
    let action = flags.rollback_failure_action.as_deref();
    let order = flags.rollback_order.as_deref();
    let typed = Rollout {
        delay: flags.rollback_delay.map(|delay| delay.0),
        failure_action: optional("--rollback-failure-action", action, &["pause", "continue"])?,
        max_failure_ratio: flags.rollback_max_failure_ratio,
        monitor: flags.rollback_monitor.map(|monitor| monitor.0),
        order: optional("--rollback-order", order, &["start-first", "stop-first"])?,
        parallelism: flags.rollback_parallelism,
    };
    typed.apply(spec, "RollbackConfig");
    Ok(())
}

/// The six settings of a rolling change, as far as they were typed.
struct Rollout {
    delay: Option<i64>,
    failure_action: Option<String>,
    max_failure_ratio: Option<f32>,
    monitor: Option<i64>,
    order: Option<String>,
    parallelism: Option<u64>,
}

impl Rollout {
    /// Writes what was typed; a section that starts here starts from docker's defaults.
    fn apply(self, spec: &mut Spec, section: &str) {
        let untouched = self.delay.is_none()
            && self.failure_action.is_none()
            && self.max_failure_ratio.is_none()
            && self.monitor.is_none()
            && self.order.is_none()
            && self.parallelism.is_none();
        if untouched {
            return;
        }
        if !spec.has(section) {
            spec.set(
                section,
                json!({
                    "Parallelism": 1, "FailureAction": "pause", "Monitor": 5_000_000_000_u64,
                    "MaxFailureRatio": 0, "Order": "stop-first"
                }),
            );
        }
        spec.set_some(&format!("{section}.Delay"), self.delay);
        spec.set_some(&format!("{section}.FailureAction"), self.failure_action);
        spec.set_some(
            &format!("{section}.MaxFailureRatio"),
            self.max_failure_ratio,
        );
        spec.set_some(&format!("{section}.Monitor"), self.monitor);
        spec.set_some(&format!("{section}.Order"), self.order);
        spec.set_some(&format!("{section}.Parallelism"), self.parallelism);
    }
}

/// Splits a command line into words as a shell would.
pub fn split_words(flag: &str, text: &str) -> Result<Vec<String>, SpecError> {
    shlex::split(text)
        .ok_or_else(|| SpecError::new(format!("invalid value for {flag}: a quote is not closed")))
}

fn optional(flag: &str, text: Option<&str>, known: &[&str]) -> Result<Option<String>, SpecError> {
    text.map(|text| one_of(flag, text, known)).transpose()
}

fn one_of(flag: &str, text: &str, known: &[&str]) -> Result<String, SpecError> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(SpecError::new(format!(
        "invalid value \"{text}\" for {flag}: use {}",
        known.join(", ")
    )))
}
