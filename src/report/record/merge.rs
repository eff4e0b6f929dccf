//! Which files become one, so that a table that grows each minute stays a few files.

/// So many small files stay.
pub(super) const MOST_SMALL: usize = 16;
/// A file of this size is not written anew.
pub(super) const LARGE_BYTES: u64 = 64 << 20;

/// The places of the files that are to become one; none, or at least two. `bytes` are the sizes of all.
///
/// With too many small files the smallest goes together with each next one that is not larger than all before it: what was merged before is left
/// until as much has come, so that a row is written anew some four to six times until its file is large.
pub(super) fn to_merge(bytes: &[u64]) -> Vec<usize> {
    let mut small: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] < LARGE_BYTES).collect();
    if small.len() <= MOST_SMALL {
        return Vec::new();
    }
    small.sort_by_key(|at| bytes[*at]);
    let mut together = bytes[small[0]];
    let more = small[2..].iter().zip(&small[1..]).take_while(|(next, last)| {
        together += bytes[**last];
        bytes[**next] <= together
    });
    let merged = 2 + more.count();
    small.truncate(merged);
    small.sort_unstable();
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_too_many_small_files_become_one() {
        assert_eq!(to_merge(&[1; MOST_SMALL]), Vec::<usize>::new());
        assert_eq!(to_merge(&[LARGE_BYTES; 100]), Vec::<usize>::new());
        assert_eq!(to_merge(&[1; MOST_SMALL + 1]), (0..=MOST_SMALL).collect::<Vec<_>>());
        let mut bytes = vec![1000; MOST_SMALL];
        bytes.splice(0..0, [LARGE_BYTES, 5]);
        assert_eq!(to_merge(&bytes), (1..=MOST_SMALL + 1).collect::<Vec<_>>());
        let tripling: Vec<u64> = (0..=MOST_SMALL).map(|n| 3_u64.pow(u32::try_from(n).expect("small"))).collect();
        assert_eq!(to_merge(&tripling), [0, 1], "a file that is larger than all before it is left");
    }

    #[test]
    fn a_table_that_grows_a_little_each_time_stays_few_files_and_is_seldom_written_anew() {
        let (mut files, mut written) = (Vec::new(), 0);
        for _ in 0..10_000 {
            files.push(1_u64);
            let merged = to_merge(&files);
            if !merged.is_empty() {
                let sum: u64 = merged.iter().map(|at| files[*at]).sum();
                written += sum;
                for at in merged.iter().rev() {
                    files.remove(*at);
                }
                files.push(sum);
            }
            assert!(files.len() <= MOST_SMALL, "{files:?}");
        }
        assert_eq!(files.iter().sum::<u64>(), 10_000);
        assert!(written < 5 * 10_000, "{written}");
    }
}
