//! The comparison, for people and as JSON.

use super::groups::{Group, Groups};
use super::objects::{ObjectChange, Presence, RuleChange};
use super::outcome::{RuleTitle, percent, version};
use super::patterns::ToldAlike;
use super::request::Sample;
use super::{Effort, FieldChange, Side, compare};
use crate::users::UsersMoved;
use istio_config::shunt_policy;
use serde_json::{Value, json};
use std::fmt::Write;

/// What of a ShuntPolicy is not asked of requests.
const UNASKED: [&str; 4] = ["propagate", "breaker", "killSwitch", "httpCookie"];

/// How long a value may be in the text.
const VALUE_MAX: usize = 60;

/// What a change of the rules means; `docs/diff.md` describes both forms.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffReport {
    /// Objects and rules that are not the same.
    pub objects: Vec<ObjectChange>,
    /// Hosts whose requests were compared: all that the changes can touch.
    pub hosts: Vec<HostCompared>,
    /// Made requests that change.
    pub groups: Groups,
    /// Conditions that changed and that no request made here tells apart.
    pub told_alike: Vec<ToldAlike>,
    /// Services, as `HOST:PORT`, that have other addresses and the same versions.
    pub moved_in: Vec<String>,
    /// Rules whose users stay on a version, and move now.
    pub users: Vec<UsersMoved>,
    /// How far the comparison went.
    pub effort: Effort,
    /// Recorded requests, if there were any.
    pub recorded: Option<Recorded>,
}

/// How one host was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCompared {
    /// The host, maybe a wildcard.
    pub host: String,
    /// Requests that were made.
    pub requests: usize,
    /// Those that change.
    pub changed: usize,
    /// Whether they are a sample, and not all combinations.
    pub is_sampled: bool,
}

/// How recorded requests fare.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Requests.
    pub requests: usize,
    /// Those for which something changes.
    pub changed: usize,
    /// How many of them are expected to meet another version: the sum of their shares.
    pub moved: f64,
    /// What changes.
    pub groups: Groups,
}

impl Recorded {
    /// Compares one request.
    pub fn add(&mut self, old: &Side<'_>, new: &Side<'_>, sample: &Sample) {
        self.requests = self.requests.saturating_add(1);
        if let Some(difference) = sample.with_head(|head| compare(old, new, head)) {
            self.changed = self.changed.saturating_add(1);
            self.moved += difference.share;
            self.groups.add(sample.value(":authority"), sample, difference);
        }
    }

    /// Counts a request that a host refuses before any rule is asked, on both sides alike.
    pub fn add_refused(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    fn share(&self, count: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let requests = self.requests.max(1) as f64;
        count / requests
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn real(count: usize) -> f64 {
    count as f64
}

impl DiffReport {
    /// Whether some request meets something else, or may: what a ShuntPolicy says of context, breakers, switches and cookies is not
    /// asked of requests.
    pub fn changes_requests(&self) -> bool {
        !self.groups.is_empty()
            || !self.users.is_empty()
            || self.changes_policies()
            || self.recorded.as_ref().is_some_and(|recorded| !recorded.groups.is_empty())
    }

    fn changes_policies(&self) -> bool {
        self.objects.iter().any(|object| object.kind == shunt_policy::KIND)
    }

    /// As a text.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.objects.iter().for_each(|object| object_text(&mut out, object));
        if self.objects.is_empty() {
            line(&mut out, 0, "The rules are the same.");
        }
        out.push('\n');
        if self.groups.is_empty() && self.told_alike.is_empty() && !self.changes_requests() {
            line(&mut out, 0, "No request meets anything else.");
        } else if self.groups.is_empty() {
            line(&mut out, 0, "No request that was compared meets anything else.");
        } else {
            line(&mut out, 0, "Requests that meet something else:");
            self.groups.iter().for_each(|group| group_text(&mut out, group, None));
        }
        self.users.iter().for_each(|moved| users_text(&mut out, moved));
        if self.objects.iter().any(says_more) {
            line(
                &mut out,
                0,
                "Compared as it is written, above: context, breakers, switches and cookies of a ShuntPolicy.",
            );
        }
        if !self.moved_in.is_empty() {
            line(&mut out, 0, &format!("Other endpoints, same version: {}.", self.moved_in.join(", ")));
        }
        if !self.told_alike.is_empty() {
            out.push('\n');
            line(&mut out, 0, "Not told apart by any request that was compared:");
            for ToldAlike { what, old, new } in &self.told_alike {
                line(&mut out, 1, &format!("{what}: {} → {}", short(old), short(new)));
            }
        }
        out.push('\n');
        line(&mut out, 0, &self.compared_text());
        if let Some(recorded) = &self.recorded {
            out.push('\n');
            let Recorded { requests, changed, moved, groups } = recorded;
            let share = percent(recorded.share(real(*changed)));
            line(&mut out, 0, &format!("Recorded: {changed} of {requests} requests meet something else ({share})."));
            if *moved > 0.0 {
                let share = percent(recorded.share(*moved));
                line(&mut out, 0, &format!("Another version for about {moved:.1} of them: {share} of all requests."));
            }
            groups.iter().for_each(|group| group_text(&mut out, group, Some(*requests)));
        }
        out
    }

    fn compared_text(&self) -> String {
        if self.hosts.is_empty() {
            return "Compared: nothing, for no change can touch a decision.".to_owned();
        }
        let requests: usize = self.hosts.iter().map(|host| host.requests).sum();
        let sampled = self.hosts.iter().filter(|host| host.is_sampled).count();
        let text = format!("Compared: {} for {}", plural(requests, "request"), plural(self.hosts.len(), "host"));
        match sampled {
            0 if !self.told_alike.is_empty() => {
                format!("{text}, all combinations of what the rules look at, but for what is not told apart.")
            }
            0 => format!("{text}, all combinations of what the rules look at."),
            _ => format!(
                "{text}; {} of the hosts by a sample of {} (seed {}).",
                sampled, self.effort.samples, self.effort.seed
            ),
        }
    }

    /// As one JSON object, `kind: DiffReport`.
    pub fn to_json(&self) -> Value {
        let hosts = self.hosts.iter().map(|host| {
            let HostCompared { host, requests, changed, is_sampled } = host;
            json!({"host": host, "requests": requests, "changed": changed, "sampled": is_sampled})
        });
        let mut json = json!({
            "apiVersion": "shunt.dev/v1alpha1",
            "kind": "DiffReport",
            "objects": self.objects.iter().map(object_json).collect::<Vec<_>>(),
            "compared": {"hosts": hosts.collect::<Vec<_>>(), "samples": self.effort.samples, "seed": self.effort.seed},
            "groups": self.groups.iter().map(group_json).collect::<Vec<_>>(),
            "toldAlike": self.told_alike.iter().map(alike_json).collect::<Vec<_>>(),
            "otherEndpoints": self.moved_in,
            "users": self.users.iter().map(users_json).collect::<Vec<_>>(),
        });
        if let (Some(recorded), Some(fields)) = (&self.recorded, json.as_object_mut()) {
            let Recorded { requests, changed, moved, groups } = recorded;
            let groups: Vec<_> = groups.iter().map(group_json).collect();
            let told = json!({"requests": requests, "changed": changed, "moved": moved, "groups": groups});
            fields.insert("recorded".to_owned(), told);
        }
        json
    }
}

/// Whether something of a policy may have changed that is not asked of requests.
fn says_more(object: &ObjectChange) -> bool {
    let is_more = |field: &FieldChange| UNASKED.iter().any(|part| field.path.contains(part));
    object.kind == shunt_policy::KIND && (object.presence != Presence::Changed || object.fields.iter().any(is_more))
}

fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{:1$}{text}", "", depth.saturating_mul(2));
}

fn presence_word(presence: Presence) -> &'static str {
    match presence {
        Presence::Added => "added",
        Presence::Removed => "removed",
        Presence::Changed => "changed",
    }
}

fn object_text(out: &mut String, object: &ObjectChange) {
    let ObjectChange { kind, namespace, name, presence, fields, rules, hosts: _ } = object;
    line(out, 0, &format!("{kind} {namespace}/{name}: {}", presence_word(*presence)));
    fields.iter().for_each(|field| field_text(out, 1, field));
    for rule in rules {
        line(out, 1, &rule_change_text(rule));
        rule.fields.iter().for_each(|field| field_text(out, 2, field));
    }
}

fn rule_change_text(rule: &RuleChange) -> String {
    let RuleChange { name, old, new, is_moved, fields: _ } = rule;
    let name = if name.is_empty() { String::new() } else { format!(" (`{name}`)") };
    let place = |index: usize| format!("http[{index}]{name}");
    match (old, new) {
        (None, Some(new)) => format!("{} added", place(*new)),
        (Some(old), None) => format!("{} removed", place(*old)),
        (Some(old), Some(new)) if *is_moved => format!("{}, moved from http[{old}]", place(*new)),
        (Some(old), Some(new)) if old != new => format!("{}, before http[{old}]", place(*new)),
        (_, Some(new)) => place(*new),
        (None, None) => name,
    }
}

/// As much of a text as a line should hold.
fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn field_text(out: &mut String, depth: usize, field: &FieldChange) {
    let text = |value: &Option<Value>| short(&value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string));
    line(out, depth, &format!("{}: {} → {}", field.path, text(&field.old), text(&field.new)));
}

fn rule_text(rule: &RuleTitle) -> String {
    let RuleTitle { owner, http, name, instead } = rule;
    let name = if name.is_empty() { String::new() } else { format!(" (`{name}`)") };
    match http {
        Some(http) => format!("{owner}: http[{http}]{name}"),
        None if owner.is_empty() => (*instead).to_owned(),
        None => format!("{owner}: default route"),
    }
}

/// `v1 → v2 of HOST:PORT`, or both ends in full.
fn move_text(from: &str, to: &str) -> String {
    let (from, to) = (version(from), version(to));
    match (from.split_once(" of "), to.split_once(" of ")) {
        (Some((subset, host)), Some((_, other))) if host == other => format!("{subset} → {to}"),
        _ => format!("{from} → {to}"),
    }
}

fn group_text(out: &mut String, group: &Group, of: Option<usize>) {
    let Group { difference, example, count, hosts: _ } = group;
    let (old, new) = (rule_text(&difference.old), rule_text(&difference.new));
    let rules = if old == new { old } else { format!("{old} → {new}") };
    let counted = of.map(|all| format!("  {count} of {}", plural(all, "request"))).unwrap_or_default();
    line(out, 1, &format!("{rules}{counted}"));
    for moved in &difference.moves {
        line(out, 2, &format!("{:>6}  {}", percent(moved.share), move_text(&moved.from, &moved.to)));
    }
    for detail in &difference.details {
        line(out, 2, &format!("{}: {} → {}", detail.what, short(&detail.old), short(&detail.new)));
    }
    line(out, 2, &format!("as in {}", example.to_text()));
}

fn users_text(out: &mut String, moved: &UsersMoved) {
    let UsersMoved { rule, are_placed_anew, moves } = moved;
    let share = percent(moved.share());
    let anew = if *are_placed_anew { ", as keys or salt are others" } else { "" };
    line(out, 0, &format!("Users who move, {share} of all of {rule}{anew}:"));
    for (from, to, share) in moves {
        line(out, 2, &format!("{:>6}  {from} → {to}", percent(*share)));
    }
}

fn users_json(moved: &UsersMoved) -> Value {
    let UsersMoved { rule, are_placed_anew, moves } = moved;
    let moves = moves.iter().map(|(from, to, share)| json!({"from": from, "to": to, "share": share}));
    json!({
        "rule": rule,
        "share": moved.share(),
        "placedAnew": are_placed_anew,
        "moves": moves.collect::<Vec<_>>(),
    })
}

fn object_json(object: &ObjectChange) -> Value {
    let ObjectChange { kind, namespace, name, presence, fields, rules, hosts: _ } = object;
    let rules = rules.iter().map(|rule| {
        let RuleChange { name, old, new, is_moved, fields } = rule;
        json!({"name": name, "old": old, "new": new, "moved": is_moved, "fields": fields_json(fields)})
    });
    json!({
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "change": presence_word(*presence),
        "fields": fields_json(fields),
        "rules": rules.collect::<Vec<_>>(),
    })
}

fn fields_json(fields: &[FieldChange]) -> Vec<Value> {
    fields.iter().map(|FieldChange { path, old, new }| json!({"path": path, "old": old, "new": new})).collect()
}

fn alike_json(ToldAlike { what, old, new }: &ToldAlike) -> Value {
    json!({"what": what, "old": old, "new": new})
}

fn group_json(group: &Group) -> Value {
    let Group { difference, example, count, hosts } = group;
    let rule = |rule: &RuleTitle| {
        let RuleTitle { owner, http, name, instead } = rule;
        match owner.is_empty() {
            true => json!({"none": instead}),
            false => json!({"owner": owner, "http": http, "name": name}),
        }
    };
    let moves = difference.moves.iter();
    let moves = moves.map(|moved| json!({"from": moved.from, "to": moved.to, "share": moved.share}));
    let details = difference.details.iter();
    let details = details.map(|detail| json!({"what": detail.what, "old": detail.old, "new": detail.new}));
    json!({
        "old": rule(&difference.old),
        "new": rule(&difference.new),
        "share": difference.share,
        "moves": moves.collect::<Vec<_>>(),
        "details": details.collect::<Vec<_>>(),
        "requests": count,
        "hosts": hosts,
        "example": example.to_json(),
    })
}
