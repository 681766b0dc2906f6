//! What a host must have to be a node, in one set of words for `doctor` and for the refusals of
//! `swarm init` and `swarm join`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use orch_dataplane::{Check, Prober, Purpose, Reached};

use crate::args::Options;
use crate::engine::Engine;
use crate::rpc::ClockOffset;

use super::LifecycleError;

/// The first engine whose API has all that is used (Docker Engine 20.10).
const ENGINE_API: (u32, u32) = (1, 41);

/// Clocks that are closer are no cause for trouble.
const CLOSE: Duration = Duration::from_secs(1);
/// With clocks that are further apart, a new certificate may not be good yet.
const FAR: Duration = Duration::from_secs(300);

/// What a host is to be or is.
#[derive(Debug, Clone)]
pub struct Role {
    /// UDP port of the tunnels.
    pub data_path_port: u16,
    /// TCP port of the managers that is to be taken; `None` if it is not, or is already.
    pub manager_port: Option<u16>,
    /// Ranges that the cluster gives to networks, or gave, as far as they are known.
    pub ranges: Vec<IpNet>,
    /// How far a manager's clock is from this host's, as far as it is known.
    pub clock: Option<ClockOffset>,
}

/// Every check of this host, the engine's first.
///
/// # Errors
///
/// When the checks themselves broke off.
pub async fn checks(options: &Options, role: Role) -> Result<Vec<Check>, LifecycleError> {
    let bpf_dir = options.bpf_dir.clone();
    let of_host = tokio::task::spawn_blocking(move || {
        orch_dataplane::doctor(&Purpose {
            vxlan_port: role.data_path_port,
            manager_port: role.manager_port,
            bpf_dir: &bpf_dir,
            ranges: &role.ranges,
        })
    });
    let mut checks = vec![engine(options).await];
    checks.extend(role.clock.map(clock));
    checks.extend(
        of_host
            .await
            .map_err(|e| LifecycleError::Failed(format!("the host could not be checked: {e}")))?,
    );
    Ok(checks)
}

/// Refuses a host that lacks something, naming the check and the way out.
pub(super) async fn check(options: &Options, role: Role) -> Result<(), LifecycleError> {
    match checks(options, role).await?.into_iter().find(Check::failed) {
        None => Ok(()),
        Some(failed) => Err(LifecycleError::Unfit {
            check: failed.name,
            detail: failed.detail,
            fix: failed.fix,
        }),
    }
}

async fn engine(options: &Options) -> Check {
    let socket = &options.engine_socket;
    let name = "container engine";
    match Engine::new(socket).version().await {
        Ok((version, api)) if is_known(&api) => {
            Check::new(name, Ok(format!("version {version}, API {api}")), "")
        }
        Ok((version, api)) => Check::new(
            name,
            Err(format!("version {version} with API {api} is too old")),
            "install Docker Engine 20.10 or newer",
        ),
        Err(error) => Check::new(
            name,
            Err(error.to_string()),
            &format!(
                "start Docker Engine, or name its socket with --engine (now unix://{})",
                socket.display()
            ),
        ),
    }
}

/// Whether the tunnels to the other hosts carry packets, host by host.
///
/// # Errors
///
/// When nobody could be asked.
pub async fn tunnels(prober: Prober, port: u16) -> Result<Vec<Check>, LifecycleError> {
    let cannot = |e: String| LifecycleError::Failed(format!("the tunnels cannot be tried: {e}"));
    let nonce = rand::random();
    let reached = tokio::task::spawn_blocking(move || prober.run(nonce))
        .await
        .map_err(|e| cannot(e.to_string()))?
        .map_err(|e| cannot(e.to_string()))?;
    let check = |(peer, reached)| tunnel(peer, reached, port);
    Ok(reached.into_iter().map(check).collect())
}

fn tunnel(peer: IpAddr, reached: Reached, port: u16) -> Check {
    let (found, fix) = match reached {
        Reached::Whole(size) => (
            Ok(format!("packets of up to {size} bytes come back")),
            String::new(),
        ),
        Reached::OnlySmall(size) => (
            Err(format!(
                "small packets come back, those of {size} bytes do not"
            )),
            "something between the hosts takes smaller packets than this host's device says: set \
             the device's MTU to what the path takes, on all hosts"
                .to_owned(),
        ),
        Reached::Damaged => (
            Err("what comes back is damaged".to_owned()),
            "a device fills in checksums wrongly inside of tunnels: switch that off on both \
             hosts, with `ethtool -K DEVICE tx-checksum-ip-generic off`"
                .to_owned(),
        ),
        Reached::Silent => (
            Err("no answer".to_owned()),
            format!(
                "let UDP port {port} pass between the hosts in both directions, and see whether \
                 orchd runs there"
            ),
        ),
    };
    Check::new(format!("tunnel to {peer}"), found, &fix)
}

/// Whether the manager's clock and this host's are close enough for certificates and tokens.
fn clock(offset: ClockOffset) -> Check {
    let name = "clock";
    let distance = offset.distance();
    let way = if offset.0 < 0 { "behind" } else { "ahead" };
    if distance <= CLOSE {
        let found = format!("within {} ms of the manager's", distance.as_millis().max(1));
        return Check::new(name, Ok(found), "");
    }
    let found = format!("the manager's is {:.1} s {way}", distance.as_secs_f64());
    let fix = "let both hosts follow the same time, for instance with chrony or \
               systemd-timesyncd: certificates are good only at their time, and times of tasks \
               are compared";
    let check = Check::new(name, Err(found), fix);
    if distance > FAR {
        check
    } else {
        check.at_most_warning()
    }
}

/// Whether an engine's API is new enough.
fn is_known(api: &str) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let mut numbers = api.split('.');
    let version = (number(numbers.next()), number(numbers.next()));
    matches!(version, (Some(major), Some(minor)) if (major, minor) >= ENGINE_API)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_and_those_that_differ_much_keep_a_host_out() {
        let of = |millis| clock(ClockOffset(millis));
        for millis in [0, 20, -1000] {
            assert!(of(millis).fix.is_empty(), "{}", of(millis));
        }
        for (millis, words) in [(1500, "1.5 s ahead"), (-300_000, "300.0 s behind")] {
            let check = of(millis);
            assert!(check.detail.contains(words) && !check.failed(), "{check}");
            assert!(check.fix.contains("chrony"), "{check}");
        }
        for millis in [300_001, -400_000_000] {
            assert!(of(millis).failed(), "{}", of(millis));
        }
    }

    #[test]
    fn engines_from_20_10_on_are_new_enough() {
        for (api, known) in [("1.41", true), ("1.51", true), ("1.40", false), ("", false)] {
            assert_eq!(is_known(api), known, "{api}");
        }
    }
}
