//! Rules and match blocks that no request reaches (IST0130, IST0131).
//!
//! Istio compares blocks text by text and prefixes with prefixes; this proves more ([`crate::cover`]), and never what is
//! not so. Only rules of one VirtualService are compared: those of another on the same gateway come before or behind.

use crate::cover::{Block, Reach};
use crate::view::{self, Rule, View};
use istio_config::Diagnostics;
use std::collections::BTreeMap;

/// A block that came before, and the rule it belongs to.
struct Earlier<'v> {
    rule: Rule<'v>,
    match_block: Option<usize>,
    block: Block,
}

impl Earlier<'_> {
    fn title(&self) -> String {
        match self.match_block {
            None => format!("{}, which has no match,", self.rule.title()),
            Some(index) => format!("match[{index}] of {}", self.rule.title()),
        }
    }
}

/// The blocks so far, and which of them a path could meet: ten thousand rules are not compared each with each.
#[derive(Default)]
struct Before<'v> {
    all: Vec<Earlier<'v>>,
    anywhere: Vec<usize>,
    exact: BTreeMap<String, Vec<usize>>,
    prefix: BTreeMap<String, Vec<usize>>,
}

impl<'v> Before<'v> {
    fn push(&mut self, earlier: Earlier<'v>) {
        let list = match earlier.block.reach() {
            Reach::Anywhere => &mut self.anywhere,
            Reach::Exact(text) => self.exact.entry(text.to_owned()).or_default(),
            Reach::Prefix(text) => self.prefix.entry(text.to_owned()).or_default(),
        };
        list.push(self.all.len());
        self.all.push(earlier);
    }

    /// The first block that covers this one.
    fn cover(&self, block: &Block, gateways: &[String]) -> Option<usize> {
        let start = block.sure_start();
        let ends = (0..=start.len()).filter_map(|end| start.get(..end));
        let by_prefix = ends.filter_map(|start| self.prefix.get(start)).flatten();
        let by_text = self.exact.get(&start).into_iter().flatten();
        let candidates = self.anywhere.iter().chain(by_text).chain(by_prefix);
        let covers = |index: &usize| self.all.get(*index).is_some_and(|earlier| earlier.block.covers(block, gateways));
        candidates.copied().filter(covers).min()
    }
}

pub(crate) fn analyse(view: &View<'_>, diagnostics: &mut Diagnostics) {
    for expanded in view.expanded.iter().filter(|expanded| view.is_whole(expanded)) {
        let gateways = view::gateways_of(&expanded.service);
        let mut before = Before::default();
        for rule in view::rules_of(expanded) {
            look_at(rule, &gateways, &mut before, diagnostics);
        }
    }
}

fn look_at<'v>(rule: Rule<'v>, gateways: &[String], before: &mut Before<'v>, diagnostics: &mut Diagnostics) {
    let namespace = rule.owner.meta.namespace();
    let blocks: Vec<(Option<usize>, Option<Block>)> = match rule.raw.r#match.as_slice() {
        [] => vec![(None, Some(Block::everything()))],
        raw => raw.iter().enumerate().map(|(index, raw)| (Some(index), Block::new(raw, namespace))).collect(),
    };
    let (count, others) = (blocks.len(), before.all.len());
    let mut dead = Vec::new();
    for (match_block, block) in blocks {
        let Some(block) = block else { continue };
        match before.cover(&block, gateways) {
            Some(position) => dead.push((match_block, position)),
            // A block that nothing reaches takes nothing from those behind it that is not taken already.
            None => before.push(Earlier { rule, match_block, block }),
        }
    }
    let by_others = dead.iter().filter(|(_, position)| *position < others).count();
    if by_others > 0 && by_others == count {
        report_rule(rule, &dead, before, diagnostics);
    } else {
        report_blocks(rule, &dead, before, diagnostics);
    }
}

fn report_rule(rule: Rule<'_>, dead: &[(Option<usize>, usize)], before: &Before<'_>, diagnostics: &mut Diagnostics) {
    let mut takers: Vec<_> = dead.iter().filter_map(|(_, position)| before.all.get(*position)).collect();
    takers.dedup_by_key(|earlier| (earlier.rule.index, earlier.match_block));
    let message = match takers.as_slice() {
        [only] if only.block.is_catch_all() => {
            format!("this rule is never used: {} takes every request before it", only.title())
        }
        _ => {
            let titles: Vec<_> = takers.iter().map(|earlier| earlier.title()).collect();
            format!("this rule is never used: {} takes all its requests before it", titles.join(" and "))
        }
    };
    rule.at(|at| diagnostics.warning(at, "IST0130", message, "move it in front of that rule, or remove it"));
}

fn report_blocks(rule: Rule<'_>, dead: &[(Option<usize>, usize)], before: &Before<'_>, diagnostics: &mut Diagnostics) {
    for (match_block, position) in dead {
        let (Some(index), Some(taker)) = (*match_block, before.all.get(*position)) else { continue };
        let message = format!("this match is never used: {} takes its requests before it", taker.title());
        rule.at(|at| {
            let at = at.field("match");
            let at = at.index(index);
            if taker.rule.index == rule.index {
                diagnostics.note(&at, "IST0131", message, "remove it: the rule says the same without it");
            } else {
                diagnostics.warning(&at, "IST0131", message, "move the rule in front of that one, or remove the match");
            }
        });
    }
}
