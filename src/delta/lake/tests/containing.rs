//! A log that names files of other tables: whoever may write in one place would read in all.

use super::*;

/// The names of the files in a table's directory.
fn files(directory: &tempfile::TempDir, name: &str) -> Vec<String> {
    let found = std::fs::read_dir(directory.path().join(name)).unwrap();
    let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".parquet")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_reads_its_own_files_alone() {
    let directory = tempfile::tempdir().unwrap();
    let lake = lake(&directory);
    let secret = place(&directory, "secret");
    made(&lake, &secret).await;
    lake.append(&secret, rows(0, 3)).await.unwrap();
    let [file] = files(&directory, "secret").try_into().unwrap();
    let size = directory.path().join("secret").join(&file).metadata().unwrap().len();
    let absolute = directory.path().canonicalize().unwrap().display().to_string();
    for (number, path) in [
        format!("../secret/{file}"),
        format!("x/../../secret/{file}"),
        format!("%2e%2e/secret/{file}"),
        format!(".%2e/secret/{file}"),
        format!("..%2Fsecret%2F{file}"),
        format!(".\\t./secret/{file}"),
        format!("..\\\\secret\\\\{file}"),
        format!("{absolute}/secret/{file}"),
        format!("file://{absolute}/secret/{file}"),
        format!("file:{absolute}/secret/{file}"),
        format!("FILE:{absolute}/secret/{file}"),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("own{number}");
        let own = place(&directory, &name);
        made(&lake, &own).await;
        lake.append(&own, rows(10, 1)).await.unwrap();
        let entry = format!(
            r#"{{"add":{{"path":"{path}","partitionValues":{{}},"size":{size},"modificationTime":1,"dataChange":true}}}}"#
        );
        let log = directory.path().join(&name).join("_delta_log").join("00000000000000000002.json");
        std::fs::write(log, entry + "\n").unwrap();
        // Whoever read it before, and whoever has not.
        for reader in [&lake, &self::lake(&directory)] {
            let refused = reader.provider(&own).await;
            assert!(
                matches!(&refused, Err(LakeError::Unsupported(why)) if why.contains("not in the table")),
                "{path}"
            );
        }
        assert!(lake.maintain(&own).await.is_err(), "{path}");
        // Nor does one go that the log says was the table's, and is not any more.
        let name = format!("gone{number}");
        let own = place(&directory, &name);
        made(&lake, &own).await;
        lake.append(&own, rows(10, 1)).await.unwrap();
        let entry = format!(
            r#"{{"remove":{{"path":"{path}","deletionTimestamp":1,"size":{size},"dataChange":true,"extendedFileMetadata":true,"partitionValues":{{}}}}}}"#
        );
        let log = directory.path().join(&name).join("_delta_log").join("00000000000000000002.json");
        std::fs::write(log, entry + "\n").unwrap();
        let _ = lake.maintain(&own).await;
        assert_eq!(files(&directory, "secret"), std::slice::from_ref(&file), "{path}");
    }
    assert_eq!(ids(&lake, &secret).await, numbers(3));
}
