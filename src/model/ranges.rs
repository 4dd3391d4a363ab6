//! A set of numbers that are added in ascending order, most of them consecutive.

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// `number` must not be smaller than a number added before.
    pub fn add(&mut self, number: u32) {
        match self.0.last_mut() {
            Some(last) if number <= last.1 => {}
            Some(last) if number == last.1 + 1 => last.1 = number,
            _ => self.0.push((number, number)),
        }
    }

    pub fn contains(&self, number: u32) -> bool {
        let after = self.0.partition_point(|r| r.0 <= number);
        after > 0 && self.0[after - 1].1 >= number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_range_and_gaps_stay_gaps() {
        let mut ranges = Ranges::default();
        for n in [3, 4, 5, 5, 9, 10, 20] {
            ranges.add(n);
        }
        assert_eq!(ranges.0, [(3, 5), (9, 10), (20, 20)]);
        let found: Vec<u32> = (0..25).filter(|n| ranges.contains(*n)).collect();
        assert_eq!(found, [3, 4, 5, 9, 10, 20]);
    }
}
