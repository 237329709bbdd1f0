//! casbin's own enforcer over a whole policy, with its own role manager: what the engine must agree with.

use std::collections::HashMap;

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use futures_util::FutureExt;

use super::rendering::{Line, Request};

pub(super) struct Oracle {
    enforcer: Enforcer,
    answered: HashMap<Request, bool>,
    /// How often casbin judged; a request that comes again is not asked again.
    pub judged: u64,
}

impl Oracle {
    /// Loads lines of a policy file, each once: casbin adds none of a batch with a doubled one.
    pub fn load(model: &str, lines: impl IntoIterator<Item = Line>) -> Self {
        let model = DefaultModel::from_str(model).now_or_never().unwrap().unwrap();
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).now_or_never().unwrap().unwrap();
        let (mut policies, mut relations) = (Vec::new(), Vec::new());
        for mut line in lines {
            match line.remove(0).as_str() {
                "p" => policies.push(line),
                "g" => relations.push(line),
                other => panic!("`{other}` is no kind of casbin line"),
            }
        }
        assert!(enforcer.add_policies(policies).now_or_never().unwrap().unwrap());
        assert!(enforcer.add_grouping_policies(relations).now_or_never().unwrap().unwrap());
        Self { enforcer, answered: HashMap::new(), judged: 0 }
    }

    /// Whether all of these are allowed.
    pub fn allows(&mut self, requests: &[Request]) -> bool {
        !requests.is_empty() && requests.iter().all(|request| self.allows_one(request))
    }

    fn allows_one(&mut self, request: &Request) -> bool {
        if let Some(answer) = self.answered.get(request) {
            return *answer;
        }
        let [subject, object, action] = request;
        let answer = self.enforcer.enforce((subject.as_str(), object.as_str(), action.as_str())).unwrap();
        self.judged += 1;
        self.answered.insert(request.clone(), answer);
        answer
    }
}
