//! What is wrong with what the user wrote: where, why, and what to do.
//!
//! Nothing stops at the first fault. Readers and compilers hand a [`Diagnostics`] along and report into it, so that one
//! run shows every fault of a file.

use crate::config::ObjectRef;
use std::collections::BTreeMap;
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Served as Istio serves it, but hardly what was meant.
    Warning,
    /// Cannot be served; the configuration is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Short stable name such as `no-weight`; tests and suppressions go by it.
    pub code: &'static str,
    /// In which object.
    pub object: ObjectRef,
    /// In which field, as in `spec.http[1].route`; empty for the object as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// A way out; may be empty.
    pub help: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        write!(f, ": {}[{}]: {}", self.severity, self.code, self.message)?;
        if !self.help.is_empty() {
            write!(f, " (help: {})", self.help)?;
        }
        Ok(())
    }
}

/// Everything found so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    /// Which findings there are about a field, by object and path.
    places: BTreeMap<(usize, String), Vec<usize>>,
}

impl Diagnostics {
    /// Adds a finding, once: a rule that serves several hosts may be looked at several times.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let here = self.places.entry((diagnostic.object.ordinal, diagnostic.path.clone())).or_default();
        if !here.iter().any(|at| self.found.get(*at) == Some(&diagnostic)) {
            here.push(self.found.len());
            self.found.push(diagnostic);
        }
    }

    /// Adds an error: the configuration will be refused.
    pub fn error(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.push(at.diagnostic(Severity::Error, code, message, help));
    }

    /// Adds a warning: served, but hardly what was meant.
    pub fn warning(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.push(at.diagnostic(Severity::Warning, code, message, help));
    }

    /// Adds a note: worth knowing, and often what was meant.
    pub fn note(&mut self, at: &At<'_>, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.push(at.diagnostic(Severity::Note, code, message, help));
    }

    /// Makes errors of all findings with one of these codes: for who serves nothing and only judges.
    pub fn raise(&mut self, codes: &[&str]) {
        let raised = self.found.iter_mut().filter(|found| codes.contains(&found.code));
        raised.for_each(|found| found.severity = Severity::Error);
    }

    /// Whether anything found forbids serving the configuration.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All findings in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }
}

/// A field path that grows on the stack: nothing is written until there is a fault to report.
#[derive(Clone, Copy, Debug)]
pub enum FieldPath<'a> {
    /// The whole object.
    Root,
    /// A named field.
    Field(&'a FieldPath<'a>, &'a str),
    /// An entry of a map, by its key.
    Key(&'a FieldPath<'a>, &'a str),
    /// An element of a list.
    Index(&'a FieldPath<'a>, usize),
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(FieldPath::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// An object and a field in it.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The object.
    pub object: &'a ObjectRef,
    /// The field.
    pub path: FieldPath<'a>,
    /// What of it stands elsewhere.
    within: Within<'a>,
}

/// A part of a rule that has fields from another object.
#[derive(Clone, Copy, Debug)]
enum Within<'a> {
    Nothing,
    Rule(&'a Inherited),
    Matches(&'a Inherited),
    Block(&'a InheritedBlock, &'a ObjectRef),
}

/// Fields of a delegate's rule that its root wrote: what is wrong with them is told there.
#[derive(Clone, Debug)]
pub struct Inherited {
    /// The root.
    pub object: ObjectRef,
    /// Fields of the rule, each with its path in the root.
    pub fields: BTreeMap<&'static str, String>,
    /// Match blocks, in the order in which they are written out.
    pub blocks: Vec<InheritedBlock>,
}

/// Where a match block of a delegate's rule was written.
#[derive(Clone, Debug)]
pub struct InheritedBlock {
    /// Its index in the delegate; `None` where only the root has a block.
    pub own: Option<usize>,
    /// The block's path in the root.
    pub root: String,
    /// Fields of the block, each with its path in the root.
    pub fields: BTreeMap<&'static str, String>,
}

impl<'a> At<'a> {
    /// The object as a whole.
    pub fn object(object: &'a ObjectRef) -> Self {
        Self { object, path: FieldPath::Root, within: Within::Nothing }
    }

    /// This rule, of which some fields stand elsewhere.
    pub fn inheriting(self, inherited: Option<&'a Inherited>) -> Self {
        Self { within: inherited.map_or(Within::Nothing, Within::Rule), ..self }
    }

    /// A field of this one.
    pub fn field(&'a self, name: &'a str) -> Self {
        let elsewhere = match self.within {
            Within::Rule(Inherited { object, fields, blocks: _ }) => fields.get(name).map(|path| (object, path)),
            Within::Block(block, root) => block.fields.get(name).map(|path| (root, path)),
            Within::Nothing | Within::Matches(_) => None,
        };
        match (elsewhere, self.within) {
            (Some((object, path)), _) => Self::object(object).at(path),
            (None, Within::Rule(inherited)) if name == "match" => {
                Self { within: Within::Matches(inherited), ..self.below(FieldPath::Field(&self.path, name)) }
            }
            (None, _) => self.below(FieldPath::Field(&self.path, name)),
        }
    }

    /// An entry of this map.
    pub fn key(&'a self, key: &'a str) -> Self {
        self.below(FieldPath::Key(&self.path, key))
    }

    /// An element of this list.
    pub fn index(&'a self, index: usize) -> Self {
        let Within::Matches(inherited) = self.within else { return self.below(FieldPath::Index(&self.path, index)) };
        let Some(block) = inherited.blocks.get(index) else { return self.below(FieldPath::Index(&self.path, index)) };
        match block.own {
            Some(own) => Self {
                within: Within::Block(block, &inherited.object),
                ..self.below(FieldPath::Index(&self.path, own))
            },
            None => Self::object(&inherited.object).at(&block.root),
        }
    }

    fn below(&'a self, path: FieldPath<'a>) -> Self {
        Self { object: self.object, path, within: Within::Nothing }
    }

    /// The same object at a path that is written out.
    fn at(self, path: &'a str) -> Self {
        Self { path: FieldPath::Field(&FieldPath::Root, path), ..self }
    }

    fn diagnostic(
        &self,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            code,
            object: self.object.clone(),
            path: self.path.to_string(),
            message: message.into(),
            help: help.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_the_user_would_write_it() {
        let object = ObjectRef { kind: "VirtualService".into(), namespace: "a".into(), name: "b".into(), ordinal: 0 };
        let at = At::object(&object);
        let (spec, http, headers);
        spec = at.field("spec");
        http = spec.field("http");
        let rule = http.index(1);
        headers = rule.field("headers");
        assert_eq!(headers.key("x-user").path.to_string(), "spec.http[1].headers[x-user]");
    }

    #[test]
    fn what_a_delegate_inherits_stands_in_its_root() {
        let object = |name: &str| ObjectRef {
            kind: "VirtualService".into(),
            namespace: "a".into(),
            name: name.into(),
            ordinal: 0,
        };
        let block = |own| InheritedBlock {
            own,
            root: "spec.http[3].match[1]".to_owned(),
            fields: BTreeMap::from([("uri", "spec.http[3].match[1].uri".to_owned())]),
        };
        let inherited = Inherited {
            object: object("root"),
            fields: BTreeMap::from([("timeout", "spec.http[3].timeout".to_owned())]),
            blocks: vec![block(Some(5)), block(None)],
        };
        let leaf = object("leaf");
        let whole = At::object(&leaf);
        let rule = whole.field("http").inheriting(Some(&inherited));
        let blocks = rule.field("match");
        let (own, root) = (blocks.index(0), blocks.index(1));
        let told = |at: At<'_>| format!("{} {}", at.object.name, at.path);
        assert_eq!(told(rule.field("timeout")), "root spec.http[3].timeout");
        assert_eq!(told(rule.field("retries").field("attempts")), "leaf http.retries.attempts");
        assert_eq!(told(own.field("headers").key("x")), "leaf http.match[5].headers[x]");
        assert_eq!(told(own.field("uri").field("exact")), "root spec.http[3].match[1].uri.exact");
        assert_eq!(told(root.field("headers")), "root spec.http[3].match[1].headers");
    }
}
