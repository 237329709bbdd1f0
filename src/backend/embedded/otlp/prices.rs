//! What a call of a model cost, by its tokens. Clients that know MLflow say it themselves; for those that only
//! say which model and how many tokens, MLflow looks it up, and so do we.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::super::traces::usage::{Costs, Tokens};

/// In US dollars a token: input, output, read from the cache, written to it, written to it for an hour.
type Prices = [Option<f64>; 5];

struct Catalog {
    by_provider: HashMap<&'static str, HashMap<&'static str, Prices>>,
    /// Of the first provider that has the model and says a price.
    by_model: HashMap<&'static str, Prices>,
}

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let mut catalog = Catalog { by_provider: HashMap::new(), by_model: HashMap::new() };
        for line in include_str!("model_prices.tsv").lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(provider), Some(model)) = (fields.next(), fields.next()) else { continue };
            let mut prices: Prices = [None; 5];
            for (price, field) in prices.iter_mut().zip(fields) {
                *price = field.parse().ok();
            }
            catalog.by_provider.entry(provider).or_default().insert(model, prices);
            let known = catalog.by_model.entry(model).or_insert(prices);
            let priced = |prices: &Prices| prices[0].is_some_and(|price| price != 0.0);
            if !priced(known) && priced(&prices) {
                *known = prices;
            }
        }
        catalog
    })
}

/// What the tokens of one call cost; nothing if the model is not known.
pub(super) fn cost(model: &str, provider: Option<&str>, tokens: &Tokens) -> Option<Costs> {
    // Names of routes inside a gateway, which no catalog has.
    if model.is_empty() || model.starts_with("gateway:/") || model.starts_with("endpoints:/") {
        return None;
    }
    let databricks =
        provider.is_none() && (model.starts_with("databricks-") || model.starts_with("databricks/"));
    let provider = if databricks { Some("databricks") } else { provider };
    let [input, output, _, read, written, written_for_hour] =
        tokens.map(|count| count.unwrap_or_default().max(0));
    if input == 0 && output == 0 {
        return None;
    }
    let name = model.split_once('/').map_or(model, |(_, rest)| rest);
    let prices = provider
        .map(str::to_lowercase)
        .and_then(|provider| catalog().by_provider.get(provider.as_str())?.get(name))
        .or_else(|| catalog().by_model.get(name))?;
    let per_input = prices[0].unwrap_or_default();
    let (per_read, per_write) = (prices[2].unwrap_or(per_input), prices[3].unwrap_or(per_input));
    let for_hour = written_for_hour.min(written);
    let mut input_cost = (input - read - written).max(0) as f64 * per_input;
    if read > 0 {
        input_cost += read as f64 * per_read;
    }
    if written > for_hour {
        input_cost += (written - for_hour) as f64 * per_write;
    }
    if for_hour > 0 {
        input_cost += for_hour as f64 * prices[4].unwrap_or(per_write);
    }
    let output_cost = output as f64 * prices[1].unwrap_or_default();
    Some([Some(input_cost), Some(output_cost), Some(input_cost + output_cost)])
}

#[cfg(test)]
mod tests {
    use super::cost;

    #[test]
    fn a_call_costs_what_the_catalog_says() {
        let tokens = [Some(10), Some(20), Some(30), None, None, None];
        let expected = Some([Some(2.5e-05), Some(0.0002), Some(0.000_225_000_000_000_000_02)]);
        assert_eq!(cost("gpt-4o", Some("OpenAI"), &tokens), expected);
        assert_eq!(cost("openai/gpt-4o", None, &tokens), expected);
        assert_eq!(cost("gpt-4o", Some("nobody"), &tokens), expected);
        assert_eq!(cost("no such model", None, &tokens), None);
        assert_eq!(cost("gateway:/gpt-4o", None, &tokens), None);
        assert_eq!(cost("gpt-4o", None, &[Some(0), Some(0), None, None, None, None]), None);
    }
}
