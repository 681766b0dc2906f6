//! Step 8: orchd is killed under traffic.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cluster::{Task, same};
use super::overlay;
use super::stage::{SOON, Stage, ensure};
use crate::lab::{self, Daemon, Host};
use crate::wait;

/// A client that connects anew for every request, and one that keeps its connection. Both write
/// down what they got, so that nothing is lost while orchd is.
const CLIENTS: &str = r#"
rm -f /tmp/stop /tmp/kept
(
    ok=0; bad=0
    while [ ! -e /tmp/stop ]; do
        answer=$(timeout 3 redis-cli -h VIP ping 2>&1)
        if [ "$answer" = PONG ]; then ok=$((ok + 1)); else bad=$((bad + 1)); fi
        echo "$ok $bad" >/tmp/count.new
        mv /tmp/count.new /tmp/count
    done
    touch /tmp/stopped
) >/dev/null 2>&1 &
redis-cli -h VIP -r -1 -i 0.02 ping >/tmp/kept 2>&1 &
echo $! >/tmp/kept.pid
"#;

/// Requests that must succeed while a daemon is down before it is started again.
const REQUESTS: u64 = 50;

/// SIGKILL on the manager, then on a worker; no request fails and nothing is forgotten.
pub fn kill_orchd(stage: &Stage) -> Result<()> {
    let redis1 = stage.cluster.only("redis1")?;
    let vip = stage.cluster.vip("redis2", "sandbox")?;
    let before = stage.cluster.memory()?;
    stage.script(&redis1, &CLIENTS.replace("VIP", &vip))?;
    // Its engine is asked by container id: the cluster cannot tell where it runs while it is down.
    let place = stage.cluster.host_of(&redis1)?;
    let client = Client {
        stage,
        host: place,
        container: redis1.container.clone(),
    };
    for host in [stage.host(1)?, stage.host(2)?] {
        kill_one(stage, &client, host)?;
        let now = wait::until("the cluster to be as before", SOON, || {
            same(&before, &stage.cluster.memory()?)
        });
        stage.holds(
            "services, tasks, addresses, networks and tokens are as before",
            now,
        )?;
    }
    client.stop(&redis1)?;
    overlay::ran_once(stage)
}

fn kill_one(stage: &Stage, client: &Client<'_>, host: Host) -> Result<()> {
    let name = host.name();
    client.goes_on("requests succeed before")?;
    println!("  # cargo xtask lab kill {name} orchd");
    host.kill(Daemon::Orchd)?;
    client.goes_on(&format!("requests succeed while orchd on {name} is dead"))?;
    println!("  # cargo xtask lab start {name} orchd");
    lab::start(host, Daemon::Orchd)?;
    let claim = "all nodes are ready again";
    stage.orchctl_until(stage.host(1)?, "node ls", claim, |list| {
        ensure(list.matches("Ready").count() == 3, list)
    })?;
    client.goes_on("requests succeed after")
}

struct Client<'a> {
    stage: &'a Stage,
    host: Host,
    container: String,
}

impl Client<'_> {
    /// Waits until so many more requests have succeeded, and wants none to have failed.
    fn goes_on(&self, claim: &str) -> Result<()> {
        let (start, _) = self.counts().unwrap_or_default();
        let went = wait::until(claim, Duration::from_secs(30), || {
            let (ok, bad) = self.counts()?;
            ensure(
                ok >= start + REQUESTS,
                format!("{ok} requests succeeded, {bad} failed"),
            )
        });
        let failed = self.counts().map(|(_, bad)| bad);
        let truth = went
            .and(failed)
            .and_then(|failed| ensure(failed == 0, format!("{failed} requests failed")));
        self.stage.holds(claim, truth)
    }

    /// Ends both clients and looks at all they got.
    fn stop(&self, task: &Task) -> Result<()> {
        self.run("touch /tmp/stop; kill $(cat /tmp/kept.pid)")?;
        wait::until("the client to stop", SOON, || {
            ensure(
                self.run("ls /tmp/stopped")?.contains("stopped"),
                "it goes on",
            )
        })?;
        let (ok, bad) = self.counts()?;
        let claim = format!("of {} requests by {} none failed", ok + bad, task.name);
        self.stage
            .holds(&claim, ensure(bad == 0, format!("{bad} failed")))?;
        let kept = self.run("grep -c PONG /tmp/kept; grep -v PONG /tmp/kept")?;
        let (answers, errors) = kept.split_once('\n').unwrap_or((&kept, ""));
        let claim = format!("one connection lived through it all, with {answers} answers");
        self.stage.holds(&claim, {
            ensure(
                errors.trim().is_empty() && answers.parse().is_ok_and(|n: u64| n > 0),
                errors,
            )
        })
    }

    /// Requests that succeeded and that failed.
    fn counts(&self) -> Result<(u64, u64)> {
        let text = self.run("cat /tmp/count")?;
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [ok, bad] => Ok((ok.parse()?, bad.parse()?)),
            _ => bail!("the client has not begun: {text}"),
        }
    }

    fn run(&self, script: &str) -> Result<String> {
        let docker = lab::docker(self.host, Daemon::Engine);
        let output = docker
            .args(["exec", &self.container, "sh", "-c", script])
            .output();
        Ok(output.context("the engine does not answer")?.stdout)
    }
}
