//! Rules and match blocks that no request reaches (IST0130, IST0131).
//!
//! Istio compares blocks text by text and prefixes with prefixes; this proves more ([`crate::cover`]), and never what is
//! not so. Only rules of one VirtualService are compared: those of another on the same gateway come before or behind.

use crate::cover::Block;
use crate::view::{self, Rule, View};
use istio_config::Diagnostics;

/// A block that came before, and the rule it belongs to.
struct Earlier<'v> {
    rule: Rule<'v>,
    match_block: Option<usize>,
    block: Block,
}

impl Earlier<'_> {
    fn title(&self) -> String {
        match self.match_block {
            None => format!("{}, which has no match", self.rule.title()),
            Some(index) => format!("match[{index}] of {}", self.rule.title()),
        }
    }
}

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for expanded in &view.expanded {
        let gateways = view::gateways_of(&expanded.service);
        let mut earlier: Vec<Earlier<'_>> = Vec::new();
        for rule in view::rules_of(expanded) {
            look_at(rule, &gateways, &mut earlier, diagnostics);
        }
    }
}

fn look_at<'v>(rule: Rule<'v>, gateways: &[String], earlier: &mut Vec<Earlier<'v>>, diagnostics: &mut Diagnostics) {
    let namespace = rule.owner.meta.namespace();
    let blocks: Vec<(Option<usize>, Option<Block>)> = match rule.raw.r#match.as_slice() {
        [] => vec![(None, Some(Block::everything()))],
        raw => raw.iter().enumerate().map(|(index, raw)| (Some(index), Block::new(raw, namespace))).collect(),
    };
    let before = earlier.len();
    let mut dead = Vec::new();
    for (match_block, block) in &blocks {
        let Some(block) = block else { continue };
        match earlier.iter().position(|earlier| earlier.block.covers(block, gateways)) {
            Some(position) => dead.push((*match_block, position)),
            // A block that nothing reaches takes nothing from those behind it that is not taken already.
            None => earlier.push(Earlier { rule, match_block: *match_block, block: block.clone() }),
        }
    }
    let by_others = dead.iter().filter(|(_, position)| *position < before).count();
    let unreachable = by_others > 0 && by_others == blocks.len();
    rule.at(|at| {
        let field = at.field("match");
        if let Some(first) = dead.first().and_then(|(_, position)| earlier.get(*position)).filter(|_| unreachable) {
            let catch_all = first.block.is_catch_all()
                && dead.iter().all(|(_, position)| dead.first().is_some_and(|(_, first)| first == position));
            let message = if catch_all {
                format!("this rule is never used: {} takes every request before it", first.title())
            } else {
                let mut titles: Vec<_> =
                    dead.iter().filter_map(|(_, at)| earlier.get(*at)).map(Earlier::title).collect();
                titles.dedup();
                format!("this rule is never used: {} takes all its requests before it", titles.join(" and "))
            };
            diagnostics.warning(at, "IST0130", message, "move it in front of that rule, or remove it");
            return;
        }
        for (match_block, position) in &dead {
            let (Some(index), Some(first)) = (*match_block, earlier.get(*position)) else { continue };
            let at = field.index(index);
            let message = format!("this match is never used: {} takes its requests before it", first.title());
            if first.rule.index == rule.index {
                diagnostics.note(&at, "IST0131", message, "remove it: the rule says the same without it");
            } else {
                diagnostics.warning(&at, "IST0131", message, "move the rule in front of that one, or remove the match");
            }
        }
    });
}
