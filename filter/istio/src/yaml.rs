//! Reads YAML and JSON text into [`Config`], remembering where every field stands.
//!
//! The tree of places grows beside the tree of values, so that a finding about `spec.http[1].route` can be shown with
//! file, line and column long after reading.

mod encoding;

use crate::config::{Config, ObjectRef};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Values one file may hold: far above any manifest, far below any harm.
const NODES_MAX: usize = 5_000_000;

/// Values that the aliases of one file may stand for.
const ALIASED_MAX: usize = 100_000;

/// Levels one document may nest.
const DEPTH_MAX: usize = 100;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Where a value and everything in it stands.
#[derive(Clone, Debug)]
struct Place {
    at: Position,
    inside: Inside,
}

#[derive(Clone, Debug)]
enum Inside {
    Nothing,
    List(Vec<Place>),
    /// Where the key stands, and the value.
    Map(BTreeMap<String, (Position, Place)>),
}

/// Where objects were read, by their ordinal.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    objects: Vec<(Arc<str>, Place)>,
    /// Files without anything in them.
    empty: Vec<Arc<str>>,
}

impl Sources {
    /// File and position of a field of an object; where the field itself is absent, of the nearest thing around it.
    pub fn locate(&self, object: &ObjectRef, path: &str) -> Option<(&str, Position)> {
        let (file, place) = self.objects.get(object.ordinal)?;
        Some((file, place.locate(path)))
    }

    /// Files that held objects in `before` and hold nothing at all now. Who writes a file in two steps empties it first; who
    /// means it removes the file, or leaves a comment in it.
    pub fn emptied_since(&self, before: &Self) -> Vec<&str> {
        let objects_before = before.objects.iter().filter(|(_, place)| matches!(place.inside, Inside::Map(_)));
        let filled_before: BTreeSet<&str> = objects_before.map(|(file, _)| &**file).collect();
        self.empty.iter().map(|file| &**file).filter(|file| filled_before.contains(file)).collect()
    }
}

/// One parsed document of any kind.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it says.
    pub value: Value,
    place: Place,
}

impl Document {
    /// Where a field stands; where it is absent, the nearest thing around it.
    pub fn locate(&self, path: &str) -> Position {
        self.place.locate(path)
    }
}

/// The documents of one text, empty ones left out, and the fault that ended the reading if one did. For kinds that are
/// no part of a [`Config`], such as scenarios.
pub fn documents(text: &str) -> (Vec<Document>, Option<SyntaxFault>) {
    let mut reader = Reader::new(text);
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(None) => return (documents, None),
            Ok(Some((value, _))) if value.is_null() => {}
            Ok(Some((value, place))) => documents.push(Document { value, place }),
            Err(fault) => return (documents, Some(fault)),
        }
    }
}

impl Place {
    fn locate(&self, path: &str) -> Position {
        let mut position = self.at;
        let mut at = self;
        for segment in segments(path) {
            let next = match &at.inside {
                Inside::List(items) => {
                    segment.parse().ok().and_then(|index: usize| items.get(index)).map(|item| (item.at, item))
                }
                Inside::Map(entries) => entries.get(segment).map(|(key, value)| (*key, value)),
                Inside::Nothing => None,
            };
            let Some((key, value)) = next else { break };
            position = key;
            at = value;
        }
        position
    }
}

/// `spec.http[1].headers[x.y]` as `spec`, `http`, `1`, `headers`, `x.y`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(bracket) = rest.strip_prefix('[') {
            let (inner, behind) = bracket.split_once(']')?;
            rest = behind;
            return Some(inner);
        }
        if rest.is_empty() {
            return None;
        }
        let (name, behind) = rest.split_at_checked(rest.find(['.', '[']).unwrap_or(rest.len()))?;
        rest = behind;
        Some(name)
    })
}

/// As [`read`], from bytes: what is not UTF-8 is a finding with its place, and so is JSON that only YAML would take in a
/// file that calls itself JSON.
pub fn read_bytes(file: &str, bytes: &[u8], config: &mut Config, sources: &mut Sources, diagnostics: &mut Diagnostics) {
    let text = encoding::text(bytes).and_then(|text| {
        let is_json = file.len() > 5 && file.to_ascii_lowercase().ends_with(".json");
        if is_json { json_alone(text).map(|()| text) } else { Ok(text) }
    });
    match text {
        Ok(text) => read(file, text, config, sources, diagnostics),
        Err(fault) => report(file.into(), fault, config, sources, diagnostics),
    }
}

/// Kubernetes reads such a file by the rules of JSON, which are stricter than those of YAML.
fn json_alone(text: &str) -> Result<(), SyntaxFault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    match documents.find_map(Result::err) {
        None => Ok(()),
        Some(error) => Err(SyntaxFault {
            at: Position { line: error.line().max(1), column: error.column().max(1) },
            message: format!("not valid JSON: {}", before_place(&error.to_string())),
            help: "JSON wants double quotes, and no comma behind the last element; or call the file .yaml",
        }),
    }
}

/// The message without the place that it ends with.
fn before_place(message: &str) -> &str {
    message.split_once(" at line ").map_or(message, |(message, _)| message)
}

/// Reads every document of one file into `config`. A syntax fault ends the reading of this file, after the documents
/// before it.
pub fn read(file: &str, text: &str, config: &mut Config, sources: &mut Sources, diagnostics: &mut Diagnostics) {
    let file: Arc<str> = file.into();
    let mut reader = Reader { in_manifest: true, ..Reader::new(text) };
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        let (ordinal, at) = (config.skip_ordinal(), Position { line: 1, column: 1 });
        sources.objects.push((file.clone(), Place { at, inside: Inside::Nothing }));
        sources.empty.push(file.clone());
        diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            code: "empty-file",
            object: ObjectRef { kind: "file".into(), namespace: "".into(), name: file, ordinal },
            path: String::new(),
            message: "there is nothing in this file".to_owned(),
            help: "write an object into it, or remove it".to_owned(),
        });
        return;
    }
    loop {
        match reader.document() {
            Ok(None) => return,
            Ok(Some((value, place))) => {
                let items = match (&place.inside, value.get("items").is_some()) {
                    (Inside::Map(entries), true) => entries.get("items").map(|(_, items)| items.clone()),
                    _ => None,
                };
                let count = config.add(value, diagnostics);
                match items {
                    Some(Place { inside: Inside::List(items), .. }) if items.len() == count => {
                        sources.objects.extend(items.into_iter().map(|item| (file.clone(), item)));
                    }
                    _ => sources.objects.extend(std::iter::repeat_n((file.clone(), place), count)),
                }
            }
            Err(fault) => return report(file, fault, config, sources, diagnostics),
        }
    }
}

/// Reports a file that could not be read at all; `reason` as the system gives it.
pub fn report_unreadable(
    file: &str,
    reason: String,
    config: &mut Config,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) {
    let at = Position { line: 1, column: 1 };
    let message = format!("cannot be read: {reason}");
    let fault = SyntaxFault { at, message, help: "see to it that the file is there and may be read" };
    report_as("unreadable", file.into(), fault, config, sources, diagnostics);
}

fn report(
    file: Arc<str>,
    fault: SyntaxFault,
    config: &mut Config,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) {
    report_as("syntax", file, fault, config, sources, diagnostics);
}

fn report_as(
    code: &'static str,
    file: Arc<str>,
    fault: SyntaxFault,
    config: &mut Config,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) {
    let ordinal = config.skip_ordinal();
    sources.objects.push((file.clone(), Place { at: fault.at, inside: Inside::Nothing }));
    diagnostics.push(Diagnostic {
        severity: Severity::Error,
        code,
        object: ObjectRef { kind: "file".into(), namespace: "".into(), name: file, ordinal },
        path: String::new(),
        message: fault.message,
        help: fault.help.to_owned(),
    });
}

/// Why a text is not YAML that Kubernetes would read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxFault {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
    /// A way out; may be empty.
    pub help: &'static str,
}

type Node = (Value, Place);

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// Anchored nodes with their size, for aliases.
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    aliased: usize,
    text: &'t str,
    /// Whether kubectl would read this too.
    in_manifest: bool,
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col().saturating_add(1) }
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        // Windows editors put a byte order mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            parser: Parser::new_from_str(text),
            anchors: BTreeMap::new(),
            nodes: 0,
            aliased: 0,
            text,
            in_manifest: false,
        }
    }

    fn event(&mut self) -> Result<Option<(Event<'t>, Position)>, SyntaxFault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, position(span)))),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = Position { line: marker.line(), column: marker.col().saturating_add(1) };
                Err(tab_before(self.text, at).unwrap_or_else(|| SyntaxFault {
                    at,
                    message: format!("not valid YAML: {}", error.info()),
                    help: "indent with blanks, close every quote and bracket, and put a blank behind each `:`",
                }))
            }
        }
    }

    /// The next document; `None` at the end of the file.
    fn document(&mut self) -> Result<Option<Node>, SyntaxFault> {
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _)) => {}
                Some((event, at)) => {
                    let node = self.node(event, at, 0)?;
                    self.anchors.clear();
                    return Ok(Some(node));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, at: Position, depth: usize) -> Result<Node, SyntaxFault> {
        let before = self.nodes;
        self.count(1, at)?;
        if depth > DEPTH_MAX {
            return Err(SyntaxFault {
                at,
                message: format!("nested deeper than {DEPTH_MAX} levels"),
                help: "no Istio object is that deep",
            });
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced_string = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let value = if style == ScalarStyle::Plain && !forced_string {
                    plain(&text, self.in_manifest)
                } else {
                    Value::String(text.into_owned())
                };
                (anchor, (value, Place { at, inside: Inside::Nothing }))
            }
            Event::SequenceStart(anchor, _) => (anchor, self.list(at, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(at, depth)?),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(SyntaxFault {
                        at,
                        message: "this alias refers to nothing".to_owned(),
                        help: "define the anchor before it",
                    });
                };
                self.aliased = self.aliased.saturating_add(*size);
                if self.aliased > ALIASED_MAX {
                    return Err(SyntaxFault {
                        at,
                        message: format!("the aliases stand for more than {ALIASED_MAX} values"),
                        help: "aliases that repeat each other grow without end: write the values out",
                    });
                }
                let (node, size) = (node.clone(), *size);
                self.count(size, at)?;
                return Ok(node);
            }
            _ => return Err(SyntaxFault { at, message: "the document ends here unexpectedly".to_owned(), help: "" }),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes.saturating_sub(before)));
        }
        Ok(node)
    }

    fn list(&mut self, at: Position, depth: usize) -> Result<Node, SyntaxFault> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        while let Some((event, item_at)) = self.event()? {
            if event == Event::SequenceEnd {
                break;
            }
            let (value, place) = self.node(event, item_at, depth.saturating_add(1))?;
            values.push(value);
            places.push(place);
        }
        Ok((Value::Array(values), Place { at, inside: Inside::List(places) }))
    }

    fn map(&mut self, at: Position, depth: usize) -> Result<Node, SyntaxFault> {
        let (mut values, mut places) = (Map::new(), BTreeMap::new());
        while let Some((event, key_at)) = self.event()? {
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(SyntaxFault {
                        at: key_at,
                        message: "a key must be plain text".to_owned(),
                        help: "quote it",
                    });
                }
            };
            let Some((event, value_at)) = self.event()? else { break };
            let (value, place) = self.node(event, value_at, depth.saturating_add(1))?;
            if key == "<<" {
                return Err(SyntaxFault {
                    at: key_at,
                    message: "merge keys (`<<`) are not read by Kubernetes".to_owned(),
                    help: "write the fields out",
                });
            }
            if values.insert(key.clone(), value).is_some() {
                return Err(SyntaxFault {
                    at: key_at,
                    message: format!("`{key}` stands here twice"),
                    help: "keep one of them",
                });
            }
            places.insert(key, (key_at, place));
        }
        Ok((Value::Object(values), Place { at, inside: Inside::Map(places) }))
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), SyntaxFault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(SyntaxFault { at, message: format!("more than {NODES_MAX} values"), help: "split the file" });
        }
        Ok(())
    }
}

/// A tab in the indentation of the line where the reading ended, or of one beside it: the most frequent reason, and
/// invisible in most editors.
fn tab_before(text: &str, at: Position) -> Option<SyntaxFault> {
    let lines = text.lines().zip(1..).skip(at.line.saturating_sub(2)).take(3);
    let tabbed = lines.filter_map(|(line, number)| {
        let indentation = line.split(|next: char| next != ' ' && next != '\t').next()?;
        Some((number, indentation.find('\t')?))
    });
    let (line, column) = tabbed.last()?;
    Some(SyntaxFault {
        at: Position { line, column: column.saturating_add(1) },
        message: "not valid YAML: a tab in the indentation".to_owned(),
        help: "indent with blanks",
    })
}

/// Whether kubectl reads this as a boolean, as YAML 1.1 does.
fn old_boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// What a plain scalar means to Kubernetes: YAML 1.2's core schema, and in manifests 1.1's words for booleans too.
fn plain(text: &str, in_manifest: bool) -> Value {
    if let Some(value) = old_boolean(text).filter(|_| in_manifest) {
        return Value::Bool(value);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Value::String(text.to_owned());
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = unsigned.parse::<u64>() {
        return Value::Number(number.into());
    }
    if let Ok(number) = unsigned.parse::<i64>() {
        return Value::Number(number.into());
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(number) = radix("0x", 16).or(radix("0o", 8)) {
        return Value::Number(number.into());
    }
    let is_float = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match unsigned.parse::<f64>().ok().filter(|_| is_float).and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}
