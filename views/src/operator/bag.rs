//! A counted multiset in order: few values lie in a list, many in a tree.
//!
//! # Guarantees
//! - Values come in their order, each with how often it is there, never nothing or less.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Up to so many different values lie in a list.
const FEW_MAX: usize = 16;

/// Values with counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bag<V> {
    Few(Vec<(V, i64)>),
    Many(BTreeMap<V, i64>),
}

impl<V> Default for Bag<V> {
    fn default() -> Bag<V> {
        Bag::Few(Vec::new())
    }
}

impl<V: Ord> Bag<V> {
    /// How often a value is there.
    pub(super) fn count<Q: Ord + ?Sized>(&self, value: &Q) -> i64
    where
        V: Borrow<Q>,
    {
        match self {
            Bag::Few(list) => {
                place(list, value).ok().and_then(|at| list.get(at)).map_or(0, |own| own.1)
            }
            Bag::Many(tree) => tree.get(value).copied().unwrap_or(0),
        }
    }

    /// Adds a value so many times, or takes it away as often; `own` makes it, where it is new. What is there
    /// less often than it goes is there no more.
    pub(super) fn add<Q: Ord + ?Sized>(&mut self, value: &Q, own: impl FnOnce() -> V, times: i64)
    where
        V: Borrow<Q>,
    {
        match self {
            Bag::Few(list) => match place(list, value) {
                Ok(at) => {
                    let Some((_, count)) = list.get_mut(at) else { return };
                    *count = count.wrapping_add(times);
                    if *count <= 0 {
                        list.remove(at);
                    }
                }
                Err(at) if times > 0 => {
                    list.insert(at, (own(), times));
                    if list.len() > FEW_MAX {
                        *self = Bag::Many(std::mem::take(list).into_iter().collect());
                    }
                }
                Err(_) => {}
            },
            Bag::Many(tree) => match tree.get_mut(value) {
                Some(count) => {
                    *count = count.wrapping_add(times);
                    if *count <= 0 {
                        tree.remove(value);
                        self.shrink();
                    }
                }
                None if times > 0 => drop(tree.insert(own(), times)),
                None => {}
            },
        }
    }

    /// Back to a list, once a tree is far from being needed.
    fn shrink(&mut self) {
        if let Bag::Many(tree) = self
            && tree.len() <= FEW_MAX / 2
        {
            *self = Bag::Few(std::mem::take(tree).into_iter().collect());
        }
    }

    /// How many different values there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Bag::Few(list) => list.len(),
            Bag::Many(tree) => tree.len(),
        }
    }

    /// The least.
    pub(super) fn first(&self) -> Option<&V> {
        match self {
            Bag::Few(list) => list.first().map(|own| &own.0),
            Bag::Many(tree) => tree.first_key_value().map(|own| own.0),
        }
    }

    /// The greatest.
    pub(super) fn last(&self) -> Option<&V> {
        match self {
            Bag::Few(list) => list.last().map(|own| &own.0),
            Bag::Many(tree) => tree.last_key_value().map(|own| own.0),
        }
    }

    /// What is not less than a value, in order, each with how often it is there.
    pub(super) fn from<Q: Ord + ?Sized>(&self, value: &Q) -> impl Iterator<Item = (&V, i64)>
    where
        V: Borrow<Q>,
    {
        let (list, tree) = match self {
            Bag::Few(list) => (list.get(place(list, value).unwrap_or_else(|at| at)..), None),
            Bag::Many(tree) => {
                (None, Some(tree.range::<Q, _>((Bound::Included(value), Bound::Unbounded))))
            }
        };
        let list = list.into_iter().flatten().map(|own| (&own.0, own.1));
        list.chain(tree.into_iter().flatten().map(|own| (own.0, *own.1)))
    }

    /// What is less than a value, the greatest first, each with how often it is there.
    pub(super) fn before<Q: Ord + ?Sized>(&self, value: &Q) -> impl Iterator<Item = (&V, i64)>
    where
        V: Borrow<Q>,
    {
        let (list, tree) = match self {
            Bag::Few(list) => (list.get(..place(list, value).unwrap_or_else(|at| at)), None),
            Bag::Many(tree) => {
                (None, Some(tree.range::<Q, _>((Bound::Unbounded, Bound::Excluded(value)))))
            }
        };
        let list = list.into_iter().flatten().rev().map(|own| (&own.0, own.1));
        list.chain(tree.into_iter().flatten().rev().map(|own| (own.0, *own.1)))
    }

    /// All in order, each with how often it is there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&V, i64)> {
        let (list, tree) = match self {
            Bag::Few(list) => (Some(list), None),
            Bag::Many(tree) => (None, Some(tree)),
        };
        let list = list.into_iter().flatten().map(|own| (&own.0, own.1));
        list.chain(tree.into_iter().flatten().map(|own| (own.0, *own.1)))
    }
}

fn place<V: Borrow<Q>, Q: Ord + ?Sized>(list: &[(V, i64)], value: &Q) -> Result<usize, usize> {
    list.binary_search_by(|own| own.0.borrow().cmp(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_list(changes in prop::collection::vec((0..40_u64, -2..4_i64), 0..200)) {
            let (mut bag, mut counts) = (Bag::<u64>::default(), [0_i64; 40]);
            for (value, times) in changes {
                let count = &mut counts[usize::try_from(value).unwrap()];
                *count = (*count + times).max(0);
                bag.add(&value, || value, times);
                prop_assert_eq!(bag.count(&value), *count);
                let listed: Vec<(u64, i64)> =
                    (0..).zip(counts).filter(|(_, count)| *count > 0).collect();
                prop_assert_eq!(bag.iter().map(|(value, count)| (*value, count)).collect::<Vec<_>>(), listed.clone());
                prop_assert_eq!(bag.len(), listed.len());
                let all = |rows: &mut dyn Iterator<Item = (&u64, i64)>| {
                    rows.map(|(value, count)| (*value, count)).collect::<Vec<_>>()
                };
                let at = listed.partition_point(|own| own.0 < value);
                prop_assert_eq!(all(&mut bag.from(&value)), listed[at..].to_vec());
                let before: Vec<_> = listed[..at].iter().rev().copied().collect();
                prop_assert_eq!(all(&mut bag.before(&value)), before);
                prop_assert_eq!(bag.first(), listed.first().map(|own| &own.0));
                prop_assert_eq!(bag.last(), listed.last().map(|own| &own.0));
            }
        }
    }
}
