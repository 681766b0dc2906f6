//! The user's story in nine steps: what `cargo xtask demo` plays and the end-to-end tests check.
//!
//! Each step types what a user would type and checks what it prints and does. The steps build on
//! each other; [`stage`] shows them, [`cluster`] asks the cluster, neither decides what is right.

pub mod cluster;
mod crash;
pub mod names;
mod overlay;
mod publish;
mod scale;
pub mod stage;
mod swarm;

use std::ops::Range;

use anyhow::{Context, Result};

use crate::interrupt;
use crate::lab::Host;
use stage::Stage;

/// One step: what it shows, and how.
pub struct Step {
    /// What the user gets from it.
    pub title: &'static str,
    play: fn(&Stage) -> Result<()>,
}

/// The story, in order.
pub const STEPS: [Step; 9] = [
    Step {
        title: "Three hosts become one swarm",
        play: swarm::form,
    },
    Step {
        title: "A service runs, and can be looked at",
        play: publish::create,
    },
    Step {
        title: "A published port answers on every host",
        play: publish::publish,
    },
    Step {
        title: "Services find and reach each other by name, and ping works",
        play: overlay::meet,
    },
    Step {
        title: "Scaling, a killed task, and none at all",
        play: scale::scale,
    },
    Step {
        title: "One-off containers join the network, and run once",
        play: overlay::one_off,
    },
    Step {
        title: "dnsrr: a name that stands for the tasks",
        play: overlay::dnsrr,
    },
    Step {
        title: "orchd is killed, traffic is not",
        play: crash::kill_orchd,
    },
    Step {
        title: "Everything is taken down and nothing is left",
        play: swarm::dissolve,
    },
];

/// Plays some of the steps, up to the first that fails; the first one wants hosts that are in no
/// swarm.
pub fn play(hosts: &[Host], steps: Range<usize>) -> Result<()> {
    let stage = Stage::new(hosts);
    let chosen = (1..).zip(&STEPS).skip(steps.start).take(steps.len());
    for (number, step) in chosen {
        println!("\nStep {number}: {}", step.title);
        let played = interrupt::check().and_then(|()| (step.play)(&stage));
        println!(
            "{} step {number}: {}",
            if played.is_ok() { "✓" } else { "✗" },
            step.title
        );
        played.with_context(|| format!("step {number} does not hold"))?;
    }
    Ok(())
}
