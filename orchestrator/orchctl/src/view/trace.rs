//! `net trace`: a paragraph per host.

use crate::model::{Hop, Trace};

/// The whole trace.
pub fn trace(trace: &Trace) -> String {
    let mut out = format!("{}\n", trace.packet);
    for note in &trace.notes {
        out.push_str(&format!("({note})\n"));
    }
    for hop in &trace.hops {
        out.push('\n');
        out.push_str(&paragraph(hop));
    }
    out
}

fn paragraph(hop: &Hop) -> String {
    let mut out = format!("{} in {}: {}\n", hop.host, hop.program, hop.packet);
    for step in &hop.steps {
        out.push_str(&format!("  - {step}\n"));
    }
    for outcome in &hop.outcomes {
        out.push_str(&format!("  => {}\n", outcome.text));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn each_host_has_its_steps_and_its_outcomes() {
        let answer: Trace = decode(
            r#"{"packet": "tcp a -> b:80", "notes": ["first packet"], "hops": [
                {"host": "n1 (192.0.2.1)", "program": "task_ingress", "packet": "tcp a -> b:80",
                 "steps": ["b is a task"], "outcomes": [{"verdict": "delivered", "text": "there"}]}
            ]}"#,
        )
        .unwrap();
        assert_eq!(
            trace(&answer),
            "tcp a -> b:80\n(first packet)\n\nn1 (192.0.2.1) in task_ingress: tcp a -> b:80\n  \
             - b is a task\n  => there\n"
        );
    }
}
