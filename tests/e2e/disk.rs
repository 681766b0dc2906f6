//! A manager whose disk fills up.

use anyhow::{Result, ensure};
use xtask::lab::{self, Daemon};

use crate::harness::on_hosts;

/// Size of the disk that the state folder is on, in MiB, and what fills it up to the reserve.
const DISK: u32 = 96;
const FILLER: u32 = 80;

#[test]
fn a_full_disk_refuses_changes_with_its_reason_and_recovers() -> Result<()> {
    on_hosts(1, |stage| {
        let n1 = stage.host(1)?;
        let state = n1.state().join("orchd");
        let state = state.display();
        let on_host = |words: String| -> Result<()> {
            let done = stage.on("n1", &words)?;
            ensure!(done.success(), "{words}: {}", done.shown());
            Ok(())
        };
        n1.kill(Daemon::Orchd)?;
        on_host(format!("mount -t tmpfs -o size={DISK}m tmpfs {state}"))?;
        lab::start(n1, Daemon::Orchd)?;
        let create =
            |name: &str| format!("service create --detach --name {name} busybox:1.35 sleep 1000");
        let init = format!("swarm init --advertise-addr {}", n1.address());
        stage.orchctl(n1, &init)?;
        stage.orchctl(n1, &create("before"))?;

        on_host(format!("fallocate -l {FILLER}M {state}/filler"))?;
        let refusal = stage.refused(n1, &create("while-full"))?;
        ensure!(
            refusal.contains("MiB left") && refusal.contains("state folder"),
            "{refusal}"
        );
        let listed = stage.orchctl(n1, "service ls")?;
        ensure!(
            listed.contains("before") && !listed.contains("while-full"),
            "{listed}"
        );
        // Neither is what runs taken for lost, nor does the daemon give up.
        let nodes = stage.orchctl(n1, "node ls")?;
        ensure!(nodes.contains("Ready"), "{nodes}");

        on_host(format!("rm {state}/filler"))?;
        stage.orchctl(n1, &create("after"))?;
        stage.running("after", 1)?;
        Ok(())
    })
}
