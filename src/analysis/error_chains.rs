//! How errors go up a trace: where each began, which spans failed for it, and where it stopped.
//!
//! An error goes from a span to the next span above that failed. It passes spans whose status says nothing, as instrumentation leaves those that
//! hand an error on; a span whose status is OK has dealt with it. An error that none came to is an origin, and its chain is it and all that it
//! comes to. So every failed span is on a chain, and a chain ends below a span that did not fail, or at a top.

use super::nesting::Nesting;

/// What a span says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Unset,
    Ok,
    Failed,
}

/// The way of one error.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorChain<'a> {
    /// Failed spans from the origin on, at most [`ErrorChain::MAX_ROWS`] of them.
    pub rows: &'a [u32],
    /// How many of these come first: those from here on were on the chain of another origin of the same kind.
    pub own: usize,
    /// The last that failed, however long the chain is.
    pub last: usize,
    /// The span above it, which did not fail; `None` for a top.
    pub stopped_at: Option<usize>,
}

impl ErrorChain<'_> {
    /// More failed spans above one origin are not followed one by one: a trace may be as deep as it has spans.
    pub const MAX_ROWS: usize = 1_000;
}

/// Tells `each` the chain of each origin, in the order of their kinds.
///
/// `kind` says which origins are alike, and of which nothing is told; it is asked of origins only.
pub fn error_chains(
    nesting: &Nesting,
    outcomes: &[Outcome],
    kind: impl Fn(usize) -> Option<u32>,
    mut each: impl FnMut(&ErrorChain<'_>),
) {
    let failed = |row: usize| outcomes[row] == Outcome::Failed;
    let mut comes_to: Vec<Option<u32>> = vec![None; outcomes.len()];
    let mut last: Vec<u32> = (0..outcomes.len() as u32).collect();
    for row in nesting.downwards() {
        comes_to[row] = nesting.above(row).and_then(|above| match outcomes[above] {
            Outcome::Failed => Some(above as u32),
            Outcome::Unset => comes_to[above],
            Outcome::Ok => None,
        });
        if let Some(next) = comes_to[row] {
            last[row] = last[next as usize];
        }
    }
    let mut is_origin: Vec<bool> = (0..outcomes.len()).map(failed).collect();
    for next in (0..outcomes.len()).filter(|row| failed(*row)).filter_map(|row| comes_to[row]) {
        is_origin[next as usize] = false;
    }
    let of_kind = |row: usize| Some((kind(row)?, row as u32));
    let mut origins: Vec<(u32, u32)> = nesting.downwards().filter(|row| is_origin[*row]).filter_map(of_kind).collect();
    // Stable, so that of one kind the first in the tree comes first.
    origins.sort_by_key(|(kind, _)| *kind);
    let mut seen_by: Vec<Option<u32>> = vec![None; outcomes.len()];
    let mut rows = Vec::new();
    for (kind, origin) in origins {
        rows.clear();
        rows.extend(std::iter::successors(Some(origin), |row| comes_to[*row as usize]).take(ErrorChain::MAX_ROWS));
        let own = rows.iter().position(|row| seen_by[*row as usize] == Some(kind)).unwrap_or(rows.len());
        rows[..own].iter().for_each(|row| seen_by[*row as usize] = Some(kind));
        let last = last[origin as usize] as usize;
        each(&ErrorChain { rows: &rows, own, last, stopped_at: nesting.above(last) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spans in the order of their places, each with its depth.
    fn nested(depths: &[usize]) -> Nesting {
        let (mut lefts, mut rights, mut open) = (Vec::new(), vec![0; depths.len()], Vec::new());
        let mut next = 0;
        let mut number = || {
            next += 1;
            next
        };
        for (row, depth) in depths.iter().enumerate() {
            while open.len() > *depth {
                rights[open.pop().unwrap_or(0)] = number();
            }
            lefts.push(number());
            open.push(row);
        }
        while let Some(row) = open.pop() {
            rights[row] = number();
        }
        Nesting::of(&lefts, &rights)
    }

    /// The rows of each chain, how many are its own, and where it stopped.
    fn chains(depths: &[usize], outcomes: &str, kinds: &[u32]) -> Vec<(Vec<u32>, usize, Option<usize>)> {
        let outcomes: Vec<Outcome> = outcomes
            .chars()
            .map(|letter| match letter {
                'x' => Outcome::Failed,
                'k' => Outcome::Ok,
                _ => Outcome::Unset,
            })
            .collect();
        let mut all = Vec::new();
        error_chains(
            &nested(depths),
            &outcomes,
            |row| Some(kinds[row]).filter(|kind| *kind < 9),
            |chain| {
                assert_eq!(chain.rows.last().copied(), Some(chain.last as u32));
                all.push((chain.rows.to_vec(), chain.own, chain.stopped_at));
            },
        );
        all
    }

    #[test]
    fn an_error_goes_up_until_nothing_failed() {
        assert_eq!(chains(&[0, 1, 2, 3], "-xxx", &[0; 4]), [(vec![3, 2, 1], 3, Some(0))]);
        assert_eq!(chains(&[0, 1, 2], "xxx", &[0; 3]), [(vec![2, 1, 0], 3, None)]);
        assert_eq!(chains(&[0, 1], "--", &[0; 2]), []);
    }

    #[test]
    fn it_passes_what_says_nothing_and_not_what_is_well() {
        assert_eq!(chains(&[0, 1, 2, 3], "x--x", &[0; 4]), [(vec![3, 0], 2, None)]);
        assert_eq!(chains(&[0, 1, 2], "xkx", &[0; 3]), [(vec![0], 1, None), (vec![2], 1, Some(1))]);
        assert_eq!(chains(&[0, 1, 2, 3], "xk-x", &[0; 4]), [(vec![0], 1, None), (vec![3], 1, Some(2))]);
    }

    #[test]
    fn what_origins_of_a_kind_share_is_one_of_them_s() {
        // Three attempts below one caller, the last of another kind.
        let attempts = chains(&[0, 1, 2, 2, 2], "-xxxx", &[0, 0, 5, 5, 3]);
        assert_eq!(attempts, [(vec![4, 1], 2, Some(0)), (vec![2, 1], 2, Some(0)), (vec![3, 1], 1, Some(0))]);
        let of_one = chains(&[0, 1, 2, 2, 2], "-xxxx", &[0, 0, 9, 5, 9]);
        assert_eq!(of_one, [(vec![3, 1], 2, Some(0))]);
    }

    #[test]
    fn a_chain_as_deep_as_a_trace_is_followed_so_far_and_its_end_is_known() {
        let depths: Vec<usize> = (0..50_000).collect();
        let mut seen = Vec::new();
        error_chains(
            &nested(&depths),
            &vec![Outcome::Failed; depths.len()],
            |_| Some(0),
            |chain| {
                seen.push((chain.rows.len(), chain.own, chain.last, chain.stopped_at));
            },
        );
        assert_eq!(seen, [(ErrorChain::MAX_ROWS, ErrorChain::MAX_ROWS, 0, None)]);
    }
}
