use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::*;

/// The same expectations for both kinds.
async fn stores() -> Vec<(tempfile::TempDir, Objects)> {
    let directory = tempfile::tempdir().unwrap();
    let files = Objects::open(directory.path().join("artifacts").to_str().unwrap()).unwrap();
    let memory = Arc::new(object_store::memory::InMemory::new());
    let bucket = Objects::Remote(Remote::new(memory, "some/prefix"));
    vec![(directory, files), (tempfile::tempdir().unwrap(), bucket)]
}

async fn text(objects: &Objects, path: &str, range: Option<Range<u64>>) -> Option<(u64, String)> {
    let (size, mut stream) = objects.get(path, range).await.unwrap()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    Some((size, String::from_utf8(bytes).unwrap()))
}

fn streamed(chunks: Vec<Result<Bytes, std::io::Error>>, length: Option<u64>) -> Body {
    Body::Stream { stream: Box::pin(stream::iter(chunks)), length }
}

fn names(entries: &[Entry]) -> Vec<(&str, Option<u64>)> {
    entries.iter().map(|entry| (entry.name.as_str(), entry.size)).collect()
}

#[tokio::test]
async fn what_was_put_is_read_listed_and_deleted() {
    for (_directory, objects) in stores().await {
        assert_eq!(objects.put("7/run/artifacts/a b%20ü.txt", Body::memory("hello")).await, Ok(5));
        assert_eq!(objects.put("7/run/artifacts/deep/er/x", Body::Empty).await, Ok(0));
        assert_eq!(objects.put("7/run/artifacts/a b%20ü.txt", Body::memory("world!")).await, Ok(6));
        let file = "7/run/artifacts/a b%20ü.txt";
        assert_eq!(text(&objects, file, None).await, Some((6, "world!".to_owned())));
        assert_eq!(text(&objects, file, Some(1..3)).await, Some((6, "or".to_owned())));
        assert_eq!(text(&objects, file, Some(4..99)).await, Some((6, "d!".to_owned())));
        assert_eq!(text(&objects, file, Some(6..99)).await, Some((6, String::new())));
        assert_eq!(text(&objects, "7/run/artifacts/deep", None).await, None);
        assert_eq!(text(&objects, "7/none", None).await, None);
        assert_eq!(objects.about(file).await.unwrap().unwrap().size, 6);
        assert_eq!(objects.about("7/run/artifacts/deep").await, Ok(None));

        let listed = objects.list("7/run/artifacts").await.unwrap();
        assert_eq!(names(&listed), [("a b%20ü.txt", Some(6)), ("deep", None)]);
        assert_eq!(names(&objects.list("").await.unwrap()), [("7", None)]);
        assert_eq!(objects.list("8").await, Ok(vec![]));
        assert_eq!(objects.list(file).await, Ok(vec![]));

        assert_eq!(objects.delete("7/run").await, Ok(false));
        assert_eq!(objects.delete(file).await, Ok(true));
        assert_eq!(objects.delete(file).await, Ok(false));
        objects.delete_below("7/run/artifacts").await.unwrap();
        assert_eq!(text(&objects, "7/run/artifacts/deep/er/x", None).await, None);
        objects.delete_below("7/run/artifacts").await.unwrap();
    }
}

#[tokio::test]
async fn a_large_body_is_stored_in_pieces_and_comes_back_whole() {
    for (_directory, objects) in stores().await {
        let pieces: Vec<Bytes> = (0_u8..200).map(|n| Bytes::from(vec![b'a' + n % 26; 123_457])).collect();
        let whole: Vec<u8> = pieces.concat();
        let body = streamed(pieces.into_iter().map(Ok).collect(), None);
        assert_eq!(objects.put("1/large", body).await, Ok(whole.len() as u64));
        let (size, stored) = text(&objects, "1/large", None).await.unwrap();
        assert_eq!((size, stored.as_bytes() == whole), (whole.len() as u64, true));
        let middle = text(&objects, "1/large", Some(10_000_000..10_000_010)).await.unwrap().1;
        assert_eq!(middle.as_bytes(), &whole[10_000_000..10_000_010]);

        objects.put("1/b", Body::memory("b")).await.unwrap();
        let parts = ["1/b".to_owned(), "1/large".to_owned(), "1/b".to_owned()];
        assert_eq!(objects.join("1/joined", &parts).await, Ok(whole.len() as u64 + 2));
        let gone = ["1/b".to_owned(), "1/none".to_owned()];
        assert!(objects.join("1/joined", &gone).await.is_err());
        let (size, joined) = text(&objects, "1/joined", None).await.unwrap();
        assert_eq!(
            (size, joined.starts_with("ba"), joined.ends_with('b')),
            (whole.len() as u64 + 2, true, true)
        );
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_lies_leaves_nothing_behind() {
    for (directory, objects) in stores().await {
        objects.put("1/kept", Body::memory("old")).await.unwrap();
        let broken = || Err(std::io::Error::other("gone"));
        let piece = || Ok(Bytes::from(vec![b'x'; 9_000_000]));
        for (chunks, length) in [
            (vec![piece(), broken()], None),
            (vec![piece(), piece(), piece(), broken()], None),
            (vec![Ok(Bytes::from("short"))], Some(6)),
            (vec![Ok(Bytes::from("longer"))], Some(5)),
        ] {
            for path in ["1/kept", "1/new/one"] {
                let chunks = chunks.iter().map(|chunk: &Result<Bytes, _>| match chunk {
                    Ok(bytes) => Ok(bytes.clone()),
                    Err(_) => broken(),
                });
                let refused = objects.put(path, streamed(chunks.collect(), length)).await.unwrap_err();
                assert_eq!(refused.fault, ObjectsFault::BrokenOff);
            }
        }
        assert_eq!(text(&objects, "1/kept", None).await.unwrap().1, "old");
        assert_eq!(names(&objects.list("1").await.unwrap()), [("kept", Some(3))]);
        if let Objects::Directory(_) = objects {
            let incoming = directory.path().join("artifacts").join(SCRATCH).join("incoming");
            assert_eq!(std::fs::read_dir(incoming).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn no_path_leads_out_and_none_is_read_in_two_ways() {
    for (directory, objects) in stores().await {
        let long = "x".repeat(256);
        for path in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\0b", "a\nb", &long] {
            assert_eq!(objects.put(path, Body::Empty).await.unwrap_err().fault, ObjectsFault::Path);
            assert!(objects.get(path, None).await.is_err());
            assert!(objects.delete(path).await.is_err());
            assert!(objects.delete_below(path).await.is_err());
        }
        let Objects::Directory(_) = objects else { continue };
        let outside = directory.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "s").unwrap();
        let root = directory.path().join("artifacts");
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), root.join("file")).unwrap();
        assert_eq!(objects.list("link").await, Ok(vec![]));
        assert_eq!(names(&objects.list("").await.unwrap()), []);
        assert_eq!(text(&objects, "link/secret", None).await, None);
        assert_eq!(text(&objects, "file", None).await, None);
        assert!(objects.put("link/new", Body::Empty).await.is_err());
        assert_eq!(objects.delete("link/secret").await, Ok(false));
        objects.delete_below("link").await.unwrap();
        objects.put("file", Body::memory("ours")).await.unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "s");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_file_is_no_directory_and_a_directory_no_file() {
    let (_directory, objects) = stores().await.swap_remove(0);
    objects.put("1/file", Body::memory("f")).await.unwrap();
    for path in ["1/file/below", "1/file/far/below", "1"] {
        assert_eq!(objects.put(path, Body::Empty).await.unwrap_err().fault, ObjectsFault::Path);
    }
    assert_eq!(text(&objects, "1/file/below", None).await, None);
    assert_eq!(text(&objects, "1/file", None).await.unwrap().1, "f");
}

#[tokio::test]
async fn writers_and_removers_of_one_directory_do_not_meet_half_way() {
    let (_directory, objects) = stores().await.swap_remove(0);
    let put = stream::iter(0..40).for_each_concurrent(8, |number| {
        let objects = objects.clone();
        async move {
            objects.put(&format!("1/a/b/{number}"), Body::memory("x")).await.unwrap();
        }
    });
    let removed = stream::iter(0..20).for_each(|_| {
        let objects = objects.clone();
        async move { objects.delete_below("1/a").await.unwrap() }
    });
    tokio::join!(put, removed);
    objects.put("1/a/b/last", Body::memory("x")).await.unwrap();
    assert_eq!(text(&objects, "1/a/b/last", None).await.unwrap().1, "x");
}

#[tokio::test]
async fn what_a_crash_left_is_removed_once_it_is_old() {
    let (directory, _objects) = stores().await.swap_remove(0);
    let root = directory.path().join("artifacts");
    let incoming = root.join(SCRATCH).join("incoming");
    for (name, age) in [("old", 25), ("new", 1)] {
        let file = std::fs::File::create(incoming.join(name)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - std::time::Duration::from_secs(age * 60 * 60)).unwrap();
    }
    Objects::open(root.to_str().unwrap()).unwrap();
    let left: Vec<_> = std::fs::read_dir(incoming).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["new"]);
}

#[tokio::test]
async fn directories_are_made_found_and_removed_once_empty() {
    for (_directory, objects) in stores().await {
        assert_eq!(objects.directory("a/b").await, Ok(None));
        objects.make_directory("a/b").await.unwrap();
        objects.make_directory("a/b").await.unwrap();
        assert_eq!(objects.directory("a/b").await, Ok(Some(vec![])));
        objects.put("a/b/file", Body::memory("x")).await.unwrap();
        assert_eq!(objects.remove_directory("a/b").await.unwrap_err().fault, ObjectsFault::NotEmpty);
        assert_eq!(names(&objects.directory("a/b").await.unwrap().unwrap()), [("file", Some(1))]);
        objects.delete("a/b/file").await.unwrap();
        objects.make_directory("a/b").await.unwrap();
        assert_eq!(objects.remove_directory("a/b").await, Ok(true));
        assert_eq!(objects.remove_directory("a/b").await, Ok(false));
        assert_eq!(objects.directory("a/b").await, Ok(None));
    }
}

#[tokio::test]
async fn what_is_to_be_kept_is_kept_also_among_many_who_come_at_once() {
    for (_directory, objects) in stores().await {
        let stored: Vec<bool> = stream::iter(0..16)
            .map(|number: u8| {
                let objects = objects.clone();
                async move {
                    let stored = objects.store("a/one", Body::memory(vec![number]), Existing::Keep).await;
                    assert!(
                        stored.as_ref().is_ok_and(|size| *size == 1)
                            || stored.as_ref().is_err_and(|error| error.fault == ObjectsFault::Exists)
                    );
                    stored.is_ok()
                }
            })
            .buffer_unordered(16)
            .collect()
            .await;
        assert_eq!(stored.iter().filter(|stored| **stored).count(), 1);
        objects.store("a/one", Body::memory("replaced"), Existing::Replace).await.unwrap();
        assert_eq!(text(&objects, "a/one", None).await.unwrap().1, "replaced");
    }
}

fn volume_at(volumes: &Volumes, path: &std::path::Path) -> Result<Volume, ObjectsError> {
    volumes.at(&format!("file://{}", path.display()))
}

#[tokio::test]
async fn a_volume_lies_in_a_directory_that_is_configured_and_behind_no_link() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().canonicalize().unwrap();
    let (own, outside) = (base.join("own"), base.join("outside"));
    std::fs::create_dir_all(outside.join("real")).unwrap();
    std::fs::write(outside.join("real/secret"), "s").unwrap();
    std::os::unix::fs::symlink(outside.join("real"), outside.join("link")).unwrap();
    let volumes = Volumes::new(Some(own.clone()), [outside.clone()]);
    let managed = volume_at(&volumes, &own.join("volumes/1")).unwrap();
    assert_eq!(managed.directory("").await, Ok(Some(vec![])));
    managed.store("a/b", Body::memory("x"), Existing::Keep).await.unwrap();
    assert_eq!(std::fs::read(own.join("volumes/1/a/b")).unwrap(), b"x");

    let linked = volume_at(&volumes, &outside.join("link")).unwrap();
    assert_eq!(linked.about("secret").await, Ok(None));
    assert!(linked.get("secret", None).await.unwrap().is_none());
    assert!(linked.store("new", Body::Empty, Existing::Replace).await.is_err());
    assert_eq!(linked.directory("").await, Ok(Some(vec![])));
    assert!(linked.make_directory("new").await.is_err());
    assert_eq!(std::fs::read_dir(outside.join("real")).unwrap().count(), 1);

    for nowhere in
        [base.join("elsewhere"), base.clone(), own.join(".tracegate/parts"), outside.join(".tracegate")]
    {
        assert!(volume_at(&volumes, &nowhere).is_err(), "{}", nowhere.display());
    }
    assert_eq!(volumes.at("gs://bucket/x").unwrap_err().fault, ObjectsFault::NotOffered);
    for reserved in [".tracegate", ".tracegate/parts/x", "a/.tracegate-directory"] {
        assert!(managed.store(reserved, Body::Empty, Existing::Replace).await.is_err(), "{reserved}");
        assert!(managed.about(reserved).await.is_err());
    }
}

#[tokio::test]
async fn parts_are_joined_by_their_tags_and_expired_uploads_are_cleared_away() {
    for (_directory, objects) in stores().await {
        let volume = Volume { objects, below: "v".to_owned() };
        let upload = uuid::Uuid::now_v7();
        let second = volume.put_part(upload, 2, Body::memory("b")).await.unwrap();
        let first = volume.put_part(upload, 1, Body::memory("a")).await.unwrap();
        let again = volume.put_part(upload, 1, Body::memory("A")).await.unwrap();
        for wrong in [
            vec![(1, second.clone())],
            vec![(1, first.clone()), (1, again.clone())],
            vec![(1, "../../x".to_owned())],
            vec![(3, first.clone())],
        ] {
            assert!(volume.complete("whole", upload, wrong, Existing::Keep).await.is_err());
        }
        let parts = vec![(2, second), (1, again)];
        assert_eq!(volume.complete("whole", upload, parts, Existing::Keep).await, Ok(2));
        assert_eq!(text(&volume.objects, "v/whole", None).await.unwrap().1, "Ab");
        let (open, began) = (uuid::Uuid::now_v7(), 1_000);
        let old = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, began, 0));
        for upload in [open, old] {
            volume.put_part(upload, 1, Body::memory("x")).await.unwrap();
        }
        volume.clear_expired(began + parts::LIFETIME).await.unwrap();
        assert_eq!(volume.objects.list(".tracegate/parts").await.unwrap().len(), 2);
        volume.clear_expired(began + parts::LIFETIME + 1).await.unwrap();
        let left = volume.objects.list(".tracegate/parts").await.unwrap();
        assert_eq!(names(&left), [(open.simple().to_string().as_str(), None)]);
    }
}
