use serde_json::json;

use super::*;

fn read(query: &str, variables: Value) -> Result<GraphQlReading, GraphQlError> {
    read_query(query, None, variables.as_object().unwrap())
}

fn needs(query: &str, variables: Value) -> Vec<(Privilege, Target, String)> {
    let reading = read(query, variables).unwrap();
    reading.needs.into_iter().map(|need| (need.privilege, need.target, need.id)).collect()
}

fn run(id: &str) -> (Privilege, Target, String) {
    (Privilege::RunRead, Target::Run, id.to_owned())
}

fn experiment(id: &str) -> (Privilege, Target, String) {
    (Privilege::RunRead, Target::Experiment, id.to_owned())
}

/// As MLflow 3.17's page of a run sends it, shortened.
const GET_RUN: &str = r#"
  query GetRun($data: MlflowGetRunInput!) @component(name: "MLflow.ExperimentRunTracking") {
    mlflowGetRun(input: $data) {
      apiError { helpUrl code message }
      run {
        info { runName status runUuid experimentId artifactUri endTime lifecycleStage startTime userId }
        experiment { experimentId name tags { key value } artifactLocation lifecycleStage lastUpdateTime }
        modelVersions { status version name source }
        data { metrics { key value step timestamp } params { key value } tags { key value } }
        inputs { datasetInputs { dataset { digest name profile schema source sourceType } tags { key value } } modelInputs { modelId } }
        outputs { modelOutputs { modelId step } }
      }
    }
  }"#;

#[test]
fn the_page_of_a_run_is_read() {
    let reading =
        read_query(GET_RUN, Some("GetRun"), json!({"data": {"runId": "r"}}).as_object().unwrap()).unwrap();
    assert_eq!(
        reading.needs,
        [GraphQlNeed { privilege: Privilege::RunRead, target: Target::Run, id: "r".to_owned() }]
    );
    assert_eq!(reading.model_version_paths, [["mlflowGetRun", "run", "modelVersions"]]);
    assert!(
        read_query(GET_RUN, Some("Other"), json!({"data": {"runId": "r"}}).as_object().unwrap()).is_err()
    );
}

#[test]
fn every_root_field_needs_what_it_names() {
    let none = json!({});
    assert_eq!(
        needs(r#"{ mlflowGetExperiment(input: {experimentId: "7"}) { experiment { name } } }"#, none.clone()),
        [(Privilege::ExperimentView, Target::Experiment, "7".to_owned())]
    );
    assert_eq!(
        needs(r#"{ mlflowGetRun(input: {runUuid: "r", runId: "r"}) { __typename } }"#, none.clone()),
        [run("r")]
    );
    assert_eq!(
        needs(
            r#"query { mlflowListArtifacts(input: {runId: "r", path: "p", runUuid: null}) { files { path } } }"#,
            none.clone()
        ),
        [(Privilege::ArtifactRead, Target::Run, "r".to_owned())]
    );
    let search = r#"(input: {experimentIds: ["1", "2", "1"], runViewType: ALL, maxResults: 5}) { runs { info { runId } } }"#;
    for operation in ["query", "mutation"] {
        assert_eq!(
            needs(&format!("{operation} {{ mlflowSearchRuns{search} }}"), none.clone()),
            [experiment("1"), experiment("2")]
        );
    }
    assert_eq!(
        needs(
            r#"mutation($id: String) { mlflowSearchDatasets(input: {experimentIds: [$id]}) { datasetSummaries { name } } }"#,
            json!({"id": "3"})
        ),
        [experiment("3")]
    );
    // A single value stands for a list of one.
    assert_eq!(
        needs(
            r#"{ mlflowGetMetricHistoryBulkInterval(input: {runIds: "r", metricKey: "m"}) { metrics { value } } }"#,
            none.clone()
        ),
        [run("r")]
    );
    assert_eq!(needs("{ __typename }", none), []);
}

#[test]
fn no_field_is_hidden_by_an_alias_a_fragment_or_a_condition() {
    let query = r#"
      query Q($no: Boolean!) {
        a: mlflowGetRun(input: {runId: "1"}) { run { v: modelVersions { name } } }
        b: mlflowGetRun(input: {runId: "2"}) { run { ...Run } }
        ... on Query @include(if: $no) { mlflowGetRun(input: {runId: "3"}) { apiError { code } } }
        ...Root @skip(if: true)
      }
      fragment Root on Query { c: mlflowGetRun(input: {runId: "4"}) @skip(if: true) { run { info { runId } } } }
      fragment Run on MlflowRunExtension { ... { modelVersions { source } } }"#;
    let reading = read(query, json!({"no": false})).unwrap();
    let ids: Vec<&str> = reading.needs.iter().map(|need| need.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert_eq!(reading.model_version_paths, [["a", "run", "v"], ["b", "run", "modelVersions"]]);
}

#[test]
fn what_names_nothing_known_is_refused() {
    for query in [
        "",
        "x",
        "{ test(inputString: \"x\") { output } }",
        "mutation { testMutation(inputString: \"x\") { output } }",
        "{ __schema { types { name } } }",
        "{ __type(name: \"Query\") { name } }",
        "{ mlflowSearchModelVersions(input: {filter: \"\"}) { modelVersions { name } } }",
        "{ mlflowGetRun(input: {runId: \"1\"}) { run { registeredModel { name } } } }",
        "{ mlflowGetRun(input: {runId: \"1\"}) { run(id: \"2\") { info { runId } } } }",
        "{ mlflowGetRun { run { info { runId } } } }",
        "{ mlflowGetRun(input: {}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: \"\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: \"\", runUuid: \"2\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: \"1\", runUuid: \"2\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {run_id: \"1\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: 1}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: x}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: [\"1\"]}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: \"1\"}, input: {runId: \"2\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: $id}) { apiError { code } } }",
        "query($id: String = \"1\") { mlflowGetRun(input: {runId: $id}) { apiError { code } } }",
        "{ mlflowSearchRuns(input: {experimentIds: []}) { runs { info { runId } } } }",
        "{ mlflowSearchRuns(input: {experimentIds: [\"1\", null]}) { runs { info { runId } } } }",
        "{ mlflowSearchRuns(input: {experimentIds: [[\"1\"]]}) { runs { info { runId } } } }",
        "{ mlflowSearchRuns(input: {filter: \"x\"}) { runs { info { runId } } } }",
        "{ mlflowSearchDatasets(input: {experimentIds: [\"1\"]}) { datasetSummaries { name } } }",
        "mutation { mlflowGetRun(input: {runId: \"1\"}) { apiError { code } } }",
        "subscription { mlflowGetRun(input: {runId: \"1\"}) { apiError { code } } }",
        "query A { __typename } query B { __typename }",
        "fragment F on Query { __typename }",
        "{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }",
        "{ ...F }",
        "{ ...F } fragment F on Query { __typename } fragment F on Query { mlflowGetRun(input: {runId: \"1\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: \"\"\"1\"\"\"}) { apiError { code } } }",
        "{ mlflowGetRun(input: {runId: \"\\u{31}\"}) { apiError { code } } }",
        "{ __typename @defer }",
        "query @live { __typename }",
        "{ __typename(x: 1) }",
    ] {
        assert!(read(query, json!({})).is_err(), "{query} was read");
    }
    for variables in [
        json!({"d": null}),
        json!({"d": "r"}),
        json!({"d": {"run_id": "r"}}),
        json!({"d": {"runId": 1}}),
        json!({}),
    ] {
        assert!(read("query($d: X) { mlflowGetRun(input: $d) { apiError { code } } }", variables).is_err());
    }
    let named = read_query("{ __typename }", Some("Q"), &Map::new());
    assert_eq!(named, Err(GraphQlError::Operation));
}

#[test]
fn sizes_are_capped() {
    let spreads: String = (0..9)
        .map(|level| format!("fragment F{level} on Query {{ ...F{0} ...F{0} ...F{0} }}", level + 1))
        .collect();
    assert!(
        read(&format!("{{ ...F0 }} {spreads} fragment F9 on Query {{ __typename }}"), json!({})).is_err()
    );
    let deep = format!(
        "{{ mlflowGetRun(input: {{runId: \"1\"}}) {{ {} name {} }} }}",
        "run { ".repeat(12),
        "}".repeat(12)
    );
    assert!(read(&deep, json!({})).is_err());
    assert!(read(&format!("{{ {} }}", "__typename ".repeat(1001)), json!({})).is_err());
    assert!(read(&"{".repeat(60_000), json!({})).is_err());
    assert!(read(&format!("{{ __typename }}{}", " ".repeat(70_000)), json!({})).is_err());
}

#[test]
fn a_character_that_graphql_has_not_is_refused() {
    for control in ['\0', '\u{14}', '\u{1f}'] {
        let query = format!("{{ mlflowGetRun(input: {{runId: \"r{control}\"}}) {{ apiError {{ code }} }} }}");
        assert!(matches!(read(&query, json!({})), Err(GraphQlError::Syntax(_))), "{query:?}");
    }
    let white = "{\tmlflowGetRun(input: {runId: \"r\"})\r\n{ apiError { code } } }";
    assert_eq!(read(white, json!({})).unwrap().needs.len(), 1);
}
