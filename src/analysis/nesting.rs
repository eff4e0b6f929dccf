//! Who stands above whom, told by the numbers of nested sets alone.
//!
//! A relation that has these numbers has a tree without its ids: `d` is below `a` when the numbers of `d` lie between those of `a`. What is
//! left out of the rows is left out of the tree: the rows below stand below the next row above that is there.

use std::collections::HashMap;
use std::num::NonZeroU64;

/// The rows of one trace, fewer than 2³² of them, as a tree.
#[derive(Debug)]
pub struct Nesting {
    /// For each row the next one above; [`TOP`] where there is none.
    above: Vec<u32>,
    /// The rows, those above before those below.
    downwards: Vec<u32>,
}

const TOP: u32 = u32::MAX;

impl Nesting {
    /// The tree of rows with these numbers. Numbers that are of no nested sets make some tree.
    pub fn of(lefts: &[i32], rights: &[i32]) -> Self {
        let mut downwards: Vec<u32> = (0..lefts.len() as u32).collect();
        downwards.sort_unstable_by_key(|row| (lefts[*row as usize], *row));
        let mut above = vec![TOP; lefts.len()];
        let mut open: Vec<u32> = Vec::new();
        for row in &downwards {
            while open.last().is_some_and(|last| rights[*last as usize] < lefts[*row as usize]) {
                open.pop();
            }
            above[*row as usize] = open.last().copied().unwrap_or(TOP);
            open.push(*row);
        }
        Self { above, downwards }
    }

    /// The next row above.
    pub fn above(&self, row: usize) -> Option<usize> {
        Some(self.above[row]).filter(|above| *above != TOP).map(|above| above as usize)
    }

    /// All rows, those above before those below, and of siblings the first ones first.
    pub fn downwards(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.downwards.iter().map(|row| *row as usize)
    }

    /// For each row whether one of those above it is `wanted`.
    pub fn below(&self, wanted: &[bool]) -> Vec<bool> {
        let mut found = vec![false; wanted.len()];
        for row in self.downwards() {
            found[row] = self.above(row).is_some_and(|above| wanted[above] || found[above]);
        }
        found
    }

    /// For each row whether one of those below it is `wanted`.
    pub fn above_any(&self, wanted: &[bool]) -> Vec<bool> {
        let mut found = vec![false; wanted.len()];
        for row in self.downwards().rev() {
            if let Some(above) = self.above(row) {
                found[above] |= wanted[row] || found[row];
            }
        }
        found
    }

    /// For each row whether another one below the same row is `wanted`. Rows that nothing stands above are siblings when they name the same
    /// parent, which has not come.
    pub fn beside(&self, parents: &[Option<NonZeroU64>], wanted: &[bool]) -> Vec<bool> {
        let mut below: Vec<u32> = vec![0; wanted.len()];
        let mut below_missing: HashMap<NonZeroU64, u32> = HashMap::new();
        for row in (0..wanted.len()).filter(|row| wanted[*row]) {
            match (self.above(row), parents[row]) {
                (Some(above), _) => below[above] += 1,
                (None, Some(parent)) => *below_missing.entry(parent).or_default() += 1,
                (None, None) => {}
            }
        }
        let among = |row: usize| match (self.above(row), parents[row]) {
            (Some(above), _) => below[above],
            (None, Some(parent)) => below_missing.get(&parent).copied().unwrap_or(0),
            (None, None) => 0,
        };
        (0..wanted.len()).map(|row| among(row) > u32::from(wanted[row])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of the tree in which each row but the first stands below an earlier one or, with 0, below none.
    fn numbered(parents: &[usize]) -> (Vec<i32>, Vec<i32>) {
        fn number(row: usize, parents: &[usize], next: &mut i32, sets: &mut (Vec<i32>, Vec<i32>)) {
            *next += 1;
            sets.0[row] = *next;
            for child in (0..parents.len()).filter(|child| parents[*child] == row + 1) {
                number(child, parents, next, sets);
            }
            *next += 1;
            sets.1[row] = *next;
        }
        let mut sets = (vec![0; parents.len()], vec![0; parents.len()]);
        let mut next = 0;
        for top in (0..parents.len()).filter(|row| parents[*row] == 0) {
            number(top, parents, &mut next, &mut sets);
        }
        sets
    }

    fn is_below(row: usize, above: usize, parents: &[usize]) -> bool {
        parents[row] != 0 && (parents[row] - 1 == above || is_below(parents[row] - 1, above, parents))
    }

    proptest! {
        #[test]
        fn below_above_and_beside_are_what_pairs_of_rows_say(
            tree in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..40)
        ) {
            let parents: Vec<usize> = tree.iter().enumerate().map(|(row, (parent, _))| parent.index(row + 1)).collect();
            let wanted: Vec<bool> = tree.iter().map(|(_, wanted)| *wanted).collect();
            let (lefts, rights) = numbered(&parents);
            let nesting = Nesting::of(&lefts, &rights);
            let rows = 0..parents.len();
            let any = |is: &dyn Fn(usize, usize) -> bool| -> Vec<bool> {
                rows.clone().map(|row| rows.clone().any(|other| wanted[other] && is(row, other))).collect()
            };
            prop_assert_eq!(nesting.below(&wanted), any(&|row, other| is_below(row, other, &parents)));
            prop_assert_eq!(nesting.above_any(&wanted), any(&|row, other| is_below(other, row, &parents)));
            let named: Vec<Option<NonZeroU64>> = parents.iter().map(|parent| NonZeroU64::new(*parent as u64)).collect();
            let is_beside = |row: usize, other: usize| row != other && parents[row] != 0 && parents[row] == parents[other];
            prop_assert_eq!(nesting.beside(&named, &wanted), any(&is_beside));
        }

        #[test]
        fn any_numbers_make_some_tree(sets in prop::collection::vec((any::<i32>(), any::<i32>()), 0..20)) {
            let (lefts, rights): (Vec<i32>, Vec<i32>) = sets.into_iter().unzip();
            let nesting = Nesting::of(&lefts, &rights);
            prop_assert_eq!(nesting.below(&vec![true; lefts.len()]).len(), lefts.len());
        }
    }

    #[test]
    fn rows_below_one_missing_parent_are_siblings_and_roots_are_not() {
        let nesting = Nesting::of(&[1, 3, 5, 7, 9], &[2, 4, 6, 8, 10]);
        let parents = [NonZeroU64::new(7), NonZeroU64::new(7), NonZeroU64::new(8), None, None];
        assert_eq!(nesting.beside(&parents, &[true, false, true, true, true]), [false, true, false, false, false]);
    }
}
