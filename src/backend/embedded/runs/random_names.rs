//! Names for runs that were given none: `brisk-otter-417`.

use rand::RngExt as _;

const QUALITIES: [&str; 48] = [
    "able", "agile", "amber", "bold", "brave", "brisk", "calm", "candid", "clever", "coral", "crisp",
    "daring", "deft", "eager", "early", "fair", "fleet", "fond", "fresh", "gentle", "glad", "golden",
    "grand", "happy", "hardy", "humble", "jolly", "keen", "kind", "lively", "lucid", "lucky", "merry",
    "mild", "neat", "noble", "patient", "plucky", "proud", "quick", "quiet", "ready", "silver", "steady",
    "sunny", "swift", "vivid", "warm",
];

const ANIMALS: [&str; 48] = [
    "badger", "beaver", "bison", "bream", "camel", "crane", "cricket", "curlew", "dove", "eagle", "egret",
    "falcon", "ferret", "finch", "gecko", "gibbon", "hare", "heron", "hornet", "ibex", "jackal", "kestrel",
    "lark", "lemur", "lizard", "llama", "lynx", "magpie", "marten", "moose", "newt", "ocelot", "osprey",
    "otter", "owl", "perch", "plover", "rabbit", "raven", "robin", "salmon", "seal", "stork", "swan", "tern",
    "trout", "viper", "wren",
];

pub fn pick() -> String {
    let mut chance = rand::rng();
    let quality = QUALITIES[chance.random_range(0..QUALITIES.len())];
    let animal = ANIMALS[chance.random_range(0..ANIMALS.len())];
    format!("{quality}-{animal}-{}", chance.random_range(0..1000))
}
