//! `doctor`: one line per check, and how to mend what lacks.

use crate::{format::align, model::CheckResult};

/// The table; below it the way to mend each check that is not well.
pub fn doctor(checks: &[CheckResult]) -> String {
    let lines: Vec<String> = std::iter::once("CHECK\tRESULT\tDETAIL".to_owned())
        .chain(checks.iter().map(|check| {
            let mark = match check.severity.as_str() {
                "ok" => "✔ ok",
                "warning" => "! warning",
                _ => "✘ failure",
            };
            format!(
                "{}\t{mark}\t{}",
                one_line(&check.name),
                one_line(&check.detail)
            )
        }))
        .collect();
    let mut out = align(&lines);
    for check in checks.iter().filter(|check| !check.fix.is_empty()) {
        out.push_str(&format!("\n{}: {}\n", check.name, check.fix));
    }
    out
}

/// Keeps a detail with line ends or tabs in it from breaking the table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_how_to_mend_them() {
        let checks = [
            CheckResult {
                name: "engine".into(),
                severity: "ok".into(),
                detail: "20.10.24".into(),
                fix: String::new(),
            },
            CheckResult {
                name: "bpf".into(),
                severity: "failure".into(),
                detail: "not\nmounted".into(),
                fix: "mount -t bpf bpf /sys/fs/bpf".into(),
            },
            CheckResult {
                name: "mtu".into(),
                severity: "warning".into(),
                detail: "they differ".into(),
                fix: "set the same".into(),
            },
        ];
        assert_eq!(
            doctor(&checks),
            "CHECK     RESULT      DETAIL\n\
             engine    ✔ ok        20.10.24\n\
             bpf       ✘ failure   not mounted\n\
             mtu       ! warning   they differ\n\
             \nbpf: mount -t bpf bpf /sys/fs/bpf\n\
             \nmtu: set the same\n"
        );
    }
}
