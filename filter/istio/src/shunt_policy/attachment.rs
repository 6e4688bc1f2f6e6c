//! To which rules a policy is attached (`spec.targetRef`).
//!
//! A policy that names a rule (`sectionName`) goes before one for the whole VirtualService. Whatever it names has to exist, and
//! two that say the same of one rule contradict each other: of a policy that cannot act, its author must hear.

use super::{ShuntPolicy, TargetRef};
use crate::delegates::Expanded;
use crate::diagnostic::{At, Diagnostics};
use crate::virtual_service::HttpRoute;
use crate::{Config, ObjectMeta, ObjectRef, Resource, VirtualService};
use std::collections::BTreeMap;

/// A rule, once delegates are written out: the name of the root VirtualService in full, and its place there.
pub type RulePlace = (String, usize);

/// A rule that a policy names.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'c> {
    /// The VirtualService that the rule belongs to, once delegates are written out.
    pub root: &'c ObjectMeta,
    /// Its place there.
    pub http: usize,
    /// The rule.
    pub rule: &'c HttpRoute,
}

impl Attached<'_> {
    /// What it is found by.
    pub fn place(&self) -> RulePlace {
        (self.root.full_name(), self.http)
    }
}

/// What a policy may hold for rules. One policy has `breaker` and `killSwitch`, or two one each: whoever holds for a rule with either
/// holds for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `spec.sticky`.
    Sticky,
    /// `spec.fallback`.
    Fallback,
    /// `spec.breaker`, `spec.killSwitch`.
    Guard,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Sticky => "sticky",
            Self::Fallback => "fallback",
            Self::Guard => "breaker or killSwitch",
        }
    }

    fn is_in(self, spec: &ShuntPolicy) -> bool {
        match self {
            Self::Sticky => spec.sticky.is_some(),
            Self::Fallback => spec.fallback.is_some(),
            Self::Guard => spec.breaker.is_some() || spec.kill_switch.is_some(),
        }
    }

    /// Whether it can do something for a rule.
    fn acts_on(self, rule: &HttpRoute) -> bool {
        rule.route.len() > usize::from(self == Self::Sticky)
    }
}

/// A policy that has this part, and the rules that it holds for.
#[derive(Clone, Debug)]
pub struct Holder<'c> {
    /// The policy.
    pub policy: &'c Resource<ShuntPolicy>,
    /// Every rule it names.
    pub named: Vec<Attached<'c>>,
    /// Those of them that the part acts on, and for which no other policy holds.
    pub held: Vec<Attached<'c>>,
}

impl<'c> Holder<'c> {
    /// Every policy with this part; faults are reported.
    pub fn find(
        part: Part,
        config: &'c Config,
        expanded: &'c [Expanded<'_>],
        diagnostics: &mut Diagnostics,
    ) -> Vec<Self> {
        // By rule: the policy that holds, whether it names the rule, and its place in the list.
        let mut holders: BTreeMap<RulePlace, (&ObjectRef, bool, usize)> = BTreeMap::new();
        let mut found: Vec<Self> = Vec::new();
        for policy in config.shunt_policies.iter().filter(|policy| part.is_in(&policy.spec)) {
            let object = At::object(&policy.meta.reference);
            let spec = object.field("spec");
            let at = spec.field("targetRef");
            let Some(target) = &policy.spec.target_ref else {
                let help = "name it: targetRef: {kind: VirtualService, name: NAME}";
                diagnostics.error(
                    &at,
                    "no-target",
                    format!("{} holds for the rules of one VirtualService", part.name()),
                    help,
                );
                continue;
            };
            let Some(named) = rules(&at, target, &policy.meta, config, expanded, diagnostics) else { continue };
            let is_one = !target.section_name.is_empty();
            let place = found.len();
            let mut held = Vec::new();
            for rule in named.iter().filter(|named| part.acts_on(named.rule)) {
                match holders.get(&rule.place()) {
                    Some((other, others_is_one, _)) if *others_is_one == is_one => {
                        let message = format!("{other} already has {} for this rule", part.name());
                        diagnostics.error(&at, "conflict", message, "keep one of them, or give one a sectionName");
                        continue;
                    }
                    Some((_, true, _)) => continue,
                    Some((_, false, earlier)) => {
                        if let Some(earlier) = found.get_mut(*earlier) {
                            earlier.held.retain(|held: &Attached<'_>| held.place() != rule.place());
                        }
                    }
                    None => {}
                }
                holders.insert(rule.place(), (&policy.meta.reference, is_one, place));
                held.push(*rule);
            }
            found.push(Self { policy, named, held });
        }
        found
    }
}

/// The rules that a policy is attached to. `None` where it names what does not exist; that is reported.
pub fn rules<'c>(
    at: &At<'_>,
    target: &TargetRef,
    policy: &ObjectMeta,
    config: &'c Config,
    expanded: &'c [Expanded<'_>],
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Attached<'c>>> {
    let TargetRef { group, kind, name, section_name } = target;
    let wanted = [("group", group, "networking.istio.io"), ("kind", kind, "VirtualService")];
    for (field, found, only) in wanted {
        if !found.is_empty() && found != only {
            let message =
                format!("a ShuntPolicy is attached to a VirtualService of networking.istio.io, not to `{found}`");
            diagnostics.error(&at.field(field), "bad-target", message, format!("write {only}, or leave it out"));
            return None;
        }
    }
    if name.is_empty() {
        let help = "write it: targetRef: {kind: VirtualService, name: NAME}";
        diagnostics.error(&at.field("name"), "no-target", "the name of the VirtualService is missing", help);
        return None;
    }
    let find = |namespace: &str, name: &str| {
        let is_it =
            |service: &&Resource<VirtualService>| service.meta.namespace() == namespace && service.meta.name() == name;
        config.virtual_services.iter().find(is_it)
    };
    let Some(service) = find(policy.namespace(), name) else {
        let message = format!("there is no VirtualService {}/{name}", policy.namespace());
        let help = "name one of the policy's own namespace";
        diagnostics.error(&at.field("name"), "unknown-target", message, help);
        return None;
    };
    let has_name =
        |rule: Option<&HttpRoute>| section_name.is_empty() || rule.is_some_and(|rule| rule.name == *section_name);
    if !section_name.is_empty() && !service.spec.http.iter().any(|rule| has_name(Some(rule))) {
        let names: Vec<_> = service.spec.http.iter().map(|rule| &*rule.name).filter(|name| !name.is_empty()).collect();
        let help = match (delegate_with(section_name, service, config, expanded), names.as_slice()) {
            (Some(delegate), _) => format!(
                "a rule of {}/{} is, to which this one hands over: attach a ShuntPolicy of namespace {} to that",
                delegate.namespace, delegate.name, delegate.namespace
            ),
            (None, []) => "give the rule a name: spec.http[].name".to_owned(),
            (None, names) => format!("its rules are called {}", names.join(", ")),
        };
        let message = format!("no rule of VirtualService {}/{name} is called `{section_name}`", policy.namespace());
        diagnostics.error(&at.field("sectionName"), "unknown-target", message, help);
        return None;
    }
    let own = &service.meta.reference;
    let mut named = Vec::new();
    for rules in expanded {
        let root = &rules.service.meta;
        for (http, rule) in rules.service.spec.http.iter().enumerate() {
            let ((of_root, _), delegate) = rules.block_origin(http, None);
            let by_root = root.reference == *own && has_name(service.spec.http.get(of_root));
            let by_delegate =
                delegate.is_some_and(|(object, (index, _))| object == own && has_name(service.spec.http.get(index)));
            if by_root || by_delegate {
                named.push(Attached { root, http, rule });
            }
        }
    }
    Some(named)
}

/// The delegate of `root` that has a rule of this name.
fn delegate_with<'c>(
    name: &str,
    root: &Resource<VirtualService>,
    config: &Config,
    expanded: &'c [Expanded<'_>],
) -> Option<&'c ObjectRef> {
    let of_root = expanded.iter().filter(|rules| rules.service.meta.reference == root.meta.reference);
    let mut handed_over = of_root
        .flat_map(|rules| (0..rules.service.spec.http.len()).filter_map(|http| rules.block_origin(http, None).1));
    let is_called_so = |object: &ObjectRef, http: usize| {
        let mut services = config.virtual_services.iter();
        let service = services.find(|service| service.meta.reference == *object);
        service.and_then(|service| service.spec.http.get(http)).is_some_and(|rule| rule.name == name)
    };
    handed_over.find(|(object, (http, _))| is_called_so(object, *http)).map(|(object, _)| object)
}
