//! Which files become one, so that a table that grows each minute stays a few files.

/// So many small files stay.
pub(super) const MOST_SMALL: usize = 16;
/// So many of the smallest become one when there are more: a row is written anew some four times until its file is large.
const MERGED: usize = 9;
/// A file of this size is not written anew.
pub(super) const LARGE_BYTES: u64 = 64 << 20;

/// The places of the files that are to become one; none, or at least two. `bytes` are the sizes of all.
pub(super) fn to_merge(bytes: &[u64]) -> Vec<usize> {
    let mut small: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] < LARGE_BYTES).collect();
    if small.len() <= MOST_SMALL {
        return Vec::new();
    }
    small.sort_by_key(|at| bytes[*at]);
    small.truncate(MERGED);
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
        assert_eq!(to_merge(&[1; MOST_SMALL + 1]), (0..MERGED).collect::<Vec<_>>());
        let mut bytes = vec![1000; MOST_SMALL];
        bytes.splice(0..0, [LARGE_BYTES, 5]);
        assert_eq!(to_merge(&bytes), (1..=MERGED).collect::<Vec<_>>());
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
        assert!(written < 10 * 10_000, "{written}");
    }
}
