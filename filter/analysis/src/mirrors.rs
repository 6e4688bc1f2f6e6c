//! Copies that do more than they should: writes that are carried out twice, and copies to where the request goes anyway.

use crate::text_set::TextSet;
use crate::view::{Rule, View};
use istio_config::Diagnostics;

/// Methods that change something.
const WRITES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        // Without a route there is nothing to copy.
        if rule.raw.route.is_empty() || !view.is_whole_rule(rule) {
            continue;
        }
        for (field, destination) in rule.mirrored() {
            let writes = writes(rule);
            if !writes.is_empty() {
                let message =
                    format!("{} are copied too: the mirror carries them out a second time", writes.join(", "));
                let help = "match on `method: {exact: GET}` in a rule of its own, or mirror to something whose writes do not count";
                rule.at(|at| diagnostics.warning(&at.field(&field), "mirror-of-writes", message, help));
            }
            let host = rule.full_host(destination);
            let alone = rule.drawn().count() == 1;
            let same = rule.drawn().any(|(_, to, _)| {
                rule.full_host(to) == host && to.subset == destination.subset && to.port == destination.port
            });
            if alone && same {
                let message = "the copy goes where the request goes: it gets everything twice";
                rule.at(|at| {
                    diagnostics.warning(&at.field(&field), "mirror-to-itself", message, "name the other version")
                });
            }
        }
    }
}

/// The writing methods that some match block of the rule takes.
fn writes(rule: Rule<'_>) -> Vec<&'static str> {
    let blocks = &rule.raw.r#match;
    let takes = |method: &&str| {
        blocks.is_empty()
            || blocks.iter().any(|block| {
                block.method.as_ref().is_none_or(|raw| TextSet::new(raw, false).is_some_and(|set| set.holds(method)))
            })
    };
    WRITES.into_iter().filter(|method| takes(method)).collect()
}
