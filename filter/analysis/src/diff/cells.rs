//! Goes through the requests of a table: all of them, or as many as may be, drawn from a seed.
//!
//! Of drawn requests, as many as there are match blocks are made to meet one block each, and most others too, with a few
//! more things said at random; one in four is drawn without any such aim.

use super::Effort;
use super::dimensions::{Slot, Table};
use super::request::Sample;
use std::collections::BTreeMap;

/// A value for each part of a request head.
type Cell<'t> = BTreeMap<&'t Slot, Option<&'t str>>;

impl Table {
    /// Hands every request to `take`, or a sample of them.
    pub(crate) fn for_each(&self, effort: Effort, mut take: impl FnMut(&Sample)) {
        if self.size() > effort.samples {
            self.draw(effort, take);
            return;
        }
        for number in 0..self.size() {
            let mut rest = number;
            let cell = self.dimensions.iter().map(|(slot, values)| {
                let count = values.len().max(1);
                let value = values.get(rest.checked_rem(count).unwrap_or_default()).and_then(Option::as_deref);
                rest = rest.checked_div(count).unwrap_or_default();
                (slot, value)
            });
            take(&self.sample(&cell.collect()));
        }
    }

    fn draw(&self, effort: Effort, mut take: impl FnMut(&Sample)) {
        let mut chance = Chance(effort.seed);
        for number in 0..effort.samples {
            let is_first_round = number < self.blocks.len();
            let is_aimed = is_first_round || chance.below(4) > 0;
            let block = if is_first_round { number } else { chance.below(self.blocks.len()) };
            let mut cell: Cell<'_> = BTreeMap::new();
            for (slot, values) in &self.dimensions {
                let is_plain = is_first_round || is_aimed && chance.below(4) > 0;
                let place = if is_plain { 0 } else { chance.below(values.len()) };
                cell.insert(slot, values.get(place).and_then(Option::as_deref));
            }
            for (slot, values) in self.blocks.get(block).into_iter().flatten().filter(|_| is_aimed) {
                let place = if is_first_round { 0 } else { chance.below(values.len()) };
                if let Some(value) = values.get(place).filter(|value| *slot != Slot::Path || value.starts_with('/')) {
                    cell.insert(slot, Some(value));
                }
            }
            take(&self.sample(&cell));
        }
    }

    fn sample(&self, cell: &Cell<'_>) -> Sample {
        let of = |slot: &Slot, default: &str| cell.get(slot).copied().flatten().unwrap_or(default).to_owned();
        let mut target = of(&Slot::Path, "/");
        let mut headers = Vec::new();
        let scheme = of(&Slot::Scheme, "http");
        let mut proto = Some(("x-forwarded-proto".to_owned(), scheme.clone()));
        for (slot, value) in cell {
            match (slot, value) {
                (Slot::Query(name), Some(value)) => {
                    target.push(if target.contains('?') { '&' } else { '?' });
                    target.push_str(&format!("{name}={value}"));
                }
                (Slot::Header(name), Some(value)) if !name.starts_with(':') => {
                    proto = proto.filter(|(proto, _)| proto != name);
                    headers.push((name.clone(), (*value).to_owned()));
                }
                _ => {}
            }
        }
        let pseudo = [
            (":authority", of(&Slot::Authority, &self.host)),
            (":path", target),
            (":method", of(&Slot::Method, "GET")),
            (":scheme", scheme),
        ];
        let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value));
        Sample { pairs: pseudo.chain(headers).chain(proto).collect() }
    }
}

/// SplitMix64 by Steele, Lea and Flood.
struct Chance(u64);

impl Chance {
    /// Even over `0..limit`; zero if `limit` is zero.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let scaled = (u128::from(mixed ^ (mixed >> 31)) * limit as u128) >> 64;
        usize::try_from(scaled).unwrap_or_default()
    }
}
