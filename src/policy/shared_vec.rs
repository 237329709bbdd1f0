//! A vector whose copies share what they have in common: changing one element copies 64 elements and the way
//! to them, however long the vector is. Snapshots of policy are made of these.

use std::sync::Arc;

const BITS: usize = 6;
/// Elements of a leaf, and leaves of a branch.
const FAN: usize = 1 << BITS;
const MASK: usize = FAN - 1;

#[derive(Debug)]
pub(super) struct SharedVec<T> {
    branches: Vec<Arc<[Arc<[T]>]>>,
    length: usize,
}

impl<T> Clone for SharedVec<T> {
    fn clone(&self) -> Self {
        Self { branches: self.branches.clone(), length: self.length }
    }
}

impl<T> Default for SharedVec<T> {
    fn default() -> Self {
        Self { branches: Vec::new(), length: 0 }
    }
}

impl<T> SharedVec<T> {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn get(&self, index: usize) -> Option<&T> {
        self.branches.get(index >> (2 * BITS))?.get((index >> BITS) & MASK)?.get(index & MASK)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.branches.iter().flat_map(|branch| branch.iter()).flat_map(|leaf| leaf.iter())
    }
}

impl<T: Clone> SharedVec<T> {
    /// Puts an element in the place of another; nothing happens where there is none.
    pub fn set(&mut self, index: usize, element: T) {
        if index < self.length {
            self.change_leaf(index, |leaf| leaf[index & MASK] = element);
        }
    }

    pub fn push(&mut self, element: T) {
        let index = self.length;
        if index & MASK == 0 {
            let leaf: Arc<[T]> = Arc::from([element]);
            match self.branches.get_mut(index >> (2 * BITS)) {
                None => self.branches.push(Arc::from([leaf])),
                Some(branch) => *branch = branch.iter().cloned().chain([leaf]).collect(),
            }
        } else {
            self.change_leaf(index, |leaf| leaf.push(element));
        }
        self.length += 1;
    }

    fn change_leaf(&mut self, index: usize, change: impl FnOnce(&mut Vec<T>)) {
        let Some(branch) = self.branches.get_mut(index >> (2 * BITS)) else { return };
        let mut leaves: Vec<Arc<[T]>> = branch.to_vec();
        if let Some(leaf) = leaves.get_mut((index >> BITS) & MASK) {
            let mut elements = leaf.to_vec();
            change(&mut elements);
            *leaf = elements.into();
        }
        *branch = leaves.into();
    }
}

impl<T> FromIterator<T> for SharedVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements = elements.into_iter().peekable();
        let mut built = Self::default();
        while elements.peek().is_some() {
            let mut leaves: Vec<Arc<[T]>> = Vec::new();
            while leaves.len() < FAN && elements.peek().is_some() {
                let leaf: Vec<T> = elements.by_ref().take(FAN).collect();
                built.length += leaf.len();
                leaves.push(leaf.into());
            }
            built.branches.push(leaves.into());
        }
        built
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_vector_whose_earlier_copies_stay_as_they_were() {
        let mut vector: SharedVec<usize> = (0..10_000).collect();
        let before = vector.clone();
        vector.set(4_097, 7);
        vector.set(10_000, 7);
        for number in 10_000..10_200 {
            vector.push(number);
        }
        assert_eq!((before.len(), vector.len()), (10_000, 10_200));
        assert_eq!((before.get(4_097), vector.get(4_097)), (Some(&4_097), Some(&7)));
        assert!(before.iter().copied().eq(0..10_000));
        assert!(vector.iter().enumerate().all(|(index, number)| index == *number || index == 4_097));
        assert_eq!((before.get(10_000), vector.get(10_200)), (None, None));
        let mut pushed = SharedVec::default();
        (0..10_000).for_each(|number| pushed.push(number));
        assert!(pushed.iter().copied().eq(0..10_000) && pushed.get(9_999) == Some(&9_999));
    }
}
