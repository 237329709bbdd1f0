//! Names as small numbers, in order of appearance. A copy shares what it has in common with the original; a
//! number once given never means anything else.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::shared_vec::SharedVec;

/// Parts of the table; a new name copies one of them.
const SHARDS: usize = 256;

#[derive(Clone)]
pub(super) struct Names<T> {
    hasher: DefaultHashBuilder,
    shards: Vec<Arc<HashTable<u32>>>,
    names: SharedVec<Arc<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        let empty = Arc::new(HashTable::new());
        Self {
            hasher: DefaultHashBuilder::default(),
            shards: vec![empty; SHARDS],
            names: SharedVec::default(),
        }
    }
}

impl<T: Hash + Eq + Clone> Names<T> {
    pub fn find(&self, name: &T) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.shards[shard(hash)].find(hash, |index| self.is(*index, name)).copied()
    }

    pub fn name(&self, index: u32) -> Option<&T> {
        self.names.get(index as usize).map(Arc::as_ref)
    }

    /// The number of a name, and whether it is a new one.
    pub fn intern(&mut self, name: &T) -> (u32, bool) {
        if let Some(index) = self.find(name) {
            return (index, false);
        }
        let index = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(Arc::new(name.clone()));
        let hash = self.hasher.hash_one(name);
        let Self { hasher, shards, names } = self;
        let rehash =
            |index: &u32| names.get(*index as usize).map_or(0, |name| hasher.hash_one(name.as_ref()));
        Arc::make_mut(&mut shards[shard(hash)]).insert_unique(hash, index, rehash);
        (index, true)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.names.iter().map(Arc::as_ref)
    }

    fn is(&self, index: u32, name: &T) -> bool {
        self.name(index).is_some_and(|known| known == name)
    }
}

/// The upper bits choose the shard: the table itself uses the lower and the very highest.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_an_earlier_copy_does_not_know_later_names() {
        let mut names: Names<String> = Names::default();
        for number in 0..5_000_u32 {
            assert_eq!(names.intern(&format!("name {number}")), (number, true));
        }
        let before = names.clone();
        assert_eq!(names.intern(&"later".to_owned()), (5_000, true));
        assert_eq!(names.intern(&"name 17".to_owned()), (17, false));
        assert_eq!((before.iter().count(), names.iter().count()), (5_000, 5_001));
        assert_eq!(before.find(&"later".to_owned()), None);
        for number in 0..5_000_u32 {
            assert_eq!(names.find(&format!("name {number}")), Some(number));
            assert_eq!(before.name(number).map(String::as_str), Some(format!("name {number}").as_str()));
        }
    }
}
