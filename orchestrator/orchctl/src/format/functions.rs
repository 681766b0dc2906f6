//! The functions of docker's templates: Go's builtins that make sense on JSON, and docker's own
//! `json`, `split`, `join`, `title`, `lower`, `upper`, `pad`, `truncate`.

use std::cmp::Ordering;

use super::{Data, TemplateError, eval::Named};

fn error(message: impl Into<String>) -> TemplateError {
    TemplateError(message.into())
}

/// Calls `name`.
pub(super) fn call(name: &str, arguments: Vec<Named>) -> Result<Named, TemplateError> {
    let data: Vec<&Data> = arguments.iter().map(|argument| &argument.data).collect();
    let result = match (name, data.as_slice()) {
        ("json", [value]) => Data::Text(
            serde_json::to_string(value).map_err(|cause| error(format!("json: {cause}")))?,
        ),
        ("len", [value]) => value
            .len()
            .ok_or_else(|| error("len of a value that has no length"))?
            .into(),
        ("index", [value, keys @ ..]) => return index(value, keys),
        ("not", [value]) => Data::Bool(!value.is_true()),
        ("and", [_, ..]) => return Ok(pick(arguments, |value| !value.is_true())),
        ("or", [_, ..]) => return Ok(pick(arguments, Data::is_true)),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Data::Bool(others.iter().any(|other| first == other))
        }
        ("ne", [a, b]) => Data::Bool(a != b),
        ("lt" | "le" | "gt" | "ge", [a, b]) => Data::Bool(ordered(name, a, b)?),
        ("print" | "println", _) => {
            let texts: Vec<String> = arguments.iter().map(Named::to_text).collect();
            let end = if name == "println" { "\n" } else { "" };
            Data::Text(format!("{}{end}", texts.join(" ")))
        }
        ("printf", [Data::Text(format), ..]) => Data::Text(printf(format, &arguments[1..])?),
        ("lower", [Data::Text(text)]) => Data::Text(text.to_lowercase()),
        ("upper", [Data::Text(text)]) => Data::Text(text.to_uppercase()),
        ("title", [Data::Text(text)]) => Data::Text(title(text)),
        ("split", [Data::Text(text), Data::Text(separator)]) => {
            Data::List(text.split(separator.as_str()).map(Data::from).collect())
        }
        ("join", [Data::List(items), Data::Text(separator)]) => {
            let texts: Vec<String> = items.iter().map(|item| item.to_text("")).collect();
            Data::Text(texts.join(separator))
        }
        ("truncate", [Data::Text(text), Data::Number(length)]) => {
            let length = length
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0);
            Data::Text(text.chars().take(length).collect())
        }
        ("pad", [Data::Text(text), Data::Number(before), Data::Number(after)]) => {
            let spaces = |n: &serde_json::Number| {
                " ".repeat(usize::try_from(n.as_u64().unwrap_or(0).min(1024)).unwrap_or(0))
            };
            Data::Text(format!("{}{text}{}", spaces(before), spaces(after)))
        }
        (known, _) if KNOWN.contains(&known) => {
            return Err(error(format!(
                "wrong number or type of arguments for {known}"
            )));
        }
        _ => return Err(error(format!("function \"{name}\" not defined"))),
    };
    Ok(Named::new(result))
}

const KNOWN: [&str; 21] = [
    "json", "len", "index", "not", "and", "or", "eq", "ne", "lt", "le", "gt", "ge", "printf",
    "lower", "upper", "title", "split", "join", "truncate", "pad", "print",
];

/// The first argument for which `stop` holds, else the last.
fn pick(arguments: Vec<Named>, stop: impl Fn(&Data) -> bool) -> Named {
    let mut last = Named::new(Data::Null);
    for argument in arguments {
        let done = stop(&argument.data);
        last = argument;
        if done {
            break;
        }
    }
    last
}

fn ordered(name: &str, a: &Data, b: &Data) -> Result<bool, TemplateError> {
    let ordering = a
        .compare(b)
        .ok_or_else(|| error("incompatible types for comparison"))?;
    Ok(match name {
        "lt" => ordering == Ordering::Less,
        "le" => ordering != Ordering::Greater,
        "gt" => ordering == Ordering::Greater,
        _ => ordering != Ordering::Less,
    })
}

fn index(value: &Data, keys: &[&Data]) -> Result<Named, TemplateError> {
    let mut current = value.clone();
    for key in keys {
        current = match (&current, key) {
            (Data::List(items), Data::Number(number)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                let found = at.and_then(|at| items.get(at)).cloned();
                found.ok_or_else(|| error(format!("error calling index: {number} out of range")))?
            }
            (Data::Object(_), Data::Text(name)) => {
                current.field(name).cloned().unwrap_or(Data::Null)
            }
            (Data::Null, _) => return Err(error("error calling index: index of untyped nil")),
            _ => return Err(error("error calling index: can't index item of this type")),
        };
    }
    Ok(Named::new(current))
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|next| {
            let shown = if start {
                next.to_ascii_uppercase()
            } else {
                next
            };
            start = next.is_whitespace();
            shown
        })
        .collect()
}

/// The verbs scripts use: `%s %v %d %q %%`, with a width and `-`.
fn printf(format: &str, arguments: &[Named]) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut next = arguments.iter();
    let mut rest = format;
    while let Some((literal, directive)) = rest.split_once('%') {
        out.push_str(literal);
        let end = directive
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .ok_or_else(|| error("printf: a verb is missing after %"))?;
        let (width, after) = directive.split_at(end);
        let verb = after.chars().next().unwrap_or('%');
        rest = &after[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let argument = next
            .next()
            .ok_or_else(|| error(format!("printf: %{verb} lacks a value")))?;
        let text = match verb {
            's' | 'v' | 'd' => argument.to_text(),
            'q' => format!("{:?}", argument.to_text()),
            other => return Err(error(format!("printf: %{other} is not supported"))),
        };
        let columns = width
            .trim_start_matches('-')
            .parse()
            .unwrap_or(0_usize)
            .min(1024);
        match width.starts_with('-') {
            true => out.push_str(&format!("{text:<columns$}")),
            false => out.push_str(&format!("{text:>columns$}")),
        }
    }
    out.push_str(rest);
    Ok(out)
}
