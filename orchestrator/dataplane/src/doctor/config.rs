//! What the kernel was built with, by the configuration that it or its package keeps.

use std::fs;
use std::process::Command;

use super::Check;

/// What must be built in or be a module, and what for.
const OPTIONS: [&str; 7] = [
    "CONFIG_BPF_SYSCALL",
    "CONFIG_BPF_JIT",
    "CONFIG_CGROUP_BPF",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_NET_CLS_ACT",
    "CONFIG_VETH",
    "CONFIG_VXLAN",
];

/// A lack is a warning only: other checks try the things themselves.
pub(super) fn check(release: &str) -> Check {
    let found = match text(release) {
        Some(text) => match lacking(&text).as_slice() {
            [] => Ok("has all that is needed".to_owned()),
            lacking => Err(format!("{} not set", lacking.join(", "))),
        },
        None => Err(format!(
            "neither /proc/config.gz nor /boot/config-{release} is there"
        )),
    };
    let fix = "if another check fails, use a kernel that is built with these options";
    Check::new("kernel configuration", found, fix).at_most_warning()
}

/// The configuration's text, where there is one.
fn text(release: &str) -> Option<String> {
    fs::read_to_string(format!("/boot/config-{release}"))
        .ok()
        .or_else(|| {
            let unpacked = Command::new("gzip")
                .args(["-dc", "/proc/config.gz"])
                .output()
                .ok()?;
            let text = String::from_utf8(unpacked.stdout).ok()?;
            unpacked.status.success().then_some(text)
        })
}

fn lacking(text: &str) -> Vec<&'static str> {
    let is_set = |option: &&str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(*option)?.strip_prefix('='));
        matches!(value, Some("y" | "m"))
    };
    OPTIONS
        .into_iter()
        .filter(|option| !is_set(option))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_not_set_are_named() {
        let text: String = OPTIONS
            .iter()
            .map(|option| format!("{option}=y\n"))
            .collect();
        assert_eq!(lacking(&text), [""; 0]);
        let module = text.replace("CONFIG_VXLAN=y", "CONFIG_VXLAN=m");
        assert_eq!(lacking(&module), [""; 0]);
        let without = text.replace("CONFIG_VXLAN=y", "# CONFIG_VXLAN is not set");
        assert_eq!(lacking(&without), ["CONFIG_VXLAN"]);
    }
}
