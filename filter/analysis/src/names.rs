//! Rule names used twice: statistics, logs and `ShuntPolicy` could not tell the rules apart.

use crate::view::{self, View};
use istio_config::Diagnostics;
use std::collections::BTreeMap;

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for expanded in &view.expanded {
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for rule in view::rules_of(expanded).filter(|rule| !rule.raw.name.is_empty()) {
            let place = rule.at(|at| at.path.to_string());
            match known.get(rule.raw.name.as_str()) {
                // One rule of a delegate under several roots is still one rule.
                Some(first) if *first == place => {}
                Some(first) => rule.at(|at| {
                    let message = format!("`{}` is the name of {first} already", rule.raw.name);
                    diagnostics.warning(
                        &at.field("name"),
                        "duplicate-rule-name",
                        message,
                        "give each rule a name of its own",
                    );
                }),
                None => {
                    known.insert(&rule.raw.name, place);
                }
            }
        }
    }
}
