//! Evaluates a parsed template. A field that is not there is `<no value>`: the daemon leaves out
//! what is empty, so absence is no mistake of the template.

use super::{
    Data, TemplateError,
    functions::call,
    template::{Node, Operand, Pipeline, Template},
};

/// Renders `template` with `data` as dot.
pub fn render(template: &Template, data: &Data) -> Result<String, TemplateError> {
    let mut scope = Scope {
        root: data,
        variables: Vec::new(),
        out: String::new(),
    };
    scope.nodes(&template.0, data)?;
    Ok(scope.out)
}

/// A value and the name of the field it came from, which decides how a map prints.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub data: Data,
    pub name: String,
}

impl Named {
    pub fn new(data: Data) -> Self {
        Self {
            data,
            name: String::new(),
        }
    }

    pub fn to_text(&self) -> String {
        match self.data {
            Data::Null => "<no value>".to_owned(),
            Data::Bool(_) | Data::Number(_) | Data::Text(_) | Data::List(_) | Data::Object(_) => {
                self.data.to_text(&self.name)
            }
        }
    }
}

struct Scope<'a> {
    root: &'a Data,
    variables: Vec<(String, Named)>,
    out: String,
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Data) -> Result<(), TemplateError> {
        for node in nodes {
            self.node(node, dot)?;
        }
        Ok(())
    }

    /// Variables declared inside a block end with it.
    fn block(&mut self, nodes: &[Node], dot: &Data) -> Result<(), TemplateError> {
        let depth = self.variables.len();
        let result = self.nodes(nodes, dot);
        self.variables.truncate(depth);
        result
    }

    fn node(&mut self, node: &Node, dot: &Data) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.declare(pipeline, dot)?;
                if pipeline.declares.is_empty() {
                    self.out.push_str(&value.to_text());
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let depth = self.variables.len();
                let chosen = self.declare(condition, dot)?.data.is_true();
                self.block(if chosen { then } else { otherwise }, dot)?;
                self.variables.truncate(depth);
            }
            Node::With {
                value,
                body,
                otherwise,
            } => {
                let depth = self.variables.len();
                let value = self.declare(value, dot)?.data;
                match value.is_true() {
                    true => self.block(body, &value)?,
                    false => self.block(otherwise, dot)?,
                }
                self.variables.truncate(depth);
            }
            Node::Range {
                over,
                body,
                otherwise,
            } => self.range(over, body, otherwise, dot)?,
        }
        Ok(())
    }

    fn declare(&mut self, pipeline: &Pipeline, dot: &Data) -> Result<Named, TemplateError> {
        let value = self.pipeline(pipeline, dot)?;
        if let [name] = pipeline.declares.as_slice() {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Data,
    ) -> Result<(), TemplateError> {
        let items: Vec<(Data, Data)> = match self.pipeline(over, dot)?.data {
            Data::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (at.into(), item))
                .collect(),
            Data::Object(mut fields) => {
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                fields
                    .into_iter()
                    .map(|(key, value)| (Data::Text(key), value))
                    .collect()
            }
            Data::Null => Vec::new(),
            other @ (Data::Bool(_) | Data::Number(_) | Data::Text(_)) => {
                return Err(TemplateError(format!(
                    "range can't iterate over {}",
                    other.to_text("")
                )));
            }
        };
        if items.is_empty() {
            return self.block(otherwise, dot);
        }
        for (key, item) in items {
            let depth = self.variables.len();
            match over.declares.as_slice() {
                [value] => self
                    .variables
                    .push((value.clone(), Named::new(item.clone()))),
                [first, second] => {
                    self.variables.push((first.clone(), Named::new(key)));
                    self.variables
                        .push((second.clone(), Named::new(item.clone())));
                }
                _ => {}
            }
            let result = self.nodes(body, &item);
            self.variables.truncate(depth);
            result?;
        }
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Data) -> Result<Named, TemplateError> {
        let mut piped: Option<Named> = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        piped.ok_or_else(|| TemplateError("missing value for command".to_owned()))
    }

    fn command(
        &self,
        command: &[Operand],
        piped: Option<Named>,
        dot: &Data,
    ) -> Result<Named, TemplateError> {
        if let Some((Operand::Function(name), operands)) = command.split_first() {
            let mut arguments = operands
                .iter()
                .map(|operand| self.operand(operand, dot))
                .collect::<Result<Vec<_>, _>>()?;
            arguments.extend(piped);
            return call(name, arguments);
        }
        match command {
            [operand] if piped.is_none() => self.operand(operand, dot),
            _ => Err(TemplateError(
                "can't give argument to non-function".to_owned(),
            )),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Data) -> Result<Named, TemplateError> {
        match operand {
            Operand::Dot => Ok(Named::new(dot.clone())),
            Operand::Field(path) => walk(&Named::new(dot.clone()), path),
            Operand::Literal(data) => Ok(Named::new(data.clone())),
            Operand::Group(pipeline, path) => walk(&self.pipeline(pipeline, dot)?, path),
            Operand::Function(name) => call(name, Vec::new()),
            Operand::Variable(name, path) if name.is_empty() => {
                walk(&Named::new(self.root.clone()), path)
            }
            Operand::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found
                    .ok_or_else(|| TemplateError(format!("undefined variable \"${name}\"")))?;
                walk(value, path)
            }
        }
    }
}

fn walk(from: &Named, path: &[String]) -> Result<Named, TemplateError> {
    let mut current = from.clone();
    for name in path {
        current = match current.data {
            Data::Null => Named::new(Data::Null),
            Data::Object(_) => {
                let data = current.data.field(name).cloned().unwrap_or(Data::Null);
                Named {
                    data,
                    name: name.clone(),
                }
            }
            Data::Bool(_) | Data::Number(_) | Data::Text(_) | Data::List(_) => {
                return Err(TemplateError(format!(
                    "can't evaluate field {name} in {}",
                    current.data.to_text("")
                )));
            }
        };
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = r#"{
        "ID": "abc", "Spec": {"Name": "redis", "Labels": {"b": "2", "a": "1"}},
        "Endpoint": {"VirtualIPs": [
            {"NetworkID": "n1", "Addr": "10.0.1.2/24"}, {"NetworkID": "n2", "Addr": "10.0.2.2/24"}
        ]},
        "Count": 0, "Big": 7776000000000000
    }"#;

    fn show(template: &str) -> Result<String, TemplateError> {
        render(&Template::parse(template)?, &Data::parse(SERVICE).unwrap())
    }

    #[test]
    fn what_scripts_ask_for() {
        for (template, expected) in [
            ("{{.ID}}", "abc"),
            ("{{.Spec.Name}}: {{ .ID }}", "redis: abc"),
            (
                "{{.Endpoint.VirtualIPs}}",
                "[{n1 10.0.1.2/24} {n2 10.0.2.2/24}]",
            ),
            (
                "{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}",
                "10.0.1.2/24 10.0.2.2/24 ",
            ),
            ("{{(index .Endpoint.VirtualIPs 0).Addr}}", "10.0.1.2/24"),
            (
                "{{json .Spec}}",
                r#"{"Name":"redis","Labels":{"b":"2","a":"1"}}"#,
            ),
            ("{{.Spec.Labels}}", "map[a:1 b:2]"),
            ("{{index .Spec.Labels \"a\"}}", "1"),
            (
                "{{range $k, $v := .Spec.Labels}}{{$k}}={{$v}},{{end}}",
                "a=1,b=2,",
            ),
            ("{{with .Spec}}{{.Name}}{{else}}none{{end}}", "redis"),
            (
                "{{if .Count}}some{{else if .Missing}}odd{{else}}none{{end}}",
                "none",
            ),
            ("{{if and (eq .ID \"abc\") (gt .Big 1)}}yes{{end}}", "yes"),
            ("{{ .Missing.Deep }}", "<no value>"),
            ("a {{- /* note */ -}} b", "ab"),
            ("{{len .Endpoint.VirtualIPs}}", "2"),
            ("{{printf \"%s-%d\" .ID 3}}", "abc-3"),
            ("{{$x := .Spec}}{{$x.Name}}", "redis"),
            ("{{join (split \"a,b\" \",\") \"-\"}}", "a-b"),
            ("{{println .ID}}", "abc\n"),
            ("{{.Big}} {{\"}}\"}}", "7776000000000000 }}"),
        ] {
            assert_eq!(show(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (template, part) in [
            ("{{.ID", "unclosed action"),
            ("{{if .ID}}x", "without {{end}}"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{bogus .ID}}", "function \"bogus\" not defined"),
            ("{{$x}}", "undefined variable"),
            ("{{.ID.Name}}", "can't evaluate field Name"),
            ("{{index .Endpoint.VirtualIPs 9}}", "out of range"),
            ("{{define \"x\"}}{{end}}", "define is not supported"),
            ("{{(.ID}}", "unclosed left paren"),
            ("{{.ID | }}", "missing value"),
            ("{{range .ID}}{{end}}", "can't iterate"),
            ("{{.ID | upper | printf \"%s-%d\"}}", "%d lacks a value"),
        ] {
            let error = show(template).unwrap_err().to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
    }
}
