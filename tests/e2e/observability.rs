//! What can be seen of the data plane: flows, drops, maps, traces, and what a host lacks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::lab::{self, Host, host};
use xtask::story::cluster::Task;
use xtask::story::stage::Stage;
use xtask::wait;

use crate::harness::{in_swarm, on_hosts};

/// A service of one task, published, on a network that containers may join, and a client there.
fn scene(stage: &Stage) -> Result<()> {
    let n1 = stage.host(1)?;
    stage.orchctl(n1, "network create -d overlay --attachable shop")?;
    stage.orchctl(
        n1,
        "service create --name web --network shop --publish 8080:6379 redis:7",
    )?;
    stage.orchctl(n1, "service create --name client --network shop redis:7")?;
    stage.running("web", 1)?;
    stage.running("client", 1)?;
    Ok(())
}

/// JSON lines that a command prints.
fn lines(stage: &Stage, host: Host, words: &str) -> Result<Vec<Value>> {
    let text = stage.orchctl(host, &format!("{words} --format json"))?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// How many packets a host dropped for a reason.
fn drops(stage: &Stage, host: Host, reason: &str) -> Result<u64> {
    let rows = lines(stage, host, "net drops --all")?;
    let row = rows.iter().find(|row| row["Reason"] == reason);
    let packets = row.with_context(|| format!("no reason {reason}"))?["Packets"].as_str();
    Ok(packets.context("a number")?.parse()?)
}

#[test]
fn a_connection_a_drop_and_the_maps_can_be_seen() -> Result<()> {
    in_swarm(2, |stage| {
        scene(stage)?;
        let client = &stage.running("client", 1)?[0];
        let place = stage.cluster.host_of(client)?;
        let hold = "redis-cli -h web -r 300 -i 0.1 ping > /tmp/held 2>&1 &";
        stage.script(client, hold)?;
        wait::until("a connection", Duration::from_secs(10), || {
            let held = stage.script(client, "cat /tmp/held")?;
            ensure!(held.stdout.contains("PONG"), held.shown());
            Ok(())
        })?;

        let web = &stage.running("web", 1)?[0];
        let backend = format!(
            "{}:6379",
            web.addresses.values().next().context("an address")?
        );
        let flows = lines(stage, place, "flows --service web")?;
        let to_web = |flow: &&Value| flow["Backend"] == backend.as_str();
        let flow = flows.iter().find(to_web);
        let flow = flow.with_context(|| format!("none to {backend} in {flows:?}"))?;
        ensure!(
            flow["Protocol"] == "tcp" && flow["Verdict"] == "established",
            "{flow}"
        );
        ensure!(
            flow["Packets"] != "0" && flow["Bytes"] != "0B" && flow["Service"] == "web",
            "{flow}"
        );
        let counted = lines(stage, place, "net services")?;
        let web = counted.iter().find(|row| row["Service"] == "web");
        let web = web.with_context(|| format!("no web in {counted:?}"))?;
        ensure!(web["Flows"] != "0" && web["Packets"] != "0", "{web}");

        let before = drops(stage, place, "multicast")?;
        stage.script(client, "ping -c 1 -W 1 239.1.2.3; true")?;
        let after = drops(stage, place, "multicast")?;
        ensure!(after > before, "{before} drops before, {after} after");

        for number in [1, 2] {
            let maps = lines(stage, stage.host(number)?, "net ls --no-heal")?;
            let wrong: Vec<_> = maps
                .iter()
                .filter(|map| map["Differences"] != "0")
                .collect();
            ensure!(wrong.is_empty() && !maps.is_empty(), "{wrong:?}");
        }
        Ok(())
    })
}

#[test]
fn conversations_can_be_followed_as_they_begin_and_are_refused() -> Result<()> {
    in_swarm(2, |stage| {
        scene(stage)?;
        let client = &stage.running("client", 1)?[0];
        let web = &stage.running("web", 1)?[0];
        let host = stage.cluster.host_of(client)?;
        // If nothing comes, the end does.
        let mut follower = lab::orchctl_for(host, Duration::from_secs(60))
            .words("flows --service web --follow --format json")
            .background()?;
        let mut until = |wanted: &str| -> Result<Value> {
            loop {
                let line = follower.line()?.context("the end of the flows")?;
                let event: Value = serde_json::from_str(&line)?;
                if event["Verdict"]
                    .as_str()
                    .is_some_and(|verdict| verdict.contains(wanted))
                {
                    return Ok(event);
                }
            }
        };
        // A connection after the other, so that some begin while they are followed.
        let ask = "while true; do redis-cli -h web ping; sleep 0.1; done > /dev/null 2>&1 &";
        stage.script(client, ask)?;
        let opened = until("opened")?;
        let address = web.addresses.values().next().context("an address")?;
        ensure!(
            opened["Service"] == "web" && opened["Backend"] == format!("{address}:6379"),
            "{opened}"
        );
        stage.orchctl(stage.host(1)?, "service scale --detach web=0")?;
        let refused = until("refused")?;
        ensure!(
            refused["Service"] == "web" && refused["Backend"] == "",
            "{refused}"
        );
        Ok(())
    })
}

/// An address of a task's network that nobody has.
fn nobody(task: &Task) -> Result<String> {
    let address = task.addresses.values().next().context("an address")?;
    let (network, _) = address.rsplit_once('.').context("an IPv4 address")?;
    Ok(format!("{network}.250"))
}

/// What to trace and to type for the service's published port on a host.
fn through(host: Host) -> (String, String, &'static str) {
    let address = host.address();
    (
        format!("{address}:8080"),
        format!("redis-cli -h {address} -p 8080 ping"),
        "delivered",
    )
}

#[test]
fn a_trace_says_what_then_happens() -> Result<()> {
    in_swarm(2, |stage| {
        scene(stage)?;
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        let client = &stage.running("client", 1)?[0];
        let from = &client.id;
        let nobody = nobody(client)?;
        for (to, command, verdict) in [
            (
                "web:6379".to_owned(),
                "redis-cli -h web ping".to_owned(),
                "delivered",
            ),
            (
                "web".to_owned(),
                "ping -c 1 -W 2 web".to_owned(),
                "answered",
            ),
            (
                nobody.clone(),
                format!("ping -c 1 -W 2 {nobody}"),
                "refused",
            ),
            through(n1),
            through(n2),
        ] {
            let words = format!("net trace {from} {to} --format json");
            let trace: Value = serde_json::from_str(&stage.orchctl(n1, &words)?)?;
            let last = trace["hops"].as_array().and_then(|hops| hops.last());
            let told = &last.context("a hop")?["outcomes"][0]["verdict"];
            ensure!(told == verdict, "{to}: {trace}");
            let done = stage.script(client, &command)?;
            let works = done.stdout.contains("PONG") || done.stdout.contains(" 0% packet loss");
            ensure!(works == (verdict != "refused"), "{to}: {}", done.shown());
        }
        Ok(())
    })
}

#[test]
fn a_host_s_faults_are_named_before_it_joins() -> Result<()> {
    on_hosts(1, |stage| {
        let n1 = stage.host(1)?;
        let all = stage.orchctl(n1, "doctor")?;
        ensure!(!all.contains("failure"), all);
        stage.on("n1", "ip link add taken type vxlan id 7 dstport 4789")?;
        stage.on("n1", "ip link set taken up")?;
        stage.on(
            "n1",
            "ip link add small mtu 1300 type veth peer name small2",
        )?;
        stage.on("n1", "ip addr add 192.0.2.77/24 dev small")?;
        stage.on("n1", "ip link set small up")?;
        let told = stage.refused(n1, "doctor")?;
        for words in ["UDP port of the tunnels", "--data-path-port", "small 1300"] {
            ensure!(told.contains(words), "{words:?} is not in {told}");
        }
        let init = format!("swarm init --advertise-addr {}", n1.address());
        let refused = stage.refused(n1, &init)?;
        ensure!(refused.contains("UDP port of the tunnels"), refused);
        stage.on("n1", "ip link del taken")?;
        stage.on("n1", "ip link del small")?;
        stage.orchctl(n1, &init).map(drop)
    })
}

#[test]
fn a_member_s_doctor_tries_the_tunnels_and_compares_clocks() -> Result<()> {
    in_swarm(2, |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        // The clocks are compared with the first heartbeat.
        stage.orchctl_until(n2, "doctor", "n2 reaches n1 by the tunnel", |told| {
            let tunnel = format!("tunnel to {}", n1.address());
            for words in [
                &tunnel,
                "packets of up to 1450 bytes come back",
                "of the manager's",
            ] {
                ensure!(told.contains(words), "{words:?} is not in {told}");
            }
            Ok(())
        })?;
        host::set_link(n1, false)?;
        let told = stage.refused(n2, "doctor")?;
        host::set_link(n1, true)?;
        for words in ["no answer", "let UDP port 4789 pass"] {
            ensure!(told.contains(words), "{words:?} is not in {told}");
        }
        stage
            .orchctl_until(n2, "doctor", "and again when the cable is back", |told| {
                ensure!(told.contains("bytes come back"), "{told}");
                Ok(())
            })
            .map(drop)
    })
}
