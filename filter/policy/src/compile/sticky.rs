//! `ShuntPolicy.sticky`: which rules it holds for, and who a user is.

use crate::rendezvous::{Salt, VersionId};
use crate::sticky::{Cookie, Keys, StickyTargets, Version};
use istio_config::Config;
use istio_config::delegates::Expanded;
use istio_config::diagnostic::{At, Diagnostics};
use istio_config::names::is_token;
use istio_config::shunt_policy::attachment::{Attached, Holder, Part, RulePlace};
use istio_config::shunt_policy::{Sticky, StickyCookie, StickyOverride};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Who users are, by VirtualService and rule, once delegates are written out.
pub(super) type StickyRules = BTreeMap<RulePlace, Arc<Keys>>;

/// What browsers make of a longer `Max-Age`, in seconds: 400 days (RFC 6265bis).
const AGE_MAX: u64 = 400 * 24 * 60 * 60;

/// Reads every policy; faults are reported.
pub(super) fn compile(config: &Config, expanded: &[Expanded<'_>], diagnostics: &mut Diagnostics) -> StickyRules {
    let mut rules = StickyRules::new();
    let holders = Holder::find(Part::Sticky, config, expanded, diagnostics);
    // Keys are looked at wherever they stand, also of a policy that names nothing.
    let keys: Vec<_> = config
        .shunt_policies
        .iter()
        .filter_map(|policy| {
            let object = At::object(&policy.meta.reference);
            let spec = object.field("spec");
            let keys = keys(&spec.field("sticky"), policy.spec.sticky.as_ref()?, diagnostics)?;
            Some((&policy.meta.reference, keys))
        })
        .collect();
    for Holder { policy, named, held } in holders {
        let object = At::object(&policy.meta.reference);
        let spec = object.field("spec");
        let is_one = policy.spec.target_ref.as_ref().is_some_and(|target| !target.section_name.is_empty());
        report_without_choice(&spec.field("targetRef"), &named, is_one, diagnostics);
        if let Some((_, keys)) = keys.iter().find(|(reference, _)| **reference == policy.meta.reference) {
            rules.extend(held.iter().map(|rule| (rule.place(), keys.clone())));
        }
    }
    rules
}

/// Tells of a policy that has nothing to decide.
fn report_without_choice(at: &At<'_>, named: &[Attached<'_>], is_one: bool, diagnostics: &mut Diagnostics) {
    if named.iter().any(|named| named.rule.route.len() > 1) {
        return;
    }
    let answers = named.iter().any(|named| named.rule.route.is_empty() && named.rule.delegate.is_none());
    let at = at.field(if is_one { "sectionName" } else { "name" });
    if is_one && answers {
        let help = "attach it to a rule with a route";
        diagnostics.error(&at, "contradiction", "this rule answers by itself: it has no versions to stay on", help);
    } else {
        let help = "it begins to act when a rule has a second destination";
        diagnostics.warning(&at, "no-choice", "no rule here has two destinations: there is nothing to stay on", help);
    }
}

/// Who a user is. `None` where that cannot be told; it is reported.
fn keys(at: &At<'_>, raw: &Sticky, diagnostics: &mut Diagnostics) -> Option<Arc<Keys>> {
    let Sticky { http_header_name, http_cookie, http_query_parameter_name, use_source_ip, salt, allow_override } = raw;
    let source_ip = use_source_ip.unwrap_or(false);
    let mut sound = true;
    if http_header_name.is_none() && http_cookie.is_none() && http_query_parameter_name.is_none() && !source_ip {
        let help = "give it httpHeaderName, httpCookie, httpQueryParameterName or useSourceIp: true";
        diagnostics.error(at, "no-key", "nothing here says who a user is", help);
        sound = false;
    }
    sound &= http_header_name.iter().all(|name| is_name(&at.field("httpHeaderName"), name, diagnostics));
    if http_query_parameter_name.as_ref().is_some_and(String::is_empty) {
        let at = at.field("httpQueryParameterName");
        diagnostics.error(&at, "bad-key", "the parameter has no name", "write its name");
        sound = false;
    }
    let cookie = http_cookie.as_ref().and_then(|raw| cookie(&at.field("httpCookie"), raw, diagnostics));
    sound &= cookie.is_some() == http_cookie.is_some();
    if cookie.is_some() && source_ip {
        let message =
            "every request has an address, so this cookie is never made, and counts only where it comes from elsewhere";
        diagnostics.warning(&at.field("useSourceIp"), "no-effect", message, "leave out useSourceIp, or the cookie");
    }
    let (mut override_header, mut override_cookie) = (None, None);
    if let Some(StickyOverride { http_header_name, http_cookie_name }) = allow_override {
        let at = at.field("allowOverride");
        if http_header_name.is_none() && http_cookie_name.is_none() {
            let help = "give it httpHeaderName or httpCookieName, or leave it out";
            diagnostics.error(&at, "bad-key", "nothing here says where testers name their version", help);
            sound = false;
        }
        sound &= http_header_name.iter().all(|name| is_name(&at.field("httpHeaderName"), name, diagnostics));
        sound &= http_cookie_name.iter().all(|name| is_name(&at.field("httpCookieName"), name, diagnostics));
        override_header = http_header_name.as_ref().map(|name| name.to_ascii_lowercase().into());
        override_cookie = http_cookie_name.as_deref().map(Into::into);
    }
    sound.then(|| {
        Arc::new(Keys {
            header: http_header_name.as_ref().map(|name| name.to_ascii_lowercase().into()),
            cookie,
            query_parameter: http_query_parameter_name.as_deref().map(Into::into),
            source_ip,
            salt: Salt::new(salt),
            override_header,
            override_cookie,
        })
    })
}

/// Whether headers and cookies may be called so, and the filter does not call its own so.
fn is_name(at: &At<'_>, name: &str, diagnostics: &mut Diagnostics) -> bool {
    let is_own = crate::headers::is_internal(name.to_ascii_lowercase().as_bytes());
    let sound = is_token(name) && !is_own;
    if !sound {
        let message = match is_own {
            true => format!("what a client sends as `{name}` is removed before anybody looks"),
            false => format!("`{name}` is no name of a header or cookie"),
        };
        let help = match is_own {
            true => "names that begin with x-shunt- or x-envoy-fault- are taken: write another one",
            false => "write letters, digits and `-`, without blanks, such as x-user-id",
        };
        diagnostics.error(at, "bad-key", message, help);
    }
    sound
}

/// Whether this can stand in the attributes of a cookie (RFC 6265, `av-octet`).
fn is_attribute(at: &At<'_>, text: &str, diagnostics: &mut Diagnostics) -> bool {
    let is_plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b';';
    let sound = text.bytes().all(is_plain);
    if !sound {
        let help = "write ASCII without `;`";
        diagnostics.error(at, "bad-key", format!("`{text}` cannot stand in a cookie"), help);
    }
    sound
}

fn cookie(at: &At<'_>, raw: &StickyCookie, diagnostics: &mut Diagnostics) -> Option<Cookie> {
    let StickyCookie { name, path, ttl, attributes } = raw;
    let mut sound = is_name(&at.field("name"), name, diagnostics);
    sound &= is_attribute(&at.field("path"), path, diagnostics);
    // Without a path a browser keeps a cookie for each folder, and one user would be several.
    let mut written = format!("; Path={}", if path.is_empty() { "/" } else { path });
    if let Some(ttl) = ttl {
        let seconds = ttl.0.as_secs();
        if seconds == 0 {
            let help = "write 1s or more, or leave ttl out for a cookie that lasts as long as the browser";
            diagnostics.error(&at.field("ttl"), "bad-key", "a cookie of less than a second keeps nobody", help);
            sound = false;
        } else if seconds > AGE_MAX {
            let message = "browsers keep a cookie for 400 days at most";
            diagnostics.warning(&at.field("ttl"), "no-effect", message, "write 9600h or less");
        }
        let _ = write!(written, "; Max-Age={seconds}");
    }
    let field = at.field("attributes");
    for (index, attribute) in attributes.iter().enumerate() {
        let at = field.index(index);
        let own = [("path", "path"), ("max-age", "ttl")];
        if let Some((_, own)) = own.iter().find(|(name, _)| attribute.name.eq_ignore_ascii_case(name)) {
            let message = format!("`{}` is said by `{own}`", attribute.name);
            diagnostics.error(&at.field("name"), "bad-key", message, format!("write it as `{own}` of the cookie"));
            sound = false;
        }
        sound &= is_name(&at.field("name"), &attribute.name, diagnostics);
        sound &= is_attribute(&at.field("value"), &attribute.value, diagnostics);
        let _ = write!(written, "; {}", attribute.name);
        if !attribute.value.is_empty() {
            let _ = write!(written, "={}", attribute.value);
        }
    }
    sound.then(|| Cookie { name: name.as_str().into(), attributes: written.into() })
}

/// The versions of a rule, in file order: name, target and weight of each. A version is called by its subset, and by its host
/// where it has none; of two with one name the second is `NAME#2`.
pub(super) fn versions(keys: &Arc<Keys>, named: &[(&str, u32, u32)]) -> StickyTargets {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let versions = named.iter().map(|(name, target, weight)| {
        let count = seen.entry(name).and_modify(|count| *count = count.saturating_add(1)).or_insert(1);
        let name = if *count == 1 { (*name).to_owned() } else { format!("{name}#{count}") };
        Version { id: VersionId::new(&name), name: name.into(), target: *target, weight: *weight }
    });
    StickyTargets { versions: versions.collect(), keys: keys.clone() }
}
