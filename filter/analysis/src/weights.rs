//! Weights and destinations that do not divide requests as they seem to.

use crate::view::{Rule, View};
use istio_config::Diagnostics;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for rule in view.rules() {
        missing_weight(rule, diagnostics);
        same_twice(rule, diagnostics);
    }
}

/// Beside others, a destination without a weight gets nothing; alone, one with weight 0 gets everything.
fn missing_weight(rule: Rule<'_>, diagnostics: &mut Diagnostics) {
    let routes = &rule.raw.route;
    rule.at(|at| {
        let list = at.field("route");
        if let [only] = routes.as_slice() {
            if only.weight == Some(0) {
                let message = "the only destination gets every request, also with weight 0";
                diagnostics.warning(
                    &list.index(0).field("weight"),
                    "single-weight-zero",
                    message,
                    "remove the weight; to refuse requests, use `directResponse`",
                );
            }
            return;
        }
        // Where no weight is above zero, that is the fault, and the policy reports it.
        let some = routes.iter().any(|route| route.weight.is_some_and(|weight| weight > 0));
        for (index, _) in routes.iter().enumerate().filter(|(_, route)| some && route.weight.is_none()) {
            let message = "a destination without a weight beside others that have one gets no request";
            diagnostics.warning(&list.index(index), "missing-weight", message, "give it a weight, or remove it");
        }
    });
}

fn same_twice(rule: Rule<'_>, diagnostics: &mut Diagnostics) {
    let routes = &rule.raw.route;
    for (index, route) in routes.iter().enumerate() {
        let key = |index: usize| {
            let route = routes.get(index)?;
            let port = route.destination.port.as_ref().map(|port| port.number);
            Some((rule.full_host(&route.destination), route.destination.subset.as_str(), port, &route.headers))
        };
        let Some(first) = (0..index).find(|first| key(*first) == key(index)) else { continue };
        let message = format!("the same destination as route[{first}]: together they are one, with both weights");
        rule.at(|at| {
            let help = match route.destination.subset.as_str() {
                "" => "was another subset meant? If not, add the weights up",
                _ => "add the weights up",
            };
            diagnostics.warning(
                &at.field("route").index(index).field("destination"),
                "same-destination-twice",
                message,
                help,
            );
        });
    }
}
